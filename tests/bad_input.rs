//! What cannot be recorded is refused with everything that is wrong with it, and leaves no trace.

mod support;

use custody::cli::client::Client;
use custody::limits;
use custody::pb;
use support::events::{account, collected, connect, head, runtime, send, send_all, workplace};
use support::server::Served;
use tonic::Code;
use tonic_types::StatusExt;

/// An event with something wrong, and the fields that have to be named.
fn cases() -> Vec<(&'static str, pb::Event, Vec<&'static str>)> {
    let with = |change: fn(&mut pb::Event)| {
        let mut event = collected("nobody");
        change(&mut event);
        event
    };
    vec![
        (
            "empty",
            pb::Event::default(),
            vec!["event.event_id", "event.controller", "event.emitter", "event.occurred_at", "event.body"],
        ),
        (
            "unknown enums",
            with(|event| {
                event.time_source = 77;
                event.actor = 99;
                event.people[0].role = 55;
                event.people[0].identifiers[0].kind = 44;
            }),
            vec![
                "event.time_source",
                "event.actor",
                "event.people[0].role",
                "event.people[0].identifiers[0].kind",
            ],
        ),
        (
            "wrong countries",
            with(|event| {
                event.body = Some(pb::event::Body::DataTransferred(pb::DataTransferred {
                    recipient_id: "cloud".to_owned(),
                    from_country: "Germany".to_owned(),
                    to_country: "ZZ".to_owned(),
                    ..Default::default()
                }));
            }),
            vec!["event.data_transferred.from_country", "event.data_transferred.to_country"],
        ),
        (
            "too many people",
            with(|event| event.people = vec![event.people[0].clone(); limits::PEOPLE + 1]),
            vec!["event.people"],
        ),
        (
            "too many identifiers, and one too long",
            with(|event| {
                event.people[0].identifiers = vec![account("x"); limits::IDENTIFIERS + 1];
                event.people.push(pb::Person {
                    role: pb::Role::Agent as i32,
                    identifiers: vec![account(&"x".repeat(limits::IDENTIFIER_BYTES + 1))],
                });
            }),
            vec!["event.people[0].identifiers", "event.people[1].identifiers[0].value"],
        ),
        (
            "text where ids belong",
            with(|event| {
                event.event_id = "the first one".to_owned();
                event.controller = "Sunny Power Ltd.".to_owned();
                event.emitter = "e".repeat(limits::ID_BYTES + 1);
                event.service = "the app\n".to_owned();
                event.activity = "阳光".to_owned();
            }),
            vec!["event.event_id", "event.controller", "event.emitter", "event.service", "event.activity"],
        ),
    ]
}

#[test]
fn bad_input_is_refused_with_every_violation_and_nothing_is_stored() {
    let below = workplace();
    let served = Served::start(&below.path().join("data"));
    runtime().block_on(async {
        let client = connect(&served).await;
        let before = head(&client).await;
        for (what, event, fields) in cases() {
            refused_alone(&client, what, &event, &fields).await;
            refused_in_a_batch(&client, what, &event, &fields).await;
        }
        refused_as_a_whole(&client).await;
        assert_eq!(head(&client).await, before, "something was stored");
        // The people of refused events are nobody.
        let request = pb::FindSubjectRequest { identifier: Some(account("nobody")) };
        let found = client.subjects().find_subject(request).await;
        assert!(found.map_or(true, |found| found.into_inner().candidates.is_empty()));
        send(&client, &collected("somebody")).await.unwrap();
        assert_eq!(head(&client).await, before + 1);
    });
    served.stop();
}

async fn refused_alone(client: &Client, what: &str, event: &pb::Event, fields: &[&str]) {
    let refusal = send(client, event).await.expect_err(what);
    assert_eq!(refusal.code(), Code::InvalidArgument, "{what}: {refusal:?}");
    let details = refusal.get_error_details();
    let named: Vec<_> =
        details.bad_request().unwrap().field_violations.iter().map(|v| v.field.as_str()).collect();
    assert_eq!(details.error_info().unwrap().reason, "INVALID_REQUEST", "{what}");
    assert!(fields.iter().all(|field| named.contains(field)), "{what}: {fields:?} in {named:?}");
}

async fn refused_in_a_batch(client: &Client, what: &str, event: &pb::Event, fields: &[&str]) {
    let outcomes = send_all(client, std::slice::from_ref(event)).await.expect(what);
    let Some(pb::outcome::Result::Error(error)) = &outcomes[0].result else { panic!("{what} was stored") };
    assert_eq!((error.code, error.retryable), (Code::InvalidArgument as i32, false), "{what}");
    let named: Vec<_> = error.violations.iter().map(|violation| violation.field.as_str()).collect();
    assert!(fields.iter().all(|field| named.contains(field)), "{what}: {fields:?} in {named:?}");
}

async fn refused_as_a_whole(client: &Client) {
    let none = client.ingest().record_event(pb::RecordEventRequest { event: None }).await.unwrap_err();
    assert_eq!(none.code(), Code::InvalidArgument);
    assert_eq!(none.get_error_details().bad_request().unwrap().field_violations[0].field, "event");
    for events in [Vec::new(), vec![collected("nobody"); limits::BATCH_EVENTS + 1]] {
        let refusal = send_all(client, &events).await.unwrap_err();
        assert_eq!(refusal.code(), Code::InvalidArgument);
        assert_eq!(refusal.get_error_details().bad_request().unwrap().field_violations[0].field, "events");
    }
    // Larger than a message may be: refused unread.
    let mut event = collected("nobody");
    event.actor_ref = "x".repeat(limits::MESSAGE_BYTES + 1);
    let large = client.ingest().max_encoding_message_size(2 * limits::MESSAGE_BYTES);
    let refusal = { large }.record_event(pb::RecordEventRequest { event: Some(event) }).await.unwrap_err();
    assert!(matches!(refusal.code(), Code::OutOfRange | Code::ResourceExhausted), "{refusal:?}");
}
