//! `custody fsck`: re-reads everything that is stored, holds it against what else is stored, and compares
//! the views. Online it is a task of the service; `--offline` does the same without one, under the
//! directory's lock.

use std::sync::Arc;

use async_trait::async_trait;
use clap::Args;

use crate::app::fsck::{Finding, Watch};
use crate::cli::client::Remote;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::Output;
use crate::cli::serve::Settings;
use crate::cli::{json, status, views};
use crate::clock::{Clock, Stopwatch, SystemClock};
use crate::disk::FileSystem;
use crate::pb;
use crate::server::Node;

#[derive(Debug, Args)]
pub struct Fsck {
    /// Read the data directory itself, with the service stopped
    #[arg(long)]
    offline: bool,
    /// Leave the views out
    #[arg(long)]
    skip_views: bool,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    remote: Remote,
}

pub fn run(command: Fsck, output: Output) -> Outcome {
    if command.offline {
        super::block_on(offline(command, output))
    } else {
        super::block_on(online(command, output))
    }
}

async fn online(command: Fsck, output: Output) -> Outcome {
    use pb::check_storage_response::Message;
    let mut admin = command.remote.connect().await?.admin();
    let request = pb::CheckStorageRequest { compare_views: !command.skip_views };
    let mut messages = admin.check_storage(request).await?.into_inner();
    let mut summary = None;
    while let Some(message) = messages.message().await? {
        if output.json {
            output.line(&json::text("CheckStorageResponse", &message)?)?;
        }
        match message.message {
            Some(Message::Progress(progress)) => output.progress(&views::line(&progress)),
            Some(Message::Finding(finding)) if !output.json => print(&finding, output)?,
            Some(Message::Summary(last)) => summary = Some(last),
            _ => {}
        }
    }
    output.progress_done();
    let summary = summary
        .ok_or_else(|| Failure::new(Exit::Unavailable, "the service stopped before the check ended"))?;
    finish(&summary, output)
}

async fn offline(command: Fsck, output: Output) -> Outcome {
    let config = command.settings.load_offline()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let probe = Arc::new(FileSystem(config.data.directory.clone()));
    let node = tokio::task::spawn_blocking(move || Node::open(&config, &clock, probe));
    let node = node.await.map_err(|e| Failure::new(Exit::Internal, e))?.map_err(Failure::configuration)?;
    let mut printer = Printer { output, since: Stopwatch::start(), printed: Ok(()) };
    let checked = node.app.check_storage(!command.skip_views, &mut printer);
    let summary = checked.await.map_err(|e| {
        let cause = e.chain().map_or(String::new(), |chain| format!(": {chain}"));
        Failure::new(Exit::Internal, format_args!("{e}{cause}"))
    })?;
    output.progress_done();
    let closed = tokio::task::spawn_blocking(move || node.close());
    let closed = closed.await.map_err(|e| Failure::new(Exit::Internal, e))?;
    // A log in which damage was found is read-only and cannot be closed in order: the finding says it.
    if summary.findings == 0 {
        closed?;
    }
    printer.printed?;
    let summary = pb::CheckSummary {
        records: summary.records,
        bytes: summary.bytes,
        findings: summary.findings,
        root: summary.root.map(|root| root.to_vec().into()).unwrap_or_default(),
    };
    if output.json {
        output.line(&json::text("CheckSummary", &summary)?)?;
    }
    finish(&summary, output)
}

/// Prints findings as they come.
struct Printer {
    output: Output,
    since: Stopwatch,
    /// The first failure to print, after which the check goes on in silence.
    printed: Outcome,
}

#[async_trait]
impl Watch for Printer {
    fn progress(&mut self, done: u64, total: u64) {
        let elapsed = prost_types::Duration::try_from(self.since.elapsed()).ok();
        self.output.progress(&views::line(&pb::Progress { done, total, elapsed }));
    }

    async fn finding(&mut self, finding: Finding) {
        if self.printed.is_ok() {
            let Finding { position, code, place, message } = finding;
            let (code, way_out) = (code.as_str().to_owned(), code.way_out().to_owned());
            let finding = pb::StorageFinding { position, code, message, place, way_out };
            self.printed =
                if self.output.json { line(&finding, self.output) } else { print(&finding, self.output) };
        }
    }
}

fn line(finding: &pb::StorageFinding, output: Output) -> Outcome {
    Ok(output.line(&json::text("StorageFinding", finding)?)?)
}

fn print(finding: &pb::StorageFinding, output: Output) -> Outcome {
    let position = finding.position.map_or(String::new(), |position| format!(" at position {position}"));
    let place = if finding.place.is_empty() { String::new() } else { format!(" in {}", finding.place) };
    output.line(&format!("{}{position}{place}: {}", finding.code, finding.message))?;
    Ok(output.line(&format!("  way out: {}", finding.way_out))?)
}

fn finish(summary: &pb::CheckSummary, output: Output) -> Outcome {
    if !output.json {
        let root: String = summary.root.iter().map(|byte| format!("{byte:02x}")).collect();
        output.facts(&[
            ("records", summary.records.to_string()),
            ("read", status::bytes(summary.bytes)),
            ("findings", summary.findings.to_string()),
            ("root", root),
        ])?;
    }
    if summary.findings > 0 { Err(Failure::found()) } else { Ok(()) }
}
