//! What stands around the events: checkpoint, manifest, the history itself, the files and the archive.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use custody::export::forge::{hostile_entries, sign_again};
use custody::ledger::tlog::{Checkpoint, Edge, Note, SignedCheckpoint, base64, leaf_hash};
use custody::verify::{Level, Manifest, ustar};

use super::copy::Copy;
use super::{REFUSED, Trial, forger};
use crate::house::{House, ORIGIN, log_signer, manifest_signer};

const CHECKPOINT: &str = "checkpoint";
const MANIFEST: &str = "manifest";
const OTHER: &str = "other.example/events-1";

fn signed(origin: &str, size: u64, root: [u8; 32]) -> String {
    let head = Checkpoint { origin: origin.to_owned(), size, root };
    head.signed([&log_signer(origin)]).expect("signed").to_string()
}

pub fn checkpoints(trial: &mut Trial) {
    let bundle = trial.headers.clone();
    let latest = SignedCheckpoint::clone(&trial.house.ledger.latest().expect("a checkpoint"));
    let Checkpoint { size, root, .. } = latest.checkpoint;
    let half = trial.house.ledger.checkpoint(Some(size / 2)).expect("the one over half of it");
    let mut other_root = root;
    other_root[7] ^= 1;
    let mut altered = latest.clone();
    altered.note.text = Checkpoint { root: other_root, ..latest.checkpoint.clone() }.text();
    let by_another = latest.checkpoint.clone().signed([&forger(ORIGIN)]).expect("signed");
    let cut = latest.to_string();
    for (what, text, expected) in [
        ("a checkpoint of another log", signed(OTHER, size, root), REFUSED),
        ("an earlier checkpoint of the log", half.to_string(), REFUSED),
        ("a bit flipped in the checkpoint's root", altered.to_string(), REFUSED),
        ("a checkpoint that another key signed", by_another.to_string(), REFUSED),
        ("another root, signed by the log's own key", signed(ORIGIN, size, other_root), REFUSED),
        ("the checkpoint cut in half", cut[..cut.len() / 2].to_owned(), [30, 40, 40]),
    ] {
        trial.thrice(what, &bundle, expected, |copy| copy.put(CHECKPOINT, text.as_bytes()));
    }
    // Not signed again by the operator: to list the cosignature of a witness that the verifier does not
    // know is no lie.
    let unlisted = forger("stranger.example").sign(&latest.note.text, 0);
    let copy = trial.copy(&bundle);
    copy.put(CHECKPOINT, format!("{latest}{unlisted}").as_bytes());
    trial.once("a signature that the manifest does not list", copy.path(), 30, None);
    sign_again(copy.path(), &forger(&Manifest::key_name(ORIGIN)), |_| {});
    trial.once("the same, listed by a stranger", copy.path(), 30, None);
}

/// Where the other ways have not been.
pub fn bits(trial: &mut Trial) {
    let bundle = trial.sealed.clone();
    let flipped = |name: &str, word: &str| {
        let mut bytes = std::fs::read(bundle.join(name)).expect("a file");
        let at = bytes.windows(word.len()).position(|found| found == word.as_bytes());
        bytes[at.expect("the word")] ^= 1;
        bytes
    };
    let registers = flipped("registers.ndjson", "solar");
    let what = "a bit flipped in registers.ndjson";
    trial.thrice(what, &bundle, REFUSED, |copy| copy.put("registers.ndjson", &registers));
    // What is said to people is the operator's to say: altered by anybody else it is refused.
    for (name, word) in [("cover.txt", "export-1"), ("README.txt", "openssl")] {
        let copy = trial.copy(&bundle);
        copy.put(name, &flipped(name, word));
        trial.once(&format!("a bit flipped in {name}"), copy.path(), 30, None);
        sign_again(copy.path(), &forger(&Manifest::key_name(ORIGIN)), |_| {});
        trial.once("the same, listed by a stranger", copy.path(), 30, None);
    }
    let copy = trial.copy(&bundle);
    copy.put(MANIFEST, &flipped(MANIFEST, "export-1"));
    trial.once("a bit flipped in the manifest", copy.path(), 30, None);
    let copy = trial.copy(&bundle);
    copy.put("edge", &base64(&[7; 32]).into_bytes());
    trial.once("a hash in an edge that has none", copy.path(), 30, None);
}

