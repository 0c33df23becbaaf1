//! From a file's text to cases, or to the list of everything that is wrong with it.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::domain::datum::{DatumKey, Selector, SlotSelector};
use crate::domain::event::*;
use crate::domain::id::{Id, Regime};
use crate::domain::retention::vector::{Expected, Vector};
use crate::domain::retention::{Act, Fact};
use crate::domain::time::Timestamp;

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    pub place: String,
    pub why: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.why)
    }
}

/// The cases of a file: a JSON array of them.
pub fn read(text: &str) -> Result<Vec<Vector>, Vec<Wrong>> {
    let mut wrong = Vec::new();
    let values: Vec<Value> = match serde_json::from_str(text) {
        Ok(values) => values,
        Err(why) => {
            return Err(vec![Wrong {
                place: "file".to_owned(),
                why: format!("is no array of cases: {why}"),
            }]);
        }
    };
    let vectors: Vec<Option<Vector>> =
        values.into_iter().enumerate().map(|(n, value)| vector(n, value, &mut wrong)).collect();
    if wrong.is_empty() { Ok(vectors.into_iter().flatten().collect()) } else { Err(wrong) }
}

/// The rules of a file: a JSON array of them.
pub fn read_rules(text: &str) -> Result<Vec<RetentionRule>, Vec<Wrong>> {
    let mut wrong = Vec::new();
    let values: Vec<Value> = serde_json::from_str(text).map_err(|why| {
        vec![Wrong { place: "file".to_owned(), why: format!("is no array of rules: {why}") }]
    })?;
    let rule = |(n, value)| part::<Rule>(&format!("[{n}]"), value, &mut wrong);
    let rules: Vec<Rule> = values.into_iter().enumerate().filter_map(rule).collect();
    if wrong.is_empty() { Ok(rules.into_iter().map(RetentionRule::from).collect()) } else { Err(wrong) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    rules: Vec<Value>,
    #[serde(default)]
    events: Vec<Value>,
    now: Timestamp,
    #[serde(default, deserialize_with = "slot")]
    slot: Option<Id>,
    #[serde(default)]
    silent_services: Vec<Id>,
    #[serde(default)]
    expect: Expected,
}

fn vector(n: usize, value: Value, wrong: &mut Vec<Wrong>) -> Option<Vector> {
    let name = value.get("name").and_then(Value::as_str).unwrap_or_default();
    let place = format!("[{n}] {name}");
    let case: Case = part(&place, value, wrong)?;
    let listed = |what: &str, k: usize| format!("{place}: {what}[{k}]");
    let rules: Vec<Rule> = case
        .rules
        .into_iter()
        .enumerate()
        .filter_map(|(k, rule)| part(&listed("rules", k), rule, wrong))
        .collect();
    let mut facts = Vec::with_capacity(case.events.len());
    let mut key = None;
    for (k, event) in case.events.into_iter().enumerate() {
        let place = listed("events", k);
        let Some(stated) = part::<Stated>(&place, event, wrong) else { continue };
        match stated.fact() {
            Ok(Some(fact)) => {
                if let Act::Collected { key: collected, .. } = &fact.act
                    && collected.slot == case.slot
                {
                    key.get_or_insert_with(|| collected.clone());
                }
                facts.push(fact);
            }
            Ok(None) => {}
            Err(why) => wrong.push(Wrong { place, why }),
        }
    }
    Some(Vector {
        name: case.name,
        rules: rules.into_iter().map(RetentionRule::from).collect(),
        facts,
        now: case.now,
        key,
        silent_services: case.silent_services,
        expect: case.expect,
    })
}

fn part<T: DeserializeOwned>(place: &str, value: Value, wrong: &mut Vec<Wrong>) -> Option<T> {
    let read = serde_json::from_value(value);
    read.map_err(|why| wrong.push(Wrong { place: place.to_owned(), why: why.to_string() })).ok()
}

/// A rule as a file writes it: `match` is what the API calls `matches`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    id: Id,
    kind: RuleKind,
    #[serde(rename = "match", default)]
    matches: Option<RuleMatch>,
    anchor: Anchor,
    #[serde(default)]
    causes: List<SoftEnd, { crate::limits::LIST }>,
    period: Period,
    #[serde(default)]
    year_end: bool,
    tz: chrono_tz::Tz,
    on_expiry: Option<Expiry>,
    law_of: Option<Regime>,
    legal: Option<Title>,
    from: Option<chrono::NaiveDate>,
    to: Option<chrono::NaiveDate>,
    replaces: Option<Id>,
}

