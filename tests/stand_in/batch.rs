//! `Streams/BatchAppend`: appends of one stream of requests, in order, many in flight.
//!
//! Promises: requests are taken in their order and answered in their order, each when it is durable; a
//! wrong version is an answer and does not end the stream, the loss of leadership does. As on a real node
//! there are no response headers before the first answer, so that a stream that fails first fails as a
//! call. Does not: join several messages into one append.

use crate::append::{Pending, into_append, success_of};
use crate::keeper::{Outcome, Role};
use crate::node::{self, Node};
use crate::wire::batch_append_resp::{Expected as Echo, Result as BatchResult};
use crate::wire::{BatchAppendReq, BatchAppendResp, Expected, RpcStatus, StreamIdentifier, Uuid};
use futures_util::StreamExt;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

/// Appends taken in and not yet answered; further requests wait in the transport.
const IN_FLIGHT_MAX: usize = 512;

type Answer = Result<BatchAppendResp, Status>;
pub type Answers = futures_util::stream::BoxStream<'static, Answer>;

/// A request that was taken in, with what its answer repeats.
struct Taken {
    correlation_id: Option<Uuid>,
    stream: StreamIdentifier,
    expected: Expected,
    pending: Pending,
}

pub async fn batch_append(
    node: Arc<Node>,
    request: Request<Streaming<BatchAppendReq>>,
) -> Result<Response<Answers>, Status> {
    let (taken, to_answer) = mpsc::channel(IN_FLIGHT_MAX);
    let (answers, mut answered) = mpsc::channel(IN_FLIGHT_MAX);
    tokio::spawn(take_all(Arc::clone(&node), request.into_inner(), taken));
    tokio::spawn(answer_all(node, to_answer, answers));
    let Some(first) = answered.recv().await else {
        return Ok(Response::new(futures_util::stream::empty().boxed()));
    };
    let first = futures_util::stream::iter([Ok(first?)]);
    Ok(Response::new(first.chain(ReceiverStream::new(answered)).boxed()))
}

/// Takes requests in until there are none, one of them ends the stream, or this node no longer leads.
async fn take_all(
    node: Arc<Node>,
    mut requests: Streaming<BatchAppendReq>,
    taken: mpsc::Sender<Result<Taken, Status>>,
) {
    let mut role = node.role.clone();
    // A real node learns that it does not lead when it writes, so the first request is waited for.
    if !node.leads() && !matches!(requests.message().await, Ok(Some(_))) {
        return;
    }
    loop {
        let request = tokio::select! {
            biased;
            _ = role.wait_for(|role| *role != Role::Leader) => break,
            () = taken.closed() => return,
            request = requests.message() => request,
        };
        let next = match request {
            Ok(Some(request)) => take(&node, request).await,
            // The client is done, or gone: then nobody reads an answer.
            Ok(None) | Err(_) => return,
        };
        let ends = next.as_ref().map_or(true, |next| next.pending.is_last());
        if taken.send(next).await.is_err() || ends {
            return;
        }
    }
    let _ = taken.send(Err(node.not_leader())).await;
}

async fn take(node: &Node, request: BatchAppendReq) -> Result<Taken, Status> {
    if !request.is_final {
        return Err(Status::unimplemented("BatchAppend in several messages"));
    }
    let append = into_append(request.options, request.proposed_messages)?;
    let stream = StreamIdentifier { stream_name: append.stream.clone() };
    let expected = append.expected;
    let pending = Pending::take(node, append).await?;
    Ok(Taken { correlation_id: request.correlation_id, stream, expected, pending })
}

async fn answer_all(
    node: Arc<Node>,
    mut taken: mpsc::Receiver<Result<Taken, Status>>,
    answers: mpsc::Sender<Answer>,
) {
    while let Some(next) = taken.recv().await {
        let answer = match next {
            Ok(next) => answer_one(&node, next).await,
            Err(status) => Err(status),
        };
        let ends = answer.is_err();
        if answers.send(answer).await.is_err() || ends {
            return;
        }
    }
}

async fn answer_one(node: &Node, taken: Taken) -> Answer {
    let error = |code: Code, message: &str| {
        Ok(BatchResult::Error(RpcStatus { code: code as i32, message: message.to_owned() }))
    };
    let result = match taken.pending.answer(node).await? {
        Outcome::Stored { last_revision, position } => {
            Ok(BatchResult::Success(success_of(last_revision, position)))
        }
        Outcome::Wrong { .. } => error(Code::AlreadyExists, "WrongExpectedVersion"),
        Outcome::TooLarge => error(Code::InvalidArgument, &node::too_large_message(node.append_bytes_max)),
        Outcome::Invalid(why) => error(Code::InvalidArgument, &why),
        Outcome::TimedOut => error(Code::DeadlineExceeded, "Timeout"),
        Outcome::NotLeader => Err(node.not_leader()),
    };
    Ok(BatchAppendResp {
        correlation_id: taken.correlation_id,
        result: Some(result?),
        stream_identifier: Some(taken.stream),
        expected: Some(match taken.expected {
            Expected::Revision(revision) => Echo::Revision(revision),
            Expected::NoStream(()) => Echo::NoStream(()),
            Expected::Any(()) => Echo::Any(()),
            Expected::StreamExists(()) => Echo::StreamExists(()),
        }),
    })
}
