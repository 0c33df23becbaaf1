//! The second copy: what it has when, and what happens while it cannot be written.

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::*;
use crate::log::contract::{emitter, event_id};
use crate::mirror::{OnFailure, Place};

/// A disk on which files below one directory cannot be written while it is told so.
#[derive(Clone)]
struct Half {
    below: PathBuf,
    broken: Arc<AtomicBool>,
    syncs_only: Arc<AtomicBool>,
}

impl Half {
    fn fails(&self, file: &File) -> bool {
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file));
        self.broken.load(Ordering::SeqCst)
            && std::fs::read_link(path).is_ok_and(|path| path.starts_with(&self.below))
    }
}

impl Disk for Half {
    fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        if self.fails(file) && !self.syncs_only.load(Ordering::SeqCst) {
            disk::Direct.write(file, &bytes[..bytes.len() / 2], at)?;
            return Err(io::Error::from_raw_os_error(5));
        }
        disk::Direct.write(file, bytes, at)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        if self.fails(file) { Err(io::Error::from_raw_os_error(5)) } else { disk::Direct.sync(file) }
    }
}

/// A log on one path and its mirror on another.
struct House {
    root: TempDir,
    disk: Half,
    on_failure: OnFailure,
    small: bool,
}

impl House {
    fn new(on_failure: OnFailure, small: bool) -> House {
        let root = quick_dir();
        let disk =
            Half { below: root.path().join("mirror"), broken: Arc::default(), syncs_only: Arc::default() };
        House { root, disk, on_failure, small }
    }

    fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    fn mirror(&self) -> PathBuf {
        self.root.path().join("mirror/log")
    }

    fn open(&self) -> Segments {
        std::fs::create_dir_all(self.data()).unwrap();
        let mut options = if self.small { small(&self.data()) } else { Options::new(self.data()) };
        let place = Place::of(&self.data(), &self.root.path().join("mirror"), false).unwrap();
        options.mirror = Some(crate::mirror::Options { place, on_failure: self.on_failure });
        options.disk = Arc::new(self.disk.clone());
        Segments::open(options).unwrap()
    }

    fn breaks(&self, broken: bool, syncs_only: bool) {
        self.disk.broken.store(broken, Ordering::SeqCst);
        self.disk.syncs_only.store(syncs_only, Ordering::SeqCst);
    }

    /// The first disk is lost, and the mirror is put in its place.
    fn lose(&self) {
        std::fs::remove_dir_all(self.data()).unwrap();
        copy(&self.mirror(), &self.data());
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(&path, &to).unwrap();
        }
    }
}

fn failing(log: &Segments) -> Option<String> {
    log.mirror().unwrap().failing
}

fn differences(log: &Segments) -> Vec<String> {
    log.compare_mirror(&|| true).unwrap()
}

async fn all(log: &Segments) -> Vec<StoredRecord> {
    log.read(0, usize::MAX, usize::MAX).await.unwrap()
}

fn has_pieces(n: u64) -> bool {
    !record("app", n).pieces.is_empty()
}

struct Mirrored(House);

