//! Locks that hold in the whole cluster: who leads, and who is in a critical section.
//!
//! Promises: of all processes at most one holds a lock at the server. A leader asks the server every second whether
//! it still is one, and takes itself for none as soon as the connection is lost or the newest answered question is
//! five seconds old, by a clock that nobody sets. A server drops the session of a holder who is cut off after about six
//! seconds, and that of one who died at once.
//! Does not promise that what a holder began has reached everybody when the lock passes on: a process that is
//! suspended between looking and acting acts late, and that clock may stand still with it. So whatever must not
//! happen twice is fenced (`super::fence`), and what is written under a lock is written through the guard's own
//! connection, which is lost with the lock.
//! A crash loses the lock, which is what it is for.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{AbortHandle, JoinHandle};

use super::{Connection, Database, Error};
use crate::clock::Stopwatch;

/// How often a leader asks, and how often others try.
const ASK: Duration = Duration::from_secs(1);

/// How old the newest answered question of a leader may be.
const LEASE: Duration = Duration::from_secs(5);

/// Sessions of holders who are cut off end at the server after 3 + 3 × 1 seconds, later than they stop to lead.
const DROPPED_SOON: &str = "SET tcp_keepalives_idle = 3; SET tcp_keepalives_interval = 1; \
                            SET tcp_keepalives_count = 3; SET tcp_user_timeout = 6000";

/// What a lock is about. Locks of different schemas have nothing to do with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name(pub &'static str);

impl Name {
    fn key(self, database: &Database) -> i64 {
        let text = format!("custody lock {}\n{}", database.schema(), self.0);
        let digest: [u8; 32] = Sha256::digest(text).into();
        let (first, _) = digest.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        i64::from_be_bytes(*first)
    }
}

/// The named locks of a database.
#[derive(Clone)]
pub struct Locks {
    database: Arc<Database>,
    /// Half of the pool's connections: whoever is in a critical section needs some to work with.
    guards: Arc<Semaphore>,
}

impl Locks {
    /// One for each `Database` of a process.
    pub fn new(database: Arc<Database>) -> Locks {
        let guards = Arc::new(Semaphore::new((database.options.connections / 2).max(1)));
        Locks { database, guards }
    }

    /// Waits until nobody holds it exclusively, but no longer than `patience`.
    pub async fn share(&self, name: Name) -> Result<Guard, Error> {
        self.take(name, "SELECT pg_advisory_lock_shared($1)").await
    }

    /// Waits until nobody else holds it, but no longer than `patience`. Whoever asks to share it meanwhile waits behind.
    pub async fn exclusive(&self, name: Name) -> Result<Guard, Error> {
        self.take(name, "SELECT pg_advisory_lock($1)").await
    }

    async fn take(&self, name: Name, lock: &str) -> Result<Guard, Error> {
        let waiting =
            tokio::time::timeout(self.database.patience(), Arc::clone(&self.guards).acquire_owned());
        let Ok(Ok(permit)) = waiting.await else {
            return Err(Error::unavailable("too many critical sections at once"));
        };
        let connection = self.database.get().await?;
        // Made before it is locked: given up half-way, it does not go back to the pool with a lock on it.
        let mut guard = Guard { connection: Some(connection), clean: false, _permit: permit };
        let key = name.key(&self.database);
        if let Some(connection) = &guard.connection {
            let locked = async {
                let statement = connection.prepare_cached(lock).await?;
                connection.query_one(&statement, &[&key]).await
            };
            self.database.within(locked).await.map_err(Error::before_effect)?;
        }
        guard.clean = true;
        Ok(guard)
    }

    /// Stands for election from now on, until the answer is dropped.
    pub fn leader(&self, name: Name) -> Leader {
        let confirmed = Arc::new(Confirmed { base: Stopwatch::start(), until_ms: AtomicU64::new(0) });
        let (database, key) = (Arc::clone(&self.database), name.key(&self.database));
        let task = tokio::spawn({
            let confirmed = Arc::clone(&confirmed);
            async move {
                loop {
                    if let Err(why) = stand(&database, key, &confirmed).await {
                        tracing::debug!(error = %why, lock = name.0, "does not lead");
                    }
                    confirmed.lost();
                    tokio::time::sleep(ASK).await;
                }
            }
        });
        Leader { confirmed, task }
    }
}

