//! The registers of the organisation: what kinds of entry there are, what an event does to one, how an entry
//! stands at an instant, what a change changes, and what it contradicts.
//!
//! Pure. A register is changed by events only, so an entry is the list of its versions (`book`), and everything
//! else follows from it. Only header fields are read: nothing here changes when a person who was named as a
//! contact or approver is erased. A hold on one person is named in that person's index block and is no entry.

pub mod book;
pub mod contradiction;
pub mod diff;
pub mod standing;

pub use book::{Book, Known, Version};
pub use contradiction::{Contradiction, Proposal, contradictions};
pub use diff::Change;
pub use standing::{Standing, standing};

use crate::domain::event::{Body, EventType, RegisterKind};
use crate::domain::time::{Timestamp, midnight};

/// What an event does to the entry it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Says everything about it, anew.
    Registers,
    /// Says more about it.
    Adds,
    Suspends,
    Ends,
    /// It counts as never in force.
    Annuls,
}

impl Act {
    /// Whether nothing is in force after it.
    pub fn stops(self) -> bool {
        matches!(self, Act::Suspends | Act::Ends | Act::Annuls)
    }
}

/// The register that events of a type belong to, and what they do there; `None` for all others.
pub fn of(event_type: EventType) -> Option<(RegisterKind, Act)> {
    use EventType::*;
    Some(match event_type {
        ControllerRegistered => (RegisterKind::Controller, Act::Registers),
        ServiceRegistered => (RegisterKind::Service, Act::Registers),
        ServiceTerminationNotified => (RegisterKind::Service, Act::Adds),
        ServiceTerminated => (RegisterKind::Service, Act::Ends),
        ActivityRegistered => (RegisterKind::Activity, Act::Registers),
        ActivityEnded => (RegisterKind::Activity, Act::Ends),
        RecipientRegistered => (RegisterKind::Recipient, Act::Registers),
        RecipientEnded => (RegisterKind::Recipient, Act::Ends),
        TransferMechanismRegistered => (RegisterKind::Mechanism, Act::Registers),
        TransferMechanismSuspended => (RegisterKind::Mechanism, Act::Suspends),
        TransferMechanismEnded => (RegisterKind::Mechanism, Act::Ends),
        TransferAssessed | AssessmentRecorded => (RegisterKind::Assessment, Act::Registers),
        PolicyPublished => (RegisterKind::Policy, Act::Registers),
        RetentionRulePublished => (RegisterKind::RetentionRule, Act::Registers),
        RetentionRuleAnnulled => (RegisterKind::RetentionRule, Act::Annuls),
        LegalHoldPlaced => (RegisterKind::Hold, Act::Registers),
        LegalHoldReleased => (RegisterKind::Hold, Act::Ends),
        BreachDetected => (RegisterKind::Breach, Act::Registers),
        BreachAssessed | BreachNotified => (RegisterKind::Breach, Act::Adds),
        BreachClosed => (RegisterKind::Breach, Act::Ends),
        MappingAdded => (RegisterKind::Mapping, Act::Registers),
        LawDataActivated => (RegisterKind::Law, Act::Registers),
        _ => return None,
    })
}

/// Whether events of a type are kept in a register.
pub fn keeps(event_type: EventType) -> bool {
    of(event_type).is_some()
}

