//! Step 1: which facts count for a datum at an instant, in the order in which they happened.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::domain::id::Id;
use crate::domain::retention::{Act, Case};
use crate::domain::time::Timestamp;

/// A fact that counts.
#[derive(Debug, Clone)]
pub struct Counted<'a> {
    pub at: Timestamp,
    pub backfill: bool,
    pub act: Cow<'a, Act>,
}

/// All of them, sorted by when they happened; those of one instant as they were given.
#[derive(Debug, Clone)]
pub struct History<'a> {
    pub facts: Vec<Counted<'a>>,
    /// Versions of rules that count as never in force.
    pub annulled: HashSet<Id>,
    /// Before this instant the service did not record consents and registrations.
    pub evidence_from: Option<Timestamp>,
}

impl<'a> History<'a> {
    pub fn of(case: &Case<'a>) -> History<'a> {
        let past = || case.facts.iter().filter(|fact| fact.at <= case.now);
        let retracted: HashSet<&Id> = past()
            .filter_map(|fact| match &fact.act {
                Act::Retracted { ids } => Some(ids),
                _ => None,
            })
            .flatten()
            .collect();
        let counts = |id: &Option<Id>| id.as_ref().is_none_or(|id| !retracted.contains(id));
        let mut facts: Vec<Counted<'a>> = past()
            .filter(|fact| counts(&fact.id) && fact.act.is_about(case.key))
            .map(|fact| Counted { at: fact.at, backfill: fact.backfill, act: Cow::Borrowed(&fact.act) })
            .collect();
        facts.sort_by_key(|fact| fact.at);
        let lapsed = lapsed_consents(&facts, case.now);
        if !lapsed.is_empty() {
            // What lapses at an instant has lapsed before anything else happens in it.
            facts.splice(0..0, lapsed);
            facts.sort_by_key(|fact| fact.at);
        }
        let annulled = facts.iter().filter_map(|fact| match &*fact.act {
            Act::RuleAnnulled { version } => Some(version.clone()),
            _ => None,
        });
        History { annulled: annulled.collect(), evidence_from: evidence_from(&facts), facts }
    }

    /// The same without what was collected, added or used from a place in the order on (step 16).
    pub fn without_collections_from(&self, from: usize) -> History<'a> {
        let kept =
            self.facts.iter().enumerate().filter(|(place, fact)| *place < from || !is_of_a_copy(&fact.act));
        self.with(kept.map(|(_, fact)| fact.clone()).collect())
    }

    /// What stood before an execution that is only about what was collected before an instant (step 17).
    pub fn copy_before(&self, collected_before: Timestamp, execution: usize) -> History<'a> {
        let earlier = self.facts[..execution].iter();
        let kept = earlier.filter(|fact| fact.at < collected_before || !is_of_a_copy(&fact.act));
        self.with(kept.cloned().collect())
    }

    fn with(&self, facts: Vec<Counted<'a>>) -> History<'a> {
        History { facts, annulled: self.annulled.clone(), evidence_from: self.evidence_from }
    }
}

/// Whether it made a copy of the datum, or happened to one.
fn is_of_a_copy(act: &Act) -> bool {
    matches!(act, Act::Collected { .. } | Act::PurposeAdded { .. } | Act::Used { .. })
}

/// Consents that ended because their time was over (`domain.md` 3.9).
fn lapsed_consents<'a>(facts: &[Counted<'a>], now: Timestamp) -> Vec<Counted<'a>> {
    let mut lapsed = Vec::new();
    for (place, fact) in facts.iter().enumerate() {
        let Act::ConsentGiven { purpose, expires_at: Some(end) } = &*fact.act else { continue };
        let again = facts[place + 1..]
            .iter()
            .take_while(|later| later.at < *end)
            .any(|later| matches!(&*later.act, Act::ConsentGiven { purpose: given, .. } if given == purpose));
        if *end <= now && !again {
            let act = Act::ConsentWithdrawn { purpose: purpose.clone() };
            lapsed.push(Counted { at: *end, backfill: false, act: Cow::Owned(act) });
        }
    }
    lapsed
}

/// The last that was stated, else the first registration.
fn evidence_from(facts: &[Counted<'_>]) -> Option<Timestamp> {
    let mut registered = None;
    let mut stated = None;
    for fact in facts {
        if let Act::ServiceRegistered { evidence_from, .. } = &*fact.act {
            registered = registered.or(Some(fact.at));
            stated = evidence_from.or(stated);
        }
    }
    stated.or(registered)
}
