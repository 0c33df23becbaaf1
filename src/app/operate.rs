//! What operators ask for, and the upkeep that the clock asks for.

use std::sync::Arc;

use crate::app::App;
use crate::app::error::Error;
use crate::domain::id::Id;
use crate::domain::time::MS_PER_HOUR;
use crate::views::rebuild;
use crate::{log, vault, views};

/// How the service is doing.
#[derive(Debug)]
pub struct Health {
    pub log: log::Status,
    pub views: views::Status,
    pub vault: vault::Status,
    pub alarms: Vec<Alarm>,
}

/// Something an operator has to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// Stable.
    pub code: &'static str,
    pub message: String,
    pub way_out: &'static str,
}

/// Numbers that one emitter left out, both ends included.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gap {
    pub emitter: Id,
    pub first: u64,
    pub last: u64,
}

/// Views that are further behind than this are worth an alarm, in records.
const FAR_BEHIND: u64 = 1_000_000;

impl App {
    pub async fn health(&self) -> Result<Health, Error> {
        let log = self.log.status();
        let shared = Arc::clone(&self.views);
        let views = blocking(move || Ok(shared.status()?)).await?;
        let vault = self.vault.status().await?;
        let alarms = alarms(&log, &views);
        Ok(Health { log, views, vault, alarms })
    }

    /// Whether events can be recorded and asked about now; if not, why.
    pub fn ready(&self) -> Result<(), String> {
        match self.log.status().read_only {
            Some(why) => Err(format!("the log is read-only: {why}")),
            None => self.views.stale().map_or(Ok(()), |why| Err(format!("the views are stale: {why}"))),
        }
    }

    /// How many records the views have still to apply.
    pub fn views_lag(&self) -> u64 {
        self.views.lag()
    }

    pub fn log_status(&self) -> log::Status {
        self.log.status()
    }

    /// Gaps after `after`, in order, at most `limit`, of one emitter or all; and up to which
    /// position the views had read.
    pub async fn gaps(
        &self,
        emitter: Option<Id>,
        after: Option<Gap>,
        limit: usize,
    ) -> Result<(Vec<Gap>, u64), Error> {
        let views = Arc::clone(&self.views);
        blocking(move || {
            let applied = views.ask()?.applied;
            let sequences = views.emitter_gaps()?.into_iter();
            let wanted = sequences.filter(|(name, _)| emitter.as_ref().is_none_or(|emitter| emitter == name));
            let mut gaps: Vec<Gap> = wanted
                .flat_map(|(emitter, sequence)| {
                    let gap = move |(first, last)| Gap { emitter: emitter.clone(), first, last };
                    sequence.missing.into_iter().map(gap).collect::<Vec<_>>()
                })
                .filter(|gap| after.as_ref().is_none_or(|after| gap > after))
                .collect();
            gaps.sort();
            gaps.truncate(limit);
            Ok((gaps, applied))
        })
        .await
    }

    /// Builds the views again beside the old ones and swaps; goes on whoever listens.
    pub async fn rebuild_views(
        &self,
        mut progress: impl FnMut(rebuild::Progress) + Send + 'static,
    ) -> Result<u64, Error> {
        let views = Arc::clone(&self.views);
        blocking(move || {
            Ok(views.rebuild(|at| {
                progress(at);
                true
            })?)
        })
        .await
    }

    /// What a minute brings: the index key of a new quarter, and people who were made for events
    /// that never reached the log.
    pub async fn tend(&self) -> Result<(), Error> {
        let now = self.clock.now();
        if self.keyring.ensure_index_epoch(now).map_err(|e| Error::fault("keyring", e))? {
            tracing::info!("a new quarter has its index key; copy the keyring to where copies are kept");
        }
        // Whom the log holds is known only when the views have seen all of it.
        if self.views.lag() > 0 || self.views.stale().is_some() {
            return Ok(());
        }
        let pending = self.vault.pending(now.plus_ms(-MS_PER_HOUR)).await?;
        let views = Arc::clone(&self.views);
        let (recorded, forgotten) = blocking(move || {
            let (mut recorded, mut forgotten) = (Vec::new(), Vec::new());
            for subject in pending {
                if views.subject_known(subject)? { recorded.push(subject) } else { forgotten.push(subject) }
            }
            Ok((recorded, forgotten))
        })
        .await?;
        if !recorded.is_empty() {
            self.vault.confirm(&recorded).await?;
        }
        if !forgotten.is_empty() {
            tracing::info!(people = forgotten.len(), "people without any event are destroyed");
            self.vault.destroy(&forgotten).await?;
        }
        Ok(())
    }
}

/// Runs what blocks where blocking is allowed.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|died| Err(Error::fault("work_died", died)))
}

fn alarms(log: &log::Status, views: &views::Status) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    if let Some(why) = &log.read_only {
        alarms.push(Alarm {
            code: "LOG_READ_ONLY",
            message: format!("nothing is recorded: {why}"),
            way_out: "run `custody fsck`; free the disk or restore the damaged segment from a backup, then restart",
        });
    }
    if let Some(why) = &views.stale {
        alarms.push(Alarm {
            code: "VIEWS_STALE",
            message: format!("answers lack newer events: {why}"),
            way_out: "if it does not pass by itself, run `custody views rebuild`",
        });
    }
    if views.lag > FAR_BEHIND {
        alarms.push(Alarm {
            code: "VIEWS_BEHIND",
            message: format!("the views are {} records behind", views.lag),
            way_out: "wait; if the number grows, record more slowly or give limits.views_memory_bytes more",
        });
    }
    alarms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alarm_names_its_way_out() {
        let log = log::Status { head: 9, bytes_on_disk: 0, bytes_waiting: 0, read_only: Some("flip".to_owned()) };
        let views = views::Status {
            generation: 1,
            applied: 0,
            head: 9_000_000,
            lag: 9_000_000,
            stale: Some("stopped".to_owned()),
            bytes_on_disk: 0,
        };
        let found = alarms(&log, &views);
        assert_eq!(found.iter().map(|a| a.code).collect::<Vec<_>>(), ["LOG_READ_ONLY", "VIEWS_STALE", "VIEWS_BEHIND"]);
        assert!(found.iter().all(|alarm| !alarm.way_out.is_empty()));
        let well = log::Status { read_only: None, ..log };
        assert_eq!(alarms(&well, &views::Status { stale: None, lag: 3, ..views }), []);
    }
}
