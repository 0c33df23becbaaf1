//! What is due, among many events: everybody decided for the first time, a sweep that finds nothing, a forecast, what
//! falls due found and planned, and its instructions, each a durable event: alone, and while events are recorded.
//!
//! `cargo bench --bench sweep` takes a million events that stay and a hundred thousand data that are due, each of
//! somebody else; `-- --events 10000000 --due 1000000` says otherwise.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use custody::app::Caller;
use custody::app::questions::When;
use custody::app::sweep::{Swept, Which};
use custody::clock::SystemClock;
use custody::pb;
use custody::pb::event::Body;
use custody::server::{Running, Server};
use support::{BATCH, EMITTERS, clients, load, number, rate, record};
use tokio::runtime::Runtime;

/// The allocator of the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Events of a person whose data stay.
const EACH: u64 = 10;

fn about(person: u64, purpose: &str) -> pb::Event {
    let purposes = vec![pb::PurposeBasis { id: purpose.to_owned(), basis: pb::LegalBasis::Contract.into() }];
    let body = pb::DataCollected {
        cats: vec!["pd:Picture".to_owned()],
        record_kind: "photo".to_owned(),
        purposes,
        ..Default::default()
    };
    pb::Event { service: "solar".to_owned(), body: Some(Body::DataCollected(body)), ..support::event(person) }
}

fn of_nobody(body: Body) -> pb::Event {
    pb::Event { people: Vec::new(), body: Some(body), ..support::event(0) }
}

fn rule(purpose: &str, period: &str) -> Body {
    let matches = pb::RuleMatch { purposes: vec![purpose.to_owned()], ..Default::default() };
    let rule = pb::RetentionRule {
        id: format!("keep.{purpose}"),
        kind: pb::RuleKind::Keep as i32,
        matches: Some(matches),
        anchor: pb::Anchor::Collected as i32,
        period: period.to_owned(),
        tz: "Asia/Shanghai".to_owned(),
        ..Default::default()
    };
    Body::RetentionRulePublished(Box::new(pb::RetentionRulePublished {
        rule: Some(rule),
        ..Default::default()
    }))
}

async fn say(running: &Running, event: pb::Event) {
    let client = clients(running).await.remove(0);
    let request = pb::RecordEventRequest { event: Some(event) };
    client.ingest().record_event(request).await.expect("recorded");
}

async fn house(running: &Running) {
    let kstar = pb::ControllerRegistered {
        controller: "kstar".to_owned(),
        legal_name: "KSTAR".to_owned(),
        country: "CN".to_owned(),
        ..Default::default()
    };
    let solar = pb::ServiceRegistered {
        service: "solar".to_owned(),
        owner: "kstar".to_owned(),
        ..Default::default()
    };
    say(running, of_nobody(Body::ControllerRegistered(Box::new(kstar)))).await;
    say(running, of_nobody(Body::ServiceRegistered(solar))).await;
    say(running, of_nobody(rule("support", "P10Y"))).await;
    say(running, of_nobody(rule("analytics", "P0D"))).await;
}

async fn sweep(running: &Running, what: &str, of: &str, count: impl Fn(&Swept) -> u64) -> Swept {
    let started = Instant::now();
    let swept = running.app().sweep_all(Which::All, None).await.expect("a sweep");
    rate(what, started.elapsed(), count(&swept), of);
    swept
}

async fn measure(running: &Running, events: u64, due: u64) {
    let clients = clients(running).await;
    let people = (events / EACH).max(1);
    rate(
        "ingestion before",
        record(&clients, 0, events, move |n| about(n % people, "support")).await,
        events,
        "events",
    );
    sweep(running, "everybody decided for the first time", "people", |swept| swept.refreshed).await;
    for _ in 0..3 {
        let started = Instant::now();
        running.app().sweep_all(Which::All, None).await.expect("a sweep");
        println!("nothing due, nothing new: {:.2} ms", started.elapsed().as_secs_f64() * 1e3);
    }
    let started = Instant::now();
    let when = When { as_of: None, known_at: None, at_least: None };
    let forecast = running.app().forecast_retention(when, None).await.expect("a forecast");
    rate("a forecast", started.elapsed(), forecast.data, "data");
    record(&clients, 0, due, move |n| about(people + n, "analytics")).await;
    sweep(running, "what became due is found and planned", "items", |swept| swept.due).await;
    let (took, told) = approve(running).await;
    rate("told", took, told, "instructions");
    sweep(running, "the index knows what was told", "people", |swept| swept.refreshed).await;
    sweep(running, "a sweep with all of it in hand", "items", |_| due).await;

    record(&clients, 0, due, move |n| about(people + due + n, "analytics")).await;
    sweep(running, "as much again is found and planned", "items", |swept| swept.due).await;
    let more = (events / 10).next_multiple_of(EMITTERS * BATCH);
    let recording = record(&clients, 0, more, move |n| about(n % people, "support"));
    let (meanwhile, (took, told)) = tokio::join!(recording, approve(running));
    rate("told, while events are recorded", took, told, "instructions");
    rate("  recorded meanwhile", meanwhile, more, "events");
}

/// Approves the plan that waits; how long it took to tell how many.
async fn approve(running: &Running) -> (Duration, u64) {
    let plans = running.app().erasure_plans(None).await.expect("plans");
    let plan = plans.first().expect("a plan");
    let (started, officer) = (Instant::now(), Caller::local());
    let approved = running.app().approve_plan(&officer, &plan.id, plan.sha256, None).await;
    (started.elapsed(), approved.expect("approved").1.instructed)
}

fn main() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let config = support::config(place.path());
    let events = number("--events", 1_000_000).next_multiple_of(EMITTERS * BATCH);
    let due = number("--due", 100_000).next_multiple_of(EMITTERS * BATCH);
    println!("{events} events that stay, {due} data that are due; load {}", load());
    Runtime::new().expect("a runtime").block_on(async {
        let running = Server::start(config, Arc::new(SystemClock)).await.expect("a service");
        house(&running).await;
        measure(&running, events, due).await;
        running.stop().await.expect("stopped");
    });
    println!("load {}", load());
}
