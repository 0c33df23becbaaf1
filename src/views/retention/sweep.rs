//! Everybody's data at once, one person after the other, so that memory stays flat.

use std::sync::Arc;

use crate::domain::datum::DatumKey;
use crate::domain::event::{Anchor, EventType, PeriodUnit, RetentionRule, RuleKind};
use crate::domain::id::{Id, SubjectId};
use crate::domain::retention::{Act, Decision, Fact};
use crate::domain::time::{MS_PER_DAY, Timestamp};
use crate::views::Error;
use crate::views::ask::Ask;
use crate::views::codec::Malformed;
use crate::views::group::Group;
use crate::views::lock;
use crate::views::report::Line;
use crate::views::retention::facts::Gathered;
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
            let gathered = self.gathered(&group, known_at, &bounds)?;
            let shared = gathered.shared.clone();
            let changed = tried.as_ref().map(|tried| Person::new(gathered.clone(), Arc::clone(tried)));
            let person = Person::new(gathered, Arc::clone(&house));
            for key in &person.keys {
                let got = shared.iter().filter(|(_, cats)| cats.contains(&key.category));
                each(Held {
                    subject,
                    key,
                    decision: person.decide(key, sweep.as_of),
                    changed: changed.as_ref().map(|person| person.decide(key, sweep.as_of)),
                    recipients: got.map(|(recipient, _)| recipient).collect(),
                })?;
            }
        }
        Ok(())
    }

    /// By the rows where they say enough, else by the records.
    fn gathered(&self, group: &Group, known_at: u64, bounds: &Bounds) -> Result<Gathered, Error> {
        if let Some(lines) = self.row_lines(group, known_at)?
            && bounds.are_kept_by(&lines)
        {
            return Ok(self.gather(&lines, known_at));
        }
        let lines = self.single_lines(group, known_at)?;
        Ok(self.gather(&lines, known_at))
    }

    pub(super) fn gather(&self, lines: &[Line], known_at: u64) -> Gathered {
        let registers = lock::read(&self.generation.shared.registers);
        Gathered::of(lines, &registers, known_at)
    }
}

/// What a tally may span without hiding something: nothing that ends or opens, and no period that may have run out in
/// between.
pub(super) struct Bounds {
    ends: Vec<Timestamp>,
    shortest_ms: i64,
}

impl Bounds {
    pub(super) fn of(house: &House, tried: Option<&House>) -> Bounds {
        let ends = house
            .facts
            .iter()
            .filter(|fact| matches!(fact.act, Act::ServiceTerminated { .. } | Act::DeletionOrdered { .. }));
        let rules = house.rules.iter().chain(tried.into_iter().flat_map(|tried| &tried.rules));
        let runs = |rule: &&RetentionRule| {
            rule.kind == RuleKind::Keep
                && !matches!(rule.anchor, Anchor::PurposeEnded | Anchor::AccountCancelled)
        };
        Bounds {
            ends: ends.map(|fact| fact.at).collect(),
            shortest_ms: rules.filter(runs).map(at_least_ms).min().unwrap_or(i64::MAX),
        }
    }

    pub(super) fn are_kept_by(&self, lines: &[Line]) -> bool {
        let acts = lines.iter().filter(|line| ends(line.shape.event_type)).map(Line::at);
        let ends: Vec<Timestamp> = acts.chain(self.ends.iter().copied()).collect();
        lines.iter().filter(|line| opens(line.shape.event_type) && line.tally.count > 2).all(|line| {
            let (first, last) = (line.tally.first, line.tally.last);
            last.since(first) < self.shortest_ms && !ends.iter().any(|at| first < *at && *at < last)
        })
    }
}

/// Tallies of which every single instant may decide.
fn opens(event_type: EventType) -> bool {
    matches!(event_type, EventType::DataCollected | EventType::DataUsed | EventType::AccountRegistered)
}

/// Acts that end something, or let it open again.
fn ends(event_type: EventType) -> bool {
    use EventType::*;
    matches!(
        event_type,
        AccountCancelled
            | ConsentGiven
            | ConsentWithdrawn
            | PurposeAdded
            | PurposeFulfilled
            | ObjectionUpheld
            | UnlawfulProcessingFound
            | ErasureAccepted
            | RestrictionApplied
            | RestrictionLifted
            | AuthorityDeletionOrdered
            | ErasureExecuted
            | AnonymisationExecuted
            | ErasureDeferred
            | TransactionCompleted
    )
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