#[async_trait]
impl Storage for Mirrored {
    async fn open(&self) -> Arc<dyn Log> {
        Arc::new(self.0.open())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_contract_holds_with_a_mirror() {
    for small in [true, false] {
        contract::run(|| Mirrored(House::new(OnFailure::Stop, small))).await;
    }
}

#[tokio::test]
async fn what_is_acknowledged_or_purged_is_so_in_both() {
    let house = House::new(OnFailure::Stop, true);
    let log = house.open();
    for n in 0..200 {
        log.append(vec![record("app", n)]).await.unwrap();
        if has_pieces(n) && n % 2 == 0 {
            log.purge(&[PieceRef { position: n, piece: 0 }]).await.unwrap();
        }
        // As if both stopped here.
        if n % 40 == 39 {
            let apart = house.root.path().join(format!("apart-{n}"));
            copy(&house.mirror(), &apart);
            let other = Segments::open(small(&apart)).unwrap();
            assert_eq!(all(&other).await, all(&log).await);
        }
    }
    assert_eq!((differences(&log), failing(&log)), (Vec::new(), None));
    assert!(log.shared.chain.firsts().len() > 3, "there are several segments");
    drop(log);
    assert_eq!(differences(&house.open()), Vec::<String>::new());
}

#[tokio::test]
async fn a_log_that_has_records_gets_a_mirror_and_every_difference_is_found() {
    let house = House::new(OnFailure::Stop, true);
    let log = Segments::open(small(&house.data())).unwrap();
    for n in 0..100 {
        log.append(vec![record("app", n)]).await.unwrap();
    }
    drop(log);
    let log = house.open();
    assert_eq!(differences(&log), Vec::<String>::new());
    for first in log.shared.chain.firsts().into_iter().filter(|first| *first < 100) {
        let path = house.mirror().join(chain::file_name(first));
        let right = std::fs::read(&path).unwrap();
        let mut wrong = right.clone();
        wrong[100] ^= 1;
        std::fs::write(&path, &wrong).unwrap();
        assert_eq!(differences(&log).len(), 1, "{first}");
        std::fs::write(&path, &right).unwrap();
    }
}

#[tokio::test]
async fn without_its_mirror_a_log_that_must_stop_stops_and_goes_on_by_itself() {
    for syncs_only in [false, true] {
        let house = House::new(OnFailure::Stop, true);
        let log = house.open();
        log.append(vec![record("app", 0)]).await.unwrap();
        house.breaks(true, syncs_only);
        let failed = log.append(vec![record("app", 1)]).await;
        assert!(matches!(&failed, Err(error @ Error::Unknown { .. }) if error.retryable()), "{failed:?}");
        let failed = log.append(vec![record("app", 2)]).await;
        assert!(matches!(&failed, Err(Error::Unavailable { .. })), "{failed:?}");
        assert!(log.purge(&[PieceRef { position: 0, piece: 0 }]).await.is_err());
        log.tend_mirror();
        assert!(failing(&log).unwrap().contains("Input/output error"), "{:?}", failing(&log));
        assert_eq!((log.head(), all(&log).await.len()), (1, 1), "what there is is read");
        house.breaks(false, false);
        log.tend_mirror();
        assert_eq!((failing(&log), differences(&log)), (None, Vec::new()));
        log.append(vec![record("app", 1), record("app", 2)]).await.unwrap();
        log.purge(&[PieceRef { position: 0, piece: 0 }]).await.unwrap();
        assert_eq!((log.head(), differences(&log)), (3, Vec::new()));
        drop(log);
        house.lose();
        assert_eq!(house.open().head(), 3);
    }
}

#[tokio::test]
async fn without_its_mirror_a_log_that_may_go_on_goes_on_and_catches_up_with_purges_and_all() {
    let house = House::new(OnFailure::GoOn, true);
    let log = house.open();
    let fill = async |log: &Segments, from: u64, to: u64| {
        for n in from..to {
            log.append(vec![record("app", n)]).await.unwrap();
        }
    };
    fill(&log, 0, 50).await;
    house.breaks(true, false);
    fill(&log, 50, 90).await;
    assert!(failing(&log).is_some());
    log.purge(&[PieceRef { position: 3, piece: 0 }, PieceRef { position: 70, piece: 0 }]).await.unwrap();
    // Nothing is forgotten by a restart, with the mirror still away.
    drop(log);
    let log = house.open();
    assert!(failing(&log).is_some());
    fill(&log, 90, 95).await;
    house.breaks(false, false);
    log.tend_mirror();
    assert_eq!((failing(&log), differences(&log)), (None, Vec::new()));
    fill(&log, 95, 120).await;
    let before = all(&log).await;
    assert_eq!(before.iter().filter(|record| record.pieces.contains(&None)).count(), 2);
    drop(log);
    house.lose();
    let log = house.open();
    assert_eq!(all(&log).await, before);
}

#[tokio::test]
async fn a_removed_mirror_is_noticed_when_it_is_tended() {
    let house = House::new(OnFailure::Stop, true);
    let log = house.open();
    log.append(vec![record("app", 0)]).await.unwrap();
    log.tend_mirror();
    assert_eq!(failing(&log), None);
    std::fs::remove_dir_all(house.mirror()).unwrap();
    log.tend_mirror();
    assert_eq!((failing(&log), differences(&log)), (None, Vec::new()), "it is made anew");
    std::fs::remove_dir_all(house.root.path().join("mirror")).unwrap();
    log.tend_mirror();
    assert!(failing(&log).unwrap().contains("does not hold the mirror"), "{:?}", failing(&log));
    assert!(log.append(vec![record("app", 1)]).await.is_err());
}

#[tokio::test]
async fn an_older_log_takes_from_the_mirror_what_it_lacks() {
    let house = House::new(OnFailure::Stop, true);
    let mut log = house.open();
    let older = house.root.path().join("older");
    for n in 0..150 {
        log.append(vec![record("app", n)]).await.unwrap();
        if n == 60 {
            drop(log);
            copy(&house.data(), &older);
            log = house.open();
        }
    }
    let before = all(&log).await;
    drop(log);
    std::fs::remove_dir_all(house.data()).unwrap();
    copy(&older, &house.data());
    let log = house.open();
    assert_eq!(all(&log).await, before);
    assert_eq!(log.find(&[(emitter("app"), event_id(140))]).await.unwrap(), [Some(140)]);
    assert_eq!((failing(&log), differences(&log)), (None, Vec::new()));
}

#[tokio::test]
async fn another_logs_mirror_is_left_alone() {
    for on_failure in [OnFailure::Stop, OnFailure::GoOn] {
        let house = House::new(on_failure, true);
        let log = house.open();
        for n in 0..20 {
            log.append(vec![record("app", n)]).await.unwrap();
        }
        drop(log);
        // The log was put back without its end, and went on without the mirror.
        let place = std::fs::read(house.data().join("mirror.id")).unwrap();
        std::fs::remove_dir_all(house.data()).unwrap();
        let log = Segments::open(small(&house.data())).unwrap();
        for n in 100..130 {
            log.append(vec![record("app", n)]).await.unwrap();
        }
        drop(log);
        std::fs::write(house.data().join("mirror.id"), place).unwrap();
        let apart = house.root.path().join("apart");
        copy(&house.mirror(), &apart);
        let log = house.open();
        assert!(failing(&log).unwrap().contains("another log"), "{:?}", failing(&log));
        let appended = log.append(vec![record("app", 200)]).await;
        assert_eq!(appended.is_ok(), on_failure == OnFailure::GoOn, "{appended:?}");
        log.tend_mirror();
        assert!(failing(&log).is_some());
        drop(log);
        let other = Segments::open(small(&apart)).unwrap();
        let theirs = all(&other).await;
        drop(other);
        house.lose();
        let log = Segments::open(small(&house.data())).unwrap();
        assert_eq!(all(&log).await, theirs);
    }
}

#[derive(Debug, Clone)]
enum Op {
    Append(usize),
    Purge(u64),
    Break(bool),
    Mend,
    Reopen,
    /// The first disk is lost, and the mirror put in its place.
    Lose,
    /// An older copy of the first is put back; a new one is made.
    Older,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1usize..20).prop_map(Op::Append),
        3 => (0u64..200).prop_map(Op::Purge),
        1 => any::<bool>().prop_map(Op::Break),
        2 => Just(Op::Mend),
        1 => Just(Op::Reopen),
        1 => Just(Op::Lose),
        1 => Just(Op::Older),
    ]
}

