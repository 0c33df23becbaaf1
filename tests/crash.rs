//! A service killed at random instants under load, with everything it never synced taken away: what
//! it acknowledged is there, what it did not acknowledge is there whole or not at all; what it
//! published is still the beginning of what it publishes.

mod support;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use custody::cli::client::Client;
use custody::pb;
use support::crash::{Dice, Sandbox, kill};
use support::events::{
    account, assert_checks, assert_kept, collected, connect, head, receipt, runtime, send_all, workplace,
};
use support::rewind::{Discarded, Loss};
use support::server::Served;

const ROUNDS: u64 = 21;
const CONNECTIONS: u64 = 3;
/// Events that one connection offers at most in a round.
const OFFERED: usize = 150;

type Acknowledged = (pb::Event, pb::Receipt);

/// What the emitters know.
#[derive(Default)]
struct Book {
    acknowledged: Vec<Acknowledged>,
    /// Batches of new events whose answers never came.
    open: Vec<Vec<pb::Event>>,
    /// Checkpoints that somebody was given.
    published: Vec<pb::Checkpoint>,
}

/// As often as checkpoints may be published, so that kills meet every step of it.
const PUBLISH: [&str; 2] = ["--set", "ledger.checkpoint_interval_ms=100"];

#[test]
fn a_kill_at_any_instant_loses_nothing_that_was_acknowledged() {
    let below = workplace();
    let sandbox = Sandbox::new(below.path()).unwrap();
    let data = sandbox.root().join("data");
    let runtime = runtime();
    let book = Arc::new(Mutex::new(Book::default()));
    let mut dice = Dice(20);
    let mut discarded = Discarded::default();
    let mut resolved = (0, 0);
    let mut checked = 0;
    for round in 0..ROUNDS {
        let loss = if round % 2 == 0 { Loss::All } else { Loss::Torn(round) };
        if round % 5 == 3 {
            kill_while_it_opens(&sandbox, &data, Duration::from_millis(dice.below(60)));
            discarded.add(&sandbox.discard_unsynced(loss).unwrap());
        }
        let mut command = Served::command(&data);
        let served = Served::spawn(sandbox.arm(command.args(PUBLISH).args(["--set", "log.filter=off"])));
        runtime.block_on(async {
            let client = connect(&served).await;
            let (stored, gone) = settle(&client, &book).await;
            resolved = (resolved.0 + stored, resolved.1 + gone);
            check(&client, &book, &mut checked, &mut dice).await;
            check_published(&client, &book).await;
            let watching = tokio::spawn(watch(client.clone(), Arc::clone(&book)));
            let loads: Vec<_> = (0..CONNECTIONS)
                .map(|n| tokio::spawn(load(served.address().to_owned(), Arc::clone(&book), round * 10 + n)))
                .collect();
            tokio::time::sleep(Duration::from_millis(50 + dice.below(350))).await;
            drop(served);
            for load in loads {
                load.await.unwrap();
            }
            watching.await.unwrap();
        });
        discarded.add(&sandbox.discard_unsynced(loss).unwrap());
    }
    assert!(discarded.writes > 0 && discarded.bytes > 0, "no write was ever lost: {discarded:?}");
    assert_eq!(discarded.unexplained, 0, "{discarded:?}");

    let served = Served::start(&data);
    let acknowledged = runtime.block_on(async {
        let client = connect(&served).await;
        settle(&client, &book).await;
        check(&client, &book, &mut 0, &mut dice).await;
        check_published(&client, &book).await;
        book.lock().unwrap().acknowledged.len()
    });
    served.stop();
    assert_checks(&data);
    let (stored, gone) = resolved;
    eprintln!(
        "{acknowledged} events; batches without an answer: {stored} stored, {gone} gone; {discarded:?}"
    );
    let published = book.lock().unwrap().published.len();
    assert!(published > ROUNDS as usize, "only {published} checkpoints were seen");
    assert!(acknowledged > 500, "only {acknowledged} events were recorded");
}

fn kill_while_it_opens(sandbox: &Sandbox, data: &Path, after: Duration) {
    let mut command = Served::command(data);
    let mut child = sandbox.arm(command.args(PUBLISH)).stdout(Stdio::null()).spawn().unwrap();
    std::thread::sleep(after);
    kill(&mut child).unwrap();
}

/// Offers events until the service is gone: singles and batches, known and new people, retries.
async fn load(address: String, book: Arc<Mutex<Book>>, seed: u64) {
    let remote = custody::cli::client::Remote::local(format!("http://{address}"));
    let Ok(client) = remote.connect().await else { return };
    let mut dice = Dice(seed);
    let mut sent: Vec<Acknowledged> = Vec::new();
    let mut offered = 0;
    while offered < OFFERED {
        let batch: Vec<pb::Event> = (0..1 + dice.below(8) * dice.below(2))
            .map(|_| match dice.below(10) {
                0 => collected(&format!("new-{seed}-{offered}-{}", dice.below(1 << 40))),
                _ => collected(&format!("known-{}", dice.below(40))),
            })
            .collect();
        offered += batch.len();
        let retried = sent.get(dice.below(4 * sent.len() as u64) as usize).cloned();
        let mut request = batch.clone();
        request.extend(retried.iter().map(|(event, _)| event.clone()));
        let Ok(outcomes) = send_all(&client, &request).await else {
            book.lock().unwrap().open.push(batch);
            return;
        };
        for (event, outcome) in batch.iter().zip(&outcomes) {
            assert!(!receipt(outcome).duplicate, "{} is new", event.event_id);
            sent.push((event.clone(), receipt(outcome).clone()));
            book.lock().unwrap().acknowledged.push((event.clone(), receipt(outcome).clone()));
        }
        if let Some((_, first)) = retried {
            let again = receipt(&outcomes[batch.len()]);
            assert!(
                again.duplicate && again.position == first.position && again.leaf_hash == first.leaf_hash
            );
        }
    }
}

