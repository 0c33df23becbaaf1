//! Whatever is altered in a bundle, by a stranger or by the operator who signs again, the verifier
//! never says that all is proven.

use std::fs;
use std::path::{Path, PathBuf};

use super::house::{House, ORIGIN, Persons, selection};
use crate::export::forge::{self, hostile_entries, packed};
use crate::export::{Level, Proofs, Request, Scope};
use crate::ledger::tlog::{Checkpoint, KeyKind, Note, Policy, SignedCheckpoint, Signer};
use crate::verify::manifest::MANIFEST;
use crate::verify::source::{Archive, open};
use crate::verify::{Claim, Error, Manifest, Options, Report, Trust, Verdict, ustar, verify};

fn judge(path: &Path, trust: &Trust) -> Result<Report, Error> {
    verify(&*open(path)?, trust, &Options::default())
}

fn code(judged: &Result<Report, Error>) -> u8 {
    match judged {
        Ok(report) => report.exit(),
        Err(Error::Malformed { .. }) => 40,
        Err(Error::Io { .. }) => 70,
    }
}

fn bundle(house: &House, scope: Scope, level: Level, from: u64) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("b");
    let to = house.log_head();
    house.write(&Request { level, since: vec![2], ..house.request(scope, from, to) }, &path).unwrap();
    (dir, path)
}

fn names(path: &Path) -> Vec<String> {
    open(path).unwrap().files().iter().map(|(name, _)| (*name).to_owned()).collect()
}

/// What a lying operator does: lists the altered files and signs again.
pub(super) fn sign_again(house: &House, path: &Path, alter: impl FnOnce(&mut Manifest)) {
    forge::sign_again(path, &house.manifest_signer(ORIGIN).unwrap(), alter);
}

#[test]
fn every_byte_of_a_bundle_matters_in_both_forms() {
    let house = House::of(9);
    for (scope, level, asked) in [
        (Scope::Range, Level::Opened, 0),
        (Scope::Subject { keys: Persons::tag_keys(1) }, Level::Sealed, 0),
        (selection(&[6, 7]), Level::Opened, 10),
    ] {
        let (_dir, path) = bundle(&house, scope, level, 5);
        let options = Options { tag_keys: (asked == 0).then(|| Persons::tag_keys(1)), ..Options::default() };
        let trust = Trust { since: Some(house.signed(2)), ..house.trust() };
        assert_eq!(verify(&*open(&path).unwrap(), &trust, &options).unwrap().exit(), asked);
        let mut files: Vec<(String, Vec<u8>)> =
            names(&path).into_iter().map(|name| (name.clone(), fs::read(path.join(name)).unwrap())).collect();
        let manifest = files.iter().position(|(name, _)| name == MANIFEST).unwrap();
        files[..=manifest].rotate_right(1);
        let mut archive = Vec::new();
        for (name, bytes) in &files {
            // Every byte of the text for people would be the same test a thousand times.
            let step = if name.ends_with(".txt") { 97 } else { 1 };
            for at in (0..bytes.len()).step_by(step) {
                let mut altered = bytes.clone();
                altered[at] ^= 1 << (at % 8);
                fs::write(path.join(name), altered).unwrap();
                let judged = open(&path).and_then(|source| verify(&*source, &trust, &options));
                assert!(code(&judged) > asked, "{name} at {at}: {judged:?}");
            }
            fs::write(path.join(name), bytes).unwrap();
            archive.extend(ustar::header(name, bytes.len() as u64).unwrap());
            archive.extend(bytes);
            archive.resize(archive.len().next_multiple_of(ustar::BLOCK), 0);
        }
        archive.extend(ustar::END);
        let judge =
            |bytes: Vec<u8>| Archive::open(bytes).and_then(|source| verify(&source, &trust, &options));
        assert_eq!(code(&judge(archive.clone())), asked);
        for at in (0..archive.len()).step_by(7) {
            let mut altered = archive.clone();
            altered[at] ^= 1 << (at % 8);
            assert!(code(&judge(altered)) > asked, "archive at {at}");
        }
        for length in (0..archive.len()).step_by(511) {
            assert!(code(&judge(archive[..length].to_vec())) >= 30, "cut to {length}");
        }
        assert_eq!(code(&judge([&archive[..], &[0; 512]].concat())), 40);
    }
}

