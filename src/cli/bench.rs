//! `custody bench`: what a service takes and how fast it answers, on made-up people.

mod ingest;
mod report;

use std::time::Duration;

use clap::Subcommand;
use hdrhistogram::Histogram;

use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::Output;
use crate::pb;

#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Record made-up events as fast as the service takes them
    Ingest(ingest::Ingest),
    /// Ask for reports about the people of `bench ingest`, one after the other
    Report(report::Report),
}

pub async fn run(command: Bench, output: Output) -> Outcome {
    match command {
        Bench::Ingest(command) => ingest::run(command, output).await,
        Bench::Report(command) => report::run(command, output).await,
    }
}

/// Microseconds up to an hour. It does not grow, so its bounds are given.
fn latencies() -> Result<Histogram<u64>, Failure> {
    Histogram::new_with_bounds(1, 3_600_000_000, 3).map_err(|e| Failure::new(Exit::Internal, e))
}

fn micros(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
}

/// Milliseconds at the percentiles that are shown.
fn percentiles(latency: &Histogram<u64>) -> [(&'static str, f64); 5] {
    let at = |quantile: f64| latency.value_at_quantile(quantile) as f64 / 1_000.0;
    [("p50", at(0.5)), ("p90", at(0.9)), ("p99", at(0.99)), ("p999", at(0.999)), ("max", at(1.0))]
}

/// The account of a made-up person.
fn identifier(name: &str, seed: u64, account: u64) -> pb::Identifier {
    let value = format!("{seed}-{account}");
    pb::Identifier { kind: pb::IdentifierKind::Account as i32, realm: name.to_owned(), value }
}

/// Spreads a number over all 64 bits; the finaliser of a well-known generator.
fn mixed(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}
