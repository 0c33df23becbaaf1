//! Laws that hold for every case: in whatever order facts arrive, and whatever else is in the case.

use proptest::prelude::*;
use serde_json::Value;

use crate::domain::event::{Anchor, Period, PeriodUnit, RuleKind};
use crate::domain::retention::vector::{Vector, read};
use crate::domain::retention::{Act, Action, Case, Decision, Fact, Plan, State, decide};

#[path = "../../../tests/retention/naive/mod.rs"]
pub(crate) mod naive;
#[path = "../../../tests/retention/vectors/mod.rs"]
pub(crate) mod vectors;

fn vector(seed: u64) -> (Value, Vector) {
    let value = vectors::generate(seed);
    let text = serde_json::to_string(&[&value]).unwrap();
    let mut read = read(&text).unwrap_or_else(|wrong| panic!("{wrong:#?}\n{value:#}"));
    (value, read.remove(0))
}

/// Instants of a case differ, so that their order is one.
fn has_ties(vector: &Vector) -> bool {
    let mut instants: Vec<_> = vector.facts.iter().map(|fact| fact.at).collect();
    instants.sort();
    instants.windows(2).any(|pair| pair[0] == pair[1])
}

fn case<'a>(vector: &'a Vector, key: &'a crate::domain::datum::DatumKey) -> Case<'a> {
    let silent = key.service.as_ref().is_some_and(|service| vector.silent_services.contains(service));
    Case { key, rules: &vector.rules, facts: &vector.facts, now: vector.now, silent }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, max_global_rejects: 100_000, ..ProptestConfig::default() })]

    /// Somebody else read the same text and wrote it down step by step.
    #[test]
    fn an_independent_evaluation_agrees(seed in any::<u64>()) {
        let (mut value, vector) = vector(seed);
        let expected = naive::evaluate(&value);
        value["expect"] = expected;
        let told = read(&serde_json::to_string(&[&value]).unwrap()).unwrap().remove(0);
        let mut differences = told.differences();
        differences.retain(|difference| !(difference.key == "plan" && supposes_more(&vector)));
        prop_assert!(differences.is_empty(), "{differences:#?}\n{value:#}");
    }

    #[test]
    fn the_order_of_arrival_never_matters(seed in any::<u64>(), turn in any::<usize>()) {
        let (_, mut vector) = vector(seed);
        let Some(key) = vector.key.clone() else { return Ok(()) };
        prop_assume!(!has_ties(&vector));
        let decided = decide(&case(&vector, &key));
        let n = vector.facts.len();
        vector.facts.rotate_left(turn % n.max(1));
        vector.facts.reverse();
        prop_assert_eq!(decide(&case(&vector, &key)), decided);
    }

    /// A version that begins later and keeps longer changes nothing for what was collected before it.
    #[test]
    fn a_later_longer_rule_never_extends(seed in any::<u64>(), which in any::<usize>()) {
        let (_, mut vector) = vector(seed);
        let Some(key) = vector.key.clone() else { return Ok(()) };
        let before = decide(&case(&vector, &key));
        let keeps: Vec<_> = vector.rules.iter().filter(|rule| rule.kind == RuleKind::Keep).cloned().collect();
        prop_assume!(!keeps.is_empty() && before.state != State::Review);
        let mut longer = keeps[which % keeps.len()].clone();
        // It replaces nothing, so that the other one stays in force beside it.
        longer.id = "longer".parse().unwrap();
        longer.replaces = None;
        longer.to = None;
        longer.from = Some(vector.now.local_date(chrono_tz::UTC));
        longer.period = Period { count: 9_999, unit: PeriodUnit::Years };
        vector.rules.push(longer);
        let after = decide(&case(&vector, &key));
        prop_assert!(keep_until(&after) <= keep_until(&before), "{:?} {:?}", before, after);
    }

    #[test]
    fn a_floor_never_makes_anything_usable(seed in any::<u64>()) {
        let (_, mut vector) = vector(seed);
        let Some(key) = vector.key.clone() else { return Ok(()) };
        vector.facts.retain(|fact| !matches!(fact.act, Act::Used { .. }));
        let with = decide(&case(&vector, &key));
        vector.rules.retain(|rule| rule.kind != RuleKind::Floor);
        let without = decide(&case(&vector, &key));
        prop_assert!(with.usable_for.iter().all(|purpose| without.usable_for.contains(purpose)));
    }

    #[test]
    fn a_hold_never_shortens_and_never_destroys(seed in any::<u64>()) {
        let (_, mut vector) = vector(seed);
        let Some(key) = vector.key.clone() else { return Ok(()) };
        let free = decide(&case(&vector, &key));
        let placed = Act::HoldPlaced { of: Default::default(), hold: "one-more".parse().unwrap() };
        vector.facts.push(Fact { at: vector.now, id: None, backfill: false, act: placed });
        let held = decide(&case(&vector, &key));
        prop_assert_ne!(held.state, State::Due);
        prop_assert_eq!(held.due_at, None);
        let gone = matches!(free.state, State::Absent | State::Done);
        prop_assert_eq!(matches!(held.state, State::Absent | State::Done), gone);
    }

    /// If every consent and registration that is missing were there, it would still be due; else somebody confirms.
    #[test]
    fn nothing_goes_through_absence_alone_without_confirmation(seed in any::<u64>()) {
        let (_, vector) = vector(seed);
        let decision = vector.decide();
        prop_assert_eq!(decision.plan == Plan::None, decision.state != State::Due);
        if decision.plan == Plan::Execute {
            prop_assert!(matches!(decision.action, Action::Erase | Action::Anonymise));
            let ordered = decision.because.iter().any(|reason| reason.to_string().starts_with("order:"));
            let backfilled = vector.facts.iter().any(|fact| {
                let mine = matches!(&fact.act, Act::Collected { key, .. } if Some(key) == vector.key.as_ref());
                mine && fact.backfill && fact.at <= vector.now
            });
            prop_assert!(ordered || !backfilled || decision.because.is_empty() || has_earlier_life(&vector));
        }
    }
}

/// A registration that is supposed counts here for what runs from the end of the account as well, there only for the
/// opening that lacks it: then more waits for an officer here.
fn supposes_more(vector: &Vector) -> bool {
    let from_the_account = vector.rules.iter().any(|rule| rule.anchor == Anchor::AccountCancelled);
    from_the_account && vector.decide().plan == Plan::Confirm
}

/// A backfilled collection of an earlier life does not concern this one.
fn has_earlier_life(vector: &Vector) -> bool {
    vector.facts.iter().any(|fact| matches!(fact.act, Act::Executed { .. } | Act::Retracted { .. }))
}

/// When it goes; without end is the last instant.
fn keep_until(decision: &Decision) -> crate::domain::time::Timestamp {
    decision.due_at.unwrap_or(crate::domain::time::Timestamp::LAST)
}
