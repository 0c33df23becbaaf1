//! The end of people: all of them, or all but what proves consents and cases.
//!
//! What goes is overwritten; the adapter knows what it takes until it is in no file. Whoever was confirmed leaves keyed marks for 90 days, so that late events are
//! told; whoever was not, leaves nothing.

use std::collections::HashMap;

use super::admin::{counts, identifiers};
use super::change::store;
use super::marks::place_of_subject;
use super::rows::{BODY, Body, Db, time};
use super::seal::DESTROYED;
use super::txn::Txn;
use super::values;
use crate::domain::erasure::Left;
use crate::domain::id::{Digest, SubjectId};
use crate::domain::identity::{Class, Identifier};
use crate::domain::time::{MS_PER_DAY, Timestamp};
use crate::record::tomb;
use crate::vault::{Error, HolderKind};

/// Marks of erased identifiers live this long (`domain.md` 2.5, rule 5).
const ERASED_MS: i64 = 90 * MS_PER_DAY;

/// Destroys a holder with everything. What was kept of one whose identity went before goes too.
pub fn destroy(txn: &mut Txn<'_>, subject: SubjectId) -> Result<(), Error> {
    let Some(n) = txn.db.find(&place_of_subject(subject))? else { return Ok(()) };
    let body = txn.db.body(n)?;
    if body.identity == DESTROYED {
        txn.count("evidence", -1);
    } else {
        forget(txn, n, body.kind)?;
    }
    for sql in ["DELETE FROM evidence WHERE n = ?1", "DELETE FROM evidence_places WHERE n = ?1"] {
        txn.db.sql.run(sql, values![n])?;
    }
    let sql = "DELETE FROM handles WHERE n = ?1 AND place = ?2";
    txn.db.sql.run(sql, values![n, &place_of_subject(subject)])?;
    txn.db.sql.run("UPDATE holders SET body = ?2 WHERE n = ?1", values![n, &[0u8; BODY]])?;
    txn.overwritten.insert(n);
    txn.count(&format!("kek:{}", body.kek), -1);
    txn.forget(subject);
    txn.changed = true;
    Ok(())
}

/// Destroys identity key and look-ups; link and evidence key stay until an instant, found under the
/// evidence look-up key only. Nobody proves anything about somebody whom no record names: they go.
pub fn detach(txn: &mut Txn<'_>, subject: SubjectId, until: Timestamp) -> Result<(), Error> {
    let Some(n) = txn.db.find(&place_of_subject(subject))? else { return Ok(()) };
    let mut body = txn.db.body(n)?;
    if body.identity == DESTROYED {
        return Ok(());
    }
    if !matches!(body.kind, HolderKind::Person | HolderKind::Device) || txn.db.is_pending(n)? {
        return destroy(txn, subject);
    }
    for (identifier, _) in identifiers(&mut txn.db, subject)? {
        if identifier.kind.class() != Class::Shared {
            let place = txn.db.shared.evidence_marker().mark(&identifier).place;
            let sql =
                "INSERT INTO evidence_places (place, n) VALUES (?1, ?2) ON CONFLICT (place, n) DO NOTHING";
            txn.db.sql.run(sql, values![&place, n])?;
        }
    }
    forget(txn, n, body.kind)?;
    (body.identity, body.account, body.cancelled_at) = (DESTROYED, false, None);
    store(txn, n, &body)?;
    txn.overwritten.insert(n);
    txn.db.sql.run("INSERT INTO evidence (n, until_ms) VALUES (?1, ?2)", values![n, until.ms()])?;
    txn.count("evidence", 1);
    txn.forget(subject);
    txn.changed = true;
    Ok(())
}

