//! The vault's generation, written into the log where it has changed (`app::vault_mark`).

use async_trait::async_trait;

use crate::app::jobs::Counts;
use crate::app::{App, Error};
use crate::domain::time::Timestamp;
use crate::jobs::{Halt, Job, Progress, Run};

pub struct VaultMark;

#[async_trait]
impl Job for VaultMark {
    fn name(&self) -> &'static str {
        "vault_mark"
    }

    fn default_timing(&self) -> (&'static str, &'static str) {
        ("0 * * * *", "UTC")
    }

    async fn run(&self, run: &mut Run) -> Result<Progress, Halt> {
        let marked = run.app.mark_vault().await?;
        run.count("marked", u64::from(marked));
        Ok(Progress::Done)
    }

    async fn is_idle(&self, app: &App) -> Result<bool, Error> {
        Ok(app.unmarked_generation().await?.is_none())
    }

    /// An older vault is to be noticed on a full disk too.
    fn needs_room(&self) -> bool {
        false
    }

    async fn dry_run(&self, app: &App, _as_of: Timestamp) -> Result<Counts, Error> {
        let changed = app.unmarked_generation().await?.is_some();
        Ok(Counts::from([("marked", u64::from(changed))]))
    }
}
