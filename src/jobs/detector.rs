//! The tick of the detectors: the event of its run is all it does. What rests on absence is judged when somebody
//! asks, as of the newest tick (`views::findings`).

use async_trait::async_trait;

use crate::app::{App, Error};
use crate::jobs::{Halt, Job, Progress, Run};
use crate::views::findings::DETECTOR;

pub struct Detector;

#[async_trait]
impl Job for Detector {
    fn name(&self) -> &'static str {
        DETECTOR
    }

    fn default_timing(&self) -> (&'static str, &'static str) {
        ("*/10 * * * *", "UTC")
    }

    async fn run(&self, run: &mut Run) -> Result<Progress, Halt> {
        run.go_on().await?;
        Ok(Progress::Done)
    }

    /// A house in which nothing happens gets a tick a day, not one every ten minutes for ever.
    async fn is_idle(&self, app: &App) -> Result<bool, Error> {
        Ok(app.detectors_are_idle())
    }
}
