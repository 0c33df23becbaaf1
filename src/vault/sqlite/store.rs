//! How the shared statements run on SQLite, and what its file needs besides.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, params_from_iter};
use tokio::sync::oneshot;

use super::writer::Request;
use super::{Vault, check};
use crate::vault::Error;
use crate::vault::check::{Cursor, Step};
use crate::vault::sql::port::Store;
use crate::vault::sql::rows::Db;
use crate::vault::sql::txn::{Task, Txn};
use crate::vault::sql::{Row, Shared, Sql, Value, closed};

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Value::Null => ValueRef::Null,
            Value::Int(number) => ValueRef::Integer(number),
            Value::Bool(truth) => ValueRef::Integer(truth.into()),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl Sql for Connection {
    fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<u64, Error> {
        Ok(self.prepare_cached(sql)?.execute(params_from_iter(values))? as u64)
    }

    fn query(
        &self,
        sql: &str,
        values: &[Value<'_>],
        each: &mut dyn FnMut(&dyn Row) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut statement = self.prepare_cached(sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            each(row)?;
        }
        Ok(())
    }

    fn batch(&self, sql: &str) -> Result<(), Error> {
        Ok(self.execute_batch(sql)?)
    }
}

impl Row for rusqlite::Row<'_> {
    fn value(&self, column: usize) -> Result<Value<'_>, Error> {
        Ok(match self.get_ref(column)? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(number) => Value::Int(number),
            ValueRef::Blob(bytes) => Value::Bytes(bytes),
            text @ ValueRef::Text(_) => Value::Text(text.as_str().map_err(rusqlite::Error::from)?),
            ValueRef::Real(_) => {
                return Err(crate::vault::sql::seal::corrupt("a row holds a value of another kind"));
            }
        })
    }
}

impl Store for Vault {
    fn shared(&self) -> &Shared {
        &self.shared
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Txn<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = std::sync::Arc::clone(&self.waiting).acquire_owned().await.map_err(|_| closed())?;
        let (reply, answer) = oneshot::channel();
        self.send(Request::Write(Box::new(Task { work: Some(work), result: None, reply, permit })))?;
        answer.await.map_err(|_| closed())?
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Db<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let shared = std::sync::Arc::clone(&self.shared);
        let task = tokio::task::spawn_blocking(move || shared.readers.with(&shared, read));
        task.await.map_err(|_| closed())?
    }

    /// A commit may not be in the mirror yet.
    async fn settled(&self) -> Result<(), Error> {
        match &self.shared.mirror {
            Some(mirror) => mirror.in_both().await,
            None => Ok(()),
        }
    }

    async fn purged(&self) -> Result<(), Error> {
        self.truncate().await
    }

    /// SQLite leaves deleted rows in the gaps of pages (see `schema`), so the whole file is written anew.
    async fn rewritten(&self) -> Result<(), Error> {
        let rewritten = self.vacuum().await;
        // Also where it failed: what it has written by then would go on taking room.
        self.truncate().await?;
        rewritten
    }

    async fn checked(&self, from: Cursor) -> Result<Step, Error> {
        let shared = std::sync::Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || check::step(&shared, &from)).await.map_err(|_| closed())?
    }

    async fn forgotten(&self) -> Result<(), Error> {
        Ok(())
    }
}
