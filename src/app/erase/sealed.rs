//! What is sealed with a person's data, such as where they lie, goes when the data are gone (`domain.md` 2.3): the
//! pieces are purged, in every copy that the log has; index blocks, headers and evidence stay.
//!
//! Promises: nothing goes that lies with data still held, and nothing of anybody under a hold. A crash loses a step,
//! which the next run does again: what is purged twice is purged.

use std::sync::Arc;

use crate::app::{App, Error};
use crate::domain::id::SubjectId;
use crate::domain::time::Timestamp;
use crate::views::retention::due::Deciding;
use crate::views::sealed::Sealed;

/// People looked at in one step.
const LOOKED_AT: usize = 500;

impl App {
    /// One step towards an index of what lies sealed that knows everything applied so far; answers how far it is.
    pub async fn refresh_sealed(&self) -> Result<u64, Error> {
        // Whoever is erased meanwhile could get a row again.
        let _nobody_is_erased = self.erasures.pause().await;
        let views = Arc::clone(&self.views);
        let known = tokio::task::spawn_blocking(move || views.refresh_sealed()).await;
        Ok(known.map_err(|died| Error::fault("refresh_died", died))??)
    }

    /// What may be purged of the next people, and where the next of them stand.
    pub async fn sealed_of_gone(
        &self,
        behind: Option<SubjectId>,
        now: Timestamp,
    ) -> Result<(Vec<Sealed>, Option<SubjectId>), Error> {
        self.ask(move |ask| {
            let people = ask.touched_people(behind, LOOKED_AT)?;
            let next = people.last().copied().filter(|_| people.len() == LOOKED_AT);
            let mut found = Vec::with_capacity(people.len());
            if !people.is_empty() {
                let deciding = Deciding::new(ask, now)?;
                for subject in people {
                    found.extend(ask.sealed_of_gone(subject, now, &deciding)?);
                }
            }
            Ok((found, next))
        })
        .await
    }

    /// Purges what the next people have of it; how much, and where the next of them stand.
    pub async fn purge_sealed(
        &self,
        behind: Option<SubjectId>,
        now: Timestamp,
    ) -> Result<(u64, Option<SubjectId>), Error> {
        let _nobody_is_erased = self.erasures.pause().await;
        let _nothing_is_held = self.decide().await?;
        let (mut found, next) = self.sealed_of_gone(behind, now).await?;
        found.retain(|sealed| !sealed.is_held);
        let pieces: Vec<_> = found.iter().flat_map(|sealed| sealed.pieces.iter().copied()).collect();
        self.log.purge(&pieces).await?;
        let views = Arc::clone(&self.views);
        let forgotten = move || found.iter().try_for_each(|sealed| views.forget_sealed(sealed));
        tokio::task::spawn_blocking(forgotten).await.map_err(|died| Error::fault("forget_died", died))??;
        Ok((pieces.len() as u64, next))
    }
}
