//! The embedded log: segment files of our own format, one writer thread, one sync per group.
//!
//! Promises what the port promises. A crash loses batches that were not answered, whole. It does
//! not protect against the loss of the disk itself.
//!
//! ## The directory
//! | file | content | if lost |
//! |---|---|---|
//! | `00000000000000000000.seg`, ... | the records; named after the first position | loud |
//! | `<same>.ends` | where each frame ends; in memory while the disk is full | rebuilt |
//! | `tail` | up to where the log was durable (`tail.rs`) | torn writes and losses look alike |
//! | `ids/` | (emitter, event id) to position (`ids/store.rs`) | rebuilt |
//! | `spare` | zeros that will be the next segment | made again |
//! | `mirror.behind` | only while the mirror lacks something (`mirror.rs`) | the mirror may lack purges |
//! | `lock` | one process at a time | |
//!
//! ## A segment
//! Little-endian; CRC-32C throughout. Head, then frames without gaps, then zeros to the end of the
//! file; a group of batches that is written and synced as one never spans segments.
//! ```text
//! head   0 "custlog\n"   8 version u32 = 1   12 zero   16 first position u64   24 zero   28 CRC of bytes 0..28
//! frame  0 CRC of bytes 4..56            4 length of the frame u32
//!        8 position u64                 16 first position of its group u64
//!       24 frames left in its batch u16 26 pieces u16   28 length of the emitter u8   29 zero
//!       32 event id, 16 bytes           48 length of the header u32
//!       52 CRC of emitter, table and header
//!       56 emitter ‖ table: length u32 and CRC of each piece ‖ header ‖ pieces
//! ```
//! A piece whose bytes are all zero has been purged; its entry in the table stays. A piece of
//! nothing but zeros is therefore refused. The zeros of a frame's head cannot be a frame, because
//! the checksum of zeros is not zero.

mod chain;
mod check;
pub mod copy;
mod disk;
mod frame;
mod ids;
mod lane;
mod mirror;
mod purging;
mod reader;
mod recover;
mod scan;
mod space;
mod tail;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use async_trait::async_trait;
use tokio::sync::{Semaphore, oneshot, watch};

use self::chain::Chain;
pub use self::check::Checked;
use self::disk::Disk;
use self::ids::{Ids, LookedUp};
use self::mirror::Mirror;
pub use self::recover::Damage;
use self::space::PAGE;
use self::writer::{Waiting, Writer};
use super::{Cause, Error, Log, NewRecord, Outcome, PieceRef, Status, StoredRecord};
use crate::dirlock::{self, DirLock};
use crate::domain::id::{EventId, Id};
use crate::mirror::Standing;

/// Look-ups in the index, single records and bytes that a task may read in place. More is read on
/// a thread that may block.
const IN_PLACE: usize = 16;
const IN_PLACE_BYTES: usize = 64 << 10;

#[derive(Clone)]
pub struct Options {
    pub dir: PathBuf,
    /// Length of a segment, at most 2 GiB. Changing it concerns later segments only.
    pub segment_bytes: u64,
    /// Bytes that may wait to be written before `append` waits. A longer batch counts as this much.
    pub queue_bytes: usize,
    /// Cache of the id index.
    pub index_cache_bytes: u64,
    /// Unwritten part of the id index; up to four of them exist under load.
    pub index_memtable_bytes: u64,
    /// Where a second copy is kept.
    pub mirror: Option<crate::mirror::Options>,
    disk: Arc<dyn Disk>,
    /// Ids of a chunk and of a generation.
    ids: (usize, usize),
}

impl Options {
    /// What fits a small server.
    pub fn new(dir: impl Into<PathBuf>) -> Options {
        Options {
            dir: dir.into(),
            segment_bytes: 256 << 20,
            queue_bytes: 64 << 20,
            index_cache_bytes: 64 << 20,
            index_memtable_bytes: 16 << 20,
            mirror: None,
            disk: Arc::new(disk::Direct),
            ids: (ids::CHUNK, ids::GENERATION),
        }
    }
}

/// Whether a batch keeps the port's limits, which are those of a frame; other adapters ask too.
pub fn within_limits(batch: &[NewRecord]) -> Result<(), Error> {
    frame::size_of(batch).map(drop)
}

