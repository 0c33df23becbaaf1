//! The embedded vault: one SQLite file, one writing thread, a few readers, a bounded cache.
//!
//! Promises: what `vault::Vault` promises. A commit is synced before its answer is given; many
//! requests share one. Known people are answered from memory without SQLite. Not promised:
//! confirmations and associations of shared identifiers are written with the next commit or within
//! a second, and a crash in between loses them; both come again with the next event, and `pending`
//! is to be compared with the log before anybody is destroyed.
//!
//! Memory: about 320 bytes per cached identifier of a person (measured, `benches/resolve.rs`), of
//! which the keys are shared by all identifiers of the person. `Options::cache_entries` bounds it.

mod admin;
mod cache;
mod change;
mod hot;
mod marks;
mod rows;
mod schema;
mod seal;
mod writer;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension};
use tokio::sync::{Semaphore, oneshot};

use crate::clock::Clock;
use crate::domain::id::{Digest, Mark, SubjectId};
use crate::domain::identity::Identifier;
use crate::domain::time::Timestamp;
use crate::vault::keyring::Keyring;
use crate::vault::{Candidate, Entry, Error, Holder, HolderKind, Marked, Resolution, Status};

use cache::{Cache, Known, Slot};
use marks::Marker;
use rows::Db;
use writer::{Lazy, Request, Task, Txn};

/// The name of the file in the vault's directory.
pub const FILE: &str = "vault.sqlite";
/// Requests that may wait for the writer; more wait outside.
const WAITING: usize = 1_024;
/// Unsynced rows that may wait; more wake the writer.
const LAZY: usize = 20_000;

#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Identifiers, holders and associations kept in memory, all counted alike.
    pub cache_entries: usize,
    /// Connections that read.
    pub readers: usize,
    /// How long the writer waits for a reader that is in the way of a destruction, four times over,
    /// or for another process, before it gives up.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options { cache_entries: 400_000, readers: 4, patience: Duration::from_secs(5) }
    }
}

/// What the writer and the callers share.
pub(crate) struct Shared {
    keyring: Arc<Keyring>,
    marker: Marker,
    cache: Cache,
    clock: Arc<dyn Clock>,
    lazy: Mutex<Lazy>,
    readers: Readers,
    no_bindings: Arc<[Known]>,
}

/// Idle reading connections; another is opened when all are busy, and closed when there are enough.
struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    keep: usize,
}

impl Readers {
    /// Runs `read` in one transaction, which sees one moment and is short.
    fn with<T>(
        &self,
        shared: &Shared,
        read: impl FnOnce(&mut Db<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let outcome = (|| -> Result<_, Error> {
            let connection = match taken {
                Some(connection) => connection,
                None => schema::open_reader(&self.path)?,
            };
            let transaction = connection.unchecked_transaction()?;
            let outcome = read(&mut Db::new(&transaction, shared));
            transaction.finish()?;
            Ok((outcome, connection))
        })();
        let (outcome, connection) = outcome?;
        let mut idle = idle();
        if idle.len() < self.keep {
            idle.push(connection);
        }
        outcome
    }
}

/// See the module.
pub struct Vault {
    shared: Arc<Shared>,
    /// `None` only while it is dropped.
    requests: Option<mpsc::Sender<Request>>,
    waiting: Arc<Semaphore>,
    writer: Option<JoinHandle<()>>,
}

impl Vault {
    /// Opens the vault in a directory, or makes it there.
    ///
    /// # Errors
    /// `Keyring` if the keyring was made for another vault or lacks a key that rows are locked
    /// with; `Corrupt` if the file is damaged or of another version; `Unavailable` if it cannot be
    /// opened.
    pub fn open(
        directory: &Path,
        keyring: Arc<Keyring>,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<Self, Error> {
        std::fs::create_dir_all(directory).map_err(|e| Error::Unavailable {
            reason: "the vault's directory cannot be made",
            source: Some(anyhow::Error::new(e)),
        })?;
        let path = directory.join(FILE);
        let connection = schema::open_writer(&path, options.patience)?;
        check_owner(&connection, &keyring)?;
        let shared = Arc::new(Shared {
            marker: Marker::new(&keyring)?,
            keyring,
            cache: Cache::new(options.cache_entries),
            clock,
            lazy: Mutex::default(),
            readers: Readers { path, idle: Mutex::default(), keep: options.readers },
            no_bindings: Arc::from([]),
        });
        hot::check_keys(&shared, &admin::counts(&connection)?)?;
        let (requests, incoming) = mpsc::channel();
        let theirs = Arc::clone(&shared);
        let writer = std::thread::Builder::new()
            .name("vault-writer".into())
            .spawn(move || writer::run(connection, &theirs, &incoming))
            .map_err(|e| Error::Unavailable {
                reason: "no thread for the writer",
                source: Some(anyhow::Error::new(e)),
            })?;
        let waiting = Arc::new(Semaphore::new(WAITING));
        Ok(Vault { shared, requests: Some(requests), waiting, writer: Some(writer) })
    }

    /// Runs `work` in the writer's next transaction and waits for its commit.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Txn<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = Arc::clone(&self.waiting).acquire_owned().await.map_err(|_| closed())?;
        let (reply, answer) = oneshot::channel();
        self.send(Request::Write(Box::new(Task { work: Some(work), result: None, reply, permit })))?;
        answer.await.map_err(|_| closed())?
    }

