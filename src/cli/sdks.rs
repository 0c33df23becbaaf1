//! `custody sdks`: what SDKs were declared to read against what they were seen to read, and `custody app-lists`:
//! the two lists that an app shows to its users.

use clap::Args;

use crate::cli::client::{Client, Remote};
use crate::cli::exit::Outcome;
use crate::cli::json;
use crate::cli::output::Output;
use crate::cli::pages;
use crate::cli::ropa::said;
use crate::cli::sheets::{Files, sdks as sheets};
use crate::cli::when::When;
use crate::pb;

#[derive(Debug, Args)]
pub struct Sdks {
    #[command(flatten)]
    when: When,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct AppLists {
    /// The service whose app it is
    #[arg(long)]
    service: String,
    /// With whom the app shares, instead of what it collects
    #[arg(long)]
    shared: bool,
    #[command(flatten)]
    when: When,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    remote: Remote,
}

pub async fn run(command: Sdks, output: Output) -> Outcome {
    let Sdks { when, files, remote } = command;
    let (sdks, from) = all(&remote.connect().await?, when.moment()).await?;
    if output.json {
        return sdks.iter().try_for_each(|sdk| Ok(output.line(&json::text("Sdk", sdk)?)?));
    }
    files.give(&sheets::sdks(&sdks, &from, files.language()), &sheets::SDKS_SHOWN, output)?;
    said(&files, sdks.len(), &from, output)
}

pub async fn app_lists(command: AppLists, output: Output) -> Outcome {
    let AppLists { service, shared, when, files, remote } = command;
    let request = pb::GetAppListsRequest { service, moment: Some(when.moment()) };
    let lists = remote.connect().await?.processing().get_app_lists(request).await?.into_inner();
    if output.json {
        return Ok(output.line(&json::text("GetAppListsResponse", &lists)?)?);
    }
    let (from, language) = (lists.computed_from.unwrap_or_default(), files.language());
    if shared {
        files.give(&sheets::shared(&lists.shared, &from, language), &sheets::SHARED_SHOWN, output)?;
        return said(&files, lists.shared.len(), &from, output);
    }
    files.give(&sheets::collected(&lists.collected, &from, language), &sheets::COLLECTED_SHOWN, output)?;
    said(&files, lists.collected.len(), &from, output)
}

/// All SDKs.
pub async fn all(
    client: &Client,
    moment: pb::ProcessingMoment,
) -> Result<(Vec<pb::Sdk>, pb::ProcessingBasis), tonic::Status> {
    let request = pb::ListSdksRequest { moment: Some(moment), page_size: 1_000, page_token: String::new() };
    pages::all(request, async |page| client.processing().list_sdks(page).await).await
}
