//! Reads the whole vault and says what does not hold. Changes nothing.
//!
//! The first step looks at the file as a whole in one transaction: SQLite's own check, the sums of the
//! tables, the counts. A destruction does not wait for it: it is called off and begins again. All
//! others read some hundred rows each, on a connection of their own, so that nothing remembered hides
//! what is on the disk.

use rusqlite::{Connection, OptionalExtension};

use super::admin;
use super::marks::{Place, place_of_subject};
use super::rows::{BODY, Body, Db};
use super::seal::{DESTROYED, corrupt, open_value};
use super::{Shared, schema, sums};
use crate::domain::id::SubjectId;
use crate::domain::identity::Identifier;
use crate::domain::personal::Personal;
use crate::vault::check::{Cursor, Fault, FaultKind, Present, Step};
use crate::vault::{Error, Holder, HolderKind};

/// Rows of one step.
const ROWS: u32 = 500;
/// Complaints of SQLite that are told.
const COMPLAINTS: u32 = 20;
/// Times that the look at the whole file may be called off.
const AGAIN: u32 = 50;
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

const WHOLE: u32 = 0;
const HOLDERS: u32 = 1;
const HANDLES: u32 = 2;
/// And one for each of `BELONGING`.
const STRAYS: u32 = 3;

fn fault(kind: FaultKind, place: impl Into<String>, what: impl Into<String>) -> Fault {
    Fault { kind, place: place.into(), what: what.into() }
}

/// The stage after this one, from its beginning.
fn after(stage: u32) -> Option<Cursor> {
    let next = stage + 1;
    (next < STRAYS + BELONGING.len() as u32).then(|| Cursor { stage: next, ..Cursor::default() })
}

pub(super) fn step(shared: &Shared, from: &Cursor) -> Result<Step, Error> {
    let stepped = schema::open_reader(&shared.readers.path).and_then(|connection| match from.stage {
        WHOLE => whole(shared, connection, from),
        stage => {
            let transaction = connection.unchecked_transaction()?;
            match stage {
                HOLDERS => holders(&Db::new(&transaction, shared), from),
                HANDLES => handles(&transaction, from),
                _ => strays(&transaction, from),
            }
        }
    });
    match stepped {
        // Other stages may still say what it concerns.
        Err(error) if is_damage(&error) => {
            let faults = vec![fault(FaultKind::File, super::FILE, error.to_string())];
            Ok(Step { faults, next: after(from.stage), ..Step::default() })
        }
        stepped => stepped,
    }
}

/// Whether an error comes from what is stored: a schema that names other columns, a value of another
/// type. Those of the disk and of other users of the file may be gone the next time.
fn is_damage(error: &Error) -> bool {
    use rusqlite::ErrorCode::*;
    let Error::Unavailable { source, .. } = error else { return matches!(error, Error::Corrupt { .. }) };
    let Some(source) = source.as_ref().and_then(|source| source.downcast_ref::<rusqlite::Error>()) else {
        return false;
    };
    let passing = [OperationInterrupted, DatabaseBusy, DatabaseLocked, DiskFull, SystemIoFailure, CannotOpen];
    source.sqlite_error_code().is_none_or(|code| !passing.contains(&code))
}

fn is_called_off(error: &Error) -> bool {
    use rusqlite::ErrorCode::OperationInterrupted;
    let Error::Unavailable { source: Some(source), .. } = error else { return false };
    let source = source.downcast_ref::<rusqlite::Error>();
    source.and_then(rusqlite::Error::sqlite_error_code) == Some(OperationInterrupted)
}

fn whole(shared: &Shared, connection: Connection, from: &Cursor) -> Result<Step, Error> {
    let lock = || shared.checking.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    *lock() = Some(connection.get_interrupt_handle());
    let looked = look_at_all(shared, &connection);
    // Before the connection is closed: nobody may interrupt what is gone.
    *lock() = None;
    match looked {
        Ok(faults) => Ok(Step { faults, next: after(WHOLE), ..Step::default() }),
        Err(error) if is_called_off(&error) && from.again < AGAIN => {
            Ok(Step { next: Some(Cursor { again: from.again + 1, ..Cursor::default() }), ..Step::default() })
        }
        Err(error) if is_called_off(&error) => Err(Error::Unavailable {
            reason: "people are erased all the time, and the check of the vault does not come to its end; try later, \
                     or with the service stopped: `custody fsck --offline`",
            source: None,
        }),
        Err(error) => Err(error),
    }
}