impl From<Rule> for RetentionRule {
    fn from(rule: Rule) -> RetentionRule {
        RetentionRule {
            id: rule.id,
            kind: rule.kind,
            matches: rule.matches,
            anchor: rule.anchor,
            causes: rule.causes,
            period: rule.period,
            year_end: rule.year_end,
            tz: rule.tz,
            on_expiry: rule.on_expiry,
            law_of: rule.law_of,
            legal: rule.legal,
            from: rule.from,
            to: rule.to,
            replaces: rule.replaces,
        }
    }
}

/// What was collected.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Datum {
    /// Names the datum for the reader of the file; decides nothing.
    #[serde(rename = "id")]
    _id: Option<String>,
    category: Id,
    record_kind: Option<Id>,
    service: Option<Id>,
    #[serde(default, deserialize_with = "slot")]
    slot: Option<Id>,
    #[serde(default)]
    regimes: Vec<Regime>,
    #[serde(default)]
    purposes: Vec<PurposeBasis>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Selects {
    service: Option<Id>,
    record_kind: Option<Id>,
    category: Option<Id>,
    /// Stated empty it is the slot without a name.
    #[serde(default, deserialize_with = "stated_slot")]
    slot: SlotSelector,
}

impl From<Selects> for Selector {
    fn from(of: Selects) -> Selector {
        Selector {
            service: of.service,
            record_kind: of.record_kind,
            category: of.category,
            slot: of.slot,
            exact: false,
        }
    }
}

/// Empty as well as absent is the slot without a name.
fn slot<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Id>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(serde::de::Error::custom) }
}

fn stated_slot<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SlotSelector, D::Error> {
    Ok(one_slot(slot(deserializer)?))
}

fn one_slot(slot: Option<Id>) -> SlotSelector {
    slot.map_or(SlotSelector::Unnamed, SlotSelector::Named)
}

/// A purpose by its name, or with its basis.
#[derive(Deserialize)]
#[serde(untagged)]
enum Purpose {
    Named(Id),
    Based(PurposeBasis),
}

/// An event with the few fields that its type needs; others of its type may be stated and decide nothing.
#[derive(Deserialize)]
struct Stated {
    #[serde(flatten)]
    others: serde_json::Map<String, Value>,
    at: Timestamp,
    #[serde(rename = "type")]
    event_type: String,
    id: Option<Id>,
    #[serde(default)]
    backfill: bool,
    #[serde(default)]
    selector: Selects,
    datum: Option<Datum>,
    purpose: Option<Purpose>,
    service: Option<Id>,
    #[serde(default)]
    services: Vec<Id>,
    #[serde(default, deserialize_with = "slot")]
    slot: Option<Id>,
    record_kind: Option<Id>,
    hold: Option<Id>,
    order: Option<Id>,
    ground: Option<String>,
    reason: Option<Id>,
    rule: Option<Id>,
    evidence_from: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    collected_before: Option<Timestamp>,
    #[serde(default)]
    event_ids: Vec<Id>,
}

fn needed<T>(value: Option<T>, name: &str) -> Result<T, String> {
    value.ok_or_else(|| format!("{name} is missing"))
}

impl Stated {
    /// `None`: an event that decides nothing about retention.
    fn fact(mut self) -> Result<Option<Fact>, String> {
        let event_type = EventType::from_name(&self.event_type)
            .ok_or_else(|| format!("{} is no event type", self.event_type))?;
        if let Some(other) = self.others.keys().find(|name| !is_field(event_type, name)) {
            return Err(format!("{other} is no field of {event_type:?}"));
        }
        let (at, id, backfill) = (self.at, self.id.take(), self.backfill);
        let act = self.act(event_type)?;
        Ok(act.map(|act| Fact { at, id, backfill, act }))
    }

