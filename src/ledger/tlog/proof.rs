//! Proofs of RFC 6962: made from stored hashes, checked from nothing but themselves.

use super::tree::{Edge, Hash, empty_root, fold, node_hash};
use super::{Invalid, malformed};

/// No proof in a tree of at most 2^64 - 1 leaves has more hashes.
pub const MAX_HASHES: usize = 64;

/// Where hashes of full subtrees come from: `node(level, index)` is the root over the leaves
/// `index * 2^level ..` `(index + 1) * 2^level`.
pub trait Nodes {
    type Error: From<Invalid>;

    fn node(&self, level: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// The path from a leaf to the root of a tree of `size`, the leaf's sibling first.
pub fn inclusion<N: Nodes>(index: u64, size: u64, nodes: &N) -> Result<Vec<Hash>, N::Error> {
    if index >= size {
        return Err(malformed("index", "not below the tree's size").into());
    }
    let (mut from, mut to, mut path) = (0, size, Vec::new());
    while to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            path.push(range_root(middle, to, nodes)?);
            to = middle;
        } else {
            path.push(range_root(from, middle, nodes)?);
            from = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The proof that the tree of `new` leaves begins with the tree of `old` leaves. Empty where there
/// is nothing to prove: from nothing, and from itself.
pub fn consistency<N: Nodes>(old: u64, new: u64, nodes: &N) -> Result<Vec<Hash>, N::Error> {
    if old > new {
        return Err(malformed("sizes", "the old tree is larger than the new one").into());
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let (mut from, mut to, mut path) = (0, new, Vec::new());
    while old != to {
        let middle = from + split(to - from);
        if old <= middle {
            path.push(range_root(middle, to, nodes)?);
            to = middle;
        } else {
            path.push(range_root(from, middle, nodes)?);
            from = middle;
        }
    }
    if from > 0 {
        path.push(range_root(from, to, nodes)?);
    }
    path.reverse();
    Ok(path)
}

/// The right edge of the tree as it was at `size`; its root is the root of then.
pub fn edge_at<N: Nodes>(size: u64, nodes: &N) -> Result<Edge, N::Error> {
    Ok(Edge::from_parts(size, full_subtrees(0, size, nodes)?)?)
}

/// The largest power of two below `length`, which is at least 2.
fn split(length: u64) -> u64 {
    1 << (63 - (length - 1).leading_zeros())
}

/// The root over a range that begins where a subtree of its length may begin.
fn range_root<N: Nodes>(from: u64, to: u64, nodes: &N) -> Result<Hash, N::Error> {
    Ok(fold(&full_subtrees(from, to, nodes)?))
}

fn full_subtrees<N: Nodes>(mut from: u64, to: u64, nodes: &N) -> Result<Vec<Hash>, N::Error> {
    let mut hashes = Vec::new();
    while from < to {
        let level = 63 - (to - from).leading_zeros();
        hashes.push(nodes.node(level, from >> level)?);
        from += 1 << level;
    }
    Ok(hashes)
}

/// Whether the leaf stands at `index` in the tree of `size` leaves with this root (RFC 9162,
/// 2.1.3.2).
pub fn check_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    path: &[Hash],
    root: &Hash,
) -> Result<(), Invalid> {
    if index >= size {
        return Err(Invalid::Proof("the index lies beyond the tree"));
    }
    let (mut at, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in path {
        if last == 0 {
            return Err(Invalid::Proof("too many hashes"));
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(sibling, &hash);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    match (last, hash == *root) {
        (0, true) => Ok(()),
        (0, false) => Err(Invalid::Proof("another leaf, index, size or root")),
        _ => Err(Invalid::Proof("too few hashes")),
    }
}

/// Whether the new tree begins with the old one (RFC 9162, 2.1.4.2). From an empty tree everything
/// grows, by an empty proof.
pub fn check_consistency(
    old: u64,
    old_root: &Hash,
    new: u64,
    new_root: &Hash,
    path: &[Hash],
) -> Result<(), Invalid> {
    if old > new {
        return Err(Invalid::Proof("the old tree is larger than the new one"));
    }
    if old == 0 || old == new {
        let same = if old == new { old_root == new_root } else { *old_root == empty_root() };
        return match (path.is_empty(), same) {
            (true, true) => Ok(()),
            (true, false) => Err(Invalid::Proof("one size, two roots")),
            _ => Err(Invalid::Proof("there is nothing to prove, and yet hashes")),
        };
    }
    let (mut at, mut last) = (old - 1, new - 1);
    while at & 1 == 1 {
        (at, last) = (at >> 1, last >> 1);
    }
    // Where the old tree is one full subtree, its root is what the proof begins with.
    let (first, rest) = match path.split_first() {
        _ if old.is_power_of_two() => (old_root, path),
        Some((first, rest)) => (first, rest),
        None => return Err(Invalid::Proof("too few hashes")),
    };
    let (mut before, mut after) = (*first, *first);
    for hash in rest {
        if last == 0 {
            return Err(Invalid::Proof("too many hashes"));
        }
        if at & 1 == 1 || at == last {
            (before, after) = (node_hash(hash, &before), node_hash(hash, &after));
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            after = node_hash(&after, hash);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    if last != 0 {
        return Err(Invalid::Proof("too few hashes"));
    }
    if before != *old_root {
        return Err(Invalid::Proof("another old root"));
    }
    if after != *new_root {
        return Err(Invalid::Proof("another new root"));
    }
    Ok(())
}
