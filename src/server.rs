//! The composition root: a configuration and a clock become adapters, use cases, listeners and
//! tasks. `serve`, the demo, the load generator and the tests all start here.
//!
//! Promises: nothing listens before everything it needs is open and the first event stands; a stop
//! drains, closes the log last and lets go of the directory. A crash loses what the log says a
//! crash loses.

pub mod listen;
pub mod tiles;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::service::Routes;

use crate::api::admin::Admin;
use crate::api::auth::Authenticator;
use crate::api::erasures::Erasures as ErasuresApi;
use crate::api::events::Events;
use crate::api::exports::Exports as ExportsApi;
use crate::api::guard::{Gate, Guarded};
use crate::api::ingest::Ingest;
use crate::api::ledger::Ledger as LedgerApi;
use crate::api::subjects::Subjects;
use crate::app::erase::{Erasures, Tombs};
use crate::app::exports::Exports;
use crate::app::keys::{KeyringIndex, KeyringSigners};
use crate::app::{App, House, Ports};
use crate::clock::Clock;
use crate::config::Config;
use crate::dirlock::DirLock;
use crate::disk::{FileSystem, Probe, Reserve, Rule};
use crate::domain::time::{MS_PER_HOUR, Timestamp};
use crate::export::shelf::Shelf;
use crate::ledger::tlog::Policy;
use crate::ledger::witness::Witnesses;
use crate::ledger::{self, Ledger, http};
use crate::log::segments::{self, Segments};
use crate::log::{self, Log};
use crate::telemetry::request::RequestIds;
use crate::telemetry::{exporter, metrics};
use crate::vault::keyring::{self, Keyring};
use crate::vault::sqlite;
use crate::views::{self, Views};

/// The variable that may hold the keyring's text, where there is no safe place for a file.
pub const KEYRING_VARIABLE: &str = "CUSTODY_KEYRING";
/// How often room and alarms are looked at and gauges set.
const LOOK: Duration = Duration::from_secs(1);
/// How soon a publication that failed is tried again.
const PUBLISH_AGAIN: Duration = Duration::from_secs(5);
/// How often the app is tended.
const TEND: Duration = Duration::from_secs(60);

/// The stores of one data directory, open, with the use cases on them.
pub struct Node {
    pub app: Arc<App>,
    log: Arc<Segments>,
    views: Arc<Views>,
    keyring: Arc<Keyring>,
    reserve: Arc<Reserve>,
    ledger: Arc<Ledger>,
    _lock: DirLock,
}

/// Opens the keyring; makes it only beside a data directory in which nothing is.
pub fn open_keyring(config: &Config, now: Timestamp) -> anyhow::Result<Keyring> {
    let source = match std::env::var(KEYRING_VARIABLE) {
        Ok(text) => keyring::Source::Text(text.into()),
        Err(_) => keyring::Source::File(config.data.keyring.clone()),
    };
    let may_create = is_empty(&config.data.directory)
        .with_context(|| format!("the data directory {}", config.data.directory.display()))?;
    Ok(Keyring::open(source, may_create, now)?)
}

/// Whether no store is in the directory yet; the lock's own file is none.
fn is_empty(directory: &Path) -> std::io::Result<bool> {
    match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
        Ok(mut entries) => Ok(!entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() != "lock"))),
    }
}

impl Node {
    /// Opens everything below the API. Blocks; `config` has been checked.
    pub fn open(config: &Config, clock: &Arc<dyn Clock>, probe: Arc<dyn Probe>) -> anyhow::Result<Node> {
        let directory = &config.data.directory;
        let lock = DirLock::take(directory)?;
        let keyring = Arc::new(open_keyring(config, clock.now())?);
        keyring.ensure_index_epoch(clock.now())?;
        let limits = &config.limits;
        let mut options = segments::Options::new(directory.join("log"));
        options.queue_bytes = usize::try_from(limits.log_queue_bytes)?;
        let log = Arc::new(Segments::open(options).context("the log cannot be opened")?);
        // Before anything else sees the log: what was published decides whether it may be written.
        let ledger = open_ledger(config, &log, &keyring)?;
        let options = sqlite::Options {
            // An entry per identifier, holder and association of a person.
            cache_entries: usize::try_from(limits.people_cached)?.saturating_mul(2),
            ..Default::default()
        };
        let vault =
            sqlite::Vault::open(&directory.join("vault"), Arc::clone(&keyring), Arc::clone(clock), options)
                .context("the vault cannot be opened")?;
        let mut options = views::Options::new(directory.join("views"));
        options.cache_bytes = limits.views_memory_bytes;
        let keys = Arc::new(KeyringIndex(Arc::clone(&keyring)));
        let views = Views::open(options, Arc::clone(&log) as Arc<dyn Log>, keys)
            .context("the views cannot be opened")?;
        let rule = Rule { bytes: config.disk.reserve_bytes, percent: config.disk.reserve_percent };
        let reserve = Arc::new(Reserve::new(probe, rule));
        reserve.look();
        let ports = Ports {
            clock: Arc::clone(clock),
            log: Arc::clone(&log) as Arc<dyn Log>,
            vault: Arc::new(vault),
            views: Arc::clone(&views),
            keyring: Arc::clone(&keyring),
            reserve: Arc::clone(&reserve),
            ledger: Arc::clone(&ledger),
            exports: exports(config)?,
            erasures: Erasures::new(
                config.data.directory.join("erasures"),
                Tombs::of(config.outside_path().join("tombs")),
            ),
        };
        let mut house = house(config)?;
        if let Some(origin) = ledger.first_origin() {
            house.origin = origin;
        }
        let app = App::new(ports, house)?;
        tokio::spawn(Arc::clone(&ledger).follow());
        Ok(Node { app: Arc::new(app), log, views, keyring, reserve, ledger, _lock: lock })
    }

