//! Moving to new keys: holders to the active key-encryption key, rows to their places under the active
//! look-up key.
//!
//! `meta` keeps what a crash must not lose: how many holders are locked with each key (`kek:<id>`), how
//! far the move to a look-up key has come (`remark:to`, `remark:at`), the newest erased mark from before
//! it was complete (`remark:erased:<id>`), and which look-up keys rows may be under (`lookup:<id>`), so
//! that a keyring without one of them is refused at the start.

use async_trait::async_trait;
use rusqlite::OptionalExtension;

use super::admin::{counts, opened};
use super::change::store;
use super::marks::Place;
use super::rows::{Body, Db, time_or_none};
use super::seal::{DESTROYED, corrupt};
use super::writer::Txn;
use super::{Markers, Vault};
use crate::domain::identity::Identifier;
use crate::domain::time::Timestamp;
use crate::vault::keyring::{Class, Keyring};
use crate::vault::rotation::{Batch, LookupUse, Rotation};
use crate::vault::{Error, Holder};

/// Holders passed in one transaction.
const BATCH: u32 = 500;
/// Holders looked at in one reading transaction.
const COUNTED: i64 = 20_000;
/// The kek's place in a holder's row: bytes 5 to 8 as SQLite counts.
const COUNT_LOCKED: &str = "SELECT count(*) FROM holders WHERE n > ?1 AND n <= ?2 AND substr(body, 5, 4) = ?3 AND body != zeroblob(220)";

#[async_trait]
impl Rotation for Vault {
    async fn locked_with(&self) -> Result<Vec<(u32, u64)>, Error> {
        self.epochs_in_use().await
    }

    async fn count_locked_with(&self, kek: u32) -> Result<u64, Error> {
        // Whoever fetched the key when it was still the active one has committed when this returns.
        self.write(|_| Ok(())).await?;
        let (mut after, mut found) = (0, 0u64);
        loop {
            let step = move |db: &mut Db<'_>| {
                let last: i64 =
                    db.connection
                        .query_row("SELECT coalesce(max(n), 0) FROM holders", [], |row| row.get(0))?;
                let count: i64 = db
                    .connection
                    .prepare_cached(COUNT_LOCKED)?
                    .query_row((after, after + COUNTED, kek.to_le_bytes()), |row| row.get(0))?;
                Ok((count, last))
            };
            let (count, last) = self.read(step).await?;
            found += count.unsigned_abs();
            after += COUNTED;
            if after >= last {
                return Ok(found);
            }
        }
    }

    async fn rewrap_some(&self, after: i64) -> Result<Batch, Error> {
        self.write(move |txn| rewrap(txn, after)).await
    }

    async fn forget_old_wraps(&self) -> Result<(), Error> {
        self.truncate().await
    }

    async fn take_lookup_keys(&self) -> Result<(), Error> {
        self.write(take_lookup_keys).await
    }

    async fn remark_some(&self) -> Result<Option<Batch>, Error> {
        if self.shared.marker().is_single() || self.read(|db| is_remarked(db)).await? {
            return Ok(None);
        }
        self.write(remark).await
    }

    async fn lookup_use(&self, lookup: u32) -> Result<LookupUse, Error> {
        self.write(|_| Ok(())).await?;
        self.read(move |db| lookup_use(db, lookup)).await
    }

    async fn forget_lookup(&self, lookup: u32) -> Result<(), Error> {
        self.write(move |txn| {
            let mut forget = txn.db.connection.prepare_cached("DELETE FROM meta WHERE name = ?1")?;
            for name in [format!("lookup:{lookup}"), format!("remark:erased:{lookup}")] {
                forget.execute([name])?;
            }
            Ok(())
        })
        .await
    }

    async fn evidence_kept(&self) -> Result<(u64, Option<Timestamp>), Error> {
        self.read(|db| {
            let mut statement =
                db.connection.prepare_cached("SELECT count(*), max(until_ms) FROM evidence")?;
            let mut found = statement.query([])?;
            let row = found.next()?.ok_or_else(|| corrupt("a count has no answer"))?;
            let kept: i64 = row.get(0)?;
            Ok((kept.unsigned_abs(), time_or_none(row, 1)?))
        })
        .await
    }
}

