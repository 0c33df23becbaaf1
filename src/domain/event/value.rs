//! The kinds of value that fields of an event have. Each has one stored form, which serde writes.

use serde::{Deserialize, Serialize};

use crate::domain::event::enums::LegalBasis;
use crate::domain::id::Id;
use crate::domain::personal::Personal;
use crate::domain::time::Timestamp;

/// A field that was not stated is not stored.
pub trait Unset {
    fn is_unset(&self) -> bool;
}

impl<T> Unset for Option<T> {
    fn is_unset(&self) -> bool {
        self.is_none()
    }
}

impl Unset for bool {
    fn is_unset(&self) -> bool {
        !*self
    }
}

/// A closed vocabulary, by its API number.
pub trait Closed: Copy {
    const NAME: &'static str;
    fn number(self) -> i32;
    fn from_number(number: i32) -> Option<Self>;
}

/// A list of at most `MAX` values; empty means not stated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct List<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> List<T, MAX> {
    /// `None` if there are too many.
    pub fn new(values: Vec<T>) -> Option<Self> {
        (values.len() <= MAX).then_some(List(values))
    }

    pub const MAX: usize = MAX;
}

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        List(Vec::new())
    }
}

impl<T, const MAX: usize> std::ops::Deref for List<T, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'a, T, const MAX: usize> IntoIterator for &'a List<T, MAX> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<T, const MAX: usize> Unset for List<T, MAX> {
    fn is_unset(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = Vec::deserialize(deserializer)?;
        List::new(values).ok_or_else(|| serde::de::Error::custom(format_args!("more than {MAX} values")))
    }
}

/// Sealed free text or a sealed digest; at most `limits::TEXT_CHARS` characters.
pub type Sealed = Option<Personal<String>>;

/// A purpose with the legal basis it rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PurposeBasis {
    pub id: Id,
    pub basis: LegalBasis,
}

/// `[from, to]` of a batched or collective event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    pub from: Timestamp,
    pub to: Timestamp,
}
