//! What is due: found, planned, and told to those who hold it (`app::sweep`). What goes because its service has ended
//! has a run of its own.

use async_trait::async_trait;

use crate::app::jobs::Counts;
use crate::app::sweep::{Swept, Which};
use crate::app::{App, Error};
use crate::domain::time::Timestamp;
use crate::jobs::{Halt, Job, Progress, Run};

pub struct RetentionSweep;
pub struct ServiceEndSweep;

async fn sweep(run: &mut Run, which: Which) -> Result<Progress, Halt> {
    let app = run.app.clone();
    // Of a run that is caught up with, too, what happened since its slot counts.
    let mut sweep = app.sweep(which, app.now(), None);
    while sweep.step().await? {
        run.go_on().await?;
    }
    run.counts.extend(counts(&sweep.swept));
    Ok(Progress::Done)
}

async fn dry_run(app: &App, which: Which, as_of: Timestamp) -> Result<Counts, Error> {
    Ok(counts(&app.sweep_dry(which, as_of).await?))
}

fn counts(swept: &Swept) -> Counts {
    Counts::from([
        ("due", swept.due),
        ("waiting", swept.waiting),
        ("kept", swept.kept),
        ("plans", swept.plans.len() as u64),
        ("instructed", swept.instructed),
        ("recalled", swept.recalled),
        ("handed_on", swept.handed_on),
        ("decided", swept.refreshed),
    ])
}

#[async_trait]
impl Job for RetentionSweep {
    fn name(&self) -> &'static str {
        "retention_sweep"
    }

    fn default_timing(&self) -> (&'static str, &'static str) {
        ("0 2 * * *", "")
    }

    async fn run(&self, run: &mut Run) -> Result<Progress, Halt> {
        sweep(run, Which::Others).await
    }

    /// It ends the keeping of data.
    fn needs_room(&self) -> bool {
        false
    }

    async fn dry_run(&self, app: &App, as_of: Timestamp) -> Result<Counts, Error> {
        dry_run(app, Which::Others, as_of).await
    }
}

#[async_trait]
impl Job for ServiceEndSweep {
    fn name(&self) -> &'static str {
        "service_end_sweep"
    }

    fn default_timing(&self) -> (&'static str, &'static str) {
        ("30 2 * * *", "")
    }

    async fn run(&self, run: &mut Run) -> Result<Progress, Halt> {
        sweep(run, Which::ServiceEnds).await
    }

    /// It ends the keeping of data.
    fn needs_room(&self) -> bool {
        false
    }

    async fn dry_run(&self, app: &App, as_of: Timestamp) -> Result<Counts, Error> {
        dry_run(app, Which::ServiceEnds, as_of).await
    }
}