pub fn manifests(trial: &mut Trial) {
    let key_name = Manifest::key_name(ORIGIN);
    let copy = trial.copy(&trial.headers);
    sign_again(copy.path(), &forger(&key_name), |_| {});
    trial.once("the manifest signed by another key of its name", copy.path(), 30, None);
    sign_again(copy.path(), &log_signer(ORIGIN), |_| {});
    trial.once("the manifest signed by the key of checkpoints", copy.path(), 30, None);
    sign_again(copy.path(), &manifest_signer(ORIGIN), |_| {});
    let honest = String::from_utf8(copy.read(MANIFEST)).expect("text");
    let note = Note::parse(honest.as_bytes()).expect("a note");
    copy.put(MANIFEST, note.clone().signed([&forger(&key_name)]).to_string().as_bytes());
    trial.once("a second signature below the manifest", copy.path(), 30, None);
    let unsigned = honest.replace("authority 国家网信办", "authority somebody");
    copy.put(MANIFEST, unsigned.as_bytes());
    trial.once("another authority under the old signature", copy.path(), 30, None);
    let old = std::fs::read(trial.old.join(MANIFEST)).expect("the old one");
    copy.put(MANIFEST, &old);
    trial.once("the manifest of an older bundle", copy.path(), 30, None);
    copy.put(MANIFEST, b"");
    trial.once("an empty manifest", copy.path(), 40, None);
    std::fs::remove_file(copy.path().join(MANIFEST)).expect("removed");
    trial.once("no manifest", copy.path(), 40, None);

    type Lie = fn(&mut Manifest);
    let lies: [(&str, Lie); 7] = [
        ("one event more", |m| m.counts.events += 1),
        ("another log", |m| m.origin = OTHER.to_owned()),
        ("a range that ends before", |m| m.to -= 1),
        ("a range that ends beyond the checkpoint", |m| m.to += 1),
        ("a range up to 2^64 - 1", |m| m.to = u64::MAX),
        ("a file of 2^64 - 1 bytes", |m| m.files[0].length = u64::MAX),
        ("a file left out", |m| drop(m.files.pop())),
    ];
    for (what, lie) in lies {
        let copy = trial.copy(&trial.headers);
        trial.signed(&format!("signed: {what}"), &copy, 30, lie);
    }
    let copy = trial.copy(&trial.headers);
    trial.signed("signed: another level, with files of this one", &copy, 40, |m| m.level = Level::Sealed);
    drop(copy);
    let copy = trial.copy(&trial.headers);
    copy.put("positions", b"1\n");
    trial.once("a file that is not listed", copy.path(), 30, None);
    copy.put("extra", b"x");
    trial.once("a file that no bundle has", copy.path(), 40, None);
}

/// Trees that nobody can have built, signed by the log's own key, with an edge that fits their size.
pub fn sizes(trial: &mut Trial) {
    let events = trial.house.events();
    let copy = trial.copy(&trial.headers);
    for (tree, size) in [
        ("one event less", events - 1),
        ("one event more", events + 1),
        ("2^32 events", 1 << 32),
        ("2^63 events", 1 << 63),
        ("2^64 - 2 events", u64::MAX - 1),
        ("2^64 - 1 events", u64::MAX),
    ] {
        copy.put(CHECKPOINT, signed(ORIGIN, size, [3; 32]).as_bytes());
        for (range, from, to) in [
            ("a range of all events", 0, events),
            ("a range of all of it", 0, size),
            ("an empty range at its end", size, size),
            ("an empty range at 2^64 - 1", u64::MAX, u64::MAX),
        ] {
            let edge = format!("{}\n", base64(&[7; 32])).repeat(from.count_ones() as usize);
            copy.put("edge", edge.as_bytes());
            let what = format!("signed: a tree of {tree}, {range}");
            trial.signed(&what, &copy, 30, |manifest| (manifest.from, manifest.to) = (from, to));
        }
    }
}

