//! A naive reading of the retention decision procedure, to test the real one against.
//!
//! It was written from the text alone (domain 2.2, 3.9 and section 4) by someone who had not seen the
//! other implementation. It is slow on purpose: whatever the text asks about a past instant is worked out
//! again from the whole list of events. The only things remembered are the verdicts on earlier openings
//! and uses, because later events are judged by them.
//!
//! A *moment* below is a pair `(before, at)`: the events with an index less than `before` have happened,
//! and the clock shows `at`.

mod decide;
mod lives;
mod read;
mod rules;

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, SecondsFormat, TimeZone, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};

use decide::*;
use read::*;

const MINUTE_MS: i64 = 60 * 1000;
const SETTLE_MS: i64 = 5 * MINUTE_MS;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
const NEVER_BEGAN: i64 = i64::MIN;
const INFINITE: i64 = i64::MAX;

/// EU and EEA laws, for the question whether a floor is of a foreign law (step 10).
const EUROPEAN: [&str; 32] = [
    "EU", "EEA", "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE",
    "IT", "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK", "IS", "LI", "NO",
];

/// Decides one vector: the complete `expect` object of 4.1.
pub fn evaluate(vector: &Value) -> Value {
    let Some(case) = Case::new(vector) else {
        return answer(&Decision::nothing("absent"), &BTreeSet::new(), "none", None);
    };
    let decision = case.decide(case.events.len(), case.now);
    let mut findings = case.findings.clone();
    findings.extend(decision.findings.iter());
    findings.extend(case.refused_deferrals());
    findings.extend(case.premature_executions());
    if decision.overrun {
        findings.insert("F-RETENTION-OVERRUN");
    }
    let owed = case.owed(&decision);
    if owed.as_ref().is_some_and(|older| older.overrun) {
        findings.insert("F-RETENTION-OVERRUN");
    }
    let plan = case.plan(&decision);
    answer(&decision, &findings, plan, owed.and_then(|older| older.due_at))
}

fn answer(decision: &Decision, findings: &BTreeSet<&'static str>, plan: &str, owed: Option<i64>) -> Value {
    json!({
        "state": decision.state,
        "action": decision.action,
        "due_at": decision.due_at.map(print_instant),
        "due": decision.due,
        "usable_for": decision.usable_for,
        "because": decision.because,
        "findings": findings,
        "plan": plan,
        "owed": owed.map(print_instant),
    })
}

/// One event that counts. `number` names it across lists of events from which others were left out.
#[derive(Clone)]
struct Event {
    at: i64,
    kind: String,
    number: usize,
    body: Value,
}

/// One version of a rule, with the time from which and up to which it is in force.
#[derive(Clone)]
struct Rule {
    id: String,
    kind: String,
    matches: Value,
    anchor: String,
    causes: Option<Vec<String>>,
    period: String,
    year_end: bool,
    tz: Tz,
    anonymise: bool,
    law_of: Option<String>,
    from: i64,
    ends: i64,
    replaces: Option<String>,
}

/// The datum the vector is about: all four must be equal (2.2).
#[derive(Clone)]
struct Key {
    service: String,
    record_kind: String,
    category: String,
    slot: String,
}

// ---------------------------------------------------------------------------------------------------------
// What is worked out: verdicts, lives, episodes, ends.

/// What an event did to one purpose it named (step 3).
#[derive(Clone)]
struct Verdict {
    purpose: String,
    basis: String,
    outcome: Outcome,
}

#[derive(Clone)]
enum Outcome {
    Opened(Opening),
    Joined,
    Nothing,
}

/// How a new episode began.
#[derive(Clone, Default)]
struct Opening {
    /// It ended in the instant it began, for want of a basis.
    stillborn: Option<End>,
    /// The late ConsentGiven or AccountRegistered that counts as having been there.
    settled_by: Option<usize>,
    /// The evidence is missing still, and may come.
    settling: bool,
    /// The evidence was missing at the opening and is counted as there, for whatever reason.
    vouched: bool,
}

#[derive(Clone)]
struct End {
    hard: bool,
    cause: &'static str,
    at: i64,
}

/// A life that is running: the index of its first DataCollected, and of the execution that ended the last one.
#[derive(Clone, Copy)]
struct Life {
    start: usize,
    previous_end: Option<usize>,
}

/// An episode of a purpose (step 4).
#[derive(Clone)]
struct Episode {
    purpose: String,
    basis: String,
    opened: usize,
    opening: Opening,
    first_of_life: bool,
    /// Its collections: the one that opened it, if one did, and those that joined.
    collections: Vec<usize>,
}

/// Until when a purpose justifies keeping, and what says so. Undefined is the absence of this.
struct Until {
    at: i64,
    bounds: Vec<Bound>,
}

/// One thing that reaches an instant: a rule on its own, or an end event that cut rules.
#[derive(Clone)]
struct Bound {
    id: String,
    /// The version that binds by itself.
    version: Option<Rule>,
    /// Whether its expiry anonymises (of the rule that was cut, where an end event binds).
    anonymise: bool,
}

