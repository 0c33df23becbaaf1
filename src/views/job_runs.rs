//! The runs of the clock's jobs, as they were recorded: the newest first.

use std::ops::ControlFlow;

use crate::domain::event::catalogue::JobRan;
use crate::domain::event::{Body, EventType};
use crate::views::Error;
use crate::views::ask::Ask;

/// Records read at once: whoever asks for the last run of each job has found most of them then.
const READ: usize = 64;

impl Ask {
    /// Hands out the runs recorded before a position until `take` has enough, or so many records were read. Says
    /// where to go on, if there is more.
    pub fn job_runs(
        &self,
        before: u64,
        most: usize,
        mut take: impl FnMut(u64, JobRan) -> ControlFlow<()>,
    ) -> Result<Option<u64>, Error> {
        let mut positions = self.positions_of(&[EventType::JobRan], before.min(self.applied))?;
        positions.reverse();
        let mut read = 0;
        for some in positions.chunks(READ) {
            let mut ended = None;
            self.reach.decode_all(some, |event| {
                read += 1;
                if ended.is_some() {
                    return Ok(());
                }
                let body = Body::from_json(event.event_type, &event.body_json);
                if let Ok(Body::JobRan(body)) = body
                    && take(event.position, *body).is_break()
                {
                    ended = Some(event.position);
                }
                Ok(())
            })?;
            let last = some.last().copied().filter(|_| read >= most);
            if let Some(at) = ended.or(last) {
                return Ok(positions.last().is_some_and(|oldest| *oldest < at).then_some(at));
            }
        }
        Ok(None)
    }
}
