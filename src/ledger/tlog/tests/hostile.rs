//! Sizes up to the last number, proofs of any length, bytes of any kind: an answer, never a panic.

use proptest::prelude::*;

use super::super::proof::{check_consistency, check_inclusion};
use super::super::tile::{Resource, unbundle};
use super::super::*;

const SIZES: [u64; 14] = [
    0,
    1,
    2,
    3,
    255,
    256,
    257,
    (1 << 53) - 1,
    1 << 53,
    (1 << 63) - 1,
    1 << 63,
    (1 << 63) + 1,
    u64::MAX - 1,
    u64::MAX,
];

#[test]
fn no_size_and_no_length_breaks_a_check() {
    for a in SIZES {
        for b in SIZES {
            for length in [0, 1, 2, 31, 63, 64, 65, 200] {
                let path = vec![[3; 32]; length];
                assert!(check_inclusion(&[1; 32], a, b, &path, &[2; 32]).is_err());
                let grown = check_consistency(a, &[1; 32], b, &[2; 32], &path);
                assert!(grown.is_err(), "{a} {b} {length}");
            }
        }
    }
}

#[test]
fn an_edge_of_the_largest_size_takes_no_more() {
    let mut edge = Edge::from_parts(u64::MAX, vec![[1; 32]; 64]).unwrap();
    edge.root();
    assert!(edge.push([2; 32], |_, _, _| {}).is_err());
    assert_eq!(edge.size(), u64::MAX);
    assert!(Edge::from_parts(3, vec![[1; 32]]).is_err());
}

/// Everything that reads bytes, at once.
fn read_all(bytes: &[u8]) {
    let _ = Note::parse(bytes);
    let _ = SignedCheckpoint::parse(bytes);
    let _ = InclusionFile::parse(bytes);
    let _ = ConsistencyFile::parse(bytes);
    let _ = Policy::parse(bytes);
    let _ = unbundle(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Checkpoint::parse(text);
        let _ = text.parse::<VerifierKey>();
        let _ = text.parse::<Resource>();
        let _ = hash_of(text);
        let _ = decimal(text);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        read_all(&bytes);
    }

    #[test]
    fn nor_any_text_of_the_words_that_are_used(words in proptest::collection::vec(prop_oneof![
        Just("\n"), Just("\n\n"), Just(" "), Just("\u{2014} "), Just("old "), Just("index "), Just("extra "),
        Just("18446744073709551615"), Just("18446744073709551616"), Just("0"), Just("-1"), Just("+"),
        Just("c2sp.org/tlog-proof@v1\n"), Just("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        Just("log "), Just("group g 1 "), Just("quorum none\n"), Just("tile/"), Just("x001/"), Just("000"),
        Just(".p/"), Just("example.org/log"), Just("AAAAAAEC"),
    ], 0..24)) {
        read_all(words.concat().as_bytes());
    }
}
