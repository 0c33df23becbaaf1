//! Why a use case did not do what was asked: one vocabulary for gRPC, console, jobs and the
//! command line, which knows nothing of any transport.
//!
//! Display is what may leave the house: short, without a personal value, without the source. The
//! source is for the operator's log. Reasons are stable words in snake_case (gRPC shows them in upper
//! case): clients may branch on them, and one that is no longer used is never given another meaning.

use std::fmt;
use std::sync::Arc;

use crate::{backup, export, ledger, log, record, vault, views};

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
    /// What was waited for did not come in time.
    DeadlineExceeded,
    /// Stored bytes do not check.
    DataLoss,
    /// Tell the operator.
    Internal,
}

/// What lies behind an error. Shared, because one cause can fail every event of a batch.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("{}", Violations(.0))]
    Invalid(Vec<FieldViolation>),
    /// The event id was recorded before, with other content.
    #[error("the event id is recorded already, at position {position}, with other content")]
    Conflict { position: u64 },
    /// Nobody has the identifier, or the person was erased; which of both is not told.
    #[error("nobody is known under this name")]
    SubjectNotFound,
    #[error("there is no such event")]
    EventNotFound,
    #[error("nothing of this key is found")]
    FindingNotFound,
    #[error("there is no such plan")]
    PlanNotFound,
    #[error("no instruction of this id was given to this addressee")]
    InstructionNotFound,
    #[error("there is no such entry in this register")]
    RegisterEntryNotFound,
    #[error("no checkpoint of this size was published")]
    CheckpointNotFound,
    #[error("there is no such export, or it is kept no more")]
    ExportNotFound,
    #[error("another export was asked for under this id")]
    ExportConflict,
    /// An identifier has meant several people; their handles, for a caller that may see them.
    #[error("the identifier has meant {} people: name one of the candidates", .candidates.len())]
    SubjectAmbiguous { candidates: Vec<String> },
    #[error("the page token is not one of ours, or belongs to another question")]
    PageToken,
    #[error("the event's {what} would be larger than {limit} bytes")]
    TooLarge { what: &'static str, limit: usize },
    /// Something else has to be so first: `unknown_controller`, `unknown_service`, `reason_required`,
    /// `export_not_ready`, `export_refused`, `backup_refused`, `key_refused`, `confirmation_required`, `second_person_required`,
    /// `plan_decided`, `instruction_ended`, `held`.
    #[error("{why}")]
    Precondition { reason: &'static str, why: String },
    /// `not_your_service`, `reserved_type`, `role_forbidden`.
    #[error("{why}")]
    PermissionDenied { reason: &'static str, why: String },
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// A bound was reached that other work will free, such as `disk_reserve`.
    #[error("{what}: try again later")]
    ResourceExhausted { reason: &'static str, what: &'static str, retry_after_ms: u64 },
    /// Nothing was decided: `overloaded`, `log_unavailable`, `vault_unavailable`, ...
    #[error("{what}: try again")]
    Unavailable {
        reason: &'static str,
        what: &'static str,
        retry_after_ms: u64,
        #[source]
        source: Option<Cause>,
    },
    /// The views have not reached the position that the answer was to include.
    #[error("the views stand at position {at}: try again")]
    ViewsBehind { at: u64 },
    /// The event may or may not be recorded.
    #[error("the outcome is unknown: send the same event again, it is recorded once")]
    OutcomeUnknown {
        #[source]
        source: Option<Cause>,
    },
    /// An operator has to look before anything is written again.
    #[error("the log is read-only until its operator has looked")]
    ReadOnly {
        #[source]
        source: Option<Cause>,
    },
    #[error("what is stored at position {position} does not check")]
    Corrupt {
        position: u64,
        #[source]
        source: Option<Cause>,
    },
    /// The fault is a word for the operator.
    #[error("internal error ({fault}): the operator finds its cause under this request's id")]
    Internal {
        fault: &'static str,
        #[source]
        source: Option<Cause>,
    },
}

/// Waiting this long spreads retries without a visible pause.
const RETRY_MS: u64 = 100;

impl Error {
    pub fn invalid(field: impl Into<String>, description: impl fmt::Display) -> Self {
        Error::Invalid(vec![FieldViolation::new(field, description)])
    }

    /// Refuses a request where any field is wrong.
    pub fn of_fields(wrong: Vec<(&'static str, &'static str)>) -> Result<(), Error> {
        let wrong: Vec<_> = wrong.into_iter().map(|(field, why)| FieldViolation::new(field, why)).collect();
        if wrong.is_empty() { Ok(()) } else { Err(Error::Invalid(wrong)) }
    }

    /// A fault of ours that no other error caused.
    pub fn internal(fault: &'static str) -> Self {
        Error::Internal { fault, source: None }
    }

    /// A fault of ours, with what lies behind it.
    pub fn fault(fault: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Error::Internal { fault, source: Some(Arc::new(source)) }
    }

    /// The service is about to end; whoever comes later finds it again.
    pub fn stopping() -> Self {
        Error::Unavailable {
            reason: "stopping",
            what: "custody is stopping",
            retry_after_ms: 1_000,
            source: None,
        }
    }

    /// The same failure for another event of the batch.
    pub fn repeated(&self) -> Self {
        self.clone()
    }

    pub fn code(&self) -> Code {
        match self {
            Error::Invalid(_) | Error::PageToken | Error::TooLarge { .. } => Code::InvalidArgument,
            Error::Conflict { .. } | Error::ExportConflict => Code::AlreadyExists,
            Error::SubjectNotFound
            | Error::EventNotFound
            | Error::FindingNotFound
            | Error::PlanNotFound
            | Error::InstructionNotFound
            | Error::RegisterEntryNotFound
            | Error::CheckpointNotFound
            | Error::ExportNotFound => Code::NotFound,
            Error::SubjectAmbiguous { .. } | Error::Precondition { .. } | Error::ReadOnly { .. } => {
                Code::FailedPrecondition
            }
            Error::PermissionDenied { .. } => Code::PermissionDenied,
            Error::Unauthenticated(_) => Code::Unauthenticated,
            Error::ResourceExhausted { .. } => Code::ResourceExhausted,
            Error::Unavailable { .. } | Error::OutcomeUnknown { .. } => Code::Unavailable,
            Error::ViewsBehind { .. } => Code::DeadlineExceeded,
            Error::Corrupt { .. } => Code::DataLoss,
            Error::Internal { .. } => Code::Internal,
        }
    }

    /// The stable word that clients and metrics use: a name of the API's `ErrorReason`.
    pub fn reason(&self) -> &'static str {
        match self {
            Error::Invalid(_) => "invalid_request",
            Error::Conflict { .. } => "event_id_conflict",
            Error::SubjectNotFound => "subject_not_found",
            Error::EventNotFound => "event_not_found",
            Error::FindingNotFound => "finding_not_found",
            Error::PlanNotFound => "plan_not_found",
            Error::InstructionNotFound => "instruction_not_found",
            Error::RegisterEntryNotFound => "register_entry_not_found",
            Error::CheckpointNotFound => "checkpoint_not_found",
            Error::ExportNotFound => "export_not_found",
            Error::ExportConflict => "export_id_conflict",
            Error::SubjectAmbiguous { .. } => "subject_ambiguous",
            Error::PageToken => "page_token_invalid",
            Error::TooLarge { .. } => "record_too_large",
            Error::Precondition { reason, .. }
            | Error::PermissionDenied { reason, .. }
            | Error::ResourceExhausted { reason, .. }
            | Error::Unavailable { reason, .. } => reason,
            Error::Unauthenticated(_) => "token_unknown",
            Error::ViewsBehind { .. } => "views_behind",
            Error::OutcomeUnknown { .. } => "outcome_unknown",
            Error::ReadOnly { .. } => "log_read_only",
            Error::Corrupt { .. } => "log_corrupt",
            Error::Internal { .. } => "internal",
        }
    }

    /// How long to wait before the same request, in milliseconds; `None` if it would fail again.
    pub fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Error::ResourceExhausted { retry_after_ms, .. } | Error::Unavailable { retry_after_ms, .. } => {
                Some(*retry_after_ms)
            }
            Error::OutcomeUnknown { .. } | Error::ViewsBehind { .. } => Some(RETRY_MS),
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
            log::Error::Unavailable { .. } => Error::Unavailable {
                reason: "log_unavailable",
                what: "the log cannot take it now",
                retry_after_ms: RETRY_MS,
                source: Some(Arc::new(error)),
            },
            log::Error::Unknown { .. } => Error::OutcomeUnknown { source: Some(Arc::new(error)) },
            log::Error::Corrupt { position, .. } => {
                Error::Corrupt { position, source: Some(Arc::new(error)) }
            }
            log::Error::ReadOnly(_) => Error::ReadOnly { source: Some(Arc::new(error)) },
            // What callers may get wrong was checked before, so a refusal here is our fault.
            log::Error::Refused(_) => Error::fault("log_refused", error),
        }
    }
}

