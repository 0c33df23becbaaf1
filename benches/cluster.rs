//! The log of a cluster, against stand-ins of KurrentDB on the same machine: what the stand-in takes from the client
//! crate alone, what the adapter makes of that with sidecars in memory and in PostgreSQL, and how long appends stand
//! still when the node that leads is killed; and the vault in PostgreSQL: people it knows, and new ones.
//!
//! `cargo bench --bench cluster` appends 200,000 records of 600 bytes and two pieces, in batches of 500;
//! `-- --events N --batch N` says otherwise. It builds the stand-in first: `cargo build --release --example
//! kurrent-stand-in`. A stand-in is no KurrentDB: the figures tell what the adapter costs, not what a cluster gives.

#[path = "../tests/support/stand_in.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod stand_in;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use custody::clock::SystemClock;
use custody::domain::identity::Kind;
use custody::domain::time::Timestamp;
use custody::log::kurrent::{Kurrent, Nodes, Options};
use custody::log::sidecars::Sidecars;
use custody::log::sidecars::memory::MemorySidecars;
use custody::log::sidecars::postgres::PostgresSidecars;
use custody::log::{Log, NewRecord, contract};
use custody::postgres::{Database, throwaway};
use custody::vault::contract::named;
use custody::vault::keyring::{Keyring, Source};
use custody::vault::postgres::{self as people_in_postgres, Vault};
use custody::vault::{Act, Entry, Vault as _};
use eventstore::{Client, EventData, ExpectedRevision};
use stand_in::Cluster;
use tokio::task::JoinSet;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HEADER: usize = 600;
const IN_FLIGHT: usize = 16;

