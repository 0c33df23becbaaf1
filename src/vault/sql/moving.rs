//! Moving people to another database of the same kind of tables: row by row, keys locked as they are.
//!
//! Promises: a target that has people is refused, unless they are the same, or a copy to it was begun and not ended;
//! repeated, a copy brings what is missing; at the end both have as many rows of each kind. Nobody may use either
//! meanwhile.
//! A crash leaves a part, and the note that it is one.

use tokio::sync::mpsc;

use super::port::Store;
use super::{Sql, Value, admin};
use crate::vault::Error;

/// Rows written in one transaction.
const PAGE: usize = 1_000;
/// In `meta` of the target while a copy is under way.
const COPYING: &str = "copying";

/// Why nobody, or not everybody, was copied.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// Nothing was changed.
    #[error("there are people already where they are to be copied to, and not the same")]
    NotEmpty,
    #[error("the copy has not as many rows as there were")]
    Differs,
    #[error("people cannot be copied: {0}")]
    Vault(#[from] Error),
}

/// A table: its columns, a `?` behind one that is a truth.
struct Table {
    name: &'static str,
    columns: &'static [&'static str],
}

const TABLES: [Table; 9] = [
    Table { name: "holders", columns: &["n", "body"] },
    Table { name: "handles", columns: &["place", "n"] },
    Table { name: "pending", columns: &["n", "created_ms"] },
    Table { name: "merges", columns: &["gone", "kept"] },
    Table {
        name: "bindings",
        columns: &[
            "place",
            "n",
            "from_ms",
            "to_ms",
            "reaches?",
            "kind",
            "realm",
            "normaliser",
            "lookup",
            "sealed",
        ],
    },
    Table {
        name: "seen",
        columns: &["n", "place", "first_ms", "kind", "realm", "normaliser", "lookup", "sealed"],
    },
    Table { name: "erased", columns: &["rowid", "place", "from_ms", "to_ms", "until_ms"] },
    Table { name: "evidence", columns: &["n", "until_ms"] },
    Table { name: "evidence_places", columns: &["place", "n"] },
];

impl Table {
    fn names(&self) -> String {
        self.columns.iter().map(|column| column.trim_end_matches('?')).collect::<Vec<_>>().join(", ")
    }

    fn select(&self) -> String {
        format!("SELECT {} FROM {}", self.names(), self.name)
    }

    fn insert(&self) -> String {
        let places: Vec<String> = (1..=self.columns.len()).map(|n| format!("?{n}")).collect();
        let (name, columns, places) = (self.name, self.names(), places.join(", "));
        format!("INSERT INTO {name} ({columns}) VALUES ({places}) ON CONFLICT DO NOTHING")
    }
}

/// A value on its way.
enum Moved {
    Null,
    Int(i64),
    Bool(bool),
    Text(String),
    Bytes(Vec<u8>),
}

impl Moved {
    fn of(value: Value<'_>, is_truth: bool) -> Moved {
        match value {
            Value::Null => Moved::Null,
            Value::Int(number) if is_truth => Moved::Bool(number != 0),
            Value::Int(number) => Moved::Int(number),
            Value::Bool(truth) => Moved::Bool(truth),
            Value::Text(text) => Moved::Text(text.to_owned()),
            Value::Bytes(bytes) => Moved::Bytes(bytes.to_vec()),
        }
    }

    fn value(&self) -> Value<'_> {
        match self {
            Moved::Null => Value::Null,
            Moved::Int(number) => Value::Int(*number),
            Moved::Bool(truth) => Value::Bool(*truth),
            Moved::Text(text) => Value::Text(text),
            Moved::Bytes(bytes) => Value::Bytes(bytes),
        }
    }
}

/// Some rows of one table.
struct Page {
    table: &'static Table,
    rows: Vec<Vec<Moved>>,
}

