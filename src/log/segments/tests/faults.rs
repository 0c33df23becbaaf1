//! Calls that fail, and calls that take long.

use std::fs::File;
use std::sync::Condvar;

use super::*;
use crate::log::contract::{emitter, event_id};

/// A disk that fails or holds calls of one thread until told otherwise.
#[derive(Default)]
struct Bad {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The thread whose calls fail.
    thread: &'static str,
    writes: usize,
    syncs: usize,
    /// Syncs of the writer wait while this is set; `held` says that one does.
    hold: bool,
    held: bool,
}

impl Bad {
    fn fail(&self, thread: &'static str, writes: usize, syncs: usize) {
        let mut state = self.state.lock().unwrap();
        (state.thread, state.writes, state.syncs) = (thread, writes, syncs);
    }

    fn hold(&self, hold: bool) {
        self.state.lock().unwrap().hold = hold;
        self.changed.notify_all();
    }

    /// Returns when the writer is about to sync.
    fn until_held(&self) {
        drop(self.changed.wait_while(self.state.lock().unwrap(), |state| !state.held).unwrap());
    }
}

fn is_thread(name: &str) -> bool {
    std::thread::current().name() == Some(name)
}

impl Disk for Bad {
    fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        if state.writes > 0 && is_thread(state.thread) {
            state.writes -= 1;
            // A disk that fills up takes a part of what it is given.
            disk::Direct.write(file, &bytes[..bytes.len() / 2], at)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        disk::Direct.write(file, bytes, at)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        if is_thread("log-writer") {
            state.held = state.hold;
            self.changed.notify_all();
            state = self.changed.wait_while(state, |state| state.hold).unwrap();
            state.held = false;
        }
        if state.syncs > 0 && is_thread(state.thread) {
            state.syncs -= 1;
            return Err(io::Error::from_raw_os_error(5));
        }
        drop(state);
        disk::Direct.sync(file)
    }
}

fn open(dir: &TempDir) -> (Arc<Bad>, Arc<Segments>) {
    let disk = Arc::new(Bad::default());
    let mut options = Options::new(dir.path());
    options.disk = Arc::clone(&disk) as Arc<dyn Disk>;
    options.queue_bytes = 1_000;
    (disk, Arc::new(Segments::open(options).unwrap()))
}

fn key(n: u64) -> [(Id, EventId); 1] {
    [(emitter("app"), event_id(n))]
}

#[tokio::test]
async fn a_failed_sync_is_unknown_and_the_end_of_writing() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, log) = open(&dir);
    log.append(vec![record("app", 0)]).await.unwrap();
    disk.fail("log-writer", 0, 1);
    let failed = log.append(vec![record("app", 1)]).await;
    assert!(matches!(&failed, Err(error @ Error::Unknown { .. }) if error.retryable()), "{failed:?}");
    assert!(matches!(log.append(vec![record("app", 2)]).await, Err(Error::ReadOnly(_))));
    assert!(log.status().read_only.unwrap().contains("synced"));
    assert_eq!((log.head(), log.find(&key(1)).await.unwrap()), (1, vec![None]));
    assert_eq!(log.read(0, 9, 9_999).await.unwrap().len(), 1);
    drop(log);
    // Opened again, the log says what became of it, and either way a retry stores it once.
    let (_, log) = open(&dir);
    let found = log.find(&key(1)).await.unwrap()[0];
    let again = log.append(vec![record("app", 1)]).await.unwrap();
    assert_eq!(again, [found.map_or(Outcome::Appended(1), Outcome::Exists)]);
    assert_eq!(log.head(), 2);
}

#[tokio::test]
async fn a_failed_write_is_undone_and_may_be_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, log) = open(&dir);
    log.append(vec![record("app", 0)]).await.unwrap();
    for _ in 0..2 {
        disk.fail("log-writer", 1, 0);
        let failed = log.append(vec![record("app", 1)]).await;
        assert!(matches!(&failed, Err(error @ Error::Unavailable { .. }) if error.retryable()), "{failed:?}");
        assert_eq!((log.head(), log.find(&key(1)).await.unwrap()), (1, vec![None]));
    }
    // Shorter than what failed: nothing of that may be left behind it.
    let short = NewRecord { pieces: vec![], ..record("app", 2) };
    assert_eq!(log.append(vec![short]).await.unwrap(), [Outcome::Appended(1)]);
    assert_eq!(log.append(vec![record("app", 1)]).await.unwrap(), [Outcome::Appended(2)]);
    drop(log);
    let (_, log) = open(&dir);
    assert_eq!((log.head(), log.status().read_only), (3, None));
    assert_eq!(log.check(&mut |_| {}).unwrap().damage, []);
}

