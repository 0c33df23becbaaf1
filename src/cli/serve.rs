//! `custody serve`: the service, until it is told to stop.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::Output;
use crate::clock::SystemClock;
use crate::config::{Config, Layers};
use crate::server::Server;
use crate::telemetry;

/// Where the configuration comes from: shared by every command that works without a service.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Configuration file; `custody config` prints one
    #[arg(long, env = "CUSTODY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory, as data.directory
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<String>,
    /// Keyring, as data.keyring
    #[arg(long, value_name = "FILE")]
    keyring: Option<String>,
    /// Any other key of the configuration, such as log.filter=debug
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    settings: Settings,
    /// gRPC address, as server.listen; port 0 takes any
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Metrics address, as server.metrics; `off` for none
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<String>,
    /// The outside copy is lost for good: make it again from the data directory, this once
    #[arg(long)]
    declare_outside_lost: bool,
    /// mirror.directory is a new, empty place: begin the mirror there, this once
    #[arg(long)]
    new_mirror: bool,
}

impl Settings {
    pub fn load(self) -> Result<Config, Failure> {
        self.layers()?.load().map_err(Failure::configuration)
    }

    /// For commands that work on a data directory without its service: it must be there.
    pub fn load_offline(self) -> Result<Config, Failure> {
        let config = self.load()?;
        telemetry::init(&config.log.filter).map_err(Failure::configuration)?;
        if !config.data.directory.exists() {
            let why = format!("there is no data directory {}", config.data.directory.display());
            return Err(Failure::new(Exit::Configuration, why));
        }
        Ok(config)
    }

    /// Default, file, environment, flags.
    fn layers(self) -> Result<Layers, Failure> {
        let file = Layers::default().file(self.config.as_deref()).map_err(Failure::configuration)?;
        let mut layers = file.environment(environment());
        if let Some(directory) = self.data_dir {
            layers = layers.flag("data.directory", directory);
        }
        if let Some(keyring) = self.keyring {
            layers = layers.flag("data.keyring", keyring);
        }
        for assignment in self.set {
            let (key, value) = assignment
                .split_once('=')
                .ok_or_else(|| Failure::usage(format_args!("--set {assignment} is not SECTION.KEY=VALUE")))?;
            layers = layers.flag(key, value);
        }
        Ok(layers)
    }
}

/// Variables that are text; one that is not cannot be ours.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

pub fn run(command: Serve, output: Output) -> Outcome {
    let mut layers = command.settings.layers()?;
    if let Some(listen) = command.listen {
        layers = layers.flag("server.listen", listen);
    }
    if let Some(metrics) = command.metrics {
        layers = layers.flag("server.metrics", metrics);
    }
    let mut config = layers.load().map_err(Failure::configuration)?;
    config.outside.declared_lost = command.declare_outside_lost;
    config.mirror.anew = command.new_mirror;
    telemetry::init(&config.log.filter).map_err(Failure::configuration)?;
    super::block_on(serve(config, output))
}

async fn serve(config: Config, output: Output) -> Outcome {
    // Before anything is opened: a signal that comes meanwhile must not be lost.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let directory = config.data.directory.clone();
    let scheme = if config.tls.certificate.is_some() { "https" } else { "http" };
    let running = Server::start(config, Arc::new(SystemClock)).await.map_err(Failure::configuration)?;
    let address = format!("{scheme}://{}", running.address);
    let metrics = running.metrics_address.map(|metrics| format!("http://{metrics}/metrics"));
    let tiles = running.tiles_address.map(|tiles| format!("http://{tiles}/"));
    if output.json {
        let value =
            serde_json::json!({ "address": address, "metrics": metrics, "tiles": tiles, "data": directory });
        output.line(&value.to_string())?;
    } else {
        let metrics = metrics.map_or(String::new(), |metrics| format!(" metrics at {metrics}"));
        let tiles = tiles.map_or(String::new(), |tiles| format!(" tiles at {tiles}"));
        output.line(&format!(
            "custody is listening on {address} data in {}{metrics}{tiles}",
            directory.display()
        ))?;
    }
    let failed = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        () = running.ended() => Some("the service ended by itself; its log says why"),
    };
    tracing::info!("stopping");
    running.stop().await.map_err(|e| Failure::new(Exit::Internal, format_args!("{e:#}")))?;
    failed.map_or(Ok(()), |why| Err(Failure::new(Exit::Internal, why)))
}
