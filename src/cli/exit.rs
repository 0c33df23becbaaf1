//! How a command ends: one list of exit codes, and what they mean.

use std::fmt;
use std::process::ExitCode;

/// The exit codes, as `custody help exit-codes` prints them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Ok = 0,
    Found = 1,
    Refused = 2,
    Unavailable = 3,
    Unproven = 10,
    Contradicted = 20,
    Invalid = 30,
    Malformed = 40,
    Usage = 64,
    Internal = 70,
    Configuration = 78,
}

/// What `custody help exit-codes` prints.
pub const HELP: &str = "\
Exit codes:
   0  done; also when whoever read the output closed it early
   1  a check found something: a gap, a byte that does not check, a difference, a defect of a policy
   2  the request was refused: invalid, not allowed, in conflict, not found
   3  unavailable: the server cannot be reached or asks to try again; the same command may succeed
  10  verify: nothing is wrong, but something that was asked for is unproven
  20  verify: the bundle contradicts the checkpoint that was kept; both are printed as evidence
  30  verify: a signature, a hash or a proof does not hold, or something is missing
  40  verify: the bytes are not a bundle
  64  the command line cannot be understood
  70  a fault of custody's own; its message names a reason
  78  configuration, keyring, tokens file or data directory cannot be used as they are
";

/// Why a command did not do what it was asked, with its exit code.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    /// For a person, on standard error. Empty where everything is said already.
    pub message: String,
}

pub type Outcome = Result<(), Failure>;

impl Failure {
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Failure { exit, message: message.to_string() }
    }

    pub fn usage(message: impl fmt::Display) -> Self {
        Failure::new(Exit::Usage, message)
    }

    pub fn configuration(error: impl Into<anyhow::Error>) -> Self {
        Failure::new(Exit::Configuration, format_args!("{:#}", error.into()))
    }

    /// A check ran to its end and did not come out clean; its output says what was found.
    pub fn found() -> Self {
        Failure::new(Exit::Found, "")
    }
}

/// Ends the process: the message on standard error, the code to the caller.
pub fn end(outcome: Outcome) -> ExitCode {
    let exit = match outcome {
        Ok(()) => Exit::Ok,
        Err(failure) => {
            if !failure.message.is_empty() {
                eprintln!("custody: {}", failure.message);
            }
            failure.exit
        }
    };
    ExitCode::from(exit as u8)
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Failure::new(Exit::Internal, format_args!("{error:#}"))
    }
}

/// Files and pipes. A reader that has seen enough is no failure.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Failure::new(Exit::Ok, ""),
            _ => Failure::new(Exit::Internal, error),
        }
    }
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        use tonic_types::StatusExt;
        if let Some(causes) = broken_connection(&status) {
            return Failure::new(Exit::Unavailable, format_args!("the connection failed: {causes}"));
        }
        let details = status.get_error_details();
        let mut message = status.message().to_owned();
        if let Some(request) = details.bad_request()
            && request.field_violations.len() > 1
        {
            message = "the request was refused:".to_owned();
            for violation in &request.field_violations {
                message.push_str(&format!("\n  - {} {}", violation.field, violation.description));
            }
        }
        if let Some(info) = details.error_info() {
            message.push_str(&format!("\n  reason {}", info.reason));
            if let Some(candidates) = info.metadata.get("candidates") {
                message.push_str(&format!("\n  candidates {}", candidates.replace(',', " ")));
            }
        }
        if let Some(request) = details.request_info() {
            message.push_str(&format!("\n  request {}", request.request_id));
        }
        Failure::new(exit_of(status.code()), message)
    }
}

/// Why no answer came, where it was the connection that failed: with mutual TLS a client without a
/// certificate hears of it only when it calls.
fn broken_connection(status: &tonic::Status) -> Option<String> {
    let mut cause = std::error::Error::source(status)?;
    cause.downcast_ref::<tonic::transport::Error>()?;
    let mut text = cause.to_string();
    while let Some(inner) = cause.source() {
        text.push_str(&format!(": {inner}"));
        cause = inner;
    }
    Some(text)
}

/// The exit code that a gRPC status means.
pub fn exit_of(code: tonic::Code) -> Exit {
    use tonic::Code;
    match code {
        Code::Ok => Exit::Ok,
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Cancelled
        | Code::Aborted => Exit::Unavailable,
        Code::Internal | Code::Unknown | Code::DataLoss => Exit::Internal,
        _ => Exit::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::{Code, Status};
    use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

    #[test]
    fn every_code_is_explained() {
        for exit in [
            Exit::Ok,
            Exit::Found,
            Exit::Refused,
            Exit::Unavailable,
            Exit::Unproven,
            Exit::Contradicted,
            Exit::Invalid,
            Exit::Malformed,
            Exit::Usage,
            Exit::Internal,
            Exit::Configuration,
        ] {
            assert!(HELP.contains(&format!("\n  {:2}  ", exit as u8)), "{exit:?}");
        }
    }

    #[test]
    fn a_refusal_shows_every_violation() {
        let fields = vec![FieldViolation::new("a", "is empty"), FieldViolation::new("b", "is no id")];
        let status =
            Status::with_error_details(Code::InvalidArgument, "x", ErrorDetails::with_bad_request(fields));
        let failure = Failure::from(status);
        assert_eq!(failure.exit, Exit::Refused);
        assert!(failure.message.contains("a is empty") && failure.message.contains("b is no id"));
    }

    #[test]
    fn a_closed_pipe_is_success() {
        let failure = Failure::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!((failure.exit, failure.message.as_str()), (Exit::Ok, ""));
        assert_eq!(Failure::from(Status::unavailable("x")).exit, Exit::Unavailable);
    }
}
