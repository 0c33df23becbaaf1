//! `custody bench ingest`: offers events to a service as fast as it takes them and says what came
//! of it: throughput, latencies, and how long the views took to catch up.
//!
//! Deterministic by seed, except for event ids, so that a run can be repeated on the same data.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use hdrhistogram::Histogram;
use tokio::sync::{Mutex, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use super::{identifier, latencies, micros, mixed, percentiles};
use crate::cli::client::{Client, Remote};
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::Output;
use crate::cli::record::timestamp;
use crate::clock::{Clock, Stopwatch, SystemClock};
use crate::limits;
use crate::pb;

#[derive(Debug, Clone, Args)]
pub struct Ingest {
    /// Events to record
    #[arg(long, default_value_t = 100_000)]
    events: u64,
    /// Events per message; 1 sends each in a call of its own
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=limits::BATCH_EVENTS as i64))]
    batch: u16,
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    connections: u16,
    /// Messages on their way at once, over all connections
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    in_flight: u16,
    /// People known before the run, by the numbers of their accounts
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    subjects: u64,
    /// Share of events about somebody new
    #[arg(long, default_value_t = 0.01)]
    new_share: f64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Controller, emitter and service of the events
    #[arg(long, default_value = "bench")]
    name: String,
    #[command(flatten)]
    remote: Remote,
}

pub async fn run(command: Ingest, output: Output) -> Outcome {
    if !(0.0..=1.0).contains(&command.new_share) {
        return Err(Failure::usage("--new-share lies between 0 and 1"));
    }
    let mut clients = Vec::new();
    for _ in 0..command.connections {
        clients.push(command.remote.connect().await?);
    }
    let figures = offer(&command, &clients, output).await?;
    let caught_up = catch_up(&clients[0], figures.last_position).await?;
    figures.print(&command, caught_up, output)
}

/// What all workers share.
struct Run {
    command: Ingest,
    next: AtomicU64,
    newcomers: AtomicU64,
    done: AtomicU64,
    /// Microseconds from sending a message to its answer.
    latency: Mutex<Histogram<u64>>,
    last_position: AtomicU64,
    refused: AtomicU64,
}

struct Figures {
    seconds: f64,
    latency: Histogram<u64>,
    last_position: u64,
    refused: u64,
}

async fn offer(command: &Ingest, clients: &[Client], output: Output) -> Result<Figures, Failure> {
    let run = Arc::new(Run {
        command: command.clone(),
        next: AtomicU64::new(0),
        newcomers: AtomicU64::new(0),
        done: AtomicU64::new(0),
        latency: Mutex::new(latencies()?),
        last_position: AtomicU64::new(0),
        refused: AtomicU64::new(0),
    });
    let watch = Stopwatch::start();
    let mut workers = tokio::task::JoinSet::new();
    let per_connection = (command.in_flight / command.connections).max(1);
    for client in clients {
        if command.batch > 1 {
            workers.spawn(stream(Arc::clone(&run), client.clone(), per_connection));
            continue;
        }
        for _ in 0..per_connection {
            workers.spawn(unary(Arc::clone(&run), client.clone()));
        }
    }
    let shown = Arc::clone(&run);
    let ticker = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        loop {
            tick.tick().await;
            let done = shown.done.load(Ordering::Relaxed);
            let rate = done as f64 / watch.elapsed().as_secs_f64().max(0.001);
            output.progress(&format!("{done} events, {rate:.0}/s"));
        }
    });
    while let Some(worker) = workers.join_next().await {
        worker.map_err(|e| Failure::new(Exit::Internal, e))??;
    }
    let seconds = watch.elapsed().as_secs_f64();
    ticker.abort();
    output.progress_done();
    let latency = run.latency.lock().await.clone();
    Ok(Figures {
        seconds,
        latency,
        last_position: run.last_position.load(Ordering::Relaxed),
        refused: run.refused.load(Ordering::Relaxed),
    })
}

/// One stream with a bounded number of messages that are not yet answered.
async fn stream(run: Arc<Run>, client: Client, in_flight: u16) -> Outcome {
    let (messages, outgoing) = mpsc::channel(1);
    let (sent, mut awaited) = mpsc::channel::<Stopwatch>(usize::from(in_flight));
    let mut ingest = client.ingest();
    let maker = Arc::clone(&run);
    let sending = tokio::spawn(async move {
        let mut sequence = 0;
        while let Some(events) = maker.take(maker.command.batch) {
            // Waits while `in_flight` messages have no answer.
            if sent.send(Stopwatch::start()).await.is_err() {
                return;
            }
            sequence += 1;
            if messages.send(pb::StreamEventsRequest { sequence, events }).await.is_err() {
                return;
            }
        }
    });
    let mut answers = ingest.stream_events(ReceiverStream::new(outgoing)).await?.into_inner();
    while let Some(answer) = answers.message().await? {
        let Some(since) = awaited.recv().await else { break };
        run.count(&answer.outcomes, since).await;
    }
    sending.await.map_err(|e| Failure::new(Exit::Internal, e))
}

