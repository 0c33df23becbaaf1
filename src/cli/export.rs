//! `custody export`: has a bundle made, fetches it and looks at it; and lists, fetches again, deletes
//! what the service keeps. Whoever it is for checks it with `custody verify`.

mod fetch;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::client::{Client, Remote};
use crate::cli::events::Filter;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::Output;
use crate::cli::report::time;
use crate::cli::subject::{Open, identifier, one_identifier};
use crate::cli::{json, verify};
use crate::pb;

/// Without a filter and without a person: all of a range, proven to be complete. With a filter: those
/// events, each with its proof. With a person: all of the range, and the keys by which that person's
/// events are found in it.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Export {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    new: New,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Those that the service keeps, the newest first
    List {
        #[command(flatten)]
        remote: Remote,
    },
    /// Fetch one that is ready; goes on where it was cut off
    Fetch {
        id: String,
        /// A directory, or an archive if it ends in .tar
        #[arg(long, value_name = "BUNDLE")]
        out: PathBuf,
        #[command(flatten)]
        remote: Remote,
    },
    /// Remove what the service keeps of one
    Delete {
        id: String,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Debug, Args)]
struct New {
    /// Where the bundle goes: a directory, or an archive if it ends in .tar
    #[arg(long, value_name = "BUNDLE")]
    out: Option<PathBuf>,
    /// Name of the export; given again, it goes on with the same one
    #[arg(long)]
    id: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// One person's: the handle that an earlier answer gave
    #[arg(long, value_name = "HANDLE", conflicts_with = "person_file")]
    person: Option<String>,
    /// One person's: file that holds an identifier as `KIND[@REALM]:VALUE`
    #[arg(long, value_name = "FILE")]
    person_file: Option<PathBuf>,
    /// Where the person's tag keys go, to be handed over beside the bundle
    #[arg(long, value_name = "FILE")]
    tag_keys: Option<PathBuf>,
    /// What of sealed parts is handed out
    #[arg(long, value_enum, default_value_t = Level::Headers)]
    level: Level,
    /// File that names the people whose parts are opened, a line each: a handle or `KIND[@REALM]:VALUE`
    #[arg(long, value_name = "FILE")]
    people: Option<PathBuf>,
    #[command(flatten)]
    open: Open,
    #[command(flatten)]
    cover: Cover,
    /// A checkpoint that the recipient holds: its file, or its tree size
    #[arg(long, value_name = "CHECKPOINT")]
    since: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Level {
    /// Header lines alone
    Headers,
    /// Sealed parts as they are
    Sealed,
    /// Those of the people named, with their keys; each disclosure is recorded before
    Opened,
}

/// What stands on the cover sheet; the register fills in what it knows.
#[derive(Debug, Args)]
struct Cover {
    /// Who asked, with its reference
    #[arg(long)]
    authority: Option<String>,
    /// By which law, such as "GDPR 58(1)(a)" or "PIPL 63"
    #[arg(long)]
    legal_power: Option<String>,
    #[arg(long)]
    controller: Option<String>,
    /// In the EU, or in China
    #[arg(long)]
    representative: Option<String>,
    /// Data protection officer, or the person in charge
    #[arg(long)]
    responsible: Option<String>,
    /// The time that the events are about
    #[arg(long)]
    period: Option<String>,
}

pub async fn run(command: Export, output: Output) -> Outcome {
    let Export { command, new, remote } = command;
    match command {
        None => {
            let (Some(out), request) = (new.out.clone(), new.request()?) else {
                return Err(Failure::usage("say where the bundle goes: --out DIRECTORY, or --out FILE.tar"));
            };
            let client = remote.connect().await?;
            let made = make(&client, request, new.tag_keys.as_deref(), output).await?;
            fetched(&client, &made, &out, output).await
        }
        Some(Command::List { remote }) => list(&remote.connect().await?, output).await,
        Some(Command::Fetch { id, out, remote }) => {
            let client = remote.connect().await?;
            let made = wait(&client, id, output).await?;
            fetched(&client, &made, &out, output).await
        }
        Some(Command::Delete { id, remote }) => {
            let request = pb::DeleteExportRequest { export_id: id };
            remote.connect().await?.exports().delete_export(request).await?;
            Ok(())
        }
    }
}

impl New {
    fn request(&self) -> Result<pb::CreateExportRequest, Failure> {
        use pb::create_export_request::Scope;
        let filter = self.filter.clone();
        let person = match (&self.person, &self.person_file) {
            (Some(handle), _) => Some(named(handle)?),
            (None, Some(path)) => Some(pb::SubjectName {
                name: Some(pb::subject_name::Name::Identifier(one_identifier(Some(path))?)),
            }),
            (None, None) => None,
        };
        if person.is_some() != self.tag_keys.is_some() {
            return Err(Failure::usage("one person's export needs --tag-keys, and no other has any"));
        }
        let scope = match person {
            Some(_) if filter.chooses() => {
                return Err(Failure::usage("a person's export is all of a range: no filter goes with it"));
            }
            Some(subject) => {
                Scope::Person(pb::ExportPerson { subject: Some(subject), range: Some(filter.range()) })
            }
            None if filter.chooses() => Scope::Filter(filter.into_wire()),
            None => Scope::Range(filter.range()),
        };
        Ok(pb::CreateExportRequest {
            export_id: self.id.clone().unwrap_or_else(|| uuid::Uuid::now_v7().to_string()),
            scope: Some(scope),
            level: match self.level {
                Level::Headers => pb::ExportLevel::Headers,
                Level::Sealed => pb::ExportLevel::Sealed,
                Level::Opened => pb::ExportLevel::Opened,
            }
            .into(),
            opened: self.people.as_deref().map_or(Ok(Vec::new()), people)?,
            opening: self.open.opening(),
            cover: Some(self.cover.wire()),
            since: self.since.iter().map(|text| tree_size(text)).collect::<Result<_, _>>()?,
        })
    }
}

impl Cover {
    fn wire(&self) -> pb::ExportCover {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        pb::ExportCover {
            authority: text(&self.authority),
            legal_power: text(&self.legal_power),
            controller: text(&self.controller),
            representative: text(&self.representative),
            responsible: text(&self.responsible),
            period: text(&self.period),
        }
    }
}

/// A handle, or an identifier, which has a colon.
fn named(text: &str) -> Result<pb::SubjectName, Failure> {
    use pb::subject_name::Name;
    let name = match text.contains(':') {
        true => Name::Identifier(identifier(text)?),
        false => Name::Subject(text.to_owned()),
    };
    Ok(pb::SubjectName { name: Some(name) })
}

fn people(path: &std::path::Path) -> Result<Vec<pb::SubjectName>, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::new(Exit::Configuration, format_args!("{}: {e}", path.display())))?;
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(named).collect()
}

