//! The work of the clock: when what is due.

pub mod schedule;
