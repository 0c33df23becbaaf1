//! `custody check`: whether an activity may touch a person's data, and why not.

use clap::Args;

use crate::cli::client::Remote;
use crate::cli::exit::{Failure, Outcome};
use crate::cli::json;
use crate::cli::output::Output;
use crate::cli::report::time;
use crate::cli::subject::Who;
use crate::cli::when::When;
use crate::pb;

#[derive(Debug, Args)]
pub struct Check {
    /// Register id of the activity
    #[arg(long)]
    activity: String,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    when: When,
    #[command(flatten)]
    remote: Remote,
}

pub async fn run(command: Check, output: Output) -> Outcome {
    let request = pb::CheckUseRequest {
        subject: Some(command.who.name()?),
        activity: command.activity,
        as_of: command.when.as_of(),
        known_at: command.when.known.known_at,
        at_least: command.when.known.at_least,
    };
    let answer = command.remote.connect().await?.questions().check_use(request).await?.into_inner();
    if output.json {
        output.line(&json::text("CheckUseResponse", &answer)?)?;
    } else {
        print(&answer, output)?;
    }
    if answer.allowed { Ok(()) } else { Err(Failure::found()) }
}

fn print(answer: &pb::CheckUseResponse, output: Output) -> std::io::Result<()> {
    output.line(if answer.allowed { "allowed" } else { "NOT ALLOWED" })?;
    let row = |reason: &pb::UseReason| {
        let about = [&reason.purpose, &reason.recipient, &reason.country];
        let about: Vec<&str> = about.into_iter().filter(|one| !one.is_empty()).map(String::as_str).collect();
        vec![
            reason.code.clone(),
            about.join(" "),
            time(reason.since.as_ref()),
            reason.legal.join("; "),
            format!("{} {}", reason.en, reason.zh),
        ]
    };
    let rows: Vec<Vec<String>> = answer.reasons.iter().map(row).collect();
    output.table(&["reason", "about", "since", "law", "text"], &rows)?;
    let row = |datum: &pb::UseDatum| {
        vec![
            datum.category.clone(),
            datum.record_kind.clone(),
            datum.slot.clone(),
            if datum.held { "held" } else { "not held" }.to_owned(),
            datum.usable_for.join(", "),
            datum.reasons.iter().map(|reason| reason.code.as_str()).collect::<Vec<_>>().join(", "),
        ]
    };
    let rows: Vec<Vec<String>> = answer.data.iter().map(row).collect();
    output.table(&["category", "record kind", "slot", "held", "usable for", "reasons"], &rows)?;
    output.facts(&[
        ("as of", time(answer.as_of.as_ref())),
        ("computed at", answer.computed_at.to_string()),
        ("law", answer.law.clone()),
        ("not judged", if answer.periods_not_judged { "periods of retention rules" } else { "" }.to_owned()),
    ])
}
