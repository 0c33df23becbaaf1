//! What is planned together, and when somebody has to approve it (`domain.md` 4.4). A plan reads decisions and makes
//! none.

use sha2::{Digest as _, Sha256};

use crate::domain::datum::DatumKey;
use crate::domain::event::{InstructionKind, PlanCause, SoftEnd};
use crate::domain::id::{Id, SubjectId};
use crate::domain::retention::{Action, Decision, Ended, HardEnd, Plan, Reason, State};
use crate::domain::time::Timestamp;
use crate::domain::words::words;

words!(
    /// Where a plan stands.
    PlanState, "is not a state of a plan",
    {
        /// Somebody has to approve it.
        Waiting = "waiting",
        /// Nobody has to, or somebody did.
        Approved = "approved",
        Rejected = "rejected",
    }
);

/// What the items of a plan have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    pub service: Id,
    pub cause: PlanCause,
    /// Erase or anonymise.
    pub action: InstructionKind,
    /// An officer has to confirm that they are due.
    pub confirm: bool,
    /// What makes them due, sorted: versions of rules, and what ended purposes.
    pub because: Vec<Id>,
}

/// One datum that is due, or of which an earlier copy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub key: DatumKey,
    pub group: Group,
    pub due_at: Timestamp,
    /// Only what was collected before this instant: a later collection has reasons of its own.
    pub collected_before: Option<Timestamp>,
    /// The versions of rules among what makes it due.
    pub rules: Vec<Id>,
}

/// From how many items on a plan is approved first, unless other reasons ask for it anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// More than so many.
    pub items: u64,
    /// More than so many of a hundred that the service holds.
    pub percent: u64,
}

impl Default for Thresholds {
    fn default() -> Thresholds {
        Thresholds { items: 1_000, percent: 5 }
    }
}

impl Item {
    /// `None` of what is not due, and of what belongs to no service: nobody could be told.
    pub fn of(key: &DatumKey, decision: &Decision) -> Option<Item> {
        if decision.state == State::Due {
            return Item::from(key, decision, None);
        }
        let earlier = decision.earlier.as_ref().filter(|earlier| earlier.decision.state == State::Due)?;
        Item::from(key, &earlier.decision, Some(earlier.collected_before))
    }

    fn from(key: &DatumKey, decision: &Decision, collected_before: Option<Timestamp>) -> Option<Item> {
        let action = match decision.action {
            Action::Erase => InstructionKind::Erase,
            Action::Anonymise => InstructionKind::Anonymise,
            Action::Review | Action::None => return None,
        };
        let rules = decision.because.iter().filter_map(|reason| match reason {
            Reason::Rule(id) => Some(id.clone()),
            _ => None,
        });
        let group = Group {
            service: key.service.clone()?,
            cause: cause(decision),
            action,
            confirm: decision.plan == Plan::Confirm,
            because: decision.because.iter().map(|reason| code(&reason.to_string())).collect(),
        };
        let (key, due_at, rules) = (key.clone(), decision.due_at?, rules.collect());
        Some(Item { key, group, due_at, collected_before, rules })
    }

    /// Adds the item to the digest of its plan.
    pub fn digest(&self, subject: SubjectId, to: &mut Sha256) {
        to.update(subject.0);
        let DatumKey { service, record_kind, category, slot } = &self.key;
        for part in [service.as_ref(), record_kind.as_ref(), Some(category), slot.as_ref()] {
            to.update(part.map_or("", Id::as_str));
            to.update([0]);
        }
        for at in [Some(self.due_at), self.collected_before] {
            to.update(at.map_or(i64::MAX, Timestamp::ms).to_be_bytes());
        }
    }
}

/// Why it goes, as plans and instructions state it.
fn cause(decision: &Decision) -> PlanCause {
    if decision.because.iter().any(|reason| matches!(reason, Reason::Order(_))) {
        return PlanCause::Order;
    }
    match decision.ended {
        Some(Ended::Hard(HardEnd::ErasureAccepted)) => PlanCause::Case,
        Some(Ended::Soft(SoftEnd::AccountCancelled)) => PlanCause::Cancellation,
        Some(Ended::Soft(SoftEnd::ServiceTerminated)) => PlanCause::ServiceEnd,
        _ => PlanCause::Rule,
    }
}

/// As events state it. What is longer than an id may be is cut, and told apart by a digest.
fn code(reason: &str) -> Id {
    let cut = || {
        let digest = Sha256::digest(reason.as_bytes());
        let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let head: String = reason.chars().take(44).collect();
        format!("{head}~{hex}").parse()
    };
    reason.parse().or_else(|_| cut()).unwrap_or_else(|_| unreachable!("a reason begins with a letter"))
}

/// Why a plan has to be approved by somebody other than its planner (4.4 step 4); nobody has to if nothing is told.
/// `ran` says of a version whether a plan by it was carried out before.
pub fn approvals(
    group: &Group,
    rules: &[Id],
    (items, held): (u64, u64),
    thresholds: &Thresholds,
    ran: impl Fn(&Id) -> bool,
) -> Vec<&'static str> {
    let share = u128::from(items) * 100 > u128::from(held) * u128::from(thresholds.percent);
    [
        (group.confirm, "confirm"),
        (group.action == InstructionKind::Anonymise, "anonymisation"),
        (rules.iter().any(|rule| !ran(rule)), "first_run"),
        (items > thresholds.items, "many_items"),
        (share, "share_of_service"),
    ]
    .into_iter()
    .filter_map(|(asks, why)| asks.then_some(why))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(confirm: bool, action: InstructionKind) -> Group {
        let service = "solar".parse().unwrap();
        Group { service, cause: PlanCause::Rule, action, confirm, because: Vec::new() }
    }

    #[test]
    fn who_has_to_approve_follows_from_the_plan() {
        let rules: Vec<Id> = vec!["keep.v1".parse().unwrap()];
        let ask = |group: &Group, counts, ran: bool| {
            approvals(group, &rules, counts, &Thresholds::default(), |_| ran)
        };
        let plain = group(false, InstructionKind::Erase);
        assert!(ask(&plain, (50, 1_000), true).is_empty(), "five of a hundred, and a thousand, are allowed");
        assert_eq!(ask(&plain, (51, 1_000), true), ["share_of_service"]);
        assert!(ask(&plain, (1_000, 100_000), true).is_empty());
        assert_eq!(ask(&plain, (1_001, 100_000), true), ["many_items"]);
        assert_eq!(ask(&plain, (1, 1_000), false), ["first_run"]);
        assert_eq!(ask(&group(true, InstructionKind::Erase), (1, 1_000), true), ["confirm"]);
        assert_eq!(ask(&group(false, InstructionKind::Anonymise), (1, 1_000), true), ["anonymisation"]);
    }

    #[test]
    fn a_reason_that_is_too_long_is_told_apart() {
        let (a, b) = (
            "consent_withdrawn:".to_owned() + &"a".repeat(60),
            "consent_withdrawn:".to_owned() + &"a".repeat(61),
        );
        assert_ne!(code(&a), code(&b));
        assert!(code(&a).as_str().starts_with("consent_withdrawn:aaa"));
        assert_eq!(code("keep.v1").as_str(), "keep.v1");
    }
}
