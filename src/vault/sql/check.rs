//! Reads the rows of the vault and says what does not hold. Changes nothing.
//!
//! Each step reads some hundred rows, on a connection of its own, so that nothing remembered hides what is
//! stored. What is to be looked at first, as a whole, the adapter knows.

use super::marks::{Place, place_of_subject};
use super::rows::{BODY, Body, Db};
use super::seal::{DESTROYED, open_value};
use super::{Row, Sql, admin, values};
use crate::domain::id::SubjectId;
use crate::domain::identity::Identifier;
use crate::domain::personal::Personal;
use crate::vault::check::{Cursor, Fault, FaultKind, Present, Step};
use crate::vault::{Error, Holder, HolderKind};

/// Rows of one step.
const ROWS: u32 = 500;
/// The tables whose rows belong to a holder, and the column that says to whom.
const BELONGING: [(&str, &str); 7] = [
    ("bindings", "n"),
    ("seen", "n"),
    ("pending", "n"),
    ("merges", "gone"),
    ("merges", "kept"),
    ("evidence", "n"),
    ("evidence_places", "n"),
];

pub const WHOLE: u32 = 0;
const HOLDERS: u32 = 1;
const HANDLES: u32 = 2;
/// And one for each of `BELONGING`.
const STRAYS: u32 = 3;

pub fn fault(kind: FaultKind, place: impl Into<String>, what: impl Into<String>) -> Fault {
    Fault { kind, place: place.into(), what: what.into() }
}

/// The stage after this one, from its beginning.
pub fn after(stage: u32) -> Option<Cursor> {
    let next = stage + 1;
    (next < STRAYS + BELONGING.len() as u32).then(|| Cursor { stage: next, ..Cursor::default() })
}

/// A step behind the first.
pub fn some(db: &Db<'_>, from: &Cursor) -> Result<Step, Error> {
    match from.stage {
        HOLDERS => holders(db, from),
        HANDLES => handles(db.sql, from),
        _ => strays(db.sql, from),
    }
}

/// What `meta` says against what is there. `own` says which other names of numbers the adapter knows.
pub fn count(db: &Db<'_>, own: impl Fn(&str) -> bool, faults: &mut Vec<Fault>) -> Result<(), Error> {
    let (mut people, mut evidence) = (0i64, 0i64);
    let mut of_epoch = std::collections::BTreeMap::<String, i64>::new();
    // Kind, key-encryption key, and whether the identity key is destroyed, as `Body` has them. What cannot be read
    // is told with its row.
    let sql =
        "SELECT substr(body, 1, 2), substr(body, 5, 4), substr(body, 101, 60) = ?1, count(*) FROM holders
               WHERE body <> ?2 AND length(body) = 220 GROUP BY 1, 2, 3";
    db.sql.long();
    db.sql.query(sql, values![&DESTROYED, &[0u8; BODY]], &mut |row| {
        let kind = row.bytes(0)?;
        let Ok(kek) = row.bytes(1)?.try_into().map(u32::from_le_bytes) else { return Ok(()) };
        let (nameless, there) = (row.truth(2)?, row.int(3)?);
        if !matches!(kind, [1, 1..=4]) {
            return Ok(());
        }
        // People and devices.
        people += there * i64::from(kind[1] <= 2 && !nameless);
        evidence += there * i64::from(nameless);
        *of_epoch.entry(format!("kek:{kek}")).or_default() += there;
        Ok(())
    })?;
    of_epoch.extend([("people".to_owned(), people), ("evidence".to_owned(), evidence)]);
    let kept = admin::counts(db.sql)?;
    for (name, value) in &kept {
        match name.as_str() {
            "people" | "evidence" => {}
            name if name.starts_with("kek:") => _ = of_epoch.entry(name.to_owned()).or_default(),
            "generation" | "tombs" | "scrubbed" if *value >= 0 => {}
            // How far a move to another look-up key has come (`rotate.rs`).
            name if name.starts_with("remark:") || name.starts_with("lookup:") => {}
            name if own(name) => {}
            _ => faults.push(fault(FaultKind::Count, "meta", "a number is kept that custody does not know")),
        }
    }
    for (name, there) in of_epoch {
        let said = kept.iter().find(|(kept, _)| *kept == name).map_or(0, |(_, value)| *value);
        if said != there {
            let what = format!("`{name}` says {said}, but there are {there}");
            faults.push(fault(FaultKind::Count, "meta", what));
        }
        if let Some(epoch) = name.strip_prefix("kek:").and_then(|epoch| epoch.parse().ok())
            && there > 0
            && db.shared.keyring.kek(epoch).is_err()
        {
            let what = format!("{there} holders are locked with kek key {epoch}");
            faults.push(fault(FaultKind::Keyring, "holders", what));
        }
    }
    Ok(())
}

