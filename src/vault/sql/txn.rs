//! The writer's transaction: requests that share it, what they leave to be remembered, and what waits to be
//! written with the next one. When it is committed, and what that takes, the adapters know.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::cache::Slot;
use super::marks::{Place, place_of_subject};
use super::rows::{Db, SeenRow};
use super::{Shared, Sql, values};
use crate::domain::id::SubjectId;
use crate::vault::{Error, Holder};

/// What can be written with the next commit: its loss in a crash is made good by the next event.
#[derive(Default)]
pub struct Lazy {
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
pub struct Txn<'a> {
    pub db: Db<'a>,
    /// Whose bindings changed: the cache is refreshed after the commit.
    pub touched: BTreeSet<Place>,
    /// Holders whose account, merge or existence changed, likewise with all their bindings.
    pub holders: BTreeSet<i64>,
    /// What is to be in the cache after the commit; `None` to forget.
    pub slots: Vec<(Place, Option<Slot>)>,
    /// Places and handles of which others may remember what is no longer so, besides those of `holders`.
    pub published: BTreeSet<Place>,
    /// Holders that were made here: of them nobody can remember anything.
    pub created: BTreeSet<i64>,
    /// Holders of whose rows an earlier state may be nowhere any more.
    pub overwritten: BTreeSet<i64>,
    /// Something changed that must not be lost.
    pub changed: bool,
    /// What is to be added to numbers in `meta`, once for all requests of a transaction.
    counts: BTreeMap<String, i64>,
}

impl<'a> Txn<'a> {
    fn new(db: Db<'a>) -> Self {
        Txn {
            db,
            touched: BTreeSet::new(),
            holders: BTreeSet::new(),
            slots: Vec::new(),
            published: BTreeSet::new(),
            created: BTreeSet::new(),
            overwritten: BTreeSet::new(),
            changed: false,
            counts: BTreeMap::new(),
        }
    }

    pub fn remember(&mut self, holder: &Arc<Holder>) {
        self.slots.push((place_of_subject(holder.subject), Some(Slot::Holder(Arc::clone(holder)))));
    }

    /// A holder is no longer who it was.
    pub fn forget(&mut self, subject: SubjectId) {
        let place = place_of_subject(subject);
        self.slots.push((place, None));
        self.published.insert(place);
    }

    /// Adds to a number in `meta`, if the request succeeds.
    pub fn count(&mut self, name: &str, by: i64) {
        *self.counts.entry(name.to_owned()).or_default() += by;
    }

    fn write_counts(&self, counts: &BTreeMap<String, i64>) -> Result<(), Error> {
        let sql = "INSERT INTO meta (name, value) VALUES (?1, ?2)
                   ON CONFLICT (name) DO UPDATE SET value = meta.value + excluded.value";
        for (name, by) in counts.iter().filter(|(_, by)| **by != 0) {
            self.db.sql.run(sql, values![name.as_str(), *by])?;
        }
        Ok(())
    }
}

/// A request with the way back to who asked.
pub trait Job: Send {
    fn run(&mut self, txn: &mut Txn<'_>) -> bool;
    /// With the reason if the commit failed.
    fn answer(self: Box<Self>, failed: Option<String>);
}

pub struct Task<T, F> {
    pub work: Option<F>,
    pub result: Option<Result<T, Error>>,
    pub reply: oneshot::Sender<Result<T, Error>>,
    /// Bounds how many wait.
    pub permit: OwnedSemaphorePermit,
}

impl<T: Send, F: FnOnce(&mut Txn<'_>) -> Result<T, Error> + Send> Job for Task<T, F> {
    fn run(&mut self, txn: &mut Txn<'_>) -> bool {
        let settled = |done| txn.db.sql.settle().map(|()| done);
        self.result = self.work.take().map(|work| work(txn).and_then(settled));
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

fn take_lazy(shared: &Shared) -> Lazy {
    let mut waiting = shared.lazy();
    let taken = std::mem::take(&mut *waiting);
    waiting.writing = taken.seen.keys().copied().collect();
    taken
}

/// What the cache has to learn after a commit.
#[derive(Default)]
pub struct Effects {
    pub slots: Vec<(Place, Option<Slot>)>,
    pub touched: BTreeSet<Place>,
    pub holders: BTreeSet<i64>,
}

/// Runs requests in a transaction that is open, each as if it were alone: one that fails leaves nothing.
pub fn run<'a>(
    sql: &'a dyn Sql,
    shared: &'a Shared,
    jobs: &mut [Box<dyn Job>],
    lazy: &Lazy,
) -> Result<Txn<'a>, Error> {
    let mut txn = Txn::new(Db::writing(sql, shared));
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    write_lazy(&txn, lazy)?;
    for job in jobs {
        sql.run("SAVEPOINT request", &[])?;
        let done = job.run(&mut txn);
        let counted = std::mem::take(&mut txn.counts);
        match done {
            true => counted.into_iter().for_each(|(name, by)| *counts.entry(name).or_default() += by),
            false => {
                // What the request left on its way may fail now, and is undone all the same.
                let _ = sql.settle();
                sql.batch("ROLLBACK TO SAVEPOINT request")?;
            }
        }
        sql.run("RELEASE SAVEPOINT request", &[])?;
    }
    if txn.changed {
        *counts.entry("generation".to_owned()).or_default() += 1;
    }
    txn.write_counts(&counts)?;
    Ok(txn)
}

/// Takes what waits, runs a transaction with it, and puts it back if that failed.
pub fn with_lazy<T>(
    shared: &Shared,
    transact: impl FnOnce(&Lazy) -> Result<T, Error>,
    done: impl FnOnce(T),
) -> Result<(), Error> {
    let lazy = take_lazy(shared);
    match transact(&lazy) {
        Ok(effects) => {
            done(effects);
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

pub fn refresh(db: &Db<'_>, mut touched: BTreeSet<Place>, holders: BTreeSet<i64>) -> Result<(), Error> {
    for n in holders {
        for n in db.with_merged(n)? {
            touched.extend(db.places_of(n)?);
        }
    }
    let mut fresh = Db::writing(db.sql, db.shared);
    touched.into_iter().try_for_each(|place| fresh.refresh(place))
}

fn write_lazy(txn: &Txn<'_>, lazy: &Lazy) -> Result<(), Error> {
    for subject in &lazy.confirmed {
        if let Some(n) = txn.db.find(&place_of_subject(*subject))? {
            txn.db.sql.run("DELETE FROM pending WHERE n = ?1", values![n])?;
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

pub fn insert_seen(txn: &Txn<'_>, n: i64, row: &SeenRow) -> Result<(), Error> {
    // It may have waited while another look-up key was activated; a row under the older one would come
    // after whoever moves them.
    let marker = &txn.db.marker;
    let place = if row.lookup == marker.active() { row.place } else { marker.mark(&row.identifier).place };
    let sql = "INSERT INTO seen (n, place, first_ms, kind, realm, normaliser, lookup, sealed)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
               ON CONFLICT (n, place) DO UPDATE SET first_ms = excluded.first_ms
               WHERE excluded.first_ms < seen.first_ms";
    let identifier = &row.identifier;
    let seen = values![
        n,
        &place,
        row.first_ms,
        identifier.kind.as_str(),
        identifier.realm.as_ref().map(|realm| realm.as_str()),
        u32::from(crate::domain::identity::NORMALISER),
        marker.active(),
        row.sealed.as_slice(),
    ];
    txn.db.sql.run(sql, seen)?;
    Ok(())
}

pub fn describe(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