    /// Empties the write-ahead log: what was destroyed before is then in no file.
    async fn truncate(&self) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Truncate(reply))?;
        answer.await.map_err(|_| closed())?
    }

    /// Rewrites the file without its gaps.
    async fn vacuum(&self) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Vacuum(reply))?;
        answer.await.map_err(|_| closed())?
    }

    fn send(&self, request: Request) -> Result<(), Error> {
        self.requests.as_ref().and_then(|requests| requests.send(request).ok()).ok_or_else(closed)
    }

    /// Runs `read` on a thread that may block.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Db<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let shared = Arc::clone(&self.shared);
        let task = tokio::task::spawn_blocking(move || shared.readers.with(&shared, read));
        task.await.map_err(|_| closed())?
    }

    /// Wakes the writer if much waits unsynced.
    async fn relieve(&self) -> Result<(), Error> {
        if self.shared.lazy().len() > LAZY { self.write(|_| Ok(())).await } else { Ok(()) }
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(writer) = self.writer.take() {
            // It panics only if it is broken, and then there is nobody here to tell.
            let _ = writer.join();
        }
    }
}

fn closed() -> Error {
    Error::Unavailable { reason: "the vault's writer has stopped; restart custody", source: None }
}

/// A new file is made for the keyring's vault; an old one must be it.
fn check_owner(connection: &Connection, keyring: &Keyring) -> Result<(), Error> {
    let ours = keyring.vault_id();
    let sql = "SELECT value FROM meta WHERE name = 'vault'";
    let stored: Option<Vec<u8>> = connection.query_row(sql, [], |row| row.get(0)).optional()?;
    match stored {
        None => {
            connection.execute("INSERT INTO meta (name, value) VALUES ('vault', ?1)", [ours])?;
            Ok(())
        }
        Some(stored) if stored == ours => Ok(()),
        Some(stored) => {
            let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
            Err(crate::vault::keyring::Error::Foreign { keyring: hex(&ours), vault: hex(&stored) }.into())
        }
    }
}

#[async_trait]
impl crate::vault::Vault for Vault {
    async fn resolve(&self, entries: Vec<Entry>) -> Result<Vec<Resolution>, Error> {
        use hot::Step;
        let mut steps = Vec::with_capacity(entries.len());
        for entry in &entries {
            steps.push(hot::from_cache(&self.shared, entry)?);
        }
        let mut entries = entries;
        if steps.iter().any(|step| matches!(step, Step::Read)) {
            (entries, steps) = self
                .read(move |db| {
                    hot::read_all(db, &entries, &mut steps)?;
                    Ok((entries, steps))
                })
                .await?;
        }
        if steps.iter().any(|step| matches!(step, Step::Write)) {
            hot::follow_order(&self.shared, &entries, &mut steps);
            steps = self
                .write(move |txn| {
                    for (entry, step) in entries.iter().zip(&mut steps) {
                        match step {
                            Step::Done(resolution, first) => hot::settle_in(txn, resolution, first)?,
                            _ => *step = Step::Done(change::resolve(txn, entry)?, hot::First::new()),
                        }
                    }
                    Ok(steps)
                })
                .await?;
        }
        let mut resolutions = Vec::with_capacity(steps.len());
        for step in steps {
            let Step::Done(mut resolution, mut first) = step else {
                return Err(seal::corrupt("an entry was left undecided"));
            };
            hot::settle(&self.shared, &mut resolution, &mut first);
            resolutions.push(resolution);
        }
        self.relieve().await?;
        Ok(resolutions)
    }

