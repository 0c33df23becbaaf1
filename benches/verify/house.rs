//! A log on disk with its ledger and its keys, full of sealed records, of which bundles are made.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use custody::domain::event::catalogue::{DataCollected, LogOpened, ServiceRegistered};
use custody::domain::event::*;
use custody::domain::id::{EventId, Id, Mark, SubjectId};
use custody::domain::personal::Personal;
use custody::domain::time::Timestamp;
use custody::export::{self, Cover, KeepSealed, Proofs, Request, Scope, write};
use custody::ledger::tlog::{Edge, Hash, KeyKind, SignedCheckpoint, Signer};
use custody::ledger::{self, Keys, Ledger, Options};
use custody::log::segments::{self, Segments};
use custody::log::{Log, NewRecord};
use custody::record::{self, IndexKey, Noted, PartRole, Party, Salt, Sealing, seal};
use custody::verify::{Level, Manifest};
use uuid::Uuid;
use zeroize::Zeroizing;

pub const ORIGIN: &str = "bench.example/events-1";
const PEOPLE: u64 = 10_000;
/// Records that are sealed before they are appended.
const AHEAD: u64 = 50_000;

pub struct House {
    pub log: Arc<Segments>,
    pub ledger: Arc<Ledger>,
}

/// The key that a log of this name signs checkpoints with.
pub fn log_signer(origin: &str) -> Signer {
    Signer::from_seed(origin, KeyKind::Text, &[41; 32]).expect("a key")
}

/// The one that it signs manifests with.
pub fn manifest_signer(origin: &str) -> Signer {
    Signer::from_seed(&Manifest::key_name(origin), KeyKind::Text, &[42; 32]).expect("a key")
}

struct Seed;

impl Keys for Seed {
    fn signers(&self, origin: &str) -> Result<Vec<Signer>, ledger::Error> {
        Ok(vec![log_signer(origin)])
    }
}

impl House {
    /// Publishes a checkpoint when half of the events are there, and one over all.
    pub async fn build(dir: &Path, origin: &str, events: u64) -> House {
        let log = Segments::open(segments::Options::new(dir.join("log"))).expect("a log");
        let log = Arc::new(log);
        fill(&log, origin, 0..events / 2).await;
        let options = Options {
            dir: dir.join("ledger"),
            outside: dir.join("outside"),
            outside_lost: false,
            witnesses: None,
            fence: None,
        };
        let port = Arc::clone(&log) as Arc<dyn Log>;
        let ledger = Ledger::open(options, port, Arc::new(Seed)).await.expect("a ledger");
        ledger.publish().await.expect("a checkpoint");
        fill(&log, origin, events / 2..events).await;
        ledger.catch_up().await.expect("the whole log");
        ledger.publish().await.expect("a checkpoint");
        House { log, ledger }
    }

    pub fn events(&self) -> u64 {
        self.log.head()
    }

    /// All events below a position.
    pub async fn export(&self, to: u64, level: Level, target: &Path) {
        let request = Request {
            export: id("export-1"),
            scope: Scope::Range,
            from: 0,
            to,
            level,
            retracted: 0,
            created: time("2026-04-01T00:00:00.000Z"),
            cover: Cover { authority: Some("国家网信办".to_owned()), ..Cover::default() },
            since: vec![],
        };
        let watch = &mut |_| Ok(());
        write(&*self.log, self, &KeepSealed, &request, target, watch).await.expect("a bundle");
    }

    pub fn close(&self) {
        self.ledger.close().expect("closed");
        self.log.close().expect("closed");
    }
}

async fn fill(log: &Segments, origin: &str, events: Range<u64>) {
    let mut first = events.start;
    while first < events.end {
        let end = events.end.min(first + AHEAD);
        for batch in made(origin, first..end).chunks(1_000) {
            log.append(batch.to_vec()).await.expect("append");
        }
        first = end;
    }
}

/// Sealed by all processors.
fn made(origin: &str, events: Range<u64>) -> Vec<NewRecord> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let share = (events.end - events.start).div_ceil(threads);
    std::thread::scope(|scope| {
        let part = |t: u64| {
            let first = events.start + t * share;
            let range = first..events.end.min(first + share);
            scope.spawn(move || range.map(|n| record(origin, n)).collect::<Vec<_>>())
        };
        let parts: Vec<_> = (0..threads).map(part).collect();
        parts.into_iter().flat_map(|part| part.join().expect("no panic")).collect()
    })
}

