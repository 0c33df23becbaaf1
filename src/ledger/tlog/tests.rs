//! What is made here is what others make, and what was altered is refused.

mod formats;
mod hostile;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use proptest::prelude::*;
use sha2::Sha256;

use super::proof::{check_consistency, check_inclusion, consistency, edge_at, inclusion};
use super::tree::empty_root;
use super::*;

/// All hashes of a tree in memory, by level.
#[derive(Default)]
pub struct Memory {
    pub edge: Edge,
    levels: Vec<Vec<Hash>>,
}

impl Memory {
    pub fn of(leaves: u64) -> Memory {
        let mut memory = Memory::default();
        (0..leaves).for_each(|n| memory.push(leaf_hash(&leaf(n))));
        memory
    }

    pub fn push(&mut self, leaf: Hash) {
        let levels = &mut self.levels;
        let completed = |level: u32, index: u64, hash: &Hash| {
            let level = level as usize;
            levels.resize(levels.len().max(level + 1), Vec::new());
            assert_eq!(levels[level].len() as u64, index);
            levels[level].push(*hash);
        };
        self.edge.push(leaf, completed).unwrap();
    }
}

impl Nodes for Memory {
    type Error = Invalid;

    fn node(&self, level: u32, index: u64) -> Result<Hash, Invalid> {
        let found = self.levels.get(level as usize).and_then(|level| level.get(index as usize));
        found.copied().ok_or(Invalid::Proof("a hash that is not there"))
    }
}

fn leaf(n: u64) -> Vec<u8> {
    format!("leaf {n}").into_bytes()
}

fn others(leaves: u64) -> MemoryBackedTree<Sha256, Vec<u8>> {
    let mut tree = MemoryBackedTree::new();
    (0..leaves).for_each(|n| tree.push(leaf(n)));
    tree
}

fn root_hash(root: &Hash, size: u64) -> RootHash<Sha256> {
    RootHash::new((*root).into(), size)
}

const SIZES: u64 = 300;

#[test]
fn every_root_and_proof_is_the_one_that_others_make() {
    let ours = Memory::of(SIZES);
    for size in 1..=SIZES {
        let theirs = others(size);
        let edge = edge_at(size, &ours).unwrap();
        assert_eq!(edge.root()[..], theirs.root().as_bytes()[..], "root of {size}");
        // All indices of every size take long in the other's tree; these hit every shape.
        for index in (0..size).filter(|i| size <= 70 || i % 37 == 0 || *i + 3 > size) {
            let path = inclusion(index, size, &ours).unwrap();
            assert_eq!(path.concat(), theirs.prove_inclusion(index as usize).as_bytes(), "{index} of {size}");
            check_inclusion(&leaf_hash(&leaf(index)), index, size, &path, &edge.root()).unwrap();
        }
        for old in (1..size).filter(|old| size <= 70 || old % 41 == 0 || old.is_power_of_two()) {
            let path = consistency(old, size, &ours).unwrap();
            let expected = theirs.prove_consistency((size - old) as usize);
            assert_eq!(path.concat(), expected.as_bytes(), "{old} to {size}");
            let old_root = edge_at(old, &ours).unwrap().root();
            check_consistency(old, &old_root, size, &edge.root(), &path).unwrap();
        }
    }
    assert_eq!(edge_at(0, &ours).unwrap().root(), empty_root());
    assert_eq!(ours.edge, edge_at(SIZES, &ours).unwrap());
}

/// What can be done to a proof on its way.
#[derive(Debug, Clone)]
enum Harm {
    Flip(usize, u8),
    Drop(usize),
    Double(usize),
    Swap(usize, usize),
    Append,
    Index(u64),
    Size(u64),
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        (any::<usize>(), any::<u8>()).prop_map(|(at, bit)| Harm::Flip(at, bit)),
        any::<usize>().prop_map(Harm::Drop),
        any::<usize>().prop_map(Harm::Double),
        (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Harm::Swap(a, b)),
        Just(Harm::Append),
        (1..300u64).prop_map(Harm::Index),
        (1..300u64).prop_map(Harm::Size),
    ]
}

fn harmed(path: &[Hash], harm: &Harm) -> Vec<Hash> {
    let mut path = path.to_vec();
    let length = path.len();
    match *harm {
        Harm::Flip(at, bit) if length > 0 => {
            path[at % length][(bit / 8) as usize % 32] ^= 1 << (bit % 8);
        }
        Harm::Drop(at) if length > 0 => drop(path.remove(at % length)),
        Harm::Double(at) if length > 0 => path.insert(at % length, path[at % length]),
        Harm::Swap(a, b) if length > 0 => path.swap(a % length, b % length),
        Harm::Append => path.push([7; 32]),
        _ => {}
    }
    path
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_harmed_inclusion_proof_is_judged_as_others_judge_it(
        size in 1..SIZES, index in any::<u64>(), harm in harm(),
    ) {
        let (tree, index) = (Memory::of(size), index % size);
        let path = harmed(&inclusion(index, size, &tree).unwrap(), &harm);
        let (mut claimed, mut within) = (index, size);
        match harm {
            Harm::Index(by) => claimed = (index + by) % (size + 5),
            Harm::Size(by) => within = by,
            _ => {}
        }
        let root = tree.edge.root();
        let ours = check_inclusion(&leaf_hash(&leaf(index)), claimed, within, &path, &root);
        let theirs = InclusionProof::<Sha256>::try_from_bytes(path.concat()).unwrap();
        let theirs = root_hash(&root, within).verify_inclusion(&leaf(index), claimed, &theirs);
        prop_assert_eq!(ours.is_ok(), theirs.is_ok());
        let untouched = path == inclusion(index, size, &tree).unwrap() && claimed == index;
        prop_assert!(ours.is_err() || untouched, "accepted although harmed");
    }

    #[test]
    fn a_harmed_consistency_proof_is_judged_as_others_judge_it(
        size in 1..SIZES, old in any::<u64>(), harm in harm(),
    ) {
        let (tree, old) = (Memory::of(size), 1 + old % size);
        let path = harmed(&consistency(old, size, &tree).unwrap(), &harm);
        let (mut claimed, mut within) = (old, size);
        match harm {
            Harm::Index(by) => claimed = 1 + (old + by) % (size + 5),
            Harm::Size(by) => within = by,
            _ => {}
        }
        let (old_root, root) = (edge_at(old, &tree).unwrap().root(), tree.edge.root());
        let ours = check_consistency(claimed, &old_root, within, &root, &path);
        let theirs = ConsistencyProof::<Sha256>::try_from_bytes(path.concat()).unwrap();
        let theirs = root_hash(&root, within).verify_consistency(&root_hash(&old_root, claimed), &theirs);
        prop_assert_eq!(ours.is_ok(), theirs.is_ok());
    }

    #[test]
    fn a_range_between_two_edges_is_whole_or_seen_not_to_be(
        from in 0..SIZES, more in 1..100u64, leave_out in any::<u64>(),
    ) {
        let tree = Memory::of(from + more);
        let before = edge_at(from, &tree).unwrap();
        let begin = || Edge::from_parts(before.size(), before.hashes().to_vec()).unwrap();
        let (mut whole, mut lacking) = (begin(), begin());
        for n in from..from + more {
            whole.push(leaf_hash(&leaf(n)), |_, _, _| {}).unwrap();
            let n = if n == from + leave_out % more { n + 1_000 } else { n };
            lacking.push(leaf_hash(&leaf(n)), |_, _, _| {}).unwrap();
        }
        prop_assert_eq!(whole.root(), tree.edge.root());
        prop_assert_ne!(lacking.root(), tree.edge.root());
    }
}
