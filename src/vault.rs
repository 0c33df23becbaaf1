//! The vault: who is this, and whose key? Identity lives here and nowhere else.
//!
//! It maps identifiers to people, keeps three keys per person wrapped by the keyring, and hands
//! out handles to them. It builds no records and reads none. Promises: a person is durable before
//! the first record about them; a destroyed key never comes back; no identifier is stored in
//! clear. A crash between the vault's commit and the log's leaves a *pending* person, which is
//! confirmed when the log is seen to hold them and destroyed when it is an hour old and does not.

pub mod check;
pub mod contract;
#[cfg(any(test, feature = "testing"))]
pub mod faulty;
pub mod keyring;
pub mod postgres;
pub mod rotation;
pub mod scrub;
mod sql;
pub mod sqlite;

pub use sql::moving::copy as copy_people;

use std::sync::Arc;

use async_trait::async_trait;
use zeroize::Zeroizing;

use crate::domain::erasure::Left;
use crate::domain::id::{Digest, Mark, SubjectId};
pub use crate::domain::identity::resolve::{Act, Conflict, HolderKind, Use};
use crate::domain::identity::{Identifier, Kind};
use crate::domain::time::Timestamp;
use crate::record::key::YearKey;

/// A 256-bit key. Overwritten when dropped; never printed.
pub type Key = Zeroizing<[u8; 32]>;

/// A holder with its living keys, unwrapped. Organisations and matters use the identity key only.
pub struct Holder {
    pub subject: SubjectId,
    pub kind: HolderKind,
    /// Tags; dies last.
    pub link: Key,
    /// What `link` gave last.
    pub year: YearKey,
    /// Handles, locators, values. `None` once destroyed.
    pub identity: Option<Key>,
    /// Consent proofs, cases. `None` once destroyed.
    pub evidence: Option<Key>,
}

impl std::fmt::Debug for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Holder").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// One person of one event, to be resolved.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Normalised, placeholders dropped. May be empty: then it resolves to nobody.
    pub identifiers: Vec<Identifier>,
    /// Where the emitter's own accounts live: an account identifier of this realm wins.
    pub home_realm: Option<crate::domain::id::Id>,
    pub occurred_at: Timestamp,
    /// Whether an unknown strong, contact or device identifier creates a person.
    pub opens: bool,
    /// What the event does to identity, besides naming people.
    pub act: Act,
}

/// An identifier as it may stand in an index block: keyed, never in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marked {
    pub kind: Kind,
    pub mark: Mark,
    pub usage: Use,
}

/// The answer for one entry.
#[derive(Debug, Clone)]
pub struct Resolution {
    /// `None`: nobody, the part is kept unattributed.
    pub holder: Option<Arc<Holder>>,
    /// Created by this call (and pending until confirmed).
    pub created: bool,
    /// The identifiers of the entry, in its order.
    pub marks: Vec<Marked>,
    pub conflicts: Vec<Conflict>,
    /// The identifiers were erased less than 90 days ago and the event lies before the erasure.
    pub late_for_erased: bool,
}

/// A person an identifier may mean, with the interval of the binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub subject: SubjectId,
    pub kind: HolderKind,
    pub from: Timestamp,
    /// Exclusive; `None` while it runs.
    pub to: Option<Timestamp>,
}

/// Returns when everybody has passed who was before it.
pub type Barrier = Arc<dyn Fn() -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The same call may succeed later; nothing was decided.
    #[error("vault unavailable: {reason}")]
    Unavailable {
        reason: &'static str,
        #[source]
        source: Option<anyhow::Error>,
    },
    /// The keyring lacks a key that stored rows need, or is another vault's.
    #[error("keyring does not fit: {0}")]
    Keyring(String),
    /// A row does not open or breaks an invariant. Somebody has to look.
    #[error("vault corrupt: {what}")]
    Corrupt {
        what: &'static str,
        #[source]
        source: Option<anyhow::Error>,
    },
    #[error("no such person")]
    NotFound,
}

impl Error {
    pub fn retryable(&self) -> bool {
        matches!(self, Error::Unavailable { .. })
    }
}

/// The contract, which `contract::run` checks on every adapter.
///
/// * `resolve` is durable for everybody it creates or binds before it returns: one commit for all
///   entries of the call (and of calls that run at the same time, if the adapter can).
/// * The same identifiers resolve to the same person, in any order of calls and across restarts;
///   two callers that meet a new person at once end with one.
/// * Nothing merges implicitly.
/// * A key destroyed is gone from every file of the adapter when the call returns.
#[async_trait]
pub trait Vault: rotation::Rotation + scrub::Scrub + Send + Sync {
    /// One resolution per entry, in order.
    async fn resolve(&self, entries: Vec<Entry>) -> Result<Vec<Resolution>, Error>;

