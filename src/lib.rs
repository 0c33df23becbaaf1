//! Custody: the chain of custody of personal data.

pub mod api;
pub mod app;
pub mod clock;
pub mod config;
pub mod domain;
pub mod limits;
pub mod log;
pub mod record;
pub mod telemetry;
pub mod vault;
