//! What can be recorded: one event, its envelope, the people it names and its typed body.
//!
//! The catalogue (`event/catalogue`) is the single list of event types and their fields; the
//! stored form, the API's conversion and the tests are generated from it, so a field is added in
//! one place (and in `proto/`).

pub mod catalogue;
pub mod check;
pub mod compound;
pub mod enums;
pub mod register;
pub mod value;

pub use catalogue::{About, Body, EventType};
pub use compound::*;
pub use enums::*;
pub use value::*;

use crate::domain::id::{EventId, Id, Regime};
use crate::domain::identity::Identifier;
use crate::domain::time::Timestamp;

/// An event as its emitter stated it, checked, not yet sealed.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub envelope: Envelope,
    pub people: Vec<Person>,
    pub body: Body,
}

/// What every event says. Field names are those of the API and of the stored header.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    pub event_id: EventId,
    pub controller: Id,
    pub emitter: Id,
    pub emitter_seq: Option<u64>,
    pub service: Option<Id>,
    pub activity: Option<Id>,
    /// Stated ones only; otherwise the activity's count.
    pub regimes: Vec<Regime>,
    pub policy_version: Option<Id>,
    pub occurred_at: Timestamp,
    pub time_source: TimeSource,
    /// Device clock minus ours at receipt, in milliseconds; set by the server for device times.
    pub clock_offset: Option<i64>,
    /// Of batched or collective events; `occurred_at` is its end.
    pub window: Option<Window>,
    /// How many single acts the event stands for.
    pub count: Option<u64>,
    pub backfill: bool,
    pub import_id: Option<Id>,
    pub actor: Option<ActorKind>,
    pub personal: References,
}

impl Envelope {
    /// What must be said; nothing else is.
    pub fn new(event_id: EventId, controller: Id, emitter: Id, occurred_at: Timestamp) -> Self {
        Envelope {
            event_id,
            controller,
            emitter,
            emitter_seq: None,
            service: None,
            activity: None,
            regimes: Vec::new(),
            policy_version: None,
            occurred_at,
            time_source: TimeSource::Server,
            clock_offset: None,
            window: None,
            count: None,
            backfill: false,
            import_id: None,
            actor: None,
            personal: References::default(),
        }
    }

    /// When the event counts: a device's clock may run ahead, and then the receipt is what counts
    /// (`domain.md` 2.2).
    pub fn counts_as_of(&self, recorded_at: Timestamp) -> Timestamp {
        match self.time_source {
            TimeSource::Device => self.occurred_at.min(recorded_at),
            TimeSource::Server => self.occurred_at,
        }
    }
}

/// References that exist because of one person; they stand only in encrypted index blocks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    pub actor_ref: Option<Id>,
    pub correlation_id: Option<Id>,
    pub causation_id: Option<Id>,
}

/// Somebody an event names, by identifiers in normal form. Their values go to the vault, never
/// into a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Person {
    pub role: Role,
    pub identifiers: Vec<Identifier>,
}

/// Where a field of a body is kept (`domain.md` 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// H: the header; public, for ever.
    Header,
    /// I: the index block of a person's part; encrypted, purgeable.
    Index,
    /// S: sealed under the person's identity key.
    Identity,
    /// E: sealed under the person's evidence key.
    Evidence,
    /// M: sealed under a matter's key.
    Matter,
}

/// Walks the fields of a body, in catalogue order.
pub trait Visit {
    /// A field of the header or the index block.
    fn open<T: serde::Serialize + Unset>(&mut self, place: Place, name: &'static str, value: &T);
    /// A field of a sealed part.
    fn sealed(&mut self, place: Place, name: &'static str, value: &Sealed);
}
