//! The work of the clock, moved by hand: caught up once, never twice for one slot, whatever the clock does, whoever
//! leads, and wherever a run is cut off.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::*;
use crate::app::Error;
use crate::app::jobs::Run as Recorded;
use crate::config::Jobs;
use crate::config::jobs::Timing;
use crate::disk::{Probe as Probing, Room};
use crate::domain::event::JobOutcome;
use crate::jobs::{Driver, Halt, HoldsLock, Job, Leader, Progress, Run};

const MINUTE: i64 = 60_000;
const HOUR: i64 = MS_PER_HOUR;
const DAY: i64 = MS_PER_DAY;

/// All runs that were recorded, the oldest first.
async fn runs(running: &Running, job: Option<&str>) -> Vec<Recorded> {
    let head = running.app().log.head();
    let job = job.map(|job| job.parse().unwrap());
    let (mut runs, next, _) = running.app().job_runs(job, None, 1_000, head.checked_sub(1)).await.unwrap();
    assert_eq!(next, None);
    runs.reverse();
    runs
}

async fn slots(running: &Running, job: &str) -> Vec<String> {
    let slot = |run: Recorded| run.ran.scheduled_for.unwrap().to_string().replace(":00.000Z", "Z");
    runs(running, Some(job)).await.into_iter().map(slot).collect()
}

/// No slot of any job was recorded twice.
async fn assert_once(running: &Running) {
    let runs = runs(running, None).await;
    let slots: BTreeSet<_> = runs.iter().map(|run| (run.ran.job.clone(), run.ran.scheduled_for)).collect();
    assert_eq!(slots.len(), runs.len(), "{runs:#?}");
}

/// The service's own jobs run by hand only.
fn quiet(place: &Place) -> Config {
    let mut config = place.config();
    config.jobs.each.values_mut().for_each(|timing| timing.schedule = "off".to_owned());
    config
}

async fn start(place: &Place) -> Running {
    Server::start(quiet(place), Arc::new(place.clock.clone())).await.unwrap()
}

/// A job of three batches, each of which waits until it is let through. What it has done outlives a restart.
struct Probe {
    begun: Semaphore,
    gate: Semaphore,
    done: AtomicU64,
    runs: AtomicU64,
    fails: AtomicBool,
}

impl Probe {
    /// With so many batches let through.
    fn new(gate: usize) -> Arc<Probe> {
        Arc::new(Probe {
            begun: Semaphore::new(0),
            gate: Semaphore::new(gate),
            done: AtomicU64::new(0),
            runs: AtomicU64::new(0),
            fails: AtomicBool::new(false),
        })
    }

    fn runs(&self) -> u64 {
        self.runs.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Job for Probe {
    fn name(&self) -> &'static str {
        "probe"
    }

    fn default_timing(&self) -> (&'static str, &'static str) {
        ("0 * * * *", "UTC")
    }

    async fn run(&self, run: &mut Run) -> Result<Progress, Halt> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        while self.done.load(Ordering::SeqCst) < 3 {
            self.begun.add_permits(1);
            self.gate.acquire().await.unwrap().forget();
            self.done.fetch_add(1, Ordering::SeqCst);
            run.count("batches", 1);
            run.go_on().await?;
        }
        if self.fails.load(Ordering::SeqCst) {
            return Err(Error::fault("probe", std::io::Error::other("the cause behind it")).into());
        }
        self.done.store(0, Ordering::SeqCst);
        Ok(Progress::Done)
    }
}

fn driver_of(
    running: &Running,
    job: Arc<dyn Job>,
    (schedule, tz): (&str, &str),
    leader: Arc<dyn Leader>,
) -> Arc<Driver> {
    let timing = Timing { schedule: schedule.to_owned(), tz: tz.to_owned() };
    let config = Jobs { tz: "UTC".to_owned(), each: [("probe".to_owned(), timing)].into() };
    Arc::new(Driver::new(Arc::clone(running.app()), vec![job], &config, leader).unwrap())
}

