//! The composition root: a configuration and a clock become adapters, use cases, listeners and
//! tasks. `serve`, the demo, the load generator and the tests all start here.
//!
//! Promises: nothing listens before everything it needs is open and the first event stands; a stop
//! drains, closes the log last and lets go of the directory. A crash loses what the log says a
//! crash loses.

pub mod cluster;
pub mod ground;
pub mod listen;
pub mod node;
pub mod shared;
pub mod stores;
pub mod tiles;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::service::Routes;

use crate::api::admin::Admin;
use crate::api::auth::Authenticator;
use crate::api::backups::Backups as BackupsApi;
use crate::api::erasures::Erasures as ErasuresApi;
use crate::api::events::Events;
use crate::api::exports::Exports as ExportsApi;
use crate::api::findings::Findings as FindingsApi;
use crate::api::guard::{Gate, Guarded};
use crate::api::ingest::Ingest;
use crate::api::jobs::Jobs as JobsApi;
use crate::api::keys::Keys as KeysApi;
use crate::api::laws::Laws as LawsApi;
use crate::api::ledger::Ledger as LedgerApi;
use crate::api::processing::Processing as ProcessingApi;
use crate::api::questions::Questions as QuestionsApi;
use crate::api::registers::Registers as RegistersApi;
use crate::api::retention::Retention as RetentionApi;
use crate::api::subjects::Subjects;
use crate::api::term_inbox::TermInbox as TermsApi;
use crate::api::transfers::Transfers as TransfersApi;
use crate::api::{instructions::Instructions as InstructionApi, plans::Plans as PlanApi};
use crate::app::App;
use crate::clock::Clock;
use crate::config::Config;
use crate::disk::{FileSystem, Probe};
use crate::jobs::Driver;
use crate::telemetry::exporter;
use crate::telemetry::request::RequestIds;

pub use node::{KEYRING_VARIABLE, Node, existing_keyring, open_keyring};

/// How often room and alarms are looked at and gauges set.
const LOOK: Duration = Duration::from_secs(1);
/// How soon a publication that failed is tried again.
const PUBLISH_AGAIN: Duration = Duration::from_secs(5);
/// How often the app is tended.
const TEND: Duration = Duration::from_secs(60);

/// Starts services.
pub struct Server;

/// A service that runs.
pub struct Running {
    pub address: SocketAddr,
    /// `None` if it is off.
    pub metrics_address: Option<SocketAddr>,
    /// `None` if it is off.
    pub tiles_address: Option<SocketAddr>,
    node: Arc<Node>,
    stop: watch::Sender<bool>,
    ended: watch::Receiver<bool>,
    serving: JoinHandle<anyhow::Result<()>>,
    upkeep: JoinHandle<()>,
    /// Mirror and keys are tended beside the rest: a whole vault or log takes a while.
    vault_upkeep: JoinHandle<()>,
    jobs: Arc<Driver>,
    /// The work of the clock, one job after another.
    driving: JoinHandle<()>,
    tasks: Tasks,
}

/// What may end at any moment: metrics, tiles, checkpoints. Ends with this.
#[derive(Default)]
struct Tasks(Vec<JoinHandle<()>>);