/// Copies everybody; `progress` is told rows. Says how many there were.
pub async fn copy(
    from: &impl Store,
    to: &impl Store,
    mut progress: impl FnMut(u64) + Send,
) -> Result<u64, Failed> {
    let source = from.read(|db| Have::of(db.sql)).await?;
    let target = to.read(|db| Have::of(db.sql)).await?;
    if !target.under_way && target.rows[0] > 0 {
        return if target == source { Ok(0) } else { Err(Failed::NotEmpty) };
    }
    to.write(|txn| set(txn.db.sql, COPYING, 1)).await?;
    let (sender, pages) = mpsc::channel(2);
    let reading = from.read(move |db| read_all(db.sql, &sender));
    let writing = async {
        // Gone with the first page that cannot be written, so that the reading ends too.
        let (mut pages, mut rows) = (pages, 0);
        while let Some(page) = pages.recv().await {
            rows += page.rows.len() as u64;
            to.write(move |txn| put(txn.db.sql, &page)).await?;
            progress(rows);
        }
        Ok::<u64, Error>(rows)
    };
    let (read, written) = tokio::join!(reading, writing);
    // Where writing fails, reading does because of it.
    let (rows, (numbers, counts)) = (written?, read?);
    let found = to.write(move |txn| end(txn.db.sql, &numbers)).await?;
    if found != counts {
        return Err(Failed::Differs);
    }
    to.renumbered().await?;
    Ok(rows)
}

/// What tells whether two hold the same people.
#[derive(PartialEq)]
struct Have {
    /// Of each table.
    rows: Vec<i64>,
    generation: i64,
    under_way: bool,
}

impl Have {
    fn of(sql: &dyn Sql) -> Result<Have, Error> {
        let numbers = admin::counts(sql)?;
        let number = |wanted: &str| numbers.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value);
        Ok(Have {
            rows: counts(sql)?,
            generation: number("generation").unwrap_or(0),
            under_way: number(COPYING).is_some(),
        })
    }
}

fn set(sql: &dyn Sql, name: &str, value: i64) -> Result<(), Error> {
    let set = "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2";
    sql.execute(set, &[Value::Text(name), Value::Int(value)]).map(drop)
}

type Numbers = Vec<(String, i64)>;

/// Sends all rows, in pages; says which numbers are kept, and how many rows each table has.
fn read_all(sql: &dyn Sql, pages: &mpsc::Sender<Page>) -> Result<(Numbers, Vec<i64>), Error> {
    let gone = || Error::Unavailable { reason: "what is read is not written", source: None };
    for table in &TABLES {
        let mut page = Page { table, rows: Vec::with_capacity(PAGE) };
        sql.query(&table.select(), &[], &mut |row| {
            let column = |(n, name): (usize, &&str)| Ok(Moved::of(row.value(n)?, name.ends_with('?')));
            let row = table.columns.iter().enumerate().map(column).collect::<Result<Vec<_>, Error>>()?;
            if is_destroyed(table, &row) {
                return Ok(());
            }
            page.rows.push(row);
            if page.rows.len() == PAGE {
                let full = Page { table, rows: std::mem::replace(&mut page.rows, Vec::with_capacity(PAGE)) };
                pages.blocking_send(full).map_err(|_| gone())?;
            }
            Ok(())
        })?;
        pages.blocking_send(page).map_err(|_| gone())?;
    }
    let own = |name: &str| name.starts_with("sum:") || name == COPYING;
    let numbers = admin::counts(sql)?.into_iter().filter(|(name, _)| !own(name)).collect();
    Ok((numbers, counts(sql)?))
}

/// The embedded vault keeps the row of a destroyed holder until it is rewritten, all zero.
fn is_destroyed(table: &Table, row: &[Moved]) -> bool {
    table.name == "holders" && matches!(&row[1], Moved::Bytes(body) if body.iter().all(|byte| *byte == 0))
}

fn put(sql: &dyn Sql, page: &Page) -> Result<(), Error> {
    let insert = page.table.insert();
    for row in &page.rows {
        let values: Vec<Value<'_>> = row.iter().map(Moved::value).collect();
        sql.execute(&insert, &values)?;
    }
    Ok(())
}

fn end(sql: &dyn Sql, numbers: &Numbers) -> Result<Vec<i64>, Error> {
    for (name, value) in numbers {
        set(sql, name, *value)?;
    }
    sql.execute("DELETE FROM meta WHERE name = ?1", &[Value::Text(COPYING)])?;
    counts(sql)
}

/// Rows of each table, destroyed holders left out.
fn counts(sql: &dyn Sql) -> Result<Vec<i64>, Error> {
    let count = |table: &Table| match table.name {
        "holders" => sql.number(
            "SELECT count(*) FROM holders WHERE body <> ?1",
            &[Value::Bytes(&[0; super::rows::BODY])],
        ),
        name => sql.number(&format!("SELECT count(*) FROM {name}"), &[]),
    };
    TABLES.iter().map(count).collect()
}
