//! What holds for everybody: the rules, what became of the services, holds and orders that name no person, and which
//! emitters are silent.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::datum::Selector;
use crate::domain::event::{Body, EventType, RegisterKind, RetentionRule};
use crate::domain::id::Id;
use crate::domain::register::{Book, Version};
use crate::domain::retention::{Act, Fact};
use crate::domain::time::{Timestamp, midnight};
use crate::views::Error;
use crate::views::ask::Ask;
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

/// Registers whose events decide how long data stay.
const REGISTERS: [RegisterKind; 3] = [RegisterKind::Service, RegisterKind::RetentionRule, RegisterKind::Hold];

/// A selector of data, by the fields that events have for it.
macro_rules! of {
    ($body:ident) => {
        Selector {
            service: $body.service.clone(),
            record_kind: $body.record_kind.clone(),
            category: $body.category.clone(),
            slot: $body.slot.clone().into(),
            exact: false,
        }
    };
}

impl Ask {
    /// What holds for everybody as known before a position, from the registers in memory; nobody is silent yet.
    pub fn house(&self, known_at: u64) -> Result<House, Error> {
        let mut house = House::of(&lock::read(&self.generation.shared.book), known_at);
        let orders = self.positions_of(&[EventType::AuthorityDeletionOrdered], known_at)?;
        self.reach.decode_all(&orders, |event| {
            // What names a person stands among the person's own.
            if event.data_subjects().next().is_none()
                && let Ok(body) = Body::from_json(event.event_type, &event.body_json)
            {
                house.add(event.at, &body);
            }
            Ok(())
        })?;
        Ok(house)
    }

    /// The same, with who is silent at an instant: what is due of theirs has to be confirmed.
    pub fn house_at(&self, known_at: u64, at: Timestamp) -> Result<House, Error> {
        let registers = lock::read(&self.generation.shared.registers);
        let silences = self.silences(&registers, known_at, at)?;
        drop(registers);
        let silent = silences.into_iter().map(|silence| silence.service).collect();
        Ok(House { silent, ..self.house(known_at)? })
    }
}

impl House {
    /// When it changes next by time alone.
    pub(in crate::views) fn until(&self, now: Timestamp) -> Option<Timestamp> {
        let rules = self.rules.iter().flat_map(|rule| rule.from.into_iter().chain(rule.to));
        let rules = rules.map(|day| midnight(day, chrono_tz::UTC));
        rules.chain(self.facts.iter().map(|fact| fact.at)).filter(|at| *at > now).min()
    }

    fn of(book: &Book, known_at: u64) -> House {
        let versions =
            REGISTERS.into_iter().flat_map(|kind| book.of(kind)).flat_map(|(_, versions)| versions);
        let mut known: Vec<&Arc<Version>> = versions.filter(|version| version.is_known(known_at)).collect();
        // As it was told, because of two at one instant the earlier told came first.
        known.sort_by_key(|version| version.position);
        let mut house = House::default();
        known.into_iter().for_each(|version| house.add(version.at, &version.body));
        house
    }

    fn add(&mut self, at: Timestamp, body: &Body) {
        let (mut at, some) = (at, |id: &Option<Id>| id.clone());
        let act = match body {
            Body::RetentionRulePublished(body) => {
                if let Some(rule) = &body.rule {
                    self.rules.retain(|other| other.id != rule.id);
                    self.rules.push(rule.clone());
                }
                None
            }
            Body::RetentionRuleAnnulled(body) => {
                let version = some(&body.version).or_else(|| some(&body.rule));
                version.map(|version| Act::RuleAnnulled { version })
            }
            Body::ServiceRegistered(body) => {
                let evidence_from = body.evidence_from;
                some(&body.service).map(|service| Act::ServiceRegistered { service, evidence_from })
            }
            Body::ServiceTerminationNotified(body) => {
                at = body.notice_at.unwrap_or(at);
                some(&body.service).map(|service| Act::TerminationNotified { service })
            }
            Body::ServiceTerminated(body) => {
                at = body.end_at.unwrap_or(at);
                some(&body.service).map(|service| Act::ServiceTerminated { service })
            }
            Body::LegalHoldPlaced(body) => {
                some(&body.hold_id).map(|hold| Act::HoldPlaced { of: of!(body), hold })
            }
            Body::LegalHoldReleased(body) => some(&body.hold_id).map(|hold| Act::HoldReleased { hold }),
            Body::AuthorityDeletionOrdered(body) => {
                let authority = some(&body.authority);
                some(&body.order_id).map(|order| Act::DeletionOrdered { of: of!(body), order, authority })
            }
            _ => None,
        };
        self.facts.extend(act.map(|act| Fact { at, id: None, backfill: false, act }));
    }
}
