//! `custody keyring`: the keys under which everything else is locked. Works on the files, with the
//! service stopped; never prints a key.
//!
//! Rotation on one node: `new-epoch` (a new key-encryption key, active at once), `rewrap`, `remove`
//! of the old one. On several: `add` everywhere, `activate` everywhere, `rewrap` once, `remove`.
//! A signing key: `add`, `activate` (from now on both sign), tell everybody the new verifier key
//! (`custody ledger key`), `remove` the old one when all have it.

use std::sync::Arc;

use clap::{Args, Subcommand};

use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::Output;
use crate::cli::serve::Settings;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::dirlock::DirLock;
use crate::server::open_keyring;
use crate::vault::keyring::{self, Class};
use crate::vault::sqlite;

#[derive(Debug, Args)]
pub struct Keyring {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the keys by class, id and date, never the keys
    Show,
    /// Make a new key-encryption key and use it from now on
    NewEpoch,
    /// Add a key without using it yet
    Add {
        /// kek, lookup, fingerprint, evidence_lookup, checkpoint or manifest
        class: Class,
    },
    /// Use a key from now on
    Activate { class: Class, id: u32 },
    /// Destroy a key that nothing needs any more
    Remove { class: Class, id: u32 },
    /// Lock everybody's keys with the active key-encryption key
    Rewrap,
}

pub fn run(command: Keyring, output: Output) -> Outcome {
    let config = command.settings.load()?;
    // Held while the keys change, so that no service works with others.
    let _lock = match command.command {
        Command::Show => None,
        _ => Some(DirLock::take(&config.data.directory).map_err(Failure::configuration)?),
    };
    if matches!(command.command, Command::Show)
        && !config.data.keyring.exists()
        && !config.data.directory.exists()
    {
        return Err(Failure::new(Exit::Configuration, "there is neither a keyring nor a data directory yet"));
    }
    let ring = open_keyring(&config, SystemClock.now()).map_err(Failure::configuration)?;
    let now = SystemClock.now();
    match command.command {
        Command::Show => return show(&ring, output),
        Command::NewEpoch => {
            let id = ring.add(Class::Kek, now).map_err(refused)?;
            ring.activate(Class::Kek, id).map_err(refused)?;
            output.note(&format!(
                "kek {id} is active; `custody keyring rewrap` locks everybody's keys with it"
            ));
        }
        Command::Add { class } => {
            let id = ring.add(class, now).map_err(refused)?;
            output.note(&format!("{class} {id} is added; `custody keyring activate {class} {id}` uses it"));
        }
        Command::Activate { class, id } => {
            ring.activate(class, id).map_err(refused)?;
            output.note(&format!("{class} {id} is active"));
        }
        Command::Remove { class, id } => super::block_on(remove(&config, ring, class, id, output))?,
        Command::Rewrap => super::block_on(rewrap(&config, ring, output))?,
    }
    Ok(())
}

fn refused(error: keyring::Error) -> Failure {
    Failure::new(Exit::Refused, format_args!("{:#}", anyhow::Error::new(error)))
}

fn show(ring: &keyring::Keyring, output: Output) -> Outcome {
    let keys = ring.describe();
    if output.json {
        for key in &keys {
            output.line(&serde_json::json!(key).to_string())?;
        }
        return Ok(());
    }
    let row = |key: &keyring::Description| {
        let state = if key.active { "active" } else { "" };
        vec![
            key.class.to_string(),
            key.id.to_string(),
            key.name.clone().unwrap_or_default(),
            key.created.to_string(),
            state.to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = keys.iter().map(row).collect();
    Ok(output.table(&["class", "id", "epoch", "created", "state"], &rows)?)
}

fn vault(config: &Config, ring: &Arc<keyring::Keyring>) -> Result<sqlite::Vault, Failure> {
    let place = config.data.directory.join("vault");
    let opened =
        sqlite::Vault::open(&place, Arc::clone(ring), Arc::new(SystemClock), sqlite::Options::default());
    opened.map_err(Failure::configuration)
}

/// Only what nobody needs may go. Index keys are needed while a record of their epoch has a piece
/// left, which only the log knows; they end with the epoch's last piece, not by hand.
async fn remove(config: &Config, ring: keyring::Keyring, class: Class, id: u32, output: Output) -> Outcome {
    let ring = Arc::new(ring);
    match class {
        Class::Kek => {
            let in_use = vault(config, &ring)?.epochs_in_use().await.map_err(Failure::configuration)?;
            if let Some((_, people)) = in_use.iter().find(|(epoch, _)| *epoch == id) {
                let why = format!(
                    "the keys of {people} people are locked with kek {id}: run `custody keyring rewrap` first"
                );
                return Err(Failure::new(Exit::Refused, why));
            }
        }
        Class::Index => {
            let why = "an index key opens the records of its quarter and cannot be removed by hand";
            return Err(Failure::new(Exit::Refused, why));
        }
        Class::Lookup | Class::Fingerprint | Class::EvidenceLookup | Class::Checkpoint | Class::Manifest => {}
    }
    ring.remove(class, id).map_err(refused)?;
    output.note(&format!("{class} {id} is destroyed here; copies of the keyring still hold it"));
    Ok(())
}

async fn rewrap(config: &Config, ring: keyring::Keyring, output: Output) -> Outcome {
    let ring = Arc::new(ring);
    let vault = vault(config, &ring)?;
    let progress = move |rows| output.progress(&format!("{rows} people"));
    vault.rewrap(progress).await.map_err(Failure::configuration)?;
    output.progress_done();
    output.note("everybody's keys are locked with the active key-encryption key");
    Ok(())
}
