//! What is due goes, by the command line alone: an officer reads and approves a plan, a script carries it out line by line,
//! and a recipient who will never call gets a letter, and a second one as a reminder has no other words for it.

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Command;

use custody::pb;
use custody::sheet;
use serde_json::{Value, json};
use support::desk::Desk;
use support::due;
use support::events::{collected, connect, runtime, send};
use support::server::Served;

const PEOPLE: [&str; 3] = ["ann", "bo", "chen"];

/// People whose data are over their time, and of whom a recipient got some.
async fn record(served: &Served) {
    let client = connect(served).await;
    let recipient = pb::event::Body::RecipientRegistered(Box::new(pb::RecipientRegistered {
        recipient_id: "roofer".to_owned(),
        legal_name: "Roof Ltd".to_owned(),
        role: pb::RecipientRole::Processor.into(),
        country: "DE".to_owned(),
        channel: pb::RecipientChannel::Desk.into(),
        ..Default::default()
    }));
    due::record(&client, &PEOPLE.map(str::to_owned)).await;
    let own = pb::Event { people: Vec::new(), activity: String::new(), ..collected("nobody") };
    send(&client, &pb::Event { body: Some(recipient), ..own }).await.unwrap();
    for name in PEOPLE {
        let shared = pb::event::Body::DataShared(pb::DataShared {
            recipient_id: "roofer".to_owned(),
            cats: vec!["pd:EmailAddress".to_owned()],
            purpose: "security".to_owned(),
            basis: pb::LegalBasis::LegitimateInterest.into(),
            method: pb::ShareMethod::File.into(),
            ..Default::default()
        });
        let event = pb::Event { activity: String::new(), body: Some(shared), ..collected(name) };
        send(&client, &event).await.unwrap();
    }
}

#[test]
fn from_a_plan_to_a_letter_that_is_answered() {
    let desk = Desk::open();
    runtime().block_on(record(&desk.served));
    told_others(&desk);
    approved(&desk);
    carried_out(&desk);
    let letters = desk.place.path().join("letters");
    written(&desk, &letters);
    answered(&desk);
    desk.served.stop();
}

/// What is not erased is issued by hand, watched, and given to somebody else.
fn told_others(desk: &Desk) {
    let issue = ["instructions", "issue", "--kind", "stop_using", "--service", "solar", "--json"];
    let issued = desk.fed(&issue, "account@solar:ann\n").ends(0).lines();
    let kinds: Vec<&Value> = issued.iter().map(|one| &one["kind"]).collect();
    assert!(
        !issued.is_empty() && kinds.iter().all(|kind| **kind == "INSTRUCTION_KIND_STOP_USING"),
        "{issued:?}"
    );
    desk.fed(&["instructions", "issue", "--kind", "erase"], "account@solar:ann\n").ends(2);
    desk.run(&["instructions", "issue", "--kind", "burn"]).ends(64);

    let to_service = issued.iter().find(|one| one["addressee"] == "solar").unwrap();
    let id = to_service["instruction_id"].as_str().unwrap();
    let watch = ["instructions", "watch", "--addressee", "solar", "--lease", "PT1S"];
    let mut watching = desk.command(&watch).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(watching.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["instruction_id"], id);
    assert!(Command::new("kill").args(["-TERM", &watching.id().to_string()]).status().unwrap().success());
    assert_eq!(watching.wait().unwrap().code(), Some(0), "interrupted is done");

    let moved = desk.json(&["instructions", "reassign", id, "--from", "solar", "--to", "roofer"]);
    assert_eq!(moved[0]["addressee"], "roofer");
    let table = desk.run(&["instructions", "list", "--addressee", "roofer"]).ends(0);
    assert!(
        table.out.contains("stop_using") && !table.out.contains("ann"),
        "a table names nobody: {}",
        table.out
    );
    for one in desk.json(&["instructions", "list", "--kind", "stop-using"]) {
        let done = json!({ "instruction_id": one["instruction_id"], "outcome": "done" }).to_string();
        let addressee = one["addressee"].as_str().unwrap();
        desk.fed(&["instructions", "acknowledge", "--addressee", addressee], &done).ends(0);
    }
    assert_eq!(desk.json(&["instructions", "list"]), Vec::<Value>::new());
}

