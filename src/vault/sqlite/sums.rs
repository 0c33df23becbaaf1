//! One number per table, by which rows that were changed, removed or added behind the vault's back
//! are found out. SQLite keeps no checksums: a flipped bit in a time, a number or a flag reads as
//! another time, number or flag.
//!
//! The number is the sum, modulo 2^64, of a hash of each row. It stands in `meta` under
//! `sum:<table>` and is kept by triggers of the connection that writes, inside the transaction that
//! changes the row; so it never disagrees with the rows, whatever a crash takes. It says in which
//! table something is wrong, not where; it is no protection against somebody who can compute it.

use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use sha2::{Digest, Sha256};

use crate::vault::Error;
use crate::vault::sql::seal::corrupt;

/// Tables and their columns. One that is missing here is not covered; a test
/// compares with the file.
pub(super) const TABLES: [(&str, &str); 10] = [
    ("holders", "n body"),
    ("handles", "place n"),
    ("pending", "n created_ms"),
    ("merges", "gone kept"),
    ("bindings", "place n from_ms to_ms reaches kind realm normaliser lookup sealed"),
    ("seen", "n place first_ms kind realm normaliser lookup sealed"),
    ("erased", "place from_ms to_ms until_ms"),
    ("evidence", "n until_ms"),
    ("evidence_places", "place n"),
    ("meta", "name value"),
];

/// The name of a table's sum in `meta`; these rows are in no sum themselves.
pub(super) fn name_of(table: &str) -> String {
    format!("sum:{table}")
}

fn hash_of<'a>(table: &str, columns: impl Iterator<Item = ValueRef<'a>>) -> i64 {
    let mut hash = Sha256::new();
    hash.update(table);
    for value in columns {
        let (kind, bytes): (u8, &[u8]) = match value {
            ValueRef::Null => (0, &[]),
            ValueRef::Integer(number) => {
                hash.update([1]);
                hash.update(number.to_le_bytes());
                continue;
            }
            ValueRef::Real(number) => {
                hash.update([2]);
                hash.update(number.to_le_bytes());
                continue;
            }
            ValueRef::Text(bytes) => (3, bytes),
            ValueRef::Blob(bytes) => (4, bytes),
        };
        hash.update([kind]);
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    }
    let whole: [u8; 32] = hash.finalize().into();
    i64::from_le_bytes(whole.as_chunks::<8>().0[0])
}

/// The sum of a table as its rows are now. Reads all of them.
pub(super) fn of(db: &Connection, table: &str, columns: &str) -> Result<i64, Error> {
    let list = columns.replace(' ', ", ");
    let only = if table == "meta" { "WHERE name NOT GLOB 'sum:*'" } else { "" };
    let mut statement = db.prepare(&format!("SELECT {list} FROM {table} {only}"))?;
    let count = statement.column_count();
    let mut rows = statement.query([])?;
    let mut sum = 0i64;
    while let Some(row) = rows.next()? {
        sum = sum.wrapping_add(hash_of_row(table, row, count)?);
    }
    Ok(sum)
}

fn hash_of_row(table: &str, row: &Row<'_>, count: usize) -> Result<i64, Error> {
    let values: Vec<ValueRef<'_>> = (0..count).map(|column| row.get_ref(column)).collect::<Result<_, _>>()?;
    Ok(hash_of(table, values.into_iter()))
}

/// Makes this connection keep the sums. What has none yet gets it from the rows that are there.
pub(super) fn keep(db: &Connection) -> Result<(), Error> {
    db.execute_batch("BEGIN IMMEDIATE")?;
    let begun: Result<(), Error> = TABLES.iter().try_for_each(|(table, columns)| {
        let name = name_of(table);
        let sql = "SELECT 1 FROM meta WHERE name = ?1";
        if !db.prepare(sql)?.exists([&name])? {
            let sum = of(db, table, columns)?;
            db.execute("INSERT INTO meta (name, value) VALUES (?1, ?2)", (&name, sum))?;
        }
        Ok(())
    });
    db.execute_batch(if begun.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    begun?;
    // (sum, table, sign, columns of the row): the sum with the row added or taken away.
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    db.create_scalar_function("custody_sum", -1, flags, |call| {
        // A sum that is damaged stays wrong and is told by the check; it does not stop the vault.
        let sum = call.get_raw(0).as_i64().unwrap_or(0);
        let (table, sign) = (call.get::<String>(1)?, call.get::<i64>(2)?);
        let hash = hash_of(&table, (3..call.len()).map(|column| call.get_raw(column)));
        Ok(if sign > 0 { sum.wrapping_add(hash) } else { sum.wrapping_sub(hash) })
    })?;
    // A row that is replaced is deleted first, which triggers are told of only with this.
    db.pragma_update(None, "recursive_triggers", "ON")?;
    for (table, columns) in TABLES {
        db.execute_batch(&triggers(table, columns))?;
    }
    Ok(())
}

fn triggers(table: &str, columns: &str) -> String {
    let of = |row: &str| columns.split(' ').map(|c| format!(", {row}.{c}")).collect::<String>();
    let (new, old) = (of("NEW"), of("OLD"));
    let when = |row: &str| match table {
        "meta" => format!("WHEN {row}.name NOT GLOB 'sum:*'"),
        _ => String::new(),
    };
    let change = |sum: String| format!("UPDATE meta SET value = {sum} WHERE name = 'sum:{table}';");
    let with = |inner: &str, sign: &str, row: &str| format!("custody_sum({inner}, '{table}', {sign}{row})");
    let (insert, delete) = (change(with("value", "1", &new)), change(with("value", "-1", &old)));
    let update = change(with(&with("value", "-1", &old), "1", &new));
    format!(
        "CREATE TEMP TRIGGER sum_{table}_insert AFTER INSERT ON main.{table} {} BEGIN {insert} END;
         CREATE TEMP TRIGGER sum_{table}_delete AFTER DELETE ON main.{table} {} BEGIN {delete} END;
         CREATE TEMP TRIGGER sum_{table}_update AFTER UPDATE ON main.{table} {} BEGIN {update} END;",
        when("NEW"),
        when("OLD"),
        when("NEW"),
    )
}

/// Tables whose rows are not those that were written.
pub(super) fn wrong(db: &Connection) -> Result<Vec<&'static str>, Error> {
    let mut wrong = Vec::new();
    for (table, columns) in TABLES {
        let sql = "SELECT value FROM meta WHERE name = ?1 AND typeof(value) = 'integer'";
        let mut statement = db.prepare(sql)?;
        let mut rows = statement.query([name_of(table)])?;
        let kept: Option<i64> = match rows.next()? {
            Some(row) => row.get(0).map(Some).map_err(|_| corrupt("a sum is no number"))?,
            None => None,
        };
        if kept != Some(of(db, table, columns)?) {
            wrong.push(table);
        }
    }
    Ok(wrong)
}
