//! How events come in: one, a batch, a stream of batches. Convert, record, answer.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use crate::api::guard::Call;
use crate::api::convert::{self, Path, Value, Violations};
use crate::api::{pipeline, status};
use crate::app::error::FieldViolation;
use crate::app::record::Receipt;
use crate::app::{App, Error};
use crate::clock::Clock;
use crate::domain::event::{Event, TimeSource};
use crate::domain::id::Country;
use crate::pb::ingest_service_server::{IngestService, IngestServiceServer};
use crate::{limits, pb};

/// What turns a message into outcomes.
pub struct Desk {
    pub app: Arc<App>,
    pub clock: Arc<dyn Clock>,
    /// The country of telephone numbers without a prefix, where the caller's is not known.
    pub home_country: Country,
}

pub struct Ingest {
    desk: Arc<Desk>,
    /// Messages of one stream that are being recorded at once.
    in_flight: usize,
    /// Turns true when the service stops: streams end after what they have begun.
    stop: watch::Receiver<bool>,
}

impl Ingest {
    pub fn new(desk: Desk, in_flight: usize, stop: watch::Receiver<bool>) -> Self {
        Ingest { desk: Arc::new(desk), in_flight, stop }
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
        let event = self.desk.read(event, &Path::ROOT.field("event"), &call);
        let answer = self.desk.app.record(&call.caller, vec![event]).await.pop();
        let receipt = answer.unwrap_or_else(|| Err(Error::internal("no_answer"))).map_err(|e| call.status(e))?;
        Ok(Response::new(pb::RecordEventResponse { receipt: Some(told(&receipt)) }))
    }

    async fn batch_record_events(
        &self,
        request: Request<pb::BatchRecordEventsRequest>,
    ) -> Result<Response<pb::BatchRecordEventsResponse>, Status> {
        let call = Call::of(&request)?;
        let outcomes = self.desk.record(&call, request.into_inner().events).await.map_err(|e| call.status(e))?;
        Ok(Response::new(pb::BatchRecordEventsResponse { outcomes }))
    }

    async fn stream_events(
        &self,
        request: Request<Streaming<pb::StreamEventsRequest>>,
    ) -> Result<Response<Self::StreamEventsStream>, Status> {
        let call = Call::of(&request)?;
        let desk = Arc::clone(&self.desk);
        let stop = self.stop.clone();
        let messages = request.into_inner().take_until(crate::server::listen::stopped(stop));
        let answers = pipeline::in_order(messages, self.in_flight, move |message: pb::StreamEventsRequest| {
            let (desk, call) = (Arc::clone(&desk), call.clone());
            async move {
                let outcomes = desk.record(&call, message.events).await.map_err(|e| call.status(e))?;
                Ok(pb::StreamEventsResponse { sequence: message.sequence, outcomes })
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

impl Desk {
    /// One outcome per event. An error is about the message as a whole.
    async fn record(&self, call: &Call, events: Vec<pb::Event>) -> Result<Vec<pb::Outcome>, Error> {
        match events.len() {
            0 => return Err(Error::invalid("events", "is empty")),
            1..=limits::BATCH_EVENTS => {}
            n => {
                let why = format!("holds {n} events; at most {} go into one message", limits::BATCH_EVENTS);
                return Err(Error::invalid("events", why));
            }
        }
        let list = Path::ROOT.field("events");
        let read = |(i, event)| self.read(event, &list.index(i), call);
        let read = events.into_iter().enumerate().map(read).collect();
        let answers = self.app.record(&call.caller, read).await;
        Ok(answers.into_iter().map(|answer| outcome(answer, call)).collect())
    }

    /// Reads one event, or names everything that is wrong with it.
    fn read(&self, message: pb::Event, at: &Path<'_>, call: &Call) -> Result<Event, Vec<FieldViolation>> {
        let sent_at = convert::sent_at(&message);
        let home = call.caller.home_country.unwrap_or(self.home_country);
        let mut violations = Violations::new();
        match convert::event(message, at, &|_| Some(home), &mut violations) {
            Some(mut event) => {
                // How far the device's clock is off is seen at receipt, and not part of what it states.
                if event.envelope.time_source == TimeSource::Device {
                    event.envelope.clock_offset = sent_at.map(|sent| sent.since(self.clock.now()));
                }
                Ok(event)
            }
            None => {
                let told = violations.into_vec().into_iter();
                Err(told.map(|v| FieldViolation { field: v.field, description: v.description.into_owned() }).collect())
            }
        }
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

fn told(receipt: &Receipt) -> pb::Receipt {
    pb::Receipt {
        event_id: receipt.event_id.to_string(),
        position: receipt.position,
        leaf_hash: receipt.leaf_hash.write(),
        recorded_at: Some(Value::write(&receipt.recorded_at)),
        duplicate: receipt.duplicate,
        attributed: receipt.attributed,
    }
}