fn id(text: &str) -> Id {
    text.parse().expect("an id")
}

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// 32 bytes that are a number's own.
fn key(n: u64) -> Zeroizing<[u8; 32]> {
    let mut key = [7; 32];
    key[..8].copy_from_slice(&n.to_be_bytes());
    Zeroizing::new(key)
}

/// The first record names the log, the second registers a service. The others are of one person each,
/// as an app sends them; every fourth has a field that is sealed.
pub fn record(origin: &str, n: u64) -> NewRecord {
    let event_id = EventId(Uuid::from_u64_pair((n / 4096) << 16 | 0x7000 | (n % 4096), 1 << 63 | n));
    let at = time("2026-03-01T08:00:00.000Z").plus_ms(n as i64 * 10);
    let envelope = Envelope {
        emitter_seq: Some(n),
        service: Some(id("solar")),
        activity: Some(id("station.photo")),
        ..Envelope::new(event_id, id("kstar-cn"), id("solar-app"), at)
    };
    let body = match n {
        0 => opened(origin),
        1 => registered(),
        n => collected(n),
    };
    let event = Event { envelope, people: Vec::new(), body };
    let person = (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) % PEOPLE;
    let (link, identity) = (key(person), key(PEOPLE + person));
    let mut subject = [3; 16];
    subject[..8].copy_from_slice(&person.to_be_bytes());
    let keys = record::Keys {
        subject: SubjectId(subject),
        link: &link,
        year: None,
        identity: &identity,
        evidence: &identity,
    };
    let party = Party {
        role: PartRole::Person(Role::DataSubject),
        keys: Some(keys),
        ids: Vec::new(),
        noted: Noted::default(),
    };
    let how = Sealing {
        recorded_at: at.plus_ms(5),
        salt: Salt(*event_id.as_bytes()),
        fingerprint: Mark([1; 16]),
        index_key: &IndexKey::new(1, &[4; 32]),
        organisation: &key(0),
    };
    let parties = if n < 2 { &[][..] } else { &[party] };
    let record = seal(&event, parties, &how).expect("a record");
    NewRecord { emitter: id("solar-app"), event_id, header: record.header, pieces: record.pieces }
}

fn opened(origin: &str) -> Body {
    Body::LogOpened(Box::new(LogOpened {
        origin: origin.parse().ok(),
        region: Some(id("CN")),
        controller_group: Some(id("kstar")),
        format_version: Some(1),
        ..Default::default()
    }))
}

fn registered() -> Body {
    Body::ServiceRegistered(Box::new(ServiceRegistered {
        service: Some(id("solar")),
        owner: Some(id("kstar-cn")),
        ..Default::default()
    }))
}

fn collected(n: u64) -> Body {
    Body::DataCollected(Box::new(DataCollected {
        record_kind: Some(id("photo")),
        cats: List::new(vec![id("pd:Picture")]).expect("one"),
        source: Some(Source::Subject),
        storage_country: "CN".parse().ok(),
        slot: Some(id("station-7")),
        locator: n.is_multiple_of(4).then(|| Personal::new(format!("station/7/{n}.jpg"))),
        ..Default::default()
    }))
}

fn no_proof(error: ledger::Error) -> export::Error {
    export::Error::Proof(Box::new(error))
}

impl Proofs for House {
    fn checkpoint(&self, covering: u64) -> Result<SignedCheckpoint, export::Error> {
        let exact = self.ledger.checkpoint(Some(covering)).or_else(|_| self.ledger.checkpoint(None));
        Ok(SignedCheckpoint::clone(&*exact.map_err(no_proof)?))
    }

    fn edge(&self, size: u64) -> Result<Edge, export::Error> {
        self.ledger.edge(size).map_err(no_proof)
    }

    fn inclusion(&self, position: u64, header: &[u8], size: u64) -> Result<Vec<Hash>, export::Error> {
        Ok(self.ledger.inclusion(position, header, Some(size)).map_err(no_proof)?.file.path)
    }

    fn growth(&self, old: u64, new: u64) -> Result<Vec<Hash>, export::Error> {
        Ok(self.ledger.growth(old, Some(new)).map_err(no_proof)?.path)
    }

    fn manifest_signer(&self, origin: &str) -> Result<Signer, export::Error> {
        Ok(manifest_signer(origin))
    }
}
