//! The registers of a bundle are what its events say: by a naive reading of `FORMAT.md`, in any order
//! of the events; and whoever alters the file is told where.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::damage::sign_again;
use super::house::{House, ORIGIN, Persons, selection};
use super::judged;
use crate::domain::time::Timestamp;
use crate::export::{Level, Request, Scope};
use crate::ledger::tlog::{Checkpoint, Edge, KeyKind, Signer, leaf_hash};
use crate::record::{Error, Header};
use crate::verify::registers::{MAX_BYTES, Registers};
use crate::verify::{self, Claim, Options, Verdict, source};

const FILE: &str = "registers.ndjson";

fn written(house: &House, scope: Scope, from: u64, path: &Path) -> String {
    house.write(&house.request(scope, from, house.log_head()), path).unwrap();
    fs::read_to_string(path.join(FILE)).unwrap_or_default()
}

/// Signs what is in the folder; the verifier refuses to call it a bundle because of this file.
fn malformed(house: &House, path: &Path) -> bool {
    sign_again(house, path, |_| {});
    let judged = verify::verify(&*source::open(path).unwrap(), &house.trust(), &Options::default());
    matches!(judged, Err(verify::Error::Malformed { file, .. }) if file == FILE)
}

/// Register, id, from, position, versions of each line.
type Row = (String, String, String, u64, u64);

fn rows(text: &str) -> Vec<Row> {
    let row = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| line[key].as_str().unwrap().to_owned();
        let number = |key: &str| line[key].as_u64().unwrap();
        (text("register"), text("id"), text("from"), number("position"), number("versions"))
    };
    text.lines().map(row).collect()
}

#[test]
fn a_bundle_lists_what_is_in_force_at_its_end_and_what_is_registered_ahead() {
    let house = House::of(60);
    let dir = tempfile::tempdir().unwrap();
    let text = written(&house, Scope::Range, 0, &dir.path().join("b"));
    let said = "2026-03-01T08:00:00.007Z";
    let expected = [
        ("ActivityRegistered", "metering", said, 38, 4),
        ("AssessmentRecorded", "pipia metering", said, 55, 2),
        ("BreachDetected", "breach-1", said, 59, 2),
        ("LegalHoldPlaced", "hold-1", said, 28, 1),
        ("MappingAdded", "purpose stats", said, 15, 1),
        ("MappingAdded", "purpose stats solar-app", said, 45, 1),
        ("PolicyPublished", "privacy", "2026-02-01T00:00:00.000Z", 35, 2),
        ("PolicyPublished", "privacy", "2026-06-01T00:00:00.000Z", 5, 2),
        ("RecipientRegistered", "maps", said, 43, 2),
        ("RetentionRulePublished", "keep-1", said, 57, 2),
        ("ServiceRegistered", "solar", said, 30, 2),
        ("TransferMechanismRegistered", "scc-1", said, 48, 2),
        ("TransferMechanismSuspended", "scc-1", said, 53, 2),
    ];
    let expected = expected.map(|(a, b, c, d, e)| (a.to_owned(), b.to_owned(), c.to_owned(), d, e));
    assert_eq!(rows(&text), expected);
    let line = concat!(
        r#"{"register":"RecipientRegistered","id":"maps","from":"2026-03-01T08:00:00.007Z","position":43,"#,
        r#""versions":2,"b":{"recipient_id":"maps","legal_name":"\u5730\u56fe\u79d1\u6280\u6709\u9650\u516c\u53f8","#,
    );
    assert!(text.lines().any(|other| other.starts_with(line)), "{text}");
}

