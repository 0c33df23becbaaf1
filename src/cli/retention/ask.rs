//! `custody retention explain|forecast`: what a running service says of what it knows.

use std::path::PathBuf;

use clap::Args;

use crate::cli::client::Remote;
use crate::cli::exit::Outcome;
use crate::cli::json;
use crate::cli::output::Output;
use crate::cli::record::timestamp;
use crate::cli::report::{Language, time};
use crate::cli::retention::held;
use crate::cli::subject::Who;
use crate::cli::when::{Known, When};
use crate::domain::event::RetentionRule;
use crate::domain::retention::vector::read_rules;
use crate::domain::time::Timestamp;
use crate::pb;

#[derive(Debug, Args)]
pub struct Explain {
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    when: When,
    /// Language of the reasons
    #[arg(long, default_value = "en")]
    lang: Language,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct Forecast {
    /// What is due then if nothing else happens; now without this
    #[arg(long, value_name = "TIME")]
    by: Option<Timestamp>,
    /// File of rules, JSON as in cases: what they would change if they were published
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// What would change if this version had never been in force; may be repeated
    #[arg(long, value_name = "VERSION")]
    annul: Vec<String>,
    #[command(flatten)]
    known: Known,
    #[command(flatten)]
    remote: Remote,
}

pub async fn explain(command: Explain, output: Output) -> Outcome {
    let request = pb::ExplainRetentionRequest {
        subject: Some(command.who.name()?),
        as_of: command.when.as_of(),
        known_at: command.when.known.known_at,
        at_least: command.when.known.at_least,
    };
    let answer = command.remote.connect().await?.retention().explain_retention(request).await?.into_inner();
    if output.json {
        return Ok(output.line(&json::text("ExplainRetentionResponse", &answer)?)?);
    }
    for datum in &answer.data {
        print(datum, command.lang, output)?;
    }
    let facts = [("as of", time(answer.as_of.as_ref())), ("computed at", answer.computed_at.to_string())];
    Ok(output.facts(&facts)?)
}

fn print(datum: &pb::RetainedDatum, lang: Language, output: Output) -> std::io::Result<()> {
    let name = [&datum.service, &datum.record_kind, &datum.category, &datum.slot];
    let name: Vec<&str> = name.into_iter().filter(|part| !part.is_empty()).map(String::as_str).collect();
    output.heading(&name.join(" "))?;
    let because = |reason: &pb::RetentionReason| {
        let words = if matches!(lang, Language::Zh) { &reason.zh } else { &reason.en };
        let legal = if reason.legal.is_empty() { String::new() } else { format!(" [{}]", reason.legal) };
        format!("{words}{legal}")
    };
    output.facts(&[
        ("state", datum.state.clone()),
        ("goes", datum.due.clone()),
        ("action", datum.action.clone()),
        ("because", datum.because.iter().map(because).collect::<Vec<_>>().join("; ")),
        ("usable for", datum.usable_for.join(", ")),
        ("owed since", time(datum.owed_since.as_ref())),
        ("plan", datum.plan.clone()),
        ("findings", datum.findings.join(", ")),
    ])?;
    let row = |candidate: &pb::RetentionCandidate| {
        let rule = candidate.rule.clone().unwrap_or_default();
        vec![
            if candidate.binds { "*" } else { "" }.to_owned(),
            rule.id,
            candidate.purpose.clone(),
            rule.period,
            time(candidate.runs_from.as_ref()),
            time(candidate.until.as_ref()),
            candidate.cut_by.clone(),
            rule.legal,
        ]
    };
    let rows: Vec<Vec<String>> = datum.candidates.iter().map(row).collect();
    output.table(&["", "rule", "purpose", "period", "runs from", "until", "cut by", "law"], &rows)
}

pub async fn forecast(command: Forecast, output: Output) -> Outcome {
    let rules = command.rules.as_deref().map(|path| held(path, read_rules)).transpose()?.unwrap_or_default();
    let request = pb::ForecastRetentionRequest {
        by: command.by.map(timestamp),
        publish: rules.iter().map(message).collect(),
        annul: command.annul,
        known_at: command.known.known_at,
        at_least: command.known.at_least,
    };
    let answer = command.remote.connect().await?.retention().forecast_retention(request).await?.into_inner();
    if output.json {
        return Ok(output.line(&json::text("ForecastRetentionResponse", &answer)?)?);
    }
    table(&answer.lines, output)?;
    if let Some(change) = &answer.change {
        output.heading("what the other rules change, in numbers of data")?;
        output.facts(&[
            ("newly due", change.newly_due.to_string()),
            ("no longer due", change.no_longer_due.to_string()),
            ("earlier", change.earlier.to_string()),
            ("later", change.later.to_string()),
            ("into review", change.into_review.to_string()),
            ("out of review", change.out_of_review.to_string()),
        ])?;
        table(&change.newly_due_lines, output)?;
    }
    Ok(output.facts(&[
        ("by", time(answer.by.as_ref())),
        ("data", answer.data.to_string()),
        ("people", answer.people.to_string()),
        ("computed at", answer.computed_at.to_string()),
    ])?)
}

fn table(lines: &[pb::ForecastLine], output: Output) -> std::io::Result<()> {
    let row = |line: &pb::ForecastLine| {
        let recipients: Vec<&str> = line.recipients.iter().map(|one| one.recipient.as_str()).collect();
        vec![
            line.service.clone(),
            line.record_kind.clone(),
            line.category.clone(),
            line.state.clone(),
            line.action.clone(),
            line.plan.clone(),
            line.data.to_string(),
            line.people.to_string(),
            time(line.first_due_at.as_ref()),
            time(line.last_due_at.as_ref()),
            recipients.join(", "),
        ]
    };
    let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
    let headings = [
        "service",
        "record kind",
        "category",
        "state",
        "action",
        "plan",
        "data",
        "people",
        "first due",
        "last due",
        "recipients",
    ];
    output.table(&headings, &rows)
}

fn message(rule: &RetentionRule) -> pb::RetentionRule {
    let texts = |ids: &[crate::domain::id::Id]| ids.iter().map(ToString::to_string).collect();
    let text = |value: Option<String>| value.unwrap_or_default();
    pb::RetentionRule {
        id: rule.id.to_string(),
        kind: rule.kind.number(),
        matches: rule.matches.as_ref().map(|of| pb::RuleMatch {
            purposes: texts(&of.purposes),
            categories: texts(&of.categories),
            record_kinds: texts(&of.record_kinds),
            regimes: of.regimes.iter().map(ToString::to_string).collect(),
        }),
        anchor: rule.anchor.number(),
        causes: rule.causes.iter().map(|cause| cause.number()).collect(),
        period: rule.period.to_string(),
        year_end: rule.year_end,
        tz: rule.tz.to_string(),
        on_expiry: rule.on_expiry.map_or(0, |expiry| expiry.number()),
        law_of: text(rule.law_of.map(|law| law.to_string())),
        legal: text(rule.legal.as_ref().map(ToString::to_string)),
        from: text(rule.from.map(|day| day.to_string())),
        to: text(rule.to.map(|day| day.to_string())),
        replaces: text(rule.replaces.as_ref().map(ToString::to_string)),
    }
}
