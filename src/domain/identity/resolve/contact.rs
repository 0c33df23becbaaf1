//! Rules 1, 4 and 5 for entries whose strongest identifier is a contact, and how a contact is bound.

use super::{Act, Binding, Change, Conflict, Decision, HolderKind, Question, Use, Who, act};
use crate::domain::id::SubjectId;
use crate::domain::identity::Class;

pub(super) fn decide<B: AsRef<Binding>>(question: &Question<'_, B>) -> Decision {
    let (at, count) = (question.at, question.facts.len());
    let contacts = || question.facts.iter().filter(|fact| fact.kind.class() == Class::Contact);
    // A contact that registers an account is a new person, unless this very registration bound it.
    let counts = |b: &&Binding| question.act != Act::RegisterAccount || b.from == at;
    let covering = contacts().flat_map(|fact| fact.covering(at)).map(|(_, b)| b).filter(counts);
    match only_one(covering) {
        Found::One(binding) => return somebody(question, Some(binding)),
        Found::Many => return Decision::nobody(count),
        Found::None => {}
    }
    if contacts().any(|fact| fact.was_erased(at)) {
        return Decision::late(count);
    }
    if !question.opens {
        return Decision::nobody(count);
    }
    let uncovered = contacts().filter(|fact| fact.covering(at).next().is_none());
    let later = uncovered.filter_map(|fact| fact.next_after(at)).map(|(_, b)| b).filter(|b| b.reaches);
    match only_one(later) {
        Found::One(binding) => somebody(question, Some(binding)),
        Found::None | Found::Many => somebody(question, None),
    }
}

enum Found<'a> {
    None,
    One(&'a Binding),
    Many,
}

fn only_one<'a>(mut bindings: impl Iterator<Item = &'a Binding>) -> Found<'a> {
    let Some(mut first) = bindings.next() else { return Found::None };
    for other in bindings {
        if other.owner.canonical != first.owner.canonical {
            return Found::Many;
        }
        // Of two sides of a merge the one that lasts is named, in whatever order they were found.
        if other.subject == other.owner.canonical {
            first = other;
        }
    }
    Found::One(first)
}

/// The person of a known contact, or a new one. Further contacts are bound only to somebody who
/// has no account: whoever types an account's telephone number into a form does not thereby give
/// the account an address.
fn somebody<B: AsRef<Binding>>(question: &Question<'_, B>, found: Option<&Binding>) -> Decision {
    let who = match found {
        Some(binding) => Who::Existing(binding.subject),
        None => Who::New(HolderKind::Person),
    };
    let mut decision = Decision::somebody(who, question.facts.len());
    let canonical = found.map(|binding| binding.owner.canonical);
    let reaches = question.act != Act::RegisterAccount;
    for (i, fact) in question.facts.iter().enumerate() {
        let own_later = fact.next_after(question.at).is_some_and(|(_, next)| {
            question.opens && next.reaches && Some(next.owner.canonical) == canonical
        });
        let bindable = question.act != Act::CancelAccount
            && (own_later || !found.is_some_and(|binding| binding.owner.account));
        if fact.kind.class() == Class::Contact && bindable {
            bind(question, i, canonical, reaches, &mut decision);
        }
    }
    decision.associate(question.facts, None);
    act(question, found.map(|binding| &binding.owner), &mut decision);
    decision
}

/// Binds one contact to the person decided on (`canonical`, or a new one) from `at` on: what covers
/// `at` ends there, with a conflict if its account lives; the next binding of others stays.
pub(super) fn bind<B: AsRef<Binding>>(
    question: &Question<'_, B>,
    i: usize,
    canonical: Option<SubjectId>,
    reaches: bool,
    decision: &mut Decision,
) {
    let (fact, at) = (&question.facts[i], question.at);
    let is_own = |binding: &Binding| Some(binding.owner.canonical) == canonical;
    if fact.covering(at).any(|(_, binding)| is_own(binding)) {
        return;
    }
    let mut covered = false;
    for (place, binding) in fact.covering(at) {
        covered = true;
        decision.changes.push(Change::SetTo { identifier: i, binding: place, to: Some(at) });
        let conflict = Conflict::ContactRebound(fact.kind);
        if binding.owner.account_lives(at) && !decision.conflicts.contains(&conflict) {
            decision.conflicts.push(conflict);
        }
    }
    if !covered && fact.was_erased(at) {
        return;
    }
    match fact.next_after(at) {
        Some((place, next)) if is_own(next) => {
            decision.uses[i] = Use::Bound;
            decision.changes.push(Change::SetFrom { identifier: i, binding: place, from: at });
        }
        next => {
            let to = next.map(|(_, next)| next.from);
            decision.bind(i, at, to, reaches && fact.erased.is_empty());
        }
    }
}