fn number(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn record(n: u64) -> NewRecord {
    let mut header = format!("{{\"n\":{n},\"x\":\"").into_bytes();
    header.resize(HEADER, b'x');
    let piece = |kind: u8| bytes::Bytes::from(vec![kind; 200]);
    NewRecord { header: header.into(), pieces: vec![piece(1), piece(2)], ..contract::record("app", n) }
}

fn told(what: &str, events: u64, since: Instant) {
    println!("{what}: {:.1}k/s", events as f64 / since.elapsed().as_secs_f64() / 1_000.0);
}

/// The client crate alone: pipelined appends to one stream, in whatever order they come.
async fn alone(cluster: &Cluster, events: u64, batch: u64) {
    let client = Client::new(cluster.connection().parse().unwrap()).unwrap();
    let session = Arc::new(client.batch_append(&Default::default()).await.unwrap());
    let since = Instant::now();
    let mut waiting = VecDeque::new();
    for first in (0..events).step_by(batch as usize) {
        let data = |n: u64| EventData::binary("x", record(n).header).id(uuid::Uuid::from_u128(n.into()));
        let some: Vec<EventData> = (first..first + batch).map(data).collect();
        let session = Arc::clone(&session);
        waiting.push_back(tokio::spawn(async move {
            session.append_to_stream("alone", ExpectedRevision::Any, some).await
        }));
        if waiting.len() >= IN_FLIGHT {
            waiting.pop_front().unwrap().await.unwrap().unwrap();
        }
    }
    for answer in waiting {
        answer.await.unwrap().unwrap();
    }
    told("the crate alone, no subscription", events, since);
}

async fn open(cluster: &Cluster, sidecars: Arc<dyn Sidecars>, dir: &std::path::Path) -> Arc<Kurrent> {
    let options = Options {
        dir: dir.to_owned(),
        nodes: Nodes::parse(&cluster.connection()).unwrap(),
        prefix: "custody-g@".to_owned(),
        queue_bytes: 64 << 20,
        patience: Duration::from_secs(20),
        set_aside: custody::server::shared::set_aside("g".parse().unwrap()).unwrap(),
    };
    Arc::new(Kurrent::open(options, sidecars).await.unwrap())
}

async fn append_all(log: &Arc<Kurrent>, from: u64, events: u64, batch: u64) {
    let mut tasks = JoinSet::new();
    for first in (from..from + events).step_by(batch as usize) {
        let log = Arc::clone(log);
        tasks.spawn(async move { log.append((first..first + batch).map(record).collect()).await.unwrap() });
        if tasks.len() >= IN_FLIGHT {
            tasks.join_next().await.unwrap().unwrap();
        }
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

async fn adapter(what: &str, cluster: &Cluster, sidecars: Arc<dyn Sidecars>, (events, batch): (u64, u64)) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let log = open(cluster, sidecars, dir.path()).await;
    let since = Instant::now();
    append_all(&log, 0, events, batch).await;
    told(&format!("the adapter, sidecars in {what}, batches of {batch}"), events, since);
    let since = Instant::now();
    let ones = events.min(2_000);
    append_all(&log, events, ones, 1).await;
    told(&format!("the adapter, sidecars in {what}, one by one, {IN_FLIGHT} in flight"), ones, since);
    let since = Instant::now();
    let mut at = 0;
    while at < events {
        at += log.read(at, 1_000, 4 << 20).await.unwrap().len() as u64;
    }
    told("read back with pieces", events, since);
}

async fn killed(cluster: &Cluster) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let log = open(cluster, MemorySidecars::new(Arc::new(SystemClock)), dir.path()).await;
    let mut gaps = Vec::new();
    let mut n = 0;
    for _ in 0..10 {
        log.append(vec![record(n)]).await.unwrap();
        let leader = cluster.leader();
        cluster.kill(leader);
        let since = Instant::now();
        while log.append(vec![record(n + 1)]).await.is_err() {}
        gaps.push(since.elapsed().as_millis());
        cluster.revive(leader);
        n += 2;
    }
    gaps.sort_unstable();
    println!("the leader killed, 10 times: the next append took {} ms p50, {} ms at most", gaps[5], gaps[9]);
}

fn people(first: u64, of: u64, count: u64) -> Vec<Entry> {
    let one = |i: u64| {
        let account = named(Kind::Account, &format!("user-{}", (first + i) % of));
        let phone = named(Kind::Phone, &format!("+86139{:08}", (first + i) % of));
        Entry {
            identifiers: vec![account, phone],
            home_realm: "app".parse().ok(),
            occurred_at: Timestamp::EPOCH,
            opens: true,
            act: Act::None,
        }
    };
    (0..count).map(one).collect()
}

/// Resolves in batches of 100, so many at the same time.
async fn resolve(what: &str, vault: &Arc<Vault>, (from, of, count): (u64, u64, u64), at_once: usize) {
    let since = Instant::now();
    let mut tasks = JoinSet::new();
    for first in (from..from + count).step_by(100) {
        let vault = Arc::clone(vault);
        tasks.spawn(async move { vault.resolve(people(first, of, 100)).await.unwrap() });
        if tasks.len() >= at_once {
            tasks.join_next().await.unwrap().unwrap();
        }
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    told(&format!("{what}, account and telephone, {at_once} calls of 100 at once"), count, since);
}

async fn vault(database: Arc<Database>) {
    let dir = tempfile::tempdir().unwrap();
    let source = Source::File(dir.path().join("keyring.json"));
    let keyring = Arc::new(Keyring::open(source, true, Timestamp::EPOCH).unwrap());
    let open = |cache_entries| {
        let (database, keyring) = (Arc::clone(&database), Arc::clone(&keyring));
        let options = people_in_postgres::Options { cache_entries };
        async move { Arc::new(Vault::open(database, keyring, Arc::new(SystemClock), options).await.unwrap()) }
    };
    let all = 10_000;
    let remembers = open(400_000).await;
    resolve("new people", &remembers, (0, all, all), 4).await;
    resolve("known people, remembered", &remembers, (0, all, 200_000), 4).await;
    drop(remembers);
    resolve("known people, from the database", &open(128).await, (0, all, all), 4).await;
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let size = (number("--events", 200_000), number("--batch", 500));
    let one = || Cluster::start(1);
    // Each on a log of its own, so that none carries what the one before has left.
    alone(&one(), size.0, size.1).await;
    adapter("memory", &one(), MemorySidecars::new(Arc::new(SystemClock)), size).await;
    let postgres = throwaway::Server::new(throwaway::Setup { fsync: true, ..Default::default() });
    let database = Database::open(custody::postgres::Options::new(postgres.url())).await.unwrap();
    let sidecars = PostgresSidecars::open(Arc::clone(&database), Arc::new(SystemClock)).await.unwrap();
    adapter("PostgreSQL", &one(), sidecars, size).await;
    killed(&Cluster::start(3)).await;
    vault(database).await;
}
