//! What a change of a register contradicts: all of it, each with the field, what stands against it, and why.
//!
//! A register is what officers say of their own house, so what cannot be is refused, on every way in. What
//! emitters tell of people is never judged here: an event that names an unknown recipient is kept and becomes a
//! finding.

mod approval;
mod mechanism;
mod references;
mod shortening;
mod times;
mod versions;

use std::fmt;

use crate::domain::event::{Body, ContradictionReason as Reason, Envelope, EventType, Person, RegisterKind};
use crate::domain::law::Law;
use crate::domain::register::book::{Known, Version};
use crate::domain::register::{Act, begins, named, of};
use crate::domain::time::Timestamp;

/// A register event that is about to be recorded.
#[derive(Debug, Clone, Copy)]
pub struct Proposal<'a> {
    pub envelope: &'a Envelope,
    pub people: &'a [Person],
    pub body: &'a Body,
    /// The name under which its publisher is known to custody.
    pub publisher: &'a str,
    /// When it is recorded.
    pub now: Timestamp,
}

/// One thing that a change contradicts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// From the event, in the API's naming, such as `transfer_mechanism_registered.importer`.
    pub field: String,
    pub reason: Reason,
    /// What it contradicts.
    pub kind: RegisterKind,
    pub id: String,
    /// The event that says so; `None` where there is none, or it is part of the same request.
    pub position: Option<u64>,
}

/// Everything that a change contradicts; empty for what is no register event. `law` is the adopted one.
pub fn contradictions(new: &Proposal<'_>, known: &Known<'_>, law: &Law) -> Vec<Contradiction> {
    let Some(((kind, id), (_, act))) = named(new.body).zip(of(new.body.event_type())) else {
        return Vec::new();
    };
    let subject = Subject {
        new,
        known,
        law,
        kind,
        act,
        from: begins(new.body, new.envelope.occurred_at),
        versions: known.versions(kind, &id),
        id,
    };
    let mut found = Vec::new();
    versions::check(&subject, &mut found);
    times::check(&subject, &mut found);
    references::check(&subject, &mut found);
    mechanism::check(&subject, &mut found);
    approval::check(&subject, &mut found);
    found
}

/// Whether the registers have to be asked. What places a hold or tells of a breach is taken at any time, also
/// while the registers cannot be read.
pub fn asks_registers(event_type: EventType) -> bool {
    of(event_type).is_some() && !matches!(event_type, EventType::LegalHoldPlaced | EventType::BreachDetected)
}

/// The entry that a change is about.
struct Subject<'a> {
    new: &'a Proposal<'a>,
    known: &'a Known<'a>,
    law: &'a Law,
    kind: RegisterKind,
    act: Act,
    id: String,
    from: Timestamp,
    /// Those of the entry that count.
    versions: Vec<&'a Version>,
}

impl Subject<'_> {
    /// A contradiction of a field of the body with something registered.
    fn at(
        &self,
        field: &str,
        reason: Reason,
        (kind, id): (RegisterKind, &str),
        by: Option<&Version>,
    ) -> Contradiction {
        Contradiction {
            field: format!("{}.{field}", self.new.body.event_type().field()),
            reason,
            kind,
            id: id.to_owned(),
            position: by.map(|by| by.position).filter(|position| *position != Version::UNRECORDED),
        }
    }

    /// A contradiction with an earlier version of the entry itself.
    fn own(&self, field: &str, reason: Reason, by: Option<&Version>) -> Contradiction {
        self.at(field, reason, (self.kind, &self.id), by)
    }

    /// The versions that register the entry.
    fn registered(&self) -> impl DoubleEndedIterator<Item = &Version> {
        self.versions.iter().copied().filter(|version| version.act() == Act::Registers)
    }

    /// The field that names the entry.
    fn name_field(&self) -> &'static str {
        match self.kind {
            RegisterKind::Controller => "controller",
            RegisterKind::Service => "service",
            RegisterKind::Activity => "activity",
            RegisterKind::Recipient => "recipient_id",
            RegisterKind::Mechanism => "mechanism_id",
            RegisterKind::Assessment => "subject_matter",
            RegisterKind::Policy => "policy_id",
            RegisterKind::RetentionRule if self.act == Act::Registers => "rule.id",
            RegisterKind::RetentionRule => "rule",
            RegisterKind::Hold => "hold_id",
            RegisterKind::Breach => "breach_id",
            RegisterKind::Mapping => "term",
            RegisterKind::Law => "name",
        }
    }
}

impl fmt::Display for Contradiction {
    /// Ends with the stable reason in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Contradiction { kind, id, reason, .. } = self;
        match reason {
            Reason::Unknown => write!(f, "names {kind} {id}, which is not registered")?,
            Reason::Ended => write!(f, "names {kind} {id}, which has ended")?,
            Reason::NotRegistered => write!(f, "{kind} {id} is not registered")?,
            Reason::AlreadyEnded => write!(f, "{kind} {id} has ended already")?,
            Reason::EndsBeforeStart => write!(f, "lies before the beginning of {kind} {id}")?,
            Reason::VersionRepeated => {
                write!(f, "a version of this name says something else of {kind} {id}")?
            }
            Reason::VersionsOverlap => {
                write!(f, "another version of {kind} {id} is in force at the same time")?
            }
            Reason::OtherController => write!(f, "{kind} {id} is registered under another controller")?,
            Reason::OtherCountry => write!(f, "is not the country in which {kind} {id} is registered")?,
            Reason::UnknownMechanismKind => write!(f, "is no kind of mechanism that the law {id} knows")?,
            Reason::OtherRegime => write!(f, "is not the regime of this kind of mechanism in the law {id}")?,
            Reason::ModuleMissing => {
                f.write_str("is required: standard contractual clauses have a module")?
            }
            Reason::ModuleGiven => f.write_str("may not be stated: this kind of mechanism has no modules")?,
            Reason::UnknownLaw => {
                write!(f, "no document of the law {id} with this version and hash is known")?
            }
            Reason::ApproverMissing => {
                f.write_str("names no staff: a shorter period has to be approved by somebody")?
            }
            Reason::ApproverIsPublisher => f.write_str("names only the publisher, who may not approve it")?,
            Reason::ShortenedTooSoon => write!(
                f,
                "data would be kept for less long than by {kind} {id}: this begins at least 72 hours after it is \
                 published"
            )?,
            Reason::MapsToItself => write!(f, "{kind} {id} is mapped to itself")?,
        }
        if let Some(position) = self.position {
            write!(f, ", by the event at position {position}")?;
        }
        write!(f, " ({reason})")
    }
}

#[cfg(test)]
mod tests;
