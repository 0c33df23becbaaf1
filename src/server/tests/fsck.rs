//! What `fsck` finds: every damage that is done to any store, and nothing in a healthy directory.

mod damage;
mod flips;

use std::path::Path;

use async_trait::async_trait;

use super::*;
use crate::app::Caller;
use crate::app::erase::Reason;
use crate::app::fsck::{Code, Finding, Summary, Watch};
use crate::app::subjects::Name;
use crate::domain::event::IdentityErasureCause;
use crate::domain::id::SubjectId;
use crate::vault::keyring::Class;
use crate::vault::scrub::Scrub as _;

/// Keeps what is told.
#[derive(Default)]
struct Told(Vec<Finding>);

#[async_trait]
impl Watch for Told {
    fn progress(&mut self, _done: u64, _total: u64) {}

    async fn finding(&mut self, finding: Finding) {
        self.0.push(finding);
    }
}

impl Told {
    fn codes(&self) -> Vec<&'static str> {
        let mut codes: Vec<_> = self.0.iter().map(|finding| finding.code.as_str()).collect();
        codes.sort_unstable();
        codes.dedup();
        codes
    }
}

/// A disk that always has room.
struct Wide;

impl crate::disk::Probe for Wide {
    fn room(&self) -> std::io::Result<crate::disk::Room> {
        Ok(crate::disk::Room { free: u64::MAX / 2, total: u64::MAX / 2 })
    }
}

/// `custody fsck --offline`: what was found, or why the directory cannot be opened.
async fn offline(place: &Place) -> Result<(Told, Summary), String> {
    let (config, clock) = (place.config(), Arc::new(place.clock.clone()) as Arc<dyn Clock>);
    let opened = tokio::task::spawn_blocking(move || Node::open(&config, &clock, Arc::new(Wide))).await;
    let node = opened.unwrap().map_err(|why| format!("{why:#}"))?;
    let mut told = Told::default();
    let checked = node.app.check_storage(true, &mut told).await;
    tokio::task::spawn_blocking(move || drop(node.close())).await.unwrap();
    let summary = checked.map_err(|why| format!("{why}: {}", why.chain().unwrap_or_default()))?;
    assert_eq!(summary.findings, told.0.len() as u64);
    Ok((told, summary))
}

async fn online(running: &Running) -> Told {
    let mut told = Told::default();
    running.app().check_storage(true, &mut told).await.unwrap();
    told
}

fn named(kind: pb::IdentifierKind, realm: &str, value: String) -> pb::Identifier {
    pb::Identifier { kind: kind as i32, realm: realm.to_owned(), value }
}

/// An event about a person with an account, a telephone and a station, and something sealed.
fn about(place: &Place, number: u8, person: u8) -> pb::Event {
    let mut event = place.event(person);
    event.event_id = format!("018f3a1c-0000-7000-8000-0000000001{number:02x}");
    event.people[0].identifiers.extend([
        named(pb::IdentifierKind::Phone, "", format!("+86139123456{person:02}")),
        named(pb::IdentifierKind::Ip, "", "192.0.2.1".to_owned()),
    ]);
    if let Some(pb::event::Body::DataCollected(body)) = &mut event.body {
        (body.record_kind, body.locator) = ("photo".to_owned(), format!("photos/{person}.jpg"));
    }
    event
}

async fn record(running: &Running, event: pb::Event) -> pb::Receipt {
    let request = pb::RecordEventRequest { event: Some(event) };
    client(running).await.ingest().record_event(request).await.unwrap().into_inner().receipt.unwrap()
}

async fn find(running: &Running, place: &Place, person: u8) -> SubjectId {
    let request =
        pb::FindSubjectRequest { identifier: Some(place.event(person).people[0].identifiers[0].clone()) };
    let found = client(running).await.subjects().find_subject(request).await.unwrap().into_inner();
    found.candidates[0].subject.parse().unwrap()
}

async fn merge(running: &Running, place: &Place) {
    let mut event = place.event(3);
    event.event_id = "018f3a1c-0000-7000-8000-000000000200".to_owned();
    event.people.extend(place.event(4).people);
    let officer = named(pb::IdentifierKind::Account, "staff", "w.li".to_owned());
    event.people.push(pb::Person { role: pb::Role::Staff as i32, identifiers: vec![officer] });
    event.body =
        Some(pb::event::Body::SubjectsMerged(pb::SubjectsMerged { reason: "same_person".to_owned() }));
    record(running, event).await;
}

async fn export(running: &Running) {
    let request = pb::CreateExportRequest {
        export_id: "kept".to_owned(),
        scope: Some(pb::create_export_request::Scope::Range(pb::ExportRange::default())),
        level: pb::ExportLevel::Sealed as i32,
        ..Default::default()
    };
    client(running).await.exports().create_export(request).await.unwrap();
    let id = "kept".parse().unwrap();
    let mut watch = running.app().watch_export(&id).unwrap();
    let made = watch.wait_for(|kept| kept.state.is_final()).await.unwrap().clone();
    assert!(matches!(made.state, crate::export::shelf::State::Ready(_)), "{made:?}");
}