/// Of a checkpoint's file, or as it is stated.
fn tree_size(text: &str) -> Result<u64, Failure> {
    if let Ok(size) = text.parse() {
        return Ok(size);
    }
    let wrong = |why: &dyn std::fmt::Display| Failure::usage(format_args!("--since {text}: {why}"));
    let bytes = std::fs::read(text).map_err(|e| wrong(&e))?;
    let checkpoint = crate::ledger::tlog::SignedCheckpoint::parse(&bytes).map_err(|e| wrong(&e))?;
    Ok(checkpoint.checkpoint.size)
}

/// All that is recorded, as a bundle of header lines.
pub async fn whole(
    client: &Client,
    cover: pb::ExportCover,
    out: &std::path::Path,
    output: Output,
) -> Result<pb::Export, Failure> {
    let request = pb::CreateExportRequest {
        scope: Some(pb::create_export_request::Scope::Range(pb::ExportRange::default())),
        level: pb::ExportLevel::Headers.into(),
        cover: Some(cover),
        ..Default::default()
    };
    let made = make(client, request, None, output).await?;
    fetch::bundle(client, &made, out, output).await?;
    Ok(made)
}

async fn make(
    client: &Client,
    request: pb::CreateExportRequest,
    tag_keys: Option<&std::path::Path>,
    output: Output,
) -> Result<pb::Export, Failure> {
    let answer = client.exports().create_export(request).await?.into_inner();
    if let Some(path) = tag_keys {
        crate::durable::replace_private(path, answer.tag_keys.as_bytes())
            .map_err(|e| Failure::new(Exit::Configuration, format_args!("{}: {e}", path.display())))?;
    }
    wait(client, answer.export.unwrap_or_default().export_id, output).await
}

