//! All versions of all entries, and the same with what is about to be recorded.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::event::{Body, Envelope, RegisterKind};
use crate::domain::id::Id;
use crate::domain::register::{Act, begins, named, of};
use crate::domain::time::Timestamp;

/// One register event.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// `Version::UNRECORDED` for one that is about to be recorded.
    pub position: u64,
    pub recorded_at: Timestamp,
    /// From when on it counts.
    pub from: Timestamp,
    /// When it happened.
    pub at: Timestamp,
    pub envelope: Envelope,
    /// Header fields only.
    pub body: Body,
    /// Position of the event that took it back.
    pub retracted_by: Option<u64>,
}

impl Version {
    /// Behind every record.
    pub const UNRECORDED: u64 = u64::MAX;

    pub fn new(position: u64, recorded_at: Timestamp, envelope: Envelope, body: Body) -> Version {
        let at = envelope.counts_as_of(recorded_at);
        Version { position, recorded_at, from: begins(&body, at), at, envelope, body, retracted_by: None }
    }

    /// Whether it stands in the log.
    pub fn is_recorded(&self) -> bool {
        self.position != Version::UNRECORDED
    }

    pub fn act(&self) -> Act {
        // A book holds no other events.
        of(self.body.event_type()).map_or(Act::Adds, |(_, act)| act)
    }

    /// Whether it counted as known before a position.
    pub fn is_known(&self, known_at: u64) -> bool {
        self.position < known_at && self.retracted_by.is_none_or(|by| by >= known_at)
    }

    /// Why it was recorded, as a code.
    pub fn reason(&self) -> Option<&Id> {
        match &self.body {
            Body::ControllerRegistered(body) => body.reason.as_ref(),
            Body::ServiceRegistered(body) => body.reason.as_ref(),
            Body::ServiceTerminationNotified(body) => body.reason.as_ref(),
            Body::ServiceTerminated(body) => body.reason.as_ref(),
            Body::ActivityRegistered(body) => body.reason.as_ref(),
            Body::ActivityEnded(body) => body.reason.as_ref(),
            Body::RecipientRegistered(body) => body.reason.as_ref(),
            Body::RecipientEnded(body) => body.reason.as_ref(),
            Body::TransferMechanismRegistered(body) => body.reason.as_ref(),
            Body::TransferMechanismSuspended(body) => body.reason.as_ref(),
            Body::TransferMechanismEnded(body) => body.reason.as_ref(),
            Body::TransferAssessed(body) => body.reason.as_ref(),
            Body::AssessmentRecorded(body) => body.reason.as_ref(),
            Body::PolicyPublished(body) => body.reason.as_ref(),
            Body::RetentionRulePublished(body) => body.reason.as_ref(),
            Body::RetentionRuleAnnulled(body) => body.reason.as_ref(),
            Body::LegalHoldPlaced(body) => body.reason.as_ref(),
            Body::LegalHoldReleased(body) => body.reason.as_ref(),
            Body::BreachDetected(body) => body.reason.as_ref(),
            Body::BreachAssessed(body) => body.reason.as_ref(),
            Body::BreachNotified(body) => body.delay_reason.as_ref(),
            Body::BreachClosed(body) => body.reason.as_ref(),
            Body::MappingAdded(body) => body.reason.as_ref(),
            Body::LawDataActivated(body) => body.reason.as_ref(),
            _ => None,
        }
    }
}

