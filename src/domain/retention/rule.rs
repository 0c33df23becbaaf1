//! Rules as a datum sees them: which versions concern it, when each is in force, and until when a period runs
//! (steps 1 and 8).

use std::collections::HashSet;

use chrono::{Datelike, Days, Months, NaiveDate};

use crate::domain::event::{Period, PeriodUnit, RetentionRule, RuleKind, RuleMatch};
use crate::domain::id::{Id, Regime};
use crate::domain::retention::Case;
use crate::domain::time::{Timestamp, midnight};

/// A version that may concern the datum, with the time in which it is in force.
#[derive(Debug, Clone, Copy)]
pub struct Version<'a> {
    pub rule: &'a RetentionRule,
    from: Option<Timestamp>,
    end: Option<Timestamp>,
}

/// All of them, in the order in which they were given.
#[derive(Debug, Clone)]
pub struct Rules<'a> {
    pub versions: Vec<Version<'a>>,
    /// The zone of the first keep rule of all, in which days are told where no rule binds.
    pub home: chrono_tz::Tz,
}

impl<'a> Rules<'a> {
    pub fn none() -> Rules<'a> {
        Rules { versions: Vec::new(), home: chrono_tz::UTC }
    }

    /// Versions for the datum's record kind and category that were not annulled.
    pub fn of(case: &Case<'a>, annulled: &HashSet<Id>) -> Rules<'a> {
        let concerns = |rule: &&RetentionRule| {
            let fits = |wanted: &[Id], has: Option<&Id>| {
                wanted.is_empty() || has.is_some_and(|has| wanted.contains(has))
            };
            rule.matches.as_ref().is_none_or(|of| {
                fits(&of.record_kinds, case.key.record_kind.as_ref())
                    && fits(&of.categories, Some(&case.key.category))
            })
        };
        let versions = case
            .rules
            .iter()
            .filter(|rule| !annulled.contains(&rule.id))
            .filter(concerns)
            .map(|rule| Version::of(rule, case.rules, annulled))
            .collect();
        let first = case.rules.iter().find(|rule| rule.kind == RuleKind::Keep);
        Rules { versions, home: first.map_or(chrono_tz::UTC, |rule| rule.tz) }
    }

    pub fn kind(&self, kind: RuleKind) -> impl Iterator<Item = &Version<'a>> {
        self.versions.iter().filter(move |version| version.rule.kind == kind)
    }

    pub fn version(&self, id: &Id) -> Option<&Version<'a>> {
        self.versions.iter().find(|version| version.rule.id == *id)
    }
}

/// The versions in force at an instant; those annulled never were.
pub fn in_force<'a>(
    rules: &'a [RetentionRule],
    annulled: &HashSet<Id>,
    at: Timestamp,
) -> impl Iterator<Item = &'a RetentionRule> {
    let standing = rules.iter().filter(|rule| !annulled.contains(&rule.id));
    standing.filter(move |rule| Version::of(rule, rules, annulled).is_in_force(at))
}

/// When a version ends: at its `to`, or when the version that replaces it begins, whichever is earlier. An annulled
/// version hands its place to the one that replaces that; if there is none, the replaced one runs on.
fn end_of(rule: &RetentionRule, all: &[RetentionRule], annulled: &HashSet<Id>) -> Option<Timestamp> {
    let stated = rule.to.map(|day| midnight(day, chrono_tz::UTC));
    let taken_over = taken_over(&rule.id, all, annulled, all.len());
    stated.into_iter().chain(taken_over).min()
}

/// `steps` bounds the way along versions that replace each other in a circle.
fn taken_over(id: &Id, all: &[RetentionRule], annulled: &HashSet<Id>, steps: usize) -> Option<Timestamp> {
    let next = steps.checked_sub(1)?;
    let replacing = all.iter().filter(|rule| rule.replaces.as_ref() == Some(id) && rule.id != *id);
    replacing
        .filter_map(|rule| {
            if annulled.contains(&rule.id) {
                return taken_over(&rule.id, all, annulled, next);
            }
            // Without a first day a version was always in force, and what it replaces never was.
            Some(rule.from.map_or(Timestamp::FIRST, |day| midnight(day, chrono_tz::UTC)))
        })
        .min()
}

impl<'a> Version<'a> {
    fn of(rule: &'a RetentionRule, all: &[RetentionRule], annulled: &HashSet<Id>) -> Version<'a> {
        let from = rule.from.map(|day| midnight(day, chrono_tz::UTC));
        Version { rule, from, end: end_of(rule, all, annulled) }
    }

    /// From when on it is in force; `None`: always was.
    pub fn took_effect(&self) -> Option<Timestamp> {
        self.from
    }

    /// `[from, end)`.
    pub fn is_in_force(&self, at: Timestamp) -> bool {
        self.was_in_force(at, at)
    }

    /// At any moment from one instant to another, both included. A version that was to end before it began never
    /// was.
    pub fn was_in_force(&self, first: Timestamp, last: Timestamp) -> bool {
        let first = self.from.map_or(first, |from| from.max(first));
        first <= last && self.end.is_none_or(|end| first < end)
    }

    /// Whether it is about one of these purposes and one of these regimes.
    pub fn is_about(&self, mut purposes: impl Iterator<Item = impl AsRef<str>>, regimes: &[Regime]) -> bool {
        let any = RuleMatch::default();
        let of = self.rule.matches.as_ref().unwrap_or(&any);
        let wanted = |purpose: &str| of.purposes.iter().any(|wanted| wanted.as_str() == purpose);
        (of.purposes.is_empty() || purposes.any(|purpose| wanted(purpose.as_ref())))
            && (of.regimes.is_empty() || of.regimes.iter().any(|wanted| regimes.contains(wanted)))
    }

    /// Until when its period runs from an anchor. The last day counts in full; no period at all ends with the
    /// anchor.
    pub fn until(&self, anchor: Timestamp) -> Timestamp {
        let RetentionRule { period, year_end, tz, .. } = self.rule;
        if period.count == 0 && !year_end {
            return anchor;
        }
        let last = last_day(*period, *year_end, anchor.local_date(*tz));
        // A period that ends beyond the calendar does not end.
        last.and_then(|last| last.succ_opt()).map_or(Timestamp::LAST, |after| midnight(after, *tz))
    }
}

/// The last day on which a period runs that begins on a day; `None` beyond the calendar.
pub fn last_day(period: Period, year_end: bool, day: NaiveDate) -> Option<NaiveDate> {
    let first = if year_end { NaiveDate::from_ymd_opt(day.year(), 12, 31)? } else { day };
    match period.unit {
        PeriodUnit::Days => first.checked_add_days(Days::new(period.count.into())),
        PeriodUnit::Months => first.checked_add_months(Months::new(period.count)),
        PeriodUnit::Years => first.checked_add_months(Months::new(period.count.saturating_mul(12))),
    }
}
