//! How each kind of value looks on the wire, both ways.
//!
//! `Value` is one value that is there; `Field` is a field of a message, which may not be stated: an
//! empty string, a zero enum, empty bytes, an absent message or number.

use bytes::Bytes;
use chrono::{Datelike, NaiveDate};
use chrono_tz::Tz;

use super::violation::{Path, Violations};
use crate::domain::event::{Closed, List, Period, Title, Url};
use crate::domain::id::{Country, Digest, EventId, Id, Regime};
use crate::domain::personal::Personal;
use crate::domain::time::{MS_PER_SECOND, Timestamp};
use crate::limits;

/// A value that is there.
pub trait Value<W>: Sized {
    /// `None` after a violation.
    fn read(wire: W, at: &Path<'_>, violations: &mut Violations) -> Option<Self>;
    fn write(&self) -> W;
}

/// A field of a message, stated or not.
pub trait Field<W>: Sized {
    /// The unset field after a violation.
    fn read(wire: W, at: &Path<'_>, violations: &mut Violations) -> Self;
    fn write(&self) -> W;
}

macro_rules! text {
    ($($name:ident)*) => {$(
        impl Value<String> for $name {
            fn read(wire: String, at: &Path<'_>, violations: &mut Violations) -> Option<Self> {
                wire.parse().map_err(|crate::domain::id::Malformed(why)| violations.add(at, why)).ok()
            }

            fn write(&self) -> String {
                self.to_string()
            }
        }
    )*};
}
text!(Id Country Regime EventId Title Url Period);

impl Value<String> for Tz {
    fn read(wire: String, at: &Path<'_>, violations: &mut Violations) -> Option<Self> {
        wire.parse().map_err(|_| violations.add(at, "is not the IANA name of a time zone")).ok()
    }

