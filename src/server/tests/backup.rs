//! Backups of a service that runs, and what comes of them: the same answers, the erased stay erased,
//! what is missing has a name, and a crash at any step leaves nothing behind.

use std::path::{Path, PathBuf};

use super::*;
use crate::app::Caller;
use crate::app::backup::Step;
use crate::app::erase::Reason;
use crate::app::ledger::Which;
use crate::app::subjects::Name;
use crate::backup::{Document, EXPIRED, Manifest, PARTIAL, ending};
use crate::cli::restore::{self, Restored, from_backup};
use crate::disk::Room;
use crate::domain::event::{IdentityErasureCause, LossReason};
use crate::domain::id::SubjectId;
use crate::vault::keyring::Class;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// Publishes only when it is told to.
async fn start(place: &Place) -> Running {
    Server::start(quiet(place), Arc::new(place.clock.clone())).await.unwrap()
}

pub(super) fn quiet(place: &Place) -> Config {
    let mut config = place.config();
    config.ledger.checkpoint_interval_ms = 0;
    config
}

pub(super) async fn record(running: &Running, place: &Place, n: u8, person: u8) -> pb::Receipt {
    let event = pb::Event { event_id: place.event(n).event_id, ..place.event(person) };
    let request = pb::RecordEventRequest { event: Some(event) };
    client(running).await.ingest().record_event(request).await.unwrap().into_inner().receipt.unwrap()
}

pub(super) async fn find(running: &Running, person: u8) -> Option<SubjectId> {
    let identifier = Some(Place::new().event(person).people[0].identifiers[0].clone());
    let request = pb::FindSubjectRequest { identifier };
    let found = client(running).await.subjects().find_subject(request).await.unwrap().into_inner();
    found.candidates.first().map(|candidate| candidate.subject.parse().unwrap())
}

async fn report(running: &Running, subject: SubjectId, at_least: u64) -> pb::SubjectReport {
    let request = pb::GetSubjectReportRequest {
        subject: Some(pb::SubjectName { name: Some(pb::subject_name::Name::Subject(subject.to_string())) }),
        at_least: Some(at_least),
        ..Default::default()
    };
    let answer = client(running).await.subjects().get_subject_report(request).await.unwrap();
    pb::SubjectReport { computed_at: 0, ..answer.into_inner().report.unwrap() }
}

pub(super) async fn back_up(running: &Running) -> (PathBuf, Manifest) {
    running.app().create_backup(Arc::new(|_, _| {})).await.unwrap()
}

/// How many events of these types there are.
pub(super) async fn count(running: &Running, types: &[&str]) -> usize {
    let types = types.iter().map(|name| (*name).to_owned()).collect();
    let head = running.app().status().await.unwrap().log.head;
    let request = pb::ListEventsRequest {
        filter: Some(pb::EventFilter { types, ..Default::default() }),
        at_least: Some(head - 1),
        ..Default::default()
    };
    client(running).await.events().list_events(request).await.unwrap().into_inner().events.len()
}

pub(super) fn lose(place: &Place) {
    std::fs::rename(place.config().data.directory, place.root.path().join("lost")).unwrap();
}

pub(super) fn restored(place: &Place, from: &Path) -> Result<Restored, String> {
    from_backup(&quiet(place), from, place.clock.now(), |_| Ok(())).map_err(|failure| failure.message)
}

fn beside(place: &Place) -> PathBuf {
    crate::backup::restore::beside(&place.config().data.directory)
}

/// Nothing but a lock lies where the data belong, and nothing beside it.
fn nothing_is_there(place: &Place) -> bool {
    let names = std::fs::read_dir(place.config().data.directory).unwrap();
    names.flatten().all(|entry| entry.file_name() == "lock") && !beside(place).exists()
}

async fn erase(running: &Running, subject: SubjectId) {
    let reason = Reason { cause: IdentityErasureCause::Operator, case_id: None, evidence_too: true };
    running.app().erase(&Caller::local(), &[Name::Subject(subject)], reason).await.unwrap();
}

/// Every file below a directory that holds one of the texts.
fn holding(dir: &Path, needles: &[Vec<u8>]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, needles));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        if needles.iter().any(|needle| bytes.windows(needle.len()).any(|window| window == needle)) {
            found.push(path.display().to_string());
        }
    }
    found
}

