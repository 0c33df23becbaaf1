//! The cluster profile: its log against stand-ins of KurrentDB, its stores against a real PostgreSQL, several
//! nodes together. The stand-ins speak the public protocol over sockets and are no database; what they do is
//! said in `tests/stand_in/stand_in.rs`.

#[path = "../support/mod.rs"]
mod support;

mod chaos;
mod log;
mod moving;
