//! Why a datum stays until it does: every rule that speaks for it, until when, and which of them binds.

use crate::domain::event::{LegalBasis, RetentionRule};
use crate::domain::id::Id;
use crate::domain::retention::decision::Reason;
use crate::domain::retention::episode::Ended;
use crate::domain::retention::verdict::{Bound, Needed, Verdict};
use crate::domain::retention::{Case, Decision, with_verdict};
use crate::domain::time::Timestamp;

/// One rule, and until when it reaches.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    pub rule: RetentionRule,
    /// Of a keep rule: the purpose that it speaks for.
    pub purpose: Option<Id>,
    /// From where its period runs; `None`: that has not happened yet.
    pub runs_from: Option<Timestamp>,
    /// `None`: without end for now.
    pub until: Option<Timestamp>,
    /// What cut the period short.
    pub cut_by: Option<Ended>,
    /// Whether it decides when the datum goes.
    pub binds: bool,
}

/// A purpose of the datum, as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct PurposeStanding {
    pub purpose: Id,
    pub basis: LegalBasis,
    pub opened: Timestamp,
    /// What ended it first, and when.
    pub ended: Option<(Timestamp, Ended)>,
    /// `None`: without end for now, or no rule speaks for it.
    pub until: Option<Timestamp>,
    pub undefined: bool,
    pub usable: bool,
}

/// The decision with everything that led to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    pub decision: Decision,
    pub purposes: Vec<PurposeStanding>,
    /// Keep rules, then caps, then floors.
    pub candidates: Vec<Candidate>,
    /// Until when the purposes together need it, and until when caps let them.
    pub needed_until: Option<Timestamp>,
    pub capped_at: Option<Timestamp>,
    pub keep_until: Option<Timestamp>,
}

/// As `decide`, and why.
pub fn explain(case: &Case<'_>) -> Explanation {
    with_verdict(case, |decision, verdict| Explanation {
        purposes: purposes(verdict),
        candidates: candidates(verdict, &decision),
        needed_until: verdict.need,
        capped_at: verdict.capped,
        keep_until: verdict.keep_until,
        decision,
    })
}

fn purposes(verdict: &Verdict<'_>) -> Vec<PurposeStanding> {
    let standing = |needed: &Needed<'_>| {
        let hard = needed.episode.hard.map(|(at, end)| (at, Ended::Hard(end)));
        let soft = needed.episode.soft.map(|(at, end)| (at, Ended::Soft(end)));
        PurposeStanding {
            purpose: needed.episode.purpose.clone(),
            basis: needed.episode.basis,
            opened: needed.episode.opened,
            ended: hard.into_iter().chain(soft).min_by_key(|(at, _)| *at),
            until: needed.until.at,
            undefined: needed.until.undefined,
            usable: needed.usable,
        }
    };
    verdict.needed.iter().map(standing).collect()
}

fn candidates(verdict: &Verdict<'_>, decision: &Decision) -> Vec<Candidate> {
    let binds = |rule: &RetentionRule, purpose: Option<&Id>| {
        decision.because.iter().any(|reason| match reason {
            Reason::Rule(id) | Reason::Pending(id) => *id == rule.id,
            Reason::Open(open) => Some(open) == purpose,
            _ => false,
        })
    };
    let keeps = verdict.needed.iter().flat_map(|needed| {
        let purpose = &needed.episode.purpose;
        needed.until.limits.iter().map(move |limit| Candidate {
            rule: limit.version.rule.clone(),
            purpose: Some(purpose.clone()),
            runs_from: limit.anchor,
            until: limit.until,
            cut_by: limit.cut.map(Ended::Soft),
            binds: binds(limit.version.rule, Some(purpose)) && limit.until == needed.until.at,
        })
    });
    let bound = |bound: &Bound<'_>| Candidate {
        rule: bound.version.rule.clone(),
        purpose: None,
        runs_from: bound.anchor,
        until: bound.until,
        cut_by: None,
        binds: binds(bound.version.rule, None),
    };
    keeps.chain(verdict.caps.iter().map(bound)).chain(verdict.floors.iter().map(bound)).collect()
}
