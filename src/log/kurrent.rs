//! The log of a cluster: headers in KurrentDB, pieces in a store of sidecars, and on every node a local copy
//! of what it has numbered.
//!
//! Promises what the port promises, for any number of nodes that write at once: all give the same positions,
//! because all number the same events in the same order (`number.rs`). A receipt is given when the node's own
//! follower has numbered the event, so that a lost answer is never guessed at. While no node of the cluster
//! can be reached, what was numbered is read from the local copy, and appends wait within their patience.
//!
//! Not promised: that a batch whose headers are longer than one append may be (`gather.rs`) lies in one piece and is
//! taken whole or not at all; that a batch which is answered `Unknown` is not stored later; whoever brings its events again
//! gets the positions they have by then. Nothing here replicates: that is KurrentDB's doing and PostgreSQL's.
//!
//! A crash loses nothing that was acknowledged, and nothing that cannot be fetched again: the local copy may be
//! deleted while the node is stopped. A sidecar whose header was never stored is an orphan, which is swept.
//!
//! | file of the local copy | content |
//! |---|---|
//! | as of `log/segments` | headers, each with a note of where it came from (`entry.rs`) |
//! | `passed` | how far the filter of the subscription has come |
//!
//! Streams are named `<prefix><process>-<n>`: one writer each, so that every append says which revision it
//! follows (`session.rs`).

mod end;
mod entry;
mod follow;
mod gather;
mod nodes;
mod number;
mod session;
mod waiting;
mod wire;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

pub use self::entry::{Aside, Why};
pub use self::follow::Standing;
pub use self::nodes::{Nodes, Unusable};
pub use self::number::SetAside;

use self::end::End;
use self::entry::{Note, leaf};
use self::follow::Follower;
use self::gather::Brought;
use self::number::{Numberer, damaged};
use self::session::Session;
use self::waiting::{Admitted, Waiting};
use self::wire::Place;
use super::segments::{self, Segments};
use super::sidecars::{Pieces, Sidecars, Stored};
use super::{Cause, Error, Log, NewRecord, Outcome, PieceRef, Status, StoredRecord};
use crate::domain::id::{Digest, EventId, Id};
use crate::domain::time::Timestamp;
use crate::limits;

/// Sidecars looked at in one step of a sweep.
const SWEPT: usize = 1_000;

/// How a node takes part in a cluster's log.
pub struct Options {
    /// The node's local copy.
    pub dir: PathBuf,
    pub nodes: Nodes,
    /// What the streams of this log begin with, and no others.
    pub prefix: String,
    /// Bytes of records on their way, beyond which `append` waits.
    pub queue_bytes: usize,
    /// How long an append may wait for its answer.
    pub patience: Duration,
    pub set_aside: Arc<SetAside>,
}

/// The adapter. Dropping it closes it.
pub struct Kurrent {
    local: Arc<Segments>,
    sidecars: Arc<dyn Sidecars>,
    waiting: Arc<Waiting>,
    queue: Arc<Semaphore>,
    queue_bytes: usize,
    patience: Duration,
    standing: watch::Receiver<Standing>,
    numbered: watch::Receiver<Option<Place>>,
    end: End,
    /// Why nothing can be appended now.
    down: watch::Receiver<Option<String>>,
    running: Mutex<Option<Running>>,
    /// Where sockets are looked after: the views read on a runtime of their own that does not.
    runtime: tokio::runtime::Handle,
    closed: watch::Sender<bool>,
}

struct Running {
    brought: mpsc::UnboundedSender<Brought>,
    tasks: Vec<JoinHandle<()>>,
}

