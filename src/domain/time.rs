//! Instants and local dates. Pure: nothing here asks what time it is.
//!
//! An instant is a count of milliseconds, because the stored record keeps no finer time and a
//! comparison of two stored times must give what a comparison of the originals gave.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, TimeZone};
use chrono_tz::Tz;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub const MS_PER_SECOND: i64 = 1_000;
pub const MS_PER_MINUTE: i64 = 60 * MS_PER_SECOND;
pub const MS_PER_HOUR: i64 = 60 * MS_PER_MINUTE;
pub const MS_PER_DAY: i64 = 24 * MS_PER_HOUR;

/// Milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
/// Valid instants lie in the years 0001 to 9999, which RFC 3339 can write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// First and last instant that RFC 3339 can write with a four-digit year.
const FIRST_MS: i64 = -62_135_596_800_000;
const LAST_MS: i64 = 253_402_300_799_999;

impl Timestamp {
    pub const EPOCH: Timestamp = Timestamp(0);
    /// The first instant that can be written.
    pub const FIRST: Timestamp = Timestamp(FIRST_MS);
    /// The last instant that can be written.
    pub const LAST: Timestamp = Timestamp(LAST_MS);

    /// `None` outside the years 0001 to 9999.
    pub fn from_ms(ms: i64) -> Option<Self> {
        (FIRST_MS..=LAST_MS).contains(&ms).then_some(Timestamp(ms))
    }

    pub fn ms(self) -> i64 {
        self.0
    }

    /// The instant `ms` milliseconds later (earlier if negative), held inside the valid years.
    pub fn plus_ms(self, ms: i64) -> Self {
        Timestamp(self.0.saturating_add(ms).clamp(FIRST_MS, LAST_MS))
    }

    /// Milliseconds from `earlier` to this instant; negative if `earlier` is the later one.
    pub fn since(self, earlier: Timestamp) -> i64 {
        self.0 - earlier.0
    }

    /// The calendar year in UTC, by which tag keys are derived.
    pub fn year(self) -> i32 {
        civil_from_days(self.0.div_euclid(MS_PER_DAY)).0
    }

    /// The local calendar day of this instant.
    pub fn local_date(self, zone: Tz) -> NaiveDate {
        DateTime::from_timestamp_millis(self.0)
            .map(|utc| utc.with_timezone(&zone).date_naive())
            .unwrap_or(NaiveDate::MIN)
    }

    /// Appends `2026-03-01T08:00:00.000Z`. Written by hand because every record carries several.
    pub fn write(self, out: &mut Vec<u8>) {
        let days = self.0.div_euclid(MS_PER_DAY);
        let ms = self.0.rem_euclid(MS_PER_DAY);
        let (year, month, day) = civil_from_days(days);
        push_digits(out, year as u64, 4);
        out.push(b'-');
        push_digits(out, month as u64, 2);
        out.push(b'-');
        push_digits(out, day as u64, 2);
        out.push(b'T');
        push_digits(out, (ms / MS_PER_HOUR) as u64, 2);
        out.push(b':');
        push_digits(out, (ms / MS_PER_MINUTE % 60) as u64, 2);
        out.push(b':');
        push_digits(out, (ms / MS_PER_SECOND % 60) as u64, 2);
        out.push(b'.');
        push_digits(out, (ms % MS_PER_SECOND) as u64, 3);
        out.push(b'Z');
    }

    /// Reads exactly what `write` writes.
    pub fn read(text: &str) -> Option<Timestamp> {
        let bytes: &[u8; 24] = text.as_bytes().try_into().ok()?;
        let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (23, b'Z')];
        if marks.iter().any(|(at, mark)| bytes[*at] != *mark) {
            return None;
        }
        let number = |from: usize, to: usize| {
            let digit = |value: i64, b: &u8| b.is_ascii_digit().then(|| value * 10 + i64::from(b - b'0'));
            bytes[from..to].iter().try_fold(0, digit)
        };
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second, ms) = (number(11, 13)?, number(14, 16)?, number(17, 19)?, number(20, 23)?);
        let days = days_from_civil(year, month, day);
        let exists = year > 0 && civil_from_days(days) == (year as i32, month as u32, day as u32);
        if !exists || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let of_day = hour * MS_PER_HOUR + minute * MS_PER_MINUTE + second * MS_PER_SECOND + ms;
        Timestamp::from_ms(days * MS_PER_DAY + of_day)
    }
}

