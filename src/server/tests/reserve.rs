//! A disk that is at its reserve, and places that take nothing for a while (DESIGN 17): what only adds
//! waits, what ends the keeping of data goes on, and all goes on by itself when there is room.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::app::erase::Reason;
use crate::app::subjects::Name;
use crate::app::{Caller, Error};
use crate::disk::{Probe, Room};
use crate::domain::event::IdentityErasureCause;
use crate::domain::id::SubjectId;
use tonic_types::StatusExt;

struct Disk(AtomicU64);

impl Probe for Disk {
    fn room(&self) -> std::io::Result<Room> {
        Ok(Room { free: self.0.load(Ordering::SeqCst), total: 100_000 })
    }
}

async fn record(running: &Running, event: pb::Event) -> Result<pb::Receipt, tonic::Status> {
    let request = pb::RecordEventRequest { event: Some(event) };
    let answer = client(running).await.ingest().record_event(request).await;
    answer.map(|answer| answer.into_inner().receipt.unwrap())
}

async fn find(running: &Running, place: &Place, person: u8) -> Option<SubjectId> {
    let identifier = place.event(person).people[0].identifiers[0].clone();
    let request = pb::FindSubjectRequest { identifier: Some(identifier) };
    let found = client(running).await.subjects().find_subject(request).await.unwrap().into_inner();
    found.candidates.first().map(|candidate| candidate.subject.parse().unwrap())
}

async fn erase(running: &Running, gone: SubjectId) -> Result<(), Error> {
    let reason = Reason { cause: IdentityErasureCause::Operator, case_id: None, evidence_too: true };
    running.app().erase(&Caller::local(), &[Name::Subject(gone)], reason).await.map(drop)
}

async fn alarms(running: &Running) -> Vec<&'static str> {
    running.app().status().await.unwrap().alarms.iter().map(|alarm| alarm.code).collect()
}

