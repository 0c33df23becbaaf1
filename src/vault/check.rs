//! What a check of a vault tells: what does not hold, and who is in it.
//!
//! A check goes in steps, each of which sees one moment of the vault; between two steps others write.
//! Nothing of anybody stands in what is told, but for the handles of the holders, which stay in the
//! process: rows are named by their table and number.

use crate::domain::id::SubjectId;
use crate::vault::HolderKind;

/// How a part of the vault fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The store itself finds its file damaged.
    File,
    /// The rows of a table are not those that were written: some were changed, removed or added.
    Rows,
    /// A holder's row cannot be read, or its keys do not open.
    Holder,
    /// An identifier's row does not open, or stands where its identifier does not lead.
    Identifier,
    /// A row belongs to a holder that is not there.
    Stray,
    /// A number that is kept is not the number of what is there.
    Count,
    /// The keyring lacks a key that rows need.
    Keyring,
}

/// Something that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    /// Table, and row where there is one.
    pub place: String,
    pub what: String,
}

/// A holder that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Present {
    pub subject: SubjectId,
    pub kind: HolderKind,
    /// No record was seen yet that names it.
    pub pending: bool,
    /// Erased; what proves consents and cases is kept.
    pub evidence_only: bool,
}

/// Where the next step begins. What is in it is the adapter's own; the default is the beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    pub stage: u32,
    pub after: Vec<u8>,
    /// Times that this step was called off for somebody who could not wait.
    pub again: u32,
}

/// What one step found.
#[derive(Debug, Clone, Default)]
pub struct Step {
    pub faults: Vec<Fault>,
    pub holders: Vec<Present>,
    /// `None` at the end.
    pub next: Option<Cursor>,
}
