//! The API, the catalogue and the stored form agree; wrong input is refused with the path of every
//! violation.

use std::collections::BTreeMap;

use proptest::prelude::*;
use prost::Message;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};

use super::sample::{self, Sample, Seed};
use super::*;
use crate::domain::event::catalogue::{Fields, fields_of};
use crate::domain::event::enums::CLOSED;
use crate::domain::event::{EventType, Place, Sealed, Visit};

fn messages() -> BTreeMap<String, DescriptorProto> {
    let set = FileDescriptorSet::decode(pb::FILE_DESCRIPTOR_SET).unwrap();
    set.file.into_iter().flat_map(|file| file.message_type).map(|m| (m.name().to_owned(), m)).collect()
}

fn enums() -> BTreeMap<String, EnumDescriptorProto> {
    let set = FileDescriptorSet::decode(pb::FILE_DESCRIPTOR_SET).unwrap();
    set.file.into_iter().flat_map(|file| file.enum_type).map(|e| (e.name().to_owned(), e)).collect()
}

#[test]
fn the_api_has_every_event_type_and_every_field_of_the_catalogue() {
    let messages = messages();
    let event = &messages["Event"];
    let bodies: Vec<_> =
        event.field.iter().filter(|field| field.oneof_index.is_some() && !field.proto3_optional()).collect();
    assert_eq!(bodies.len(), EventType::ALL.len());
    for (field, event_type) in bodies.into_iter().zip(EventType::ALL) {
        assert_eq!((field.name(), field.number() as u32), (event_type.field(), event_type.number()));
        assert_eq!(field.type_name(), format!(".custody.v1.{}", event_type.as_str()));
        let body = Body::from_json(*event_type, "{}").unwrap();
        let stated: Vec<_> =
            messages[event_type.as_str()].field.iter().map(|field| field.name().to_owned()).collect();
        let known: Vec<_> = fields_of(&body).into_iter().map(|(_, name)| name).collect();
        assert_eq!(stated, known, "{event_type:?}");
    }
}

#[test]
fn closed_vocabularies_agree_with_the_api() {
    let enums = enums();
    for (name, values) in CLOSED {
        let prefix = upper_snake(name);
        let mut expected = vec![(format!("{prefix}_UNSPECIFIED"), 0)];
        expected.extend(
            values.iter().map(|(text, number)| {
                (format!("{prefix}_{}", text.replace('-', "_").to_uppercase()), *number)
            }),
        );
        let stated: Vec<_> = enums[*name].value.iter().map(|v| (v.name().to_owned(), v.number())).collect();
        assert_eq!(stated, expected);
    }
    let kinds: Vec<_> =
        enums["IdentifierKind"].value.iter().skip(1).map(|v| (v.name().to_owned(), v.number())).collect();
    let known = Kind::ALL
        .map(|kind| (format!("IDENTIFIER_KIND_{}", kind.as_str().to_uppercase()), kind_to_wire(kind) as i32));
    let mut known = known.to_vec();
    known.sort_by_key(|(_, number)| *number);
    assert_eq!(kinds, known);
}

fn upper_snake(name: &str) -> String {
    let mut out = String::new();
    for (index, c) in name.char_indices() {
        if index > 0 && c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_uppercase());
    }
    out
}

/// The body's fields as one JSON object, as a record keeps them across its parts.
fn stored(body: &Body) -> String {
    struct Json(serde_json::Map<String, serde_json::Value>);
    impl Visit for Json {
        fn open<T: serde::Serialize + Unset>(&mut self, _: Place, name: &'static str, value: &T) {
            if !value.is_unset() {
                self.0.insert(name.to_owned(), serde_json::to_value(value).unwrap());
            }
        }

        fn sealed(&mut self, _: Place, name: &'static str, value: &Sealed) {
            if let Some(text) = value {
                self.0.insert(name.to_owned(), text.expose().clone().into());
            }
        }
    }
    let mut json = Json(serde_json::Map::new());
    body.visit(&mut json);
    serde_json::Value::Object(json.0).to_string()
}