impl Kurrent {
    /// Opens the local copy and begins to follow. A local copy that is damaged is fetched anew. Returns when
    /// everything that the cluster has is there; with a local copy that has something it gives up waiting
    /// after a while, because a node must start while the cluster is down.
    pub async fn open(options: Options, sidecars: Arc<dyn Sidecars>) -> Result<Kurrent, Error> {
        session::install_provider(&options.nodes).await;
        let dir = options.dir.clone();
        let opened = tokio::task::spawn_blocking(move || open_local(&dir)).await;
        let stopped = |_| Error::Unavailable { reason: "opening was stopped", source: None };
        let local = Arc::new(opened.map_err(stopped)??);
        let waiting = Arc::new(Waiting::default());
        let random = |_| Error::Unavailable { reason: "the system's random numbers failed", source: None };
        let streams = session::name_streams(&options.prefix).map_err(random)?;
        let (standing, stands) = watch::channel(Standing::default());
        let (down, is_down) = watch::channel(None);
        let (closed, stop) = watch::channel(false);
        let numberer = Numberer::resume(Arc::clone(&local), options.set_aside).await?;
        let (numbered, are_numbered) = watch::channel(numberer.last);
        let end = End::new(options.nodes.clone(), options.prefix.clone());
        let follower = Follower {
            nodes: options.nodes.clone(),
            numberer,
            numbered,
            waiting: Arc::clone(&waiting),
            prefix: options.prefix,
            ours: streams.clone(),
            dir: options.dir,
            standing,
        };
        let (brought, incoming) = mpsc::unbounded_channel();
        let (outgoing, groups) = gather::groups();
        let session = Session::new(options.nodes, Arc::clone(&waiting), streams, down);
        let tasks = vec![
            tokio::spawn(follower.run(stop)),
            tokio::spawn(gather::run(incoming, Arc::clone(&sidecars), Arc::clone(&waiting), outgoing)),
            tokio::spawn(session.run(groups)),
        ];
        let queue_bytes = options.queue_bytes.clamp(1, u32::MAX as usize);
        let log = Kurrent {
            local,
            sidecars,
            waiting,
            queue: Arc::new(Semaphore::new(queue_bytes)),
            queue_bytes,
            patience: options.patience,
            standing: stands,
            numbered: are_numbered,
            end,
            down: is_down,
            running: Mutex::new(Some(Running { brought, tasks })),
            runtime: tokio::runtime::Handle::current(),
            closed,
        };
        log.catch_up().await?;
        Ok(log)
    }

    async fn catch_up(&self) -> Result<(), Error> {
        let mut standing = self.standing.clone();
        let known = standing.wait_for(|now| now.caught_up || now.damage.is_some());
        let late = match tokio::time::timeout(self.patience * 3, known).await {
            Ok(Ok(_)) => false,
            Ok(Err(_)) | Err(_) => true,
        };
        if !late {
            return Ok(());
        }
        let why = self.standing.borrow().down.clone().unwrap_or_default();
        if self.local.head() > 0 {
            tracing::warn!(
                why,
                head = self.local.head(),
                "starting with what is here; the cluster has not answered"
            );
            return Ok(());
        }
        let source = Some(std::io::Error::new(std::io::ErrorKind::NotConnected, why));
        Err(Error::Unavailable {
            reason: "the cluster does not answer, and nothing of it is here yet",
            source,
        })
    }

    /// How the node's follower stands.
    pub fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Why nothing can be appended now, if so.
    pub fn down(&self) -> Option<String> {
        self.down.borrow().clone()
    }

