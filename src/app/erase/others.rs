//! People whom another node of the cluster has erased.
//!
//! Their keys are gone for all, and the log says so; what this node has of its own follows here: its outside copy
//! gets the tombs, its views' files are written anew without their rows, kept exports go. Should the other node
//! have died half-way, their keys are destroyed from here.

use std::collections::HashMap;

use crate::app::App;
use crate::app::error::Error;
use crate::domain::erasure::Left;
use crate::domain::id::Digest;

impl App {
    /// To be called every minute; does nothing where there are no other nodes.
    pub async fn follow_erasures(&self) -> Result<(), Error> {
        let Some(_one) = self.erasures.try_pause() else { return Ok(()) };
        if self.fleet.is_alone() || self.views.stale().is_some() {
            return Ok(());
        }
        let own: HashMap<Digest, Left> =
            self.on_erasures(|erasures| erasures.tombs.all()).await?.into_iter().collect();
        let until = self.evidence_until();
        let left = |kept| if kept { Left::Evidence { until } } else { Left::Nothing };
        let is_new = |tomb: &Digest, kept: bool| match own.get(tomb) {
            None => true,
            Some(Left::Nothing) => false,
            Some(Left::Evidence { .. }) => !kept,
        };
        let erased = self.ask(|ask| Ok(ask.all_erased()?)).await?;
        let new: Vec<(Digest, Left)> = erased
            .into_iter()
            .filter(|(tomb, kept)| is_new(tomb, *kept))
            .map(|(tomb, kept)| (tomb, left(kept)))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let tombs = new.clone();
        self.on_erasures(move |erasures| {
            tombs.iter().try_for_each(|(tomb, left)| erasures.tombs.keep(tomb, *left))
        })
        .await?;
        let buried = self.vault.bury(&new).await?;
        self.renew_views(&[]).await?;
        self.remove_exports().await?;
        tracing::info!(people = new.len(), buried, "people whom another node has erased are gone here too");
        Ok(())
    }
}
