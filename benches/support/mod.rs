//! What benches of a whole service share: one that runs, made-up events about made-up people, and rows of
//! what was measured.
#![allow(dead_code, reason = "every bench compiles all of this and uses some of it")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use custody::cli::client::{Client, Remote};
use custody::clock::{Clock, SystemClock};
use custody::config::Config;
use custody::pb;
use custody::server::Running;

/// Events of a request.
pub const BATCH: u64 = 100;
pub const EMITTERS: u64 = 4;
/// Where the accounts of all people are.
pub const REALM: &str = "solar";

pub fn number(name: &str, unless: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).map_or(unless, |number| number.parse().expect("a number"))
}

pub fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}

/// A service in a directory of its own, on a machine whose disk may be nearly full.
pub fn config(below: &Path) -> Config {
    let mut config = Config::default();
    config.data.directory = below.join("data");
    config.data.keyring = below.join("keyring");
    config.server.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.server.metrics = None;
    (config.disk.reserve_bytes, config.disk.reserve_percent) = (0, 0);
    config
}

pub async fn clients(running: &Running) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..EMITTERS {
        let remote = Remote::local(format!("http://{}", running.address));
        clients.push(remote.connect().await.unwrap_or_else(|failure| panic!("{}", failure.message)));
    }
    clients
}

pub fn account(person: u64) -> String {
    format!("user-{person}")
}

/// Something was collected about one person.
pub fn event(person: u64) -> pb::Event {
    let identifier = pb::Identifier {
        kind: pb::IdentifierKind::Account as i32,
        realm: REALM.to_owned(),
        value: account(person),
    };
    pb::Event {
        event_id: uuid::Uuid::now_v7().to_string(),
        controller: "kstar".to_owned(),
        emitter: "app".to_owned(),
        occurred_at: Some(custody::cli::record::timestamp(SystemClock.now())),
        people: vec![pb::Person { role: pb::Role::DataSubject as i32, identifiers: vec![identifier] }],
        body: Some(pb::event::Body::DataCollected(pb::DataCollected {
            cats: vec!["pd:Picture".to_owned()],
            ..Default::default()
        })),
        ..Default::default()
    }
}

/// One event in a hundred is about somebody new.
pub fn newcomers(n: u64) -> u64 {
    n / 100
}

/// Records so many events from several connections at once; `whom` says whom the n-th is about.
pub async fn ingest(
    clients: &[Client],
    from: u64,
    count: u64,
    whom: impl Fn(u64) -> u64 + Copy + Send + 'static,
) -> Duration {
    record(clients, from, count, move |n| event(whom(n))).await
}

/// The same of other events; `made` makes the n-th.
pub async fn record(
    clients: &[Client],
    from: u64,
    count: u64,
    made: impl Fn(u64) -> pb::Event + Copy + Send + 'static,
) -> Duration {
    let started = Instant::now();
    let share = count / EMITTERS;
    let emitters: Vec<_> = (0..EMITTERS)
        .map(|emitter| {
            let client = clients[emitter as usize].clone();
            tokio::spawn(async move {
                let first = from + emitter * share;
                for batch in (first..first + share).step_by(BATCH as usize) {
                    let events = (batch..batch + BATCH).map(made).collect();
                    let request = pb::BatchRecordEventsRequest { events };
                    client.ingest().batch_record_events(request).await.expect("recorded");
                }
            })
        })
        .collect();
    for emitter in emitters {
        emitter.await.expect("an emitter");
    }
    started.elapsed()
}

pub fn row(what: &str, took: Duration, bytes: u64) {
    println!("{what:<40} {:8.3} s {:8.0} MB/s", took.as_secs_f64(), bytes as f64 / took.as_secs_f64() / 1e6);
}

pub fn rate(what: &str, took: Duration, count: u64, of: &str) {
    println!("{what:<40} {:8.3} s {:8.1} {of}/s", took.as_secs_f64(), count as f64 / took.as_secs_f64());
}

pub fn size(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries
        .map(|path| if path.is_dir() { size(&path) } else { path.metadata().map_or(0, |file| file.len()) })
        .sum()
}
