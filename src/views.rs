//! The views: rebuildable answers, folded from the log.
//!
//! Promise: what they answer is a function of the log up to the position they name, whatever the
//! size of the chunks in which it was read and however often they were rebuilt; an event that was
//! taken back or a person who was erased leaves nothing behind. They do not promise to be up to
//! date (`wait_for` does), and they hold nothing of their own: a crash loses what was not yet
//! committed, which is replayed, and a store that is damaged is made again from the log.
//!
//! Everything here blocks the calling thread, except where a function is async. Do not call it
//! from a thread that drives tasks.

pub mod apply;
pub mod ask;
pub mod book;
pub mod codec;
pub mod counter;
pub mod decode;
pub mod due;
pub mod erased;
pub mod event_view;
pub mod exported;
pub mod farewell;
mod feed;
pub mod findings;
pub mod flows;
mod fold;
pub mod generation;
pub mod group;
pub mod inbox;
pub mod instructions;
mod job_runs;
pub mod list;
pub mod lock;
pub mod mark;
pub mod occurrences;
pub mod own;
pub mod people;
pub mod person;
pub mod plans;
pub mod population;
pub mod postings;
pub mod reach;
pub mod rebuild;
pub mod registers;
pub mod report;
pub mod retention;
pub mod retract;
pub mod ropa;
pub mod rules;
pub mod runner;
pub mod sdks;
pub mod sealed;
pub mod sequence;
pub mod shape;
pub mod silence;
pub mod store;
pub mod stretch;
pub mod use_check;
pub mod zone;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

pub use event_view::EventView;
pub use list::{Cursor, Filter, Page};
pub use rebuild::{Comparison, Progress};
pub use report::{Report, ReportOptions};

use crate::domain::erasure::Left;
use crate::domain::event::catalogue::ActivityRegistered;
use crate::domain::id::{Digest, Id, SubjectId};
use crate::domain::register::Book;
use crate::domain::time::Timestamp;
use crate::log::Log;
use crate::record::IndexKeys;
use crate::{log, record};
use ask::Ask;
use erased::Erased;
use generation::Generation;
use reach::Reach;
use registers::Registers;
use sequence::Sequence;

/// How the views are kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// A directory of their own.
    pub dir: PathBuf,
    /// Bytes for rows at hand and blocks of the store together, of one generation. A rebuild has
    /// a second generation for as long as it runs.
    pub cache_bytes: u64,
    /// Records between two commits at most, when there are so many to apply.
    pub chunk_records: usize,
    /// Threads that decode ahead of the one that applies.
    pub decoders: usize,
    /// Who is known to be erased before the log is read.
    pub erased: Vec<(Digest, Left)>,
}

