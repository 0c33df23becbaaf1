//! Runs what is due, one job after another, and knows from the log what was run.
//!
//! For each job it keeps one instant: slots up to it are over. At the start that is the slot of the job's last
//! recorded run, or the log's beginning, so slots that were missed while nobody ran are due at once; only the newest
//! of them is run. A clock that was set back makes that instant lie ahead: slots begin anew from where the clock is,
//! none is run at once, and one that the log has already is passed over. So no jump makes a job run for a slot twice,
//! and none keeps it from running until the clock has caught up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::app::jobs::{Counts, Ended, Run as Recorded};
use crate::app::{App, Error};
use crate::clock::Stopwatch;
use crate::config::{Jobs, Problems};
use crate::domain::event::JobOutcome;
use crate::domain::id::Id;
use crate::domain::time::Timestamp;
use crate::jobs::leader::Leader;
use crate::jobs::schedule::Schedule;
use crate::jobs::{Halt, Job, Progress, Run};
use crate::telemetry::metrics;

/// The clock is looked at this often at least, so that a jump of it is noticed, and what had to wait is tried again.
const LOOK: Duration = Duration::from_secs(60);
/// And not more often than this, however close the next slot is.
const BREATH: Duration = Duration::from_millis(50);

/// A job with its schedule; without one it runs by hand only.
struct Entry {
    job: Arc<dyn Job>,
    schedule: Option<Schedule>,
}

/// What is known of a job's runs.
#[derive(Debug, Clone)]
struct Known {
    /// Slots up to here are over.
    over: Timestamp,
    last: Option<Recorded>,
}

/// How a job stands.
#[derive(Debug, Clone)]
pub struct Standing {
    pub name: &'static str,
    /// `None`: off.
    pub schedule: Option<Schedule>,
    /// In the past where it is due and has to wait.
    pub next: Option<Timestamp>,
    pub last: Option<Recorded>,
}

/// What a run was for.
#[derive(Debug, Clone, Copy)]
enum Cause {
    Slot(Timestamp),
    Hand(Timestamp),
}

/// How a run came out.
enum Outcome {
    Recorded(Recorded),
    /// Another has recorded the slot meanwhile.
    Elsewhere,
    GivenUp,
    NotNow,
}

/// The driver of all jobs of a log.
pub struct Driver {
    app: Arc<App>,
    entries: Vec<Entry>,
    leader: Arc<dyn Leader>,
    /// Held while a job runs.
    turn: tokio::sync::Mutex<()>,
    /// Empty until it was read from the log.
    known: Mutex<BTreeMap<&'static str, Known>>,
}

impl Driver {
    /// Fails where a schedule cannot be read, with all that is wrong.
    pub fn new(
        app: Arc<App>,
        jobs: Vec<Arc<dyn Job>>,
        config: &Jobs,
        leader: Arc<dyn Leader>,
    ) -> Result<Driver, Problems> {
        let mut wrong = Vec::new();
        let mut entries = Vec::new();
        for job in jobs {
            match config.schedule(job.name()) {
                Ok(schedule) => entries.push(Entry { job, schedule }),
                Err(problems) => wrong.extend(problems),
            }
        }
        if !wrong.is_empty() {
            return Err(Problems(wrong));
        }
        Ok(Driver { app, entries, leader, turn: tokio::sync::Mutex::default(), known: Mutex::default() })
    }

    /// Runs what is due until the service stops. A run that is under way ends with its batch.
    pub async fn drive(self: Arc<Self>, stopping: impl Future<Output = ()>) {
        tokio::pin!(stopping);
        let mut pause = Duration::ZERO;
        loop {
            tokio::select! {
                biased;
                () = &mut stopping => return,
                () = tokio::time::sleep(pause) => {
                    if let Err(error) = self.take_turn().await {
                        let chain = error.chain().unwrap_or_default();
                        let reason = error.reason();
                        tracing::warn!(reason, %error, chain, "jobs wait, and are looked at again in a minute");
                    }
                    pause = self.pause();
                }
            }
        }
    }

