//! What has to be looked at again: assessments that have run out or do soon, findings that nobody has dealt with.
//! It changes nothing; its event is the reminder.

use async_trait::async_trait;

use crate::app::jobs::Counts;
use crate::app::{App, Error};
use crate::domain::time::Timestamp;
use crate::jobs::{Halt, Job, Progress, Run};

pub struct ReviewReminder;

#[async_trait]
impl Job for ReviewReminder {
    fn name(&self) -> &'static str {
        "review_reminder"
    }

    fn default_timing(&self) -> (&'static str, &'static str) {
        ("30 1 1 * *", "")
    }

    async fn run(&self, run: &mut Run) -> Result<Progress, Halt> {
        let findings = run.app.findings_that_stand().await?;
        run.count("findings", findings);
        run.go_on().await?;
        let assessments = run.app.assessments_at(run.as_of).await?;
        run.counts.extend(assessments);
        Ok(Progress::Done)
    }

    async fn dry_run(&self, app: &App, as_of: Timestamp) -> Result<Counts, Error> {
        app.assessments_at(as_of).await
    }
}
