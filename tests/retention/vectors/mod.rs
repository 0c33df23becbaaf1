//! Random but meaningful retention vectors of the schema of domain 4.1, the same for the same seed.
//!
//! Each vector tells one story about one person and one datum. Two or three themes are drawn for it and
//! make their events frequent, so that stories hang together. Times cluster where mistakes live: the settle
//! window, month ends, leap days, changes of the clocks, year ends, and the very instants at which a rule of
//! the vector would end. No expectation is written; the vectors are for comparing two evaluators.

mod events;
mod rules;

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, SecondsFormat, TimeDelta, TimeZone};
use chrono_tz::Tz;
use serde_json::{Map, Value, json};

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

const SERVICE: &str = "solar_app";
const OTHER_SERVICE: &str = "shop";

/// Record kinds with a category that fits.
const KINDS: [(&str, &str); 9] = [
    ("profile", "pd:EmailAddress"),
    ("transaction", "pd:Transaction"),
    ("invoice", "pd:Transaction"),
    ("accounting_voucher", "pd:Transaction"),
    ("commercial_letter", "pd:EmailContent"),
    ("network_log", "pd:IPAddress"),
    ("location", "pd:GPSCoordinate"),
    ("device_telemetry", "pd:ServiceConsumptionBehaviour"),
    ("support_ticket", "pd:EmailContent"),
];

const REGIMES: [&[&str]; 8] =
    [&["CN"], &["CN"], &["EU", "DE"], &["EU", "DE"], &["CN", "EU", "DE"], &["EU"], &["DE"], &["US", "EU"]];

const PURPOSES: [&str; 8] = [
    "service_provision",
    "direct_marketing",
    "analytics",
    "fulfil_order",
    "accounting",
    "security",
    "support",
    "warranty",
];

/// Bases, the frequent ones several times.
const BASES: [&str; 16] = [
    "consent",
    "consent",
    "consent",
    "consent",
    "contract",
    "contract",
    "contract",
    "contract",
    "legitimate_interest",
    "legitimate_interest",
    "legal_obligation",
    "legal_obligation",
    "public_task",
    "vital_interest",
    "published",
    "other_law",
];

const ZONES: [&str; 12] = [
    "Asia/Shanghai",
    "Asia/Shanghai",
    "Asia/Shanghai",
    "Asia/Shanghai",
    "Europe/Berlin",
    "Europe/Berlin",
    "Europe/Berlin",
    "Europe/Berlin",
    "UTC",
    "America/New_York",
    "Asia/Kolkata",
    "Africa/Cairo",
];

const PERIODS: [&str; 18] = [
    "P0D", "P0D", "P0D", "P0D", "P0D", "P1D", "P1D", "P2D", "P7D", "P15D", "P30D", "P30D", "P1M", "P3M",
    "P6M", "P1Y", "P3Y", "P90D",
];

/// Instants at which stories begin: ordinary ones, and the eves of interesting days.
const BEGINNINGS: [&str; 14] = [
    "2025-05-01T01:00:00Z",
    "2025-01-10T09:30:00Z",
    "2024-02-28T15:30:00Z",
    "2024-02-29T02:00:00Z",
    "2024-01-31T16:00:00Z",
    "2025-01-31T02:00:00Z",
    "2025-03-29T22:30:00Z",
    "2025-03-30T00:59:00Z",
    "2025-10-25T21:30:00Z",
    "2025-10-26T00:30:00Z",
    "2025-12-31T15:58:00Z",
    "2025-12-31T22:58:00Z",
    "2023-08-31T16:00:00Z",
    "2025-04-24T21:00:00Z",
];

/// Sorts of events with their weight, and the theme that multiplies it.
const SORTS: [(&str, u64, &str); 26] = [
    ("collect", 10, "collections"),
    ("collect_other", 2, "others"),
    ("consent_given", 3, "consent"),
    ("consent_withdrawn", 3, "consent"),
    ("account_registered", 2, "account"),
    ("account_cancelled", 3, "account"),
    ("purpose_added", 3, "purposes"),
    ("purpose_fulfilled", 4, "purposes"),
    ("used", 4, "uses"),
    ("objection", 2, "objections"),
    ("erasure", 2, "demands"),
    ("unlawful", 1, "demands"),
    ("restrict", 1, "restrictions"),
    ("lift", 1, "restrictions"),
    ("hold", 1, "holds"),
    ("release", 1, "holds"),
    ("order", 1, "orders"),
    ("defer", 1, "deferrals"),
    ("execute", 2, "executions"),
    ("completed", 3, "transactions"),
    ("aborted", 1, "transactions"),
    ("service_registered", 1, "service"),
    ("service_notified", 1, "service"),
    ("service_terminated", 1, "service"),
    ("retract", 1, "retractions"),
    ("noise", 1, "others"),
];