/// Follows an export until it is ready.
async fn wait(client: &Client, id: String, output: Output) -> Result<pb::Export, Failure> {
    let request = pb::WatchExportRequest { export_id: id };
    let mut news = client.exports().watch_export(request).await?.into_inner();
    while let Some(answer) = news.message().await? {
        let export = answer.export.unwrap_or_default();
        match export.state() {
            pb::ExportState::Ready => {
                output.progress_done();
                return Ok(export);
            }
            pb::ExportState::Failed => {
                output.progress_done();
                let why =
                    format!("the export failed: {}\n  reason {}", export.failure, export.failure_reason);
                return Err(Failure::new(Exit::Refused, why));
            }
            pb::ExportState::Pending => output.progress("waits for another export to end"),
            _ => output.progress(&format!("{} of {} events", export.events_done, export.events_total)),
        }
    }
    Err(Failure::new(
        Exit::Unavailable,
        "the service ended before the export was ready: ask again with its --id",
    ))
}

/// Fetches a bundle, looks at every hash and proof in it, and says what it is.
async fn fetched(client: &Client, made: &pb::Export, out: &std::path::Path, output: Output) -> Outcome {
    fetch::bundle(client, made, out, output).await?;
    let key = client.ledger().get_checkpoint(pb::GetCheckpointRequest::default()).await?.into_inner();
    verify::look(out)?;
    if output.json {
        return Ok(output.line(&json::text("Export", made)?)?);
    }
    let result = made.result.clone().unwrap_or_default();
    output.facts(&[
        ("bundle", out.display().to_string()),
        ("export", made.export_id.clone()),
        ("kind", made.kind.clone()),
        ("positions", format!("{} to {} (exclusive)", made.position_from, made.position_to)),
        ("events", result.events.to_string()),
        (
            "opened parts",
            Some(result.parts_opened).filter(|n| *n > 0).map(|n| n.to_string()).unwrap_or_default(),
        ),
        ("manifest SHA-256", result.manifest_sha256.iter().map(|byte| format!("{byte:02x}")).collect()),
        ("checkpoint", format!("tree size {}", result.tree_size)),
        ("recorded at", format!("position {}", result.position)),
        ("kept until", time(result.expires_at.as_ref())),
    ])?;
    if !result.witnessed {
        output.note("not enough witnesses have cosigned its checkpoint yet");
    }
    output.note("Whoever receives it checks it with keys that they have by another way, such as:");
    let vkey = key.verifier_keys.first().cloned().unwrap_or_default();
    output.note(&format!(
        "  custody verify {} --vkey '{vkey}' --manifest-vkey '{}'",
        out.display(),
        key.manifest_key
    ));
    Ok(())
}

async fn list(client: &Client, output: Output) -> Outcome {
    let mut request = pb::ListExportsRequest::default();
    let mut rows = Vec::new();
    loop {
        let page = client.exports().list_exports(request.clone()).await?.into_inner();
        for export in &page.exports {
            if output.json {
                output.line(&json::text("Export", export)?)?;
            } else {
                rows.push(row(export));
            }
        }
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let headings = ["export", "state", "kind", "level", "positions", "events", "by", "made", "kept until"];
    Ok(output.table(&headings, &rows)?)
}

fn row(export: &pb::Export) -> Vec<String> {
    let result = export.result.clone().unwrap_or_default();
    let word = |name: &str, prefix: &str| name.trim_start_matches(prefix).to_ascii_lowercase();
    let mut state = word(export.state().as_str_name(), "EXPORT_STATE_");
    if !export.failure_reason.is_empty() {
        state.push_str(&format!(" ({})", export.failure_reason));
    }
    vec![
        export.export_id.clone(),
        state,
        export.kind.clone(),
        word(export.level().as_str_name(), "EXPORT_LEVEL_"),
        format!("{}-{}", export.position_from, export.position_to),
        export.events_done.to_string(),
        export.requester.clone(),
        time(export.created_at.as_ref()),
        time(result.expires_at.as_ref()),
    ]
}
