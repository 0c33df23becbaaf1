//! Checkpoints (`tlog-checkpoint`): a tree's size and root under the name of its log, signed.

use super::note::{Note, Signer};
use super::tree::Hash;
use super::{Invalid, base64, decimal, hash_of, malformed};

/// A tree head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name, which is also the name of its keys.
    pub origin: String,
    pub size: u64,
    pub root: Hash,
}

impl Checkpoint {
    /// The text that is signed: three lines.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, base64(&self.root))
    }

    /// Exactly three lines. Extension lines, which the format discourages and not every signature
    /// covers, are refused.
    pub fn parse(text: &str) -> Result<Checkpoint, Invalid> {
        let wrong = |why| malformed("checkpoint", why);
        let mut lines = text.strip_suffix('\n').ok_or(wrong("it does not end with a newline"))?.split('\n');
        let mut line = || lines.next().filter(|line| !line.is_empty());
        let origin = line().ok_or(wrong("the origin is missing"))?;
        let size = line().and_then(decimal).ok_or(wrong("the size is not a plain number"))?;
        let root = line().and_then(hash_of).ok_or(wrong("the root is not a SHA-256 in base64"))?;
        if lines.next().is_some() {
            return Err(wrong("more than three lines"));
        }
        Ok(Checkpoint { origin: origin.to_owned(), size, root })
    }

    /// Signs with every key given: with the old and the new one, while both are in use.
    pub fn signed<'s>(
        self,
        signers: impl IntoIterator<Item = &'s Signer>,
    ) -> Result<SignedCheckpoint, Invalid> {
        let note = Note::new(self.text())?.signed(signers);
        if note.signatures.is_empty() {
            return Err(Invalid::Unsigned);
        }
        Ok(SignedCheckpoint { checkpoint: self, note })
    }
}

/// A tree head with the signatures that came with it. Parsed is not yet verified:
/// [`super::Policy::judge`] does that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    pub checkpoint: Checkpoint,
    pub note: Note,
}

impl SignedCheckpoint {
    pub fn parse(bytes: &[u8]) -> Result<SignedCheckpoint, Invalid> {
        let note = Note::parse(bytes)?;
        Ok(SignedCheckpoint { checkpoint: Checkpoint::parse(&note.text)?, note })
    }
}

impl std::fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.note.fmt(f)
    }
}
