//! How a record stands in KurrentDB, and how the node's own copy of it stands in its local segments.
//!
//! An event holds the header as its data, and as its metadata what the port names beside it: emitter, event
//! id, number of pieces. Neither names a person. The pieces lie elsewhere (`log/sidecars`).
//!
//! The local copy holds the header, and in place of the pieces one *note*: where in `$all` it came from, how
//! many pieces it has, whether it is one that counts.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::wire::{Place, ReadEvent, RecordedEvent};
use crate::domain::id::{Digest, EventId, Id};
use crate::domain::time::Timestamp;
use crate::limits;
use crate::log::NewRecord;

/// The type of our events.
pub const TYPE: &str = "custody.record.v1";
/// Pieces that a record may have, as `log/segments` allows.
const PIECES: u16 = 1024;

/// SHA-256(0x00 ‖ bytes), by which a sidecar is found; the leaf hash of RFC 6962.
pub fn leaf(header: &[u8]) -> Digest {
    Digest(Sha256::new_with_prefix([0u8]).chain_update(header).finalize().into())
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    emitter: Id,
    event_id: Uuid,
    pieces: u16,
}

/// Metadata of a record's event.
pub fn metadata(record: &NewRecord) -> Bytes {
    let pieces = u16::try_from(record.pieces.len()).unwrap_or(u16::MAX);
    let metadata = Metadata { emitter: record.emitter.clone(), event_id: record.event_id.0, pieces };
    // Ids and numbers have a JSON form always.
    serde_json::to_vec(&metadata).unwrap_or_default().into()
}

/// KurrentDB's own id of an event: the same whenever the same event is sent again.
pub fn stored_id(emitter: &Id, event_id: &EventId) -> Uuid {
    digest_id(&[emitter.as_str().as_bytes(), &[0], event_id.0.as_bytes()])
}

fn digest_id(parts: &[&[u8]]) -> Uuid {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    let hash: [u8; 32] = hash.finalize().into();
    uuid::Builder::from_custom_bytes(std::array::from_fn(|i| hash[i])).into_uuid()
}

/// An event under our prefix, as a subscription brought it.
#[derive(Debug, Clone)]
pub struct Incoming {
    pub stream: Bytes,
    pub revision: u64,
    pub place: Place,
    pub created: Timestamp,
    pub data: Bytes,
    is_ours: bool,
    metadata: Bytes,
}

/// What an incoming event says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub emitter: Id,
    pub event_id: EventId,
    pub pieces: u16,
}

impl Incoming {
    /// `None` where the message holds no event.
    pub fn new(message: ReadEvent) -> Option<Incoming> {
        let RecordedEvent { stream, revision, prepare, commit, system, metadata, data } = message.event?;
        let ticks: i64 = system.get("created").and_then(|ticks| ticks.parse().ok()).unwrap_or_default();
        Some(Incoming {
            stream: stream?.name,
            revision,
            place: Place { commit, prepare },
            created: Timestamp::EPOCH.plus_ms(ticks / 10_000),
            data,
            is_ours: system.get("type").is_some_and(|name| name == TYPE),
            metadata,
        })
    }

    /// `None` where no record can be read from it.
    pub fn named(&self) -> Option<Named> {
        if !self.is_ours || self.data.is_empty() || self.data.len() > limits::HEADER_BYTES {
            return None;
        }
        let Metadata { emitter, event_id, pieces } = serde_json::from_slice(&self.metadata).ok()?;
        (pieces <= PIECES).then_some(Named { emitter, event_id: EventId(event_id), pieces })
    }

    /// A name of its own for what is kept in its place.
    pub fn own_id(&self) -> EventId {
        EventId(digest_id(&[&self.stream, &[0], &self.revision.to_be_bytes()]))
    }
}

/// Why the log keeps something else in an event's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The same (emitter, event id) stands at an earlier position already.
    Repeats(u64),
    /// It is no record of ours.
    Unreadable,
}

/// An event that has a position and does not count. The same on every node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside {
    pub why: Why,
    /// Leaf hash of what it holds.
    pub leaf: Digest,
    pub id: EventId,
    pub at: Timestamp,
}

/// See the module. Never all zero, because its first byte is its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note {
    pub place: Place,
    pub pieces: u16,
    pub counts: bool,
}

const NOTE: usize = 20;

impl Note {
    pub fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(NOTE);
        bytes.extend_from_slice(&[1, u8::from(self.counts)]);
        bytes.extend_from_slice(&self.pieces.to_le_bytes());
        bytes.extend_from_slice(&self.place.commit.to_le_bytes());
        bytes.extend_from_slice(&self.place.prepare.to_le_bytes());
        bytes.into()
    }

    pub fn decode(pieces: &[Option<Bytes>]) -> Option<Note> {
        let [Some(bytes)] = pieces else { return None };
        let bytes: &[u8; NOTE] = bytes.as_ref().try_into().ok()?;
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let place = Place { commit: number(4), prepare: number(12) };
        let pieces = u16::from_le_bytes([bytes[2], bytes[3]]);
        (bytes[0] == 1).then_some(Note { place, pieces, counts: bytes[1] == 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::contract::record;

    #[test]
    fn a_note_reads_back_and_nothing_else_is_one() {
        let note = Note { place: Place { commit: 7, prepare: 6 }, pieces: 3, counts: true };
        assert_eq!(Note::decode(&[Some(note.encode())]), Some(note));
        assert_eq!(Note::decode(&[None]), None);
        assert_eq!(Note::decode(&[Some(Bytes::from_static(b"x"))]), None);
    }

    #[test]
    fn an_event_says_what_the_record_was() {
        let record = record("app", 1);
        let mut event = Incoming {
            stream: "s".into(),
            revision: 0,
            place: Place::default(),
            created: Timestamp::EPOCH,
            data: record.header.clone(),
            is_ours: true,
            metadata: metadata(&record),
        };
        let named = Named { emitter: record.emitter.clone(), event_id: record.event_id, pieces: 2 };
        assert_eq!(event.named(), Some(named));
        event.metadata = Bytes::from_static(b"{}");
        assert_eq!(event.named(), None);
        assert_eq!(
            stored_id(&record.emitter, &record.event_id),
            stored_id(&record.emitter, &record.event_id)
        );
    }
}
