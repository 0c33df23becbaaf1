//! Who has to be reminded of what was told and not answered: counted by how often, and what is overdue, which is a
//! finding (F-INSTRUCTION-OVERDUE). Desks write the letters (`custody instructions desk`).

use async_trait::async_trait;

use crate::app::instructions::Wanted;
use crate::app::jobs::Counts;
use crate::app::{App, Error};
use crate::domain::time::Timestamp;
use crate::jobs::{Halt, Job, Progress, Run};

/// Instructions looked at in one step.
const STEP: usize = 1_000;
const REMINDED: [&str; 4] = ["open", "reminded_once", "reminded_twice", "reminded_thrice"];

pub struct AckChaser;

#[async_trait]
impl Job for AckChaser {
    fn name(&self) -> &'static str {
        "ack_chaser"
    }

    fn default_timing(&self) -> (&'static str, &'static str) {
        ("0 5 * * *", "")
    }

    async fn run(&self, run: &mut Run) -> Result<Progress, Halt> {
        let mut chase = Chase::new();
        while chase.step(&run.app, run.as_of).await? {
            run.go_on().await?;
        }
        run.counts = chase.counts;
        Ok(Progress::Done)
    }

    async fn dry_run(&self, app: &App, as_of: Timestamp) -> Result<Counts, Error> {
        let mut chase = Chase::new();
        while chase.step(app, as_of).await? {}
        Ok(chase.counts)
    }
}

struct Chase {
    counts: Counts,
    wanted: Wanted,
}

impl Chase {
    fn new() -> Chase {
        let counts = REMINDED.into_iter().chain(["overdue"]).map(|name| (name, 0)).collect();
        Chase { counts, wanted: Wanted { limit: STEP, ..Wanted::default() } }
    }

    /// Looks at the next instructions. Whether there are more.
    async fn step(&mut self, app: &App, now: Timestamp) -> Result<bool, Error> {
        let (open, next) = app.open_instructions_at(self.wanted.clone(), now).await?;
        for (reminders, overdue) in open {
            let reminded = REMINDED[(reminders as usize).min(REMINDED.len() - 1)];
            *self.counts.entry(reminded).or_default() += 1;
            *self.counts.entry("overdue").or_default() += u64::from(overdue);
        }
        self.wanted.behind = next;
        Ok(self.wanted.behind.is_some())
    }
}
