//! One run of a job: what it is for, what it counts, and whether it may go on.

use std::sync::Arc;

use crate::app::jobs::Counts;
use crate::app::{App, Error};
use crate::domain::time::Timestamp;
use crate::jobs::leader::Leader;

/// How a run ended that went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Everything was done that was to be done.
    Done,
    /// As much as one run may do; the rest is the next slot's.
    Partial,
    /// There was a reason not to do it; the slot is over.
    Skipped,
}

/// Why a run did not go through.
#[derive(Debug)]
pub enum Halt {
    /// The service stops, or another leads: nothing is recorded, and the slot is run again.
    GivenUp,
    /// Something else has to end first: nothing is recorded, and it is tried again soon.
    NotNow,
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Halt::Failed(error)
    }
}

/// A run that is under way.
pub struct Run {
    pub app: Arc<App>,
    /// The instant it is for: what is due is due by then, however late the run began.
    pub as_of: Timestamp,
    pub counts: Counts,
    pub(super) leader: Arc<dyn Leader>,
}

impl Run {
    /// Asked between two batches.
    pub async fn go_on(&self) -> Result<(), Halt> {
        let goes_on = !self.app.is_called_off() && self.leader.leads().await;
        if goes_on { Ok(()) } else { Err(Halt::GivenUp) }
    }

    pub fn count(&mut self, name: &'static str, more: u64) {
        *self.counts.entry(name).or_default() += more;
    }
}