    fn act(self, event_type: EventType) -> Result<Option<Act>, String> {
        let named = |purpose: Option<Purpose>| {
            purpose.map(|purpose| match purpose {
                Purpose::Named(id) => id,
                Purpose::Based(purpose) => purpose.id,
            })
        };
        let of = Selector::from(self.selector);
        let own =
            Selector { slot: one_slot(self.slot), record_kind: self.record_kind, ..Selector::default() };
        let purpose = |purpose: Option<Purpose>| needed(named(purpose), "purpose");
        let service = |service: Option<Id>| needed(service, "service");
        Ok(Some(match event_type {
            EventType::DataCollected => needed(self.datum, "datum")?.into(),
            EventType::PurposeAdded => match needed(self.purpose, "purpose")? {
                Purpose::Based(purpose) => Act::PurposeAdded { of, purpose },
                Purpose::Named(_) => return Err("purpose needs an id and a basis".to_owned()),
            },
            EventType::PurposeFulfilled => Act::PurposeFulfilled { of, purpose: purpose(self.purpose)? },
            EventType::DataUsed => Act::Used { of, purpose: purpose(self.purpose)? },
            EventType::ConsentGiven => {
                Act::ConsentGiven { purpose: purpose(self.purpose)?, expires_at: self.expires_at }
            }
            EventType::ConsentWithdrawn => Act::ConsentWithdrawn { purpose: purpose(self.purpose)? },
            EventType::AccountRegistered => Act::AccountRegistered { services: self.services },
            EventType::AccountCancelled => Act::AccountCancelled { services: self.services },
            EventType::TransactionCompleted => Act::TransactionCompleted { of: own },
            EventType::TransactionAborted => Act::TransactionAborted { of: own },
            EventType::ObjectionUpheld => Act::ObjectionUpheld { of, purpose: named(self.purpose) },
            EventType::UnlawfulProcessingFound => {
                Act::UnlawfulProcessingFound { of, purpose: named(self.purpose) }
            }
            EventType::ErasureAccepted => Act::ErasureAccepted { of },
            EventType::RestrictionApplied => {
                Act::RestrictionApplied { of, ground: Some(ground(&needed(self.ground, "ground")?)?) }
            }
            EventType::RestrictionLifted => {
                let ground = self.ground.as_deref().map(ground).transpose()?;
                Act::RestrictionLifted { of, ground }
            }
            EventType::LegalHoldPlaced => Act::HoldPlaced { of, hold: needed(self.hold, "hold")? },
            EventType::LegalHoldReleased => Act::HoldReleased { hold: needed(self.hold, "hold")? },
            EventType::AuthorityDeletionOrdered => {
                Act::DeletionOrdered { of, order: needed(self.order, "order")?, authority: None }
            }
            EventType::ErasureDeferred => {
                let technical = needed(self.reason, "reason")?.as_str() == "technical";
                Act::Deferred { of, technical }
            }
            EventType::ErasureExecuted | EventType::AnonymisationExecuted => {
                let anonymised = event_type == EventType::AnonymisationExecuted;
                Act::Executed { of, collected_before: self.collected_before, anonymised }
            }
            EventType::ServiceRegistered => {
                Act::ServiceRegistered { service: service(self.service)?, evidence_from: self.evidence_from }
            }
            EventType::ServiceTerminationNotified => {
                Act::TerminationNotified { service: service(self.service)? }
            }
            EventType::ServiceTerminated => Act::ServiceTerminated { service: service(self.service)? },
            EventType::RetentionRuleAnnulled => Act::RuleAnnulled { version: needed(self.rule, "rule")? },
            EventType::EventsRetracted => Act::Retracted { ids: self.event_ids },
            _ => return Ok(None),
        }))
    }
}

/// Of the event's type, or as cases call it.
fn is_field(event_type: EventType, name: &str) -> bool {
    let empty = Body::from_json(event_type, "{}");
    name == "case"
        || empty.is_ok_and(|body| catalogue::fields_of(&body).iter().any(|(_, field)| *field == name))
}

fn ground(text: &str) -> Result<RestrictionGround, String> {
    RestrictionGround::from_name(text).ok_or_else(|| format!("ground: {text} is no ground of a restriction"))
}

impl From<Datum> for Act {
    fn from(datum: Datum) -> Act {
        let key = DatumKey {
            service: datum.service,
            record_kind: datum.record_kind,
            category: datum.category,
            slot: datum.slot,
        };
        Act::Collected { key, regimes: datum.regimes, purposes: datum.purposes }
    }
}