fn driver(
    running: &Running,
    probe: &Arc<Probe>,
    timing: (&str, &str),
    leader: Arc<dyn Leader>,
) -> Arc<Driver> {
    driver_of(running, Arc::clone(probe) as Arc<dyn Job>, timing, leader)
}

fn hourly(running: &Running, probe: &Arc<Probe>) -> Arc<Driver> {
    driver(running, probe, probe.default_timing(), Arc::new(HoldsLock))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_days_down_are_caught_up_with_one_run_each() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    running.jobs().take_turn().await.unwrap();
    assert_eq!(runs(&running, None).await, [], "nothing is due in a log that has just begun");
    running.stop().await.unwrap();

    place.clock.advance_ms(3 * DAY + MINUTE);
    let running = place.start().await.unwrap();
    running.jobs().take_turn().await.unwrap();
    for (job, newest) in [
        ("detector", "2026-03-04T08:00Z"),
        ("emitter_watch", "2026-03-04T07:20Z"),
        ("mechanism_watch", "2026-03-03T17:10Z"),
        ("cn_counter", "2026-03-03T17:20Z"),
        ("ledger_verify", "2026-03-04T03:30Z"),
    ] {
        assert_eq!(slots(&running, job).await, [newest], "{job}");
    }
    assert_eq!(slots(&running, "review_reminder").await, Vec::<String>::new(), "its month is not over");
    let all = runs(&running, None).await;
    assert!(all.iter().all(|run| run.ran.outcome == Some(JobOutcome::Ok)), "{all:#?}");
    running.jobs().take_turn().await.unwrap();
    assert_eq!(runs(&running, None).await.len(), all.len(), "and once only");
    running.stop().await.unwrap();

    let running = place.start().await.unwrap();
    running.jobs().take_turn().await.unwrap();
    assert_eq!(runs(&running, None).await.len(), all.len(), "a restart knows it from the log");
    place.clock.advance_ms(10 * MINUTE);
    running.jobs().take_turn().await.unwrap();
    assert_eq!(slots(&running, "detector").await.len(), 2);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_house_in_which_nothing_happens_gets_a_tick_a_day() {
    let place = Place::new();
    let mut config = place.config();
    let idle = |job: &str| ["detector", "emitter_watch"].contains(&job);
    config
        .jobs
        .each
        .iter_mut()
        .filter(|(job, _)| !idle(job))
        .for_each(|(_, timing)| timing.schedule = "off".into());
    let running = Server::start(config, Arc::new(place.clock.clone())).await.unwrap();
    for _ in 0..3 * 144 {
        place.clock.advance_ms(10 * MINUTE);
        running.jobs().take_turn().await.unwrap();
    }
    let ticks = slots(&running, "detector").await;
    assert!(
        (4..=5).contains(&ticks.len()),
        "what the start brought is judged ten minutes later too: {ticks:?}"
    );
    assert_eq!(slots(&running, "emitter_watch").await.len(), 72, "what jobs record is no news");
    let request = pb::RecordEventRequest { event: Some(place.event(1)) };
    client(&running).await.ingest().record_event(request).await.unwrap();
    for _ in 0..6 {
        place.clock.advance_ms(10 * MINUTE);
        running.jobs().take_turn().await.unwrap();
    }
    assert_eq!(
        slots(&running, "detector").await.len(),
        ticks.len() + 2,
        "news are judged, and when they are ripe"
    );
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_jump_of_the_clock_runs_a_slot_twice_or_stops_a_job_for_good() {
    let place = Place::new();
    let running = start(&place).await;
    let probe = Probe::new(1_000_000);
    let mut driver = hourly(&running, &probe);
    place.clock.advance_ms(2 * HOUR + MINUTE);
    driver.take_turn().await.unwrap();
    assert_eq!((slots(&running, "probe").await, probe.runs()), (vec!["2026-03-01T10:00Z".to_owned()], 1));
    for back in [MINUTE, HOUR, 3 * DAY, 400 * DAY] {
        let then = place.clock.now();
        place.clock.advance_ms(-back);
        let before = probe.runs();
        driver.take_turn().await.unwrap();
        driver = hourly(&running, &probe);
        driver.take_turn().await.unwrap();
        assert_eq!(probe.runs(), before, "no run for a clock set back by {back}");
        if back > HOUR {
            place.clock.advance_ms(HOUR);
            driver.take_turn().await.unwrap();
            assert_eq!(probe.runs(), before + 1, "and it need not catch up with what it showed");
        }
        place.clock.set(then);
        let before = probe.runs();
        driver.take_turn().await.unwrap();
        assert_eq!(probe.runs(), before, "put right, the slot is in the log");
    }
    for jump in [DAY, -DAY, 365 * DAY, -364 * DAY, 30 * DAY, -30 * DAY, HOUR, HOUR, HOUR] {
        place.clock.advance_ms(jump);
        driver.take_turn().await.unwrap();
    }
    let before = probe.runs();
    for _ in 0..5 * 60 {
        place.clock.advance_ms(MINUTE);
        driver.take_turn().await.unwrap();
    }
    assert_eq!(probe.runs(), before + 5, "then it is hourly again");
    assert_once(&running).await;
    assert_eq!(runs(&running, None).await.len() as u64, probe.runs(), "each run is an event");
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_hour_that_is_shown_twice_or_never_has_its_run_once() {
    for (begins, expected) in [
        ("2026-03-28T12:00:00Z", ["2026-03-29T01:00Z", "2026-03-30T00:30Z"]),
        ("2026-10-24T12:00:00Z", ["2026-10-25T00:30Z", "2026-10-26T01:30Z"]),
    ] {
        let place = Place::new();
        place.clock.set(begins.parse().unwrap());
        let running = start(&place).await;
        let probe = Probe::new(1_000_000);
        let driver = driver(&running, &probe, ("30 2 * * *", "Europe/Berlin"), Arc::new(HoldsLock));
        for _ in 0..40 * 12 {
            place.clock.advance_ms(5 * MINUTE);
            driver.take_turn().await.unwrap();
        }
        assert_eq!(slots(&running, "probe").await, expected);
        running.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_cut_off_by_a_stop_goes_on_after_it_and_is_recorded_once() {
    let place = Place::new();
    let running = start(&place).await;
    let probe = Probe::new(1);
    let before = hourly(&running, &probe);
    place.clock.advance_ms(HOUR);
    let turn = tokio::spawn({
        let driver = Arc::clone(&before);
        async move { driver.take_turn().await }
    });
    // The first batch is through, the second under way when the service stops.
    probe.begun.acquire_many(2).await.unwrap().forget();
    running.app().call_off();
    probe.gate.add_permits(1);
    turn.await.unwrap().unwrap();
    assert_eq!(runs(&running, None).await, [], "what was given up is no run");
    assert!(before.run_by_hand("probe").await.is_err(), "and none begins any more");
    running.stop().await.unwrap();

    place.clock.advance_ms(5 * MINUTE);
    let running = start(&place).await;
    probe.gate.add_permits(1_000);
    let after = hourly(&running, &probe);
    for _ in 0..3 {
        after.take_turn().await.unwrap();
    }
    let runs = runs(&running, None).await;
    let [run] = &runs[..] else { panic!("{runs:#?}") };
    assert_eq!((run.ran.outcome, probe.runs()), (Some(JobOutcome::Ok), 2));
    assert_eq!(run.ran.counts[0].count, 1, "only what was left");
    assert_eq!(slots(&running, "probe").await, ["2026-03-01T09:00Z"]);
    running.stop().await.unwrap();
}

/// Killed while it ran: nothing says that it was begun.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_was_killed_is_run_again() {
    let place = Place::new();
    let running = start(&place).await;
    let killed = Probe::new(1);
    place.clock.advance_ms(HOUR);
    let driver = hourly(&running, &killed);
    let turn = tokio::spawn(async move { driver.take_turn().await });
    killed.begun.acquire_many(2).await.unwrap().forget();
    turn.abort();
    assert!(turn.await.unwrap_err().is_cancelled());
    // The job's own task ends too, and nobody is there any more to record it.
    killed.gate.add_permits(1_000);
    running.stop().await.unwrap();

    let running = start(&place).await;
    let again = Probe::new(1_000);
    hourly(&running, &again).take_turn().await.unwrap();
    let runs = runs(&running, None).await;
    assert_eq!((runs.len(), runs[0].ran.outcome, again.runs()), (1, Some(JobOutcome::Ok), 1));
    running.stop().await.unwrap();
}

/// Leads while it is told to.
struct Told(AtomicBool);

#[async_trait]
impl Leader for Told {
    async fn leads(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_who_is_replaced_half_way_gives_up_and_the_slot_is_run_by_the_other() {
    let place = Place::new();
    let running = start(&place).await;
    let (first, second) = (Probe::new(1), Probe::new(1_000));
    let leads = Arc::new(Told(AtomicBool::new(true)));
    let mine = driver(&running, &first, first.default_timing(), Arc::clone(&leads) as Arc<dyn Leader>);
    place.clock.advance_ms(HOUR);
    let turn = tokio::spawn({
        let driver = Arc::clone(&mine);
        async move { driver.take_turn().await }
    });
    first.begun.acquire_many(2).await.unwrap().forget();
    leads.0.store(false, Ordering::SeqCst);
    let other = hourly(&running, &second);
    other.take_turn().await.unwrap();
    first.gate.add_permits(1_000);
    turn.await.unwrap().unwrap();
    assert_eq!((slots(&running, "probe").await.len(), first.runs(), second.runs()), (1, 1, 1));
    leads.0.store(true, Ordering::SeqCst);
    mine.take_turn().await.unwrap();
    assert_eq!(first.runs(), 1, "who leads again sees that the slot is over");

    // Two who both believe that they lead, and both finish: the log takes one.
    let (third, fourth) = (Probe::new(0), Probe::new(1_000));
    place.clock.advance_ms(HOUR);
    let slow = hourly(&running, &third);
    let turn = tokio::spawn(async move { slow.take_turn().await });
    third.begun.acquire().await.unwrap().forget();
    hourly(&running, &fourth).take_turn().await.unwrap();
    place.clock.advance_ms(1);
    third.gate.add_permits(1_000);
    turn.await.unwrap().unwrap();
    assert_eq!((third.runs(), fourth.runs(), slots(&running, "probe").await.len()), (1, 1, 2));
    assert_once(&running).await;
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_fails_is_an_event_and_an_alarm_until_one_succeeds() {
    let place = Place::new();
    let mut running = start(&place).await;
    let probe = Probe::new(1_000);
    probe.fails.store(true, Ordering::SeqCst);
    place.clock.advance_ms(HOUR);
    let turned = hourly(&running, &probe);
    turned.take_turn().await.unwrap();
    turned.take_turn().await.unwrap();
    assert_eq!(probe.runs(), 1, "its slot is over");
    for restarted in [false, true] {
        if restarted {
            running.stop().await.unwrap();
            running = start(&place).await;
            hourly(&running, &probe).take_turn().await.unwrap();
        }
        let alarms = running.app().status().await.unwrap().alarms;
        let [alarm] = &alarms[..] else { panic!("{alarms:?}") };
        assert!(alarm.code == "job_failed" && alarm.message.contains("probe"), "{alarm:?}");
        assert!(!alarm.message.contains("behind it"), "the cause is for the log only");
    }
    probe.fails.store(false, Ordering::SeqCst);
    let run = hourly(&running, &probe).run_by_hand("probe").await.unwrap();
    assert_eq!(run.ran.outcome, Some(JobOutcome::Ok));
    assert_eq!(running.app().status().await.unwrap().alarms, []);
    let outcomes: Vec<_> = runs(&running, None).await.iter().map(|run| run.ran.outcome.unwrap()).collect();
    assert_eq!(outcomes, [JobOutcome::Failed, JobOutcome::Ok]);
    running.stop().await.unwrap();
}

struct Panics;

#[async_trait]
impl Job for Panics {
    fn name(&self) -> &'static str {
        "probe"
    }

    fn default_timing(&self) -> (&'static str, &'static str) {
        ("0 * * * *", "UTC")
    }

    async fn run(&self, _run: &mut Run) -> Result<Progress, Halt> {
        panic!("meant")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_ends_the_run_and_not_the_driver() {
    let place = Place::new();
    let running = start(&place).await;
    let driver = driver_of(&running, Arc::new(Panics), ("0 * * * *", "UTC"), Arc::new(HoldsLock));
    for hour in 1..3 {
        place.clock.advance_ms(HOUR);
        driver.take_turn().await.unwrap();
        let runs = runs(&running, None).await;
        assert_eq!((runs.len(), runs[hour - 1].ran.outcome), (hour, Some(JobOutcome::Failed)));
    }
    running.stop().await.unwrap();
}

/// Nothing is free until it is told to be.
struct Disk(AtomicU64);

impl Probing for Disk {
    fn room(&self) -> std::io::Result<Room> {
        Ok(Room { free: self.0.load(Ordering::SeqCst), total: 1 << 40 })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_needs_room_waits_at_the_reserve_and_is_caught_up_once() {
    let place = Place::new();
    let disk = Arc::new(Disk(AtomicU64::new(1)));
    let mut config = quiet(&place);
    config.disk.reserve_bytes = 1_000;
    let clock = Arc::new(place.clock.clone());
    let running = Server::start_on(Arc::clone(&disk) as Arc<dyn Probing>, config, clock).await.unwrap();
    let probe = Probe::new(1_000);
    let driver = hourly(&running, &probe);
    running.node.look();
    for _ in 0..3 {
        place.clock.advance_ms(HOUR);
        driver.take_turn().await.unwrap();
    }
    assert_eq!(probe.runs(), 0);
    disk.0.store(1 << 30, Ordering::SeqCst);
    running.node.look();
    driver.take_turn().await.unwrap();
    assert_eq!(slots(&running, "probe").await, ["2026-03-01T11:00Z"]);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_listed_run_by_hand_and_asked_what_they_would_do() {
    let place = Place::new();
    let mut config = place.config();
    config.jobs.each.get_mut("ledger_verify").unwrap().schedule = "off".to_owned();
    let running = Server::start(config, Arc::new(place.clock.clone())).await.unwrap();
    let request = pb::RecordEventRequest { event: Some(place.event(1)) };
    client(&running).await.ingest().record_event(request).await.unwrap();
    running.app().publish().await.unwrap();
    let mut service = client(&running).await.jobs();
    let listed = service.list_jobs(pb::ListJobsRequest {}).await.unwrap().into_inner().jobs;
    assert_eq!(listed.len(), crate::jobs::all().len());
    let named = |name: &str| listed.iter().find(|job| job.name == name).unwrap();
    let told = named("mechanism_watch");
    assert_eq!((told.schedule.as_str(), told.tz.as_str()), ("10 1 * * *", "Asia/Shanghai"));
    let next = crate::cli::record::timestamp("2026-03-01T17:10:00Z".parse().unwrap());
    assert_eq!((told.next_run, &told.last_run), (Some(next), &None));
    let off = named("ledger_verify");
    assert_eq!((off.schedule.as_str(), off.tz.as_str(), off.next_run), ("off", "", None));

    // A dry run records nothing, as of any time.
    let head = running.app().log.head();
    let ask = |name: &str, as_of: Option<&str>| pb::RunJobRequest {
        name: name.to_owned(),
        as_of: as_of.map(|at| crate::cli::record::timestamp(at.parse().unwrap())),
    };
    for job in [
        "vault_mark",
        "vault_scrub",
        "emitter_watch",
        "mechanism_watch",
        "cn_counter",
        "retention_sweep",
        "service_end_sweep",
        "sealed_sweep",
        "evidence_sweep",
        "ack_chaser",
        "review_reminder",
        "ledger_verify",
    ] {
        let dry =
            service.run_job(ask(job, Some("2030-01-01T00:00:00Z"))).await.unwrap().into_inner().run.unwrap();
        assert_eq!((dry.position, dry.outcome, dry.counts.is_empty()), (None, 0, false), "{job}: {dry:?}");
    }
    assert_eq!(running.app().log.head(), head);
    for (request, field) in
        [(ask("sweep", None), "name"), (ask("detector", Some("2030-01-01T00:00:00Z")), "as_of")]
    {
        let refused = service.run_job(request).await.unwrap_err();
        let details = tonic_types::StatusExt::get_error_details(&refused);
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, field);
    }

    let run = service.run_job(ask("ledger_verify", None)).await.unwrap().into_inner().run.unwrap();
    assert_eq!((run.position, run.outcome()), (Some(head), pb::JobOutcome::Ok));
    assert_eq!(run.counts, [pb::Tally { name: "records".to_owned(), count: head }]);
    assert_eq!((run.computed_at, run.scheduled_for), (head, crate::api::terms::time(place.clock.now())));
    let listed = service.list_jobs(pb::ListJobsRequest {}).await.unwrap().into_inner().jobs;
    assert_eq!(listed.iter().find(|job| job.name == "ledger_verify").unwrap().last_run, Some(run));

    for _ in 0..4 {
        place.clock.advance_ms(MINUTE);
        service.run_job(ask("detector", None)).await.unwrap();
    }
    let at_least = Some(running.app().log.head() - 1);
    let (mut pages, mut page_token) = (Vec::new(), String::new());
    loop {
        let job = "detector".to_owned();
        let request = pb::ListJobRunsRequest { job, page_size: 3, page_token, at_least };
        let page = service.list_job_runs(request).await.unwrap().into_inner();
        pages.push(page.runs.iter().map(|run| run.position.unwrap()).collect::<Vec<_>>());
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
        let other = pb::ListJobRunsRequest { page_token: page_token.clone(), ..Default::default() };
        assert_eq!(service.list_job_runs(other).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    }
    let newest: Vec<u64> = (head + 1..head + 5).rev().collect();
    assert_eq!(pages.concat(), newest, "the newest first, and only of the job");
    assert_eq!(pages[0].len(), 3);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_tree_does_not_say_any_more_fails_the_job() {
    let place = Place::new();
    let running = start(&place).await;
    for n in 0..5 {
        let request = pb::RecordEventRequest { event: Some(place.event(n)) };
        client(&running).await.ingest().record_event(request).await.unwrap();
    }
    running.app().publish().await.unwrap();
    let run = running.jobs().run_by_hand("ledger_verify").await.unwrap();
    assert_eq!(run.ran.outcome, Some(JobOutcome::Ok));
    let tree = place.config().data.directory.join("ledger");
    let damaged = damage_hashes(&tree);
    assert!(damaged, "the hashes lie in {}", tree.display());
    let run = running.jobs().run_by_hand("ledger_verify").await.unwrap();
    assert_eq!(run.ran.outcome, Some(JobOutcome::Failed));
    let alarms = running.app().status().await.unwrap().alarms;
    assert!(alarms.iter().any(|alarm| alarm.code == "job_failed"), "{alarms:?}");
    running.stop().await.unwrap();
}

/// Changes a byte of the stored leaf hashes.
fn damage_hashes(ledger: &std::path::Path) -> bool {
    use std::os::unix::fs::FileExt;
    let file = std::fs::OpenOptions::new().read(true).write(true).open(ledger.join("hashes-0"));
    let Ok(file) = file else { return false };
    let mut byte = [0u8; 1];
    file.read_exact_at(&mut byte, 40).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 40).is_ok()
}
