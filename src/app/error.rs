//! Why a use case did not do what was asked: one vocabulary for gRPC, console, jobs and the
//! command line, which knows nothing of any transport.
//!
//! Display is what may leave the house: short, without a personal value, without the source. The
//! source is for the operator's log. Reasons are stable: clients may branch on them, and a reason
//! that is no longer used is never given another meaning.

use std::fmt;

use crate::{log, record, vault};

/// One thing that is wrong with one field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// The path from the request, such as `events[3].people[0].identifiers[1].value`.
    pub field: String,
    /// What is wrong; never the value itself.
    pub description: String,
}

impl FieldViolation {
    pub fn new(field: impl Into<String>, description: impl fmt::Display) -> Self {
        FieldViolation { field: field.into(), description: description.to_string() }
    }
}

/// What a caller can do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// Change the request.
    InvalidArgument,
    /// The name is taken by something else.
    AlreadyExists,
    NotFound,
    /// Change the state of the world first.
    FailedPrecondition,
    /// Ask for rights.
    PermissionDenied,
    /// Say who is asking.
    Unauthenticated,
    /// Slow down.
    ResourceExhausted,
    /// Try again: the same request may succeed.
    Unavailable,
    /// Tell the operator.
    Internal,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}", Violations(.0))]
    Invalid(Vec<FieldViolation>),
    /// The event id was recorded before, with other content.
    #[error("event {event_id} is recorded already with other content")]
    Conflict { event_id: String },
    #[error("{what} not found")]
    NotFound { what: &'static str },
    /// An identifier means several people; their handles, for a caller that may see them.
    #[error("the identifier means {} people: name the instant, or one of them by subject id", .candidates.len())]
    Ambiguous { candidates: Vec<String> },
    #[error("{why}")]
    PermissionDenied { reason: &'static str, why: String },
    #[error("{why}")]
    Unauthenticated { reason: &'static str, why: &'static str },
    /// A bound was reached that other work will free.
    #[error("{what} is full: try again later")]
    ResourceExhausted { what: &'static str, retry_after_ms: u64 },
    /// Nothing was decided.
    #[error("{what} is unavailable: try again")]
    Unavailable {
        what: &'static str,
        retry_after_ms: u64,
        #[source]
        source: Option<anyhow::Error>,
    },
    /// The event may or may not be recorded.
    #[error("the outcome is unknown: send the same event again, it is recorded once")]
    OutcomeUnknown {
        #[source]
        source: Option<anyhow::Error>,
    },
    /// A stored byte does not check, or the disk refuses: an operator has to look.
    #[error("custody is read-only until its operator has looked: see the log of the server")]
    ReadOnly {
        #[source]
        source: Option<anyhow::Error>,
    },
    #[error("internal error {reason}: the operator finds its cause in the log of the server")]
    Internal {
        reason: &'static str,
        #[source]
        source: anyhow::Error,
    },
}

/// Waiting this long spreads retries without a visible pause.
const RETRY_MS: u64 = 100;

impl Error {
    pub fn invalid(field: impl Into<String>, description: impl fmt::Display) -> Self {
        Error::Invalid(vec![FieldViolation::new(field, description)])
    }

    pub fn internal(reason: &'static str, source: impl Into<anyhow::Error>) -> Self {
        Error::Internal { reason, source: source.into() }
    }

    pub fn code(&self) -> Code {
        match self {
            Error::Invalid(_) => Code::InvalidArgument,
            Error::Conflict { .. } => Code::AlreadyExists,
            Error::NotFound { .. } => Code::NotFound,
            Error::Ambiguous { .. } | Error::ReadOnly { .. } => Code::FailedPrecondition,
            Error::PermissionDenied { .. } => Code::PermissionDenied,
            Error::Unauthenticated { .. } => Code::Unauthenticated,
            Error::ResourceExhausted { .. } => Code::ResourceExhausted,
            Error::Unavailable { .. } | Error::OutcomeUnknown { .. } => Code::Unavailable,
            Error::Internal { .. } => Code::Internal,
        }
    }

    /// The stable word that clients and metrics use.
    pub fn reason(&self) -> &'static str {
        match self {
            Error::Invalid(_) => "INVALID_FIELDS",
            Error::Conflict { .. } => "EVENT_CONFLICT",
            Error::NotFound { .. } => "NOT_FOUND",
            Error::Ambiguous { .. } => "SUBJECT_AMBIGUOUS",
            Error::PermissionDenied { reason, .. } | Error::Unauthenticated { reason, .. } => reason,
            Error::ResourceExhausted { .. } => "LIMIT_REACHED",
            Error::Unavailable { .. } => "TRY_AGAIN",
            Error::OutcomeUnknown { .. } => "OUTCOME_UNKNOWN",
            Error::ReadOnly { .. } => "READ_ONLY",
            Error::Internal { reason, .. } => reason,
        }
    }

    /// How long to wait before the same request, in milliseconds; `None` if it would fail again.
    pub fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Error::ResourceExhausted { retry_after_ms, .. } | Error::Unavailable { retry_after_ms, .. } => {
                Some(*retry_after_ms)
            }
            Error::OutcomeUnknown { .. } => Some(RETRY_MS),
            _ => None,
        }
    }

    /// The inside of a fault, for the operator's log only.
    pub fn chain(&self) -> Option<String> {
        let source = std::error::Error::source(self)?;
        let mut text = source.to_string();
        let mut next = source.source();
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        Some(text)
    }
}

