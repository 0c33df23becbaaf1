//! The vault: how long it takes to say who is meant, for people it knows and for new ones, and what
//! a person costs in memory. `cargo bench --bench resolve`

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use custody::clock::SystemClock;
use custody::domain::identity::{Identifier, Kind};
use custody::domain::time::Timestamp;
use custody::vault::contract::named;
use custody::vault::keyring::{Keyring, Source};
use custody::vault::sqlite::{Options, Vault};
use custody::vault::{Act, Entry, Vault as _};
use tokio::runtime::Runtime;

const BATCH: u64 = 100;
const PEOPLE: u64 = 100_000;

fn entry(identifiers: Vec<Identifier>) -> Entry {
    let home_realm = "app".parse().ok();
    Entry { identifiers, home_realm, occurred_at: Timestamp::EPOCH, opens: true, act: Act::None }
}

fn account(i: u64) -> Entry {
    entry(vec![named(Kind::Account, &format!("user-{i}"))])
}

fn with_phone(i: u64) -> Entry {
    let phone = named(Kind::Phone, &format!("+86139{i:08}"));
    entry(vec![named(Kind::Account, &format!("user-{i}")), phone])
}

fn open(directory: &std::path::Path, cache_entries: usize) -> Arc<Vault> {
    let clock = Arc::new(SystemClock);
    let source = Source::File(directory.join("keyring.json"));
    let keyring = Keyring::open(source, true, Timestamp::EPOCH).expect("a keyring");
    let options = Options { cache_entries, ..Options::default() };
    Arc::new(Vault::open(&directory.join("vault"), Arc::new(keyring), clock, options).expect("a vault"))
}

fn batches(make: fn(u64) -> Entry) -> Vec<Vec<Entry>> {
    // A stride without a common divisor visits everybody in scattered order.
    let person = |batch: u64, i: u64| make((batch * BATCH + i) * 7_919 % PEOPLE);
    (0..PEOPLE / BATCH).map(|batch| (0..BATCH).map(|i| person(batch, i)).collect()).collect()
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
    pages * 4096
}

fn known_people(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let vault = open(directory.path(), 1_000_000);
    let started = std::time::Instant::now();
    for batch in batches(with_phone) {
        runtime.block_on(vault.resolve(batch)).expect("resolve");
    }
    println!("{PEOPLE} people made one batch after the other: {:.1?}", started.elapsed());

    let mut group = criterion.benchmark_group("resolve");
    group.throughput(Throughput::Elements(BATCH)).measurement_time(Duration::from_secs(3));
    for (name, make) in
        [("warm account", account as fn(u64) -> Entry), ("warm account and phone", with_phone)]
    {
        let batches = batches(make);
        let mut next = batches.iter().cycle();
        group.bench_function(name, |bench| {
            bench.iter_batched(
                || next.next().cloned().unwrap_or_default(),
                |batch| black_box(runtime.block_on(vault.resolve(batch)).expect("resolve")),
                criterion::BatchSize::SmallInput,
            );
        });
    }
    drop(vault);
    let vault = open(directory.path(), 128);
    let batches = batches(account);
    let mut next = batches.iter().cycle();
    group.bench_function("account from SQLite", |bench| {
        bench.iter_batched(
            || next.next().cloned().unwrap_or_default(),
            |batch| black_box(runtime.block_on(vault.resolve(batch)).expect("resolve")),
            criterion::BatchSize::SmallInput,
        );
    });
    drop(vault);
    let vault = open(directory.path(), 1_000_000);
    runtime.block_on(vault.status()).expect("status");
    let before = resident_bytes();
    for batch in batches {
        runtime.block_on(vault.resolve(batch)).expect("resolve");
    }
    let each = resident_bytes().saturating_sub(before) / PEOPLE;
    println!("memory per person with one identifier (two cache entries, page caches included): {each} bytes");
}

fn new_people(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let vault = open(directory.path(), 400_000);
    let next = Arc::new(AtomicU64::new(0));
    let callers = 4;
    let mut group = criterion.benchmark_group("new people");
    group.throughput(Throughput::Elements(callers * BATCH)).measurement_time(Duration::from_secs(5));
    group.bench_function("account and phone, 4 callers, batches of 100", |bench| {
        bench.iter(|| {
            let calls: Vec<_> = (0..callers)
                .map(|_| {
                    let vault = Arc::clone(&vault);
                    let first = next.fetch_add(BATCH, Ordering::Relaxed);
                    let batch = (first..first + BATCH).map(with_phone).collect();
                    runtime.spawn(async move { vault.resolve(batch).await.expect("resolve") })
                })
                .collect();
            runtime.block_on(async {
                for call in calls {
                    black_box(call.await.expect("no panic"));
                }
            });
        });
    });
}

criterion_group!(resolve, known_people, new_people);
criterion_main!(resolve);
