//! `custody record`: events from a file or standard input, one JSON object a line.
//!
//! An event is protobuf's JSON form of `custody.v1.Event` (`cli/json.rs`). Flags fill in what a line
//! does not state. The command can be repeated after any failure: what is recorded already is
//! answered as a duplicate, because the ids are the emitter's, or follow from the line's bytes.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use clap::Args;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use crate::cli::client::Remote;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::json;
use crate::cli::output::Output;
use crate::clock::{Clock, SystemClock};
use crate::limits;
use crate::pb;

#[derive(Debug, Args)]
pub struct Record {
    /// File of events, one JSON object a line; `-` for standard input
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Controller of events that state none
    #[arg(long, env = "CUSTODY_CONTROLLER")]
    controller: Option<String>,
    /// Emitter of events that state none
    #[arg(long, env = "CUSTODY_EMITTER")]
    emitter: Option<String>,
    /// Service of events that state none
    #[arg(long)]
    service: Option<String>,
    /// Activity of events that state none
    #[arg(long)]
    activity: Option<String>,
    /// Give events without an id one that follows from their line, so that a repetition is noticed
    #[arg(long)]
    derive_ids: bool,
    /// Take the present for events that state no time
    #[arg(long)]
    now: bool,
    /// Events per message
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=limits::BATCH_EVENTS as i64))]
    batch: u16,
    /// Print every receipt, not only refusals
    #[arg(long)]
    receipts: bool,
    #[command(flatten)]
    remote: Remote,
}

/// What a message on the wire was made of: the line of each event.
type Lines = Vec<u64>;

/// Longest line, in bytes: no event that could be stored is longer.
const LINE_BYTES: u64 = 1024 * 1024;
/// Bytes of lines that make a message full, well below what a server accepts.
const MESSAGE_BYTES: usize = limits::MESSAGE_BYTES / 4;
/// Messages on their way at once.
const IN_FLIGHT: usize = 8;

#[derive(Default)]
struct Counts {
    recorded: u64,
    duplicates: u64,
    refused: u64,
}

pub async fn run(command: Record, output: Output) -> Outcome {
    let client = command.remote.connect().await?;
    let (messages, outgoing) = mpsc::channel(IN_FLIGHT);
    let (sent, mut awaited) = mpsc::channel::<Lines>(IN_FLIGHT * 2);
    let (bad, mut unreadable) = mpsc::unbounded_channel();
    let receipts = command.receipts;
    let reader = tokio::task::spawn_blocking(move || read(&command, &messages, &sent, &bad));

    let mut counts = Counts::default();
    let mut failure = None;
    match client.ingest().stream_events(ReceiverStream::new(outgoing)).await {
        Err(status) => failure = Some(status),
        Ok(response) => {
            let mut answers = response.into_inner();
            loop {
                match answers.message().await {
                    Ok(Some(answer)) => {
                        let lines = awaited.recv().await.unwrap_or_default();
                        count(&answer, &lines, receipts, output, &mut counts)?;
                        output.progress(&format!("{} recorded", counts.recorded + counts.duplicates));
                    }
                    Ok(None) => break,
                    Err(status) => {
                        failure = Some(status);
                        break;
                    }
                }
            }
        }
    }
    // Closed, so that a reader that waits for room learns that nobody is there any more.
    awaited.close();
    let mut unanswered = 0;
    while let Ok(lines) = awaited.try_recv() {
        unanswered += lines.len();
    }
    drop(awaited);
    let read = reader.await.map_err(|e| Failure::new(Exit::Internal, e))?;
    let cut_short = unanswered > 0 || read.as_ref().is_ok_and(|ended| !ended);
    if failure.is_none() && cut_short {
        failure = Some(tonic::Status::unavailable("the service stopped before everything was answered"));
    }
    while let Ok((line, why)) = unreadable.try_recv() {
        counts.refused += 1;
        refusal(line, "INVALID_REQUEST", &why, output)?;
    }
    output.progress_done();
    finish(&counts, failure, output)?;
    read.map(|_| ())
}

/// Says how it went, and whether a repetition would help.
fn finish(counts: &Counts, failure: Option<tonic::Status>, output: Output) -> Outcome {
    let Counts { recorded, duplicates, refused } = counts;
    output.note(&format!("{recorded} recorded, {duplicates} recorded before, {refused} refused"));
    if let Some(status) = failure {
        let mut failure = Failure::from(status);
        failure.message.push_str("\n  the same command goes on where this one ended: duplicates are noticed");
        return Err(failure);
    }
    if *refused > 0 { Err(Failure::new(Exit::Refused, "")) } else { Ok(()) }
}

fn count(
    answer: &pb::StreamEventsResponse,
    lines: &[u64],
    receipts: bool,
    output: Output,
    counts: &mut Counts,
) -> Outcome {
    for (outcome, line) in answer.outcomes.iter().zip(lines) {
        match &outcome.result {
            Some(pb::outcome::Result::Receipt(receipt)) => {
                if receipt.duplicate {
                    counts.duplicates += 1
                } else {
                    counts.recorded += 1
                }
                if receipts && output.json {
                    output.line(&format!(
                        "{{\"line\":{line},\"receipt\":{}}}",
                        json::text("Receipt", receipt)?
                    ))?;
                } else if receipts {
                    let again = if receipt.duplicate { "  (before)" } else { "" };
                    output.line(&format!("{line}  {}  {}{again}", receipt.position, receipt.event_id))?;
                }
            }
            Some(pb::outcome::Result::Error(error)) => {
                counts.refused += 1;
                let mut why = error.message.clone();
                for violation in error.violations.iter().skip(1) {
                    why.push_str(&format!("; {} {}", violation.field, violation.description));
                }
                refusal(*line, &error.reason, &why, output)?;
            }
            None => {
                counts.refused += 1;
                refusal(*line, "INTERNAL", "the server gave no outcome", output)?;
            }
        }
    }
    Ok(())
}

