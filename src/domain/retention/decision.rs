//! What is decided, in the words of `domain.md` 4.1 (steps 14 and 15).

use std::collections::BTreeSet;
use std::fmt;

use chrono::NaiveDate;

use crate::domain::event::Expiry;
use crate::domain::id::Id;
use crate::domain::retention::episode::{Ended, Limit, Shield, on_expiry};
use crate::domain::retention::rule::{Rules, Version};
use crate::domain::retention::verdict::{Blocker, Needed, Verdict};
use crate::domain::time::Timestamp;
use crate::domain::words::words;

words!(
    /// Where a datum stands.
    State, "is not a state of a datum",
    {
        /// Never collected.
        Absent = "absent",
        /// It may be used for something.
        Active = "active",
        /// Storage only.
        Blocked = "blocked",
        /// Its time is over, but something keeps it.
        Suspended = "suspended",
        /// It has to go.
        Due = "due",
        /// Erased or made anonymous.
        Done = "done",
        /// An officer has to decide.
        Review = "review",
    }
);
impl State {
    /// Whether somebody holds it.
    pub fn is_held(self) -> bool {
        !matches!(self, State::Absent | State::Done)
    }
}

words!(
    /// What happens to it when it is due.
    Action, "is not an action: erase, anonymise, review or none",
    { Erase = "erase", Anonymise = "anonymise", Review = "review", None = "none" }
);
words!(
    /// Whether a plan may have it done (4.4).
    Plan, "is not a plan: none, execute or confirm",
    {
        None = "none",
        Execute = "execute",
        /// Only once an officer has confirmed it.
        Confirm = "confirm",
    }
);
words!(
    /// Findings that the procedure names.
    Code, "is not a code that the procedure names",
    {
        ConflictOfLaws = "F-CONFLICT-OF-LAWS",
        DeferNotAllowed = "F-DEFER-NOT-ALLOWED",
        LegacyEvidence = "F-LEGACY-EVIDENCE",
        NoConsent = "F-NO-CONSENT",
        OrderConflict = "F-ORDER-CONFLICT",
        PrematureErasure = "F-PREMATURE-ERASURE",
        PurposeCreep = "F-PURPOSE-CREEP",
        RetentionOverrun = "F-RETENTION-OVERRUN",
        RetentionUndefined = "F-RETENTION-UNDEFINED",
        TerminationNotice = "F-TERMINATION-NOTICE",
        UseAfterEnd = "F-USE-AFTER-END",
    }
);

/// One of the things that make a datum stay, or go, when it does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A version of a rule.
    Rule(Id),
    /// What ended a purpose.
    Ended(Ended, Id),
    Open(Id),
    Settling(Id),
    /// A floor that has not started.
    Pending(Id),
    Hold(Id),
    /// `None`: nobody said on which ground.
    Restriction(Option<crate::domain::event::RestrictionGround>),
    Deferred,
    Order(Id),
    Undefined(Id),
    Released,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Rule(id) => write!(f, "{id}"),
            Reason::Ended(end, purpose) => write!(f, "{}:{purpose}", end.as_str()),
            Reason::Open(purpose) => write!(f, "open:{purpose}"),
            Reason::Settling(purpose) => write!(f, "settling:{purpose}"),
            Reason::Pending(floor) => write!(f, "pending:{floor}"),
            Reason::Hold(hold) => write!(f, "hold:{hold}"),
            Reason::Restriction(Some(ground)) => write!(f, "restriction:{ground}"),
            Reason::Restriction(None) => f.write_str("restriction:unstated"),
            Reason::Deferred => f.write_str("deferred:technical"),
            Reason::Order(order) => write!(f, "order:{order}"),
            Reason::Undefined(purpose) => write!(f, "undefined:{purpose}"),
            Reason::Released => f.write_str("released"),
        }
    }
}

