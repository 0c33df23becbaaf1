//! What the writer writes, the verifier proves: every kind at every level.

mod damage;
mod hostile;
pub(crate) mod house;
mod outside;
mod registers;

use std::path::Path;

use house::{House, Persons, YEAR, opening};

use super::*;
use crate::verify::{Claim, Kind, Options, Report, Trust, Verdict, source, verify};

fn judged(path: &Path, trust: &Trust, options: &Options) -> Report {
    verify(&*source::open(path).unwrap(), trust, options).unwrap()
}

fn proven(report: &Report, claims: &[Claim]) {
    for claim in claims {
        assert!(
            matches!(report.verdict(*claim), Verdict::Proven(_)),
            "{claim:?}: {:?}",
            report.verdict(*claim)
        );
    }
}

const ALWAYS: [Claim; 5] =
    [Claim::Signature, Claim::Manifest, Claim::Files, Claim::Inclusion, Claim::Contents];

#[test]
fn a_range_is_proven_whole_at_every_level_and_in_both_forms() {
    let house = House::of(37);
    for level in [Level::Headers, Level::Sealed, Level::Opened] {
        for name in ["bundle", "bundle.tar"] {
            for (from, to) in [(0, 37), (5, 37), (8, 20), (36, 37), (12, 12), (0, 1)] {
                let dir = tempfile::tempdir().unwrap();
                let request = Request { level, ..house.request(Scope::Range, from, to) };
                let made = house.write(&request, &dir.path().join(name)).unwrap();
                let report = judged(&dir.path().join(name), &house.trust(), &Options::default());
                proven(&report, &ALWAYS);
                proven(&report, &[Claim::RangeComplete]);
                assert_eq!(report.exit(), 0, "{:?}", report.verdicts());
                assert_eq!(report.manifest, made.manifest);
                let counts = made.manifest.counts;
                let boxes = house.boxes(from, to);
                assert_eq!(counts.opened, if level == Level::Opened { boxes } else { 0 });
                assert_eq!(counts.sealed, if level == Level::Headers { 0 } else { boxes });
                assert_eq!(counts.retractions, u64::from((from..to).contains(&10)));
                assert!(!dir.path().join(format!("{name}.custody-partial")).exists());
            }
        }
    }
}

#[test]
fn a_directory_reads_as_its_archive_from_any_byte_on() {
    let house = House::of(37);
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    let request = Request { level: Level::Opened, ..house.request(house::selection(&[3, 7, 8, 30]), 0, 37) };
    house.write(&request, &place("b")).unwrap();
    house.write(&request, &place("b.tar")).unwrap();
    let (packed, archive) =
        (std::fs::read(place("b.tar")).unwrap(), archive::Archive::open(&place("b")).unwrap());
    assert_eq!(archive.size(), packed.len() as u64);
    for size in [1, 7, 512, 513, 4_096, packed.len() + 1] {
        for offset in (0..=packed.len()).step_by(size.max(97)) {
            let end = packed.len().min(offset + size);
            assert_eq!(
                archive.read(offset as u64, size).unwrap(),
                packed[offset..end],
                "{size} from {offset}"
            );
        }
    }
    assert!(archive.read(u64::MAX, 9).unwrap().is_empty());
}

#[test]
fn a_selection_proves_each_event_and_never_that_it_is_complete() {
    let house = House::of(37);
    for level in [Level::Headers, Level::Sealed, Level::Opened] {
        let dir = tempfile::tempdir().unwrap();
        let request = Request { level, ..house.request(house::selection(&[3, 4, 17, 36]), 0, 37) };
        house.write(&request, &dir.path().join("b.tar")).unwrap();
        let report = judged(&dir.path().join("b.tar"), &house.trust(), &Options::default());
        proven(&report, &ALWAYS);
        assert!(matches!(report.verdict(Claim::SelectionComplete), Verdict::Unproven(_)));
        assert_eq!(report.exit(), 10);
    }
}

#[test]
fn a_subject_bundle_holds_exactly_that_persons_events() {
    let house = House::of(60);
    for level in [Level::Headers, Level::Sealed, Level::Opened] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b");
        let scope = Scope::Subject { keys: Persons::tag_keys(1) };
        house.write(&Request { level, ..house.request(scope, 0, 60) }, &path).unwrap();
        let listed = std::fs::read_to_string(path.join("positions")).unwrap();
        let listed: Vec<u64> = listed.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(listed, house.positions_of(1));
        let ask = |person| Options { tag_keys: Some(Persons::tag_keys(person)), ..Options::default() };
        let report = judged(&path, &house.trust(), &ask(1));
        proven(&report, &ALWAYS);
        proven(&report, &[Claim::RangeComplete, Claim::SubjectComplete]);
        assert_eq!(report.exit(), 0);
        // Another person's key finds other events, and no key proves nothing.
        assert_eq!(judged(&path, &house.trust(), &ask(2)).exit(), 30);
        assert_eq!(judged(&path, &house.trust(), &Options::default()).exit(), 10);
    }
}

