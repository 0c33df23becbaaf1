//! What IdentifierLinked and IdentifierUnlinked do to the bindings of one identifier.

use super::{Binding, Change, HolderKind, Use};
use crate::domain::id::SubjectId;
use crate::domain::time::Timestamp;

/// Binds an identifier to a person for `[from, to)`. Somebody else's binding in force at `from`
/// ends there; one that starts later ends the new one ("to = logout or the next person's link").
/// A device's own person keeps its binding: it is nobody's outside the links.
pub fn link<B: AsRef<Binding>>(
    bindings: &[B],
    canonical: SubjectId,
    from: Timestamp,
    to: Option<Timestamp>,
) -> (Use, Vec<Change>) {
    let all = || bindings.iter().map(AsRef::as_ref).enumerate();
    let others =
        || all().filter(|(_, b)| b.owner.canonical != canonical && b.owner.kind != HolderKind::Device);
    let own = || all().filter(|(_, b)| b.owner.canonical == canonical);
    let next = others().filter(|(_, b)| b.from > from).map(|(_, b)| b.from).min();
    let to = to.into_iter().chain(next).min();
    let end = |(binding, at)| Change::SetTo { identifier: 0, binding, to: at };
    let mut changes: Vec<Change> =
        others().filter(|(_, b)| b.covers(from)).map(|(i, _)| end((i, Some(from)))).collect();
    if let Some((i, running)) = own().find(|(_, b)| b.covers(from)) {
        if running.to == to {
            return (Use::Known, changes);
        }
        changes.push(end((i, to)));
        return (Use::Bound, changes);
    }
    // A link that is stated again and starts earlier swallows what it covers.
    let swallowed = own().filter(|(_, b)| b.from > from && to.is_none_or(|to| b.from < to));
    changes.extend(swallowed.map(|(i, b)| end((i, Some(b.from)))));
    if to.is_none_or(|to| from < to) {
        changes.push(Change::Bind { identifier: 0, from, to, reaches: false });
    }
    (Use::Bound, changes)
}

/// Ends a person's binding at `to`; what would start later is gone.
pub fn unlink<B: AsRef<Binding>>(bindings: &[B], canonical: SubjectId, to: Timestamp) -> Vec<Change> {
    let all = bindings.iter().map(AsRef::as_ref).enumerate();
    all.filter(|(_, b)| b.owner.canonical == canonical && b.to.is_none_or(|end| end > to))
        .map(|(binding, _)| Change::SetTo { identifier: 0, binding, to: Some(to) })
        .collect()
}
