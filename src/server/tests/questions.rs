//! Questions, the inbox of terms and retractions through the API: what a service hears before it acts, who is
//! affected, and that nothing is read or taken back without a trace.

use super::*;

pub(super) fn name(n: u8) -> Option<pb::SubjectName> {
    let identifier = pb::Identifier {
        kind: pb::IdentifierKind::Account as i32,
        realm: "solar".to_owned(),
        value: format!("user-{n}"),
    };
    Some(pb::SubjectName { name: Some(pb::subject_name::Name::Identifier(identifier)) })
}

pub(super) async fn say(running: &Running, place: &Place, (n, who): (u8, u8), body: pb::event::Body) -> u64 {
    let mut event = pb::Event { body: Some(body), service: "solar".to_owned(), ..place.event(who) };
    event.event_id = place.event(n).event_id;
    if who == 0 {
        event.people.clear();
    }
    let request = pb::RecordEventRequest { event: Some(event) };
    client(running).await.ingest().record_event(request).await.unwrap().into_inner().receipt.unwrap().position
}

/// What an activity names has to be registered before it.
pub(super) async fn register_service(running: &Running, place: &Place) {
    let kstar = pb::ControllerRegistered {
        controller: "kstar".to_owned(),
        legal_name: "KSTAR".to_owned(),
        country: "CN".to_owned(),
        ..Default::default()
    };
    say(running, place, (201, 0), pb::event::Body::ControllerRegistered(Box::new(kstar))).await;
    let solar = pb::ServiceRegistered {
        service: "solar".to_owned(),
        owner: "kstar".to_owned(),
        ..Default::default()
    };
    say(running, place, (202, 0), pb::event::Body::ServiceRegistered(solar)).await;
}

fn activity() -> pb::event::Body {
    pb::event::Body::ActivityRegistered(Box::new(pb::ActivityRegistered {
        activity: "newsletter".to_owned(),
        service: "solar".to_owned(),
        purposes: vec![pb::PurposeBasis {
            id: "direct_marketing".to_owned(),
            basis: pb::LegalBasis::Consent.into(),
        }],
        cats: vec!["pd:EmailAddress".to_owned()],
        ..Default::default()
    }))
}

fn consented() -> pb::event::Body {
    pb::event::Body::ConsentGiven(pb::ConsentGiven {
        purpose: "direct_marketing".to_owned(),
        kind: pb::ConsentKind::Expressed.into(),
        ..Default::default()
    })
}

fn collected(cat: &str) -> pb::event::Body {
    pb::event::Body::DataCollected(pb::DataCollected {
        cats: vec![cat.to_owned()],
        purposes: vec![pb::PurposeBasis {
            id: "direct_marketing".to_owned(),
            basis: pb::LegalBasis::Consent.into(),
        }],
        ..Default::default()
    })
}

