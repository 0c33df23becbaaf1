//! Pure rules: no I/O, no async, no clock, no randomness.

pub mod consent;
pub mod datum;
pub mod disclosure;
pub mod erasure;
pub mod event;
pub mod finding;
pub mod id;
pub mod identity;
pub mod instruction;
pub mod law;
pub mod personal;
pub mod plan;
pub mod policy_defect;
pub mod register;
pub mod retention;
pub mod time;
pub mod transfer;
pub mod use_check;
pub mod vocabulary;
mod words;