/// Look-ups, associations and merges of a holder who is one of the people no more.
fn forget(txn: &mut Txn<'_>, n: i64, kind: HolderKind) -> Result<(), Error> {
    for n in txn.db.with_merged(n)? {
        let places = txn.db.places_of(n)?;
        txn.published.extend(&places);
        txn.touched.extend(places);
    }
    let sql = txn.db.sql;
    let now = txn.db.shared.clock.now();
    let was_pending = sql.execute("DELETE FROM pending WHERE n = ?1", values![n])? > 0;
    if !was_pending {
        let mark = "INSERT INTO erased (place, from_ms, to_ms, until_ms)
                   SELECT place, CASE WHEN reaches THEN NULL ELSE from_ms END,
                          CASE WHEN to_ms < ?2 THEN to_ms ELSE CAST(?2 AS bigint) END, CAST(?3 AS bigint)
                   FROM bindings WHERE n = ?1";
        sql.run(mark, values![n, now.ms(), now.plus_ms(ERASED_MS).ms()])?;
    }
    for end in [
        "DELETE FROM bindings WHERE n = ?1",
        "DELETE FROM seen WHERE n = ?1",
        "DELETE FROM merges WHERE gone = ?1 OR kept = ?1",
    ] {
        sql.run(end, values![n])?;
    }
    if matches!(kind, HolderKind::Person | HolderKind::Device) {
        txn.count("people", -1);
    }
    Ok(())
}

/// Does to everybody whose tomb is here what was done when it was dug. `meta` keeps how much was
/// buried, so that all holders are looked at only when there is more: a tomb counts one, and another
/// one when nothing is left.
pub fn bury(txn: &mut Txn<'_>, tombs: &HashMap<Digest, Left>) -> Result<u64, Error> {
    let mut risen = Vec::new();
    txn.db.bodies(|bytes| {
        let Some(body) = Body::decode(bytes)? else { return Ok(()) };
        match tombs.get(&tomb(body.subject)) {
            Some(Left::Evidence { .. }) if body.identity == DESTROYED => {}
            Some(left) => risen.push((body.subject, *left)),
            None => {}
        }
        Ok(())
    })?;
    for (subject, left) in &risen {
        match left {
            Left::Nothing => destroy(txn, *subject)?,
            Left::Evidence { until } => detach(txn, *subject, *until)?,
        }
    }
    super::rotate::set(txn, "tombs", weight(tombs))?;
    Ok(risen.len() as u64)
}

fn weight(tombs: &HashMap<Digest, Left>) -> i64 {
    tombs.values().map(|left| if *left == Left::Nothing { 2 } else { 1 }).sum()
}

/// Whether all of these were buried here before.
pub fn knows(db: &Db<'_>, tombs: &HashMap<Digest, Left>) -> Result<bool, Error> {
    let known = counts(db.sql)?.into_iter().find(|(name, _)| name == "tombs");
    Ok(known.map_or(0, |(_, count)| count) == weight(tombs))
}

/// Whose evidence an identifier leads to, under every living evidence look-up key.
pub fn evidence_of(db: &Db<'_>, identifier: &Identifier) -> Result<Vec<SubjectId>, Error> {
    let marker = db.shared.evidence_marker();
    let sql = "SELECT n FROM evidence_places WHERE place = ?1";
    let mut subjects = Vec::new();
    for marking in std::iter::once(marker.mark(identifier)).chain(marker.older(identifier)) {
        for n in db.sql.all(sql, values![&marking.place], |row| row.int(0))? {
            subjects.push(db.body(n)?.subject);
        }
    }
    subjects.sort_unstable();
    subjects.dedup();
    Ok(subjects)
}

/// Whose evidence's time is over at an instant.
pub fn evidence_over(db: &Db<'_>, now: Timestamp) -> Result<Vec<SubjectId>, Error> {
    let over =
        db.sql.all("SELECT n FROM evidence WHERE until_ms <= ?1", values![now.ms()], |row| row.int(0))?;
    over.into_iter().map(|n| Ok(db.body(n)?.subject)).collect()
}

/// Until when somebody's evidence is kept; `None` if it is not about that.
pub fn evidence_until(db: &Db<'_>, subject: SubjectId) -> Result<Option<Timestamp>, Error> {
    let n = db.find_subject(subject)?;
    db.sql.first("SELECT until_ms FROM evidence WHERE n = ?1", values![n], |row| time(row, 0))
}
