//! Records made for tests and benchmarks.

use crate::domain::event::catalogue::*;
use crate::domain::event::*;
use crate::domain::id::*;
use crate::domain::identity::Kind;
use crate::domain::time::Timestamp;
pub use crate::log::memory::MemoryLog;
use crate::log::{NewRecord, PieceRef, StoredRecord};
use crate::record::{
    IndexKey, IndexKeys, IndexMark, Keys, MarkUse, Noted, PartRole, Party, Salt, Sealing, seal,
};
use bytes::Bytes;
use zeroize::Zeroizing;

/// One index key, of epoch 1.
pub struct OneKey;

const KEY: [u8; 32] = [7; 32];

impl IndexKeys for OneKey {
    fn index_key(&self, epoch: u32) -> Option<IndexKey> {
        (epoch == 1).then(|| IndexKey::new(1, &KEY))
    }
}

pub fn id(text: &str) -> Id {
    text.parse().unwrap()
}

pub fn day(n: i64) -> Timestamp {
    "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap().plus_ms(n * 86_400_000)
}

pub fn person(n: u32) -> SubjectId {
    // Spread like the vault's random handles.
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&(u64::from(n) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    bytes[12..].copy_from_slice(&n.to_be_bytes());
    SubjectId(bytes)
}

pub fn mark(n: u32) -> Mark {
    let mut bytes = [9; 16];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    Mark(bytes)
}

/// Somebody named by a made event.
#[derive(Debug, Clone)]
pub struct Named {
    pub role: PartRole,
    pub subject: Option<SubjectId>,
    pub marks: Vec<(Kind, Mark, MarkUse)>,
    pub noted: Noted,
}

pub fn subject(n: u32) -> Named {
    Named {
        role: PartRole::Person(Role::DataSubject),
        subject: Some(person(n)),
        marks: Vec::new(),
        noted: Noted::default(),
    }
}

pub fn in_role(n: u32, role: Role) -> Named {
    Named { role: PartRole::Person(role), ..subject(n) }
}

pub fn nobody(marks: &[(Kind, u32)]) -> Named {
    let marks = marks.iter().map(|(kind, n)| (*kind, mark(*n), MarkUse::Named)).collect();
    Named { role: PartRole::Person(Role::DataSubject), subject: None, marks, noted: Noted::default() }
}

/// An event to be sealed.
#[derive(Debug, Clone)]
pub struct Made {
    pub event: Event,
    pub named: Vec<Named>,
    /// When it is recorded; as soon as it happened if `None`.
    pub recorded_at: Option<Timestamp>,
}

pub fn event_id(n: u64) -> EventId {
    EventId(uuid::Uuid::from_u128(
        (u128::from(n) + 1) << 64 | u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15) << 2 | 3,
    ))
}

pub fn made(n: u64, at: Timestamp, body: Body, named: Vec<Named>) -> Made {
    let envelope = Envelope {
        service: Some(id("solar")),
        ..Envelope::new(event_id(n), id("kstar"), id("solar-app"), at)
    };
    Made { event: Event { envelope, people: Vec::new(), body }, named, recorded_at: None }
}

pub fn collected(cats: &[&str], purposes: &[&str], slot: Option<&str>) -> Body {
    let purposes = purposes.iter().map(|p| PurposeBasis { id: id(p), basis: LegalBasis::Contract }).collect();
    Body::DataCollected(Box::new(DataCollected {
        record_kind: (!cats.is_empty()).then(|| id("profile")),
        cats: List::new(cats.iter().map(|cat| id(cat)).collect()).unwrap(),
        purposes: List::new(purposes).unwrap(),
        slot: slot.map(id),
        ..DataCollected::default()
    }))
}

/// Seals an event. Tags and salts depend on the event's id only, so that a run can be repeated.
pub fn sealed(made: &Made) -> NewRecord {
    let key = Zeroizing::new([3u8; 32]);
    let parties: Vec<Party<'_>> = made
        .named
        .iter()
        .map(|named| Party {
            role: named.role,
            keys: named.subject.map(|subject| Keys {
                subject,
                link: &key,
                year: None,
                identity: &key,
                evidence: &key,
            }),
            ids: named
                .marks
                .iter()
                .map(|(kind, mark, usage)| IndexMark { kind: *kind, mark: *mark, usage: *usage })
                .collect(),
            noted: named.noted.clone(),
        })
        .collect();
    let index_key = IndexKey::new(1, &KEY);
    let how = Sealing {
        recorded_at: made.recorded_at.unwrap_or(made.event.envelope.occurred_at.max(day(0))),
        salt: Salt(*made.event.envelope.event_id.as_bytes()),
        fingerprint: Mark([1; 16]),
        index_key: &index_key,
        organisation: &key,
    };
    let record = seal(&made.event, &parties, &how).unwrap();
    NewRecord {
        emitter: made.event.envelope.emitter.clone(),
        event_id: made.event.envelope.event_id,
        header: record.header,
        pieces: record.pieces,
    }
}

/// The pieces of a record's parts that belong to a person, as an erasure purges them.
pub fn pieces_of(record: &StoredRecord, subject: SubjectId) -> Vec<PieceRef> {
    let header = crate::record::Header::parse(&record.header).unwrap();
    let mut pieces = Vec::new();
    for i in 0..header.parts.len() {
        let index = header.index_piece(i);
        let Some(Some(piece)) = record.pieces.get(index) else { continue };
        let block = header.open_index(i, piece, &IndexKey::new(1, &KEY)).unwrap();
        if block.subject == Some(subject) {
            let count = 1 + header.parts[i].boxes.len();
            pieces.extend(
                (index..index + count)
                    .map(|piece| PieceRef { position: record.position, piece: piece as u16 }),
            );
        }
    }
    pieces
}

pub fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}
