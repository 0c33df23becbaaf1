//! The gRPC edge: one file per service, each of which converts, calls `app`, and converts back.
//! `convert` is the only place that checks untrusted input.

pub mod convert;