impl Tasks {
    fn run(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.push(tokio::spawn(task));
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

impl Server {
    /// Returns when calls are answered. Every error says what to do.
    pub async fn start(config: Config, clock: Arc<dyn Clock>) -> anyhow::Result<Running> {
        let probe = Arc::new(FileSystem(config.data.directory.clone()));
        Self::start_on(probe, config, clock).await
    }

    /// The same on a disk of which the probe tells how much room it has.
    pub async fn start_on(
        probe: Arc<dyn Probe>,
        config: Config,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Running> {
        config.check()?;
        let started_at = clock.now();
        let authenticator = Authenticator::new(config.access.tokens.as_deref(), Arc::clone(&clock))?;
        if config.server.plaintext
            && !config.server.listen.ip().is_loopback()
            && config.tls.certificate.is_none()
        {
            tracing::warn!("tokens arrive without TLS: something in front of custody has to end it");
        }
        let mut tasks = Tasks::default();
        let metrics_address = match config.server.metrics {
            None => None,
            Some(address) => {
                let (address, serving) = exporter::bind(address).await?;
                tasks.run(serving);
                Some(address)
            }
        };
        let (opening, time) = (config.clone(), Arc::clone(&clock));
        let node = Arc::new(tokio::task::spawn_blocking(move || Node::open(&opening, &time, probe)).await??);
        let gate = |stopping| Gate::new(authenticator, RequestIds::new(started_at), stopping);
        let begun = Self::begin(&config, clock, gate, Arc::clone(&node), tasks).await;
        match begun {
            Ok(running) => Ok(Running { metrics_address, ..running }),
            Err(why) => {
                // Why the service does not start is what to tell; the directory is free again.
                let _closed = tokio::task::spawn_blocking(move || node.close()).await;
                Err(why)
            }
        }
    }

    /// Checks what only an open node can tell, then listens.
    async fn begin(
        config: &Config,
        clock: Arc<dyn Clock>,
        gate: impl FnOnce(watch::Receiver<bool>) -> Gate,
        node: Arc<Node>,
        mut tasks: Tasks,
    ) -> anyhow::Result<Running> {
        if let Some(older) = node.app.check_vault().await.context("the vault")? {
            return Err(older.into());
        }
        node.app.open_house().await.context("the log's first event")?;
        node.app.bury_the_erased().await.context("the tombs of the erased")?;
        node.app.resume_erasures().await;

        let tiles_address = match config.ledger.tiles_listen {
            None => None,
            Some(address) => {
                let (address, serving) = tiles::bind(address, Arc::clone(&node.ledger)).await?;
                tasks.run(serving);
                Some(address)
            }
        };
        if config.ledger.checkpoint_interval_ms > 0 {
            let interval = Duration::from_millis(config.ledger.checkpoint_interval_ms);
            tasks.run(publish(Arc::clone(&node), interval));
        }

        let (stop, stopping) = watch::channel(false);
        let gate = Arc::new(gate(stopping.clone()));
        let jobs = Driver::new(
            Arc::clone(&node.app),
            crate::jobs::all(),
            &config.jobs,
            Arc::clone(&node.ground.leader),
        )?;
        let jobs = Arc::new(jobs);
        let routes = routes(config, &node, &jobs, &gate, &stopping)?;
        let seen = Arc::clone(&node);
        let ready: listen::Ready = Arc::new(move || seen.ready());
        let listener = listen::open(config, routes, ready, Arc::clone(&gate.calls), stopping.clone()).await?;
        let vault_upkeep = tokio::spawn(tend_vault(Arc::clone(&node), stopping.clone()));
        let driving = tokio::spawn(Arc::clone(&jobs).drive(listen::stopped(stopping.clone())));
        let upkeep = tokio::spawn(upkeep(Arc::clone(&node), clock, stopping));
        let (serving, ended) = watched(listener.serving);
        let address = listener.address;
        Ok(Running {
            address,
            metrics_address: None,
            tiles_address,
            node,
            stop,
            ended,
            serving,
            upkeep,
            vault_upkeep,
            jobs,
            driving,
            tasks,
        })
    }
}

/// Our services, each behind the gate.
fn routes(
    config: &Config,
    node: &Node,
    jobs: &Arc<Driver>,
    gate: &Arc<Gate>,
    stopping: &watch::Receiver<bool>,
) -> anyhow::Result<Routes> {
    let app = || Arc::clone(&node.app);
    let in_flight = usize::try_from(config.limits.stream_messages_in_flight)?;
    let ingest = Ingest::new(app(), in_flight, stopping.clone()).into_server();
    Ok(Routes::new(Guarded::new(ingest, gate))
        .add_service(Guarded::new(Subjects::new(app()).into_server(), gate))
        .add_service(Guarded::new(Events::new(app()).into_server(), gate))
        .add_service(Guarded::new(BackupsApi::new(app()).into_server(), gate))
        .add_service(Guarded::new(ErasuresApi::new(app()).into_server(), gate))
        .add_service(Guarded::new(ExportsApi::new(app()).into_server(), gate))
        .add_service(Guarded::new(FindingsApi::new(app()).into_server(), gate))
        .add_service(Guarded::new(RegistersApi::new(app()).into_server(), gate))
        .add_service(Guarded::new(TransfersApi::new(app()).into_server(), gate))
        .add_service(Guarded::new(QuestionsApi::new(app()).into_server(), gate))
        .add_service(Guarded::new(RetentionApi::new(app()).into_server(), gate))
        .add_service(Guarded::new(PlanApi::new(app()).into_server(), gate))
        .add_service(Guarded::new(InstructionApi::new(app()).into_server(), gate))
        .add_service(Guarded::new(TermsApi::new(app()).into_server(), gate))
        .add_service(Guarded::new(JobsApi::new(app(), Arc::clone(jobs)).into_server(), gate))
        .add_service(Guarded::new(KeysApi::new(app()).into_server(), gate))
        .add_service(Guarded::new(LawsApi::new(app()).into_server(), gate))
        .add_service(Guarded::new(ProcessingApi::new(app()).into_server(), gate))
        .add_service(Guarded::new(LedgerApi::new(app()).into_server(), gate))
        .add_service(Guarded::new(Admin::new(app()).into_server(), gate)))
}

/// A task with a flag that says when it has ended.
fn watched(task: JoinHandle<anyhow::Result<()>>) -> (JoinHandle<anyhow::Result<()>>, watch::Receiver<bool>) {
    let (ended, watching) = watch::channel(false);
    let task = tokio::spawn(async move {
        let outcome = task.await.map_err(anyhow::Error::new).and_then(|outcome| outcome);
        ended.send_replace(true);
        outcome
    });
    (task, watching)
}

/// Publishes a checkpoint at every interval in which the log grew, on the node that leads. Witnesses are asked beside it, so
/// that a slow one delays no signature.
async fn publish(node: Arc<Node>, interval: Duration) {
    let ledger = &node.ledger;
    let mut asking: Option<JoinHandle<()>> = None;
    let mut tick = tokio::time::interval(interval);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if ledger.diverged().is_some() || !node.ground.fleet.leads() {
            continue;
        }
        match ledger.publish().await {
            Ok(_) if asking.as_ref().is_none_or(JoinHandle::is_finished) => {
                let ledger = Arc::clone(ledger);
                asking = Some(tokio::spawn(async move { ledger.ask_witnesses().await }));
            }
            Ok(_) => {}
            // A full disk or an unmounted copy may be well again long before the next turn.
            Err(_) => tick.reset_after(interval.min(PUBLISH_AGAIN)),
        }
    }
}

/// Looks at the node every second and tends it every minute until the service stops. Whatever it
/// has begun to look at it finishes, so that nobody holds the stores when they are closed.
async fn upkeep(node: Arc<Node>, clock: Arc<dyn Clock>, stop: watch::Receiver<bool>) {
    let stopping = listen::stopped(stop);
    tokio::pin!(stopping);
    let (mut look, mut tend) = (tokio::time::interval(LOOK), tokio::time::interval(TEND));
    loop {
        tokio::select! {
            () = &mut stopping => return,
            _ = look.tick() => {
                let node = Arc::clone(&node);
                // An error is a panic, which stands in the log; the next look is another one.
                let _looked = tokio::task::spawn_blocking(move || node.look()).await;
            }
            _ = tend.tick() => tokio::select! {
                () = &mut stopping => return,
                tended = node.tend(clock.now()) => if let Err(error) = tended {
                    tracing::warn!(error = format!("{error:#}"), "upkeep is tried again in a minute");
                }
            }
        }
    }
}

/// Tends mirror and keys every minute until the service stops. What it is in the middle of ends with its batch, a
/// copy with its end.
async fn tend_vault(node: Arc<Node>, stop: watch::Receiver<bool>) {
    let stopping = listen::stopped(stop);
    tokio::pin!(stopping);
    let mut tend = tokio::time::interval(TEND);
    loop {
        tokio::select! {
            () = &mut stopping => return,
            _ = tend.tick() => node.tend_vault().await,
        }
    }
}

impl Running {
    /// The use cases, for whoever runs in the same process.
    pub fn app(&self) -> &Arc<App> {
        &self.node.app
    }

    /// The driver of the clock's jobs, for whoever moves the clock.
    pub fn jobs(&self) -> &Arc<Driver> {
        &self.jobs
    }

    /// Returns when the listener has ended, asked to or not.
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        // An error means that its task is gone, which is an end too.
        let _ended = ended.wait_for(|ended| *ended).await;
    }

    /// Drains within the deadline, then closes everything.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.node.app.call_off();
        self.stop.send_replace(true);
        let served = self.serving.await?;
        // It was called off, and leaves nothing in the data directory.
        self.node.app.backups.nothing_is_made().await?;
        drop(self.tasks);
        // An error is a panic, which stands in the log.
        let _ended = self.upkeep.await;
        let _ended = self.vault_upkeep.await;
        let _ended = self.driving.await;
        self.jobs.ended().await;
        let node = self.node;
        let closed = tokio::task::spawn_blocking(move || node.close()).await?;
        served.and(closed)
    }
}

#[cfg(test)]
mod tests;
