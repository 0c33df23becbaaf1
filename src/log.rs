//! The log: the one place where what happened is kept, and the only thing synced on the hot path.
//!
//! This port is bytes in, bytes out: it knows nothing of people, keys or event types. It keeps
//! *records*: one header line that is never changed, and *pieces* (index blocks and sealed parts)
//! that can be purged one by one without touching the header.

#[cfg(any(test, feature = "testing"))]
pub mod contract;
#[cfg(any(test, feature = "testing"))]
pub mod faulty;
pub mod kurrent;
pub mod memory;
pub mod segments;
pub mod sidecars;

use async_trait::async_trait;
use bytes::Bytes;

use crate::domain::id::{EventId, Id};

/// A record on its way into the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    pub emitter: Id,
    pub event_id: EventId,
    /// At most `limits::HEADER_BYTES`, never empty.
    pub header: Bytes,
    /// At most `limits::SIDECAR_BYTES` together; never empty ones.
    pub pieces: Vec<Bytes>,
}

/// A record as it was read back. Its checksums have been verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    pub position: u64,
    pub header: Bytes,
    /// In the order in which they were appended; `None` where a piece was purged.
    pub pieces: Vec<Option<Bytes>>,
}

/// What became of one record of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Durable at this position.
    Appended(u64),
    /// (emitter, event id) stands already at this position, from before or from earlier in the
    /// same batch; nothing was stored. Whether it is a retry or a conflict is the caller's to see.
    Exists(u64),
}

/// Names one piece of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PieceRef {
    pub position: u64,
    pub piece: u16,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request can never succeed: a record is empty, too large, or named twice.
    #[error("record refused: {0}")]
    Refused(&'static str),
    /// Nothing was stored; the same call may succeed later.
    #[error("log unavailable: {reason}")]
    Unavailable {
        reason: &'static str,
        #[source]
        source: Option<std::io::Error>,
    },
    /// The answer was lost: the batch may or may not be stored. `find` tells, after a while.
    #[error("outcome unknown: {reason}")]
    Unknown {
        reason: &'static str,
        #[source]
        source: Option<std::io::Error>,
    },
    /// Stored bytes do not check. The log is read-only from now on; somebody has to look.
    #[error("log corrupt at position {position}, {place}: {what}")]
    Corrupt { position: u64, place: String, what: &'static str },
    /// The adapter is read-only because of what an earlier error said.
    #[error("log is read-only: {0}")]
    ReadOnly(String),
}

impl Error {
    /// Whether the same call may succeed later without anybody's doing.
    pub fn retryable(&self) -> bool {
        matches!(self, Error::Unavailable { .. } | Error::Unknown { .. })
    }
}

/// The contract, which `contract::run` checks on every adapter.
///
/// * **Durable**: when `append` answers `Appended`, the record survives the loss of power.
/// * **Atomic**: after a crash either all records of a batch are there or none.
/// * **Dense**: positions start at 0 and have no gaps; a batch lies in one piece, in its order.
/// * **Unique**: (emitter, event id) is stored once, for ever, across batches and crashes. A
///   duplicate inside a batch fails only itself.
/// * **Visible**: what was acknowledged is found by `find`, `read` and `head` at once; what is not
///   yet durable is never visible.
/// * **Immutable**: header bytes are returned as they were given, for ever. `purge` takes pieces
///   away physically, is durable when it returns, and may be repeated.
/// * **Loud**: bytes that do not check are an error that names the position, never a skip.
/// * **Bounded**: with more than a configured number of bytes waiting, `append` waits.
#[async_trait]
pub trait Log: Send + Sync {
    /// Appends all records or none; one outcome per record, in order. At most
    /// `limits::BATCH_EVENTS` records. An error means that nothing is known to be stored.
    async fn append(&self, batch: Vec<NewRecord>) -> Result<Vec<Outcome>, Error>;

    /// Positions of events that are durable, in the order asked.
    async fn find(&self, ids: &[(Id, EventId)]) -> Result<Vec<Option<u64>>, Error>;

    /// Records from `from` on, in order, until `max_records` or about `max_bytes` are reached; at
    /// least one if there is one. Empty at the head.
    async fn read(&self, from: u64, max_records: usize, max_bytes: usize)
    -> Result<Vec<StoredRecord>, Error>;

    /// The same for whoever needs no pieces: there may be none in the records.
    async fn read_headers(
        &self,
        from: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredRecord>, Error> {
        self.read(from, max_records, max_bytes).await
    }

    /// Single records, in the order asked. A position at or beyond the head is an error.
    async fn get(&self, positions: &[u64]) -> Result<Vec<StoredRecord>, Error>;

    /// The position that the next record will get: all below it are durable.
    fn head(&self) -> u64;

    /// A head below which everything lies that was acknowledged anywhere before the call. Where others append
    /// to the same log, `head()` may lag behind it; `wait_beyond` then says when it has come.
    async fn latest(&self) -> Result<u64, Error> {
        Ok(self.head())
    }

    /// Returns when `head() > position`, or the log is closed (then with an error).
    async fn wait_beyond(&self, position: u64) -> Result<(), Error>;

    /// Makes pieces physically unreadable. Those already purged are passed over.
    async fn purge(&self, pieces: &[PieceRef]) -> Result<(), Error>;

    /// Leaves nothing of what was purged before in any file. Where `purge` does that by itself, nothing is left to do.
    async fn scrub(&self) -> Result<(), Error> {
        Ok(())
    }

    /// What an operator needs to see.
    fn status(&self) -> Status;
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    pub head: u64,
    /// Bytes of all segments, with what is preallocated.
    pub bytes_on_disk: u64,
    /// Bytes waiting to be written.
    pub bytes_waiting: u64,
    /// Why nothing can be written, if so.
    pub read_only: Option<String>,
    /// What kind of reason that is, and so what helps; set together with `read_only`.
    pub cause: Option<Cause>,
    /// Why where it is kept cannot be reached now, if that is elsewhere: it is tried again by itself.
    pub unreachable: Option<String>,
}

/// Why a log became read-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A write or sync failed half-way, so nobody knows what is on the disk. Opening the log again
    /// finds out.
    Unsure,
    /// The index of ids failed. Opening the log again rebuilds it.
    Index,
    /// Stored bytes do not check. Somebody has to look.
    Damage,
}