fn export() -> pb::CreateExportRequest {
    pb::CreateExportRequest {
        scope: Some(pb::create_export_request::Scope::Range(pb::ExportRange::default())),
        level: pb::ExportLevel::Headers as i32,
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_reserve_people_are_erased_and_checkpoints_signed() {
    let place = Place::new();
    let disk = Arc::new(Disk(AtomicU64::new(50_000)));
    let mut config = place.config();
    (config.disk.reserve_bytes, config.disk.reserve_percent) = (5_000, 0);
    // It has a test of its own (`scrub.rs`): at the reserve it fails, with an alarm.
    config.jobs.each.entry("vault_scrub".to_owned()).or_default().schedule = "off".to_owned();
    let probe = Arc::clone(&disk) as Arc<dyn Probe>;
    let running = Server::start_on(probe, config, Arc::new(place.clock.clone())).await.unwrap();
    for person in 1..4 {
        record(&running, place.event(person)).await.unwrap();
    }
    disk.0.store(4_999, Ordering::SeqCst);
    running.node.look();
    assert_eq!(alarms(&running).await, ["disk_reserve"]);
    let refused = record(&running, place.event(9)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    assert!(refused.get_error_details().retry_info().is_some());

    let gone = find(&running, &place, 1).await.unwrap();
    erase(&running, gone).await.unwrap();
    assert_eq!(find(&running, &place, 1).await, None);
    let head = running.app().log.head();
    assert_eq!(running.app().publish().await.unwrap().checkpoint.checkpoint.size, head);
    let mut registered = place.event(20);
    registered.people.clear();
    registered.body = Some(pb::event::Body::ServiceRegistered(pb::ServiceRegistered {
        service: "solar-cn".to_owned(),
        ..Default::default()
    }));
    // What is wrong with it, if anything, is not the disk.
    if let Err(status) = record(&running, registered).await {
        assert_ne!(status.code(), tonic::Code::ResourceExhausted, "{status:?}");
    }
    let refused = client(&running).await.exports().create_export(export()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    assert!(refused.message().contains("the disk is at its reserve"), "{}", refused.message());
    // An hour later custody marks its vault, which is an event of its own.
    let head = running.app().log.head();
    place.clock.advance_ms(3_600_000);
    running.jobs().take_turn().await.unwrap();
    assert_eq!(running.app().log.head(), head + 2, "the mark and its run; what can wait waits");

    disk.0.store(50_000, Ordering::SeqCst);
    running.node.look();
    record(&running, place.event(9)).await.unwrap();
    client(&running).await.exports().create_export(export()).await.unwrap();
    assert_eq!(alarms(&running).await, Vec::<&str>::new());
    running.stop().await.unwrap();
}

/// Something that cannot be written to lies where a file or a folder has to be made.
struct Obstacle(PathBuf);

impl Obstacle {
    fn file(path: PathBuf) -> Obstacle {
        if path.is_dir() {
            std::fs::rename(&path, path.with_extension("aside")).unwrap();
        }
        std::fs::write(&path, b"").unwrap();
        Obstacle(path)
    }

    /// Where a file is written before it gets its name.
    fn folder(path: PathBuf) -> Obstacle {
        std::fs::create_dir_all(&path).unwrap();
        Obstacle(path)
    }
}

impl Drop for Obstacle {
    fn drop(&mut self) {
        if self.0.is_dir() {
            std::fs::remove_dir(&self.0).unwrap();
        } else {
            std::fs::remove_file(&self.0).unwrap();
            let aside = self.0.with_extension("aside");
            if aside.exists() {
                std::fs::rename(aside, &self.0).unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_goes_on_when_the_outside_copy_takes_its_tomb_again() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    for person in 1..4 {
        record(&running, place.event(person)).await.unwrap();
    }
    let gone = find(&running, &place, 1).await.unwrap();
    {
        let _work = Obstacle::file(place.root.path().join("data/erasures"));
        assert!(erase(&running, gone).await.is_err(), "it cannot be written down");
    }
    assert!(find(&running, &place, 1).await.is_some(), "so nothing was begun");
    {
        let _tombs = Obstacle::file(place.root.path().join("data.outside/tombs"));
        assert!(erase(&running, gone).await.is_err());
        assert!(alarms(&running).await.contains(&"erasure_unfinished"));
        running.node.tend(place.clock.now()).await.unwrap();
        assert!(alarms(&running).await.contains(&"erasure_unfinished"), "it is tried again and says so");
        assert!(
            running.app().vault.holder(gone).await.is_ok(),
            "no key is destroyed before the tomb lies there"
        );
    }
    running.node.tend(place.clock.now()).await.unwrap();
    assert_eq!(alarms(&running).await, Vec::<&str>::new());
    assert_eq!(find(&running, &place, 1).await, None);
    assert!(running.app().vault.holder(gone).await.is_err());
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_that_one_place_did_not_take_is_kept_there_later() {
    let place = Place::new();
    let mut config = place.config();
    config.ledger.checkpoint_interval_ms = 0;
    let running = Server::start(config, Arc::new(place.clock.clone())).await.unwrap();
    for (n, below) in ["data/ledger", "data.outside"].into_iter().enumerate() {
        record(&running, place.event(2 * n as u8)).await.unwrap();
        running.app().publish().await.unwrap();
        record(&running, place.event(2 * n as u8 + 1)).await.unwrap();
        let size = running.app().log.head();
        let origin = running.app().ledger.origin().unwrap().replace('/', "!");
        let bucket =
            place.root.path().join(below).join("checkpoints").join(origin).join(format!("{:015}", 0));
        {
            let _full = Obstacle::folder(bucket.join(format!("{size:020}.checkpoint.new")));
            assert!(running.app().publish().await.is_err());
            assert!(alarms(&running).await.contains(&"checkpoint_failing"));
        }
        record(&running, place.event(10 + n as u8)).await.unwrap();
        let published = running.app().publish().await.unwrap();
        assert_eq!(published.checkpoint.checkpoint.size, running.app().log.head());
        assert_eq!(alarms(&running).await, Vec::<&str>::new());
    }
    let ledger = &running.app().ledger;
    let origin = ledger.origin().unwrap();
    for size in ledger.kept_sizes(&origin).unwrap() {
        assert_eq!(ledger.check_kept(&origin, size, u64::MAX, true).unwrap(), [], "size {size}");
    }
    running.stop().await.unwrap();
}