    /// The same for a log that lost its end. Views that have seen more than it has are of no use to
    /// it; they are made again.
    pub fn open_for_recovery(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<Node> {
        let open = || Node::open(config, clock, Arc::new(FileSystem(config.data.directory.clone())));
        let opened = open();
        match opened.as_ref().err().and_then(|error| error.downcast_ref::<views::Error>()) {
            Some(views::Error::LostTail { .. }) => {
                std::fs::remove_dir_all(config.data.directory.join("views")).context("the views")?;
                open()
            }
            _ => opened,
        }
    }

    /// Whether events can be recorded and asked about now; if not, why.
    fn ready(&self) -> Result<(), String> {
        match self.log.status().read_only.or_else(|| self.ledger.diverged()) {
            Some(why) => Err(format!("the log is read-only: {why}")),
            None => self.views.stale().map_or(Ok(()), |why| Err(format!("the views are stale: {why}"))),
        }
    }

    /// What a second brings: room on the disk, alarms, gauges. Blocks.
    fn look(&self) {
        self.reserve.look();
        let (log, ledger) = (self.log.status(), self.ledger.status());
        self.app.look_for_alarms(&log, &ledger);
        self.set_gauges(&log, &ledger);
    }

    fn set_gauges(&self, log: &log::Status, ledger: &ledger::Status) {
        let flag = |on: bool| if on { 1.0 } else { 0.0 };
        ::metrics::gauge!(metrics::LOG_HEAD).set(log.head as f64);
        ::metrics::gauge!(metrics::LOG_DISK).set(log.bytes_on_disk as f64);
        ::metrics::gauge!(metrics::LOG_WAITING).set(log.bytes_waiting as f64);
        ::metrics::gauge!(metrics::LOG_READ_ONLY).set(flag(log.read_only.is_some()));
        if let Some(disk) = self.reserve.seen() {
            ::metrics::gauge!(metrics::DISK_FREE).set(disk.free as f64);
        }
        ::metrics::gauge!(metrics::DISK_AT_RESERVE).set(flag(self.reserve.is_reached()));
        ::metrics::gauge!(metrics::VIEWS_LAG).set(self.views.lag() as f64);
        ::metrics::gauge!(metrics::LEDGER_SIZE).set(ledger.size as f64);
        ::metrics::gauge!(metrics::LEDGER_PUBLISHED).set(ledger.published.map_or(0, |(size, _)| size) as f64);
        ::metrics::gauge!(metrics::LEDGER_DIVERGED).set(flag(ledger.diverged.is_some()));
        ::metrics::gauge!(metrics::LEDGER_FAILING)
            .set(flag(ledger.failing.is_some() || ledger.stopped.is_some()));
        ::metrics::gauge!(metrics::VIEWS_STOPPED).set(flag(self.views.stale().is_some()));
    }

    /// What a minute brings: the index key of a new quarter, people who were made for events that
    /// never reached the log, exports that were kept long enough, and once an hour the vault's
    /// generation for the log.
    async fn tend(&self, now: Timestamp) -> anyhow::Result<()> {
        if self.keyring.ensure_index_epoch(now)? {
            tracing::info!("a new quarter has its index key: copy the keyring to where its copies are kept");
        }
        self.app.settle_pending().await?;
        self.app.expire_exports().await?;
        self.app.resume_erasures().await;
        Ok(self.app.mark_vault().await?)
    }

    /// Stops following and closes the log, in this order. Blocks.
    pub fn close(&self) -> anyhow::Result<()> {
        if let Err(error) = self.ledger.close() {
            // Derived: the next start makes it again.
            tracing::warn!(%error, "the ledger's hashes could not be synced");
        }
        self.views.close();
        self.log.close().context("the log could not be closed")
    }
}

/// Opens the ledger and compares it with what was published. Blocks.
fn open_ledger(config: &Config, log: &Arc<Segments>, keyring: &Arc<Keyring>) -> anyhow::Result<Arc<Ledger>> {
    let options = ledger::Options {
        dir: config.data.directory.join("ledger"),
        outside: config.outside_path(),
        outside_lost: config.outside.declared_lost,
        witnesses: witnesses(&config.ledger)?,
    };
    let keys = Arc::new(KeyringSigners(Arc::clone(keyring)));
    let opening = Ledger::open(options, Arc::clone(log) as Arc<dyn Log>, keys);
    let ledger = tokio::runtime::Handle::current().block_on(opening).context("the ledger")?;
    let stated = config.group.origin.as_str();
    if let Some(first) = ledger.first_origin().filter(|first| first != stated) {
        tracing::warn!(
            first,
            stated,
            "the log's first event names another origin than the configuration; it counts"
        );
    }
    Ok(ledger)
}

fn exports(config: &Config) -> anyhow::Result<Exports> {
    let shelf = Shelf::open(config.data.directory.join("exports")).context("the exports")?;
    let keep_ms = i64::try_from(config.exports.keep_hours)?.saturating_mul(MS_PER_HOUR);
    Ok(Exports::new(Arc::new(shelf), keep_ms))
}

fn witnesses(config: &crate::config::Ledger) -> anyhow::Result<Option<Witnesses>> {
    let Some(path) = &config.witness_policy else { return Ok(None) };
    let read = |path: &Path| std::fs::read(path).with_context(|| path.display().to_string());
    let policy = Policy::parse(&read(path)?).with_context(|| path.display().to_string())?;
    let authorities = config.witness_ca.as_deref().map(read).transpose()?;
    let patience = Duration::from_millis(config.witness_timeout_ms);
    let client = http::Client::new(authorities.as_deref(), patience);
    let client = client.map_err(|why| anyhow::anyhow!("ledger.witness_ca: {why}"))?;
    let witnesses = Witnesses::new(policy, client);
    witnesses.map(Some).map_err(|why| anyhow::anyhow!("{}: {why}", path.display()))
}

fn house(config: &Config) -> anyhow::Result<House> {
    let group = &config.group;
    Ok(House {
        origin: group.origin.to_string(),
        region: group.region.as_str().parse().map_err(|e| anyhow::anyhow!("group.region {e}"))?,
        group: group.controller_group.clone(),
        home_country: Some(group.home_country),
    })
}

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
            tasks.run(publish(Arc::clone(&node.ledger), interval));
        }

        let (stop, stopping) = watch::channel(false);
        let gate = Arc::new(gate(stopping.clone()));
        let routes = routes(config, &node, &gate, &stopping)?;
        let seen = Arc::clone(&node);
        let ready: listen::Ready = Arc::new(move || seen.ready());
        let listener = listen::open(config, routes, ready, Arc::clone(&gate.calls), stopping.clone()).await?;
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
            tasks,
        })
    }
}

