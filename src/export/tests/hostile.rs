//! No bytes make a parser panic: the functions of the fuzzers over a bounded list of inputs, which are
//! true files harmed in ways that follow from a number.

#[path = "../../../fuzz/targets.rs"]
mod targets;

use std::fs;

use proptest::prelude::*;

use super::house::{House, selection};
use crate::export::{Level, Request, Scope};
use crate::ledger::tlog::Note;

/// Numbers that look random and are the same on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

fn harmed(seed: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len());
        let to = (at + dice.below(64)).min(bytes.len());
        match dice.below(7) {
            0 if !bytes.is_empty() => bytes[at] = dice.below(256) as u8,
            1 if !bytes.is_empty() => bytes[at] ^= 1 << dice.below(8),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..to)),
            4 => {
                let copy = bytes[at..to].to_vec();
                bytes.splice(at..at, copy);
            }
            5 => {
                let number = ["0", "18446744073709551615", "9223372036854775808", "-1", "1e9"][dice.below(5)];
                let digits = bytes[at..].iter().take_while(|b| b.is_ascii_digit()).count();
                bytes.splice(at..at + digits, number.bytes());
            }
            _ => bytes.insert(at, [b'\n', b' ', b'"', b',', 0, 0xff, b'+'][dice.below(7)]),
        }
    }
    bytes
}

fn run(target: fn(&[u8]), seeds: &[Vec<u8>], rounds: usize) {
    assert!(!seeds.is_empty());
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    for seed in seeds {
        target(seed);
        for _ in 0..rounds / seeds.len() {
            target(&harmed(seed, &mut dice));
        }
    }
}

fn read(scope: Scope, names: &[&str]) -> Vec<Vec<u8>> {
    let house = House::of(9);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("b");
    let request = Request { level: Level::Opened, since: vec![2], ..house.request(scope, 0, 9) };
    house.write(&request, &path).unwrap();
    names.iter().map(|name| fs::read(path.join(name)).unwrap()).collect()
}

#[test]
fn headers_are_read_or_refused() {
    let lines = read(Scope::Range, &["events.ndjson"]).remove(0);
    let seeds: Vec<Vec<u8>> =
        lines.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(<[u8]>::to_vec).collect();
    run(targets::header, &seeds, 20_000);
}

#[test]
fn checkpoints_and_notes_are_read_or_refused() {
    run(targets::checkpoint, &read(Scope::Range, &["checkpoint", "manifest"]), 10_000);
}

#[test]
fn proofs_are_read_or_refused() {
    let mut seeds = read(selection(&[4, 6]), &["proofs/4.tlog-proof", "proofs/6.tlog-proof"]);
    seeds.extend(read(Scope::Range, &["consistency/2-9"]));
    run(targets::proof, &seeds, 10_000);
}

#[test]
fn manifests_and_keys_are_read_or_refused() {
    let mut seeds = read(Scope::Range, &["manifest", "open.ndjson"]);
    seeds[0] = Note::parse(&seeds[0]).unwrap().text.into_bytes();
    let line = seeds[1].iter().position(|b| *b == b'\n').unwrap();
    seeds[1].truncate(line);
    run(targets::manifest, &seeds, 10_000);
}

#[test]
fn archives_are_read_or_refused() {
    let house = House::of(9);
    let dir = tempfile::tempdir().unwrap();
    for (name, scope) in [("a.tar", Scope::Range), ("b.tar", selection(&[4, 6]))] {
        let request = Request { level: Level::Opened, ..house.request(scope, 0, 9) };
        house.write(&request, &dir.path().join(name)).unwrap();
    }
    let seeds: Vec<Vec<u8>> =
        ["a.tar", "b.tar"].iter().map(|name| fs::read(dir.path().join(name)).unwrap()).collect();
    run(targets::archive, &seeds, 4_000);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        for target in [
            targets::header, targets::checkpoint, targets::proof, targets::manifest, targets::archive,
        ] {
            target(&bytes);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(\\PC|\n){0,300}") {
        for target in [targets::header, targets::checkpoint, targets::proof, targets::manifest] {
            target(text.as_bytes());
        }
    }
}
