//! Executes what the rules decided, inside the writer's transaction.

use std::sync::Arc;

use super::marks::{Marking, Place, place_of_subject};
use super::rows::{Body, Db, Facts, SeenRow};
use super::seal::{DESTROYED, corrupt, new_key, random, seal_value};
use super::txn::{Txn, insert_seen};
use super::values;
use crate::domain::id::SubjectId;
use crate::domain::identity::resolve::{self, Binding, Change, Decision, Fact, Question, Use, Who};
use crate::domain::identity::{Class, Identifier, NORMALISER};
use crate::domain::time::Timestamp;
use crate::record::key::YearKey;
use crate::vault::{Entry, Error, Holder, HolderKind, Marked, Resolution};

/// Decides one entry on what is stored now, and stores what follows.
pub fn resolve(txn: &mut Txn<'_>, entry: &Entry) -> Result<Resolution, Error> {
    let (markings, facts) = facts_of(&mut txn.db, entry)?;
    let decision = decide(entry, &facts);
    let (n, holder, created) = match decision.who {
        Who::Nobody => return Ok(nobody(decision, entry, &markings)),
        Who::Existing(subject) => (txn.db.find_subject(subject)?, holder_in(&facts, subject)?, false),
        Who::New(kind) => {
            let (n, holder) = create(txn, kind)?;
            (n, holder, true)
        }
    };
    let mut uses = decision.uses;
    for change in decision.changes {
        if let Change::Associate { identifier } = change {
            let (named, marking) = (&entry.identifiers[identifier], &markings[identifier]);
            if !created && txn.db.was_seen(holder.subject, named, marking.place)? {
                uses[identifier] = Use::Known;
            } else {
                let row = SeenRow::new(&holder, named, marking, entry.occurred_at)?;
                insert_seen(txn, n, &row)?;
                txn.slots.push((row.pair(), Some(super::cache::Slot::Seen)));
            }
        } else {
            apply(txn, (n, &holder), &entry.identifiers, &markings, &facts, change)?;
            txn.changed = true;
        }
    }
    Ok(Resolution {
        holder: Some(holder),
        created,
        marks: marked(entry, &markings, &uses),
        conflicts: decision.conflicts,
        late_for_erased: false,
    })
}

pub fn facts_of(db: &mut Db<'_>, entry: &Entry) -> Result<(Vec<Marking>, Vec<Facts>), Error> {
    let markings: Vec<Marking> =
        entry.identifiers.iter().map(|identifier| db.marker.mark(identifier)).collect();
    db.ahead(&markings)?;
    let known = entry.identifiers.iter().zip(&markings);
    let facts = known.map(|(identifier, marking)| db.facts(identifier, marking)).collect::<Result<_, _>>()?;
    Ok((markings, facts))
}

pub fn decide(entry: &Entry, facts: &[Facts]) -> Decision {
    let about = |(identifier, facts)| fact(identifier, facts);
    let facts: Vec<_> = entry.identifiers.iter().zip(facts).map(about).collect();
    resolve::decide(&Question {
        facts: &facts,
        home_realm: entry.home_realm.as_ref(),
        at: entry.occurred_at,
        opens: entry.opens,
        act: entry.act,
    })
}

fn fact<'a>(identifier: &'a Identifier, facts: &'a Facts) -> Fact<'a, super::cache::Known> {
    Fact {
        kind: identifier.kind,
        realm: identifier.realm.as_ref(),
        bindings: &facts.bindings,
        erased: &facts.erased,
    }
}

pub fn nobody(decision: Decision, entry: &Entry, markings: &[Marking]) -> Resolution {
    Resolution {
        holder: None,
        created: false,
        marks: marked(entry, markings, &decision.uses),
        conflicts: decision.conflicts,
        late_for_erased: decision.late_for_erased,
    }
}

pub fn marked(entry: &Entry, markings: &[Marking], uses: &[Use]) -> Vec<Marked> {
    let all = entry.identifiers.iter().zip(markings).zip(uses);
    all.map(|((identifier, marking), usage)| Marked {
        kind: identifier.kind,
        mark: marking.mark,
        usage: *usage,
    })
    .collect()
}

