//! The stores of one data directory, opened in the order in which they depend on each other, with the use
//! cases on them; what a second and a minute bring them; and how they are closed.
//!
//! Promises: what was published decides whether the log may be written, before anything else sees it;
//! nothing that a crash left lying is taken for more than it is. Keeps nothing itself.

use crate::app::backup::Backups;
use crate::app::erase::{Erasures, Tombs};
use crate::app::exports::Exports;
use crate::app::keys::{ENDED_MS, KeyringIndex, KeyringSigners, Life, Rotation};
use crate::app::{App, House, Ports};
use crate::clock::Clock;
use crate::config::Config;
use crate::dirlock::DirLock;
use crate::disk::{FileSystem, Probe, Reserve, Rule};
use crate::domain::plan::Thresholds;
use crate::domain::time::{MS_PER_DAY, MS_PER_HOUR, Timestamp};
use crate::export::shelf::Shelf;
use crate::ledger::tlog::Policy;
use crate::ledger::witness::Witnesses;
use crate::ledger::{self, Ledger, http};
use crate::log;
use crate::telemetry::metrics;
use crate::vault::keyring::{self, Keyring};
use crate::views::{self, Views};
use anyhow::Context;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::cluster;
use super::ground::{self, Ground};

/// The variable that may hold the keyring's text, where there is no safe place for a file.
pub const KEYRING_VARIABLE: &str = "CUSTODY_KEYRING";
/// The stores of one data directory, open, with the use cases on them.
pub struct Node {
    pub app: Arc<App>,
    pub(super) ground: Ground,
    views: Arc<Views>,
    pub(super) keyring: Arc<Keyring>,
    reserve: Arc<Reserve>,
    pub(super) ledger: Arc<Ledger>,
    _lock: DirLock,
}

/// The keyring of a data directory that is to be made anew: it has to be there.
pub fn existing_keyring(config: &Config) -> anyhow::Result<Keyring> {
    // Nothing is made, so the time is not needed.
    Ok(Keyring::open(keyring_source(config), false, Timestamp::EPOCH)?)
}

fn keyring_source(config: &Config) -> keyring::Source {
    match std::env::var(KEYRING_VARIABLE) {
        Ok(text) => keyring::Source::Text(text.into()),
        Err(_) => keyring::Source::File(config.data.keyring.clone()),
    }
}

