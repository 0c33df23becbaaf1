//! The one thread that writes.
//!
//! It takes all batches that wait, up to `GROUP` bytes, gives positions to their records, writes
//! them with one `pwrite`, syncs once, makes them visible and answers. There is no timer: while a
//! sync is under way the next group gathers, so groups grow with load.
//!
//! When something fails:
//! * No room, or the write fails: what may have been written is overwritten with zeros and synced,
//!   the callers hear `Unavailable`, and the log goes on. If the zeros fail too, see next.
//! * The sync fails: the kernel may have dropped the pages and forgotten it, so no later sync can
//!   be believed. The callers hear `Unknown`; the log is read-only until it is opened again, when
//!   recovery decides what is there.

use std::fs::{File, OpenOptions};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Shared;
use super::chain::{SEGMENT_HEAD, Segment};
use super::frame::{self, Encoded};
use super::ids::{Key, LookedUp};
use super::space::{PAGE, Space};
use crate::clock::Stopwatch;
use crate::log::{Cause, Error, Outcome};
use crate::telemetry::metrics;

/// Bytes of one group, unless a single batch is longer.
const GROUP: usize = 4 << 20;
/// A log on which nothing was written for so long gets its tail mark.
const IDLE: Duration = Duration::from_secs(1);

/// A batch in the queue.
pub struct Waiting {
    pub encoded: Encoded,
    pub looked: LookedUp,
    /// The share of the queue's bytes that it holds until it is answered.
    pub permit: OwnedSemaphorePermit,
    pub answer: oneshot::Sender<Result<Vec<Outcome>, Error>>,
}

/// Where the next frame goes.
pub struct Place {
    pub segment: Arc<Segment>,
    pub end: u64,
}

pub struct Writer {
    shared: Arc<Shared>,
    space: Space,
    place: Place,
    /// The writer's own descriptor: see `chain::Segment`.
    file: File,
    head: u64,
    group: Group,
}

/// The group in the making; its buffers are used again.
#[derive(Default)]
struct Group {
    bytes: Vec<u8>,
    /// Keys and positions of the records in `bytes`, and where their frames end in the segment.
    ids: Vec<(Key, u64)>,
    ends: Vec<u32>,
    /// Starts of the frames of the batch that is being added.
    starts: Vec<usize>,
}

impl Writer {
    pub fn new(shared: Arc<Shared>, place: Place, head: u64) -> io::Result<Writer> {
        let mut space = Space::start(shared.chain.dir(), Arc::clone(&shared.disk), shared.segment_bytes)?;
        let file = own_file(&place.segment)?;
        space.follow(&place.segment.path, place.segment.data.metadata()?.len())?;
        Ok(Writer { shared, space, place, file, head, group: Group::default() })
    }

    /// Runs until the queue is closed and empty.
    pub fn run(mut self, queue: &Receiver<Waiting>) {
        let mut held = None;
        loop {
            let first = match held.take() {
                Some(batch) => batch,
                None => match self.next(queue) {
                    Some(batch) => batch,
                    None => return,
                },
            };
            // Where processors are short, whoever is about to send a batch does so first: one sync
            // more for it would cost all. Where they are idle this returns at once.
            std::thread::yield_now();
            let group = GROUP.min(self.shared.segment_bytes as usize);
            let mut room = group.saturating_sub(first.encoded.bytes.len());
            let mut batches = vec![first];
            // A batch that does not fit begins the next group.
            while let Ok(batch) = queue.try_recv() {
                let bytes = batch.encoded.bytes.len();
                if bytes > room {
                    held = Some(batch);
                    break;
                }
                room -= bytes;
                batches.push(batch);
            }
            self.commit(batches);
        }
    }