/// One line of a file is dropped, doubled, swapped or cut.
fn lines_altered(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut altered = Vec::new();
    for at in 0..lines.len() {
        let mut dropped = lines.clone();
        dropped.remove(at);
        let mut doubled = lines.clone();
        doubled.insert(at, lines[at]);
        let mut cut: Vec<&str> = lines.clone();
        cut[at] = &lines[at][..lines[at].len() / 2];
        altered.extend([dropped.concat(), doubled.concat(), cut.concat()]);
        if at > 0 {
            let mut swapped = lines.clone();
            swapped.swap(at, at - 1);
            altered.push(swapped.concat());
        }
    }
    altered.push(format!("{text}\n"));
    altered.push(text.trim_end().to_owned());
    altered.push(text.replace('\n', "\r\n"));
    altered
}

#[test]
fn altered_lines_are_seen_although_the_operator_signs_again() {
    let house = House::of(9);
    for (scope, level) in [
        (Scope::Range, Level::Opened),
        (Scope::Subject { keys: Persons::tag_keys(1) }, Level::Opened),
        (selection(&[1, 6, 7]), Level::Opened),
    ] {
        let (_dir, path) = bundle(&house, scope, level, 1);
        let tag_keys = path.join("edge").exists().then(|| Persons::tag_keys(1));
        let options = Options { tag_keys, ..Options::default() };
        for name in ["events.ndjson", "registers.ndjson", "positions", "edge", "open.ndjson"] {
            let Ok(text) = fs::read_to_string(path.join(name)) else { continue };
            for altered in lines_altered(&text).into_iter().filter(|altered| *altered != text) {
                fs::write(path.join(name), &altered).unwrap();
                sign_again(&house, &path, |_| {});
                let judged = open(&path).and_then(|source| verify(&*source, &house.trust(), &options));
                assert!(code(&judged) >= 30, "{name}: {judged:?}\n{altered}");
            }
            fs::write(path.join(name), &text).unwrap();
        }
    }
}

#[test]
fn counts_and_levels_of_the_manifest_are_counted_again() {
    let house = House::of(9);
    let (_dir, path) = bundle(&house, Scope::Range, Level::Opened, 0);
    let lies: Vec<fn(&mut Manifest)> = vec![
        |m| m.counts.events += 1,
        |m| m.counts.opened -= 1,
        |m| m.counts.sealed += 1,
        |m| m.counts.destroyed = 3,
        |m| m.counts.retractions = 9,
        |m| m.counts.withheld = 1,
        |m| m.level = Level::Sealed,
        |m| m.level = Level::Headers,
        |m| m.from = 1,
        |m| m.to = 8,
        |m| m.to = u64::MAX,
        |m| (m.from, m.to) = (u64::MAX, u64::MAX),
        |m| m.kind = crate::verify::Kind::Selection,
        |m| m.kind = crate::verify::Kind::Subject,
        |m| m.origin = "another.example/log".to_owned(),
        |m| m.files[0].length = u64::MAX,
        |m| drop(m.files.pop()),
    ];
    let honest = fs::read(path.join(MANIFEST)).unwrap();
    for (number, lie) in lies.into_iter().enumerate() {
        fs::write(path.join(MANIFEST), &honest).unwrap();
        sign_again(&house, &path, lie);
        let judged = judge(&path, &house.trust());
        assert!(code(&judged) >= 30, "{number}: {judged:?}");
    }
    fs::write(path.join(MANIFEST), &honest).unwrap();
    assert_eq!(code(&judge(&path, &house.trust())), 0);
}

#[test]
fn a_tree_of_any_size_is_refused_without_being_built() {
    let house = House::of(9);
    let (_dir, path) = bundle(&house, Scope::Range, Level::Headers, 0);
    let seed = Signer::from_seed(ORIGIN, KeyKind::Text, &[41; 32]).unwrap();
    for size in [8, 10, 1 << 32, 1 << 63, u64::MAX - 1, u64::MAX] {
        let head = Checkpoint { origin: ORIGIN.to_owned(), size, root: [3; 32] };
        fs::write(path.join("checkpoint"), head.signed([&seed]).unwrap().to_string()).unwrap();
        for (from, to) in [(0, 9), (0, size), (size, size), (u64::MAX, u64::MAX)] {
            sign_again(&house, &path, |m| (m.from, m.to) = (from, to));
            assert!(code(&judge(&path, &house.trust())) >= 30, "{size}: {from} to {to}");
        }
    }
}

