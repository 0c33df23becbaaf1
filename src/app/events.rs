//! Events as they were recorded: single ones, and lists by what their headers say.

use std::sync::Arc;

use crate::app::App;
use crate::app::error::Error;
use crate::domain::id::{EventId, Id};
use crate::views::EventView;
use crate::views::ask::Ask;
use crate::views::list::{Cursor, Filter, Page};

impl App {
    /// The event at a position. One that the views have not reached yet is waited for.
    pub async fn event(&self, position: u64) -> Result<EventView, Error> {
        if position >= self.log.head() {
            return Err(Error::EventNotFound);
        }
        self.at_least(Some(position)).await?;
        self.ask(move |ask| Ok(ask.event(position)?)).await
    }

    /// Where an event lies, by its emitter's name for it.
    pub async fn position_of(&self, emitter: Id, event_id: EventId) -> Result<u64, Error> {
        let found = self.log.find(&[(emitter, event_id)]).await?;
        found.into_iter().next().flatten().ok_or(Error::EventNotFound)
    }

    /// One page of all events that match; `at_least` as in `report`.
    pub async fn list(
        &self,
        filter: Filter,
        cursor: Option<Cursor>,
        limit: usize,
        at_least: Option<u64>,
    ) -> Result<Page, Error> {
        self.at_least(at_least).await?;
        self.ask(move |ask| Ok(ask.list(&filter, cursor, limit)?)).await
    }

    /// Waits until the record at `position` is in the answers.
    pub(crate) async fn at_least(&self, position: Option<u64>) -> Result<(), Error> {
        match position {
            Some(position) => Ok(self.views.wait_for(position.saturating_add(1), WAIT).await?),
            None => Ok(()),
        }
    }

    /// Asks the views on a thread that may block.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Ask) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let views = Arc::clone(&self.views);
        tokio::task::spawn_blocking(move || question(&views.ask()?))
            .await
            .unwrap_or_else(|died| Err(Error::fault("question_died", died)))
    }
}

/// How long an answer waits for the views before it says that they are behind.
pub(crate) const WAIT: std::time::Duration = std::time::Duration::from_secs(5);
