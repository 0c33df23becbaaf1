//! Exports: who may have which events, made beside the service's work, kept for a while, removed.
//!
//! Promises: what is opened, and the tag keys that are handed out, stand in the log before anybody
//! gets them; every export that can be fetched is an event; one is made at a time. A crash loses an
//! export in the making and nothing else: it stands as failed, and is asked for again.
//!
//! `scope` says which events are meant, `make` makes the bundle, `sources` is what its writer is given.

mod make;
mod scope;
pub(super) mod sources;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{Semaphore, watch};
use zeroize::Zeroizing;

use crate::app::App;
use crate::app::access::{Caller, Role};
use crate::app::error::Error;
use crate::app::own::{Opening, event_id};
use crate::app::record::DISK_AT_RESERVE;
use crate::app::subjects::Name;
use crate::domain::id::Id;
use crate::domain::time::{MS_PER_DAY, Timestamp};
use crate::export::archive::Archive;
use crate::export::shelf::{self, Kept, Shelf, State};
use crate::export::{self, Cover};
use crate::verify::Level;
use crate::views::list::Filter;
use make::Job;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// `None`: one is made.
    pub id: Option<Id>,
    pub scope: Scope,
    pub level: Level,
    /// At the level opened: whose parts.
    pub opened: Vec<Name>,
    pub opening: Option<Opening>,
    pub cover: Cover,
    /// Tree sizes of checkpoints that the recipient holds.
    pub since: Vec<u64>,
}

/// Which events.
#[derive(Debug, Clone)]
pub enum Scope {
    Range(Span),
    Filter {
        filter: Box<Filter>,
        without_retracted: bool,
    },
    /// All of a range, with the tag keys of one person.
    Person(Name, Span),
}

/// A part of the log without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// First position, and the one after the last; what is recorded now if `None`.
    Positions(u64, Option<u64>),
    /// From the first event recorded at or after, to the last one recorded before.
    Recorded(Option<Timestamp>, Option<Timestamp>),
}

/// An export, and the tag keys that go with one person's.
pub struct Begun {
    pub export: Kept,
    pub tag_keys: Option<Zeroizing<String>>,
}

/// What the app keeps of exports: their shelf, and whose turn it is.
pub struct Exports {
    shelf: Arc<Shelf>,
    keep_ms: i64,
    turn: Semaphore,
}

impl Exports {
    pub fn new(shelf: Arc<Shelf>, keep_ms: i64) -> Exports {
        Exports { shelf, keep_ms, turn: Semaphore::new(1) }
    }

    /// Returns in a moment in which no export is being made.
    pub(crate) async fn nothing_is_made(&self) -> Result<(), Error> {
        self.turn.acquire().await.map(drop).map_err(|gone| Error::fault("export_turn", gone))
    }
}

/// How long it is told that an export failed.
const FAILED_MS: i64 = MS_PER_DAY;

impl App {
    /// Begins an export. What can be wrong with the request is told now, the rest in the export's state.
    pub async fn create_export(self: &Arc<Self>, caller: &Caller, wanted: Wanted) -> Result<Begun, Error> {
        self.may_grow()?;
        if self.reserve.is_reached() {
            return Err(DISK_AT_RESERVE);
        }
        let id = match &wanted.id {
            Some(id) if shelf::is_name(id) => id.clone(),
            Some(_) => return Err(Error::invalid("export_id", "is not letters, digits and hyphens")),
            None => new_id(self.clock.now())?,
        };
        let job = self.plan(caller, id, wanted).await?;
        let entry = job.entry(self.clock.now());
        let there = self.on_shelf(move |shelf| shelf.begin(entry)).await?;
        if let Some(there) = &there
            && !job.is(there)
        {
            return Err(Error::ExportConflict);
        }
        let tag_keys = match self.hand_out_tag_keys(&job).await {
            Ok(keys) => keys,
            Err(why) if there.is_none() => {
                let id = job.id.clone();
                self.on_shelf(move |shelf| shelf.remove(&id)).await?;
                return Err(why);
            }
            Err(why) => return Err(why),
        };
        let export = match there {
            Some(there) => there,
            None => {
                let export = self.export(&job.id)?;
                tokio::spawn(Arc::clone(self).run_export(job));
                export
            }
        };
        Ok(Begun { export, tag_keys })
    }