pub fn holder_in(facts: &[Facts], subject: SubjectId) -> Result<Arc<Holder>, Error> {
    let known = facts.iter().flat_map(|facts| facts.bindings.iter());
    let found = known.into_iter().find(|known| known.binding.subject == subject);
    found.map(|known| Arc::clone(&known.holder)).ok_or_else(|| corrupt("a decision names a stranger"))
}

/// A new holder with keys of its own, pending until it is confirmed.
pub fn create(txn: &mut Txn<'_>, kind: HolderKind) -> Result<(i64, Arc<Holder>), Error> {
    let shared = txn.db.shared;
    let holder = Arc::new(Holder {
        subject: SubjectId(random()?),
        kind,
        link: new_key()?,
        year: YearKey::default(),
        identity: Some(new_key()?),
        evidence: Some(new_key()?),
    });
    let created_ms = shared.clock.now().ms();
    let mut body = Body {
        kind,
        account: false,
        kek: 0,
        created_ms,
        cancelled_at: None,
        subject: holder.subject,
        link: DESTROYED,
        identity: DESTROYED,
        evidence: DESTROYED,
    };
    let (epoch, kek) = shared.keyring.active_kek()?;
    body.wrap(&holder, epoch, &kek)?;
    let sql = "INSERT INTO holders (body) VALUES (?1) RETURNING n";
    let n = txn.db.sql.number(sql, values![&body.encode()])?;
    name(txn, &place_of_subject(holder.subject), n)?;
    if matches!(kind, HolderKind::Person | HolderKind::Device) {
        let sql = "INSERT INTO pending (n, created_ms) VALUES (?1, ?2)";
        txn.db.sql.run(sql, values![n, created_ms])?;
        txn.count("people", 1);
    }
    txn.count(&format!("kek:{epoch}"), 1);
    txn.created.insert(n);
    txn.db.know(n, &holder);
    txn.remember(&holder);
    txn.changed = true;
    Ok((n, holder))
}

pub fn name(txn: &Txn<'_>, place: &Place, n: i64) -> Result<(), Error> {
    let sql = "INSERT INTO handles (place, n) VALUES (?1, ?2)";
    txn.db.sql.run(sql, values![place, n])?;
    Ok(())
}

/// Stores one change. `who` is whom the decision names.
pub fn apply(
    txn: &mut Txn<'_>,
    who: (i64, &Holder),
    identifiers: &[Identifier],
    markings: &[Marking],
    facts: &[Facts],
    change: Change,
) -> Result<(), Error> {
    let (n, holder) = who;
    match change {
        Change::Bind { identifier, from, to, reaches } => {
            let new = NewBinding { from, to, reaches };
            bind(txn, n, holder, &identifiers[identifier], &markings[identifier], new)?;
        }
        Change::SetFrom { identifier, binding, from } => {
            let (old, place, n) = stored(&facts[identifier], binding);
            set_from(txn, &place, n, old.from.ms(), from.ms())?;
        }
        Change::SetTo { identifier, binding, to } => {
            let (old, place, n) = stored(&facts[identifier], binding);
            set_to(txn, &place, n, old.from.ms(), to)?;
        }
        Change::Account => edit(txn, n, |body| (body.account, body.cancelled_at) = (true, None))?,
        Change::Cancel { at } => {
            edit(txn, n, |body| body.cancelled_at = Some(at))?;
            end_contacts(txn, n, at)?;
        }
        Change::Associate { .. } => {}
    }
    if let Change::Bind { identifier, .. }
    | Change::SetFrom { identifier, .. }
    | Change::SetTo { identifier, .. } = change
    {
        // Nobody remembers that an identifier is unknown.
        if !facts[identifier].bindings.is_empty() {
            txn.published.insert(markings[identifier].place);
        }
        txn.touched.insert(markings[identifier].place);
    }
    Ok(())
}

fn stored(facts: &Facts, binding: usize) -> (Binding, Place, i64) {
    let (place, n) = facts.places[binding];
    (facts.bindings[binding].binding, place, n)
}

struct NewBinding {
    from: Timestamp,
    to: Option<Timestamp>,
    reaches: bool,
}

