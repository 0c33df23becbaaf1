//! What every register event passes, by whichever way it comes in: it is compared with the registers as they
//! stand at the log's head, and nothing else is registered meanwhile.
//!
//! The views follow the log by some 100 ms, so a register event waits for them; there are few of them. Where the
//! views cannot follow, it is put off rather than taken unseen, but for the placing of a hold and the news of a
//! breach, which no register can gainsay.

use tokio::sync::MutexGuard;

use crate::app::error::{Error, FieldViolation};
use crate::app::events::WAIT;
use crate::app::fleet::{Held, Turn};
use crate::app::{App, Caller};
use crate::domain::event::Event;
use crate::domain::register::{Book, Contradiction, Known, Proposal, Version, contradictions};
use crate::domain::time::Timestamp;

/// Held while register events are checked and recorded.
pub(crate) struct Registering<'a> {
    _here: MutexGuard<'a, ()>,
    _everywhere: Held,
}

impl App {
    /// Waits until the views have read the whole log. Until the guard is dropped no other register event is
    /// checked, and so none recorded.
    pub(crate) async fn settle_registers(&self) -> Result<Registering<'_>, Error> {
        let _here = self.registering.lock().await;
        let _everywhere = self.fleet.exclude(Turn::Register).await?;
        self.views.wait_for(self.log.latest().await?, WAIT).await?;
        Ok(Registering { _here, _everywhere })
    }

    /// What an event contradicts, with those before it in the same request.
    pub(crate) fn contradicted(
        &self,
        caller: &Caller,
        event: &Event,
        fresh: &Book,
        now: Timestamp,
    ) -> Vec<Contradiction> {
        let law = self.views.registers(|registers| registers.law(now, u64::MAX));
        let new = Proposal {
            envelope: &event.envelope,
            people: &event.people,
            body: &event.body,
            publisher: caller.name.as_str(),
            now,
        };
        self.views.book(|book| contradictions(&new, &Known { book, fresh, known_at: u64::MAX }, law))
    }
}

/// An event that is about to be recorded, as the registers will have it.
pub(crate) fn fresh(event: &Event, now: Timestamp) -> Version {
    Version::new(Version::UNRECORDED, now, event.envelope.clone(), event.body.clone())
}

/// Contradictions as violations of a request's fields.
pub(crate) fn refused(found: &[Contradiction]) -> Error {
    let violation = |one: &Contradiction| FieldViolation::new(format!("event.{}", one.field), one);
    Error::Invalid(found.iter().map(violation).collect())
}