pub fn histories(trial: &mut Trial) {
    let kept = trial.place.join("kept");
    let latest = trial.house.ledger.latest().expect("a checkpoint");
    std::fs::write(&kept, latest.to_string()).expect("written");
    trial.once("an old bundle, replayed to who keeps more", &trial.old.clone(), 10, Some(&kept));
    let copy = trial.copy(&trial.headers);
    let mut text = copy.read("events.ndjson");
    let middle = text.len() / 2;
    let at = text[middle..].windows(9).position(|word| word == b"solar-app").expect("an event") + middle;
    text[at] ^= 1;
    let mut edge = Edge::default();
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        edge.push(leaf_hash(line), |_, _, _| {}).expect("a leaf more");
    }
    copy.put("events.ndjson", &text);
    copy.put(CHECKPOINT, signed(ORIGIN, edge.size(), edge.root()).as_bytes());
    sign_again(copy.path(), &manifest_signer(ORIGIN), |_| {});
    trial.once("a history rewritten and signed by all true keys", copy.path(), 20, Some(&kept));
    drop(copy);

    let place = trial.place.join("other");
    let other = trial.runtime.block_on(House::build(&place, OTHER, 10_000));
    let bundle = place.join("bundle");
    trial.runtime.block_on(other.export(10_000, Level::Sealed, &bundle));
    trial.once("a whole bundle of another log", &bundle, 30, None);
    other.close();
}

/// Zeros that take no room on the disk, and would in memory.
pub fn bombs(trial: &mut Trial) {
    const LENGTH: u64 = 1 << 40;
    let grow = |copy: &Copy, name: &str, length: u64| {
        let file = OpenOptions::new().write(true).open(copy.path().join(name)).expect("a file");
        file.set_len(length).expect("a longer file");
    };
    for name in ["events.ndjson", "checkpoint", "edge", "cover.txt", "pieces.bin"] {
        let copy = trial.copy(&trial.sealed);
        copy.put(name, b"");
        sign_again(copy.path(), &manifest_signer(ORIGIN), |manifest| {
            let file = manifest.files.iter_mut().find(|file| file.path == name);
            file.expect("its line").length = LENGTH;
        });
        grow(&copy, name, LENGTH);
        // A line, a small file and a piece have a longest length: what goes on beyond it has no form.
        trial.once(&format!("signed: a terabyte of {name}"), copy.path(), 40, None);
        grow(&copy, name, LENGTH + 1);
        trial.once(&format!("a terabyte of {name} and a byte"), copy.path(), 30, None);
    }
    let copy = trial.copy(&trial.sealed);
    copy.put(MANIFEST, &copy.read(MANIFEST));
    grow(&copy, MANIFEST, LENGTH);
    trial.once("a terabyte of manifest", copy.path(), 40, None);
}

pub fn archives(trial: &mut Trial) {
    let path = trial.place.join("bundle.tar");
    let events = trial.house.events();
    trial.runtime.block_on(trial.house.export(events, Level::Headers, &path));
    trial.once("the archive, nothing harmed", &path, 0, None);
    let file = File::options().read(true).write(true).open(&path).expect("the archive");
    let length = file.metadata().expect("its length").len();
    let end = length - ustar::END.len() as u64;
    let behind = |bytes: &[u8]| {
        file.set_len(end).expect("cut");
        (&file).seek(SeekFrom::Start(end)).expect("at its end");
        (&file).write_all(bytes).expect("written");
    };
    for (what, entry) in hostile_entries() {
        behind(&[&entry[..], &ustar::END].concat());
        trial.once(&format!("in the archive, {what}"), &path, 40, None);
    }
    behind(&[&ustar::END[..], &ustar::END].concat());
    trial.once("zeros behind the archive's end", &path, 40, None);
    behind(&ustar::END[ustar::BLOCK..]);
    trial.once("the archive's last block cut off", &path, 40, None);
    behind(&ustar::END);
    let mut byte = [0];
    file.read_exact_at(&mut byte, length / 2).expect("a byte");
    file.write_all_at(&[byte[0] ^ 1], length / 2).expect("flipped");
    trial.once("a bit flipped in the middle of the archive", &path, 30, None);
    let places = ustar::scan(&file).expect("an archive");
    let last = places.values().map(|place| place.offset).max().expect("a file") - ustar::BLOCK as u64;
    let bomb = ustar::header("positions", ustar::MAX_FILE).expect("a header");
    file.set_len(last).expect("cut");
    file.write_all_at(&bomb, last).expect("written");
    let rest = ustar::BLOCK as u64 + (ustar::MAX_FILE + 1) + ustar::END.len() as u64;
    file.set_len(last + rest).expect("sparse");
    trial.once("in the archive, 8 GiB of zeros that nothing lists", &path, 30, None);
    file.set_len(length / 2).expect("cut");
    trial.once("the archive cut in half", &path, 40, None);
}
