//! What a version changes, field by field. Lists have no order, so what moved inside one is no change; why a
//! version was recorded is not part of what it says.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::domain::event::catalogue::Fields;
use crate::domain::event::{Body, Place, RegisterState, Sealed, Unset, Visit};
use crate::domain::register::Act;
use crate::domain::register::book::Version;

/// One field that says something else than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// In the API's naming, such as `sdk.versions`; `state` where an entry ends or comes back.
    pub field: String,
    /// What is said no more.
    pub before: Vec<String>,
    /// What is said now and was not.
    pub after: Vec<String>,
}

/// The field that tells of an end and of coming back.
const STATE: &str = "state";

/// What a version changes against those before it, which are sorted by when they count from.
pub fn changes(version: &Version, before: &[&Version]) -> Vec<Change> {
    let stop =
        before.iter().rev().find(|earlier| earlier.act() != Act::Adds).filter(|last| last.act().stops());
    let was = stop.map_or(RegisterState::InForce, |stop| state_after(stop.act()));
    match version.act() {
        Act::Registers => {
            let last = before.iter().rev().find(|earlier| earlier.act() == Act::Registers);
            let mut changes =
                between(last.map(|last| said(&last.body)).unwrap_or_default(), &said(&version.body));
            if stop.is_some() {
                changes.push(state(was, RegisterState::InForce));
            }
            changes
        }
        Act::Adds => {
            let mut known = BTreeMap::new();
            before.iter().for_each(|earlier| known.extend(said(&earlier.body)));
            let more = said(&version.body);
            known.retain(|field, _| more.contains_key(field));
            between(known, &more)
        }
        act if stop.is_some_and(|stop| stop.act() == act) => Vec::new(),
        act => vec![state(was, state_after(act))],
    }
}

fn state_after(act: Act) -> RegisterState {
    match act {
        Act::Registers | Act::Adds => RegisterState::InForce,
        Act::Suspends => RegisterState::Suspended,
        Act::Ends => RegisterState::Ended,
        Act::Annuls => RegisterState::Annulled,
    }
}

fn state(before: RegisterState, after: RegisterState) -> Change {
    Change { field: STATE.to_owned(), before: vec![before.to_string()], after: vec![after.to_string()] }
}

type Said = BTreeMap<String, BTreeSet<String>>;

fn between(mut before: Said, after: &Said) -> Vec<Change> {
    let mut changes = Vec::new();
    for (field, now) in after {
        let was = before.remove(field).unwrap_or_default();
        if was != *now {
            let (gone, new) = (was.difference(now).cloned(), now.difference(&was).cloned());
            changes.push(Change { field: field.clone(), before: gone.collect(), after: new.collect() });
        }
    }
    let gone = before.into_iter();
    changes.extend(gone.map(|(field, was)| Change {
        field,
        before: was.into_iter().collect(),
        after: Vec::new(),
    }));
    changes
}

/// Every field of the header with what it says, but for the reason.
fn said(body: &Body) -> Said {
    struct Header(Said);
    impl Visit for Header {
        fn open<T: serde::Serialize + Unset>(&mut self, place: Place, name: &'static str, value: &T) {
            if place == Place::Header && name != "reason" && !value.is_unset() {
                // Whatever a header holds has a JSON form: it is stored in it.
                flatten(name, serde_json::to_value(value).unwrap_or_default(), &mut self.0);
            }
        }

        fn sealed(&mut self, _: Place, _: &'static str, _: &Sealed) {}
    }
    let mut header = Header(Said::new());
    body.visit(&mut header);
    header.0
}

fn flatten(path: &str, value: Value, into: &mut Said) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            for (name, value) in fields {
                flatten(&format!("{path}.{name}"), value, into);
            }
        }
        Value::Array(items) => {
            into.entry(path.to_owned()).or_default().extend(items.iter().map(words));
        }
        single => {
            into.entry(path.to_owned()).or_default().insert(words(&single));
        }
    }
}

/// A value on one line: `id=support basis=contract`.
fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(words).collect::<Vec<_>>().join(","),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{name}={}", words(value)));
            fields.collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{Envelope, EventType};
    use crate::domain::id::EventId;
    use crate::domain::time::Timestamp;

    fn version(position: u64, event_type: EventType, json: &str) -> Version {
        let id = EventId(uuid::Uuid::from_u128(1));
        let envelope = Envelope::new(id, "c".parse().unwrap(), "e".parse().unwrap(), Timestamp::EPOCH);
        Version::new(position, Timestamp::EPOCH, envelope, Body::from_json(event_type, json).unwrap())
    }

    fn recipient(position: u64, fields: &str) -> Version {
        let json = format!(r#"{{"recipient_id":"r"{fields}}}"#);
        version(position, EventType::RecipientRegistered, &json)
    }

    fn told(changes: &[Change]) -> Vec<String> {
        changes.iter().map(|c| format!("{} {:?} {:?}", c.field, c.before, c.after)).collect()
    }

    #[test]
    fn only_what_is_said_otherwise_is_a_change() {
        let first = recipient(0, r#","cats":["a","b"],"sdk":{"name":"s","versions":["1"]},"country":"CN""#);
        let moved = recipient(
            1,
            r#","cats":["b","a"],"sdk":{"name":"s","versions":["1"]},"country":"CN","reason":"x""#,
        );
        assert_eq!(changes(&moved, &[&first]), [], "neither order nor reason");
        let other = recipient(1, r#","cats":["b","c"],"sdk":{"name":"s","versions":["1","2"]}"#);
        assert_eq!(
            told(&changes(&other, &[&first])),
            [r#"cats ["a"] ["c"]"#, r#"sdk.versions [] ["2"]"#, r#"country ["CN"] []"#]
        );
        assert_eq!(changes(&first, &[]).len(), 5, "all of it is new");
    }

    #[test]
    fn an_end_and_a_return_are_changes_of_state() {
        let first = recipient(0, "");
        let ended = version(1, EventType::RecipientEnded, r#"{"recipient_id":"r"}"#);
        assert_eq!(told(&changes(&ended, &[&first])), [r#"state ["in_force"] ["ended"]"#]);
        assert_eq!(changes(&ended, &[&first, &ended]), [], "ended already");
        let again = recipient(2, "");
        assert_eq!(told(&changes(&again, &[&first, &ended])), [r#"state ["ended"] ["in_force"]"#]);
    }

    #[test]
    fn what_adds_changes_only_what_it_states() {
        let first = version(0, EventType::BreachDetected, r#"{"breach_id":"b","subjects":10,"records":5}"#);
        let more = version(1, EventType::BreachAssessed, r#"{"breach_id":"b","subjects":12,"risk":"high"}"#);
        assert_eq!(told(&changes(&more, &[&first])), [r#"risk [] ["high"]"#, r#"subjects ["10"] ["12"]"#]);
    }
}
