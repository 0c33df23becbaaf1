//! Runs of the clock's jobs in the log: recorded once for each slot, listed, and an alarm where the last one of a
//! job failed. What is due when is not decided here (`jobs`).
//!
//! A run is recorded when it has ended, under an id that follows from job and slot. A crash before that loses the
//! fact that it was begun, and the slot is run again; nobody can record the same slot for a second time.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

use crate::app::App;
use crate::app::error::Error;
use crate::app::own::event_id;
use crate::domain::event::catalogue::JobRan;
use crate::domain::event::{Body, JobOutcome, List, Tally};
use crate::domain::id::{EventId, Id};
use crate::domain::time::Timestamp;
use crate::record::Header;
use crate::views::findings::DETECTOR;

/// Runs that one page of the history looks at, and of which the last one of each job is looked for.
const LOOKED_AT: usize = 8_192;
const SEARCHED: usize = 262_144;

/// How many of what, by name.
pub type Counts = BTreeMap<&'static str, u64>;

/// A run that was recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// `None` of a dry run, which is not recorded.
    pub position: Option<u64>,
    pub ran: JobRan,
}

/// A run that has ended.
#[derive(Debug, Clone)]
pub struct Ended {
    pub job: &'static str,
    pub scheduled_for: Timestamp,
    pub started_at: Timestamp,
    pub outcome: JobOutcome,
    pub counts: Counts,
    /// The log's head when it began.
    pub computed_at: u64,
    /// Somebody asked for it: it is nobody's slot.
    pub by_hand: bool,
}

/// Jobs whose last run failed, each with why.
#[derive(Debug, Default)]
pub struct Failing(Mutex<BTreeMap<String, String>>);

impl Failing {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them in one text, if there are any.
    pub fn told(&self) -> Option<String> {
        let all: Vec<String> = self.lock().iter().map(|(job, why)| format!("{job}: {why}")).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    pub fn count(&self) -> usize {
        self.lock().len()
    }
}

impl App {
    /// Notes how a job's last run ended.
    pub fn note_job(&self, job: &str, failed: Option<String>) {
        let mut failing = self.failing_jobs.lock();
        match failed {
            Some(why) => failing.insert(job.to_owned(), why),
            None => failing.remove(job),
        };
    }

    /// Whether a job's run for a slot is in the log, whatever the clock says.
    pub async fn job_recorded(&self, job: &str, slot: Timestamp) -> Result<bool, Error> {
        Ok(self.recorded(self.slot_id(job, slot)).await?.is_some())
    }

    /// Records a run. Of a slot that somebody else has recorded meanwhile nothing is recorded, and `None` is told.
    pub async fn record_job(&self, ended: Ended) -> Result<Option<Run>, Error> {
        let now = self.clock.now();
        let id = if ended.by_hand { event_id(now)? } else { self.slot_id(ended.job, ended.scheduled_for) };
        let counts = ended.counts.iter().filter_map(|(name, count)| {
            Some(Tally { name: name.parse().ok()?, count: (*count).min(crate::limits::NUMBER) })
        });
        let ran = JobRan {
            job: ended.job.parse().ok(),
            scheduled_for: Some(ended.scheduled_for),
            started_at: Some(ended.started_at),
            // The clock may have been set back meanwhile.
            ended_at: Some(now.max(ended.started_at)),
            outcome: Some(ended.outcome),
            counts: List::new(counts.collect()).unwrap_or_default(),
            computed_at: Some(ended.computed_at),
        };
        let receipt = match self.record_own_about(id, Body::JobRan(Box::new(ran.clone())), None).await {
            Ok(receipt) if !receipt.duplicate => receipt,
            Ok(_) | Err(Error::Conflict { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if ended.job == DETECTOR {
            self.detecting.ticked(now, ended.computed_at, receipt.position);
        } else {
            self.detecting.passes(receipt.position);
        }
        Ok(Some(Run { position: Some(receipt.position), ran }))
    }

    /// A tick of the detectors, at once: what rests on absence is judged as of now.
    pub async fn tick_detectors(&self) -> Result<(), Error> {
        let now = self.clock.now();
        let tick = Ended {
            job: DETECTOR,
            scheduled_for: now,
            started_at: now,
            outcome: JobOutcome::Ok,
            counts: Counts::new(),
            computed_at: self.log.head(),
            by_hand: true,
        };
        self.record_job(tick).await.map(|_| ())
    }

    /// The newest run of each job, of the runs that are not too long ago. The views are waited for.
    pub async fn last_job_runs(&self, jobs: Vec<Id>) -> Result<BTreeMap<Id, Run>, Error> {
        self.at_least(self.log.head().checked_sub(1)).await?;
        self.ask(move |ask| {
            let mut found = BTreeMap::new();
            ask.job_runs(u64::MAX, SEARCHED, |position, ran| {
                if let Some(job) = ran.job.clone().filter(|job| jobs.contains(job)) {
                    found.entry(job).or_insert(Run { position: Some(position), ran });
                }
                if found.len() == jobs.len() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            Ok(found)
        })
        .await
    }

    /// A page of runs, the newest first; where the next page begins, and what was taken into account. A page may be
    /// short and not be the last.
    pub async fn job_runs(
        &self,
        job: Option<Id>,
        before: Option<u64>,
        limit: usize,
        at_least: Option<u64>,
    ) -> Result<(Vec<Run>, Option<u64>, u64), Error> {
        self.at_least(at_least).await?;
        self.ask(move |ask| {
            let mut runs = Vec::new();
            let next = ask.job_runs(before.unwrap_or(u64::MAX), LOOKED_AT, |position, ran| {
                if job.is_none() || ran.job == job {
                    runs.push(Run { position: Some(position), ran });
                }
                if runs.len() == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            Ok((runs, next, ask.applied))
        })
        .await
    }

    /// Since when jobs have slots that may have been missed.
    pub async fn log_began(&self) -> Result<Timestamp, Error> {
        match self.log.get(&[0]).await?.pop() {
            Some(first) => Ok(Header::parse(&first.header)?.recorded_at),
            None => Ok(self.started_at),
        }
    }

    /// Whether a job's outcome can be recorded now.
    pub fn may_run_jobs(&self) -> bool {
        self.log.status().read_only.is_none() && self.ledger.diverged().is_none()
    }

    /// Whether the disk has reached its reserve.
    pub fn is_at_reserve(&self) -> bool {
        self.reserve.is_reached()
    }

    /// The log's head.
    pub fn head(&self) -> u64 {
        self.log.head()
    }

    fn slot_id(&self, job: &str, slot: Timestamp) -> EventId {
        let mut hash = Sha256::new();
        hash.update(b"custody/v1/job-slot/");
        hash.update(self.keyring.vault_id());
        hash.update(job);
        hash.update(b"/");
        hash.update(slot.ms().to_le_bytes());
        let whole: [u8; 32] = hash.finalize().into();
        EventId(uuid::Builder::from_custom_bytes(whole.as_chunks::<16>().0[0]).into_uuid())
    }
}