/// Of the lawful ways through the rules between fields, one that a sampled body may need.
fn people(event_type: EventType, seed: &mut Seed) -> Vec<Person> {
    use crate::domain::event::About;
    let person = |role, number: u64| {
        let value = Personal::new(format!("u-{number}"));
        let realm = Some("solar".parse().unwrap());
        Person { role, identifiers: vec![Identifier { kind: Kind::Account, realm, value }] }
    };
    let subjects = match event_type.about() {
        About::Nobody => 0,
        About::Anybody => seed.below(2),
        About::Person => 2,
    };
    let mut people: Vec<_> = (0..subjects).map(|number| person(Role::DataSubject, number)).collect();
    people.push(person(Role::Staff, 99));
    people
}

fn envelope_of(seed: &mut Seed) -> Envelope {
    let window = Option::<Window>::sample(seed).filter(|window| window.from <= window.to);
    Envelope {
        event_id: EventId::sample(seed),
        controller: Id::sample(seed),
        emitter: Id::sample(seed),
        emitter_seq: Sample::sample(seed),
        service: Sample::sample(seed),
        activity: Sample::sample(seed),
        regimes: List::<_, 8>::sample(seed).to_vec(),
        policy_version: Sample::sample(seed),
        occurred_at: window.map_or_else(|| Timestamp::sample(seed), |window| window.to),
        time_source: Sample::sample(seed),
        clock_offset: None,
        window,
        count: Option::<u64>::sample(seed).filter(|count| *count > 0),
        backfill: Sample::sample(seed),
        import_id: Sample::sample(seed),
        actor: Sample::sample(seed),
        personal: References {
            actor_ref: Sample::sample(seed),
            correlation_id: Sample::sample(seed),
            causation_id: Sample::sample(seed),
        },
    }
}

fn over_the_wire<M: Message + Default>(message: &M) -> M {
    M::decode(message.encode_to_vec().as_slice()).unwrap()
}

fn at_home(_: Option<&Id>) -> Option<Country> {
    "CN".parse().ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn every_body_survives_the_wire_and_the_stored_form(seed: u64) {
        let mut seed = Seed(seed);
        for event_type in EventType::ALL {
            let body = sample::body(*event_type, &mut seed);
            prop_assert!(body.missing().is_empty());
            prop_assert_eq!(&Body::from_json(*event_type, &stored(&body)).unwrap(), &body);
            let wire = pb::Event { body: Some(body.write()), ..Default::default() };
            let mut violations = Violations::new();
            let back = Body::read(over_the_wire(&wire).body.unwrap(), &Path::ROOT, &mut violations);
            prop_assert_eq!(violations.into_vec(), vec![]);
            prop_assert_eq!(back, Some(body));
        }
    }
}

/// An event of any type, sealed for a person and a matter, and read back from its bytes alone.
fn sealed_and_opened(event: &Event) -> Result<(Envelope, Body), crate::record::Error> {
    use crate::record::{IndexKey, Keys, Noted, PartRole, Party, Salt, Sealing, header::Header, seal};
    let key = |byte: u8| zeroize::Zeroizing::new([byte; 32]);
    let (link, identity, evidence, index) = (key(1), key(2), key(3), IndexKey::new(7, &key(4)));
    let subject = crate::domain::id::SubjectId([9; 16]);
    let keys = Some(Keys { subject, link: &link, year: None, identity: &identity, evidence: &evidence });
    let party = |role| Party { role, keys, ids: Vec::new(), noted: Noted::default() };
    let parties = [party(PartRole::Person(Role::DataSubject)), party(PartRole::Matter)];
    let how = Sealing {
        recorded_at: Timestamp::EPOCH,
        salt: Salt([5; 16]),
        fingerprint: crate::domain::id::Mark([6; 16]),
        index_key: &index,
        organisation: &identity,
    };
    let record = seal(event, &parties, &how)?;
    let header = Header::parse(&record.header)?;
    let block = header.open_index(0, &record.pieces[0], &index)?;
    let mut opened = Vec::new();
    for (i, part) in header.parts.iter().enumerate() {
        for (b, sealed) in part.boxes.iter().enumerate() {
            let evidential = sealed.class == crate::record::Class::Evidence;
            let key = if evidential { &evidence } else { &identity };
            opened.push(header.open_box(i, b, &record.pieces[header.box_piece(i, b)], key)?);
        }
    }
    let body = header.body_with(Some(&block), &opened)?;
    let envelope = Envelope { personal: block.references(), ..header.envelope };
    Ok((envelope, body))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// What can be recorded can be read: the reader of headers is strict, and a record that it does
    /// not read would stop the views.
    #[test]
    fn an_event_of_every_type_is_read_back_from_its_record(seed: u64) {
        let mut seed = Seed(seed);
        for event_type in EventType::ALL {
            let clock_offset = [None, Some(-3), Some(0), Some(70)][seed.below(4) as usize];
            let envelope = Envelope { clock_offset, ..envelope_of(&mut seed) };
            let event = Event { envelope, people: Vec::new(), body: sample::body(*event_type, &mut seed) };
            match sealed_and_opened(&event) {
                Ok((envelope, body)) => {
                    prop_assert_eq!(envelope, event.envelope);
                    prop_assert_eq!(body, event.body);
                }
                Err(crate::record::Error::TooLarge { .. }) => {}
                Err(why) => prop_assert!(false, "{event_type:?}: {why}"),
            }
        }
    }
}