const THEMES: [&str; 15] = [
    "collections",
    "consent",
    "account",
    "purposes",
    "uses",
    "objections",
    "demands",
    "restrictions",
    "holds",
    "orders",
    "deferrals",
    "executions",
    "transactions",
    "service",
    "retractions",
];

/// One vector without `expect`.
pub fn generate(seed: u64) -> Value {
    let mut story = Story::begin(seed);
    story.write_rules();
    story.write_past();
    let longest = if story.rng.chance(60) { 10 } else { 25 };
    let length = 1 + story.rng.below(longest);
    story.collect();
    while (story.events.len() as u64) < length {
        story.step();
        story.write_event();
    }
    story.write_annulments();
    story.events.truncate(25);
    let now = story.choose_now();
    story.finish(seed, now)
}

/// The splitmix64 generator.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn between(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % ((high - low + 1) as u64)) as i64
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }
}

struct Story {
    rng: Rng,
    themes: Vec<&'static str>,
    clock: i64,
    used: BTreeSet<i64>,
    events: Vec<Value>,
    rules: Vec<Value>,
    purposes: Vec<(&'static str, &'static str)>,
    record_kind: &'static str,
    category: &'static str,
    slot: &'static str,
    regimes: &'static [&'static str],
    /// Instants at which something of this vector ends or changes.
    marks: Vec<i64>,
    last_collection: i64,
    holds: Vec<String>,
    grounds: Vec<&'static str>,
    next_id: usize,
}

impl Story {
    fn begin(seed: u64) -> Story {
        let mut rng = Rng(seed);
        let _ = rng.next(); // Neighbouring seeds begin alike otherwise.
        let (record_kind, category) = rng.pick(&KINDS);
        let mut purposes: Vec<(&str, &str)> = vec![];
        let first = rng.below(PURPOSES.len() as u64) as usize;
        let count = if rng.chance(45) { 1 } else { 2 + rng.below(2) as usize };
        for offset in 0..count {
            purposes.push((PURPOSES[(first + offset) % PURPOSES.len()], rng.pick(&BASES)));
        }
        let themes = (0..2 + rng.below(2)).map(|_| rng.pick(&THEMES)).collect();
        let clock = instant(rng.pick(&BEGINNINGS)) + if rng.chance(10) { rng.between(1, 999) } else { 0 };
        let slot = if rng.chance(30) { "A-1001" } else { "" };
        let regimes = rng.pick(&REGIMES);
        Story {
            rng,
            themes,
            clock,
            used: BTreeSet::new(),
            events: vec![],
            rules: vec![],
            purposes,
            record_kind,
            category,
            slot,
            regimes,
            marks: vec![],
            last_collection: clock,
            holds: vec![],
            grounds: vec![],
            next_id: 1,
        }
    }

    fn themed(&self, theme: &str) -> bool {
        self.themes.contains(&theme)
    }

    /// Moves the clock on: by seconds, by about five minutes, by days or years, or to a mark.
    fn step(&mut self) {
        if self.rng.chance(3) {
            return; // A wanted coincidence.
        }
        let clock = self.clock;
        let next = match self.rng.below(100) {
            0..=9 => clock + self.rng.between(1, 59) * SECOND,
            10..=21 => {
                clock
                    + self.rng.pick(&[
                        MINUTE,
                        3 * MINUTE,
                        5 * MINUTE - 1,
                        5 * MINUTE,
                        5 * MINUTE + 1,
                        6 * MINUTE,
                    ])
            }
            22..=37 => clock + self.rng.between(1, 30) * HOUR,
            38..=63 => clock + self.rng.between(1, 20) * DAY + self.rng.between(0, 23) * HOUR,
            64..=73 => clock + self.rng.between(20, 120) * DAY,
            74..=77 => clock + self.rng.between(200, 800) * DAY,
            _ => self.mark_ahead(),
        };
        self.clock = self.fresh(next);
    }

    fn short_step(&mut self) {
        let offset = self.rng.pick(&[SECOND, 5 * SECOND, MINUTE, HOUR, 3 * DAY]);
        self.clock = self.fresh(self.clock + offset);
    }

    /// One of the marks ahead within a few years, or a little before it; else tomorrow.
    fn mark_ahead(&mut self) -> i64 {
        let clock = self.clock;
        let ahead: Vec<i64> =
            self.marks.iter().copied().filter(|mark| *mark > clock && *mark < clock + 1500 * DAY).collect();
        if ahead.is_empty() {
            return clock + DAY;
        }
        (self.rng.pick(&ahead) + self.rng.pick(&[0, 0, 0, -1, 1, -SECOND, SECOND, HOUR])).max(clock)
    }

