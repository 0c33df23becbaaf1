//! The tree of RFC 6962, kept by its right edge alone.

use sha2::{Digest, Sha256};

use super::{Invalid, malformed};

/// SHA-256.
pub type Hash = [u8; 32];

/// SHA-256(0x00 ‖ data).
pub fn leaf_hash(data: &[u8]) -> Hash {
    Sha256::new_with_prefix([0u8]).chain_update(data).finalize().into()
}

/// SHA-256(0x01 ‖ left ‖ right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new_with_prefix([1u8]).chain_update(left).chain_update(right).finalize().into()
}

/// The root of no leaves.
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// The right edge of a tree: the roots of the full subtrees that its size is made of, the largest
/// first, one per set bit of the size. It is all that an append or a root needs: at most 64 hashes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    hashes: Vec<Hash>,
}

impl Edge {
    /// An edge that was stored or received.
    pub fn from_parts(size: u64, hashes: Vec<Hash>) -> Result<Edge, Invalid> {
        if hashes.len() != size.count_ones() as usize {
            return Err(malformed("edge", "not one hash per full subtree of its size"));
        }
        Ok(Edge { size, hashes })
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Appends a leaf, by its hash. `completed` is told every subtree that it completes, the leaf
    /// itself included, by level and index within the level, lowest level first.
    pub fn push(&mut self, leaf: Hash, mut completed: impl FnMut(u32, u64, &Hash)) -> Result<(), Invalid> {
        let next = self.size.checked_add(1).ok_or(malformed("tree", "larger than 2^64 - 1 leaves"))?;
        let (mut level, mut index, mut hash) = (0, self.size, leaf);
        completed(level, index, &hash);
        while index & 1 == 1 {
            // One hash per set bit: as long as there is one, there is a hash.
            let Some(left) = self.hashes.pop() else {
                return Err(malformed("edge", "a hash is missing"));
            };
            hash = node_hash(&left, &hash);
            (level, index) = (level + 1, index >> 1);
            completed(level, index, &hash);
        }
        self.hashes.push(hash);
        self.size = next;
        Ok(())
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        fold(&self.hashes)
    }
}

/// The root over neighbouring full subtrees, the largest first.
pub(super) fn fold(hashes: &[Hash]) -> Hash {
    let mut from_right = hashes.iter().rev();
    let Some(last) = from_right.next() else { return empty_root() };
    from_right.fold(*last, |right, left| node_hash(left, &right))
}
