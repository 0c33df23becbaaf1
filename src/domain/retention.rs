//! How long a datum may be kept, and when it must go: the decision procedure of `domain.md` 4.2, whose steps the
//! comments below it name.
//!
//! A pure function of rules, facts and an instant: facts may be given in any order, and the same facts give the
//! same decision. It promises that nothing is due through absence alone without *to confirm*, that no hold shortens
//! and no floor makes data usable. It does not say who is to act; that is a plan's, which reads a decision and never
//! makes one. GDPR 5(1)(e), 17, 18; PIPL 19, 47.

mod decision;
mod episode;
mod explain;
mod fact;
mod history;
mod rule;
pub mod vector;
mod verdict;
mod walk;
mod words;

#[cfg(test)]
pub(crate) mod laws;
#[cfg(test)]
mod tests;

use crate::domain::datum::DatumKey;
use crate::domain::event::RetentionRule;
use crate::domain::time::{MS_PER_DAY, Timestamp};

pub use decision::{Action, Code, Decision, Earlier, Plan, Reason, State};
pub use episode::{Ended, HardEnd};
pub use explain::{Candidate, Explanation, PurposeStanding, explain};
pub use fact::{Act, Fact};
pub use rule::{in_force, last_day};

use history::History;
use rule::Rules;
use verdict::Verdict;
use walk::Walk;

/// Everything that one datum of one person is decided by.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    pub key: &'a DatumKey,
    /// Every version of every rule, annulled ones included.
    pub rules: &'a [RetentionRule],
    /// What happened to the person and to the service; what is about other data counts for nothing.
    pub facts: &'a [Fact],
    pub now: Timestamp,
    /// Whether nothing was heard of the service's emitter for longer than it allows itself (F-EMITTER-SILENT).
    pub silent: bool,
}

/// How long after it was due something that still stands is a finding (step 17).
const GRACE_MS: i64 = MS_PER_DAY;

/// The decision.
pub fn decide(case: &Case<'_>) -> Decision {
    with_verdict(case, |decision, _| decision)
}

/// The decision, and the verdict that it was made from.
fn with_verdict<T>(case: &Case<'_>, tell: impl FnOnce(Decision, &Verdict<'_>) -> T) -> T {
    let history = History::of(case);
    let rules = Rules::of(case, &history.annulled);
    let walked = Walk::through(&history, &rules, case, false);
    let verdict = walked.verdict(case.now);
    let mut decision = Decision::of(&verdict, &rules);
    decision.findings.extend(walked.findings.iter().copied());
    overrun(&mut decision, verdict.took_effect, case.now);
    if verdict.state == State::Due {
        decision.plan = plan(&walked, &history, &rules, case);
    } else if verdict.state != State::Review {
        owed(&mut decision, &walked, &history, &rules, case);
    }
    tell(decision, &verdict)
}

/// Step 17: due, and 24 hours have passed since, and since the version that binds took effect.
fn overrun(decision: &mut Decision, took_effect: Option<Timestamp>, now: Timestamp) {
    let Some(due) = decision.due_at.filter(|_| decision.state == State::Due) else { return };
    let since = took_effect.map_or(due, |effect| due.max(effect));
    if now.since(since) >= GRACE_MS {
        decision.findings.insert(Code::RetentionOverrun);
    }
}

/// Section 4.4 step 1: whether an officer has to confirm that it goes.
fn plan(walked: &Walk<'_>, history: &History<'_>, rules: &Rules<'_>, case: &Case<'_>) -> Plan {
    if walked.is_ordered() {
        return Plan::Execute;
    }
    if walked.is_backfilled() || case.silent {
        return Plan::Confirm;
    }
    let supposing = Walk::through(history, rules, case, true);
    if supposing.verdict(case.now).state == State::Due { Plan::Execute } else { Plan::Confirm }
}

/// Step 16: a collection does not cancel a demand, so what was held before it is decided once more.
fn owed(
    decision: &mut Decision,
    walked: &Walk<'_>,
    history: &History<'_>,
    rules: &Rules<'_>,
    case: &Case<'_>,
) {
    let Some(overtaken_by) = walked.overtaken_by() else { return };
    let earlier = history.without_collections_from(overtaken_by);
    let before = Walk::through(&earlier, rules, case, false);
    let verdict = before.verdict(case.now);
    let mut copy = Decision::of(&verdict, rules);
    if verdict.state == State::Due {
        copy.plan = plan(&before, &earlier, rules, case);
        overrun(&mut copy, verdict.took_effect, case.now);
        decision.owed = copy.due_at;
        decision.findings.extend(copy.findings.iter().filter(|code| **code == Code::RetentionOverrun));
    }
    let collected_before = history.facts[overtaken_by].at;
    decision.earlier = Some(Box::new(Earlier { decision: copy, collected_before }));
}
