//! A year of the company, day by day with a clock moved by hand: people come and go, consents are given, withdrawn and
//! given again, rules change and a wrong one is annulled, holds come and go, people demand erasure, the app is
//! terminated. Services do what they are told, and nothing else. Beside the log stands a model that is told the same,
//! and an evaluation of `domain.md` 4.2 that somebody wrote from the text alone: at each *go* it has to agree, and at the
//! end every datum's fate has to be what it says.

mod model;
mod world;

use serde_json::{Value, json};

use super::erasure::holding;
use super::instructions::{acknowledge, done, take};
use super::*;
use model::{Key, Person, shorter_location, wrong_service};
use world::World;

/// People at the beginning, and one more every few days.
const PEOPLE: usize = 30;
const DAYS: i64 = 365;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_end_of_a_year_every_datum_has_met_its_fate() {
    let mut world = World::of_the_company().await;
    for _ in 0..PEOPLE {
        world.somebody_comes().await;
    }
    let mut worked = Worked::default();
    for day in 0..DAYS {
        world.day_begins(day).await;
        milestones(&mut world, day).await;
        if day % 4 == 0 && day < 320 {
            world.somebody_comes().await;
        }
        for _ in 0..4 {
            world.something_happens(day).await;
        }
        // What was told last night is carried out today, after whatever happens today. While the wrong rule stands,
        // nobody comes to it.
        if !(124..127).contains(&day) {
            for service in ["solar", "shop"] {
                work(&mut world, service, &mut worked).await;
            }
        }
        night(&mut world, day).await;
    }
    for day in DAYS..DAYS + 3 {
        world.day_begins(day).await;
        night(&mut world, day).await;
        for service in ["solar", "shop"] {
            work(&mut world, service, &mut worked).await;
        }
    }
    assert!(worked.done > 150 && worked.revoked > 0, "{worked:?}");
    let gone = world.people.iter().filter(|person| person.is_gone()).count();
    assert!(gone > 20 && gone < world.people.len(), "{gone} of {} are gone", world.people.len());
    every_fate_is_as_the_text_has_it(&world).await;
    the_erased_are_in_no_file(&world).await;
    world.running.stop().await.unwrap();
}

/// What the story is about.
async fn milestones(world: &mut World, day: i64) {
    match day {
        60 => world.publish(&shorter_location()).await,
        120 => world.publish(&wrong_service()).await,
        126 => {
            let told = world.told_by("keep.service.v2").await;
            assert!(told > 5, "the wrong rule told {told} times to erase");
            world.annul("keep.service.v2").await;
        }
        127 => {
            assert_eq!(world.told_by("keep.service.v2").await, 0, "what the wrong rule told is recalled");
        }
        200 => world.hold_shop(true).await,
        230 => world.hold_shop(false).await,
        300 => world.notify_end().await,
        330 => world.terminate().await,
        _ => {}
    }
}

/// What the clock does at night, and an officer in the morning.
async fn night(world: &mut World, day: i64) {
    world.run_jobs(&["retention_sweep", "service_end_sweep"]).await;
    if day % 7 == 6 || day >= DAYS {
        world.run_jobs(&["evidence_sweep", "ack_chaser"]).await;
        world.somebody_is_gone().await;
    }
    // On some days nobody is there to approve.
    if day % 5 != 3 {
        world.approve_all().await;
    }
}

#[derive(Debug, Default)]
struct Worked {
    done: usize,
    revoked: usize,
}

/// A service carries out what it is told, after asking.
async fn work(world: &mut World, service: &str, worked: &mut Worked) {
    loop {
        let taken = take(&world.running, service).await;
        if taken.is_empty() {
            return;
        }
        for told in taken {
            world.tick();
            let who = world.who(&told.identifiers[0].value);
            let key = Key::of(&told);
            let decided = world.evaluate(who, &key);
            let should = decided["state"] == "due" || decided["owed"].is_string();
            let goes = world.may_go_ahead(service, &told.instruction_id).await;
            assert_eq!(goes, should, "person {who}, {key:?}: {decided:#}\n{told:?}");
            if !goes {
                worked.revoked += 1;
                continue;
            }
            let how = match told.kind() {
                pb::InstructionKind::Anonymise => pb::InstructionAcknowledgement {
                    reid_test_ref: "reid-1".to_owned(),
                    method: pb::ErasureMethod::Generalise as i32,
                    ..done(&told.instruction_id)
                },
                _ => done(&told.instruction_id),
            };
            let answer = acknowledge(&world.running, service, how).await;
            assert!(!answer.duplicate && !answer.after_recall, "{answer:?}");
            world.executed(who, &key, &told);
            worked.done += 1;
        }
    }
}

/// Of everybody who is known still, datum by datum.
async fn every_fate_is_as_the_text_has_it(world: &World) {
    let mut compared = 0;
    for (who, person) in world.people.iter().enumerate() {
        let told = world.explain(who).await;
        let keys = person.keys();
        if person.is_gone() {
            assert!(told.is_none(), "person {who} is gone");
            for key in &keys {
                assert_eq!(world.evaluate(who, key)["state"], "done", "person {who}: {key:?}");
            }
            continue;
        }
        let told = told.unwrap_or_else(|| panic!("person {who} is not known"));
        assert_eq!(told.len(), keys.len(), "person {who}");
        for datum in told {
            let key = Key::explained(&datum);
            let expected = world.evaluate(who, &key);
            let because: Vec<&str> = datum.because.iter().map(|reason| reason.code.as_str()).collect();
            let decided = json!({
                "state": datum.state,
                "action": datum.action,
                "due": if datum.due.is_empty() { Value::Null } else { json!(datum.due) },
                "usable_for": datum.usable_for,
                "because": because,
            });
            for (name, value) in decided.as_object().unwrap() {
                assert_eq!(value, &expected[name], "person {who}, {key:?}, {name}: {decided:#} {expected:#}");
            }
            assert_ne!(datum.state, "due", "person {who}, {key:?}: everything that is due is done");
            let early = expected["findings"].as_array().unwrap().contains(&json!("F-PREMATURE-ERASURE"));
            assert!(!early, "person {who}, {key:?}: {expected:#}");
            compared += 1;
        }
    }
    assert!(compared > 50, "{compared} data compared");
}

/// Who they were is in no file; their handles are in the vault alone, which keeps what proves their consents until its
/// own time is over.
async fn the_erased_are_in_no_file(world: &World) {
    let data = world.place.config().data.directory;
    let gone: Vec<&Person> = world.people.iter().filter(|person| person.is_gone()).collect();
    let names: Vec<Vec<u8>> = gone.iter().map(|person| person.name.clone().into_bytes()).collect();
    let handles: Vec<Vec<u8>> = gone.iter().flat_map(|person| person.handles()).collect();
    let outside = data.with_extension("outside");
    for dir in [&data, &outside].into_iter().filter(|dir| dir.exists()) {
        assert_eq!(holding(dir, &names), Vec::<String>::new());
        let elsewhere = |file: &String| !file.contains("/vault/");
        let found: Vec<String> = holding(dir, &handles).into_iter().filter(elsewhere).collect();
        assert_eq!(found, Vec::<String>::new());
    }
}
