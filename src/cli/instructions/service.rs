//! `custody instructions begin-service|acknowledge-service`: for a script that empties a whole service. What it must keep is
//! printed; it acts when the command has ended with 0, and may say either again after any failure.

use std::path::PathBuf;

use clap::Args;

use super::{lines, words};
use crate::cli::client::Remote;
use crate::cli::exit::{Failure, Outcome};
use crate::cli::json;
use crate::cli::output::Output;
use crate::cli::record::timestamp;
use crate::cli::report::time;
use crate::domain::time::Timestamp;
use crate::pb;

/// Whose data go.
#[derive(Debug, Args)]
struct Whole {
    /// As who the caller speaks: the service, or who took over what it held
    #[arg(long)]
    addressee: String,
    /// Whose data
    #[arg(long)]
    service: String,
    /// erase or anonymise
    #[arg(long, value_parser = words::kind_of, default_value = "erase")]
    kind: pb::InstructionKind,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Prints what has to stay, one datum a line. The list is whole, and everything else may go, only \
                        where the command ends with 0; what it says then as `begun by` is asked for by \
                        acknowledge-service."
)]
pub struct Begin {
    #[command(flatten)]
    whole: Whole,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The file holds one JSON object, an InstructionAcknowledgement of proto/ without an instruction, \
                        such as {\"outcome\":\"done\",\"method\":\"delete\",\"stores\":[\"crm\"]}."
)]
pub struct Acknowledge {
    #[command(flatten)]
    whole: Whole,
    /// As begin-service said
    #[arg(long, value_name = "TIME")]
    begun_by: Timestamp,
    /// File that says what became of it; standard input without this
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// An instruction of which it is not said; may be repeated
    #[arg(long, value_name = "INSTRUCTION")]
    except: Vec<String>,
    #[command(flatten)]
    remote: Remote,
}

pub async fn begin(command: Begin, output: Output) -> Outcome {
    use pb::begin_service_response::Item;
    let Whole { addressee, service, kind } = command.whole;
    let request = pb::BeginServiceRequest { addressee, service, kind: kind.into() };
    let client = command.remote.connect().await?;
    let mut answers = client.instructions().begin_service(request).await?.into_inner();
    while let Some(message) = answers.message().await? {
        match message.item {
            Some(Item::Kept(kept)) => print(&kept, output)?,
            Some(Item::Begun(begun)) => return end(&begun, output),
            None => {}
        }
    }
    Err(tonic::Status::unavailable("the list ended early: nothing may go by it; ask again").into())
}

fn print(kept: &pb::KeptDatum, output: Output) -> Result<(), Failure> {
    if output.json {
        return Ok(output.line(&json::text("KeptDatum", kept)?)?);
    }
    let who: Vec<String> = kept.identifiers.iter().map(|one| one.value.clone()).collect();
    let who = if who.is_empty() { kept.subject.clone() } else { who.join(", ") };
    let mut line = format!("stays  {who}  {} {} {}", kept.record_kind, kept.category, kept.slot);
    if kept.collected_from.is_some() {
        line.push_str(&format!("  collected from {} on", time(kept.collected_from.as_ref())));
    }
    Ok(output.line(line.trim_end())?)
}

fn end(begun: &pb::BegunService, output: Output) -> Result<(), Failure> {
    if output.json {
        return Ok(output.line(&json::text("BegunService", begun)?)?);
    }
    let pb::BegunService { begun: count, revoked, kept, .. } = begun;
    let by = exact(begun.begun_by.as_ref());
    Ok(output.line(&format!("begun {count}, revoked {revoked}; {kept} data stay; begun by {by}"))?)
}

/// To the millisecond: what was begun in the same second counts.
fn exact(at: Option<&prost_types::Timestamp>) -> String {
    let ms = at.and_then(|at| at.seconds.checked_mul(1_000)?.checked_add(i64::from(at.nanos) / 1_000_000));
    ms.and_then(Timestamp::from_ms).map_or_else(String::new, |at| at.to_string())
}

pub async fn acknowledge(command: Acknowledge, output: Output) -> Outcome {
    let Whole { addressee, service, kind } = command.whole;
    let acknowledgement = lines::whole(command.file.as_deref())?;
    let request = pb::AcknowledgeServiceRequest {
        addressee,
        service,
        kind: kind.into(),
        begun_by: Some(timestamp(command.begun_by)),
        acknowledgement: Some(acknowledgement),
        except_instruction_ids: command.except,
    };
    let client = command.remote.connect().await?;
    let mut answers = client.instructions().acknowledge_service(request).await?.into_inner();
    let mut last = pb::AcknowledgeServiceResponse::default();
    while let Some(message) = answers.message().await? {
        output.note(&format!("{} acknowledged", message.acknowledged));
        last = message;
    }
    if output.json {
        return Ok(output.line(&json::text("AcknowledgeServiceResponse", &last)?)?);
    }
    let pb::AcknowledgeServiceResponse { acknowledged, after_recall, excepted } = last;
    let line =
        format!("acknowledged {acknowledged}, of these {after_recall} after a recall; {excepted} excepted");
    Ok(output.line(&line)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_not_earlier_than_what_was_said() {
        let said = prost_types::Timestamp { seconds: 1_764_521_786, nanos: 715_000_000 };
        let printed: Timestamp = exact(Some(&said)).parse().unwrap();
        assert_eq!(printed.ms(), 1_764_521_786_715);
        assert_eq!(exact(None), "");
    }
}
