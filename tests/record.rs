//! The stored record: golden files of every version ever written, and what must hold for all.
//!
//! A golden file is only ever added. If this test fails after a change, the change would make
//! stored records unreadable or unequal: the change is wrong, not the file.

use custody::domain::event::catalogue::{ConsentGiven, DataCollected, DataUsed, EventType};
use custody::domain::event::*;
use custody::domain::id::{EventId, Id, Mark, SubjectId};
use custody::domain::identity::Kind;
use custody::domain::personal::Personal;
use custody::domain::time::Timestamp;
use custody::record::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use zeroize::Zeroizing;

fn id(text: &str) -> Id {
    text.parse().unwrap()
}

fn key(byte: u8) -> Zeroizing<[u8; 32]> {
    Zeroizing::new([byte; 32])
}

fn envelope(event_id: &str) -> Envelope {
    Envelope {
        event_id: event_id.parse().unwrap(),
        controller: id("kstar-cn"),
        emitter: id("solar-app"),
        emitter_seq: Some(42),
        service: Some(id("solar")),
        activity: Some(id("station.photo")),
        regimes: vec!["CN".parse().unwrap(), "EU".parse().unwrap()],
        policy_version: Some(id("2025-03")),
        occurred_at: "2026-03-01T08:00:00.007Z".parse().unwrap(),
        time_source: TimeSource::Device,
        clock_offset: Some(-1_200),
        window: None,
        count: None,
        backfill: false,
        import_id: None,
        actor: Some(ActorKind::Subject),
        personal: References { actor_ref: None, correlation_id: Some(id("session-9")), causation_id: None },
    }
}

fn collected() -> Event {
    let body = DataCollected {
        record_kind: Some(id("photo")),
        cats: List::new(vec![id("pd:Picture")]).unwrap(),
        purposes: List::new(vec![PurposeBasis { id: id("service_provision"), basis: LegalBasis::Contract }])
            .unwrap(),
        source: Some(Source::Subject),
        storage_country: Some("CN".parse().unwrap()),
        slot: Some(id("station-7")),
        locator: Some(Personal::new("电站/7/照片.jpg 😀".to_string())),
        ..Default::default()
    };
    Event {
        envelope: envelope("019cf0a1-0000-7000-8000-000000000001"),
        people: vec![],
        body: Body::DataCollected(Box::new(body)),
    }
}

fn consented() -> Event {
    let body = ConsentGiven {
        purpose: Some(id("direct_marketing")),
        kind: Some(ConsentKind::Separate),
        consent_id: Some(id("c-1")),
        ip: Some(Personal::new("203.0.113.7".to_string())),
        ..Default::default()
    };
    Event {
        envelope: envelope("019cf0a1-0000-7000-8000-000000000002"),
        people: vec![],
        body: Body::ConsentGiven(Box::new(body)),
    }
}

fn counted() -> Event {
    let mut envelope = envelope("019cf0a1-0000-7000-8000-000000000003");
    let end = envelope.occurred_at;
    envelope.window = Some(Window { from: end.plus_ms(-3_600_000), to: end });
    envelope.count = Some(86_400);
    let body = DataUsed { purpose: Some(id("analytics")), pseudonymous: Some(true), ..Default::default() };
    Event { envelope, people: vec![], body: Body::DataUsed(Box::new(body)) }
}

const LINK: u8 = 1;
const IDENTITY: u8 = 2;
const EVIDENCE: u8 = 3;
const INDEX: u8 = 4;
const ORGANISATION: u8 = 5;
const EPOCH: u32 = 20_261;

fn sealed(event: &Event, roles: &[(PartRole, bool)], salt: [u8; 16]) -> SealedRecord {
    sealed_with(event, roles, salt, Noted::default())
}