fn refusal(line: u64, reason: &str, why: &str, output: Output) -> Outcome {
    if output.json {
        let value = serde_json::json!({ "line": line, "error": { "reason": reason, "message": why } });
        return Ok(output.line(&value.to_string())?);
    }
    output.note(&format!("line {line}: {reason}: {why}"));
    Ok(())
}

/// Reads lines into messages. True: to the end of the input; false: nobody takes them any more.
fn read(
    command: &Record,
    messages: &mpsc::Sender<pb::StreamEventsRequest>,
    sent: &mpsc::Sender<Lines>,
    bad: &mpsc::UnboundedSender<(u64, String)>,
) -> Result<bool, Failure> {
    let input: Box<dyn Read> = if command.file.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        let opened = std::fs::File::open(&command.file);
        Box::new(opened.map_err(|e| {
            Failure::new(Exit::Configuration, format_args!("{}: {e}", command.file.display()))
        })?)
    };
    let mut input = BufReader::with_capacity(256 * 1024, input);
    let (mut events, mut lines, mut bytes, mut sequence) = (Vec::new(), Vec::new(), 0, 0);
    let mut text = String::new();
    for line in 1.. {
        text.clear();
        let length = (&mut input).take(LINE_BYTES + 1).read_line(&mut text)?;
        if length as u64 > LINE_BYTES {
            return Err(Failure::new(
                Exit::Refused,
                format_args!("line {line} is longer than {LINE_BYTES} bytes"),
            ));
        }
        if length > 0 && !text.trim().is_empty() {
            match command.event(text.trim()) {
                Ok(event) => {
                    events.push(event);
                    lines.push(line);
                    bytes += length;
                }
                // Nobody listens only if the command has failed already.
                Err(why) => drop(bad.send((line, why))),
            }
        }
        let full = events.len() >= usize::from(command.batch) || bytes >= MESSAGE_BYTES;
        if !events.is_empty() && (full || length == 0) {
            sequence += 1;
            let message = pb::StreamEventsRequest { sequence, events: std::mem::take(&mut events) };
            if sent.blocking_send(std::mem::take(&mut lines)).is_err()
                || messages.blocking_send(message).is_err()
            {
                return Ok(false);
            }
            bytes = 0;
        }
        if length == 0 {
            break;
        }
    }
    Ok(true)
}

impl Record {
    /// The event of a line, with what the flags fill in.
    fn event(&self, line: &str) -> Result<pb::Event, String> {
        let mut event: pb::Event = json::parse("Event", line)?;
        let fill = |field: &mut String, flag: &Option<String>| {
            if field.is_empty() {
                field.clone_from(flag.as_ref().unwrap_or(&String::new()));
            }
        };
        fill(&mut event.controller, &self.controller);
        fill(&mut event.emitter, &self.emitter);
        fill(&mut event.service, &self.service);
        fill(&mut event.activity, &self.activity);
        if event.event_id.is_empty() && self.derive_ids {
            event.event_id = derived_id(line).to_string();
        }
        if event.occurred_at.is_none() && self.now {
            event.occurred_at = Some(timestamp(SystemClock.now()));
        }
        Ok(event)
    }
}

/// The API's form of an instant.
pub fn timestamp(at: crate::domain::time::Timestamp) -> prost_types::Timestamp {
    let (seconds, ms) = (at.ms().div_euclid(1_000), at.ms().rem_euclid(1_000));
    prost_types::Timestamp { seconds, nanos: ms as i32 * 1_000_000 }
}

/// A UUID of version 8 from the line's bytes: the same line is the same event.
pub fn derived_id(line: &str) -> Uuid {
    let digest = Sha256::digest(line.as_bytes());
    let mut bytes = [0u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        record: Record,
    }

    fn command(line: &str) -> Record {
        Line::parse_from(line.split_whitespace()).record
    }

    #[test]
    fn flags_fill_in_what_a_line_does_not_state() {
        let command = command("record --controller kstar --emitter app --derive-ids --now");
        let event = command.event(r#"{"emitter":"other","data_used":{}}"#).unwrap();
        assert_eq!((event.controller.as_str(), event.emitter.as_str()), ("kstar", "other"));
        assert!(event.occurred_at.is_some());
        let again = command.event(r#"{"emitter":"other","data_used":{}}"#).unwrap();
        assert_eq!(again.event_id, event.event_id, "a repetition is the same event");
        assert!(event.event_id.parse::<crate::domain::id::EventId>().is_ok());
    }

    #[test]
    fn lines_become_messages_of_the_size_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.ndjson");
        std::fs::write(
            &path,
            "{\"data_used\":{}}\n\n{\"emitter\":1}\n{\"data_used\":{}}\n{\"data_used\":{}}",
        )
        .unwrap();
        let command = command(&format!("record {} --batch 2", path.display()));
        let (messages, mut outgoing) = mpsc::channel(8);
        let (sent, mut awaited) = mpsc::channel(8);
        let (bad, mut unreadable) = mpsc::unbounded_channel();
        assert!(read(&command, &messages, &sent, &bad).unwrap());
        assert_eq!(outgoing.try_recv().unwrap().events.len(), 2);
        assert_eq!(outgoing.try_recv().unwrap().events.len(), 1);
        assert_eq!((awaited.try_recv().unwrap(), awaited.try_recv().unwrap()), (vec![1, 4], vec![5]));
        assert_eq!(unreadable.try_recv().unwrap().0, 3);
    }
}
