//! Everything but resolving: links, merges, destruction, rotation, reports.

use std::collections::HashSet;
use std::sync::Arc;

use rusqlite::Connection;

use super::Vault;
use super::cache::Slot;
use super::change::{apply, create, name, store};
use super::marks::{Place, place_of_subject};
use super::rows::{BODY, Body, Db, Facts, time, time_or_none};
use super::seal::{corrupt, open_value};
use super::writer::Txn;
use crate::domain::id::{Digest, SubjectId};
use crate::domain::identity::resolve::{self, Change, HolderKind, Use};
use crate::domain::identity::{Class, Identifier};
use crate::domain::personal::Personal;
use crate::domain::time::{MS_PER_DAY, Timestamp};
use crate::record::tomb;
use crate::vault::{Candidate, Error, Holder, Marked, Status};

/// Marks of erased identifiers live this long (`domain.md` 2.5, rule 5).
const ERASED_MS: i64 = 90 * MS_PER_DAY;
/// Holders locked anew in one transaction.
const BATCH: u32 = 500;

pub(super) fn holder_of(txn: &mut Txn<'_>, kind: HolderKind, place: Place) -> Result<Arc<Holder>, Error> {
    let holder = match txn.db.find(&place)? {
        Some(n) => {
            let body = txn.db.body(n)?;
            txn.db.holder_of(n, &body)?
        }
        None => {
            let (n, holder) = create(txn, kind)?;
            name(txn, &place, n)?;
            holder
        }
    };
    txn.slots.push((place, Some(Slot::Holder(Arc::clone(&holder)))));
    Ok(holder)
}

pub(super) fn link(
    txn: &mut Txn<'_>,
    subject: SubjectId,
    identifier: &Identifier,
    from: Timestamp,
    to: Option<Timestamp>,
) -> Result<Marked, Error> {
    let n = txn.db.find_subject(subject)?;
    let canonical = txn.db.body(txn.db.canonical_row(n)?)?.subject;
    let marking = txn.db.shared.marker.mark(identifier);
    let facts = txn.db.facts(identifier, &marking)?;
    let (usage, mut changes) = resolve::link(&facts.bindings, canonical, from, to);
    if identifier.kind.class() == Class::Strong && !txn.db.body(n)?.account {
        changes.push(Change::Account);
    }
    execute(txn, subject, identifier, facts, changes)?;
    Ok(Marked { kind: identifier.kind, mark: marking.mark, usage })
}

pub(super) fn unlink(
    txn: &mut Txn<'_>,
    subject: SubjectId,
    identifier: &Identifier,
    to: Timestamp,
) -> Result<Marked, Error> {
    let n = txn.db.find_subject(subject)?;
    let canonical = txn.db.body(txn.db.canonical_row(n)?)?.subject;
    let marking = txn.db.shared.marker.mark(identifier);
    let facts = txn.db.facts(identifier, &marking)?;
    let changes = resolve::unlink(&facts.bindings, canonical, to);
    execute(txn, subject, identifier, facts, changes)?;
    Ok(Marked { kind: identifier.kind, mark: marking.mark, usage: Use::Known })
}

fn execute(
    txn: &mut Txn<'_>,
    subject: SubjectId,
    identifier: &Identifier,
    facts: Facts,
    changes: Vec<Change>,
) -> Result<(), Error> {
    let n = txn.db.find_subject(subject)?;
    let holder = txn.db.holder(subject)?;
    let marking = [txn.db.shared.marker.mark(identifier)];
    let (identifier, facts) = (std::slice::from_ref(identifier), [facts]);
    for change in changes {
        apply(txn, (n, &holder), identifier, &marking, &facts, change)?;
        txn.changed = true;
    }
    Ok(())
}

/// Only ends of chains are merged, so that chains have no circles.
pub(super) fn merge(txn: &mut Txn<'_>, kept: SubjectId, gone: SubjectId) -> Result<(), Error> {
    let kept = txn.db.find_subject(kept)?;
    let gone = txn.db.canonical_row(txn.db.find_subject(gone)?)?;
    if txn.db.canonical_row(kept)? == gone {
        return Ok(());
    }
    let sql = "INSERT INTO merges (gone, kept) VALUES (?1, ?2)";
    txn.db.connection.prepare_cached(sql)?.execute((gone, kept))?;
    txn.holders.insert(gone);
    txn.changed = true;
    Ok(())
}