/// The decision about one datum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub state: State,
    pub action: Action,
    pub due_at: Option<Timestamp>,
    /// The day of it, where the rule that binds reckons its days.
    pub due: Option<NaiveDate>,
    /// Purposes for which it may be used now, sorted.
    pub usable_for: Vec<Id>,
    /// Sorted as they are written.
    pub because: Vec<Reason>,
    pub findings: BTreeSet<Code>,
    pub plan: Plan,
    /// What ended the purposes that it was kept for last; of several the first by its name.
    pub ended: Option<Ended>,
    /// When its time is over, whatever still keeps it then; `None` without end for now.
    pub ends_at: Option<Timestamp>,
    /// Since when an earlier copy is due that a collection overtook (step 16).
    pub owed: Option<Timestamp>,
    /// That copy, due or not.
    pub earlier: Option<Box<Earlier>>,
}

/// What was held when a demand was made that a later collection does not cancel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    pub decision: Decision,
    /// The collection that overtook the demand: what came before it is meant.
    pub collected_before: Timestamp,
}

impl Decision {
    /// Of what was never collected.
    pub fn absent() -> Decision {
        Decision::of(&Verdict::empty(State::Absent), &Rules::none())
    }

    /// What a verdict says; nothing yet of what happened on the way, of plans and of earlier copies.
    pub(super) fn of(verdict: &Verdict<'_>, rules: &Rules<'_>) -> Decision {
        let mut because = because(verdict);
        because.sort_by_cached_key(Reason::to_string);
        because.dedup();
        let mut usable: Vec<Id> = verdict
            .needed
            .iter()
            .filter(|needed| needed.usable)
            .map(|needed| needed.episode.purpose.clone())
            .collect();
        usable.sort();
        Decision {
            state: verdict.state,
            action: action(verdict),
            due_at: verdict.due_at,
            due: verdict.due_at.map(|at| at.local_date(zone(&because, rules))),
            usable_for: usable,
            findings: findings(verdict),
            because,
            plan: Plan::None,
            ended: ended(verdict),
            ends_at: verdict.ends_at(),
            owed: None,
            earlier: None,
        }
    }
}

fn ended(verdict: &Verdict<'_>) -> Option<Ended> {
    let ended = |needed: &Needed<'_>| {
        let (hard, soft) = (needed.episode.hard, needed.episode.soft);
        hard.map(|(_, end)| Ended::Hard(end)).or(soft.map(|(_, end)| Ended::Soft(end)))
    };
    verdict.needed.iter().filter(|needed| needed.until.at == verdict.need).filter_map(ended).min()
}

fn because(verdict: &Verdict<'_>) -> Vec<Reason> {
    let blockers = verdict.blockers.iter().map(|blocker| match blocker {
        Blocker::Hold(hold) => Reason::Hold(hold.clone()),
        Blocker::Restriction(ground) => Reason::Restriction(*ground),
        Blocker::Deferred => Reason::Deferred,
    });
    let undefined = verdict.needed.iter().filter(|needed| needed.until.undefined);
    let order = verdict.order.iter().map(|(_, order)| Reason::Order(order.clone()));
    match verdict.state {
        State::Absent | State::Done => Vec::new(),
        State::Review if verdict.order.is_some() => {
            order.chain(blockers.filter(|blocker| matches!(blocker, Reason::Hold(_)))).collect()
        }
        State::Due if verdict.order.is_some() => order.collect(),
        State::Review => undefined.map(|needed| Reason::Undefined(needed.episode.purpose.clone())).collect(),
        _ if !verdict.blockers.is_empty() => blockers.collect(),
        _ => lasting(verdict),
    }
}

/// What reaches until the end of what the datum is kept for.
fn lasting(verdict: &Verdict<'_>) -> Vec<Reason> {
    let endless = verdict.keep_until.is_none();
    let floor = |id: &Id| if endless { Reason::Pending(id.clone()) } else { Reason::Rule(id.clone()) };
    let purposes = verdict.lasting().flat_map(|needed| of_purpose(needed, endless));
    let caps = verdict.lasting_caps().map(|cap| Reason::Rule(cap.version.rule.id.clone()));
    let floors = verdict.lasting_floors().map(|bound| floor(&bound.version.rule.id));
    let released = verdict.released.then_some(Reason::Released);
    purposes.chain(caps).chain(floors).chain(released).collect()
}

