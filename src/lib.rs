//! Custody: the chain of custody of personal data.

pub mod api;
pub mod clock;
pub mod domain;
pub mod limits;
pub mod pb;
pub mod record;
pub mod vault;
