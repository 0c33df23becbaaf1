//! Custody: the chain of custody of personal data.

pub mod api;
pub mod app;
pub mod backup;
pub mod cli;
pub mod clock;
pub mod config;
pub mod copying;
pub mod dirlock;
pub mod disk;
pub mod domain;
pub mod durable;
pub mod export;
pub mod jobs;
pub mod ledger;
pub mod limits;
pub mod log;
pub mod mirror;
pub mod pb;
pub mod postgres;
pub mod record;
#[cfg(any(test, feature = "testing"))]
pub mod scripted;
pub mod server;
pub mod sheet;
pub mod telemetry;
pub mod vault;
pub mod verify;
pub mod views;

// The views' synthetic records are used by the tests inside and the benchmarks outside alike.
#[cfg(test)]
extern crate self as custody;
