//! Zero-filled room ahead of the writer, made by a thread of its own.
//!
//! Overwriting zeros that are already on disk syncs two to four times as fast as growing a file,
//! and cannot run out of space: the room was paid for before a record was promised into it.
//!
//! Room is made in the *spare*, the file that will be the next segment, at twice the pace at which
//! the current one fills: growing the file that the writer syncs would make each of his syncs wait
//! for the file system's journal. The first segment is short and each later one twice as long, up
//! to the length asked for, so that a fresh log starts at once and stays small.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::chain::SPARE;
use super::disk::Disk;
use crate::durable::sync_dir;

/// Length of the first segment.
const FIRST: u64 = 4 << 20;
/// Written and synced at a time in the current segment, and in the spare.
const STEP: u64 = 1 << 20;
const SPARE_STEP: u64 = 4 << 20;
/// What is written past the page cache begins and ends at multiples of this.
pub const PAGE: u64 = 4096;
/// What a step writes. Aligned as writing past the page cache asks for.
static ZEROS: Zeros = Zeros([0; SPARE_STEP as usize]);

#[repr(align(4096))] // PAGE
struct Zeros([u8; SPARE_STEP as usize]);

pub struct Space {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Length of the current segment. Only a batch that is longer may exceed it.
    limit: u64,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    segment_bytes: u64,
}

#[derive(Default)]
struct State {
    current: Area,
    spare: Area,
    failed: Option<io::Error>,
    /// The thread is writing zeros and must not be overtaken.
    busy: bool,
    stop: bool,
}

/// A file, zero-filled up to `filled`, to be filled up to `wanted`.
#[derive(Default)]
struct Area {
    file: Option<Arc<File>>,
    filled: u64,
    wanted: u64,
}

impl Space {
    pub fn start(dir: &Path, disk: Arc<dyn Disk>, segment_bytes: u64) -> io::Result<Space> {
        let state = Mutex::new(State::default());
        let dir = dir.to_path_buf();
        let shared = Arc::new(Shared { state, changed: Condvar::new(), disk, dir, segment_bytes });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("log-space".into()).spawn(move || theirs.run())?;
        Ok(Space { shared, thread: Some(thread), limit: 0 })
    }

    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// From now on room is made in this segment, which has `filled` bytes.
    pub fn follow(&mut self, path: &Path, filled: u64) -> io::Result<()> {
        // A file that was cut elsewhere than at a page goes on through the cache.
        let whole = filled.is_multiple_of(PAGE);
        let file = if whole { open_uncached(path)? } else { OpenOptions::new().write(true).open(path)? };
        let file = Some(Arc::new(file));
        let longest = self.shared.segment_bytes;
        let limit = if self.limit == 0 { filled.max(FIRST.min(longest)) } else { self.next_limit() };
        let mut state = self.shared.lock();
        while state.busy {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.current = Area { file, filled, wanted: filled };
        self.limit = limit;
        Ok(())
    }

    fn next_limit(&self) -> u64 {
        (2 * self.limit).min(self.shared.segment_bytes)
    }

    /// Returns when the current segment has room up to the offset `end`; asks for more ahead.
    pub fn room(&self, end: u64) -> io::Result<()> {
        let next = self.next_limit();
        let mut state = self.shared.lock();
        state.current.wanted = self.limit.max(end).next_multiple_of(PAGE);
        let paced = (next as u128 * 2 * u128::from(end) / u128::from(self.limit)) as u64;
        // An idle log has no spare.
        state.spare.wanted = if 4 * end < self.limit {
            state.spare.filled
        } else {
            paced.next_multiple_of(SPARE_STEP).min(next)
        };
        if state.current.filled < state.current.wanted || state.spare.filled < state.spare.wanted {
            state.failed = None;
            self.shared.changed.notify_all();
        }
        while state.current.filled < end {
            state = self.shared.wait(state)?;
        }
        Ok(())
    }

    /// Returns when the spare file is ready to become a segment, and forgets it. Says how much of
    /// it is filled: if the writer was faster, the rest follows while it is in use.
    pub fn take_spare(&self) -> io::Result<u64> {
        let least = STEP.min(self.shared.segment_bytes);
        let mut state = self.shared.lock();
        state.failed = None;
        state.spare.wanted = state.spare.wanted.max(least);
        self.shared.changed.notify_all();
        while state.busy || state.spare.filled < least {
            state = self.shared.wait(state)?;
        }
        let filled = state.spare.filled;
        state.spare = Area::default();
        Ok(filled)
    }
}

/// Without the page cache, unless the file system cannot do without.
fn open_uncached(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true);
    match options.clone().custom_flags(libc::O_DIRECT).open(path) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => options.open(path),
        opened => opened,
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a change, or says what went wrong.
    fn wait<'a>(&'a self, state: MutexGuard<'a, State>) -> io::Result<MutexGuard<'a, State>> {
        let mut state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        match state.failed.take() {
            Some(error) => Err(error),
            None => Ok(state),
        }
    }

    fn run(&self) {
        let mut state = self.lock();
        while !state.stop {
            let of_spare = state.current.filled >= state.current.wanted;
            let area = if of_spare { &state.spare } else { &state.current };
            if area.filled >= area.wanted {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let step = if of_spare { SPARE_STEP } else { STEP };
            let (file, from, to) = (area.file.clone(), area.filled, area.wanted.min(area.filled + step));
            state.busy = true;
            drop(state);
            let filled = self.fill(file, from, to);
            state = self.lock();
            state.busy = false;
            let area = if of_spare { &mut state.spare } else { &mut state.current };
            match filled {
                Ok(file) => *area = Area { file: Some(file), filled: to, wanted: area.wanted },
                Err(error) => {
                    // Whoever needs the room asks again.
                    area.wanted = area.filled;
                    tracing::warn!(%error, "no room could be made for the log");
                    state.failed = Some(error);
                }
            }
            self.changed.notify_all();
        }
    }

    /// Writes and syncs zeros; without a file, into a new spare.
    ///
    /// Past the page cache where the file system can: nobody reads these zeros from memory, and the
    /// writer never needs them there, because he writes whole pages.
    fn fill(&self, file: Option<Arc<File>>, from: u64, to: u64) -> io::Result<Arc<File>> {
        let file = match file {
            Some(file) => file,
            None => {
                let spare = self.dir.join(SPARE);
                OpenOptions::new().create(true).write(true).truncate(true).open(&spare)?;
                sync_dir(&self.dir)?;
                Arc::new(open_uncached(&spare)?)
            }
        };
        self.disk.write(&file, &ZEROS.0[..(to - from) as usize], from)?;
        self.disk.sync(&file)?;
        Ok(file)
    }
}
