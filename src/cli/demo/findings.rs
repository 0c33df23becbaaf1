//! The demo's middle: what is wrong with the policy itself, and what went wrong in the month, each with the events
//! that show it.

use crate::cli::client::Client;
use crate::cli::exit::{Failure, Outcome};
use crate::cli::findings;
use crate::cli::json;
use crate::cli::output::Output;
use crate::cli::report::time;
use crate::domain::policy_defect::Defect;
use crate::pb;

/// So many events of a finding are named; the others are counted.
const EVIDENCE: usize = 3;

/// One line for each defect of the policy; `custody init --check` tells more.
pub fn show_defects(defects: &[Defect], output: Output) -> Outcome {
    if output.json {
        return Ok(());
    }
    output.heading("What is wrong with the policy / 隐私政策本身的缺陷")?;
    let row = |defect: &Defect| {
        let mut clauses: Vec<&str> =
            defect.places.iter().filter_map(|place| place.clause.as_deref()).collect();
        clauses.dedup();
        let clauses = match clauses.len() {
            0..=3 => clauses.join(" "),
            many => format!("{} +{}", clauses[..2].join(" "), many - 2),
        };
        let rule = defect.rule;
        vec![rule.severity.to_string(), clauses, format!("{} / {}", rule.en.title, rule.zh.title)]
    };
    Ok(output.table(&["severity", "clauses", "what"], &defects.iter().map(row).collect::<Vec<_>>())?)
}

/// Every finding as known at a position, the gravest first, in both languages, with events as evidence.
pub async fn show(client: &Client, at_least: u64, output: Output) -> Outcome {
    let request =
        pb::ListFindingsRequest { page_size: 1_000, at_least: Some(at_least), ..Default::default() };
    let (found, from) = findings::all(client, request).await?;
    if output.json {
        return found.iter().try_for_each(|found| Ok(output.line(&json::text("Finding", found)?)?));
    }
    output.heading("What went wrong in the month / 本月发现的问题")?;
    for one in &found {
        let rule = one.rule.clone().unwrap_or_default();
        let (en, zh) = (rule.en.unwrap_or_default(), rule.zh.unwrap_or_default());
        let severity = findings::severity(one.severity());
        output.line(&format!("\n{severity:8}  {} / {}", en.title, zh.title))?;
        output.facts(&[
            ("  finding", one.key.clone()),
            ("  count", format!("{}, last {}", one.count, time(one.last.as_ref()))),
            ("  law", rule.legal.join("; ")),
            ("  clauses", rule.clauses.join(", ")),
            ("  evidence", evidence(client, &one.positions).await?),
        ])?;
    }
    output.note(&format!("{} findings; law {}; rules {}", found.len(), from.law, from.rules));
    Ok(())
}

/// Positions and ids of events.
async fn evidence(client: &Client, positions: &[u64]) -> Result<String, Failure> {
    let mut named = Vec::new();
    for position in positions.iter().take(EVIDENCE) {
        let name = Some(pb::get_event_request::Name::Position(*position));
        let answer = client.events().get_event(pb::GetEventRequest { name }).await?.into_inner();
        let id = answer.event.and_then(|record| record.event).map(|event| event.event_id).unwrap_or_default();
        named.push(format!("{position} ({id})"));
    }
    if positions.len() > EVIDENCE {
        named.push(format!("and {} more", positions.len() - EVIDENCE));
    }
    Ok(named.join(", "))
}
