//! Pure rules: no I/O, no async, no clock, no randomness.

pub mod event;
pub mod id;
pub mod identity;
pub mod personal;
pub mod time;
pub mod vocabulary;
