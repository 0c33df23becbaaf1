//! `custody token new`: makes a token, prints it once, keeps its hash.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};

use crate::api::auth::{self, Entry, File};
use crate::app::Role;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::Output;
use crate::domain::id::{Country, Id};
use crate::durable;

#[derive(Debug, Args)]
pub struct Token {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a token; it is printed once and only its hash is kept
    New(New),
    /// Take a token out of the file; a running server stops knowing it within a second
    Revoke {
        /// File of hashed tokens
        #[arg(long, value_name = "FILE", default_value = "custody.tokens")]
        tokens_file: PathBuf,
        /// Name of the token
        name: Id,
    },
}

#[derive(Debug, Args)]
struct New {
    /// File of hashed tokens, made if it is not there; name it as access.tokens in the configuration
    #[arg(long, value_name = "FILE", default_value = "custody.tokens")]
    tokens_file: PathBuf,
    /// Name of the token; an emitter's name in its events
    #[arg(long)]
    name: Id,
    /// emitter, recipient, subject_app, officer, auditor, regulator or operator
    #[arg(long)]
    role: Role,
    /// The only controller it may speak for
    #[arg(long)]
    controller: Option<Id>,
    /// A service it may speak for; any of its controller's without this
    #[arg(long = "service", value_name = "SERVICE")]
    services: Vec<Id>,
    /// Another emitter name it may use
    #[arg(long = "emitter", value_name = "EMITTER")]
    emitters: Vec<Id>,
    /// Where the accounts it names live, the home realm first
    #[arg(long = "realm", value_name = "REALM")]
    realms: Vec<Id>,
    /// The country whose national form its telephone numbers have
    #[arg(long)]
    home_country: Option<Country>,
}

pub fn run(token: Token, output: Output) -> Outcome {
    match token.command {
        Command::New(new) => make(new, output),
        Command::Revoke { tokens_file, name } => revoke(&tokens_file, &name, output),
    }
}

fn make(new: New, output: Output) -> Outcome {
    let mut file = match new.tokens_file.exists() {
        true => File::read(&new.tokens_file).map_err(Failure::configuration)?,
        false => File::default(),
    };
    if file.tokens.iter().any(|entry| entry.name == new.name) {
        let message =
            format!("a token named {} is there already: revoke it first, or take another name", new.name);
        return Err(Failure::new(Exit::Refused, message));
    }
    let token = random_token()?;
    file.tokens.push(Entry {
        name: new.name.clone(),
        role: new.role,
        sha256: auth::hash(&token),
        controller: new.controller,
        services: new.services,
        emitters: new.emitters,
        realms: new.realms,
        home_country: new.home_country,
    });
    write(&new.tokens_file, &file)?;
    if output.json {
        let value = serde_json::json!({ "name": new.name, "role": new.role, "token": token });
        output.line(&value.to_string())?;
    } else {
        output.line(&token)?;
        output.note(&format!(
            "This is the only time the token of {} is shown. Its hash stands in {}.",
            new.name,
            new.tokens_file.display()
        ));
    }
    Ok(())
}

fn revoke(path: &Path, name: &Id, output: Output) -> Outcome {
    let mut file = File::read(path).map_err(Failure::configuration)?;
    let before = file.tokens.len();
    file.tokens.retain(|entry| entry.name != *name);
    if file.tokens.len() == before {
        return Err(Failure::new(
            Exit::Refused,
            format_args!("{} holds no token named {name}", path.display()),
        ));
    }
    write(path, &file)?;
    output.note(&format!("The token of {name} is revoked."));
    Ok(())
}

/// 256 random bits, recognisable to whoever finds it where it should not be.
fn random_token() -> Result<String, Failure> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes)
        .map_err(|e| Failure::new(Exit::Internal, format_args!("no random numbers: {e}")))?;
    Ok(format!("custody_{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// Replaces the file in one step, so that a server never reads half of it.
fn write(path: &Path, file: &File) -> Outcome {
    let entries = toml::to_string(file).map_err(|e| Failure::new(Exit::Internal, e))?;
    let text = format!(
        "# Tokens of custody, hashed. Made by `custody token new`; take an entry out to revoke it.\n\n{entries}"
    );
    Ok(durable::replace_private(path, text.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use std::sync::Arc;

    #[test]
    fn what_is_written_lets_the_token_in_until_it_is_revoked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t");
        let new = |name: &str| New {
            tokens_file: path.clone(),
            name: name.parse().unwrap(),
            role: Role::Officer,
            controller: None,
            services: vec!["solar".parse().unwrap()],
            emitters: Vec::new(),
            realms: Vec::new(),
            home_country: "DE".parse().ok(),
        };
        make(new("lin"), Output::new(true)).unwrap();
        assert_eq!(make(new("lin"), Output::new(true)).unwrap_err().exit, Exit::Refused);
        make(new("wang"), Output::new(true)).unwrap();
        let file = File::read(&path).unwrap();
        assert_eq!((file.tokens.len(), file.tokens[0].sha256.len()), (2, 64));
        auth::Authenticator::new(Some(&path), Arc::new(ManualClock::default())).unwrap();
        revoke(&path, &"lin".parse().unwrap(), Output::new(true)).unwrap();
        assert_eq!(File::read(&path).unwrap().tokens.len(), 1);
        assert_eq!(
            revoke(&path, &"lin".parse().unwrap(), Output::new(true)).unwrap_err().exit,
            Exit::Refused
        );
    }
}