#[test]
fn what_is_claimed_is_what_the_events_here_say() {
    let house = House::of(37);
    let dir = tempfile::tempdir().unwrap();
    for (from, to, claimed) in [
        (0, 37, "12 entries follow from the events"),
        (16, 37, "9 entries follow from the events here; what was registered before position 16 is not"),
        (36, 37, "0 entries follow from the events here;"),
        (12, 12, "0 entries follow from the events here;"),
    ] {
        for (n, scope) in
            [Scope::Range, Scope::Subject { keys: Persons::tag_keys(1) }].into_iter().enumerate()
        {
            let path = dir.path().join(format!("{from}-{to}-{n}"));
            house.write(&house.request(scope, from, to), &path).unwrap();
            let report = judged(&path, &house.trust(), &Options::default());
            let verdict = report.verdict(Claim::Registers);
            assert!(matches!(verdict, Verdict::Proven(why) if why.starts_with(claimed)), "{verdict:?}");
        }
    }
    let path = dir.path().join("selection");
    assert_eq!(written(&house, selection(&[3, 5, 8]), 0, &path), "");
    let report = judged(&path, &house.trust(), &Options::default());
    assert!(matches!(report.verdict(Claim::Registers), Verdict::NotAsked(_)));
    fs::write(path.join(FILE), "").unwrap();
    assert!(malformed(&house, &path), "a selection has no such file");
}

#[test]
fn another_file_than_follows_from_the_events_fails_although_the_operator_signs_again() {
    let house = House::of(37);
    let whole = || Scope::Range;
    let person = || Scope::Subject { keys: Persons::tag_keys(1) };
    for (from, scope) in [(0, whole()), (5, whole()), (0, person())] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b");
        let text = written(&house, scope, from, &path);
        let fails = |altered: String, at: usize| {
            fs::write(path.join(FILE), &altered).unwrap();
            sign_again(&house, &path, |_| {});
            let report = judged(&path, &house.trust(), &Options::default());
            let Verdict::Failed(why) = report.verdict(Claim::Registers) else {
                panic!("{report:?}\n{altered}")
            };
            assert!(why.starts_with(&format!("line {} of {FILE}", at + 1)), "{why}\n{altered}");
            assert_eq!(report.exit(), 30);
        };
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let with = |at: usize, line: &str| [&lines[..at], &[line], &lines[at + 1..]].concat().concat();
        for (at, line) in lines.iter().enumerate() {
            fails(with(at, ""), at);
            fails(with(at, &format!("{line}{line}")), at + 1);
            fails(with(at, &line.replace("\"id\":\"", "\"id\":\"x")), at);
            fails(with(at, &line.replace("\"versions\":", "\"versions\":1")), at);
            fails(with(at, &line.replace("\"from\":\"2026", "\"from\":\"2025")), at);
            fails(with(at, &line.replace("\"b\":{", "\"b\":{\"added\":true,")), at);
            fails(with(at, &line.replace(':', ": ")), at);
        }
        fails(String::new(), 0);
        fails(format!("{text}{{}}\n"), lines.len());
        fs::remove_file(path.join(FILE)).unwrap();
        assert!(malformed(&house, &path), "a whole range has this file");
    }
}

/// Some types of the log are newer than this program.
#[test]
fn what_is_newer_than_the_program_is_neither_proven_nor_refuted() {
    let house = House::of(9);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("b");
    let scope = Scope::Subject { keys: Persons::tag_keys(1) };
    let request = Request { level: Level::Sealed, ..house.request(scope, 0, 9) };
    house.write(&request, &path).unwrap();
    let events = fs::read_to_string(path.join("events.ndjson")).unwrap();
    let events = events.replace("DataCollected", "DataFelt").replace("PolicyPublished", "PolicyFelt");
    fs::write(path.join("events.ndjson"), &events).unwrap();
    let mut tree = Edge::default();
    events.lines().for_each(|line| tree.push(leaf_hash(line.as_bytes()), |_, _, _| {}).unwrap());
    let head = Checkpoint { origin: ORIGIN.to_owned(), size: 9, root: tree.root() };
    let signer = Signer::from_seed(ORIGIN, KeyKind::Text, &[41; 32]).unwrap();
    fs::write(path.join("checkpoint"), head.signed([&signer]).unwrap().to_string()).unwrap();
    sign_again(&house, &path, |_| {});
    let options = Options { tag_keys: Some(Persons::tag_keys(1)), ..Options::default() };
    let report = judged(&path, &house.trust(), &options);
    for claim in [Claim::Contents, Claim::SubjectComplete, Claim::Registers] {
        let verdict = report.verdict(claim);
        assert!(matches!(verdict, Verdict::Unproven(why) if why.starts_with("6 events")), "{verdict:?}");
    }
    assert_eq!(report.exit(), 10, "{report:?}");
}

