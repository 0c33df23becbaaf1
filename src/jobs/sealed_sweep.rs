//! What is sealed with data, such as where they lie, goes when the data are gone (`app/erase/sealed.rs`).

use async_trait::async_trait;

use crate::app::jobs::Counts;
use crate::app::{App, Error};
use crate::domain::time::Timestamp;
use crate::jobs::{Halt, Job, Progress, Run};

pub struct SealedSweep;

#[async_trait]
impl Job for SealedSweep {
    fn name(&self) -> &'static str {
        "sealed_sweep"
    }

    fn default_timing(&self) -> (&'static str, &'static str) {
        ("0 3 * * *", "")
    }

    async fn run(&self, run: &mut Run) -> Result<Progress, Halt> {
        let (now, until) = (run.app.now(), run.app.settled().await?);
        while run.app.refresh_sealed().await? < until {
            run.go_on().await?;
        }
        run.count("purged", 0);
        let mut behind = None;
        loop {
            let (purged, next) = run.app.purge_sealed(behind, now).await?;
            run.count("purged", purged);
            behind = next;
            if behind.is_none() {
                return Ok(Progress::Done);
            }
            run.go_on().await?;
        }
    }

    /// It ends the keeping of data.
    fn needs_room(&self) -> bool {
        false
    }

    async fn dry_run(&self, app: &App, as_of: Timestamp) -> Result<Counts, Error> {
        let until = app.settled().await?;
        while app.refresh_sealed().await? < until {}
        let (mut behind, mut pieces) = (None, 0);
        loop {
            let (found, next) = app.sealed_of_gone(behind, as_of).await?;
            pieces += found.iter().filter(|of| !of.is_held).map(|of| of.pieces.len() as u64).sum::<u64>();
            behind = next;
            if behind.is_none() {
                return Ok(Counts::from([("purged", pieces)]));
            }
        }
    }
}
