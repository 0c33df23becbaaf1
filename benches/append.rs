//! The embedded log beside the disk it stands on.
//!
//! `cargo bench --bench append` compares appends with the floor: a zero-filled 4 KiB block
//! overwritten and synced. `cargo bench --bench append -- --load 5000000` appends that many records
//! once, batches of 100 with 4 in flight, and prints rate, memory and the writer's cost as it goes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use custody::domain::id::{EventId, Id};
use custody::log::segments::{Options, Segments};
use custody::log::{Log, NewRecord};
use tokio::runtime::Runtime;
use uuid::Uuid;

static NEXT: AtomicU64 = AtomicU64::new(0);

/// Records of about 450 bytes of header and 150 bytes of pieces, under new ascending ids.
fn batch(emitter: &Id, header: &Bytes, piece: &Bytes, count: u64) -> Vec<NewRecord> {
    let first = NEXT.fetch_add(count, Ordering::Relaxed);
    let record = |n: u64| NewRecord {
        emitter: emitter.clone(),
        event_id: EventId(Uuid::from_u64_pair((n / 4096) << 16 | 0x7000 | (n % 4096), 1 << 63 | n)),
        header: header.clone(),
        pieces: vec![piece.slice(..86), piece.slice(86..)],
    };
    (first..first + count).map(record).collect()
}

/// Appends `batches` batches of `size`, `in_flight` at a time; returns how long that took.
fn append(runtime: &Runtime, log: &Arc<Segments>, batches: u64, size: u64, in_flight: u64) -> Duration {
    let emitter: Id = "solar-app".parse().expect("an id");
    let (header, piece) = (Bytes::from(vec![b'h'; 450]), Bytes::from(vec![b'p'; 150]));
    let started = Instant::now();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..in_flight)
            .map(|task| {
                let (log, emitter) = (Arc::clone(log), emitter.clone());
                let (header, piece) = (header.clone(), piece.clone());
                let mine = batches / in_flight + u64::from(task < batches % in_flight);
                tokio::spawn(async move {
                    for _ in 0..mine {
                        log.append(batch(&emitter, &header, &piece, size)).await.expect("append");
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("task");
        }
    });
    started.elapsed()
}

/// A zero-filled file to overwrite, in the directory of the logs.
fn zeros(dir: &Path) -> File {
    let path = dir.join("floor");
    std::fs::write(&path, vec![0; 64 << 20]).expect("write");
    let file = File::options().write(true).open(path).expect("open");
    file.sync_all().expect("sync");
    file
}

fn overwrite(file: &File, at: &mut u64) {
    file.write_all_at(&[7; 4096], *at % (64 << 20)).expect("write");
    file.sync_data().expect("sync");
    *at += 4096;
}

fn compare(criterion: &mut Criterion, runtime: &Runtime, dir: &Path) {
    let file = zeros(dir);
    let mut at = 0;
    criterion.bench_function("floor: overwrite 4 KiB and sync", |b| b.iter(|| overwrite(&file, &mut at)));
    let log = Arc::new(Segments::open(Options::new(dir.join("log"))).expect("open"));
    let mut group = criterion.benchmark_group("append");
    for (size, in_flight) in [(1, 1), (1, 4), (100, 1), (100, 4)] {
        group.throughput(Throughput::Elements(size));
        group.bench_function(format!("batch {size}, {in_flight} in flight"), |b| {
            b.iter_custom(|batches| append(runtime, &log, batches, size, in_flight));
        });
    }
}

/// Nanoseconds of CPU that threads of this process with that name have used.
fn cpu_ns(thread: &str) -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let of = |path: std::path::PathBuf| {
        let name = std::fs::read_to_string(path.join("comm")).ok()?;
        let spent = std::fs::read_to_string(path.join("schedstat")).ok()?;
        (name.trim() == thread).then(|| spent.split(' ').next()?.parse::<u64>().ok()).flatten()
    };
    tasks.filter_map(|task| of(task.path())).sum()
}

fn memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("RssAnon")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn load(runtime: &Runtime, dir: &Path, records: u64) {
    let file = zeros(dir);
    let mut at = 0;
    let mut floor: Vec<Duration> = (0..500)
        .map(|_| {
            let started = Instant::now();
            overwrite(&file, &mut at);
            started.elapsed()
        })
        .collect();
    floor.sort_unstable();
    println!("floor: overwrite 4 KiB and sync, p50 {:?}, p99 {:?}", floor[250], floor[495]);
    let log = Arc::new(Segments::open(Options::new(dir.join("log"))).expect("open"));
    let steps = 10;
    for step in 1..=steps {
        let (before, groups) = (cpu_ns("log-writer"), log.groups());
        let (ids, space) = (cpu_ns("log-ids"), cpu_ns("log-space"));
        let took = append(runtime, &log, records / 100 / steps, 100, 4);
        let done = (records / steps) as f64;
        println!(
            "{step:2}/{steps}: {:8.0} records/s, {:5.0} a group, ns a record: writer {:4.0}, ids {:4.0}, zeros {:4.0}; {} MiB",
            done / took.as_secs_f64(),
            done / (log.groups() - groups) as f64,
            (cpu_ns("log-writer") - before) as f64 / done,
            (cpu_ns("log-ids") - ids) as f64 / done,
            (cpu_ns("log-space") - space) as f64 / done,
            memory_mib(),
        );
    }
    let closing = Instant::now();
    log.close().expect("close");
    println!("closed in {:?}", closing.elapsed());
    drop(log);
    let opening = Instant::now();
    let log = Segments::open(Options::new(dir.join("log"))).expect("open");
    println!("opened again in {:?}, head {}", opening.elapsed(), log.head());
    let (reading, mut read) = (Instant::now(), 0);
    while read < log.head() {
        read += runtime.block_on(log.read(read, 10_000, 4 << 20)).expect("read").len() as u64;
    }
    println!("read: {:.0} records/s", read as f64 / reading.elapsed().as_secs_f64());
    let getting = Instant::now();
    for n in 0..100_000 {
        runtime.block_on(log.get(&[n * 7_919 % log.head()])).expect("get");
    }
    println!("get: {:?} each", getting.elapsed() / 100_000);
}

fn main() {
    let runtime = Runtime::new().expect("runtime");
    let dir = tempfile::tempdir_in(".").expect("directory");
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().position(|argument| argument == "--load") {
        Some(at) => {
            let records = arguments.get(at + 1).and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
            load(&runtime, dir.path(), records);
        }
        None => {
            let mut criterion = Criterion::default().configure_from_args();
            compare(&mut criterion, &runtime, dir.path());
            criterion.final_summary();
        }
    }
}
