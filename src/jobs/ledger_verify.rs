//! The full re-hash: the tree again from every header, held against what is stored and signed (`app::rehash`).
//! It reads some megabytes at a time and may give up between them; it begins anew then, because what it has seen
//! before a restart proves nothing about what is there after it.

use async_trait::async_trait;

use crate::app::jobs::Counts;
use crate::app::{App, Error};
use crate::domain::time::Timestamp;
use crate::jobs::{Halt, Job, Progress, Run};

pub struct LedgerVerify;

#[async_trait]
impl Job for LedgerVerify {
    fn name(&self) -> &'static str {
        "ledger_verify"
    }

    fn default_timing(&self) -> (&'static str, &'static str) {
        ("30 3 * * *", "UTC")
    }

    async fn run(&self, run: &mut Run) -> Result<Progress, Halt> {
        let app = std::sync::Arc::clone(&run.app);
        let mut rehash = app.rehash();
        while app.rehash_more(&mut rehash).await? {
            run.go_on().await?;
        }
        run.count("records", rehash.records());
        rehash.verdict()?;
        Ok(Progress::Done)
    }

    /// The same, because it changes nothing: what is stored now, whatever the instant.
    async fn dry_run(&self, app: &App, _as_of: Timestamp) -> Result<Counts, Error> {
        let mut rehash = app.rehash();
        while app.rehash_more(&mut rehash).await? {
            if app.is_called_off() {
                return Err(Error::stopping());
            }
        }
        let counts = Counts::from([("records", rehash.records())]);
        rehash.verdict().map(|()| counts)
    }
}
