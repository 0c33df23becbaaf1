//! Moving to new keys: holders to the active key-encryption key, rows to their places under the active
//! look-up key.
//!
//! `meta` keeps what a crash must not lose: how many holders are locked with each key (`kek:<id>`), how
//! far the move to a look-up key has come (`remark:to`, `remark:at`), the newest erased mark from before
//! it was complete (`remark:erased:<id>`), and which look-up keys rows may be under (`lookup:<id>`), so
//! that a keyring without one of them is refused at the start.

use super::admin::{counts, opened};
use super::change::store;
use super::marks::Place;
use super::rows::{BODY, Body, Db, time_or_none};
use super::seal::{DESTROYED, corrupt};
use super::txn::Txn;
use super::{Markers, Shared, Sql, values};
use crate::domain::identity::Identifier;
use crate::domain::time::Timestamp;
use crate::vault::keyring::{Class, Keyring};
use crate::vault::rotation::{Batch, LookupUse};
use crate::vault::{Error, Holder};

/// Holders passed in one transaction.
const BATCH: u32 = 500;
/// Holders looked at in one reading transaction.
pub const COUNTED: i64 = 20_000;
/// The kek's place in a holder's row: bytes 5 to 8 as databases count.
const COUNT_LOCKED: &str =
    "SELECT count(*) FROM holders WHERE n > ?1 AND n <= ?2 AND substr(body, 5, 4) = ?3 AND body <> ?4";

/// How many holders behind `after`, and at most `COUNTED` further, are locked with a key, and the last there is.
pub fn count_some(db: &Db<'_>, after: i64, kek: u32) -> Result<(i64, i64), Error> {
    let last = db.sql.number("SELECT coalesce(max(n), 0) FROM holders", &[])?;
    let kek = kek.to_le_bytes();
    Ok((db.sql.number(COUNT_LOCKED, values![after, after + COUNTED, &kek, &[0u8; BODY]])?, last))
}

/// Key-encryption keys that holders are locked with, as far as `meta` keeps count.
pub fn locked_with(db: &Db<'_>) -> Result<Vec<(u32, u64)>, Error> {
    let of = |(name, count): (String, i64)| {
        Some((name.strip_prefix("kek:")?.parse().ok()?, u64::try_from(count).ok().filter(|n| *n > 0)?))
    };
    Ok(counts(db.sql)?.into_iter().filter_map(of).collect())
}

pub fn forget_lookup(txn: &Txn<'_>, lookup: u32) -> Result<(), Error> {
    for name in [format!("lookup:{lookup}"), format!("remark:erased:{lookup}")] {
        txn.db.sql.run("DELETE FROM meta WHERE name = ?1", values![name.as_str()])?;
    }
    Ok(())
}

pub fn evidence_kept(db: &Db<'_>) -> Result<(u64, Option<Timestamp>), Error> {
    let kept = db.sql.first("SELECT count(*), max(until_ms) FROM evidence", &[], |row| {
        Ok((row.int(0)?.unsigned_abs(), time_or_none(row, 1)?))
    })?;
    kept.ok_or_else(|| corrupt("a count has no answer"))
}

fn next_holders(txn: &Txn<'_>, after: i64) -> Result<Vec<(i64, Vec<u8>)>, Error> {
    let sql = "SELECT n, body FROM holders WHERE n > ?1 ORDER BY n LIMIT ?2";
    txn.db.sql.all(sql, values![after, BATCH], |row| Ok((row.int(0)?, row.bytes(1)?.to_vec())))
}