    /// Stops writing and following. What waits is not answered. Later appends and those who wait get an
    /// error; reads go on. May be repeated.
    pub fn close(&self) -> Result<(), Error> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Running { brought, tasks }) = running else { return Ok(()) };
        drop(brought);
        self.closed.send_replace(true);
        tasks.iter().for_each(JoinHandle::abort);
        self.local.close()
    }

    /// Takes away some sidecars that no record has, among those that were put before an instant and behind a
    /// number; says where to go on, `None` at the end. The instant has to lie far enough back for everything
    /// that was sent by then to be numbered: nothing is swept while the follower is not caught up.
    pub async fn sweep_orphans(&self, before: Timestamp, after: u64) -> Result<(u64, Option<u64>), Error> {
        if !self.standing().caught_up {
            return Ok((0, None));
        }
        let some = self.sidecars.put_before(before, after, SWEPT).await?;
        let Some(next) = some.last().map(|last| last.number) else { return Ok((0, None)) };
        let ids: Vec<_> = some.iter().map(|s| (s.emitter.clone(), s.event_id)).collect();
        let mut orphans = Vec::new();
        for (Stored { leaf: stored, .. }, position) in some.into_iter().zip(self.local.find(&ids).await?) {
            let has = match position {
                Some(position) => {
                    self.local.get(&[position]).await?.iter().any(|r| leaf(&r.header) == stored)
                }
                None => false,
            };
            if !has {
                orphans.push(stored);
            }
        }
        self.sidecars.remove(&orphans).await?;
        Ok((orphans.len() as u64, Some(next)))
    }

    fn writable(&self) -> Result<(), Error> {
        match self.standing.borrow().damage.clone() {
            Some(why) => Err(Error::ReadOnly(why)),
            None => Ok(()),
        }
    }

    async fn sidecars_of(&self, leaves: Vec<Digest>) -> Result<Vec<Option<Pieces>>, Error> {
        let sidecars = Arc::clone(&self.sidecars);
        let stopped = |_| Error::Unavailable { reason: "reading was stopped", source: None };
        self.runtime.spawn(async move { sidecars.get(&leaves).await }).await.map_err(stopped)?
    }

    /// Puts the pieces to what the local copy has.
    async fn with_pieces(&self, records: Vec<StoredRecord>) -> Result<Vec<StoredRecord>, Error> {
        let mut notes = Vec::with_capacity(records.len());
        let mut leaves: Vec<Digest> = Vec::with_capacity(records.len());
        for record in &records {
            let note = Note::decode(&record.pieces)
                .ok_or_else(|| damaged(record.position, "a record has no note"))?;
            if note.pieces > 0 {
                leaves.push(leaf(&record.header));
            }
            notes.push(note);
        }
        let mut found = match leaves.is_empty() {
            true => Vec::new(),
            false => self.sidecars_of(leaves).await.map_err(|error| placed(error, &records))?,
        }
        .into_iter();
        let with = |(record, note): (StoredRecord, Note)| {
            let pieces = match note.pieces {
                0 => Vec::new(),
                wanted => match found.next().flatten() {
                    Some(pieces) if pieces.len() == usize::from(wanted) => pieces,
                    _ => return Err(missing(record.position)),
                },
            };
            Ok(StoredRecord { pieces, ..record })
        };
        records.into_iter().zip(notes).map(with).collect()
    }
}

/// The sidecars do not know the positions that they were asked for.
fn placed(error: Error, among: &[StoredRecord]) -> Error {
    match (error, among.first()) {
        (Error::Corrupt { what, .. }, Some(first)) => Error::Corrupt {
            position: first.position,
            place: format!("the sidecars of {} records", among.len()),
            what,
        },
        (other, _) => other,
    }
}

fn missing(position: u64) -> Error {
    let what = "a sidecar is missing or not whole: was an older copy of the database put back?";
    Error::Corrupt { position, place: "the sidecars".to_owned(), what }
}

impl Drop for Kurrent {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(%error, "the local copy of the log was not closed in order");
        }
    }
}

/// The local copy; one that does not check is removed for a new one.
fn open_local(dir: &std::path::Path) -> Result<Segments, Error> {
    let local = Segments::open(segments::Options::new(dir))?;
    if local.status().cause != Some(Cause::Damage) {
        return Ok(local);
    }
    tracing::error!(why = local.status().read_only, "the local copy is fetched anew");
    drop(local);
    let failed =
        |source| Error::Unavailable { reason: "the local copy cannot be removed", source: Some(source) };
    std::fs::remove_dir_all(dir).map_err(failed)?;
    Segments::open(segments::Options::new(dir))
}