impl Vault {
    /// Key-encryption epochs that holders are still locked with, and how many. The others may be
    /// removed from the keyring.
    pub async fn epochs_in_use(&self) -> Result<Vec<(u32, u64)>, Error> {
        let counts = self.read(|db| counts(db.connection)).await?;
        let of = |(name, count): (String, i64)| {
            Some((name.strip_prefix("kek:")?.parse().ok()?, u64::try_from(count).ok().filter(|n| *n > 0)?))
        };
        Ok(counts.into_iter().filter_map(of).collect())
    }

    /// Locks all holders with the active key-encryption key, in bounded batches between which
    /// others are served. `progress` is told how many rows were passed. What was locked with older
    /// keys is in no file when it returns. May be stopped and called again.
    pub async fn rewrap(&self, mut progress: impl FnMut(u64) + Send) -> Result<(), Error> {
        let (mut after, mut passed) = (0, 0);
        loop {
            let batch = self.rewrap_some(after).await?;
            passed += batch.passed;
            progress(passed);
            if batch.last {
                return self.truncate().await;
            }
            after = batch.after;
        }
    }
}

fn next_holders(txn: &Txn<'_>, after: i64) -> Result<Vec<(i64, Vec<u8>)>, Error> {
    let sql = "SELECT n, body FROM holders WHERE n > ?1 ORDER BY n LIMIT ?2";
    let mut statement = txn.db.connection.prepare_cached(sql)?;
    let rows = statement.query_map((after, BATCH), |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn rewrap(txn: &mut Txn<'_>, after: i64) -> Result<Batch, Error> {
    let shared = txn.db.shared;
    let (epoch, kek) = shared.keyring.active_kek()?;
    let holders = next_holders(txn, after)?;
    let mut batch = batch_of(&holders, after);
    for (n, body) in &holders {
        let Some(mut body) = Body::decode(body)? else { continue };
        if body.kek == epoch {
            continue;
        }
        let holder = body.unwrap(shared)?;
        txn.count(&format!("kek:{}", body.kek), -1);
        txn.count(&format!("kek:{epoch}"), 1);
        body.wrap(&holder, epoch, &kek)?;
        store(txn, *n, &body)?;
        txn.changed = true;
        batch.changed += 1;
    }
    Ok(batch)
}

fn batch_of(holders: &[(i64, Vec<u8>)], after: i64) -> Batch {
    Batch {
        after: holders.last().map_or(after, |(n, _)| *n),
        passed: holders.len() as u64,
        changed: 0,
        last: holders.len() < BATCH as usize,
    }
}

/// In the writer's thread, so that whatever it stores afterwards stands under the new ones. What is
/// cached stands under the old.
fn take_lookup_keys(txn: &mut Txn<'_>) -> Result<(), Error> {
    let shared = txn.db.shared;
    let markers = Markers::new(&shared.keyring)?;
    note_lookup(txn.db.connection, markers.lookup.active())?;
    *shared.markers.write().unwrap_or_else(std::sync::PoisonError::into_inner) = markers;
    shared.cache.clear();
    Ok(())
}

/// Rows may be under this look-up key from now on.
pub(super) fn note_lookup(connection: &rusqlite::Connection, lookup: u32) -> Result<(), Error> {
    let sql = "INSERT OR IGNORE INTO meta (name, value) VALUES (?1, 1)";
    connection.execute(sql, [format!("lookup:{lookup}")])?;
    Ok(())
}

/// The look-up keys that rows may be under: each has to be in the keyring.
pub(super) fn check_lookups(connection: &rusqlite::Connection, keyring: &Keyring) -> Result<(), Error> {
    let mut used: Vec<u32> = Vec::new();
    for (name, _) in counts(connection)? {
        if let Some(id) = name.strip_prefix("lookup:") {
            used.push(id.parse().map_err(|_| corrupt("a look-up key has a wrong name"))?);
        }
    }
    if used.is_empty() {
        // From before this was noted; once.
        let sql = "SELECT lookup FROM bindings UNION SELECT lookup FROM seen";
        let mut statement = connection.prepare(sql)?;
        used = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        used.iter().try_for_each(|lookup| note_lookup(connection, *lookup))?;
    }
    for lookup in used {
        let Err(why) = keyring.has(Class::Lookup, lookup) else { continue };
        let sql = "SELECT EXISTS (SELECT 1 FROM bindings WHERE lookup = ?1 UNION ALL SELECT 1 FROM seen WHERE lookup = ?1)";
        if connection.query_row(sql, [lookup], |row| row.get(0))? {
            return Err(Error::Keyring(format!("{why} (identifiers of people are found under it)")));
        }
        // It was destroyed when nothing needed it, and a crash came before that was noted here.
        connection.execute("DELETE FROM meta WHERE name = ?1", [format!("lookup:{lookup}")])?;
    }
    Ok(())
}

pub(super) fn number(db: &Db<'_>, name: &str) -> Result<Option<i64>, Error> {
    let sql = "SELECT value FROM meta WHERE name = ?1";
    Ok(db.connection.prepare_cached(sql)?.query_row([name], |row| row.get(0)).optional()?)
}

pub(super) fn set(txn: &Txn<'_>, name: &str, value: i64) -> Result<(), Error> {
    let sql = "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2";
    txn.db.connection.prepare_cached(sql)?.execute((name, value))?;
    Ok(())
}

/// `remark:at` beyond every row says that the move to `remark:to` is complete.
const DONE: i64 = i64::MAX;

fn is_remarked(db: &Db<'_>) -> Result<bool, Error> {
    let (to, at) = (number(db, "remark:to")?, number(db, "remark:at")?);
    Ok(to == Some(i64::from(db.marker.active())) && at == Some(DONE))
}

/// Some more rows. Holders that are made meanwhile are under the active key from the first.
fn remark(txn: &mut Txn<'_>) -> Result<Option<Batch>, Error> {
    if is_remarked(&txn.db)? {
        return Ok(None);
    }
    let active = i64::from(txn.db.marker.active());
    let after = match number(&txn.db, "remark:to")? {
        Some(to) if to == active => number(&txn.db, "remark:at")?.unwrap_or(0),
        _ => 0,
    };
    let holders = next_holders(txn, after)?;
    let mut batch = batch_of(&holders, after);
    for (n, body) in &holders {
        let Some(body) = Body::decode(body)? else { continue };
        // Of whom only evidence is kept has no identifiers here.
        if body.identity != DESTROYED {
            batch.changed += remark_one(txn, *n, &body)?;
        }
    }
    set(txn, "remark:to", active)?;
    set(txn, "remark:at", if batch.last { DONE } else { batch.after })?;
    if batch.last {
        note_erased(txn)?;
    }
    Ok(Some(batch))
}

/// Marks of erased people that are there now may be under an older key; those that come are not.
fn note_erased(txn: &Txn<'_>) -> Result<(), Error> {
    let newest: Option<i64> =
        txn.db.connection.query_row("SELECT max(rowid) FROM erased", [], |row| row.get(0))?;
    for (lookup, _) in txn.db.shared.keyring.all(Class::Lookup) {
        let name = format!("remark:erased:{lookup}");
        if lookup != txn.db.marker.active() && number(&txn.db, &name)?.is_none() {
            set(txn, &name, newest.unwrap_or(0))?;
        }
    }
    Ok(())
}

/// Marks were forgotten. Those that come get numbers behind the last that is left, and are under the active
/// key.
pub(super) fn note_forgotten(txn: &Txn<'_>) -> Result<(), Error> {
    let sql = "UPDATE meta SET value = (SELECT coalesce(max(rowid), 0) FROM erased)
               WHERE name GLOB 'remark:erased:*' AND value > (SELECT coalesce(max(rowid), 0) FROM erased)";
    txn.db.connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}

/// The rows of one holder that are not under the active key.
fn remark_one(txn: &mut Txn<'_>, n: i64, body: &Body) -> Result<u64, Error> {
    let active = txn.db.marker.active();
    let mut moved = 0;
    let mut holder: Option<Holder> = None;
    for (table, at) in [("bindings", "from_ms"), ("seen", "first_ms")] {
        let sql =
            format!("SELECT kind, realm, sealed, place, {at} FROM {table} WHERE n = ?1 AND lookup != ?2");
        let mut rows: Vec<(Identifier, Place, i64)> = Vec::new();
        let connection = txn.db.connection;
        let mut statement = connection.prepare_cached(&sql)?;
        let mut found = statement.query((n, active))?;
        while let Some(row) = found.next()? {
            let holder = match &mut holder {
                Some(holder) => holder,
                none => none.insert(body.unwrap(txn.db.shared)?),
            };
            rows.push((opened(holder, row)?, row.get(3)?, row.get(4)?));
        }
        for (identifier, old, at) in rows {
            let new = txn.db.marker.mark(&identifier).place;
            if table == "bindings" {
                move_binding(txn, n, (old, new), at)?;
                txn.touched.extend([old, new]);
            } else {
                move_sighting(txn, n, (old, new))?;
            }
            txn.changed = true;
            moved += 1;
        }
    }
    Ok(moved)
}

/// Where a row of the same time stands under the active key already, it was decided later and counts.
fn move_binding(txn: &Txn<'_>, n: i64, (old, new): (Place, Place), from_ms: i64) -> Result<(), Error> {
    let connection = txn.db.connection;
    let sql =
        "UPDATE OR IGNORE bindings SET place = ?4, lookup = ?5 WHERE place = ?1 AND n = ?2 AND from_ms = ?3";
    connection.prepare_cached(sql)?.execute((old, n, from_ms, new, txn.db.marker.active()))?;
    let sql = "DELETE FROM bindings WHERE place = ?1 AND n = ?2 AND from_ms = ?3";
    connection.prepare_cached(sql)?.execute((old, n, from_ms))?;
    Ok(())
}

/// The earlier of two sightings is the first.
fn move_sighting(txn: &Txn<'_>, n: i64, (old, new): (Place, Place)) -> Result<(), Error> {
    let connection = txn.db.connection;
    let sql = "INSERT INTO seen (n, place, first_ms, kind, realm, normaliser, lookup, sealed)
               SELECT n, ?3, first_ms, kind, realm, normaliser, ?4, sealed FROM seen WHERE n = ?1 AND place = ?2
               ON CONFLICT DO UPDATE SET first_ms = min(first_ms, excluded.first_ms)";
    connection.prepare_cached(sql)?.execute((n, old, new, txn.db.marker.active()))?;
    connection.prepare_cached("DELETE FROM seen WHERE n = ?1 AND place = ?2")?.execute((n, old))?;
    Ok(())
}

fn lookup_use(db: &Db<'_>, lookup: u32) -> Result<LookupUse, Error> {
    let sql = "SELECT (SELECT count(*) FROM bindings WHERE lookup = ?1) + (SELECT count(*) FROM seen WHERE lookup = ?1)";
    let rows: i64 = db.connection.prepare_cached(sql)?.query_row([lookup], |row| row.get(0))?;
    // Until the move is complete all of them may be.
    let newest = number(db, &format!("remark:erased:{lookup}"))?.unwrap_or(i64::MAX);
    let sql = "SELECT count(*), max(until_ms) FROM erased WHERE rowid <= ?1 AND until_ms > ?2";
    let mut statement = db.connection.prepare_cached(sql)?;
    let mut found = statement.query((newest, db.shared.clock.now().ms()))?;
    let row = found.next()?.ok_or_else(|| corrupt("a count has no answer"))?;
    let erased: i64 = row.get(0)?;
    Ok(LookupUse {
        rows: rows.unsigned_abs(),
        erased: erased.unsigned_abs(),
        erased_until: time_or_none(row, 1)?,
    })
}