fn sealed_with(event: &Event, roles: &[(PartRole, bool)], salt: [u8; 16], noted: Noted) -> SealedRecord {
    let (link, identity, evidence, organisation) =
        (key(LINK), key(IDENTITY), key(EVIDENCE), key(ORGANISATION));
    let index_key = IndexKey::new(EPOCH, &key(INDEX));
    let subject = SubjectId([9; 16]);
    let mark = |usage| IndexMark { kind: Kind::Phone, mark: Mark([8; 16]), usage };
    let parties: Vec<Party> = roles
        .iter()
        .map(|(role, attributed)| Party {
            role: *role,
            keys: attributed.then_some(Keys {
                subject,
                link: &link,
                year: None,
                identity: &identity,
                evidence: &evidence,
            }),
            ids: vec![mark(if *attributed { MarkUse::Bind } else { MarkUse::Named })],
            noted: noted.clone(),
        })
        .collect();
    let how = Sealing {
        recorded_at: "2026-03-01T08:00:01.000Z".parse().unwrap(),
        salt: Salt(salt),
        fingerprint: Fingerprinter::new(&key(6)).of(event).unwrap(),
        index_key: &index_key,
        organisation: &organisation,
    };
    seal(event, &parties, &how).unwrap()
}

const SUBJECT: PartRole = PartRole::Person(Role::DataSubject);
const STAFF: PartRole = PartRole::Person(Role::Staff);

fn disputed() -> Noted {
    Noted { late: false, kinds: vec![Kind::Account, Kind::Openid], realms: vec![id("solar"), id("wx1")] }
}

fn late() -> Noted {
    Noted { late: true, ..Noted::default() }
}

