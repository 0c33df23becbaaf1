//! Which events make entries of registers, and which fields name an entry.
//!
//! Pure and small, because two readers that know nothing of each other use it: the views, and whoever
//! recomputes a bundle's registers from its events.

use crate::domain::event::EventType;

impl EventType {
    /// The header fields that together name the entry of a register that an event of this type is a
    /// version of, with a dot before a field of a field; `None` if it is of no register. A field that is not
    /// stated names nothing: a mapping without an emitter is everybody's. An event of a type that may be about
    /// a person makes an entry only where it names one: a hold on one person names none.
    pub fn register_id(self) -> Option<&'static [&'static str]> {
        use EventType::*;
        Some(match self {
            ControllerRegistered => &["controller"],
            ServiceRegistered | ServiceTerminationNotified | ServiceTerminated => &["service"],
            ActivityRegistered | ActivityEnded => &["activity"],
            PolicyPublished => &["policy_id"],
            LawDataActivated => &["name"],
            MappingAdded => &["kind", "term", "emitter"],
            RecipientRegistered | RecipientEnded => &["recipient_id"],
            TransferMechanismRegistered | TransferMechanismSuspended | TransferMechanismEnded => {
                &["mechanism_id"]
            }
            TransferAssessed | AssessmentRecorded => &["kind", "subject_matter"],
            RetentionRulePublished => &["rule.id"],
            RetentionRuleAnnulled => &["rule", "version"],
            LegalHoldPlaced | LegalHoldReleased => &["hold_id"],
            BreachDetected | BreachAssessed | BreachNotified | BreachClosed => &["breach_id"],
            _ => return None,
        })
    }

    /// Whether events of this type are kept in a register.
    pub fn is_register(self) -> bool {
        self.register_id().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::catalogue::fields_of;
    use crate::domain::event::{About, Body, Place};

    #[test]
    fn an_entry_is_named_by_fields_of_the_header() {
        let registers = EventType::ALL.iter().filter(|event_type| event_type.is_register());
        assert_eq!(registers.clone().count(), 24);
        for event_type in registers {
            let fields = fields_of(&Body::from_json(*event_type, "{}").unwrap());
            for name in event_type.register_id().unwrap() {
                let field = name.split('.').next().unwrap();
                assert!(fields.contains(&(Place::Header, field)), "{event_type:?} {name}");
            }
            assert_ne!(event_type.about(), About::Person, "{event_type:?}");
        }
    }
}
