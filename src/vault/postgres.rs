//! The vault in PostgreSQL, which several nodes share: one writing thread a node, a few readers, a bounded
//! cache with a lease.
//!
//! Promises: what `vault::Vault` promises, for all nodes together. One transaction of all nodes at a time decides
//! (`writer.rs`). What a node remembers is no longer used within five seconds after it ceased to be so, and mostly
//! within milliseconds (`others.rs`). A destroyed key is in no file of a table when `destroy` returns (`purge.rs`).
//! While the database is away, whoever is remembered is still answered for as long as the lease runs; everything
//! else fails within a bounded time, and goes on by itself when the database is back. Not promised, as in the
//! embedded vault: confirmations and associations of shared identifiers are written within a second, and a crash
//! before loses them.
//!
//! Beyond the tables' files the adapter cannot reach. The write-ahead log and its archive, replicas and base
//! backups hold wrapped keys as they were: until PostgreSQL has recycled that part of its log, the replica has
//! followed, the archive and the backup are deleted, or, for all of them at once, the key-encryption key of
//! that time is destroyed. That key is never in the database. A replication slot or a standby with
//! `hot_standby_feedback` that stands still keeps old rows from being removed, and then `destroy` fails and says so.

mod keys;
mod others;
mod purge;
mod schema;
mod session;
mod writer;

#[cfg(test)]
mod tests;

use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};

use crate::clock::Clock;
use crate::postgres::Database;
use crate::vault::check::{Cursor, Step};
use crate::vault::keyring::Keyring;
use crate::vault::sql::cache::{Cache, Lease};
use crate::vault::sql::check::{WHOLE, after, count, some};
use crate::vault::sql::port::Store;
use crate::vault::sql::rows::Db;
use crate::vault::sql::txn::{Job, Task, Txn};
use crate::vault::sql::{Shared, Sql, closed};
use crate::vault::{Barrier, Error};

use others::{Others, Reading};
use purge::Purge;
use session::Session;
use writer::Writer;

/// Requests that may wait for the writer; more wait outside.
const WAITING: usize = 1_024;

#[derive(Debug, Clone)]
pub struct Options {
    /// Identifiers, holders and associations kept in memory, all counted alike.
    pub cache_entries: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { cache_entries: 400_000 }
    }
}

/// See the module.
pub struct Vault {
    shared: Arc<Shared>,
    database: Arc<Database>,
    others: Arc<Others>,
    purge: Purge,
    /// `None` only while it is dropped.
    requests: Option<mpsc::Sender<Box<dyn Job>>>,
    waiting: Arc<Semaphore>,
    writer: Option<JoinHandle<()>>,
    /// Ends with the vault.
    _reading: Reading,
}

