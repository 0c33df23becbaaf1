//! What the tree costs: following the log, record by record, and making a proof among many.
//!
//! `cargo bench --bench ledger`; LEDGER_RECORDS sets how many records there are (1,000,000).

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use custody::domain::id::EventId;
use custody::ledger::tlog::{KeyKind, Signer};
use custody::ledger::{Error, Keys, Ledger, Options};
use custody::log::segments::{self, Segments};
use custody::log::{Log, NewRecord};
use uuid::Uuid;

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

async fn read_alone(log: &Segments, records: u64) {
    let started = Instant::now();
    let mut next = 0;
    while next < records {
        next += log.read(next, 4_096, 8 << 20).await.expect("read").len() as u64;
    }
    report("the log read alone", records, started);
}

#[tokio::main]
async fn main() {
    let records = std::env::var("LEDGER_RECORDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let log = Segments::open(segments::Options::new(place.path().join("log"))).expect("a log");
    let log = Arc::new(log);
    fill(&log, records).await;
    read_alone(&log, records).await;
    let options = Options {
        dir: place.path().join("ledger"),
        outside: place.path().join("outside"),
        outside_lost: false,
        witnesses: None,
    };
    let port = Arc::clone(&log) as Arc<dyn Log>;
    let started = Instant::now();
    let ledger = Ledger::open(options, port, Arc::new(Seed)).await.expect("a ledger");
    report("followed from the beginning, reading included", records, started);
    let started = Instant::now();
    tokio::spawn(Arc::clone(&ledger).follow());
    ledger.publish().await.expect("a checkpoint");
    report("published, hashes synced and kept in both places", 1, started);
    let proofs = 10_000;
    let started = Instant::now();
    for n in 0..proofs {
        let position = 1 + n * 7_919 % (records - 1);
        ledger.inclusion(position, &header(position), None).expect("a proof");
    }
    report("inclusion proof, checked", proofs, started);
    let started = Instant::now();
    for n in 0..proofs {
        ledger.growth(1 + n * 104_729 % (records - 1), None).expect("a proof");
    }
    report("consistency proof, checked", proofs, started);
    ledger.close().expect("closed");
    log.close().expect("closed");
}
