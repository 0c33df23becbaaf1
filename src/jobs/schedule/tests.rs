//! Slots over hours that are shown twice or never, leap days and ends of years, by hand and against a clock that
//! is looked at minute by minute.

use chrono_tz::{Asia, Europe, Pacific};
use proptest::prelude::*;

use super::*;
use crate::domain::time::{MS_PER_DAY, MS_PER_MINUTE};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn slots(text: &str, zone: Tz, from: &str, count: usize) -> Vec<String> {
    let schedule = Schedule::parse(text, zone).unwrap();
    let mut now = at(from);
    let mut next = || {
        now = schedule.after(now)?;
        Some(now.to_string().replace(":00.000Z", "Z"))
    };
    (0..count).map_while(|_| next()).collect()
}

#[test]
fn a_time_that_does_not_exist_is_one_slot_at_the_leap() {
    // Berlin leaps from 02:00 to 03:00 on 29 March 2026.
    let daily = slots("30 2 * * *", Europe::Berlin, "2026-03-28T00:00:00Z", 3);
    assert_eq!(daily, ["2026-03-28T01:30Z", "2026-03-29T01:00Z", "2026-03-30T00:30Z"]);
    let often = slots("*/15 1-3 * * *", Europe::Berlin, "2026-03-29T00:40:00Z", 3);
    assert_eq!(
        often,
        ["2026-03-29T00:45Z", "2026-03-29T01:00Z", "2026-03-29T01:15Z"],
        "four and one are one"
    );
}

#[test]
fn a_time_that_exists_twice_is_one_slot_at_the_first() {
    // Berlin shows 02:00 to 03:00 twice on 25 October 2026.
    let daily = slots("30 2 * * *", Europe::Berlin, "2026-10-24T00:00:00Z", 3);
    assert_eq!(daily, ["2026-10-24T00:30Z", "2026-10-25T00:30Z", "2026-10-26T01:30Z"]);
    let second = slots("30 2 * * *", Europe::Berlin, "2026-10-25T01:10:00Z", 1);
    assert_eq!(second, ["2026-10-26T01:30Z"], "asked in the second of the two hours");
    let hourly = slots("0 * * * *", Europe::Berlin, "2026-10-24T23:30:00Z", 3);
    assert_eq!(hourly, ["2026-10-25T00:00Z", "2026-10-25T02:00Z", "2026-10-25T03:00Z"]);
}

#[test]
fn zones_that_left_their_hours_behind() {
    // Shanghai had summer time from 1986 to 1991, and has none since.
    let leap = slots("30 2 * * *", Asia::Shanghai, "1986-05-03T00:00:00Z", 2);
    assert_eq!(leap, ["1986-05-03T18:00Z", "1986-05-04T17:30Z"]);
    let now = slots("30 2 * * *", Asia::Shanghai, "2026-03-28T00:00:00Z", 2);
    assert_eq!(now, ["2026-03-28T18:30Z", "2026-03-29T18:30Z"]);
    // Samoa had no 30 December 2011.
    let day = slots("0 12 * * *", Pacific::Apia, "2011-12-29T00:00:00Z", 3);
    assert_eq!(day, ["2011-12-29T22:00Z", "2011-12-30T10:00Z", "2011-12-30T22:00Z"]);
}

#[test]
fn leap_days_and_ends_of_years() {
    let leap_days = slots("0 0 29 2 *", Tz::UTC, "2026-01-01T00:00:00Z", 3);
    assert_eq!(leap_days, ["2028-02-29T00:00Z", "2032-02-29T00:00Z", "2036-02-29T00:00Z"]);
    let ends = slots("59 23 31 12 *", Asia::Shanghai, "2026-12-31T15:58:59Z", 2);
    assert_eq!(ends, ["2026-12-31T15:59Z", "2027-12-31T15:59Z"]);
    let thirty_first = slots("0 4 31 * *", Tz::UTC, "2026-01-31T04:00:00Z", 3);
    assert_eq!(thirty_first, ["2026-03-31T04:00Z", "2026-05-31T04:00Z", "2026-07-31T04:00Z"]);
    let sundays = slots("0 4 * * SUN", Tz::UTC, "2026-02-27T00:00:00Z", 2);
    assert_eq!(sundays, ["2026-03-01T04:00Z", "2026-03-08T04:00Z"]);
    assert_eq!(slots("0 0 1 1 *", Tz::UTC, "2100-01-01T00:00:00Z", 1), Vec::<String>::new());
}