/// States why, where a register event has a place for it and says nothing yet.
pub fn give_reason(body: &mut Body, reason: &Id) {
    let place = match body {
        Body::ControllerRegistered(body) => &mut body.reason,
        Body::ServiceRegistered(body) => &mut body.reason,
        Body::ServiceTerminationNotified(body) => &mut body.reason,
        Body::ServiceTerminated(body) => &mut body.reason,
        Body::ActivityRegistered(body) => &mut body.reason,
        Body::ActivityEnded(body) => &mut body.reason,
        Body::RecipientRegistered(body) => &mut body.reason,
        Body::RecipientEnded(body) => &mut body.reason,
        Body::TransferMechanismRegistered(body) => &mut body.reason,
        Body::TransferMechanismSuspended(body) => &mut body.reason,
        Body::TransferMechanismEnded(body) => &mut body.reason,
        Body::TransferAssessed(body) => &mut body.reason,
        Body::AssessmentRecorded(body) => &mut body.reason,
        Body::PolicyPublished(body) => &mut body.reason,
        Body::RetentionRulePublished(body) => &mut body.reason,
        Body::RetentionRuleAnnulled(body) => &mut body.reason,
        Body::LegalHoldPlaced(body) => &mut body.reason,
        Body::LegalHoldReleased(body) => &mut body.reason,
        Body::BreachDetected(body) => &mut body.reason,
        Body::BreachAssessed(body) => &mut body.reason,
        Body::BreachClosed(body) => &mut body.reason,
        Body::MappingAdded(body) => &mut body.reason,
        Body::LawDataActivated(body) => &mut body.reason,
        _ => return,
    };
    if place.is_none() {
        *place = Some(reason.clone());
    }
}

/// All versions, by register and name, each list by when its versions count from and by position.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Book {
    entries: BTreeMap<(RegisterKind, String), Vec<Arc<Version>>>,
    /// Where each version stands, so that it can be found when it is taken back.
    names: BTreeMap<u64, (RegisterKind, String)>,
}

impl Book {
    pub const EMPTY: Book = Book { entries: BTreeMap::new(), names: BTreeMap::new() };

    /// Takes an event of any type; what names no entry is passed over.
    pub fn add(&mut self, version: Version) {
        let Some(name) = named(&version.body) else { return };
        if version.position != Version::UNRECORDED {
            self.names.insert(version.position, name.clone());
        }
        let versions = self.entries.entry(name).or_default();
        // Of those that are not recorded the later one counts.
        let at = versions
            .partition_point(|known| (known.from, known.position) <= (version.from, version.position));
        versions.insert(at, Arc::new(version));
    }

    /// Notes that the event at a position was taken back, or counts again.
    pub fn retract(&mut self, position: u64, by: Option<u64>) {
        let Some(versions) = self.names.get(&position).and_then(|name| self.entries.get_mut(name)) else {
            return;
        };
        for version in versions.iter_mut().filter(|version| version.position == position) {
            Arc::make_mut(version).retracted_by = by;
        }
    }

    /// All versions of an entry, also those taken back.
    pub fn versions(&self, kind: RegisterKind, name: &str) -> &[Arc<Version>] {
        self.entries.get(&(kind, name.to_owned())).map(Vec::as_slice).unwrap_or_default()
    }

    /// The entries of one register, by name.
    pub fn of(&self, kind: RegisterKind) -> impl Iterator<Item = (&str, &[Arc<Version>])> {
        let from = (kind, String::new());
        let all = self.entries.range(from..).take_while(move |((of, _), _)| *of == kind);
        all.map(|((_, name), versions)| (name.as_str(), versions.as_slice()))
    }
}

/// What is registered now, and what is about to be before the event in question.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    pub book: &'a Book,
    pub fresh: &'a Book,
    /// Of the book only what was known before this position.
    pub known_at: u64,
}

impl<'a> Known<'a> {
    /// The versions of an entry that count, by when they count from.
    pub fn versions(&self, kind: RegisterKind, name: &str) -> Vec<&'a Version> {
        let recorded = self.book.versions(kind, name).iter();
        let mut all: Vec<&Version> = recorded
            .filter(|version| version.is_known(self.known_at))
            .chain(self.fresh.versions(kind, name))
            .map(Arc::as_ref)
            .collect();
        // Stable: of two that are about to be recorded the earlier stays before the later.
        all.sort_by_key(|version| (version.from, version.position));
        all
    }

    /// All entries of a register with the versions that count.
    pub fn of(&self, kind: RegisterKind) -> Vec<(&'a str, Vec<&'a Version>)> {
        let mut names: Vec<&str> =
            self.book.of(kind).chain(self.fresh.of(kind)).map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(|name| (name, self.versions(kind, name))).collect()
    }
}
