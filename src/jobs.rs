//! The work of the clock: a driver like `api`, which calls the use cases when a schedule says so.
//!
//! Promises: each run that ends is an event (`JobRan`) with its outcome and counts; a slot of a schedule is run
//! once, on one leader, whatever the clock does; slots that were missed are caught up with one run, not with one
//! each. Not promised: that a run begins in the second it is due, nor that it ends before another is due: jobs run
//! one after another. A crash loses the run that was under way, and its slot is run again: every job can bear that.
//!
//! To add a job: a file here with an `impl Job`, its line in `all`, and its line in `config/default.toml`.

pub mod ack_chaser;
pub mod cn_counter;
pub mod detector;
pub mod driver;
pub mod emitter_watch;
pub mod evidence_sweep;
pub mod leader;
pub mod ledger_verify;
pub mod mechanism_watch;
pub mod retention_sweep;
pub mod review_reminder;
pub mod run;
pub mod schedule;
pub mod sealed_sweep;
pub mod vault_mark;
pub mod vault_scrub;

use std::sync::Arc;

use async_trait::async_trait;

use crate::app::jobs::Counts;
use crate::app::{App, Error};
use crate::domain::time::Timestamp;

pub use driver::{Driver, Standing};
pub use leader::{HoldsLock, Leader};
pub use run::{Halt, Progress, Run};

/// All jobs. Of those due at the same time the first of this list runs first, so what is quick stands first.
pub fn all() -> Vec<Arc<dyn Job>> {
    vec![
        Arc::new(detector::Detector),
        Arc::new(vault_mark::VaultMark),
        Arc::new(emitter_watch::EmitterWatch),
        Arc::new(mechanism_watch::MechanismWatch),
        Arc::new(cn_counter::CnCounter),
        Arc::new(retention_sweep::RetentionSweep),
        Arc::new(retention_sweep::ServiceEndSweep),
        Arc::new(ack_chaser::AckChaser),
        Arc::new(sealed_sweep::SealedSweep),
        Arc::new(evidence_sweep::EvidenceSweep),
        Arc::new(review_reminder::ReviewReminder),
        Arc::new(vault_scrub::VaultScrub),
        Arc::new(ledger_verify::LedgerVerify),
    ]
}

/// One kind of work. It can be run again after a crash at any step, and does not more at a time than is bounded.
#[async_trait]
pub trait Job: Send + Sync {
    /// As it stands in the configuration, in events and in metrics.
    fn name(&self) -> &'static str;

    /// Expression and zone, the same as in `config/default.toml`; an empty zone is that of the deployment.
    fn default_timing(&self) -> (&'static str, &'static str);

    /// Does the work. Between two bounded batches it asks `run.go_on()`, and ends with what that says.
    async fn run(&self, run: &mut Run) -> Result<Progress, Halt>;

    /// Whether there is nothing to do: then the slot passes without a run, and without an event.
    async fn is_idle(&self, _app: &App) -> Result<bool, Error> {
        Ok(false)
    }

    /// Whether it waits while the disk is at its reserve; not what makes room, or keeps people safe.
    fn needs_room(&self) -> bool {
        true
    }

    /// What a run at an instant would come to, without doing or recording anything.
    async fn dry_run(&self, _app: &App, _as_of: Timestamp) -> Result<Counts, Error> {
        Err(Error::invalid("as_of", format_args!("cannot be asked of {}, which has no dry run", self.name())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::jobs::{Jobs, Timing};

    #[test]
    fn the_configuration_names_every_job_and_no_other() {
        let told = Jobs::default().each;
        let jobs = all();
        let ours = jobs.iter().map(|job| {
            let (schedule, tz) = job.default_timing();
            (job.name().to_owned(), Timing { schedule: schedule.to_owned(), tz: tz.to_owned() })
        });
        assert_eq!(told, ours.collect(), "the default file and the jobs");
        for job in &jobs {
            assert!(job.name().parse::<crate::domain::id::Id>().is_ok(), "{} stands in events", job.name());
        }
    }
}