fn traces(subject: SubjectId, person: u8) -> Vec<Vec<u8>> {
    let hex: String = subject.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let texts = [subject.to_string(), hex, format!("user-{person}")];
    texts.into_iter().map(String::into_bytes).chain([subject.0.to_vec()]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_gives_the_same_answers_root_and_proofs() {
    let place = Place::new();
    let running = Arc::new(start(&place).await);
    let first = record(&running, &place, 1, 1).await;
    let last = record(&running, &place, 2, 2).await;
    let one = find(&running, 1).await.unwrap();
    let before = report(&running, one, last.position).await;
    let published = running.app().publish().await.unwrap().checkpoint;
    let which = || Which::Receipt {
        position: first.position,
        leaf_hash: crate::domain::id::Digest(first.leaf_hash[..].try_into().unwrap()),
    };
    let size = published.checkpoint.size;
    let proof = format!("{:?}", running.app().inclusion(which(), Some(size)).await.unwrap());

    let emitters: Vec<_> = (0..2u8)
        .map(|emitter| {
            let (running, event) = (Arc::clone(&running), place.event(9));
            tokio::spawn(async move {
                let client = client(&running).await;
                for n in 0..40u8 {
                    let event_id = format!("018f3a1c-0000-7000-8000-000001{emitter:02x}{n:04x}");
                    let request =
                        pb::RecordEventRequest { event: Some(pb::Event { event_id, ..event.clone() }) };
                    client.ingest().record_event(request).await.unwrap();
                }
            })
        })
        .collect();
    let backups = client(&running).await;
    let mut news = backups.backups().create_backup(pb::CreateBackupRequest {}).await.unwrap().into_inner();
    let (mut steps, mut made) = (0, None);
    while let Some(answer) = news.message().await.unwrap() {
        match answer.message {
            Some(pb::create_backup_response::Message::Backup(backup)) => made = Some(backup),
            _ => steps += 1,
        }
    }
    let made = made.unwrap();
    assert!(steps > 2 && made.head > last.position && made.bytes > 0, "{made:?}");
    for emitter in emitters {
        emitter.await.unwrap();
    }
    let list = backups.backups().list_backups(pb::ListBackupsRequest {}).await.unwrap().into_inner();
    assert_eq!(list.backups, std::slice::from_ref(&made));
    assert_eq!(count(&running, &["BackupTaken"]).await, 1);
    drop(backups);
    Arc::into_inner(running).unwrap().stop().await.unwrap();

    lose(&place);
    let told = restored(&place, Path::new(&made.directory)).unwrap();
    assert_eq!((told.head, told.missing, told.tombs), (made.head, None, 0));
    let running = start(&place).await;
    assert_eq!(running.node.ready(), Ok(()));
    assert_eq!(running.app().status().await.unwrap().log.head, made.head);
    assert_eq!(find(&running, 1).await, Some(one));
    assert_eq!(report(&running, one, last.position).await, before);
    let again = running.app().checkpoint(Some(size)).await.unwrap().checkpoint;
    assert_eq!(again.to_string(), published.to_string());
    assert_eq!(format!("{:?}", running.app().inclusion(which(), Some(size)).await.unwrap()), proof);
    assert!(record(&running, &place, 1, 1).await.duplicate, "what was recorded is known");
    assert_eq!(record(&running, &place, 3, 3).await.position, made.head);
    assert!(running.app().publish().await.unwrap().checkpoint.checkpoint.size > made.head);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_backup_names_the_positions_that_are_missing_and_recover_goes_on() {
    let place = Place::new();
    let running = start(&place).await;
    record(&running, &place, 1, 1).await;
    running.app().publish().await.unwrap();
    let (dir, manifest) = back_up(&running).await;
    for n in 2..6 {
        record(&running, &place, n, n).await;
    }
    let published = running.app().publish().await.unwrap().checkpoint.checkpoint.clone();
    running.stop().await.unwrap();

    lose(&place);
    let missing = restored(&place, &dir).unwrap().missing.unwrap();
    assert_eq!(missing.positions, (manifest.head, published.size - 1));
    assert_eq!(
        (missing.size, missing.root, &missing.origin),
        (published.size, published.root, &published.origin)
    );

    let running = start(&place).await;
    assert!(running.node.ready().unwrap_err().contains("read-only"));
    let alarms = running.app().status().await.unwrap().alarms;
    assert!(alarms.iter().any(|alarm| alarm.code == "ledger_diverged"), "{alarms:?}");
    let request = pb::RecordEventRequest { event: Some(place.event(7)) };
    let refused = client(&running).await.ingest().record_event(request).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    assert!(running.app().publish().await.is_err(), "nothing is signed");
    assert!(running.app().create_backup(Arc::new(|_, _| {})).await.is_err());
    running.stop().await.unwrap();

    let (config, clock) = (quiet(&place), Arc::new(place.clock.clone()) as Arc<dyn Clock>);
    let node = tokio::task::spawn_blocking(move || Node::open_for_recovery(&config, &clock).unwrap());
    let node = node.await.unwrap();
    let loss = node.app.loss().await.unwrap().unwrap();
    assert_eq!(loss.missing, missing.positions);
    node.app.recover(&loss, LossReason::LostTail).await.unwrap();
    tokio::task::spawn_blocking(move || node.close().unwrap()).await.unwrap();

    let running = start(&place).await;
    assert_eq!(running.node.ready(), Ok(()));
    record(&running, &place, 7, 7).await;
    let next = running.app().publish().await.unwrap().checkpoint.checkpoint.clone();
    assert_eq!(next.origin, loss.new_origin);
    // The same backup again: what went on under the other name is missing too.
    running.stop().await.unwrap();
    std::fs::remove_dir_all(place.root.path().join("lost")).unwrap();
    lose(&place);
    let missing = restored(&place, &dir).unwrap().missing.unwrap();
    assert_eq!((missing.origin, missing.positions), (next.origin, (manifest.head, next.size - 1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_was_erased_after_a_backup_stays_erased_and_is_in_no_later_one() {
    let place = Place::new();
    let running = start(&place).await;
    record(&running, &place, 1, 1).await;
    record(&running, &place, 2, 2).await;
    let (gone, stays) = (find(&running, 1).await.unwrap(), find(&running, 2).await.unwrap());
    let (before, first) = back_up(&running).await;
    erase(&running, gone).await;
    let (after, second) = back_up(&running).await;
    let segment =
        |manifest: &Manifest| manifest.files.iter().find(|file| file.path.starts_with("log/")).unwrap().same;
    assert_ne!(segment(&first), segment(&second), "the purge changed it");
    running.stop().await.unwrap();

    let everybody = [traces(gone, 1), traces(stays, 2)].concat();
    assert_eq!(holding(&quiet(&place).backup_path(), &everybody), Vec::<String>::new(), "all is sealed");
    // Opened, the later one holds nothing of who was gone then.
    let mut other = quiet(&place);
    other.data.directory = place.root.path().join("other");
    other.outside.path = Some(place.config().outside_path());
    from_backup(&other, &after, place.clock.now(), |_| Ok(())).unwrap();
    assert_eq!(holding(&other.data.directory, &traces(gone, 1)), Vec::<String>::new());
    assert!(!holding(&other.data.directory, &[stays.0.to_vec()]).is_empty(), "the search finds who is there");

    lose(&place);
    assert_eq!(restored(&place, &before).unwrap().tombs, 1);
    let running = start(&place).await;
    assert_eq!(find(&running, 1).await, None, "the tomb in the outside copy says so");
    assert_eq!(find(&running, 2).await, Some(stays));
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_ends_at_any_step_leaves_nothing_that_the_next_does_not_remove() {
    let place = Place::new();
    let mut running = start(&place).await;
    record(&running, &place, 1, 1).await;
    let (backups, snapshot) =
        (quiet(&place).backup_path(), quiet(&place).data.directory.join("vault/snapshot.sqlite"));
    let mut whole = 0;
    for step in Step::ALL {
        let stop = move |at| if at == step { Err(crate::app::Error::stopping()) } else { Ok(()) };
        let quietly = Arc::new(|_, _| {});
        assert!(running.app().backup_watched(quietly, stop).await.is_err(), "{step:?}");
        whole += usize::from(step == Step::Named);
        assert_eq!(ending(&backups, PARTIAL).unwrap().len(), usize::from(step != Step::Named), "{step:?}");
        assert_eq!(running.app().backups().await.unwrap().len(), whole, "{step:?}");
        if step == Step::VaultTaken {
            assert!(snapshot.exists());
            running.stop().await.unwrap();
            running = start(&place).await;
            assert!(!snapshot.exists(), "before anybody is served");
        }
        back_up(&running).await;
        whole += 1;
        assert_eq!(ending(&backups, PARTIAL).unwrap(), Vec::<PathBuf>::new(), "{step:?}");
        assert!(!snapshot.exists(), "{step:?}");
        assert_eq!(running.app().backups().await.unwrap().len(), whole, "{step:?}");
    }
    let taken = count(&running, &["BackupTaken"]).await;
    assert!(taken >= whole, "the log knows of each: {taken}");
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_that_ends_at_any_step_can_be_done_again() {
    let place = Place::new();
    let running = start(&place).await;
    record(&running, &place, 1, 1).await;
    running.app().publish().await.unwrap();
    let (dir, manifest) = back_up(&running).await;
    running.stop().await.unwrap();
    for step in restore::Step::ALL {
        let _none = std::fs::remove_dir_all(place.root.path().join("lost"));
        lose(&place);
        let stop = |at| if at == step { Err(crate::cli::exit::Failure::found()) } else { Ok(()) };
        let ended = from_backup(&quiet(&place), &dir, place.clock.now(), stop).unwrap_err();
        assert_eq!(ended.message, "", "{step:?}: it ended where it was told to");
        let again = restored(&place, &dir);
        match step {
            restore::Step::InPlace => assert!(again.unwrap_err().contains("is not empty")),
            _ => assert_eq!(again.unwrap().head, manifest.head, "{step:?}"),
        }
        assert!(!beside(&place).exists(), "{step:?}");
        let running = start(&place).await;
        assert!(find(&running, 1).await.is_some(), "{step:?}");
        running.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_restored_says_why_and_puts_nothing_in_place() {
    let place = Place::new();
    let running = start(&place).await;
    record(&running, &place, 1, 1).await;
    running.app().publish().await.unwrap();
    let (dir, manifest) = back_up(&running).await;
    let in_use = restored(&place, &dir).unwrap_err();
    assert!(in_use.contains("in use"), "{in_use}");
    running.stop().await.unwrap();
    let full = restored(&place, &dir).unwrap_err();
    assert!(full.contains("is not empty"), "{full}");
    lose(&place);

    let refused = |why: &str| {
        let told = restored(&place, &dir).unwrap_err();
        assert!(told.contains(why), "{told}");
        assert!(nothing_is_there(&place), "{why}");
    };
    for file in &manifest.files {
        let path = dir.join(&file.name);
        let whole = std::fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 4;
        std::fs::write(&path, flipped).unwrap();
        refused(&file.name);
        std::fs::remove_file(&path).unwrap();
        refused(&file.name);
        std::fs::write(&path, whole).unwrap();
    }
    let (outside, elsewhere) = (place.config().outside_path(), place.root.path().join("unmounted"));
    std::fs::rename(&outside, &elsewhere).unwrap();
    refused("there is no outside copy");
    std::fs::create_dir(&outside).unwrap();
    refused("lacks the checkpoint");
    std::fs::remove_dir(&outside).unwrap();
    std::fs::rename(&elsewhere, &outside).unwrap();

    let keyring = place.config().data.keyring;
    std::fs::rename(&keyring, place.root.path().join("away")).unwrap();
    refused("there is no keyring");
    let other = Place::new();
    other.start().await.unwrap().stop().await.unwrap();
    std::fs::copy(other.config().data.keyring, &keyring).unwrap();
    refused("belongs to another keyring");
    std::fs::rename(place.root.path().join("away"), &keyring).unwrap();

    // When its key is destroyed it is worth nothing, and says so.
    std::fs::copy(&keyring, place.root.path().join("copy")).unwrap();
    let ring = existing_keyring(&quiet(&place)).unwrap();
    ring.add(Class::Kek, place.clock.now()).unwrap();
    ring.activate(Class::Kek, 2, place.clock.now()).unwrap();
    ring.remove(Class::Kek, 1).unwrap();
    refused("kek 1 was destroyed: this backup can no longer be read, which is meant");
    std::fs::rename(place.root.path().join("copy"), &keyring).unwrap();

    place.clock.advance_ms(28 * DAY_MS);
    refused(&manifest.expires_at.to_string());
    place.clock.advance_ms(-1);
    assert_eq!(restored(&place, &dir).unwrap().head, manifest.head);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_end_with_their_time_and_the_log_says_so() {
    let place = Place::new();
    let running = start(&place).await;
    record(&running, &place, 1, 1).await;
    let (first, manifest) = back_up(&running).await;
    assert_eq!(manifest.expires_at, manifest.created_at.plus_ms(28 * DAY_MS));
    place.clock.advance_ms(DAY_MS);
    let (second, _) = back_up(&running).await;
    place.clock.advance_ms(27 * DAY_MS);
    running.node.tend(place.clock.now()).await.unwrap();
    assert!(!first.exists() && second.exists());
    assert_eq!(count(&running, &["BackupsExpired"]).await, 1);
    running.node.tend(place.clock.now()).await.unwrap();
    assert_eq!(count(&running, &["BackupsExpired"]).await, 1);

    // What a crash left of a removal is carried through.
    std::fs::rename(&second, second.with_extension(EXPIRED)).unwrap();
    assert!(Document::read(&second.with_extension(EXPIRED)).is_ok());
    running.node.tend(place.clock.now()).await.unwrap();
    assert_eq!(count(&running, &["BackupsExpired"]).await, 2);
    // And of one after that was said: its manifest may have gone before the rest.
    std::fs::create_dir(second.with_extension(EXPIRED)).unwrap();
    std::fs::write(second.with_extension(EXPIRED).join("pack.sealed"), b"sealed").unwrap();
    running.node.tend(place.clock.now()).await.unwrap();
    assert_eq!(count(&running, &["BackupsExpired"]).await, 2);
    assert_eq!(std::fs::read_dir(quiet(&place).backup_path()).unwrap().count(), 0);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_at_a_time_with_room_and_not_while_the_service_stops() {
    struct Endless;
    impl Probe for Endless {
        fn room(&self) -> std::io::Result<Room> {
            Ok(Room { free: u64::MAX, total: u64::MAX })
        }
    }
    let place = Place::new();
    let mut config = quiet(&place);
    let running = start(&place).await;
    record(&running, &place, 1, 1).await;
    let quietly = || Arc::new(|_, _| {});
    let (one, two) =
        tokio::join!(running.app().create_backup(quietly()), running.app().create_backup(quietly()));
    assert!(one.is_ok());
    let refused = two.unwrap_err();
    assert_eq!(refused.reason(), "backup_refused");
    assert!(refused.to_string().contains("already"), "{refused}");

    let copy = place.root.path().join("keyring.copy");
    running.app().copy_keyring(&copy).unwrap();
    running.app().note_keyring_copy().await.unwrap();
    assert_eq!(count(&running, &["BackupTaken"]).await, 2);
    running.app().call_off();
    assert_eq!(running.app().create_backup(quietly()).await.unwrap_err().reason(), "stopping");
    assert_eq!(ending(&config.backup_path(), PARTIAL).unwrap(), Vec::<PathBuf>::new());
    running.stop().await.unwrap();

    // The disk of the data has room, that of the backups less than its reserve.
    config.disk.reserve_bytes = u64::MAX / 2;
    let running = Server::start_on(Arc::new(Endless), config.clone(), Arc::new(place.clock.clone()));
    let running = running.await.unwrap();
    let refused = running.app().create_backup(quietly()).await.unwrap_err();
    assert!(refused.to_string().contains("backup.directory"), "{refused}");
    assert_eq!(ending(&config.backup_path(), PARTIAL).unwrap(), Vec::<PathBuf>::new());
    running.stop().await.unwrap();
}
