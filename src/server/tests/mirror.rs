//! The second copy of a data directory: acknowledged means in both, a lost disk loses nothing.

use super::*;
use crate::cli::restore::from_mirror;
use crate::mirror::OnFailure;

fn mirrored(place: &Place, on_failure: OnFailure) -> Config {
    let mut config = place.config();
    config.mirror.directory = Some(place.root.path().join("mirror"));
    config.mirror.on_failure = on_failure;
    config
}

async fn start(place: &Place, config: &Config) -> Running {
    Server::start(config.clone(), Arc::new(place.clock.clone())).await.unwrap()
}

async fn record(running: &Running, event: pb::Event) -> Result<pb::Receipt, tonic::Status> {
    let request = pb::RecordEventRequest { event: Some(event) };
    Ok(client(running).await.ingest().record_event(request).await?.into_inner().receipt.unwrap())
}

async fn events_of(running: &Running, place: &Place, person: u8) -> u64 {
    let identifier = place.event(person).people[0].identifiers[0].clone();
    let request = pb::GetSubjectReportRequest {
        subject: Some(pb::SubjectName { name: Some(pb::subject_name::Name::Identifier(identifier)) }),
        at_least: Some(running.app().log.head() - 1),
        ..Default::default()
    };
    let report = client(running).await.subjects().get_subject_report(request).await.unwrap().into_inner();
    report.report.unwrap().event_count
}

async fn alarm(running: &Running) -> Option<String> {
    let status =
        client(running).await.admin().get_status(pb::GetStatusRequest {}).await.unwrap().into_inner();
    let failing = status.mirror.unwrap().failing;
    let alarm = status.alarms.into_iter().find(|alarm| alarm.code == "mirror_failing");
    assert_eq!(alarm.is_some(), !failing.is_empty());
    alarm.map(|alarm| alarm.message)
}

/// Puts something in the place of a directory, as a disk that was not mounted would.
fn take_away(mirror: &std::path::Path) {
    std::fs::rename(mirror, mirror.with_extension("away")).unwrap();
    std::fs::create_dir(mirror).unwrap();
}

