//! The ledger on a log in a directory of its own.

mod loss;
mod witnesses;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::tlog::{Edge, KeyKind, Policy, Signer, leaf_hash};
use super::witness::Witnesses;
use super::*;
use crate::domain::id::{EventId, Id};
use crate::log::segments::{self, Segments};
use crate::log::{Log, NewRecord};

const ORIGIN: &str = "example.org/custody/events-1";

/// Keys of a test: the seeds of those that sign.
struct Seeds(Mutex<Vec<u8>>);

impl Keys for Seeds {
    fn signers(&self, origin: &str) -> Result<Vec<Signer>, Error> {
        let seeds = self.0.lock().unwrap();
        if seeds.is_empty() {
            return Err(Error::NoKey("none".to_owned()));
        }
        Ok(seeds.iter().map(|seed| Signer::from_seed(origin, KeyKind::Text, &[*seed; 32]).unwrap()).collect())
    }
}

/// A log with its ledger, open.
struct Open {
    log: Arc<Segments>,
    ledger: Arc<Ledger>,
    keys: Arc<Seeds>,
    events: u64,
}

struct Place {
    root: tempfile::TempDir,
    witnesses: Option<Witnesses>,
}

impl Place {
    fn new() -> Place {
        Place { root: tempfile::tempdir().unwrap(), witnesses: None }
    }

    fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    fn outside(&self) -> PathBuf {
        self.root.path().join("outside")
    }

    fn options(&self) -> Options {
        Options {
            dir: self.data().join("ledger"),
            outside: self.outside(),
            outside_lost: false,
            witnesses: self.witnesses.clone(),
            fence: None,
        }
    }

    async fn open_with(&self, options: Options) -> Result<Open, Error> {
        let log = Arc::new(Segments::open(segments::Options::new(self.data().join("log"))).unwrap());
        let keys = Arc::new(Seeds(Mutex::new(vec![1])));
        let opened =
            Ledger::open(options, Arc::clone(&log) as Arc<dyn Log>, Arc::clone(&keys) as Arc<dyn Keys>).await;
        let events = log.head();
        match opened {
            Ok(ledger) => {
                tokio::spawn(Arc::clone(&ledger).follow());
                Ok(Open { log, ledger, keys, events })
            }
            Err(error) => {
                log.close().unwrap();
                Err(error)
            }
        }
    }

    async fn open(&self) -> Result<Open, Error> {
        self.open_with(self.options()).await
    }
}

impl Open {
    /// Appends records up to a head of `head`.
    async fn grow(&mut self, head: u64) {
        while self.events < head {
            let batch = (self.events..head.min(self.events + 1_000)).map(record).collect::<Vec<_>>();
            self.events += batch.len() as u64;
            self.log.append(batch).await.unwrap();
        }
    }

    async fn publish(&self) -> Arc<SignedCheckpoint> {
        self.ledger.publish().await.unwrap()
    }

    /// Ends as a crash does: nothing is told to the ledger.
    fn crash(self) {
        self.ledger.stop.send_replace(true);
        self.log.close().unwrap();
    }

    fn close(self) {
        self.ledger.close().unwrap();
        self.log.close().unwrap();
    }
}

fn opened(origin: &str, kind: &str, more: &str) -> String {
    let (salt, sha) = ("A".repeat(22), "A".repeat(43));
    format!(
        r#"{{"v":1,"event_id":"018f3a1c-0000-7000-8000-000000000000","type":"{kind}","controller":"kstar","emitter":"custody","occurred_at":"2026-03-01T08:00:00.000Z","recorded_at":"2026-03-01T08:00:00.000Z","salt":"{salt}","b":{{"origin":"{origin}",{more}}},"p":[{{"role":"nobody","tag":"{salt}","sh":"{sha}"}}]}}"#
    )
}

