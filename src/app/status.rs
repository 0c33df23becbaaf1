//! What an operator sees and does while the service runs.

use std::sync::Arc;

use crate::app::App;
use crate::app::error::Error;
use crate::domain::id::Id;
use crate::domain::time::Timestamp;
use crate::{ledger, log, vault, views};

/// Something that needs a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// Stable; `deploy/README.md` has a row for each.
    pub code: &'static str,
    pub message: String,
    pub way_out: &'static str,
}

/// The state of the whole service.
#[derive(Debug, Clone)]
pub struct Status {
    pub origin: String,
    pub region: String,
    pub started_at: Timestamp,
    pub log: log::Status,
    pub views: views::Status,
    pub vault: vault::Status,
    pub ledger: ledger::Status,
    pub alarms: Vec<Alarm>,
}

/// A range of an emitter's own numbers that never came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    pub emitter: Id,
    pub first: u64,
    pub last: u64,
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
        let mut alarms = alarms(&log, &views);
        alarms.extend(ledger_alarms(&ledger));
        Ok(Status {
            origin: self.house.origin.clone(),
            region: self.house.region.to_string(),
            started_at: self.started_at,
            log,
            views,
            vault,
            ledger,
            alarms,
        })
    }

    /// Makes the views anew beside those that answer; returns the position they reached.
    pub async fn rebuild_views(
        &self,
        mut progress: impl FnMut(u64, u64) -> bool + Send + 'static,
    ) -> Result<u64, Error> {
        let views = Arc::clone(&self.views);
        let rebuilt = tokio::task::spawn_blocking(move || {
            views.rebuild(|step| progress(step.applied, step.head))?;
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
                .map(|(first, last)| Gap { emitter: emitter.clone(), first: *first, last: *last })
                .collect();
            ranges
        });
        Ok((gaps.collect(), applied))
    }

    /// Settles people who were made durable for an event that may never have been recorded: those
    /// whom the views know are confirmed, those an hour old whom nobody knows are destroyed.
    pub async fn settle_pending(&self) -> Result<(), Error> {
        const HOUR_MS: i64 = 60 * 60 * 1000;
        let pending = self.vault.pending(self.clock.now().plus_ms(-HOUR_MS)).await?;
        if pending.is_empty() {
            return Ok(());
        }
        self.views.wait_for(self.log.head(), std::time::Duration::from_secs(60)).await?;
        let views = Arc::clone(&self.views);
        let (known, unknown) = tokio::task::spawn_blocking(move || {
            let mut sides = (Vec::new(), Vec::new());
            for subject in pending {
                if views.subject_known(subject)? { sides.0.push(subject) } else { sides.1.push(subject) }
            }
            Ok::<_, Error>(sides)
        })
        .await
        .map_err(|died| Error::fault("settle_died", died))??;
        self.vault.confirm(&known).await?;
        self.vault.destroy(&unknown).await?;
        tracing::info!(confirmed = known.len(), destroyed = unknown.len(), "pending people settled");
        Ok(())
    }
}

fn alarms(log: &log::Status, views: &views::Status) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    if let Some(why) = &log.read_only {
        alarms.push(Alarm {
            code: "log_read_only",
            message: why.clone(),
            way_out: "keep the directory as it is, run `custody fsck --offline`, restore from the copy it names",
        });
    }
    if let Some(why) = &views.stale {
        alarms.push(Alarm {
            code: "views_stale",
            message: why.clone(),
            way_out: "wait until they have caught up; if they have stopped, `custody views rebuild`",
        });
    }
    if views.lag > LAG_LIMIT {
        alarms.push(Alarm {
            code: "views_lag",
            message: format!("the views lack {} records", views.lag),
            way_out: "ingestion is slowed until they have caught up; give the machine more processor",
        });
    }
    alarms
}

fn ledger_alarms(ledger: &ledger::Status) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    let mut raise = |code, message, way_out| alarms.push(Alarm { code, message, way_out });
    if let Some(why) = &ledger.diverged {
        raise(
            "ledger_diverged",
            format!("the log is not the one that was published, and takes nothing more: {why}"),
            "restore the newest copy of the data directory; if the records are lost for good, stop and run `custody recover`",
        );
    }
    if let Some(why) = &ledger.stopped {
        raise(
            "ledger_stopped",
            format!("nothing is signed, because the log is followed no more: {why}"),
            "run `custody fsck`; when the log checks, restart",
        );
    }
    if let Some(why) = &ledger.failing {
        raise(
            "checkpoint_failing",
            format!("no checkpoint can be published: {why}"),
            "make room and see that the outside copy is mounted and writable; it is tried again by itself",
        );
    }
    for (witness, why) in &ledger.refusals {
        raise(
            "witness_refuses",
            format!("{witness} has not cosigned: {why}"),
            "if it is down, wait; 409 or 422 mean that it has seen another history: look at the outside copy's evidence/",
        );
    }
    alarms
}
