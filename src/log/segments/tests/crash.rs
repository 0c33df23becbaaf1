//! Loss of power: what was not synced is kept or lost, sector by sector, as chance has it.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};

use proptest::prelude::*;

use super::*;

const SECTOR: usize = 512;

/// Remembers what unsynced writes overwrote. After `calls` calls of the writer the power is out.
struct Lossy {
    state: Mutex<Unsynced>,
}

#[derive(Default)]
struct Unsynced {
    calls: usize,
    out: bool,
    /// Inode, offset, bytes before, and the file they were in.
    writes: Vec<(u64, u64, Vec<u8>, File)>,
}

impl Lossy {
    fn count(state: &mut Unsynced) -> io::Result<()> {
        if std::thread::current().name() == Some("log-writer") {
            state.out |= state.calls == 0;
            state.calls = state.calls.saturating_sub(1);
        }
        if state.out { Err(io::Error::other("the power is out")) } else { Ok(()) }
    }

    /// What the disk looks like when the power is back.
    fn settle(&self, mut chance: u64) {
        let mut state = self.state.lock().unwrap();
        for (_, at, before, file) in state.writes.drain(..).rev() {
            let first = at as usize % SECTOR;
            let mut from = 0;
            while from < before.len() {
                let to = (from + SECTOR - (first + from) % SECTOR).min(before.len());
                chance =
                    chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                if chance >> 63 == 0 {
                    file.write_all_at(&before[from..to], at + from as u64).unwrap();
                }
                from = to;
            }
        }
    }
}

impl Disk for Lossy {
    fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        Self::count(&mut state)?;
        // The writer's descriptor cannot read, so the file is opened once more.
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file));
        let again = File::options().read(true).write(true).open(path)?;
        let mut before = vec![0; bytes.len()];
        let mut read = 0;
        while let Ok(n @ 1..) = again.read_at(&mut before[read..], at + read as u64) {
            read += n;
        }
        state.writes.push((file.metadata()?.ino(), at, before, again));
        disk::Direct.write(file, bytes, at)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        Self::count(&mut state)?;
        let synced = file.metadata()?.ino();
        state.writes.retain(|(inode, ..)| *inode != synced);
        Ok(())
    }
}

/// Runs appenders until the power goes. Says which batches were acknowledged, and at which position.
async fn until_the_power_goes(dir: &Path, calls: usize, chance: u64) -> Vec<(u64, Option<u64>)> {
    let disk = Arc::new(Lossy { state: Mutex::new(Unsynced { calls, ..Unsynced::default() }) });
    let mut options = small(dir);
    options.segment_bytes = 16 << 10;
    options.disk = Arc::clone(&disk) as Arc<dyn Disk>;
    let log = Arc::new(Segments::open(options).unwrap());
    let tasks: Vec<_> = (0..3u64)
        .map(|task| {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                let mut batches = Vec::new();
                for batch in 0..40 {
                    let id = task * 40 + batch;
                    match log.append(batch_of(id)).await {
                        Ok(outcomes) => match outcomes[0] {
                            Outcome::Appended(first) => batches.push((id, Some(first))),
                            Outcome::Exists(_) => panic!("{outcomes:?}"),
                        },
                        Err(_) => {
                            batches.push((id, None));
                            break;
                        }
                    }
                }
                batches
            })
        })
        .collect();
    let mut batches = Vec::new();
    for task in tasks {
        batches.extend(task.await.unwrap());
    }
    drop(log);
    disk.settle(chance);
    batches
}

/// One to five records, some of them longer than a sector.
fn batch_of(id: u64) -> Vec<NewRecord> {
    let long = |n| NewRecord {
        pieces: vec![vec![b'a' + (n % 26) as u8; 700].into(), vec![b'z'; 90].into()],
        ..record("app", n)
    };
    (0..1 + id % 5)
        .map(|n| if id.is_multiple_of(4) { long(id * 10 + n) } else { record("app", id * 10 + n) })
        .collect()
}

async fn nothing_acknowledged_is_lost(calls: usize, chance: u64, without_index: bool) {
    let dir = quick_dir();
    let batches = until_the_power_goes(dir.path(), calls, chance).await;
    if without_index {
        std::fs::remove_dir_all(dir.path().join("ids")).unwrap();
    }
    let mut options = small(dir.path());
    options.segment_bytes = 16 << 10;
    let log = Segments::open(options).unwrap();
    assert_eq!(log.status().read_only, None);
    let mut records = 0;
    for (id, acknowledged) in batches {
        let given = batch_of(id);
        let ids: Vec<_> = given.iter().map(|r| (r.emitter.clone(), r.event_id)).collect();
        let found = log.find(&ids).await.unwrap();
        let Some(first) = found[0] else {
            assert_eq!(acknowledged, None, "batch {id} was acknowledged and is gone");
            assert!(found.iter().all(Option::is_none), "half of batch {id} is there");
            continue;
        };
        assert!(acknowledged.is_none_or(|at| at == first));
        let expected: Vec<_> = (first..).map(Some).take(given.len()).collect();
        assert_eq!(found, expected);
        let positions: Vec<u64> = found.into_iter().flatten().collect();
        for (stored, given) in log.get(&positions).await.unwrap().iter().zip(&given) {
            assert_eq!(stored.header, given.header);
            assert!(stored.pieces.iter().flatten().eq(&given.pieces), "a piece is missing");
        }
        records += given.len() as u64;
    }
    assert_eq!(log.head(), records, "nothing else is there");
    assert_eq!(log.check(&mut |_| {}).unwrap(), Checked { records, purged: 0, damage: vec![] });
    assert_eq!(log.append(vec![record("app", 9_999)]).await.unwrap(), [Outcome::Appended(records)]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_loss_of_power_takes_nothing_that_was_acknowledged(calls in 0usize..120, chance: u64, without: bool) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(nothing_acknowledged_is_lost(calls, chance, without));
    }
}
