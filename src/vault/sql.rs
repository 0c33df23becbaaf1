//! Identity as tables: what every adapter on a database decides, stores and remembers. How a database is
//! reached, what a commit waits for and what destroying takes is the adapter's own.
//!
//! The statements are of the SQL that SQLite and PostgreSQL both understand, with values at `?1`, `?2` and
//! so on. They run one after the other on a connection that is in a transaction; the port's requests around
//! them are in `port`, once for all adapters.

pub mod admin;
pub mod cache;
pub mod change;
pub mod check;
pub mod erase;
pub mod hot;
pub mod marks;
pub mod moving;
pub mod port;
pub mod rotate;
pub mod rows;
pub mod seal;
pub mod txn;

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::clock::Clock;
use crate::vault::Error;
use crate::vault::keyring::{Class, Keyring};

use cache::{Cache, Known};
use marks::Marker;
use seal::corrupt;
use txn::Lazy;

/// Unsynced rows that may wait; more wake the writer.
pub const LAZY: usize = 20_000;

/// A value of a statement or of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    Null,
    Int(i64),
    /// SQLite has none: there it is 0 or 1.
    Bool(bool),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Value::Int(number)
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Value::Int(number.into())
    }
}

impl From<bool> for Value<'_> {
    fn from(truth: bool) -> Self {
        Value::Bool(truth)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Value::Bytes(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Value<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Value::Bytes(bytes)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

/// The values of a statement, in order.
macro_rules! values {
    ($($value:expr),* $(,)?) => { &[$($crate::vault::sql::Value::from($value)),*] };
}
pub(in crate::vault) use values;

/// A connection in a transaction. Statements are prepared once, by their text.
pub trait Sql {
    /// Runs a statement of which nobody needs to hear but that it went well; which may come out with the next
    /// one only, or with `settle`.
    fn run(&self, sql: &str, values: &[Value<'_>]) -> Result<(), Error> {
        self.execute(sql, values).map(drop)
    }

    /// Returns when all that was run has gone well.
    fn settle(&self) -> Result<(), Error> {
        Ok(())
    }

    /// The next statement reads a whole table: its answer may take long.
    fn long(&self) {}

    /// Whether each query is a way to a server and back.
    fn is_far(&self) -> bool {
        false
    }

    /// These queries follow, and nothing is changed before them: from far away they can go together.
    fn ahead(&self, _queries: &[(&str, [Value<'_>; 2])]) -> Result<(), Error> {
        Ok(())
    }

    /// Says how many rows it changed.
    fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<u64, Error>;

    /// Hands every row over. Other statements may run meanwhile.
    fn query(
        &self,
        sql: &str,
        values: &[Value<'_>],
        each: &mut dyn FnMut(&dyn Row) -> Result<(), Error>,
    ) -> Result<(), Error>;

    /// Statements that have neither values nor answers.
    fn batch(&self, sql: &str) -> Result<(), Error>;
}

impl<'s> dyn Sql + 's {
    /// Of the only row, or the last.
    pub fn first<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        mut read: impl FnMut(&dyn Row) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let mut found = None;
        self.query(sql, values, &mut |row| {
            found = Some(read(row)?);
            Ok(())
        })?;
        Ok(found)
    }

    pub fn all<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        mut read: impl FnMut(&dyn Row) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut found = Vec::new();
        self.query(sql, values, &mut |row| {
            found.push(read(row)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// Of a statement that always has one row.
    pub fn number(&self, sql: &str, values: &[Value<'_>]) -> Result<i64, Error> {
        self.first(sql, values, |row| row.int(0))?.ok_or_else(|| corrupt("a count has no answer"))
    }

    pub fn exists(&self, sql: &str, values: &[Value<'_>]) -> Result<bool, Error> {
        Ok(self.first(sql, values, |_| Ok(()))?.is_some())
    }
}

pub trait Row {
    fn value(&self, column: usize) -> Result<Value<'_>, Error>;
}

impl<'r> dyn Row + 'r {
    pub fn int(&self, column: usize) -> Result<i64, Error> {
        self.int_or_none(column)?.ok_or_else(other_kind)
    }

    pub fn int_or_none(&self, column: usize) -> Result<Option<i64>, Error> {
        match self.value(column)? {
            Value::Int(number) => Ok(Some(number)),
            Value::Null => Ok(None),
            _ => Err(other_kind()),
        }
    }

    pub fn truth(&self, column: usize) -> Result<bool, Error> {
        match self.value(column)? {
            Value::Bool(truth) => Ok(truth),
            Value::Int(number) => Ok(number != 0),
            _ => Err(other_kind()),
        }
    }

    pub fn text(&self, column: usize) -> Result<&str, Error> {
        self.text_or_none(column)?.ok_or_else(other_kind)
    }

    pub fn text_or_none(&self, column: usize) -> Result<Option<&str>, Error> {
        match self.value(column)? {
            Value::Text(text) => Ok(Some(text)),
            Value::Null => Ok(None),
            _ => Err(other_kind()),
        }
    }

    pub fn bytes(&self, column: usize) -> Result<&[u8], Error> {
        self.bytes_or_none(column)?.ok_or_else(other_kind)
    }

    pub fn bytes_or_none(&self, column: usize) -> Result<Option<&[u8]>, Error> {
        match self.value(column)? {
            Value::Bytes(bytes) => Ok(Some(bytes)),
            Value::Null => Ok(None),
            _ => Err(other_kind()),
        }
    }

    pub fn place(&self, column: usize) -> Result<marks::Place, Error> {
        self.bytes(column)?.try_into().map_err(|_| other_kind())
    }
}

fn other_kind() -> Error {
    corrupt("a row holds a value of another kind")
}

/// What the writer and the callers share.
pub struct Shared {
    pub keyring: Arc<Keyring>,
    pub markers: RwLock<Markers>,
    pub cache: Cache,
    pub clock: Arc<dyn Clock>,
    pub lazy: Mutex<Lazy>,
    pub no_bindings: Arc<[Known]>,
}

/// Keyed look-ups. Replaced as a whole, by the writer, when the keyring has others.
pub struct Markers {
    pub lookup: Arc<Marker>,
    /// For what is asked in disputes only.
    pub evidence: Arc<Marker>,
}

impl Markers {
    pub fn new(keyring: &Keyring) -> Result<Markers, Error> {
        Ok(Markers {
            lookup: Arc::new(Marker::new(keyring, Class::Lookup)?),
            evidence: Arc::new(Marker::new(keyring, Class::EvidenceLookup)?),
        })
    }
}

impl Shared {
    pub fn new(keyring: Arc<Keyring>, clock: Arc<dyn Clock>, cache: Cache) -> Result<Shared, Error> {
        Ok(Shared {
            markers: RwLock::new(Markers::new(&keyring)?),
            keyring,
            cache,
            clock,
            lazy: Mutex::default(),
            no_bindings: Arc::from([]),
        })
    }

    pub fn marker(&self) -> Arc<Marker> {
        Arc::clone(&self.markers.read().unwrap_or_else(PoisonError::into_inner).lookup)
    }

    pub fn evidence_marker(&self) -> Arc<Marker> {
        Arc::clone(&self.markers.read().unwrap_or_else(PoisonError::into_inner).evidence)
    }

    pub fn lazy(&self) -> std::sync::MutexGuard<'_, Lazy> {
        self.lazy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an adapter is asked for when its writer is gone.
pub fn closed() -> Error {
    Error::Unavailable { reason: "the vault's writer has stopped; restart custody", source: None }
}
