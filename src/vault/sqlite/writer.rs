//! The one thread that writes. It takes all requests that wait, decides and executes them inside one
//! transaction, commits once, and answers all: so two callers who meet a new person at once end with
//! one, and a commit's sync is shared.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Shared;
use super::cache::Slot;
use super::marks::{Place, place_of_subject};
use super::mirror::Copy;
use super::rows::{Db, SeenRow};
use crate::domain::id::SubjectId;
use crate::vault::{Error, Holder};

/// Requests of one commit at most, so that nobody waits for a group without end.
const GROUP: usize = 256;
/// What may wait unsynced (confirmations, associations) is written at the latest after this.
const IDLE: Duration = Duration::from_secs(1);

/// What can be written with the next commit: its loss in a crash is made good by the next event.
#[derive(Default)]
pub(super) struct Lazy {
    pub confirmed: HashSet<SubjectId>,
    /// First sightings, by the place of their pair.
    pub seen: HashMap<Place, SeenRow>,
    /// Pairs of the commit that is under way: no longer in `seen`, not yet for all to read.
    pub writing: HashSet<Place>,
}

impl Lazy {
    pub fn len(&self) -> usize {
        self.confirmed.len() + self.seen.len()
    }

    /// Whether a first sighting waits. The cache may have forgotten it meanwhile.
    pub fn has_seen(&self, pair: &Place) -> bool {
        self.seen.contains_key(pair) || self.writing.contains(pair)
    }
}

/// The transaction that a request works in.
pub(super) struct Txn<'a> {
    pub db: Db<'a>,
    /// Whose bindings changed: the cache is refreshed after the commit.
    pub touched: BTreeSet<Place>,
    /// Holders whose account, merge or existence changed, likewise with all their bindings.
    pub holders: BTreeSet<i64>,
    /// What is to be in the cache after the commit; `None` to forget.
    pub slots: Vec<(Place, Option<Slot>)>,
    /// Something changed that must not be lost.
    pub changed: bool,
    /// What is to be added to numbers in `meta`, once for all requests of a transaction.
    counts: BTreeMap<String, i64>,
}

impl Txn<'_> {
    pub fn remember(&mut self, holder: &Arc<Holder>) {
        self.slots.push((place_of_subject(holder.subject), Some(Slot::Holder(Arc::clone(holder)))));
    }

    /// Adds to a number in `meta`, if the request succeeds.
    pub fn count(&mut self, name: &str, by: i64) {
        *self.counts.entry(name.to_owned()).or_default() += by;
    }

    fn write_counts(&self, counts: &BTreeMap<String, i64>) -> Result<(), Error> {
        let sql = "INSERT INTO meta (name, value) VALUES (?1, ?2)
                   ON CONFLICT (name) DO UPDATE SET value = value + ?2";
        let mut add = self.db.connection.prepare_cached(sql)?;
        for (name, by) in counts.iter().filter(|(_, by)| **by != 0) {
            add.execute((name, by))?;
        }
        Ok(())
    }
}

