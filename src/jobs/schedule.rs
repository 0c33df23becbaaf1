//! When a job is due: a `cron` expression of five fields in an IANA zone. Pure.
//!
//! Promises: the slots of a schedule are strictly increasing instants. The expression is a wall clock's: a time
//! that a zone's clock shows twice is one slot, at the first of the two; one that it leaps over is one slot, at the
//! instant of the leap, however many slots lie in the gap. Work of every few minutes that is to go on while a
//! clock shows an hour for the second time therefore belongs in UTC.
//!
//! Expressions that programs read differently are refused: numbers of weekdays (is 1 Sunday or Monday?), and a
//! day of the month beside a weekday (either, or both?).

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};

use crate::domain::time::Timestamp;

/// More than zones set their clocks back by.
const FOLD: TimeDelta = TimeDelta::hours(4);
/// From when on an expression has to come about at least once: a leap day does within eight years.
const FIRST: &str = "2000-01-01T00:00:00.000Z";

/// The slots of a job.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// As it was written.
    text: String,
    wall: cron::Schedule,
    zone: Tz,
}

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("is not a cron expression of five fields: minute hour day month weekday, such as 30 3 * * SUN")]
    Fields,
    #[error("numbers a weekday, which programs count differently: write SUN to SAT")]
    Weekday,
    #[error(
        "names a day of the month and a weekday, which programs join differently: write * for one of them"
    )]
    BothDays,
    #[error("never comes about")]
    Never,
    #[error("{0}")]
    Expression(String),
}

impl Schedule {
    pub fn parse(text: &str, zone: Tz) -> Result<Schedule, Malformed> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [_, _, day, _, weekday] = fields[..] else { return Err(Malformed::Fields) };
        let open = |field: &str| matches!(field, "*" | "?");
        if !open(weekday) && weekday.bytes().any(|byte| byte.is_ascii_digit()) {
            return Err(Malformed::Weekday);
        }
        if !open(day) && !open(weekday) {
            return Err(Malformed::BothDays);
        }
        let wall = cron::Schedule::from_str(&format!("0 {}", fields.join(" ")))
            .map_err(|why| Malformed::Expression(why.to_string().lines().collect::<Vec<_>>().join(" ")))?;
        let schedule = Schedule { text: fields.join(" "), wall, zone };
        let first = FIRST.parse().unwrap_or_default();
        schedule.after(first).map(|_| schedule).ok_or(Malformed::Never)
    }

    /// The first slot after an instant; none after the year 2100, where the expressions end.
    pub fn after(&self, instant: Timestamp) -> Option<Timestamp> {
        let walls = self.wall.after(&shown(instant, self.zone)?);
        // In an hour that is shown for the second time the next ones lie in the first.
        walls.filter_map(|wall| self.instant(wall)).find(|slot| *slot > instant)
    }

    /// The last slot at or before an instant.
    pub fn latest(&self, instant: Timestamp) -> Option<Timestamp> {
        // In an hour that is shown for the second time, later ones of the first lie before it.
        let ahead = shown(instant, self.zone)?.checked_add_signed(FOLD)?;
        let walls = self.wall.after(&ahead).rev();
        walls.filter_map(|wall| self.instant(wall)).find(|slot| *slot <= instant)
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn zone(&self) -> Tz {
        self.zone
    }

    fn instant(&self, wall: DateTime<Utc>) -> Option<Timestamp> {
        let local: NaiveDateTime = wall.naive_utc();
        let there = self.zone.from_local_datetime(&local).earliest();
        let leap = || GapInfo::new(&local, &self.zone).and_then(|gap| gap.end);
        Timestamp::from_ms(there.or_else(leap)?.timestamp_millis())
    }
}

/// What the zone's clock shows at an instant, written as if it were UTC.
fn shown(instant: Timestamp, zone: Tz) -> Option<DateTime<Utc>> {
    let utc = DateTime::from_timestamp_millis(instant.ms())?;
    Some(utc.with_timezone(&zone).naive_local().and_utc())
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Schedule) -> bool {
        (&self.text, self.zone) == (&other.text, other.zone)
    }
}

impl Eq for Schedule {}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.text, self.zone)
    }
}

#[cfg(test)]
mod tests;
