//! Rules 2, 4 and 5 for entries that name a device at most.

use super::{Binding, Decision, HolderKind, Question, Who};

/// Within a link's interval the device is that person; outside it a device person of its own.
/// IP addresses and stations alone make nobody.
pub(super) fn decide<B: AsRef<Binding>>(question: &Question<'_, B>) -> Decision {
    let (at, count) = (question.at, question.facts.len());
    let devices = question.facts.iter().enumerate().filter(|(_, fact)| fact.kind.is_device());
    let Some((i, fact)) = devices.min_by_key(|(_, fact)| fact.kind) else {
        return Decision::nobody(count);
    };
    let is_device = |binding: &Binding| binding.owner.kind == HolderKind::Device;
    let linked = fact.covering(at).map(|(_, b)| b).filter(|b| !is_device(b)).max_by_key(|b| b.from);
    let found = match linked {
        Some(binding) => Some(binding),
        None if fact.was_erased(at) => return Decision::late(count),
        None => fact.bindings.iter().map(AsRef::as_ref).find(|b| is_device(b)),
    };
    let mut decision = match found {
        Some(binding) => Decision::somebody(Who::Existing(binding.subject), count),
        None if question.opens => Decision::somebody(Who::New(HolderKind::Device), count),
        None => return Decision::nobody(count),
    };
    if found.is_none() {
        decision.bind(i, at, None, true);
    }
    decision.associate(question.facts, Some(i));
    decision
}
