//! A vault that is older than the log.

use super::*;

const HOUR_MS: i64 = 3_600_000;

async fn people(running: &Running, place: &Place, numbers: std::ops::Range<u8>) {
    let mut ingest = client(running).await.ingest();
    for n in numbers {
        let request = pb::RecordEventRequest { event: Some(place.event(n)) };
        ingest.record_event(request).await.unwrap();
    }
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

/// An hour passes, the node is tended and what is due is run.
async fn an_hour_later(running: &Running, place: &Place) {
    place.clock.advance_ms(HOUR_MS);
    now(running, place).await;
}

async fn now(running: &Running, place: &Place) {
    running.node.tend(place.clock.now()).await.unwrap();
    running.jobs().take_turn().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_generation_is_marked_hourly_where_it_has_changed() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    people(&running, &place, 0..2).await;
    now(&running, &place).await;
    assert_eq!(marks(&running).await, 0, "no hour has passed");
    an_hour_later(&running, &place).await;
    assert_eq!(marks(&running).await, 1);
    let generation = running.app().vault.status().await.unwrap().generation;
    an_hour_later(&running, &place).await;
    let settled = running.app().vault.status().await.unwrap().generation;
    assert_eq!(marks(&running).await, 1 + usize::from(settled != generation));
    people(&running, &place, 2..3).await;
    let before = marks(&running).await;
    now(&running, &place).await;
    assert_eq!(marks(&running).await, before, "at most one an hour");
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_vault_is_refused_with_the_way_out() {
    let place = Place::new();
    let (vault, views) = (place.root.path().join("data/vault"), place.root.path().join("data/views"));
    let [old, new] = ["old", "new"].map(|name| place.root.path().join(name));
    let running = place.start().await.unwrap();
    people(&running, &place, 0..2).await;
    running.stop().await.unwrap();
    copy(&vault, &old);
    let running = place.start().await.unwrap();
    people(&running, &place, 2..5).await;
    an_hour_later(&running, &place).await;
    assert_eq!(marks(&running).await, 1);
    running.stop().await.unwrap();
    copy(&vault, &new);

    // With the views that know of the mark, and without them.
    for with_views in [true, false] {
        std::fs::remove_dir_all(&vault).unwrap();
        copy(&old, &vault);
        if !with_views {
            std::fs::remove_dir_all(&views).unwrap();
        }
        let refused = place.start().await.err().unwrap();
        let said = format!("{refused:#}");
        assert!(said.contains("the vault is older than the log") && said.contains("Put back"), "{said}");
    }
    std::fs::remove_dir_all(&vault).unwrap();
    copy(&new, &vault);
    place.start().await.unwrap().stop().await.unwrap();
}

/// The views are made anew and the mark lies far back: it is found when they have caught up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_vault_is_found_out_late_where_the_views_are_new() {
    let place = Place::new();
    let (vault, views) = (place.root.path().join("data/vault"), place.root.path().join("data/views"));
    let old = place.root.path().join("old");
    let running = place.start().await.unwrap();
    people(&running, &place, 0..1).await;
    running.stop().await.unwrap();
    copy(&vault, &old);
    let running = place.start().await.unwrap();
    people(&running, &place, 1..3).await;
    an_hour_later(&running, &place).await;
    people(&running, &place, 3..60).await;
    running.stop().await.unwrap();

    std::fs::remove_dir_all(&vault).unwrap();
    copy(&old, &vault);
    std::fs::remove_dir_all(&views).unwrap();
    // The views may catch up while the start looks; then it is refused at once.
    let Ok(running) = place.start().await else { return };
    let client = client(&running).await;
    let head = running.app().log.head();
    running.app().views.wait_for(head, Duration::from_secs(60)).await.unwrap();
    an_hour_later(&running, &place).await;
    let status = client.admin().get_status(pb::GetStatusRequest {}).await.unwrap().into_inner();
    assert!(status.alarms.iter().any(|alarm| alarm.code == "vault_older"), "{:?}", status.alarms);
    assert_eq!(marks(&running).await, 1, "nothing says that this vault is the newest");
    running.stop().await.unwrap();
}
