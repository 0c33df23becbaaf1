//! How events come in: one, a batch, a stream of batches. Convert, record, answer.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use crate::api::convert::{self, Path, Violations};
use crate::api::guard::Call;
use crate::api::terms::time;
use crate::api::{pipeline, status};
use crate::app::error::FieldViolation;
use crate::app::record::Receipt;
use crate::app::{App, Error};
use crate::domain::event::Event;
use crate::domain::id::Id;
use crate::pb::ingest_service_server::{IngestService, IngestServiceServer};
use crate::{limits, pb};

pub struct Ingest {
    app: Arc<App>,
    /// Messages of one stream that are being recorded at once.
    in_flight: usize,
    /// Turns true when the service stops: streams end after what they have begun.
    stop: watch::Receiver<bool>,
}

impl Ingest {
    pub fn new(app: Arc<App>, in_flight: usize, stop: watch::Receiver<bool>) -> Self {
        Ingest { app, in_flight, stop }
    }

    pub fn into_server(self) -> IngestServiceServer<Self> {
        IngestServiceServer::new(self).max_decoding_message_size(limits::MESSAGE_BYTES)
    }
}

#[tonic::async_trait]
impl IngestService for Ingest {
    type StreamEventsStream = Pin<Box<dyn Stream<Item = Result<pb::StreamEventsResponse, Status>> + Send>>;

    async fn record_event(
        &self,
        request: Request<pb::RecordEventRequest>,
    ) -> Result<Response<pb::RecordEventResponse>, Status> {
        let call = Call::of(&request)?;
        let Some(event) = request.into_inner().event else {
            return Err(call.status(Error::invalid("event", "is required")));
        };
        let event = read(&self.app, &call, event);
        let answer = self.app.record(&call.caller, vec![event]).await.pop();
        let receipt =
            answer.unwrap_or_else(|| Err(Error::internal("no_answer"))).map_err(|e| call.status(e))?;
        Ok(Response::new(pb::RecordEventResponse { receipt: Some(told(&receipt)) }))
    }

    async fn batch_record_events(
        &self,
        request: Request<pb::BatchRecordEventsRequest>,
    ) -> Result<Response<pb::BatchRecordEventsResponse>, Status> {
        let call = Call::of(&request)?;
        let outcomes =
            record(&self.app, &call, request.into_inner().events).await.map_err(|e| call.status(e))?;
        Ok(Response::new(pb::BatchRecordEventsResponse { outcomes }))
    }

    async fn stream_events(
        &self,
        request: Request<Streaming<pb::StreamEventsRequest>>,
    ) -> Result<Response<Self::StreamEventsStream>, Status> {
        let call = Call::of(&request)?;
        let app = Arc::clone(&self.app);
        let stop = self.stop.clone();
        let messages = request.into_inner().take_until(crate::server::listen::stopped(stop));
        let answers =
            pipeline::in_order(messages, self.in_flight, move |message: pb::StreamEventsRequest| {
                let (app, call) = (Arc::clone(&app), call.clone());
                async move {
                    let outcomes = record(&app, &call, message.events).await.map_err(|e| call.status(e))?;
                    Ok(pb::StreamEventsResponse { sequence: message.sequence, outcomes })
                }
            });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// One outcome per event. An error is about the message as a whole.
async fn record(app: &App, call: &Call, events: Vec<pb::Event>) -> Result<Vec<pb::Outcome>, Error> {
    match events.len() {
        0 => return Err(Error::invalid("events", "is empty")),
        1..=limits::BATCH_EVENTS => {}
        n => {
            return Err(Error::invalid(
                "events",
                format_args!("holds {n} events; at most {} go into one", limits::BATCH_EVENTS),
            ));
        }
    }
    let converted = events.into_iter().map(|event| read(app, call, event)).collect();
    let answers = app.record(&call.caller, converted).await;
    Ok(answers.into_iter().map(|answer| outcome(answer, call)).collect())
}

/// Reads one event, or says everything that is wrong with it; paths begin at the event, because the
/// outcome they stand in is that event's.
fn read(app: &App, call: &Call, event: pb::Event) -> Result<Event, Vec<FieldViolation>> {
    let root = Path::ROOT;
    let mut violations = Violations::new();
    let sent_at = convert::sent_at(&event);
    let home = |_: Option<&Id>| app.home_country(&call.caller);
    let read = convert::event(event, &root.field("event"), &home, &mut violations);
    let violations = violations.into_vec();
    match read {
        Some(mut event) if violations.is_empty() => {
            app.note_device_clock(&mut event, sent_at);
            Ok(event)
        }
        _ => Err(violations.into_iter().map(|v| FieldViolation::new(v.field, v.description)).collect()),
    }
}

fn outcome(answer: Result<Receipt, Error>, call: &Call) -> pb::Outcome {
    use pb::outcome::Result as Told;
    let result = match answer {
        Ok(receipt) => Told::Receipt(told(&receipt)),
        Err(error) => Told::Error(status::outcome(&error, &call.request_id)),
    };
    pb::Outcome { result: Some(result) }
}

pub(crate) fn told(receipt: &Receipt) -> pb::Receipt {
    pb::Receipt {
        event_id: receipt.event_id.to_string(),
        position: receipt.position,
        leaf_hash: receipt.leaf_hash.0.to_vec().into(),
        recorded_at: time(receipt.recorded_at),
        duplicate: receipt.duplicate,
        attributed: receipt.attributed,
    }
}
