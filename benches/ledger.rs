//! What the tree costs: on the way of an event, following a log from its beginning, and making a
//! proof among many.
//!
//! `cargo bench --bench ledger`; LEDGER_RECORDS sets how many records there are (1,000,000).

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use custody::domain::id::EventId;
use custody::ledger::tlog::{KeyKind, Signer};
use custody::ledger::{Error, Keys, Ledger, Options};
use custody::log::segments::{self, Segments};
use custody::log::{Log, NewRecord};
use uuid::Uuid;

/// The allocator of the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ORIGIN: &str = "bench.example/events-1";

struct Seed;

impl Keys for Seed {
    fn signers(&self, origin: &str) -> Result<Vec<Signer>, Error> {
        Ok(vec![Signer::from_seed(origin, KeyKind::Text, &[1; 32])?])
    }
}

/// The first names the log; the others are 450 bytes that differ.
fn header(n: u64) -> Bytes {
    if n > 0 {
        return format!("{n:0450}").into_bytes().into();
    }
    let (salt, sha) = ("A".repeat(22), "A".repeat(43));
    let time = "2026-03-01T08:00:00.000Z";
    format!(
        r#"{{"v":1,"event_id":"018f3a1c-0000-7000-8000-000000000000","type":"LogOpened","controller":"k","emitter":"custody","occurred_at":"{time}","recorded_at":"{time}","salt":"{salt}","b":{{"origin":"{ORIGIN}","region":"CN","controller_group":"k","format_version":1}},"p":[{{"role":"nobody","tag":"{salt}","sh":"{sha}"}}]}}"#
    )
    .into_bytes()
    .into()
}

async fn fill(log: &Segments, records: u64) {
    let emitter: custody::domain::id::Id = "bench".parse().expect("an id");
    for first in (0..records).step_by(1_000) {
        let record = |n| NewRecord {
            emitter: emitter.clone(),
            event_id: EventId(Uuid::from_u128(u128::from(n) + 1)),
            header: header(n),
            pieces: vec![Bytes::from_static(&[1; 150])],
        };
        let batch = (first..records.min(first + 1_000)).map(record).collect();
        log.append(batch).await.expect("append");
    }
}

fn report(what: &str, count: u64, since: Instant) {
    let each = since.elapsed().as_nanos() as f64 / count as f64 / 1_000.0;
    println!("{what}: {each:.2} us each, {count} of them");
}

/// Seconds of processor time that this process has used, in ticks of 10 ms.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn open_log(dir: &Path) -> Arc<Segments> {
    Arc::new(Segments::open(segments::Options::new(dir.join("log"))).expect("a log"))
}

async fn open_ledger(dir: &Path, log: &Arc<Segments>) -> Arc<Ledger> {
    let options = Options {
        dir: dir.join("ledger"),
        outside: dir.join("outside"),
        outside_lost: false,
        witnesses: None,
        fence: None,
    };
    let port = Arc::clone(log) as Arc<dyn Log>;
    Ledger::open(options, port, Arc::new(Seed)).await.expect("a ledger")
}

/// Appends all records, followed by a ledger or not, up to a published checkpoint.
async fn ingest(place: &Path, records: u64, with_tree: bool) -> Arc<Segments> {
    let log = open_log(place);
    let (started, before) = (Instant::now(), processor_seconds());
    let ledger = if with_tree { Some(open_ledger(place, &log).await) } else { None };
    let following = ledger.as_ref().map(|ledger| tokio::spawn(Arc::clone(ledger).follow()));
    fill(&log, records).await;
    if let Some(ledger) = &ledger {
        ledger.publish().await.expect("a checkpoint");
    }
    let (took, spent) = (started.elapsed().as_secs_f64(), processor_seconds() - before);
    let micros = |seconds: f64| seconds * 1e6 / records as f64;
    let what = if with_tree { "appended with the tree" } else { "appended without the tree" };
    println!("{what}: {:.2} us each, {:.2} us of processor time", micros(took), micros(spent));
    if let (Some(ledger), Some(following)) = (&ledger, following) {
        ledger.close().expect("closed");
        following.await.expect("no panic");
    }
    log
}

async fn read_alone(log: &Segments, records: u64) {
    let started = Instant::now();
    let mut next = 0;
    while next < records {
        next += log.read(next, 4_096, 8 << 20).await.expect("read").len() as u64;
    }
    report("the log read alone", records, started);
}

/// Proofs at places all over the log. The first round warms, the second counts.
fn proofs(what: &str, records: u64, prove: impl Fn(u64, &[u8])) {
    const ROUND: u64 = 20_000;
    let timed = |n: u64| {
        let place = 1 + (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % (records - 1);
        let header = header(place);
        let started = Instant::now();
        prove(place, &header);
        started.elapsed()
    };
    let mut times: Vec<Duration> = (0..2 * ROUND).map(timed).skip(ROUND as usize).collect();
    times.sort_unstable();
    let at = |share: usize| times[times.len() * share / 100].as_nanos() as f64 / 1_000.0;
    println!("{what} proof among {records}, checked: p50 {:.1} us, p99 {:.1} us", at(50), at(99));
}

#[tokio::main]
async fn main() {
    let records = std::env::var("LEDGER_RECORDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let below = || tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let place = below();
    let log = ingest(place.path(), records, false).await;
    log.close().expect("closed");
    drop((log, place));
    let place = below();
    let log = ingest(place.path(), records, true).await;
    read_alone(&log, records).await;
    let anew = below();
    let started = Instant::now();
    let ledger = open_ledger(anew.path(), &log).await;
    report("followed from the beginning, reading included", records, started);
    let started = Instant::now();
    ledger.publish().await.expect("a checkpoint");
    report("published, hashes synced and kept in both places", 1, started);
    proofs("inclusion", records, |position, header| {
        ledger.inclusion(position, header, None).expect("a proof");
    });
    proofs("consistency", records, |size, _| drop(ledger.growth(size, None).expect("a proof")));
    ledger.close().expect("closed");
    log.close().expect("closed");
}
