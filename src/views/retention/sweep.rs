//! Everybody's data at once, one person after the other, so that memory stays flat.

use std::sync::Arc;

use crate::domain::datum::DatumKey;
use crate::domain::event::{Anchor, PeriodUnit, RetentionRule, RuleKind};
use crate::domain::id::{Id, SubjectId};
use crate::domain::retention::{Act, Decision, Fact};
use crate::domain::time::{MS_PER_DAY, Timestamp};
use crate::views::Error;
use crate::views::ask::Ask;
use crate::views::codec::Malformed;
use crate::views::group::Group;
use crate::views::lock;
use crate::views::report::Line;
use crate::views::retention::facts::{Gathered, Span};
use crate::views::retention::{House, Person};
use crate::views::store::tag;

/// What is decided about everybody.
#[derive(Debug, Clone, Copy)]
pub struct Sweep {
    pub as_of: Timestamp,
    pub known_at: Option<u64>,
}

/// Rules that are tried: as if these versions were published, and those had never been in force.
#[derive(Debug, Clone, Default)]
pub struct Change {
    pub published: Vec<RetentionRule>,
    pub annulled: Vec<Id>,
}

impl Change {
    fn of(&self, house: &House, at: Timestamp) -> House {
        let mut changed = house.clone();
        changed.rules.retain(|rule| self.published.iter().all(|tried| tried.id != rule.id));
        changed.rules.extend(self.published.iter().cloned());
        let annul = |version: &Id| {
            let act = Act::RuleAnnulled { version: version.clone() };
            Fact { at, id: None, backfill: false, act }
        };
        changed.facts.extend(self.annulled.iter().map(annul));
        changed
    }
}

/// One datum of somebody.
#[derive(Debug, Clone)]
pub struct Held<'a> {
    pub subject: SubjectId,
    pub key: &'a DatumKey,
    pub decision: Decision,
    /// As it would be by the rules that are tried, if any are.
    pub changed: Option<Decision>,
    /// Who got it from here.
    pub recipients: Vec<&'a Id>,
}

impl Ask {
    /// Tells `each` of every datum, and what it would be by other rules if some are tried.
    pub fn sweep(
        &self,
        sweep: &Sweep,
        change: Option<&Change>,
        each: &mut dyn FnMut(Held<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let known_at = sweep.known_at.unwrap_or(u64::MAX).min(self.applied);
        let house = Arc::new(self.house_at(known_at, sweep.as_of)?);
        let tried = change.map(|change| Arc::new(change.of(&house, sweep.as_of)));
        let bounds = Bounds::of(&house, tried.as_deref());
        for row in self.reading.prefix(&[tag::PERSON]) {
            let (key, _) = row?;
            let subject = SubjectId(*key.last_chunk::<16>().ok_or(Malformed("person"))?);
            // Those merged into somebody are swept with whom they are now.
            let group = self.group(subject, known_at)?.filter(|group| group.canonical == subject);
            let Some(group) = group else { continue };
            let (gathered, _) = self.known(&group, known_at, &bounds)?;
            let changed = tried.as_ref().map(|tried| Person::new(gathered.clone(), Arc::clone(tried)));
            let person = Person::new(gathered, Arc::clone(&house));
            for key in person.keys() {
                each(Held {
                    subject,
                    key,
                    decision: person.decide(key, sweep.as_of),
                    changed: changed.as_ref().map(|person| person.decide(key, sweep.as_of)),
                    recipients: person.recipients(key).collect(),
                })?;
            }
        }
        Ok(())
    }

    /// A person's facts, and the lines that tell them: of the rows where they say enough, else of the records.
    pub(super) fn known(
        &self,
        group: &Group,
        known_at: u64,
        bounds: &Bounds,
    ) -> Result<(Gathered, Vec<Line>), Error> {
        if let Some(lines) = self.row_lines(group, known_at)? {
            let gathered = self.gather(&lines, known_at);
            if bounds.are_kept_by(&gathered) {
                return Ok((gathered, lines));
            }
        }
        let lines = self.single_lines(group, known_at)?;
        Ok((self.gather(&lines, known_at), lines))
    }

    pub(in crate::views) fn gather(&self, lines: &[Line], known_at: u64) -> Gathered {
        let registers = lock::read(&self.generation.shared.registers);
        Gathered::of(lines, &registers, known_at)
    }
}

/// What a span may hide nothing of: what ends or opens, and periods that may have run out in between.
pub struct Bounds {
    ends: Vec<Timestamp>,
    /// Keep rules and caps whose period runs from something that happens again and again.
    rules: Vec<RetentionRule>,
}

impl Bounds {
    pub fn of(house: &House, tried: Option<&House>) -> Bounds {
        let rules = house.rules.iter().chain(tried.into_iter().flat_map(|tried| &tried.rules));
        let runs = |rule: &&RetentionRule| {
            rule.kind != RuleKind::Floor
                && !matches!(rule.anchor, Anchor::PurposeEnded | Anchor::AccountCancelled)
        };
        let ends = house.facts.iter().filter(|fact| fact.act.ends()).map(|fact| fact.at);
        Bounds { ends: ends.collect(), rules: rules.filter(runs).cloned().collect() }
    }

