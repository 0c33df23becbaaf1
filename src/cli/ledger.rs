//! `custody ledger`: checkpoints and proofs, to be checked by anybody with tools of their own.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::client::Remote;
use crate::cli::exit::{Failure, Outcome};
use crate::cli::json;
use crate::cli::output::Output;
use crate::limits;
use crate::pb;
use crate::pb::get_inclusion_proof_request::Event;

#[derive(Debug, Subcommand)]
pub enum Ledger {
    /// Show the newest checkpoint, or the one of a size
    Checkpoint(Checkpoint),
    /// Prove that an event is in the log, as a .tlog-proof file
    Proof(Proof),
    /// Prove that the log only grew since a size
    Consistency(Consistency),
    /// List the checkpoints that were ever published, the newest first
    List(List),
    /// Publish a checkpoint over everything that is recorded now
    Publish(Publish),
    /// Show the keys by which others check checkpoints, and that of manifests, which ends in /export
    Key(Publish),
}

#[derive(Debug, Args)]
pub struct Checkpoint {
    #[arg(long, value_name = "TREE SIZE")]
    size: Option<u64>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
#[group(id = "event", required = true, multiple = false, args = ["position", "event_id"])]
pub struct Proof {
    /// The event's position
    #[arg(long)]
    position: Option<u64>,
    /// The event's id, as its emitter gave it
    #[arg(long, value_name = "UUID", requires = "emitter")]
    event_id: Option<String>,
    #[arg(long, conflicts_with = "position")]
    emitter: Option<String>,
    /// The checkpoint in which to prove it; the newest if not given
    #[arg(long, value_name = "TREE SIZE")]
    size: Option<u64>,
    /// Write it there instead of printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct Consistency {
    /// Size of the tree that somebody holds a checkpoint of
    #[arg(long, value_name = "TREE SIZE")]
    old: u64,
    /// The newest checkpoint's if not given
    #[arg(long, value_name = "TREE SIZE")]
    new: Option<u64>,
    /// Write it there instead of printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct List {
    /// At most so many
    #[arg(long, default_value_t = 20)]
    limit: usize,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct Publish {
    #[command(flatten)]
    remote: Remote,
}

pub async fn run(command: Ledger, output: Output) -> Outcome {
    match command {
        Ledger::Checkpoint(command) => checkpoint(command, output).await,
        Ledger::Proof(command) => proof(command, output).await,
        Ledger::Consistency(command) => consistency(command, output).await,
        Ledger::List(command) => list(command, output).await,
        Ledger::Publish(command) => publish(command, output).await,
        Ledger::Key(command) => key(command, output).await,
    }
}

async fn checkpoint(command: Checkpoint, output: Output) -> Outcome {
    let mut ledger = command.remote.connect().await?.ledger();
    let request = pb::GetCheckpointRequest { tree_size: command.size };
    let answer = ledger.get_checkpoint(request).await?.into_inner();
    if output.json {
        return Ok(output.line(&json::text("GetCheckpointResponse", &answer)?)?);
    }
    print(answer.checkpoint.as_ref(), output)
}

async fn publish(command: Publish, output: Output) -> Outcome {
    let mut ledger = command.remote.connect().await?.ledger();
    let answer = ledger.publish_checkpoint(pb::PublishCheckpointRequest {}).await?.into_inner();
    if output.json {
        return Ok(output.line(&json::text("PublishCheckpointResponse", &answer)?)?);
    }
    print(answer.checkpoint.as_ref(), output)
}

/// The note and nothing else, so that it can be sent into a file.
fn print(checkpoint: Option<&pb::Checkpoint>, output: Output) -> Outcome {
    let checkpoint = checkpoint.cloned().unwrap_or_default();
    if !checkpoint.witnessed {
        output.note("not enough witnesses have cosigned it yet");
    }
    Ok(output.line(checkpoint.note.trim_end_matches('\n'))?)
}

async fn key(command: Publish, output: Output) -> Outcome {
    let mut ledger = command.remote.connect().await?.ledger();
    let answer = ledger.get_checkpoint(pb::GetCheckpointRequest::default()).await?.into_inner();
    if output.json {
        let keys = serde_json::json!({
            "verifier_keys": answer.verifier_keys, "manifest_key": answer.manifest_key
        });
        return Ok(output.line(&keys.to_string())?);
    }
    for key in answer.verifier_keys.iter().chain(Some(&answer.manifest_key).filter(|key| !key.is_empty())) {
        output.line(key)?;
    }
    Ok(())
}

async fn proof(command: Proof, output: Output) -> Outcome {
    let event = match (command.position, command.event_id, command.emitter) {
        (Some(position), ..) => Event::Position(position),
        (None, Some(event_id), Some(emitter)) => Event::EventName(pb::EventName { emitter, event_id }),
        _ => return Err(Failure::usage("name the event by --position, or by --emitter and --event-id")),
    };
    let request = pb::GetInclusionProofRequest { event: Some(event), tree_size: command.size };
    let mut ledger = command.remote.connect().await?.ledger();
    let answer = ledger.get_inclusion_proof(request).await?.into_inner();
    if let Some(path) = &command.out {
        write(path, &answer.tlog_proof)?;
    }
    if output.json {
        return Ok(output.line(&json::text("GetInclusionProofResponse", &answer)?)?);
    }
    match &command.out {
        None => Ok(output.line(answer.tlog_proof.trim_end_matches('\n'))?),
        Some(path) => {
            let size = answer.checkpoint.unwrap_or_default().tree_size;
            let leaf: String = answer.leaf_hash.iter().map(|byte| format!("{byte:02x}")).collect();
            let (path, position) = (path.display(), answer.position);
            Ok(output.line(&format!("{path}: position {position} among {size}, leaf hash {leaf}"))?)
        }
    }
}

async fn consistency(command: Consistency, output: Output) -> Outcome {
    let request = pb::GetConsistencyProofRequest { old_size: command.old, new_size: command.new };
    let mut ledger = command.remote.connect().await?.ledger();
    let answer = ledger.get_consistency_proof(request).await?.into_inner();
    if let Some(path) = &command.out {
        if answer.consistency_file.is_empty() {
            return Err(Failure::usage(
                "no checkpoint of that size was published, so there is no file of it",
            ));
        }
        write(path, &answer.consistency_file)?;
    }
    if output.json {
        return Ok(output.line(&json::text("GetConsistencyProofResponse", &answer)?)?);
    }
    if command.out.is_none() && !answer.consistency_file.is_empty() {
        return Ok(output.line(answer.consistency_file.trim_end_matches('\n'))?);
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Ok(output.facts(&[
        ("old size", answer.old_size.to_string()),
        ("old root", hex(&answer.old_root)),
        ("new size", answer.new_size.to_string()),
        ("new root", hex(&answer.new_root)),
        ("hashes", answer.hashes.len().to_string()),
    ])?)
}

fn write(path: &std::path::Path, text: &str) -> Outcome {
    std::fs::write(path, text)
        .map_err(|why| Failure::configuration(anyhow::anyhow!("{}: {why}", path.display())))
}

async fn list(command: List, output: Output) -> Outcome {
    let mut ledger = command.remote.connect().await?.ledger();
    let (mut left, mut rows) = (command.limit, Vec::new());
    let mut request = pb::ListCheckpointsRequest::default();
    while left > 0 {
        request.page_size = left.min(limits::PAGE) as u32;
        let page = ledger.list_checkpoints(request.clone()).await?.into_inner();
        left = left.saturating_sub(page.checkpoints.len());
        for checkpoint in &page.checkpoints {
            if output.json {
                output.line(&json::text("Checkpoint", checkpoint)?)?;
            } else {
                rows.push(row(checkpoint));
            }
        }
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    Ok(output.table(&["tree size", "signatures", "witnessed", "root"], &rows)?)
}

fn row(checkpoint: &pb::Checkpoint) -> Vec<String> {
    let signatures = checkpoint.note.lines().filter(|line| line.starts_with('\u{2014}')).count();
    vec![
        checkpoint.tree_size.to_string(),
        signatures.to_string(),
        if checkpoint.witnessed { "yes" } else { "no" }.to_owned(),
        checkpoint.root.iter().map(|byte| format!("{byte:02x}")).collect(),
    ]
}
