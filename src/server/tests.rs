//! The whole service in one process: on port 0, with a clock moved by hand, through the real client.

use super::*;
use crate::cli::client::Remote;
use crate::clock::ManualClock;
use crate::domain::time::{MS_PER_DAY, MS_PER_HOUR, Timestamp};
use crate::pb;
use crate::vault::keyring::Keyring;
use crate::vault::sqlite;

mod backup;
mod choke_point;
mod clock;
mod erasure;
mod evidence;
mod findings;
mod fsck;
mod handed_on;
mod instructions;
mod jobs;
mod keys;
mod laws;
mod mirror;
mod operation;
mod outlived;
mod processing;
mod proven;
mod questions;
mod rebuilt;
mod registers;
mod reserve;
mod retention;
mod risen;
mod scrub;
mod sealed;
mod sheets;
mod vault_mark;
mod whole;
mod year;

struct Place {
    root: tempfile::TempDir,
    clock: ManualClock,
}

impl Place {
    fn new() -> Self {
        Place {
            root: tempfile::tempdir().unwrap(),
            clock: ManualClock::at("2026-03-01T08:00:00Z".parse().unwrap()),
        }
    }

    fn config(&self) -> Config {
        let mut config = Config::default();
        config.data.directory = self.root.path().join("data");
        config.data.keyring = self.root.path().join("keyring");
        config.server.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.server.metrics = None;
        // Tests run on machines whose disks are nearly full, too.
        (config.disk.reserve_bytes, config.disk.reserve_percent) = (0, 0);
        config
    }

    async fn start(&self) -> anyhow::Result<Running> {
        Server::start(self.config(), Arc::new(self.clock.clone())).await
    }

    fn event(&self, n: u8) -> pb::Event {
        let identifier = pb::Identifier {
            kind: pb::IdentifierKind::Account as i32,
            realm: "solar".to_owned(),
            value: format!("user-{n}"),
        };
        pb::Event {
            event_id: format!("018f3a1c-0000-7000-8000-0000000000{n:02x}"),
            controller: "kstar".to_owned(),
            emitter: "app".to_owned(),
            occurred_at: Some(crate::cli::record::timestamp(self.clock.now())),
            people: vec![pb::Person { role: pb::Role::DataSubject as i32, identifiers: vec![identifier] }],
            body: Some(pb::event::Body::DataCollected(pb::DataCollected {
                cats: vec!["pd:Picture".to_owned()],
                ..Default::default()
            })),
            ..Default::default()
        }
    }
}

async fn client(running: &Running) -> crate::cli::client::Client {
    let remote = Remote::local(format!("http://{}", running.address));
    remote.connect().await.unwrap_or_else(|failure| panic!("{}", failure.message))
}

/// All files of a directory into another, which may be there and keeps what else it has.
fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let there = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &there);
        } else {
            std::fs::copy(entry.path(), there).unwrap();
        }
    }
}

