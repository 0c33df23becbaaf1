//! The ledger: what lets a stranger check that the log is complete and unchanged.

pub mod tlog;
