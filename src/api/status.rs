//! The only maker of gRPC statuses: an `app::Error` becomes a code, a stable reason and the details
//! of `google.rpc`. What a client sees is short and names no person; the cause of a fault goes into
//! one log line with the same request id.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::app::Error;
use crate::app::error;
use crate::telemetry::metrics;
use crate::telemetry::request::RequestId;

/// The domain of every reason.
pub const DOMAIN: &str = "custody.v1";

/// The status of an error, logged if it is a fault of ours.
pub fn of(error: &Error, request_id: &RequestId) -> Status {
    ::metrics::counter!(metrics::ERRORS, "reason" => error.reason()).increment(1);
    log(error, request_id);
    let mut details = details(error);
    details.set_request_info(request_id.as_str(), "");
    Status::with_error_details(code(error), error.to_string(), details)
}

/// The same as it stands in one outcome of a batch: code and message, with the details that tell
/// what to do.
pub fn outcome(error: &Error, request_id: &RequestId) -> (Code, String, ErrorDetails) {
    ::metrics::counter!(metrics::EVENTS_REFUSED, "reason" => error.reason()).increment(1);
    log(error, request_id);
    (code(error), error.to_string(), details(error))
}

fn code(error: &Error) -> Code {
    match error.code() {
        error::Code::InvalidArgument => Code::InvalidArgument,
        error::Code::AlreadyExists => Code::AlreadyExists,
        error::Code::NotFound => Code::NotFound,
        error::Code::FailedPrecondition => Code::FailedPrecondition,
        error::Code::PermissionDenied => Code::PermissionDenied,
        error::Code::Unauthenticated => Code::Unauthenticated,
        error::Code::ResourceExhausted => Code::ResourceExhausted,
        error::Code::Unavailable => Code::Unavailable,
        error::Code::Internal => Code::Internal,
    }
}

fn details(error: &Error) -> ErrorDetails {
    let mut facts = HashMap::new();
    if let Error::Ambiguous { candidates } = error {
        facts.insert("candidates".to_owned(), candidates.join(","));
    }
    let mut details = ErrorDetails::with_error_info(error.reason(), DOMAIN, facts);
    if let Error::Invalid(violations) = error {
        let fields = violations.iter().map(|v| FieldViolation::new(&v.field, &v.description));
        details.set_bad_request(fields.collect::<Vec<_>>());
    }
    if let Some(ms) = error.retry_after_ms() {
        details.set_retry_info(Some(Duration::from_millis(ms)));
    }
    details
}

fn log(error: &Error, request_id: &RequestId) {
    let (reason, cause) = (error.reason(), error.chain().unwrap_or_default());
    match error.code() {
        error::Code::Internal => tracing::error!(%request_id, reason, cause, "request failed"),
        error::Code::Unavailable | error::Code::ResourceExhausted => {
            tracing::warn!(%request_id, reason, cause, "request put off");
        }
        _ if matches!(error, Error::ReadOnly { .. }) => {
            tracing::error!(%request_id, reason, cause, "request refused: the log is read-only");
        }
        _ => tracing::debug!(%request_id, reason, "request refused"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;
    use crate::telemetry::request::RequestIds;

    fn status(error: Error) -> Status {
        of(&error, &RequestIds::new(Timestamp::EPOCH).of(Some("req-1")))
    }

    #[test]
    fn every_violation_reaches_the_client() {
        let violations = vec![
            error::FieldViolation::new("events[0].emitter", "is empty"),
            error::FieldViolation::new("events[0].people[3].role", "is unspecified"),
        ];
        let status = status(Error::Invalid(violations));
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = status.get_error_details();
        let fields = &details.bad_request().unwrap().field_violations;
        assert_eq!((fields.len(), fields[1].field.as_str()), (2, "events[0].people[3].role"));
        assert_eq!(details.error_info().unwrap().reason, "INVALID_FIELDS");
        assert_eq!(details.error_info().unwrap().domain, "custody.v1");
        assert_eq!(details.request_info().unwrap().request_id, "req-1");
        assert!(details.retry_info().is_none());
    }

    #[test]
    fn a_fault_keeps_its_cause_inside() {
        let status = status(Error::internal("VAULT_CORRUPT", anyhow::anyhow!("row 7 of table people")));
        assert_eq!(status.code(), Code::Internal);
        assert!(!status.message().contains("row 7") && status.message().contains("VAULT_CORRUPT"));
        assert!(!String::from_utf8_lossy(status.details()).contains("row 7"));
    }

    #[test]
    fn whoever_may_retry_is_told_when() {
        let status = status(Error::ResourceExhausted { what: "the disk reserve", retry_after_ms: 1_500 });
        assert_eq!(status.code(), Code::ResourceExhausted);
        let delay = status.get_error_details().retry_info().unwrap().retry_delay;
        assert_eq!(delay, Some(Duration::from_millis(1_500)));
    }

    #[test]
    fn candidates_are_named_to_the_caller() {
        let status = status(Error::Ambiguous { candidates: vec!["a".to_owned(), "b".to_owned()] });
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().metadata["candidates"], "a,b");
    }
}