/// Our services, each behind the gate.
fn routes(
    config: &Config,
    node: &Node,
    gate: &Arc<Gate>,
    stopping: &watch::Receiver<bool>,
) -> anyhow::Result<Routes> {
    let app = || Arc::clone(&node.app);
    let in_flight = usize::try_from(config.limits.stream_messages_in_flight)?;
    let ingest = Ingest::new(app(), in_flight, stopping.clone()).into_server();
    Ok(Routes::new(Guarded::new(ingest, gate))
        .add_service(Guarded::new(Subjects::new(app()).into_server(), gate))
        .add_service(Guarded::new(Events::new(app()).into_server(), gate))
        .add_service(Guarded::new(ErasuresApi::new(app()).into_server(), gate))
        .add_service(Guarded::new(ExportsApi::new(app()).into_server(), gate))
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

/// Publishes a checkpoint at every interval in which the log grew. Witnesses are asked beside it, so
/// that a slow one delays no signature.
async fn publish(ledger: Arc<Ledger>, interval: Duration) {
    let mut asking: Option<JoinHandle<()>> = None;
    let mut tick = tokio::time::interval(interval);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if ledger.diverged().is_some() {
            continue;
        }
        match ledger.publish().await {
            Ok(_) if asking.as_ref().is_none_or(JoinHandle::is_finished) => {
                let ledger = Arc::clone(&ledger);
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

impl Running {
    /// The use cases, for whoever runs in the same process.
    pub fn app(&self) -> &Arc<App> {
        &self.node.app
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
        drop(self.tasks);
        // An error is a panic, which stands in the log.
        let _ended = self.upkeep.await;
        let node = self.node;
        let closed = tokio::task::spawn_blocking(move || node.close()).await?;
        served.and(closed)
    }
}

#[cfg(test)]
mod tests;
