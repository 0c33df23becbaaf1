//! The follower: one subscription to `$all`, filtered to our streams, from where the local copy ends.
//!
//! Promises: it goes on for ever. No node at the start, a node that dies, an end without an error, a node that
//! accepts calls and answers none: each ends the connection, and the next one begins where the local copy ends.
//! Not promised: that it is up to date; `Standing` says how it stands. A crash loses how far the filter has
//! come, which costs reading again what it passed over.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tonic::Streaming;

use super::entry::{Incoming, leaf};
use super::nodes::{Address, Nodes};
use super::number::{Numbered, Numberer, damaged};
use super::waiting::Waiting;
use super::wire::{Content, Place, ReadResp, Wire};
use crate::durable;
use crate::limits;
use crate::log::Error;

/// A node that has said nothing for so long is asked whether it is there.
const QUIET: Duration = Duration::from_secs(5);
/// Pause before another connection, doubled each time up to the second.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Bytes that are numbered together at most.
const TOGETHER: usize = 4 << 20;
/// How often it is noted how far the filter has come.
const NOTE_EVERY: Duration = Duration::from_secs(10);
const PASSED: &str = "passed";

/// How the follower stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Everything that the cluster had when it was connected to is in the local copy.
    pub caught_up: bool,
    /// Why it does not follow now.
    pub down: Option<String>,
    /// It never will again.
    pub damage: Option<String>,
}

pub struct Follower {
    pub nodes: Nodes,
    pub numberer: Numberer,
    pub waiting: Arc<Waiting>,
    /// What all streams of the log begin with.
    pub prefix: String,
    /// What the streams of this process begin with.
    pub ours: String,
    pub dir: PathBuf,
    pub standing: watch::Sender<Standing>,
    /// Everything up to this place is in the local copy.
    pub numbered: watch::Sender<Option<Place>>,
}

/// Why a connection ended.
enum Ended {
    /// Of the connection or its node; another may do.
    Connection(String),
    /// Of what is stored, here or there; nothing helps but somebody.
    Damage(Error),
}

impl From<tonic::Status> for Ended {
    fn from(status: tonic::Status) -> Ended {
        // The text may be long and is the node's own; the code says enough.
        Ended::Connection(format!("the node answered {:?}", status.code()))
    }
}

impl From<Error> for Ended {
    fn from(error: Error) -> Ended {
        match error {
            Error::Unavailable { .. } | Error::Unknown { .. } => Ended::Connection(error.to_string()),
            other => Ended::Damage(other),
        }
    }
}

