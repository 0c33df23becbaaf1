//! `custody events retract`: takes wrong events back.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::cli::client::Remote;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::json;
use crate::cli::output::Output;
use crate::pb;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Reason {
    WrongSubject,
    TestData,
    WrongRecipient,
    Duplicate,
    Untrusted,
}

#[derive(Debug, Args)]
pub struct Retract {
    /// Whose events
    #[arg(long)]
    emitter: String,
    /// File with one event id a line; standard input without this
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
    #[arg(long, value_enum)]
    reason: Reason,
    /// File with the ids of events that stand in their place, one a line
    #[arg(long, value_name = "FILE")]
    replacements: Option<PathBuf>,
    /// A second person who agrees; needed for consents, holds, requests, orders and executions
    #[arg(long, value_name = "NAME", default_value = "")]
    approver: String,
    /// Only show what would be taken back
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    remote: Remote,
}

/// More text than all ids that one request may name.
const TEXT_BYTES: u64 = 1 << 20;

pub async fn run(command: Retract, output: Output) -> Outcome {
    let reason = match command.reason {
        Reason::WrongSubject => pb::RetractionReason::WrongSubject,
        Reason::TestData => pb::RetractionReason::TestData,
        Reason::WrongRecipient => pb::RetractionReason::WrongRecipient,
        Reason::Duplicate => pb::RetractionReason::Duplicate,
        Reason::Untrusted => pb::RetractionReason::Untrusted,
    };
    let request = pb::RetractEventsRequest {
        emitter: command.emitter,
        event_ids: ids(command.ids.as_deref())?,
        reason: reason.into(),
        replacement_ids: match &command.replacements {
            Some(path) => ids(Some(path))?,
            None => Vec::new(),
        },
        approver: command.approver,
        check: command.check,
    };
    let answer = command.remote.connect().await?.events().retract_events(request).await?.into_inner();
    if output.json {
        return Ok(output.line(&json::text("RetractEventsResponse", &answer)?)?);
    }
    let mut by_type: Vec<(&String, &u64)> = answer.events_by_type.iter().collect();
    by_type.sort();
    let rows: Vec<Vec<String>> =
        by_type.iter().map(|(name, n)| vec![(*name).clone(), n.to_string()]).collect();
    output.table(&["type", "events"], &rows)?;
    let positions: Vec<String> = answer.positions.iter().map(u64::to_string).collect();
    output.facts(&[
        ("people", answer.people.to_string()),
        ("taken back before", answer.already_retracted.len().to_string()),
        ("register entries", answer.register_entries.join(", ")),
        ("second person", if answer.second_person { "needed" } else { "" }.to_owned()),
        ("recorded at", positions.join(" ")),
    ])?;
    if command.check {
        output.note("nothing was recorded: without --check it is");
    }
    Ok(())
}

fn ids(path: Option<&Path>) -> Result<Vec<String>, Failure> {
    let mut text = String::new();
    match path {
        None => std::io::stdin().take(TEXT_BYTES).read_to_string(&mut text)?,
        Some(path) => std::fs::File::open(path)
            .and_then(|file| file.take(TEXT_BYTES).read_to_string(&mut text))
            .map_err(|e| Failure::new(Exit::Configuration, format_args!("{}: {e}", path.display())))?,
    };
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}
