//! Whether every checkpoint that is kept is what it was: readable, signed, over the tree that the
//! hashes lead to, and the same in both places. For `fsck`; the audit has compared the hashes with the
//! headers. Changes nothing.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::book::Book;
use super::tlog::proof::edge_at;
use super::tlog::{Invalid, SignedCheckpoint, VerifierKey};
use super::{Error, Ledger};

/// How a kept checkpoint fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BookFaultKind {
    /// It cannot be read, is no checkpoint, or a signature in it does not verify.
    Damaged,
    /// It lies in one of the two places only.
    Missing,
    /// The two places hold different ones.
    Differs,
    /// The tree has another root at that size.
    Contradicted,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookFault {
    pub kind: BookFaultKind,
    pub place: PathBuf,
    pub what: String,
}

impl Ledger {
    /// Where the outside copy of this log lies.
    pub fn outside(&self) -> &std::path::Path {
        &self.options.outside
    }

    /// Sizes of checkpoints under a name that lie in either place, ascending.
    pub fn kept_sizes(&self, origin: &str) -> Result<Vec<u64>, Error> {
        let mut sizes: BTreeSet<u64> = self.inside.sizes(origin, u64::MAX, usize::MAX)?.into_iter().collect();
        sizes.extend(self.outside.sizes(origin, u64::MAX, usize::MAX)?);
        Ok(sizes.into_iter().collect())
    }

    /// All names of the log, in order, and those of which checkpoints are kept besides.
    pub fn kept_origins(&self) -> Result<Vec<String>, Error> {
        let mut origins: Vec<String> =
            self.point().origins.iter().map(|naming| naming.origin.clone()).collect();
        for book in [&self.inside, &self.outside] {
            for origin in book.origins()? {
                if !origins.contains(&origin) {
                    origins.push(origin);
                }
            }
        }
        Ok(origins)
    }

    /// Looks at both files of one checkpoint. Beyond `until` the log is known to bear nothing out under
    /// this name, and a data directory that was restored has no file of it. The tree is asked only if
    /// its hashes are known to be `sound`.
    pub fn check_kept(
        &self,
        origin: &str,
        size: u64,
        until: u64,
        sound: bool,
    ) -> Result<Vec<BookFault>, Error> {
        let keys = match self.keys.signers(origin) {
            Ok(signers) => signers.iter().map(|signer| signer.verifier().clone()).collect(),
            Err(Error::NoKey(_)) => Vec::new(),
            Err(why) => return Err(why),
        };
        let mut faults = Vec::new();
        let mut note = |kind, book: &Book, what: &str| {
            faults.push(BookFault { kind, place: book.path(origin, size), what: what.to_owned() });
        };
        let mut kept = Vec::new();
        for book in [&self.inside, &self.outside] {
            match book.get(origin, size) {
                Ok(Some(checkpoint)) => match judge(&checkpoint, book, &keys) {
                    Ok(()) => kept.push((book, checkpoint)),
                    Err(why) => note(BookFaultKind::Damaged, book, &why),
                },
                // One that is published just now lies outside first.
                Ok(None) if self.is_newest(origin, size) => {}
                Ok(None) if size > until && book.place() == self.inside.place() => {}
                Ok(None) => note(BookFaultKind::Missing, book, "is not there"),
                Err(Error::Checkpoint { why, .. }) => note(BookFaultKind::Damaged, book, &why),
                Err(Error::Damaged(why)) => note(BookFaultKind::Damaged, book, why),
                Err(Error::Io { source, .. }) => {
                    note(BookFaultKind::Damaged, book, &source.kind().to_string())
                }
                Err(why) => return Err(why),
            }
        }
        if let [(inside, one), (_, other)] = &kept[..]
            && !agree(one, other)
        {
            note(BookFaultKind::Differs, inside, "is not the same here and in the outside copy");
        }
        if let Some((book, checkpoint)) = kept.first()
            && sound
            && size <= until.min(self.size())
            && edge_at(size, &self.hashes)?.root() != checkpoint.checkpoint.root
        {
            note(BookFaultKind::Contradicted, book, "the headers lead to another root");
        }
        Ok(faults)
    }

    /// Whether nothing was published after it, so that its second file may be on its way.
    fn is_newest(&self, origin: &str, size: u64) -> bool {
        let standing = self.standing();
        let older =
            |latest: &SignedCheckpoint| latest.checkpoint.origin == origin && latest.checkpoint.size < size;
        standing.latest.as_deref().is_none_or(older)
    }
}

/// Whether a file is exactly what a checkpoint is written as, with a signature of ours if its key is
/// still here.
fn judge(checkpoint: &SignedCheckpoint, book: &Book, keys: &[VerifierKey]) -> Result<(), String> {
    let head = &checkpoint.checkpoint;
    let path = book.path(&head.origin, head.size);
    let bytes = std::fs::read(path).map_err(|why| why.kind().to_string())?;
    if checkpoint.to_string().as_bytes() != bytes {
        return Err("is not in its one spelling".to_owned());
    }
    match checkpoint.note.verify(keys) {
        // Of a key that was removed; what it says is compared with the other file, and with the tree.
        Ok(_) | Err(Invalid::Unsigned) => Ok(()),
        Err(why) => Err(why.to_string()),
    }
}

/// The same head, and signatures of which one has all that the other has: cosignatures reach the
/// outside copy first.
fn agree(one: &SignedCheckpoint, other: &SignedCheckpoint) -> bool {
    let lines = |checkpoint: &SignedCheckpoint| -> BTreeSet<String> {
        checkpoint.note.signatures.iter().map(ToString::to_string).collect()
    };
    let (mine, theirs) = (lines(one), lines(other));
    one.checkpoint == other.checkpoint && (mine.is_superset(&theirs) || theirs.is_superset(&mine))
}