#[test]
fn an_event_of_every_type_survives_the_wire() {
    let mut seed = Seed(7);
    for event_type in EventType::ALL {
        let lawful = (0..10_000).find_map(|_| {
            let event = Event {
                envelope: envelope_of(&mut seed),
                people: people(*event_type, &mut seed),
                body: sample::body(*event_type, &mut seed),
            };
            let mut broken = false;
            event.check(&mut |_, _| broken = true);
            (!broken).then_some(event)
        });
        let sent = lawful.expect("some sample keeps the rules between fields");
        let mut violations = Violations::new();
        let got = event(over_the_wire(&to_wire(&sent)), &Path::ROOT, &at_home, &mut violations);
        assert_eq!(violations.into_vec(), vec![]);
        assert_eq!(got, Some(sent), "{event_type:?}");
    }
}

fn good() -> pb::Event {
    pb::Event {
        event_id: "01890a5d-ac96-774b-bcce-b302099a8057".into(),
        controller: "kstar".into(),
        emitter: "solar-app".into(),
        occurred_at: Some(prost_types::Timestamp { seconds: 1_780_000_000, nanos: 0 }),
        people: vec![subject(vec![account("20015")])],
        body: Some(pb::event::Body::DataCollected(pb::DataCollected::default())),
        ..Default::default()
    }
}

fn subject(identifiers: Vec<pb::Identifier>) -> pb::Person {
    pb::Person { role: pb::Role::DataSubject.into(), identifiers }
}

fn account(value: &str) -> pb::Identifier {
    pb::Identifier { kind: pb::IdentifierKind::Account.into(), realm: "solar".into(), value: value.into() }
}

/// Paths of the violations, as those of the eighth event of a batch; none if the event passes.
fn refused(change: impl FnOnce(&mut pb::Event)) -> Vec<String> {
    let mut message = good();
    change(&mut message);
    let personal = ["20015", "@kstar", "13912345678"];
    let mut violations = Violations::new();
    let root = Path::ROOT;
    let events = root.field("events");
    let got = event(message, &events.index(7), &at_home, &mut violations);
    assert_eq!(got.is_none(), !violations.is_empty());
    let found = violations.into_vec();
    for Violation { field, description } in &found {
        assert!(
            !personal.iter().any(|value| description.contains(value) || field.contains(value)),
            "{description}"
        );
    }
    found
        .into_iter()
        .map(|violation| violation.field.strip_prefix("events[7].").unwrap().to_owned())
        .collect()
}

fn body(body: pb::event::Body) -> impl FnOnce(&mut pb::Event) {
    move |event| event.body = Some(body)
}

#[test]
fn little_has_to_be_said() {
    assert_eq!(refused(|_| ()), Vec::<String>::new());
    let collective = |event: &mut pb::Event| {
        event.people.clear();
        event.occurred_at = None;
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        event.window = Some(pb::Window { from: at(1_780_000_000), to: at(1_780_000_900) });
    };
    assert_eq!(refused(collective), Vec::<String>::new());
}