/// The clock plans, an officer reads and approves.
fn approved(desk: &Desk) {
    desk.json(&["jobs", "run", "retention_sweep"]);
    let plan = desk.json(&["plans", "list", "--state", "waiting", "--service", "solar"]).remove(0);
    let id = plan["plan_id"].as_str().unwrap();
    let shown = desk.run(&["plans", "show", id]).ends(0);
    for word in [
        "erase 3 data of solar",
        "GDPR 5(1)(e)",
        "an officer other than the planner",
        "first time",
        "3 still due",
    ] {
        assert!(shown.out.contains(word), "{word}: {}", shown.out);
    }
    let items = desk.json(&["plans", "items", id]);
    assert_eq!(items.len(), 3);
    assert!(items.iter().all(|item| item["recipients"] == json!(["roofer"])), "{items:?}");
    // What somebody reads is what they copy.
    let sha256 = shown.err.split("--sha256 ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    desk.run(&["plans", "approve", id, "--sha256", "12"]).ends(64);
    desk.run(&["plans", "approve", id, "--sha256", &"0".repeat(64)]).ends(2);
    desk.run(&["plans", "reject", id, "--sha256", &sha256]).ends(64);
    let agreed = desk.run(&["plans", "approve", id, "--sha256", &sha256]).ends(0);
    assert!(agreed.out.contains("3 instructions went out"), "{}", agreed.out);
    desk.run(&["plans", "reject", id, "--sha256", &sha256, "--reason", "late"]).ends(2);
    let empty = desk.json(&["plans", "make"]);
    assert_eq!(empty[0]["plans"], Value::Null, "everything is in a plan");
}

/// A script takes, asks and answers, each line by line.
fn carried_out(desk: &Desk) {
    let to = ["--addressee", "solar", "--json"];
    let taken =
        desk.run(&[&["instructions", "take", "--max", "2", "--lease", "PT1H"], &to[..]].concat()).ends(0);
    assert_eq!(taken.lines().len(), 2);
    let rest = desk.run(&[&["instructions", "take"], &to[..]].concat()).ends(0);
    assert_eq!(rest.lines().len(), 1, "what somebody has in hand is nobody else's");
    let all = taken.out + &rest.out;
    let begun = desk.fed(&[&["instructions", "begin"], &to[..]].concat(), &all).ends(0).lines();
    assert!(begun.iter().all(|one| one["answer"] == "INSTRUCTION_ANSWER_GO"), "{begun:?}");
    let more = format!("{all}{{\nnobody-s\n");
    let told = desk.fed(&["instructions", "begin", "--addressee", "solar"], &more).ends(1);
    assert!(
        told.out.contains("  go\n") && told.out.contains("refused INSTRUCTION_NOT_FOUND"),
        "{}",
        told.out
    );
    assert!(told.err.contains("line 4: is not JSON"), "{}", told.err);

    let ids: Vec<String> =
        begun.iter().map(|one| one["instruction_id"].as_str().unwrap().to_owned()).collect();
    let done = |id: &String| {
        format!(
            "{{\"instruction_id\":\"{id}\",\"outcome\":\"done\",\"method\":\"delete\",\"stores\":[\"accounts\"]}}\n"
        )
    };
    let lines: String = ids.iter().map(done).collect();
    let acknowledge = ["instructions", "acknowledge", "--addressee", "solar"];
    desk.fed(&acknowledge, &lines).ends(0);
    let again = desk.fed(&acknowledge, &lines).ends(0);
    assert_eq!(again.out.matches("done  (before)").count(), 3, "{}", again.out);
    let wrong = desk.fed(&acknowledge, &lines.replace("done", "refused")).ends(1);
    assert!(wrong.out.contains("refused INSTRUCTION_ENDED"), "{}", wrong.out);
    assert_eq!(desk.json(&["instructions", "list", "--addressee", "solar"]), Vec::<Value>::new());
}

/// Whoever got the data is told by letter.
fn written(desk: &Desk, letters: &std::path::Path) {
    let piles = desk.json(&["instructions", "desk"]);
    assert_eq!((piles.len(), &piles[0]["addressee"], &piles[0]["open"]), (1, &json!("roofer"), &json!(3)));
    assert_eq!((&piles[0]["kinds"]["erase"], &piles[0]["reminders"]), (&json!(3), &json!({})));
    let each = desk.run(&["instructions", "desk", "--addressee", "roofer"]).ends(0);
    assert!(each.out.contains("no. ") || each.out.contains("desk"), "{}", each.out);
    let dir = letters.to_str().unwrap();
    let nobody = desk.run(&["instructions", "desk", "letter", "nobody", "--dir", dir]).ends(0);
    assert!(nobody.err.contains("nothing is open with nobody") && !letters.exists(), "{}", nobody.err);
    let made =
        desk.run(&["instructions", "desk", "letter", "roofer", "--dir", dir, "--sender", "Sunny"]).ends(0);
    let files: Vec<&str> = made.out.lines().collect();
    let [en, zh, csv, xlsx] = files[..] else { panic!("{files:?}") };
    let (en, zh) = (fs::read_to_string(en).unwrap(), fs::read_to_string(zh).unwrap());
    assert!(en.contains("1. Erase (3 of them)") && en.contains("From    Sunny"), "{en}");
    assert!(zh.contains("1. 删除（共3项）") && zh.contains("发件方：Sunny"), "{zh}");
    for path in [csv, xlsx] {
        let read = sheet::read("list", &fs::read(path).unwrap()).unwrap();
        let cells = format!("{read:?}");
        assert!(PEOPLE.iter().all(|name| cells.contains(&format!("account@solar:{name}"))), "{cells}");
        assert!(!cells.contains("keep.security"), "no list tells why: {cells}");
        assert!(path.contains("roofer-"), "{path}");
    }
    assert!(PEOPLE.iter().all(|name| !en.contains(&format!(":{name}"))), "a letter names nobody: {en}");
}

/// What came back is entered by hand.
fn answered(desk: &Desk) {
    let open = desk.json(&["instructions", "list", "--addressee", "roofer"]);
    let ids: Vec<&str> = open.iter().map(|one| one["instruction_id"].as_str().unwrap()).collect();
    let answer = ["instructions", "desk", "answer", "--addressee", "roofer"];
    let done =
        ["--id", ids[0], "--id", ids[1], "--outcome", "done", "--method", "overwrite", "--store", "files"];
    let told = desk.run(&[&answer[..], &done].concat()).ends(0);
    assert_eq!(told.out.matches("  done").count(), 2, "{}", told.out);
    let refused = ["--id", ids[2], "--outcome", "refused"];
    let told = desk.run(&[&answer[..], &refused].concat()).ends(1);
    assert!(told.out.contains("refused INVALID"), "a refusal says why: {}", told.out);
    desk.run(&[&answer[..], &refused, &["--ground", "legal_obligation"]].concat()).ends(0);
    assert_eq!(desk.json(&["instructions", "desk"]), Vec::<Value>::new());
    let plan = desk.json(&["plans", "list"]).remove(0);
    let shown = desk.run(&["plans", "show", plan["plan_id"].as_str().unwrap()]).ends(0);
    assert!(shown.out.contains("3 instructed, 3 done"), "{}", shown.out);
}