    async fn holder_of(&self, kind: HolderKind, name: &str) -> Result<Arc<Holder>, Error> {
        let place = marks::place_of_name(kind, name).ok_or(Error::NotFound)?;
        if let Some(Slot::Holder(holder)) = self.shared.cache.get(&place) {
            return Ok(holder);
        }
        self.write(move |txn| admin::holder_of(txn, kind, place)).await
    }

    async fn holder(&self, subject: SubjectId) -> Result<Arc<Holder>, Error> {
        if let Some(Slot::Holder(holder)) = self.shared.cache.get(&marks::place_of_subject(subject)) {
            return Ok(holder);
        }
        self.read(move |db| db.holder(subject)).await
    }

    async fn canonical(&self, subject: SubjectId) -> Result<SubjectId, Error> {
        self.read(move |db| {
            let n = db.canonical_row(db.find_subject(subject)?)?;
            Ok(db.body(n)?.subject)
        })
        .await
    }

    async fn candidates(
        &self,
        identifier: &Identifier,
        at: Option<Timestamp>,
    ) -> Result<Vec<Candidate>, Error> {
        let identifier = identifier.clone();
        self.read(move |db| admin::candidates(db, &identifier, at)).await
    }

    async fn identifiers(&self, subject: SubjectId) -> Result<Vec<(Identifier, Candidate)>, Error> {
        self.read(move |db| admin::identifiers(db, subject)).await
    }

    async fn link(
        &self,
        subject: SubjectId,
        identifier: &Identifier,
        from: Timestamp,
        to: Option<Timestamp>,
    ) -> Result<Marked, Error> {
        let identifier = identifier.clone();
        self.write(move |txn| admin::link(txn, subject, &identifier, from, to)).await
    }

    async fn unlink(
        &self,
        subject: SubjectId,
        identifier: &Identifier,
        to: Timestamp,
    ) -> Result<Marked, Error> {
        let identifier = identifier.clone();
        self.write(move |txn| admin::unlink(txn, subject, &identifier, to)).await
    }

    async fn merge(&self, kept: SubjectId, gone: SubjectId) -> Result<(), Error> {
        self.write(move |txn| admin::merge(txn, kept, gone)).await
    }

    async fn split(&self, kept: SubjectId, gone: SubjectId) -> Result<(), Error> {
        self.write(move |txn| admin::split(txn, kept, gone)).await
    }

    async fn confirm(&self, subjects: &[SubjectId]) -> Result<(), Error> {
        self.shared.lazy().confirmed.extend(subjects);
        self.relieve().await
    }

    async fn pending(&self, before: Timestamp) -> Result<Vec<SubjectId>, Error> {
        // By the writer, which first writes the confirmations that wait.
        self.write(move |txn| admin::pending(txn, before)).await
    }

    async fn destroy(&self, subjects: &[SubjectId]) -> Result<(), Error> {
        let subjects = subjects.to_vec();
        self.write(move |txn| subjects.iter().try_for_each(|subject| admin::destroy(txn, *subject))).await?;
        self.truncate().await
    }

    async fn bury(&self, tombs: &[Digest]) -> Result<u64, Error> {
        let tombs: std::collections::HashSet<Digest> = tombs.iter().copied().collect();
        let buried = self.write(move |txn| admin::bury(txn, &tombs)).await?;
        if buried > 0 {
            self.truncate().await?;
        }
        Ok(buried)
    }

    fn marks(&self, identifier: &Identifier) -> Vec<Mark> {
        let active = self.shared.marker.mark(identifier);
        let older = self.shared.marker.older(identifier);
        std::iter::once(active).chain(older).map(|marking| marking.mark).collect()
    }

    async fn status(&self) -> Result<Status, Error> {
        // The writer adds what it has not written yet. Where it cannot write, because the disk is full,
        // what was written answers: an operator asks exactly then.
        match self.write(|txn| admin::status(&txn.db)).await {
            Err(Error::Unavailable { .. }) => self.read(|db| admin::status(db)).await,
            status => status,
        }
    }
}