#[test]
fn who_is_not_trusted_proves_nothing() {
    let house = House::of(9);
    let (_dir, path) = bundle(&house, Scope::Range, Level::Headers, 0);
    // Nothing given: everything hangs in the air.
    let report = judge(&path, &Trust::default()).unwrap();
    assert!(matches!(report.verdict(Claim::Signature), Verdict::Unproven(_)));
    assert_eq!(report.exit(), 10);
    let without = Trust { manifest_key: None, ..house.trust() };
    assert_eq!(judge(&path, &without).unwrap().exit(), 10);
    // A key in the policy under the manifest's name is as good.
    let manifest_key = house.trust().manifest_key.unwrap();
    let log_key = house.trust().policy.unwrap().logs[0].key.clone();
    let policy =
        Policy::parse(format!("log {log_key}\nlog {manifest_key}\nquorum none\n").as_bytes()).unwrap();
    let trust = Trust { policy: Some(policy), ..Trust::default() };
    assert_eq!(judge(&path, &trust).unwrap().exit(), 0);
    // Another log, and another key of the same name.
    let other = House::named("other.example/log", 0..9);
    assert_eq!(judge(&path, &other.trust()).unwrap().exit(), 30);
    let forger = Signer::from_seed(&format!("{ORIGIN}/export"), KeyKind::Text, &[66; 32]).unwrap();
    let note = Note::parse(&fs::read(path.join(MANIFEST)).unwrap()).unwrap();
    let forged = Note::new(note.text.clone()).unwrap().signed([&forger]);
    fs::write(path.join(MANIFEST), forged.to_string()).unwrap();
    let report = judge(&path, &house.trust()).unwrap();
    assert!(matches!(report.verdict(Claim::Manifest), Verdict::Failed(_)));
    // A second line beside the true one.
    let both = note.signed([&forger]);
    fs::write(path.join(MANIFEST), both.to_string()).unwrap();
    assert_eq!(judge(&path, &house.trust()).unwrap().exit(), 30);
}

#[test]
fn unlisted_signatures_do_not_ride_along() {
    let house = House::of(9);
    let stranger = Signer::from_seed("stranger.example", KeyKind::Text, &[66; 32]).unwrap();
    let (_dir, path) = bundle(&house, selection(&[6]), Level::Headers, 0);
    for name in ["checkpoint", "proofs/6.tlog-proof"] {
        let before = fs::read(path.join(name)).unwrap();
        let line = stranger.sign(&Note::parse(&fs::read(path.join("checkpoint")).unwrap()).unwrap().text, 0);
        fs::write(path.join(name), [&before[..], line.to_string().as_bytes()].concat()).unwrap();
        assert_eq!(code(&judge(&path, &house.trust())), 30, "{name}");
        sign_again(&house, &path, |_| {});
        assert_eq!(code(&judge(&path, &house.trust())), 40, "{name}: the proof's checkpoint is another");
        fs::write(path.join(name), before).unwrap();
        sign_again(&house, &path, |_| {});
    }
}

#[test]
fn a_kept_checkpoint_convicts_a_rewritten_history() {
    let honest = House::of(20);
    let rewritten = House::named(ORIGIN, (0..20).map(|n| if n == 4 { 104 } else { n }));
    for (from, since, expected) in [(0, 12, 20), (0, 20, 20), (15, 2, 0), (15, 12, 20), (15, 16, 20)] {
        let dir = tempfile::tempdir().unwrap();
        let request = Request { since: vec![since], ..rewritten.request(Scope::Range, from, 20) };
        rewritten.write(&request, &dir.path().join("b")).unwrap();
        let kept = honest.signed(since);
        let trust = Trust { since: Some(kept.clone()), ..rewritten.trust() };
        let report = judge(&dir.path().join("b"), &trust).unwrap();
        assert_eq!(report.exit(), expected, "{from} {since} {:?}", report.verdicts());
        if expected == 20 {
            let Verdict::Contradicts { kept: shown_kept, shown, .. } = report.verdict(Claim::AppendOnly)
            else {
                panic!("no contradiction");
            };
            assert_eq!(*shown_kept, kept.to_string());
            assert!(SignedCheckpoint::parse(shown.as_bytes()).is_ok());
            // Who cannot tell whose word it is accuses nobody.
            let nobody = Trust { policy: None, since: Some(kept.clone()), ..rewritten.trust() };
            assert_eq!(judge(&dir.path().join("b"), &nobody).unwrap().exit(), 30);
            let unvouched = Trust { manifest_key: None, since: Some(kept), ..rewritten.trust() };
            let by_events = since == 20 || (from..=20).contains(&since);
            let expected = if by_events { 20 } else { 30 };
            assert_eq!(judge(&dir.path().join("b"), &unvouched).unwrap().exit(), expected);
        }
    }
}