#[tokio::test]
async fn a_write_that_cannot_be_undone_is_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, log) = open(&dir);
    disk.fail("log-writer", 2, 0);
    assert!(matches!(log.append(vec![record("app", 1)]).await, Err(Error::Unknown { .. })));
    assert!(matches!(log.append(vec![record("app", 1)]).await, Err(Error::ReadOnly(_))));
    drop(log);
    let (_, log) = open(&dir);
    assert_eq!((log.head(), log.status().read_only), (0, None), "half a frame is a torn write");
}

#[tokio::test]
async fn a_full_disk_refuses_until_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, log) = open(&dir);
    disk.fail("log-space", usize::MAX, 0);
    for _ in 0..3 {
        let failed = log.append(vec![record("app", 0)]).await;
        assert!(matches!(&failed, Err(error @ Error::Unavailable { .. }) if error.retryable()), "{failed:?}");
    }
    assert_eq!((log.head(), log.status().read_only), (0, None));
    disk.fail("", 0, 0);
    assert_eq!(log.append(vec![record("app", 0)]).await.unwrap(), [Outcome::Appended(0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_visible_before_it_is_synced_and_the_queue_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, log) = open(&dir);
    disk.hold(true);
    let append = |n| {
        let log = Arc::clone(&log);
        tokio::spawn(async move { log.append(vec![record("app", n)]).await.unwrap()[0] })
    };
    let first = append(0);
    tokio::task::block_in_place(|| disk.until_held());
    assert!(!first.is_finished());
    assert_eq!((log.head(), log.find(&key(0)).await.unwrap()), (0, vec![None]));
    assert_eq!(log.read(0, 9, 9_999).await.unwrap(), []);
    // Far more than the queue takes: the rest wait outside it.
    let rest: Vec<_> = (1..50).map(append).collect();
    while log.status().bytes_waiting < 800 {
        tokio::task::yield_now().await;
    }
    assert!(log.status().bytes_waiting <= 1_000);
    assert!(rest.iter().all(|task| !task.is_finished()));
    disk.hold(false);
    let mut positions = vec![first.await.unwrap()];
    for task in rest {
        positions.push(task.await.unwrap());
        assert!(log.status().bytes_waiting <= 1_000);
    }
    positions.sort_by_key(|outcome| match outcome {
        Outcome::Appended(position) | Outcome::Exists(position) => *position,
    });
    let expected: Vec<_> = (0..50).map(Outcome::Appended).collect();
    assert_eq!(positions, expected);
    assert!(log.groups() < 50, "what waits goes together");
}

#[tokio::test]
async fn closing_ends_waiting_and_appending_but_not_reading() {
    let dir = tempfile::tempdir().unwrap();
    let (_, log) = open(&dir);
    log.append(vec![record("app", 0)]).await.unwrap();
    let waiting = tokio::spawn({
        let log = Arc::clone(&log);
        async move { log.wait_beyond(5).await }
    });
    tokio::task::yield_now().await;
    log.close().unwrap();
    log.close().unwrap();
    assert!(waiting.await.unwrap().is_err());
    assert!(log.append(vec![record("app", 1)]).await.is_err());
    assert_eq!(log.read(0, 9, 9_999).await.unwrap().len(), 1);
    assert_eq!(tail::read(dir.path()).unwrap(), Ok(1));
}

#[tokio::test]
async fn a_side_file_that_cannot_grow_hides_no_record() {
    let dir = tempfile::tempdir().unwrap();
    // Takes nothing, and reads as zeros.
    std::os::unix::fs::symlink("/dev/full", dir.path().join("00000000000000000000.ends")).unwrap();
    for opened in 0..3 {
        let (_, log) = open(&dir);
        for n in 0..10 {
            log.append(vec![record("app", 20 * opened + 2 * n), record("app", 20 * opened + 2 * n + 1)])
                .await
                .unwrap();
        }
        let head = log.head();
        assert_eq!(head, 20 * (opened + 1));
        let read = log.read(0, 999, 1 << 20).await.unwrap();
        assert!(read.iter().map(|record| record.position).eq(0..head));
        for position in 0..head {
            assert_eq!(log.get(&[position]).await.unwrap()[0], read[position as usize]);
        }
        assert_eq!(log.status().read_only, None);
    }
    std::fs::remove_file(dir.path().join("00000000000000000000.ends")).unwrap();
    let (_, log) = open(&dir);
    assert_eq!(log.read(0, 999, 1 << 20).await.unwrap().len(), 60);
    log.append(vec![record("app", 99)]).await.unwrap();
    let length = std::fs::metadata(dir.path().join("00000000000000000000.ends")).unwrap().len();
    assert_eq!(length, 4 * 61, "what waited in memory is written with what comes next");
}
