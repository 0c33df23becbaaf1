//! Tombs of people whom this data directory knows still: it, or a part of it, was put back from an older
//! copy. They are erased again, and nobody is told anything about them meanwhile.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::app::App;
use crate::app::erase::PATIENCE;
use crate::app::error::Error;
use crate::app::own::event_id;
use crate::domain::erasure::Left;
use crate::domain::event::catalogue::{IdentityErased, IdentityErasureAccepted};
use crate::domain::event::{Body, IdentityErasureCause, IdentityErasureScope};
use crate::domain::id::Digest;
use crate::views;

impl App {
    /// Destroys again the keys that an older vault brought back, and takes from the views whoever was
    /// erased after an older log ends. To be called before anything is served.
    pub async fn bury_the_erased(&self) -> Result<(), Error> {
        let tombs = self.on_erasures(|erasures| erasures.tombs.all()).await?;
        let buried = self.vault.bury(&tombs).await?;
        if buried > 0 {
            tracing::warn!(people = buried, "people of an older vault had been erased since: they are again");
        }
        // Views that are being built for the first time were told the tombs before they began.
        if tombs.is_empty() || self.views.stale().is_some() {
            return Ok(());
        }
        self.views.wait_for(self.log.head(), PATIENCE).await?;
        let unknown = self.views.unknown(&tombs)?;
        if !unknown.is_empty() {
            tracing::warn!(
                people = unknown.len(),
                "the log knows nothing of some tombs: the views are made anew"
            );
            self.in_views(move |views| views.rebuild_without(&unknown, |_| true)).await?;
            self.remove_exports().await?;
        }
        Ok(())
    }

    /// Removes from an older log what it holds of people whose tombs lie in the outside copy, and records
    /// that they are erased. Does nothing while the log takes nothing, or the views are not up to date.
    pub(super) async fn lay_to_rest(&self) -> Result<(), Error> {
        if self.erasures.at_rest.load(Ordering::SeqCst)
            || self.views.stale().is_some()
            || self.may_grow().is_err()
        {
            return Ok(());
        }
        self.views.wait_for(self.log.head(), PATIENCE).await?;
        let tombs = self.on_erasures(|erasures| erasures.tombs.all()).await?;
        let risen = self.views.not_accepted(&tombs)?;
        if !risen.is_empty() {
            let wanted: HashMap<Digest, Left> = risen.iter().copied().collect();
            let pieces = self.in_views(move |views| views.pieces_of_tombs(&wanted, |_| true)).await?;
            self.log.purge(&pieces).await?;
            self.remove_exports().await?;
            for (tomb, left) in &risen {
                self.record_again(*tomb, *left).await?;
            }
            tracing::warn!(
                people = risen.len(),
                pieces = pieces.len(),
                "people erased again in an older log"
            );
        }
        self.erasures.at_rest.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// About nobody: the keys that could make a tag are gone.
    async fn record_again(&self, tomb: Digest, left: Left) -> Result<(), Error> {
        let now = self.clock.now();
        let scope = match left {
            Left::Nothing => IdentityErasureScope::IdentityAndEvidence,
            Left::Evidence { .. } => IdentityErasureScope::Identity,
        };
        let accepted = IdentityErasureAccepted {
            tomb: Some(tomb),
            cause: Some(IdentityErasureCause::Operator),
            scope: Some(scope),
            case_id: None,
        };
        let accepted = Body::IdentityErasureAccepted(Box::new(accepted));
        self.record_own_about(event_id(now)?, accepted, None).await?;
        let erased = IdentityErased {
            tomb: Some(tomb),
            scope: Some(scope),
            shredded_at: Some(now),
            purged_at: Some(self.clock.now()),
            beyond_backups_at: self.erasures.beyond_backups(now),
            ..Default::default()
        };
        self.record_own_about(event_id(now)?, Body::IdentityErased(Box::new(erased)), None).await?;
        Ok(())
    }

    async fn in_views<T: Send + 'static>(
        &self,
        act: impl FnOnce(&views::Views) -> Result<T, views::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let views = Arc::clone(&self.views);
        let done = tokio::task::spawn_blocking(move || act(&views)).await;
        Ok(done.map_err(|died| Error::fault("views_died", died))??)
    }
}
