//! What was odd about the identifiers by which a part found its person, or found nobody. Only the vault
//! sees it, at the moment of recording, so it is written down there. It names kinds and realms, which are
//! the organisation's, and never a person.

use crate::domain::id::Id;
use crate::domain::identity::Kind;
use crate::record::{Error, json};

/// Stands in the header, so that a finding outlives whoever it was about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Noted {
    /// The identifiers were those of somebody erased, and the event is from before.
    pub late: bool,
    /// Kinds and realms of identifiers that disagree about who is meant. Sorted, each once.
    pub kinds: Vec<Kind>,
    pub realms: Vec<Id>,
}

impl Noted {
    pub fn is_nothing(&self) -> bool {
        !self.late && self.kinds.is_empty()
    }

    /// What was odd about any part of an event.
    pub fn add(&mut self, other: &Noted) {
        self.late |= other.late;
        self.kinds.extend_from_slice(&other.kinds);
        self.realms.extend_from_slice(&other.realms);
        self.kinds.sort_unstable();
        self.kinds.dedup();
        self.realms.sort_unstable();
        self.realms.dedup();
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        if self.late {
            json::key(out, "late");
            out.extend_from_slice(b"true");
        }
        if !self.kinds.is_empty() {
            let kinds: Vec<&str> = self.kinds.iter().map(|kind| kind.as_str()).collect();
            let failed = |e| Error::malformed("part", e);
            json::key(out, "kinds");
            json::value(out, &kinds).map_err(failed)?;
            if !self.realms.is_empty() {
                json::key(out, "realms");
                json::value(out, &self.realms).map_err(failed)?;
            }
        }
        Ok(())
    }
}
