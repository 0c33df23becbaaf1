//! `custody ropa`: the record of processing activities, on a terminal or as a file.

use clap::Args;

use crate::cli::client::{Client, Remote};
use crate::cli::exit::Outcome;
use crate::cli::json;
use crate::cli::output::Output;
use crate::cli::record::timestamp;
use crate::cli::sheets::{Files, ropa as sheets};
use crate::domain::time::Timestamp;
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
    moment: Moment,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    remote: Remote,
}

/// As of when.
#[derive(Debug, Clone, Default, Args)]
pub struct Moment {
    /// As things stood then
    #[arg(long, value_name = "TIME")]
    as_of: Option<Timestamp>,
    /// What was known at this position
    #[arg(long, value_name = "POSITION")]
    known_at: Option<u64>,
    /// Wait until the views have reached this position
    #[arg(long, value_name = "POSITION")]
    at_least: Option<u64>,
}

impl Moment {
    pub fn into_wire(self) -> pb::ProcessingMoment {
        pb::ProcessingMoment {
            as_of: self.as_of.map(timestamp),
            known_at: self.known_at,
            at_least: self.at_least,
        }
    }
}

pub async fn run(command: Ropa, output: Output) -> Outcome {
    let Ropa { processor, cn, count_people, moment, files, remote } = command;
    let (client, moment, language) = (remote.connect().await?, moment.into_wire(), files.language());
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

/// All activities, page by page.
pub async fn records(
    client: &Client,
    moment: pb::ProcessingMoment,
    count_people: bool,
) -> Result<(Vec<pb::ProcessingRecord>, pb::ProcessingBasis), tonic::Status> {
    let mut request = pb::ListProcessingRecordsRequest {
        moment: Some(moment),
        count_people,
        page_size: 1_000,
        page_token: String::new(),
    };
    let mut records = Vec::new();
    loop {
        let page = client.processing().list_processing_records(request.clone()).await?.into_inner();
        records.extend(page.records);
        if page.next_page_token.is_empty() {
            return Ok((records, page.computed_from.unwrap_or_default()));
        }
        request.page_token = page.next_page_token;
    }
}

async fn processors(
    client: &Client,
    moment: pb::ProcessingMoment,
) -> Result<(Vec<pb::ProcessorRecord>, pb::ProcessingBasis), tonic::Status> {
    let mut request =
        pb::ListProcessorRecordsRequest { moment: Some(moment), page_size: 1_000, page_token: String::new() };
    let mut records = Vec::new();
    loop {
        let page = client.processing().list_processor_records(request.clone()).await?.into_inner();
        records.extend(page.records);
        if page.next_page_token.is_empty() {
            return Ok((records, page.computed_from.unwrap_or_default()));
        }
        request.page_token = page.next_page_token;
    }
}
