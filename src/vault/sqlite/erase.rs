//! The end of people: all of them, or all but what proves consents and cases.
//!
//! What goes is overwritten where it stands (see `schema`); it is in no file once the writer has emptied
//! the write-ahead log. Whoever was confirmed leaves keyed marks for 90 days, so that late events are
//! told; whoever was not, leaves nothing.

use std::collections::HashMap;

use super::admin::{counts, identifiers};
use super::change::store;
use super::marks::place_of_subject;
use super::rows::{BODY, Body, Db, time};
use super::seal::DESTROYED;
use super::writer::Txn;
use crate::domain::erasure::Left;
use crate::domain::id::{Digest, SubjectId};
use crate::domain::identity::{Class, Identifier};
use crate::domain::time::{MS_PER_DAY, Timestamp};
use crate::record::tomb;
use crate::vault::{Error, HolderKind};

/// Marks of erased identifiers live this long (`domain.md` 2.5, rule 5).
const ERASED_MS: i64 = 90 * MS_PER_DAY;

/// Destroys a holder with everything. What was kept of one whose identity went before goes too.
pub(super) fn destroy(txn: &mut Txn<'_>, subject: SubjectId) -> Result<(), Error> {
    let Some(n) = txn.db.find(&place_of_subject(subject))? else { return Ok(()) };
    let body = txn.db.body(n)?;
    if body.identity == DESTROYED {
        txn.count("evidence", -1);
    } else {
        forget(txn, n, body.kind)?;
    }
    let connection = txn.db.connection;
    for sql in ["DELETE FROM evidence WHERE n = ?1", "DELETE FROM evidence_places WHERE n = ?1"] {
        connection.prepare_cached(sql)?.execute([n])?;
    }
    let sql = "DELETE FROM handles WHERE n = ?1 AND place = ?2";
    connection.prepare_cached(sql)?.execute((n, place_of_subject(subject)))?;
    let sql = "UPDATE holders SET body = ?2 WHERE n = ?1";
    connection.prepare_cached(sql)?.execute((n, [0u8; BODY]))?;
    txn.count(&format!("kek:{}", body.kek), -1);
    txn.slots.push((place_of_subject(subject), None));
    txn.changed = true;
    Ok(())
}

/// Destroys identity key and look-ups; link and evidence key stay until an instant, found under the
/// evidence look-up key only. Nobody proves anything about somebody whom no record names: they go.
pub(super) fn detach(txn: &mut Txn<'_>, subject: SubjectId, until: Timestamp) -> Result<(), Error> {
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
            let sql = "INSERT OR IGNORE INTO evidence_places (place, n) VALUES (?1, ?2)";
            txn.db.connection.prepare_cached(sql)?.execute((place, n))?;
        }
    }
    forget(txn, n, body.kind)?;
    (body.identity, body.account, body.cancelled_at) = (DESTROYED, false, None);
    store(txn, n, &body)?;
    let sql = "INSERT INTO evidence (n, until_ms) VALUES (?1, ?2)";
    txn.db.connection.prepare_cached(sql)?.execute((n, until.ms()))?;
    txn.count("evidence", 1);
    txn.slots.push((place_of_subject(subject), None));
    txn.changed = true;
    Ok(())
}

/// Look-ups, associations and merges of a holder who is one of the people no more.
fn forget(txn: &mut Txn<'_>, n: i64, kind: HolderKind) -> Result<(), Error> {
    for n in txn.db.with_merged(n)? {
        txn.touched.extend(txn.db.places_of(n)?);
    }
    let connection = txn.db.connection;
    let now = txn.db.shared.clock.now();
    let was_pending = connection.prepare_cached("DELETE FROM pending WHERE n = ?1")?.execute([n])? > 0;
    if !was_pending {
        let sql = "INSERT INTO erased (place, from_ms, to_ms, until_ms)
                   SELECT place, CASE WHEN reaches THEN NULL ELSE from_ms END,
                          min(coalesce(to_ms, ?2), ?2), ?3 FROM bindings WHERE n = ?1";
        connection.prepare_cached(sql)?.execute((n, now.ms(), now.plus_ms(ERASED_MS).ms()))?;
    }
    for sql in [
        "DELETE FROM bindings WHERE n = ?1",
        "DELETE FROM seen WHERE n = ?1",
        "DELETE FROM merges WHERE gone = ?1 OR kept = ?1",
    ] {
        connection.prepare_cached(sql)?.execute([n])?;
    }
    if matches!(kind, HolderKind::Person | HolderKind::Device) {
        txn.count("people", -1);
    }
    Ok(())
}

