//! `custody ropa`: the record of processing activities, on a terminal or as a file.

use clap::Args;

use crate::cli::client::{Client, Remote};
use crate::cli::exit::Outcome;
use crate::cli::json;
use crate::cli::output::Output;
use crate::cli::pages;
use crate::cli::sheets::{Files, ropa as sheets};
use crate::cli::when::When;
use crate::pb;

#[derive(Debug, Args)]
pub struct Ropa {
    /// What processors do for controllers (GDPR 30(2)) instead of what controllers do (GDPR 30(1))
    #[arg(long, conflicts_with = "cn")]
    processor: bool,
    /// One row for each activity, as Chinese officers expect it
    #[arg(long)]
    cn: bool,
    /// Count people too, from everybody's row; not with --as-of or --known-at
    #[arg(long, conflicts_with_all = ["processor", "as_of", "known_at"])]
    count_people: bool,
    #[command(flatten)]
    when: When,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    remote: Remote,
}

pub async fn run(command: Ropa, output: Output) -> Outcome {
    let Ropa { processor, cn, count_people, when, files, remote } = command;
    let (client, moment, language) = (remote.connect().await?, when.moment(), files.language());
    if processor {
        let (records, from) = processors(&client, moment).await?;
        if output.json {
            return records.iter().try_for_each(|one| Ok(output.line(&json::text("ProcessorRecord", one)?)?));
        }
        files.give(&sheets::processors(&records, &from, language), &sheets::PROCESSORS_SHOWN, output)?;
        return said(&files, records.len(), &from, output);
    }
    let (records, from) = records(&client, moment, count_people).await?;
    if output.json {
        return records.iter().try_for_each(|one| Ok(output.line(&json::text("ProcessingRecord", one)?)?));
    }
    if cn {
        files.give(&sheets::rows(&records, &from, language), &sheets::ROWS_SHOWN, output)?;
    } else {
        files.give(&sheets::records(&records, &from, language), &sheets::RECORDS_SHOWN, output)?;
    }
    said(&files, records.len(), &from, output)
}

/// What a table was computed from.
pub fn said(files: &Files, lines: usize, from: &pb::ProcessingBasis, output: Output) -> Outcome {
    if files.is_table() {
        output.note(&format!("{lines} entries; below position {}; {}", from.computed_at, from.law));
    }
    if from.unjudged > 0 {
        output.note(&format!("{} events are of too many shapes and are not in it", from.unjudged));
    }
    Ok(())
}

/// All activities.
pub async fn records(
    client: &Client,
    moment: pb::ProcessingMoment,
    count_people: bool,
) -> Result<(Vec<pb::ProcessingRecord>, pb::ProcessingBasis), tonic::Status> {
    let request = pb::ListProcessingRecordsRequest {
        moment: Some(moment),
        count_people,
        page_size: 1_000,
        page_token: String::new(),
    };
    pages::all(request, async |page| client.processing().list_processing_records(page).await).await
}

async fn processors(
    client: &Client,
    moment: pb::ProcessingMoment,
) -> Result<(Vec<pb::ProcessorRecord>, pb::ProcessingBasis), tonic::Status> {
    let request =
        pb::ListProcessorRecordsRequest { moment: Some(moment), page_size: 1_000, page_token: String::new() };
    pages::all(request, async |page| client.processing().list_processor_records(page).await).await
}