async fn check(running: &Running, who: u8, at_least: u64) -> pb::CheckUseResponse {
    let request = pb::CheckUseRequest {
        subject: name(who),
        activity: "newsletter".to_owned(),
        at_least: Some(at_least),
        ..Default::default()
    };
    client(running).await.questions().check_use(request).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_asks_before_it_acts() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    register_service(&running, &place).await;
    let registered = say(&running, &place, (1, 0), activity()).await;
    let before = check(&running, 1, registered).await;
    assert!(!before.allowed && !before.subject_known && !before.periods_not_judged);
    assert_eq!((before.reasons.len(), before.reasons[0].code.as_str()), (1, "consent_missing"));
    assert!(before.reasons[0].zh.contains("同意") && before.reasons[0].legal.contains(&"PIPL 13".to_owned()));
    assert_eq!((before.activity_revision, before.data.len(), before.data[0].held), (Some(1), 1, false));

    say(&running, &place, (2, 1), consented()).await;
    let held = say(&running, &place, (3, 1), collected("pd:EmailAddress")).await;
    let after = check(&running, 1, held).await;
    assert!(after.allowed && after.subject_known && after.data[0].held, "{after:?}");
    assert_eq!(after.data[0].usable_for, ["direct_marketing"]);

    let body = pb::event::Body::ConsentWithdrawn(pb::ConsentWithdrawn {
        purpose: "direct_marketing".to_owned(),
        ..Default::default()
    });
    place.clock.advance_ms(60_000);
    let withdrawn = say(&running, &place, (4, 1), body).await;
    assert_eq!(check(&running, 1, withdrawn).await.reasons[0].code, "consent_withdrawn");
    // As it was known before.
    let request = pb::CheckUseRequest {
        subject: name(1),
        activity: "newsletter".to_owned(),
        known_at: Some(held),
        ..Default::default()
    };
    assert!(client(&running).await.questions().check_use(request).await.unwrap().into_inner().allowed);
    let wrong = pb::CheckUseRequest { activity: "b l".to_owned(), ..Default::default() };
    let refused = client(&running).await.questions().check_use(wrong).await.unwrap_err();
    let details = tonic_types::StatusExt::get_error_details(&refused);
    let fields: Vec<String> =
        details.bad_request().unwrap().field_violations.iter().map(|bad| bad.field.clone()).collect();
    assert_eq!(fields, ["subject", "activity"], "every wrong field");
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_affected_is_told_after_the_read_is_recorded() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    let mut last = 0;
    for n in 1..=5 {
        last = say(&running, &place, (n, n), collected("pd:EmailAddress")).await;
    }
    let selector =
        Some(pb::PopulationSelector { category: "pd:EmailAddress".to_owned(), ..Default::default() });
    let request =
        pb::CountPopulationRequest { selector: selector.clone(), at_least: Some(last), ..Default::default() };
    let mut questions = client(&running).await.questions();
    let count = questions.count_population(request).await.unwrap().into_inner();
    assert_eq!((count.people, count.erased), (5, None));
    assert_eq!(count.computed_from.unwrap().computed_at, last + 1);

    let head = running.app().log.head();
    let list = |token: &str, opening: bool| pb::ListPopulationRequest {
        selector: selector.clone(),
        opening: opening.then(|| pb::Opening { reason: "breach".to_owned(), ticket: "T-1".to_owned() }),
        identifiers: true,
        page_size: 2,
        page_token: token.to_owned(),
        ..Default::default()
    };
    let refused = questions.list_population(list("", false)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    assert_eq!(running.app().log.head(), head, "nothing was read");
    let (mut token, mut told) = (String::new(), Vec::new());
    loop {
        let page = questions.list_population(list(&token, true)).await.unwrap().into_inner();
        told.extend(page.members.iter().map(|member| member.identifiers[0].value.clone()));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    told.sort();
    assert_eq!(told, ["user-1", "user-2", "user-3", "user-4", "user-5"]);
    assert_eq!(running.app().log.head(), head + 3, "each page is a read of its own");
    let name = pb::get_event_request::Name::Position(head);
    let read = pb::GetEventRequest { name: Some(name) };
    let read = client(&running).await.events().get_event(read).await.unwrap().into_inner().event.unwrap();
    let Some(pb::event::Body::RecordsRead(read)) = read.event.unwrap().body else { panic!("no read") };
    assert_eq!(
        (read.rpc.as_str(), read.subjects, read.reason.as_str()),
        ("ListPopulation", Some(2), "breach")
    );
    let nobody = pb::CountPopulationRequest::default();
    assert_eq!(questions.count_population(nobody).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_term_is_mapped_after_its_effect_was_looked_at() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    let last = say(&running, &place, (1, 1), collected("email_adress")).await;
    let mut terms = client(&running).await.terms();
    let list = |at_least| pb::ListUnmappedTermsRequest { at_least: Some(at_least), ..Default::default() };
    let waiting = terms.list_unmapped_terms(list(last)).await.unwrap().into_inner().terms;
    assert_eq!(
        (waiting.len(), waiting[0].term.as_str(), waiting[0].kind()),
        (1, "email_adress", pb::MappingKind::Category)
    );
    assert_eq!(
        (waiting[0].emitters.as_slice(), waiting[0].suggestions[0].as_str()),
        (&["app".to_owned()][..], "pd:EmailAddress")
    );
    let map = |maps_to: &str, check| pb::MapTermRequest {
        kind: pb::MappingKind::Category.into(),
        term: "email_adress".to_owned(),
        maps_to: maps_to.to_owned(),
        check,
        ..Default::default()
    };
    let refused = terms.map_term(map("pd:Nonsense", false)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused:?}");
    let shown = terms.map_term(map("pd:EmailAddress", true)).await.unwrap().into_inner();
    assert_eq!(shown.position, None);
    assert_eq!((shown.changes[0].before, shown.changes[0].after), (1, 0), "{shown:?}");
    assert!(shown.changes[0].key.starts_with("F-UNMAPPED kind=category"));
    let mapped = terms.map_term(map("pd:EmailAddress", false)).await.unwrap().into_inner();
    let left = terms.list_unmapped_terms(list(mapped.position.unwrap())).await.unwrap().into_inner().terms;
    assert!(left.is_empty());
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_wrong_is_taken_back_by_those_who_may() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    for n in 1..=3 {
        say(&running, &place, (n, n), collected("pd:EmailAddress")).await;
    }
    let given = say(&running, &place, (4, 1), consented()).await;
    let id = |n: u8| place.event(n).event_id;
    let request = |ids: Vec<String>| pb::RetractEventsRequest {
        emitter: "app".to_owned(),
        event_ids: ids,
        reason: pb::RetractionReason::TestData.into(),
        ..Default::default()
    };
    let mut events = client(&running).await.events();
    let refused = events.retract_events(request(vec![id(1), id(77), "x".to_owned()])).await.unwrap_err();
    let details = tonic_types::StatusExt::get_error_details(&refused);
    assert_eq!(details.bad_request().unwrap().field_violations[0].field, "event_ids[2]");
    let refused = events.retract_events(request(vec![id(77), id(1), id(78), id(1)])).await.unwrap_err();
    let details = tonic_types::StatusExt::get_error_details(&refused);
    let mut fields: Vec<String> =
        details.bad_request().unwrap().field_violations.iter().map(|bad| bad.field.clone()).collect();
    fields.sort();
    assert_eq!(fields, ["event_ids[0]", "event_ids[2]", "event_ids[3]"], "unknown, unknown, twice");

    let head = running.app().log.head();
    let all = request(vec![id(1), id(2), id(4)]);
    let shown = pb::RetractEventsRequest { check: true, ..all.clone() };
    let shown = events.retract_events(shown).await.unwrap().into_inner();
    assert_eq!((shown.people, shown.retractions, shown.second_person), (2, 1, true));
    assert_eq!(shown.events_by_type["DataCollected"], 2);
    assert_eq!(running.app().log.head(), head);
    for approver in ["", "local"] {
        let alone = pb::RetractEventsRequest { approver: approver.to_owned(), ..all.clone() };
        let refused = events.retract_events(alone).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::FailedPrecondition, "{approver}: {refused:?}");
    }
    let both = pb::RetractEventsRequest { approver: "wang".to_owned(), ..all.clone() };
    let done = events.retract_events(both.clone()).await.unwrap().into_inner();
    assert_eq!(done.positions, [head]);
    let selector =
        Some(pb::PopulationSelector { category: "pd:EmailAddress".to_owned(), ..Default::default() });
    let count = pb::CountPopulationRequest { selector, at_least: Some(head), ..Default::default() };
    let mut questions = client(&running).await.questions();
    assert_eq!(questions.count_population(count).await.unwrap().into_inner().people, 1);
    let again = events.retract_events(both).await.unwrap().into_inner();
    assert_eq!(
        (again.positions.len(), again.already_retracted.len()),
        (0, 3),
        "a retry takes nothing back twice"
    );
    let name = pb::get_event_request::Name::Position(given);
    let event = pb::GetEventRequest { name: Some(name) };
    let event = events.get_event(event).await.unwrap().into_inner().event.unwrap();
    assert_eq!(event.retracted_by, Some(head));
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retraction_about_many_people_becomes_several() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    let mut ids = Vec::new();
    for n in 1..=70 {
        say(&running, &place, (n, n), collected("pd:EmailAddress")).await;
        ids.push(place.event(n).event_id);
    }
    let request = pb::RetractEventsRequest {
        emitter: "app".to_owned(),
        event_ids: ids,
        reason: pb::RetractionReason::WrongSubject.into(),
        ..Default::default()
    };
    let done = client(&running).await.events().retract_events(request).await.unwrap().into_inner();
    assert_eq!((done.people, done.positions.len()), (70, 3));
    let selector =
        Some(pb::PopulationSelector { category: "pd:EmailAddress".to_owned(), ..Default::default() });
    let count = pb::CountPopulationRequest {
        selector,
        at_least: done.positions.last().copied(),
        ..Default::default()
    };
    assert_eq!(
        client(&running).await.questions().count_population(count).await.unwrap().into_inner().people,
        0
    );
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_from_before_an_erasure_is_a_finding_after_it() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    say(&running, &place, (1, 1), collected("pd:EmailAddress")).await;
    let old = place.event(2);
    place.clock.advance_ms(60_000);
    let gone = place.event(1).people[0].identifiers.first().cloned();
    let request = pb::FindSubjectRequest { identifier: gone };
    let found = client(&running).await.subjects().find_subject(request).await.unwrap().into_inner();
    let subject = crate::app::subjects::Name::Subject(found.candidates[0].subject.parse().unwrap());
    let never = |_| Ok(());
    running
        .app()
        .erase_watched(&crate::app::Caller::local(), &[subject], super::erasure::REASON, never)
        .await
        .unwrap();
    // Its time is that of the first one.
    let late = pb::Event { people: place.event(1).people, service: "solar".to_owned(), ..old };
    let request = pb::RecordEventRequest { event: Some(late) };
    let receipt = client(&running).await.ingest().record_event(request).await.unwrap().into_inner();
    let receipt = receipt.receipt.unwrap();
    assert!(!receipt.attributed);
    let list = pb::ListFindingsRequest { at_least: Some(receipt.position), ..Default::default() };
    let found = client(&running).await.findings().list_findings(list).await.unwrap().into_inner().findings;
    let keys: Vec<&str> = found.iter().map(|finding| finding.key.as_str()).collect();
    assert!(keys.contains(&"F-LATE-FOR-ERASED emitter=app service=solar"), "{keys:?}");
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_vault_sees_of_identifiers_is_in_the_record() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    say(&running, &place, (1, 1), collected("pd:EmailAddress")).await;
    say(&running, &place, (2, 2), collected("pd:EmailAddress")).await;
    let account = |n: u8| pb::Identifier {
        kind: pb::IdentifierKind::Account as i32,
        realm: "solar".to_owned(),
        value: format!("user-{n}"),
    };
    let mut event = place.event(3);
    event.people[0].identifiers = vec![account(1), account(2)];
    let request = pb::RecordEventRequest { event: Some(event) };
    let mut ingest = client(&running).await.ingest();
    let position = ingest.record_event(request).await.unwrap().into_inner().receipt.unwrap().position;
    let list = pb::ListFindingsRequest { at_least: Some(position), ..Default::default() };
    let found = client(&running).await.findings().list_findings(list).await.unwrap().into_inner().findings;
    let keys: Vec<&str> = found.iter().map(|finding| finding.key.as_str()).collect();
    assert!(keys.contains(&"F-IDENTITY-CONFLICT service=- kinds=account realms=solar"), "{keys:?}");
    running.stop().await.unwrap();
}
