//! What one data directory is: one controller group in one region under one origin (DESIGN 18).

use crate::domain::id::{Country, Id};

/// Named in the log's first event, `LogOpened`; a directory never changes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct House {
    /// The log's name in proofs, such as `kstar.example/custody/events-1`.
    pub origin: String,
    /// Where the directory lies: `EU`, `CN` or another country.
    pub region: Id,
    /// The group whose controllers' events are taken.
    pub group: Id,
    /// The country whose national form a telephone number without a prefix has, where the caller
    /// has none of its own.
    pub home_country: Option<Country>,
}
