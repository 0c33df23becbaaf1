//! Tables, and how a connection is opened.
//!
//! What is destroyed must leave no copy in the file. `secure_delete` overwrites what is deleted, but
//! when SQLite splits or joins pages it moves rows and leaves their old bytes in the gap of the page
//! they came from (`rebuildPage` in its source). Hence keys live in a table whose rows never move:
//! appended in the order of an integer key, all of one length, overwritten in place, never deleted
//! (but by `scrub`, which rewrites the whole file). Rows that may move hold only numbers, hashed
//! handles, values sealed under the holder's own key, and keyed places of identifiers; of the last
//! a copy may stay in a gap until the next scrub, which has to come within the 90 days for which
//! they may be kept at all.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::sums;
use crate::vault::Error;

/// What an operator reads first when the vault cannot be used.
const DAMAGED: &str = "SQLite finds the file damaged; keep it as it is and put back the newest copy of the `vault` folder, the \
     keyring and the log stay";

/// `user_version` of the file.
const VERSION: i64 = 2;

const TABLES: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
    -- One fixed-length row per holder (rows.rs), overwritten with zeros when it is destroyed.
    CREATE TABLE holders (n INTEGER PRIMARY KEY, body BLOB NOT NULL CHECK (length(body) = 220));
    -- Hashed handle or name of a holder.
    CREATE TABLE handles (place BLOB PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE pending (n INTEGER PRIMARY KEY, created_ms INTEGER NOT NULL);
    CREATE TABLE merges (gone INTEGER PRIMARY KEY, kept INTEGER NOT NULL);
    CREATE INDEX merges_kept ON merges (kept);
    -- An identifier is a holder's for [from_ms, to_ms).
    CREATE TABLE bindings (
        place BLOB NOT NULL, n INTEGER NOT NULL, from_ms INTEGER NOT NULL, to_ms INTEGER,
        reaches INTEGER NOT NULL, kind TEXT NOT NULL, realm TEXT, normaliser INTEGER NOT NULL,
        lookup INTEGER NOT NULL, sealed BLOB NOT NULL,
        PRIMARY KEY (place, n, from_ms)
    ) WITHOUT ROWID;
    CREATE INDEX bindings_n ON bindings (n);
    -- A shared identifier was seen with a holder.
    CREATE TABLE seen (
        n INTEGER NOT NULL, place BLOB NOT NULL, first_ms INTEGER NOT NULL,
        kind TEXT NOT NULL, realm TEXT, normaliser INTEGER NOT NULL,
        lookup INTEGER NOT NULL, sealed BLOB NOT NULL,
        PRIMARY KEY (n, place)
    ) WITHOUT ROWID;
    CREATE INDEX seen_place ON seen (place);
    -- An identifier was an erased person's for [from_ms, to_ms); kept until until_ms.
    CREATE TABLE erased (
        place BLOB NOT NULL, from_ms INTEGER, to_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL
    );
    CREATE INDEX erased_place ON erased (place);
";

/// What version 2 added: of an erased person whose link and evidence keys stay until until_ms, and where
/// they are found under the evidence look-up key.
const EVIDENCE: &str = "
    CREATE TABLE evidence (n INTEGER PRIMARY KEY, until_ms INTEGER NOT NULL);
    CREATE INDEX evidence_until ON evidence (until_ms);
    CREATE TABLE evidence_places (place BLOB NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (place, n)) WITHOUT ROWID;
    CREATE INDEX evidence_places_n ON evidence_places (n);
";

/// Opens the connection that writes, and makes the tables in a new file.
pub(super) fn open_writer(path: &Path, patience: Duration) -> Result<Connection, Error> {
    let db = Connection::open(path)?;
    db.busy_timeout(patience)?;
    // Before the first page is written: all of it is overwritten when deleted, also the schema's.
    db.pragma_update(None, "secure_delete", "ON")?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    // No copies of pages in temporary files.
    db.pragma_update(None, "temp_store", "MEMORY")?;
    db.pragma_update(None, "wal_autocheckpoint", 4_000)?;
    db.pragma_update(None, "cache_size", -32_768)?;
    db.set_prepared_statement_cache_capacity(64);
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match version {
        0 => {
            db.execute_batch(&format!("BEGIN; {TABLES} {EVIDENCE} PRAGMA user_version = {VERSION}; COMMIT;"))?
        }
        1 => db.execute_batch(&format!("BEGIN; {EVIDENCE} PRAGMA user_version = {VERSION}; COMMIT;"))?,
        VERSION => {}
        _ => {
            return Err(Error::Corrupt {
                what: "the vault was written by another version of custody; use that one",
                source: None,
            });
        }
    }
    let secure: i64 = db.pragma_query_value(None, "secure_delete", |row| row.get(0))?;
    if secure != 1 {
        return Err(Error::Corrupt { what: "SQLite refuses secure_delete", source: None });
    }
    sums::keep(&db)?;
    Ok(db)
}

/// Opens a connection that only reads.
pub(super) fn open_reader(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(Duration::from_secs(5))?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    db.pragma_update(None, "cache_size", -16_384)?;
    db.set_prepared_statement_cache_capacity(32);
    Ok(db)
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let reason = match error.sqlite_error_code() {
            Some(Code::DatabaseCorrupt | Code::NotADatabase) => {
                let source = Some(anyhow::Error::new(error));
                return Error::Corrupt { what: DAMAGED, source };
            }
            Some(Code::DiskFull) => "the disk is full",
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => "another process holds the vault",
            Some(Code::SystemIoFailure) => "reading or writing failed",
            Some(Code::CannotOpen) => "the vault's file cannot be opened",
            Some(Code::ReadOnly | Code::PermissionDenied) => "the vault's file cannot be written",
            _ => "SQLite refused",
        };
        Error::Unavailable { reason, source: Some(anyhow::Error::new(error)) }
    }
}
