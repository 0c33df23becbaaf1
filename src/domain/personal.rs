//! The wrapper around every value we are told is personal.
//!
//! It has no `Serialize`, no `Display` and a `Debug` that shows nothing, so that a personal value
//! cannot reach a log, a trace, an error or a stored record by accident. Whoever needs the value
//! calls `expose`, and a reader can search for that word.

use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Deserializer};
use zeroize::{Zeroize, zeroize_bytes};

/// A value about a person. Its memory is overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Personal<T: Zeroize>(T);

impl<T: Zeroize> Personal<T> {
    pub fn new(value: T) -> Self {
        Personal(value)
    }

    /// The value itself: for sealing, for a keyed hash, or for an answer the caller may read.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Personal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[personal]")
    }
}

impl<T: Zeroize> Drop for Personal<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Bytes with personal values in them, on their way into a hash or a cipher. Overwritten when dropped: what
/// was written, in one go, because a draft is only ever added to.
#[derive(Default)]
pub struct Draft(Vec<u8>);

impl Draft {
    pub fn with_capacity(bytes: usize) -> Self {
        Draft(Vec::with_capacity(bytes))
    }
}

impl Deref for Draft {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Draft {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        zeroize_bytes(&mut self.0);
    }
}

impl<'de, T: Zeroize + Deserialize<'de>> Deserialize<'de> for Personal<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Personal)
    }
}