impl From<vault::Error> for Error {
    fn from(error: vault::Error) -> Self {
        match error {
            vault::Error::Unavailable { .. } => Error::Unavailable {
                reason: "vault_unavailable",
                what: "the vault does not answer",
                retry_after_ms: RETRY_MS,
                source: Some(Arc::new(error)),
            },
            vault::Error::NotFound => Error::SubjectNotFound,
            vault::Error::Keyring(_) => Error::fault("keyring", error),
            vault::Error::Corrupt { .. } => Error::fault("vault_corrupt", error),
        }
    }
}

impl From<views::Error> for Error {
    fn from(error: views::Error) -> Self {
        match error {
            views::Error::NotYet { applied, .. } => Error::ViewsBehind { at: applied },
            views::Error::Log(source) => source.into(),
            views::Error::Record { position, .. } => {
                Error::Corrupt { position, source: Some(Arc::new(error)) }
            }
            views::Error::CalledOff => Error::stopping(),
            views::Error::Stopped(_) | views::Error::Busy => Error::Unavailable {
                reason: "overloaded",
                what: "the views are not answering",
                retry_after_ms: 1_000,
                source: Some(Arc::new(error)),
            },
            _ => Error::fault("views", error),
        }
    }
}

impl From<ledger::Error> for Error {
    fn from(error: ledger::Error) -> Self {
        match error {
            ledger::Error::Log(source) => source.into(),
            ledger::Error::Pending { .. } => Error::Unavailable {
                reason: "checkpoint_pending",
                what: "no checkpoint has been published over it yet",
                retry_after_ms: 1_000,
                source: Some(Arc::new(error)),
            },
            ledger::Error::NotFound => Error::CheckpointNotFound,
            ledger::Error::Beyond { size } => {
                Error::invalid("size", format_args!("goes beyond a tree of {size} leaves"))
            }
            ledger::Error::Diverged(_) => Error::ReadOnly { source: Some(Arc::new(error)) },
            ledger::Error::NoKey(_)
            | ledger::Error::Io { .. }
            | ledger::Error::Behind { .. }
            | ledger::Error::Fenced(_)
            | ledger::Error::Stopped(_) => Error::Unavailable {
                reason: "ledger_unavailable",
                what: "the ledger cannot do it now",
                retry_after_ms: 1_000,
                source: Some(Arc::new(error)),
            },
            _ => Error::fault("ledger", error),
        }
    }
}