/// One line for many violations; the API carries each of them on its own too.
struct Violations<'a>(&'a [FieldViolation]);

impl fmt::Display for Violations<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, violation) in self.0.iter().take(3).enumerate() {
            let comma = if i > 0 { "; " } else { "" };
            write!(f, "{comma}{} {}", violation.field, violation.description)?;
        }
        match self.0.len() {
            0..=3 => Ok(()),
            more => write!(f, "; and {} more", more - 3),
        }
    }
}

impl From<log::Error> for Error {
    fn from(error: log::Error) -> Self {
        match error {
            log::Error::Unavailable { .. } => {
                Error::Unavailable { what: "the log", retry_after_ms: RETRY_MS, source: Some(error.into()) }
            }
            log::Error::Unknown { .. } => Error::OutcomeUnknown { source: Some(error.into()) },
            log::Error::Corrupt { .. } | log::Error::ReadOnly(_) => {
                Error::ReadOnly { source: Some(error.into()) }
            }
            // What callers may get wrong was checked before, so a refusal here is our fault.
            log::Error::Refused(_) => Error::internal("LOG_REFUSED", error),
        }
    }
}

impl From<vault::Error> for Error {
    fn from(error: vault::Error) -> Self {
        match error {
            vault::Error::Unavailable { .. } => {
                Error::Unavailable { what: "the vault", retry_after_ms: RETRY_MS, source: Some(error.into()) }
            }
            vault::Error::NotFound => Error::NotFound { what: "person" },
            vault::Error::Keyring(_) => Error::internal("KEYRING", error),
            vault::Error::Corrupt { .. } => Error::internal("VAULT_CORRUPT", error),
        }
    }
}

impl From<record::Error> for Error {
    fn from(error: record::Error) -> Self {
        match error {
            record::Error::TooLarge { what, limit } => {
                Error::invalid("event", format_args!("its {what} would be larger than {limit} bytes"))
            }
            record::Error::Random => Error::internal("RANDOM", error),
            record::Error::NoIndexKey(_) => Error::internal("KEYRING", error),
            record::Error::UnknownVersion(_) | record::Error::UnknownType(_) => {
                Error::internal("RECORD_NEWER", error)
            }
            _ => Error::internal("RECORD_UNREADABLE", error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_shows_its_reason_and_hides_its_source() {
        let error = Error::from(record::Error::Unopened { what: "sealed part" });
        assert_eq!((error.code(), error.reason()), (Code::Internal, "RECORD_UNREADABLE"));
        assert!(!error.to_string().contains("sealed part"));
        assert!(error.chain().is_some_and(|chain| chain.contains("sealed part does not open")));
    }

    #[test]
    fn a_lost_answer_says_that_a_retry_is_safe() {
        let io = std::io::Error::other("connection reset");
        let error = Error::from(log::Error::Unknown { reason: "the writer stopped", source: Some(io) });
        assert_eq!((error.code(), error.reason()), (Code::Unavailable, "OUTCOME_UNKNOWN"));
        assert!(error.retry_after_ms().is_some());
        assert!(error.chain().is_some_and(|chain| chain.ends_with("the writer stopped: connection reset")));
        assert!(Error::from(log::Error::ReadOnly("flip".to_owned())).retry_after_ms().is_none());
    }

    #[test]
    fn many_violations_make_one_line() {
        let list = (0..5).map(|i| FieldViolation::new(format!("f{i}"), "is empty")).collect();
        assert_eq!(Error::Invalid(list).to_string(), "f0 is empty; f1 is empty; f2 is empty; and 2 more");
    }
}
