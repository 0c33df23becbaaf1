//! The listener with its gate, through the real client, in front of a service that stands in for
//! ours.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::Stream;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use super::*;
use crate::api::auth::{self, Authenticator};
use crate::api::guard::{Call, Gate, Guarded};
use crate::api::pipeline;
use crate::app::Error;
use crate::clock::ManualClock;
use crate::domain::time::Timestamp;
use crate::pb::ingest_service_client::IngestServiceClient;
use crate::pb::ingest_service_server::{IngestService, IngestServiceServer};
use crate::telemetry::request::RequestIds;

/// Answers with the name of its caller.
struct Named {
    stop: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl IngestService for Named {
    type StreamEventsStream = Pin<Box<dyn Stream<Item = Result<pb::StreamEventsResponse, Status>> + Send>>;

    async fn record_event(
        &self,
        request: Request<pb::RecordEventRequest>,
    ) -> Result<Response<pb::RecordEventResponse>, Status> {
        let call = Call::of(&request)?;
        if request.get_ref().event.is_none() {
            return Err(call.status(Error::invalid("event", "is required")));
        }
        let receipt = pb::Receipt { event_id: call.caller.name.to_string(), ..Default::default() };
        Ok(Response::new(pb::RecordEventResponse { receipt: Some(receipt) }))
    }

    async fn batch_record_events(
        &self,
        _: Request<pb::BatchRecordEventsRequest>,
    ) -> Result<Response<pb::BatchRecordEventsResponse>, Status> {
        std::future::pending().await
    }

    async fn stream_events(
        &self,
        request: Request<Streaming<pb::StreamEventsRequest>>,
    ) -> Result<Response<Self::StreamEventsStream>, Status> {
        let messages = futures_util::StreamExt::take_until(request.into_inner(), stopped(self.stop.clone()));
        let answers = pipeline::in_order(messages, 4, |message: pb::StreamEventsRequest| async move {
            Ok(pb::StreamEventsResponse { sequence: message.sequence, ..Default::default() })
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

struct Place {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    ready: Arc<AtomicBool>,
    calls: Arc<Calls>,
    serving: JoinHandle<anyhow::Result<()>>,
}

async fn place(tokens: Option<&std::path::Path>, drain_ms: u64) -> Place {
    let mut config = Config::default();
    config.server.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.server.drain_ms = drain_ms;
    let clock = Arc::new(ManualClock::at(Timestamp::EPOCH));
    let (stop, stopping) = watch::channel(false);
    let authenticator = Authenticator::new(tokens, clock).unwrap();
    let gate = Arc::new(Gate::new(authenticator, RequestIds::new(Timestamp::EPOCH), stopping.clone()));
    let service = IngestServiceServer::new(Named { stop: stopping.clone() });
    let ready = Arc::new(AtomicBool::new(true));
    let seen = Arc::clone(&ready);
    let check: Ready =
        Arc::new(move || if seen.load(Ordering::SeqCst) { Ok(()) } else { Err("on purpose".to_owned()) });
    let (routes, calls) = (Routes::new(Guarded::new(service, &gate)), Arc::clone(&gate.calls));
    let listener = open(&config, routes, check, Arc::clone(&calls), stopping).await.unwrap();
    Place { address: listener.address, stop, ready, calls, serving: listener.serving }
}

impl Place {
    async fn client(&self) -> IngestServiceClient<Channel> {
        IngestServiceClient::connect(format!("http://{}", self.address)).await.unwrap()
    }

    async fn health(&self) -> ServingStatus {
        let channel =
            Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap();
        let answer =
            HealthClient::new(channel).check(HealthCheckRequest { service: String::new() }).await.unwrap();
        match answer.into_inner().status {
            1 => ServingStatus::Serving,
            _ => ServingStatus::NotServing,
        }
    }

    /// Ends the listener, which must end well.
    async fn end(self) {
        self.stop.send_replace(true);
        self.serving.await.unwrap().unwrap();
    }
}

fn event() -> pb::RecordEventRequest {
    pb::RecordEventRequest { event: Some(pb::Event::default()) }
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map_or(String::new(), |info| info.reason.clone())
}

#[tokio::test]
async fn the_request_id_goes_through_and_comes_back() {
    let place = place(None, 1_000).await;
    let mut client = place.client().await;
    let mut request = Request::new(event());
    request.metadata_mut().insert("x-request-id", MetadataValue::from_static("mine-7"));
    let answer = client.record_event(request).await.unwrap();
    assert_eq!(answer.metadata().get("x-request-id").unwrap(), "mine-7");
    assert_eq!(answer.into_inner().receipt.unwrap().event_id, "local");

    let mut request = Request::new(pb::RecordEventRequest::default());
    request.metadata_mut().insert("x-request-id", MetadataValue::from_static("mine-8"));
    let status = client.record_event(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.get_error_details().request_info().unwrap().request_id, "mine-8");
    assert_eq!(status.metadata().get("x-request-id").unwrap(), "mine-8");

    let mut request = Request::new(event());
    request.metadata_mut().insert("x-request-id", MetadataValue::from_static("me@kstar.com.cn"));
    let answer = client.record_event(request).await.unwrap();
    assert!(answer.metadata().get("x-request-id").unwrap().to_str().unwrap().starts_with('r'));
    place.end().await;
}

#[tokio::test]
async fn nobody_passes_without_a_token_of_the_right_role() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens");
    let entry = |name: &str, role: &str| {
        format!(
            "[[token]]\nname = {name:?}\nrole = {role:?}\nsha256 = {:?}\n",
            auth::hash(&format!("{name}-secret"))
        )
    };
    std::fs::write(&path, entry("app", "emitter") + &entry("root", "operator")).unwrap();
    let place = place(Some(&path), 1_000).await;
    let mut client = place.client().await;
    let mut call = async |token: Option<&str>| {
        let mut request = Request::new(event());
        if let Some(token) = token {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        client.record_event(request).await
    };
    let status = call(None).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unauthenticated, "TOKEN_UNKNOWN"));
    let status = call(Some("guessed")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let status = call(Some("root-secret")).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "ROLE_FORBIDDEN"));
    let answer = call(Some("app-secret")).await.unwrap().into_inner();
    assert_eq!(answer.receipt.unwrap().event_id, "app");
    place.end().await;
}

#[tokio::test]
async fn health_follows_what_it_reports() {
    let place = place(None, 1_000).await;
    assert_eq!(place.health().await, ServingStatus::Serving);
    place.ready.store(false, Ordering::SeqCst);
    while place.health().await == ServingStatus::Serving {
        tokio::task::yield_now().await;
    }
    place.ready.store(true, Ordering::SeqCst);
    while place.health().await == ServingStatus::NotServing {
        tokio::task::yield_now().await;
    }
    place.end().await;
}

#[tokio::test]
async fn a_stop_ends_streams_after_what_they_have_begun() {
    let place = place(None, 60_000).await;
    let mut client = place.client().await;
    let (messages, outgoing) = tokio::sync::mpsc::channel(4);
    let outgoing = tokio_stream::wrappers::ReceiverStream::new(outgoing);
    let mut answers = client.stream_events(outgoing).await.unwrap().into_inner();
    messages.send(pb::StreamEventsRequest { sequence: 7, ..Default::default() }).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().sequence, 7);
    place.stop.send_replace(true);
    assert!(answers.message().await.unwrap().is_none(), "the stream ends well, not with an error");
    place.end().await;
}

#[tokio::test]
async fn a_call_that_hangs_does_not_outlive_the_deadline() {
    let place = place(None, 50).await;
    let mut client = place.client().await;
    let hanging =
        tokio::spawn(
            async move { client.batch_record_events(pb::BatchRecordEventsRequest::default()).await },
        );
    let mut other = place.client().await;
    other.record_event(event()).await.unwrap();
    place.end().await;
    assert!(!hanging.is_finished(), "the call was still running when the listener ended");
    hanging.abort();
}

#[tokio::test]
async fn whoever_calls_while_others_are_answered_hears_that_it_stops() {
    let place = place(None, 60_000).await;
    let mut client = place.client().await;
    let mut hanging = place.client().await;
    let hanging =
        tokio::spawn(
            async move { hanging.batch_record_events(pb::BatchRecordEventsRequest::default()).await },
        );
    client.record_event(event()).await.unwrap();
    while place.calls.running() == 0 {
        tokio::task::yield_now().await;
    }
    place.stop.send_replace(true);
    for mut client in [client, place.client().await] {
        let status = client.record_event(event()).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "STOPPING"));
        assert!(status.get_error_details().retry_info().is_some());
    }
    hanging.abort();
    place.end().await;
}