impl From<export::Error> for Error {
    fn from(error: export::Error) -> Self {
        match error {
            export::Error::Refused(why) => Error::Precondition { reason: "export_refused", why },
            export::Error::Log(source) => source.into(),
            export::Error::Record { position, .. } => {
                Error::Corrupt { position, source: Some(Arc::new(error)) }
            }
            export::Error::Proof(source) => match source.downcast::<ledger::Error>() {
                Ok(source) => (*source).into(),
                Err(source) => Error::fault("export", export::Error::Proof(source)),
            },
            // By whoever deleted it, or because the service stops.
            export::Error::CalledOff => Error::stopping(),
            export::Error::Io { ref source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                crate::app::record::DISK_AT_RESERVE
            }
            _ => Error::fault("export", error),
        }
    }
}

impl From<backup::Error> for Error {
    fn from(error: backup::Error) -> Self {
        match error {
            backup::Error::CalledOff => Error::stopping(),
            backup::Error::Randomness => Error::fault("random", error),
            // Names files of the operator who asked, and nothing of anybody.
            other => Error::Precondition { reason: "backup_refused", why: other.to_string() },
        }
    }
}

impl From<record::Error> for Error {
    fn from(error: record::Error) -> Self {
        match error {
            record::Error::TooLarge { what, limit } => Error::TooLarge { what, limit },
            record::Error::Random => Error::fault("random", error),
            record::Error::NoIndexKey(_) => Error::fault("keyring", error),
            record::Error::UnknownVersion(_) | record::Error::UnknownType(_) => {
                Error::fault("record_newer", error)
            }
            _ => Error::fault("record_unreadable", error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_shows_its_word_and_hides_its_source() {
        let error = Error::from(record::Error::Unopened { what: "sealed part" });
        assert_eq!((error.code(), error.reason()), (Code::Internal, "internal"));
        assert!(
            error.to_string().contains("record_unreadable") && !error.to_string().contains("sealed part")
        );
        assert!(error.chain().is_some_and(|chain| chain.contains("sealed part does not open")));
    }

    #[test]
    fn a_lost_answer_says_that_a_retry_is_safe() {
        let io = std::io::Error::other("connection reset");
        let error = Error::from(log::Error::Unknown { reason: "the writer stopped", source: Some(io) });
        assert_eq!((error.code(), error.reason()), (Code::Unavailable, "outcome_unknown"));
        assert!(error.retry_after_ms().is_some());
        assert!(error.chain().is_some_and(|chain| chain.ends_with("the writer stopped: connection reset")));
        assert!(Error::from(log::Error::ReadOnly("flip".to_owned())).retry_after_ms().is_none());
    }

    #[test]
    fn one_cause_can_fail_every_event_of_a_batch() {
        let error = Error::from(log::Error::ReadOnly("flip".to_owned()));
        assert_eq!(error.repeated().chain(), error.chain());
    }

    /// Clients match on the API's list, so a reason that is not in it would be one they cannot know.
    #[test]
    fn every_reason_of_the_sources_is_one_of_the_api() {
        let sources = [
            include_str!("error.rs"),
            include_str!("access.rs"),
            include_str!("backup.rs"),
            include_str!("exports.rs"),
            include_str!("exports/make.rs"),
            include_str!("exports/scope.rs"),
            include_str!("keys.rs"),
            include_str!("keys/change.rs"),
            include_str!("record.rs"),
            include_str!("../api/access.rs"),
            include_str!("../api/auth.rs"),
            include_str!("../server/cluster.rs"),
        ];
        let stated = sources.iter().flat_map(|text| text.split("reason: \"").skip(1));
        let stated = stated.filter_map(|rest| rest.split('"').next());
        let returned = sources[0].split("=> \"").skip(1).filter_map(|rest| rest.split('"').next());
        let mut count = 0;
        for reason in
            stated.chain(returned).filter(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        {
            let name = format!("ERROR_REASON_{}", reason.to_ascii_uppercase());
            assert!(
                crate::pb::ErrorReason::from_str_name(&name).is_some(),
                "{name} is not in error_reason.proto"
            );
            count += 1;
        }
        assert!(count > 15, "the sources were searched");
    }

    #[test]
    fn many_violations_make_one_line() {
        let list = (0..5).map(|i| FieldViolation::new(format!("f{i}"), "is empty")).collect();
        assert_eq!(Error::Invalid(list).to_string(), "f0 is empty; f1 is empty; f2 is empty; and 2 more");
    }
}
