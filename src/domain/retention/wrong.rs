//! What was wrong about a datum on its way, and what is wrong with how it stands, each with the things of the
//! organisation that name a finding (`domain.md` 5).
//!
//! Read off what was walked and concluded; nothing here decides anew.

use crate::domain::event::RestrictionGround;
use crate::domain::id::Id;
use crate::domain::retention::decision::{Code, Reason, State};
use crate::domain::retention::episode::{Ended, HardEnd};
use crate::domain::retention::verdict::Verdict;
use crate::domain::retention::walk::Walk;
use crate::domain::time::{MS_PER_DAY, Timestamp};

/// How long after its collection a datum may wait for a floor to begin (`domain.md` 5, F-HOLD-STALE).
const PENDING_MS: i64 = 180 * MS_PER_DAY;

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wrong {
    /// When it was done, or since when it stands.
    pub at: Timestamp,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A use for a purpose that was not usable (step 7).
    Used {
        purpose: Id,
        cause: Cause,
    },
    /// A collection or addition for a purpose without a basis in force (step 3).
    Opened {
        purpose: Id,
        cause: Cause,
    },
    /// A use of what was said to be anonymous, with a link to the person. Not among what the procedure names.
    UsedAnonymous {
        purpose: Id,
    },
    /// Destroyed too early (step 17).
    Destroyed(Kept),
    DeferralRefused,
    Undefined {
        purpose: Id,
    },
    /// What it should have gone by.
    Overrun {
        binding: Option<Reason>,
    },
    ForeignFloor {
        floor: Id,
    },
    OrderMeetsHold {
        authority: Option<Id>,
    },
    /// A floor that has not begun for too long. Not among what the procedure names.
    FloorPending {
        floor: Id,
    },
    /// What others tell apart by more than the procedure knows.
    Plain(Code),
}

/// Why a purpose was not to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    Ended(Ended),
    /// Its period, or a cap's, was over.
    Expired,
    Restricted,
    Ordered,
    /// The datum had been destroyed or made anonymous.
    Executed,
}

impl Cause {
    pub const UNLAWFUL: Cause = Cause::Ended(Ended::Hard(HardEnd::Unlawful));
    pub const ERASURE_ACCEPTED: Cause = Cause::Ended(Ended::Hard(HardEnd::ErasureAccepted));

    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Ended(end) => end.as_str(),
            Cause::Expired => "expired",
            Cause::Restricted => "restricted",
            Cause::Ordered => "ordered",
            Cause::Executed => "executed",
        }
    }
}

/// What still kept a datum that was destroyed. Whose hold or restriction it was is not told: it may be one person's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kept {
    Hold,
    Restriction(Option<RestrictionGround>),
    Floor(Id),
}

impl What {
    /// The code, if it is one that the procedure names.
    pub fn code(&self) -> Option<Code> {
        Some(match self {
            What::Used { .. } | What::Opened { .. } => Code::UseAfterEnd,
            What::Destroyed(_) => Code::PrematureErasure,
            What::DeferralRefused => Code::DeferNotAllowed,
            What::Undefined { .. } => Code::RetentionUndefined,
            What::Overrun { .. } => Code::RetentionOverrun,
            What::ForeignFloor { .. } => Code::ConflictOfLaws,
            What::OrderMeetsHold { .. } => Code::OrderConflict,
            What::Plain(code) => *code,
            What::UsedAnonymous { .. } | What::FloorPending { .. } => return None,
        })
    }

    /// Whether it was done by a collection, an addition or a use, which are told together where there are many.
    pub fn is_of_many(&self) -> bool {
        matches!(self, What::Opened { .. }) || self.used_for().is_some()
    }

    /// For which purpose the datum was used.
    pub fn used_for(&self) -> Option<&Id> {
        match self {
            What::Used { purpose, .. } | What::UsedAnonymous { purpose } => Some(purpose),
            _ => None,
        }
    }
}

/// What is wrong with how a datum stands at an instant, but for what is overdue.
pub(super) fn standing(walked: &Walk<'_>, verdict: &Verdict<'_>, now: Timestamp) -> Vec<Wrong> {
    let Some(life) = &walked.life else { return Vec::new() };
    let since_collected = |what| Wrong { at: life.collected, what };
    let foreign = verdict.foreign_floors.iter().copied().cloned();
    let mut found: Vec<Wrong> = foreign.map(|floor| since_collected(What::ForeignFloor { floor })).collect();
    match (&verdict.order, verdict.state) {
        (Some((at, _)), State::Review) => {
            found.push(Wrong { at: *at, what: What::OrderMeetsHold { authority: life.ordered_by.clone() } });
        }
        (None, State::Review) => {
            found.extend(verdict.needed.iter().filter(|needed| needed.until.undefined).map(|needed| {
                let purpose = needed.episode.purpose.clone();
                Wrong { at: needed.episode.opened, what: What::Undefined { purpose } }
            }));
        }
        // Floors do not count against an order.
        _ => {}
    }
    let stale = life.collected.plus_ms(PENDING_MS);
    if verdict.order.is_none() && stale <= now {
        let pending = verdict.floors.iter().filter(|floor| floor.is_pending());
        found.extend(pending.map(|floor| Wrong {
            at: stale,
            what: What::FloorPending { floor: floor.version.rule.id.clone() },
        }));
    }
    found
}
