//! The registers through the API: history by two times, checks, imports that are applied whole or not at all, and
//! what is refused on every way in.

use super::*;
use crate::cli::record::timestamp;
use pb::event::Body;

fn controller(name: &str, country: &str) -> Body {
    Body::ControllerRegistered(Box::new(pb::ControllerRegistered {
        controller: name.to_owned(),
        legal_name: "KSTAR".to_owned(),
        country: country.to_owned(),
        eu_representative_org: "KSTAR Europe".to_owned(),
        ..Default::default()
    }))
}

fn service(name: &str, storage: &str) -> Body {
    Body::ServiceRegistered(pb::ServiceRegistered {
        service: name.to_owned(),
        owner: "kstar".to_owned(),
        storage_country: storage.to_owned(),
        ..Default::default()
    })
}

fn recipient(name: &str, cats: &[&str]) -> Body {
    Body::RecipientRegistered(Box::new(pb::RecipientRegistered {
        recipient_id: name.to_owned(),
        legal_name: "Maps".to_owned(),
        role: pb::RecipientRole::Processor as i32,
        country: "CN".to_owned(),
        cats: cats.iter().map(|cat| cat.to_string()).collect(),
        ..Default::default()
    }))
}

fn clauses(importer: &str) -> Body {
    Body::TransferMechanismRegistered(Box::new(pb::TransferMechanismRegistered {
        mechanism_id: "scc-1".to_owned(),
        regime: pb::TransferRegime::Eu as i32,
        kind: "A46-2-c".to_owned(),
        module: Some(2),
        exporter: "kstar".to_owned(),
        importer: importer.to_owned(),
        importer_country: "CN".to_owned(),
        signed_at: Some(timestamp("2026-01-01T00:00:00Z".parse().unwrap())),
        ..Default::default()
    }))
}

fn import(id: &str, bodies: Vec<Body>) -> pb::ApplyRegisterEntriesRequest {
    pb::ApplyRegisterEntriesRequest {
        entries: bodies
            .into_iter()
            .map(|body| pb::Event { body: Some(body), ..Default::default() })
            .collect(),
        controller: "kstar".to_owned(),
        emitter: "desk".to_owned(),
        import_id: id.to_owned(),
        reason: "set_up".to_owned(),
        ..Default::default()
    }
}

fn house() -> Vec<Body> {
    vec![controller("kstar", "DE"), service("solar", "DE"), recipient("hq", &["pd:Name"])]
}

async fn apply(
    running: &Running,
    request: pb::ApplyRegisterEntriesRequest,
) -> Result<pb::ApplyRegisterEntriesResponse, tonic::Status> {
    let applied = client(running).await.registers().apply_register_entries(request).await;
    applied.map(tonic::Response::into_inner)
}

fn told(answer: &pb::ApplyRegisterEntriesResponse) -> Vec<String> {
    let one = |outcome: &pb::RegisterOutcome| {
        let why = outcome.contradictions.iter().map(|one| format!(" {}", one.field));
        let wrong = outcome.violations.iter().map(|one| format!(" {}", one.field));
        let changes = crate::cli::register::changes(&outcome.changes);
        let changed = outcome.result() == pb::RegisterResult::Changed;
        let changes = changes.iter().filter(|_| changed).map(|change| format!(" {change}"));
        let more: String = why.chain(wrong).chain(changes).collect();
        format!("{} {:?}{more}", outcome.id, outcome.result())
    };
    answer.outcomes.iter().map(one).collect()
}

async fn entry(running: &Running, request: pb::GetRegisterEntryRequest) -> Option<pb::RegisterEntry> {
    let found = client(running).await.registers().get_register_entry(request).await;
    match found {
        Ok(found) => found.into_inner().entry,
        Err(status) => {
            assert_eq!(status.code(), tonic::Code::NotFound, "{status:?}");
            None
        }
    }
}

fn of(kind: pb::RegisterKind, id: &str) -> pb::GetRegisterEntryRequest {
    let head = None;
    pb::GetRegisterEntryRequest { kind: kind.into(), id: id.to_owned(), at_least: head, ..Default::default() }
}

