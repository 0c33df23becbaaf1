//! Ingestion while everybody is locked with a new key-encryption key, one after the other without a pause,
//! beside ingestion without, in the same run.
//!
//! `cargo bench --bench rekey` takes a million events, and as many people as `--people` says or one in ten of
//! them; `-- --events 200000` says otherwise.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use custody::app::App;
use custody::clock::SystemClock;
use custody::server::{Running, Server};
use custody::vault::keyring::Class;
use support::{BATCH, EMITTERS, clients, ingest, load, number, rate};
use tokio::runtime::Runtime;

/// The allocator of the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What `custody keyring rotate kek` does, and the end of the key before, so that there are two at most.
async fn rotate(app: &Arc<App>) {
    let id = app.add_key(Class::Kek).await.expect("a key").id;
    app.activate_key(Class::Kek, id).await.expect("in use");
    app.rewrap_keys(|_, _| {}).await.expect("everybody");
    app.destroy_key(Class::Kek, id - 1, true, |_, _| {}).await.expect("destroyed");
}

fn per_second(took: Duration, count: u64) -> f64 {
    count as f64 / took.as_secs_f64()
}

async fn measure(running: &Running, (people, events): (u64, u64)) {
    let clients = clients(running).await;
    rate("everybody made known", ingest(&clients, 0, people, |n| n).await, people, "people");
    let started = Instant::now();
    rotate(running.app()).await;
    rate("a new key, alone", started.elapsed(), people, "people");

    // The same events about the same people, in every phase.
    let whom = move |n: u64| n.wrapping_mul(7_919) % people;
    let before = ingest(&clients, 0, events, whom).await;
    rate("ingestion, alone", before, events, "events");
    let enough = Arc::new(AtomicBool::new(false));
    let (app, ended) = (Arc::clone(running.app()), Arc::clone(&enough));
    let rotating = tokio::spawn(async move {
        let mut rounds = 0;
        while !ended.load(Ordering::SeqCst) {
            rotate(&app).await;
            rounds += 1;
        }
        rounds
    });
    let started = Instant::now();
    let meanwhile = ingest(&clients, 0, events, whom).await;
    enough.store(true, Ordering::SeqCst);
    let rounds: u64 = rotating.await.expect("rotations");
    rate(&format!("  while {rounds} keys are replaced"), meanwhile, events, "events");
    rate("  people locked anew meanwhile", started.elapsed(), rounds * people, "people");
    let after = ingest(&clients, 0, events, whom).await;
    rate("ingestion, alone again", after, events, "events");
    let alone = (per_second(before, events) + per_second(after, events)) / 2.0;
    println!("while keys are replaced, of what it is alone: {:.2} x", per_second(meanwhile, events) / alone);
}

fn main() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let config = support::config(place.path());
    let whole = |number: u64| number.next_multiple_of(EMITTERS * BATCH);
    let events = whole(number("--events", 1_000_000));
    let people = whole(number("--people", events / 10));
    println!("{people} people, {events} events a phase; load {}", load());
    Runtime::new().expect("a runtime").block_on(async {
        let running = Server::start(config, Arc::new(SystemClock)).await.expect("a service");
        measure(&running, (people, events)).await;
        running.stop().await.expect("stopped");
    });
    println!("load {}", load());
}