/// What callers, reader and writer share.
struct Shared {
    chain: Chain,
    ids: Ids,
    disk: Arc<dyn Disk>,
    segment_bytes: u64,
    /// All positions below are durable and visible.
    head: watch::Sender<u64>,
    /// The tail mark on disk.
    marked: Mutex<u64>,
    read_only: Mutex<Option<(Cause, String)>>,
    /// The index lacks ids, because damage was met on opening.
    ids_incomplete: bool,
    /// Held while pieces are overwritten.
    purging: Mutex<()>,
    /// Held while offsets are rebuilt.
    repairing: Mutex<()>,
    groups: AtomicU64,
    mirror: Option<Mirror>,
}

impl Shared {
    fn head(&self) -> u64 {
        *self.head.borrow()
    }

    fn writable(&self) -> Result<(), Error> {
        match &*self.read_only.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((_, why)) => Err(Error::ReadOnly(why.clone())),
            None => Ok(()),
        }
    }

    /// Turns the log read-only; the first reason stays.
    fn fail(&self, cause: Cause, why: String) -> Error {
        tracing::error!(why, "the log is read-only");
        let mut read_only = self.read_only.lock().unwrap_or_else(PoisonError::into_inner);
        read_only.get_or_insert((cause, why.clone()));
        Error::ReadOnly(why)
    }

    fn corrupt(&self, position: u64, place: String, what: &'static str) -> Error {
        let error = Error::Corrupt { position, place, what };
        self.fail(Cause::Damage, error.to_string());
        error
    }

    /// The index cannot be read: it is rebuilt at the next start.
    fn index_failed(&self, source: io::Error) -> Error {
        self.ids.distrust();
        self.fail(Cause::Index, format!("{source}; a restart rebuilds it"));
        Error::Unavailable { reason: "the id index cannot be read", source: Some(source) }
    }

    /// Sees to it that the tail mark is at or beyond a durable position.
    fn mark_tail(&self, at_least: u64) -> io::Result<()> {
        let mut marked = self.marked.lock().unwrap_or_else(PoisonError::into_inner);
        if *marked < at_least {
            let head = self.head();
            tail::write(self.chain.dir(), head)?;
            *marked = head;
            if let Some(there) = self.mirror.as_ref().and_then(Mirror::there)
                && let Err(error) = tail::write(there.chain.dir(), head)
            {
                tracing::warn!(%error, "the tail mark of the mirror could not be written");
            }
        }
        Ok(())
    }

    fn find(&self, ids: &[(Id, EventId)], mut looked: LookedUp) -> Result<Vec<Option<u64>>, Error> {
        let id = |index: usize| (&ids[index].0, &ids[index].1);
        self.ids.ask(&mut looked, id).map_err(|source| self.index_failed(source))?;
        if self.ids_incomplete && looked.known.contains(&None) {
            return Err(Error::ReadOnly("damage was found, so that not all ids are known".into()));
        }
        Ok(looked.known)
    }
}

/// The adapter. Dropping it closes it.
pub struct Segments {
    shared: Arc<Shared>,
    running: Mutex<Option<Running>>,
    queue: Arc<Semaphore>,
    queue_bytes: usize,
    closed: watch::Sender<bool>,
}

struct Running {
    sender: Sender<Waiting>,
    writer: JoinHandle<()>,
    _lock: DirLock,
}

impl Segments {
    /// Opens or creates the log. Damage does not keep it from opening: it is then read-only, as
    /// `status` says, and gives what checks. Blocks while it reads.
    pub fn open(options: Options) -> Result<Segments, Error> {
        let failed = |source| Error::Unavailable { reason: "the log cannot be opened", source: Some(source) };
        let lock = DirLock::take(&options.dir).map_err(|error| match error {
            dirlock::Error::InUse(_) => {
                let source = Some(io::Error::new(io::ErrorKind::ResourceBusy, error.to_string()));
                Error::Unavailable { reason: "the log is in use by another process", source }
            }
            dirlock::Error::Io { source, .. } => failed(source),
        })?;
        Self::open_locked(options, lock).map_err(failed)
    }