#[test]
fn an_old_bundle_does_not_pass_for_a_new_one() {
    let (old, new) = (House::of(9), House::of(20));
    let (_dir, path) = bundle(&old, Scope::Range, Level::Headers, 0);
    let report = judge(&path, &Trust { since: Some(new.signed(20)), ..old.trust() }).unwrap();
    assert!(matches!(report.verdict(Claim::AppendOnly), Verdict::Unproven(why) if why.contains("older")));
    assert_eq!(report.exit(), 10);
    // A kept checkpoint of another log, or one that nobody trusted has signed, proves nothing either.
    let other = House::named("other.example/log", 0..9);
    assert_eq!(judge(&path, &Trust { since: Some(other.signed(5)), ..old.trust() }).unwrap().exit(), 10);
    let forger = Signer::from_seed(ORIGIN, KeyKind::Text, &[66; 32]).unwrap();
    let forged = old.signed(5).checkpoint.signed([&forger]).unwrap();
    assert_eq!(judge(&path, &Trust { since: Some(forged), ..old.trust() }).unwrap().exit(), 10);
}

#[test]
fn witnesses_count_when_they_are_enough_and_fresh() {
    let house = House::of(9);
    let witness =
        |n: u8| Signer::from_seed(&format!("w{n}.example"), KeyKind::Cosignature, &[n; 32]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("b");
    house.write(&house.request(Scope::Range, 0, 9), &path).unwrap();
    let mut note = house.signed(9).note;
    let at = 1_700_000_000;
    for n in [1, 2] {
        let signature = witness(n).sign(&note.text, at + u64::from(n));
        note.signatures.push(signature);
    }
    fs::write(path.join("checkpoint"), note.to_string()).unwrap();
    sign_again(&house, &path, |_| {});
    let policy = |quorum: &str| {
        let keys: String = (1..=3).map(|n| format!("witness w{n} {}\n", witness(n).verifier())).collect();
        let log = house.trust().policy.unwrap().logs[0].key.clone();
        let text = format!("log {log}\n{keys}group two 2 w1 w2 w3\n{quorum}\n");
        Policy::parse(text.as_bytes()).unwrap()
    };
    let ask = |quorum: &str, max_age: Option<i64>, now: u64| {
        let trust = Trust { policy: Some(policy(quorum)), ..house.trust() };
        let now = crate::domain::time::Timestamp::from_ms(now as i64 * 1000).unwrap();
        let options = Options { max_age, now, ..Options::default() };
        verify(&*open(&path).unwrap(), &trust, &options).unwrap().exit()
    };
    assert_eq!(ask("quorum two", None, at + 60), 0);
    assert_eq!(ask("quorum w3", None, at + 60), 10);
    assert_eq!(ask("quorum none", None, at + 60), 0);
    assert_eq!(ask("quorum two", Some(120_000), at + 60), 0);
    assert_eq!(ask("quorum two", Some(10_000), at + 60), 10);
    assert_eq!(ask("quorum none", Some(10_000), at + 60), 10);
    // A cosignature from the future counts for nothing.
    assert_eq!(ask("quorum two", Some(120_000), at - 600), 10);
}

#[test]
fn keys_and_parts_of_others_are_seen() {
    let house = House::of(9);
    let (_dir, path) = bundle(&house, Scope::Range, Level::Opened, 0);
    // Another key in place of the right one.
    let text = fs::read_to_string(path.join("open.ndjson")).unwrap();
    let key = text.split("\"key\":\"").nth(1).unwrap()[..43].to_owned();
    let other = text.split("\"key\":\"").nth(2).unwrap()[..43].to_owned();
    fs::write(path.join("open.ndjson"), text.replace(&key, &other)).unwrap();
    sign_again(&house, &path, |_| {});
    assert_eq!(code(&judge(&path, &house.trust())), 30);
    // A bundle about one person made of one about everybody.
    fs::write(path.join("open.ndjson"), text).unwrap();
    let theirs: String = house.positions_of(1).iter().map(|position| format!("{position}\n")).collect();
    fs::write(path.join("positions"), theirs).unwrap();
    sign_again(&house, &path, |m| m.kind = crate::verify::Kind::Subject);
    let options = Options { tag_keys: Some(Persons::tag_keys(1)), ..Options::default() };
    let report = verify(&*open(&path).unwrap(), &house.trust(), &options).unwrap();
    let why = report.verdict(Claim::SubjectComplete);
    assert!(matches!(why, Verdict::Failed(why) if why.contains("somebody else")), "{why:?}");
}

#[test]
fn files_without_a_place_are_refused() {
    let house = House::of(9);
    let (_dir, path) = bundle(&house, Scope::Range, Level::Sealed, 0);
    for name in ["extra", "proofs/x", "positions", "open.ndjson", "consistency/1-2", ".hidden", "a\\..\\b"] {
        fs::create_dir_all(path.join("proofs")).unwrap();
        fs::write(path.join(name), "x").unwrap();
        assert!(code(&judge(&path, &house.trust())) >= 30, "{name}");
        fs::remove_file(path.join(name)).unwrap();
    }
    assert_eq!(code(&judge(&path, &house.trust())), 0);
    for name in names(&path) {
        let bytes = fs::read(path.join(&name)).unwrap();
        fs::remove_file(path.join(&name)).unwrap();
        assert!(code(&judge(&path, &house.trust())) >= 30, "without {name}");
        if name != MANIFEST {
            sign_again(&house, &path, |_| {});
            let grown = name.starts_with("consistency/");
            assert!(grown || code(&judge(&path, &house.trust())) >= 30, "signed without {name}");
        }
        // A link is not followed, not even to the right bytes.
        let elsewhere = path.parent().unwrap().join("elsewhere");
        fs::write(&elsewhere, &bytes).unwrap();
        std::os::unix::fs::symlink(&elsewhere, path.join(&name)).unwrap();
        assert_eq!(code(&judge(&path, &house.trust())), 40, "{name} as a link");
        fs::remove_file(path.join(&name)).unwrap();
        fs::write(path.join(&name), bytes).unwrap();
        sign_again(&house, &path, |_| {});
    }
}

#[test]
fn hostile_archives_are_refused_before_anything_is_read() {
    let manifest = || packed(MANIFEST, 1, b"x");
    let mut cases: Vec<Vec<u8>> = vec![vec![], vec![0; 511], vec![0; 512], vec![b'x'; 4096]];
    for (_, hostile) in hostile_entries() {
        cases.push([manifest(), hostile, vec![0; 1024]].concat());
    }
    cases.push([packed("edge", 0, b""), manifest(), vec![0; 1024]].concat());
    cases.push([manifest(), vec![0; 1024], vec![1]].concat());
    for (number, case) in cases.into_iter().enumerate() {
        assert!(matches!(Archive::open(case), Err(Error::Malformed { .. })), "{number}");
    }
}

#[test]
fn a_bomb_goes_off_in_nobodys_memory() {
    let house = House::of(9);
    for name in
        ["events.ndjson", "registers.ndjson", "manifest", "checkpoint", "cover.txt", "edge", "pieces.bin"]
    {
        let (_dir, path) = bundle(&house, Scope::Range, Level::Sealed, 0);
        // Sparse: a terabyte of zeros that takes no room, listed or not.
        let file = fs::OpenOptions::new().write(true).open(path.join(name)).unwrap();
        file.set_len(1 << 40).unwrap();
        assert!(code(&judge(&path, &house.trust())) >= 30, "{name}");
        if name != MANIFEST {
            let mut note = Note::parse(&fs::read(path.join(MANIFEST)).unwrap()).unwrap();
            let mut manifest = Manifest::parse(&note.text).unwrap();
            let file = manifest.files.iter_mut().find(|file| file.path == name).unwrap();
            file.length = 1 << 40;
            note = Note::new(manifest.text()).unwrap().signed([&house.manifest_signer(ORIGIN).unwrap()]);
            fs::write(path.join(MANIFEST), note.to_string()).unwrap();
            assert!(code(&judge(&path, &house.trust())) >= 30, "{name}, listed");
        }
    }
}