async fn history(running: &Running, kind: pb::RegisterKind, id: &str) -> Vec<pb::RegisterVersion> {
    let at_least = Some(running.app().log.head() - 1);
    let request = pb::ListRegisterHistoryRequest {
        kind: kind.into(),
        id: id.to_owned(),
        at_least,
        ..Default::default()
    };
    client(running).await.registers().list_register_history(request).await.unwrap().into_inner().versions
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_is_checked_applied_and_applied_again() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    let head = running.app().log.head();
    let check =
        pb::ApplyRegisterEntriesRequest { check_only: true, import_id: String::new(), ..import("", house()) };
    let checked = apply(&running, check).await.unwrap();
    assert_eq!(told(&checked), ["kstar New", "solar New", "hq New"]);
    assert!(!checked.applied && checked.outcomes[2].changes.iter().any(|change| change.field == "cats"));
    assert_eq!(running.app().log.head(), head, "a check records nothing");

    let applied = apply(&running, import("i-1", house())).await.unwrap();
    assert!(applied.applied && applied.outcomes.iter().all(|one| one.receipt.is_some()));
    assert_eq!(running.app().log.head(), head + 3);
    // By another clock: still the same import.
    place.clock.advance_ms(MS_PER_DAY * 40);
    let again = apply(&running, import("i-1", house())).await.unwrap();
    let positions = |answer: &pb::ApplyRegisterEntriesResponse| {
        let receipts = answer.outcomes.iter().map(|one| one.receipt.as_ref().unwrap());
        receipts.map(|receipt| (receipt.position, receipt.duplicate)).collect::<Vec<_>>()
    };
    assert_eq!(positions(&applied), [(head, false), (head + 1, false), (head + 2, false)]);
    assert_eq!(positions(&again), [(head, true), (head + 1, true), (head + 2, true)]);
    let other = apply(&running, import("i-1", vec![controller("kstar", "DE"), service("solar", "CN")])).await;
    assert_eq!(other.unwrap_err().code(), tonic::Code::AlreadyExists, "another import of this name");
    let more = [house(), vec![recipient("aws", &[])]].concat();
    assert_eq!(apply(&running, import("i-1", more)).await.unwrap_err().code(), tonic::Code::InvalidArgument);

    let next = vec![controller("kstar", "DE"), recipient("hq", &["pd:UID"]), service("solar", "DE")];
    let changed = apply(&running, import("i-2", next.clone())).await.unwrap();
    assert_eq!(told(&changed), ["kstar Unchanged", "hq Changed cats: - pd:Name + pd:UID", "solar Unchanged"]);
    assert_eq!(running.app().log.head(), head + 4, "what is unchanged is not recorded");
    let again = apply(&running, import("i-2", next)).await.unwrap();
    assert_eq!(told(&again), told(&changed));
    assert_eq!(running.app().log.head(), head + 4);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_an_import_with_one_refusal_nothing_is_recorded() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    apply(&running, import("i-1", house())).await.unwrap();
    let head = running.app().log.head();
    let mut malformed = recipient("maps", &[]);
    if let Body::RecipientRegistered(body) = &mut malformed {
        body.country = "Atlantis".to_owned();
    }
    let told_of = |answer: pb::ApplyRegisterEntriesResponse| {
        assert!(!answer.applied);
        told(&answer)
    };
    let bad = vec![recipient("aws", &[]), clauses("nobody"), malformed, Body::DataUsed(Default::default())];
    let refused = apply(&running, import("i-2", bad)).await.unwrap();
    let contradiction = refused.outcomes[1].contradictions[0].clone();
    assert_eq!(
        told_of(refused),
        [
            "aws New",
            "scc-1 Refused transfer_mechanism_registered.importer",
            " Refused recipient_registered.country",
            " Refused data_used"
        ]
    );
    assert_eq!(contradiction.reason(), pb::ContradictionReason::Unknown);
    assert_eq!((contradiction.kind(), contradiction.id.as_str()), (pb::RegisterKind::Recipient, "nobody"));
    assert_eq!(running.app().log.head(), head);
    // What stands before it in the import is known to it.
    let good = apply(&running, import("i-2", vec![recipient("aws", &[]), clauses("aws")])).await.unwrap();
    assert_eq!((told(&good), good.applied), (vec!["aws New".to_owned(), "scc-1 New".to_owned()], true));
    let unnamed = apply(&running, import("", house())).await.unwrap_err();
    assert_eq!(unnamed.code(), tonic::Code::InvalidArgument, "an import has a name");
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_is_told_as_of_an_instant_and_as_known_at_a_position() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    apply(&running, import("i-1", house())).await.unwrap();
    let activity = |cats: &[&str], from: &str| {
        Body::ActivityRegistered(Box::new(pb::ActivityRegistered {
            activity: "photo".to_owned(),
            service: "solar".to_owned(),
            cats: cats.iter().map(|cat| cat.to_string()).collect(),
            effective_at: Some(timestamp(from.parse().unwrap())),
            ..Default::default()
        }))
    };
    let first = apply(&running, import("a-1", vec![activity(&["pd:Picture"], "2026-02-01T00:00:00Z")])).await;
    let first = first.unwrap().outcomes[0].receipt.clone().unwrap().position;
    // Recorded later, in force before it and until it; and one that is only announced.
    place.clock.advance_ms(MS_PER_HOUR);
    let late =
        vec![activity(&["pd:Name"], "2026-01-01T00:00:00Z"), activity(&["pd:UID"], "2026-06-01T00:00:00Z")];
    apply(&running, import("a-2", late)).await.unwrap();
    let at = |as_of: &str, known_at: Option<u64>| {
        let as_of = Some(timestamp(as_of.parse().unwrap()));
        let at_least = Some(running.app().log.head() - 1);
        pb::GetRegisterEntryRequest { as_of, known_at, at_least, ..of(pb::RegisterKind::Activity, "photo") }
    };
    let cats = |entry: &pb::RegisterEntry| {
        let event = entry.version.as_ref().unwrap().event.clone().unwrap();
        let Some(Body::ActivityRegistered(body)) = event.body else { panic!("another body") };
        (entry.state(), body.cats)
    };
    use pb::RegisterState::{Announced, InForce};
    for (as_of, known_at, state, cat) in [
        ("2026-03-01T00:00:00Z", None, InForce, "pd:Picture"),
        ("2026-01-15T00:00:00Z", None, InForce, "pd:Name"),
        ("2026-01-15T00:00:00Z", Some(first), Announced, "pd:Picture"),
        ("2025-12-31T00:00:00Z", None, Announced, "pd:Name"),
        ("2026-07-01T00:00:00Z", None, InForce, "pd:UID"),
    ] {
        let found = entry(&running, at(as_of, known_at)).await.unwrap();
        assert_eq!(cats(&found), (state, vec![cat.to_owned()]), "{as_of} {known_at:?}");
    }
    assert_eq!(entry(&running, at("2026-03-01T00:00:00Z", Some(first - 1))).await, None);

    let told = history(&running, pb::RegisterKind::Activity, "photo").await;
    let day = |at: &Option<prost_types::Timestamp>| {
        crate::cli::report::time(at.as_ref())[..].get(..10).map(str::to_owned)
    };
    let spans: Vec<_> = told.iter().map(|one| (day(&one.effective_from), day(&one.effective_to))).collect();
    let on = |text: &str| Some(text.to_owned());
    assert_eq!(
        spans,
        [
            (on("2026-02-01"), on("2026-06-01")),
            (on("2026-01-01"), on("2026-02-01")),
            (on("2026-06-01"), None)
        ]
    );
    let event = told[0].event.clone().unwrap();
    assert_eq!(
        (event.emitter.as_str(), event.actor(), event.import_id.as_str()),
        ("desk", pb::ActorKind::Staff, "a-1")
    );
    assert_eq!(told[0].reason, "set_up");
    let changed = crate::cli::register::changes(&told[2].changes);
    assert_eq!(
        changed,
        [
            "cats: - pd:Picture + pd:UID",
            "effective_at: - 2026-02-01T00:00:00.000Z + 2026-06-01T00:00:00.000Z"
        ]
    );
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_contradicts_the_registers_is_refused_on_every_way_in() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    apply(&running, import("i-1", house())).await.unwrap();
    let event = |n: u8, body: Body| pb::Event { body: Some(body), people: Vec::new(), ..place.event(n) };
    let mut ingest = client(&running).await.ingest();
    let request = pb::RecordEventRequest { event: Some(event(1, clauses("nobody"))) };
    let refused = ingest.record_event(request).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    let details = tonic_types::StatusExt::get_error_details(&refused);
    let violation = &details.bad_request().unwrap().field_violations[0];
    assert_eq!(violation.field, "event.transfer_mechanism_registered.importer");
    assert!(violation.description.ends_with("(unknown)"), "{violation:?}");
    // A batch: what is refused is unknown to those after it, what is taken is known to them.
    let ended =
        || Body::RecipientEnded(pb::RecipientEnded { recipient_id: "maps".to_owned(), ..Default::default() });
    let events = vec![
        event(2, clauses("maps")),
        event(3, recipient("maps", &[])),
        event(4, clauses("maps")),
        event(5, ended()),
        event(6, ended()),
    ];
    let request = pb::BatchRecordEventsRequest { events: events.clone() };
    let outcomes = ingest.batch_record_events(request).await.unwrap().into_inner().outcomes;
    let taken = |outcomes: &[pb::Outcome]| -> Vec<bool> {
        outcomes.iter().map(|one| matches!(one.result, Some(pb::outcome::Result::Receipt(_)))).collect()
    };
    assert_eq!(taken(&outcomes), [false, true, true, true, false]);
    // What was taken is answered again, though it would contradict by now.
    let request = pb::BatchRecordEventsRequest { events: events[1..5].to_vec() };
    let outcomes = ingest.batch_record_events(request).await.unwrap().into_inner().outcomes;
    assert_eq!(taken(&outcomes), [true, true, true, false]);
    // An emitter that names a stranger is heard.
    let shared = pb::DataShared { recipient_id: "stranger".to_owned(), ..Default::default() };
    let event = pb::Event { body: Some(Body::DataShared(shared)), ..place.event(7) };
    ingest.record_event(pb::RecordEventRequest { event: Some(event) }).await.unwrap();
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_back_stands_in_the_history_and_counts_no_more() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    apply(&running, import("i-1", house())).await.unwrap();
    let request = import("i-2", vec![recipient("hq", &["pd:UID"])]);
    let wrong = apply(&running, request).await.unwrap().outcomes[0].receipt.clone().unwrap();
    let retracted = pb::EventsRetracted {
        emitter: "desk".to_owned(),
        event_ids: vec![wrong.event_id.clone()],
        reason: pb::RetractionReason::TestData.into(),
        ..Default::default()
    };
    let event =
        pb::Event { body: Some(Body::EventsRetracted(retracted)), people: Vec::new(), ..place.event(1) };
    let request = pb::RecordEventRequest { event: Some(event) };
    let by = client(&running).await.ingest().record_event(request).await.unwrap().into_inner();
    let by = by.receipt.unwrap().position;
    let told = history(&running, pb::RegisterKind::Recipient, "hq").await;
    assert_eq!(told.iter().map(|one| one.retracted_by).collect::<Vec<_>>(), [None, Some(by)]);
    let now = of(pb::RegisterKind::Recipient, "hq");
    let version = |entry: pb::RegisterEntry| entry.version.unwrap().position;
    let first = version(entry(&running, now.clone()).await.unwrap());
    assert_eq!(first, wrong.position - 1);
    let before = pb::GetRegisterEntryRequest { known_at: Some(by - 1), ..now.clone() };
    assert_eq!(version(entry(&running, before).await.unwrap()), wrong.position);
    // The same after a restart, and after a rebuild.
    running.stop().await.unwrap();
    let running = place.start().await.unwrap();
    assert_eq!(version(entry(&running, now.clone()).await.unwrap()), first);
    client(&running).await.admin().rebuild_views(pb::RebuildViewsRequest::default()).await.unwrap();
    assert_eq!(version(entry(&running, now).await.unwrap()), first);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_holds_and_breaches_are_registers_too() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    apply(&running, import("i-1", house())).await.unwrap();
    let rule = |id: &str, period: &str, from: &str, replaces: &str| {
        Body::RetentionRulePublished(Box::new(pb::RetentionRulePublished {
            rule: Some(pb::RetentionRule {
                id: id.to_owned(),
                kind: pb::RuleKind::Cap as i32,
                anchor: pb::Anchor::Collected as i32,
                period: period.to_owned(),
                tz: "UTC".to_owned(),
                from: from.to_owned(),
                replaces: replaces.to_owned(),
                ..Default::default()
            }),
            reason: String::new(),
        }))
    };
    let hold = Body::LegalHoldPlaced(pb::LegalHoldPlaced {
        hold_id: "h-1".to_owned(),
        ground: pb::HoldGround::Court as i32,
        confidential: Some(true),
        ..Default::default()
    });
    let breach = Body::BreachDetected(pb::BreachDetected {
        breach_id: "b-1".to_owned(),
        aware_at: Some(timestamp(place.clock.now())),
        ..Default::default()
    });
    let closed = Body::BreachClosed(pb::BreachClosed { breach_id: "b-1".to_owned(), ..Default::default() });
    let bodies = vec![
        rule("r-1", "P1Y", "2026-01-01", ""),
        rule("r-2", "P2Y", "2026-02-01", "r-1"),
        hold,
        breach,
        closed,
    ];
    let applied = apply(&running, import("i-2", bodies)).await.unwrap();
    assert!(applied.applied, "{applied:?}");
    let at_least = Some(running.app().log.head() - 1);
    let states = async |kind: pb::RegisterKind, as_of: &str| -> Vec<String> {
        let as_of = Some(timestamp(as_of.parse().unwrap()));
        let request = pb::ListRegisterEntriesRequest {
            kind: kind.into(),
            as_of,
            at_least,
            page_size: 1,
            ..Default::default()
        };
        let mut registers = client(&running).await.registers();
        let first = registers.list_register_entries(request.clone()).await.unwrap().into_inner();
        let mut entries = first.entries;
        if !first.next_page_token.is_empty() {
            let next = pb::ListRegisterEntriesRequest { page_token: first.next_page_token, ..request };
            entries.extend(registers.list_register_entries(next).await.unwrap().into_inner().entries);
        }
        entries.iter().map(|entry| format!("{} {:?}", entry.id, entry.state())).collect()
    };
    let now = "2026-03-02T00:00:00Z";
    assert_eq!(states(pb::RegisterKind::RetentionRule, now).await, ["r-1 Replaced", "r-2 InForce"]);
    let before = states(pb::RegisterKind::RetentionRule, "2026-01-15T00:00:00Z").await;
    assert_eq!(before, ["r-1 InForce", "r-2 Announced"]);
    assert_eq!(states(pb::RegisterKind::Hold, now).await, ["h-1 InForce"]);
    assert_eq!(states(pb::RegisterKind::Breach, now).await, ["b-1 Ended"]);
    // An annulment gives the replaced rule back.
    let annulled = Body::RetentionRuleAnnulled(pb::RetentionRuleAnnulled {
        rule: "r-2".to_owned(),
        reason: "mistake".to_owned(),
        ..Default::default()
    });
    let mut request = import("i-3", vec![annulled]);
    let staff = |name: &str| pb::Person {
        role: pb::Role::Staff as i32,
        identifiers: vec![pb::Identifier {
            kind: pb::IdentifierKind::Account as i32,
            realm: "custody".to_owned(),
            value: name.to_owned(),
        }],
    };
    request.entries[0].people = vec![staff("local")];
    assert_eq!(told(&apply(&running, request.clone()).await.unwrap()), ["r-2 Refused people"]);
    request.entries[0].people = vec![staff("wang")];
    assert!(apply(&running, request).await.unwrap().applied);
    crate::server::tests::client(&running).await;
    let at_least = running.app().log.head() - 1;
    running.app().at_least(Some(at_least)).await.unwrap();
    assert_eq!(states(pb::RegisterKind::RetentionRule, now).await, ["r-1 InForce", "r-2 Annulled"]);
    running.stop().await.unwrap();
}
