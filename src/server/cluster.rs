//! What several nodes stand on: headers in KurrentDB, vault and sidecars in PostgreSQL, and there also the locks by
//! which they take turns and the fence that keeps two of them from signing different trees.
//!
//! The data directory of such a node holds what it can fetch or make again: its copy of the log (`numbered/`), its
//! views, the hashes of its tree; and the work files of erasures that it has begun.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use async_trait::async_trait;

use crate::app::Error;
use crate::app::backup::{Part, Stores};
use crate::app::fleet::{Fleet, Held, Turn};
use crate::backup::Inspect;
use crate::clock::Clock;
use crate::config::{Cluster, Config};
use crate::domain::id::Digest;
use crate::domain::time::Timestamp;
use crate::jobs::Leader;
use crate::ledger::tlog::Checkpoint;
use crate::ledger::{self, Fence, RootAt};
use crate::log::kurrent::Kurrent;
use crate::postgres;
use crate::postgres::fence;
use crate::postgres::lock::{self, Locks, Name};
use crate::vault::keyring::Keyring;
use crate::vault::postgres as people;

use super::ground::{Ground, Keeper};
use super::shared::Shared;

/// What was sent so long ago is numbered, or never will be.
const ORPHANED_MS: i64 = 60 * 60 * 1_000;

/// Opens what the configuration names. Blocks.
pub fn open(
    config: &Config,
    cluster: &Cluster,
    keyring: &Arc<Keyring>,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Ground> {
    tokio::runtime::Handle::current().block_on(open_all(config, cluster, keyring, clock))
}

async fn open_all(
    config: &Config,
    cluster: &Cluster,
    keyring: &Arc<Keyring>,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Ground> {
    // A keyring that was just made has none; afterwards keys are added by hand, on all nodes.
    if keyring.all(crate::vault::keyring::Class::Index).is_empty() {
        keyring.ensure_index_epoch(clock.now())?;
    }
    let Shared { database, log } = Shared::open(config, cluster, Arc::clone(clock)).await?;
    let options = people::Options {
        // An entry per identifier, holder and association of a person.
        cache_entries: usize::try_from(config.limits.people_cached)?.saturating_mul(2),
    };
    let vault = people::Vault::open(Arc::clone(&database), Arc::clone(keyring), Arc::clone(clock), options);
    let vault = Arc::new(vault.await.context("the vault in PostgreSQL")?);
    let locks = Locks::new(Arc::clone(&database));
    let together = Arc::new(Together { leader: locks.leader(Name("leader")), locks });
    let node = config.server.listen.to_string();
    let fence = fence::Fence::open(database, node).await.context("the fence in PostgreSQL")?;
    Ok(Ground {
        backup: Arc::new(NoFiles { data: config.data.directory.clone() }),
        mirror: None,
        fleet: Arc::clone(&together) as Arc<dyn Fleet>,
        fence: Some(Arc::new(Fenced(fence))),
        leader: together,
        owns_keyring: false,
        keeper: Arc::new(Keeps { log: Arc::clone(&log), swept: AtomicU64::new(0) }),
        log,
        vault,
    })
}

/// The nodes of the cluster, by locks in the database that all of them have.
struct Together {
    locks: Locks,
    leader: lock::Leader,
}

fn name(turn: Turn) -> Name {
    match turn {
        Turn::Keep => Name("keep"),
        Turn::Register => Name("register"),
    }
}

fn unavailable(error: postgres::Error) -> Error {
    Error::Unavailable {
        reason: "cluster_unavailable",
        what: "the nodes of the cluster cannot take turns now",
        retry_after_ms: 1_000,
        source: Some(Arc::new(error)),
    }
}

#[async_trait]
impl Fleet for Together {
    async fn share(&self, turn: Turn) -> Result<Held, Error> {
        Ok(Box::new(Kept(self.locks.share(name(turn)).await.map_err(unavailable)?)))
    }

    async fn exclude(&self, turn: Turn) -> Result<Held, Error> {
        Ok(Box::new(Kept(self.locks.exclusive(name(turn)).await.map_err(unavailable)?)))
    }

    fn leads(&self) -> bool {
        self.leader.leads()
    }

    fn is_alone(&self) -> bool {
        false
    }
}

/// A guard, held and never looked at.
struct Kept(#[allow(dead_code, reason = "its end is what counts")] lock::Guard);

#[async_trait]
impl Leader for Together {
    async fn leads(&self) -> bool {
        self.leader.leads()
    }
}

/// The fence, as the ledger asks it.
#[derive(Debug)]
struct Fenced(fence::Fence);

#[async_trait]
impl Fence for Fenced {
    async fn pass(&self, checkpoint: &Checkpoint, at: &RootAt<'_>) -> Result<(), ledger::Error> {
        let root = Digest(checkpoint.root);
        let own = |size| std::future::ready(at(size).ok().map(Digest));
        let passed = self.0.fence(&checkpoint.origin, checkpoint.size, &root, own).await;
        passed.map_err(|refused| ledger::Error::Fenced(refused.to_string()))
    }
}

/// What only a cluster's node has to keep tidy.
struct Keeps {
    log: Arc<Kurrent>,
    /// Sidecars up to this number have been looked at.
    swept: AtomicU64,
}

#[async_trait]
impl Keeper for Keeps {
    async fn tidy(&self, now: Timestamp) -> anyhow::Result<()> {
        let before = now.plus_ms(-ORPHANED_MS);
        loop {
            let after = self.swept.load(Ordering::Relaxed);
            let (removed, next) = self.log.sweep_orphans(before, after).await?;
            if removed > 0 {
                tracing::info!(removed, "sidecars that no record has were removed");
            }
            let Some(next) = next else { return Ok(()) };
            self.swept.store(next, Ordering::Relaxed);
        }
    }

    fn close(&self) -> anyhow::Result<()> {
        self.log.close().context("the local copy of the log could not be closed")
    }
}

/// A cluster has no files of its own that a backup could hold.
struct NoFiles {
    data: PathBuf,
}

fn not_here() -> Error {
    let why = "the log and the vault of a cluster are backed up with KurrentDB's and PostgreSQL's own means: see \
               deploy/README.md";
    Error::Precondition { reason: "backup_refused", why: why.to_owned() }
}

#[async_trait]
impl Stores for NoFiles {
    fn data(&self) -> &Path {
        &self.data
    }

    fn log_parts(&self, _: u64) -> Result<Vec<Part>, Error> {
        Err(not_here())
    }

    fn small_files(&self, _: u64) -> Result<Vec<String>, Error> {
        Err(not_here())
    }

    fn vault_bytes(&self) -> u64 {
        0
    }

    async fn snapshot_vault(&self) -> Result<(PathBuf, Vec<u32>), Error> {
        Err(not_here())
    }

    fn forget_snapshot(&self) -> Result<(), Error> {
        Ok(())
    }

    fn inspector(&self) -> Box<dyn Inspect> {
        Box::new(super::stores::Frames::default())
    }
}
