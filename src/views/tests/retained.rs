//! What is decided about data in the log is what the procedure decides about the same facts, by rows and by records.

use serde_json::{Map, Value, json};

use super::*;
use crate::domain::event::catalogue::About;
use crate::domain::retention::Decision;
use crate::domain::retention::laws::vectors;
use crate::domain::retention::vector::{Vector, read};
use crate::domain::time::Timestamp;
use crate::views::retention::{RetentionQuestion, Sweep};

/// A case that events can tell: no slot selects what has none, and what was taken back never was.
fn tellable(seed: u64) -> Option<(Value, Vector)> {
    let mut value = vectors::generate(seed);
    let events = value["events"].as_array()?;
    let retracted: Vec<&Value> = events
        .iter()
        .filter(|event| event["type"] == "EventsRetracted" && instant(event) <= at(&value["now"]))
        .flat_map(|event| event["event_ids"].as_array().into_iter().flatten())
        .collect();
    let counts = |event: &&Value| {
        event["type"] != "EventsRetracted" && !(event["id"].is_string() && retracted.contains(&&event["id"]))
    };
    let kept: Vec<Value> = events.iter().filter(counts).cloned().collect();
    if kept.iter().any(|event| event["selector"]["slot"] == "") {
        return None;
    }
    value["events"] = Value::from(kept);
    // Who is silent is a matter of emitters here.
    value.as_object_mut()?.remove("silent_services");
    let vector = read(&serde_json::to_string(&[&value]).unwrap()).unwrap().remove(0);
    vector.key.is_some().then_some((value, vector))
}

fn at(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

fn instant(event: &Value) -> Timestamp {
    at(&event["at"])
}

/// The event as its emitter would tell it, about person 1 or about nobody.
fn told(n: u64, event: &Value) -> Made {
    let event_type = EventType::from_name(event["type"].as_str().unwrap()).unwrap();
    let mut body = Map::new();
    for part in [&event["selector"], &event["datum"], event] {
        for (name, value) in part.as_object().into_iter().flatten() {
            body.insert(name.clone(), value.clone());
        }
    }
    for name in ["type", "at", "id", "backfill", "selector", "datum", "case", "regimes"] {
        body.remove(name);
    }
    body.retain(|_, value| *value != json!("") && *value != json!([]));
    let service = body.get("service").cloned();
    match event_type {
        EventType::DataCollected => {
            let category = body.remove("category");
            body.insert("cats".to_owned(), json!([category]));
            body.remove("service");
        }
        EventType::LegalHoldPlaced | EventType::LegalHoldReleased => {
            let hold = body.remove("hold").unwrap();
            body.insert("hold_ref".to_owned(), hold);
        }
        EventType::AuthorityDeletionOrdered => {
            let order = body.remove("order").unwrap();
            body.insert("order_ref".to_owned(), order);
        }
        EventType::RetentionRuleAnnulled => {
            body.insert("version".to_owned(), body["rule"].clone());
        }
        _ => {}
    }
    let body = Body::from_json(event_type, &Value::from(body).to_string())
        .unwrap_or_else(|why| panic!("{event}: {why}"));
    let named = if event_type.about() == About::Nobody { Vec::new() } else { vec![subject(1)] };
    let mut made = made(n, instant(event), body, named);
    let own = service.filter(|_| event_type == EventType::DataCollected);
    made.event.envelope.service = Some(id(own.as_ref().and_then(Value::as_str).unwrap_or("solar_app")));
    made.event.envelope.backfill = event["backfill"] == true;
    let regimes = event["datum"]["regimes"].as_array().into_iter().flatten();
    made.event.envelope.regimes = regimes.map(|regime| regime.as_str().unwrap().parse().unwrap()).collect();
    made
}

fn house_of(value: &Value, vector: &Vector) -> House {
    let house = House::new();
    let mut n = 0;
    for rule in &vector.rules {
        let body = RetentionRulePublished { rule: Some(rule.clone()), ..RetentionRulePublished::default() };
        house.record(&made(n, day(-4_000), Body::RetentionRulePublished(Box::new(body)), Vec::new()));
        n += 1;
    }
    for event in value["events"].as_array().unwrap() {
        house.record(&told(n, event));
        n += 1;
    }
    house
}

/// What both say: of uses here more is known than a selector, so that what they find may differ.
fn comparable(decision: &Decision) -> String {
    let mut decision = decision.clone();
    decision.findings.retain(|code| !code.as_str().contains("F-PURPOSE-CREEP"));
    format!("{decision:#?}")
}

#[test]
fn the_log_decides_as_the_procedure_does() {
    let mut compared = 0;
    for (value, vector) in (0..400).filter_map(tellable) {
        let mut instants: Vec<Timestamp> = vector.facts.iter().map(|fact| fact.at).collect();
        instants.sort_unstable();
        // Of one instant the log does not tell what came first.
        if instants.windows(2).any(|pair| pair[0] == pair[1]) {
            continue;
        }
        let house = house_of(&value, &vector);
        let views = house.open();
        let ask = views.ask().unwrap();
        let key = vector.key.clone().unwrap();
        let expected = comparable(&vector.decide());
        let question = RetentionQuestion { subject: person(1), as_of: vector.now, known_at: None };
        let told = ask.retention(&question).unwrap().unwrap();
        let told = told.iter().find(|explained| explained.key == key).unwrap();
        assert_eq!(comparable(&told.explanation.decision), expected, "{value:#}");
        let mut swept = None;
        let sweep = Sweep { as_of: vector.now, known_at: None };
        ask.sweep(&sweep, None, &mut |held| {
            if *held.key == key {
                swept = Some(comparable(&held.decision));
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(swept.as_deref(), Some(expected.as_str()), "{value:#}");
        compared += 1;
    }
    assert!(compared > 80, "{compared} compared");
}
