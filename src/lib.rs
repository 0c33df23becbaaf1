//! Custody: the chain of custody of personal data.

pub mod api;
pub mod clock;
pub mod dirlock;
pub mod domain;
pub mod limits;
pub mod log;
pub mod pb;
pub mod record;
pub mod views;

// The views' synthetic records are used by the tests inside and the benchmarks outside alike.
#[cfg(test)]
extern crate self as custody;