/// A request with the way back to who asked.
pub(super) trait Job: Send {
    fn run(&mut self, txn: &mut Txn<'_>) -> bool;
    /// With the reason if the commit failed.
    fn answer(self: Box<Self>, failed: Option<String>);
}

pub(super) struct Task<T, F> {
    pub work: Option<F>,
    pub result: Option<Result<T, Error>>,
    pub reply: oneshot::Sender<Result<T, Error>>,
    /// Bounds how many wait.
    pub permit: OwnedSemaphorePermit,
}

impl<T: Send, F: FnOnce(&mut Txn<'_>) -> Result<T, Error> + Send> Job for Task<T, F> {
    fn run(&mut self, txn: &mut Txn<'_>) -> bool {
        self.result = self.work.take().map(|work| work(txn));
        matches!(self.result, Some(Ok(_)))
    }

    fn answer(self: Box<Self>, failed: Option<String>) {
        let result = match (failed, self.result) {
            (None, Some(result)) | (_, Some(result @ Err(_))) => result,
            (failed, _) => Err(Error::Unavailable {
                reason: "the vault could not commit",
                source: failed.map(anyhow::Error::msg),
            }),
        };
        drop(self.permit);
        // Who does not wait any more needs no answer.
        let _ = self.reply.send(result);
    }
}

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

fn describe(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// One transaction. An error means that nothing of it was stored.
fn commit(connection: &mut Connection, shared: &Shared, jobs: &mut [Box<dyn Job>]) -> Result<(), Error> {
    let lazy = take_lazy(shared);
    let outcome = transact(connection, shared, jobs, &lazy);
    match outcome {
        Ok(Effects { slots, touched, holders }) => {
            for (place, slot) in slots {
                shared.cache.put(place, slot);
            }
            shared.lazy().writing.clear();
            // It is committed, so this cannot fail the requests; but the cache must not be stale.
            if refresh(&Db::new(connection, shared), touched, holders).is_err() {
                shared.cache.clear();
            }
            Ok(())
        }
        Err(error) => {
            let mut waiting = shared.lazy();
            waiting.confirmed.extend(lazy.confirmed);
            waiting.seen.extend(lazy.seen);
            waiting.writing.clear();
            Err(error)
        }
    }
}

fn take_lazy(shared: &Shared) -> Lazy {
    let mut waiting = shared.lazy();
    let taken = std::mem::take(&mut *waiting);
    waiting.writing = taken.seen.keys().copied().collect();
    taken
}

/// What the cache has to learn after a commit.
#[derive(Default)]
struct Effects {
    slots: Vec<(Place, Option<Slot>)>,
    touched: BTreeSet<Place>,
    holders: BTreeSet<i64>,
}

fn transact(
    connection: &mut Connection,
    shared: &Shared,
    jobs: &mut [Box<dyn Job>],
    lazy: &Lazy,
) -> Result<Effects, Error> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let mut txn = Txn {
        db: Db::new(&transaction, shared),
        touched: BTreeSet::new(),
        holders: BTreeSet::new(),
        slots: Vec::new(),
        changed: false,
        counts: BTreeMap::new(),
    };
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    write_lazy(&txn, lazy)?;
    for job in jobs {
        transaction.execute_batch("SAVEPOINT request")?;
        let done = job.run(&mut txn);
        let counted = std::mem::take(&mut txn.counts);
        match done {
            true => counted.into_iter().for_each(|(name, by)| *counts.entry(name).or_default() += by),
            false => transaction.execute_batch("ROLLBACK TO request")?,
        }
        transaction.execute_batch("RELEASE request")?;
    }
    if txn.changed {
        *counts.entry("generation".to_owned()).or_default() += 1;
    }
    txn.write_counts(&counts)?;
    let Txn { touched, holders, slots, .. } = txn;
    transaction.commit()?;
    Ok(Effects { slots, touched, holders })
}

fn refresh(db: &Db<'_>, mut touched: BTreeSet<Place>, holders: BTreeSet<i64>) -> Result<(), Error> {
    for n in holders {
        for n in db.with_merged(n)? {
            touched.extend(db.places_of(n)?);
        }
    }
    let mut fresh = Db::new(db.connection, db.shared);
    touched.into_iter().try_for_each(|place| fresh.refresh(place))
}

fn write_lazy(txn: &Txn<'_>, lazy: &Lazy) -> Result<(), Error> {
    let connection = txn.db.connection;
    let mut forget = connection.prepare_cached("DELETE FROM pending WHERE n = ?1")?;
    for subject in &lazy.confirmed {
        if let Some(n) = txn.db.find(&place_of_subject(*subject))? {
            forget.execute([n])?;
        }
    }
    for row in lazy.seen.values() {
        // Who was destroyed meanwhile has no handle any more, and gets no row.
        if let Some(n) = txn.db.find(&place_of_subject(row.subject))? {
            insert_seen(txn, n, row)?;
        }
    }
    Ok(())
}

pub(super) fn insert_seen(txn: &Txn<'_>, n: i64, row: &SeenRow) -> Result<(), Error> {
    // It may have waited while another look-up key was activated; a row under the older one would come
    // after whoever moves them.
    let marker = &txn.db.marker;
    let place = if row.lookup == marker.active() { row.place } else { marker.mark(&row.identifier).place };
    let sql = "INSERT INTO seen (n, place, first_ms, kind, realm, normaliser, lookup, sealed)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
               ON CONFLICT DO UPDATE SET first_ms = min(first_ms, excluded.first_ms)";
    let identifier = &row.identifier;
    txn.db.connection.prepare_cached(sql)?.execute((
        n,
        place,
        row.first_ms,
        identifier.kind.as_str(),
        identifier.realm.as_ref().map(|realm| realm.as_str()),
        crate::domain::identity::NORMALISER,
        marker.active(),
        &row.sealed,
    ))?;
    Ok(())
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

    pub(super) fn lazy(&self) -> std::sync::MutexGuard<'_, Lazy> {
        self.lazy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
