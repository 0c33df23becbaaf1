//! `custody transfers`: the register of flows across borders, and the numbers of exports from China.

use clap::{Args, Subcommand};

use crate::cli::client::{Client, Remote};
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::findings;
use crate::cli::json;
use crate::cli::output::Output;
use crate::cli::pages;
use crate::cli::record::timestamp;
use crate::cli::sheets::Files;
use crate::cli::sheets::transfers::{self as sheets, Beside};
use crate::cli::when::Known;
use crate::domain::time::Timestamp;
use crate::pb;

#[derive(Debug, Subcommand)]
pub enum Transfers {
    /// By exporter, importer, country, purpose, and what allowed them
    List(List),
    /// Only those that nothing allowed; exit code 1 if there are any
    Uncovered(List),
    /// How many people's data each exporter gave out of China, by year
    Counters(Counters),
}

#[derive(Debug, Args)]
pub struct List {
    #[arg(long = "exporter")]
    exporters: Vec<String>,
    #[arg(long = "importer")]
    importers: Vec<String>,
    /// Transfers at or after
    #[arg(long, value_name = "TIME")]
    occurred_from: Option<Timestamp>,
    /// Transfers before
    #[arg(long, value_name = "TIME")]
    occurred_to: Option<Timestamp>,
    #[command(flatten)]
    known: Known,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct Counters {
    /// Wait until the views have reached this position, such as a receipt's
    #[arg(long, value_name = "POSITION")]
    at_least: Option<u64>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    remote: Remote,
}

pub async fn run(command: Transfers, output: Output) -> Outcome {
    match command {
        Transfers::List(list) => {
            let (request, files, remote) = list.into_wire();
            let client = remote.connect().await?;
            let (lines, from) = all(&client, request).await?;
            give(&client, &lines, from, &files, output).await
        }
        Transfers::Uncovered(list) => {
            let (request, files, remote) = list.into_wire();
            let client = remote.connect().await?;
            let (lines, from) = uncovered(&client, request).await?;
            give(&client, &lines, from, &files, output).await?;
            if lines.is_empty() {
                return Ok(());
            }
            Err(Failure::new(Exit::Found, format_args!("{} lines that nothing allowed", lines.len())))
        }
        Transfers::Counters(Counters { at_least, files, remote }) => {
            let request = pb::ListExportCountersRequest { at_least };
            let answer = remote.connect().await?.transfers().list_export_counters(request).await?;
            give_counters(&answer.into_inner(), &files, output)
        }
    }
}

impl List {
    fn into_wire(self) -> (pb::ListTransfersRequest, Files, Remote) {
        let filter = pb::TransferFilter {
            occurred_from: self.occurred_from.map(timestamp),
            occurred_to: self.occurred_to.map(timestamp),
            known_at: self.known.known_at,
            exporters: self.exporters,
            importers: self.importers,
            regime: 0,
        };
        let request = pb::ListTransfersRequest {
            filter: Some(filter),
            page_size: 1_000,
            page_token: String::new(),
            at_least: self.known.at_least,
        };
        (request, self.files, self.remote)
    }
}

/// All lines.
pub async fn all(
    client: &Client,
    request: pb::ListTransfersRequest,
) -> Result<(Vec<pb::TransferLine>, pb::TransferBasis), tonic::Status> {
    pages::all(request, async |page| client.transfers().list_transfers(page).await).await
}

async fn uncovered(
    client: &Client,
    request: pb::ListTransfersRequest,
) -> Result<(Vec<pb::TransferLine>, pb::TransferBasis), tonic::Status> {
    let pb::ListTransfersRequest { filter, page_size, page_token, at_least } = request;
    let request = pb::ListUncoveredTransfersRequest { filter, page_size, page_token, at_least };
    pages::all(request, async |page| client.transfers().list_uncovered_transfers(page).await).await
}

/// Prints or writes lines; a file also has the exporters' numbers of the year and the findings that are open.
async fn give(
    client: &Client,
    lines: &[pb::TransferLine],
    from: pb::TransferBasis,
    files: &Files,
    output: Output,
) -> Outcome {
    if output.json {
        return lines.iter().try_for_each(|line| Ok(output.line(&json::text("TransferLine", line)?)?));
    }
    let mut beside = Beside { from, ..Beside::default() };
    if !files.is_table() {
        let counters = pb::ListExportCountersRequest { at_least: None };
        beside.counters = client.transfers().list_export_counters(counters).await?.into_inner().counters;
        beside.findings = findings::open(client).await?;
    }
    files.give(&sheets::transfers(lines, &beside, files.language()), &sheets::SHOWN, output)
}

fn give_counters(answer: &pb::ListExportCountersResponse, files: &Files, output: Output) -> Outcome {
    let counters = &answer.counters;
    if output.json {
        return counters.iter().try_for_each(|one| Ok(output.line(&json::text("ExportCounter", one)?)?));
    }
    let from = answer.computed_from.clone().unwrap_or_default();
    files.give(&sheets::counters(counters, &from, files.language()), &sheets::COUNTERS_SHOWN, output)
}