    /// Runs everything that is due now, once.
    pub async fn take_turn(&self) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        self.load().await?;
        let mut tried = Vec::new();
        while let Some((entry, slot)) = self.first_due(&tried) {
            if !self.app.may_run_jobs() || self.app.is_called_off() || !self.leader.leads().await {
                return Ok(());
            }
            // A slot for each job and turn; what has to wait is tried at the next turn.
            tried.push(entry.job.name());
            if entry.job.needs_room() && self.app.is_at_reserve() {
                continue;
            }
            if self.is_over(entry, slot).await? {
                self.pass(entry, slot);
            } else if let Outcome::GivenUp = self.run(entry, Cause::Slot(slot)).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Runs a job at once, as somebody asked for; its slots are over up to now. Waits for one that is running.
    pub async fn run_by_hand(&self, name: &str) -> Result<Recorded, Error> {
        let entry = self.entry(name)?;
        let _turn = self.turn.lock().await;
        self.load().await?;
        if self.app.is_called_off() || !self.leader.leads().await {
            return Err(Error::stopping());
        }
        match self.run(entry, Cause::Hand(self.app.now())).await? {
            Outcome::Recorded(recorded) => Ok(recorded),
            Outcome::GivenUp => Err(Error::stopping()),
            Outcome::NotNow | Outcome::Elsewhere => Err(Error::Unavailable {
                reason: "overloaded",
                what: "something else has to end before this job can run",
                retry_after_ms: 60_000,
                source: None,
            }),
        }
    }

    /// What a run as of an instant would come to. Records nothing.
    pub async fn dry_run(&self, name: &str, as_of: Timestamp) -> Result<Counts, Error> {
        self.entry(name)?.job.dry_run(&self.app, as_of).await
    }

    /// All jobs, in the order in which they run.
    pub async fn standing(&self) -> Result<Vec<Standing>, Error> {
        self.load().await?;
        let (now, known) = (self.app.now(), self.known());
        let standing = |entry: &Entry| {
            let (name, known) = (entry.job.name(), known.get(entry.job.name()));
            let over = known.map_or(now, |known| known.over.min(now));
            let next = entry.schedule.as_ref().and_then(|schedule| {
                let first = schedule.after(over)?;
                if first <= now { schedule.latest(now) } else { Some(first) }
            });
            let last = known.and_then(|known| known.last.clone());
            Standing { name, schedule: entry.schedule.clone(), next, last }
        };
        Ok(self.entries.iter().map(standing).collect())
    }

    /// The log's head, which a dry run has seen.
    pub fn head(&self) -> u64 {
        self.app.head()
    }

    /// Returns when no job is running. After the service was called off none begins any more.
    pub async fn ended(&self) {
        let _turn = self.turn.lock().await;
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<&'static str, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, name: &str) -> Result<&Entry, Error> {
        self.entries.iter().find(|entry| entry.job.name() == name).ok_or_else(|| {
            let names: Vec<&str> = self.entries.iter().map(|entry| entry.job.name()).collect();
            Error::invalid("name", format_args!("is no job; there are {}", names.join(", ")))
        })
    }

    /// Reads the last runs from the log, once.
    async fn load(&self) -> Result<(), Error> {
        if self.entries.is_empty() || !self.known().is_empty() {
            return Ok(());
        }
        let names = self.entries.iter().filter_map(|entry| entry.job.name().parse().ok()).collect();
        let (mut runs, began) = (self.app.last_job_runs(names).await?, self.app.log_began().await?);
        let mut known = self.known();
        for entry in &self.entries {
            let name = entry.job.name();
            let last = name.parse::<Id>().ok().and_then(|name| runs.remove(&name));
            if let Some(last) = &last {
                self.app.note_job(name, failed(last, None));
            }
            let over = last.as_ref().and_then(|last| last.ran.scheduled_for).unwrap_or(began);
            // Somebody who asks meanwhile has read the same.
            known.entry(name).or_insert(Known { over, last });
        }
        Ok(())
    }

    /// The job whose newest slot has been due for the longest time, of those not tried yet.
    fn first_due(&self, tried: &[&str]) -> Option<(&Entry, Timestamp)> {
        let now = self.app.now();
        let mut known = self.known();
        let mut due: Option<(&Entry, Timestamp)> = None;
        for entry in self.entries.iter().filter(|entry| !tried.contains(&entry.job.name())) {
            let (Some(schedule), Some(known)) = (&entry.schedule, known.get_mut(entry.job.name())) else {
                continue;
            };
            // The clock was set back.
            known.over = known.over.min(now);
            let Some(slot) = schedule.after(known.over).filter(|first| *first <= now) else { continue };
            let slot = schedule.latest(now).unwrap_or(slot);
            if due.is_none_or(|(_, first)| slot < first) {
                due = Some((entry, slot));
            }
        }
        due
    }

    /// Whether a slot needs no run: the log has it, or there is nothing to do.
    async fn is_over(&self, entry: &Entry, slot: Timestamp) -> Result<bool, Error> {
        if self.app.job_recorded(entry.job.name(), slot).await? {
            return Ok(true);
        }
        // Where that cannot be told the run will say why, and be recorded as failed; others go on.
        Ok(entry.job.is_idle(&self.app).await.unwrap_or(false))
    }

    fn pass(&self, entry: &Entry, slot: Timestamp) {
        if let Some(known) = self.known().get_mut(entry.job.name()) {
            known.over = slot;
        }
    }

    /// Runs a job and records how it ended.
    async fn run(&self, entry: &Entry, cause: Cause) -> Result<Outcome, Error> {
        let (name, watch, started_at, computed_at) =
            (entry.job.name(), Stopwatch::start(), self.app.now(), self.app.head());
        let (Cause::Slot(as_of) | Cause::Hand(as_of)) = cause;
        let (counts, ended) = self.work(entry, as_of).await;
        let (outcome, why) = match ended {
            Ok(Progress::Done) => (JobOutcome::Ok, None),
            Ok(Progress::Partial) => (JobOutcome::Partial, None),
            Ok(Progress::Skipped) => (JobOutcome::Skipped, None),
            Err(Halt::NotNow) => return Ok(Outcome::NotNow),
            Err(Halt::GivenUp) => return Ok(Outcome::GivenUp),
            // What ends because the service stops has not failed.
            Err(Halt::Failed(_)) if self.app.is_called_off() => return Ok(Outcome::GivenUp),
            Err(Halt::Failed(error)) => (JobOutcome::Failed, Some(error)),
        };
        if let Some(error) = &why {
            let (reason, chain) = (error.reason(), error.chain().unwrap_or_default());
            tracing::error!(job = name, reason, %error, chain, ?counts, "a job failed");
        }
        ::metrics::counter!(metrics::JOB_RUNS, "job" => name, "outcome" => outcome.as_str()).increment(1);
        ::metrics::histogram!(metrics::JOB_SECONDS, "job" => name).record(watch.elapsed().as_secs_f64());
        let by_hand = matches!(cause, Cause::Hand(_));
        let ended =
            Ended { job: name, scheduled_for: as_of, started_at, outcome, counts, computed_at, by_hand };
        let recorded = self.app.record_job(ended).await?;
        self.pass(entry, as_of);
        let Some(recorded) = recorded else { return Ok(Outcome::Elsewhere) };
        self.app.note_job(name, failed(&recorded, why.as_ref()));
        if let Some(known) = self.known().get_mut(name) {
            known.last = Some(recorded.clone());
        }
        Ok(Outcome::Recorded(recorded))
    }

    /// On a task of its own, so that a panic ends the run and not the driver.
    async fn work(&self, entry: &Entry, as_of: Timestamp) -> (Counts, Result<Progress, Halt>) {
        let (app, leader, job) = (Arc::clone(&self.app), Arc::clone(&self.leader), Arc::clone(&entry.job));
        let working = tokio::spawn(async move {
            let mut run = Run { app, as_of, counts: Counts::new(), leader };
            let ended = job.run(&mut run).await;
            (run.counts, ended)
        });
        let died = |died| (Counts::new(), Err(Halt::Failed(Error::fault("job_died", died))));
        working.await.unwrap_or_else(died)
    }

    /// How long nothing will be due, as far as the clock tells now.
    fn pause(&self) -> Duration {
        let (now, known) = (self.app.now(), self.known());
        let next = self.entries.iter().filter_map(|entry| {
            // What is due already had to wait, and is tried again at the next look.
            entry.schedule.as_ref()?.after(known.get(entry.job.name())?.over.max(now))
        });
        let ms = next.min().map_or(i64::MAX, |next| next.since(now));
        Duration::from_millis(u64::try_from(ms).unwrap_or(0)).clamp(BREATH, LOOK)
    }
}

/// What an alarm says of a job's last run, if it failed.
fn failed(last: &Recorded, why: Option<&Error>) -> Option<String> {
    let at = last.ran.started_at.map(|at| format!("at {at}")).unwrap_or_default();
    (last.ran.outcome == Some(JobOutcome::Failed)).then(|| match why {
        Some(why) => format!("{at}: {why}"),
        None => at,
    })
}
