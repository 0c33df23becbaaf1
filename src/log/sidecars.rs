//! Sidecars: what lies beside the headers of a log whose storage keeps headers only.
//!
//! A sidecar is the pieces of one record, found by the record's leaf hash. It is put before its header is appended,
//! so that no header is ever without; a sidecar without a header is an orphan, which whoever owns the log looks for
//! and removes. This port is bytes in, bytes out, like the log's own, and its errors are the log's.

#[cfg(any(test, feature = "testing"))]
pub mod contract;
#[cfg(any(test, feature = "testing"))]
pub mod faulty;
pub mod memory;
pub mod postgres;

use async_trait::async_trait;
use bytes::Bytes;

use super::Error;
use crate::domain::id::{Digest, EventId, Id};
use crate::domain::time::Timestamp;
use crate::limits;

/// The pieces of one record on their way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSidecar {
    pub leaf: Digest,
    pub emitter: Id,
    pub event_id: EventId,
    /// At least one, none of them empty; at most `limits::SIDECAR_BYTES` together.
    pub pieces: Vec<Bytes>,
}

/// A sidecar that is there, without its pieces: for whoever looks for orphans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub leaf: Digest,
    pub emitter: Id,
    pub event_id: EventId,
    /// Ascends in about the order in which sidecars were put; not dense.
    pub number: u64,
}

/// The pieces of one sidecar in their order, `None` where one was purged.
pub type Pieces = Vec<Option<Bytes>>;

/// The contract, which `contract::run` checks on every adapter.
///
/// * **Durable**: when `put`, `purge` or `remove` answers, what it did survives the loss of power.
/// * **Atomic**: a batch takes effect whole or not at all. After `Unknown` it may be either, and the same call again
///   does no harm.
/// * **Once**: the same leaf put again changes nothing, also where pieces of it were purged since.
/// * **Told apart**: a sidecar of which everything was purged is still there; one that was never put, or was removed,
///   is `None`. So an older copy of the database that was put back is found out.
/// * **Loud**: bytes that do not check are `Corrupt`. Its position is `u64::MAX`: the caller knows it.
#[async_trait]
pub trait Sidecars: Send + Sync {
    /// Puts all or none.
    async fn put(&self, batch: Vec<NewSidecar>) -> Result<(), Error>;

    /// In the order asked; `None` if there is none of that leaf.
    async fn get(&self, leaves: &[Digest]) -> Result<Vec<Option<Pieces>>, Error>;

    /// Takes pieces away; may be repeated. An unknown leaf or piece is an error, and then nothing is purged.
    async fn purge(&self, pieces: &[(Digest, u16)]) -> Result<(), Error>;

    /// Those put before an instant, behind a number, in the order of numbers. Instants are those of the clocks of
    /// whoever put them, and numbers are given before a put is durable: an instant some minutes ago misses none. May end
    /// before the last of them where very many in a row were put later.
    async fn put_before(&self, before: Timestamp, after: u64, limit: usize) -> Result<Vec<Stored>, Error>;

    /// Takes whole sidecars away that no record has. Unknown ones are passed over.
    async fn remove(&self, leaves: &[Digest]) -> Result<(), Error>;

    /// Leaves nothing of what was purged or removed before in any file of the adapter, or is an error.
    async fn scrub(&self) -> Result<(), Error>;

    /// What an operator needs to see.
    async fn status(&self) -> Result<Status, Error>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    /// About how many there are.
    pub sidecars: u64,
    /// Bytes on disk, indexes included.
    pub bytes: u64,
}

/// Refuses what can never be put.
fn check(batch: &[NewSidecar]) -> Result<(), Error> {
    for sidecar in batch {
        if sidecar.pieces.is_empty() || sidecar.pieces.iter().any(Bytes::is_empty) {
            return Err(Error::Refused("a sidecar without pieces, or an empty piece"));
        }
        if sidecar.pieces.len() > usize::from(u16::MAX)
            || sidecar.pieces.iter().map(Bytes::len).sum::<usize>() > limits::SIDECAR_BYTES
        {
            return Err(Error::Refused("a sidecar that is too large"));
        }
    }
    Ok(())
}

const NO_SUCH_PIECE: Error = Error::Refused("no such sidecar or piece");