/// A purpose as step 9 sees it at a moment.
struct PurposeState {
    episode: Episode,
    hard: Option<End>,
    soft: Option<End>,
    until: Option<Until>,
    in_tail: bool,
}

impl PurposeState {
    /// The instant for comparisons: an undefined purpose never lets go of anything.
    fn until_or_infinite(&self) -> i64 {
        self.until.as_ref().map_or(INFINITE, |until| until.at)
    }

    fn undefined(&self) -> bool {
        self.until.is_none()
    }
}

/// Whatever stands in the way of destruction at a moment (step 11).
struct Blockers {
    holds: BTreeSet<String>,
    restrictions: BTreeSet<String>,
    deferred: bool,
    last_lifting: Option<i64>,
}

impl Blockers {
    fn any(&self) -> bool {
        !self.holds.is_empty() || !self.restrictions.is_empty() || self.deferred
    }

    fn ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = self.holds.iter().map(|hold| format!("hold:{hold}")).collect();
        ids.extend(self.restrictions.iter().map(|ground| format!("restriction:{ground}")));
        if self.deferred {
            ids.push("deferred:technical".to_owned());
        }
        ids
    }
}

struct Decision {
    state: &'static str,
    action: &'static str,
    due_at: Option<i64>,
    due: Option<String>,
    usable_for: Vec<String>,
    /// The same with settling purposes, which is what a use is judged by (step 7).
    usable_or_settling: Vec<String>,
    because: Vec<String>,
    findings: BTreeSet<&'static str>,
    overrun: bool,
    ordered: bool,
}

impl Decision {
    fn nothing(state: &'static str) -> Decision {
        Decision {
            state,
            action: "none",
            due_at: None,
            due: None,
            usable_for: vec![],
            usable_or_settling: vec![],
            because: vec![],
            findings: BTreeSet::new(),
            overrun: false,
            ordered: false,
        }
    }
}

#[derive(Clone)]
struct Case {
    key: Key,
    rules: Vec<Rule>,
    /// The zone in which a due date is told when no rule binds: that of the first keep rule by id.
    home: Tz,
    events: Vec<Event>,
    now: i64,
    silent: bool,
    /// Every missing ConsentGiven and AccountRegistered counts as there (4.4.1 a).
    evidence_assumed: bool,
    /// One list for each event judged so far.
    verdicts: Vec<Vec<Verdict>>,
    /// For each event judged so far: was it a lawful use?
    lawful: Vec<bool>,
    /// Codes raised by single events.
    findings: BTreeSet<&'static str>,
}

// ---------------------------------------------------------------------------------------------------------
// Small readers.

fn strings(list: &[Value]) -> Vec<String> {
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The zone of the first keep rule, as they are given.
fn home_zone(vector: &Value) -> Tz {
    let rules = vector["rules"].as_array().map_or(&[][..], |list| list);
    let mut keeps = rules.iter().map(Rule::read).filter(|rule| rule.kind == "keep");
    keeps.next().map_or(Tz::UTC, |rule| rule.tz)
}

fn utc(instant: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(instant).expect("an instant of the vector is within the calendar")
}

fn read_instant(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text)
        .unwrap_or_else(|error| panic!("instant {text:?}: {error}"))
        .timestamp_millis()
}

/// A validity date means midnight UTC.
fn read_date(text: &str) -> i64 {
    let day: NaiveDate = text.parse().unwrap_or_else(|error| panic!("date {text:?}: {error}"));
    day.and_hms_opt(0, 0, 0).expect("midnight exists").and_utc().timestamp_millis()
}

fn print_instant(instant: i64) -> String {
    let format = if instant % 1000 == 0 { SecondsFormat::Secs } else { SecondsFormat::Millis };
    utc(instant).to_rfc3339_opts(format, true)
}

/// PnD, PnM or PnY; months and years clamp to the end of the month.
fn add_period(day: NaiveDate, period: &str) -> NaiveDate {
    let inner = period.strip_prefix('P').unwrap_or_else(|| panic!("period {period:?}"));
    let (number, unit) = inner.split_at(inner.len() - 1);
    let number: u32 = number.parse().unwrap_or_else(|error| panic!("period {period:?}: {error}"));
    match unit {
        "D" => day + Days::new(u64::from(number)),
        "M" => day + Months::new(number),
        "Y" => day + Months::new(12 * number),
        _ => panic!("period {period:?}"),
    }
}

/// 00:00 local time, or the first instant of the day where the clocks skip midnight.
fn first_instant_of(day: NaiveDate, tz: Tz) -> i64 {
    let midnight = day.and_hms_opt(0, 0, 0).expect("midnight exists");
    for quarter in 0..12 {
        let local = midnight + chrono::TimeDelta::minutes(15 * quarter);
        if let Some(instant) = tz.from_local_datetime(&local).earliest() {
            return instant.timestamp_millis();
        }
    }
    panic!("no clock skips three hours from midnight");
}
