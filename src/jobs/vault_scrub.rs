//! The vault's file, written anew without remains of what was deleted, when it is due (`app::scrub`).

use async_trait::async_trait;

use crate::app::jobs::Counts;
use crate::app::{App, Error};
use crate::domain::time::Timestamp;
use crate::jobs::{Halt, Job, Progress, Run};

pub struct VaultScrub;

#[async_trait]
impl Job for VaultScrub {
    fn name(&self) -> &'static str {
        "vault_scrub"
    }

    fn default_timing(&self) -> (&'static str, &'static str) {
        ("0 * * * *", "UTC")
    }

    /// By hand it is done whether or not it is due. It cannot be interrupted: SQLite does it in one piece.
    async fn run(&self, run: &mut Run) -> Result<Progress, Halt> {
        run.go_on().await?;
        if !run.app.scrub().await? {
            return Err(Halt::NotNow);
        }
        run.count("scrubbed", 1);
        Ok(Progress::Done)
    }

    async fn is_idle(&self, app: &App) -> Result<bool, Error> {
        Ok(!app.scrub_is_due().await?)
    }

    /// It says itself how much room it needs, and that remains of the erased stay meanwhile.
    fn needs_room(&self) -> bool {
        false
    }

    async fn dry_run(&self, app: &App, _as_of: Timestamp) -> Result<Counts, Error> {
        Ok(Counts::from([("scrubbed", u64::from(app.scrub_is_due().await?))]))
    }
}
