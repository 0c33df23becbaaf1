//! Transfers and findings through the API: a flow that nothing allowed, the contract that comes later, what an
//! officer does, and the tick without which nothing is said about absence.

use super::*;

const MINUTE: i64 = 60_000;

async fn say(running: &Running, place: &Place, n: u8, body: pb::event::Body, person: bool) -> u64 {
    let mut event = pb::Event { body: Some(body), ..place.event(n) };
    if !person {
        event.people.clear();
    }
    let request = pb::RecordEventRequest { event: Some(event) };
    client(running).await.ingest().record_event(request).await.unwrap().into_inner().receipt.unwrap().position
}

/// Something is collected about a user, who is known from then on.
async fn meet(running: &Running, place: &Place, n: u8) {
    let event = pb::Event { event_id: place.event(n + 100).event_id, ..place.event(n) };
    let request = pb::RecordEventRequest { event: Some(event) };
    client(running).await.ingest().record_event(request).await.unwrap();
}

fn transferred() -> pb::event::Body {
    pb::event::Body::DataTransferred(pb::DataTransferred {
        recipient_id: "hq".to_owned(),
        from_country: "DE".to_owned(),
        to_country: "CN".to_owned(),
        cats: vec!["pd:Name".to_owned()],
        purpose: "support".to_owned(),
        mechanism_id: "scc-0".to_owned(),
        ..Default::default()
    })
}

fn clauses(place: &Place) -> pb::event::Body {
    pb::event::Body::TransferMechanismRegistered(Box::new(pb::TransferMechanismRegistered {
        mechanism_id: "scc-1".to_owned(),
        regime: pb::TransferRegime::Eu as i32,
        kind: "A46-2-c".to_owned(),
        module: Some(1),
        exporter: "kstar".to_owned(),
        importer: "hq".to_owned(),
        importer_country: "CN".to_owned(),
        signed_at: Some(crate::cli::record::timestamp(place.clock.now())),
        ..Default::default()
    }))
}

/// The parties of the contract: registers refuse what names strangers.
async fn register_parties(running: &Running, place: &Place) {
    let kstar = pb::ControllerRegistered {
        controller: "kstar".to_owned(),
        legal_name: "KSTAR".to_owned(),
        country: "DE".to_owned(),
        ..Default::default()
    };
    say(running, place, 201, pb::event::Body::ControllerRegistered(Box::new(kstar)), false).await;
    let hq = pb::RecipientRegistered {
        recipient_id: "hq".to_owned(),
        legal_name: "KSTAR HQ".to_owned(),
        role: pb::RecipientRole::Controller as i32,
        country: "CN".to_owned(),
        ..Default::default()
    };
    say(running, place, 202, pb::event::Body::RecipientRegistered(Box::new(hq)), false).await;
}

