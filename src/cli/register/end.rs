//! `custody register end`: what ends, suspends, releases, closes or annuls an entry, by its register.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::{Entry, Envelope, How, record, whose};
use crate::cli::exit::{Failure, Outcome};
use crate::cli::output::Output;
use crate::cli::subject::one_identifier;
use crate::domain::time::Timestamp;
use crate::pb;

#[derive(Debug, Args)]
pub struct End {
    /// activity, recipient, mechanism, service, retention_rule, hold or breach
    kind: String,
    id: String,
    /// A mechanism: until it is registered again
    #[arg(long)]
    suspend: bool,
    /// Why, as a lower-case code; required to suspend and to annul
    #[arg(long)]
    reason: Option<String>,
    /// An activity or service: from when on; now without this
    #[arg(long, value_name = "TIME")]
    effective_at: Option<Timestamp>,
    /// File that holds the approver of an annulment, as KIND@REALM:VALUE
    #[arg(long, value_name = "FILE")]
    approver_file: Option<PathBuf>,
    #[command(flatten)]
    envelope: Envelope,
}

pub async fn run(command: End, output: Output) -> Outcome {
    let (table, body) = command.body()?;
    let controller = whose(&command.envelope)?;
    let mut entry =
        Entry::new(table, body, &controller, command.envelope.recorded_by(), None).map_err(Failure::usage)?;
    if let Some(path) = &command.approver_file {
        let identifiers = vec![one_identifier(Some(path))?];
        entry.event.people.push(pb::Person { role: pb::Role::Staff.into(), identifiers });
    }
    record(vec![entry], How::of(&command.envelope), output).await
}

impl End {
    fn body(&self) -> Result<(&'static str, Value), Failure> {
        let (id, reason, at) = (&self.id, &self.reason, self.effective_at);
        if at.is_some() && !matches!(self.kind.as_str(), "activity" | "service") {
            return Err(Failure::usage(format_args!("--effective-at does not go with {}", self.kind)));
        }
        Ok(match (self.kind.as_str(), self.suspend) {
            ("mechanism", true) => {
                ("transfer_mechanism_suspended", json!({ "mechanism_id": id, "reason": reason }))
            }
            (kind, true) => {
                return Err(Failure::usage(format_args!("only a mechanism can be suspended, no {kind}")));
            }
            ("mechanism", false) => {
                ("transfer_mechanism_ended", json!({ "mechanism_id": id, "reason": reason }))
            }
            ("activity", _) => {
                ("activity_ended", json!({ "activity": id, "reason": reason, "effective_at": at }))
            }
            ("service", _) => {
                ("service_terminated", json!({ "service": id, "reason": reason, "end_at": at }))
            }
            ("recipient", _) => ("recipient_ended", json!({ "recipient_id": id, "reason": reason })),
            ("retention_rule", _) => ("retention_rule_annulled", json!({ "rule": id, "reason": reason })),
            ("hold", _) => ("legal_hold_released", json!({ "hold_id": id, "reason": reason })),
            ("breach", _) => ("breach_closed", json!({ "breach_id": id, "reason": reason })),
            (kind, _) => {
                super::kind(kind)?;
                return Err(Failure::usage(format_args!(
                    "a {kind} does not end; its next version takes its place"
                )));
            }
        })
    }
}
