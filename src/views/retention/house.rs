//! What holds for everybody: the rules, what became of the services, holds and orders that name no person, and which
//! emitters are silent.

use std::collections::BTreeSet;

use crate::domain::datum::Selector;
use crate::domain::event::{Body, EventType, RetentionRule};
use crate::domain::id::Id;
use crate::domain::retention::{Act, Fact};
use crate::domain::time::Timestamp;
use crate::views::Error;
use crate::views::ask::Ask;
use crate::views::decode::Decoded;
use crate::views::lock;

/// As known before a position.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct House {
    /// Every version of every rule; of two under one id the later.
    pub rules: Vec<RetentionRule>,
    pub facts: Vec<Fact>,
    /// Services whose emitters were silent for longer than they allow themselves.
    pub silent: BTreeSet<Id>,
}

/// Events about nobody that decide how long data stay.
const TYPES: [EventType; 8] = [
    EventType::RetentionRulePublished,
    EventType::RetentionRuleAnnulled,
    EventType::ServiceRegistered,
    EventType::ServiceTerminationNotified,
    EventType::ServiceTerminated,
    EventType::LegalHoldPlaced,
    EventType::LegalHoldReleased,
    EventType::AuthorityDeletionOrdered,
];

impl Ask {
    /// What holds for everybody as known before a position; emitters are silent or not at an instant.
    pub fn house(&self, known_at: u64, at: Timestamp) -> Result<House, Error> {
        let mut house = House::default();
        self.reach.decode_all(&self.positions_of(&TYPES, known_at)?, |event| {
            // What names a person stands among the person's own.
            if event.data_subjects().next().is_none() {
                house.add(&event);
            }
            Ok(())
        })?;
        let registers = lock::read(&self.generation.shared.registers).clone();
        let silent = self.silences(&registers, known_at, at)?;
        house.silent = silent.into_iter().map(|silence| silence.service).collect();
        Ok(house)
    }
}

impl House {
    fn add(&mut self, event: &Decoded) {
        macro_rules! of {
            ($body:ident) => {
                Selector {
                    service: $body.service,
                    record_kind: $body.record_kind,
                    category: $body.category,
                    slot: $body.slot.into(),
                }
            };
        }
        let Ok(body) = Body::from_json(event.event_type, &event.body_json) else { return };
        let mut at = event.at;
        let act = match body {
            Body::RetentionRulePublished(body) => {
                let Some(rule) = body.rule else { return };
                self.rules.retain(|other| other.id != rule.id);
                self.rules.push(rule);
                return;
            }
            Body::RetentionRuleAnnulled(body) => {
                let Some(version) = body.version.or(body.rule) else { return };
                Act::RuleAnnulled { version }
            }
            Body::ServiceRegistered(body) => {
                let Some(service) = body.service else { return };
                Act::ServiceRegistered { service, evidence_from: body.evidence_from }
            }
            Body::ServiceTerminationNotified(body) => {
                let Some(service) = body.service else { return };
                at = body.notice_at.unwrap_or(at);
                Act::TerminationNotified { service }
            }
            Body::ServiceTerminated(body) => {
                let Some(service) = body.service else { return };
                at = body.end_at.unwrap_or(at);
                Act::ServiceTerminated { service }
            }
            Body::LegalHoldPlaced(body) => {
                let Some(hold) = body.hold_id else { return };
                Act::HoldPlaced { of: of!(body), hold }
            }
            Body::LegalHoldReleased(body) => {
                let Some(hold) = body.hold_id else { return };
                Act::HoldReleased { hold }
            }
            Body::AuthorityDeletionOrdered(body) => {
                let Some(order) = body.order_id else { return };
                Act::DeletionOrdered { of: of!(body), order }
            }
            _ => return,
        };
        self.facts.push(Fact { at, id: None, backfill: false, act });
    }
}
