//! The one thread of this node that writes. It takes all requests that wait, decides and executes them in one
//! transaction, commits once, and answers all.
//!
//! Promises: one transaction of all nodes at a time decides, by a lock of the server that ends with the
//! transaction, so that two nodes who meet a new person at once end with one. Where the answer to a commit is
//! lost nobody is told that it took effect; whoever asks again gets the same people, because it did, or makes
//! them. A crash loses what was not answered.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_postgres::Client;

use super::keys;
use super::others::Others;
use super::session::{Prepared, Session};
use crate::clock::Stopwatch;
use crate::postgres::Database;
use crate::vault::Error;
use crate::vault::sql::marks::Place;
use crate::vault::sql::txn::{self, Effects, Job, Lazy, Txn, describe};
use crate::vault::sql::{Shared, Sql};

/// Requests of one commit at most, so that nobody waits for a group without end.
const GROUP: usize = 256;
/// What may wait unsynced (confirmations, associations) is written at the latest after this.
const IDLE: Duration = Duration::from_secs(1);
/// Between two tries to reach the server, at first and at most.
const SOON: Duration = Duration::from_millis(50);
const LATER: Duration = Duration::from_secs(2);

pub(super) struct Writer {
    pub database: Arc<Database>,
    pub shared: Arc<Shared>,
    pub others: Arc<Others>,
    pub runtime: Runtime,
    /// What the nodes of one vault lock.
    pub key: i64,
    pub line: Option<Line>,
    /// Since when it was tried in vain, and how long not to try again.
    pub failed: Option<(Stopwatch, Duration)>,
}

/// The connection that writes.
pub(super) struct Line {
    client: Client,
    prepared: Prepared,
}

/// A transaction that was committed.
struct Committed {
    effects: Effects,
    published: Vec<Place>,
    /// The row that tells the others, if there was something to tell.
    told: Option<i64>,
    /// What had been heard of the others before it began.
    applied: u64,
}

