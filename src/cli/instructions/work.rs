//! `custody instructions take|begin|acknowledge|watch`: for scripts that carry instructions out. Each can be repeated after
//! any failure: what was taken is handed out again, what was begun is told to go on, what was answered is answered as
//! a duplicate.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::{lines, print, words};
use crate::cli::client::{Client, Remote};
use crate::cli::exit::{Failure, Outcome};
use crate::cli::json;
use crate::cli::output::Output;
use crate::pb;

/// Ids or answers in one message: half of what the service takes.
const MESSAGE_ITEMS: usize = 500;

/// What is handed out to whom, and for how long.
#[derive(Debug, Args)]
struct Hand {
    /// The service or recipient for which the caller speaks
    #[arg(long)]
    addressee: String,
    /// At most so many at once, up to 1000
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    max: u32,
    /// For how long they are kept from others, such as PT10M: a second to a day
    #[arg(long, value_name = "DURATION", default_value = "PT10M", value_parser = lease)]
    lease: prost_types::Duration,
}

#[derive(Debug, Args)]
pub struct Take {
    #[command(flatten)]
    hand: Hand,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct Watch {
    #[command(flatten)]
    hand: Hand,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Reads one instruction a line: its id, or the JSON object that `take --json` printed. Prints one \
                        result a line: go, revoked, or refused. Ends with 1 where any was refused."
)]
pub struct Begin {
    /// The service or recipient for which the caller speaks
    #[arg(long)]
    addressee: String,
    /// File of instructions; standard input without this
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
#[command(after_help = "Reads one JSON object a line, an InstructionAcknowledgement of proto/, such as \
                        {\"instruction_id\":\"...\",\"outcome\":\"done\",\"method\":\"delete\",\"stores\":[\"crm\"]}. \
                        Prints one result a line. Ends with 1 where any was refused.")]