impl Follower {
    /// Follows until it is told to stop, or what is stored contradicts itself.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let (mut again, mut avoid) = (AGAIN.0, None);
        loop {
            let before = self.numberer.last;
            let ended = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                ended = self.connection(&mut avoid) => ended,
            };
            match ended {
                Ended::Damage(error) => {
                    tracing::error!(%error, "the cluster is followed no more");
                    let damage = Some(error.to_string());
                    self.standing.send_modify(|standing| standing.damage = damage);
                    return;
                }
                Ended::Connection(why) => {
                    let down = Some(why);
                    // Said once, however often it is tried again.
                    if self.standing.borrow().down != down {
                        tracing::warn!(why = down, "the cluster is followed over another connection");
                    }
                    self.standing.send_modify(|standing| *standing = Standing { down, ..Default::default() });
                }
            }
            again = if self.numberer.last > before { AGAIN.0 } else { (again * 2).min(AGAIN.1) };
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(again) => {}
            }
        }
    }

    async fn connection(&mut self, avoid: &mut Option<Address>) -> Ended {
        let (address, wire) = match self.nodes.connect(avoid.as_ref()).await {
            Ok(connected) => connected,
            Err(why) => return Ended::Connection(why),
        };
        tracing::info!(node = %address, "the cluster is followed");
        *avoid = Some(address);
        match self.follow(&wire).await {
            Ok(never) => match never {},
            Err(ended) => ended,
        }
    }

    async fn follow(&mut self, wire: &Wire) -> Result<std::convert::Infallible, Ended> {
        let patience = self.nodes.patience();
        let late = |_| Ended::Connection("the node does not answer".to_owned());
        tokio::time::timeout(patience, self.is_same_log(wire)).await.map_err(late)??;
        let from = self.numberer.last.max(self.passed());
        let subscribed = wire.subscribe(from, self.prefix.clone());
        let mut events = tokio::time::timeout(patience, subscribed).await.map_err(late)??;
        let mut noted = tokio::time::Instant::now();
        loop {
            let message = match tokio::time::timeout(QUIET, events.message()).await {
                Ok(message) => message?,
                Err(_) => {
                    tokio::time::timeout(patience, wire.gossip()).await.map_err(late)??;
                    continue;
                }
            };
            let Some(message) = message else {
                return Err(Ended::Connection("the node ended the subscription".to_owned()));
            };
            let Heard { events: brought, passed, caught_up, ended } = hear(message, &mut events).await;
            let numbered = self.numberer.take(brought).await?;
            self.tell(&numbered);
            self.numbered.send_replace(self.numberer.last);
            if caught_up {
                self.standing.send_modify(|standing| (standing.caught_up, standing.down) = (true, None));
            }
            if let Some(passed) = passed.filter(|_| noted.elapsed() > NOTE_EVERY) {
                self.note_passed(passed);
                noted = tokio::time::Instant::now();
            }
            if let Some(ended) = ended {
                return Err(ended.into());
            }
        }
    }

    fn tell(&self, numbered: &[Numbered]) {
        for event in numbered {
            let ours = event.stream.as_ref().is_some_and(|stream| stream.starts_with(self.ours.as_bytes()));
            self.waiting.numbered(&event.emitter, event.event_id, event.position, ours);
        }
    }

    /// Whether the cluster still has the newest record that was numbered, where it was. A cluster whose
    /// database was put back from an older copy has not.
    async fn is_same_log(&self, wire: &Wire) -> Result<(), Ended> {
        let Some((note, here)) = self.numberer.newest().await? else { return Ok(()) };
        let there = wire.event_at(note.place).await?;
        // What stands in the place of an event that does not count is no copy of it.
        if there.is_some_and(|event| !note.counts || leaf(&event.data) == here) {
            return Ok(());
        }
        Err(damaged(note.place.commit, "the cluster has something else, or nothing, where this record was")
            .into())
    }

    /// How far the filter had come, as noted last. A note that does not read is none: all is read again.
    fn passed(&self) -> Option<Place> {
        let bytes = std::fs::read(self.dir.join(PASSED)).ok()?;
        let text = std::str::from_utf8(durable::without_sum(&bytes).ok()?).ok()?;
        let (commit, prepare) = text.split_once(' ')?;
        Some(Place { commit: commit.parse().ok()?, prepare: prepare.parse().ok()? })
    }

    fn note_passed(&self, place: Place) {
        let text = format!("{} {}", place.commit, place.prepare).into_bytes();
        if let Err(error) = durable::replace(&self.dir.join(PASSED), &durable::with_sum(text)) {
            tracing::warn!(%error, "how far the filter has come could not be noted");
        }
    }
}

/// What came together.
#[derive(Default)]
struct Heard {
    events: Vec<Incoming>,
    passed: Option<Place>,
    caught_up: bool,
    ended: Option<tonic::Status>,
}

/// The message and all that is there behind it, up to a bound: they are numbered, and synced, as one.
async fn hear(first: ReadResp, stream: &mut Streaming<ReadResp>) -> Heard {
    let (mut heard, mut bytes) = (Heard::default(), 0);
    let mut next = Some(first);
    while let Some(message) = next.take() {
        match message.content {
            Some(Content::Event(event)) => {
                heard.events.extend(Incoming::new(event).inspect(|event| bytes += event.data.len()));
            }
            Some(Content::Checkpoint(place)) => heard.passed = Some(place),
            Some(Content::CaughtUp(_)) => heard.caught_up = true,
            _ => {}
        }
        if heard.events.len() < limits::BATCH_EVENTS && bytes < TOGETHER {
            match futures_util::poll!(std::pin::pin!(stream.message())) {
                std::task::Poll::Ready(Ok(message)) => next = message,
                std::task::Poll::Ready(Err(status)) => heard.ended = Some(status),
                std::task::Poll::Pending => {}
            }
        }
    }
    heard
}
