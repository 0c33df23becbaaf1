//! Data directories put back from older copies, while the outside copy knows who was erased since.

use std::path::Path;

use super::erasure::{find, holding, record, report, traces};
use super::*;
use crate::app::Caller;
use crate::app::erase::Reason;
use crate::app::subjects::Name;
use crate::domain::event::{IdentityErasureCause, LossReason};
use crate::domain::id::SubjectId;

fn replace(from: &Path, to: &Path) {
    let _gone = std::fs::remove_dir_all(to);
    copy(from, to);
}

async fn erase(running: &Running, subject: SubjectId, evidence_too: bool) {
    let reason = Reason { cause: IdentityErasureCause::Operator, case_id: None, evidence_too };
    running.app().erase(&Caller::local(), &[Name::Subject(subject)], reason).await.unwrap();
}

async fn recover(place: &Place) {
    let (config, clock): (_, Arc<dyn Clock>) = (place.config(), Arc::new(place.clock.clone()));
    let node = tokio::task::spawn_blocking(move || Node::open_for_recovery(&config, &clock)).await.unwrap();
    let node = node.unwrap();
    let loss = node.app.loss().await.unwrap().unwrap();
    node.app.recover(&loss, LossReason::LostTail).await.unwrap();
    tokio::task::spawn_blocking(move || node.close()).await.unwrap().unwrap();
}

/// Puts parts of an older copy back; `views`: whether they come with it.
async fn put_back(parts: &[&str], views: bool, evidence_too: bool) {
    let case = format!("{parts:?}, views {views}, evidence {evidence_too}");
    let place = Place::new();
    let running = place.start().await.unwrap();
    let last = record(&running, &place, [1, 2, 1], 0x10).await;
    let (gone, stays) = (find(&running, 1).await.unwrap(), find(&running, 2).await.unwrap());
    let before = report(&running, stays, last).await.unwrap();
    running.app().publish().await.unwrap();
    running.stop().await.unwrap();
    let (data, older) = (place.root.path().join("data"), place.root.path().join("older"));
    copy(&data, &older);

    let running = place.start().await.unwrap();
    erase(&running, gone, evidence_too).await;
    running.app().publish().await.unwrap();
    running.stop().await.unwrap();
    for part in parts {
        replace(&older.join(part), &data.join(part));
    }
    if parts.contains(&"log") {
        // What is derived from another log than the one put back is of no use to it.
        for derived in ["views", "ledger"] {
            replace(&older.join(derived), &data.join(derived));
        }
    }
    if !views {
        std::fs::remove_dir_all(data.join("views")).unwrap();
    }
    let nothing_of = |running: Running| async {
        assert_eq!(find(&running, 1).await, None, "{case}");
        let head = running.app().status().await.unwrap().log.head;
        assert_eq!(report(&running, gone, head - 1).await, None, "{case}");
        assert_eq!(report(&running, stays, head - 1).await.as_ref(), Some(&before), "{case}");
        running.stop().await
    };
    let running = place.start().await.unwrap();
    let lost = parts.contains(&"log");
    assert_eq!(running.node.ready().is_err(), lost, "{case}: what was published is missing");
    nothing_of(running).await.unwrap_or_else(|why| panic!("{case}: {why:#}"));
    if lost {
        recover(&place).await;
        let running = place.start().await.unwrap();
        running.node.ready().unwrap_or_else(|why| panic!("{case}: {why}"));
        running.node.tend(place.clock.now()).await.unwrap();
        nothing_of(running).await.unwrap();
    }
    // What follows is the same as if nothing had happened.
    let running = place.start().await.unwrap();
    running.app().rebuild_views(|_, _| {}).await.unwrap();
    nothing_of(running).await.unwrap();
    let needles: Vec<Vec<u8>> = traces(gone, 1).into_iter().skip(if evidence_too { 0 } else { 2 }).collect();
    let needles: Vec<Vec<u8>> = needles.into_iter().filter(|n| evidence_too || *n != gone.0).collect();
    assert_eq!(holding(&data, &needles), Vec::<String>::new(), "{case}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_log_and_vault_tell_nobody_of_the_erased() {
    put_back(&["log", "vault"], true, true).await;
    put_back(&["log", "vault"], false, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_log_with_the_newer_vault_tells_nobody_either() {
    put_back(&["log"], false, true).await;
    put_back(&["log"], true, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_vault_alone_brings_nobody_back() {
    put_back(&["vault"], true, false).await;
    put_back(&["vault"], false, true).await;
}