    /// The keys of an organisation (controller) or a matter by name, made at first use.
    async fn holder_of(&self, kind: HolderKind, name: &str) -> Result<Arc<Holder>, Error>;

    /// A holder by its handle; `NotFound` if it was never there or is erased.
    async fn holder(&self, subject: SubjectId) -> Result<Arc<Holder>, Error>;

    /// Holders by their handles, in order; `None` of whoever was never there or is erased.
    async fn holders(&self, subjects: &[SubjectId]) -> Result<Vec<Option<Arc<Holder>>>, Error>;

    /// Everybody an identifier may mean, at one instant or ever. Creates nothing.
    async fn candidates(
        &self,
        identifier: &Identifier,
        at: Option<Timestamp>,
    ) -> Result<Vec<Candidate>, Error>;

    /// The identifiers bound to a person, opened, with their intervals: for a report that may show them.
    async fn identifiers(&self, subject: SubjectId) -> Result<Vec<(Identifier, Candidate)>, Error>;

    /// Binds an identifier to a person for `[from, to)`, because a recorded event says so.
    async fn link(
        &self,
        subject: SubjectId,
        identifier: &Identifier,
        from: Timestamp,
        to: Option<Timestamp>,
    ) -> Result<Marked, Error>;

    /// Ends a binding at `to`.
    async fn unlink(
        &self,
        subject: SubjectId,
        identifier: &Identifier,
        to: Timestamp,
    ) -> Result<Marked, Error>;

    /// The end of the chain of merges that a holder is in; itself if it is in none.
    async fn canonical(&self, subject: SubjectId) -> Result<SubjectId, Error>;

    /// The two count as one person from now on: they do not conflict, and `canonical(gone)` is
    /// that of `kept`. Keys and identifiers stay with each, and `resolve` goes on to name the side
    /// that an entry's identifiers name, so that a split gives every event back to its side.
    async fn merge(&self, kept: SubjectId, gone: SubjectId) -> Result<(), Error>;

    /// Undoes a merge.
    async fn split(&self, kept: SubjectId, gone: SubjectId) -> Result<(), Error>;

    /// The log holds a record about these people: they are pending no more.
    async fn confirm(&self, subjects: &[SubjectId]) -> Result<(), Error>;

    /// People still pending that were created before `before`.
    async fn pending(&self, before: Timestamp) -> Result<Vec<SubjectId>, Error>;

    /// Destroys people with their look-ups and keys.
    async fn destroy(&self, subjects: &[SubjectId]) -> Result<(), Error>;

    /// Destroys people's identity keys and look-ups. Their link and evidence keys stay until an instant,
    /// which `destroy` makes true.
    async fn detach(&self, subjects: &[(SubjectId, Timestamp)]) -> Result<(), Error>;

    /// The link and evidence key kept of an erased person, and until when; `NotFound` if none is.
    async fn evidence_holder(&self, subject: SubjectId) -> Result<(Arc<Holder>, Timestamp), Error>;

    /// Erased people whose evidence an identifier leads to. To be asked in disputes only.
    async fn evidence_of(&self, identifier: &Identifier) -> Result<Vec<SubjectId>, Error>;

    /// Erased people whose evidence's time is over.
    async fn evidence_over(&self, now: Timestamp) -> Result<Vec<SubjectId>, Error>;

    /// Erases again everybody whose tomb is among these: what an older copy of the vault brought back.
    /// Says how many there were. Cheap where the same tombs were buried before.
    async fn bury(&self, tombs: &[(Digest, Left)]) -> Result<u64, Error>;

    /// The keyed marks of an identifier under every living look-up key.
    fn marks(&self, identifier: &Identifier) -> Vec<Mark>;

    /// One step of reading everything and saying what does not hold; from the default on until there is
    /// no next. Holds up nobody who writes.
    async fn check(&self, from: check::Cursor) -> Result<check::Step, Error>;

    /// Returns when nobody else may still use what this vault's last change ended: where several share one
    /// database, every other one that lives has seen the change, or may not use what it remembers any more.
    async fn forgotten_everywhere(&self) -> Result<(), Error> {
        Ok(())
    }

    /// What others ended counts as forgotten here only when this has returned, too, so that whoever is recording
    /// with it is done. Where nobody shares the database it is never asked.
    fn forgets_behind(&self, _barrier: Barrier) {}

    /// Those of them that are not here, or whose keys are destroyed.
    async fn absent(&self, subjects: &[SubjectId]) -> Result<Vec<SubjectId>, Error>;

    /// What an operator needs to see.
    async fn status(&self) -> Result<Status, Error>;
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    pub people: u64,
    pub pending: u64,
    /// Counts changes that must not be lost; recorded in the log, so that an older vault is found.
    pub generation: u64,
    pub kek_epoch: u32,
}
