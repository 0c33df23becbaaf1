//! `custody jobs`: the work of the clock, when each is due, how it ended, and a run at once.

use clap::{Args, Subcommand};

use crate::cli::client::Remote;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::json;
use crate::cli::output::Output;
use crate::cli::record::timestamp;
use crate::cli::report::time;
use crate::domain::time::Timestamp;
use crate::pb;

#[derive(Debug, Subcommand)]
pub enum Jobs {
    /// All jobs: when each is due, and how its last run ended
    List(List),
    /// Run a job at once, or say what a run at another time would come to
    Run(Run),
    /// Runs that were recorded, the newest first
    History(History),
}

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct Run {
    /// Such as ledger_verify; `custody jobs list` names them
    name: String,
    /// A dry run as of this time: it does nothing and records nothing
    #[arg(long, value_name = "TIME")]
    as_of: Option<Timestamp>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct History {
    /// Only of this job
    #[arg(long, value_name = "NAME", default_value = "")]
    job: String,
    /// At most so many
    #[arg(long, default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    remote: Remote,
}

pub async fn run(command: Jobs, output: Output) -> Outcome {
    match command {
        Jobs::List(List { remote }) => {
            let answer = remote.connect().await?.jobs().list_jobs(pb::ListJobsRequest {}).await?;
            list(&answer.into_inner().jobs, output)
        }
        Jobs::Run(Run { name, as_of, remote }) => {
            let request = pb::RunJobRequest { name, as_of: as_of.map(timestamp) };
            let answer = remote.connect().await?.jobs().run_job(request).await?.into_inner();
            told(&answer.run.unwrap_or_default(), output)
        }
        Jobs::History(history) => show(history, output).await,
    }
}

fn list(jobs: &[pb::Job], output: Output) -> Outcome {
    if output.json {
        return jobs.iter().try_for_each(|job| Ok(output.line(&json::text("Job", job)?)?));
    }
    let row = |job: &pb::Job| {
        let last = job.last_run.as_ref();
        vec![
            job.name.clone(),
            job.schedule.clone(),
            job.tz.clone(),
            time(job.next_run.as_ref()),
            last.map(|run| time(run.ended_at.as_ref())).unwrap_or_default(),
            last.map(outcome).unwrap_or_default(),
            last.map(counts).unwrap_or_default(),
        ]
    };
    let rows: Vec<Vec<String>> = jobs.iter().map(row).collect();
    Ok(output.table(&["job", "schedule", "zone", "next run", "last ended", "outcome", "counts"], &rows)?)
}

fn told(run: &pb::JobRun, output: Output) -> Outcome {
    if output.json {
        output.line(&json::text("JobRun", run)?)?;
    } else {
        let recorded = run.position.map(|position| format!("recorded at position {position}"));
        output.facts(&[
            ("job", run.job.clone()),
            ("as of", time(run.scheduled_for.as_ref())),
            ("outcome", if run.position.is_some() { outcome(run) } else { "dry run".to_owned() }),
            ("counts", counts(run)),
            ("event", recorded.unwrap_or_else(|| "none: nothing was done".to_owned())),
        ])?;
    }
    if run.outcome() == pb::JobOutcome::Failed {
        let why = "the job failed: the service's log says why";
        return Err(Failure::new(Exit::Internal, why));
    }
    Ok(())
}

async fn show(command: History, output: Output) -> Outcome {
    let mut service = command.remote.connect().await?.jobs();
    let (mut runs, mut page_token) = (Vec::new(), String::new());
    while runs.len() < command.limit {
        let page_size = u32::try_from((command.limit - runs.len()).min(1_000)).unwrap_or(1_000);
        let request =
            pb::ListJobRunsRequest { job: command.job.clone(), page_size, page_token, at_least: None };
        let page = service.list_job_runs(request).await?.into_inner();
        runs.extend(page.runs);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if output.json {
        return runs.iter().try_for_each(|run| Ok(output.line(&json::text("JobRun", run)?)?));
    }
    let row = |run: &pb::JobRun| {
        vec![
            run.position.map(|position| position.to_string()).unwrap_or_default(),
            run.job.clone(),
            time(run.scheduled_for.as_ref()),
            time(run.started_at.as_ref()),
            time(run.ended_at.as_ref()),
            outcome(run),
            counts(run),
        ]
    };
    let rows: Vec<Vec<String>> = runs.iter().map(row).collect();
    let headings = ["position", "job", "scheduled for", "started", "ended", "outcome", "counts"];
    Ok(output.table(&headings, &rows)?)
}

fn outcome(run: &pb::JobRun) -> String {
    run.outcome().as_str_name().trim_start_matches("JOB_OUTCOME_").to_lowercase()
}

fn counts(run: &pb::JobRun) -> String {
    let one = |tally: &pb::Tally| format!("{} {}", tally.count, tally.name);
    run.counts.iter().map(one).collect::<Vec<_>>().join(", ")
}