async fn findings(running: &Running, at_least: u64) -> (Vec<pb::Finding>, pb::FindingBasis) {
    let request = pb::ListFindingsRequest { at_least: Some(at_least), page_size: 1, ..Default::default() };
    crate::cli::findings::all(&client(running).await, request).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_without_a_mechanism_is_found_and_a_later_one_does_not_cure_it() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    meet(&running, &place, 1).await;
    meet(&running, &place, 3).await;
    let first = say(&running, &place, 1, transferred(), true).await;
    let (found, from) = findings(&running, first).await;
    assert!(found.iter().all(|found| !found.code.starts_with("F-TRANSFER")), "nothing ticked yet: {found:?}");
    assert_eq!((from.tick, from.law.as_str(), from.unjudged), (None, "custody-law 2026-11", 0));
    place.clock.advance_ms(11 * MINUTE);
    register_parties(&running, &place).await;
    say(&running, &place, 2, clauses(&place), false).await;
    let covered = say(&running, &place, 3, transferred(), true).await;
    running.jobs().take_turn().await.unwrap();
    let head = running.app().log.head();
    running.jobs().take_turn().await.unwrap();
    assert_eq!(running.app().log.head(), head, "one tick in ten minutes");

    let (found, from) = findings(&running, head - 1).await;
    assert!(from.tick.is_some());
    let key = "F-TRANSFER-NO-MECHANISM mechanism=- exporter=kstar importer=hq country=CN purpose=support";
    let none = found.iter().find(|found| found.key == key).unwrap();
    assert_eq!(
        (none.count, none.positions.as_slice(), none.severity()),
        (1, &[first][..], pb::Severity::Critical)
    );
    assert!(none.rule.as_ref().unwrap().zh.as_ref().unwrap().explanation.contains("境外"), "{none:?}");
    assert!(found.is_sorted_by(|a, b| a.severity >= b.severity), "the gravest first");

    let mut transfers = client(&running).await.transfers();
    let request = pb::ListTransfersRequest { at_least: Some(covered), ..Default::default() };
    let lines = transfers.list_transfers(request).await.unwrap().into_inner().lines;
    let told: Vec<_> = lines.iter().map(|line| (line.outcome(), line.count, line.people)).collect();
    assert_eq!(told, [(pb::TransferOutcome::Mechanism, 1, 1), (pb::TransferOutcome::None, 1, 1)]);
    assert_eq!(
        (lines[0].allowed_by.as_str(), lines[0].claims.as_slice()),
        ("scc-1", &["scc-0".to_owned()][..])
    );
    assert_eq!(lines[0].mechanism.as_ref().unwrap().kind, "A46-2-c");
    let request = pb::ListUncoveredTransfersRequest::default();
    let uncovered = transfers.list_uncovered_transfers(request).await.unwrap().into_inner().lines;
    assert_eq!(uncovered.len(), 1);

    // As it was known before the contract: nothing that allowed the second one either.
    let known_at = Some(first);
    let filter = Some(pb::TransferFilter { known_at, ..Default::default() });
    let before = pb::ListTransfersRequest { filter, ..Default::default() };
    let before = transfers.list_transfers(before).await.unwrap().into_inner().lines;
    assert_eq!(before.iter().map(|line| line.outcome()).collect::<Vec<_>>(), [pb::TransferOutcome::None]);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_officer_closes_only_what_is_found() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    say(&running, &place, 1, transferred(), true).await;
    place.clock.advance_ms(11 * MINUTE);
    running.app().tick_detectors().await.unwrap();
    let tick = running.app().log.head() - 1;
    let key = findings(&running, tick).await.0[0].key.clone();
    let mut service = client(&running).await.findings();
    let close = |key: &str, reason: &str| pb::CloseFindingRequest {
        key: key.to_owned(),
        reason: reason.to_owned(),
        note: "Mr Li has the contract".to_owned(),
    };
    for (request, code, field) in [
        (close("nonsense", "corrected"), tonic::Code::InvalidArgument, "key"),
        (close(&key, ""), tonic::Code::InvalidArgument, "reason"),
        (close("F-CN-FILING-LATE mechanism=x", "corrected"), tonic::Code::NotFound, ""),
    ] {
        let refused = service.close_finding(request).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused:?}");
        let details = tonic_types::StatusExt::get_error_details(&refused);
        let named = details.bad_request().map(|bad| bad.field_violations[0].field.clone());
        assert_eq!(named.unwrap_or_default(), field);
    }
    let position = service.close_finding(close(&key, "corrected")).await.unwrap().into_inner().position;
    let (found, _) = findings(&running, position).await;
    let closed = found.iter().find(|found| found.key == key).unwrap();
    assert_eq!((closed.state(), closed.acts[0].reason.as_str()), (pb::FindingState::Closed, "corrected"));
    let files = super::erasure::holding(place.root.path(), &[b"Mr Li".to_vec()]);
    assert_eq!(files, Vec::<String>::new(), "a note is sealed");
    let request =
        pb::ReopenFindingRequest { key: key.clone(), reason: "again".to_owned(), note: String::new() };
    let position = service.reopen_finding(request).await.unwrap().into_inner().position;
    let (found, _) = findings(&running, position).await;
    let reopened = found.iter().find(|found| found.key == key).unwrap();
    assert_eq!((reopened.state(), reopened.acts.len()), (pb::FindingState::Reopened, 2));
    let rules = service.list_rules(pb::ListRulesRequest {}).await.unwrap().into_inner();
    let judged: Vec<_> =
        rules.rules.iter().filter(|rule| rule.judged).map(|rule| rule.code.as_str()).collect();
    assert_eq!(judged.len(), crate::views::findings::JUDGED.len(), "each has its rule");
    assert!(rules.rules.len() > judged.len() && judged.contains(&reopened.code.as_str()));
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exports_from_china_are_counted_by_person_and_year() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    let abroad = pb::event::Body::DataTransferred(pb::DataTransferred {
        recipient_id: "aws".to_owned(),
        from_country: "CN".to_owned(),
        to_country: "DE".to_owned(),
        cats: vec!["pd:EmailAddress".to_owned()],
        sensitive: Some(false),
        ..Default::default()
    });
    let mut last = 0;
    for n in 1..=3 {
        meet(&running, &place, n).await;
        last = say(&running, &place, n, abroad.clone(), true).await;
    }
    let request = pb::ListExportCountersRequest { at_least: Some(last) };
    let answer = client(&running).await.transfers().list_export_counters(request).await.unwrap().into_inner();
    let counter = &answer.counters[0];
    assert_eq!((counter.exporter.as_str(), counter.year), ("kstar", 2026));
    assert_eq!(counter.general.as_ref().unwrap().count, 3);
    assert_eq!((counter.tier.as_str(), counter.next_tier.as_str()), ("exempt", "contract"));
    assert_eq!((counter.next_general, counter.next_sensitive), (99_997, 1));
    running.stop().await.unwrap();
}

