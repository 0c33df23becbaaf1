//! `custody findings`: what breaks the policy or the law, why, and what an officer does about it.

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::client::{Client, Remote};
use crate::cli::exit::Outcome;
use crate::cli::json;
use crate::cli::output::Output;
use crate::cli::pages;
use crate::cli::report::time;
use crate::cli::sheets::{Files, findings as sheets};
use crate::cli::when::Known;
use crate::pb;

#[derive(Debug, Subcommand)]
pub enum Findings {
    /// All that are found, the gravest first
    List(List),
    /// One finding, with what it means and what to do
    Show(Show),
    /// Somebody looks after it
    Acknowledge(Decide),
    /// It is dealt with, or is none
    Close(Decide),
    /// It was closed wrongly
    Reopen(Decide),
    /// Every rule there is
    Rules(Rules),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Language {
    En,
    Zh,
}

#[derive(Debug, Args)]
pub struct List {
    /// Only this code, such as F-TRANSFER-EXPIRED
    #[arg(long = "code")]
    codes: Vec<String>,
    /// Also those that were closed or cured
    #[arg(long)]
    closed: bool,
    #[command(flatten)]
    known: Known,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct Show {
    /// The key, as `list` writes it
    #[arg(value_name = "KEY")]
    finding: String,
    #[arg(long, value_enum, default_value_t = Language::En)]
    language: Language,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct Decide {
    /// The key, as `list` writes it
    #[arg(value_name = "KEY")]
    finding: String,
    /// A code of the organisation's, such as corrected or false_alarm
    #[arg(long, default_value = "")]
    reason: String,
    /// Kept sealed
    #[arg(long, default_value = "")]
    note: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct Rules {
    #[arg(long, value_enum, default_value_t = Language::En)]
    language: Language,
    #[command(flatten)]
    remote: Remote,
}

pub async fn run(command: Findings, output: Output) -> Outcome {
    match command {
        Findings::List(list) => list_all(list, output).await,
        Findings::Show(show) => show_one(show, output).await,
        Findings::Rules(rules) => list_rules(rules, output).await,
        Findings::Acknowledge(Decide { finding: key, reason, note, remote }) => {
            let request = pb::AcknowledgeFindingRequest { key, reason, note };
            let answer = remote.connect().await?.findings().acknowledge_finding(request).await?;
            recorded(answer.into_inner().position, output)
        }
        Findings::Close(Decide { finding: key, reason, note, remote }) => {
            let request = pb::CloseFindingRequest { key, reason, note };
            let answer = remote.connect().await?.findings().close_finding(request).await?;
            recorded(answer.into_inner().position, output)
        }
        Findings::Reopen(Decide { finding: key, reason, note, remote }) => {
            let request = pb::ReopenFindingRequest { key, reason, note };
            let answer = remote.connect().await?.findings().reopen_finding(request).await?;
            recorded(answer.into_inner().position, output)
        }
    }
}

fn recorded(position: u64, output: Output) -> Outcome {
    if output.json {
        return Ok(output.line(&serde_json::json!({ "position": position }).to_string())?);
    }
    Ok(output.line(&format!("recorded at position {position}"))?)
}

/// All findings of a service.
pub async fn all(
    client: &Client,
    request: pb::ListFindingsRequest,
) -> Result<(Vec<pb::Finding>, pb::FindingBasis), tonic::Status> {
    pages::all(request, async |page| client.findings().list_findings(page).await).await
}

/// Those that are not closed.
pub async fn open(client: &Client) -> Result<Vec<pb::Finding>, tonic::Status> {
    let request = pb::ListFindingsRequest { states: not_closed(), page_size: 1_000, ..Default::default() };
    Ok(all(client, request).await?.0)
}

fn not_closed() -> Vec<i32> {
    let open = [pb::FindingState::Open, pb::FindingState::Acknowledged, pb::FindingState::Reopened];
    open.map(i32::from).to_vec()
}

async fn list_all(list: List, output: Output) -> Outcome {
    let request = pb::ListFindingsRequest {
        codes: list.codes,
        states: if list.closed { Vec::new() } else { not_closed() },
        known_at: list.known.known_at,
        at_least: list.known.at_least,
        page_size: 1_000,
        ..Default::default()
    };
    let (findings, from) = all(&list.remote.connect().await?, request).await?;
    give(&findings, &from, &list.files, output)
}

/// The findings as a table or a file, with what they were computed from.
pub fn give(findings: &[pb::Finding], from: &pb::FindingBasis, files: &Files, output: Output) -> Outcome {
    if output.json {
        return findings.iter().try_for_each(|found| Ok(output.line(&json::text("Finding", found)?)?));
    }
    files.give(&sheets::findings(findings, from, files.language()), &sheets::SHOWN, output)?;
    if files.is_table() {
        let tick = time(from.tick.as_ref());
        let absence =
            if tick.is_empty() { "not judged yet".to_owned() } else { format!("judged as of {tick}") };
        output.note(&format!(
            "{} findings; below position {}; {}; rules {}; what rests on absence: {absence}",
            findings.len(),
            from.computed_at,
            from.law,
            from.rules,
        ));
    }
    Ok(())
}

async fn show_one(show: Show, output: Output) -> Outcome {
    let request = pb::GetFindingRequest { key: show.finding, known_at: None };
    let answer = show.remote.connect().await?.findings().get_finding(request).await?.into_inner();
    let found = answer.finding.unwrap_or_default();
    if output.json {
        return Ok(output.line(&json::text("Finding", &found)?)?);
    }
    let rule = found.rule.clone().unwrap_or_default();
    let said = text(Some(&rule), show.language == Language::Zh).cloned().unwrap_or_default();
    let positions: Vec<String> = found.positions.iter().map(u64::to_string).collect();
    output.facts(&[
        ("finding", found.key.clone()),
        ("what", said.title),
        ("why", said.explanation),
        ("way out", said.way_out),
        ("law", rule.legal.join("; ")),
        ("policy", rule.clauses.join(", ")),
        ("severity", severity(found.severity()).to_owned()),
        ("count", found.count.to_string()),
        ("people", people(&found)),
        ("first", time(found.first.as_ref())),
        ("last", time(found.last.as_ref())),
        ("positions", positions.join(" ")),
        ("state", state(found.state()).to_owned()),
        ("cured", cured(&found)),
    ])?;
    let acts: Vec<Vec<String>> = found
        .acts
        .iter()
        .map(|act| {
            vec![
                time(act.at.as_ref()),
                state(act.state()).to_owned(),
                act.reason.clone(),
                act.position.to_string(),
            ]
        })
        .collect();
    Ok(output.table(&["when", "what was done", "reason", "position"], &acts)?)
}

async fn list_rules(rules: Rules, output: Output) -> Outcome {
    let answer =
        rules.remote.connect().await?.findings().list_rules(pb::ListRulesRequest {}).await?.into_inner();
    if output.json {
        return answer.rules.iter().try_for_each(|rule| Ok(output.line(&json::text("Rule", rule)?)?));
    }
    let row = |rule: &pb::Rule| {
        let said = text(Some(rule), rules.language == Language::Zh);
        let title = said.map(|text| text.title.clone()).unwrap_or_default();
        let judged = if rule.judged { "yes" } else { "not yet" }.to_owned();
        vec![rule.code.clone(), severity(rule.severity()).to_owned(), judged, title, rule.legal.join("; ")]
    };
    let rows: Vec<Vec<String>> = answer.rules.iter().map(row).collect();
    Ok(output.table(&["code", "severity", "judged", "what", "law"], &rows)?)
}

fn people(found: &pb::Finding) -> String {
    match (found.people, found.erased_people) {
        (None, _) => "not counted".to_owned(),
        (Some(all), 0) => all.to_string(),
        (Some(all), erased) => format!("{all}, of whom {erased} are erased"),
    }
}

fn cured(found: &pb::Finding) -> String {
    match found.cured_count {
        0 => String::new(),
        count => {
            let (raised, at) = (time(found.raised_at.as_ref()), time(found.cured_at.as_ref()));
            format!("{count}, to be seen from {raised}, cured at {at}")
        }
    }
}

fn text(rule: Option<&pb::Rule>, chinese: bool) -> Option<&pb::RuleText> {
    let rule = rule?;
    if chinese { rule.zh.as_ref() } else { rule.en.as_ref() }
}

/// What a severity is called.
pub fn severity(severity: pb::Severity) -> &'static str {
    match severity {
        pb::Severity::Critical => "critical",
        pb::Severity::High => "high",
        pb::Severity::Medium => "medium",
        pb::Severity::Unspecified => "",
    }
}

fn state(state: pb::FindingState) -> &'static str {
    match state {
        pb::FindingState::Open => "open",
        pb::FindingState::Acknowledged => "acknowledged",
        pb::FindingState::Closed => "closed",
        pb::FindingState::Reopened => "reopened",
        pb::FindingState::Cured => "cured",
        pb::FindingState::Unspecified => "",
    }
}
