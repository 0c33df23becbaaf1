//! The only maker of gRPC statuses: an `app::Error` becomes a code, a stable reason and the details
//! of `google.rpc`. What a client sees is short and names no person; the cause of a fault goes into
//! one log line with the same request id.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::app::Error;
use crate::app::error;
use crate::pb;
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

/// The same as the outcome of one event of a batch.
pub fn outcome(error: &Error, request_id: &RequestId) -> pb::EventError {
    ::metrics::counter!(metrics::EVENTS_REFUSED, "reason" => error.reason()).increment(1);
    log(error, request_id);
    let violations = match error {
        Error::Invalid(violations) => violations.as_slice(),
        _ => &[],
    };
    let violation = |v: &error::FieldViolation| pb::FieldViolation {
        field: v.field.clone(),
        description: v.description.clone(),
    };
    pb::EventError {
        code: code(error) as i32,
        reason: error.reason().to_ascii_uppercase(),
        message: error.to_string(),
        violations: violations.iter().map(violation).collect(),
        retryable: error.retry_after_ms().is_some(),
    }
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
        error::Code::DeadlineExceeded => Code::DeadlineExceeded,
        error::Code::DataLoss => Code::DataLoss,
        error::Code::Internal => Code::Internal,
    }
}

fn details(error: &Error) -> ErrorDetails {
    let mut facts = HashMap::new();
    if let Error::SubjectAmbiguous { candidates } = error {
        facts.insert("candidates".to_owned(), candidates.join(","));
    }
    if let Error::Conflict { position } | Error::Corrupt { position, .. } = error {
        facts.insert("position".to_owned(), position.to_string());
    }
    if let Error::Internal { fault, .. } = error {
        facts.insert("fault".to_owned(), (*fault).to_owned());
    }
    let mut details = ErrorDetails::with_error_info(error.reason().to_ascii_uppercase(), DOMAIN, facts);
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
    match error {
        Error::Internal { fault, .. } => tracing::error!(%request_id, reason, fault, cause, "request failed"),
        Error::Corrupt { position, .. } => {
            tracing::error!(%request_id, reason, position, cause, "request failed")
        }
        Error::ReadOnly { .. } => tracing::error!(%request_id, reason, cause, "request refused"),
        Error::Unavailable { .. } | Error::ResourceExhausted { .. } | Error::OutcomeUnknown { .. } => {
            tracing::warn!(%request_id, reason, cause, "request put off");
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
        assert_eq!(details.error_info().unwrap().reason, "INVALID_REQUEST");
        assert_eq!(details.error_info().unwrap().domain, "custody.v1");
        assert_eq!(details.request_info().unwrap().request_id, "req-1");
        assert!(details.retry_info().is_none());
    }

    #[test]
    fn a_fault_keeps_its_cause_inside() {
        let status = status(Error::fault("vault_corrupt", std::io::Error::other("row 7 of table people")));
        assert_eq!(status.code(), Code::Internal);
        assert!(!status.message().contains("row 7") && status.message().contains("vault_corrupt"));
        assert!(!String::from_utf8_lossy(status.details()).contains("row 7"));
    }

    #[test]
    fn whoever_may_retry_is_told_when() {
        let status = status(Error::ResourceExhausted {
            reason: "disk_reserve",
            what: "the disk is at its reserve",
            retry_after_ms: 1_500,
        });
        assert_eq!(status.code(), Code::ResourceExhausted);
        let delay = status.get_error_details().retry_info().unwrap().retry_delay;
        assert_eq!(delay, Some(Duration::from_millis(1_500)));
    }

    #[test]
    fn candidates_are_named_to_the_caller() {
        let status = status(Error::SubjectAmbiguous { candidates: vec!["a".to_owned(), "b".to_owned()] });
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().metadata["candidates"], "a,b");
    }
}
