//! The same on the files, under the lock of the data directory.

use std::sync::Arc;

use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::keyring::{Command, say};
use crate::cli::output::Output;
use crate::cli::serve::Settings;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::dirlock::DirLock;
use crate::server::open_keyring;
use crate::vault::keyring::{self, Class};
use crate::vault::rotation::Rotation;
use crate::vault::sqlite;

pub fn run(command: &Command, settings: Settings, output: Output) -> Outcome {
    let config = settings.load()?;
    // Held while the keys change, so that no service works with others.
    let _lock = match command {
        Command::Show => None,
        _ => Some(DirLock::take(&config.data.directory).map_err(Failure::configuration)?),
    };
    if matches!(command, Command::Show) && !config.data.keyring.exists() && !config.data.directory.exists() {
        return Err(Failure::new(Exit::Configuration, "there is neither a keyring nor a data directory yet"));
    }
    let now = SystemClock.now();
    let ring = Arc::new(open_keyring(&config, now).map_err(Failure::configuration)?);
    match *command {
        Command::Show => return show(&ring, output),
        Command::Add { class } => {
            let id = ring.add(class, now).map_err(refused)?;
            output.note(&format!(
                "{class} {id} is added; `custody keyring activate {class} {id} --offline` uses it"
            ));
        }
        Command::Activate { class, id } => {
            ring.activate(class, id, now).map_err(refused)?;
            output.note(&format!("{class} {id} is active"));
        }
        Command::Rotate { class } => {
            let id = ring.add(class, now).map_err(refused)?;
            ring.activate(class, id, now).map_err(refused)?;
            output.note(&format!("{class} {id} is active"));
            if !class.signs() {
                crate::cli::block_on(rewrap(&config, &ring, output))?;
            }
        }
        Command::Rewrap => crate::cli::block_on(rewrap(&config, &ring, output))?,
        Command::Remove { class, id, yes } => {
            crate::cli::block_on(remove(&config, &ring, (class, id), yes, output))?;
        }
        // It opens the whole directory (`backup.rs`).
        Command::Backup { .. } => {}
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
        let state = match key.replaced {
            _ if key.active => "active".to_owned(),
            Some(at) => format!("replaced {at}"),
            None => String::new(),
        };
        let (name, created) = (key.name.clone().unwrap_or_default(), key.created.to_string());
        vec![key.class.to_string(), key.id.to_string(), name, created, state]
    };
    let rows: Vec<Vec<String>> = keys.iter().map(row).collect();
    Ok(output.table(&["class", "id", "epoch", "created", "state"], &rows)?)
}

fn vault(config: &Config, ring: &Arc<keyring::Keyring>) -> Result<sqlite::Vault, Failure> {
    if config.cluster.is_some() {
        let why = "the people of a cluster are in PostgreSQL: ask a node that runs, without --offline";
        return Err(Failure::new(Exit::Configuration, why));
    }
    let place = config.data.directory.join("vault");
    let opened =
        sqlite::Vault::open(&place, Arc::clone(ring), Arc::new(SystemClock), sqlite::Options::default());
    opened.map_err(Failure::configuration)
}

/// Only what nobody needs may go. What of the log needs a key, and what its end means, a service tells.
async fn remove(
    config: &Config,
    ring: &Arc<keyring::Keyring>,
    (class, id): (Class, u32),
    yes: bool,
    output: Output,
) -> Outcome {
    ring.has(class, id).map_err(refused)?;
    let why = match class {
        Class::Kek => {
            let holders = vault(config, ring)?.count_locked_with(id).await.map_err(Failure::configuration)?;
            (holders > 0).then(|| {
                format!("the keys of {holders} holders are locked with it: run `custody keyring rewrap --offline` first")
            })
        }
        Class::Index => Some(
            "only a service can tell whether a record needs it: start it, and leave out --offline".to_owned(),
        ),
        Class::Lookup => {
            let needs = vault(config, ring)?.lookup_use(id).await.map_err(Failure::configuration)?;
            (needs.rows + needs.erased > 0).then(|| {
                let until = needs.erased_until.map_or(String::new(), |until| format!(", until {until}"));
                format!(
                    "{} identifiers are found under it (`custody keyring rewrap --offline` moves them), and {} of erased \
                     people are remembered under it{until}",
                    needs.rows, needs.erased
                )
            })
        }
        Class::EvidenceLookup => {
            let (kept, _) = vault(config, ring)?.evidence_kept().await.map_err(Failure::configuration)?;
            (kept > 0).then(|| format!("the evidence of {kept} erased people may be found under it only"))
        }
        Class::Fingerprint | Class::Checkpoint | Class::Manifest => None,
    };
    if let (Some(why), true) = (&why, yes) {
        return Err(Failure::new(Exit::Refused, why));
    }
    if yes {
        ring.destroy(class, id, SystemClock.now()).map_err(refused)?;
    }
    let lost = ["what it means is told in full by `custody keyring remove` without --offline".to_owned()];
    say((class, id), &why.unwrap_or_default(), &lost, yes, output)
}

async fn rewrap(config: &Config, ring: &Arc<keyring::Keyring>, output: Output) -> Outcome {
    let vault = vault(config, ring)?;
    let progress = move |rows| output.progress(&format!("{rows} people"));
    vault.rewrap(progress).await.map_err(Failure::configuration)?;
    while vault.remark_some().await.map_err(Failure::configuration)?.is_some() {}
    output.progress_done();
    output.note("everything is locked with the keys in use");
    Ok(())
}