fn header(n: u64) -> Vec<u8> {
    match n {
        0 => opened(ORIGIN, "LogOpened", r#""region":"CN","controller_group":"kstar","format_version":1"#)
            .into_bytes(),
        n => format!("header of record {n}").into_bytes(),
    }
}

fn record(n: u64) -> NewRecord {
    record_of(n, header(n))
}

fn record_of(n: u64, header: Vec<u8>) -> NewRecord {
    let emitter: Id = "test".parse().unwrap();
    let event_id = EventId(uuid::Uuid::from_u128(u128::from(n) + 1));
    NewRecord { emitter, event_id, header: header.into(), pieces: vec![bytes::Bytes::from_static(b"piece")] }
}

/// The tree over the records, made without the ledger.
fn tree(size: u64) -> Edge {
    let mut edge = Edge::default();
    (0..size).for_each(|n| edge.push(leaf_hash(&header(n)), |_, _, _| {}).unwrap());
    edge
}

fn trusting(seed: u8) -> Policy {
    let signer = Signer::from_seed(ORIGIN, KeyKind::Text, &[seed; 32]).unwrap();
    Policy::of_log(signer.verifier().clone())
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_is_the_tree_of_the_log_and_everything_in_it_can_be_proven() {
    let place = Place::new();
    let mut open = place.open().await.unwrap();
    let mut published = Vec::new();
    for size in [1, 2, 255, 256, 257, 2_000] {
        open.grow(size).await;
        let signed = open.publish().await;
        assert_eq!((signed.checkpoint.size, signed.checkpoint.root), (size, tree(size).root()));
        assert!(trusting(1).judge(&signed).is_ok());
        assert_eq!(open.publish().await, signed, "nothing new, nothing signed");
        published.push(signed);
    }
    for position in [0, 1, 255, 256, 1_998, 1_999] {
        let proof = open.ledger.inclusion(position, &header(position), None).unwrap();
        let read = InclusionFile::parse(proof.file.to_string().as_bytes()).unwrap();
        read.check(&leaf_hash(&header(position))).unwrap();
    }
    for old in &published {
        for new in published.iter().filter(|new| new.checkpoint.size >= old.checkpoint.size) {
            let growth = open.ledger.growth(old.checkpoint.size, Some(new.checkpoint.size)).unwrap();
            assert_eq!((growth.old_root, growth.new_root), (old.checkpoint.root, new.checkpoint.root));
        }
    }
    open.grow(2_001).await;
    let late = open.ledger.inclusion(2_000, &header(2_000), None);
    assert!(matches!(late, Err(Error::Pending { position: 2_000 })));
    let sizes: Vec<u64> =
        open.ledger.checkpoints(2_000, 3).unwrap().iter().map(|kept| kept.checkpoint.size).collect();
    assert_eq!(sizes, [257, 256, 255]);
    open.close();
}

use super::tlog::InclusionFile;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_derived_is_made_again_whatever_a_crash_left_of_it() {
    let place = Place::new();
    let mut open = place.open().await.unwrap();
    open.grow(700).await;
    open.publish().await;
    open.grow(1_500).await;
    open.ledger.wait_for(1_500).await.unwrap();
    open.crash();
    let ledger = place.data().join("ledger");
    let kept = place.root.path().join("kept");
    copy_dir(&place.data(), &kept);
    let cut = |name: &str, length: u64| {
        let file = std::fs::OpenOptions::new().write(true).open(ledger.join(name)).unwrap();
        file.set_len(length).unwrap();
    };
    let harms: [&dyn Fn(); 8] = [
        &|| {},
        &|| std::fs::remove_file(ledger.join("edge")).unwrap(),
        &|| std::fs::write(ledger.join("edge"), "custody edge 1\nsize 700\n").unwrap(),
        &|| std::fs::write(ledger.join("edge"), [0xff; 100]).unwrap(),
        &|| cut("hashes-0", 700 * 32 + 17),
        &|| cut("hashes-0", 3),
        &|| std::fs::remove_file(ledger.join("hashes-1")).unwrap(),
        &|| cut("hashes-0", 9_999 * 32),
    ];
    for (number, harm) in harms.iter().enumerate() {
        std::fs::remove_dir_all(place.data()).unwrap();
        copy_dir(&kept, &place.data());
        harm();
        let open = place.open().await.unwrap();
        assert_eq!(open.ledger.head(), (1_500, tree(1_500).root()), "harm {number}");
        let signed = open.publish().await;
        assert_eq!(signed.checkpoint.size, 1_500);
        open.ledger.inclusion(650, &header(650), None).unwrap();
        open.close();
        std::fs::remove_dir_all(place.outside()).unwrap();
        copy_dir(&kept.join("ledger/checkpoints"), &place.outside().join("checkpoints"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_hash_makes_an_error_and_never_a_wrong_proof_and_the_audit_names_it() {
    let place = Place::new();
    let mut open = place.open().await.unwrap();
    open.grow(1_000).await;
    open.publish().await;
    open.ledger.hashes.write(0, 300, &[[7; 32]]).unwrap();
    let refused = open.ledger.inclusion(301, &header(301), None);
    assert!(matches!(refused, Err(Error::Damaged(_))), "{refused:?}");
    let mut audit = Audit::of(&open.ledger);
    (0..1_000).for_each(|n| audit.push(&header(n)).unwrap());
    assert_eq!(audit.damaged(), Some((1, 300)));
    assert_eq!((audit.root(), audit.contradiction()), (tree(1_000).root(), None));
    // What is above all leaves, and so above the last checkpoint.
    open.ledger.hashes.write(1, 0, &[[7; 32]]).unwrap();
    open.grow(1_001).await;
    let refused = open.ledger.publish().await;
    assert!(matches!(refused, Err(Error::Damaged(_))), "no signature over what does not fit: {refused:?}");
    assert!(open.ledger.status().failing.is_some());

    let mut audit = Audit::of(&open.ledger);
    (0..1_000).for_each(|n| audit.push(&header(n + 1)).unwrap());
    assert!(audit.contradiction().is_some());
    open.crash();
    std::fs::remove_file(place.data().join("ledger/edge")).unwrap();
    let open = place.open().await.unwrap();
    open.ledger.inclusion(301, &header(301), None).unwrap();
    open.publish().await;
    assert_eq!(open.ledger.status().failing, None);
    open.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_rotate_with_an_overlap_and_without_one_nothing_is_signed() {
    let place = Place::new();
    let mut open = place.open().await.unwrap();
    open.grow(3).await;
    open.keys.0.lock().unwrap().clear();
    assert!(matches!(open.ledger.publish().await, Err(Error::NoKey(_))));
    assert!(open.ledger.latest().is_none());
    for (size, seeds, trusted, stranger) in [(4, vec![1], 1, 2), (5, vec![2, 1], 1, 3), (6, vec![2], 2, 1)] {
        *open.keys.0.lock().unwrap() = seeds;
        open.grow(size).await;
        let signed = open.publish().await;
        assert!(trusting(trusted).judge(&signed).is_ok() && trusting(stranger).judge(&signed).is_err());
    }
    assert!(trusting(2).judge(&open.ledger.checkpoint(Some(5)).unwrap()).is_ok());
    open.close();
}

#[test]
fn the_next_name_counts_on() {
    for (name, next) in [("o/events-1", "o/events-2"), ("o/events-9", "o/events-10"), ("o/log", "o/log-2")] {
        assert_eq!(names::next(name), next);
    }
}