#[async_trait]
impl Log for Kurrent {
    async fn append(&self, batch: Vec<NewRecord>) -> Result<Vec<Outcome>, Error> {
        self.writable()?;
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        segments::within_limits(&batch)?;
        let deadline = tokio::time::Instant::now() + self.patience;
        let size: usize = batch.iter().map(size_of).sum();
        let permits = size.clamp(1, self.queue_bytes) as u32;
        let room = Arc::clone(&self.queue).acquire_many_owned(permits);
        let permit = match tokio::time::timeout_at(deadline, room).await {
            Ok(Ok(permit)) => permit,
            _ => return Err(self.unavailable()),
        };
        let ids: Vec<_> = batch.iter().map(|record| (record.emitter.clone(), record.event_id)).collect();
        let Admitted { number, mut to_send, answer } = self.waiting.admit(batch, permit);
        // Asked only now: what is numbered from here on is told to whoever was admitted.
        let known = match self.local.find(&ids).await {
            Ok(known) => known,
            Err(error) => {
                self.waiting.give_up(number);
                return Err(error);
            }
        };
        for ((emitter, id), position) in ids.iter().zip(known) {
            if let Some(position) = position {
                self.waiting.numbered(emitter, *id, position, false);
                to_send.retain(|record| (&record.emitter, record.event_id) != (emitter, *id));
            }
        }
        if !to_send.is_empty() && !self.bring(Brought::parts(number, to_send)) {
            self.waiting.give_up(number);
            return Err(CLOSED);
        }
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Error::Unknown { reason: "the log was closed", source: None }),
            Err(_) if self.waiting.give_up(number) => {
                let why = "the cluster took the batch and has not shown it yet, or did not take it";
                Err(Error::Unknown { reason: why, source: None })
            }
            Err(_) => Err(self.unavailable()),
        }
    }

    async fn find(&self, ids: &[(Id, EventId)]) -> Result<Vec<Option<u64>>, Error> {
        self.local.find(ids).await
    }

    async fn read(
        &self,
        from: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredRecord>, Error> {
        // Pieces are about as long as headers.
        let mut records = self.with_pieces(self.local.read(from, max_records, max_bytes / 2).await?).await?;
        let (mut bytes, mut kept) = (0, 0);
        for record in &records {
            let pieces: usize = record.pieces.iter().flatten().map(bytes::Bytes::len).sum();
            bytes += record.header.len() + pieces;
            if kept > 0 && bytes > max_bytes {
                break;
            }
            kept += 1;
        }
        records.truncate(kept);
        Ok(records)
    }

    async fn read_headers(
        &self,
        from: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredRecord>, Error> {
        let records = self.local.read(from, max_records, max_bytes).await?;
        Ok(records.into_iter().map(|record| StoredRecord { pieces: Vec::new(), ..record }).collect())
    }

    async fn get(&self, positions: &[u64]) -> Result<Vec<StoredRecord>, Error> {
        self.with_pieces(self.local.get(positions).await?).await
    }

    fn head(&self) -> u64 {
        self.local.head()
    }

    async fn latest(&self) -> Result<u64, Error> {
        let newest = self.end.newest(self.patience).await?;
        let mut numbered = self.numbered.clone();
        let reached = numbered.wait_for(|numbered| *numbered >= newest);
        match tokio::time::timeout(self.patience, reached).await {
            Ok(Ok(_)) => Ok(self.head()),
            Ok(Err(_)) => Err(CLOSED),
            Err(_) => Err(Error::Unavailable { reason: "this node lags behind the cluster", source: None }),
        }
    }

    async fn wait_beyond(&self, position: u64) -> Result<(), Error> {
        self.local.wait_beyond(position).await
    }

    async fn purge(&self, pieces: &[PieceRef]) -> Result<(), Error> {
        let mut gone = Vec::with_capacity(pieces.len());
        for some in pieces.chunks(limits::BATCH_EVENTS) {
            let positions: Vec<u64> = some.iter().map(|piece| piece.position).collect();
            for (record, piece) in self.local.get(&positions).await?.iter().zip(some) {
                let note = Note::decode(&record.pieces)
                    .ok_or_else(|| damaged(record.position, "a record has no note"))?;
                if piece.piece >= note.pieces {
                    return Err(Error::Refused("there is no such piece"));
                }
                gone.push((leaf(&record.header), piece.piece));
            }
        }
        if gone.is_empty() { Ok(()) } else { self.sidecars.purge(&gone).await }
    }

    async fn scrub(&self) -> Result<(), Error> {
        self.sidecars.scrub().await
    }

    fn status(&self) -> Status {
        let local = self.local.status();
        let damage = self.standing.borrow().damage.clone();
        let cause = damage.as_ref().map(|_| Cause::Damage).or(local.cause);
        Status {
            bytes_waiting: (self.queue_bytes - self.queue.available_permits()) as u64,
            read_only: damage.or(local.read_only.clone()),
            cause,
            unreachable: self.standing().down.or_else(|| self.down()),
            ..local
        }
    }
}

const CLOSED: Error = Error::Unavailable { reason: "the log is closed", source: None };

impl Kurrent {
    fn bring(&self, parts: Vec<Brought>) -> bool {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(running) = &*running else { return false };
        parts.into_iter().all(|part| running.brought.send(part).is_ok())
    }

    fn unavailable(&self) -> Error {
        let why = self.down().or_else(|| self.standing().down);
        let source = why.map(|why| std::io::Error::new(std::io::ErrorKind::NotConnected, why));
        Error::Unavailable { reason: "the cluster does not take it now", source }
    }
}

fn size_of(record: &NewRecord) -> usize {
    record.header.len() + record.pieces.iter().map(bytes::Bytes::len).sum::<usize>()
}