#[test]
fn what_is_read_differently_elsewhere_is_refused() {
    let refused = |text: &str| Schedule::parse(text, Tz::UTC).unwrap_err();
    assert_eq!(refused("0 4 * * 1"), Malformed::Weekday);
    assert_eq!(refused("0 4 13 * FRI"), Malformed::BothDays);
    assert_eq!(refused("0 0 4 * * *"), Malformed::Fields);
    assert_eq!(refused("@daily"), Malformed::Fields);
    assert_eq!(refused("0 0 30 2 *"), Malformed::Never);
    assert!(matches!(refused("61 * * * *"), Malformed::Expression(_)));
    assert!(matches!(refused("0 25 * * *"), Malformed::Expression(_)));
    assert_eq!(Schedule::parse(" 0  4 * * ? ", Tz::UTC).unwrap().to_string(), "0 4 * * ? UTC");
}

/// Expressions, as field by field lists and steps.
fn expression() -> impl Strategy<Value = String> {
    let minute =
        prop_oneof![Just("*/10".to_owned()), (0u8..60).prop_map(|m| m.to_string()), Just("*".to_owned())];
    let hour =
        prop_oneof![Just("*".to_owned()), (0u8..24).prop_map(|h| h.to_string()), Just("1-3".to_owned())];
    let day = prop_oneof![
        4 => Just(("*".to_owned(), "*".to_owned())),
        1 => (1u8..32).prop_map(|d| (d.to_string(), "*".to_owned())),
        1 => Just(("*".to_owned(), "MON,SUN".to_owned())),
    ];
    (minute, hour, day)
        .prop_map(|(minute, hour, (day, weekday))| format!("{minute} {hour} {day} * {weekday}"))
}

fn zone() -> impl Strategy<Value = Tz> {
    prop_oneof![Just(Europe::Berlin), Just(Asia::Shanghai), Just(Tz::UTC)]
}

/// Days around which clocks are set, years end and leap days lie, in minutes of a day before and after.
fn moment() -> impl Strategy<Value = Timestamp> {
    let day = prop_oneof![
        Just("2026-03-29T01:00:00Z"),
        Just("2026-10-25T01:00:00Z"),
        Just("1986-05-03T18:00:00Z"),
        Just("1986-09-13T17:00:00Z"),
        Just("2028-02-29T00:00:00Z"),
        Just("2026-12-31T16:00:00Z"),
    ];
    (day, -1_500i64..1_500, 0i64..60_000)
        .prop_map(|(day, minutes, ms)| at(day).plus_ms(minutes * MS_PER_MINUTE + ms))
}

/// The slots of the days around, found by looking at the zone's clock every minute: a time it shows for the first time,
/// or has just leapt over.
fn watched(schedule: &Schedule, from: Timestamp) -> Vec<Timestamp> {
    let begins = from.plus_ms(-from.ms().rem_euclid(MS_PER_MINUTE) - 2 * MS_PER_DAY);
    let mut newest = shown(begins, schedule.zone).unwrap();
    let mut found = Vec::new();
    for minute in 1..=4 * 1_440 {
        let instant = begins.plus_ms(minute * MS_PER_MINUTE);
        let shows = shown(instant, schedule.zone).unwrap();
        let mut passed = false;
        while newest < shows {
            newest += chrono::TimeDelta::minutes(1);
            passed |= schedule.wall.includes(newest);
        }
        if passed {
            found.push(instant);
        }
    }
    found
}

proptest! {
    // Each case looks at a clock thousands of times.
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn slots_are_those_of_a_clock_that_is_watched(text in expression(), zone in zone(), from in moment()) {
        let schedule = Schedule::parse(&text, zone).unwrap();
        let watched = watched(&schedule, from);
        let expected = watched.iter().copied().filter(|slot| *slot > from);
        let mut now = from;
        for slot in expected {
            let next = schedule.after(now).unwrap();
            prop_assert!(next > now, "strictly increasing");
            prop_assert_eq!(next, slot, "{} after {}", schedule, now);
            prop_assert_eq!(schedule.latest(next), Some(next));
            prop_assert_eq!(schedule.after(next.plus_ms(-1)), Some(next));
            now = next;
        }
        let last = watched.iter().copied().rfind(|slot| *slot <= from);
        if let Some(last) = last {
            prop_assert_eq!(schedule.latest(from), Some(last), "{} at {}", schedule, from);
        }
    }
}
