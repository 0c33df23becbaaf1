//! The full re-hash: the tree again from the headers alone, compared with what is stored and signed.

use std::sync::Arc;

use super::tlog::tile::{HEIGHT, hashes_on};
use super::tlog::{Edge, Hash, SignedCheckpoint, base64, leaf_hash};
use super::{Error, Ledger};

/// Stored leaf hashes read at once.
const CHUNK: u64 = 4_096;

/// A re-hash on its way. It is given every header in the order of the log.
pub struct Audit {
    ledger: Arc<Ledger>,
    edge: Edge,
    /// Hashes are compared up to this size: what was stored when the audit began.
    until: u64,
    /// Checked when the audit comes by.
    published: Option<Arc<SignedCheckpoint>>,
    stored: Vec<Hash>,
    /// Where the first hash of `stored` stands.
    from: u64,
    damaged: u64,
    first_damaged: Option<u64>,
    contradiction: Option<String>,
}

impl Audit {
    pub fn of(ledger: &Arc<Ledger>) -> Audit {
        Audit {
            edge: Edge::default(),
            until: ledger.size(),
            published: ledger.latest(),
            stored: Vec::new(),
            from: 0,
            damaged: 0,
            first_damaged: None,
            contradiction: None,
            ledger: Arc::clone(ledger),
        }
    }

    /// Takes the next header.
    pub fn push(&mut self, header: &[u8]) -> Result<(), Error> {
        let leaf = leaf_hash(header);
        let position = self.edge.size();
        let mut above = Vec::new();
        self.edge.push(leaf, |level, index, hash| {
            if level > 0 && level % HEIGHT == 0 {
                above.push((level / HEIGHT, index, *hash));
            }
        })?;
        if position < self.until {
            let same = match self.is_stored(position, &leaf, &above) {
                // A file that is too short has lost hashes.
                Err(Error::Damaged(_)) => false,
                same => same?,
            };
            if !same {
                self.damaged += 1;
                self.first_damaged.get_or_insert(position);
            }
        }
        if let Some(published) = self.published.take_if(|p| p.checkpoint.size == position + 1) {
            let root = self.edge.root();
            if root != published.checkpoint.root {
                self.contradiction = Some(format!(
                    "the headers lead to the root {}, but {} was signed over {} records",
                    base64(&root),
                    base64(&published.checkpoint.root),
                    published.checkpoint.size
                ));
            }
        }
        Ok(())
    }

    fn is_stored(&mut self, at: u64, leaf: &Hash, above: &[(u32, u64, Hash)]) -> Result<bool, Error> {
        Ok(self.stored_leaf(at)? == *leaf && self.same_above(above)?)
    }

    fn stored_leaf(&mut self, position: u64) -> Result<Hash, Error> {
        let at = position.wrapping_sub(self.from);
        if at >= self.stored.len() as u64 {
            let count = CHUNK.min(self.until - position) as usize;
            (self.from, self.stored) = (position, self.ledger.hashes.read(0, position, count)?);
        }
        Ok(self.stored[(position - self.from) as usize])
    }

    fn same_above(&self, above: &[(u32, u64, Hash)]) -> Result<bool, Error> {
        for (level, index, hash) in above {
            if *index < hashes_on(*level, self.until)
                && self.ledger.hashes.read(*level, *index, 1)? != [*hash]
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The root over all headers given.
    pub fn root(&self) -> Hash {
        self.edge.root()
    }

    /// Stored hashes that differ: how many, and the first leaf they belong to.
    pub fn damaged(&self) -> Option<(u64, u64)> {
        Some((self.damaged, self.first_damaged?))
    }

    /// Where the headers contradict what was signed.
    pub fn contradiction(&self) -> Option<&str> {
        self.contradiction.as_deref()
    }
}
