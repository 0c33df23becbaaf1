//! Erasures per second among many events, from the request to the end: the log purged, the views' files
//! written anew. Each person has a hundred events all over the log.
//!
//! `cargo bench --bench erase` takes ten million events; `-- --events 200000` says otherwise.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use custody::app::Caller;
use custody::app::erase::Reason;
use custody::app::subjects::Name;
use custody::clock::SystemClock;
use custody::domain::event::IdentityErasureCause;
use custody::domain::identity::{Identifier, Kind};
use custody::domain::personal::Personal;
use custody::server::{Running, Server};
use support::{BATCH, EMITTERS, REALM, account, clients, ingest, load, number, rate, size};
use tokio::runtime::Runtime;

/// The allocator of the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// People of a call, and calls of that kind.
const CALLS: [(u64, u64); 3] = [(1, 5), (100, 3), (1_000, 2)];
/// Events of a person.
const EACH: u64 = 100;

fn name(person: u64) -> Name {
    let realm = Some(REALM.parse().expect("a realm"));
    Name::Identifier(Identifier { kind: Kind::Account, realm, value: Personal::new(account(person)) })
}

/// Pieces that were purged.
async fn erase(running: &Running, people: std::ops::Range<u64>) -> u64 {
    let names: Vec<Name> = people.map(name).collect();
    let reason = Reason { cause: IdentityErasureCause::Operator, case_id: None, evidence_too: true };
    let done = running.app().erase(&Caller::local(), &names, reason).await.expect("erased");
    assert_eq!(done.len(), names.len());
    done.iter().map(|one| one.pieces).sum()
}

async fn measure(running: &Running, people: u64) {
    let mut next = 0;
    for (of_one, calls) in CALLS {
        let calls = calls.min((people - next) / of_one);
        let (mut took, mut pieces) = (Vec::new(), 0);
        for _ in 0..calls {
            let started = Instant::now();
            pieces += erase(running, next..next + of_one).await;
            took.push(started.elapsed());
            next += of_one;
        }
        let Some(best) = took.iter().min() else {
            println!("{of_one} people at once: there are too few");
            continue;
        };
        let all: Duration = took.iter().sum();
        rate(&format!("{of_one} at once, {calls} calls"), all, calls * of_one, "people");
        rate("  the best of them", *best, of_one, "people");
        rate("  pieces purged", all, pieces, "pieces");
    }
}

fn main() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let config = support::config(place.path());
    let events = number("--events", 10_000_000).next_multiple_of(EMITTERS * BATCH);
    let people = (events / EACH).max(1);
    println!("{events} events about {people} people; load {}", load());
    Runtime::new().expect("a runtime").block_on(async {
        let running = Server::start(config.clone(), Arc::new(SystemClock)).await.expect("a service");
        let took = ingest(&clients(&running).await, 0, events, move |n| n % people).await;
        rate("ingestion before", took, events, "events");
        let caught_up = Instant::now();
        while running.app().status().await.expect("a status").views.applied < events {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        rate("  views caught up", took + caught_up.elapsed(), events, "events");
        let views = size(&config.data.directory.join("views"));
        println!("files of the views, written anew by each call: {:.0} MB", views as f64 / 1e6);
        measure(&running, people).await;
        running.stop().await.expect("stopped");
    });
    println!("load {}", load());
}
