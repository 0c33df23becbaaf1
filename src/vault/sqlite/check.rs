//! Reads the whole vault and says what does not hold. Changes nothing.
//!
//! The first step looks at the file as a whole in one transaction: SQLite's own check, the sums of the
//! tables, the counts. A destruction does not wait for it: it is called off and begins again. All
//! others read some hundred rows each, on a connection of their own, so that nothing remembered hides
//! what is on the disk.

use rusqlite::Connection;

use super::{Shared, schema, sums};
use crate::vault::Error;
use crate::vault::check::{Cursor, Fault, FaultKind, Step};
use crate::vault::sql::check::{WHOLE, after, count, fault, some};
use crate::vault::sql::rows::Db;

/// Complaints of SQLite that are told.
const COMPLAINTS: u32 = 20;
/// Times that the look at the whole file may be called off.
const AGAIN: u32 = 50;

pub(super) fn step(shared: &Shared, from: &Cursor) -> Result<Step, Error> {
    let stepped = schema::open_reader(&shared.readers.path).and_then(|connection| match from.stage {
        WHOLE => whole(shared, connection, from),
        _ => {
            let transaction = connection.unchecked_transaction()?;
            some(&Db::writing(&*transaction, shared), from)
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
    let is_sum = |name: &str| sums::TABLES.iter().any(|(table, _)| sums::name_of(table) == name);
    count(&Db::writing(&*transaction, shared), is_sum, &mut faults)?;
    Ok(faults)
}
