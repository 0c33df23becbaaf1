//! Mechanisms of transfers that end soon or have ended. What that means for transfers are findings, judged when
//! somebody asks; the run says how many stand, and how the mechanisms themselves stand as of its slot.

use async_trait::async_trait;

use crate::app::jobs::Counts;
use crate::app::{App, Error};
use crate::domain::time::Timestamp;
use crate::jobs::{Halt, Job, Progress, Run};

const CODES: &[(&str, &str)] = &[
    ("F-TRANSFER-EXPIRING", "expiring_in_use"),
    ("F-TRANSFER-EXPIRED", "used_after_end"),
    ("F-TRANSFER-NO-ASSESSMENT", "without_assessment"),
    ("F-CN-FILING-LATE", "filed_late"),
];

pub struct MechanismWatch;

#[async_trait]
impl Job for MechanismWatch {
    fn name(&self) -> &'static str {
        "mechanism_watch"
    }

    fn default_timing(&self) -> (&'static str, &'static str) {
        ("10 1 * * *", "")
    }

    async fn run(&self, run: &mut Run) -> Result<Progress, Halt> {
        let standing = run.app.standing(CODES).await?;
        run.counts.extend(standing);
        run.go_on().await?;
        let mechanisms = run.app.mechanisms_at(run.as_of).await?;
        run.counts.extend(mechanisms);
        Ok(Progress::Done)
    }

    async fn dry_run(&self, app: &App, as_of: Timestamp) -> Result<Counts, Error> {
        app.mechanisms_at(as_of).await
    }
}
