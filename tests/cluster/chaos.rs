//! A minute in which nodes of both kinds are killed at random under load, and people are erased meanwhile.
//!
//! Every acknowledged event is there once afterwards, on both nodes at the same position; their trees have the same
//! root, their reports say the same, and nobody who was erased is known to either.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use custody::cli::client::Client;
use custody::pb;
use tokio::sync::Mutex;

use super::support::events::{account, collected, receipt, send, send_all, status};
use super::support::fleet::Fleet;

const NODES: usize = 2;
const STAND_INS: usize = 3;
const WRITERS: u64 = 4;
/// Whoever is erased has this many events before.
const EVENTS_OF_THE_GONE: usize = 3;

struct Story {
    fleet: Fleet,
    over: AtomicBool,
    sent: AtomicU64,
    kept: Mutex<Vec<(pb::Event, pb::Receipt)>>,
    gone: Mutex<Vec<String>>,
}

/// A xorshift generator: the same seed kills at the same places.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[test]
fn nothing_is_lost_doubled_or_brought_back_while_nodes_die() {
    let seconds =
        std::env::var("CUSTODY_CHAOS_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let seed =
        std::env::var("CUSTODY_CHAOS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_130);
    let story = Arc::new(Story {
        fleet: Fleet::start(STAND_INS, NODES),
        over: AtomicBool::new(false),
        sent: AtomicU64::new(0),
        kept: Mutex::default(),
        gone: Mutex::default(),
    });
    let killer = std::thread::spawn({
        let story = Arc::clone(&story);
        move || kill(&story.fleet, Duration::from_secs(seconds), seed)
    });
    let runtime = super::support::events::runtime();
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for writer in 0..WRITERS {
            tasks.push(tokio::spawn(write(Arc::clone(&story), writer)));
        }
        tasks.push(tokio::spawn(erase(Arc::clone(&story))));
        let killed = tokio::task::spawn_blocking(move || killer.join().unwrap()).await.unwrap();
        story.over.store(true, Ordering::SeqCst);
        for task in tasks {
            task.await.unwrap();
        }
        let kept = story.kept.lock().await.len();
        let gone = story.gone.lock().await.len();
        eprintln!("{kept} events acknowledged, {gone} people erased, killed and troubled: {killed:?}");
        assert!(kept > 100 && gone > 2, "hardly anything happened");
        check(&story).await;
    });
}

/// Kills and revives until time is up; everything runs at the end. Says how often what happened.
fn kill(fleet: &Fleet, length: Duration, seed: u64) -> HashMap<&'static str, u64> {
    let (mut dice, begun) = (Dice(seed), Instant::now());
    let mut done: HashMap<&'static str, u64> = HashMap::new();
    while begun.elapsed() < length {
        let what = match dice.below(8) {
            0 | 1 => {
                let node = dice.below(NODES as u64) as usize;
                fleet.kill(node);
                std::thread::sleep(Duration::from_millis(dice.below(1_500)));
                fleet.revive(node);
                "custody"
            }
            2..=4 => {
                let node = dice.below(STAND_INS as u64) as usize;
                fleet.cluster.kill(node);
                std::thread::sleep(Duration::from_millis(dice.below(2_000)));
                fleet.cluster.revive(node);
                "kurrentdb"
            }
            5 => {
                fleet.cluster.tell_all("lose 1");
                "lost answers"
            }
            6 => {
                fleet.cluster.tell_all(if dice.below(2) == 0 { "end clean" } else { "drop" });
                "ended"
            }
            _ => {
                fleet.cluster.tell_all("resign");
                "resigned"
            }
        };
        *done.entry(what).or_default() += 1;
        std::thread::sleep(Duration::from_millis(200 + dice.below(800)));
    }
    done
}

impl Story {
    async fn client(&self, n: u64) -> Option<Client> {
        self.fleet.client(n as usize % NODES).await
    }

