//! Which call goes where, and what every call must pass first.
//!
//! Promises: a method that is not served is refused by name with `UNIMPLEMENTED`. Does not: know what calls
//! mean.

use crate::node::{self, Node};
use crate::{append, batch, info, read};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::{ClientStreamingService, Grpc, ServerStreamingService, StreamingService, UnaryService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

/// As real nodes: what one message may be at most.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
const FEATURES: &str = "/event_store.client.server_features.ServerFeatures/GetSupportedMethods";
const GOSSIP: &str = "/event_store.client.gossip.Gossip/Read";
const READ: &str = "/event_store.client.streams.Streams/Read";
const APPEND: &str = "/event_store.client.streams.Streams/Append";
const BATCH_APPEND: &str = "/event_store.client.streams.Streams/BatchAppend";

#[derive(Clone)]
pub struct NodeService(pub Arc<Node>);

impl Service<http::Request<Body>> for NodeService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let node = Arc::clone(&self.0);
        Box::pin(async move {
            node.faults.while_hung().await;
            Ok(match admit(&node, &request) {
                Ok(()) => dispatch(node, request).await,
                Err(status) => status.into_http(),
            })
        })
    }
}

fn admit(node: &Node, request: &http::Request<Body>) -> Result<(), Status> {
    if node.faults.meets_unready() {
        return Err(Status::unavailable("not ready"));
    }
    let path = request.uri().path();
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    if node.authorization.is_some()
        && path != FEATURES
        && path != GOSSIP
        && header("authorization") != node.authorization.as_deref()
    {
        return Err(node::access_denied());
    }
    // A batch learns it when it writes, in `batch`.
    if path != BATCH_APPEND && header("requires-leader") == Some("true") && !node.leads() {
        let needs_leader = path == READ || path == APPEND;
        return if needs_leader { Err(node.not_leader()) } else { Ok(()) };
    }
    Ok(())
}

async fn dispatch(node: Arc<Node>, request: http::Request<Body>) -> http::Response<Body> {
    match request.uri().path() {
        FEATURES => grpc().unary(Call(info::supported_methods), request).await,
        GOSSIP => grpc().unary(Call(move |call| info::gossip(Arc::clone(&node), call)), request).await,
        READ => grpc().server_streaming(Call(move |call| read::read(Arc::clone(&node), call)), request).await,
        APPEND => {
            grpc().client_streaming(Call(move |call| append::append(Arc::clone(&node), call)), request).await
        }
        BATCH_APPEND => {
            grpc().streaming(Call(move |call| batch::batch_append(Arc::clone(&node), call)), request).await
        }
        path => Status::unimplemented(format!("the stand-in does not serve {path}")).into_http(),
    }
}

fn grpc<Answer, Question>() -> Grpc<ProstCodec<Answer, Question>>
where
    Answer: prost::Message + Send + 'static,
    Question: prost::Message + Default + Send + 'static,
{
    Grpc::new(ProstCodec::default()).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

/// A function as the service of one method.
struct Call<F>(F);

impl<F, Question, Answer, Answering> UnaryService<Question> for Call<F>
where
    F: FnMut(Request<Question>) -> Answering,
    Answering: Future<Output = Result<Response<Answer>, Status>>,
{
    type Response = Answer;
    type Future = Answering;

    fn call(&mut self, request: Request<Question>) -> Answering {
        (self.0)(request)
    }
}

impl<F, Question, Answer, Answers, Answering> ServerStreamingService<Question> for Call<F>
where
    F: FnMut(Request<Question>) -> Answering,
    Answering: Future<Output = Result<Response<Answers>, Status>>,
    Answers: tokio_stream::Stream<Item = Result<Answer, Status>>,
{
    type Response = Answer;
    type ResponseStream = Answers;
    type Future = Answering;

    fn call(&mut self, request: Request<Question>) -> Answering {
        (self.0)(request)
    }
}

impl<F, Question, Answer, Answering> ClientStreamingService<Question> for Call<F>
where
    F: FnMut(Request<Streaming<Question>>) -> Answering,
    Answering: Future<Output = Result<Response<Answer>, Status>>,
{
    type Response = Answer;
    type Future = Answering;

    fn call(&mut self, request: Request<Streaming<Question>>) -> Answering {
        (self.0)(request)
    }
}

impl<F, Question, Answer, Answers, Answering> StreamingService<Question> for Call<F>
where
    F: FnMut(Request<Streaming<Question>>) -> Answering,
    Answering: Future<Output = Result<Response<Answers>, Status>>,
    Answers: tokio_stream::Stream<Item = Result<Answer, Status>>,
{
    type Response = Answer;
    type ResponseStream = Answers;
    type Future = Answering;

    fn call(&mut self, request: Request<Streaming<Question>>) -> Answering {
        (self.0)(request)
    }
}
