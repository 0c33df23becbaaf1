//! `custody keyring`: the keys under which everything else is locked, by class and number; never a key.
//!
//! Asks a running service, which replaces keys while it records. `--offline` does the same to the files,
//! with the service stopped: for a keyring that the service cannot write, and one that does not fit. What
//! was done offline is recorded in the log at the next start.

mod backup;
mod offline;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::api::keys::wire_class;
use crate::cli::client::Remote;
use crate::cli::exit::{Failure, Outcome};
use crate::cli::output::Output;
use crate::cli::serve::Settings;
use crate::cli::{json, report, views};
use crate::pb;
use crate::pb::key_service_client::KeyServiceClient;
use crate::vault::keyring::Class;

#[derive(Debug, Args)]
pub struct Keyring {
    /// Work on the files themselves, with the service stopped
    #[arg(long, global = true)]
    offline: bool,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the keys by class, id and date, and what needs them; never the keys
    Show,
    /// Add a key without using it yet
    Add {
        /// kek, lookup, evidence_lookup, checkpoint or manifest
        class: Class,
    },
    /// Use a key from now on
    Activate { class: Class, id: u32 },
    /// Add a key, use it from now on, and move to it what is locked with the one before
    #[command(alias = "new-epoch")]
    Rotate {
        /// kek, lookup, checkpoint or manifest
        #[arg(default_value = "kek")]
        class: Class,
    },
    /// Move what is locked with other keys to those in use
    Rewrap,
    /// Say what is lost without a key, and with --yes destroy it
    Remove {
        class: Class,
        id: u32,
        /// Do it; without this, only say what it would mean
        #[arg(long)]
        yes: bool,
    },
    /// Write a copy to a new file, and record in the log that it was made; the service is stopped
    Backup { file: PathBuf },
}

pub fn run(command: Keyring, output: Output) -> Outcome {
    if let Command::Backup { file } = &command.command {
        let config = command.settings.load_offline()?;
        super::block_on(backup::backup(&config, file, output))
    } else if command.offline {
        offline::run(&command.command, command.settings, output)
    } else {
        super::block_on(online(command, output))
    }
}

type Keys = KeyServiceClient<crate::cli::client::Transport>;

async fn online(command: Keyring, output: Output) -> Outcome {
    let mut keys = command.remote.connect().await?.keys();
    match command.command {
        Command::Show => show(&mut keys, output).await,
        Command::Add { class } => add(&mut keys, class, output).await.map(drop),
        Command::Activate { class, id } => activate(&mut keys, class, id, output).await,
        Command::Rotate { class } => {
            let id = add(&mut keys, class, output).await?;
            activate(&mut keys, class, id, output).await?;
            if class.signs() { Ok(()) } else { rewrap(&mut keys, output).await }
        }
        Command::Rewrap => rewrap(&mut keys, output).await,
        Command::Remove { class, id, yes } => remove(&mut keys, (class, id), yes, output).await,
        // It opens the whole directory, above.
        Command::Backup { .. } => Ok(()),
    }
}

async fn show(keys: &mut Keys, output: Output) -> Outcome {
    let answer = keys.list_keys(pb::ListKeysRequest {}).await?.into_inner();
    if output.json {
        for key in &answer.keys {
            output.line(&json::text("Key", key)?)?;
        }
        return Ok(());
    }
    let row = |key: &pb::Key| {
        let state = match key {
            pb::Key { destroyed: Some(at), .. } => format!("destroyed {}", report::time(Some(at))),
            pb::Key { active: true, .. } => "active".to_owned(),
            pb::Key { replaced: Some(at), .. } => format!("replaced {}", report::time(Some(at))),
            _ => String::new(),
        };
        let needed = key.needed_by.map_or(String::new(), |count| count.to_string());
        vec![key.name.clone(), report::time(key.created.as_ref()), state, needed]
    };
    let rows: Vec<Vec<String>> = answer.keys.iter().map(row).collect();
    output.table(&["key", "created", "state", "needed by"], &rows)?;
    if !answer.writable {
        output.note("the keyring came from the environment: it is changed where it is kept");
    }
    Ok(())
}

async fn add(keys: &mut Keys, class: Class, output: Output) -> Result<u32, Failure> {
    let request = pb::AddKeyRequest { class: wire_class(class) as i32 };
    let id = keys.add_key(request).await?.into_inner().key.unwrap_or_default().id;
    output.note(&format!("{class} {id} is added; copy the keyring to where its copies are kept"));
    Ok(id)
}

async fn activate(keys: &mut Keys, class: Class, id: u32, output: Output) -> Outcome {
    keys.activate_key(pb::ActivateKeyRequest { class: wire_class(class) as i32, id }).await?;
    output.note(&format!("{class} {id} is active"));
    Ok(())
}

async fn rewrap(keys: &mut Keys, output: Output) -> Outcome {
    let mut messages = keys.rewrap_keys(pb::RewrapKeysRequest {}).await?.into_inner();
    let mut finished = false;
    while let Some(message) = messages.message().await? {
        finished |= message.finished;
        if let Some(progress) = message.progress {
            output.progress(&format!("{} of {} people", progress.done, progress.total));
        }
    }
    output.progress_done();
    if !finished {
        return Err(Failure::new(
            crate::cli::exit::Exit::Unavailable,
            "the service stopped before all was moved; it goes on when it is started again",
        ));
    }
    output.note("everything is locked with the keys in use");
    Ok(())
}

async fn remove(keys: &mut Keys, (class, id): (Class, u32), yes: bool, output: Output) -> Outcome {
    let wire = wire_class(class) as i32;
    let seen = if yes {
        use pb::destroy_key_response::Message;
        let request = pb::DestroyKeyRequest { class: wire, id, confirmed: true };
        let mut messages = keys.destroy_key(request).await?.into_inner();
        let mut last = None;
        while let Some(message) = messages.message().await? {
            match message.message {
                Some(Message::Progress(progress)) => output.progress(&views::line(&progress)),
                Some(Message::Consequences(consequences)) => last = Some(consequences),
                None => {}
            }
        }
        last
    } else {
        use pb::preview_destroy_key_response::Message;
        let request = pb::PreviewDestroyKeyRequest { class: wire, id };
        let mut messages = keys.preview_destroy_key(request).await?.into_inner();
        let mut last = None;
        while let Some(message) = messages.message().await? {
            match message.message {
                Some(Message::Progress(progress)) => output.progress(&views::line(&progress)),
                Some(Message::Consequences(consequences)) => last = Some(consequences),
                None => {}
            }
        }
        last
    };
    output.progress_done();
    let stopped = || Failure::new(crate::cli::exit::Exit::Unavailable, "the service stopped meanwhile");
    let seen = seen.ok_or_else(stopped)?;
    say((class, id), &seen.refused, &seen.lost, yes, output)
}

/// What the end of a key means, or meant. Exit code 1 where nothing was done.
fn say((class, id): (Class, u32), refused: &str, lost: &[String], done: bool, output: Output) -> Outcome {
    if output.json {
        let value = serde_json::json!({ "refused": refused, "lost": lost, "destroyed": done });
        output.line(&value.to_string())?;
    } else if !refused.is_empty() {
        output.line(&format!("{class} {id} cannot be destroyed: {refused}"))?;
    } else {
        for sentence in lost {
            output.line(sentence)?;
        }
    }
    if !done {
        output.note("nothing was changed; --yes destroys it, if nothing stands against that");
        return Err(Failure::found());
    }
    output.note(&format!("{class} {id} is destroyed here; copies of the keyring still hold it"));
    Ok(())
}