    fn write(&self) -> String {
        self.name().to_owned()
    }
}

impl Value<String> for NaiveDate {
    fn read(wire: String, at: &Path<'_>, violations: &mut Violations) -> Option<Self> {
        let date = wire.parse::<NaiveDate>().ok().filter(|date| (1..=9999).contains(&date.year()));
        // One date has one spelling.
        let date = date.filter(|date| date.to_string() == wire);
        if date.is_none() {
            violations.add(at, "is not a date such as 2026-03-01");
        }
        date
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

/// Sealed text.
impl Value<String> for Personal<String> {
    fn read(wire: String, at: &Path<'_>, violations: &mut Violations) -> Option<Self> {
        let text = Personal::new(wire);
        // A text cannot have more characters than bytes, and most are short.
        if text.expose().len() > limits::TEXT_CHARS && text.expose().chars().nth(limits::TEXT_CHARS).is_some()
        {
            violations.add(at, "is longer than 2000 characters");
            return None;
        }
        Some(text)
    }

    fn write(&self) -> String {
        self.expose().clone()
    }
}

impl Value<Bytes> for Digest {
    fn read(wire: Bytes, at: &Path<'_>, violations: &mut Violations) -> Option<Self> {
        let digest = <[u8; 32]>::try_from(wire.as_ref());
        digest.map(Digest).map_err(|_| violations.add(at, "is not 32 bytes long")).ok()
    }

    fn write(&self) -> Bytes {
        Bytes::copy_from_slice(&self.0)
    }
}

impl Value<prost_types::Timestamp> for Timestamp {
    fn read(wire: prost_types::Timestamp, at: &Path<'_>, violations: &mut Violations) -> Option<Self> {
        let instant = (0..1_000_000_000)
            .contains(&wire.nanos)
            .then(|| wire.seconds.checked_mul(MS_PER_SECOND)?.checked_add(i64::from(wire.nanos / 1_000_000)))
            .flatten()
            .and_then(Timestamp::from_ms);
        if instant.is_none() {
            violations.add(at, "is not an instant in the years 0001 to 9999");
        }
        instant
    }

    fn write(&self) -> prost_types::Timestamp {
        let nanos = self.ms().rem_euclid(MS_PER_SECOND) * 1_000_000;
        // Below 10^9, so it fits.
        prost_types::Timestamp { seconds: self.ms().div_euclid(MS_PER_SECOND), nanos: nanos as i32 }
    }
}

impl Value<u64> for u64 {
    fn read(wire: u64, at: &Path<'_>, violations: &mut Violations) -> Option<Self> {
        if wire > limits::NUMBER {
            violations.add(at, "is not below 2^53");
            return None;
        }
        Some(wire)
    }

    fn write(&self) -> u64 {
        *self
    }
}

impl Value<bool> for bool {
    fn read(wire: bool, _: &Path<'_>, _: &mut Violations) -> Option<Self> {
        Some(wire)
    }

    fn write(&self) -> bool {
        *self
    }
}

impl<T: Closed> Value<i32> for T {
    fn read(wire: i32, at: &Path<'_>, violations: &mut Violations) -> Option<Self> {
        let value = T::from_number(wire);
        if value.is_none() {
            let why = if wire == 0 {
                "is unspecified".to_owned()
            } else {
                format!("is not a value of {}", T::NAME)
            };
            violations.add(at, why);
        }
        value
    }

    fn write(&self) -> i32 {
        self.number()
    }
}

impl<T: Value<String>> Field<String> for Option<T> {
    fn read(wire: String, at: &Path<'_>, violations: &mut Violations) -> Self {
        if wire.is_empty() { None } else { T::read(wire, at, violations) }
    }

    fn write(&self) -> String {
        self.as_ref().map(T::write).unwrap_or_default()
    }
}

impl<T: Value<Bytes>> Field<Bytes> for Option<T> {
    fn read(wire: Bytes, at: &Path<'_>, violations: &mut Violations) -> Self {
        if wire.is_empty() { None } else { T::read(wire, at, violations) }
    }

    fn write(&self) -> Bytes {
        self.as_ref().map(T::write).unwrap_or_default()
    }
}

impl<T: Value<i32>> Field<i32> for Option<T> {
    fn read(wire: i32, at: &Path<'_>, violations: &mut Violations) -> Self {
        if wire == 0 { None } else { T::read(wire, at, violations) }
    }

    fn write(&self) -> i32 {
        self.as_ref().map(T::write).unwrap_or_default()
    }
}

/// Messages, and numbers marked `optional`.
impl<W, T: Value<W>> Field<Option<W>> for Option<T> {
    fn read(wire: Option<W>, at: &Path<'_>, violations: &mut Violations) -> Self {
        wire.and_then(|wire| T::read(wire, at, violations))
    }

    fn write(&self) -> Option<W> {
        self.as_ref().map(T::write)
    }
}

impl Field<bool> for bool {
    fn read(wire: bool, _: &Path<'_>, _: &mut Violations) -> Self {
        wire
    }

    fn write(&self) -> bool {
        *self
    }
}

/// A count, of which zero is one.
impl Field<u64> for u64 {
    fn read(wire: u64, at: &Path<'_>, violations: &mut Violations) -> Self {
        <u64 as Value<u64>>::read(wire, at, violations).unwrap_or_default()
    }

    fn write(&self) -> u64 {
        *self
    }
}

impl<W, T: Value<W>, const MAX: usize> Field<Vec<W>> for List<T, MAX> {
    fn read(wire: Vec<W>, at: &Path<'_>, violations: &mut Violations) -> Self {
        if wire.len() > MAX {
            // Not read at all: the cost of a wrong request stays bounded.
            violations.add(at, format!("has {} values, at most {MAX} are allowed", wire.len()));
            return List::default();
        }
        let mut values = Vec::with_capacity(wire.len());
        for (index, value) in wire.into_iter().enumerate() {
            values.extend(T::read(value, &at.index(index), violations));
        }
        List::new(values).unwrap_or_default()
    }

    fn write(&self) -> Vec<W> {
        self.iter().map(T::write).collect()
    }
}
