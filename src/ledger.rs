//! The ledger: what lets a stranger check that the log is complete and unchanged. It follows the
//! log, keeps the tree of RFC 6962 over its headers, signs its head and makes proofs.
//!
//! Promises: no two checkpoints of one origin contradict each other; a checkpoint is durable in the
//! data directory and in the outside copy before anybody gets it, and is kept for ever; a log that
//! lacks or contradicts what was published is never signed again, and says so; a proof that leaves
//! has been checked. Not promised: protection of those who kept no checkpoint and name no witness.
//!
//! A crash loses what was not yet signed. The hashes are derived from the log and not synced; the
//! consistent point (`point.rs`) says from where they are made again.
//!
//! | file below `ledger/` | content | if lost |
//! |---|---|---|
//! | `hashes-<level>` | hashes of every eighth level, 32 bytes each | made again from the log |
//! | `edge` | the consistent point | made again from the log |
//! | `checkpoints/` | every published checkpoint | the outside copy has them too |
//!
//! The outside copy holds `checkpoints/` again, and `evidence/`: answers of witnesses that refused.
//! `tlog` is pure and is what the export bundle and the offline verifier build on.

mod audit;
mod book;
mod books;
mod follow;
mod hashes;
pub mod http;
mod names;
mod point;
mod prove;
mod publish;
mod standing;
#[cfg(test)]
mod tests;
pub mod tlog;
pub mod witness;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::durable;
use crate::log::{self, Log};
use crate::record;
pub use audit::Audit;
use book::Book;
pub use books::{BookFault, BookFaultKind};
use hashes::Hashes;
pub use names::naming;
use point::Point;
pub use prove::{Growth, Inclusion};
use standing::Standing;
pub use standing::{Loss, Status};
use tlog::{Hash, Invalid, SignedCheckpoint, Signer};
use witness::Witnesses;

/// What a directory of checkpoints knows of a log.
#[derive(Debug, Clone)]
pub struct Outside {
    /// The newest checkpoint under the newest name.
    pub newest: SignedCheckpoint,
    /// It went on under another name than the one asked for.
    pub continued: bool,
}

/// The newest that was published of a log of this name, in the outside copy or in `ledger/` of a data
/// directory. Nothing is checked against a log: whoever restores one has none yet.
pub fn published_in(directory: &Path, origin: &str) -> Result<Option<Outside>, Error> {
    let book = Book::of(directory);
    let known = book.origins()?;
    let mut name = origin.to_owned();
    while known.contains(&names::next(&name)) {
        name = names::next(&name);
    }
    let newest = book.newest(&name)?;
    Ok(newest.map(|newest| Outside { newest, continued: name != origin }))
}

/// Why the ledger cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{path}")]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Log(#[from] log::Error),
    #[error("the header at position {position} cannot be read")]
    Record { position: u64, source: record::Error },
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("the stored hashes are damaged ({0}); a restart without the file `edge` makes them anew")]
    Damaged(&'static str),
    #[error("the checkpoint {path} does not check: {why}; restore it from the other copy")]
    Checkpoint { path: PathBuf, why: String },
    /// What was published and what the log holds cannot both be true.
    #[error("the log is not the one that was published: {0}")]
    Diverged(String),
    #[error(
        "the outside copy {outside} lacks checkpoints that the data directory has published (up to size {size}): \
         mount or restore it; if it is lost for good, say so once with `custody serve --declare-outside-lost`"
    )]
    OutsideLost { outside: PathBuf, size: u64 },
    #[error(
        "the log is empty, but {place} holds checkpoints of {origin}: restore the data directory, or name another \
         place with outside.path"
    )]
    LogMissing { place: PathBuf, origin: String },
    /// The same call succeeds after the next checkpoint.
    #[error("position {position} is in no published checkpoint yet")]
    Pending { position: u64 },
    #[error("there is no such checkpoint")]
    NotFound,
    #[error("the tree has {size} leaves")]
    Beyond { size: u64 },
    /// The disk does not take what the log has, or there is very much of it.
    #[error("the tree holds only {size} records yet")]
    Behind { size: u64 },
    #[error("the keyring has no key to sign checkpoints with: {0}")]
    NoKey(String),
    /// Another node has signed for a tree that this one does not have, yet or at all.
    #[error("nothing is signed: {0}")]
    Fenced(String),
    #[error("the ledger follows the log no more: {0}")]
    Stopped(String),
}

/// Whole and durable, with the directories above it.
fn keep_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let dir = path.parent().unwrap_or(path);
    durable::make_dir(dir).map_err(io_error(dir))?;
    durable::replace(path, bytes).map_err(io_error(path))
}

fn io_error(path: &Path) -> impl Fn(std::io::Error) -> Error {
    move |source| Error::Io { path: path.to_path_buf(), source }
}

