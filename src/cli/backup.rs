//! `custody backup`: has the service make a backup and watches it; lists those there are; checks one
//! without the service, with the keyring alone.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::app::backup::kek_of;
use crate::backup::{self, Backup as Opened, Document, Unwatched};
use crate::cli::client::{Client, Remote};
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::Output;
use crate::cli::report::time;
use crate::cli::serve::Settings;
use crate::cli::{json, status};
use crate::config::Config;
use crate::pb;
use crate::pb::create_backup_response::Message;
use crate::server::{existing_keyring, stores::Frames};

/// Makes a backup in the service's backup.directory while it goes on serving.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Backup {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Those that there are, the oldest first
    List {
        #[command(flatten)]
        remote: Remote,
    },
    /// Read all of one and say whether it could be restored; needs its keyring, and no service
    Verify {
        directory: PathBuf,
        #[command(flatten)]
        settings: Settings,
    },
}

pub async fn run(command: Backup, output: Output) -> Outcome {
    match command.command {
        None => create(&command.remote.connect().await?, output).await,
        Some(Command::List { remote }) => list(&remote.connect().await?, output).await,
        Some(Command::Verify { directory, settings }) => verify(&settings.load()?, &directory, output),
    }
}

async fn create(client: &Client, output: Output) -> Outcome {
    let mut news = client.backups().create_backup(pb::CreateBackupRequest {}).await?.into_inner();
    while let Some(answer) = news.message().await? {
        match answer.message {
            Some(Message::Progress(progress)) => output.progress(&format!(
                "{} of {} written and read back",
                status::bytes(progress.done),
                status::bytes(progress.total)
            )),
            Some(Message::Backup(made)) => {
                output.progress_done();
                return print(&made, output);
            }
            None => {}
        }
    }
    Err(Failure::new(
        Exit::Unavailable,
        "the service ended before the backup was whole: ask again when it is back",
    ))
}

fn print(made: &pb::Backup, output: Output) -> Outcome {
    if output.json {
        return Ok(output.line(&json::text("Backup", made)?)?);
    }
    output.facts(&[
        ("backup", made.directory.clone()),
        ("origin", made.origin.clone()),
        ("records", format!("all below position {}", made.head)),
        ("size", status::bytes(made.bytes)),
        ("of which unchanged", status::bytes(made.reused_bytes)),
        ("encrypted under", format!("kek {}", made.kek_epoch)),
        ("ends", time(made.expires_at.as_ref())),
    ])?;
    output.note("It opens with the keyring alone, which is not in it: keep a copy elsewhere (custody keyring backup).");
    Ok(())
}

async fn list(client: &Client, output: Output) -> Outcome {
    let answer = client.backups().list_backups(pb::ListBackupsRequest {}).await?.into_inner();
    if output.json {
        return answer.backups.iter().try_for_each(|made| Ok(output.line(&json::text("Backup", made)?)?));
    }
    let row = |made: &pb::Backup| {
        vec![
            made.directory.clone(),
            made.head.to_string(),
            status::bytes(made.bytes),
            format!("kek {}", made.kek_epoch),
            time(made.created_at.as_ref()),
            time(made.expires_at.as_ref()),
        ]
    };
    let rows: Vec<Vec<String>> = answer.backups.iter().map(row).collect();
    Ok(output.table(&["backup", "records", "size", "key", "made", "ends"], &rows)?)
}

/// A backup whose manifest checks, with the keys of this configuration.
pub fn open(config: &Config, directory: &Path) -> Result<Opened, Failure> {
    let document = Document::read(directory).map_err(refused)?;
    let keyring = existing_keyring(config).map_err(Failure::configuration)?;
    let kek = kek_of(&keyring, &document.stated)
        .map_err(|why| Failure::new(Exit::Refused, format_args!("{}: {why}", directory.display())))?;
    Opened::open(directory, document, &kek).map_err(refused)
}

pub fn refused(error: backup::Error) -> Failure {
    Failure::new(Exit::Refused, error)
}

fn verify(config: &Config, directory: &Path, output: Output) -> Outcome {
    let backup = open(config, directory)?;
    backup.verify(&mut Frames::default(), &Unwatched, &Default::default()).map_err(refused)?;
    let manifest = &backup.manifest;
    let (bytes, _) = manifest.sizes();
    if output.json {
        let value = serde_json::json!({
            "directory": directory, "origin": manifest.origin, "head": manifest.head, "bytes": bytes,
            "kek_epoch": manifest.kek_epoch, "created_at": manifest.created_at, "expires_at": manifest.expires_at,
        });
        return Ok(output.line(&value.to_string())?);
    }
    Ok(output.facts(&[
        ("whole", format!("{} files, {}", manifest.files.len(), status::bytes(bytes))),
        ("origin", manifest.origin.clone()),
        ("records", format!("all below position {}", manifest.head)),
        ("encrypted under", format!("kek {}", manifest.kek_epoch)),
        ("made", manifest.created_at.to_string()),
        ("ends", manifest.expires_at.to_string()),
    ])?)
}
