//! `custody log copy`: moves a log, and the people in it, between one machine's files and a cluster.
//!
//! Nothing may serve either side meanwhile: the data directory is locked; that the cluster has no other node
//! running is the operator's to see to, and a record that somebody else writes ends the copy.

use std::fmt;
use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::Output;
use crate::cli::serve::Settings;
use crate::clock::{Clock, Stopwatch, SystemClock};
use crate::config::{Cluster, Config};
use crate::copying::{self, Copied, Step};
use crate::dirlock::DirLock;
use crate::log::Log as Port;
use crate::log::segments::{self, Segments};
use crate::server::{existing_keyring, shared};
use crate::vault::{self, postgres, sqlite};

#[derive(Debug, Subcommand)]
pub enum Log {
    /// Copy everybody and every record, with its pieces, to where nothing is; or go on where it was interrupted
    Copy(Copy),
}

#[derive(Debug, Args)]
pub struct Copy {
    /// Where the records are
    #[arg(long)]
    from: Side,
    /// Where they go
    #[arg(long)]
    to: Side,
    /// Leave the people out: their keys, and how they are found
    #[arg(long)]
    records_only: bool,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Side {
    /// `log/` of the data directory
    Embedded,
    /// KurrentDB and PostgreSQL, as cluster.kurrentdb and cluster.postgres name them
    Cluster,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Embedded => "embedded",
            Side::Cluster => "cluster",
        })
    }
}

pub fn run(command: Log, output: Output) -> Outcome {
    match command {
        Log::Copy(copy) => super::block_on(self::copy(copy, output)),
    }
}

async fn copy(command: Copy, output: Output) -> Outcome {
    let (from, to) = (command.from, command.to);
    if from == to {
        return Err(Failure::usage("--from and --to name the same log"));
    }
    let config = command.settings.load_offline()?;
    let _lock = DirLock::take(&config.data.directory).map_err(Failure::configuration)?;
    let since = Stopwatch::start();
    if !command.records_only {
        copy_people(&config, to, output).await?;
    }
    let source = Open::open(from, &config).await?;
    let target = Open::open(to, &config).await?;
    let mut told = |step: Step, at: u64, of: u64| {
        let what = match step {
            Step::Comparing => "comparing what is there",
            Step::Copying => "copying",
            Step::Verifying => "verifying",
        };
        output.progress(&format!("{what}: {at} of {of} records"));
    };
    let copied = copying::copy(&*source.log(), &*target.log(), &mut told).await;
    output.progress_done();
    let copied =
        copied.map_err(|why| Failure::new(exit_of(&why), format_args!("{:#}", anyhow::Error::new(why))))?;
    source.close()?;
    target.close()?;
    print(&copied, (from, to), since.elapsed().as_secs_f64(), output)
}

fn print(copied: &Copied, (from, to): (Side, Side), seconds: f64, output: Output) -> Outcome {
    let root: String = copied.root.iter().map(|byte| format!("{byte:02x}")).collect();
    if output.json {
        let value = serde_json::json!({
            "from": from.to_string(), "to": to.to_string(), "records": copied.records,
            "before": copied.before, "root": root,
        });
        return Ok(output.line(&value.to_string())?);
    }
    Ok(output.facts(&[
        ("copied", format!("{} records from {from} to {to} in {seconds:.1} s", copied.records)),
        ("there before", copied.before.to_string()),
        ("root of both", root),
    ])?)
}

fn exit_of(error: &copying::Error) -> Exit {
    match error {
        copying::Error::NotEmpty(_) => Exit::Configuration,
        _ => Exit::Internal,
    }
}

/// Before the records: nobody may have records whose keys are not there.
async fn copy_people(config: &Config, to: Side, output: Output) -> Outcome {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let keyring = Arc::new(existing_keyring(config).map_err(Failure::configuration)?);
    let cluster = named(config)?;
    let database = shared::database(cluster).await.map_err(Failure::configuration)?;
    let theirs =
        postgres::Vault::open(database, Arc::clone(&keyring), Arc::clone(&clock), Default::default());
    let theirs = theirs.await.map_err(Failure::configuration)?;
    let ours = sqlite::Vault::open(&config.data.directory.join("vault"), keyring, clock, Default::default());
    let ours = ours.map_err(Failure::configuration)?;
    let progress = |rows| output.progress(&format!("copying people: {rows} rows"));
    let copied = match to {
        Side::Cluster => vault::copy_people(&ours, &theirs, progress).await,
        Side::Embedded => vault::copy_people(&theirs, &ours, progress).await,
    };
    output.progress_done();
    let rows = copied.map_err(Failure::configuration)?;
    output.note(&format!("{rows} rows of people copied"));
    Ok(())
}

fn named(config: &Config) -> Result<&Cluster, Failure> {
    let why = "the configuration names no cluster: set cluster.kurrentdb and cluster.postgres";
    config.cluster.as_ref().ok_or_else(|| Failure::new(Exit::Configuration, why))
}

/// One side, open.
enum Open {
    Embedded(Arc<Segments>),
    Cluster(shared::Shared),
}

impl Open {
    async fn open(side: Side, config: &Config) -> Result<Open, Failure> {
        match side {
            Side::Embedded => {
                let dir = config.data.directory.join("log");
                let opening = move || Segments::open(segments::Options::new(dir));
                let opened = tokio::task::spawn_blocking(opening).await;
                let opened = opened.map_err(|died| Failure::new(Exit::Internal, died))?;
                Ok(Open::Embedded(Arc::new(opened.map_err(Failure::configuration)?)))
            }
            Side::Cluster => {
                let cluster = named(config)?;
                let shared = shared::Shared::open(config, cluster, Arc::new(SystemClock)).await;
                shared.map(Open::Cluster).map_err(Failure::configuration)
            }
        }
    }

    fn log(&self) -> Arc<dyn Port> {
        match self {
            Open::Embedded(log) => Arc::clone(log) as Arc<dyn Port>,
            Open::Cluster(shared) => Arc::clone(&shared.log) as Arc<dyn Port>,
        }
    }

    fn close(self) -> Outcome {
        let closed = match self {
            Open::Embedded(log) => log.close(),
            Open::Cluster(shared) => shared.log.close(),
        };
        closed.map_err(Failure::configuration)
    }
}
