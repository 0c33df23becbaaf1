//! What waits is put together to groups, and its sidecars are made durable before anything is sent.
//!
//! A group is one append of KurrentDB: taken whole or not at all. No timer: a group holds what has come while
//! the ones before it were on their way.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::entry::{leaf, metadata, stored_id};
use super::waiting::Waiting;
use crate::log::NewRecord;
use crate::log::sidecars::{NewSidecar, Sidecars};

/// What one append may hold: servers up to 25.0 take 1 MiB, with what they count beside the events.
pub const APPEND_BYTES: usize = 960 << 10;
/// Events of one append.
const APPEND_EVENTS: usize = 1_000;
/// Groups whose sidecars are being written at the same time.
const AHEAD: usize = 4;
/// Bytes that the server counts for an event beside data and metadata, and some to spare.
const OVERHEAD: usize = 64;
/// How soon sidecars that could not be written are tried again, doubled each time up to the second.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// An event on its way.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub batch: u64,
    pub id: Uuid,
    pub data: Bytes,
    pub metadata: Bytes,
}

/// A batch on its way, or a part of one that is too long for one append.
pub struct Brought {
    pub batch: u64,
    pub events: Vec<Outgoing>,
    pub sidecars: Vec<NewSidecar>,
    pub bytes: usize,
}

impl Brought {
    /// In order; one where one append can hold it all.
    pub fn parts(batch: u64, records: Vec<NewRecord>) -> Vec<Brought> {
        let mut parts: Vec<Brought> = Vec::with_capacity(1);
        for record in records {
            let metadata = metadata(&record);
            let bytes = record.header.len() + metadata.len() + OVERHEAD;
            if parts.last().is_none_or(|part| part.bytes + bytes > APPEND_BYTES) {
                parts.push(Brought { batch, events: Vec::new(), sidecars: Vec::new(), bytes: 0 });
            }
            let Some(part) = parts.last_mut() else { continue };
            part.bytes += bytes;
            let id = stored_id(&record.emitter, &record.event_id);
            part.events.push(Outgoing { batch, id, data: record.header.clone(), metadata });
            if !record.pieces.is_empty() {
                let leaf = leaf(&record.header);
                let NewRecord { emitter, event_id, pieces, .. } = record;
                part.sidecars.push(NewSidecar { leaf, emitter, event_id, pieces });
            }
        }
        parts
    }
}

/// Batches that are appended together.
pub struct Group {
    pub batches: Vec<u64>,
    pub events: Vec<Outgoing>,
    /// Ends when the sidecars are durable, or nobody waits any more.
    pub sidecars: JoinHandle<()>,
}

/// Makes groups of what comes until nothing more comes.
pub async fn run(
    mut incoming: mpsc::UnboundedReceiver<Brought>,
    sidecars: Arc<dyn Sidecars>,
    waiting: Arc<Waiting>,
    outgoing: mpsc::Sender<Group>,
) {
    let mut left: Option<Brought> = None;
    loop {
        // Room first: what comes until there is some goes together.
        let Ok(room) = outgoing.reserve().await else { return };
        let first = match left.take() {
            Some(brought) => brought,
            None => match incoming.recv().await {
                Some(brought) => brought,
                None => return,
            },
        };
        let (mut batches, mut events, mut beside, mut bytes) =
            (vec![first.batch], first.events, first.sidecars, first.bytes);
        while let Ok(next) = incoming.try_recv() {
            if bytes + next.bytes > APPEND_BYTES || events.len() + next.events.len() > APPEND_EVENTS {
                left = Some(next);
                break;
            }
            bytes += next.bytes;
            batches.push(next.batch);
            events.extend(next.events);
            beside.extend(next.sidecars);
        }
        let written = put(Arc::clone(&sidecars), Arc::clone(&waiting), batches.clone(), beside);
        room.send(Group { batches, events, sidecars: tokio::spawn(written) });
    }
}

/// The channel between the two halves of the writer.
pub fn groups() -> (mpsc::Sender<Group>, mpsc::Receiver<Group>) {
    mpsc::channel(AHEAD)
}

async fn put(sidecars: Arc<dyn Sidecars>, waiting: Arc<Waiting>, batches: Vec<u64>, beside: Vec<NewSidecar>) {
    if beside.is_empty() {
        return;
    }
    let mut again = AGAIN.0;
    while waiting.any(&batches) {
        match sidecars.put(beside.clone()).await {
            Ok(()) => return,
            // Said once, however often it is tried again.
            Err(error) if error.retryable() => {
                if again == AGAIN.0 {
                    tracing::warn!(%error, "sidecars wait to be written");
                }
            }
            Err(error) => {
                tracing::error!(%error, "sidecars are refused");
                return waiting.refuse(&batches, "its pieces are refused");
            }
        }
        tokio::time::sleep(again).await;
        again = (again * 2).min(AGAIN.1);
    }
}
