//! What the integration tests share. Each test binary uses its own part of it.
#![allow(dead_code, reason = "every test binary compiles all of this and uses some of it")]

pub mod authority;
pub mod crash;
pub mod desk;
pub mod due;
pub mod events;
pub mod fleet;
pub mod journal;
pub mod preload;
pub mod python;
pub mod rewind;
pub mod server;
pub mod stand_in;
pub mod trace;
