//! A service in another language does what it is told, and is killed again and again while it does: in the end every
//! instruction is done exactly once, as the log and the service's own store tell it.

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use custody::cli::client::Client;
use custody::pb;
use rusqlite::Connection;
use serde_json::Value;
use support::crash::{Dice, kill};
use support::due;
use support::events::{connect, head, runtime, workplace};
use support::python::stubs;
use support::server::{Served, python};

/// People whose data are due.
const PEOPLE: usize = 300;
const KILLS: usize = 18;
/// In one message.
const BATCH: usize = 10;
/// Steps that a client is let go on for at most before it is killed. With fewer than a batch has, every kind of
/// instant is met.
const STEPS: u64 = 20;

#[test]
fn a_service_that_is_killed_again_and_again_does_everything_once() {
    let place = workplace();
    let (store, stubs) = (place.path().join("store.sqlite"), stubs(place.path()));
    let served = Served::spawn(
        // Nobody is forgotten before it is checked what was done.
        Served::command(&place.path().join("data")).args(["--set", "jobs.evidence_sweep.schedule=off"]),
    );
    let runtime = runtime();
    runtime.block_on(async {
        let client = connect(&served).await;
        let names: Vec<String> = (0..PEOPLE).map(name).collect();
        due::record(&client, &names).await;
        hold_data(&store);
    });
    approve(&served);

    let start = || client(&stubs, &served, &store);
    let mut dice = Dice(7);
    for round in 0..KILLS {
        match round % 3 {
            // What was written down and not begun is told again when its lease has run out.
            0 => {
                kill_at(start(), |line| line.starts_with("took") && line != "took 0");
                runtime.block_on(async { leases_end(&connect(&served).await).await });
            }
            _ => {
                let mut left = 1 + dice.below(STEPS);
                kill_at(start(), |_| {
                    left -= 1;
                    left == 0
                });
            }
        }
    }
    let last = start().wait_with_output().unwrap();
    assert!(last.status.success(), "{last:?}");
    assert!(String::from_utf8_lossy(&last.stdout).contains("nothing is open"), "{last:?}");

    let told = in_store(&store);
    runtime.block_on(async { in_log(&connect(&served).await, &told).await });
    let again: i64 = told.values().map(|one| one.told - 1).sum();
    eprintln!("{KILLS} kills; {again} instructions were told again");
    assert!(again > 0, "nothing was ever told twice, so that nothing was recognised");
    served.stop();
}

fn name(n: usize) -> String {
    format!("user-{n}")
}

/// The same people in the service's own store.
fn hold_data(store: &Path) {
    let store = Connection::open(store).unwrap();
    let made = "CREATE TABLE held (account TEXT NOT NULL, category TEXT NOT NULL, value TEXT NOT NULL)";
    store.execute(made, []).unwrap();
    for n in 0..PEOPLE {
        let value = format!("{}@example.org", name(n));
        store.execute("INSERT INTO held VALUES (?1, 'pd:EmailAddress', ?2)", [name(n), value]).unwrap();
    }
}

/// A command of the officer's, whose last line of output is JSON.
fn officer(served: &Served, arguments: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_custody"));
    command.args(arguments).arg("--json").env_clear();
    let told = command.env("CUSTODY_SERVER", format!("http://{}", served.address())).output().unwrap();
    assert!(told.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&told.stderr));
    serde_json::from_slice(&told.stdout).unwrap()
}

/// The clock plans, and an officer agrees, because the rule is carried out for the first time.
fn approve(served: &Served) {
    officer(served, &["jobs", "run", "retention_sweep"]);
    let plan = officer(served, &["plans", "list", "--state", "waiting"]);
    let id = plan["plan_id"].as_str().unwrap();
    assert_eq!(plan["items"], PEOPLE);
    let shown = officer(served, &["plans", "show", id]);
    assert_eq!(shown["outcome"]["due"], PEOPLE);
    let sha256 = sha256_of(&plan);
    let approved = officer(served, &["plans", "approve", id, "--sha256", &sha256, "--reason", "checked"]);
    assert_eq!(approved["instructed"], PEOPLE);
}