impl Vault {
    /// Opens the vault of a database's schema, or makes it there.
    ///
    /// # Errors
    /// `Keyring` if the keyring was made for another vault, has another fingerprint secret, or lacks a key that
    /// rows are locked or stand with; `Corrupt` if the tables are of another version; `Unavailable` if the
    /// database cannot be reached.
    pub async fn open(
        database: Arc<Database>,
        keyring: Arc<Keyring>,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<Self, Error> {
        database.migrate(&schema::MIGRATIONS).await?;
        let key = lock_key(database.schema());
        let lease = Arc::new(Lease::over());
        let cache = Cache::leased(options.cache_entries, Arc::clone(&lease));
        let shared = Arc::new(Shared::new(keyring, clock, cache)?);
        let theirs = Arc::clone(&shared);
        let begin = format!("BEGIN; SELECT pg_advisory_xact_lock({key})");
        blocking(&database, begin, move |session| keys::check(session, &theirs)).await?;
        let others = Arc::new(Others::new(key, lease));
        let no_thread = |e| Error::Unavailable {
            reason: "no threads for the vault",
            source: Some(anyhow::Error::new(e)),
        };
        let reading = Reading::begin(Arc::clone(&others), Arc::clone(&database), Arc::clone(&shared));
        let reading = reading.map_err(no_thread)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(no_thread)?;
        let writer = Writer {
            database: Arc::clone(&database),
            shared: Arc::clone(&shared),
            others: Arc::clone(&others),
            runtime,
            key,
            line: None,
            failed: None,
        };
        let (requests, incoming) = mpsc::channel();
        let thread = std::thread::Builder::new().name("vault-writer".into());
        let writer = thread.spawn(move || writer.run(&incoming)).map_err(no_thread)?;
        Ok(Vault {
            shared,
            database,
            others,
            purge: Purge::default(),
            requests: Some(requests),
            waiting: Arc::new(Semaphore::new(WAITING)),
            writer: Some(writer),
            _reading: reading,
        })
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

impl Store for Vault {
    fn shared(&self) -> &Shared {
        &self.shared
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Txn<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = Arc::clone(&self.waiting).acquire_owned().await.map_err(|_| closed())?;
        let (reply, answer) = oneshot::channel();
        let task = Box::new(Task { work: Some(work), result: None, reply, permit });
        self.requests.as_ref().and_then(|requests| requests.send(task).ok()).ok_or_else(closed)?;
        answer.await.map_err(|_| closed())?
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Db<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        if self.others.has_strange_keys() {
            // The writer takes them, if the keyring has got them since.
            self.write(|_| Ok(())).await?;
        }
        let shared = Arc::clone(&self.shared);
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY".to_owned();
        blocking(&self.database, begin, move |session| read(&mut Db::reading(session, &shared))).await
    }

    /// A commit is where it has to be when it is answered.
    async fn settled(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn purged(&self) -> Result<(), Error> {
        Ok(self.purge.destroyed(&self.database).await?)
    }

    async fn rewritten(&self) -> Result<(), Error> {
        Ok(self.purge.all(&self.database).await?)
    }

    async fn renumbered(&self) -> Result<(), Error> {
        let anew = "SELECT setval('holders_n', (SELECT coalesce(max(n), 0) + 1 FROM holders), false);
                    SELECT setval(pg_get_serial_sequence('erased', 'rowid'),
                                  (SELECT coalesce(max(rowid), 0) + 1 FROM erased), false)";
        self.write(move |txn| txn.db.sql.batch(anew)).await
    }

    async fn checked(&self, from: Cursor) -> Result<Step, Error> {
        self.read(move |db| {
            if from.stage != WHOLE {
                return some(db, &from);
            }
            let mut step = Step { next: after(WHOLE), ..Step::default() };
            count(db, |_| false, &mut step.faults)?;
            Ok(step)
        })
        .await
    }

    fn behind(&self, barrier: Barrier) {
        self.others.pass(barrier);
    }

    async fn forgotten(&self) -> Result<(), Error> {
        self.others.forgotten(&self.database).await;
        Ok(())
    }
}

/// Runs `work` in one transaction, on a thread that may block.
async fn blocking<T: Send + 'static>(
    database: &Arc<Database>,
    begin: String,
    work: impl FnOnce(&Session<'_>) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (handle, patience) = (Handle::current(), database.patience());
    let connection = database.get().await?;
    let task = tokio::task::spawn_blocking(move || {
        let session = Session::pooled(&connection, &handle, patience);
        let outcome = session.batch(&begin).and_then(|()| work(&session));
        let outcome = outcome.and_then(|done| session.batch("COMMIT").map(|()| done));
        if outcome.is_err() && !session.roll_back() {
            // Nobody gets a connection with a transaction open.
            drop(deadpool_postgres::Object::take(connection));
        }
        outcome
    });
    task.await.map_err(|_| closed())?
}

/// What the nodes of one vault lock, so that one of them decides at a time.
fn lock_key(schema: &str) -> i64 {
    let hash: [u8; 32] =
        Sha256::new().chain_update(b"custody/v1/vault/lock/").chain_update(schema).finalize().into();
    i64::from_le_bytes(hash.as_chunks::<8>().0[0])
}
