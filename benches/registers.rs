//! Registers among many events: what the register of transfers, the records of processing, the SDK register and the
//! list of findings cost with ten thousand recipients and mechanisms, and how fast it is decided for everybody how long data
//! may be kept.
//!
//! `cargo bench --bench registers` takes a million events; `-- --events 10000000` says otherwise, and so do
//! `--recipients` (10,000) and `--people` (100,000). One in five events is a transfer, one in five a share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::custody::domain::event::catalogue::*;
use ::custody::domain::event::*;
use ::custody::domain::retention::State;
use ::custody::domain::time::{LocalDate, Timestamp};
use ::custody::log::NewRecord;
use ::custody::views::findings::DETECTOR;
use ::custody::views::retention::Sweep;
use ::custody::views::ropa::Moment;
use ::custody::views::stretch::Scope;
use ::custody::views::testing::*;
use ::custody::views::{Options, Views};

/// The allocator of the server: most of what the views do is make and drop small things.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Clone, Copy)]
struct Size {
    events: u64,
    recipients: u64,
    people: u64,
}

fn number(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
    arguments.next().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// One recipient in two is in the United States, where a mechanism is needed; of their mechanisms every tenth has
/// lapsed.
fn registered(n: u64, size: Size) -> Vec<Body> {
    let name = id(&format!("recipient-{n}"));
    let country = Some(if n.is_multiple_of(2) { "US" } else { "CN" }.parse().expect("a country"));
    let recipient = RecipientRegistered {
        recipient_id: Some(name.clone()),
        legal_name: format!("Recipient {n}").parse().ok(),
        role: Some(RecipientRole::Processor),
        country,
        contract_kind: Some(ContractKind::Gdpr28),
        cats: List::new(vec![id("pd:EmailAddress")]).unwrap_or_default(),
        purposes: List::new(vec![id("support")]).unwrap_or_default(),
        ..RecipientRegistered::default()
    };
    let last = LocalDate { date: "2026-01-02".parse().expect("a date"), tz: chrono_tz::UTC };
    let mechanism = TransferMechanismRegistered {
        mechanism_id: Some(id(&format!("scc-{n}"))),
        regime: Some(TransferRegime::Eu),
        kind: Some(id("A46-2-c")),
        module: Some(2),
        exporter: Some(id("kstar")),
        importer: Some(name),
        importer_country: country,
        signed_at: Some(day(-10)),
        expires_at: (n % 10 == 9).then_some(last),
        ..TransferMechanismRegistered::default()
    };
    let activity = (n < size.recipients / 20).then(|| {
        Body::ActivityRegistered(Box::new(ActivityRegistered {
            activity: Some(id(&format!("activity-{n}"))),
            service: Some(id("solar")),
            purposes: List::new(vec![PurposeBasis { id: id("support"), basis: LegalBasis::Contract }])
                .unwrap_or_default(),
            cats: List::new(vec![id("pd:EmailAddress")]).unwrap_or_default(),
            effective_at: Some(day(-10)),
            ..ActivityRegistered::default()
        }))
    });
    let registers = [
        Body::RecipientRegistered(Box::new(recipient)),
        Body::TransferMechanismRegistered(Box::new(mechanism)),
    ];
    registers.into_iter().chain(activity).collect()
}

/// A rule for what is collected, a cap and a floor.
fn rules() -> Vec<Body> {
    let matches =
        RuleMatch { purposes: List::new(vec![id("support")]).unwrap_or_default(), ..RuleMatch::default() };
    let rule = |name: &str, kind, matches, days| RetentionRule {
        id: id(name),
        kind,
        matches,
        anchor: Anchor::Collected,
        causes: List::default(),
        period: Period { count: days, unit: PeriodUnit::Days },
        year_end: false,
        tz: chrono_tz::Asia::Shanghai,
        on_expiry: None,
        law_of: None,
        legal: None,
        from: None,
        to: None,
        replaces: None,
    };
    let rules = [
        rule("keep.support", RuleKind::Keep, Some(matches), 730),
        rule("cap.all", RuleKind::Cap, None, 1_000),
        rule("floor.all", RuleKind::Floor, None, 180),
    ];
    let publish = |rule| RetentionRulePublished { rule: Some(rule), ..RetentionRulePublished::default() };
    rules.into_iter().map(|rule| Body::RetentionRulePublished(Box::new(publish(rule)))).collect()
}

fn event(n: u64, first: u64, size: Size) -> Made {
    let draw = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let recipient = Some(id(&format!("recipient-{}", draw % size.recipients)));
    let body = match n % 5 {
        0 => Body::DataTransferred(Box::new(DataTransferred {
            recipient_id: recipient,
            from_country: "DE".parse().ok(),
            to_country: if (draw % size.recipients).is_multiple_of(2) { "US" } else { "CN" }.parse().ok(),
            cats: List::new(vec![id("pd:EmailAddress")]).unwrap_or_default(),
            purpose: Some(id("support")),
            ..DataTransferred::default()
        })),
        1 => Body::DataShared(Box::new(DataShared {
            recipient_id: recipient,
            cats: List::new(vec![id("pd:EmailAddress")]).unwrap_or_default(),
            purpose: Some(id("support")),
            ..DataShared::default()
        })),
        _ => collected(&["pd:EmailAddress"], &["support"], None),
    };
    let at = day(0).plus_ms((n * 200) as i64);
    let mut made = made(first + n, at, body, vec![subject((draw % size.people) as u32)]);
    made.event.envelope.activity = Some(id(&format!("activity-{}", draw % (size.recipients / 20).max(1))));
    made
}

/// How long something takes, and what came of it.
fn timed<T>(what: &str, act: impl Fn() -> T, count: impl Fn(&T) -> usize) -> f64 {
    let begun = Instant::now();
    let first = act();
    let took = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let again = act();
    let again_took = begun.elapsed().as_secs_f64();
    println!("{what}: {} entries, {took:.3} s, again {again_took:.3} s", count(&first));
    drop(again);
    took
}

fn fill(log: &Arc<MemoryLog>, size: Size) -> u64 {
    let mut first = 0;
    for body in (0..size.recipients).flat_map(|n| registered(n, size)).chain(rules()) {
        log.push(&sealed(&made(first, day(-9), body, Vec::new())));
        first += 1;
    }
    let threads = 2;
    for from in (0..size.events).step_by(1 << 20) {
        let to = (from + (1 << 20)).min(size.events);
        let share = (to - from).div_ceil(threads);
        let made: Vec<Vec<NewRecord>> = std::thread::scope(|scope| {
            let part = |t: u64| (from + t * share)..(from + (t + 1) * share).min(to);
            let made = |range: std::ops::Range<u64>| range.map(|n| sealed(&event(n, first, size))).collect();
            let parts: Vec<_> = (0..threads).map(|t| scope.spawn(move || made(part(t)))).collect();
            parts.into_iter().map(|part| part.join().unwrap_or_default()).collect()
        });
        made.into_iter().flatten().for_each(|record| {
            log.push(&record);
        });
    }
    first + size.events
}

fn main() {
    let size = Size {
        events: number("--events", 1_000_000),
        recipients: number("--recipients", 10_000).max(20),
        people: number("--people", 100_000),
    };
    let log = MemoryLog::new();
    let recorded = fill(&log, size);
    let end = day(0).plus_ms((size.events * 200) as i64);
    let tick = JobRan {
        job: Some(id(DETECTOR)),
        scheduled_for: Some(end.plus_ms(86_400_000)),
        outcome: Some(JobOutcome::Ok),
        ..JobRan::default()
    };
    log.push(&sealed(&made(recorded, end.plus_ms(86_400_000), Body::JobRan(Box::new(tick)), Vec::new())));
    let dir = tempfile::tempdir().expect("a directory");
    let begun = Instant::now();
    let views =
        Views::open(Options::new(dir.path().join("views")), log.clone(), Arc::new(OneKey)).expect("views");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let waited =
        runtime.map(|runtime| runtime.block_on(views.wait_for(recorded + 1, Duration::from_secs(3_600))));
    assert!(matches!(waited, Ok(Ok(()))), "the views did not catch up");
    let built = begun.elapsed().as_secs_f64();
    println!(
        "{} events, {} recipients and mechanisms, {} people: views built in {built:.1} s, {:.0} events/s",
        size.events,
        size.recipients,
        size.people,
        recorded as f64 / built
    );
    questions(&views, end.plus_ms(1), recorded, size);
}

fn questions(views: &Views, as_of: Timestamp, recorded: u64, size: Size) {
    let registers = views.registers(Clone::clone);
    let ask = views.ask().expect("a snapshot");
    let scope = Scope::all(recorded);
    let moment = Moment { as_of, known_at: recorded };
    timed("transfer register", || ask.transfers(&registers, scope, as_of).expect("lines"), Vec::len);
    timed(
        "records of processing",
        || ask.processing_records(&registers, moment, false).expect("records"),
        Vec::len,
    );
    timed(
        "records of processing with people",
        || ask.processing_records(&registers, moment, true).expect("records"),
        Vec::len,
    );
    timed("SDK register", || ask.sdks(&registers, moment).expect("SDKs"), Vec::len);
    let took = timed("findings", || ask.findings(None).expect("findings"), |found| found.findings.len());
    println!("all detectors: {:.2} us per event", took * 1e6 / size.events as f64);
    for (what, at) in [("now", as_of), ("in three years", as_of.plus_ms(3 * 365 * 86_400_000))] {
        let begun = Instant::now();
        let (mut decided, mut due) = (0u64, 0u64);
        let sweep = Sweep { as_of: at, known_at: None };
        ask.sweep(&sweep, None, &mut |held| {
            decided += 1;
            due += u64::from(held.decision.state == State::Due);
            Ok(())
        })
        .expect("a sweep");
        let took = begun.elapsed().as_secs_f64();
        println!("retention {what}: {decided} data, {due} due, {took:.2} s, {:.0}/s", decided as f64 / took);
    }
}
