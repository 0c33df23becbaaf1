//! The vault's generation in the log, by which a vault that is older than the log is found out
//! before anybody is looked up in it (DESIGN 6): a copy put back would lack people whom records
//! name, and would have keys again that were destroyed.
//!
//! Written by a job, once an hour by default, where the generation has changed. A mark says what the vault
//! had committed before it, so a vault that is newer than the newest mark is as it should be. What was
//! committed since may be missing without being noticed.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::app::App;
use crate::app::error::Error;
use crate::domain::event::catalogue::VaultMarked;
use crate::domain::event::{Body, EventType};
use crate::record::Header;
use crate::views::Filter;

/// Records behind the views' position that are read for a mark at the start. Few in tests.
const TAIL: u64 = if cfg!(test) { 16 } else { 1 << 18 };
/// Records and bytes read at once.
const RECORDS: usize = 4_096;
const BYTES: usize = 4 << 20;

/// What the newest mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    generation: u64,
    position: u64,
}

/// What is known of marks.
#[derive(Debug, Default)]
pub struct Newest(Mutex<Known>);

#[derive(Debug, Clone, Copy, Default)]
struct Known {
    mark: Option<Mark>,
    /// All of the log was searched. At a start whose views are made anew it is not, and the search is
    /// repeated when they have caught up.
    complete: bool,
    older: Option<OlderVault>,
}

impl Newest {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// That the vault is older than the log, found out only after the start.
    pub fn older(&self) -> Option<OlderVault> {
        self.lock().older
    }
}

/// The vault is not the one that the log was written with, but an earlier state of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the vault is older than the log: it stands at generation {found}, but the log says at position {position} \
     that it has been at {marked}. People made since then would be missing, and keys destroyed since then would \
     be back. Put back the newest copy of the `vault` folder; the keyring and the log stay as they are"
)]
pub struct OlderVault {
    pub found: u64,
    pub marked: u64,
    pub position: u64,
}

impl App {
    /// Compares the vault with the newest mark in the log. A log that cannot be read says so
    /// elsewhere, and does not keep what can still be answered from being answered.
    pub async fn check_vault(&self) -> Result<Option<OlderVault>, Error> {
        let (mark, complete) = match self.newest_mark().await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "the vault could not be compared with the log");
                return Ok(None);
            }
        };
        let found = self.vault.status().await?.generation;
        let older = mark.and_then(|Mark { generation: marked, position, .. }| {
            (found < marked).then_some(OlderVault { found, marked, position })
        });
        *self.vault_mark.lock() = Known { mark, complete, older };
        Ok(older)
    }

    /// Looks again where a start could not search all of the log, because its views were made anew.
    pub async fn look_at_vault(&self) -> Result<(), Error> {
        if !self.vault_mark.lock().complete {
            self.check_vault().await?;
        }
        Ok(())
    }

    /// The generation to be marked, if it has changed since the newest mark.
    pub async fn unmarked_generation(&self) -> Result<Option<u64>, Error> {
        self.look_at_vault().await?;
        let known = *self.vault_mark.lock();
        if !known.complete || known.older.is_some() {
            // A mark now would say that this vault is the newest.
            return Ok(None);
        }
        // Committed before the event is recorded, so the log never says more than the vault has.
        let generation = self.vault.status().await?.generation;
        Ok((generation != known.mark.map_or(0, |mark| mark.generation)).then_some(generation))
    }

    /// Records the vault's generation if it has changed; says whether it had.
    pub async fn mark_vault(&self) -> Result<bool, Error> {
        let Some(generation) = self.unmarked_generation().await? else { return Ok(false) };
        let body = VaultMarked { generation: Some(generation) };
        let receipt = self.record_own(Body::VaultMarked(Box::new(body)), Vec::new()).await?;
        self.vault_mark.lock().mark = Some(Mark { generation, position: receipt.position });
        self.detecting.passes(receipt.position);
        Ok(true)
    }

    /// From the views, and from what they have not read yet; and whether that is all of the log.
    async fn newest_mark(&self) -> Result<(Option<Mark>, bool), Error> {
        let (listed, applied) = self.listed_mark().await?;
        let head = self.log.head();
        let mut at = applied.max(head.saturating_sub(TAIL));
        let complete = at <= applied;
        let mut newest = listed;
        while at < head {
            let records = self.log.read(at, RECORDS, BYTES).await?;
            let Some(last) = records.last() else { break };
            at = last.position + 1;
            let marked = Some(EventType::VaultMarked.as_str());
            for record in records.iter().filter(|record| Header::type_name(&record.header) == marked) {
                let header = Header::parse(&record.header)?;
                let body = header.body(None)?;
                newest = mark_of(&body, record.position).or(newest);
            }
        }
        Ok((newest, complete))
    }

    async fn listed_mark(&self) -> Result<(Option<Mark>, u64), Error> {
        let filter = Filter { types: vec![EventType::VaultMarked], ..Filter::default() };
        self.ask(move |ask| {
            let mut cursor = None;
            loop {
                let page = ask.list(&filter, cursor, 1)?;
                if let Some(view) = page.events.first() {
                    return Ok((mark_of(&view.body, view.position), page.applied));
                }
                if page.next.is_none() {
                    return Ok((None, page.applied));
                }
                cursor = page.next;
            }
        })
        .await
    }
}

fn mark_of(body: &Body, position: u64) -> Option<Mark> {
    let Body::VaultMarked(body) = body else { return None };
    Some(Mark { generation: body.generation?, position })
}
