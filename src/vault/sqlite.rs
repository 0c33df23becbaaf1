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

mod check;
mod mirror;
mod schema;
mod snapshot;
mod store;
mod sums;
mod writer;

#[cfg(test)]
pub(crate) mod harm;
#[cfg(test)]
mod mirror_tests;
#[cfg(test)]
mod model;
#[cfg(test)]
mod rotate_tests;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};
use tokio::sync::{Semaphore, oneshot};

use crate::clock::Clock;
use crate::mirror::Standing;
use crate::vault::Error;
use crate::vault::keyring::Keyring;
use crate::vault::sql::cache::Cache;
use crate::vault::sql::port::Store;
use crate::vault::sql::rows::Db;
use crate::vault::sql::{self, admin, closed, hot, rotate};

use mirror::{Copy, Mirror};
pub use snapshot::check_copy;
use writer::Request;

/// The name of the file in the vault's directory.
pub const FILE: &str = "vault.sqlite";
/// Requests that may wait for the writer; more wait outside.
const WAITING: usize = 1_024;

#[derive(Debug, Clone)]
pub struct Options {
    /// Identifiers, holders and associations kept in memory, all counted alike.
    pub cache_entries: usize,
    /// Connections that read.
    pub readers: usize,
    /// How long the writer waits for a reader that is in the way of a destruction, four times over,
    /// or for another process, before it gives up.
    pub patience: Duration,
    /// Where a second copy is kept.
    pub mirror: Option<crate::mirror::Options>,
}

impl Default for Options {
    fn default() -> Self {
        Options { cache_entries: 400_000, readers: 4, patience: Duration::from_secs(5), mirror: None }
    }
}

/// What the writer and the callers share.
pub(crate) struct Shared {
    sql: sql::Shared,
    readers: Readers,
    /// The check's long look at the whole file, which a destruction calls off.
    checking: Mutex<Option<rusqlite::InterruptHandle>>,
    /// Last, so that it goes after the connections.
    mirror: Option<Mirror>,
}

impl std::ops::Deref for Shared {
    type Target = sql::Shared;

    fn deref(&self) -> &sql::Shared {
        &self.sql
    }
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
            let outcome = read(&mut Db::reading(&*transaction, shared));
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
        let mirror = options.mirror.map(|options| Mirror::new(options, &path)).transpose().map_err(|e| {
            Error::Unavailable {
                reason: "the vault's file cannot be read",
                source: Some(anyhow::Error::new(e)),
            }
        })?;
        let shared = Arc::new(Shared {
            sql: sql::Shared::new(keyring, clock, Cache::new(options.cache_entries))?,
            readers: Readers { path, idle: Mutex::default(), keep: options.readers },
            checking: Mutex::default(),
            mirror,
        });
        hot::check_keys(&shared, &admin::counts(&connection)?)?;
        rotate::check_lookups(&connection, &shared.keyring)?;
        rotate::note_lookup(&connection, shared.marker().active())?;
        let copy = match &shared.mirror {
            Some(mirror) => open_copy(mirror, &connection)?,
            None => None,
        };
        let (requests, incoming) = mpsc::channel();
        let theirs = Arc::clone(&shared);
        let writer = std::thread::Builder::new()
            .name("vault-writer".into())
            .spawn(move || writer::run(connection, copy, &theirs, &incoming))
            .map_err(|e| Error::Unavailable {
                reason: "no thread for the writer",
                source: Some(anyhow::Error::new(e)),
            })?;
        let waiting = Arc::new(Semaphore::new(WAITING));
        Ok(Vault { shared, requests: Some(requests), waiting, writer: Some(writer) })
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

    /// How the second copy stands, where there is one.
    pub fn mirror(&self) -> Option<Standing> {
        self.shared.mirror.as_ref().map(|mirror| mirror.keeper.standing())
    }

    /// Sees whether the mirror is still there, and tries to bring a failing one up to date, while nothing is
    /// written. How it went is in its standing.
    pub async fn tend_mirror(&self) {
        if self.shared.mirror.is_some() {
            let (reply, answer) = oneshot::channel();
            if self.send(Request::TendMirror(reply)).is_ok() {
                // Nobody answers only if the vault is being closed.
                let _ = answer.await;
            }
        }
    }

    /// Reads vault and mirror and says how they differ. Nothing is written meanwhile.
    pub async fn compare_mirror(&self) -> Result<Vec<String>, Error> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Compare(reply))?;
        answer.await.map_err(|_| closed())?
    }

    fn send(&self, request: Request) -> Result<(), Error> {
        self.requests.as_ref().and_then(|requests| requests.send(request).ok()).ok_or_else(closed)
    }

    /// Key-encryption epochs that holders are still locked with, and how many. The others may be
    /// removed from the keyring.
    pub async fn epochs_in_use(&self) -> Result<Vec<(u32, u64)>, Error> {
        self.read(|db| rotate::locked_with(db)).await
    }

    /// Locks all holders with the active key-encryption key, in bounded batches between which
    /// others are served. `progress` is told how many rows were passed. What was locked with older
    /// keys is in no file when it returns. May be stopped and called again.
    pub async fn rewrap(&self, mut progress: impl FnMut(u64) + Send) -> Result<(), Error> {
        let (mut after, mut passed) = (0, 0);
        loop {
            let batch = self.write(move |txn| rotate::rewrap(txn, after)).await?;
            passed += batch.passed;
            progress(passed);
            if batch.last {
                return self.truncate().await;
            }
            after = batch.after;
        }
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

/// The mirror's copy, if it can be reached. A vault that its mirror contradicts is not opened.
fn open_copy(mirror: &Mirror, connection: &Connection) -> Result<Option<Copy>, Error> {
    match mirror.bring_up(connection) {
        Ok(copy) => Ok(Some(copy)),
        Err(refused) if refused.kind() == std::io::ErrorKind::InvalidData => Err(Error::Unavailable {
            reason: "the vault and its mirror do not belong together",
            source: Some(anyhow::Error::new(refused)),
        }),
        Err(error) => {
            mirror.keeper.fail(error.to_string());
            Ok(None)
        }
    }
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