async fn unary(run: Arc<Run>, client: Client) -> Outcome {
    let mut ingest = client.ingest();
    while let Some(mut events) = run.take(1) {
        let since = Stopwatch::start();
        let answer = ingest.record_event(pb::RecordEventRequest { event: events.pop() }).await?.into_inner();
        let result = answer.receipt.map(pb::outcome::Result::Receipt);
        run.count(&[pb::Outcome { result }], since).await;
    }
    Ok(())
}

impl Run {
    /// The next events, none when all are taken.
    fn take(&self, batch: u16) -> Option<Vec<pb::Event>> {
        let from = self.next.fetch_add(u64::from(batch), Ordering::Relaxed);
        let to = (from + u64::from(batch)).min(self.command.events);
        (from < to).then(|| (from..to).map(|i| self.event(i)).collect())
    }

    fn event(&self, i: u64) -> pb::Event {
        let draw = mixed(self.command.seed ^ i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let new = (draw >> 11) as f64 / (1u64 << 53) as f64 >= 1.0 - self.command.new_share;
        let account = match new {
            true => self.command.subjects + self.newcomers.fetch_add(1, Ordering::Relaxed),
            false => mixed(draw) % self.command.subjects,
        };
        let now = SystemClock.now();
        let (seconds, nanos) = (now.ms() as u64 / 1_000, (now.ms() % 1_000) as u32 * 1_000_000);
        let identifier = identifier(&self.command.name, self.command.seed, account);
        let person = pb::Person { role: pb::Role::DataSubject as i32, identifiers: vec![identifier] };
        pb::Event {
            event_id: Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos)).to_string(),
            controller: self.command.name.clone(),
            emitter: self.command.name.clone(),
            service: self.command.name.clone(),
            activity: format!("{}-{}", self.command.name, draw % 8),
            occurred_at: Some(timestamp(now)),
            people: vec![person],
            body: Some(pb::event::Body::DataCollected(pb::DataCollected {
                cats: vec!["pd:EmailAddress".to_owned(), "pd:TelephoneNumber".to_owned()],
                record_kind: "account_profile".to_owned(),
                ..Default::default()
            })),
            ..Default::default()
        }
    }

    async fn count(&self, outcomes: &[pb::Outcome], since: Stopwatch) {
        let micros = micros(since.elapsed());
        // Only a latency of hours lies outside the histogram, and such a run is looked at anyway.
        self.latency.lock().await.saturating_record(micros);
        self.done.fetch_add(outcomes.len() as u64, Ordering::Relaxed);
        for outcome in outcomes {
            match &outcome.result {
                Some(pb::outcome::Result::Receipt(receipt)) => {
                    self.last_position.fetch_max(receipt.position, Ordering::Relaxed);
                }
                _ => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

/// Seconds until the views have passed a position.
async fn catch_up(client: &Client, position: u64) -> Result<f64, Failure> {
    let watch = Stopwatch::start();
    let mut admin = client.admin();
    loop {
        let status = admin.get_status(pb::GetStatusRequest {}).await?.into_inner();
        let views = status.views.unwrap_or_default();
        if !views.stopped.is_empty() {
            return Err(Failure::new(Exit::Found, format_args!("the views have stopped: {}", views.stopped)));
        }
        if views.position > position {
            return Ok(watch.elapsed().as_secs_f64());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Figures {
    fn print(&self, command: &Ingest, caught_up: f64, output: Output) -> Outcome {
        let latency = percentiles(&self.latency);
        let acknowledged = command.events as f64 / self.seconds;
        let with_views = command.events as f64 / (self.seconds + caught_up);
        if output.json {
            let value = serde_json::json!({
                "events": command.events, "batch": command.batch, "connections": command.connections,
                "in_flight": command.in_flight, "seconds": self.seconds, "events_per_second": acknowledged,
                "views_caught_up_after_seconds": caught_up, "events_per_second_with_views": with_views,
                "refused": self.refused,
                "latency_ms": latency.into_iter().map(|(name, ms)| (name.to_owned(), ms.into())).collect::<serde_json::Map<_, _>>(),
            });
            output.line(&value.to_string())?;
        } else {
            output.facts(&[
                ("events", command.events.to_string()),
                ("refused", if self.refused > 0 { self.refused.to_string() } else { String::new() }),
                ("acknowledged", format!("{acknowledged:.0}/s in {:.2} s", self.seconds)),
                ("with views", format!("{with_views:.0}/s, caught up after {caught_up:.2} s more")),
            ])?;
            output.facts(&latency.map(|(name, ms)| (name, format!("{ms:.3} ms"))))?;
        }
        if self.refused > 0 { Err(Failure::new(Exit::Refused, "some events were refused")) } else { Ok(()) }
    }
}