pub(super) fn split(txn: &mut Txn<'_>, kept: SubjectId, gone: SubjectId) -> Result<(), Error> {
    let kept = txn.db.find_subject(kept)?;
    let mut gone = txn.db.find_subject(gone)?;
    while let Some(next) = txn.db.kept(gone)? {
        if next == kept {
            txn.db.connection.prepare_cached("DELETE FROM merges WHERE gone = ?1")?.execute([gone])?;
            txn.holders.insert(gone);
            txn.changed = true;
            break;
        }
        gone = next;
    }
    Ok(())
}

pub(super) fn pending(txn: &Txn<'_>, before: Timestamp) -> Result<Vec<SubjectId>, Error> {
    let sql = "SELECT h.body FROM pending p JOIN holders h ON h.n = p.n WHERE p.created_ms < ?1";
    let mut statement = txn.db.connection.prepare_cached(sql)?;
    let mut rows = statement.query([before.ms()])?;
    let mut subjects = Vec::new();
    while let Some(row) = rows.next()? {
        let body = Body::decode(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?)?;
        subjects.push(body.ok_or_else(|| corrupt("a destroyed holder is pending"))?.subject);
    }
    Ok(subjects)
}

/// Whoever was confirmed leaves marks, so that late events are told; whoever was not, leaves nothing.
pub(super) fn destroy(txn: &mut Txn<'_>, subject: SubjectId) -> Result<(), Error> {
    let Some(n) = txn.db.find(&place_of_subject(subject))? else { return Ok(()) };
    let body = txn.db.body(n)?;
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
        "DELETE FROM handles WHERE n = ?1 AND place = ?2",
    ] {
        let mut statement = connection.prepare_cached(sql)?;
        if statement.parameter_count() == 1 {
            statement.execute([n])?;
        } else {
            statement.execute((n, place_of_subject(subject)))?;
        }
    }
    let sql = "UPDATE holders SET body = ?2 WHERE n = ?1";
    connection.prepare_cached(sql)?.execute((n, [0u8; BODY]))?;
    if matches!(body.kind, HolderKind::Person | HolderKind::Device) {
        txn.count("people", -1)?;
    }
    txn.count(&format!("kek:{}", body.kek), -1)?;
    txn.slots.push((place_of_subject(subject), None));
    txn.changed = true;
    Ok(())
}

/// `meta` keeps how many tombs were buried, so that all holders are looked at only when there are more.
pub(super) fn bury(txn: &mut Txn<'_>, tombs: &HashSet<Digest>) -> Result<u64, Error> {
    let known = counts(txn.db.connection)?.into_iter().find(|(name, _)| name == "tombs");
    if known.map_or(0, |(_, count)| count) == tombs.len() as i64 {
        return Ok(0);
    }
    let mut risen = Vec::new();
    {
        let mut statement = txn.db.connection.prepare("SELECT body FROM holders")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let body = Body::decode(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?)?;
            risen.extend(body.map(|body| body.subject).filter(|subject| tombs.contains(&tomb(*subject))));
        }
    }
    for subject in &risen {
        destroy(txn, *subject)?;
    }
    let sql =
        "INSERT INTO meta (name, value) VALUES ('tombs', ?1) ON CONFLICT (name) DO UPDATE SET value = ?1";
    txn.db.connection.execute(sql, [tombs.len() as i64])?;
    Ok(risen.len() as u64)
}

pub(super) fn candidates(
    db: &mut Db<'_>,
    identifier: &Identifier,
    at: Option<Timestamp>,
) -> Result<Vec<Candidate>, Error> {
    let marking = db.shared.marker.mark(identifier);
    let facts = db.facts(identifier, &marking)?;
    let asked = |known: &&super::Known| at.is_none_or(|at| known.binding.may_mean(identifier.kind, at));
    let mut found: Vec<Candidate> = facts
        .bindings
        .iter()
        .filter(asked)
        .map(|known| Candidate {
            subject: known.binding.subject,
            kind: known.binding.owner.kind,
            from: known.binding.from,
            to: known.binding.to,
        })
        .collect();
    let sql = "SELECT s.first_ms, h.body FROM seen s JOIN holders h ON h.n = s.n WHERE s.place = ?1";
    let mut statement = db.connection.prepare_cached(sql)?;
    let older = db.shared.marker.older(identifier);
    for marking in std::iter::once(marking).chain(older) {
        let mut rows = statement.query([marking.place])?;
        while let Some(row) = rows.next()? {
            let body = Body::decode(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?)?;
            let body = body.ok_or_else(|| corrupt("a destroyed holder was seen"))?;
            let from = time(row, 0)?;
            if at.is_none_or(|at| from <= at) {
                found.push(Candidate { subject: body.subject, kind: body.kind, from, to: None });
            }
        }
    }
    found.sort_by_key(|candidate| (candidate.from, candidate.subject));
    Ok(found)
}

