//! The composition root.

pub mod listen;
pub mod lock;