#[test]
fn an_empty_event_names_all_that_is_missing() {
    let all = refused(|event| *event = pb::Event::default());
    assert_eq!(all, ["event_id", "controller", "emitter", "occurred_at", "body"]);
}

#[test]
fn the_envelope_is_checked() {
    type Change = fn(&mut pb::Event);
    let table: [(Change, &[&str]); 14] = [
        (|e| e.event_id = "not-a-uuid".into(), &["event_id"]),
        (|e| e.event_id = "01890A5D-AC96-774B-BCCE-B302099A8057".into(), &["event_id"]),
        (|e| e.controller = "科士达".into(), &["controller"]),
        (|e| e.emitter = "x".repeat(65), &["emitter"]),
        (|e| e.service = "me@kstar.com.cn".into(), &["service"]),
        (|e| e.regimes = vec!["EU".into(), "EUR".into(), "".into()], &["regimes[1]", "regimes[2]"]),
        (|e| e.regimes = vec!["CN".into(); 9], &["regimes"]),
        (|e| e.occurred_at = Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }), &["occurred_at"]),
        (|e| e.occurred_at = Some(prost_types::Timestamp { seconds: 0, nanos: -1 }), &["occurred_at"]),
        (|e| e.time_source = 9, &["time_source"]),
        (|e| e.count = Some(0), &["count"]),
        (|e| (e.count, e.emitter_seq) = (Some(1 << 53), Some(u64::MAX)), &["count", "emitter_seq"]),
        (|e| e.window = Some(pb::Window::default()), &["window.from", "window.to"]),
        (
            |e| {
                let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
                e.window = Some(pb::Window { from: at(20), to: at(10) });
            },
            &["window.from", "occurred_at"],
        ),
    ];
    for (row, (change, paths)) in table.into_iter().enumerate() {
        let mut found = refused(change);
        found.sort();
        let mut paths: Vec<_> = paths.to_vec();
        paths.sort();
        assert_eq!(found, paths, "row {row}");
    }
}

#[test]
fn people_are_checked() {
    let people = |people: Vec<pb::Person>| refused(move |event| event.people = people);
    assert_eq!(people(vec![subject(vec![account("1")]); 33]), ["people"]);
    assert_eq!(people(vec![subject(vec![])]), ["people[0].identifiers"]);
    assert_eq!(people(vec![subject(vec![account("1"); 17])]), ["people[0].identifiers"]);
    let unnamed = pb::Person { role: 0, identifiers: vec![account("1")] };
    let unknown = pb::Person { role: 77, identifiers: vec![account("1")] };
    assert_eq!(people(vec![unnamed, unknown]), ["people[0].role", "people[1].role"]);
    let wrong = vec![
        pb::Identifier { kind: 0, ..account("1") },
        pb::Identifier { kind: 99, ..account("1") },
        account(""),
        account(&"科".repeat(107)),
        pb::Identifier { realm: "a b".into(), ..account("1") },
        pb::Identifier {
            kind: pb::IdentifierKind::Phone.into(),
            realm: String::new(),
            value: "not a number".into(),
        },
    ];
    let found = people(vec![subject(vec![account("2")]), subject(wrong)]);
    let expected = ["0].kind", "1].kind", "2].value", "3].value", "4].realm", "5].value"];
    assert_eq!(found, expected.map(|rest| format!("people[1].identifiers[{rest}")));
}

#[test]
fn placeholders_identify_nobody_and_are_dropped() {
    let mut message = good();
    let zeros =
        pb::Identifier { kind: pb::IdentifierKind::Imei.into(), realm: "".into(), value: "0".repeat(15) };
    message.people[0].identifiers.push(zeros);
    let got = event(message, &Path::ROOT, &at_home, &mut Violations::new()).unwrap();
    assert_eq!(got.people[0].identifiers.len(), 1);
}

