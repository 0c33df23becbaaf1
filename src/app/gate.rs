//! The one place at which a hold is asked for before something is destroyed: whoever records what keeps data, and
//! whoever decides that data go, exclude each other until what they record is in the log.
//!
//! Promises: whoever decides sees everything that keeps data and was recorded before. A crash loses nothing: at
//! the start everything that is in the log counts.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::app::fleet::{Held, Turn};
use crate::app::{App, Error};

/// See above.
#[derive(Debug)]
pub(crate) struct Gate {
    lock: RwLock<()>,
    /// Everything that keeps data lies below this position.
    kept: AtomicU64,
}

/// Held while what keeps data is recorded.
pub(crate) struct Keeping<'a> {
    app: &'a App,
    _shared: RwLockReadGuard<'a, ()>,
    _everywhere: Held,
}

/// Held while it is decided that data go.
pub(crate) struct Deciding<'a> {
    _alone: RwLockWriteGuard<'a, ()>,
    _everywhere: Held,
}

impl Gate {
    /// Of a log that ends at this position.
    pub(crate) fn new(head: u64) -> Gate {
        Gate { lock: RwLock::default(), kept: AtomicU64::new(head) }
    }
}

impl Drop for Keeping<'_> {
    fn drop(&mut self) {
        self.app.gate.kept.fetch_max(self.app.log.head(), Ordering::AcqRel);
    }
}

impl App {
    pub(crate) async fn keep(&self) -> Result<Keeping<'_>, Error> {
        let _shared = self.gate.lock.read().await;
        let _everywhere = self.fleet.share(Turn::Keep).await?;
        Ok(Keeping { app: self, _shared, _everywhere })
    }

    /// Until the guard goes nobody records what keeps data, and the views know of all that was.
    pub(crate) async fn decide(&self) -> Result<Deciding<'_>, Error> {
        let _alone = self.gate.lock.write().await;
        let _everywhere = self.fleet.exclude(Turn::Keep).await?;
        // What other nodes have recorded lies somewhere below what the log has now.
        let kept = match self.fleet.is_alone() {
            true => self.gate.kept.load(Ordering::Acquire),
            false => self.log.latest().await?,
        };
        self.views.wait_for(kept, super::sweep::PATIENCE).await?;
        Ok(Deciding { _alone, _everywhere })
    }
}