    /// Whether first and last of each span say as much as all that lie between.
    pub(super) fn are_kept_by(&self, gathered: &Gathered) -> bool {
        let acts = gathered.general.iter().chain(gathered.data.values().flatten());
        let ends: Vec<Timestamp> = acts
            .filter(|fact| decides(&fact.act))
            .map(|fact| fact.at)
            .chain(self.ends.iter().copied())
            .collect();
        gathered.spans.iter().all(|span| {
            let runs_out = |rule: &RetentionRule| {
                at_least_ms(rule) <= span.length_ms() && concerns(rule, span) && is_about(rule, gathered)
            };
            !self.rules.iter().any(runs_out) && !ends.iter().any(|at| span.first < *at && *at < span.last)
        })
    }
}

impl Span {
    fn length_ms(&self) -> i64 {
        self.last.since(self.first)
    }
}

/// What ends something, or lets it open again.
fn decides(act: &Act) -> bool {
    act.ends()
        || matches!(
            act,
            Act::ConsentGiven { .. }
                | Act::RestrictionApplied { .. }
                | Act::PurposeAdded { .. }
                | Act::TransactionCompleted { .. }
        )
}

/// Whether a rule may speak for what a span is of.
fn concerns(rule: &RetentionRule, span: &Span) -> bool {
    let Some(of) = &rule.matches else { return true };
    let kind = span
        .record_kind
        .as_ref()
        .is_none_or(|kind| of.record_kinds.is_empty() || of.record_kinds.iter().any(|wanted| wanted == kind));
    kind && (of.purposes.is_empty() || of.purposes.iter().any(|wanted| span.purposes.contains(wanted)))
}

/// Whether a rule may be about anything that was gathered.
fn is_about(rule: &RetentionRule, gathered: &Gathered) -> bool {
    let Some(of) = &rule.matches else { return true };
    let fits = |wanted: &[Id], has: Option<&Id>| {
        wanted.is_empty() || has.is_some_and(|has| wanted.iter().any(|wanted| wanted == has))
    };
    gathered.data.keys().any(|key| {
        fits(&of.record_kinds, key.record_kind.as_ref()) && fits(&of.categories, Some(&key.category))
    })
}

/// No less than a rule's period lasts, in milliseconds.
fn at_least_ms(rule: &RetentionRule) -> i64 {
    let days = match rule.period.unit {
        PeriodUnit::Days => 1,
        PeriodUnit::Months => 28,
        PeriodUnit::Years => 365,
    };
    i64::from(rule.period.count) * days * MS_PER_DAY
}