pub struct Acknowledge {
    /// The service or recipient for which the caller speaks
    #[arg(long)]
    addressee: String,
    /// File of acknowledgements; standard input without this
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

/// A duration of one unit, in ISO 8601: PT30S, PT10M, PT2H, P1D.
fn lease(text: &str) -> Result<prost_types::Duration, String> {
    let wrong = || "is not a duration such as PT30S, PT10M, PT2H or P1D".to_owned();
    let (digits, seconds) = match text.strip_prefix("PT") {
        Some(rest) => match rest.as_bytes().last() {
            Some(b'S') => (&rest[..rest.len() - 1], 1),
            Some(b'M') => (&rest[..rest.len() - 1], 60),
            Some(b'H') => (&rest[..rest.len() - 1], 3_600),
            _ => return Err(wrong()),
        },
        None => (text.strip_prefix('P').and_then(|rest| rest.strip_suffix('D')).ok_or_else(wrong)?, 86_400),
    };
    let number: u32 = digits.parse().map_err(|_| wrong())?;
    Ok(prost_types::Duration { seconds: i64::from(number) * seconds, nanos: 0 })
}

pub async fn take(command: Take, output: Output) -> Outcome {
    let Hand { addressee, max, lease } = command.hand;
    let request = pb::TakeInstructionsRequest { addressee, max_instructions: max, lease: Some(lease) };
    let answer = command.remote.connect().await?.instructions().take_instructions(request).await?;
    print(&answer.into_inner().instructions, output)
}

pub async fn watch(command: Watch, output: Output) -> Outcome {
    let Hand { addressee, max, lease } = command.hand;
    let request = pb::WatchInstructionsRequest { addressee, max_instructions: max, lease: Some(lease) };
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let client = command.remote.connect().await?;
    let mut news = client.instructions().watch_instructions(request).await?.into_inner();
    loop {
        let message = tokio::select! {
            message = news.message() => message?,
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        };
        let Some(message) = message else {
            return Err(tonic::Status::unavailable("the service stopped; watch again").into());
        };
        for one in &message.instructions {
            output.line(&json::text("Instruction", one)?)?;
        }
    }
}

pub async fn begin(command: Begin, output: Output) -> Outcome {
    let fed = lines::fed(command.file.as_deref(), lines::id)?;
    let client = command.remote.connect().await?;
    let mut refused = unreadable(&fed.wrong, output)?;
    for ids in fed.items.chunks(MESSAGE_ITEMS) {
        let request = pb::BeginInstructionRequest {
            addressee: command.addressee.clone(),
            instruction_ids: ids.to_vec(),
        };
        let answer = client.instructions().begin_instruction(request).await?.into_inner();
        for result in &answer.results {
            refused |= begun(result, output)?;
        }
    }
    if refused { Err(Failure::found()) } else { Ok(()) }
}

/// Prints one answer; says whether it is a refusal.
fn begun(result: &pb::BeginInstructionResult, output: Output) -> Result<bool, Failure> {
    use pb::begin_instruction_result::Result as Told;
    let refused = !matches!(result.result, Some(Told::Answer(_)));
    if output.json {
        output.line(&json::text("BeginInstructionResult", result)?)?;
        return Ok(refused);
    }
    let told = match &result.result {
        Some(Told::Answer(answer)) => {
            words::answer(pb::InstructionAnswer::try_from(*answer).unwrap_or_default())
        }
        Some(Told::Refusal(why)) => refusal(why),
        None => "no answer".to_owned(),
    };
    output.line(&format!("{}  {told}", result.instruction_id))?;
    Ok(refused)
}

pub async fn acknowledge(command: Acknowledge, output: Output) -> Outcome {
    let fed = lines::fed(command.file.as_deref(), lines::acknowledgement)?;
    let client = command.remote.connect().await?;
    let unread = unreadable(&fed.wrong, output)?;
    let refused = answer(&client, &command.addressee, fed.items, output).await?;
    if unread || refused { Err(Failure::found()) } else { Ok(()) }
}

/// Sends answers and prints what became of each; says whether any was refused.
pub async fn answer(
    client: &Client,
    addressee: &str,
    answers: Vec<pb::InstructionAcknowledgement>,
    output: Output,
) -> Result<bool, Failure> {
    let mut refused = false;
    for answers in answers.chunks(MESSAGE_ITEMS) {
        let request = pb::AcknowledgeInstructionRequest {
            addressee: addressee.to_owned(),
            acknowledgements: answers.to_vec(),
        };
        let answer = client.instructions().acknowledge_instruction(request).await?.into_inner();
        for result in &answer.results {
            refused |= acknowledged(result, output)?;
        }
    }
    Ok(refused)
}

fn acknowledged(result: &pb::AcknowledgeInstructionResult, output: Output) -> Result<bool, Failure> {
    use pb::acknowledge_instruction_result::Result as Told;
    let refused = !matches!(result.result, Some(Told::Acknowledged(_)));
    if output.json {
        output.line(&json::text("AcknowledgeInstructionResult", result)?)?;
        return Ok(refused);
    }
    let mut told = match &result.result {
        Some(Told::Acknowledged(body)) => words::outcome(body.outcome()),
        Some(Told::Refusal(why)) => refusal(why),
        None => "no answer".to_owned(),
    };
    if result.duplicate {
        told.push_str("  (before)");
    }
    if result.after_recall {
        told.push_str("  (it had been recalled)");
    }
    output.line(&format!("{}  {told}", result.instruction_id))?;
    Ok(refused)
}

fn refusal(why: &pb::InstructionRefusal) -> String {
    format!("refused {}: {}", why.reason, why.message)
}

/// Says which lines could not be read; true if there are any.
fn unreadable(wrong: &[(usize, String)], output: Output) -> Result<bool, Failure> {
    for (line, why) in wrong {
        if output.json {
            let error = json!({ "line": line, "error": { "reason": "INVALID", "message": why } });
            output.line(&error.to_string())?;
        } else {
            output.note(&format!("line {line}: {why}"));
        }
    }
    Ok(!wrong.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_a_duration_of_one_unit() {
        let seconds = |text| lease(text).map(|duration| duration.seconds);
        assert_eq!(["PT30S", "PT10M", "PT2H", "P1D"].map(seconds), [Ok(30), Ok(600), Ok(7_200), Ok(86_400)]);
        for wrong in ["", "P", "PT", "PTM", "10M", "PT10", "P10M", "PT-1S", "PT1é"] {
            assert!(lease(wrong).is_err(), "{wrong}");
        }
    }
}
