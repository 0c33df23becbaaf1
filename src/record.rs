//! The stored record, version 1: a header line for ever, and pieces that can be taken away.
//!
//! `seal` makes one from an event and the keys of the people it names; `Header::parse` and
//! `open` read it back. `RECORD.md` beside this file describes the bytes for somebody who has none
//! of our code. Pure: no I/O, no clock; the salt is given. Never here: a personal value outside a
//! sealed piece, a subject id outside an index block.

pub mod aside;
pub mod fingerprint;
pub mod header;
pub mod index;
pub mod json;
pub mod key;
pub mod noted;
mod parse;
pub mod seal;

pub use fingerprint::{Fingerprint, Fingerprinter};
pub use header::{Header, Part, PartRole, SealedBox, leaf_hash};
pub use index::{IndexBlock, IndexMark, MarkUse};
pub use key::{Class, IndexKey, IndexKeys, Salt, tomb};
pub use noted::Noted;
pub use seal::{Keys, Party, SealedRecord, Sealing, seal};

/// The version that is written.
pub const VERSION: u32 = 1;

/// Why a record cannot be made or read. None of them carries a personal value.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("record version {0} is newer than this program")]
    UnknownVersion(u64),
    #[error("event type {0} is newer than this program")]
    UnknownType(String),
    #[error("malformed {what}: {why}")]
    Malformed { what: &'static str, why: String },
    #[error("{what} does not match its hash in the header")]
    Mismatch { what: &'static str },
    #[error("{what} does not open: wrong key or altered bytes")]
    Unopened { what: &'static str },
    #[error("index key of epoch {0} is not in the keyring")]
    NoIndexKey(u32),
    #[error("{what} is larger than {limit} bytes")]
    TooLarge { what: &'static str, limit: usize },
    #[error("the system's random numbers failed")]
    Random,
}

impl Error {
    pub(crate) fn malformed(what: &'static str, why: impl std::fmt::Display) -> Self {
        Error::Malformed { what, why: why.to_string() }
    }
}
