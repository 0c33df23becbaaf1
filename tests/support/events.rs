//! Events about made-up accounts, and a client to send them with.

use std::path::Path;

use custody::cli::client::{Client, Remote};
use custody::cli::record::timestamp;
use custody::clock::{Clock, SystemClock};
use custody::pb;
use uuid::Uuid;

use super::server::Served;

/// Where a test keeps its directories: on the disk that holds the build, not in memory.
pub fn workplace() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

pub async fn connect(served: &Served) -> Client {
    Remote::local(format!("http://{}", served.address())).connect().await.unwrap()
}

/// Several threads, because a test plays several clients.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub fn account(name: &str) -> pb::Identifier {
    pb::Identifier {
        kind: pb::IdentifierKind::Account as i32,
        realm: "solar".to_owned(),
        value: name.to_owned(),
    }
}

/// Data were collected about the holder of an account, who becomes known by it.
pub fn collected(name: &str) -> pb::Event {
    let now = SystemClock.now();
    let (seconds, nanos) = (now.ms() as u64 / 1_000, (now.ms() % 1_000) as u32 * 1_000_000);
    let person = pb::Person { role: pb::Role::DataSubject as i32, identifiers: vec![account(name)] };
    pb::Event {
        event_id: Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos)).to_string(),
        controller: "sunny".to_owned(),
        emitter: "solar-app".to_owned(),
        service: "solar".to_owned(),
        activity: "run-the-app".to_owned(),
        occurred_at: Some(timestamp(now)),
        people: vec![person],
        body: Some(pb::event::Body::DataCollected(pb::DataCollected {
            cats: vec!["pd:EmailAddress".to_owned()],
            record_kind: "account_profile".to_owned(),
            ..Default::default()
        })),
        ..Default::default()
    }
}

/// Sends one event.
pub async fn send(client: &Client, event: &pb::Event) -> Result<pb::Receipt, tonic::Status> {
    let request = pb::RecordEventRequest { event: Some(event.clone()) };
    client.ingest().record_event(request).await.map(|answer| answer.into_inner().receipt.unwrap())
}

/// Sends a batch; the outcomes stand in the order of the events.
pub async fn send_all(client: &Client, events: &[pb::Event]) -> Result<Vec<pb::Outcome>, tonic::Status> {
    let request = pb::BatchRecordEventsRequest { events: events.to_vec() };
    client.ingest().batch_record_events(request).await.map(|answer| answer.into_inner().outcomes)
}

/// The receipt of an outcome that has to be one.
pub fn receipt(outcome: &pb::Outcome) -> &pb::Receipt {
    match &outcome.result {
        Some(pb::outcome::Result::Receipt(receipt)) => receipt,
        other => panic!("no receipt: {other:?}"),
    }
}

pub async fn status(client: &Client) -> pb::GetStatusResponse {
    client.admin().get_status(pb::GetStatusRequest {}).await.unwrap().into_inner()
}

pub async fn head(client: &Client) -> u64 {
    status(client).await.log.unwrap().head
}

/// Every event is where its receipt says, as it was, and is not stored again.
pub async fn assert_kept(client: &Client, acknowledged: &[(pb::Event, pb::Receipt)]) {
    let before = head(client).await;
    for part in acknowledged.chunks(500) {
        let events: Vec<pb::Event> = part.iter().map(|(event, _)| event.clone()).collect();
        let outcomes = send_all(client, &events).await.unwrap();
        for ((event, first), outcome) in part.iter().zip(&outcomes) {
            let again = receipt(outcome);
            assert!(again.duplicate, "{} was acknowledged at {} and is gone", event.event_id, first.position);
            assert_eq!(again.position, first.position, "{}", event.event_id);
            assert_eq!(again.leaf_hash, first.leaf_hash, "{}", event.event_id);
            assert!(again.attributed, "the person of {} is lost", event.event_id);
        }
    }
    let after = head(client).await;
    if after == before {
        return;
    }
    // A slot of the clock may have come meanwhile, which custody records; of emitters nothing is new.
    let emitters = vec!["solar-app".to_owned()];
    let filter = pb::EventFilter { emitters, position_from: Some(before), ..Default::default() };
    let request =
        pb::ListEventsRequest { filter: Some(filter), at_least: Some(after - 1), ..Default::default() };
    let stored = client.events().list_events(request).await.unwrap().into_inner().events;
    assert!(stored.is_empty(), "a retry was stored: {stored:?}");
}

/// `custody fsck --offline` on a directory as `Served::command` uses it.
pub fn assert_checks(data: &Path) {
    let checked = std::process::Command::new(env!("CARGO_BIN_EXE_custody"))
        .args(["fsck", "--offline", "--data-dir"])
        .arg(data)
        .arg("--keyring")
        .arg(data.with_extension("keyring"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&checked.stdout) + String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "fsck ended with {}:\n{said}", checked.status);
}
