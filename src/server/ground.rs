//! What a node stands on: a log, a vault, and what goes with them. One machine's own files here; what several
//! nodes share in `cluster.rs`.

use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;

use crate::app::backup;
use crate::app::fleet::{Alone, Fleet};
use crate::app::mirror::Mirror;
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::time::Timestamp;
use crate::jobs::{HoldsLock, Leader};
use crate::ledger::Fence;
use crate::log::Log;
use crate::log::segments::{self, Segments};
use crate::mirror;
use crate::vault::Vault;
use crate::vault::keyring::Keyring;
use crate::vault::sqlite;

use super::stores;

/// See the module.
pub struct Ground {
    pub log: Arc<dyn Log>,
    pub vault: Arc<dyn Vault>,
    pub backup: Arc<dyn backup::Stores>,
    /// `None` where the stores have no second copy of custody's making.
    pub mirror: Option<Arc<dyn Mirror>>,
    pub fleet: Arc<dyn Fleet>,
    /// `None` where nobody else could sign for the same log.
    pub fence: Option<Arc<dyn Fence>>,
    pub leader: Arc<dyn Leader>,
    /// Nobody else has a copy of the keyring, so that keys may be added to it at any time.
    pub owns_keyring: bool,
    pub keeper: Arc<dyn Keeper>,
}

/// What is particular to the stores of a node.
#[async_trait]
pub trait Keeper: Send + Sync {
    /// What a minute brings to whoever leads.
    async fn tidy(&self, now: Timestamp) -> anyhow::Result<()>;

    /// Blocks.
    fn close(&self) -> anyhow::Result<()>;
}

/// The stores of one data directory. Blocks.
pub fn embedded(config: &Config, keyring: &Arc<Keyring>, clock: &Arc<dyn Clock>) -> anyhow::Result<Ground> {
    let directory = &config.data.directory;
    keyring.ensure_index_epoch(clock.now())?;
    let mirror = mirror_of(config)?;
    // Before the log: a vault that is older than its mirror must not get the mirror's newer records.
    let vault = open_vault(config, keyring, clock, mirror.clone())?;
    let mut options = segments::Options::new(directory.join("log"));
    options.queue_bytes = usize::try_from(config.limits.log_queue_bytes)?;
    options.mirror = mirror;
    let log = Arc::new(Segments::open(options).context("the log cannot be opened")?);
    let mirrors = || Arc::new(stores::Mirrors::new(Arc::clone(&log), Arc::clone(&vault))) as Arc<dyn Mirror>;
    Ok(Ground {
        backup: Arc::new(stores::Embedded {
            data: directory.clone(),
            log: Arc::clone(&log),
            vault: Arc::clone(&vault),
        }),
        mirror: config.mirror.directory.as_ref().map(|_| mirrors()),
        fleet: Arc::new(Alone),
        fence: None,
        leader: Arc::new(HoldsLock),
        owns_keyring: true,
        keeper: Arc::new(Files(Arc::clone(&log))),
        log,
        vault,
    })
}

struct Files(Arc<Segments>);

#[async_trait]
impl Keeper for Files {
    async fn tidy(&self, _: Timestamp) -> anyhow::Result<()> {
        Ok(())
    }

    fn close(&self) -> anyhow::Result<()> {
        self.0.close().context("the log could not be closed")
    }
}

fn open_vault(
    config: &Config,
    keyring: &Arc<Keyring>,
    clock: &Arc<dyn Clock>,
    mirror: Option<mirror::Options>,
) -> anyhow::Result<Arc<sqlite::Vault>> {
    let directory = &config.data.directory;
    // A crash during a backup may have left keys there that are to be destroyed now.
    stores::forget_snapshot(directory).context("a snapshot of the vault")?;
    let options = sqlite::Options {
        // An entry per identifier, holder and association of a person.
        cache_entries: usize::try_from(config.limits.people_cached)?.saturating_mul(2),
        mirror,
        ..Default::default()
    };
    sqlite::Vault::open(&directory.join("vault"), Arc::clone(keyring), Arc::clone(clock), options)
        .map(Arc::new)
        .context("the vault cannot be opened")
}

/// Where the second copy lies, if there is to be one.
fn mirror_of(config: &Config) -> anyhow::Result<Option<mirror::Options>> {
    let Some(directory) = &config.mirror.directory else { return Ok(None) };
    let place = mirror::Place::of(&config.data.directory, directory, config.mirror.anew)
        .with_context(|| format!("the mirror {} cannot be begun", directory.display()))?;
    Ok(Some(mirror::Options { place, on_failure: config.mirror.on_failure }))
}
