//! `custody law`: which law data are known and adopted, and what another document would change.

use clap::{Args, Subcommand};

use crate::cli::client::Remote;
use crate::cli::exit::Outcome;
use crate::cli::json;
use crate::cli::output::Output;
use crate::cli::record::timestamp;
use crate::cli::report::time;
use crate::domain::time::Timestamp;
use crate::pb;

#[derive(Debug, Subcommand)]
pub enum Law {
    /// All documents of this program, with their adoptions
    List(List),
    /// One document, word for word
    Show(One),
    /// What judging by a document would change, before it is adopted
    Preview(One),
    /// From now on, or from an instant on, everything is judged by a document
    Adopt(Adopt),
}

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct One {
    /// Such as 2026-11
    #[arg(value_name = "VERSION")]
    document: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct Adopt {
    /// Such as 2026-11
    #[arg(value_name = "VERSION")]
    document: String,
    #[arg(long, value_name = "TIME")]
    effective_at: Option<Timestamp>,
    /// Why, as a lower-case code
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    remote: Remote,
}

pub async fn run(command: Law, output: Output) -> Outcome {
    match command {
        Law::List(List { remote }) => {
            let request = pb::ListLawsRequest { at_least: None };
            let answer = remote.connect().await?.laws().list_laws(request).await?.into_inner();
            list(&answer.laws, output)
        }
        Law::Show(One { document: version, remote }) => {
            let request = pb::GetLawRequest { version };
            let answer = remote.connect().await?.laws().get_law(request).await?.into_inner();
            if output.json {
                return Ok(output.line(&json::text("GetLawResponse", &answer)?)?);
            }
            Ok(output.line(answer.document.trim_end())?)
        }
        Law::Preview(One { document: version, remote }) => {
            let request = pb::PreviewLawRequest { version, at_least: None };
            let answer = remote.connect().await?.laws().preview_law(request).await?.into_inner();
            preview(&answer, output)
        }
        Law::Adopt(Adopt { document: version, effective_at, reason, remote }) => {
            let effective_at = effective_at.map(timestamp);
            let request = pb::AdoptLawRequest { version, effective_at, reason };
            let answer = remote.connect().await?.laws().adopt_law(request).await?.into_inner();
            if output.json {
                return Ok(output.line(&json::text("AdoptLawResponse", &answer)?)?);
            }
            if answer.already_adopted {
                let standing =
                    format!("was adopted by the event at position {}; nothing was recorded", answer.position);
                return Ok(output.line(&standing)?);
            }
            Ok(output.line(&format!("recorded at position {}", answer.position))?)
        }
    }
}

fn list(laws: &[pb::Law], output: Output) -> Outcome {
    if output.json {
        return laws.iter().try_for_each(|law| Ok(output.line(&json::text("Law", law)?)?));
    }
    let mut rows = Vec::new();
    for law in laws {
        let sha256: String = law.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        let adopted = law.adoptions.iter().map(|one| {
            format!("{} (position {}) {}", time(one.effective_at.as_ref()), one.position, one.reason)
        });
        let adopted = adopted.map(|one| one.trim().to_owned()).collect::<Vec<_>>().join("; ");
        let in_force = if law.in_force { "yes" } else { "" }.to_owned();
        rows.push(vec![law.name.clone(), law.version.clone(), in_force, sha256, adopted]);
    }
    Ok(output.table(&["name", "version", "in force", "sha256", "adopted from"], &rows)?)
}

fn preview(answer: &pb::PreviewLawResponse, output: Output) -> Outcome {
    if output.json {
        return Ok(output.line(&json::text("PreviewLawResponse", answer)?)?);
    }
    for line in &answer.differences {
        output.line(line)?;
    }
    let findings = answer.findings.iter();
    let findings: Vec<Vec<String>> = findings
        .map(|one| vec![one.key.clone(), one.count_now.to_string(), one.count_then.to_string()])
        .collect();
    output.table(&["finding", "now", "then"], &findings)?;
    let transfers: Vec<Vec<String>> = answer.transfers.iter().map(transfer).collect();
    output.table(&["exporter", "importer", "countries", "purpose", "now", "then"], &transfers)?;
    let tiers = answer.tiers.iter().map(|one| {
        vec![
            one.exporter.clone(),
            one.year.to_string(),
            format!("{} ({} to the next)", one.tier_now, one.next_general_now),
            format!("{} ({} to the next)", one.tier_then, one.next_general_then),
        ]
    });
    output.table(&["exporter", "year", "tier now", "then"], &tiers.collect::<Vec<_>>())?;
    let version = |law: &Option<pb::Law>| law.as_ref().map(|law| law.version.clone()).unwrap_or_default();
    output.note(&format!(
        "{} against {}: {} differences, {} findings, {} transfers, {} tiers; below position {}",
        version(&answer.then),
        version(&answer.now),
        answer.differences.len(),
        answer.findings.len(),
        answer.transfers.len(),
        answer.tiers.len(),
        answer.computed_at,
    ));
    Ok(())
}

fn transfer(one: &pb::TransferDifference) -> Vec<String> {
    let judged = |judged: &[pb::TransferJudgement]| {
        let one = |one: &pb::TransferJudgement| {
            let outcome = one.outcome().as_str_name().trim_start_matches("TRANSFER_OUTCOME_").to_lowercase();
            format!("{outcome} {} x{}", one.allowed_by, one.count).replace("  ", " ")
        };
        judged.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    vec![
        one.exporter.clone(),
        one.importer.clone(),
        format!("{} -> {}", one.from_country, one.to_country),
        one.purpose.clone(),
        judged(&one.now),
        judged(&one.then),
    ]
}