    fn open_locked(options: Options, lock: DirLock) -> io::Result<Segments> {
        let Options { dir, disk, .. } = options;
        let memory = ids::Memory {
            cache_bytes: options.index_cache_bytes,
            memtable_bytes: options.index_memtable_bytes,
        };
        let marked = tail::read(&dir)?.unwrap_or_else(|what| {
            tracing::error!(what, "the tail mark is not used");
            0
        });
        let ids = Ids::open(&dir, memory, options.ids.0, options.ids.1)?;
        let mut chain = Chain::open(&dir)?;
        purging::finish(&chain, &*disk)?;
        let mut recovered = recover::recover(&chain, &ids, &*disk, marked)?;
        let mirror = options.mirror.map(|options| Mirror::new(options, &dir));
        if let (Some(mirror), Ok(place)) = (&mirror, &recovered.place) {
            match mirror.adopt(&chain, recovered.head, place.end, &*disk) {
                Ok(false) => {}
                Ok(true) => {
                    chain = Chain::open(&dir)?;
                    recovered = recover::recover(&chain, &ids, &*disk, marked)?;
                }
                Err(error) => mirror.fail(error.to_string()),
            }
        }
        let shared = Arc::new(Shared {
            chain,
            ids,
            disk,
            segment_bytes: options.segment_bytes.clamp(PAGE, 2 << 30) / PAGE * PAGE,
            head: watch::Sender::new(recovered.head),
            marked: Mutex::new(marked),
            read_only: Mutex::default(),
            ids_incomplete: recovered.place.is_err(),
            purging: Mutex::default(),
            repairing: Mutex::default(),
            groups: AtomicU64::new(0),
            mirror,
        });
        let running = match recovered.place {
            Err(damage) => {
                shared.fail(Cause::Damage, format!("damage at {damage}"));
                Self::run(None, lock)?
            }
            Ok(place) => {
                shared.mark_tail(recovered.head)?;
                if let Some(mirror) =
                    shared.mirror.as_ref().filter(|mirror| mirror.keeper().failing().is_none())
                {
                    shared.tend(mirror);
                }
                let writer = Writer::new(Arc::clone(&shared), place, recovered.head)?;
                Self::run(Some(writer), lock)?
            }
        };
        let queue_bytes = options.queue_bytes.clamp(1, u32::MAX as usize);
        Ok(Segments {
            shared,
            running: Mutex::new(Some(running)),
            queue: Arc::new(Semaphore::new(queue_bytes)),
            queue_bytes,
            closed: watch::Sender::new(false),
        })
    }

    fn run(writer: Option<Writer>, lock: DirLock) -> io::Result<Running> {
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new().name("log-writer".into());
        let writer = thread.spawn(move || match writer {
            Some(writer) => writer.run(&receiver),
            None => drop(receiver),
        })?;
        Ok(Running { sender, writer, _lock: lock })
    }

    /// Writes what waits, marks the tail and releases the directory. Later appends, and those who
    /// wait for records, get an error; reads go on. A log that is read-only has said so and why; it
    /// gets no tail mark, and is closed all the same. Blocks; may be repeated.
    pub fn close(&self) -> Result<(), Error> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Running { sender, writer, _lock }) = running else { return Ok(()) };
        drop(sender);
        let writer = writer.join();
        self.closed.send_replace(true);
        self.shared.ids.close();
        if writer.is_err() {
            return Err(self.shared.fail(Cause::Unsure, "the writer panicked".into()));
        }
        if self.shared.writable().is_err() {
            return Ok(());
        }
        let failed =
            |source| Error::Unavailable { reason: "the tail mark cannot be written", source: Some(source) };
        self.shared.mark_tail(self.shared.head()).map_err(failed)
    }

    /// Groups written since the log was opened.
    pub fn groups(&self) -> u64 {
        self.shared.groups.load(Ordering::Relaxed)
    }

    /// The first record, if there is one. Blocks.
    pub fn first(&self) -> Result<Option<StoredRecord>, Error> {
        if self.shared.head() == 0 { Ok(None) } else { self.shared.read_one(0).map(Some) }
    }

    /// How the second copy stands, where there is one.
    pub fn mirror(&self) -> Option<Standing> {
        self.shared.mirror.as_ref().map(|mirror| mirror.keeper().standing())
    }

    /// Sees whether the mirror is still there, and tries to bring a failing one up to date. How it went is in
    /// its standing. Blocks; events are recorded meanwhile if they may be.
    pub fn tend_mirror(&self) {
        if let Some(mirror) = self.shared.mirror.as_ref().filter(|_| self.shared.writable().is_ok()) {
            self.shared.tend(mirror);
        }
    }

    /// Reads log and mirror, as long as it is to go on, and says how the mirror differs. Blocks. Both may be in
    /// use.
    pub fn compare_mirror(&self, go_on: &dyn Fn() -> bool) -> Result<Vec<String>, Error> {
        self.shared.compare_mirror(go_on).map_err(|source| Error::Unavailable {
            reason: "the log and its mirror cannot be compared",
            source: Some(source),
        })
    }

    /// Reads every frame of every segment and reports all damage; `progress` hears the next
    /// position now and then. Blocks. The log may be in use.
    pub fn check(&self, progress: &mut dyn FnMut(u64)) -> Result<Checked, Error> {
        check::check(&self.shared, progress)
            .map_err(|source| Error::Unavailable { reason: "the log cannot be read", source: Some(source) })
    }

    /// Runs `read` in place if it is short, and else where blocking is allowed.
    async fn reading<T: Send + 'static>(
        &self,
        short: bool,
        read: impl FnOnce(&Shared) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        if short {
            return read(&self.shared);
        }
        let shared = Arc::clone(&self.shared);
        let stopped = |_| Error::Unavailable { reason: "reading was stopped", source: None };
        tokio::task::spawn_blocking(move || read(&shared)).await.map_err(stopped)?
    }
}