#[test]
fn tag_keys_find_a_person_in_any_whole_range_and_say_which_years_they_lack() {
    let house = House::of(60);
    let dir = tempfile::tempdir().unwrap();
    house.write(&house.request(Scope::Range, 0, 60), &dir.path().join("b")).unwrap();
    let options = Options { tag_keys: Some(Persons::tag_keys(2)), ..Options::default() };
    let report = judged(&dir.path().join("b"), &house.trust(), &options);
    let found = format!("{} events", house.positions_of(2).len());
    assert!(report.verdict(Claim::SubjectComplete).why().starts_with(&found));
    let text = format!("# of another year\n{} {}\n", YEAR + 1, crate::domain::id::Digest([1; 32]));
    let options = Options { tag_keys: Some(TagKeys::parse(&text).unwrap()), ..Options::default() };
    let report = judged(&dir.path().join("b"), &house.trust(), &options);
    assert!(matches!(report.verdict(Claim::SubjectComplete), Verdict::Unproven(why) if why.contains("2026")));
    assert_eq!(report.exit(), 10);
}

#[test]
fn what_was_purged_stays_proven_and_is_said_to_be_destroyed() {
    let house = House::of(20);
    let gone = house.purge_person(1);
    let dir = tempfile::tempdir().unwrap();
    let request = Request { level: Level::Sealed, ..house.request(Scope::Range, 0, 20) };
    let made = house.write(&request, &dir.path().join("b.tar")).unwrap();
    assert_eq!(made.manifest.counts.destroyed, gone);
    let report = judged(&dir.path().join("b.tar"), &house.trust(), &Options::default());
    proven(&report, &ALWAYS);
    assert_eq!(report.exit(), 0);
    assert!(
        report.attested.iter().any(|said| *said == format!("{gone} sealed parts are said to be destroyed"))
    );
}

#[test]
fn growth_since_a_kept_checkpoint_is_proven_from_files_and_from_the_events_themselves() {
    let house = House::of(37);
    for (since, from, carried) in [(10, 20, vec![10]), (25, 20, vec![]), (37, 0, vec![]), (20, 20, vec![])] {
        let dir = tempfile::tempdir().unwrap();
        let request = Request { since: carried, ..house.request(Scope::Range, from, 37) };
        house.write(&request, &dir.path().join("b")).unwrap();
        let trust = Trust { since: Some(house.signed(since)), ..house.trust() };
        let report = judged(&dir.path().join("b"), &trust, &Options::default());
        proven(&report, &[Claim::AppendOnly]);
        assert_eq!(report.exit(), 0);
    }
    let dir = tempfile::tempdir().unwrap();
    house.write(&house.request(Scope::Range, 20, 37), &dir.path().join("b")).unwrap();
    let trust = Trust { since: Some(house.signed(10)), ..house.trust() };
    assert_eq!(judged(&dir.path().join("b"), &trust, &Options::default()).exit(), 10);
}

#[test]
fn a_key_that_does_not_open_is_not_handed_out() {
    struct Wrong;
    impl Disclose for Wrong {
        fn share(&self, _: u64, _: &Header<'_>, _: usize, _: usize) -> Share {
            Share::Open(opening([7; 32]))
        }
    }
    let house = House::of(5);
    let dir = tempfile::tempdir().unwrap();
    let request = Request { level: Level::Opened, ..house.request(Scope::Range, 0, 5) };
    let made = house.write_with(&Wrong, &request, &dir.path().join("b"));
    assert!(matches!(made, Err(Error::Key { .. })), "{made:?}");
    assert!(!dir.path().join("b").exists());
}

#[test]
fn what_cannot_be_exported_is_refused() {
    let house = House::of(5);
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("b");
    let refused = |request: Request| matches!(house.write(&request, &target), Err(Error::Refused(_)));
    assert!(refused(house.request(Scope::Range, 3, 2)));
    assert!(refused(house.request(Scope::Range, 0, 6)));
    assert!(refused(house.request(house::selection(&[2, 1]), 0, 5)));
    assert!(refused(house.request(house::selection(&[1, 1]), 0, 5)));
    assert!(refused(house.request(house::selection(&[4]), 0, 4)));
    let cover = Cover { authority: Some("two\nlines".to_owned()), ..Cover::default() };
    assert!(refused(Request { cover, ..house.request(Scope::Range, 0, 5) }));
    std::fs::write(&target, "here").unwrap();
    assert!(refused(house.request(Scope::Range, 0, 5)));
    assert_eq!(std::fs::read(&target).unwrap(), b"here");
}

#[test]
fn an_archive_is_the_directory_packed_by_anybody() {
    let house = House::of(9);
    let dir = tempfile::tempdir().unwrap();
    let request = Request { level: Level::Opened, ..house.request(Scope::Range, 2, 9) };
    house.write(&request, &dir.path().join("b")).unwrap();
    house.write(&request, &dir.path().join("b.tar")).unwrap();
    house.write(&request, &dir.path().join("c.tar")).unwrap();
    let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    assert_eq!(read("b.tar"), read("c.tar"));
    let unpacked = dir.path().join("unpacked");
    std::fs::create_dir(&unpacked).unwrap();
    let status = std::process::Command::new("tar")
        .args(["xf", dir.path().join("b.tar").to_str().unwrap(), "-C", unpacked.to_str().unwrap()])
        .status()
        .expect("tar is on the machine");
    assert!(status.success());
    let report = judged(&unpacked, &house.trust(), &Options::default());
    assert_eq!((report.exit(), report.manifest.kind), (0, Kind::Range));
    for entry in std::fs::read_dir(dir.path().join("b")).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            let packed = unpacked.join(entry.file_name());
            assert_eq!(std::fs::read(entry.path()).unwrap(), std::fs::read(packed).unwrap());
        }
    }
}
