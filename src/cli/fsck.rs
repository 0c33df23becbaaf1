//! `custody fsck`: re-reads and re-hashes everything that is stored and compares the views. Online
//! it is a task of the service; `--offline` does the same without one, under the directory's lock.

use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;

use crate::api::admin::{finding_told, summary_told};
use crate::app::check::News;
use crate::cli::client::Remote;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::Output;
use crate::cli::serve::Settings;
use crate::cli::{json, status, views};
use crate::clock::{Clock, Stopwatch, SystemClock};
use crate::pb;
use crate::server::Node;
use crate::telemetry;

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
    if command.offline { super::block_on(offline(command, output)) } else { super::block_on(online(command, output)) }
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
    let summary = summary.ok_or_else(|| Failure::new(Exit::Unavailable, "the service stopped before the check ended"))?;
    finish(&summary, output)
}

async fn offline(command: Fsck, output: Output) -> Outcome {
    let config = command.settings.load()?;
    telemetry::init(&config.log.filter).map_err(Failure::configuration)?;
    if !config.data.directory.exists() {
        let why = format!("there is no data directory {}", config.data.directory.display());
        return Err(Failure::new(Exit::Configuration, why));
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let node = tokio::task::spawn_blocking(move || Node::open(&config, &clock));
    let node = node.await.map_err(|e| Failure::new(Exit::Internal, e))?.map_err(Failure::configuration)?;
    let watch = Stopwatch::start();
    let failed = Arc::new(Mutex::new(Ok(())));
    let heard = Arc::clone(&failed);
    let checked = node.app.check_storage(!command.skip_views, move |news| match news {
        News::Progress { done, total } => {
            let elapsed = prost_types::Duration { seconds: watch.elapsed().as_secs() as i64, nanos: 0 };
            output.progress(&views::line(&pb::Progress { done, total, elapsed: Some(elapsed) }));
        }
        News::Finding(finding) => {
            let told = finding_told(finding);
            let printed = if output.json { line(&told, output) } else { print(&told, output) };
            *heard.lock().unwrap_or_else(PoisonError::into_inner) = printed;
        }
    });
    let summary = checked.await.map_err(|e| {
        let cause = e.chain().map_or(String::new(), |chain| format!(": {chain}"));
        Failure::new(Exit::Internal, format_args!("{e}{cause}"))
    })?;
    output.progress_done();
    tokio::task::spawn_blocking(move || node.close()).await.map_err(|e| Failure::new(Exit::Internal, e))??;
    std::mem::replace(&mut *failed.lock().unwrap_or_else(PoisonError::into_inner), Ok(()))?;
    let summary = summary_told(&summary);
    if output.json {
        output.line(&json::text("CheckSummary", &summary)?)?;
    }
    finish(&summary, output)
}

fn line(finding: &pb::StorageFinding, output: Output) -> Outcome {
    Ok(output.line(&json::text("StorageFinding", finding)?)?)
}

fn print(finding: &pb::StorageFinding, output: Output) -> Outcome {
    let place = finding.position.map_or(String::new(), |position| format!(" at position {position}"));
    Ok(output.line(&format!("{}{place}: {}", finding.code, finding.message))?)
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
