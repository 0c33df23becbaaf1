//! PostgreSQL, for the adapters that keep something in it: one pool of connections, migrations, errors that
//! tell no values.
//!
//! Promises: whoever waits for a connection or an answer waits a bounded time, also when the server is cut off
//! without a word; a commit that was answered is on the server's disk (`synchronous_commit`, which is on for every
//! connection; a server that runs with `fsync=off` is warned about); every name is looked up in the schema of the
//! options; no password, value or parameter stands in an error or in `Debug`.
//! Does not promise: that a server which promotes an asynchronous standby still has what it answered. Whoever
//! fails over needs synchronous replication.
//! A crash loses what was not answered. A statement whose answer was lost may have taken effect, and says so
//! (`Error::Unanswered`).

mod error;
pub mod fence;
pub mod lock;
mod migrate;
#[cfg(any(test, feature = "testing"))]
pub mod throwaway;
mod tls;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime, Timeouts};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::{AsyncMessage, Client, NoTls};
use zeroize::Zeroizing;

pub use error::Error;
pub use migrate::Migration;

/// A connection of the pool. It goes back when it is dropped, and is asked something before anybody else gets it.
pub type Connection = deadpool_postgres::Object;

/// The oldest server that is tried in the tests.
const OLDEST: i32 = 140_000;

/// Longest time that one statement may take, unless whoever sends it says otherwise.
const STATEMENT: Duration = Duration::from_secs(60);

/// Where the database is and how it is reached.
#[derive(Clone)]
pub struct Options {
    /// `postgres://user@host:port/database?sslmode=require`. `disable`, `prefer` and `require` are known, and
    /// `verify-ca` and `verify-full` mean `require`: a certificate is always checked, with the host's name.
    pub url: String,
    /// Read for the password, so that none has to stand in the URL.
    pub password_file: Option<PathBuf>,
    /// Authorities that may vouch for the server, PEM. `None`: those of the machine.
    pub ca_file: Option<PathBuf>,
    /// Most connections that are open at once.
    pub connections: usize,
    /// All tables are in it. Made if it is not there.
    pub schema: String,
    /// How long somebody waits for a connection, and for an answer that should be quick.
    pub patience: Duration,
}

impl Options {
    pub fn new(url: impl Into<String>) -> Options {
        Options {
            url: url.into(),
            password_file: None,
            ca_file: None,
            connections: 16,
            schema: "custody".to_owned(),
            patience: Duration::from_secs(10),
        }
    }

    fn config(&self) -> Result<tokio_postgres::Config, Error> {
        let url = self.url.replace("sslmode=verify-full", "sslmode=require");
        let url = url.replace("sslmode=verify-ca", "sslmode=require");
        // What the parser says may quote what it could not read.
        let mut config = tokio_postgres::Config::from_str(&url)
            .map_err(|_| Error::Options("the URL is not postgres://user@host:port/database".to_owned()))?;
        if let Some(file) = &self.password_file {
            let read = std::fs::read(file).map(Zeroizing::new);
            let text = read.map_err(|why| Error::Options(format!("{}: {why}", file.display())))?;
            config.password(text.trim_ascii_end());
        }
        config
            .application_name("custody")
            .options(self.session())
            .connect_timeout(self.patience)
            .tcp_user_timeout(self.patience)
            .keepalives(true)
            .keepalives_idle(Duration::from_secs(5))
            .keepalives_interval(Duration::from_secs(2))
            .keepalives_retries(3);
        Ok(config)
    }

    /// Settings that every session begins with, and that `RESET` comes back to. The server looks for dead
    /// callers by itself, so that their locks do not outlive them by more than about ten seconds.
    fn session(&self) -> String {
        let settings = [
            ("search_path", self.schema.clone()),
            ("synchronous_commit", "on".to_owned()),
            ("client_min_messages", "warning".to_owned()),
            ("statement_timeout", STATEMENT.as_millis().to_string()),
            ("lock_timeout", self.patience.as_millis().to_string()),
            ("idle_in_transaction_session_timeout", STATEMENT.as_millis().to_string()),
            ("tcp_keepalives_idle", "5".to_owned()),
            ("tcp_keepalives_interval", "2".to_owned()),
            ("tcp_keepalives_count", "3".to_owned()),
            ("tcp_user_timeout", "10000".to_owned()),
        ];
        settings.map(|(name, value)| format!("-c {name}={value}")).join(" ")
    }

    fn checked_schema(&self) -> Result<(), Error> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let begins = self.schema.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        if begins && self.schema.len() <= 63 && self.schema.bytes().all(plain) {
            return Ok(());
        }
        Err(Error::Options("a schema is named with at most 63 of a-z, 0-9 and _, a letter first".to_owned()))
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("connections", &self.connections)
            .field("schema", &self.schema)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

/// A database that was reached at least once.
pub struct Database {
    options: Options,
    config: tokio_postgres::Config,
    tls: Option<tls::Connector>,
    pool: Pool,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Database").field(&self.options).finish()
    }
}