impl Drop for Segments {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(%error, "the log was not closed in order");
        }
    }
}

const CLOSED: Error = Error::Unavailable { reason: "the log is closed", source: None };

#[async_trait]
impl Log for Segments {
    async fn append(&self, batch: Vec<NewRecord>) -> Result<Vec<Outcome>, Error> {
        self.shared.writable()?;
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let encoded = frame::encode(batch)?;
        let mut looked = self.shared.ids.plan(encoded.frames.iter().map(|f| (&f.emitter, &f.event_id)));
        let short = looked.to_ask() <= IN_PLACE;
        let ask = move |shared: &Shared| {
            let id = |index: usize| (&encoded.frames[index].emitter, &encoded.frames[index].event_id);
            shared.ids.ask(&mut looked, id).map_err(|source| shared.index_failed(source))?;
            Ok((encoded, looked))
        };
        let (encoded, looked) = self.reading(short, ask).await?;
        let share = encoded.bytes.len().min(self.queue_bytes) as u32;
        let permit = Arc::clone(&self.queue).acquire_many_owned(share).await.map_err(|_| CLOSED)?;
        let (answer, answered) = oneshot::channel();
        let sender = match &*self.running.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(running) => running.sender.clone(),
            None => return Err(CLOSED),
        };
        let sent = sender.send(Waiting { encoded, looked, permit, answer });
        drop(sender);
        sent.map_err(|_| CLOSED)?;
        answered.await.unwrap_or(Err(Error::Unknown { reason: "the writer stopped", source: None }))
    }

    async fn find(&self, ids: &[(Id, EventId)]) -> Result<Vec<Option<u64>>, Error> {
        let looked = self.shared.ids.recall(ids, self.head());
        if looked.to_ask() <= IN_PLACE {
            return self.shared.find(ids, looked);
        }
        let ids = ids.to_vec();
        self.reading(false, move |shared| shared.find(&ids, looked)).await
    }

    async fn read(
        &self,
        from: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredRecord>, Error> {
        let short = max_bytes <= IN_PLACE_BYTES || max_records <= IN_PLACE;
        self.reading(short, move |shared| shared.read_records(from, max_records, max_bytes)).await
    }

    async fn get(&self, positions: &[u64]) -> Result<Vec<StoredRecord>, Error> {
        if positions.iter().any(|position| *position >= self.head()) {
            return Err(Error::Refused("the position is beyond the head"));
        }
        if positions.len() <= IN_PLACE {
            return positions.iter().map(|position| self.shared.read_one(*position)).collect();
        }
        let positions = positions.to_vec();
        self.reading(false, move |shared| positions.iter().map(|at| shared.read_one(*at)).collect()).await
    }

    fn head(&self) -> u64 {
        self.shared.head()
    }

    async fn wait_beyond(&self, position: u64) -> Result<(), Error> {
        let mut head = self.shared.head.subscribe();
        let mut closed = self.closed.subscribe();
        tokio::select! {
            biased;
            beyond = head.wait_for(|head| *head > position) => beyond.map(|_| ()).map_err(|_| CLOSED),
            _ = closed.wait_for(|closed| *closed) => Err(CLOSED),
        }
    }

    async fn purge(&self, pieces: &[PieceRef]) -> Result<(), Error> {
        let pieces = pieces.to_vec();
        self.reading(false, move |shared| shared.purge_pieces(&pieces)).await
    }

    fn status(&self) -> Status {
        let mut bytes_on_disk = 0;
        if let Ok(entries) = std::fs::read_dir(self.shared.chain.dir()) {
            for entry in entries.flatten() {
                bytes_on_disk +=
                    entry.metadata().ok().filter(|file| file.is_file()).map_or(0, |file| file.len());
            }
        }
        let read_only = self.shared.read_only.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (cause, read_only) = read_only.unzip();
        Status {
            head: self.head(),
            bytes_on_disk,
            bytes_waiting: (self.queue_bytes - self.queue.available_permits()) as u64,
            read_only,
            cause,
            unreachable: None,
        }
    }
}