fn push_digits(out: &mut Vec<u8>, value: u64, width: u32) {
    for place in (0..width).rev() {
        out.push(b'0' + (value / 10u64.pow(place) % 10) as u8);
    }
}

/// Proleptic Gregorian date of a day number since 1970-01-01, by the era method: the year is
/// counted from 1 March, so that the leap day is the last of its year.
fn civil_from_days(days: i64) -> (i32, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year as i32, month as u32, day as u32)
}

/// The day number of a date, by the same method. What is no date gives some number.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(24);
        self.write(&mut text);
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time with a zone, such as 2026-03-01T08:00:00Z")]
pub struct NotATimestamp;

impl FromStr for Timestamp {
    type Err = NotATimestamp;

    fn from_str(text: &str) -> Result<Self, NotATimestamp> {
        if let Some(canonical) = Timestamp::read(text) {
            return Ok(canonical);
        }
        let parsed = DateTime::parse_from_rfc3339(text).map_err(|_| NotATimestamp)?;
        Timestamp::from_ms(parsed.timestamp_millis()).ok_or(NotATimestamp)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A date in a zone, as contracts state it: in force from 00:00 of the first day to 24:00 of the
/// last, both in the zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalDate {
    pub date: NaiveDate,
    /// IANA name, such as `Asia/Shanghai`.
    pub tz: Tz,
}

impl LocalDate {
    /// The first instant of the day.
    pub fn begins(&self) -> Timestamp {
        midnight(self.date, self.tz)
    }

    /// The first instant after the day, which itself counts in full.
    pub fn ends(&self) -> Timestamp {
        self.date.succ_opt().map_or(Timestamp::LAST, |next| midnight(next, self.tz))
    }
}

/// When a day begins in a zone: at midnight, or where clocks pass over midnight, at the first time there is.
pub fn midnight(date: NaiveDate, zone: Tz) -> Timestamp {
    let hours = (0..24).filter_map(|hour| date.and_hms_opt(hour, 0, 0));
    let first = hours.filter_map(|local| zone.from_local_datetime(&local).earliest()).next();
    first.and_then(|at| Timestamp::from_ms(at.timestamp_millis())).unwrap_or(Timestamp::LAST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn writes_rfc_3339() {
        let at: Timestamp = "2024-02-29T23:59:59.007+08:00".parse().unwrap();
        assert_eq!(at.to_string(), "2024-02-29T15:59:59.007Z");
        assert_eq!(at.year(), 2024);
    }

    proptest! {
        #[test]
        fn agrees_with_chrono(ms in FIRST_MS..=LAST_MS) {
            let at = Timestamp::from_ms(ms).unwrap();
            let oracle = DateTime::from_timestamp_millis(ms).unwrap();
            prop_assert_eq!(at.to_string(), oracle.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string());
            prop_assert_eq!(at.to_string().parse::<Timestamp>(), Ok(at));
            prop_assert_eq!(Timestamp::read(&at.to_string()), Some(at));
        }

        /// What is read is what chrono reads, and is written the same.
        #[test]
        fn reads_no_date_that_is_none(y in 0u32..10_000, m in 0u32..14, d in 0u32..33, h in 0u32..26, s in 0u32..62) {
            let text = format!("{y:04}-{m:02}-{d:02}T{h:02}:{s:02}:{s:02}.123Z");
            let oracle = text.parse::<Timestamp>().ok().filter(|at| at.to_string() == text);
            prop_assert_eq!(Timestamp::read(&text), oracle);
        }
    }
}