/// What stands in the log: how many records, and of which the piece is purged.
#[derive(Default)]
struct Known {
    records: u64,
    purged: std::collections::BTreeSet<u64>,
}

async fn check(log: &Segments, known: &Known) {
    let records = all(log).await;
    assert_eq!(records.len() as u64, known.records);
    for stored in records {
        assert_eq!(stored.header, record("app", stored.position).header, "at {}", stored.position);
        let gone = stored.pieces.first() == Some(&None);
        assert_eq!(gone, known.purged.contains(&stored.position), "piece of {}", stored.position);
    }
    if failing(log).is_none() {
        assert_eq!(differences(log), Vec::<String>::new());
    }
}

async fn live(ops: &[Op]) {
    let house = House::new(OnFailure::GoOn, true);
    let older = house.root.path().join("older");
    let mut log = house.open();
    let mut known = Known::default();
    for op in ops {
        match op {
            Op::Append(count) => {
                let batch = (0..*count as u64).map(|n| record("app", known.records + n)).collect();
                log.append(batch).await.unwrap();
                known.records += *count as u64;
            }
            Op::Purge(position) if *position < known.records && has_pieces(*position) => {
                log.purge(&[PieceRef { position: *position, piece: 0 }]).await.unwrap();
                known.purged.insert(*position);
            }
            Op::Purge(_) => {}
            Op::Break(syncs_only) => house.breaks(true, *syncs_only),
            Op::Mend => {
                house.breaks(false, false);
                log.tend_mirror();
                assert_eq!(failing(&log), None);
            }
            // What only one of them has is lost with it, which is what the alarm says.
            Op::Lose | Op::Older if failing(&log).is_some() || house.disk.broken.load(Ordering::SeqCst) => {}
            Op::Reopen | Op::Lose | Op::Older => {
                drop(log);
                match op {
                    Op::Lose => house.lose(),
                    // Purges since then are done again by who asked for them (the tombs).
                    Op::Older if older.exists() && known.purged.is_empty() => {
                        std::fs::remove_dir_all(house.data()).unwrap();
                        copy(&older, &house.data());
                        std::fs::remove_dir_all(&older).unwrap();
                    }
                    Op::Older if known.purged.is_empty() => copy(&house.data(), &older),
                    _ => {}
                }
                log = house.open();
            }
        }
        check(&log, &known).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_to_one_of_them_nothing_acknowledged_is_lost(
        ops in prop::collection::vec(op(), 1..40),
    ) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(live(&ops));
    }
}