    /// Sends an event until a node acknowledges it, each time to the other one.
    async fn send_through(&self, event: &pb::Event, first: u64) -> pb::Receipt {
        for attempt in 0.. {
            if let Some(client) = self.client(first + attempt).await {
                match tokio::time::timeout(Duration::from_secs(15), send(&client, event)).await {
                    Ok(Ok(receipt)) => return receipt,
                    Ok(Err(status)) => assert!(may_be_repeated(&status), "{status:?}"),
                    Err(_) => {}
                }
            }
            assert!(attempt < 300, "nobody takes {}", event.event_id);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        unreachable!("the loop ends by itself")
    }
}

/// Whether a client may, and should, send the same again.
fn may_be_repeated(status: &tonic::Status) -> bool {
    use tonic::Code::{
        Aborted, Cancelled, DeadlineExceeded, Internal, ResourceExhausted, Unavailable, Unknown,
    };
    let codes = [Aborted, Cancelled, DeadlineExceeded, ResourceExhausted, Unavailable];
    // A connection that breaks in the middle of an answer is one of these to the client's library.
    let broken = [Internal, Unknown].contains(&status.code()) && status.details().is_empty();
    codes.contains(&status.code()) || broken
}

async fn write(story: Arc<Story>, writer: u64) {
    let mut n = writer;
    while !story.over.load(Ordering::SeqCst) {
        let event = collected(&format!("person-{}", n % 40));
        let receipt = story.send_through(&event, n).await;
        story.kept.lock().await.push((event, receipt));
        story.sent.fetch_add(1, Ordering::Relaxed);
        n += WRITERS;
    }
}

/// One person after another becomes known and is erased.
async fn erase(story: Arc<Story>) {
    let mut n = 0;
    while !story.over.load(Ordering::SeqCst) {
        let name = format!("gone-{n}");
        for event in 0..EVENTS_OF_THE_GONE {
            story.send_through(&collected(&name), n + event as u64).await;
        }
        for attempt in 0.. {
            let Some(client) = story.client(n + attempt).await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let request = pb::EraseSubjectsRequest {
                subjects: vec![named(&name)],
                cause: pb::IdentityErasureCause::Operator as i32,
                evidence_too: true,
                ..Default::default()
            };
            let mut erasures = client.erasures();
            match tokio::time::timeout(Duration::from_secs(40), erasures.erase_subjects(request)).await {
                Ok(Ok(_)) => break,
                // Somebody else has carried it through by now.
                Ok(Err(status)) if status.code() == tonic::Code::NotFound => break,
                Ok(Err(status)) => assert!(may_be_repeated(&status), "{status:?}"),
                Err(_) => {}
            }
            assert!(attempt < 100, "{name} cannot be erased");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        story.gone.lock().await.push(name);
        n += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn named(account_name: &str) -> pb::SubjectName {
    pb::SubjectName { name: Some(pb::subject_name::Name::Identifier(account(account_name))) }
}

async fn report(client: &Client, name: &str, at_least: u64) -> Result<pb::SubjectReport, tonic::Status> {
    let request = pb::GetSubjectReportRequest {
        subject: Some(named(name)),
        at_least: Some(at_least),
        known_at: Some(at_least),
        ..Default::default()
    };
    client.subjects().get_subject_report(request).await.map(|answer| answer.into_inner().report.unwrap())
}

async fn check(story: &Story) {
    let clients = [story.client(0).await.unwrap(), story.client(1).await.unwrap()];
    let kept = story.kept.lock().await;
    for client in &clients {
        for part in kept.chunks(500) {
            let events: Vec<pb::Event> = part.iter().map(|(event, _)| event.clone()).collect();
            for ((event, first), outcome) in part.iter().zip(send_all(client, &events).await.unwrap()) {
                let again = receipt(&outcome);
                assert!(
                    again.duplicate,
                    "{} was acknowledged at {} and is gone",
                    event.event_id, first.position
                );
                assert_eq!((again.position, &again.leaf_hash), (first.position, &first.leaf_hash));
            }
        }
    }
    let (size, roots) = same_tree(&clients).await;
    assert_eq!(roots[0], roots[1], "the trees differ at size {size}");
    for n in 0..40 {
        let name = format!("person-{n}");
        let mut reports = Vec::new();
        for client in &clients {
            let mut report = report(client, &name, size - 1).await.unwrap();
            report.as_of = None;
            reports.push(report);
        }
        assert_eq!(reports[0], reports[1]);
    }
    for name in story.gone.lock().await.iter() {
        for client in &clients {
            let known = report(client, name, size - 1).await;
            assert_eq!(
                known.as_ref().err().map(tonic::Status::code),
                Some(tonic::Code::NotFound),
                "{known:?}"
            );
        }
    }
}

/// Both nodes' trees at one size, once they have it.
async fn same_tree(clients: &[Client; 2]) -> (u64, Vec<Vec<u8>>) {
    for _ in 0..100 {
        let mut seen = Vec::new();
        for client in clients {
            let ledger = status(client).await.ledger.unwrap();
            assert_eq!(ledger.diverged, "");
            seen.push((ledger.tree_size, ledger.root.to_vec()));
        }
        if seen[0].0 == seen[1].0 {
            return (seen[0].0, seen.into_iter().map(|(_, root)| root).collect());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the nodes never have the same number of records");
}