fn bring_back(mirror: &std::path::Path) {
    std::fs::remove_dir_all(mirror).unwrap();
    std::fs::rename(mirror.with_extension("away"), mirror).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_disk_loses_nothing_that_was_acknowledged() {
    let place = Place::new();
    let config = mirrored(&place, OnFailure::Stop);
    let running = start(&place, &config).await;
    let mut receipts = Vec::new();
    for n in 0..30 {
        receipts.push(record(&running, place.event(n)).await.unwrap());
    }
    assert_eq!(findings(&running).await, []);
    assert_eq!(alarm(&running).await, None);
    // What the mirror has at this moment is what it has when everything ends.
    let head = running.app().log.head();
    let apart = place.root.path().join("apart");
    copy(config.mirror.directory.as_ref().unwrap(), &apart);
    running.stop().await.unwrap();
    std::fs::remove_dir_all(&config.data.directory).unwrap();
    let restored = from_mirror(&config, &apart).unwrap();
    assert_eq!((restored.head, restored.missing), (head, None));

    let running = start(&place, &config).await;
    for (n, receipt) in receipts.iter().enumerate() {
        let again = record(&running, place.event(n as u8)).await.unwrap();
        assert_eq!((again.position, &again.leaf_hash), (receipt.position, &receipt.leaf_hash));
        assert_eq!(events_of(&running, &place, n as u8).await, 1);
    }
    assert_eq!(findings(&running).await, []);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_mirror_is_away_events_wait_and_reads_go_on() {
    let place = Place::new();
    let config = mirrored(&place, OnFailure::Stop);
    let mirror = config.mirror.directory.clone().unwrap();
    start(&place, &config).await.stop().await.unwrap();
    take_away(&mirror);
    let running = start(&place, &config).await;
    assert!(alarm(&running).await.unwrap().contains("does not hold the mirror"));
    let refused = record(&running, place.event(1)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused:?}");
    assert_eq!(std::fs::read_dir(&mirror).unwrap().count(), 0, "nothing is begun in an empty mount point");
    bring_back(&mirror);
    running.node.tend_vault().await;
    assert_eq!(alarm(&running).await, None);
    record(&running, place.event(1)).await.unwrap();
    assert_eq!(events_of(&running, &place, 1).await, 1);
    assert_eq!(findings(&running).await, []);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_that_may_lack_something_says_so_and_catches_up() {
    let place = Place::new();
    let config = mirrored(&place, OnFailure::GoOn);
    let mirror = config.mirror.directory.clone().unwrap();
    start(&place, &config).await.stop().await.unwrap();
    take_away(&mirror);
    let running = start(&place, &config).await;
    for n in 0..5 {
        record(&running, place.event(n)).await.unwrap();
    }
    assert!(alarm(&running).await.is_some());
    let told: Vec<_> = findings(&running).await.into_iter().map(|finding| finding.code.as_str()).collect();
    assert_eq!(told, ["mirror_failing"]);
    bring_back(&mirror);
    running.node.tend_vault().await;
    assert_eq!(alarm(&running).await, None);
    assert_eq!(findings(&running).await, []);
    running.stop().await.unwrap();
    std::fs::remove_dir_all(&config.data.directory).unwrap();
    from_mirror(&config, &mirror).unwrap();
    let running = start(&place, &config).await;
    for n in 0..5 {
        assert_eq!(events_of(&running, &place, n).await, 1);
    }
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_directory_beside_its_mirror_is_refused_with_the_way_out() {
    let place = Place::new();
    let config = mirrored(&place, OnFailure::GoOn);
    let mirror = config.mirror.directory.clone().unwrap();
    let running = start(&place, &config).await;
    record(&running, place.event(1)).await.unwrap();
    running.stop().await.unwrap();
    let older = place.root.path().join("older");
    copy(&config.data.directory, &older);
    let running = start(&place, &config).await;
    record(&running, place.event(2)).await.unwrap();
    let head = running.app().log.head();
    running.stop().await.unwrap();
    std::fs::remove_dir_all(&config.data.directory).unwrap();
    copy(&older, &config.data.directory);
    let refused = Server::start(config.clone(), Arc::new(place.clock.clone())).await.err().unwrap();
    assert!(format!("{refused:#}").contains("newer than the vault"), "{refused:#}");
    std::fs::remove_dir_all(&config.data.directory).unwrap();
    assert_eq!(from_mirror(&config, &mirror).unwrap().head, head);
    let running = start(&place, &config).await;
    assert_eq!(events_of(&running, &place, 2).await, 1);
    assert_eq!(findings(&running).await, []);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_erased_leave_nothing_in_the_mirror() {
    let place = Place::new();
    let config = mirrored(&place, OnFailure::Stop);
    let running = start(&place, &config).await;
    for n in 0..10 {
        record(&running, place.event(n)).await.unwrap();
    }
    let identifier = place.event(3).people[0].identifiers[0].clone();
    let request = pb::FindSubjectRequest { identifier: Some(identifier) };
    let found = client(&running).await.subjects().find_subject(request).await.unwrap().into_inner();
    let handle = found.candidates[0].subject.clone();
    let request = pb::EraseSubjectsRequest {
        subjects: vec![pb::SubjectName { name: Some(pb::subject_name::Name::Subject(handle.clone())) }],
        cause: pb::IdentityErasureCause::Operator as i32,
        evidence_too: true,
        ..Default::default()
    };
    client(&running).await.erasures().erase_subjects(request).await.unwrap();
    let raw = handle.parse::<crate::domain::id::SubjectId>().unwrap().0;
    let mut files = Vec::new();
    below(&place.root.path().join("mirror"), &mut files);
    assert!(files.len() > 3);
    for path in files {
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(16).any(|window| window == raw), "{}", path.display());
    }
    assert_eq!(findings(&running).await, []);
    running.stop().await.unwrap();
}

fn below(dir: &std::path::Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { below(&path, files) } else { files.push(path) }
    }
}
