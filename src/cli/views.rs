//! `custody views rebuild`: a new generation beside the old, from the log alone.

use clap::{Args, Subcommand};

use crate::cli::client::Remote;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::json;
use crate::cli::output::Output;
use crate::pb;

#[derive(Debug, Subcommand)]
pub enum Views {
    /// Build the views again and swap; answers go on from the old ones meanwhile
    Rebuild(Rebuild),
}

#[derive(Debug, Args)]
pub struct Rebuild {
    #[command(flatten)]
    remote: Remote,
}

pub async fn run(command: Views, output: Output) -> Outcome {
    let Views::Rebuild(command) = command;
    let mut admin = command.remote.connect().await?.admin();
    let mut messages = admin.rebuild_views(pb::RebuildViewsRequest {}).await?.into_inner();
    let mut last = pb::RebuildViewsResponse::default();
    while let Some(message) = messages.message().await? {
        if output.json {
            output.line(&json::text("RebuildViewsResponse", &message)?)?;
        }
        if let Some(progress) = &message.progress {
            output.progress(&line(progress));
        }
        last = message;
    }
    output.progress_done();
    if !last.finished {
        return Err(Failure::new(
            Exit::Unavailable,
            "the rebuild goes on, but its progress is not told any more",
        ));
    }
    if !output.json {
        output.line(&format!("views rebuilt: {}", line(&last.progress.unwrap_or_default())))?;
    }
    Ok(())
}

/// `1200000 of 3000000 records, 40 %, 250000/s`.
pub fn line(progress: &pb::Progress) -> String {
    let seconds = progress.elapsed.as_ref().map_or(0.0, |e| e.seconds as f64 + f64::from(e.nanos) / 1e9);
    let mut text = format!("{} of {} records", progress.done, progress.total);
    if let Some(percent) = (progress.done * 100).checked_div(progress.total) {
        text.push_str(&format!(", {percent} %"));
    }
    if seconds > 0.0 {
        text.push_str(&format!(", {:.0}/s", progress.done as f64 / seconds));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_says_how_far_and_how_fast() {
        let elapsed = Some(prost_types::Duration { seconds: 2, nanos: 0 });
        assert_eq!(line(&pb::Progress { done: 50, total: 200, elapsed }), "50 of 200 records, 25 %, 25/s");
        assert_eq!(line(&pb::Progress::default()), "0 of 0 records");
    }
}
