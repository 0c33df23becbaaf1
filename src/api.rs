//! The gRPC edge: one file per service, each of which converts, calls `app`, and converts back.
//! `convert` is the only place that checks untrusted input, `auth` tells who is calling, `status`
//! is the only maker of gRPC statuses.

pub mod access;
pub mod admin;
pub mod auth;
pub mod backups;
pub mod convert;
pub mod erasures;
pub mod events;
pub mod exports;
pub mod findings;
pub mod guard;
pub mod ingest;
pub mod instructions;
pub mod jobs;
pub mod kept;
pub mod keys;
pub mod laws;
pub mod ledger;
pub mod page;
pub mod pipeline;
pub mod plans;
pub mod processing;
pub mod questions;
pub mod registers;
pub mod report;
pub mod retention;
mod retractions;
pub mod status;
pub mod subjects;
pub mod term_inbox;
pub mod terms;
pub mod transfers;