/// The entry that an event is a version of: its register and its name there. Where several fields name it, they
/// stand in the order of `EventType::register_id`, with a blank between. `None` for a hold on one person, and
/// where a name is missing.
pub fn named(body: &Body) -> Option<(RegisterKind, String)> {
    let (kind, _) = of(body.event_type())?;
    let one = |id: &Option<crate::domain::id::Id>| id.as_ref().map(ToString::to_string);
    let assessed = |kind: &Option<crate::domain::event::AssessmentKind>, of: &Option<_>| {
        Some(format!("{} {}", kind.as_ref()?, one(of)?))
    };
    let name = match body {
        Body::ControllerRegistered(body) => one(&body.controller),
        Body::ServiceRegistered(body) => one(&body.service),
        Body::ServiceTerminationNotified(body) => one(&body.service),
        Body::ServiceTerminated(body) => one(&body.service),
        Body::ActivityRegistered(body) => one(&body.activity),
        Body::ActivityEnded(body) => one(&body.activity),
        Body::RecipientRegistered(body) => one(&body.recipient_id),
        Body::RecipientEnded(body) => one(&body.recipient_id),
        Body::TransferMechanismRegistered(body) => one(&body.mechanism_id),
        Body::TransferMechanismSuspended(body) => one(&body.mechanism_id),
        Body::TransferMechanismEnded(body) => one(&body.mechanism_id),
        Body::TransferAssessed(body) => assessed(&body.kind, &body.subject_matter),
        Body::AssessmentRecorded(body) => assessed(&body.kind, &body.subject_matter),
        Body::PolicyPublished(body) => one(&body.policy_id),
        Body::RetentionRulePublished(body) => body.rule.as_ref().map(|rule| rule.id.to_string()),
        Body::RetentionRuleAnnulled(body) => one(&body.rule),
        Body::LegalHoldPlaced(body) => one(&body.hold_id),
        Body::LegalHoldReleased(body) => one(&body.hold_id),
        Body::BreachDetected(body) => one(&body.breach_id),
        Body::BreachAssessed(body) => one(&body.breach_id),
        Body::BreachNotified(body) => one(&body.breach_id),
        Body::BreachClosed(body) => one(&body.breach_id),
        Body::MappingAdded(body) => {
            let emitter = one(&body.emitter).map(|emitter| format!(" {emitter}")).unwrap_or_default();
            body.kind.zip(one(&body.term)).map(|(kind, term)| format!("{kind} {term}{emitter}"))
        }
        Body::LawDataActivated(body) => one(&body.name),
        _ => None,
    };
    Some((kind, name?))
}

/// From when on an event counts: from the instant that it states, else from when it happened. A retention rule
/// without a first day, and a mapping, count always.
pub fn begins(body: &Body, at: Timestamp) -> Timestamp {
    match body {
        Body::ActivityRegistered(body) => body.effective_at.unwrap_or(at),
        Body::ActivityEnded(body) => body.effective_at.unwrap_or(at),
        Body::ServiceTerminated(body) => body.end_at.unwrap_or(at),
        Body::PolicyPublished(body) => body.effective_at.unwrap_or(at),
        Body::LawDataActivated(body) => body.effective_at.unwrap_or(at),
        Body::TransferMechanismRegistered(body) => body.in_force_from().unwrap_or(at),
        Body::RetentionRulePublished(body) => {
            let first = body.rule.as_ref().and_then(|rule| rule.from);
            first.map_or(Timestamp::FIRST, |day| midnight(day, chrono_tz::UTC))
        }
        Body::MappingAdded(_) => Timestamp::FIRST,
        _ => at,
    }
}

/// The first instant at which what a version states holds no more, by its own last day.
pub fn expires(body: &Body) -> Option<Timestamp> {
    match body {
        Body::RecipientRegistered(body) => body.contract_to.as_ref().map(|day| day.ends()),
        Body::TransferMechanismRegistered(body) => body.expires_at.as_ref().map(|day| day.ends()),
        Body::TransferAssessed(body) => body.valid_until.map(|until| until.plus_ms(1)),
        Body::AssessmentRecorded(body) => body.valid_until.map(|until| until.plus_ms(1)),
        Body::RetentionRulePublished(body) => {
            body.rule.as_ref().and_then(|rule| rule.to).map(|day| midnight(day, chrono_tz::UTC))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::catalogue::fields_of;

    #[test]
    fn every_register_of_a_bundle_is_one_of_these_and_every_event_type_has_a_name() {
        for event_type in EventType::ALL {
            assert!(!event_type.is_register() || keeps(*event_type), "{event_type:?}");
            let empty = Body::from_json(*event_type, "{}").unwrap();
            assert_eq!(named(&empty), None, "{event_type:?}: nothing is named by nothing");
            if keeps(*event_type) {
                let fields = fields_of(&empty);
                assert!(
                    fields.iter().any(|(_, name)| *name == "reason")
                        || *event_type == EventType::BreachNotified,
                    "{event_type:?} has no place for why"
                );
            }
        }
        assert_eq!(EventType::ALL.iter().filter(|event_type| keeps(**event_type)).count(), 24);
    }
}
