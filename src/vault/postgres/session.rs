//! How the shared statements run on PostgreSQL: one after the other, by a thread that may block.
//!
//! Promises: an answer is waited for no longer than `patience`; after one that was lost nothing more is asked
//! on the connection. A crash loses the transaction.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::future::{join, join_all};
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
    /// The next answer may take as long as the server lets a statement take.
    long: Cell<bool>,
    /// What was run and not sent yet.
    waiting: RefCell<Vec<(Statement, Vec<Owned>)>>,
    /// What was asked ahead.
    answers: RefCell<HashMap<Question, Rc<Vec<tokio_postgres::Row>>>>,
}

/// A query with its values.
type Question = (Box<str>, Vec<Owned>);

/// Somewhat longer than the server lets a statement take.
const LONG: Duration = Duration::from_secs(70);
/// Statements that are sent together at most.
const TOGETHER: usize = 24;

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
        Session::new(Link::Own(client, prepared), Wait::Own(runtime), patience)
    }

    /// On a connection that a runtime drives elsewhere.
    pub fn pooled(connection: &'a Connection, handle: &'a Handle, patience: Duration) -> Self {
        Session::new(Link::Pooled(connection), Wait::Of(handle), patience)
    }

    fn new(link: Link<'a>, wait: Wait<'a>, patience: Duration) -> Self {
        let (waiting, answers) = (RefCell::default(), RefCell::default());
        Session { link, wait, patience, lost: Cell::new(false), long: Cell::new(false), waiting, answers }
    }

    /// Whether an answer was lost. Nobody may use the connection after that.
    pub fn is_lost(&self) -> bool {
        self.lost.get()
    }

    /// Undoes the transaction. Whether the connection can still be used.
    pub fn roll_back(&self) -> bool {
        self.waiting.borrow_mut().clear();
        self.batch("ROLLBACK").is_ok()
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
        let patience = if self.long.take() { LONG.max(self.patience) } else { self.patience };
        let bounded = async { tokio::time::timeout(patience, answer).await };
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

/// Sends all, and then waits for all. Each begins when it is polled first, which is in their order.
async fn together<T>(
    sent: impl IntoIterator<Item = impl Future<Output = Result<T, tokio_postgres::Error>>>,
) -> Result<Vec<T>, tokio_postgres::Error> {
    join_all(sent).await.into_iter().collect()
}

impl Session<'_> {
    async fn send(&self) -> Result<(), tokio_postgres::Error> {
        let waiting = self.waiting.take();
        let send = waiting.iter().map(|(statement, values)| {
            self.client().execute_raw(statement, values.iter().map(|value| Hidden(value.borrowed())))
        });
        together(send).await.map(drop)
    }

    async fn rows(
        &self,
        statement: &Statement,
        values: &[Value<'_>],
    ) -> Result<Vec<tokio_postgres::Row>, tokio_postgres::Error> {
        let hidden: Vec<Hidden<'_>> = values.iter().copied().map(Hidden).collect();
        let values: Vec<&(dyn ToSql + Sync)> = hidden.iter().map(|value| value as _).collect();
        self.client().query(statement, &values).await
    }
}

impl Sql for Session<'_> {
    fn run(&self, sql: &str, values: &[Value<'_>]) -> Result<(), Error> {
        self.answers.borrow_mut().clear();
        let statement = self.ask(self.statement(sql))?;
        let mut waiting = self.waiting.borrow_mut();
        waiting.push((statement, values.iter().map(Owned::from).collect()));
        let many = waiting.len() >= TOGETHER;
        drop(waiting);
        if many { self.settle() } else { Ok(()) }
    }

    fn settle(&self) -> Result<(), Error> {
        if self.waiting.borrow().is_empty() { Ok(()) } else { Ok(self.ask(self.send())?) }
    }

    fn long(&self) {
        // What was run before has its own time.
        if self.settle().is_ok() {
            self.long.set(true);
        }
    }

    fn is_far(&self) -> bool {
        true
    }

    fn ahead(&self, queries: &[(&str, [Value<'_>; 2])]) -> Result<(), Error> {
        self.settle()?;
        for some in queries.chunks(TOGETHER) {
            let answers = self.ask(async {
                let mut prepared = Vec::with_capacity(some.len());
                for (sql, values) in some {
                    let statement = self.statement(sql).await?;
                    prepared.push((*sql, &values[..statement.params().len()], statement));
                }
                let asked = prepared.iter().map(|(_, values, statement)| self.rows(statement, values));
                let answers = together(asked).await?;
                let asked = prepared.iter().map(|(sql, values, _)| key(sql, values));
                Ok(asked.zip(answers.into_iter().map(Rc::new)).collect::<Vec<_>>())
            })?;
            self.answers.borrow_mut().extend(answers);
        }
        Ok(())
    }

    fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<u64, Error> {
        self.answers.borrow_mut().clear();
        self.settle()?;
        Ok(self.ask(async {
            let statement = self.statement(sql).await?;
            self.client().execute_raw(&statement, values.iter().copied().map(Hidden)).await
        })?)
    }

    fn query(
        &self,
        sql: &str,
        values: &[Value<'_>],
        each: &mut dyn FnMut(&dyn Row) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let known = if self.answers.borrow().is_empty() {
            None
        } else {
            self.answers.borrow().get(&key(sql, values)).map(Rc::clone)
        };
        let rows = match known {
            Some(rows) => rows,
            None => Rc::new(self.ask(async {
                let statement = self.statement(sql).await?;
                let (sent, rows) = join(self.send(), self.rows(&statement, values)).await;
                sent?;
                rows
            })?),
        };
        rows.iter().try_for_each(|row| each(row))
    }

    fn batch(&self, sql: &str) -> Result<(), Error> {
        self.settle()?;
        Ok(self.ask(self.client().batch_execute(sql))?)
    }
}

fn key(sql: &str, values: &[Value<'_>]) -> Question {
    (sql.into(), values.iter().map(Owned::from).collect())
}

/// A value that is kept until it is sent.
#[derive(PartialEq, Eq, Hash)]
enum Owned {
    Null,
    Int(i64),
    Bool(bool),
    Text(Box<str>),
    Bytes(Box<[u8]>),
}

impl From<&Value<'_>> for Owned {
    fn from(value: &Value<'_>) -> Self {
        match *value {
            Value::Null => Owned::Null,
            Value::Int(number) => Owned::Int(number),
            Value::Bool(truth) => Owned::Bool(truth),
            Value::Text(text) => Owned::Text(text.into()),
            Value::Bytes(bytes) => Owned::Bytes(bytes.into()),
        }
    }
}

impl Owned {
    fn borrowed(&self) -> Value<'_> {
        match self {
            Owned::Null => Value::Null,
            Owned::Int(number) => Value::Int(*number),
            Owned::Bool(truth) => Value::Bool(*truth),
            Owned::Text(text) => Value::Text(text),
            Owned::Bytes(bytes) => Value::Bytes(bytes),
        }
    }
}

/// `?1` is `$1` here. No statement has a question mark or a dollar elsewhere.
fn in_dollars(sql: &str) -> String {
    sql.replace('?', "$")
}

/// The library writes values of statements into its log, if it is asked for everything.
struct Hidden<'a>(Value<'a>);

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
        match self.0 {
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