impl Options {
    pub fn new(dir: PathBuf) -> Options {
        Options { dir, cache_bytes: 256 << 20, chunk_records: 65_536, decoders: 2, erased: Vec::new() }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed or is damaged. A rebuild makes it anew.
    #[error("the views' store failed; `custody views rebuild` makes it anew")]
    Store(#[from] fjall::Error),
    #[error("the views' store is damaged; `custody views rebuild` makes it anew")]
    Damaged(#[from] codec::Malformed),
    #[error("the views' directory failed")]
    Io(#[source] std::io::Error),
    #[error(transparent)]
    Log(#[from] log::Error),
    /// A record that cannot be applied: of a newer version, or not what its header says.
    #[error("the record at position {position} cannot be applied")]
    Record { position: u64, source: record::Error },
    #[error("the log gave position {got} where {expected} was next")]
    Order { expected: u64, got: u64 },
    /// The views have seen more than the log has: the log lost its tail.
    #[error(
        "the views have applied {applied} records but the log has only {head}: it lost its tail; see `custody recover`"
    )]
    LostTail { applied: u64, head: u64 },
    /// Not within the time given.
    #[error("the views have not reached position {wanted} yet, but {applied}")]
    NotYet { wanted: u64, applied: u64 },
    #[error("the views are being rebuilt or compared already")]
    Busy,
    #[error("the rebuild was called off")]
    CalledOff,
    #[error("the views have stopped: {0}")]
    Stopped(String),
}

/// What an operator needs to see.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    pub generation: u64,
    /// Records below this position are in the answers.
    pub applied: u64,
    pub head: u64,
    /// Records still to be applied.
    pub lag: u64,
    /// Why answers may lack what was recorded long ago.
    pub stale: Option<String>,
    pub bytes_on_disk: u64,
}

/// The views of one log.
pub struct Views {
    options: Options,
    reach: Reach,
    live: RwLock<Arc<Generation>>,
    /// Answers are incomplete until this position is reached: the store was made anew.
    incomplete: RwLock<Option<(u64, &'static str)>>,
    /// Held by who makes or compares a generation: the last number that one got since the start.
    second: Mutex<u64>,
}

const FIRST: &str = "the views are built for the first time";
const DAMAGED: &str = "the views' store was damaged or of another format and is built anew";

/// Rows for people of whom only the tomb is known.
fn by_tombs(tombs: &[(Digest, Left)]) -> Vec<store::Stored> {
    tombs.iter().map(|(tomb, left)| (store::tomb(*tomb).to_vec(), Erased::by_tomb(*left).encode())).collect()
}

impl Views {
    /// Opens the views and starts to follow the log. A store that is damaged or of another format
    /// is made anew at once, with an alarm, and answers meanwhile are marked stale. Fails where the
    /// log has less than the views have seen, and where the directory cannot be used.
    pub fn open(options: Options, log: Arc<dyn Log>, keys: Arc<dyn IndexKeys>) -> Result<Arc<Views>, Error> {
        std::fs::create_dir_all(&options.dir).map_err(Error::Io)?;
        let reach = Reach::new(log, keys)?;
        let head = reach.log.head();
        let present = generation::present(&options.dir)?;
        let mut why = FIRST;
        let mut live = None;
        // A file that names what is not there was changed: nothing may answer as if it were whole.
        if let Some(number) = generation::current(&options.dir)?.filter(|number| present.contains(number)) {
            // The store's own code may panic on bytes that it wrote and others changed.
            let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                Generation::open(&options, number, reach.clone())
            }));
            match opened {
                Ok(Ok(generation)) => live = Some(generation),
                Ok(Err(lost @ Error::LostTail { .. })) => return Err(lost),
                Ok(Err(why @ (Error::Log(_) | Error::Record { .. }))) => return Err(why),
                _ => {
                    tracing::error!(
                        generation = number,
                        "the views' store is damaged; it is built anew from the log"
                    );
                    why = DAMAGED;
                }
            }
        } else if !present.is_empty() || generation::current(&options.dir)?.is_some() {
            why = DAMAGED;
        }
        let mut incomplete = None;
        let live = match live {
            Some(live) => live,
            None => {
                let number = present.last().map_or(1, |last| last + 1);
                let seed = by_tombs(&options.erased);
                let made = Generation::make(&options, number, reach.clone(), (seed, None))?;
                generation::set_current(&options.dir, number)?;
                incomplete = (head > 0).then_some((head, why));
                made
            }
        };
        for number in present.into_iter().filter(|number| *number != live.number) {
            generation::remove(&options.dir, number)?;
        }
        Ok(Arc::new(Views {
            options,
            reach,
            live: RwLock::new(live),
            incomplete: RwLock::new(incomplete),
            second: Mutex::default(),
        }))
    }

    fn live(&self) -> Arc<Generation> {
        Arc::clone(&lock::read(&self.live))
    }

    /// Which of these tombs the views have read no *accepted* of.
    pub fn not_accepted(&self, tombs: &[(Digest, Left)]) -> Result<Vec<(Digest, Left)>, Error> {
        let reading = self.live().store.reading();
        let mut lacking = Vec::new();
        for tomb in tombs {
            if erased::row(&reading, tomb.0)?.and_then(|row| row.accepted).is_none() {
                lacking.push(*tomb);
            }
        }
        Ok(lacking)
    }

    /// Which of these tombs the views do not know at all: what they say of those people must go.
    pub fn unknown(&self, tombs: &[(Digest, Left)]) -> Result<Vec<(Digest, Left)>, Error> {
        let reading = self.live().store.reading();
        let mut unknown = Vec::new();
        for tomb in tombs {
            if erased::row(&reading, tomb.0)?.is_none() {
                unknown.push(*tomb);
            }
        }
        Ok(unknown)
    }

