//! The one thread that writes. It takes all requests that wait, decides and executes them inside one
//! transaction, commits once, and answers all: so two callers who meet a new person at once end with
//! one, and a commit's sync is shared.

use std::sync::PoisonError;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::Shared;
use super::mirror::Copy;
use crate::vault::Error;
use crate::vault::sql::rows::Db;
use crate::vault::sql::txn::{self, Effects, Job, Lazy, describe};

/// Requests of one commit at most, so that nobody waits for a group without end.
const GROUP: usize = 256;
/// What may wait unsynced (confirmations, associations) is written at the latest after this.
const IDLE: Duration = Duration::from_secs(1);

/// What the writer is asked for.
pub(super) enum Request {
    Write(Box<dyn Job>),
    /// After everything before it: empty the write-ahead log.
    Truncate(oneshot::Sender<Result<(), Error>>),
    /// After everything before it: rewrite the whole file.
    Vacuum(oneshot::Sender<Result<(), Error>>),
    /// After everything before it: see whether the mirror is there, and make it the same again.
    TendMirror(oneshot::Sender<()>),
    /// After everything before it: say how the mirror differs.
    Compare(oneshot::Sender<Result<Vec<String>, Error>>),
}

/// Runs until the vault is dropped.
pub(super) fn run(
    mut connection: Connection,
    mut copy: Option<Copy>,
    shared: &Shared,
    requests: &Receiver<Request>,
) {
    loop {
        let first = match requests.recv_timeout(IDLE) {
            Ok(first) => Some(first),
            Err(RecvTimeoutError::Timeout) if shared.lazy().len() == 0 => continue,
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        // Whoever is about to ask does so first, and shares the commit.
        std::thread::yield_now();
        let mut jobs = Vec::new();
        let mut others = Vec::new();
        for request in first.into_iter().chain(requests.try_iter().take(GROUP)) {
            match request {
                Request::Write(job) => jobs.push(job),
                other => others.push(other),
            }
        }
        let outcome = commit_both(&mut connection, &mut copy, shared, &mut jobs);
        let failed = outcome.err().map(|error| describe(&error));
        for job in jobs {
            job.answer(failed.clone());
        }
        for request in others {
            serve(request, &connection, &mut copy, shared);
        }
    }
    // What a crash may lose, an orderly end does not. Nobody is left to hear of a failure.
    let _ = commit_both(&mut connection, &mut copy, shared, &mut []);
    // The file alone is then the vault: SQLite takes a flipped bit in the write-ahead log for its end,
    // and would forget what was committed behind it.
    let _ = truncate_both(&connection, &mut copy, shared);
}

/// A commit that the mirror has too, where it must.
fn commit_both(
    connection: &mut Connection,
    copy: &mut Option<Copy>,
    shared: &Shared,
    jobs: &mut [Box<dyn Job>],
) -> Result<(), Error> {
    let Some(mirror) = &shared.mirror else { return commit(connection, shared, jobs) };
    // Nothing is written that a mirror which must have everything would lack.
    mirror.also(copy, |_| Ok(()))?;
    mirror.commit(|| {
        commit(connection, shared, jobs)?;
        mirror.also(copy, |copy| copy.ship(connection))
    })
}

/// What is no write. Who does not wait any more needs no answer.
fn serve(request: Request, connection: &Connection, copy: &mut Option<Copy>, shared: &Shared) {
    match request {
        Request::Write(_) => {}
        Request::Truncate(reply) => {
            let _ = reply.send(truncate_both(connection, copy, shared));
        }
        Request::Vacuum(reply) => {
            let done = connection.execute_batch("VACUUM").map_err(Error::from);
            let _ = reply.send(done.and_then(|()| ship(connection, copy, shared)));
        }
        Request::TendMirror(reply) => {
            tend_mirror(connection, copy, shared);
            let _ = reply.send(());
        }
        Request::Compare(reply) => {
            let compared =
                truncate_both(connection, copy, shared).and_then(|()| match (&shared.mirror, copy) {
                    (Some(mirror), Some(copy)) => mirror.compare(copy).map_err(|source| Error::Unavailable {
                        reason: "the vault and its mirror cannot be compared",
                        source: Some(anyhow::Error::new(source)),
                    }),
                    _ => Ok(Vec::new()),
                });
            let _ = reply.send(compared);
        }
    }
}

fn ship(connection: &Connection, copy: &mut Option<Copy>, shared: &Shared) -> Result<(), Error> {
    let Some(mirror) = &shared.mirror else { return Ok(()) };
    mirror.also(copy, |copy| copy.ship(connection))
}

fn truncate_both(connection: &Connection, copy: &mut Option<Copy>, shared: &Shared) -> Result<(), Error> {
    shared.call_off_check();
    // What was committed must be in the mirror before it may be gone from here.
    let shipped = ship(connection, copy, shared);
    truncate_wal(connection)?;
    shipped?;
    shared.mirror.as_ref().map_or(Ok(()), |mirror| mirror.also(copy, Copy::truncate))
}

fn tend_mirror(connection: &Connection, copy: &mut Option<Copy>, shared: &Shared) {
    let Some(mirror) = &shared.mirror else { return };
    // Where nothing may go on without it, that is in its standing too.
    let _ = mirror.also(copy, |copy| copy.is_there());
    if copy.is_none() {
        shared.call_off_check();
        match mirror.bring_up(connection) {
            Ok(whole) => *copy = Some(whole),
            Err(error) => mirror.keeper.fail(error.to_string()),
        }
    }
}

/// One transaction. An error means that nothing of it was stored.
fn commit(connection: &mut Connection, shared: &Shared, jobs: &mut [Box<dyn Job>]) -> Result<(), Error> {
    let connection = &*connection;
    let transact = |lazy: &Lazy| transact(connection, shared, jobs, lazy);
    txn::with_lazy(shared, transact, |Effects { slots, touched, holders }| {
        for (place, slot) in slots {
            shared.cache.put(place, slot);
        }
        shared.lazy().writing.clear();
        // It is committed, so this cannot fail the requests; but the cache must not be stale.
        if txn::refresh(&Db::writing(connection, shared), touched, holders).is_err() {
            shared.cache.clear();
        }
    })
}

fn transact(
    connection: &Connection,
    shared: &Shared,
    jobs: &mut [Box<dyn Job>],
    lazy: &Lazy,
) -> Result<Effects, Error> {
    let behavior = rusqlite::TransactionBehavior::Immediate;
    let transaction = rusqlite::Transaction::new_unchecked(connection, behavior)?;
    let txn::Txn { touched, holders, slots, .. } = txn::run(&*transaction, shared, jobs, lazy)?;
    transaction.commit()?;
    Ok(Effects { slots, touched, holders })
}

/// Moves everything from the write-ahead log into the file and empties the log. Until it reports
/// that no reader was in the way, a destroyed key may still stand in either.
pub(super) fn truncate_wal(connection: &Connection) -> Result<(), Error> {
    // Each try waits for readers as long as the connection's busy timeout.
    for _ in 0..4 {
        let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        if busy == 0 {
            return Ok(());
        }
    }
    Err(Error::Unavailable { reason: "a reader keeps destroyed keys in the write-ahead log", source: None })
}

impl Shared {
    /// A check that reads the whole file would keep what was destroyed in the write-ahead log. It
    /// begins again.
    fn call_off_check(&self) {
        if let Some(handle) = &*self.checking.lock().unwrap_or_else(PoisonError::into_inner) {
            handle.interrupt();
        }
    }
}
