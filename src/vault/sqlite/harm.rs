//! For tests: changes a vault's file behind its back, and tells what its rows and its keys are.

use std::collections::HashSet;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::schema;
use super::sums::TABLES;
use crate::vault::sql::rows;

/// Runs statements on a vault that is closed. How many rows the last one changed.
pub fn sql(file: &Path, statements: &str) -> u64 {
    let db = Connection::open(file).unwrap();
    db.execute_batch(statements).unwrap();
    db.changes()
}

/// Flips a bit of one byte in the first value of a column, wherever that value stands.
pub fn flip(file: &Path, table: &str, column: &str, at: usize) {
    let db = Connection::open(file).unwrap();
    let first = format!("SELECT {column} FROM {table} WHERE n IN (SELECT n FROM bindings) LIMIT 1");
    let old: Vec<u8> = db.query_row(&first, [], |row| row.get(0)).unwrap();
    let mut new = old.clone();
    new[at] ^= 1;
    let update = format!("UPDATE {table} SET {column} = ?1 WHERE {column} = ?2");
    assert_eq!(db.execute(&update, (new, old)).unwrap(), 1);
}

/// The first 16 bytes of the ciphertext of every wrapped key in the file.
pub fn wrapped_in(file: &Path) -> HashSet<[u8; 16]> {
    let connection = schema::open_reader(file).unwrap();
    let mut statement = connection.prepare("SELECT body FROM holders").unwrap();
    let bodies = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
    let living = bodies.filter_map(|body| rows::Body::decode(&body.unwrap()).unwrap());
    living
        .flat_map(|body| [body.link, body.identity, body.evidence])
        .map(|key| std::array::from_fn(|i| key[12 + i]))
        .collect()
}

/// Every row of every table. Nothing where SQLite cannot read it.
pub fn rows(file: &Path) -> Option<Vec<String>> {
    let db = Connection::open(file).ok()?;
    let mut all = Vec::new();
    for (table, columns) in TABLES {
        let list = columns.replace(' ', ", ");
        let mut statement = db.prepare(&format!("SELECT {list} FROM {table}")).ok()?;
        let count = statement.column_count();
        let mut rows = statement.query([]).ok()?;
        while let Some(row) = rows.next().ok()? {
            let mut line = table.to_owned();
            for column in 0..count {
                line.push_str(&match row.get_ref(column).ok()? {
                    ValueRef::Blob(bytes) => format!(" {bytes:02x?}"),
                    value => format!(" {value:?}"),
                });
            }
            all.push(line);
        }
    }
    all.sort();
    Some(all)
}

/// What a file holds of the erased: rows of holders that are zeros, and marks of identifiers.
pub fn remains(file: &Path) -> (i64, i64) {
    let db = Connection::open(file).unwrap();
    let count = |sql: &str| db.query_row(sql, [], |row| row.get(0)).unwrap();
    (count("SELECT count(*) FROM holders WHERE body = zeroblob(220)"), count("SELECT count(*) FROM erased"))
}
