//! Who an entry means: the rules of `domain.md` 2.5 as a pure function over what is known of each
//! identifier. A vault adapter looks up the facts, asks here, and executes what it is told; it
//! decides nothing itself.
//!
//! Two readings that the rules leave open are fixed here, both so that the order in which events
//! arrive matters as little as possible. A *strong* identifier means its person also before its
//! first sight: the binding reaches back to the end of the one before. A *contact* bound in an
//! entry without a strong identifier reaches back too, but only for opening events, and the
//! binding is moved to start there.

mod contact;
mod device;
mod links;
mod strong;

#[cfg(test)]
mod tests;

use crate::domain::id::{Id, SubjectId};
use crate::domain::identity::{Class, Kind};
use crate::domain::time::Timestamp;

pub use links::{link, unlink};

/// What holds keys of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HolderKind {
    Person,
    /// A device nobody has logged in on yet (rule 2).
    Device,
    Organisation,
    /// A hold, breach, case or complaint, whose narrative concerns many or nobody.
    Matter,
}

/// What an event does to the bindings of the person its entry names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    None,
    /// AccountRegistered: a new account is a new person, even if its contact is known.
    RegisterAccount,
    /// AccountCancelled: contact bindings end at `occurred_at`.
    CancelAccount,
}

/// What became of one identifier of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Bound to the person from `occurred_at` on, by this event.
    Bound,
    /// Was bound already, or decided nothing.
    Known,
    /// A shared kind, seen with this person for the first time.
    Seen,
    /// Names nobody now: kept so that a later binding can attribute the event.
    Unattributed,
}

/// Why identifiers of one entry disagree. A finding, never a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// Two strong identifiers point at two people; the first named, the strongest, won.
    Strong(Kind, Kind),
    /// A contact was re-bound while the old account lives.
    ContactRebound(Kind),
}

/// What is known of the holder of a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The end of the chain of merges: two holders with the same one are one person.
    pub canonical: SubjectId,
    pub kind: HolderKind,
    /// Has, or had, an account.
    pub account: bool,
    pub cancelled_at: Option<Timestamp>,
}

impl Owner {
    fn account_lives(&self, at: Timestamp) -> bool {
        self.account && self.cancelled_at.is_none_or(|end| end > at)
    }
}

/// An identifier belongs to a holder for `[from, to)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    pub subject: SubjectId,
    pub owner: Owner,
    pub from: Timestamp,
    /// `None` while it runs.
    pub to: Option<Timestamp>,
    /// `from` is only when the identifier was first seen.
    pub reaches: bool,
}

impl Binding {
    pub fn covers(&self, at: Timestamp) -> bool {
        self.from <= at && self.to.is_none_or(|to| at < to)
    }
}

impl Binding {
    /// Whether an identifier of this kind may mean the holder at an instant.
    pub fn may_mean(&self, kind: Kind, at: Timestamp) -> bool {
        let before_first_sight = kind.class() == Class::Strong && self.reaches && at < self.from;
        self.covers(at) || before_first_sight
    }
}

impl AsRef<Binding> for Binding {
    fn as_ref(&self) -> &Binding {
        self
    }
}

/// The identifier was an erased person's for `[from, to)`, less than 90 days ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erased {
    /// `None`: from the beginning.
    pub from: Option<Timestamp>,
    pub to: Timestamp,
}

/// All that is known of one identifier of an entry.
#[derive(Debug, Clone, Copy)]
pub struct Fact<'a, B> {
    pub kind: Kind,
    pub realm: Option<&'a Id>,
    /// In any order.
    pub bindings: &'a [B],
    pub erased: &'a [Erased],
}

impl<'a, B: AsRef<Binding>> Fact<'a, B> {
    /// The bindings in force at an instant, each with its place in `bindings`.
    fn covering(&self, at: Timestamp) -> impl Iterator<Item = (usize, &'a Binding)> {
        let all = self.bindings.iter().map(AsRef::as_ref).enumerate();
        all.filter(move |(_, binding)| binding.covers(at))
    }

    /// The first binding that starts after an instant.
    fn next_after(&self, at: Timestamp) -> Option<(usize, &'a Binding)> {
        let all = self.bindings.iter().map(AsRef::as_ref).enumerate();
        all.filter(|(_, binding)| binding.from > at).min_by_key(|(_, binding)| binding.from)
    }