pub fn rewrap(txn: &mut Txn<'_>, after: i64) -> Result<Batch, Error> {
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
        txn.overwritten.insert(*n);
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
pub fn take_lookup_keys(txn: &mut Txn<'_>) -> Result<(), Error> {
    take(txn.db.sql, txn.db.shared, Markers::new(&txn.db.shared.keyring)?)
}

pub fn take(sql: &dyn Sql, shared: &Shared, markers: Markers) -> Result<(), Error> {
    note_lookup(sql, markers.lookup.active())?;
    *shared.markers.write().unwrap_or_else(std::sync::PoisonError::into_inner) = markers;
    shared.cache.clear();
    Ok(())
}

/// Rows may be under this look-up key from now on.
pub fn note_lookup(sql: &dyn Sql, lookup: u32) -> Result<(), Error> {
    let note = "INSERT INTO meta (name, value) VALUES (?1, 1) ON CONFLICT (name) DO NOTHING";
    sql.run(note, values![format!("lookup:{lookup}").as_str()])?;
    Ok(())
}

/// The look-up keys that rows may be under: each has to be in the keyring.
pub fn check_lookups(sql: &dyn Sql, keyring: &Keyring) -> Result<(), Error> {
    let mut used: Vec<u32> = Vec::new();
    for (name, _) in counts(sql)? {
        if let Some(id) = name.strip_prefix("lookup:") {
            used.push(id.parse().map_err(|_| corrupt("a look-up key has a wrong name"))?);
        }
    }
    if used.is_empty() {
        // From before this was noted; once.
        let all = "SELECT lookup FROM bindings UNION SELECT lookup FROM seen";
        let all = sql.all(all, &[], |row| row.int(0))?;
        used = all.into_iter().filter_map(|lookup| u32::try_from(lookup).ok()).collect();
        used.iter().try_for_each(|lookup| note_lookup(sql, *lookup))?;
    }
    for lookup in used {
        let Err(why) = keyring.has(Class::Lookup, lookup) else { continue };
        for rows in [
            "SELECT 1 FROM bindings WHERE lookup = ?1 LIMIT 1",
            "SELECT 1 FROM seen WHERE lookup = ?1 LIMIT 1",
        ] {
            if sql.exists(rows, values![lookup])? {
                return Err(Error::Keyring(format!("{why} (identifiers of people are found under it)")));
            }
        }
        // It was destroyed when nothing needed it, and a crash came before that was noted here.
        sql.run("DELETE FROM meta WHERE name = ?1", values![format!("lookup:{lookup}").as_str()])?;
    }
    Ok(())
}

pub fn number(db: &Db<'_>, name: &str) -> Result<Option<i64>, Error> {
    db.sql.first("SELECT value FROM meta WHERE name = ?1", values![name], |row| row.int(0))
}

pub fn set(txn: &Txn<'_>, name: &str, value: i64) -> Result<(), Error> {
    let sql = "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    txn.db.sql.run(sql, values![name, value])?;
    Ok(())
}

/// `remark:at` beyond every row says that the move to `remark:to` is complete.
const DONE: i64 = i64::MAX;

pub fn is_remarked(db: &Db<'_>) -> Result<bool, Error> {
    let (to, at) = (number(db, "remark:to")?, number(db, "remark:at")?);
    Ok(to == Some(i64::from(db.marker.active())) && at == Some(DONE))
}

/// Some more rows. Holders that are made meanwhile are under the active key from the first.
pub fn remark(txn: &mut Txn<'_>) -> Result<Option<Batch>, Error> {
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
    let newest = txn.db.sql.number("SELECT coalesce(max(rowid), 0) FROM erased", &[])?;
    for (lookup, _) in txn.db.shared.keyring.all(Class::Lookup) {
        let name = format!("remark:erased:{lookup}");
        if lookup != txn.db.marker.active() && number(&txn.db, &name)?.is_none() {
            set(txn, &name, newest)?;
        }
    }
    Ok(())
}

/// Marks were forgotten. Those that come get numbers behind the last that is left, and are under the active
/// key.
pub fn note_forgotten(txn: &Txn<'_>) -> Result<(), Error> {
    let sql = "UPDATE meta SET value = (SELECT coalesce(max(rowid), 0) FROM erased)
               WHERE name LIKE 'remark:erased:%' AND value > (SELECT coalesce(max(rowid), 0) FROM erased)";
    txn.db.sql.run(sql, &[])?;
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
        let (db, shared) = (&txn.db, txn.db.shared);
        db.sql.query(&sql, values![n, active], &mut |row| {
            let holder = match &mut holder {
                Some(holder) => holder,
                none => none.insert(body.unwrap(shared)?),
            };
            rows.push((opened(holder, row)?, row.place(3)?, row.int(4)?));
            Ok(())
        })?;
        for (identifier, old, at) in rows {
            let new = txn.db.marker.mark(&identifier).place;
            if table == "bindings" {
                move_binding(txn, n, (old, new), at)?;
                txn.published.extend([old, new]);
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
    let sql = "UPDATE bindings SET place = ?4, lookup = ?5 WHERE place = ?1 AND n = ?2 AND from_ms = ?3
               AND NOT EXISTS (SELECT 1 FROM bindings b WHERE b.place = ?4 AND b.n = ?2 AND b.from_ms = ?3)";
    txn.db.sql.run(sql, values![&old, n, from_ms, &new, txn.db.marker.active()])?;
    let sql = "DELETE FROM bindings WHERE place = ?1 AND n = ?2 AND from_ms = ?3";
    txn.db.sql.run(sql, values![&old, n, from_ms])?;
    Ok(())
}

/// The earlier of two sightings is the first.
fn move_sighting(txn: &Txn<'_>, n: i64, (old, new): (Place, Place)) -> Result<(), Error> {
    let sql = "INSERT INTO seen (n, place, first_ms, kind, realm, normaliser, lookup, sealed)
               SELECT n, ?3, first_ms, kind, realm, normaliser, ?4, sealed
               FROM seen WHERE n = ?1 AND place = ?2
               ON CONFLICT (n, place) DO UPDATE SET first_ms = excluded.first_ms
               WHERE excluded.first_ms < seen.first_ms";
    txn.db.sql.run(sql, values![n, &old, &new, txn.db.marker.active()])?;
    txn.db.sql.run("DELETE FROM seen WHERE n = ?1 AND place = ?2", values![n, &old])?;
    Ok(())
}

pub fn lookup_use(db: &Db<'_>, lookup: u32) -> Result<LookupUse, Error> {
    let sql = "SELECT (SELECT count(*) FROM bindings WHERE lookup = ?1) + (SELECT count(*) FROM seen WHERE lookup = ?1)";
    db.sql.long();
    let rows = db.sql.number(sql, values![lookup])?;
    // Until the move is complete all of them may be.
    let newest = number(db, &format!("remark:erased:{lookup}"))?.unwrap_or(i64::MAX);
    let sql = "SELECT count(*), max(until_ms) FROM erased WHERE rowid <= ?1 AND until_ms > ?2";
    db.sql.long();
    let found = db.sql.first(sql, values![newest, db.shared.clock.now().ms()], |row| {
        Ok((row.int(0)?.unsigned_abs(), time_or_none(row, 1)?))
    })?;
    let (erased, erased_until) = found.ok_or_else(|| corrupt("a count has no answer"))?;
    Ok(LookupUse { rows: rows.unsigned_abs(), erased, erased_until })
}