/// Opens the keyring; makes it only beside a data directory in which nothing is.
pub fn open_keyring(config: &Config, now: Timestamp) -> anyhow::Result<Keyring> {
    let may_create = is_empty(&config.data.directory)
        .with_context(|| format!("the data directory {}", config.data.directory.display()))?;
    Ok(Keyring::open(keyring_source(config), may_create, now)?)
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
        let rule = Rule { bytes: config.disk.reserve_bytes, percent: config.disk.reserve_percent };
        let ground = match &config.cluster {
            None => ground::embedded(config, &keyring, clock)?,
            Some(cluster) => cluster::open(config, cluster, &keyring, clock)?,
        };
        let log = &ground.log;
        // Before anything else sees the log: what was published decides whether it may be written.
        let ledger = open_ledger(config, &ground, &keyring)?;
        let mut options = views::Options::new(directory.join("views"));
        options.cache_bytes = config.limits.views_memory_bytes;
        options.erased = tombs(config).all().context("the tombs of the erased in the outside copy")?;
        let keys = Arc::new(KeyringIndex(Arc::clone(&keyring)));
        let views = Views::open(options, Arc::clone(log), keys).context("the views cannot be opened")?;
        let reserve = Arc::new(Reserve::new(probe, rule));
        reserve.look();
        let ports = Ports {
            clock: Arc::clone(clock),
            log: Arc::clone(log),
            vault: Arc::clone(&ground.vault),
            views: Arc::clone(&views),
            keyring: Arc::clone(&keyring),
            reserve: Arc::clone(&reserve),
            ledger: Arc::clone(&ledger),
            exports: exports(config)?,
            erasures: erasures(config)?,
            backups: Backups::new(
                config.backup_path(),
                config.keys.kek_keep_days,
                rule,
                Arc::clone(&ground.backup),
            ),
            fleet: Arc::clone(&ground.fleet),
            keys: key_life(&config.keys)?,
            thresholds: Thresholds {
                items: config.retention.approve_above_items,
                percent: config.retention.approve_above_percent,
            },
            mirror: ground.mirror.clone(),
        };
        let mut house = house(config)?;
        if let Some(origin) = ledger.first_origin() {
            house.origin = origin;
        }
        let app = Arc::new(App::new(ports, house)?);
        let recording = Arc::downgrade(&app);
        ground.vault.forgets_behind(Arc::new(move || {
            let recording = recording.clone();
            Box::pin(async move {
                if let Some(app) = recording.upgrade() {
                    app.nobody_records().await;
                }
            })
        }));
        tokio::spawn(Arc::clone(&ledger).follow());
        Ok(Node { app, ground, views, keyring, reserve, ledger, _lock: lock })
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
    pub(super) fn ready(&self) -> Result<(), String> {
        match self.ground.log.status().read_only.or_else(|| self.ledger.diverged()) {
            Some(why) => Err(format!("the log is read-only: {why}")),
            None => self.views.stale().map_or(Ok(()), |why| Err(format!("the views are stale: {why}"))),
        }
    }

    /// What a second brings: room on the disk, alarms, gauges. Blocks.
    pub(super) fn look(&self) {
        self.reserve.look();
        let (log, ledger) = (self.ground.log.status(), self.ledger.status());
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
        ::metrics::gauge!(metrics::JOBS_FAILING).set(self.app.failing_jobs.count() as f64);
        let mirror = self.app.mirror().is_some_and(|mirror| mirror.failing.is_some());
        ::metrics::gauge!(metrics::MIRROR_FAILING).set(flag(mirror));
        ::metrics::gauge!(metrics::VIEWS_STOPPED).set(flag(self.views.stale().is_some()));
    }

    /// What a minute brings: the index key of a new quarter, people who were made for events that
    /// never reached the log, exports and backups that were kept long enough. What runs by a calendar is a
    /// job's (`jobs`).
    pub(super) async fn tend(&self, now: Timestamp) -> anyhow::Result<()> {
        if self.ground.owns_keyring && self.keyring.ensure_index_epoch(now)? {
            self.app.changed_keys();
            tracing::info!("a new quarter has its index key: copy the keyring to where its copies are kept");
        }
        self.app.expire_exports().await?;
        self.app.resume_erasures().await;
        self.app.follow_erasures().await?;
        self.app.expire_backups().await?;
        if self.ground.fleet.leads() {
            self.app.settle_pending().await?;
            self.ground.keeper.tidy(now).await?;
        }
        Ok(self.app.look_at_vault().await?)
    }

    /// What a minute brings that may take long: the mirror, keys; and since when the vault's file has to be
    /// written anew, which is a job's.
    pub(super) async fn tend_vault(&self) {
        self.app.tend_mirror().await;
        self.app.tend_keys().await;
        if let Err(error) = self.app.look_at_scrub().await {
            tracing::warn!(%error, "the vault does not say when it was scrubbed");
        }
    }

    /// Stops following and closes the log, in this order. Blocks.
    pub fn close(&self) -> anyhow::Result<()> {
        if let Err(error) = self.ledger.close() {
            // Derived: the next start makes it again.
            tracing::warn!(%error, "the ledger's hashes could not be synced");
        }
        self.views.close();
        self.ground.keeper.close()
    }
}

/// Opens the ledger and compares it with what was published. Blocks.
fn open_ledger(config: &Config, ground: &Ground, keyring: &Arc<Keyring>) -> anyhow::Result<Arc<Ledger>> {
    let options = ledger::Options {
        dir: config.data.directory.join("ledger"),
        outside: config.outside_path(),
        outside_lost: config.outside.declared_lost,
        witnesses: witnesses(&config.ledger)?,
        fence: ground.fence.clone(),
    };
    let keys = Arc::new(KeyringSigners(Arc::clone(keyring)));
    let opening = Ledger::open(options, Arc::clone(&ground.log), keys);
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

fn tombs(config: &Config) -> Tombs {
    Tombs::of(config.outside_path().join("tombs"))
}

/// A key-encryption key is used so long and kept so long; where it is replaced by hand only, nobody knows.
fn erasures(config: &Config) -> anyhow::Result<Erasures> {
    let keys = config.keys;
    let days = (keys.kek_days > 0).then_some(keys.kek_days + keys.kek_keep_days);
    let life = days
        .map(|days| i64::try_from(days).map(|days| days.saturating_mul(MS_PER_DAY) + ENDED_MS))
        .transpose()?;
    Ok(Erasures::new(config.data.directory.join("erasures"), tombs(config), life))
}

fn key_life(keys: &crate::config::Keys) -> anyhow::Result<Rotation> {
    let ms = |days: u64| anyhow::Ok(i64::try_from(days)?.saturating_mul(MS_PER_DAY));
    let use_ms = if keys.kek_days > 0 { Some(ms(keys.kek_days)?) } else { None };
    Ok(Rotation::new(Life { use_ms, keep_ms: ms(keys.kek_keep_days)? }))
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
