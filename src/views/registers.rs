//! What the organisation registered, in memory, with its history: services, activities and their
//! revisions, recipients, policies, mechanisms, mappings. Bounded by the number of register events.
//!
//! Only header fields are read, so that the registers do not change when a contact person named by
//! a register event is erased.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono_tz::Tz;

use crate::domain::event::Body;
use crate::domain::event::catalogue::*;
use crate::domain::id::Id;
use crate::domain::time::Timestamp;
use crate::views::Error;
use crate::views::decode::Decoded;
use crate::views::reach::Reach;
use crate::views::retract::{Gone, is_retracted};
use crate::views::store::{Reading, tag};

/// One register event.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry<T> {
    pub position: u64,
    /// From when on it counts: its `effective_at` where it states one, else when it occurred.
    pub from: Timestamp,
    pub body: Arc<T>,
}

/// The history of one thing, sorted by when each entry begins to count, then by position.
type History<T> = Vec<Entry<T>>;

/// An activity's revision: how many entries of its history lie at or before it, in the order of
/// the log. 1 for the first.
#[derive(Debug, Clone, PartialEq)]
pub struct Revision {
    pub number: u64,
    pub entry: Entry<ActivityRegistered>,
}

/// Everything registered so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Registers {
    pub controllers: BTreeMap<Id, History<ControllerRegistered>>,
    pub services: BTreeMap<Id, History<ServiceRegistered>>,
    pub activities: BTreeMap<Id, History<ActivityRegistered>>,
    pub activity_ends: BTreeMap<Id, History<ActivityEnded>>,
    pub recipients: BTreeMap<Id, History<RecipientRegistered>>,
    pub recipient_ends: BTreeMap<Id, History<RecipientEnded>>,
    pub policies: BTreeMap<Id, History<PolicyPublished>>,
    pub mechanisms: BTreeMap<Id, History<TransferMechanismRegistered>>,
    pub mappings: BTreeMap<Id, History<MappingAdded>>,
    /// Register events without a look-up of their own: suspensions, assessments, law data, ends.
    pub others: History<Body>,
}

fn put<T>(history: &mut History<T>, position: u64, from: Timestamp, body: T) {
    let at = history.partition_point(|entry| (entry.from, entry.position) < (from, position));
    history.insert(at, Entry { position, from, body: Arc::new(body) });
}

/// The entry in force at an instant, of those below a position.
fn in_force<T>(history: Option<&History<T>>, at: Timestamp, known_at: u64) -> Option<&Entry<T>> {
    history?.iter().rev().find(|entry| entry.from <= at && entry.position < known_at)
}

impl Registers {
    /// Reads all register events again, without those taken back.
    pub fn load(reading: &Reading, reach: &Reach, gone: &Gone) -> Result<Registers, Error> {
        let mut positions = Vec::new();
        for row in reading.prefix(&[tag::REGISTER]) {
            let (key, _) = row?;
            let position = key.last_chunk::<8>().ok_or(super::codec::Malformed("register"))?;
            positions.push(u64::from_be_bytes(*position));
        }
        let mut registers = Registers::default();
        reach.decode_all(&positions, |event| {
            if !is_retracted(reading, &event, gone)? {
                registers.add(&event)?;
            }
            Ok(())
        })?;
        Ok(registers)
    }

    /// Adds one event. Entries find their place by when they begin to count, so the order of the
    /// log does not matter, except between two that begin at the same instant.
    pub fn add(&mut self, event: &Decoded) -> Result<(), Error> {
        let malformed = |e| Error::Record {
            position: event.position,
            source: crate::record::Error::malformed("register event", e),
        };
        let body = Body::from_json(event.event_type, &event.body_json).map_err(malformed)?;
        let (position, at) = (event.position, event.at);
        macro_rules! keep {
            ($map:ident, $body:ident, $key:ident, $from:expr) => {
                if let Some(key) = $body.$key.clone() {
                    put(self.$map.entry(key).or_default(), position, $from, *$body);
                }
            };
        }
        match body {
            Body::ControllerRegistered(b) => keep!(controllers, b, controller, at),
            Body::ServiceRegistered(b) => keep!(services, b, service, at),
            Body::ActivityRegistered(b) => keep!(activities, b, activity, b.effective_at.unwrap_or(at)),
            Body::ActivityEnded(b) => keep!(activity_ends, b, activity, b.effective_at.unwrap_or(at)),
            Body::RecipientRegistered(b) => keep!(recipients, b, recipient_id, at),
            Body::RecipientEnded(b) => keep!(recipient_ends, b, recipient_id, at),
            Body::PolicyPublished(b) => keep!(policies, b, policy_id, b.effective_at.unwrap_or(at)),
            Body::TransferMechanismRegistered(b) => keep!(mechanisms, b, mechanism_id, at),
            Body::MappingAdded(b) => keep!(mappings, b, term, at),
            other => put(&mut self.others, position, at, other),
        }
        Ok(())
    }

    /// The time zone of a service, by the newest registration at an instant; also by a later one
    /// if there was none yet, because a service has a zone before it is registered.
    pub fn service_tz(&self, service: &Id, at: Timestamp) -> Option<Tz> {
        self.service_at(service, at, u64::MAX)
            .or_else(|| self.services.get(service)?.first())
            .and_then(|entry| entry.body.tz)
    }

    pub fn service_at(
        &self,
        service: &Id,
        at: Timestamp,
        known_at: u64,
    ) -> Option<&Entry<ServiceRegistered>> {
        in_force(self.services.get(service), at, known_at)
    }

    /// The service that an emitter speaks for.
    pub fn service_of_emitter(&self, emitter: &Id, at: Timestamp) -> Option<&Entry<ServiceRegistered>> {
        self.services
            .values()
            .filter_map(|history| in_force(Some(history), at, u64::MAX))
            .find(|entry| entry.body.emitters.contains(emitter))
    }

    /// The revision of an activity in force at an instant. What is registered later counts for
    /// the past only from its own `effective_at` on.
    pub fn activity_at(&self, activity: &Id, at: Timestamp, known_at: u64) -> Option<Revision> {
        let history = self.activities.get(activity)?;
        let entry = in_force(Some(history), at, known_at)?;
        let number = history.iter().filter(|other| other.position <= entry.position).count() as u64;
        Some(Revision { number, entry: entry.clone() })
    }

    /// Whether an activity's revision changes after `first` and at or before `last`: then a tally
    /// over this span cannot be resolved as one.
    pub fn changes_within(&self, activity: &Id, first: Timestamp, last: Timestamp, known_at: u64) -> bool {
        self.activities.get(activity).is_some_and(|history| {
            history.iter().any(|entry| entry.from > first && entry.from <= last && entry.position < known_at)
        })
    }

    pub fn recipient_at(
        &self,
        recipient: &Id,
        at: Timestamp,
        known_at: u64,
    ) -> Option<&Entry<RecipientRegistered>> {
        let history = self.recipients.get(recipient);
        // A recipient has its name also for what was given before it was registered.
        in_force(history, at, known_at).or_else(|| history?.iter().find(|entry| entry.position < known_at))
    }
}
