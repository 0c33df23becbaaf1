//! What the nodes that share the database tell each other: what of what they remember is no longer so.
//!
//! Whoever changes what others may remember leaves a row in `changes`, in the same transaction. Every node reads
//! these rows, when it is called and otherwise four times a second, forgets what they name, and says in `nodes`
//! how far it has read. What it remembers may be used for the length of a lease from the beginning of the last
//! reading that went well; so a node that is cut off, or stands still, ends with what it remembers, whatever
//! the others do. Leases are measured on the steps of each machine, never by its clock.
//!
//! A crash leaves a row of a node that is not there: whoever waits for it waits for the length of a lease.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_postgres::{AsyncMessage, Client, Row};
use uuid::Uuid;

use crate::clock::Stopwatch;
use crate::postgres::{Database, Error};
use crate::vault::sql::cache::Lease;
use crate::vault::{Barrier, sql};

/// How long what is remembered may be used without having heard of the others.
pub(super) const LEASE: Duration = Duration::from_secs(5);
/// How long those who use what was forgotten are waited for; whoever asked waits no longer than the lease.
const DONE: Duration = Duration::from_secs(4);
/// For what the machine's steps are not exact about.
const MARGIN: Duration = Duration::from_millis(250);
/// Readings, when nobody calls.
const BETWEEN: Duration = Duration::from_millis(250);
/// While the database is not there.
const AGAIN: Duration = Duration::from_millis(500);
/// Rows of nodes are of use to nobody after this; those of changes sooner.
const KEPT_MS: i64 = 600_000;
/// The server's clock, which is the same for all nodes.
const NOW_MS: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

pub(super) struct Others {
    node: Uuid,
    channel: String,
    lease: Arc<Lease>,
    /// Held while what others changed is forgotten, and while the writer says what it has committed.
    turn: Mutex<()>,
    /// Changes of others that were applied.
    applied: AtomicU64,
    /// The last change of this node, and how long ago that was committed.
    last: Mutex<Option<(i64, Stopwatch)>>,
    /// Somebody writes under a look-up key that this node does not look under.
    strange: AtomicBool,
    ended: AtomicBool,
    called: Notify,
    /// Passed before this node says how far it has read.
    barrier: OnceLock<Barrier>,
}

impl Others {
    pub fn new(key: i64, lease: Arc<Lease>) -> Self {
        Others {
            node: Uuid::now_v7(),
            channel: format!("custody_vault_{:016x}", key as u64),
            lease,
            turn: Mutex::default(),
            applied: AtomicU64::new(0),
            last: Mutex::default(),
            strange: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            called: Notify::new(),
            barrier: OnceLock::new(),
        }
    }

    /// To be asked before a transaction begins, for `is_newest`.
    pub fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    pub fn has_strange_keys(&self) -> bool {
        self.strange.load(Ordering::Acquire)
    }

    pub fn note_strange_keys(&self, strange: bool) {
        self.strange.store(strange, Ordering::Release);
    }

    /// Nothing is forgotten for others' sake meanwhile.
    pub fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A row that tells the others, to be written in the transaction that changes what they may remember.
    pub fn tell(&self) -> String {
        format!("INSERT INTO changes (at_ms, places) VALUES ({NOW_MS}, $1) RETURNING seq")
    }

    /// Calls the others when the transaction is committed.
    pub fn call(&self) -> String {
        format!("NOTIFY {}", self.channel)
    }