    /// One consistent state to ask several questions of.
    pub fn ask(&self) -> Result<Ask, Error> {
        Ask::new(self.live(), self.reach.clone())
    }

    /// Returns once records below `position` are in the answers: pass a receipt's position + 1.
    pub async fn wait_for(&self, position: u64, within: Duration) -> Result<(), Error> {
        let reached = async {
            loop {
                let live = self.live();
                let mut news = live.follow();
                if *news.borrow_and_update() >= position {
                    return Ok(());
                }
                if let Some(why) = live.failed() {
                    return Err(Error::Stopped(why));
                }
                live.hurry();
                drop(live);
                if news.changed().await.is_err() {
                    // That generation was replaced; look at the next.
                    tokio::task::yield_now().await;
                }
            }
        };
        match tokio::time::timeout(within, reached).await {
            Ok(reached) => reached,
            Err(_) => Err(Error::NotYet { wanted: position, applied: self.live().applied() }),
        }
    }

    /// Everything about one person; `None` if nothing is known, or the person is erased.
    pub fn report(&self, subject: SubjectId, options: ReportOptions) -> Result<Option<Report>, Error> {
        let mut report = self.ask()?.report(subject, options)?;
        if let Some(report) = &mut report {
            report.stale = self.stale();
        }
        Ok(report)
    }

    /// Whether any applied record names the person.
    pub fn subject_known(&self, subject: SubjectId) -> Result<bool, Error> {
        Ok(self.live().store.get(&store::person(subject))?.is_some())
    }

    pub fn service_tz(&self, service: &Id, at: Timestamp) -> Option<chrono_tz::Tz> {
        lock::read(&self.live().shared.registers).service_tz(service, at)
    }

    /// The revision of an activity in force at an instant, with its number.
    pub fn activity_at(&self, activity: &Id, at: Timestamp) -> Option<(u64, Arc<ActivityRegistered>)> {
        let live = self.live();
        let revision = lock::read(&live.shared.registers).activity_at(activity, at, u64::MAX)?;
        Some((revision.number, revision.entry.body))
    }

    /// The registers as they stand.
    pub fn registers<T>(&self, read: impl FnOnce(&Registers) -> T) -> T {
        read(&lock::read(&self.live().shared.registers))
    }

    /// The registers with their history, as they stand.
    pub fn book<T>(&self, read: impl FnOnce(&Book) -> T) -> T {
        read(&lock::read(&self.live().shared.book))
    }

    /// Gaps in the emitters' own numbers, by emitter.
    pub fn emitter_gaps(&self) -> Result<Vec<(Id, Sequence)>, Error> {
        let reading = self.live().store.reading();
        let mut gaps = Vec::new();
        for row in reading.prefix(&[store::tag::EMITTER]) {
            let (key, value) = row?;
            gaps.push((store::emitter_of(&key)?, Sequence::decode(&value)?));
        }
        Ok(gaps)
    }

    /// Why answers may lack what was recorded long ago.
    pub fn stale(&self) -> Option<String> {
        let live = self.live();
        if let Some(why) = live.failed() {
            return Some(why);
        }
        let incomplete = *lock::read(&self.incomplete);
        let (until, why) = incomplete?;
        if live.applied() >= until {
            *lock::write(&self.incomplete) = None;
            return None;
        }
        Some(format!("{why}: {} of {until} records", live.applied()))
    }

    /// Records below this position are in the answers.
    pub fn applied(&self) -> u64 {
        self.live().applied()
    }

    /// Records still to be applied, by which the caller slows ingestion.
    pub fn lag(&self) -> u64 {
        self.reach.log.head().saturating_sub(self.live().applied())
    }

    pub fn status(&self) -> Result<Status, Error> {
        let live = self.live();
        let (applied, head) = (live.applied(), self.reach.log.head());
        Ok(Status {
            generation: live.number,
            applied,
            head,
            lag: head.saturating_sub(applied),
            stale: self.stale(),
            bytes_on_disk: live.store.disk_bytes()?,
        })
    }

    /// Stops following the log; what was applied is committed. Questions are still answered.
    pub fn close(&self) {
        self.live().close();
    }
}