fn on_consent() -> pb::event::Body {
    pb::event::Body::DataCollected(pb::DataCollected {
        cats: vec!["pd:Name".to_owned()],
        purposes: vec![pb::PurposeBasis {
            id: "analytics".to_owned(),
            basis: pb::LegalBasis::Consent as i32,
        }],
        ..Default::default()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_consent_counts_people_is_cured_by_a_late_one_and_outlives_the_erased() {
    use crate::app::erase::Reason;
    use crate::app::subjects::Name;
    use crate::domain::event::IdentityErasureCause;

    let place = Place::new();
    let running = place.start().await.unwrap();
    let then = crate::cli::record::timestamp(place.clock.now());
    for n in 1..=2 {
        say(&running, &place, n, on_consent(), true).await;
    }
    let key = "F-NO-CONSENT service=- purpose=analytics";
    let ticked = async || {
        place.clock.advance_ms(11 * MINUTE);
        running.app().tick_detectors().await.unwrap();
        let (found, _) = findings(&running, running.app().log.head() - 1).await;
        found.into_iter().find(|found| found.key == key).unwrap()
    };
    let found = ticked().await;
    assert_eq!((found.count, found.people, found.state()), (2, Some(2), pb::FindingState::Open));

    // Given in time, and sent late.
    let consent = pb::event::Body::ConsentGiven(pb::ConsentGiven {
        purpose: "analytics".to_owned(),
        kind: pb::ConsentKind::Expressed as i32,
        ..Default::default()
    });
    let event = pb::Event {
        event_id: place.event(0x41).event_id,
        occurred_at: Some(then),
        body: Some(consent),
        ..place.event(1)
    };
    let request = pb::RecordEventRequest { event: Some(event) };
    client(&running).await.ingest().record_event(request).await.unwrap();
    let found = ticked().await;
    assert_eq!((found.count, found.people, found.cured_count), (1, Some(1), 1));
    assert_eq!(found.raised_at, Some(prost_types::Timestamp { seconds: then.seconds + 600, ..then }));
    assert!(found.cured_at.unwrap().seconds > found.raised_at.unwrap().seconds);

    let gone = super::erasure::find(&running, 2).await.unwrap();
    let reason = Reason { cause: IdentityErasureCause::Operator, case_id: None, evidence_too: true };
    running.app().erase(&crate::app::Caller::local(), &[Name::Subject(gone)], reason).await.unwrap();
    let counts = |found: &pb::Finding| (found.count, found.people, found.erased_people, found.state());
    let carried = (1, Some(1), 1, pb::FindingState::Open);
    assert_eq!(counts(&ticked().await), carried);
    let views = Arc::clone(&running.app().views);
    tokio::task::spawn_blocking(move || views.rebuild(|_| true)).await.unwrap().unwrap();
    assert_eq!(counts(&ticked().await), carried, "a rebuild counts the same");
    running.stop().await.unwrap();
}