fn number_of(from: &Cursor) -> i64 {
    from.after.first_chunk().map_or(i64::MIN, |bytes| i64::from_le_bytes(*bytes))
}

fn holders(db: &Db<'_>, from: &Cursor) -> Result<Step, Error> {
    let sql = "SELECT h.n, h.body, p.n IS NOT NULL FROM holders h LEFT JOIN pending p ON p.n = h.n
               WHERE h.n > ?1 ORDER BY h.n LIMIT ?2";
    let (mut step, mut last, mut count) = (Step::default(), 0i64, 0);
    db.sql.query(sql, values![number_of(from), ROWS], &mut |row| {
        (last, count) = (row.int(0)?, count + 1);
        let place = format!("holders, row {last}");
        let bytes = row.bytes(1)?;
        let body = match Body::decode(bytes) {
            Ok(None) => return Ok(()),
            Ok(Some(body)) if body.encode()[..] == *bytes => body,
            _ => {
                step.faults.push(fault(FaultKind::Holder, place, "the row cannot be read"));
                return Ok(());
            }
        };
        let (pending, evidence_only) = (row.truth(2)?, body.identity == DESTROYED);
        step.holders.push(Present { subject: body.subject, kind: body.kind, pending, evidence_only });
        if db.find(&place_of_subject(body.subject))? != Some(last) {
            step.faults.push(fault(FaultKind::Holder, &place, "its handle does not lead to it"));
        }
        match body.unwrap(db.shared) {
            Ok(holder) => identifiers(db, last, &holder, &mut step.faults)?,
            // Counted with all others of its epoch.
            Err(Error::Keyring(_)) => {}
            Err(_) => step.faults.push(fault(FaultKind::Holder, place, "its keys do not open")),
        }
        Ok(())
    })?;
    let more = Cursor { stage: HOLDERS, after: last.to_le_bytes().to_vec(), again: 0 };
    step.next = if count == ROWS { Some(more) } else { after(HOLDERS) };
    Ok(step)
}