/// A directory in which there is something of everything: people, one of them erased, a merge, a mark
/// of the vault, checkpoints, an export, a witness that refused once.
async fn furnished() -> Place {
    let place = Place::new();
    let running = place.start().await.unwrap();
    for n in 0..12u8 {
        record(&running, about(&place, n, n % 6)).await;
    }
    running.app().publish().await.unwrap();
    merge(&running, &place).await;
    let gone = find(&running, &place, 5).await;
    let reason = Reason { cause: IdentityErasureCause::Operator, case_id: None, evidence_too: true };
    running.app().erase(&Caller::local(), &[Name::Subject(gone)], reason).await.unwrap();
    place.clock.advance_ms(3_600_000);
    running.node.tend(place.clock.now()).await.unwrap();
    running.jobs().take_turn().await.unwrap();
    running.app().publish().await.unwrap();
    for n in 12..16u8 {
        record(&running, about(&place, n, n % 4)).await;
    }
    export(&running).await;
    running.app().publish().await.unwrap();
    let evidence = place.root.path().join("data.outside/evidence");
    std::fs::create_dir(&evidence).unwrap();
    std::fs::write(evidence.join("00000000000000000003-w.refusal"), "request:\nold 0\n\nanswer 409:\n3\n")
        .unwrap();
    running.stop().await.unwrap();
    place
}

/// The whole of a place again elsewhere, on the same clock.
fn copy_of(place: &Place) -> Place {
    let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    copy(place.root.path(), root.path());
    Place { root, clock: place.clock.clone() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_directory_has_no_findings() {
    let place = furnished().await;
    let (told, summary) = offline(&place).await.unwrap();
    assert_eq!(told.0, [], "with people, an erasure, a merge and an export");
    let running = place.start().await.unwrap();
    assert_eq!(online(&running).await.0, [], "asked of the service");
    running.app().rebuild_views(|_, _| {}).await.unwrap();
    assert_eq!(online(&running).await.0, [], "after a rebuild");
    let head = running.app().log.head();
    assert!(head >= summary.records);
    running.stop().await.unwrap();

    // A new key-encryption key, and everybody under it; a new look-up key beside the old one.
    let config = place.config();
    let keyring = Arc::new(open_keyring(&config, place.clock.now()).unwrap());
    for class in [Class::Kek, Class::Lookup] {
        let id = keyring.add(class, place.clock.now()).unwrap();
        keyring.activate(class, id, place.clock.now()).unwrap();
    }
    let clock: Arc<dyn Clock> = Arc::new(place.clock.clone());
    let dir = config.data.directory.join("vault");
    let vault = sqlite::Vault::open(&dir, keyring, clock, sqlite::Options::default()).unwrap();
    vault.rewrap(|_| {}).await.unwrap();
    vault.scrub().await.unwrap();
    drop(vault);
    let running = place.start().await.unwrap();
    // A quarter later index blocks stand under another key.
    place.clock.advance_ms(92 * 24 * 3_600_000);
    running.node.tend(place.clock.now()).await.unwrap();
    for n in 20..24u8 {
        record(&running, about(&place, n, n % 7)).await;
    }
    assert_eq!(online(&running).await.0, [], "after a rotation");
    running.stop().await.unwrap();
    let (told, _) = offline(&place).await.unwrap();
    assert_eq!(told.0, []);
}

/// People come and go, checkpoints are signed and exports made while it reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_found_in_what_changes_meanwhile() {
    let place = furnished().await;
    let running = Arc::new(place.start().await.unwrap());
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let busy = {
        let (running, done) = (Arc::clone(&running), Arc::clone(&done));
        let events: Vec<pb::Event> = (30..60u8).map(|n| about(&place, n, 20 + n % 10)).collect();
        let accounts: Vec<_> = (20..23u8).map(|n| place.event(n).people[0].identifiers[0].clone()).collect();
        tokio::spawn(async move {
            for event in events {
                record(&running, event).await;
                running.app().publish().await.unwrap();
            }
            for account in accounts {
                let request = pb::FindSubjectRequest { identifier: Some(account) };
                let found =
                    client(&running).await.subjects().find_subject(request).await.unwrap().into_inner();
                let gone = Name::Subject(found.candidates[0].subject.parse().unwrap());
                let reason =
                    Reason { cause: IdentityErasureCause::Operator, case_id: None, evidence_too: true };
                running.app().erase(&Caller::local(), &[gone], reason).await.unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::SeqCst);
        })
    };
    let mut rounds = 0;
    while !done.load(std::sync::atomic::Ordering::SeqCst) {
        let mut told = Told::default();
        running.app().check_storage(false, &mut told).await.unwrap();
        assert_eq!(told.0, [], "round {rounds}");
        rounds += 1;
    }
    busy.await.unwrap();
    assert!(rounds > 1);
    Arc::into_inner(running).unwrap().stop().await.unwrap();
}