fn look_at_all(shared: &Shared, connection: &Connection) -> Result<Vec<Fault>, Error> {
    let transaction = connection.unchecked_transaction()?;
    let mut faults = Vec::new();
    {
        let mut statement = transaction.prepare(&format!("PRAGMA integrity_check({COMPLAINTS})"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let said: String = row.get(0)?;
            if said != "ok" {
                // Its words name tables, pages and rows, never values.
                faults.push(fault(FaultKind::File, super::FILE, said));
            }
        }
    }
    for table in sums::wrong(&transaction)? {
        let what = "rows were changed, removed or added by something else than custody";
        faults.push(fault(FaultKind::Rows, table, what));
    }
    count(shared, &transaction, &mut faults)?;
    Ok(faults)
}

/// What `meta` says against what is there.
fn count(shared: &Shared, db: &Connection, faults: &mut Vec<Fault>) -> Result<(), Error> {
    let (mut people, mut evidence) = (0i64, 0i64);
    let mut of_epoch = std::collections::BTreeMap::<String, i64>::new();
    let mut statement = db.prepare("SELECT body FROM holders")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let body = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
        // One that cannot be read is told with its row.
        let Ok(Some(body)) = Body::decode(body) else { continue };
        let person = matches!(body.kind, HolderKind::Person | HolderKind::Device);
        people += i64::from(person && body.identity != DESTROYED);
        evidence += i64::from(body.identity == DESTROYED);
        *of_epoch.entry(format!("kek:{}", body.kek)).or_default() += 1;
    }
    of_epoch.extend([("people".to_owned(), people), ("evidence".to_owned(), evidence)]);
    let kept = admin::counts(db)?;
    for (name, value) in &kept {
        match name.as_str() {
            "people" | "evidence" => {}
            name if name.starts_with("kek:") => _ = of_epoch.entry(name.to_owned()).or_default(),
            "generation" | "tombs" | "scrubbed" if *value >= 0 => {}
            // How far a move to another look-up key has come (`rotate.rs`).
            name if name.starts_with("remark:") || name.starts_with("lookup:") => {}
            name if sums::TABLES.iter().any(|(table, _)| sums::name_of(table) == name) => {}
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
            && shared.keyring.kek(epoch).is_err()
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
    let mut statement = db.connection.prepare(sql)?;
    let mut rows = statement.query((number_of(from), ROWS))?;
    let (mut step, mut last, mut count) = (Step::default(), 0i64, 0);
    while let Some(row) = rows.next()? {
        (last, count) = (row.get(0)?, count + 1);
        let place = format!("holders, row {last}");
        let bytes = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        let body = match Body::decode(bytes) {
            Ok(None) => continue,
            Ok(Some(body)) if body.encode()[..] == *bytes => body,
            _ => {
                step.faults.push(fault(FaultKind::Holder, place, "the row cannot be read"));
                continue;
            }
        };
        let (pending, evidence_only) = (row.get(2)?, body.identity == DESTROYED);
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
    }
    let more = Cursor { stage: HOLDERS, after: last.to_le_bytes().to_vec(), again: 0 };
    step.next = if count == ROWS { Some(more) } else { after(HOLDERS) };
    Ok(step)
}

/// What is bound to a holder or was seen with it opens, and leads back to where it stands.
fn identifiers(db: &Db<'_>, n: i64, holder: &Holder, faults: &mut Vec<Fault>) -> Result<(), Error> {
    for table in ["bindings", "seen"] {
        let sql = format!("SELECT place, lookup, kind, realm, sealed FROM {table} WHERE n = ?1");
        let mut statement = db.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([n])?;
        while let Some(row) = rows.next()? {
            let place = || format!("{table}, of holder {n}");
            let Some((there, lookup, identifier)) = opened(holder, row) else {
                faults.push(fault(FaultKind::Identifier, place(), "the row does not open"));
                continue;
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
        }
    }
    Ok(())
}

fn opened(holder: &Holder, row: &rusqlite::Row<'_>) -> Option<(Place, u32, Identifier)> {
    let kind = row.get_ref(2).ok()?.as_str().ok()?.parse().ok()?;
    let realm = match row.get_ref(3).ok()?.as_str_or_null().ok()? {
        Some(realm) => Some(realm.parse().ok()?),
        None => None,
    };
    let sealed = row.get_ref(4).ok()?.as_blob().ok()?;
    let plain = open_value(holder.identity.as_ref()?, holder.subject, sealed).ok()?;
    let value = Personal::new(std::str::from_utf8(&plain).ok()?.to_owned());
    Some((row.get(0).ok()?, row.get(1).ok()?, Identifier { kind, realm, value }))
}

/// Every handle leads to a living holder whose it is; organisations and matters have a name besides.
fn handles(db: &Connection, from: &Cursor) -> Result<Step, Error> {
    let sql = "SELECT a.place, a.n, h.body FROM handles a LEFT JOIN holders h ON h.n = a.n
               WHERE a.place > ?1 ORDER BY a.place LIMIT ?2";
    let mut statement = db.prepare(sql)?;
    let mut rows = statement.query((&from.after, ROWS))?;
    let (mut step, mut last, mut count) = (Step::default(), Vec::new(), 0);
    while let Some(row) = rows.next()? {
        (last, count) = (row.get::<_, Vec<u8>>(0)?, count + 1);
        let place = format!("handles, of holder {}", row.get::<_, i64>(1)?);
        match living(row, 2)? {
            None => step.faults.push(fault(FaultKind::Stray, place, "there is no such holder")),
            Some(body) => {
                let named = matches!(body.kind, HolderKind::Organisation | HolderKind::Matter);
                if !named && last != place_of_subject(body.subject) {
                    step.faults.push(fault(FaultKind::Stray, place, "it is not that holder's"));
                }
            }
        }
    }
    let more = Cursor { stage: HANDLES, after: last, again: 0 };
    step.next = if count == ROWS { Some(more) } else { after(HANDLES) };
    Ok(step)
}

/// The holder of a joined row. One that cannot be read counts as there: it is told elsewhere.
fn living(row: &rusqlite::Row<'_>, column: usize) -> Result<Option<Body>, Error> {
    let Some(bytes) = row.get_ref(column)?.as_blob_or_null().map_err(rusqlite::Error::from)? else {
        return Ok(None);
    };
    Body::decode(bytes)
}

fn strays(db: &Connection, from: &Cursor) -> Result<Step, Error> {
    let (table, column) = BELONGING[(from.stage - STRAYS) as usize];
    let sql = format!(
        "SELECT DISTINCT t.{column}, h.body FROM {table} t LEFT JOIN holders h ON h.n = t.{column}
         WHERE t.{column} > ?1 ORDER BY t.{column} LIMIT ?2"
    );
    let mut statement = db.prepare(&sql)?;
    let mut rows = statement.query((number_of(from), ROWS))?;
    let (mut step, mut last, mut count) = (Step::default(), 0i64, 0);
    while let Some(row) = rows.next()? {
        (last, count) = (row.get(0)?, count + 1);
        let there = row.get_ref(1)?.as_blob_or_null().map_err(rusqlite::Error::from)?;
        if there.is_none_or(|body| body.len() == BODY && body.iter().all(|byte| *byte == 0)) {
            let place = format!("{table}, {column} {last}");
            step.faults.push(fault(FaultKind::Stray, place, "there is no such holder"));
        }
        if column == "gone" && goes_in_circles(db, last)? {
            step.faults.push(fault(
                FaultKind::Stray,
                format!("merges, gone {last}"),
                "merges lead in a circle",
            ));
        }
    }
    let more = Cursor { stage: from.stage, after: last.to_le_bytes().to_vec(), again: 0 };
    step.next = if count == ROWS { Some(more) } else { after(from.stage) };
    Ok(step)
}

fn goes_in_circles(db: &Connection, first: i64) -> Result<bool, Error> {
    let mut statement = db.prepare_cached("SELECT kept FROM merges WHERE gone = ?1")?;
    let mut passed = std::collections::HashSet::from([first]);
    let mut at = first;
    while let Some(next) = statement.query_row([at], |row| row.get::<_, i64>(0)).optional()? {
        if !passed.insert(next) {
            return Ok(true);
        }
        at = next;
    }
    Ok(false)
}

pub(super) fn absent(db: &Db<'_>, subjects: &[SubjectId]) -> Result<Vec<SubjectId>, Error> {
    let sql = "SELECT h.body FROM handles a JOIN holders h ON h.n = a.n WHERE a.place = ?1";
    let mut statement = db.connection.prepare_cached(sql)?;
    let mut absent = Vec::new();
    for subject in subjects {
        let found = statement.query_row([place_of_subject(*subject)], |row| row.get::<_, Vec<u8>>(0));
        let body =
            found.optional()?.map(|body| Body::decode(&body).map_err(|_| corrupt("a row cannot be read")));
        // A row that cannot be read is told by the check itself.
        if matches!(body, None | Some(Ok(None))) {
            absent.push(*subject);
        }
    }
    Ok(absent)
}
