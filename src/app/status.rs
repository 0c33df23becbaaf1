//! What an operator sees and does while the service runs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::app::App;
use crate::app::alarms::Alarm;
use crate::app::error::Error;
use crate::disk::Seen;
use crate::domain::id::{Id, SubjectId};
use crate::domain::time::Timestamp;
use crate::record::Header;
use crate::{ledger, log, vault, views};

/// The state of the whole service.
#[derive(Debug, Clone)]
pub struct Status {
    pub origin: String,
    pub region: String,
    pub started_at: Timestamp,
    pub log: log::Status,
    pub views: views::Status,
    /// How long ago the oldest record was recorded that the views lack; `None` if it cannot be read.
    pub views_lag_ms: Option<u64>,
    /// `None` while nobody can tell.
    pub disk: Option<Seen>,
    pub vault: vault::Status,
    pub ledger: ledger::Status,
    pub mirror: Option<crate::mirror::Standing>,
    pub alarms: Vec<Alarm>,
}

/// A range of an emitter's own numbers that never came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    pub emitter: Id,
    pub first: u64,
    pub last: u64,
    /// When the number behind the gap was recorded.
    pub noticed_at: Timestamp,
}

/// Records the views may lack before ingestion is slowed.
pub const LAG_LIMIT: u64 = 10_000_000;

impl App {
    pub async fn status(&self) -> Result<Status, Error> {
        let views = Arc::clone(&self.views);
        let views = tokio::task::spawn_blocking(move || views.status())
            .await
            .map_err(|died| Error::fault("status_died", died))??;
        let (log, vault) = (self.log.status(), self.vault.status().await?);
        let ledger = Arc::clone(&self.ledger);
        let ledger = tokio::task::spawn_blocking(move || ledger.status())
            .await
            .map_err(|died| Error::fault("status_died", died))?;
        let alarms = self.look_for_alarms(&log, &ledger);
        let views_lag_ms = self.lag_ms(&views).await;
        Ok(Status {
            origin: self.house.origin.clone(),
            region: self.house.region.to_string(),
            started_at: self.started_at,
            log,
            views,
            views_lag_ms,
            disk: self.reserve.seen(),
            vault,
            ledger,
            mirror: self.mirror(),
            alarms,
        })
    }

    /// How long ago the first record was recorded that the views lack.
    async fn lag_ms(&self, views: &views::Status) -> Option<u64> {
        if views.lag == 0 {
            return Some(0);
        }
        let record = self.log.get(&[views.applied]).await.ok()?.pop()?;
        let recorded_at = Header::parse(&record.header).ok()?.recorded_at;
        // The clock may have been set back since.
        Some(u64::try_from(self.clock.now().ms() - recorded_at.ms()).unwrap_or(0))
    }

    /// Makes the views anew beside those that answer; returns the position they reached. Goes on
    /// if nobody listens, until it is done or the service stops.
    pub async fn rebuild_views(
        &self,
        mut progress: impl FnMut(u64, u64) + Send + 'static,
    ) -> Result<u64, Error> {
        let (views, called_off) = (Arc::clone(&self.views), Arc::clone(&self.called_off));
        let rebuilt = tokio::task::spawn_blocking(move || {
            views.rebuild(|step| {
                progress(step.applied, step.head);
                !called_off.load(Ordering::Relaxed)
            })?;
            Ok(views.status()?.applied)
        });
        rebuilt.await.map_err(|died| Error::fault("rebuild_died", died))?
    }

    /// Numbers that emitters' counts lack, by emitter.
    pub async fn emitter_gaps(&self) -> Result<(Vec<Gap>, u64), Error> {
        let views = Arc::clone(&self.views);
        let found = tokio::task::spawn_blocking(move || {
            let applied = views.status()?.applied;
            Ok::<_, Error>((views.emitter_gaps()?, applied))
        });
        let (sequences, applied) = found.await.map_err(|died| Error::fault("gaps_died", died))??;
        let gaps = sequences.into_iter().flat_map(|(emitter, sequence)| {
            let ranges: Vec<Gap> = sequence
                .missing
                .iter()
                .map(|(first, gap)| Gap {
                    emitter: emitter.clone(),
                    first: *first,
                    last: gap.last,
                    noticed_at: gap.noticed_at,
                })
                .collect();
            ranges
        });
        Ok((gaps.collect(), applied))
    }

    /// Settles people who were made durable for an event that may never have been recorded: those
    /// whom the views know are confirmed, those an hour old whom nobody knows are destroyed. The hour
    /// decides nothing: a clock that jumps ahead makes everybody an hour old at once. What decides is
    /// the log, read while nobody is between the vault and it.
    pub async fn settle_pending(&self) -> Result<(), Error> {
        const HOUR_MS: i64 = 60 * 60 * 1000;
        let pending = self.vault.pending(self.clock.now().plus_ms(-HOUR_MS)).await?;
        if pending.is_empty() {
            return Ok(());
        }
        let (known, unknown) = self.known_to_views(pending).await?;
        let mut confirmed = known.len();
        self.vault.confirm(&known).await?;
        let mut destroyed = 0;
        if !unknown.is_empty() {
            // Whoever has just met one of them has a record on its way; all others wait a moment.
            let _nobody_records = self.recording.write().await;
            let (known, unknown) = self.known_to_views(unknown).await?;
            (confirmed, destroyed) = (confirmed + known.len(), unknown.len());
            self.vault.confirm(&known).await?;
            self.vault.destroy(&unknown).await?;
        }
        tracing::info!(confirmed, destroyed, "pending people settled");
        Ok(())
    }

    /// Those whom a record names, and those whom none does, as of the log's head.
    async fn known_to_views(
        &self,
        people: Vec<SubjectId>,
    ) -> Result<(Vec<SubjectId>, Vec<SubjectId>), Error> {
        self.views.wait_for(self.log.head(), std::time::Duration::from_secs(60)).await?;
        let views = Arc::clone(&self.views);
        tokio::task::spawn_blocking(move || {
            let mut sides = (Vec::new(), Vec::new());
            for subject in people {
                if views.subject_known(subject)? { sides.0.push(subject) } else { sides.1.push(subject) }
            }
            Ok::<_, Error>(sides)
        })
        .await
        .map_err(|died| Error::fault("settle_died", died))?
    }
}
