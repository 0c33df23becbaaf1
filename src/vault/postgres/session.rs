//! How the shared statements run on PostgreSQL: one after the other, by a thread that may block.
//!
//! Promises: an answer is waited for no longer than `patience`; after one that was lost nothing more is asked
//! on the connection. A crash loses the transaction.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use bytes::BytesMut;
use tokio::runtime::{Handle, Runtime};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Statement};

use crate::postgres::{self, Connection};
use crate::vault::Error;
use crate::vault::sql::seal::corrupt;
use crate::vault::sql::{Row, Sql, Value};

/// Statements that were prepared on a connection, by the text that they are asked for with.
pub(super) type Prepared = RefCell<HashMap<Box<str>, Statement>>;

/// A connection in use by one thread.
pub(super) struct Session<'a> {
    link: Link<'a>,
    wait: Wait<'a>,
    patience: Duration,
    lost: Cell<bool>,
}

enum Link<'a> {
    Own(&'a Client, &'a Prepared),
    Pooled(&'a Connection),
}

enum Wait<'a> {
    Own(&'a Runtime),
    Of(&'a Handle),
}

impl<'a> Session<'a> {
    /// On a connection that is driven by this thread only.
    pub fn own(client: &'a Client, prepared: &'a Prepared, runtime: &'a Runtime, patience: Duration) -> Self {
        let (link, wait) = (Link::Own(client, prepared), Wait::Own(runtime));
        Session { link, wait, patience, lost: Cell::new(false) }
    }

    /// On a connection that a runtime drives elsewhere.
    pub fn pooled(connection: &'a Connection, handle: &'a Handle, patience: Duration) -> Self {
        Session { link: Link::Pooled(connection), wait: Wait::Of(handle), patience, lost: Cell::new(false) }
    }

    /// Whether an answer was lost. Nobody may use the connection after that.
    pub fn is_lost(&self) -> bool {
        self.lost.get()
    }

    pub fn client(&self) -> &Client {
        match &self.link {
            Link::Own(client, _) => client,
            Link::Pooled(connection) => connection,
        }
    }

    /// Waits for an answer.
    pub fn ask<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, postgres::Error> {
        if self.lost.get() {
            return Err(postgres::Error::unanswered("the connection was lost"));
        }
        let bounded = async { tokio::time::timeout(self.patience, answer).await };
        let answered = match &self.wait {
            Wait::Own(runtime) => runtime.block_on(bounded),
            Wait::Of(handle) => handle.block_on(bounded),
        };
        let answer = match answered {
            Ok(answer) => answer.map_err(postgres::Error::from),
            Err(_) => Err(postgres::Error::unanswered("no answer from PostgreSQL in time")),
        };
        self.lost.set(matches!(answer, Err(postgres::Error::Unanswered { .. })));
        answer
    }

    async fn statement(&self, sql: &str) -> Result<Statement, tokio_postgres::Error> {
        match &self.link {
            Link::Own(client, prepared) => {
                if let Some(statement) = prepared.borrow().get(sql) {
                    return Ok(statement.clone());
                }
                let statement = client.prepare(&in_dollars(sql)).await?;
                prepared.borrow_mut().insert(sql.into(), statement.clone());
                Ok(statement)
            }
            Link::Pooled(connection) => connection.prepare_cached(&in_dollars(sql)).await,
        }
    }
}

impl Sql for Session<'_> {
    fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<u64, Error> {
        Ok(self.ask(async {
            let statement = self.statement(sql).await?;
            self.client().execute_raw(&statement, values.iter().map(Hidden)).await
        })?)
    }

    fn query(
        &self,
        sql: &str,
        values: &[Value<'_>],
        each: &mut dyn FnMut(&dyn Row) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let rows = self.ask(async {
            let statement = self.statement(sql).await?;
            let hidden: Vec<Hidden<'_>> = values.iter().map(Hidden).collect();
            let values: Vec<&(dyn ToSql + Sync)> = hidden.iter().map(|value| value as _).collect();
            self.client().query(&statement, &values).await
        })?;
        rows.iter().try_for_each(|row| each(row))
    }

    fn batch(&self, sql: &str) -> Result<(), Error> {
        Ok(self.ask(self.client().batch_execute(sql))?)
    }
}

/// `?1` is `$1` here. No statement has a question mark or a dollar elsewhere.
fn in_dollars(sql: &str) -> String {
    sql.replace('?', "$")
}

/// The library writes values of statements into its log, if it is asked for everything.
struct Hidden<'a>(&'a Value<'a>);

impl std::fmt::Debug for Hidden<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("_")
    }
}

impl ToSql for Hidden<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match *self.0 {
            Value::Null => Ok(IsNull::Yes),
            Value::Int(number) if *kind == Type::INT8 => number.to_sql(kind, out),
            Value::Int(number) if *kind == Type::INT4 => i32::try_from(number)?.to_sql(kind, out),
            Value::Bool(truth) if *kind == Type::BOOL => truth.to_sql(kind, out),
            Value::Text(text) if *kind == Type::TEXT => text.to_sql(kind, out),
            Value::Bytes(bytes) if *kind == Type::BYTEA => bytes.to_sql(kind, out),
            _ => Err("a value of another kind than the statement wants".into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl Row for tokio_postgres::Row {
    fn value(&self, column: usize) -> Result<Value<'_>, Error> {
        let wrong = |_| corrupt("a row holds a value of another kind");
        let kind = self.columns().get(column).map(|column| column.type_().clone());
        let value = match kind {
            Some(Type::INT8) => self.try_get::<_, Option<i64>>(column).map_err(wrong)?.map(Value::Int),
            Some(Type::INT4) => {
                self.try_get::<_, Option<i32>>(column).map_err(wrong)?.map(|n| Value::Int(n.into()))
            }
            Some(Type::BOOL) => self.try_get::<_, Option<bool>>(column).map_err(wrong)?.map(Value::Bool),
            Some(Type::TEXT) => self.try_get::<_, Option<&str>>(column).map_err(wrong)?.map(Value::Text),
            Some(Type::BYTEA) => self.try_get::<_, Option<&[u8]>>(column).map_err(wrong)?.map(Value::Bytes),
            _ => return Err(corrupt("a row holds a value of another kind")),
        };
        Ok(value.unwrap_or(Value::Null))
    }
}

impl From<postgres::Error> for Error {
    fn from(error: postgres::Error) -> Self {
        let reason = match &error {
            postgres::Error::Unavailable { reason, .. } | postgres::Error::Unanswered { reason, .. } => {
                reason
            }
            postgres::Error::Options(_) => "PostgreSQL cannot be used as configured",
            postgres::Error::Mismatch(_) => {
                let source = Some(anyhow::Error::new(error));
                return Error::Corrupt { what: "the database is not one of this version of custody", source };
            }
            // What the server finds damaged in its own files.
            postgres::Error::Refused(why) if why.contains(" XX00") => {
                let what =
                    "PostgreSQL finds its files damaged; keep them as they are and restore the database";
                return Error::Corrupt { what, source: Some(anyhow::Error::new(error)) };
            }
            postgres::Error::Refused(_) => "PostgreSQL refused",
        };
        Error::Unavailable { reason, source: Some(anyhow::Error::new(error)) }
    }
}