/// What is bound to a holder or was seen with it opens, and leads back to where it stands.
fn identifiers(db: &Db<'_>, n: i64, holder: &Holder, faults: &mut Vec<Fault>) -> Result<(), Error> {
    for table in ["bindings", "seen"] {
        let sql = format!("SELECT place, lookup, kind, realm, sealed FROM {table} WHERE n = ?1");
        db.sql.query(&sql, values![n], &mut |row| {
            let place = || format!("{table}, of holder {n}");
            let Some((there, lookup, identifier)) = opened(holder, row) else {
                faults.push(fault(FaultKind::Identifier, place(), "the row does not open"));
                return Ok(());
            };
            match db.shared.marker().place_under(lookup, &identifier) {
                Some(leads) if leads == there => {}
                Some(_) => {
                    faults.push(fault(FaultKind::Identifier, place(), "its identifier does not lead to it"));
                }
                None => {
                    let what = format!("a row stands under lookup key {lookup}");
                    faults.push(fault(FaultKind::Keyring, place(), what));
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn opened(holder: &Holder, row: &dyn Row) -> Option<(Place, u32, Identifier)> {
    let kind = row.text(2).ok()?.parse().ok()?;
    let realm = match row.text_or_none(3).ok()? {
        Some(realm) => Some(realm.parse().ok()?),
        None => None,
    };
    let plain = open_value(holder.identity.as_ref()?, holder.subject, row.bytes(4).ok()?).ok()?;
    let value = Personal::new(std::str::from_utf8(&plain).ok()?.to_owned());
    let lookup = u32::try_from(row.int(1).ok()?).ok()?;
    Some((row.place(0).ok()?, lookup, Identifier { kind, realm, value }))
}

/// Every handle leads to a living holder whose it is; organisations and matters have a name besides.
fn handles(sql: &dyn Sql, from: &Cursor) -> Result<Step, Error> {
    let some = "SELECT a.place, a.n, h.body FROM handles a LEFT JOIN holders h ON h.n = a.n
               WHERE a.place > ?1 ORDER BY a.place LIMIT ?2";
    let (mut step, mut last, mut count) = (Step::default(), Vec::new(), 0);
    sql.query(some, values![from.after.as_slice(), ROWS], &mut |row| {
        (last, count) = (row.bytes(0)?.to_vec(), count + 1);
        let place = format!("handles, of holder {}", row.int(1)?);
        match living(row, 2)? {
            None => step.faults.push(fault(FaultKind::Stray, place, "there is no such holder")),
            Some(body) => {
                let named = matches!(body.kind, HolderKind::Organisation | HolderKind::Matter);
                if !named && last != place_of_subject(body.subject) {
                    step.faults.push(fault(FaultKind::Stray, place, "it is not that holder's"));
                }
            }
        }
        Ok(())
    })?;
    let more = Cursor { stage: HANDLES, after: last, again: 0 };
    step.next = if count == ROWS { Some(more) } else { after(HANDLES) };
    Ok(step)
}

/// The holder of a joined row. One that cannot be read counts as there: it is told elsewhere.
fn living(row: &dyn Row, column: usize) -> Result<Option<Body>, Error> {
    row.bytes_or_none(column)?.map_or(Ok(None), Body::decode)
}

fn strays(sql: &dyn Sql, from: &Cursor) -> Result<Step, Error> {
    let (table, column) = BELONGING[(from.stage - STRAYS) as usize];
    let some = format!(
        "SELECT DISTINCT t.{column}, h.body FROM {table} t LEFT JOIN holders h ON h.n = t.{column}
         WHERE t.{column} > ?1 ORDER BY t.{column} LIMIT ?2"
    );
    let (mut step, mut last, mut count) = (Step::default(), 0i64, 0);
    sql.query(&some, values![number_of(from), ROWS], &mut |row| {
        (last, count) = (row.int(0)?, count + 1);
        let there = row.bytes_or_none(1)?;
        if there.is_none_or(|body| body.len() == BODY && body.iter().all(|byte| *byte == 0)) {
            let place = format!("{table}, {column} {last}");
            step.faults.push(fault(FaultKind::Stray, place, "there is no such holder"));
        }
        if column == "gone" && goes_in_circles(sql, last)? {
            step.faults.push(fault(
                FaultKind::Stray,
                format!("merges, gone {last}"),
                "merges lead in a circle",
            ));
        }
        Ok(())
    })?;
    let more = Cursor { stage: from.stage, after: last.to_le_bytes().to_vec(), again: 0 };
    step.next = if count == ROWS { Some(more) } else { after(from.stage) };
    Ok(step)
}

fn goes_in_circles(sql: &dyn Sql, first: i64) -> Result<bool, Error> {
    let kept = "SELECT kept FROM merges WHERE gone = ?1";
    let mut passed = std::collections::HashSet::from([first]);
    let mut at = first;
    while let Some(next) = sql.first(kept, values![at], |row| row.int(0))? {
        if !passed.insert(next) {
            return Ok(true);
        }
        at = next;
    }
    Ok(false)
}

pub fn absent(db: &Db<'_>, subjects: &[SubjectId]) -> Result<Vec<SubjectId>, Error> {
    let sql = "SELECT h.body FROM handles a JOIN holders h ON h.n = a.n WHERE a.place = ?1";
    let mut absent = Vec::new();
    for subject in subjects {
        // A row that cannot be read is told by the check itself.
        let found = db.sql.first(sql, values![&place_of_subject(*subject)], |row| {
            Ok(row.bytes(0).and_then(Body::decode).is_ok_and(|body| body.is_none()))
        })?;
        if found != Some(false) {
            absent.push(*subject);
        }
    }
    Ok(absent)
}
