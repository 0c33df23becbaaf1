//! The vault's file is rewritten once a week: by the clock, also across restarts and its jumps; not while
//! a backup reads; again where it failed.

use std::sync::atomic::{AtomicU64, Ordering};

use super::erasure::{find, record};
use super::*;
use crate::app::Caller;
use crate::app::erase::Reason;
use crate::app::subjects::Name;
use crate::disk::Room;
use crate::domain::event::IdentityErasureCause;

const MINUTE: i64 = 60_000;
const HOUR: i64 = MS_PER_HOUR;
const DAY: i64 = MS_PER_DAY;

/// What the file holds of the erased: rows of zeros, marks of identifiers.
fn remains(place: &Place) -> (i64, i64) {
    sqlite::harm::remains(&place.config().data.directory.join("vault").join(sqlite::FILE))
}

async fn scrubbed(running: &Running) -> Option<Timestamp> {
    running.app().vault.scrubbed_at().await.unwrap()
}

async fn erase(running: &Running, person: u8) {
    let gone = Name::Subject(find(running, person).await.unwrap());
    let reason = Reason { cause: IdentityErasureCause::Operator, case_id: None, evidence_too: true };
    running.app().erase(&Caller::local(), &[gone], reason).await.unwrap();
}

/// A service that does nothing by the clock but this.
fn config(place: &Place) -> Config {
    let mut config = place.config();
    let others = config.jobs.each.iter_mut().filter(|(job, _)| *job != "vault_scrub");
    others.for_each(|(_, timing)| timing.schedule = "off".to_owned());
    config
}

async fn start(place: &Place) -> Running {
    Server::start(config(place), Arc::new(place.clock.clone())).await.unwrap()
}

/// Minutes of the service's life; says when scrubs were done in them.
async fn live(running: &Running, place: &Place, minutes: i64) -> Vec<Timestamp> {
    let mut done = Vec::new();
    for _ in 0..minutes {
        let before = scrubbed(running).await;
        running.node.tend_vault().await;
        running.jobs().take_turn().await.unwrap();
        let after = scrubbed(running).await;
        done.extend(after.filter(|_| after != before));
        place.clock.advance_ms(MINUTE);
    }
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_a_week_nothing_is_left_of_what_was_deleted() {
    let place = Place::new();
    let running = start(&place).await;
    record(&running, &place, [1, 2, 3], 0x10).await;
    erase(&running, 1).await;
    assert_eq!(remains(&place), (1, 1));
    assert_eq!(live(&running, &place, 60).await, [], "what is due has to be so for an hour");
    let first = live(&running, &place, 60).await;
    assert_eq!(first, ["2026-03-01T09:00:00Z".parse().unwrap()], "once");
    assert_eq!(remains(&place), (0, 1), "the mark is to be there for 90 days");
    erase(&running, 2).await;
    running.stop().await.unwrap();

    // It is known across a restart, and a week is a week.
    let running = start(&place).await;
    place.clock.set(first[0].plus_ms(7 * DAY - MINUTE));
    assert_eq!(live(&running, &place, 61).await, []);
    assert_eq!(remains(&place), (1, 2));
    let second = live(&running, &place, 10).await;
    assert_eq!(second, [first[0].plus_ms(7 * DAY + HOUR)]);
    assert_eq!(remains(&place), (0, 2));

    // With one a week nothing stays for 90 days but the marks, which go with the first scrub after them.
    let mut last = 0;
    for _ in 0..13 * 7 {
        place.clock.advance_ms(DAY - 2 * HOUR);
        last += live(&running, &place, 120).await.len();
    }
    assert!((12..=13).contains(&last), "{last} in 13 weeks");
    place.clock.advance_ms(7 * DAY);
    live(&running, &place, 62).await;
    assert_eq!(remains(&place), (0, 0));
    assert!(find(&running, 3).await.is_some());
    assert_eq!(running.app().status().await.unwrap().alarms, []);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn not_while_a_backup_reads_and_soon_after_it() {
    let place = Place::new();
    let running = start(&place).await;
    record(&running, &place, [1], 0x10).await;
    erase(&running, 1).await;
    live(&running, &place, 60).await;
    let reading = running.app().erasures.pause().await;
    assert_eq!(live(&running, &place, 5).await, []);
    drop(reading);
    assert_eq!(live(&running, &place, 1).await.len(), 1);
    assert_eq!(remains(&place).0, 0);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_brings_few() {
    let place = Place::new();
    let running = start(&place).await;
    assert_eq!(live(&running, &place, 62).await.len(), 1);
    place.clock.advance_ms(365 * DAY);
    assert_eq!(live(&running, &place, 59).await, [], "for less than an hour nothing");
    assert_eq!(live(&running, &place, 120).await.len(), 1);
    // Put right again: the one in a year to come counts as none.
    place.clock.advance_ms(-365 * DAY);
    assert_eq!(live(&running, &place, 180).await.len(), 1);
    let mut swinging = 0;
    for n in 0..200 {
        place.clock.advance_ms(if n % 2 == 0 { 30 * DAY } else { -30 * DAY });
        swinging += live(&running, &place, 1).await.len();
    }
    assert!(swinging <= 2, "{swinging}");
    running.stop().await.unwrap();
}

/// A disk of which is told how much room it has.
struct Disk(AtomicU64);

impl Probe for Disk {
    fn room(&self) -> std::io::Result<Room> {
        Ok(Room { free: self.0.load(Ordering::SeqCst), total: 1 << 40 })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_room_is_an_alarm_and_is_tried_again() {
    let place = Place::new();
    let disk = Arc::new(Disk(AtomicU64::new(1 << 30)));
    let probe = Arc::clone(&disk) as Arc<dyn Probe>;
    let running = Server::start_on(probe, config(&place), Arc::new(place.clock.clone())).await.unwrap();
    record(&running, &place, [1], 0x10).await;
    erase(&running, 1).await;
    disk.0.store(1_000, Ordering::SeqCst);
    running.node.look();
    assert_eq!(live(&running, &place, 62).await, []);
    let alarms = running.app().status().await.unwrap().alarms;
    let told =
        |code: &str| alarms.iter().any(|alarm| alarm.code == code && alarm.message.contains("make room"));
    assert!(alarms.len() == 2 && told("erasure_unfinished") && told("job_failed"), "{alarms:?}");
    assert_eq!(remains(&place).0, 1);

    disk.0.store(1 << 30, Ordering::SeqCst);
    running.node.look();
    assert_eq!(live(&running, &place, 62).await.len(), 1);
    assert_eq!(remains(&place).0, 0);
    assert_eq!(running.app().status().await.unwrap().alarms, []);
    running.stop().await.unwrap();
}
