//! Exporters from China by the thresholds of the law (2024 Provisions 5, 7, 8). The numbers are counted when
//! somebody asks; the run says how many exporters need a mechanism as of its slot.

use async_trait::async_trait;

use crate::app::jobs::Counts;
use crate::app::{App, Error};
use crate::domain::time::Timestamp;
use crate::jobs::{Halt, Job, Progress, Run};

const CODES: &[(&str, &str)] = &[("F-CN-THRESHOLD", "near_or_over_without_mechanism")];

pub struct CnCounter;

#[async_trait]
impl Job for CnCounter {
    fn name(&self) -> &'static str {
        "cn_counter"
    }

    fn default_timing(&self) -> (&'static str, &'static str) {
        ("20 1 * * *", "Asia/Shanghai")
    }

    async fn run(&self, run: &mut Run) -> Result<Progress, Halt> {
        let standing = run.app.standing(CODES).await?;
        run.counts.extend(standing);
        run.go_on().await?;
        let exporters = run.app.exporters_at(run.as_of).await?;
        run.counts.extend(exporters);
        Ok(Progress::Done)
    }

    async fn dry_run(&self, app: &App, as_of: Timestamp) -> Result<Counts, Error> {
        app.exporters_at(as_of).await
    }
}
