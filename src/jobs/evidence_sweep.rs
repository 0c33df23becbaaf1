//! People whom nothing asks to know any more are erased in the vault; what proves consents and cases of the erased goes
//! when its own time is over, which the erasures themselves look after every minute.

use async_trait::async_trait;

use crate::app::jobs::Counts;
use crate::app::{App, Error};
use crate::domain::time::Timestamp;
use crate::jobs::{Halt, Job, Progress, Run};

pub struct EvidenceSweep;

#[async_trait]
impl Job for EvidenceSweep {
    fn name(&self) -> &'static str {
        "evidence_sweep"
    }

    fn default_timing(&self) -> (&'static str, &'static str) {
        ("0 4 * * *", "")
    }

    async fn run(&self, run: &mut Run) -> Result<Progress, Halt> {
        // Of a run that is caught up with, too, what happened since its slot counts.
        let now = run.app.now();
        let until = run.app.settled().await?;
        while run.app.refresh_due(now).await?.known < until {
            run.go_on().await?;
        }
        let mut behind = None;
        loop {
            run.go_on().await?;
            let (needless, next) = run.app.needless_people(behind, now).await?;
            let erased = run.app.erase_needless(&needless).await?;
            run.count("erased", erased);
            behind = next;
            if behind.is_none() {
                return Ok(Progress::Done);
            }
        }
    }

    /// It makes room.
    fn needs_room(&self) -> bool {
        false
    }

    async fn dry_run(&self, app: &App, as_of: Timestamp) -> Result<Counts, Error> {
        app.know_who_holds().await?;
        let (mut behind, mut erased) = (None, 0);
        loop {
            let (needless, next) = app.needless_people(behind, as_of).await?;
            (behind, erased) = (next, erased + needless.len() as u64);
            if behind.is_none() {
                return Ok(Counts::from([("erased", erased)]));
            }
        }
    }
}
