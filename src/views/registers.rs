//! What the organisation registered and what of it counts, in memory, in the form in which events are resolved
//! and judged by it: services, activities and their revisions, recipients, policies, mechanisms, mappings. Whole
//! histories are in `book`. Bounded by the number of register events.
//!
//! Only header fields are read, so that the registers do not change when a contact person named by
//! a register event is erased.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono_tz::Tz;

use crate::domain::event::catalogue::*;
use crate::domain::event::{AssessmentKind, AssessmentResult, Body, MappingKind};
use crate::domain::id::{Digest, Id};
use crate::domain::law::{self, Law};
use crate::domain::time::Timestamp;
use crate::domain::transfer::mechanism::{Mechanism, Version};
use crate::views::Error;
use crate::views::book;
use crate::views::decode::Decoded;
use crate::views::reach::Reach;
use crate::views::retract::{Gone, is_retracted};
use crate::views::shape::Shape;
use crate::views::store::Reading;

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
    /// When mechanisms were suspended, or ended.
    pub mechanism_stops: BTreeMap<Id, History<Stop>>,
    /// By what was assessed.
    pub assessments: BTreeMap<Id, History<Assessment>>,
    pub mappings: BTreeMap<Id, History<MappingAdded>>,
    pub laws: History<LawDataActivated>,
    /// Notices and ends of services.
    pub others: History<Body>,
    /// A law that counts instead of whatever was adopted, to see what it would change.
    pub as_if: Option<&'static Law>,
}

/// A mechanism allows nothing from here on, until it is registered again.
#[derive(Debug, Clone, PartialEq)]
pub struct Stop {
    pub suspended: bool,
    pub reason: Option<Id>,
}

/// What an assessment came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessment {
    pub kind: AssessmentKind,
    pub result: AssessmentResult,
    pub valid_until: Option<Timestamp>,
    pub document_sha256: Option<Digest>,
}

impl Assessment {
    /// Whether it was good, and still was at an instant.
    pub fn holds(&self, at: Timestamp) -> bool {
        self.result != AssessmentResult::NotOk && self.valid_until.is_none_or(|until| at <= until)
    }
}

fn assessment(
    kind: Option<AssessmentKind>,
    result: Option<AssessmentResult>,
    valid_until: Option<Timestamp>,
    document_sha256: Option<Digest>,
) -> Option<Assessment> {
    Some(Assessment { kind: kind?, result: result?, valid_until, document_sha256 })
}

fn put<T>(history: &mut History<T>, position: u64, from: Timestamp, body: T) {
    let at = history.partition_point(|entry| (entry.from, entry.position) < (from, position));
    history.insert(at, Entry { position, from, body: Arc::new(body) });
}

/// The entry in force at an instant, of those below a position.
pub fn in_force<T>(history: Option<&History<T>>, at: Timestamp, known_at: u64) -> Option<&Entry<T>> {
    history?.iter().rev().find(|entry| entry.from <= at && entry.position < known_at)
}

