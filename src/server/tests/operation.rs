//! What an operator sees and does: room on the disk, status, rebuilds that nobody watches.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::disk::{Probe, Room};
use tonic_types::StatusExt;

/// A disk of 100 GB that has as much free as the test says.
struct Disk(AtomicU64);

impl Probe for Disk {
    fn room(&self) -> std::io::Result<Room> {
        Ok(Room { free: self.0.load(Ordering::SeqCst), total: 100_000_000_000 })
    }
}

async fn status(client: &crate::cli::client::Client) -> pb::GetStatusResponse {
    client.admin().get_status(pb::GetStatusRequest {}).await.unwrap().into_inner()
}

async fn record(
    client: &crate::cli::client::Client,
    event: &pb::Event,
) -> Result<pb::Receipt, tonic::Status> {
    let request = pb::RecordEventRequest { event: Some(event.clone()) };
    client.ingest().record_event(request).await.map(|answer| answer.into_inner().receipt.unwrap())
}

/// Waits until the status is as wanted, for a minute at most.
async fn until(client: &crate::cli::client::Client, wanted: impl Fn(&pb::GetStatusResponse) -> bool) {
    let reached = async {
        while !wanted(&status(client).await) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reached).await.expect("the status that was waited for");
}

fn whole_report(n: u8) -> pb::GetSubjectReportRequest {
    let identifier = pb::Identifier {
        kind: pb::IdentifierKind::Account as i32,
        realm: "solar".to_owned(),
        value: format!("user-{n}"),
    };
    pb::GetSubjectReportRequest {
        subject: Some(pb::SubjectName { name: Some(pb::subject_name::Name::Identifier(identifier)) }),
        opening: Some(pb::Opening { reason: "access_request".to_owned(), ticket: String::new() }),
        ..Default::default()
    }
}

