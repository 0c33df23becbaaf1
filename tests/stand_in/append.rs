//! `Streams/Append`, and what it shares with batches: how an append is checked, submitted and answered.
//!
//! Promises: an answer means durable; a wrong version is a normal response with every field set, as clients
//! expect. Does not: know order among calls of this kind, each is a call of its own.

use crate::faults::Fate;
use crate::keeper::{Append, Outcome};
use crate::node::{self, Node};
use crate::wire::append_req::Content;
use crate::wire::{
    AppendOptions, AppendReq, AppendResp, Expected, Position, ProposedMessage, Success, WrongExpectedVersion,
    append_resp, success, wrong,
};
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use tonic::{Request, Response, Status, Streaming};

/// An append that was taken in and not yet answered.
pub struct Pending {
    fate: Fate,
    due: Instant,
    outcome: oneshot::Receiver<Outcome>,
}

pub async fn append(
    node: Arc<Node>,
    request: Request<Streaming<AppendReq>>,
) -> Result<Response<AppendResp>, Status> {
    if !node.leads() {
        return Err(node.not_leader());
    }
    let mut messages = request.into_inner();
    let Some(Content::Options(options)) = messages.message().await?.and_then(|message| message.content)
    else {
        return Err(Status::invalid_argument("options come first"));
    };
    let mut events = Vec::new();
    while let Some(message) = messages.message().await? {
        let Some(Content::Proposed(event)) = message.content else {
            return Err(Status::invalid_argument("only events follow the options"));
        };
        events.push(event);
    }
    let expected = options.expected;
    let pending = Pending::take(&node, into_append(Some(options), events)?).await?;
    let result = match pending.answer(&node).await? {
        Outcome::Stored { last_revision, position } => {
            append_resp::Result::Success(success_of(last_revision, position))
        }
        Outcome::Wrong { revisions } => append_resp::Result::WrongExpectedVersion(wrong(revisions, expected)),
        Outcome::TooLarge => return Err(node::too_large(node.append_bytes_max)),
        Outcome::Invalid(why) => return Err(Status::invalid_argument(why)),
        Outcome::TimedOut => return Err(Status::aborted("Operation timed out")),
        Outcome::NotLeader => return Err(node.not_leader()),
    };
    Ok(Response::new(AppendResp { result: Some(result) }))
}

pub fn into_append(options: Option<AppendOptions>, events: Vec<ProposedMessage>) -> Result<Append, Status> {
    let Some(AppendOptions { stream_identifier: Some(stream), expected: Some(expected) }) = options else {
        return Err(Status::invalid_argument("a stream and what is expected of it are required"));
    };
    Ok(Append { stream: stream.stream_name, expected, events })
}

impl Pending {
    /// Checks an append and hands it to the keeper, unless its fate is to be refused.
    pub async fn take(node: &Node, append: Append) -> Result<Self, Status> {
        node.faults.while_hung().await;
        let fate = node.faults.fate();
        if fate == Fate::Refuse {
            return Err(Status::unavailable("refused"));
        }
        let outcome = match check(&append, node.append_bytes_max) {
            None => node.submit(append),
            Some(refusal) => {
                let (answer, outcome) = oneshot::channel();
                // The receiver is in the next line.
                let _ = answer.send(refusal);
                outcome
            }
        };
        Ok(Self { fate, due: Instant::now() + node.faults.delay(), outcome })
    }

    /// The connection breaks after this one.
    pub fn is_last(&self) -> bool {
        self.fate == Fate::Lose
    }

    /// Waits until the append may be answered; an error breaks the connection.
    pub async fn answer(self, node: &Node) -> Result<Outcome, Status> {
        let outcome = self.outcome.await.map_err(|_| Status::unavailable("stopping"))?;
        sleep_until(self.due).await;
        node.faults.while_hung().await;
        match (self.fate, outcome) {
            (_, Outcome::NotLeader) => Err(node.not_leader()),
            (Fate::Lose, _) => Err(Status::unavailable("lost")),
            (Fate::TimeOut, _) => Ok(Outcome::TimedOut),
            (_, outcome) => Ok(outcome),
        }
    }
}

/// Why an append is refused before anybody looks at its stream.
fn check(append: &Append, bytes_max: usize) -> Option<Outcome> {
    if append.stream.is_empty() {
        return Some(Outcome::Invalid("the stream has no name".to_owned()));
    }
    let mut bytes = 0;
    for event in &append.events {
        let (Some(kind), Some(_)) = (event.metadata.get("type"), event.metadata.get("content-type")) else {
            return Some(Outcome::Invalid("required metadata: type, content-type".to_owned()));
        };
        if event.id.as_ref().and_then(crate::wire::Uuid::parse).is_none() {
            return Some(Outcome::Invalid("the event has no id".to_owned()));
        }
        bytes += event.data.len() + event.custom_metadata.len() + 2 * kind.len();
    }
    (bytes > bytes_max).then_some(Outcome::TooLarge)
}

pub fn success_of(last_revision: Option<u64>, position: Option<u64>) -> Success {
    Success {
        revision: Some(last_revision.map_or(success::Revision::NoStream(()), success::Revision::Current)),
        at: Some(position.map_or(success::At::NoPosition(()), |at| success::At::Position(Position::at(at)))),
    }
}

fn wrong(revisions: u64, expected: Option<Expected>) -> WrongExpectedVersion {
    let current = revisions.checked_sub(1);
    let (old_expected, expected) = match expected.unwrap_or(Expected::Any(())) {
        Expected::Revision(revision) => {
            (wrong::OldExpected::Revision(revision), wrong::Expectation::Revision(revision))
        }
        // Release 20.6 had no field for "no stream" and sent the greatest number.
        Expected::NoStream(()) => (wrong::OldExpected::Revision(u64::MAX), wrong::Expectation::NoStream(())),
        Expected::Any(()) => (wrong::OldExpected::Any(()), wrong::Expectation::Any(())),
        Expected::StreamExists(()) => {
            (wrong::OldExpected::StreamExists(()), wrong::Expectation::StreamExists(()))
        }
    };
    WrongExpectedVersion {
        old_current: Some(current.map_or(wrong::OldCurrent::NoStream(()), wrong::OldCurrent::Revision)),
        old_expected: Some(old_expected),
        current: Some(current.map_or(wrong::Current::NoStream(()), wrong::Current::Revision)),
        expected: Some(expected),
    }
}