pub(super) fn identifiers(
    db: &mut Db<'_>,
    subject: SubjectId,
) -> Result<Vec<(Identifier, Candidate)>, Error> {
    let n = db.find_subject(subject)?;
    let holder = db.holder(subject)?;
    let sql = "SELECT kind, realm, sealed, from_ms, to_ms FROM bindings WHERE n = ?1
               UNION ALL SELECT kind, realm, sealed, first_ms, NULL FROM seen WHERE n = ?1
               ORDER BY 4";
    let mut statement = db.connection.prepare_cached(sql)?;
    let mut rows = statement.query([n])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let candidate =
            Candidate { subject, kind: holder.kind, from: time(row, 3)?, to: time_or_none(row, 4)? };
        found.push((opened(&holder, row)?, candidate));
    }
    Ok(found)
}

/// Columns 0 to 2: kind, realm, sealed value.
fn opened(holder: &Holder, row: &rusqlite::Row<'_>) -> Result<Identifier, Error> {
    let wrong = || corrupt("a row's identifier cannot be read");
    let kind = row.get::<_, String>(0)?.parse().map_err(|_| wrong())?;
    let realm = match row.get::<_, Option<String>>(1)? {
        Some(realm) => Some(realm.parse().map_err(|_| wrong())?),
        None => None,
    };
    let key = holder.identity.as_ref().ok_or_else(wrong)?;
    let sealed = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
    let plain = open_value(key, holder.subject, sealed)?;
    let value = std::str::from_utf8(&plain).map_err(|_| wrong())?;
    Ok(Identifier { kind, realm, value: Personal::new(value.to_owned()) })
}

pub(super) fn status(db: &Db<'_>) -> Result<Status, Error> {
    let counts = counts(db.connection)?;
    let count = |name: &str| {
        let found = counts.iter().find(|(n, _)| n == name).map_or(0, |(_, count)| *count);
        u64::try_from(found).unwrap_or(0)
    };
    let pending: i64 = db.connection.query_row("SELECT count(*) FROM pending", [], |row| row.get(0))?;
    Ok(Status {
        people: count("people"),
        pending: u64::try_from(pending).unwrap_or(0),
        generation: count("generation"),
        kek_epoch: db.shared.keyring.active_kek()?.0,
    })
}

/// The numbers in `meta`.
pub(super) fn counts(connection: &Connection) -> Result<Vec<(String, i64)>, Error> {
    let sql = "SELECT name, value FROM meta WHERE typeof(value) = 'integer'";
    let mut statement = connection.prepare(sql)?;
    let counts = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    Ok(counts)
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
            let (last, rows) = self.write(move |txn| rewrap(txn, after)).await?;
            passed += rows as u64;
            progress(passed);
            if rows < BATCH as usize {
                return self.truncate().await;
            }
            after = last;
        }
    }

    /// Forgets marks of erased identifiers whose time is over, and rewrites the file, so that
    /// nothing of what was deleted stays in the gaps of its pages (see `schema`). Takes about as
    /// long as copying the file, in which nothing else is written. To be run by a daily or weekly
    /// job, at the latest every 90 days.
    pub async fn scrub(&self) -> Result<(), Error> {
        let now = self.shared.clock.now();
        self.write(move |txn| {
            let sql = "DELETE FROM erased WHERE until_ms <= ?1";
            txn.db.connection.prepare_cached(sql)?.execute([now.ms()])?;
            txn.db.connection.execute("DELETE FROM holders WHERE body = ?1", [[0u8; BODY]])?;
            Ok(())
        })
        .await?;
        self.vacuum().await?;
        self.truncate().await
    }
}

fn rewrap(txn: &mut Txn<'_>, after: i64) -> Result<(i64, usize), Error> {
    let shared = txn.db.shared;
    let (epoch, kek) = shared.keyring.active_kek()?;
    let batch: Vec<(i64, Vec<u8>)> = txn
        .db
        .connection
        .prepare_cached("SELECT n, body FROM holders WHERE n > ?1 ORDER BY n LIMIT ?2")?
        .query_map((after, BATCH), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (n, body) in &batch {
        let Some(mut body) = Body::decode(body)? else { continue };
        if body.kek == epoch {
            continue;
        }
        let holder = body.unwrap(shared)?;
        txn.count(&format!("kek:{}", body.kek), -1)?;
        txn.count(&format!("kek:{epoch}"), 1)?;
        body.wrap(&holder, epoch, &kek)?;
        store(txn, *n, &body)?;
        txn.changed = true;
    }
    Ok((batch.last().map_or(after, |(n, _)| *n), batch.len()))
}
