//! Clocks that jump, ahead and back, between events and across restarts. Positions order; times are
//! what the clock said; nothing is destroyed because of what it says.

use super::*;
use crate::app::Caller;
use crate::app::erase::Reason;
use crate::app::subjects::Name;
use crate::domain::event::IdentityErasureCause;
use crate::domain::id::SubjectId;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const YEAR_MS: i64 = 365 * DAY_MS;

fn event(place: &Place, number: u8, person: u8) -> pb::Event {
    pb::Event { event_id: format!("018f3a1c-0000-7000-8000-0000000003{number:02x}"), ..place.event(person) }
}

async fn record(running: &Running, event: pb::Event) -> pb::Receipt {
    let request = pb::RecordEventRequest { event: Some(event) };
    client(running).await.ingest().record_event(request).await.unwrap().into_inner().receipt.unwrap()
}

async fn find(running: &Running, place: &Place, person: u8) -> Option<SubjectId> {
    let identifier = place.event(person).people[0].identifiers[0].clone();
    let request = pb::FindSubjectRequest { identifier: Some(identifier) };
    let found = client(running).await.subjects().find_subject(request).await.unwrap().into_inner();
    found.candidates.first().map(|candidate| candidate.subject.parse().unwrap())
}

async fn marks(running: &Running) -> usize {
    let filter = pb::EventFilter { types: vec!["VaultMarked".to_owned()], ..Default::default() };
    let request = pb::ListEventsRequest {
        filter: Some(filter),
        at_least: Some(running.app().log.head() - 1),
        ..Default::default()
    };
    client(running).await.events().list_events(request).await.unwrap().into_inner().events.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_keep_their_order_and_people_their_records_whatever_the_clock_does() {
    let place = Place::new();
    let mut running = place.start().await.unwrap();
    let mut last: Option<pb::Receipt> = None;
    for (n, jump) in [0, DAY_MS, -YEAR_MS, 2 * YEAR_MS, -2 * DAY_MS, -YEAR_MS, 1].into_iter().enumerate() {
        place.clock.advance_ms(jump);
        let receipt = record(&running, event(&place, n as u8, 1)).await;
        assert_eq!(receipt.recorded_at, crate::api::terms::time(place.clock.now()));
        assert!(last.is_none_or(|last| last.position < receipt.position), "positions order");
        running.node.tend(place.clock.now()).await.unwrap();
        assert_eq!(findings(&running).await, [], "after a jump by {jump} ms");
        running.stop().await.unwrap();
        running = place.start().await.unwrap();
        assert_eq!(findings(&running).await, [], "and a restart");
        let again =
            record(&running, pb::Event { occurred_at: receipt.recorded_at, ..event(&place, n as u8, 1) });
        assert_eq!(again.await.position, receipt.position, "a retry after the jump is one");
        last = Some(receipt);
    }
    let person = find(&running, &place, 1).await.unwrap();
    let request = pb::GetSubjectReportRequest {
        subject: Some(pb::SubjectName { name: Some(pb::subject_name::Name::Subject(person.to_string())) }),
        at_least: last.map(|last| last.position),
        ..Default::default()
    };
    let report = client(&running).await.subjects().get_subject_report(request).await.unwrap().into_inner();
    assert_eq!(report.report.unwrap().event_count, 7);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_vault_is_marked_again_when_the_clock_was_set_back() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    record(&running, event(&place, 1, 1)).await;
    place.clock.advance_ms(YEAR_MS);
    running.jobs().take_turn().await.unwrap();
    assert_eq!(marks(&running).await, 1);
    place.clock.advance_ms(-YEAR_MS);
    record(&running, event(&place, 2, 2)).await;
    running.jobs().take_turn().await.unwrap();
    place.clock.advance_ms(HOUR_MS);
    running.jobs().take_turn().await.unwrap();
    assert_eq!(marks(&running).await, 2, "not only when the clock has caught up");
    running.stop().await.unwrap();
    place.clock.advance_ms(-DAY_MS);
    place.start().await.unwrap().stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_destroyed_by_a_jump_while_their_record_is_on_its_way() {
    let place = Place::new();
    let running = Arc::new(place.start().await.unwrap());
    let events: Vec<_> = (0..40u8).map(|n| event(&place, n, n)).collect();
    let recording = {
        let (running, clock) = (Arc::clone(&running), place.clock.clone());
        tokio::spawn(async move {
            for event in events {
                // At the clock's own time: the months that pass meanwhile would make it a late event.
                let occurred_at = Some(crate::cli::record::timestamp(clock.now()));
                record(&running, pb::Event { occurred_at, ..event }).await;
            }
        })
    };
    while !recording.is_finished() {
        place.clock.advance_ms(2 * HOUR_MS);
        running.app().settle_pending().await.unwrap();
    }
    recording.await.unwrap();
    running.app().settle_pending().await.unwrap();
    assert_eq!(findings(&running).await, [], "everybody whom a record names has keys");
    assert_eq!(running.app().vault.status().await.unwrap().pending, 0);
    Arc::into_inner(running).unwrap().stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_of_the_future_is_not_kept_until_then() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    record(&running, event(&place, 1, 1)).await;
    let make = async || {
        let request = pb::CreateExportRequest {
            scope: Some(pb::create_export_request::Scope::Range(pb::ExportRange::default())),
            level: pb::ExportLevel::Headers as i32,
            ..Default::default()
        };
        let made = client(&running).await.exports().create_export(request).await.unwrap().into_inner();
        let id = made.export.unwrap().export_id.parse().unwrap();
        running.app().watch_export(&id).unwrap().wait_for(|kept| kept.state.is_final()).await.unwrap();
    };
    make().await;
    place.clock.advance_ms(-HOUR_MS / 2);
    running.node.tend(place.clock.now()).await.unwrap();
    assert_eq!(running.app().exports().len(), 1, "a clock is set by a little now and then");
    place.clock.advance_ms(YEAR_MS);
    running.node.tend(place.clock.now()).await.unwrap();
    assert_eq!(running.app().exports().len(), 0);
    make().await;
    place.clock.advance_ms(-YEAR_MS);
    running.node.tend(place.clock.now()).await.unwrap();
    assert_eq!(running.app().exports().len(), 0, "nobody can tell how old it is");
    running.stop().await.unwrap();
}

/// The mark of an erased identifier counts again when the clock does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jump_ahead_forgets_no_mark_of_the_erased_for_good() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    record(&running, event(&place, 1, 1)).await;
    let late = event(&place, 2, 1);
    let gone = find(&running, &place, 1).await.unwrap();
    place.clock.advance_ms(60_000);
    let reason = Reason { cause: IdentityErasureCause::Operator, case_id: None, evidence_too: true };
    running.app().erase(&Caller::local(), &[Name::Subject(gone)], reason).await.unwrap();
    place.clock.advance_ms(YEAR_MS);
    running.node.tend(place.clock.now()).await.unwrap();
    running.stop().await.unwrap();
    let running = place.start().await.unwrap();
    place.clock.advance_ms(-YEAR_MS);
    assert!(!record(&running, late).await.attributed, "an event from before the erasure brings nobody back");
    assert_eq!(find(&running, &place, 1).await, None);
    running.stop().await.unwrap();
}