    /// The first instant from `wished` on, in whole seconds' steps, that no event has yet.
    fn fresh(&self, wished: i64) -> i64 {
        let mut at = wished;
        while self.used.contains(&at) {
            at += SECOND;
        }
        at
    }

    /// `now`: after the end of the story, at a mark, in the middle, or inside a settle window.
    fn choose_now(&mut self) -> i64 {
        let first = self.used.first().copied().unwrap_or(self.clock);
        let last = self.used.last().copied().unwrap_or(self.clock);
        let near: Vec<i64> = self
            .marks
            .iter()
            .copied()
            .filter(|mark| *mark >= last - 2 * DAY && *mark < last + 1500 * DAY)
            .collect();
        let offsets = [0, 0, 0, -1, -SECOND, 1, SECOND, DAY, DAY, DAY - 1, DAY + 1];
        match self.rng.below(100) {
            0..=29 => {
                last + self.rng.pick(&[0, SECOND, MINUTE, 5 * MINUTE, HOUR, 4 * HOUR, DAY - 1, DAY, 2 * DAY])
            }
            30..=58 if !near.is_empty() => self.rng.pick(&near) + self.rng.pick(&offsets),
            59..=70 => {
                let instants: Vec<i64> = self.used.iter().copied().collect();
                self.rng.pick(&instants) + self.rng.pick(&[0, -1, 1, 3 * MINUTE, DAY])
            }
            71..=80 => {
                self.last_collection
                    + self.rng.pick(&[0, MINUTE, 3 * MINUTE, 5 * MINUTE - 1, 5 * MINUTE, DAY])
            }
            81..=82 => first - self.rng.pick(&[1, DAY]),
            83..=94 => last + self.rng.between(1, 400) * DAY,
            _ => last + self.rng.between(400, 4000) * DAY,
        }
    }

    fn finish(mut self, seed: u64, now: i64) -> Value {
        if self.rng.chance(20) {
            for index in (1..self.events.len()).rev() {
                let other = self.rng.below(index as u64 + 1) as usize;
                self.events.swap(index, other);
            }
        }
        let mut vector = json!({
            "name": format!("seed {seed}"), "rules": self.rules, "events": self.events, "now": print(now),
        });
        if !self.slot.is_empty() {
            vector["slot"] = json!(self.slot);
        } else if self.rng.chance(2) {
            vector["slot"] = json!("A-1003");
        }
        if self.rng.chance(8) {
            vector["silent_services"] = json!([SERVICE]);
        } else if self.rng.chance(5) {
            vector["silent_services"] = json!([OTHER_SERVICE]);
        }
        vector
    }
}

fn instant(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).expect("the instants above are well formed").timestamp_millis()
}

fn print(at: i64) -> String {
    let format = if at % SECOND == 0 { SecondsFormat::Secs } else { SecondsFormat::Millis };
    DateTime::from_timestamp_millis(at)
        .expect("stories stay within the calendar")
        .to_rfc3339_opts(format, true)
}

/// Roughly where a rule ends that is anchored at an instant; only for choosing times, so it need not be right.
fn end_of(rule: &Value, anchor: i64) -> i64 {
    let period = rule["period"].as_str().unwrap_or("P0D");
    let year_end = rule["year_end"] == true;
    if period == "P0D" && !year_end {
        return anchor;
    }
    let tz: Tz = rule["tz"].as_str().and_then(|zone| zone.parse().ok()).unwrap_or(Tz::UTC);
    let utc = DateTime::from_timestamp_millis(anchor).expect("stories stay within the calendar");
    let mut day = utc.with_timezone(&tz).date_naive();
    if year_end {
        day = NaiveDate::from_ymd_opt(day.year(), 12, 31).unwrap_or(day);
    }
    let number: u32 = period[1..period.len() - 1].parse().unwrap_or(0);
    let last = match period.as_bytes()[period.len() - 1] {
        b'D' => day + Days::new(u64::from(number)),
        b'M' => day + Months::new(number),
        _ => day + Months::new(12 * number),
    };
    let midnight = (last + Days::new(1)).and_hms_opt(0, 0, 0).unwrap_or_default();
    let exact = tz.from_local_datetime(&midnight).earliest();
    exact
        .or_else(|| tz.from_local_datetime(&(midnight + TimeDelta::hours(1))).earliest())
        .map_or(anchor, |end| end.timestamp_millis())
}