    /// From when on somebody new has the identifier: since the person who was erased last had it, or
    /// whoever had it after; otherwise nobody can say.
    fn free_since(&self, at: Timestamp) -> Option<Timestamp> {
        let erased = self.erased.iter().map(|gone| gone.to).filter(|to| *to <= at).max()?;
        let others = self.bindings.iter().filter_map(|binding| binding.as_ref().to);
        Some(others.filter(|to| *to <= at).fold(erased, Timestamp::max))
    }

    fn was_erased(&self, at: Timestamp) -> bool {
        self.erased.iter().any(|gone| gone.from.is_none_or(|from| from <= at) && at < gone.to)
    }
}

/// One person of one event.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a, B> {
    /// One per identifier of the entry, in its order.
    pub facts: &'a [Fact<'a, B>],
    /// Where the emitter's own accounts live.
    pub home_realm: Option<&'a Id>,
    pub at: Timestamp,
    pub opens: bool,
    pub act: Act,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The holder that the identifiers name, not the end of its chain of merges: a split gives
    /// every event back to that side.
    Existing(SubjectId),
    New(HolderKind),
    Nobody,
}

/// What is to be stored. `identifier` and `binding` are places in the question's lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Bind to whom the decision names.
    Bind { identifier: usize, from: Timestamp, to: Option<Timestamp>, reaches: bool },
    /// A binding starts earlier than was known.
    SetFrom { identifier: usize, binding: usize, from: Timestamp },
    /// A binding ends here; one that ends where it starts, or before, is removed.
    SetTo { identifier: usize, binding: usize, to: Option<Timestamp> },
    /// A shared identifier was seen with the person. Stored once; known ones are passed over.
    Associate { identifier: usize },
    /// The person has an account, which is not cancelled.
    Account,
    /// The account was cancelled: every contact binding of the person that covers `at` ends there.
    Cancel { at: Timestamp },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub who: Who,
    /// One per identifier. `Seen` is turned into `Known` by whoever finds the association stored.
    pub uses: Vec<Use>,
    pub changes: Vec<Change>,
    pub conflicts: Vec<Conflict>,
    pub late_for_erased: bool,
}

impl Decision {
    fn nobody(identifiers: usize) -> Self {
        Decision {
            who: Who::Nobody,
            uses: vec![Use::Unattributed; identifiers],
            changes: Vec::new(),
            conflicts: Vec::new(),
            late_for_erased: false,
        }
    }

    fn late(identifiers: usize) -> Self {
        Decision { late_for_erased: true, ..Decision::nobody(identifiers) }
    }

    fn somebody(who: Who, identifiers: usize) -> Self {
        Decision { who, uses: vec![Use::Known; identifiers], ..Decision::nobody(0) }
    }

    /// Whether anything has to be durable before the answer is given. Associations have not.
    pub fn must_be_stored(&self) -> bool {
        matches!(self.who, Who::New(_)) || self.changes.iter().any(|c| !matches!(c, Change::Associate { .. }))
    }

    fn bind(&mut self, identifier: usize, from: Timestamp, to: Option<Timestamp>, reaches: bool) {
        self.uses[identifier] = Use::Bound;
        self.changes.push(Change::Bind { identifier, from, to, reaches });
    }

    fn associate<B>(&mut self, facts: &[Fact<'_, B>], but: Option<usize>) {
        for (identifier, fact) in facts.iter().enumerate() {
            if fact.kind.class() == Class::Shared && Some(identifier) != but {
                self.uses[identifier] = Use::Seen;
                self.changes.push(Change::Associate { identifier });
            }
        }
    }
}

/// The rules.
pub fn decide<B: AsRef<Binding>>(question: &Question<'_, B>) -> Decision {
    let has = |class| question.facts.iter().any(|fact| fact.kind.class() == class);
    if has(Class::Strong) {
        strong::decide(question)
    } else if has(Class::Contact) {
        contact::decide(question)
    } else {
        device::decide(question)
    }
}

/// What registering or cancelling does to somebody who is known or new.
fn act<B>(question: &Question<'_, B>, owner: Option<&Owner>, decision: &mut Decision) {
    match question.act {
        Act::None => {}
        Act::RegisterAccount => {
            if !owner.is_some_and(|owner| owner.account_lives(question.at)) {
                decision.changes.push(Change::Account);
            }
        }
        Act::CancelAccount => {
            if owner.is_some_and(|owner| owner.cancelled_at != Some(question.at)) {
                decision.changes.push(Change::Cancel { at: question.at });
            }
        }
    }
}
