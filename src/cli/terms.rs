//! `custody terms`: terms that no vocabulary or register knows, and what they mean.

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::client::Remote;
use crate::cli::exit::Outcome;
use crate::cli::json;
use crate::cli::output::Output;
use crate::cli::pages;
use crate::cli::report::time;
use crate::cli::when::Known;
use crate::{limits, pb};

#[derive(Debug, Subcommand)]
pub enum Terms {
    /// All that wait to be mapped
    List(List),
    /// Say what one means; it applies to the past too
    Map(Map),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TermKind {
    Purpose,
    Category,
    Activity,
    Recipient,
    RecordKind,
}

impl TermKind {
    fn wire(self) -> pb::MappingKind {
        match self {
            TermKind::Purpose => pb::MappingKind::Purpose,
            TermKind::Category => pb::MappingKind::Category,
            TermKind::Activity => pb::MappingKind::Activity,
            TermKind::Recipient => pb::MappingKind::Recipient,
            TermKind::RecordKind => pb::MappingKind::RecordKind,
        }
    }
}

#[derive(Debug, Args)]
pub struct List {
    #[arg(long, value_enum)]
    kind: Option<TermKind>,
    #[command(flatten)]
    known: Known,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct Map {
    #[arg(value_enum)]
    kind: TermKind,
    term: String,
    /// What it means: a known term, or an id of the register
    maps_to: String,
    /// Only where this emitter says it
    #[arg(long, default_value = "")]
    emitter: String,
    /// Why, as a code
    #[arg(long, default_value = "")]
    reason: String,
    /// Only show which findings would go, and which would come
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    remote: Remote,
}

pub async fn run(command: Terms, output: Output) -> Outcome {
    match command {
        Terms::List(command) => list(command, output).await,
        Terms::Map(command) => map(command, output).await,
    }
}

async fn list(command: List, output: Output) -> Outcome {
    let request = pb::ListUnmappedTermsRequest {
        kind: command.kind.map_or(0, |kind| kind.wire().into()),
        known_at: command.known.known_at,
        at_least: command.known.at_least,
        page_size: limits::PAGE as u32,
        page_token: String::new(),
    };
    let client = command.remote.connect().await?;
    let (terms, _) = pages::all(request, async |page| client.terms().list_unmapped_terms(page).await).await?;
    if output.json {
        return terms.iter().try_for_each(|term| Ok(output.line(&json::text("UnmappedTerm", term)?)?));
    }
    let rows: Vec<Vec<String>> = terms.iter().map(row).collect();
    let headings = ["kind", "term", "emitters", "services", "count", "first", "last", "perhaps"];
    Ok(output.table(&headings, &rows)?)
}

fn row(term: &pb::UnmappedTerm) -> Vec<String> {
    let kind = term.kind().as_str_name().trim_start_matches("MAPPING_KIND_").to_ascii_lowercase();
    vec![
        kind,
        term.term.clone(),
        term.emitters.join(" "),
        term.services.join(" "),
        term.count.to_string(),
        time(term.first.as_ref()),
        time(term.last.as_ref()),
        term.suggestions.join(" "),
    ]
}

async fn map(command: Map, output: Output) -> Outcome {
    let request = pb::MapTermRequest {
        kind: command.kind.wire().into(),
        term: command.term,
        emitter: command.emitter,
        maps_to: command.maps_to,
        reason: command.reason,
        check: command.check,
    };
    let answer = command.remote.connect().await?.terms().map_term(request).await?.into_inner();
    if output.json {
        return Ok(output.line(&json::text("MapTermResponse", &answer)?)?);
    }
    let rows: Vec<Vec<String>> = answer
        .changes
        .iter()
        .map(|change| vec![change.key.clone(), change.before.to_string(), change.after.to_string()])
        .collect();
    output.table(&["finding", "before", "after"], &rows)?;
    match answer.position {
        Some(position) => Ok(output.line(&format!("recorded at position {position}"))?),
        None => {
            output.note("nothing was recorded: without --check it is");
            Ok(())
        }
    }
}
