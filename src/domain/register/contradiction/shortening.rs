//! Whether a version of a retention rule makes data go earlier than what stands (`domain.md` 4.4, step 2): the one
//! change of a policy that cannot be taken back once it was carried out, so somebody else approves it, and there are
//! three days in which it can be seen and stopped. GDPR 5(1)(e), 25; PIPL 19.
//!
//! A version is compared with the one that it takes over from: it shortens where it ends earlier from any day, or where
//! it gives up what the other said of causes, anchor, and of the data that it selects. What takes over from nothing
//! shortens only if it is a cap, and then only what is kept by a rule that was in force here before: rules that are
//! published together, as those of a new house are, promise nothing to anybody until they are there. A new keep rule
//! gives a purpose a period; that its first run is approved is the plan's to see to (4.4, step 4).

use std::collections::HashSet;

use chrono::{Days, NaiveDate};

use super::Subject;
use crate::domain::event::{Body, RegisterKind, RetentionRule, RuleKind, RuleMatch, SoftEnd};
use crate::domain::id::Id;
use crate::domain::register::{Act, Version};
use crate::domain::retention;

/// What would keep data for longer, were it not for the new version.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shortened<'a> {
    pub by: &'a Version,
    rule: &'a RetentionRule,
}

impl Shortened<'_> {
    pub fn id(&self) -> &str {
        self.rule.id.as_str()
    }

    /// Whether somebody may rely on the longer period: it was not published in the same request.
    pub fn stood_before(&self) -> bool {
        self.by.is_recorded()
    }
}

/// What a change shortens; `None` for all but a version of a rule that shortens something.
pub(super) fn of<'a>(subject: &Subject<'a>) -> Option<Shortened<'a>> {
    let Body::RetentionRulePublished(body) = subject.new.body else { return None };
    let new = body.rule.as_ref()?;
    if subject.registered().any(Version::is_recorded) {
        // Said again it changes nothing, and said differently it is refused.
        return None;
    }
    let replaced = new.replaces.as_ref().and_then(|replaced| standing(subject, replaced));
    match replaced {
        Some(old) if old.rule.kind == new.kind => is_shorter(new, old.rule).then_some(old),
        // A floor that becomes something else protects no more.
        Some(old) if old.rule.kind == RuleKind::Floor => Some(old),
        _ => capped(subject, new),
    }
}

/// The version that a rule takes over from; one that was annulled has handed its place to the one before it.
fn standing<'a>(subject: &Subject<'a>, replaced: &'a Id) -> Option<Shortened<'a>> {
    let (mut id, mut seen) = (replaced, HashSet::new());
    while seen.insert(id) {
        let versions = subject.known.versions(RegisterKind::RetentionRule, id.as_str());
        let last = last_of(&versions)?;
        if !versions.iter().any(|version| version.act() == Act::Annuls) {
            return Some(last);
        }
        id = last.rule.replaces.as_ref()?;
    }
    None
}

fn last_of<'a>(versions: &[&'a Version]) -> Option<Shortened<'a>> {
    versions.iter().rev().find_map(|by| match &by.body {
        Body::RetentionRulePublished(body) => Some(Shortened { by, rule: body.rule.as_ref()? }),
        _ => None,
    })
}

fn is_shorter(new: &RetentionRule, old: &RetentionRule) -> bool {
    let everything = RuleMatch::default();
    let (selects, selected) =
        (new.matches.as_ref().unwrap_or(&everything), old.matches.as_ref().unwrap_or(&everything));
    new.anchor != old.anchor
        || ends_earlier(new, old)
        || fewer_causes(&new.causes, &old.causes)
        || match new.kind {
            // What a floor selects no more, and what a cap selects besides, has lost time.
            RuleKind::Floor => !covers(selects, selected) || ceases_earlier(new, old),
            RuleKind::Cap => !covers(selected, selects),
            RuleKind::Keep => false,
        }
}

/// Whether there is a day from which a period ends earlier. Four years have every kind of day: a month may be shorter
/// than 30 days, a year end is near or far.
fn ends_earlier(new: &RetentionRule, old: &RetentionRule) -> bool {
    const FOUR_YEARS: u64 = 4 * 365 + 1;
    let first = NaiveDate::from_ymd_opt(2024, 1, 1);
    let days = (0..FOUR_YEARS).filter_map(|n| first?.checked_add_days(Days::new(n)));
    let last = |rule: &RetentionRule, day: NaiveDate| {
        // A period that ends beyond the calendar does not end.
        retention::last_day(rule.period, rule.year_end, day).unwrap_or(NaiveDate::MAX)
    };
    days.into_iter().any(|day| last(new, day) < last(old, day))
}

/// No causes are all of them.
fn fewer_causes(new: &[SoftEnd], old: &[SoftEnd]) -> bool {
    !new.is_empty() && (old.is_empty() || old.iter().any(|cause| !new.contains(cause)))
}

/// A floor that ends by itself, before the one it takes over from.
fn ceases_earlier(new: &RetentionRule, old: &RetentionRule) -> bool {
    new.to.is_some_and(|to| old.to.is_none_or(|old| to < old))
}

/// Whether a match selects everything that another selects.
fn covers(wide: &RuleMatch, narrow: &RuleMatch) -> bool {
    fn all<T: PartialEq>(wide: &[T], narrow: &[T]) -> bool {
        wide.is_empty() || !narrow.is_empty() && narrow.iter().all(|term| wide.contains(term))
    }
    all(&wide.purposes, &narrow.purposes)
        && all(&wide.categories, &narrow.categories)
        && all(&wide.record_kinds, &narrow.record_kinds)
        && all(&wide.regimes, &narrow.regimes)
}

/// The keep rule that a cap with nothing to take over from cuts: in force when the cap is published, recorded before,
/// and about data that the cap may reach.
fn capped<'a>(subject: &Subject<'a>, new: &RetentionRule) -> Option<Shortened<'a>> {
    if new.kind != RuleKind::Cap {
        return None;
    }
    let registered = subject.known.of(RegisterKind::RetentionRule);
    let annulled: HashSet<Id> = registered
        .iter()
        .filter(|(_, versions)| versions.iter().any(|version| version.act() == Act::Annuls))
        .filter_map(|(id, _)| id.parse().ok())
        .collect();
    let published: Vec<Shortened<'a>> = registered
        .iter()
        .filter_map(|(_, versions)| last_of(versions).filter(Shortened::stood_before))
        .collect();
    let rules: Vec<RetentionRule> = published.iter().map(|one| one.rule.clone()).collect();
    let mut in_force = retention::in_force(&rules, &annulled, subject.new.now);
    let cut = in_force.find(|rule| rule.kind == RuleKind::Keep && meet(rule, new))?;
    published.into_iter().find(|one| one.rule.id == cut.id)
}

/// Whether a datum may be of both. It has one category and one record kind; purposes and regimes it may have several.
fn meet(keep: &RetentionRule, cap: &RetentionRule) -> bool {
    let everything = RuleMatch::default();
    let (keep, cap) =
        (keep.matches.as_ref().unwrap_or(&everything), cap.matches.as_ref().unwrap_or(&everything));
    let both = |a: &[Id], b: &[Id]| a.is_empty() || b.is_empty() || a.iter().any(|term| b.contains(term));
    both(&keep.categories, &cap.categories) && both(&keep.record_kinds, &cap.record_kinds)
}
