//! The ledger on a log in a directory of its own.
