//! Moving a vault to new keys while it serves, and what still needs an old one.
//!
//! Promises: every step is bounded and one commit, so that others are served between two of them; a
//! crash between two loses nothing, and the next round goes on with what is left. Nobody is ever
//! without a key that opens: what is locked anew takes the place of what was there in one commit.

use async_trait::async_trait;

use crate::domain::time::Timestamp;
use crate::vault::Error;

/// How far a round has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Batch {
    /// Where the next one begins.
    pub after: i64,
    /// Holders that were looked at, and rows that were changed.
    pub passed: u64,
    pub changed: u64,
    /// There are no more.
    pub last: bool,
}

/// What is still under a look-up key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LookupUse {
    /// Bindings and sightings.
    pub rows: u64,
    /// Marks of erased people that may be under it, and when the last of them is over. They cannot be
    /// moved, because nobody knows any more what they were made of.
    pub erased: u64,
    pub erased_until: Option<Timestamp>,
}

/// What of a vault has to follow a change of the keyring.
#[async_trait]
pub trait Rotation: Send + Sync {
    /// Key-encryption keys that holders are locked with, and how many, as far as the vault keeps count.
    async fn locked_with(&self) -> Result<Vec<(u32, u64)>, Error>;

    /// How many holders are locked with one, looked up in every row. To be asked before it is destroyed.
    async fn count_locked_with(&self, kek: u32) -> Result<u64, Error>;

    /// Locks some holders behind `after` with the active key-encryption key.
    async fn rewrap_some(&self, after: i64) -> Result<Batch, Error>;

    /// When it returns, what was locked with other keys before is in no file.
    async fn forget_old_wraps(&self) -> Result<(), Error>;

    /// The keyring has other look-up keys: from now on they count.
    async fn take_lookup_keys(&self) -> Result<(), Error>;

    /// Moves some rows to their places under the active look-up key; `None` when nothing is left to
    /// move, which costs next to nothing to find out. Keeps by itself where it is.
    async fn remark_some(&self) -> Result<Option<Batch>, Error>;

    /// What needs a look-up key that is not the active one.
    async fn lookup_use(&self, lookup: u32) -> Result<LookupUse, Error>;

    /// A look-up key was destroyed: it is not asked for at the next start.
    async fn forget_lookup(&self, lookup: u32) -> Result<(), Error>;

    /// How many erased people's evidence is found by evidence look-up keys, and until when at most.
    async fn evidence_kept(&self) -> Result<(u64, Option<Timestamp>), Error>;
}
