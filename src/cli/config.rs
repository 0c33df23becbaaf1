//! `custody config`: the commented default, or what the layers come to.

use std::path::PathBuf;

use clap::Args;

use crate::cli::exit::{Failure, Outcome};
use crate::cli::output::Output;
use crate::config::{DEFAULT_TOML, Layers};

#[derive(Debug, Args)]
pub struct Config {
    /// Check this file, with the environment over it, instead of printing the default
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
}

pub fn run(command: Config, output: Output) -> Outcome {
    let Some(path) = command.check else {
        return if output.json {
            let table: toml::Table = DEFAULT_TOML.parse().map_err(Failure::configuration)?;
            Ok(output.line(&serde_json::json!(table).to_string())?)
        } else {
            Ok(output.line(DEFAULT_TOML.trim_end())?)
        };
    };
    let layers = Layers::default().file(Some(&path)).map_err(Failure::configuration)?;
    let config = layers.environment(super::serve::environment()).load().map_err(Failure::configuration)?;
    output.note(&format!("{} can be used; custody would listen on {}", path.display(), config.server.listen));
    Ok(())
}