/// Keeps every checkpoint that it can get, until the service is gone.
async fn watch(client: Client, book: Arc<Mutex<Book>>) {
    let mut ledger = client.ledger();
    while let Ok(answer) = ledger.get_checkpoint(pb::GetCheckpointRequest::default()).await {
        let checkpoint = answer.into_inner().checkpoint.unwrap();
        let published = &mut book.lock().unwrap().published;
        if published.last().is_none_or(|last| last.tree_size != checkpoint.tree_size) {
            published.push(checkpoint);
        }
    }
}

/// Every checkpoint that somebody was given is kept, and the tree still begins with it.
async fn check_published(client: &Client, book: &Mutex<Book>) {
    let published = book.lock().unwrap().published.clone();
    for given in published {
        let request = pb::GetCheckpointRequest { tree_size: Some(given.tree_size) };
        let kept = client.ledger().get_checkpoint(request).await.unwrap().into_inner().checkpoint.unwrap();
        assert_eq!(kept.root, given.root, "two roots over {}", given.tree_size);
        let request = pb::GetConsistencyProofRequest { old_size: given.tree_size, new_size: None };
        let growth = client.ledger().get_consistency_proof(request).await.unwrap().into_inner();
        assert_eq!(growth.old_root, given.root, "the log does not begin with what was published");
    }
    let status = client.admin().get_status(pb::GetStatusRequest {}).await.unwrap().into_inner();
    assert!(status.alarms.iter().all(|alarm| !alarm.code.contains("ledger")), "{:?}", status.alarms);
}

/// Sends again what was not answered: of a batch everything is there, or nothing. Says how many
/// batches were there and how many were not.
async fn settle(client: &Client, book: &Mutex<Book>) -> (usize, usize) {
    let open = std::mem::take(&mut book.lock().unwrap().open);
    let (mut stored, mut gone) = (0, 0);
    for batch in open {
        let outcomes = send_all(client, &batch).await.unwrap();
        let there = outcomes.iter().filter(|outcome| receipt(outcome).duplicate).count();
        assert!(there == 0 || there == batch.len(), "half a batch: {there} of {}", batch.len());
        stored += usize::from(there > 0);
        gone += usize::from(there == 0);
        let receipts = outcomes.iter().map(|outcome| receipt(outcome).clone());
        book.lock().unwrap().acknowledged.extend(batch.into_iter().zip(receipts));
    }
    (stored, gone)
}

/// Everything acknowledged since the last check is kept, and some of what is older; there is nothing
/// beside it; its people are known.
async fn check(client: &Client, book: &Mutex<Book>, checked: &mut usize, dice: &mut Dice) {
    let acknowledged = book.lock().unwrap().acknowledged.clone();
    let (old, new) = acknowledged.split_at(*checked);
    assert_kept(client, new).await;
    let sample: Vec<Acknowledged> = match old.len() as u64 {
        0 => Vec::new(),
        count => (0..50).map(|_| old[dice.below(count) as usize].clone()).collect(),
    };
    assert_kept(client, &sample).await;
    *checked = acknowledged.len();

    // Position 0 is custody's own first event.
    let positions: HashSet<u64> = acknowledged.iter().map(|(_, receipt)| receipt.position).collect();
    assert_eq!(positions.len(), acknowledged.len(), "two events at one position");
    let head = head(client).await;
    assert_eq!(head, 1 + acknowledged.len() as u64, "positions are dense and nothing is doubled");
    assert!((1..head).all(|position| positions.contains(&position)));

    let mut people: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (event, _) in &acknowledged {
        people.entry(&event.people[0].identifiers[0].value).or_default().push(&event.event_id);
    }
    let people: Vec<_> = people.into_iter().collect();
    for _ in 0..people.len().min(4) {
        let (name, events) = &people[dice.below(people.len() as u64) as usize];
        report(client, name, events, head).await;
    }
}

/// The report of a person has the newest of the person's events as evidence.
async fn report(client: &Client, name: &str, events: &[&str], head: u64) {
    let name_of = |name: &str| pb::subject_name::Name::Identifier(account(name));
    let request = pb::ListSubjectEventsRequest {
        subject: Some(pb::SubjectName { name: Some(name_of(name)) }),
        at_least: Some(head - 1),
        page_size: 1_000,
        ..Default::default()
    };
    let listed = client.subjects().list_subject_events(request).await.unwrap().into_inner().events;
    assert_eq!(listed.len(), events.len(), "events of {name}");
    let request = pb::GetSubjectReportRequest {
        subject: Some(pb::SubjectName { name: Some(name_of(name)) }),
        at_least: Some(head - 1),
        ..Default::default()
    };
    let report = client.subjects().get_subject_report(request).await.unwrap().into_inner();
    assert!(report.report.is_some());
}
