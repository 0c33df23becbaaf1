//! `custody bench report`: asks for one report after the other over one connection, and says how
//! long each took from the call to its answer. Nothing is opened.

use clap::Args;

use super::{identifier, latencies, micros, mixed, percentiles};
use crate::cli::client::Remote;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::Output;
use crate::clock::Stopwatch;
use crate::pb;

#[derive(Debug, Args)]
pub struct Report {
    /// Reports to ask for
    #[arg(long, default_value_t = 10_000)]
    requests: u64,
    /// People to ask about, by the numbers of their accounts, in turn and scattered
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    subjects: u64,
    /// Newest events to ask for as evidence
    #[arg(long, default_value_t = 0)]
    evidence: u32,
    /// Seed of the run that made the people
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Name of the run that made the people
    #[arg(long, default_value = "bench")]
    name: String,
    #[command(flatten)]
    remote: Remote,
}

pub async fn run(command: Report, output: Output) -> Outcome {
    let client = command.remote.connect().await?;
    let mut subjects = client.subjects();
    let mut latency = latencies()?;
    let mut events = 0;
    for i in 0..command.requests {
        let account = mixed(i) % command.subjects;
        let name = pb::subject_name::Name::Identifier(identifier(&command.name, command.seed, account));
        let request = pb::GetSubjectReportRequest {
            subject: Some(pb::SubjectName { name: Some(name) }),
            evidence_limit: Some(command.evidence),
            ..Default::default()
        };
        let since = Stopwatch::start();
        let answer = subjects.get_subject_report(request).await?.into_inner();
        // Only a latency of hours lies outside the histogram, and such a run is looked at anyway.
        latency.saturating_record(micros(since.elapsed()));
        let report =
            answer.report.ok_or_else(|| Failure::new(Exit::Internal, "an answer without a report"))?;
        events += report.event_count;
    }
    let per_report = events as f64 / command.requests.max(1) as f64;
    if output.json {
        let latency: serde_json::Map<_, _> =
            percentiles(&latency).into_iter().map(|(name, ms)| (name.to_owned(), ms.into())).collect();
        let value = serde_json::json!({
            "requests": command.requests, "events_per_report": per_report, "latency_ms": latency,
        });
        return Ok(output.line(&value.to_string())?);
    }
    let shown = percentiles(&latency).map(|(name, ms)| (name, format!("{ms:.3} ms")));
    let mut facts =
        vec![("reports", command.requests.to_string()), ("events each", format!("{per_report:.1}"))];
    facts.extend(shown);
    Ok(output.facts(&facts)?)
}
