//! `custody demo`: starts the service and plays a month of the solar app through the real gRPC client, with what
//! goes wrong in it; then shows what is found, one person's report, a bundle for strangers that it checks, and how
//! to go on.
//!
//! The service's clock is moved along the story, so that the month is over when it is told. The
//! same seed tells the same story: run against the directory of an earlier run it stores nothing.

mod breach;
mod findings;
pub(crate) mod person;
mod proof;
mod scene;
pub(crate) mod story;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::cli::client::{Client, Remote};
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::init;
use crate::cli::output::Output;
use crate::cli::report::{self, Language};
use crate::cli::serve;
use crate::clock::{Clock, ManualClock, Stopwatch};
use crate::config::layers::Layers;
use crate::pb;
use crate::server::{Running, Server};
use crate::telemetry;

/// The name of the story's log.
const ORIGIN: &str = "kstar.example/custody/events-1";
/// Whose log it is.
const GROUP: &str = "kstar";
/// The registers of the story's company, and what its policy says.
const TENANT: &str = include_str!("../../deploy/policy/kstar.toml");

#[derive(Debug, Args)]
pub struct Demo {
    /// Where the demo's data lie; its keyring lies beside it
    #[arg(long, value_name = "DIR", default_value = "custody-demo")]
    data_dir: PathBuf,
    /// Configuration file, such as deploy/cluster.toml; where the data lie and whose they are is the demo's own
    #[arg(long, env = "CUSTODY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// People in the story
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    people: u64,
    /// The same seed tells the same story
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub fn run(demo: Demo, output: Output) -> Outcome {
    telemetry::init("warn").map_err(Failure::configuration)?;
    super::block_on(play(demo, output))
}

async fn play(demo: Demo, output: Output) -> Outcome {
    let clock = ManualClock::at(story::month_begins());
    let running = start(&demo, &clock).await?;
    let remote = Remote::local(format!("http://{}", running.address));
    output.note(&format!("the service listens on {} for as long as the demo runs", remote.server));
    let defects = init::apply(TENANT, &remote).await?;

    let client = remote.connect().await?;
    let tally = tell(&demo, &client, &clock, output).await?;
    clock.set(story::month_ends());
    let asked = Stopwatch::start();
    let report = report_of_the_first(&client, tally.last).await?;
    let asking = asked.elapsed();
    // What rests on absence is judged as of the month's end.
    running.app().tick_detectors().await.map_err(|e| Failure::new(Exit::Internal, format_args!("{e:#}")))?;
    let ticked = running.app().log.head().saturating_sub(1);

    findings::show_defects(&defects, output)?;
    findings::show(&client, ticked, output).await?;
    report::print(&report, Language::Both, output)?;
    if !output.json {
        output.heading("The run / 本次演示")?;
        output.facts(&[
            ("events told", tally.told.to_string()),
            ("of them there before", tally.duplicates.to_string()),
            (
                "acknowledged",
                format!("{:.0} events/s, every one of them durable", tally.told as f64 / tally.seconds),
            ),
            ("report", format!("{:.1} ms after the last receipt", asking.as_secs_f64() * 1_000.0)),
        ])?;
    }
    proof::show(&client, &demo.data_dir, output).await?;
    if !output.json {
        how_to_go_on(&demo, output)?;
    }
    running.stop().await.map_err(|e| Failure::new(Exit::Internal, format_args!("{e:#}")))
}

async fn start(demo: &Demo, clock: &ManualClock) -> Result<Running, Failure> {
    let mut outside = demo.data_dir.clone().into_os_string();
    outside.push(".outside");
    let outside = PathBuf::from(outside);
    if !demo.data_dir.exists() && outside.exists() {
        // Of a demo whose data somebody has removed. Of a real log nothing is ever removed there.
        std::fs::remove_dir_all(&outside).map_err(Failure::configuration)?;
    }
    let flags = [
        ("data.directory", demo.data_dir.display().to_string()),
        ("data.keyring", keyring(demo).display().to_string()),
        ("group.controller_group", GROUP.to_owned()),
        ("group.origin", ORIGIN.to_owned()),
        ("server.listen", "127.0.0.1:0".to_owned()),
        ("server.metrics", "off".to_owned()),
        ("disk.reserve_bytes", "0".to_owned()),
        ("disk.reserve_percent", "0".to_owned()),
    ];
    let file = Layers::default().file(demo.config.as_deref()).map_err(Failure::configuration)?;
    let mut layers =
        file.environment(serve::environment().filter(|(name, _)| name.starts_with("CUSTODY_CLUSTER_")));
    for (key, value) in flags {
        layers = layers.flag(key, value);
    }
    let config = layers.load().map_err(Failure::configuration)?;
    let clock: Arc<dyn Clock> = Arc::new(clock.clone());
    Server::start(config, clock).await.map_err(Failure::configuration)
}

fn keyring(demo: &Demo) -> PathBuf {
    demo.data_dir.with_extension("keyring")
}

/// What the telling came to.
struct Tally {
    told: u64,
    duplicates: u64,
    seconds: f64,
    last: u64,
}

/// Events of one request.
const BATCH: usize = 200;

/// Tells the month in its order, and moves the clock along.
async fn tell(demo: &Demo, client: &Client, clock: &ManualClock, output: Output) -> Result<Tally, Failure> {
    let month = story::month(demo.seed, demo.people);
    let (mut tally, watch) = (Tally { told: 0, duplicates: 0, seconds: 0.0, last: 0 }, Stopwatch::start());
    let mut ingest = client.ingest();
    for batch in month.chunks(BATCH) {
        if let Some((at, _)) = batch.last() {
            clock.set(*at);
        }
        let events = batch.iter().map(|(_, event)| event.clone()).collect();
        let answer = ingest.batch_record_events(pb::BatchRecordEventsRequest { events }).await?.into_inner();
        for outcome in answer.outcomes {
            match outcome.result {
                Some(pb::outcome::Result::Receipt(receipt)) => {
                    tally.told += 1;
                    tally.duplicates += u64::from(receipt.duplicate);
                    tally.last = tally.last.max(receipt.position);
                }
                Some(pb::outcome::Result::Error(error)) => {
                    let fields: Vec<_> =
                        error.violations.iter().map(|v| format!("{} {}", v.field, v.description)).collect();
                    return Err(Failure::new(
                        Exit::Internal,
                        format_args!("the story was refused: {} {}", error.message, fields.join("; ")),
                    ));
                }
                None => return Err(Failure::new(Exit::Internal, "an outcome without a result")),
            }
        }
        output.progress(&format!("{} of {} events", tally.told, month.len()));
    }
    output.progress_done();
    tally.seconds = watch.elapsed().as_secs_f64();
    Ok(tally)
}

/// Opens the sealed values too, so that the report shows them, and the log that it did.
async fn report_of_the_first(client: &Client, at_least: u64) -> Result<pb::SubjectReport, Failure> {
    let account = pb::Identifier {
        kind: pb::IdentifierKind::Account.into(),
        realm: "solar".to_owned(),
        value: person::FIRST_ACCOUNT.to_string(),
    };
    let request = pb::GetSubjectReportRequest {
        subject: Some(pb::SubjectName { name: Some(pb::subject_name::Name::Identifier(account)) }),
        at_least: Some(at_least),
        opening: Some(pb::Opening { reason: "demo".to_owned(), ticket: String::new() }),
        evidence_limit: Some(12),
        ..Default::default()
    };
    let answer = client.subjects().get_subject_report(request).await?.into_inner();
    answer.report.ok_or_else(|| Failure::new(Exit::Internal, "the answer holds no report"))
}

fn how_to_go_on(demo: &Demo, output: Output) -> std::io::Result<()> {
    let custody = "target/release/custody";
    let data = demo.data_dir.display();
    // The story's group is no default, and names the streams of a cluster.
    let config = demo.config.as_deref().map_or_else(String::new, |path| {
        format!(" --config {} --set group.controller_group={GROUP}", path.display())
    });
    output.heading("Go on / 接下来")?;
    for line in [
        format!("{custody} serve{config} --data-dir {data} --keyring {}", keyring(demo).display()),
        "  and then, in another terminal:".to_owned(),
        format!("echo 'account@solar:{}' | {custody} subject report", person::FIRST_ACCOUNT),
        format!("echo 'phone:170 0000 {:04}' | {custody} subject find", demo.people % 10_000),
        format!("{custody} findings list"),
        format!("{custody} transfers uncovered"),
        format!("{custody} init --from deploy/policy/kstar.toml --check --language zh"),
        format!("{custody} events list --type DataTransferred"),
        format!("{custody} status"),
        format!("{custody} ledger checkpoint"),
        format!("{custody} ledger proof --position 1"),
        format!("{custody} export --out shared.tar --type DataShared --authority 'CNIL'"),
        format!("{custody} fsck"),
    ] {
        output.line(&line)?;
    }
    Ok(())
}