fn bind(
    txn: &Txn<'_>,
    n: i64,
    holder: &Holder,
    identifier: &Identifier,
    marking: &Marking,
    new: NewBinding,
) -> Result<(), Error> {
    let key = holder.identity.as_ref().ok_or_else(|| corrupt("a person has no identity key"))?;
    let sealed = seal_value(key, holder.subject, identifier.value.expose())?;
    let sql = "INSERT INTO bindings
               (place, n, from_ms, to_ms, reaches, kind, realm, normaliser, lookup, sealed)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
               ON CONFLICT (place, n, from_ms) DO UPDATE SET
               to_ms = excluded.to_ms, reaches = excluded.reaches, kind = excluded.kind,
               realm = excluded.realm, normaliser = excluded.normaliser, lookup = excluded.lookup,
               sealed = excluded.sealed";
    let bound = values![
        &marking.place,
        n,
        new.from.ms(),
        new.to.map(Timestamp::ms),
        new.reaches,
        identifier.kind.as_str(),
        identifier.realm.as_ref().map(|realm| realm.as_str()),
        u32::from(NORMALISER),
        marking.lookup,
        sealed.as_slice(),
    ];
    txn.db.sql.run(sql, bound)?;
    Ok(())
}

/// Takes the place of one that begins then.
fn set_from(txn: &Txn<'_>, place: &Place, n: i64, old: i64, new: i64) -> Result<(), Error> {
    if old == new {
        return Ok(());
    }
    let sql = "DELETE FROM bindings WHERE place = ?1 AND n = ?2 AND from_ms = ?3";
    txn.db.sql.run(sql, values![place, n, new])?;
    let sql = "UPDATE bindings SET from_ms = ?4 WHERE place = ?1 AND n = ?2 AND from_ms = ?3";
    txn.db.sql.run(sql, values![place, n, old, new])?;
    Ok(())
}

/// A binding that ends where it starts never was.
fn set_to(txn: &Txn<'_>, place: &Place, n: i64, from: i64, to: Option<Timestamp>) -> Result<(), Error> {
    let to = to.map(Timestamp::ms);
    if to.is_some_and(|to| to <= from) {
        let sql = "DELETE FROM bindings WHERE place = ?1 AND n = ?2 AND from_ms = ?3";
        txn.db.sql.run(sql, values![place, n, from])?;
    } else {
        let sql = "UPDATE bindings SET to_ms = ?4 WHERE place = ?1 AND n = ?2 AND from_ms = ?3";
        txn.db.sql.run(sql, values![place, n, from, to])?;
    }
    Ok(())
}

/// Changes a holder's row in place.
fn edit(txn: &mut Txn<'_>, n: i64, change: impl FnOnce(&mut Body)) -> Result<(), Error> {
    let mut body = txn.db.body(n)?;
    change(&mut body);
    store(txn, n, &body)?;
    txn.holders.insert(n);
    Ok(())
}

pub fn store(txn: &mut Txn<'_>, n: i64, body: &Body) -> Result<(), Error> {
    let sql = "UPDATE holders SET body = ?2 WHERE n = ?1";
    txn.db.sql.run(sql, values![n, &body.encode()])?;
    Ok(())
}

/// As `SetTo`: one that starts where it ends never was.
fn end_contacts(txn: &mut Txn<'_>, n: i64, at: Timestamp) -> Result<(), Error> {
    let contacts = crate::domain::identity::Kind::ALL.into_iter().filter(|k| k.class() == Class::Contact);
    let end = "UPDATE bindings SET to_ms = ?3
         WHERE n = ?1 AND kind = ?2 AND from_ms < ?3 AND (to_ms IS NULL OR to_ms > ?3)";
    let remove = "DELETE FROM bindings
         WHERE n = ?1 AND kind = ?2 AND from_ms = ?3 AND (to_ms IS NULL OR to_ms > ?3) RETURNING place";
    for kind in contacts {
        let whose = values![n, kind.as_str(), at.ms()];
        txn.db.sql.run(end, whose)?;
        let removed = txn.db.sql.all(remove, whose, |row| row.place(0))?;
        txn.published.extend(&removed);
        txn.touched.extend(removed);
    }
    Ok(())
}