impl Writer {
    /// Runs until the vault is dropped.
    pub fn run(mut self, requests: &Receiver<Box<dyn Job>>) {
        loop {
            let first = match requests.recv_timeout(IDLE) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) if self.shared.lazy().len() == 0 => continue,
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            // Whoever is about to ask does so first, and shares the commit.
            std::thread::yield_now();
            let mut jobs: Vec<_> = first.into_iter().chain(requests.try_iter().take(GROUP)).collect();
            let failed = self.commit(&mut jobs).err().map(|error| describe(&error));
            for job in jobs {
                job.answer(failed.clone());
            }
        }
        // What a crash may lose, an orderly end does not. Nobody is left to hear of a failure.
        if self.shared.lazy().len() > 0 {
            let _ = self.commit(&mut []);
        }
    }

    fn commit(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), Error> {
        let (shared, others) = (Arc::clone(&self.shared), Arc::clone(&self.others));
        let transact = |lazy: &Lazy| self.transact(jobs, lazy);
        txn::with_lazy(&shared, transact, |committed| {
            let Committed { effects, published, told, applied } = committed;
            let _turn = others.turn();
            // Another node may have changed again what this one has just committed, and been heard first.
            let newest = others.applied() == applied;
            for (place, slot) in effects.slots {
                shared.cache.put(place, slot.filter(|_| newest));
            }
            for place in effects.touched.into_iter().chain(published) {
                shared.cache.put(place, None);
            }
            shared.lazy().writing.clear();
            if let Some(seq) = told {
                others.told(seq);
            }
        })
    }

    fn transact(&mut self, jobs: &mut [Box<dyn Job>], lazy: &Lazy) -> Result<Committed, Error> {
        let applied = self.others.applied();
        let line = self.begin()?;
        let session = Session::own(&line.client, &line.prepared, &self.runtime, self.database.patience());
        match self.work(&session, jobs, lazy) {
            Ok((effects, published, told)) => match session.batch("COMMIT") {
                Ok(()) => {
                    self.line = Some(line);
                    Ok(Committed { effects, published, told, applied })
                }
                Err(error) => {
                    // It may have taken effect: nothing of before may be used.
                    self.shared.cache.clear();
                    Err(error)
                }
            },
            Err(error) => {
                // A connection that cannot even do this ends here.
                if session.roll_back() {
                    self.line = Some(line);
                }
                Err(error)
            }
        }
    }

    fn work(
        &self,
        session: &Session<'_>,
        jobs: &mut [Box<dyn Job>],
        lazy: &Lazy,
    ) -> Result<(Effects, Vec<Place>, Option<i64>), Error> {
        keys::follow(session, &self.shared)?;
        self.others.note_strange_keys(false);
        let before = self.shared.marker();
        let txn = txn::run(session, &self.shared, jobs, lazy)?;
        session.settle()?;
        if !txn.overwritten.is_empty() {
            let rows: Vec<i64> = txn.overwritten.iter().copied().collect();
            let sql = "INSERT INTO purge (part)
                       SELECT DISTINCT tableoid::regclass::text FROM holders WHERE n = ANY($1)
                       ON CONFLICT (part) DO UPDATE SET again = excluded.again";
            session.ask(session.client().execute(sql, &[&rows]))?;
        }
        let published = published(&txn)?;
        let mut told = None;
        // Others have to take the look-up keys that this one has taken, or stop.
        if !published.is_empty() || !Arc::ptr_eq(&before, &self.shared.marker()) {
            let places: Vec<&[u8]> = published.iter().map(|place| &place[..]).collect();
            let row = session.ask(session.client().query_one(&self.others.tell(), &[&places]))?;
            told = Some(row.get(0));
            session.batch(&self.others.call())?;
        }
        let Txn { touched, holders: _, slots, .. } = txn;
        Ok((Effects { slots, touched, ..Effects::default() }, published, told))
    }

    /// A connection in a transaction in which nobody else decides. It is this writer's again when it is put
    /// back; one that is not is closed, with its transaction.
    fn begin(&mut self) -> Result<Line, Error> {
        let begin = format!("BEGIN; SELECT pg_advisory_xact_lock({})", self.key);
        if let Some(line) = self.line.take() {
            let session = Session::own(&line.client, &line.prepared, &self.runtime, self.database.patience());
            match session.batch(&begin) {
                Ok(()) => return Ok(line),
                // The server was away since it was asked last.
                Err(_) if session.is_lost() && line.client.is_closed() => {}
                Err(error) => return Err(error),
            }
        }
        if self.failed.as_ref().is_some_and(|(since, pause)| since.elapsed() < *pause) {
            return Err(Error::Unavailable { reason: "the database cannot be reached", source: None });
        }
        let connected = self.runtime.block_on(self.database.connect_alone());
        let (client, _driven) = match connected {
            Ok(connected) => connected,
            Err(error) => {
                let pause = self.failed.map_or(SOON, |(_, pause)| (pause * 2).min(LATER));
                self.failed = Some((Stopwatch::start(), pause));
                return Err(error.into());
            }
        };
        self.failed = None;
        let line = Line { client, prepared: Prepared::default() };
        let patience = self.database.patience();
        let session = Session::own(&line.client, &line.prepared, &self.runtime, patience);
        // A node that stands still in a transaction holds up all others.
        let limit = format!("SET idle_in_transaction_session_timeout = {}", patience.as_millis());
        session.batch(&limit)?;
        session.batch(&begin)?;
        Ok(line)
    }
}

/// What others may remember that is no longer so.
fn published(txn: &Txn<'_>) -> Result<Vec<Place>, Error> {
    let mut places = txn.published.clone();
    for n in &txn.holders {
        for n in txn.db.with_merged(*n)? {
            if !txn.created.contains(&n) {
                places.extend(txn.db.places_of(n)?);
            }
        }
    }
    Ok(places.into_iter().collect())
}