#[test]
fn bodies_are_checked_all_at_once() {
    use pb::event::Body::*;
    let long = "x".repeat(2001);
    let wrong = pb::DataCollected {
        cats: ["pd:Name", "", "running text"].map(String::from).to_vec(),
        purposes: vec![
            pb::PurposeBasis { id: "".into(), basis: 0 },
            pb::PurposeBasis { id: "x".into(), basis: 99 },
        ],
        source: 9,
        collection_country: "cn".into(),
        storage_country: "UK".into(),
        locator: long,
        ..Default::default()
    };
    let found = refused(|event| {
        event.event_id.clear();
        event.people[0].role = 0;
        event.body = Some(DataCollected(wrong));
    });
    let expected = [
        "event_id",
        "people[0].role",
        "data_collected.cats[1]",
        "data_collected.cats[2]",
        "data_collected.purposes[0].id",
        "data_collected.purposes[0].basis",
        "data_collected.purposes[1].basis",
        "data_collected.source",
        "data_collected.collection_country",
        "data_collected.storage_country",
        "data_collected.locator",
    ];
    assert_eq!(found, expected);
    let many = pb::DataCollected { cats: vec!["pd:Name".into(); 65], ..Default::default() };
    assert_eq!(refused(body(DataCollected(many))), ["data_collected.cats"]);
    let short = pb::ConsentGiven { evidence_sha256: vec![1; 31].into(), kind: 1, ..Default::default() };
    assert_eq!(
        refused(body(ConsentGiven(short))),
        ["consent_given.purpose", "consent_given.evidence_sha256"]
    );
}

#[test]
fn rules_between_fields_are_checked() {
    use pb::event::Body::*;
    let daily = pb::DataCollected { record_kind: "location".into(), slot: "s".into(), ..Default::default() };
    assert_eq!(refused(body(DataCollected(daily))), ["data_collected.slot"]);
    let nobody = |event: &mut pb::Event| {
        event.people.clear();
        event.body = Some(AccountRegistered(Default::default()));
    };
    assert_eq!(refused(nobody), ["people"]);
    let somebody =
        body(ServiceTerminated(pb::ServiceTerminated { service: "solar".into(), ..Default::default() }));
    assert_eq!(refused(somebody), ["people"]);
    let alone = body(SubjectsMerged(pb::SubjectsMerged { reason: "twice".into() }));
    assert_eq!(refused(alone), ["people"]);
    let hold = pb::LegalHoldPlaced { hold_id: "h1".into(), ground: 1, ..Default::default() };
    assert_eq!(
        refused(body(LegalHoldPlaced(hold))),
        ["legal_hold_placed.hold_ref", "legal_hold_placed.hold_id"]
    );
    let nothing = pb::EventsRetracted { emitter: "x".into(), reason: 1, ..Default::default() };
    assert_eq!(refused(body(EventsRetracted(nothing))), ["events_retracted.event_ids"]);
}

#[test]
fn the_shape_of_a_retention_rule_is_checked() {
    let rule = pb::RetentionRule {
        id: "keep.x".into(),
        kind: 1,
        anchor: 2,
        causes: vec![1],
        period: "P03M".into(),
        tz: "Mars/Base".into(),
        law_of: "CN".into(),
        from: "2026-02-30".into(),
        ..Default::default()
    };
    let publish = |rule: pb::RetentionRule| {
        refused(move |event| {
            event.people.clear();
            let body = pb::RetentionRulePublished { rule: Some(rule), ..Default::default() };
            event.body = Some(pb::event::Body::RetentionRulePublished(Box::new(body)));
        })
    };
    let below = |fields: &[&str]| -> Vec<String> {
        fields.iter().map(|field| format!("retention_rule_published.rule.{field}")).collect()
    };
    assert_eq!(publish(rule.clone()), below(&["period", "tz", "from"]));
    let formed =
        pb::RetentionRule { period: "P3M".into(), tz: "UTC".into(), from: "2026-02-28".into(), ..rule };
    assert_eq!(publish(formed.clone()), below(&["matches.purposes", "causes", "law_of"]));
    let matches = pb::RuleMatch { purposes: vec!["support".into()], ..Default::default() };
    let good = pb::RetentionRule { matches: Some(matches), anchor: 1, law_of: "".into(), ..formed };
    assert_eq!(publish(good), Vec::<String>::new());
}
