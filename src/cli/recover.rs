//! `custody recover`: after published records were lost for good, the log goes on under the next
//! name, with an event that names the old checkpoint and what is missing. The service is stopped.

use std::sync::Arc;

use clap::{Args, ValueEnum};

use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::Output;
use crate::cli::serve::Settings;
use crate::clock::{Clock, SystemClock};
use crate::domain::event::LossReason;
use crate::ledger::Loss;
use crate::server::Node;

#[derive(Debug, Args)]
pub struct Recover {
    /// Do it; without this, only say what would be done
    #[arg(long)]
    yes: bool,
    /// Why the records are missing
    #[arg(long, value_enum, default_value = "lost-tail")]
    reason: Reason,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Reason {
    LostTail,
    Migration,
}

pub fn run(command: Recover, output: Output) -> Outcome {
    super::block_on(recover(command, output))
}

async fn recover(command: Recover, output: Output) -> Outcome {
    let config = command.settings.load_offline()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let node = tokio::task::spawn_blocking(move || Node::open_for_recovery(&config, &clock)).await;
    let node = node.map_err(|e| Failure::new(Exit::Internal, e))?.map_err(Failure::configuration)?;
    let outcome = go_on(&command.reason, command.yes, &node, output).await;
    let closed = tokio::task::spawn_blocking(move || node.close()).await;
    closed.map_err(|e| Failure::new(Exit::Internal, e))?.map_err(Failure::configuration)?;
    outcome
}

async fn go_on(reason: &Reason, yes: bool, node: &Node, output: Output) -> Outcome {
    let loss = node.app.loss().await.map_err(failed)?;
    let Some(loss) = loss else {
        return Err(Failure::new(
            Exit::Refused,
            "there is nothing to recover from: the log bears out everything that was published",
        ));
    };
    describe(&loss, output)?;
    if !yes {
        output.note("nothing was changed; look for a newer copy first, and add --yes if there is none");
        return Err(Failure::found());
    }
    let reason = match reason {
        Reason::LostTail => LossReason::LostTail,
        Reason::Migration => LossReason::Migration,
    };
    let kept = node.app.recover(&loss, reason).await.map_err(failed)?;
    output.note("the log goes on; give the new name and `custody ledger key` to whoever checks it");
    if !output.json {
        output.line(kept.checkpoint.to_string().trim_end_matches('\n'))?;
    }
    Ok(())
}

fn describe(loss: &Loss, output: Output) -> std::io::Result<()> {
    let root: String = loss.old_root.iter().map(|byte| format!("{byte:02x}")).collect();
    if output.json {
        let value = serde_json::json!({
            "old_origin": loss.old_origin, "old_size": loss.old_size, "old_root": root,
            "missing_from": loss.missing.0, "missing_to": loss.missing.1, "new_origin": loss.new_origin,
        });
        return output.line(&value.to_string());
    }
    output.facts(&[
        ("why", loss.why.clone()),
        ("old origin", loss.old_origin.clone()),
        ("published", format!("{} records, root {root}", loss.old_size)),
        ("missing", format!("positions {} to {}", loss.missing.0, loss.missing.1)),
        ("new origin", loss.new_origin.clone()),
    ])
}

fn failed(error: crate::app::Error) -> Failure {
    let cause = error.chain().map_or(String::new(), |chain| format!(": {chain}"));
    Failure::new(Exit::Internal, format_args!("{error}{cause}"))
}
