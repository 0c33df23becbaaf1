//! What an old backup and an old keyring tell of somebody who was erased since: until when the service's own
//! keyring opens the backup, and that a copy of the keyring opens it for ever.

use std::path::Path;

use super::backup::{back_up, count, find, quiet, record};
use super::*;
use crate::app::Caller;
use crate::app::erase::Reason;
use crate::app::subjects::Name;
use crate::cli::restore::{Restored, from_backup};
use crate::domain::event::IdentityErasureCause;
use crate::vault::keyring::{Class, Source};

const MINUTE: i64 = 60_000;
const DAY: i64 = MS_PER_DAY;

/// Another machine, on which the clock says what its owner likes, with a keyring, and with the outside copy or
/// without. Says what a restore there comes to.
fn elsewhere(keyring: &Path, outside: Option<&Path>, at: Timestamp, from: &Path) -> Result<Place, String> {
    let place = Place::new();
    place.clock.set(at);
    std::fs::copy(keyring, place.config().data.keyring).unwrap();
    if let Some(outside) = outside {
        copy(outside, &place.config().outside_path());
    }
    restored(&place, from).map(|_| place)
}

fn restored(place: &Place, from: &Path) -> Result<Restored, String> {
    from_backup(&there(place), from, place.clock.now(), |_| Ok(())).map_err(|failure| failure.message)
}

fn there(place: &Place) -> Config {
    let mut config = quiet(place);
    config.outside.declared_lost = !config.outside_path().exists();
    config
}

/// What is told there of two people, opened: nothing of the first if that one is nobody.
async fn told(place: &Place) -> [Option<String>; 2] {
    let running = Server::start(there(place), Arc::new(place.clock.clone())).await.unwrap();
    let mut told = [None, None];
    for (person, told) in (1..).zip(&mut told) {
        let Some(subject) = find(&running, person).await else { continue };
        let request = pb::GetSubjectReportRequest {
            subject: Some(pb::SubjectName {
                name: Some(pb::subject_name::Name::Subject(subject.to_string())),
            }),
            opening: Some(pb::Opening { reason: "access_request".to_owned(), ticket: String::new() }),
            ..Default::default()
        };
        let mut subjects = client(&running).await.subjects();
        // The views are made anew there; until they know somebody they say so, and not that there is nobody.
        let answer = loop {
            match subjects.get_subject_report(request.clone()).await {
                Err(status) if status.code() == tonic::Code::DeadlineExceeded => {
                    tokio::task::yield_now().await
                }
                answer => break answer.unwrap(),
            }
        };
        *told = Some(format!("{:?}", answer.into_inner()));
    }
    running.stop().await.unwrap();
    told
}

async fn assert_both_open(place: &Place) {
    for (person, told) in (1..).zip(told(place).await) {
        assert!(
            told.is_some_and(|told| told.contains(&format!("user-{person}"))),
            "user-{person} in the open"
        );
    }
}

/// What a minute brings.
async fn tend(running: &Running, place: &Place) {
    running.node.tend(place.clock.now()).await.unwrap();
    running.node.tend_vault().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_backup_opens_until_its_key_is_destroyed_and_with_an_old_keyring_for_ever() {
    let place = Place::new();
    let begun = place.clock.now();
    let running = Server::start(quiet(&place), Arc::new(place.clock.clone())).await.unwrap();
    record(&running, &place, 1, 1).await;
    record(&running, &place, 2, 2).await;
    running.app().publish().await.unwrap();
    let (kept, gone) = (place.root.path().join("old-backup"), find(&running, 1).await.unwrap());
    let (keyring, old) = (place.config().data.keyring, place.root.path().join("old-keyring"));
    running.app().copy_keyring(&old).unwrap();
    let replace_by = running.app().note_keyring_copy().await.unwrap();
    let (made, manifest) = back_up(&running).await;
    copy(&made, &kept);
    let reason = Reason { cause: IdentityErasureCause::Operator, case_id: None, evidence_too: true };
    let done = running.app().erase(&Caller::local(), &[Name::Subject(gone)], reason).await.unwrap().remove(0);
    let certified = running.app().erasure_certificate(done.tomb).await.unwrap();
    let beyond = certified.beyond_backups_at.unwrap();
    assert!(!certified.beyond_backups && beyond > begun.plus_ms(35 * DAY), "{beyond}");
    assert!(replace_by < beyond, "who replaces copies of the keyring in time has none of the old keys then");

    // Upkeep comes when it comes, and not on the minute.
    let outside = place.config().outside_path();
    for week in 1..=4 {
        place.clock.set(begun.plus_ms(7 * week * DAY + MINUTE / 2));
        tend(&running, &place).await;
    }
    assert!(!made.exists(), "the service removes a backup when its time is over");
    assert_eq!(count(&running, &["BackupsExpired"]).await, 1);
    let over = elsewhere(&keyring, Some(&outside), place.clock.now(), &kept).err().unwrap();
    assert!(over.contains(&manifest.expires_at.to_string()), "{over}");

    // That is a rule, and what holds is the key: a clock that was set back is enough until that is destroyed.
    place.clock.set(begun.plus_ms(35 * DAY - MINUTE / 2));
    for _ in 0..61 {
        tend(&running, &place).await;
        place.clock.advance_ms(MINUTE);
    }
    assert_eq!(place.clock.now(), begun.plus_ms(35 * DAY + 60 * MINUTE + MINUTE / 2));
    let honest = elsewhere(&keyring, Some(&outside), begun, &kept).unwrap();
    let [first, second] = told(&honest).await;
    assert!(first.is_none() && second.is_some(), "the tombs keep who was erased erased");
    assert_both_open(&elsewhere(&keyring, None, begun, &kept).unwrap()).await;

    tend(&running, &place).await;
    assert!(place.clock.now() <= beyond, "{} is after {beyond}, which was certified", place.clock.now());
    for outside in [Some(&*outside), None] {
        let refused = elsewhere(&keyring, outside, begun, &kept).err().unwrap();
        assert!(refused.contains("kek 1 was destroyed: this backup can no longer be read"), "{refused}");
    }
    let certified = running.app().erasure_certificate(done.tomb).await.unwrap();
    assert!(certified.beyond_backups && certified.letters.en.contains("service's keyring"), "{certified:?}");

    // Neither does a copy that is made from now on hold the key.
    let newer = place.root.path().join("newer-keyring");
    running.app().copy_keyring(&newer).unwrap();
    let ring = Keyring::open(Source::File(newer.clone()), false, begun).unwrap();
    let destroyed = ring.kek(1).unwrap_err().to_string();
    assert!(destroyed.contains("was destroyed at") && ring.gone().iter().any(|key| key.class == Class::Kek));
    let held = |path: &Path| std::fs::read_to_string(path).unwrap();
    let key_1 = serde_json::from_str::<serde_json::Value>(&held(&old)).unwrap();
    let key_1 = key_1["body"]["keys"].as_array().or(key_1["keys"].as_array()).unwrap().iter();
    let key_1 = key_1.clone().find(|key| key["class"] == "kek").unwrap()["key"].as_str().unwrap();
    assert!(held(&old).contains(key_1), "the search finds what is there");
    assert!(!held(&newer).contains(key_1) && !held(&keyring).contains(key_1));
    assert!(elsewhere(&newer, None, begun, &kept).is_err());

    // The copy of the old keyring is beyond reach: with it the old backup opens as on its first day.
    assert_both_open(&elsewhere(&old, None, begun, &kept).unwrap()).await;
    running.stop().await.unwrap();
}
