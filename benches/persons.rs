//! Findings about people: how many people a second are judged, by their rows and by their records, and what a list
//! of findings costs among them, the first time and when it is asked for again.
//!
//! `cargo bench --bench persons` takes a hundred thousand people with ten events each; `-- --people 1000000` says
//! otherwise. One in `--wrong` of them (100) lacks a consent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::custody::domain::event::catalogue::*;
use ::custody::domain::event::*;
use ::custody::domain::time::Timestamp;
use ::custody::views::findings::DETECTOR;
use ::custody::views::testing::*;
use ::custody::views::{Options, Views};

/// The allocator of the server: most of what the views do is make and drop small things.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Events of a person.
const EACH: u64 = 10;

/// Everybody registers, is told and asked, and then has data collected and used on consent.
fn event(n: u64, people: u64, wrong: u64) -> Made {
    let (step, who) = (n / people, n % people);
    let at = day(0).plus_ms(n as i64);
    let consents = !who.is_multiple_of(wrong);
    let body = match step {
        0 => Body::AccountRegistered(Box::default()),
        1 => Body::NoticeShown(Box::new(NoticeShown {
            layer: Some(NoticeLayer::Full),
            ..NoticeShown::default()
        })),
        2 if consents => Body::ConsentGiven(Box::new(ConsentGiven {
            purpose: Some(id("analytics")),
            kind: Some(ConsentKind::Expressed),
            ..ConsentGiven::default()
        })),
        3 | 4 => Body::DataCollected(Box::new(DataCollected {
            cats: List::new(vec![id("pd:Name")]).unwrap_or_default(),
            purposes: List::new(vec![PurposeBasis { id: id("analytics"), basis: LegalBasis::Consent }])
                .unwrap_or_default(),
            ..DataCollected::default()
        })),
        _ => Body::DataUsed(Box::new(DataUsed { purpose: Some(id("analytics")), ..DataUsed::default() })),
    };
    made(n, at, body, vec![subject(who as u32)])
}

fn number(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
    arguments.next().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// How long something takes, and what came of it.
fn timed<T>(act: impl FnOnce() -> T) -> (f64, T) {
    let begun = Instant::now();
    let done = act();
    (begun.elapsed().as_secs_f64(), done)
}

fn wait(views: &Views, head: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let waited = runtime.map(|runtime| runtime.block_on(views.wait_for(head, Duration::from_secs(3_600))));
    assert!(matches!(waited, Ok(Ok(()))), "the views did not catch up");
}

fn main() {
    let (people, wrong) = (number("--people", 100_000), number("--wrong", 100).max(1));
    let log = MemoryLog::new();
    for n in 0..people * EACH {
        log.push(&sealed(&event(n, people, wrong)));
    }
    let tick = |at: Timestamp, n: u64| {
        let job = JobRan {
            job: Some(id(DETECTOR)),
            scheduled_for: Some(at),
            outcome: Some(JobOutcome::Ok),
            ..JobRan::default()
        };
        log.push(&sealed(&made(n, at, Body::JobRan(Box::new(job)), Vec::new())));
    };
    let dir = tempfile::tempdir().expect("a directory");
    let views =
        Views::open(Options::new(dir.path().join("views")), log.clone(), Arc::new(OneKey)).expect("views");
    let end = day(0).plus_ms((people * EACH) as i64);
    println!("{people} people, {} events, one in {wrong} lacks a consent", people * EACH);
    for (n, what, at) in [
        (0, "everything ripe", end.plus_ms(3_600_000)),
        (1, "only part of it ripe", end.plus_ms(600_000 - people as i64)),
    ] {
        tick(at, people * EACH + n);
        wait(&views, people * EACH + n + 1);
        let ask = views.ask().expect("a snapshot");
        let (first, found) = timed(|| ask.findings(None).expect("findings"));
        let (again, _) = timed(|| ask.findings(None).expect("findings"));
        let counted: u64 = found.findings.iter().filter_map(|finding| finding.people).sum();
        println!(
            "{what}: {:.0} people/s; the list {first:.2} s, again {:.3} ms; {} findings about {counted} people",
            people as f64 / first,
            again * 1_000.0,
            found.findings.len(),
        );
    }
}
