//! The room on the data directory's disk, and the reserve that is kept of it (DESIGN 17).
//!
//! A disk that is full stops everything at once; so what only adds to it stops earlier. At the
//! reserve emitters are refused, while erasures, holds, reads and custody's own events go on with
//! what is left. Somebody looks now and then; those who ask read a flag. Nothing here is kept: a
//! restart looks again before it serves.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What a file system has, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Free for a process without privileges.
    pub free: u64,
    pub total: u64,
}

/// Tells how much room there is. Blocks.
pub trait Probe: Send + Sync {
    fn room(&self) -> io::Result<Room>;
}

/// Asks the file system of a directory, which must exist.
#[derive(Debug, Clone)]
pub struct FileSystem(pub PathBuf);

impl Probe for FileSystem {
    fn room(&self) -> io::Result<Room> {
        let found = rustix::fs::statvfs(&self.0)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(Room { free: bytes(found.f_bavail), total: bytes(found.f_blocks) })
    }
}

/// How much is kept free: the larger of the two. Nothing if both are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    pub bytes: u64,
    pub percent: u64,
}

impl Rule {
    /// Bytes that are kept free on a file system of that size.
    pub fn of(self, total: u64) -> u64 {
        let share = u128::from(total) * u128::from(self.percent) / 100;
        self.bytes.max(u64::try_from(share).unwrap_or(u64::MAX))
    }
}

/// What the last look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub free: u64,
    pub reserve: u64,
}

/// The reserve of one disk.
pub struct Reserve {
    probe: Arc<dyn Probe>,
    rule: Rule,
    reached: AtomicBool,
    seen: Mutex<Option<Seen>>,
}

impl Reserve {
    pub fn new(probe: Arc<dyn Probe>, rule: Rule) -> Reserve {
        Reserve { probe, rule, reached: AtomicBool::new(false), seen: Mutex::default() }
    }

    /// Looks at the disk. One that does not answer leaves things as they were. Blocks.
    pub fn look(&self) {
        let room = match self.probe.room() {
            Ok(room) => room,
            Err(error) => return tracing::warn!(%error, "the free space of the disk cannot be told"),
        };
        let seen = Seen { free: room.free, reserve: self.rule.of(room.total) };
        let before = self.reached.load(Ordering::Relaxed);
        // Once reached, a little more has to be free, so that it is not left and reached by turns.
        let enough = seen.reserve.saturating_add(if before { seen.reserve / 64 } else { 0 });
        let reached = seen.free < enough;
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        self.reached.store(reached, Ordering::Relaxed);
        if reached != before {
            let (free, reserve) = (seen.free, seen.reserve);
            if reached {
                tracing::warn!(free, reserve, "the disk is at its reserve: emitters are refused");
            } else {
                tracing::info!(free, reserve, "the disk has room again: emitters are served");
            }
        }
    }

    /// Whether what only adds has to wait.
    pub fn is_reached(&self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }

    /// `None` if nobody could tell yet.
    pub fn seen(&self) -> Option<Seen> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    struct Told(AtomicU64);

    impl Probe for Told {
        fn room(&self) -> io::Result<Room> {
            match self.0.load(Ordering::SeqCst) {
                u64::MAX => Err(io::ErrorKind::TimedOut.into()),
                free => Ok(Room { free, total: 100_000 }),
            }
        }
    }

    #[test]
    fn the_larger_of_both_is_kept() {
        assert_eq!(Rule { bytes: 7, percent: 5 }.of(100), 7);
        assert_eq!(Rule { bytes: 4, percent: 5 }.of(100), 5);
        assert_eq!(Rule { bytes: 0, percent: 0 }.of(u64::MAX), 0);
        assert_eq!(Rule { bytes: 0, percent: 90 }.of(u64::MAX), 16_602_069_666_338_596_453);
    }

    #[test]
    fn it_is_reached_and_left_and_a_disk_that_does_not_answer_changes_nothing() {
        let told = Arc::new(Told(AtomicU64::new(6_400)));
        let reserve = Reserve::new(told.clone(), Rule { bytes: 6_400, percent: 5 });
        assert_eq!((reserve.is_reached(), reserve.seen()), (false, None));
        for (free, reached) in [
            (6_400, false),
            (6_399, true),
            (u64::MAX, true),
            (6_450, true),
            (6_500, false),
            (u64::MAX, false),
        ] {
            told.0.store(free, Ordering::SeqCst);
            reserve.look();
            assert_eq!(reserve.is_reached(), reached, "{free}");
        }
        assert_eq!(reserve.seen(), Some(Seen { free: 6_500, reserve: 6_400 }));
    }

    #[test]
    fn a_real_disk_answers() {
        let directory = tempfile::tempdir().unwrap();
        let room = FileSystem(directory.path().to_owned()).room().unwrap();
        assert!(room.total > 0 && room.free <= room.total, "{room:?}");
        assert!(FileSystem(directory.path().join("none")).room().is_err());
    }
}
