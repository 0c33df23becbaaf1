//! Export bundles: what a regulator, an auditor or a data subject is handed, and can check with
//! `custody verify` or with nothing of ours. The format stands in `verify/FORMAT.md`.
//!
//! Promises: a bundle is streamed from the log, never built in memory, but for what its events
//! register, up to 64 MiB; it appears under its name only when it is whole; a key is handed out only if it opens what it is given for; in a bundle
//! about one person no sealed part of anybody else is handed out, whatever the caller says. Not
//! promised: a way back for what was handed out. Recording that an export was made, and each
//! disclosure before it opens, is the caller's. A crash leaves `<target>.custody-partial`, which the
//! next export to the same target removes; the loss of power just after may leave a directory whose
//! files its own manifest refuses.
//!
//! Writes files with blocking calls between reads of the log: run it where that disturbs nobody.

pub mod archive;
mod cover;
mod folder;
#[cfg(any(test, feature = "testing"))]
pub mod forge;
pub mod shelf;
mod write;

#[cfg(test)]
pub(crate) mod tests;

use std::path::PathBuf;

pub use cover::Cover;
pub use write::{Produced, write};

use crate::domain::id::Id;
use crate::domain::time::Timestamp;
use crate::ledger::tlog::{Edge, Hash, Invalid, SignedCheckpoint, Signer};
use crate::record::header::Header;
use crate::record::key::SecretKey;
use crate::verify::{Level, TagKeys};
use crate::{log, record};

/// Events of one selection, at most: each has a proof in a file of its own. More is a range.
pub const MAX_SELECTION: usize = 100_000;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request can never succeed as it is.
    #[error("export refused: {0}")]
    Refused(String),
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
    #[error("the key given for part {part}, box {sealed} of event {position} does not open it")]
    Key { position: u64, part: usize, sealed: usize },
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("no proof")]
    Proof(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Whoever is told how far it is wanted it no longer.
    #[error("the export was called off")]
    CalledOff,
}

/// What the writer needs of the ledger.
pub trait Proofs: Send + Sync {
    /// A published checkpoint of at least this size; of exactly this size where there is one, so
    /// that the range can be checked without a proof of growth.
    fn checkpoint(&self, covering: u64) -> Result<SignedCheckpoint, Error>;

    /// The right edge of the tree at a size.
    fn edge(&self, size: u64) -> Result<Edge, Error>;

    /// The path from the leaf of this header to the root at a size.
    fn inclusion(&self, position: u64, header: &[u8], size: u64) -> Result<Vec<Hash>, Error>;

    /// The proof that the tree only grew between two sizes.
    fn growth(&self, old: u64, new: u64) -> Result<Vec<Hash>, Error>;

    /// The key of the name `<origin>/export`, which signs nothing but manifests.
    fn manifest_signer(&self, origin: &str) -> Result<Signer, Error>;
}

/// What becomes of one sealed part.
pub enum Share {
    Withhold,
    Sealed,
    /// With its own key K_e, which opens this part and no other.
    Open(SecretKey),
}

/// Who decides that. It is asked for each box unless the level is `headers`; at the level `sealed`
/// what it would open stays sealed.
pub trait Disclose: Send + Sync {
    fn share(&self, position: u64, header: &Header<'_>, part: usize, sealed: usize) -> Share;
}

/// Everything sealed goes out sealed.
pub struct KeepSealed;

impl Disclose for KeepSealed {
    fn share(&self, _: u64, _: &Header<'_>, _: usize, _: usize) -> Share {
        Share::Sealed
    }
}

/// Which events.
pub enum Scope {
    /// All of the range.
    Range,
    /// Of the range, those at these positions, ascending; why these, in words and for machines.
    Selection { positions: Vec<u64>, words: String, filter: String },
    /// All of the range, and which of them are one person's: those whose tags these keys make.
    Subject { keys: TagKeys },
}

pub struct Request {
    pub export: Id,
    pub scope: Scope,
    /// First position, and the one after the last.
    pub from: u64,
    pub to: u64,
    pub level: Level,
    /// Events of the export that were retracted, as the views know it.
    pub retracted: u64,
    pub created: Timestamp,
    pub cover: Cover,
    /// Sizes of checkpoints that the recipient holds: the bundle shows growth from each.
    pub since: Vec<u64>,
}

/// Is told how far an export is, and may end it with an error.
pub type Watch<'a> = dyn FnMut(Progress) -> Result<(), Error> + Send + 'a;

/// How far an export is: events done, and of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub done: u64,
    pub total: u64,
}