    /// The next batch. Marks the tail when none comes for a while.
    fn next(&self, queue: &Receiver<Waiting>) -> Option<Waiting> {
        match queue.recv_timeout(IDLE) {
            Ok(batch) => return Some(batch),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Err(error) = self.shared.mark_tail(self.head) {
            tracing::warn!(%error, "the tail mark of the log could not be written");
        }
        queue.recv().ok()
    }

    /// Stores a group and answers its batches.
    fn commit(&mut self, batches: Vec<Waiting>) {
        let bytes = batches.iter().map(|batch| batch.encoded.bytes.len() as u64).sum();
        let prepared = self.shared.writable().and_then(|()| self.prepare(bytes));
        let stored = match prepared {
            Ok(()) => self.fill_group(&batches).and_then(|outcomes| self.store().map(|()| outcomes)),
            Err(error) => Err(error),
        };
        match stored {
            Ok(outcomes) => {
                self.publish();
                for (batch, outcomes) in batches.into_iter().zip(outcomes) {
                    // Whoever asked may be gone; the records are stored all the same.
                    let _ = batch.answer.send(Ok(outcomes));
                    drop(batch.permit);
                }
            }
            Err(error) => {
                self.shared.ids.release(&self.group.ids);
                for batch in batches {
                    let _ = batch.answer.send(Err(again(&error)));
                    drop(batch.permit);
                }
            }
        }
        self.group.clear();
    }

    /// Makes sure of memory for the ids and of room for `bytes` in one segment.
    fn prepare(&mut self, bytes: u64) -> Result<(), Error> {
        self.shared.ids.make_room().map_err(|reason| self.shared.fail(Cause::Index, reason))?;
        let no_room = |source| Error::Unavailable { reason: "no room for the log", source: Some(source) };
        let full = self.place.end + bytes > self.space.limit();
        if full && self.place.end > SEGMENT_HEAD {
            self.begin_segment().map_err(no_room)?;
        }
        self.space.room(self.place.end + bytes).map_err(no_room)
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        let shared = &self.shared;
        let filled = self.space.take_spare()?;
        let segment = shared.chain.begin(&*shared.disk, self.head)?;
        self.file = own_file(&segment)?;
        self.space.follow(&segment.path, filled)?;
        self.place = Place { segment, end: SEGMENT_HEAD };
        Ok(())
    }

    /// Gives positions to what is new and puts it together.
    fn fill_group(&mut self, batches: &[Waiting]) -> Result<Vec<Vec<Outcome>>, Error> {
        let mut claim = self.shared.ids.claim();
        let (group, first) = (&mut self.group, self.head);
        let mut all = Vec::with_capacity(batches.len());
        for batch in batches {
            let mut outcomes = Vec::with_capacity(batch.encoded.frames.len());
            let mut from = 0;
            for (index, record) in batch.encoded.frames.iter().enumerate() {
                let frame = &batch.encoded.bytes[from..from + record.total as usize];
                from += frame.len();
                let position = first + group.ids.len() as u64;
                let claimed = claim.take(&record.emitter, &record.event_id, position, &batch.looked, index);
                match claimed.map_err(|source| self.shared.index_failed(source))? {
                    Err(stands) => outcomes.push(Outcome::Exists(stands)),
                    Ok(key) => {
                        group.add(key, position, frame, self.place.end);
                        outcomes.push(Outcome::Appended(position));
                    }
                }
            }
            group.close_batch(first);
            all.push(outcomes);
        }
        Ok(all)
    }

    /// Writes and syncs the group.
    fn store(&mut self) -> Result<(), Error> {
        if self.group.bytes.is_empty() {
            return Ok(());
        }
        let (disk, watch) = (&self.shared.disk, Stopwatch::start());
        let length = self.group.bytes.len();
        // Whole pages, zeros where nothing stands yet: the kernel need not read what it overwrites.
        let padded = (self.place.end + length as u64).next_multiple_of(PAGE) - self.place.end;
        self.group.bytes.resize(padded as usize, 0);
        let written = disk.write(&self.file, &self.group.bytes, self.place.end);
        self.group.bytes.truncate(length);
        if let Err(written) = written {
            let zeros = vec![0; padded as usize];
            let undone = disk.write(&self.file, &zeros, self.place.end).and_then(|()| disk.sync(&self.file));
            return Err(match undone {
                Ok(()) => {
                    Error::Unavailable { reason: "the log could not be written", source: Some(written) }
                }
                Err(_) => self.unknown("the log could not be written, nor what was begun undone", written),
            });
        }
        disk.sync(&self.file).map_err(|source| self.unknown("the log could not be synced", source))?;
        ::metrics::histogram!(metrics::LOG_COMMIT_SECONDS).record(watch.elapsed().as_secs_f64());
        ::metrics::histogram!(metrics::LOG_COMMIT_RECORDS).record(self.group.ids.len() as f64);
        Ok(())
    }

    fn unknown(&self, reason: &'static str, source: io::Error) -> Error {
        self.shared.fail(Cause::Unsure, format!("{reason}: {source}"));
        Error::Unknown { reason, source: Some(source) }
    }

    /// What is durable becomes visible.
    fn publish(&mut self) {
        if self.group.ids.is_empty() {
            return;
        }
        self.place.segment.note_ends(self.head, &self.group.ends);
        self.place.end += self.group.bytes.len() as u64;
        self.head += self.group.ids.len() as u64;
        self.shared.head.send_replace(self.head);
        self.shared.groups.fetch_add(1, Ordering::Relaxed);
        self.shared.ids.durable(&self.group.ids);
    }
}

impl Group {
    fn add(&mut self, key: Key, position: u64, frame: &[u8], end: u64) {
        self.starts.push(self.bytes.len());
        self.bytes.extend_from_slice(frame);
        self.ids.push((key, position));
        self.ends.push((end + self.bytes.len() as u64) as u32);
    }

    /// Fills in the heads of the batch just added.
    fn close_batch(&mut self, first: u64) {
        let begin = self.ids.len() - self.starts.len();
        for (index, start) in self.starts.iter().enumerate() {
            let left = (self.starts.len() - 1 - index) as u16;
            frame::place(&mut self.bytes[*start..], self.ids[begin + index].1, first, left);
        }
        self.starts.clear();
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ids.clear();
        self.ends.clear();
        self.starts.clear();
    }
}

fn own_file(segment: &Segment) -> io::Result<File> {
    OpenOptions::new().write(true).open(&segment.path)
}

/// The same error for every batch of a group.
fn again(error: &Error) -> Error {
    let copy = |source: &Option<io::Error>| {
        source.as_ref().map(|source| match source.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(source.kind(), source.to_string()),
        })
    };
    match error {
        Error::Unavailable { reason, source } => Error::Unavailable { reason, source: copy(source) },
        Error::Unknown { reason, source } => Error::Unknown { reason, source: copy(source) },
        Error::ReadOnly(why) => Error::ReadOnly(why.clone()),
        Error::Refused(what) => Error::Refused(what),
        Error::Corrupt { position, place, what } => {
            Error::Corrupt { position: *position, place: place.clone(), what }
        }
    }
}