/// Where the keys come from that sign checkpoints.
pub trait Keys: Send + Sync {
    /// One signer per key in use, the active one first; the name is the log's origin.
    fn signers(&self, origin: &str) -> Result<Vec<Signer>, Error>;
}

/// What several nodes ask that could sign for the same log, before a signature leaves any of them.
#[async_trait]
pub trait Fence: std::fmt::Debug + Send + Sync {
    /// Lets a checkpoint pass if it contradicts none that has passed; `at` gives the root that the caller's tree
    /// had at an earlier size.
    async fn pass(&self, checkpoint: &tlog::Checkpoint, at: &RootAt<'_>) -> Result<(), Error>;
}

/// The root of a tree when it had so many leaves.
pub type RootAt<'a> = dyn Fn(u64) -> Result<Hash, Error> + Send + Sync + 'a;

/// How a ledger is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// A directory of its own, below the data directory.
    pub dir: PathBuf,
    /// The outside copy.
    pub outside: PathBuf,
    /// The operator says that the outside copy is lost for good: what was published is copied there.
    pub outside_lost: bool,
    pub witnesses: Option<Witnesses>,
    /// `None` where nobody else could sign.
    pub fence: Option<Arc<dyn Fence>>,
}

/// The tree, its hashes, and what was published of it.
pub struct Ledger {
    options: Options,
    log: Arc<dyn Log>,
    keys: Arc<dyn Keys>,
    hashes: Hashes,
    inside: Book,
    outside: Book,
    /// As of the last record that was followed.
    point: Mutex<Point>,
    /// Held by who grows the tree, so that `point` is never held across I/O.
    growing: Mutex<()>,
    /// `point.edge.size()`, for those who wait.
    size: watch::Sender<u64>,
    standing: RwLock<Standing>,
    /// One publication at a time.
    publishing: tokio::sync::Mutex<()>,
    /// One consistent point at a time.
    keeping: Mutex<()>,
    stop: watch::Sender<bool>,
}

impl Ledger {
    /// Opens the ledger of a log and brings it up to the log's head; after a loss of what is derived
    /// that means all records. Then what was published is compared with what is there.
    pub async fn open(
        options: Options,
        log: Arc<dyn Log>,
        keys: Arc<dyn Keys>,
    ) -> Result<Arc<Ledger>, Error> {
        durable::make_dir(&options.dir).map_err(io_error(&options.dir))?;
        let hashes = Hashes::open(&options.dir)?;
        let point = follow::resume(&options.dir, &hashes, log.head())?;
        let ledger = Arc::new(Ledger {
            inside: Book::of(&options.dir),
            outside: Book::of(&options.outside),
            size: watch::Sender::new(point.edge.size()),
            point: Mutex::new(point),
            growing: Mutex::default(),
            standing: RwLock::default(),
            publishing: tokio::sync::Mutex::default(),
            keeping: Mutex::default(),
            stop: watch::Sender::new(false),
            options,
            log,
            keys,
            hashes,
        });
        match ledger.catch_up().await {
            // Damage is the log's to tell. What can be read is served; nothing is signed.
            Err(why @ Error::Log(log::Error::Corrupt { .. })) => ledger.stopped(&why),
            caught_up => caught_up?,
        }
        ledger.examine()?;
        Ok(ledger)
    }

    /// Leaves that the tree has.
    pub fn size(&self) -> u64 {
        *self.size.borrow()
    }

    /// Size and root of the tree as it is now.
    pub fn head(&self) -> (u64, Hash) {
        let point = self.point();
        (point.edge.size(), point.edge.root())
    }

    /// The log's present name; `None` before its first event.
    pub fn origin(&self) -> Option<String> {
        self.point().origins.last().map(|naming| naming.origin.clone())
    }

    /// The name that the log's first event gave it.
    pub fn first_origin(&self) -> Option<String> {
        self.point().origins.first().map(|naming| naming.origin.clone())
    }

    /// The newest checkpoint of the present origin.
    pub fn latest(&self) -> Option<Arc<SignedCheckpoint>> {
        self.standing().latest.clone()
    }

    /// Waits until the tree holds this many leaves.
    pub async fn wait_for(&self, size: u64) -> Result<(), Error> {
        let mut seen = self.size.subscribe();
        let stopped = || Error::Stopped("it was closed".to_owned());
        tokio::select! {
            reached = seen.wait_for(|now| *now >= size) => reached.map(drop).map_err(|_| stopped()),
            why = self.ended() => Err(Error::Stopped(why)),
        }
    }

    /// The keys by which others check what is signed here.
    pub fn verifier_keys(&self) -> Result<Vec<tlog::VerifierKey>, Error> {
        let Some(origin) = self.origin() else { return Ok(Vec::new()) };
        Ok(self.keys.signers(&origin)?.iter().map(|signer| signer.verifier().clone()).collect())
    }

    fn point(&self) -> MutexGuard<'_, Point> {
        // It is replaced as a whole, so a panic elsewhere cannot leave it half changed.
        self.point.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
