//! The use cases: what the gRPC edge, the console, the command line and the jobs can ask for.

pub mod access;
pub mod error;

pub use access::{Caller, Role};
pub use error::Error;