fn sha256_of(plan: &Value) -> String {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(plan["plan_sha256"].as_str().unwrap());
    bytes.unwrap().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn client(stubs: &Path, served: &Served, store: &Path) -> Child {
    let mut command = Command::new(python());
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/instructions.py")).arg(stubs);
    command.arg(served.address()).arg(store).args(["solar", &BATCH.to_string()]);
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// Kills a client when it has told of a step, whatever it is doing by then.
fn kill_at(mut client: Child, mut is_it: impl FnMut(&str) -> bool) {
    let mut lines = BufReader::new(client.stdout.take().unwrap()).lines();
    loop {
        let Some(line) = lines.next() else { panic!("the client ended with {}", client.wait().unwrap()) };
        let line = line.unwrap();
        assert_ne!(line, "nothing is open", "too few people for so many kills");
        if is_it(&line) {
            return kill(&mut client).unwrap();
        }
    }
}

/// Waits until nobody has anything in hand that was not begun.
async fn leases_end(client: &Client) {
    let request = || pb::ListInstructionsRequest {
        addressee: "solar".to_owned(),
        page_size: 1_000,
        ..Default::default()
    };
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let open = client.instructions().list_instructions(request()).await.unwrap().into_inner();
        let in_hand =
            |one: &pb::Instruction| one.state() == pb::InstructionState::Issued && one.taken_until.is_some();
        if !open.instructions.iter().any(in_hand) {
            return;
        }
        assert!(std::time::Instant::now() < until, "a lease of a second does not end");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// What the service's store says of one instruction.
struct Told {
    told: i64,
}

/// Everything is gone, each by one erasure, and answered.
fn in_store(store: &Path) -> BTreeMap<String, Told> {
    let store = Connection::open(store).unwrap();
    let count = |question: &str| store.query_row(question, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM held"), 0, "something was lost on the way");
    assert_eq!(count("SELECT count(*) FROM inbox WHERE state != 'answered'"), 0);
    assert_eq!(count("SELECT count(*) FROM erasures"), PEOPLE as i64);
    assert_eq!(count("SELECT count(*) FROM erasures WHERE rows != 1"), 0, "nothing is erased twice");
    let mut inbox = store
        .prepare(
            "SELECT inbox.id, told, count(erasures.id) FROM inbox JOIN erasures USING (id) GROUP BY inbox.id",
        )
        .unwrap();
    let rows = inbox.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?))).unwrap();
    let mut all = BTreeMap::new();
    for row in rows {
        let (id, told, erased): (String, i64, i64) = row.unwrap();
        assert_eq!(erased, 1, "{id} was erased more than once");
        all.insert(id, Told { told });
    }
    assert_eq!(all.len(), PEOPLE);
    all
}

/// The log tells of each instruction that it was issued, answered, and carried out, once.
async fn in_log(client: &Client, told: &BTreeMap<String, Told>) {
    let mut seen: BTreeMap<&str, BTreeMap<String, usize>> = BTreeMap::new();
    let last = head(client).await - 1;
    for kind in ["InstructionIssued", "InstructionAcknowledged", "ErasureExecuted"] {
        let mut request = pb::ListEventsRequest {
            filter: Some(pb::EventFilter { types: vec![kind.to_owned()], ..Default::default() }),
            at_least: Some(last),
            page_size: 500,
            ..Default::default()
        };
        loop {
            let page = client.events().list_events(request.clone()).await.unwrap().into_inner();
            for record in &page.events {
                *seen.entry(kind).or_default().entry(instruction_of(record)).or_default() += 1;
            }
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
    }
    for (kind, counts) in &seen {
        assert_eq!(counts.len(), told.len(), "{kind}");
        assert!(counts.values().all(|count| *count == 1), "{kind} more than once: {counts:?}");
        assert!(counts.keys().all(|id| told.contains_key(id)), "{kind} of what nobody was told");
    }
    assert_eq!(seen.len(), 3);
}

/// Which instruction an event is about, and that it says *done* where it says what became of it.
fn instruction_of(record: &pb::EventRecord) -> String {
    use pb::event::Body;
    match record.event.as_ref().and_then(|event| event.body.as_ref()) {
        Some(Body::InstructionIssued(body)) => body.instruction_id.clone(),
        Some(Body::ErasureExecuted(body)) => body.instruction_id.clone(),
        Some(Body::InstructionAcknowledged(body)) => {
            assert_eq!(body.outcome(), pb::InstructionOutcome::Done, "{body:?}");
            body.instruction_id.clone()
        }
        other => panic!("{other:?}"),
    }
}