impl Database {
    /// Connects once, so that a wrong address, name or password is known at the start.
    pub async fn open(options: Options) -> Result<Arc<Database>, Error> {
        options.checked_schema()?;
        let config = options.config()?;
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => None,
            _ => Some(tls::connector(options.ca_file.as_deref())?),
        };
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Verified };
        let manager = match &tls {
            Some(tls) => Manager::from_config(config.clone(), tls.clone(), manager),
            None => Manager::from_config(config.clone(), NoTls, manager),
        };
        let patience = Some(options.patience);
        let pool = Pool::builder(manager)
            .max_size(options.connections.max(1))
            .timeouts(Timeouts { wait: patience, create: patience, recycle: patience })
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|_| Error::Options("no pool of connections can be made".to_owned()))?;
        let database = Database { options, config, tls, pool };
        database.look().await?;
        Ok(Arc::new(database))
    }

    async fn look(&self) -> Result<(), Error> {
        let connection = self.get().await?;
        let text = "SELECT current_setting('server_version_num')::int, current_setting('fsync'), \
                    current_setting('full_page_writes')";
        let row = self.within(connection.query_one(text, &[])).await?;
        let version: i32 = row.get(0);
        if version < OLDEST {
            return Err(Error::Mismatch(format!("the server is of version {}", version / 10_000)));
        }
        for (at, name) in [(1, "fsync"), (2, "full_page_writes")] {
            if row.get::<_, &str>(at) != "on" {
                tracing::warn!(
                    setting = name,
                    "the PostgreSQL server does not keep what it answers: it is off"
                );
            }
        }
        Ok(())
    }

    /// A connection of the pool that answered just now, after at most `patience`.
    pub async fn get(&self) -> Result<Connection, Error> {
        self.pool.get().await.map_err(|why| match why {
            PoolError::Timeout(_) => Error::unavailable("no connection to PostgreSQL in time"),
            // Nothing was asked yet, so nothing can have taken effect.
            PoolError::Backend(why) => Error::from(why).before_effect(),
            _ => Error::unavailable("the pool of connections is closed"),
        })
    }

    /// A connection beside the pool, for whoever keeps it: holders of locks, listeners. It ends when the client is
    /// dropped; the task ends when the connection is lost.
    pub async fn connect_alone(&self) -> Result<(Client, JoinHandle<()>), Error> {
        let connect = async {
            match &self.tls {
                Some(tls) => {
                    let (client, connection) = self.config.connect(tls.clone()).await?;
                    Ok((client, tokio::spawn(said(connection))))
                }
                None => {
                    let (client, connection) = self.config.connect(NoTls).await?;
                    Ok((client, tokio::spawn(said(connection))))
                }
            }
        };
        self.within(connect).await.map_err(Error::before_effect)
    }

    /// As `connect_alone`, and hands over what the server says unasked: that somebody called, and its notices.
    pub async fn connect_hearing(
        &self,
        hear: impl FnMut(AsyncMessage) + Send + 'static,
    ) -> Result<(Client, JoinHandle<()>), Error> {
        let connect = async {
            match &self.tls {
                Some(tls) => {
                    let (client, connection) = self.config.connect(tls.clone()).await?;
                    Ok((client, tokio::spawn(heard(connection, hear))))
                }
                None => {
                    let (client, connection) = self.config.connect(NoTls).await?;
                    Ok((client, tokio::spawn(heard(connection, hear))))
                }
            }
        };
        self.within(connect).await.map_err(Error::before_effect)
    }

    /// Waits for an answer, but no longer than `patience`: a server may be cut off without anybody being told.
    pub async fn within<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(self.options.patience, answer).await {
            Ok(answer) => answer.map_err(Error::from),
            Err(_) => Err(Error::unanswered("no answer from PostgreSQL in time")),
        }
    }

    /// Brings the tables of some parts up to date; may be called by several processes at once.
    pub async fn migrate(&self, migrations: &[Migration]) -> Result<(), Error> {
        migrate::run(self, migrations).await
    }

    pub fn schema(&self) -> &str {
        &self.options.schema
    }

    pub fn patience(&self) -> Duration {
        self.options.patience
    }
}

/// Drives a connection until it ends. Whoever holds the client sees how.
async fn said<S, T>(connection: tokio_postgres::Connection<S, T>)
where
    tokio_postgres::Connection<S, T>: Future<Output = Result<(), tokio_postgres::Error>>,
{
    if let Err(why) = connection.await {
        tracing::debug!(error = %Error::from(why), "a connection to PostgreSQL ended");
    }
}

/// As `said`, for whoever wants to hear.
async fn heard<S, T>(mut connection: tokio_postgres::Connection<S, T>, mut hear: impl FnMut(AsyncMessage))
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = std::future::poll_fn(|context| connection.poll_message(context)).await {
        match message {
            Ok(message) => hear(message),
            Err(why) => {
                tracing::debug!(error = %Error::from(why), "a connection to PostgreSQL ended");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