/// What a whole check finds.
async fn findings(running: &Running) -> Vec<crate::app::fsck::Finding> {
    struct Told(Vec<crate::app::fsck::Finding>);
    #[async_trait::async_trait]
    impl crate::app::fsck::Watch for Told {
        fn progress(&mut self, _done: u64, _total: u64) {}
        async fn finding(&mut self, finding: crate::app::fsck::Finding) {
            self.0.push(finding);
        }
    }
    let mut told = Told(Vec::new());
    running.app().check_storage(true, &mut told).await.unwrap();
    told.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    let mut ingest = client(&running).await.ingest();
    let event = place.event(1);
    let request = || pb::RecordEventRequest { event: Some(event.clone()) };
    let first = ingest.record_event(request()).await.unwrap().into_inner().receipt.unwrap();
    assert!(!first.duplicate && first.attributed);
    running.stop().await.unwrap();

    // So late that a new event of that time would need the backfill mark.
    place.clock.advance_ms(40 * 24 * 60 * 60 * 1_000);
    let running = place.start().await.unwrap();
    let mut ingest = client(&running).await.ingest();
    let again = ingest.record_event(request()).await.unwrap().into_inner().receipt.unwrap();
    assert_eq!((again.position, again.duplicate), (first.position, true));
    assert_eq!(again.leaf_hash, first.leaf_hash);
    let other = pb::Event { event_id: event.event_id.clone(), ..place.event(2) };
    let other = pb::RecordEventRequest { event: Some(other) };
    let refused = ingest.record_event(other).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::AlreadyExists);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_acknowledges_every_message_and_every_event() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    let mut bad = place.event(9);
    bad.emitter.clear();
    bad.people[0].role = 99;
    let messages = vec![
        pb::StreamEventsRequest { sequence: 1, events: vec![place.event(1), place.event(2)] },
        pb::StreamEventsRequest { sequence: 2, events: vec![bad, place.event(3)] },
    ];
    let mut ingest = client(&running).await.ingest();
    let mut answers = ingest.stream_events(tokio_stream::iter(messages)).await.unwrap().into_inner();
    let first = answers.message().await.unwrap().unwrap();
    assert_eq!((first.sequence, first.outcomes.len()), (1, 2));
    let second = answers.message().await.unwrap().unwrap();
    let Some(pb::outcome::Result::Error(error)) = &second.outcomes[0].result else { panic!("it was taken") };
    let fields: Vec<&str> = error.violations.iter().map(|v| v.field.as_str()).collect();
    assert_eq!(
        (error.reason.as_str(), fields),
        ("INVALID_REQUEST", vec!["event.emitter", "event.people[0].role"])
    );
    assert!(matches!(second.outcomes[1].result, Some(pb::outcome::Result::Receipt(_))));
    assert!(answers.message().await.unwrap().is_none());
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_and_the_check_tell_what_is_stored() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    let client = client(&running).await;
    let receipt =
        client.ingest().record_event(pb::RecordEventRequest { event: Some(place.event(1)) }).await.unwrap();
    let position = receipt.into_inner().receipt.unwrap().position;
    let status = client.admin().get_status(pb::GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.log.unwrap().head, position + 1);
    assert_eq!(status.alarms, []);
    let request = pb::CheckStorageRequest { compare_views: true };
    let mut news = client.admin().check_storage(request).await.unwrap().into_inner();
    let mut last = None;
    while let Some(message) = news.message().await.unwrap() {
        last = message.message;
    }
    let Some(pb::check_storage_response::Message::Summary(summary)) = last else { panic!("no summary") };
    assert_eq!((summary.records, summary.findings), (position + 1, 0));
    let mut news = client.admin().rebuild_views(pb::RebuildViewsRequest {}).await.unwrap().into_inner();
    let mut finished = false;
    while let Some(message) = news.message().await.unwrap() {
        finished = message.finished;
    }
    assert!(finished);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_belong_together_is_refused_with_the_way_out() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    let second = place.start().await.err().unwrap();
    assert!(format!("{second:#}").contains("in use"), "{second:#}");
    running.stop().await.unwrap();

    let keyring = place.config().data.keyring;
    std::fs::rename(&keyring, place.root.path().join("elsewhere")).unwrap();
    let missing = place.start().await.err().unwrap();
    assert!(format!("{missing:#}").contains("there is no keyring"), "{missing:#}");
    assert!(!keyring.exists(), "none is made beside a directory that is not empty");

    let other = Place::new();
    other.start().await.unwrap().stop().await.unwrap();
    std::fs::copy(other.config().data.keyring, &keyring).unwrap();
    let foreign = place.start().await.err().unwrap();
    assert!(format!("{foreign:#}").contains("belongs to vault"), "{foreign:#}");

    std::fs::rename(place.root.path().join("elsewhere"), &keyring).unwrap();
    place.start().await.unwrap().stop().await.unwrap();
}