/// Does to everybody whose tomb is here what was done when it was dug. `meta` keeps how much was
/// buried, so that all holders are looked at only when there is more: a tomb counts one, and another
/// one when nothing is left.
pub(super) fn bury(txn: &mut Txn<'_>, tombs: &HashMap<Digest, Left>) -> Result<u64, Error> {
    let mut risen = Vec::new();
    {
        let mut statement = txn.db.connection.prepare("SELECT body FROM holders")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let body = Body::decode(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?)?;
            let Some(body) = body else { continue };
            match tombs.get(&tomb(body.subject)) {
                Some(Left::Evidence { .. }) if body.identity == DESTROYED => {}
                Some(left) => risen.push((body.subject, *left)),
                None => {}
            }
        }
    }
    for (subject, left) in &risen {
        match left {
            Left::Nothing => destroy(txn, *subject)?,
            Left::Evidence { until } => detach(txn, *subject, *until)?,
        }
    }
    let sql =
        "INSERT INTO meta (name, value) VALUES ('tombs', ?1) ON CONFLICT (name) DO UPDATE SET value = ?1";
    txn.db.connection.execute(sql, [weight(tombs)])?;
    Ok(risen.len() as u64)
}

fn weight(tombs: &HashMap<Digest, Left>) -> i64 {
    tombs.values().map(|left| if *left == Left::Nothing { 2 } else { 1 }).sum()
}

/// Whether all of these were buried here before.
pub(super) fn knows(db: &Db<'_>, tombs: &HashMap<Digest, Left>) -> Result<bool, Error> {
    let known = counts(db.connection)?.into_iter().find(|(name, _)| name == "tombs");
    Ok(known.map_or(0, |(_, count)| count) == weight(tombs))
}

/// Whose evidence an identifier leads to, under every living evidence look-up key.
pub(super) fn evidence_of(db: &Db<'_>, identifier: &Identifier) -> Result<Vec<SubjectId>, Error> {
    let marker = db.shared.evidence_marker();
    let sql = "SELECT n FROM evidence_places WHERE place = ?1";
    let mut statement = db.connection.prepare_cached(sql)?;
    let mut subjects = Vec::new();
    for marking in std::iter::once(marker.mark(identifier)).chain(marker.older(identifier)) {
        for n in statement.query_map([marking.place], |row| row.get(0))? {
            subjects.push(db.body(n?)?.subject);
        }
    }
    subjects.sort_unstable();
    subjects.dedup();
    Ok(subjects)
}

/// Whose evidence's time is over at an instant.
pub(super) fn evidence_over(db: &Db<'_>, now: Timestamp) -> Result<Vec<SubjectId>, Error> {
    let mut statement = db.connection.prepare_cached("SELECT n FROM evidence WHERE until_ms <= ?1")?;
    let over = statement.query_map([now.ms()], |row| row.get(0))?;
    over.map(|n| Ok(db.body(n?)?.subject)).collect()
}

/// Until when somebody's evidence is kept; `None` if it is not about that.
pub(super) fn evidence_until(db: &Db<'_>, subject: SubjectId) -> Result<Option<Timestamp>, Error> {
    let n = db.find_subject(subject)?;
    let mut statement = db.connection.prepare_cached("SELECT until_ms FROM evidence WHERE n = ?1")?;
    let mut rows = statement.query([n])?;
    rows.next()?.map(|row| time(row, 0)).transpose()
}
