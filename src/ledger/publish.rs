//! Signing the tree's head. What is signed is durable in both books before anybody gets it.

use std::sync::Arc;
use std::time::Duration;

use super::tlog::proof::edge_at;
use super::tlog::{Checkpoint, SignedCheckpoint};
use super::{Error, Ledger};

/// How long a publication waits for the tree to hold what is recorded.
const PATIENCE: Duration = Duration::from_secs(30);

impl Ledger {
    /// Publishes a checkpoint over everything that is in the log now; the newest one again if it has
    /// not grown. Asking witnesses is another step, so that a slow one delays no signature.
    pub async fn publish(self: &Arc<Self>) -> Result<Arc<SignedCheckpoint>, Error> {
        let published = self.publish_alone().await;
        if let Err(why) = &published {
            tracing::warn!(error = %why, "no checkpoint was published");
        }
        // That the log diverged has an alarm of its own.
        let failing = published.as_ref().err().filter(|why| !matches!(why, Error::Diverged(_)));
        let failing = failing.map(ToString::to_string);
        self.change_standing(|standing| standing.failing = failing);
        published
    }

    async fn publish_alone(self: &Arc<Self>) -> Result<Arc<SignedCheckpoint>, Error> {
        let _alone = self.publishing.lock().await;
        if let Some(why) = self.diverged() {
            return Err(Error::Diverged(why));
        }
        let caught_up = tokio::time::timeout(PATIENCE, self.wait_for(self.log.head())).await;
        caught_up.unwrap_or_else(|_| Err(Error::Behind { size: self.size() }))?;
        let ledger = Arc::clone(self);
        let signed = tokio::task::spawn_blocking(move || ledger.sign()).await;
        signed.unwrap_or_else(|died| Err(Error::Stopped(died.to_string())))
    }

    fn sign(&self) -> Result<Arc<SignedCheckpoint>, Error> {
        let point = self.point().clone();
        let origin = point.origins.last().ok_or(Error::NotFound)?.origin.clone();
        let (size, root) = (point.edge.size(), point.edge.root());
        if let Some(latest) = self.latest().filter(|latest| latest.checkpoint.origin == origin) {
            let before = &latest.checkpoint;
            if before.size == size && before.root == root {
                return Ok(latest);
            }
            // The last line of defence: never a signature that contradicts the last one.
            if before.size >= size || edge_at(before.size, &self.hashes)?.root() != before.root {
                return Err(Error::Damaged("they do not lead to the last checkpoint"));
            }
        }
        let signers = self.keys.signers(&origin)?;
        let checkpoint = Checkpoint { origin, size, root };
        if let Some(fence) = &self.options.fence {
            let at = |size: u64| Ok(edge_at(size, &self.hashes)?.root());
            tokio::runtime::Handle::current().block_on(fence.pass(&checkpoint, &at))?;
        }
        let signed = Arc::new(checkpoint.signed(&signers)?);
        self.keep_point(&point)?;
        self.keep(&signed)?;
        tracing::debug!(size, "checkpoint published");
        Ok(signed)
    }

    /// Durable in both books, then visible.
    pub(super) fn keep(&self, signed: &Arc<SignedCheckpoint>) -> Result<(), Error> {
        self.keep_owed()?;
        self.outside.keep(signed)?;
        if let Err(why) = self.inside.keep(signed) {
            self.change_standing(|standing| standing.owed = Some(Arc::clone(signed)));
            return Err(why);
        }
        self.change_standing(|standing| {
            let newer = |latest: &Arc<SignedCheckpoint>| latest.checkpoint.size > signed.checkpoint.size;
            let other = |latest: &Arc<SignedCheckpoint>| latest.checkpoint.origin != signed.checkpoint.origin;
            if standing.latest.as_ref().is_none_or(|latest| other(latest) || !newer(latest)) {
                standing.latest = Some(Arc::clone(signed));
            }
        });
        Ok(())
    }

    /// What only the outside copy took, because the data directory's disk was full or failed: it is kept
    /// here too before anything else is signed. A start sees to what a crash left.
    fn keep_owed(&self) -> Result<(), Error> {
        let Some(owed) = self.standing().owed.clone() else { return Ok(()) };
        self.inside.keep(&owed)?;
        self.change_standing(|standing| standing.owed = None);
        Ok(())
    }
}
