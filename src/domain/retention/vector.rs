//! Cases in a file (`domain.md` 4.1): rules, events and an instant, and what is expected of one datum then. The
//! acceptance vectors are such a file, and so are an officer's own.
//!
//! What is wrong in a file is named all at once, each with the vector and the place in it. Events of types that
//! decide nothing about retention are taken and left out.

mod read;

use std::collections::BTreeSet;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::domain::datum::DatumKey;
use crate::domain::event::RetentionRule;
use crate::domain::id::Id;
use crate::domain::retention::{Case, Decision, Fact, decide};
use crate::domain::time::Timestamp;

pub use read::{Wrong, read, read_rules};

/// One case.
#[derive(Debug, Clone, PartialEq)]
pub struct Vector {
    pub name: String,
    pub rules: Vec<RetentionRule>,
    pub facts: Vec<Fact>,
    pub now: Timestamp,
    /// The datum that is decided about; none where nothing of the slot was ever collected.
    pub key: Option<DatumKey>,
    pub silent_services: Vec<Id>,
    pub expect: Expected,
}

/// What is said of a datum; of what is expected only what is stated counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    #[serde(default, with = "stated", skip_serializing_if = "Option::is_none")]
    pub due: Option<Option<NaiveDate>>,
    #[serde(default, with = "stated", skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Option<Timestamp>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usable_for: Option<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub findings: Option<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    #[serde(default, with = "stated", skip_serializing_if = "Option::is_none")]
    pub owed: Option<Option<Timestamp>>,
}

/// A key with the value `null` is stated; an absent key is not.
mod stated {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<T: Serialize, S: Serializer>(
        value: &Option<Option<T>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_ref().and_then(Option::as_ref).serialize(serializer)
    }

    pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Option<T>>, D::Error> {
        Option::deserialize(deserializer).map(Some)
    }
}

/// Something that is not as expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub key: &'static str,
    pub expected: serde_json::Value,
    pub decided: serde_json::Value,
}

impl Vector {
    /// What the procedure says of the datum.
    pub fn decide(&self) -> Decision {
        let Some(key) = &self.key else { return Decision::absent() };
        let silent = key.service.as_ref().is_some_and(|service| self.silent_services.contains(service));
        decide(&Case { key, rules: &self.rules, facts: &self.facts, now: self.now, silent })
    }

    /// Where the decision is not what is expected.
    pub fn differences(&self) -> Vec<Difference> {
        let decided = as_map(&Expected::of(&self.decide()));
        let expected = as_map(&self.expect);
        let different = |(key, expected): (String, serde_json::Value)| {
            let key = KEYS.iter().copied().find(|known| *known == key)?;
            let decided = decided.get(key).cloned().unwrap_or_default();
            (decided != expected).then_some(Difference { key, expected, decided })
        };
        expected.into_iter().filter_map(different).collect()
    }
}

const KEYS: [&str; 9] =
    ["state", "action", "due", "due_at", "usable_for", "because", "findings", "plan", "owed"];

impl Expected {
    /// Everything that a decision says.
    pub fn of(decision: &Decision) -> Expected {
        let texts = |ids: &mut dyn Iterator<Item = String>| Some(ids.collect());
        Expected {
            state: Some(decision.state.to_string()),
            action: Some(decision.action.to_string()),
            due: Some(decision.due),
            due_at: Some(decision.due_at),
            usable_for: texts(&mut decision.usable_for.iter().map(ToString::to_string)),
            because: texts(&mut decision.because.iter().map(ToString::to_string)),
            findings: texts(&mut decision.findings.iter().map(ToString::to_string)),
            plan: Some(decision.plan.to_string()),
            owed: Some(decision.owed),
        }
    }
}

fn as_map(expected: &Expected) -> serde_json::Map<String, serde_json::Value> {
    match serde_json::to_value(expected) {
        Ok(serde_json::Value::Object(map)) => map,
        // A struct of texts and times is always an object.
        _ => serde_json::Map::new(),
    }
}