    pub fn export(&self, id: &Id) -> Result<Kept, Error> {
        self.exports.shelf.get(id).ok_or(Error::ExportNotFound)
    }

    /// Those that are kept, the newest first.
    pub fn exports(&self) -> Vec<Kept> {
        self.exports.shelf.list()
    }

    /// Every change of an export from now on; ends when it is removed.
    pub fn watch_export(&self, id: &Id) -> Result<watch::Receiver<Kept>, Error> {
        self.exports.shelf.follow(id).ok_or(Error::ExportNotFound)
    }

    /// What can be fetched of an export, by somebody who may have it.
    pub async fn fetch_export(&self, caller: &Caller, id: &Id) -> Result<Archive, Error> {
        let kept = self.export(id)?;
        if kept.level == Level::Opened && !(caller.has(Role::Officer) || caller.has(Role::Regulator)) {
            let why = format!("{} may not fetch what is opened", caller.name);
            return Err(Error::PermissionDenied { reason: "role_forbidden", why });
        }
        match kept.state {
            State::Ready(_) => {}
            State::Pending | State::Running => return Err(not_ready("the export is still made".to_owned())),
            State::Failed { message, .. } => return Err(not_ready(format!("the export failed: {message}"))),
        }
        let id = id.clone();
        self.on_shelf(move |shelf| Archive::open(&shelf.bundle(&id))).await
    }

    /// Removes an export; one that is still made ends soon.
    pub async fn delete_export(&self, id: &Id) -> Result<(), Error> {
        let id = id.clone();
        if self.on_shelf(move |shelf| shelf.remove(&id)).await? { Ok(()) } else { Err(Error::ExportNotFound) }
    }

    /// Removes what is kept too long.
    pub async fn expire_exports(&self) -> Result<(), Error> {
        let now = self.clock.now();
        let removed = self.on_shelf(move |shelf| shelf.expire(now, now.plus_ms(-FAILED_MS))).await?;
        if removed > 0 {
            tracing::info!(removed, "exports that were kept long enough are removed");
        }
        Ok(())
    }

    async fn run_export(self: Arc<Self>, job: Job) {
        let id = job.id.clone();
        let state = match self.make(&job).await {
            Ok(made) => State::Ready(made),
            Err(why) => {
                let chain = why.chain().unwrap_or_default();
                tracing::warn!(export = %id, reason = why.reason(), error = %why, chain, "an export failed");
                State::Failed { reason: why.reason().to_owned(), message: why.to_string() }
            }
        };
        let name = id.clone();
        match self.on_shelf(move |shelf| shelf.set(&name, state)).await {
            // Whoever deleted it meanwhile does not wait to be told.
            Ok(_) => {}
            Err(why) => tracing::error!(export = %id, error = %why, "an export's state could not be kept"),
        }
    }

    pub(crate) async fn on_shelf<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Shelf) -> Result<T, export::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let shelf = Arc::clone(&self.exports.shelf);
        let done = tokio::task::spawn_blocking(move || act(&shelf)).await;
        Ok(done.map_err(|died| Error::fault("shelf_died", died))??)
    }

    pub fn is_called_off(&self) -> bool {
        self.called_off.load(Ordering::Relaxed)
    }
}

fn not_ready(why: String) -> Error {
    Error::Precondition { reason: "export_not_ready", why }
}

fn new_id(now: Timestamp) -> Result<Id, Error> {
    event_id(now)?.to_string().parse().map_err(|_| Error::internal("export_id_malformed"))
}
