//! The registers: what stands in them, with its history, and changes of them.

mod apply;
pub(crate) mod gate;

pub use apply::{Applied, Import, Outcome, Proposed, Result as Became, event_id};

use crate::app::{App, Error};
use crate::domain::event::{RegisterKind, RegisterState};
use crate::domain::time::Timestamp;
use crate::views::book::{Entry, Line};

/// Which entries of a register.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub kind: RegisterKind,
    /// All if empty.
    pub ids: Vec<String>,
    pub states: Vec<RegisterState>,
    pub when: When,
    /// Entries before the page, and at most on it.
    pub start: usize,
    pub limit: usize,
}

/// Of what time an answer is.
#[derive(Debug, Clone, Copy, Default)]
pub struct When {
    /// Now if not stated.
    pub as_of: Option<Timestamp>,
    /// Records below this position; all if not stated.
    pub known_at: Option<u64>,
    /// Answer only when the views have reached this position.
    pub at_least: Option<u64>,
}

/// What an answer was computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Basis {
    pub applied: u64,
    pub as_of: Timestamp,
}

/// A page of a list, and whether there is more.
pub struct Page<T> {
    pub items: Vec<T>,
    pub more: bool,
    pub from: Basis,
}

impl App {
    pub async fn register_entries(&self, wanted: Wanted) -> Result<Page<Entry>, Error> {
        self.at_least(wanted.when.at_least).await?;
        let as_of = wanted.when.as_of.unwrap_or_else(|| self.clock.now());
        self.ask(move |ask| {
            let mut all = ask.entries(wanted.kind, as_of, wanted.when.known_at);
            all.retain(|entry| {
                (wanted.ids.is_empty() || wanted.ids.contains(&entry.id))
                    && (wanted.states.is_empty() || wanted.states.contains(&entry.state))
            });
            Ok(page(all, (wanted.start, wanted.limit), Basis { applied: ask.applied, as_of }))
        })
        .await
    }

    pub async fn register_entry(
        &self,
        kind: RegisterKind,
        id: String,
        when: When,
    ) -> Result<(Entry, Basis), Error> {
        self.at_least(when.at_least).await?;
        let as_of = when.as_of.unwrap_or_else(|| self.clock.now());
        self.ask(move |ask| {
            let entry = ask.entry(kind, &id, as_of, when.known_at).ok_or(Error::RegisterEntryNotFound)?;
            Ok((entry, Basis { applied: ask.applied, as_of }))
        })
        .await
    }

    /// Every version of an entry, in the order of the log.
    pub async fn register_history(
        &self,
        kind: RegisterKind,
        id: String,
        when: When,
        part: (usize, usize),
    ) -> Result<Page<Line>, Error> {
        self.at_least(when.at_least).await?;
        let as_of = when.as_of.unwrap_or_else(|| self.clock.now());
        self.ask(move |ask| {
            let all = ask.history(kind, &id, when.known_at);
            if all.is_empty() {
                return Err(Error::RegisterEntryNotFound);
            }
            Ok(page(all, part, Basis { applied: ask.applied, as_of }))
        })
        .await
    }
}

fn page<T>(all: Vec<T>, (start, limit): (usize, usize), from: Basis) -> Page<T> {
    let more = all.len() > start.saturating_add(limit);
    Page { items: all.into_iter().skip(start).take(limit).collect(), more, from }
}
