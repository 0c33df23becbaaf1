//! What went wrong with PostgreSQL, without what the statements were about.
//!
//! Promises: of what the server says only the severity, the SQLSTATE and the names of table and constraint are
//! kept, because its messages and details quote values. Keeps nothing; a crash loses nothing.

use std::error::Error as _;
use std::io;

use tokio_postgres::error::{DbError, SqlState};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was configured cannot be used. Somebody has to change it.
    #[error("PostgreSQL cannot be used as configured: {0}")]
    Options(String),
    /// Nothing was done; the same call may succeed later.
    #[error("PostgreSQL unavailable: {reason}")]
    Unavailable {
        reason: &'static str,
        #[source]
        source: Option<anyhow::Error>,
    },
    /// The answer was lost: what was asked may have been done or not.
    #[error("no answer from PostgreSQL: {reason}")]
    Unanswered {
        reason: &'static str,
        #[source]
        source: Option<anyhow::Error>,
    },
    /// The tables are not those that this program works with.
    #[error("the database does not fit this program: {0}")]
    Mismatch(String),
    /// The server refused a statement, and will again.
    #[error("PostgreSQL refused: {0}")]
    Refused(String),
}

impl Error {
    pub fn unavailable(reason: &'static str) -> Error {
        Error::Unavailable { reason, source: None }
    }

    pub fn unanswered(reason: &'static str) -> Error {
        Error::Unanswered { reason, source: None }
    }

    /// Whether the same call may succeed later without anybody's doing.
    pub fn retryable(&self) -> bool {
        matches!(self, Error::Unavailable { .. } | Error::Unanswered { .. })
    }

    /// For a call that cannot have had an effect yet, such as connecting, or that has none, such as reading.
    pub fn before_effect(self) -> Error {
        match self {
            Error::Unanswered { reason, source } => Error::Unavailable { reason, source },
            other => other,
        }
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Error {
        if let Some(told) = error.as_db_error() {
            return of_server(told);
        }
        // Only what the operating system or TLS said is repeated: other causes may quote what was sent.
        let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
        let source = cause.map(|cause| anyhow::anyhow!("{cause}"));
        let reason = if error.is_closed() || source.is_some() {
            "the connection was lost or could not be made"
        } else {
            "the connection ended or what it brought was not understood"
        };
        Error::Unanswered { reason, source }
    }
}

fn of_server(told: &DbError) -> Error {
    let named = |name: Option<&str>, what| name.map(|name| format!(" {what} {name}")).unwrap_or_default();
    let text = format!(
        "{} {}{}{}",
        told.severity(),
        told.code().code(),
        named(told.table(), "table"),
        named(told.constraint(), "constraint")
    );
    let code = told.code();
    let source = Some(anyhow::anyhow!("{text}"));
    let ended = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::IDLE_SESSION_TIMEOUT,
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    ];
    if ended.contains(code) || code.code().starts_with("08") {
        return Error::Unanswered { reason: "the server ended the connection", source };
    }
    let reason = match code.code() {
        "57P03" => "the server is starting or stopping",
        "25006" => "the server takes no writes: it is a standby",
        "55P03" => "a lock was not free in time",
        "57014" => "the statement took too long",
        "40001" | "40P01" => "other transactions were in the way",
        "53100" => "the server's disk is full",
        other if other.starts_with("53") => "the server is out of resources",
        other => return Error::Refused(format!("{text}{}", hint(other))),
    };
    Error::Unavailable { reason, source }
}

/// What an operator can do about it, where that is plain.
fn hint(code: &str) -> &'static str {
    match code {
        "28000" | "28P01" => ": the role or its password is not accepted",
        "3D000" => ": there is no such database",
        "42501" => ": the role lacks a privilege",
        "3F000" | "42P01" => ": a schema or table is missing",
        _ => "",
    }
}
