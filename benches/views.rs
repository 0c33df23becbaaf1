//! How fast the views apply records, and how fast they answer.
//!
//! `cargo bench --bench views` runs Criterion; `VIEWS_RECORDS=2000000 cargo bench --bench views -- --test`
//! also times one rebuild of that many records and says how the time was spent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use custody::domain::event::*;
use custody::log::{Log, NewRecord};
use custody::views::apply::{Applier, Shared};
use custody::views::decode::Decoder;
use custody::views::population::Selector;
use custody::views::reach::Reach;
use custody::views::store::Store;
use custody::views::testing::*;
use custody::views::use_check::UseQuestion;
use custody::views::{Options, ReportOptions, Views};

/// The allocator of the server: most of what the views do is make and drop small things.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The n-th event of a solar app with this many people: mostly uses and collections.
fn event(n: u64, people: u32) -> Made {
    let who = (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as u32 % people;
    let at = day(0).plus_ms((n * 1_000) as i64);
    let body = match n % 10 {
        0..=3 => collected(&["email", "name"], &["contract"], None),
        4..=6 => Body::DataUsed(Box::new(catalogue::DataUsed {
            purpose: Some(id("contract")),
            operation: Some(id("analyse")),
            ..catalogue::DataUsed::default()
        })),
        7 | 8 => collected(&["location"], &["monitoring"], Some("2026-01-05")),
        _ => Body::DataShared(Box::new(catalogue::DataShared {
            recipient_id: Some(id("wechat-pay")),
            cats: List::new(vec![id("payment")]).unwrap_or_default(),
            ..catalogue::DataShared::default()
        })),
    };
    let mut made = made(n, at, body, vec![subject(who)]);
    made.event.envelope.activity = Some(id("operate"));
    made.event.envelope.emitter_seq = Some(n + 1);
    made
}

fn log_of(records: u64, people: u32) -> Arc<MemoryLog> {
    let log = MemoryLog::new();
    let threads = 2;
    let made: Vec<Vec<NewRecord>> = std::thread::scope(|scope| {
        let share = records.div_ceil(threads);
        let parts: Vec<_> = (0..threads)
            .map(|t| {
                let range = t * share..((t + 1) * share).min(records);
                scope.spawn(move || range.map(|n| sealed(&event(n, people))).collect())
            })
            .collect();
        parts.into_iter().map(|part| part.join().unwrap_or_default()).collect()
    });
    for record in made.into_iter().flatten() {
        log.push(&record);
    }
    log
}

fn wait(views: &Views, head: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let waited = runtime.map(|runtime| runtime.block_on(views.wait_for(head, Duration::from_secs(600))));
    assert!(matches!(waited, Ok(Ok(()))), "the views did not catch up");
}

fn apply_and_report(c: &mut Criterion) {
    const PEOPLE: u32 = 100_000;
    let log = log_of(131_072, PEOPLE);
    let reach = Reach::new(log.clone(), Arc::new(OneKey)).expect("a runtime");
    let stored = reach.wait(log.read(0, 131_072, usize::MAX)).expect("records");
    let mut group = c.benchmark_group("views");
    group.sample_size(10).throughput(Throughput::Elements(65_536));
    group.bench_function("decode", |b| {
        b.iter(|| {
            let mut decoder = Decoder::new(&OneKey);
            stored[..65_536].iter().filter(|record| decoder.decode(record).is_ok()).count()
        });
    });
    let mut decoder = Decoder::new(&OneKey);
    let decoded: Vec<_> = stored.iter().filter_map(|record| decoder.decode(record).ok()).collect();
    group.bench_function("apply", |b| {
        b.iter_with_setup(
            || {
                let dir = tempfile::tempdir().expect("a directory");
                let store = Store::open(dir.path(), 16 << 20).expect("a store");
                let shared = Arc::new(Shared::default());
                let mut applier = Applier::open(store, shared, reach.clone(), 64 << 20).expect("an applier");
                for event in &decoded[..65_536] {
                    applier.apply(event).expect("applied");
                }
                applier.commit().expect("committed");
                (dir, applier)
            },
            |(dir, mut applier)| {
                for event in &decoded[65_536..] {
                    applier.apply(event).expect("applied");
                }
                applier.commit().expect("committed");
                (dir, applier)
            },
        );
    });
    group.finish();

    let dir = tempfile::tempdir().expect("a directory");
    let views =
        Views::open(Options::new(dir.path().join("views")), log.clone(), Arc::new(OneKey)).expect("views");
    wait(&views, log.head());
    let mut n = 0;
    c.bench_function("report", |b| {
        b.iter(|| {
            n = (n + 7_919) % PEOPLE;
            views.report(person(n), ReportOptions::default()).expect("a report")
        });
    });
    let with_evidence = ReportOptions { evidence: 20, ..ReportOptions::default() };
    // What a service asks before each use: an activity with two purposes and three categories.
    let at = day(400);
    let operate = catalogue::ActivityRegistered {
        activity: Some(id("operate")),
        service: Some(id("solar")),
        purposes: List::new(vec![
            PurposeBasis { id: id("contract"), basis: LegalBasis::Contract },
            PurposeBasis { id: id("monitoring"), basis: LegalBasis::Contract },
        ])
        .unwrap_or_default(),
        cats: List::new(vec![id("email"), id("name"), id("location")]).unwrap_or_default(),
        effective_at: Some(day(0)),
        ..catalogue::ActivityRegistered::default()
    };
    log.push(&sealed(&made(1 << 20, at, Body::ActivityRegistered(Box::new(operate)), Vec::new())));
    wait(&views, log.head());
    c.bench_function("check use", |b| {
        b.iter(|| {
            n = (n + 7_919) % PEOPLE;
            let question = UseQuestion {
                subject: Some(person(n)),
                activity: id("operate"),
                at,
                as_of: None,
                known_at: None,
            };
            views.ask().and_then(|ask| ask.check_use(&question)).expect("an answer")
        });
    });
    let selector = Selector { recipient: Some(id("wechat-pay")), ..Selector::default() };
    let mut slow = c.benchmark_group("population");
    slow.sample_size(10);
    slow.bench_function("of a recipient among 100,000 people", |b| {
        b.iter(|| views.ask().and_then(|ask| ask.population(&selector, None, None, at)).expect("an answer"));
    });
    slow.finish();
    c.bench_function("report with evidence", |b| {
        b.iter(|| {
            n = (n + 7_919) % PEOPLE;
            views.report(person(n), with_evidence).expect("a report")
        });
    });
}

/// One large build, timed once: too long to be repeated.
fn build_once(_: &mut Criterion) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let Some(records) = number("VIEWS_RECORDS") else { return };
    let people = number("VIEWS_PEOPLE").unwrap_or(200_000) as u32;
    let log = log_of(records, people);
    for decoders in [1, 2] {
        let dir = tempfile::tempdir().expect("a directory");
        let options = Options { decoders, ..Options::new(dir.path().join("views")) };
        let start = Instant::now();
        let views = Views::open(options, log.clone(), Arc::new(OneKey)).expect("views");
        wait(&views, log.head());
        let took = start.elapsed();
        let status = views.status().expect("a status");
        println!(
            "{records} records, {people} people, {decoders} decoders: {took:.2?}, {:.0} records/s, {:.1} bytes/record on disk",
            records as f64 / took.as_secs_f64(),
            status.bytes_on_disk as f64 / records as f64,
        );
        for thread in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
            let name = std::fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
            if name.starts_with("views") || name.starts_with("fjall") {
                println!(
                    "  {:<16} {} ms user, {} ms system",
                    name.trim(),
                    tens(&fields, 11),
                    tens(&fields, 12)
                );
            }
        }
        views.close();
    }
}

/// Clock ticks of 10 ms, as milliseconds.
fn tens(fields: &[&str], at: usize) -> u64 {
    fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) * 10
}

criterion_group!(benches, build_once, apply_and_report);
criterion_main!(benches);
