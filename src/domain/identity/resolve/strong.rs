//! Rules 1, 3, 4 and 5 for entries with a strong identifier.

use super::{Act, Binding, Change, Conflict, Decision, Fact, HolderKind, Question, Who, act, contact};
use crate::domain::identity::{Class, Kind};
use crate::domain::time::Timestamp;

pub(super) fn decide<B: AsRef<Binding>>(question: &Question<'_, B>) -> Decision {
    let (at, count) = (question.at, question.facts.len());
    let order = strongest_first(question);
    let found = order.iter().find_map(|&i| person_of(&question.facts[i], at).map(|b| (i, b)));
    let mut decision = match found {
        Some((_, binding)) => Decision::somebody(Who::Existing(binding.subject), count),
        None if order.iter().any(|&i| question.facts[i].was_erased(at)) => return Decision::late(count),
        None if question.opens => Decision::somebody(Who::New(HolderKind::Person), count),
        None => return Decision::nobody(count),
    };
    for &i in &order {
        strong(question, i, found, &mut decision);
    }
    let owner = found.map(|(_, binding)| &binding.owner);
    for (i, fact) in question.facts.iter().enumerate() {
        if fact.kind.class() == Class::Contact && question.act != Act::CancelAccount {
            contact::bind(question, i, owner.map(|o| o.canonical), false, &mut decision);
        }
    }
    decision.associate(question.facts, None);
    if found.is_none() && question.act != Act::RegisterAccount {
        decision.changes.push(Change::Account);
    }
    act(question, owner, &mut decision);
    decision
}

/// One strong identifier: it agrees, disagrees, or is unknown and bound.
fn strong<B: AsRef<Binding>>(
    question: &Question<'_, B>,
    i: usize,
    found: Option<(usize, &Binding)>,
    decision: &mut Decision,
) {
    let fact = &question.facts[i];
    match (person_of(fact, question.at), found) {
        (Some(other), Some((winner, binding))) if other.owner.canonical != binding.owner.canonical => {
            decision.conflicts.push(Conflict::Strong(question.facts[winner].kind, fact.kind));
        }
        (None, _) if !fact.was_erased(question.at) => {
            let to = fact.next_after(question.at).map(|(_, next)| next.from);
            // Events that follow an erasure may arrive in any order, and are one person's.
            let from = fact.free_since(question.at).unwrap_or(question.at);
            decision.bind(i, from, to, fact.erased.is_empty());
        }
        _ => {}
    }
}

/// Account in the emitter's own realm, openid, unionid, other accounts (rule 3); among equals the
/// realm decides, then the order of the entry.
fn strongest_first<B>(question: &Question<'_, B>) -> Vec<usize> {
    let rank = |fact: &Fact<'_, B>| match fact.kind {
        Kind::Account if question.home_realm.is_some() && fact.realm == question.home_realm => 0,
        Kind::Openid => 1,
        Kind::Unionid => 2,
        _ => 3,
    };
    let is_strong = |i: &usize| question.facts[*i].kind.class() == Class::Strong;
    let mut order: Vec<usize> = (0..question.facts.len()).filter(is_strong).collect();
    if order.len() > 1 {
        order.sort_by_key(|&i| (rank(&question.facts[i]), question.facts[i].realm));
    }
    order
}

/// Whom a strong identifier means: the binding in force, else the next one if it reaches back.
fn person_of<'a, B: AsRef<Binding>>(fact: &Fact<'a, B>, at: Timestamp) -> Option<&'a Binding> {
    if let Some((_, binding)) = fact.covering(at).max_by_key(|(_, binding)| binding.from) {
        return Some(binding);
    }
    if fact.was_erased(at) {
        return None;
    }
    fact.next_after(at).map(|(_, next)| next).filter(|next| next.reaches)
}
