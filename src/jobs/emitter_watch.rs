//! Emitters that are silent, and numbers of theirs that are missing. They are findings, judged when somebody asks;
//! the run says how many stand.

use async_trait::async_trait;

use crate::app::jobs::Counts;
use crate::app::{App, Error};
use crate::domain::time::Timestamp;
use crate::jobs::{Halt, Job, Progress, Run};

const CODES: &[(&str, &str)] = &[("F-EMITTER-SILENT", "silent"), ("F-EMITTER-GAP", "with_gaps")];

pub struct EmitterWatch;

#[async_trait]
impl Job for EmitterWatch {
    fn name(&self) -> &'static str {
        "emitter_watch"
    }

    fn default_timing(&self) -> (&'static str, &'static str) {
        ("20 * * * *", "UTC")
    }

    async fn run(&self, run: &mut Run) -> Result<Progress, Halt> {
        let standing = run.app.standing(CODES).await?;
        run.counts.extend(standing);
        run.go_on().await?;
        let missing = run.app.missing_numbers_at(run.as_of).await?;
        run.count("missing_numbers", missing);
        Ok(Progress::Done)
    }

    /// Without the silent ones: they are judged by recorded ticks only.
    async fn dry_run(&self, app: &App, as_of: Timestamp) -> Result<Counts, Error> {
        Ok(Counts::from([("missing_numbers", app.missing_numbers_at(as_of).await?)]))
    }
}