    /// That row was committed.
    pub fn told(&self, seq: i64) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((seq, Stopwatch::start()));
    }

    pub fn pass(&self, barrier: Barrier) {
        // There is one house to a vault; a second barrier would be of the same.
        let _there = self.barrier.set(barrier);
    }

    /// Those who were using what was just forgotten are done, or take too long.
    async fn passed(&self) {
        if let Some(barrier) = self.barrier.get() {
            let _late = tokio::time::timeout(DONE, barrier()).await;
        }
    }

    /// Returns when nobody else may use any more what this node's last change ended.
    pub async fn forgotten(&self, database: &Database) {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((seq, since)) = last else { return };
        while since.elapsed() < LEASE + MARGIN {
            // Without the database there is only the lease to wait for.
            if matches!(self.behind(database, seq).await, Ok(0)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// How many others may remember what a change ended.
    async fn behind(&self, database: &Database, seq: i64) -> Result<i64, Error> {
        let connection = database.get().await?;
        let lease = (LEASE + MARGIN).as_millis();
        let sql = format!(
            "SELECT count(*) FROM nodes WHERE seen < $1 AND node <> $2 AND at_ms > {NOW_MS} - {lease}"
        );
        let row = database.within(connection.query_one(&sql, &[&seq, &self.node])).await?;
        Ok(row.get(0))
    }
}

/// The thread that reads what others changed.
pub(super) struct Reading {
    others: Arc<Others>,
    thread: Option<JoinHandle<()>>,
}

impl Reading {
    pub fn begin(
        others: Arc<Others>,
        database: Arc<Database>,
        shared: Arc<sql::Shared>,
    ) -> std::io::Result<Reading> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let theirs = Arc::clone(&others);
        let thread = std::thread::Builder::new()
            .name("vault-changes".into())
            .spawn(move || runtime.block_on(read_on(&theirs, &database, &shared)))?;
        Ok(Reading { others, thread: Some(thread) })
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.others.ended.store(true, Ordering::Release);
        self.others.called.notify_one();
        if let Some(thread) = self.thread.take() {
            // It panics only if it is broken, and then there is nobody here to tell.
            let _ = thread.join();
        }
    }
}

async fn read_on(others: &Arc<Others>, database: &Database, shared: &sql::Shared) {
    // Where reading began. What was written before cannot have been remembered.
    let mut seen = None;
    while !others.ended.load(Ordering::Acquire) {
        if let Err(error) = read_while_there(others, database, shared, &mut seen).await {
            tracing::warn!(%error, "the vault cannot read what other nodes change");
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = others.called.notified() => {}
        }
    }
}

async fn read_while_there(
    others: &Arc<Others>,
    database: &Database,
    shared: &sql::Shared,
    seen: &mut Option<i64>,
) -> Result<(), Error> {
    let theirs = Arc::clone(others);
    let heard = move |message| {
        if matches!(message, AsyncMessage::Notification(_)) {
            theirs.called.notify_one();
        }
    };
    let (client, _driven) = database.connect_hearing(heard).await?;
    // A node that has to say again how far it has read loses nothing by a crash of the server.
    let begin = format!("SET synchronous_commit = off; LISTEN {}", others.channel);
    database.within(client.batch_execute(&begin)).await?;
    let mut tidied = Stopwatch::start();
    while !others.ended.load(Ordering::Acquire) {
        read_once(others, database, shared, &client, seen).await?;
        if tidied.elapsed() > Duration::from_secs(60) {
            tidied = Stopwatch::start();
            tidy(database, &client).await?;
        }
        tokio::select! {
            () = tokio::time::sleep(BETWEEN) => {}
            () = others.called.notified() => {}
        }
    }
    others.lease.end();
    database.within(client.execute("DELETE FROM nodes WHERE node = $1", &[&others.node])).await?;
    Ok(())
}

async fn read_once(
    others: &Others,
    database: &Database,
    shared: &sql::Shared,
    client: &Client,
    seen: &mut Option<i64>,
) -> Result<(), Error> {
    let from = others.lease.now();
    let ran = others.lease.runs();
    let newest = match *seen {
        None => {
            let sql = "SELECT coalesce(max(seq), 0) FROM changes";
            database.within(client.query_one(sql, &[])).await?.get(0)
        }
        Some(seen) => {
            let sql = "SELECT seq, places FROM changes WHERE seq > $1 ORDER BY seq";
            let rows = database.within(client.query(sql, &[&seen])).await?;
            forget(others, shared, &rows);
            if !rows.is_empty() {
                others.passed().await;
            }
            rows.last().map_or(seen, |row| row.get(0))
        }
    };
    let noted = database.within(client.query(super::keys::NOTED, &[])).await?;
    let strange = !super::keys::has_all(shared, noted.iter().map(|row| row.get::<_, &str>(0)));
    others.note_strange_keys(strange);
    if strange {
        others.lease.end();
    }
    let sql = format!(
        "INSERT INTO nodes (node, seen, at_ms) VALUES ($1, $2, {NOW_MS})
         ON CONFLICT (node) DO UPDATE SET seen = excluded.seen, at_ms = excluded.at_ms"
    );
    database.within(client.execute(&sql, &[&others.node, &newest])).await?;
    if !ran {
        // Rows may have been deleted since it ran.
        let _turn = others.turn();
        shared.cache.clear();
        others.applied.fetch_add(1, Ordering::AcqRel);
    }
    *seen = Some(newest);
    if !strange {
        others.lease.renew(from, LEASE);
    }
    Ok(())
}

fn forget(others: &Others, shared: &sql::Shared, rows: &[Row]) {
    let _turn = others.turn();
    for row in rows {
        for place in row.get::<_, Vec<&[u8]>>(1) {
            if let Ok(place) = place.try_into() {
                shared.cache.put(place, None);
            }
        }
        others.applied.fetch_add(1, Ordering::AcqRel);
    }
}

async fn tidy(database: &Database, client: &Client) -> Result<(), Error> {
    forget_changes(database, client).await?;
    let sql = format!("DELETE FROM nodes WHERE at_ms < {NOW_MS} - {KEPT_MS}");
    database.within(client.execute(&sql, &[])).await?;
    Ok(())
}

/// Rows that name places of identifiers. Whoever's lease runs has read what is older than a lease; whoever's
/// does not forgets everything.
pub(super) async fn forget_changes(database: &Database, client: &Client) -> Result<(), Error> {
    let lease = 2 * LEASE.as_millis();
    let sql = format!("DELETE FROM changes WHERE at_ms < {NOW_MS} - {lease}");
    database.within(client.execute(&sql, &[])).await?;
    Ok(())
}