impl Registers {
    /// Reads all register events again, without those taken back.
    pub fn load(reading: &Reading, reach: &Reach, gone: &Gone) -> Result<Registers, Error> {
        let positions = book::positions(reading)?;
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
            Body::TransferMechanismSuspended(b) => {
                if let Some(id) = b.mechanism_id {
                    let stop = Stop { suspended: true, reason: b.reason };
                    put(self.mechanism_stops.entry(id).or_default(), position, at, stop);
                }
            }
            Body::TransferMechanismEnded(b) => {
                if let Some(id) = b.mechanism_id {
                    let stop = Stop { suspended: false, reason: b.reason };
                    put(self.mechanism_stops.entry(id).or_default(), position, at, stop);
                }
            }
            Body::TransferAssessed(b) => {
                let made = assessment(b.kind, b.result, b.valid_until, b.document_sha256);
                self.assessed(position, at, b.subject_matter, made);
            }
            Body::AssessmentRecorded(b) => {
                let made = assessment(b.kind, b.result, b.valid_until, b.document_sha256);
                self.assessed(position, at, b.subject_matter, made);
            }
            Body::LawDataActivated(b) => put(&mut self.laws, position, b.effective_at.unwrap_or(at), *b),
            Body::MappingAdded(b) => keep!(mappings, b, term, at),
            other @ (Body::ServiceTerminationNotified(_) | Body::ServiceTerminated(_)) => {
                put(&mut self.others, position, at, other)
            }
            // Others are asked for with their history only: `book`.
            _ => {}
        }
        Ok(())
    }

    fn assessed(&mut self, position: u64, at: Timestamp, of: Option<Id>, made: Option<Assessment>) {
        if let Some((of, made)) = of.zip(made) {
            put(self.assessments.entry(of).or_default(), position, at, made);
        }
    }

    /// The law that was adopted last, of those that begin by an instant. One that this program does not know is
    /// passed over.
    pub fn law(&self, at: Timestamp, known_at: u64) -> &'static Law {
        if let Some(law) = self.as_if {
            return law;
        }
        self.adoption(at, known_at).map_or_else(law::first, |(_, law)| law)
    }

    /// The event by which a law counts at an instant; `None` where none was adopted, and the first counts.
    pub fn adoption(&self, at: Timestamp, known_at: u64) -> Option<(u64, &'static Law)> {
        let adopted = self.laws.iter().rev().filter(|entry| entry.from <= at && entry.position < known_at);
        adopted.filter_map(|entry| Some((entry.position, law::by_hash(entry.body.sha256.as_ref()?)?))).next()
    }

    /// All versions of a mechanism over time, as known before a position.
    pub fn mechanism(&self, id: &Id, known_at: u64) -> Option<Mechanism> {
        let known = self.mechanisms.get(id)?.iter().filter(|entry| entry.position < known_at);
        let versions: Vec<_> = known
            .map(|entry| Version { at: entry.from, position: entry.position, body: &entry.body })
            .collect();
        let stops = self.mechanism_stops.get(id).into_iter().flatten();
        let stops: Vec<_> = stops.filter(|stop| stop.position < known_at).map(|stop| stop.from).collect();
        Mechanism::of(id, &versions, &stops)
    }

    /// Whether something was assessed, well, by an instant, and the assessment had not run out.
    pub fn is_assessed(&self, of: &Id, kind: AssessmentKind, at: Timestamp, known_at: u64) -> bool {
        let mut made = self.assessments.get(of).into_iter().flatten();
        made.any(|entry| {
            let known = entry.from <= at && entry.position < known_at;
            known && entry.body.kind == kind && entry.body.holds(at)
        })
    }

    /// Whose assessments a mechanism may rest on: its own, its importer's, the documents it names.
    pub fn assessed_for(&self, mechanism: &Id) -> Vec<&Id> {
        let versions = self.mechanisms.get(mechanism).into_iter().flatten();
        let named = versions.flat_map(|entry| {
            let body = &entry.body;
            [&body.mechanism_id, &body.importer, &body.tia_ref, &body.pipia_ref]
        });
        named.flatten().collect()
    }

    /// Where assessments of something begin to count, and cease to.
    pub fn assessment_bounds(&self, of: &Id) -> Vec<Timestamp> {
        let made = self.assessments.get(of).into_iter().flatten();
        made.flat_map(|entry| [Some(entry.from), entry.body.valid_until.map(|until| until.plus_ms(1))])
            .flatten()
            .collect()
    }

    /// What a term means: what an officer mapped it to, for its emitter or for all, else itself.
    pub fn mapped(&self, kind: MappingKind, term: &Id, emitter: &Id, known_at: u64) -> Id {
        let known = self.mappings.get(term).into_iter().flatten();
        let fits = known.filter(|entry| {
            let body = &entry.body;
            entry.position < known_at
                && body.kind == Some(kind)
                && body.emitter.as_ref().is_none_or(|of| of == emitter)
        });
        // The emitter's own before everybody's; of several the last.
        let newest = fits.max_by_key(|entry| (entry.body.emitter.is_some(), entry.from, entry.position));
        newest.and_then(|entry| entry.body.maps_to.clone()).unwrap_or_else(|| term.clone())
    }

    /// Adds a mapping that nobody recorded, as if it were the last that is known.
    pub fn suppose(&mut self, mapping: MappingAdded, at: Timestamp, known_at: u64) {
        if let Some(term) = mapping.term.clone() {
            put(self.mappings.entry(term).or_default(), known_at.saturating_sub(1), at, mapping);
        }
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

    /// The revision that fills in what an event of a shape leaves to its activity, after mappings.
    pub fn resolved(&self, shape: &Shape, at: Timestamp, known_at: u64) -> Option<Revision> {
        self.activity_at(&self.performed(shape, known_at)?, at, known_at)
    }

    /// The activity that events of a shape name, after mappings.
    pub fn performed(&self, shape: &Shape, known_at: u64) -> Option<Id> {
        let stated = shape.activity.as_ref()?;
        Some(self.mapped(MappingKind::Activity, stated, &shape.emitter, known_at))
    }

    /// Where the revisions of a shape's activity begin.
    pub fn revisions(&self, shape: &Shape, known_at: u64) -> Vec<Timestamp> {
        let Some(stated) = &shape.activity else { return Vec::new() };
        let meant = self.mapped(MappingKind::Activity, stated, &shape.emitter, known_at);
        self.activities.get(&meant).into_iter().flatten().map(|entry| entry.from).collect()
    }

    /// `changes_within` of a shape's activity, after mappings.
    pub fn shape_changes_within(
        &self,
        shape: &Shape,
        first: Timestamp,
        last: Timestamp,
        known_at: u64,
    ) -> bool {
        shape.activity.as_ref().is_some_and(|stated| {
            let meant = self.mapped(MappingKind::Activity, stated, &shape.emitter, known_at);
            self.changes_within(&meant, first, last, known_at)
        })
    }

    /// Whether an activity's revision changes after `first` and at or before `last`: then a tally
    /// over this span cannot be resolved as one.
    pub fn changes_within(&self, activity: &Id, first: Timestamp, last: Timestamp, known_at: u64) -> bool {
        self.activities.get(activity).is_some_and(|history| {
            history.iter().any(|entry| entry.from > first && entry.from <= last && entry.position < known_at)
        })
    }

    /// Where somebody stands to whom data go: as a recipient, else as a company of the group.
    pub fn importer_at(&self, importer: &Id, at: Timestamp, known_at: u64) -> Option<u64> {
        let recipient = self.recipient_at(importer, at, known_at).map(|entry| entry.position);
        recipient.or_else(|| Some(in_force(self.controllers.get(importer), at, known_at)?.position))
    }

    /// Who took over what a service held that has ended by an instant: as its end says, else its notice, else its
    /// registration.
    pub fn successor_of(&self, service: &Id, at: Timestamp) -> Option<Id> {
        let past = || self.others.iter().rev().filter(|entry| entry.from <= at);
        let ended = past().find_map(|entry| match &*entry.body {
            Body::ServiceTerminated(body) if body.service.as_ref() == Some(service) => {
                Some(body.end_at.is_none_or(|end| end <= at).then(|| body.successor_custodian.clone()))
            }
            _ => None,
        });
        let stated = ended.flatten()?;
        let noticed = || {
            past().find_map(|entry| match &*entry.body {
                Body::ServiceTerminationNotified(body) if body.service.as_ref() == Some(service) => {
                    body.successor_custodian.clone()
                }
                _ => None,
            })
        };
        let registered = || self.service_at(service, at, u64::MAX)?.body.successor_custodian.clone();
        stated.or_else(noticed).or_else(registered)
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
