//! Everything but resolving, erasing and moving to new keys: links, merges, reports, counts.

use std::sync::Arc;

use super::cache::{Known, Slot};
use super::change::{apply, create, name};
use super::marks::Place;
use super::rows::{BODY, Body, Db, Facts, time, time_or_none};
use super::seal::{corrupt, open_value};
use super::txn::Txn;
use super::{Row, Sql, Value, values};
use crate::domain::id::SubjectId;
use crate::domain::identity::resolve::{self, Change, HolderKind, Use};
use crate::domain::identity::{Class, Identifier};
use crate::domain::personal::Personal;
use crate::domain::time::Timestamp;
use crate::vault::{Candidate, Error, Holder, Marked, Status};

pub fn holder_of(txn: &mut Txn<'_>, kind: HolderKind, place: Place) -> Result<Arc<Holder>, Error> {
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

pub fn link(
    txn: &mut Txn<'_>,
    subject: SubjectId,
    identifier: &Identifier,
    from: Timestamp,
    to: Option<Timestamp>,
) -> Result<Marked, Error> {
    let n = txn.db.find_subject(subject)?;
    let canonical = txn.db.body(txn.db.canonical_row(n)?)?.subject;
    let marking = txn.db.marker.mark(identifier);
    let facts = txn.db.facts(identifier, &marking)?;
    let (usage, mut changes) = resolve::link(&facts.bindings, canonical, from, to);
    if identifier.kind.class() == Class::Strong && !txn.db.body(n)?.account {
        changes.push(Change::Account);
    }
    execute(txn, subject, identifier, facts, changes)?;
    Ok(Marked { kind: identifier.kind, mark: marking.mark, usage })
}

pub fn unlink(
    txn: &mut Txn<'_>,
    subject: SubjectId,
    identifier: &Identifier,
    to: Timestamp,
) -> Result<Marked, Error> {
    let n = txn.db.find_subject(subject)?;
    let canonical = txn.db.body(txn.db.canonical_row(n)?)?.subject;
    let marking = txn.db.marker.mark(identifier);
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
    let marking = [txn.db.marker.mark(identifier)];
    let (identifier, facts) = (std::slice::from_ref(identifier), [facts]);
    for change in changes {
        apply(txn, (n, &holder), identifier, &marking, &facts, change)?;
        txn.changed = true;
    }
    Ok(())
}

/// Only ends of chains are merged, so that chains have no circles.
pub fn merge(txn: &mut Txn<'_>, kept: SubjectId, gone: SubjectId) -> Result<(), Error> {
    let kept = txn.db.find_subject(kept)?;
    let gone = txn.db.canonical_row(txn.db.find_subject(gone)?)?;
    if txn.db.canonical_row(kept)? == gone {
        return Ok(());
    }
    txn.db.sql.run("INSERT INTO merges (gone, kept) VALUES (?1, ?2)", values![gone, kept])?;
    txn.holders.insert(gone);
    txn.changed = true;
    Ok(())
}

pub fn split(txn: &mut Txn<'_>, kept: SubjectId, gone: SubjectId) -> Result<(), Error> {
    let kept = txn.db.find_subject(kept)?;
    let mut gone = txn.db.find_subject(gone)?;
    while let Some(next) = txn.db.kept(gone)? {
        if next == kept {
            txn.db.sql.run("DELETE FROM merges WHERE gone = ?1", values![gone])?;
            txn.holders.insert(gone);
            txn.changed = true;
            break;
        }
        gone = next;
    }
    Ok(())
}

pub fn pending(txn: &Txn<'_>, before: Timestamp) -> Result<Vec<SubjectId>, Error> {
    let sql = "SELECT h.body FROM pending p JOIN holders h ON h.n = p.n WHERE p.created_ms < ?1";
    txn.db.sql.all(sql, values![before.ms()], |row| {
        let body = Body::decode(row.bytes(0)?)?;
        Ok(body.ok_or_else(|| corrupt("a destroyed holder is pending"))?.subject)
    })
}

pub fn candidates(
    db: &mut Db<'_>,
    identifier: &Identifier,
    at: Option<Timestamp>,
) -> Result<Vec<Candidate>, Error> {
    let marking = db.marker.mark(identifier);
    let facts = db.facts(identifier, &marking)?;
    let asked = |known: &&Known| at.is_none_or(|at| known.binding.may_mean(identifier.kind, at));
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
    let older = db.marker.older(identifier);
    for marking in std::iter::once(marking).chain(older) {
        db.sql.query(sql, values![&marking.place], &mut |row| {
            let body = Body::decode(row.bytes(1)?)?;
            let body = body.ok_or_else(|| corrupt("a destroyed holder was seen"))?;
            let from = time(row, 0)?;
            if at.is_none_or(|at| from <= at) {
                found.push(Candidate { subject: body.subject, kind: body.kind, from, to: None });
            }
            Ok(())
        })?;
    }
    found.sort_by_key(|candidate| (candidate.from, candidate.subject));
    Ok(found)
}

pub fn identifiers(db: &mut Db<'_>, subject: SubjectId) -> Result<Vec<(Identifier, Candidate)>, Error> {
    let n = db.find_subject(subject)?;
    let holder = db.holder(subject)?;
    let sql = "SELECT kind, realm, sealed, from_ms, to_ms FROM bindings WHERE n = ?1
               UNION ALL SELECT kind, realm, sealed, first_ms, NULL FROM seen WHERE n = ?1
               ORDER BY 4";
    db.sql.all(sql, values![n], |row| {
        let candidate =
            Candidate { subject, kind: holder.kind, from: time(row, 3)?, to: time_or_none(row, 4)? };
        Ok((opened(&holder, row)?, candidate))
    })
}

/// Columns 0 to 2: kind, realm, sealed value.
pub fn opened(holder: &Holder, row: &dyn Row) -> Result<Identifier, Error> {
    let wrong = || corrupt("a row's identifier cannot be read");
    let kind = row.text(0)?.parse().map_err(|_| wrong())?;
    let realm = match row.text_or_none(1)? {
        Some(realm) => Some(realm.parse().map_err(|_| wrong())?),
        None => None,
    };
    let key = holder.identity.as_ref().ok_or_else(wrong)?;
    let plain = open_value(key, holder.subject, row.bytes(2)?)?;
    let value = std::str::from_utf8(&plain).map_err(|_| wrong())?;
    Ok(Identifier { kind, realm, value: Personal::new(value.to_owned()) })
}

pub fn status(db: &Db<'_>) -> Result<Status, Error> {
    let counts = counts(db.sql)?;
    let count = |name: &str| {
        let found = counts.iter().find(|(n, _)| n == name).map_or(0, |(_, count)| *count);
        u64::try_from(found).unwrap_or(0)
    };
    let pending = db.sql.number("SELECT count(*) FROM pending", &[])?;
    Ok(Status {
        people: count("people"),
        pending: u64::try_from(pending).unwrap_or(0),
        generation: count("generation"),
        kek_epoch: db.shared.keyring.active_kek()?.0,
    })
}

/// The numbers in `meta`.
pub fn counts(sql: &dyn Sql) -> Result<Vec<(String, i64)>, Error> {
    let mut counts = Vec::new();
    sql.query("SELECT name, value FROM meta", &[], &mut |row| {
        if let Value::Int(count) = row.value(1)? {
            counts.push((row.text(0)?.to_owned(), count));
        }
        Ok(())
    })?;
    Ok(counts)
}

/// In `meta`, in milliseconds.
pub const SCRUBBED: &str = "scrubbed";

/// Forgets what need not be kept any more, before everything is written anew.
pub fn tidy(txn: &mut Txn<'_>, now: Timestamp) -> Result<(), Error> {
    txn.db.sql.long();
    txn.db.sql.execute("DELETE FROM erased WHERE until_ms <= ?1", values![now.ms()])?;
    super::rotate::note_forgotten(txn)?;
    txn.db.sql.long();
    txn.db.sql.execute("DELETE FROM holders WHERE body = ?1", values![&[0u8; BODY]])?;
    Ok(())
}
