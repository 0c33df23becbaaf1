//! Rules, data and people of the year, as the API has them and as the independent evaluation reads them.

use serde_json::{Map, Value, json};

use crate::domain::id::SubjectId;
use crate::pb;

/// A datum of somebody, as the model names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub service: String,
    pub record_kind: String,
    pub category: String,
    pub slot: String,
}

impl Key {
    pub fn new(service: &str, record_kind: &str, category: &str, slot: &str) -> Key {
        let text = str::to_owned;
        Key {
            service: text(service),
            record_kind: text(record_kind),
            category: text(category),
            slot: text(slot),
        }
    }

    pub fn of(told: &pb::Instruction) -> Key {
        assert!(told.exact, "one datum each: {told:?}");
        Key::new(&told.service, &told.record_kind, &told.category, &told.slot)
    }

    pub fn explained(datum: &pb::RetainedDatum) -> Key {
        Key::new(&datum.service, &datum.record_kind, &datum.category, &datum.slot)
    }

    pub fn json(&self) -> Map<String, Value> {
        let json = json!({
            "service": self.service,
            "record_kind": self.record_kind,
            "category": self.category,
            "slot": self.slot,
        });
        json.as_object().unwrap().clone()
    }
}

/// Somebody, and everything that happened to them.
pub struct Person {
    pub name: String,
    pub events: Vec<Value>,
    pub subject: Option<SubjectId>,
    pub gone: bool,
    pub account: bool,
    pub hold: Option<String>,
    pub restricted: bool,
    pub orders: u32,
}

impl Person {
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Every datum that was ever collected.
    pub fn keys(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self
            .events
            .iter()
            .filter(|event| event["type"] == "DataCollected")
            .map(|event| {
                let text = |name: &str| event["datum"][name].as_str().unwrap_or_default();
                Key::new(text("service"), text("record_kind"), text("category"), text("slot"))
            })
            .collect();
        keys.sort();
        keys.dedup();
        keys
    }

    /// What would tell of the person in a file.
    pub fn traces(&self) -> Vec<Vec<u8>> {
        let subject = self.subject.unwrap();
        let hex: String = subject.0.iter().map(|byte| format!("{byte:02x}")).collect();
        let texts = [subject.to_string(), hex, self.name.clone()];
        texts.into_iter().map(String::into_bytes).chain([subject.0.to_vec()]).collect()
    }
}

/// A rule, as the API and as the model have it.
pub struct Rule {
    pub wire: pb::RetentionRule,
    pub model: Value,
}

fn rule(model: Value) -> Rule {
    let text = |name: &str| model[name].as_str().unwrap_or_default().to_owned();
    let list = |name: &str| {
        let values = model["match"][name].as_array().cloned().unwrap_or_default();
        values.iter().map(|value| value.as_str().unwrap().to_owned()).collect()
    };
    let kind = match model["kind"].as_str().unwrap() {
        "keep" => pb::RuleKind::Keep,
        "floor" => pb::RuleKind::Floor,
        _ => pb::RuleKind::Cap,
    };
    let anchor = match model["anchor"].as_str().unwrap() {
        "purpose_ended" => pb::Anchor::PurposeEnded,
        "transaction_completed" => pb::Anchor::TransactionCompleted,
        _ => pb::Anchor::Collected,
    };
    let wire = pb::RetentionRule {
        id: text("id"),
        kind: kind as i32,
        matches: Some(pb::RuleMatch {
            purposes: list("purposes"),
            record_kinds: list("record_kinds"),
            regimes: list("regimes"),
            ..Default::default()
        }),
        anchor: anchor as i32,
        period: text("period"),
        tz: text("tz"),
        on_expiry: if model["on_expiry"] == "anonymise" { pb::Expiry::Anonymise as i32 } else { 0 },
        law_of: text("law_of"),
        from: text("from"),
        replaces: text("replaces"),
        ..Default::default()
    };
    Rule { wire, model }
}

fn keep(id: &str, purpose: &str, anchor: &str, period: &str) -> Value {
    json!({"id": id, "kind": "keep", "match": {"purposes": [purpose]}, "anchor": anchor, "period": period,
        "tz": "Asia/Shanghai"})
}

fn with(mut rule: Value, more: Value) -> Rule {
    for (name, value) in more.as_object().unwrap() {
        rule[name] = value.clone();
    }
    self::rule(rule)
}

pub fn first_rules() -> Vec<Rule> {
    vec![
        rule(keep("keep.service", "service_provision", "purpose_ended", "P15D")),
        rule(keep("keep.marketing", "direct_marketing", "purpose_ended", "P0D")),
        rule(keep("keep.personal", "personalisation", "purpose_ended", "P7D")),
        with(
            keep("keep.location", "location_service", "collected", "P30D"),
            json!({"on_expiry": "anonymise"}),
        ),
        rule(keep("keep.order", "fulfil_order", "purpose_ended", "P10D")),
        rule(json!({"id": "floor.transaction", "kind": "floor", "match": {"record_kinds": ["transaction"],
            "regimes": ["CN"]}, "law_of": "CN", "anchor": "transaction_completed", "period": "P2M",
            "tz": "Asia/Shanghai"})),
    ]
}

/// From day 64 on.
pub fn shorter_location() -> Rule {
    with(
        keep("keep.location.v2", "location_service", "collected", "P20D"),
        json!({"on_expiry": "anonymise", "from": "2026-03-06", "replaces": "keep.location"}),
    )
}

/// From day 124 on: of what is needed as long as the account is open.
pub fn wrong_service() -> Rule {
    with(
        keep("keep.service.v2", "service_provision", "collected", "P1D"),
        json!({"from": "2026-05-05", "replaces": "keep.service"}),
    )
}
