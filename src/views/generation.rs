//! One generation of the views: its directory, its rows, the threads that fill it.
//!
//! `CURRENT` names the generation that answers. It is replaced by a rename that is synced, so after
//! a crash either the old or the new one answers; directories it does not name are leftovers.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use tokio::sync::watch;

use crate::durable;
use crate::views::apply::{Applier, Shared};
use crate::views::feed::Stop;
use crate::views::reach::Reach;
use crate::views::runner::{self, Watch};
use crate::views::store::{FORMAT, Store, Stored, meta};
use crate::views::{Error, Options, lock};

const CURRENT: &str = "CURRENT";

/// The number of the generation that answers, if there is one.
pub fn current(dir: &Path) -> Result<Option<u64>, Error> {
    match fs::read_to_string(dir.join(CURRENT)) {
        // A torn or foreign file names none: the views are then made anew.
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(Error::Io(why)),
    }
}

pub fn set_current(dir: &Path, number: u64) -> Result<(), Error> {
    durable::replace(&dir.join(CURRENT), format!("{number}\n").as_bytes()).map_err(Error::Io)
}

/// Numbers of all generations that have a directory, in order.
pub fn present(dir: &Path) -> Result<Vec<u64>, Error> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::Io)? {
        let name = entry.map_err(Error::Io)?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.strip_prefix("gen-")?.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

pub fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("gen-{number}"))
}

pub fn remove(dir: &Path, number: u64) -> Result<(), Error> {
    match fs::remove_dir_all(path(dir, number)) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(Error::Io(why)),
        _ => Ok(()),
    }
}

/// A generation that follows the log.
pub struct Generation {
    pub number: u64,
    pub store: Store,
    pub shared: Arc<Shared>,
    reach: Reach,
    options: Options,
    runner: Mutex<Option<Runner>>,
    news: Arc<News>,
    /// Last, so that it is dropped when the store is closed.
    files: Files,
}

/// The directory, which goes with the generation once that is replaced.
struct Files {
    path: PathBuf,
    unwanted: AtomicBool,
}

impl Drop for Files {
    fn drop(&mut self) {
        if self.unwanted.load(Ordering::SeqCst)
            && let Err(why) = fs::remove_dir_all(&self.path)
        {
            // The next start removes what is left.
            tracing::warn!(path = %self.path.display(), %why, "an old generation of the views stays on disk");
        }
    }
}

/// The threads that follow the log, and how to end them.
struct Runner {
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<()>>,
}

/// What the runner has told.
struct News {
    applied: watch::Sender<u64>,
    /// Why the runner ended, if it was not asked to.
    failed: RwLock<Option<String>>,
}

impl Watch for News {
    fn applied(&self, next: u64) {
        self.applied.send_replace(next);
    }

    fn ended(&self, why: Option<Error>) {
        if let Some(why) = why {
            let mut text = why.to_string();
            let mut source = std::error::Error::source(&why);
            while let Some(inner) = source {
                text = format!("{text}: {inner}");
                source = inner.source();
            }
            tracing::error!(reason = %text, "the views have stopped; they answer with what they have");
            *lock::write(&self.failed) = Some(text);
        }
        // Those who wait look again.
        self.applied.send_modify(|_| {});
    }
}

/// Rows that a new generation begins with, and the first position that it does not apply.
pub type Start = (Vec<Stored>, Option<u64>);

impl Generation {
    /// Opens a generation and goes on to follow the log.
    pub fn open(options: &Options, number: u64, reach: Reach) -> Result<Arc<Generation>, Error> {
        Generation::make(options, number, reach, Start::default())
    }

    /// Makes a generation and starts to follow the log, for ever or up to a position.
    pub fn make(
        options: &Options,
        number: u64,
        reach: Reach,
        (seed, until): Start,
    ) -> Result<Arc<Generation>, Error> {
        let dir = path(&options.dir, number);
        let store = Store::open(&dir, options.cache_bytes / 4)?;
        let reading = store.reading();
        let (applied, format) = (reading.applied()?, reading.number(meta::FORMAT)?);
        if format.is_some_and(|format| format != FORMAT) || format.is_none() && applied > 0 {
            return Err(super::codec::Malformed("format").into());
        }
        let head = reach.log.head();
        if applied > head {
            return Err(Error::LostTail { applied, head });
        }
        drop(reading);
        let mut batch = store.batch(seed.len());
        seed.iter().for_each(|(key, value)| batch.insert(key, value));
        batch.commit()?;
        let news = Arc::new(News { applied: watch::Sender::new(applied), failed: RwLock::default() });
        let generation = Generation {
            number,
            store,
            shared: Arc::default(),
            reach,
            options: options.clone(),
            runner: Mutex::default(),
            news,
            files: Files { path: dir, unwanted: AtomicBool::new(false) },
        };
        generation.start(until)?;
        Ok(Arc::new(generation))
    }

    /// Follows the log, from where the rows stand.
    pub fn start(&self, until: Option<u64>) -> Result<(), Error> {
        let mut runner = self.runner.lock().unwrap_or_else(PoisonError::into_inner);
        if runner.is_some() {
            return Ok(());
        }
        let cache = self.options.cache_bytes / 8 * 3;
        let applier = Applier::open(self.store.clone(), Arc::clone(&self.shared), self.reach.clone(), cache)?;
        let how = runner::How {
            chunk_records: self.options.chunk_records.max(1),
            decoders: self.options.decoders.max(1),
            until: until.unwrap_or(u64::MAX),
        };
        let stop = Arc::new(Stop::default());
        let news: Arc<dyn Watch> = self.news.clone();
        let threads = runner::start(applier, self.reach.clone(), Arc::clone(&stop), news, how)?;
        *runner = Some(Runner { stop, threads });
        Ok(())
    }

    /// Records below this position are committed.
    pub fn applied(&self) -> u64 {
        *self.news.applied.borrow()
    }

    pub fn follow(&self) -> watch::Receiver<u64> {
        self.news.applied.subscribe()
    }

    /// Somebody waits: what is in the log is applied without a rest.
    pub fn hurry(&self) {
        let runner = self.runner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runner) = &*runner {
            runner.stop.hurry();
        }
    }

    /// Why the runner ended, if it was not asked to.
    pub fn failed(&self) -> Option<String> {
        lock::read(&self.news.failed).clone()
    }

    /// Ends the threads and waits for them. What they had applied is committed.
    pub fn close(&self) {
        let runner = self.runner.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Runner { stop, threads }) = runner else { return };
        stop.stop();
        for thread in threads {
            // A thread that panicked has told so on its own.
            let _ = thread.join();
        }
        // Those who wait look again: perhaps another generation answers now.
        self.news.applied.send_modify(|_| {});
    }

    /// Removes the files as soon as nobody reads them any more.
    pub fn discard(&self) {
        self.close();
        self.files.unwanted.store(true, Ordering::SeqCst);
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.close();
    }
}
