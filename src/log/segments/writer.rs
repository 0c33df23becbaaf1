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
//! * The mirror fails: it is given up, and either the group is acknowledged without it, or it is undone
//!   here as well and the callers hear `Unavailable` until the mirror is up to date again.

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
use super::lane::{Broken, Lane};
use super::mirror::Mirror;
use super::space::PAGE;
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
    own: Lane,
    /// The mirror's, while a group is committed; `None` where there is no mirror, or it is failing.
    other: Option<Lane>,
    /// Where the next frame goes, in both.
    end: u64,
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
        let Place { segment, end } = place;
        let own = Lane::open(&shared.chain, Arc::clone(&shared.disk), shared.segment_bytes, segment)?;
        Ok(Writer { shared, own, other: None, end, head, group: Group::default() })
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
        let shared = Arc::clone(&self.shared);
        let mut lane = shared.mirror.as_ref().map(Mirror::lane);
        self.other = lane.as_mut().and_then(|lane| lane.take());
        let bytes = batches.iter().map(|batch| batch.encoded.bytes.len() as u64).sum();
        let prepared = self.shared.writable().and_then(|()| self.prepare(bytes));
        let stored = match prepared {
            Ok(()) => self.fill_group(&batches).and_then(|outcomes| self.store().map(|()| outcomes)),
            Err(error) => Err(error),
        };
        if stored.is_ok() {
            self.publish();
        }
        if let Some(lane) = &mut lane {
            **lane = self.other.take();
        }
        drop(lane);
        self.answer(batches, stored);
    }

    fn answer(&mut self, batches: Vec<Waiting>, stored: Result<Vec<Vec<Outcome>>, Error>) {
        match stored {
            Ok(outcomes) => {
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
        if let Some(mirror) = &self.shared.mirror
            && (mirror.keeper().failing().is_some() || self.other.is_none())
        {
            self.other = None;
            self.without_mirror(None)?;
        }
        let no_room = |source| Error::Unavailable { reason: "no room for the log", source: Some(source) };
        let full = self.end + bytes > self.own.limit() && self.end > SEGMENT_HEAD;
        if full {
            self.own.begin(&self.shared.chain, self.head).map_err(no_room)?;
            self.end = SEGMENT_HEAD;
        }
        let end = self.end + bytes;
        let followed = match &mut self.other {
            None => Ok(()),
            Some(other) => follow(&self.shared, other, &self.own, self.head).and_then(|()| other.room(end)),
        };
        if let Err(source) = followed {
            self.lose_mirror(source)?;
        }
        self.own.room(end).map_err(no_room)
    }

    /// Gives the mirror up. An error where nothing may be recorded without it.
    fn lose_mirror(&mut self, source: io::Error) -> Result<(), Error> {
        self.other = None;
        if let Some(mirror) = &self.shared.mirror {
            mirror.fail(source.to_string());
        }
        self.without_mirror(Some(source))
    }

    fn without_mirror(&self, source: Option<io::Error>) -> Result<(), Error> {
        match &self.shared.mirror {
            Some(mirror) if mirror.keeper().goes_on() => {
                let reason = "that the mirror falls behind could not be noted";
                let failed = |source| Error::Unavailable { reason, source: Some(source) };
                mirror.keeper().falls_behind().map_err(failed)
            }
            Some(_) => Err(Error::Unavailable { reason: "the mirror is failing", source }),
            None => Ok(()),
        }
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
                        group.add(key, position, frame, self.end);
                        outcomes.push(Outcome::Appended(position));
                    }
                }
            }
            group.close_batch(first);
            all.push(outcomes);
        }
        Ok(all)
    }

    /// Writes and syncs the group, in both copies side by side.
    fn store(&mut self) -> Result<(), Error> {
        if self.group.bytes.is_empty() {
            return Ok(());
        }
        let watch = Stopwatch::start();
        let length = self.group.bytes.len();
        // Whole pages, zeros where nothing stands yet: the kernel need not read what it overwrites.
        let padded = ((self.end + length as u64).next_multiple_of(PAGE) - self.end) as usize;
        self.group.bytes.resize(padded, 0);
        let (stored, mirrored) = self.store_both();
        self.group.bytes.truncate(length);
        match stored {
            Err(Broken::Write(written)) => {
                let reason = "the log could not be written";
                self.undo(padded, reason)?;
                return Err(Error::Unavailable { reason, source: Some(written) });
            }
            Err(Broken::Sync(source)) => return Err(self.unknown("the log could not be synced", source)),
            Ok(()) => {}
        }
        if let Err(source) = mirrored
            && self.lose_mirror(source).is_err()
        {
            let reason = "the mirror could not be written";
            self.undo(padded, reason)?;
            // The mirror may have it, and the next start adds to the log what only the mirror has.
            return Err(Error::Unknown { reason, source: None });
        }
        ::metrics::histogram!(metrics::LOG_COMMIT_SECONDS).record(watch.elapsed().as_secs_f64());
        ::metrics::histogram!(metrics::LOG_COMMIT_RECORDS).record(self.group.ids.len() as f64);
        Ok(())
    }

    fn store_both(&self) -> (Result<(), Broken>, io::Result<()>) {
        let (bytes, at) = (&self.group.bytes[..], self.end);
        let Some(other) = &self.other else { return (self.own.store(bytes, at), Ok(())) };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("log-mirror".into());
            let mirrored = thread.spawn_scoped(scope, || other.store(bytes, at).map_err(Broken::source));
            let stored = self.own.store(bytes, at);
            let panicked = |_| Err(io::Error::other("the thread that writes the mirror panicked"));
            (stored, mirrored.and_then(|thread| thread.join().unwrap_or_else(panicked)))
        })
    }

    /// Zeros where the group was to be: nobody heard of it.
    fn undo(&mut self, length: usize, reason: &'static str) -> Result<(), Error> {
        let mirrored = self.other.as_ref().map_or(Ok(()), |other| other.undo(length, self.end));
        self.own.undo(length, self.end).map_err(|source| {
            self.shared.fail(Cause::Unsure, format!("{reason}, nor what was begun undone: {source}"));
            Error::Unknown { reason, source: Some(source) }
        })?;
        mirrored.or_else(|source| self.lose_mirror(source))
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
        self.own.segment.note_ends(self.head, &self.group.ends);
        self.end += self.group.bytes.len() as u64;
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

/// Sees to it that the mirror's segment is the log's own.
fn follow(shared: &Shared, other: &mut Lane, own: &Lane, head: u64) -> io::Result<()> {
    if other.segment.first == own.segment.first {
        return Ok(());
    }
    let there = shared.mirror.as_ref().and_then(Mirror::there);
    let there = there.ok_or_else(|| io::Error::other("the mirror is failing"))?;
    other.begin(&there.chain, head)
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