fn of_purpose(needed: &Needed<'_>, endless: bool) -> Vec<Reason> {
    let purpose = &needed.episode.purpose;
    if endless {
        let settling = needed.episode.shield == Shield::Settling;
        return vec![if settling {
            Reason::Settling(purpose.clone())
        } else {
            Reason::Open(purpose.clone())
        }];
    }
    if let Some(end) = needed.until.cut {
        return vec![Reason::Ended(Ended::Hard(end), purpose.clone())];
    }
    let reason = |limit: &Limit<'_>| match limit.cut {
        Some(end) => Reason::Ended(Ended::Soft(end), purpose.clone()),
        None => Reason::Rule(limit.version.rule.id.clone()),
    };
    reaching(needed).map(reason).collect()
}

/// The rules of a purpose that let it stay the shortest.
fn reaching<'v, 'a>(needed: &'v Needed<'a>) -> impl Iterator<Item = &'v Limit<'a>> {
    needed.until.limits.iter().filter(|limit| limit.until == needed.until.at)
}

/// Versions that reach until the end.
pub(super) fn binding<'v, 'a>(verdict: &'v Verdict<'a>) -> impl Iterator<Item = &'v Version<'a>> {
    limits(verdict).filter(|limit| limit.cut.is_none()).map(|limit| &limit.version).chain(bounds(verdict))
}

fn limits<'v, 'a>(verdict: &'v Verdict<'a>) -> impl Iterator<Item = &'v Limit<'a>> {
    verdict.lasting().filter(|needed| needed.until.cut.is_none()).flat_map(reaching)
}

fn bounds<'v, 'a>(verdict: &'v Verdict<'a>) -> impl Iterator<Item = &'v Version<'a>> {
    verdict.lasting_caps().chain(verdict.lasting_floors()).map(|bound| &bound.version)
}

/// Step 14.
fn action(verdict: &Verdict<'_>) -> Action {
    if verdict.state == State::Review {
        return Action::Review;
    }
    if verdict.due_at.is_none() {
        return Action::None;
    }
    let hard = |needed: &Needed<'_>| needed.episode.hard.is_some();
    if verdict.order.is_some() || verdict.account_cancelled || verdict.needed.iter().any(hard) {
        return Action::Erase;
    }
    // Where an end event binds, the rule whose period it cut says what happens.
    let mut last = limits(verdict).map(|limit| &limit.version).chain(bounds(verdict)).peekable();
    let anonymise = last.peek().is_some() && last.all(|version| on_expiry(version) == Expiry::Anonymise);
    if anonymise { Action::Anonymise } else { Action::Erase }
}

/// The zone of the first binding rule by its id, else of the first keep rule.
fn zone(because: &[Reason], rules: &Rules<'_>) -> chrono_tz::Tz {
    let binding = because.iter().find_map(|reason| match reason {
        Reason::Rule(id) => rules.version(id),
        _ => None,
    });
    binding.map_or(rules.home, |version| version.rule.tz)
}

/// What is wrong with how things stand.
fn findings(verdict: &Verdict<'_>) -> BTreeSet<Code> {
    let in_review = verdict.state == State::Review;
    [
        (!verdict.foreign_floors.is_empty(), Code::ConflictOfLaws),
        (verdict.deferral_refused, Code::DeferNotAllowed),
        (in_review && verdict.order.is_some(), Code::OrderConflict),
        (in_review && verdict.order.is_none(), Code::RetentionUndefined),
    ]
    .into_iter()
    .filter_map(|(is_so, code)| is_so.then_some(code))
    .collect()
}