fn golden_records() -> Vec<(&'static str, SealedRecord)> {
    vec![
        ("collected", sealed(&collected(), &[(SUBJECT, true)], [0x11; 16])),
        ("consented", sealed(&consented(), &[(STAFF, true), (SUBJECT, true)], [0x12; 16])),
        ("unattributed", sealed(&collected(), &[(SUBJECT, false)], [0x13; 16])),
        ("counted", sealed(&counted(), &[], [0x14; 16])),
        ("disputed", sealed_with(&collected(), &[(SUBJECT, true)], [0x15; 16], disputed())),
        ("late", sealed_with(&collected(), &[(SUBJECT, false)], [0x16; 16], late())),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Writes missing golden files (with CUSTODY_WRITE_GOLDEN=1) and compares the present ones.
#[test]
fn golden_records_are_made_byte_for_byte() {
    for (name, sealed) in golden_records() {
        let path = format!("{}/tests/golden/v1/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let now = json!({
            "header": std::str::from_utf8(&sealed.header).unwrap(),
            "pieces": sealed.pieces.iter().map(|p| hex(p)).collect::<Vec<_>>(),
            "leaf_hash": hex(&sealed.leaf.0),
            "keys": {
                "link": hex(&[LINK; 32]), "identity": hex(&[IDENTITY; 32]), "evidence": hex(&[EVIDENCE; 32]),
                "organisation": hex(&[ORGANISATION; 32]), "index": { EPOCH.to_string(): hex(&[INDEX; 32]) },
            },
        });
        if !std::fs::exists(&path).unwrap() && std::env::var_os("CUSTODY_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, format!("{:#}\n", now)).unwrap();
        }
        let golden: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(golden, now, "{name}");
    }
}

#[test]
fn what_was_noted_of_identifiers_is_read_back_in_one_spelling() {
    for noted in [disputed(), late(), Noted::default()] {
        let line = sealed_with(&collected(), &[(SUBJECT, true)], [1; 16], noted.clone()).header;
        assert_eq!(Header::parse(&line).unwrap().parts[0].noted, noted);
    }
    let line = sealed_with(&collected(), &[(SUBJECT, true)], [1; 16], disputed()).header;
    let line = String::from_utf8(line.to_vec()).unwrap();
    for (right, wrong) in [
        (r#""kinds":["account","openid"]"#, r#""kinds":["openid","account"]"#),
        (r#""kinds":["account","openid"]"#, r#""kinds":["account","account"]"#),
        (r#""kinds":["account","openid"]"#, r#""kinds":[]"#),
        (r#""kinds":["account","openid"]"#, r#""late":false,"kinds":["account"]"#),
        (r#""kinds":["account","openid"],"#, ""),
    ] {
        assert!(line.contains(right));
        assert!(Header::parse(line.replace(right, wrong).as_bytes()).is_err(), "{wrong}");
    }
}

#[test]
fn every_golden_record_reads_back() {
    let index_key = IndexKey::new(EPOCH, &key(INDEX));
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/v1")).unwrap() {
        let golden: Value =
            serde_json::from_str(&std::fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap();
        let line = golden["header"].as_str().unwrap();
        let header = Header::parse(line.as_bytes()).unwrap();
        for i in 0..header.parts.len() {
            let unhex = |n: usize| -> Vec<u8> {
                let text = golden["pieces"][n].as_str().unwrap();
                (0..text.len() / 2)
                    .map(|at| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).unwrap())
                    .collect()
            };
            let piece = unhex(header.index_piece(i));
            header.check_piece(header.index_piece(i), &piece).unwrap();
            let index = header.open_index(i, &piece, &index_key).unwrap();
            let class_key = |class| match class {
                Class::Identity => key(IDENTITY),
                Class::Evidence => key(EVIDENCE),
                Class::Organisation => key(ORGANISATION),
                Class::Matter => unreachable!(),
            };
            let opened: Vec<_> = (0..header.parts[i].boxes.len())
                .map(|b| {
                    let piece = unhex(header.box_piece(i, b));
                    header.check_piece(header.box_piece(i, b), &piece).unwrap();
                    assert_eq!(piece.len(), header.parts[i].boxes[b].padded as usize + 16);
                    header.open_box(i, b, &piece, &class_key(header.parts[i].boxes[b].class)).unwrap()
                })
                .collect();
            header.body_with(Some(&index), &opened).unwrap();
        }
        assert_eq!(hex(&leaf_hash(line.as_bytes()).0), golden["leaf_hash"].as_str().unwrap());
    }
}

#[test]
fn what_was_sealed_is_what_is_read() {
    let event = collected();
    let sealed = sealed(&event, &[(SUBJECT, true)], [3; 16]);
    let header = Header::parse(&sealed.header).unwrap();
    let index = header.open_index(0, &sealed.pieces[0], &IndexKey::new(EPOCH, &key(INDEX))).unwrap();
    let opened = header.open_box(0, 0, &sealed.pieces[1], &key(IDENTITY)).unwrap();
    assert_eq!(header.body_with(Some(&index), &[opened]).unwrap(), event.body);
    assert_eq!(Envelope { personal: index.references(), ..header.envelope }, event.envelope);
    assert_eq!(index.subject, Some(SubjectId([9; 16])));
}

#[test]
fn nothing_personal_stands_in_a_header() {
    for (name, sealed) in golden_records() {
        let line = std::str::from_utf8(&sealed.header).unwrap();
        assert!(line.is_ascii(), "{name}");
        for personal in ["station-7", "203.0.113.7", "session-9", "c-1", &SubjectId([9; 16]).to_string()] {
            assert!(!line.contains(personal), "{name} shows {personal}");
        }
    }
}

#[test]
fn wrong_keys_and_altered_pieces_do_not_open() {
    let sealed = sealed(&collected(), &[(SUBJECT, true)], [3; 16]);
    let header = Header::parse(&sealed.header).unwrap();
    assert!(matches!(header.open_box(0, 0, &sealed.pieces[1], &key(EVIDENCE)), Err(Error::Unopened { .. })));
    let wrong = IndexKey::new(EPOCH + 1, &key(INDEX));
    assert!(matches!(header.open_index(0, &sealed.pieces[0], &wrong), Err(Error::NoIndexKey(EPOCH))));
    for at in 4..sealed.pieces[0].len() {
        let mut piece = sealed.pieces[0].to_vec();
        piece[at] ^= 1;
        assert!(header.open_index(0, &piece, &IndexKey::new(EPOCH, &key(INDEX))).is_err());
        assert!(matches!(header.check_piece(0, &piece), Err(Error::Mismatch { .. })));
    }
}

#[test]
fn another_version_or_type_is_an_error_that_says_so() {
    let line = String::from_utf8(sealed(&counted(), &[], [1; 16]).header.to_vec()).unwrap();
    let newer = line.replacen("{\"v\":1,", "{\"v\":2,", 1);
    assert!(matches!(Header::parse(newer.as_bytes()), Err(Error::UnknownVersion(2))));
    let unknown = line.replacen("\"DataUsed\"", "\"DataDreamtOf\"", 1);
    assert!(
        matches!(Header::parse(unknown.as_bytes()), Err(Error::UnknownType(name)) if name == "DataDreamtOf")
    );
    for wrong in [
        "",
        "{}",
        "{\"v\":1}",
        "{\"v\":1,",
        &line[..line.len() - 1],
        &line.replacen("\"b\":{", "\"b\":{\"x\":1,", 1),
    ] {
        let broken = Header::parse(wrong.as_bytes()).and_then(|header| header.body(None));
        assert!(broken.is_err(), "{wrong}");
    }
}

#[test]
fn a_retry_has_the_same_fingerprint_and_nothing_else_has() {
    let fingerprinter = Fingerprinter::new(&key(6));
    let first = fingerprinter.of(&collected()).unwrap();
    let mut retry = collected();
    retry.envelope.clock_offset = Some(77);
    assert_eq!(fingerprinter.of(&retry).unwrap(), first);
    let mut other = collected();
    if let Body::DataCollected(body) = &mut other.body {
        body.locator = Some(Personal::new("elsewhere".to_string()));
    }
    assert_ne!(fingerprinter.of(&other).unwrap(), first);
    let mut later = collected();
    later.envelope.occurred_at = later.envelope.occurred_at.plus_ms(1);
    assert_ne!(fingerprinter.of(&later).unwrap(), first);
}

proptest! {
    /// Two people's records share no bytes by which they could be joined, and a person's tag key
    /// finds exactly their own.
    #[test]
    fn tags_are_found_by_their_key_only(salt in any::<[u8; 16]>(), other in any::<[u8; 32]>()) {
        let sealed = sealed(&collected(), &[(SUBJECT, true)], salt);
        let header = Header::parse(&sealed.header).unwrap();
        let year = header.recorded_at.year();
        let mine = custody::record::key::tag_key(&key(LINK), year);
        prop_assert_eq!(custody::record::key::tag(&mine, Salt(salt), 0), header.parts[0].tag);
        let theirs = custody::record::key::tag_key(&other, year);
        prop_assert_ne!(custody::record::key::tag(&theirs, Salt(salt), 0), header.parts[0].tag);
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), cut in 0usize..2_000, flip in any::<(u16, u8)>()) {
        let _ = Header::parse(&bytes);
        let mut line = sealed(&consented(), &[(SUBJECT, true)], [1; 16]).header.to_vec();
        line.truncate(cut.max(1));
        let at = flip.0 as usize % line.len();
        line[at] ^= flip.1;
        if let Ok(header) = Header::parse(&line) {
            let _ = header.body(None);
        }
    }
}

#[test]
fn event_types_have_distinct_names() {
    for event_type in EventType::ALL {
        assert_eq!(EventType::from_name(event_type.as_str()), Some(*event_type));
    }
    let _: EventId = "019cf0a1-0000-7000-8000-000000000003".parse().unwrap();
    assert!(Timestamp::from_ms(0).is_some());
}