fn at_reserve(status: &pb::GetStatusResponse) -> bool {
    status.alarms.iter().any(|alarm| alarm.code == "disk_reserve")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_reserve_emitters_wait_and_everything_else_goes_on() {
    let place = Place::new();
    let disk = Arc::new(Disk(AtomicU64::new(50_000_000_000)));
    let mut config = place.config();
    (config.disk.reserve_bytes, config.disk.reserve_percent) = (1_000, 5);
    let running =
        Server::start_on(Arc::clone(&disk) as Arc<dyn Probe>, config, Arc::new(place.clock.clone()));
    let running = running.await.unwrap();
    let client = client(&running).await;
    let first = record(&client, &place.event(1)).await.unwrap();
    let before = status(&client).await;
    assert_eq!(before.alarms, []);
    let log = before.log.unwrap();
    assert_eq!((log.disk_free_bytes, log.disk_reserve_bytes), (Some(50_000_000_000), 5_000_000_000));

    disk.0.store(4_999_999_999, Ordering::SeqCst);
    until(&client, at_reserve).await;
    let refused = record(&client, &place.event(2)).await.unwrap_err();
    let details = refused.get_error_details();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    assert_eq!(details.error_info().unwrap().reason, "DISK_RESERVE");
    assert!(details.retry_info().is_some_and(|info| info.retry_delay.is_some()));
    let again = record(&client, &place.event(1)).await.unwrap();
    assert!(again.duplicate && again.position == first.position, "a retry adds nothing");
    // Opening sealed values records an event of custody's own.
    let head = status(&client).await.log.unwrap().head;
    client.subjects().get_subject_report(whole_report(1)).await.unwrap();
    assert_eq!(status(&client).await.log.unwrap().head, head + 1);
    let mut hold = place.event(3);
    hold.body = Some(pb::event::Body::LegalHoldPlaced(pb::LegalHoldPlaced {
        hold_ref: "hold-1".to_owned(),
        ground: pb::HoldGround::LegalClaims as i32,
        ..Default::default()
    }));
    record(&client, &hold).await.unwrap();

    place.clock.advance_ms(1_000);
    disk.0.store(6_000_000_000, Ordering::SeqCst);
    until(&client, |status| !at_reserve(status)).await;
    record(&client, &place.event(2)).await.unwrap();
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_without_its_reserve_is_noticed_before_anybody_is_served() {
    let place = Place::new();
    let mut config = place.config();
    // More than any disk has, asked of the real one.
    config.disk.reserve_bytes = u64::MAX;
    let running = Server::start(config, Arc::new(place.clock.clone())).await.unwrap();
    let client = client(&running).await;
    let refused = record(&client, &place.event(1)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    let status = status(&client).await;
    assert!(at_reserve(&status) && status.log.unwrap().disk_free_bytes.is_some());
    assert_eq!(status.alarms[0].since, crate::api::terms::time(place.clock.now()));
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_says_when_it_was_noticed() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    let client = client(&running).await;
    let numbered = |n: u8, seq: u64| pb::Event { emitter_seq: Some(seq), ..place.event(n) };
    record(&client, &numbered(1, 10)).await.unwrap();
    place.clock.advance_ms(5_000);
    let last = record(&client, &numbered(2, 14)).await.unwrap();
    until(&client, |status| status.views.as_ref().unwrap().position > last.position).await;
    let gaps = client.admin().get_emitter_gaps(pb::GetEmitterGapsRequest::default()).await.unwrap();
    let gap = &gaps.into_inner().gaps[0];
    assert_eq!((gap.first, gap.last, gap.noticed_at), (11, 13, last.recorded_at));
    let lag = status(&client).await.views.unwrap().lag;
    assert_eq!(lag, Some(prost_types::Duration::default()), "nothing is left to be read");
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_goes_on_when_whoever_asked_has_left() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    let client = client(&running).await;
    record(&client, &place.event(1)).await.unwrap();
    let generation = |status: &pb::GetStatusResponse| status.views.as_ref().unwrap().generation;
    let first = generation(&status(&client).await);
    let mut left = client.admin();
    drop(left.rebuild_views(pb::RebuildViewsRequest {}).await.unwrap());
    until(&client, |status| generation(status) > first).await;
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_called_off_by_a_stop_says_so() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    running.app().call_off();
    let rebuilt = running.app().rebuild_views(|_, _| {}).await.unwrap_err();
    assert_eq!((rebuilt.reason(), rebuilt.retry_after_ms().is_some()), ("stopping", true));
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_persons_events_come_from_both_ends_in_pages() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    let client = client(&running).await;
    let mut positions = Vec::new();
    for n in 0..23 {
        let event = pb::Event { people: place.event(1).people, ..place.event(n) };
        positions.push(record(&client, &event).await.unwrap().position);
        record(&client, &place.event(100 + n)).await.unwrap();
    }
    let newest_first: Vec<u64> = positions.iter().rev().copied().collect();
    let listed = async |oldest_first: bool, known_at: Option<u64>| {
        let mut request = pb::ListSubjectEventsRequest {
            subject: whole_report(1).subject,
            at_least: positions.last().copied(),
            oldest_first,
            known_at,
            page_size: 5,
            ..Default::default()
        };
        let mut found = Vec::new();
        loop {
            let page = client.subjects().list_subject_events(request.clone()).await.unwrap().into_inner();
            found.extend(page.events.iter().map(|event| event.position));
            if page.next_page_token.is_empty() {
                return found;
            }
            request.page_token = page.next_page_token;
        }
    };
    assert_eq!(listed(true, None).await, positions);
    assert_eq!(listed(true, Some(positions[7])).await, positions[..8]);
    assert_eq!(listed(false, None).await, newest_first);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opened_locators_stand_beside_what_they_locate() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    let client = client(&running).await;
    let mut located = place.event(1);
    let Some(pb::event::Body::DataCollected(body)) = &mut located.body else { panic!("another body") };
    body.locator = "photos/7".to_owned();
    body.record_kind = "photo".to_owned();
    record(&client, &located).await.unwrap();
    let plain = pb::Event { people: located.people.clone(), ..place.event(2) };
    let at_least = Some(record(&client, &plain).await.unwrap().position);
    let report = async |opening| {
        let request = pb::GetSubjectReportRequest { at_least, opening, ..whole_report(1) };
        client.subjects().get_subject_report(request).await.unwrap().into_inner().report.unwrap()
    };
    let closed = report(None).await;
    assert!(closed.categories.iter().all(|held| held.locators.is_empty()));
    let why: Vec<&str> = closed.evidence.iter().map(|event| event.closed.as_str()).collect();
    assert_eq!(why, ["", "not_asked"], "newest first; only one has something sealed");

    let opened = report(whole_report(1).opening).await;
    let found: Vec<_> = opened
        .categories
        .iter()
        .map(|held| (held.record_kind.as_ref().map(|kind| kind.id.as_str()), held.locators.as_slice()))
        .collect();
    assert_eq!(found, [(None, &[][..]), (Some("photo"), &["photos/7".to_owned()][..])]);
    running.stop().await.unwrap();
}