impl fmt::Debug for Locks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Locks").field(&self.database).finish()
    }
}

/// A critical section. It ends when this is dropped.
pub struct Guard {
    connection: Option<Connection>,
    /// Whether the server is known to have answered last.
    clean: bool,
    _permit: OwnedSemaphorePermit,
}

impl Guard {
    /// Whether the lock was not seen to be lost. What must not happen without it is done through `connection`.
    pub fn held(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| !connection.is_closed())
    }

    /// The connection that holds the lock: what is done through it is not done without the lock.
    pub fn connection(&mut self) -> &mut Connection {
        // Taken only when dropped.
        self.connection.as_mut().expect("a guard has its connection while it lives")
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("held", &self.held()).finish()
    }
}

impl Drop for Guard {
    /// The connection goes back only when it holds nothing; otherwise it is closed, which ends the lock too.
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let runtime = tokio::runtime::Handle::try_current();
        let (true, Ok(runtime)) = (self.clean && !connection.is_closed(), runtime) else {
            drop(Connection::take(connection));
            return;
        };
        runtime.spawn(async move {
            let unlock = connection.batch_execute("SELECT pg_advisory_unlock_all()");
            if !matches!(tokio::time::timeout(LEASE, unlock).await, Ok(Ok(()))) {
                drop(Connection::take(connection));
            }
        });
    }
}

/// A candidate, who may lead.
pub struct Leader {
    confirmed: Arc<Confirmed>,
    task: JoinHandle<()>,
}

impl Leader {
    /// Whether this process leads. Asks nobody, so it may be called as often as one likes.
    pub fn leads(&self) -> bool {
        self.confirmed.now()
    }
}

impl fmt::Debug for Leader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leader").field("leads", &self.leads()).finish()
    }
}

impl Drop for Leader {
    /// The connection ends with the task, and the lock with the connection.
    fn drop(&mut self) {
        self.confirmed.lost();
        self.task.abort();
    }
}

/// Until when the newest answer holds. Counted from when it was asked for: later the server may have thought otherwise.
struct Confirmed {
    base: Stopwatch,
    until_ms: AtomicU64,
}

impl Confirmed {
    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn asked_at(&self, asked_ms: u64) {
        self.until_ms.store(asked_ms + LEASE.as_millis() as u64, Ordering::SeqCst);
    }

    fn lost(&self) {
        self.until_ms.store(0, Ordering::SeqCst);
    }

    fn now(&self) -> bool {
        self.elapsed_ms() < self.until_ms.load(Ordering::SeqCst)
    }
}

/// Tries to lead, and leads until the connection is lost.
async fn stand(database: &Database, key: i64, confirmed: &Confirmed) -> Result<(), Error> {
    let (client, mut connection) = database.connect_alone().await?;
    // Whatever ends this ends the connection at once, also when nobody answers.
    let _ending = Ending(connection.abort_handle());
    ask(client.batch_execute(DROPPED_SOON)).await?;
    let mut leads = false;
    loop {
        let asked_ms = confirmed.elapsed_ms();
        if leads {
            ask(client.batch_execute("")).await?;
        } else {
            let lock = "SELECT pg_try_advisory_lock($1)";
            leads = ask(client.query_one(lock, &[&key])).await?.get(0);
        }
        if leads {
            confirmed.asked_at(asked_ms);
        }
        tokio::select! {
            () = tokio::time::sleep(ASK) => {}
            _ = &mut connection => return Err(Error::unavailable("the connection was lost")),
        }
    }
}

async fn ask<T>(answer: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Error> {
    match tokio::time::timeout(LEASE, answer).await {
        Ok(answer) => answer.map_err(Error::from),
        Err(_) => Err(Error::unanswered("the server did not confirm who leads")),
    }
}

struct Ending(AbortHandle);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests;
