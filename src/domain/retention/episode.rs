//! One stretch of time in which a datum was needed for one purpose (steps 3 to 6), and until when its rules let it
//! stay (step 9).

use crate::domain::event::{Anchor, Expiry, LegalBasis, RuleKind, SoftEnd};
use crate::domain::id::{Id, Regime};
use crate::domain::retention::rule::{Rules, Version};
use crate::domain::time::Timestamp;

/// How a purpose ended at once, without a tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HardEnd {
    ConsentWithdrawn,
    ObjectionUpheld,
    Unlawful,
    ErasureAccepted,
}

/// What ended an episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ended {
    Hard(HardEnd),
    Soft(SoftEnd),
}

impl Ended {
    pub fn as_str(self) -> &'static str {
        match self {
            Ended::Hard(HardEnd::ConsentWithdrawn) => "consent_withdrawn",
            Ended::Hard(HardEnd::ObjectionUpheld) => "objection_upheld",
            Ended::Hard(HardEnd::Unlawful) => "unlawful",
            Ended::Hard(HardEnd::ErasureAccepted) => "erasure_accepted",
            Ended::Soft(end) => end.as_str(),
        }
    }
}

/// Until which place in the order a withdrawal or a cancellation does not touch an episode, because the consent or
/// the registration that it waited for came after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shield {
    No,
    Until(usize),
    /// It may still come.
    Settling,
}

#[derive(Debug, Clone)]
pub struct Episode {
    pub purpose: Id,
    pub basis: LegalBasis,
    pub opened: Timestamp,
    /// Anchors (step 4); `None`: there was nothing yet to run from.
    pub collected: Option<Timestamp>,
    pub last_activity: Timestamp,
    pub transaction: Option<Timestamp>,
    pub account_ended: Option<Timestamp>,
    pub soft: Option<(Timestamp, SoftEnd)>,
    pub hard: Option<(Timestamp, HardEnd)>,
    pub shield: Shield,
}

/// Until when one rule lets an episode stay.
#[derive(Debug, Clone, Copy)]
pub struct Limit<'a> {
    pub version: Version<'a>,
    /// From where its period runs.
    pub anchor: Option<Timestamp>,
    /// `None`: without end for now.
    pub until: Option<Timestamp>,
    /// The end that cut it short.
    pub cut: Option<SoftEnd>,
}

/// Until when all of them together do.
#[derive(Debug, Clone)]
pub struct Until<'a> {
    /// No rule speaks for the purpose and nothing ended it for good.
    pub undefined: bool,
    /// The shortest; `None`: without end for now, or undefined.
    pub at: Option<Timestamp>,
    pub limits: Vec<Limit<'a>>,
    /// The hard end, where it comes before every limit.
    pub cut: Option<HardEnd>,
    /// Whether only storage is left, for the time that a rule grants after the end.
    pub in_tail: bool,
}

impl Episode {
    pub fn is_shielded(&self, place: usize) -> bool {
        match self.shield {
            Shield::No => false,
            Shield::Until(settled) => place < settled,
            Shield::Settling => true,
        }
    }

    pub fn end_hard(&mut self, at: Timestamp, end: HardEnd) {
        self.hard.get_or_insert((at, end));
    }

    pub fn end_soft(&mut self, at: Timestamp, end: SoftEnd) {
        self.soft.get_or_insert((at, end));
    }

    /// Whether a collection joins it (step 3).
    pub fn is_open(&self, rules: &Rules<'_>, kind: Option<&Id>, regimes: &[Regime], at: Timestamp) -> bool {
        if self.hard.is_some() || self.soft.is_some() {
            return false;
        }
        self.until(rules, kind, regimes, at).at.is_none_or(|until| at < until)
    }

    /// Step 9, reckoned on what is known at an instant: the shortest of its keep rules that were in force at any
    /// moment since it opened, so that a later, longer version never extends.
    pub fn until<'a>(
        &self,
        rules: &Rules<'a>,
        kind: Option<&Id>,
        regimes: &[Regime],
        now: Timestamp,
    ) -> Until<'a> {
        let limits: Vec<Limit<'a>> = rules
            .kind(RuleKind::Keep)
            .filter(|version| version.is_about(std::iter::once(&self.purpose), regimes))
            .filter(|version| version.was_in_force(self.opened, now))
            .filter_map(|version| self.limit(version, kind))
            .collect();
        let shortest = limits.iter().filter_map(|limit| limit.until).min();
        let hard = self.hard.filter(|(at, _)| shortest.is_none_or(|until| *at < until));
        let tail = |limit: &Limit<'_>| limit.version.rule.anchor == Anchor::PurposeEnded;
        Until {
            undefined: limits.is_empty() && self.hard.is_none(),
            at: hard.map(|(at, _)| at).or(shortest),
            cut: hard.map(|(_, end)| end),
            in_tail: self.soft.is_some() && (limits.is_empty() || limits.iter().any(tail)),
            limits,
        }
    }

    /// `None`: a rule for another cause than the one that ended the purpose.
    fn limit<'a>(&self, version: &Version<'a>, kind: Option<&Id>) -> Option<Limit<'a>> {
        let rule = version.rule;
        let named = |end: SoftEnd| rule.causes.is_empty() || rule.causes.contains(&end);
        if self.soft.is_some_and(|(_, end)| !named(end)) {
            return None;
        }
        let anchor = match rule.anchor {
            Anchor::PurposeEnded => self.soft.map(|(at, _)| at),
            Anchor::Collected => self.collected,
            Anchor::LastActivity => Some(self.last_activity),
            Anchor::Logged | Anchor::DocumentCreated => {
                self.collected.filter(|_| is_anchored(rule.anchor, kind))
            }
            Anchor::TransactionCompleted => self.transaction,
            Anchor::AccountCancelled => self.account_ended,
        };
        let until = anchor.map(|anchor| version.until(anchor));
        // Without the purpose there is no more to do with what was collected, so its period is cut; other anchors
        // are facts of their own, and run on unless all was done.
        let cuts = |end: SoftEnd| match rule.anchor {
            Anchor::PurposeEnded => false,
            Anchor::Collected | Anchor::LastActivity => true,
            _ => end == SoftEnd::Fulfilled,
        };
        let cut = self.soft.filter(|(at, end)| cuts(*end) && until.is_none_or(|until| *at < until));
        Some(Limit {
            version: *version,
            anchor,
            until: cut.map(|(at, _)| at).or(until),
            cut: cut.map(|(_, end)| end),
        })
    }
}

/// Whether the collection of such a record is what the anchor means.
pub fn is_anchored(anchor: Anchor, kind: Option<&Id>) -> bool {
    let is = |kinds: &[&str]| kind.is_some_and(|kind| kinds.contains(&kind.as_str()));
    match anchor {
        Anchor::Logged => is(&["network_log"]),
        Anchor::DocumentCreated => is(&["invoice", "accounting_voucher", "commercial_letter"]),
        _ => true,
    }
}

/// What a rule does when its period is over.
pub fn on_expiry(version: &Version<'_>) -> Expiry {
    version.rule.on_expiry.unwrap_or(Expiry::Erase)
}