/// A register event as a header line.
fn header(kind: &str, occurred_at: &str, recorded_at: &str, device: bool, body: &str) -> String {
    let (salt, sha) = ("A".repeat(22), "A".repeat(43));
    let source = if device { r#""time_source":"device","# } else { "" };
    format!(
        r#"{{"v":1,"event_id":"018f3a1c-0000-7000-8000-000000000000","type":"{kind}","controller":"kstar","emitter":"e","occurred_at":"{occurred_at}","recorded_at":"{recorded_at}",{source}"salt":"{salt}","b":{body},"p":[{{"role":"nobody","tag":"{salt}","sh":"{sha}"}}]}}"#
    )
}

fn policy(body: &str) -> String {
    let at = "2026-03-01T08:00:00.000Z";
    header("PolicyPublished", at, at, false, body)
}

fn add(registers: &mut Registers, position: u64, line: &str) -> Result<(), Error> {
    registers.add(position, &Header::parse(line.as_bytes()).unwrap())
}

#[test]
fn no_bundle_can_take_all_the_memory_and_what_is_replaced_takes_none() {
    let line = |more: &str| policy(&format!(r#"{{"policy_id":"p"{more},"newer":"{}"}}"#, "x".repeat(30_000)));
    let (replaced, ahead) = (line(""), line(r#","effective_at":"2099-01-01T00:00:00.000Z""#));
    let replaced = Header::parse(replaced.as_bytes()).unwrap();
    let ahead = Header::parse(ahead.as_bytes()).unwrap();
    let room = MAX_BYTES as u64 / 30_000;
    let mut registers = Registers::default();
    (0..2 * room).for_each(|position| registers.add(position, &replaced).unwrap());
    let refused = (2 * room..3 * room).find_map(|position| registers.add(position, &ahead).err());
    assert!(matches!(refused, Some(Error::TooLarge { limit: MAX_BYTES, .. })), "{refused:?}");
}

#[test]
fn ids_and_times_that_are_none_are_refused() {
    for body in [
        r#"{"policy_id":"a b"}"#,
        r#"{"policy_id":7}"#,
        r#"{"policy_id":"p","effective_at":"tomorrow"}"#,
        r#"{"policy_id":"p","effective_at":"2026-03-01T08:00:00+01:00"}"#,
        r#"{"policy_id":"\ud800"}"#,
    ] {
        let added = add(&mut Registers::default(), 0, &policy(body));
        assert!(matches!(added, Err(Error::Malformed { .. })), "{body}");
    }
    let mut registers = Registers::default();
    add(&mut registers, 0, &policy(r#"{"version":"v1","newer":[{}]}"#)).unwrap();
    assert_eq!(registers.lines().count(), 1, "a field that is newer than this program is kept as it stands");
}

#[test]
fn every_register_event_is_an_entry_and_a_hold_on_one_person_is_none() {
    let at = "2026-03-01T08:00:00.000Z";
    let mut registers = Registers::default();
    let events = [
        ("RetentionRulePublished", r#"{"rule":{"id":"keep-2","newer":{"id":"x"}}}"#, "keep-2"),
        ("RetentionRuleAnnulled", r#"{"rule":"keep-2","version":"2","reason":"wrong"}"#, "keep-2 2"),
        ("LegalHoldPlaced", r#"{"hold_id":"h-1","ground":"court"}"#, "h-1"),
        ("LegalHoldReleased", r#"{"hold_id":"h-1"}"#, "h-1"),
        ("BreachDetected", r#"{"breach_id":"b-1"}"#, "b-1"),
        ("BreachAssessed", r#"{"breach_id":"b-1"}"#, "b-1"),
        ("BreachNotified", r#"{"breach_id":"b-1"}"#, "b-1"),
        ("BreachClosed", r#"{"breach_id":"b-1"}"#, "b-1"),
    ];
    for (position, (kind, body, _)) in (0..).zip(events) {
        add(&mut registers, position, &header(kind, at, at, false, body)).unwrap();
    }
    add(&mut registers, 8, &header("LegalHoldPlaced", at, at, false, r#"{"ground":"court"}"#)).unwrap();
    let lines: Vec<String> = registers.lines().map(|line| String::from_utf8(line).unwrap() + "\n").collect();
    let told: Vec<(String, String)> =
        rows(&lines.concat()).into_iter().map(|(kind, id, ..)| (kind, id)).collect();
    let mut expected = events.map(|(kind, _, id)| (kind.to_owned(), id.to_owned())).to_vec();
    expected.sort();
    assert_eq!(told, expected);
    let wrong = header("RetentionRulePublished", at, at, false, r#"{"rule":{"id":"a b"}}"#);
    assert!(matches!(add(&mut Registers::default(), 0, &wrong), Err(Error::Malformed { .. })));
}

/// An event of few registers, ids and times, so that they meet often.
#[derive(Debug, Clone)]
struct Stated {
    kind: &'static str,
    id: Option<u8>,
    occurred: i64,
    recorded: i64,
    effective: Option<i64>,
    device: bool,
}

fn time(seconds: i64) -> String {
    Timestamp::from_ms(seconds * 1_000).unwrap().to_string()
}

impl Stated {
    fn line(&self) -> String {
        let mut fields = vec![];
        fields.extend(self.id.map(|id| format!(r#""policy_id":"p{id}""#)));
        fields.extend(self.effective.map(|at| format!(r#""effective_at":"{}""#, time(at))));
        let body = format!("{{{}}}", fields.join(","));
        header(self.kind, &time(self.occurred), &time(self.recorded), self.device, &body)
    }

    fn from(&self) -> i64 {
        let occurred = if self.device { self.occurred.min(self.recorded) } else { self.occurred };
        self.effective.unwrap_or(occurred)
    }
}

fn stated() -> impl Strategy<Value = Stated> {
    let kind = prop_oneof![Just("PolicyPublished"), Just("LawDataActivated"), Just("DataUsed")];
    let id = proptest::option::weighted(0.9, 0..3u8);
    let effective = proptest::option::of(-5..20i64);
    (kind, id, 0..10i64, 0..10i64, effective, any::<bool>()).prop_map(
        |(kind, id, occurred, recorded, effective, device)| Stated {
            kind,
            id: id.filter(|_| kind == "PolicyPublished"),
            occurred,
            recorded,
            effective,
            device,
        },
    )
}

/// `FORMAT.md`, read by somebody in no hurry.
fn naive(events: &[(u64, Stated)]) -> Vec<Row> {
    let end = events.iter().map(|(_, event)| event.recorded).max().unwrap_or(0);
    let mut entries: BTreeMap<(&str, String), Vec<(i64, u64)>> = BTreeMap::new();
    for (position, event) in events.iter().filter(|(_, event)| event.kind != "DataUsed") {
        let id = event.id.map_or(String::new(), |id| format!("p{id}"));
        entries.entry((event.kind, id)).or_default().push((event.from(), *position));
    }
    let mut rows = Vec::new();
    for ((kind, id), mut versions) in entries {
        versions.sort_unstable();
        for (n, (from, position)) in versions.iter().enumerate() {
            if versions.get(n + 1).is_none_or(|(successor, _)| *successor > end) {
                let count = versions.len() as u64;
                rows.push((kind.to_owned(), id.clone(), time(*from), *position, count));
            }
        }
    }
    rows
}

proptest! {
    #[test]
    fn the_fold_is_the_naive_reading_in_any_order(
        (ordered, shuffled) in proptest::collection::vec(stated(), 0..40).prop_flat_map(|events| {
            let events: Vec<(u64, Stated)> = (100..).zip(events).collect();
            (Just(events.clone()), Just(events).prop_shuffle())
        })
    ) {
        let folded = |events: &[(u64, Stated)]| {
            let mut registers = Registers::default();
            for (position, event) in events {
                add(&mut registers, *position, &event.line()).unwrap();
            }
            let lines: Vec<String> =
                registers.lines().map(|line| String::from_utf8(line).unwrap() + "\n").collect();
            lines.concat()
        };
        prop_assert_eq!(rows(&folded(&ordered)), naive(&ordered));
        prop_assert_eq!(folded(&ordered), folded(&shuffled));
    }
}
