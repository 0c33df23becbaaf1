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
mod wrong;

#[cfg(test)]
pub(crate) mod laws;
#[cfg(test)]
mod tests;

use crate::domain::datum::DatumKey;
use crate::domain::event::RetentionRule;
use crate::domain::id::Id;
use crate::domain::time::{MS_PER_DAY, Timestamp};

pub use decision::{Action, Code, Decision, Earlier, Plan, Reason, State};
pub use episode::{Ended, HardEnd};
pub use explain::{Candidate, Explanation, PurposeStanding, explain};
pub use fact::{Act, Fact};
pub use rule::{in_force, last_day};
pub use wrong::{Kept, What, Wrong};

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

/// A decision, and what findings about the datum are made of.
#[derive(Debug, Clone)]
pub struct Judged {
    pub decision: Decision,
    pub wrongs: Vec<Wrong>,
    /// Uses that were allowed, so that a use of several data is wrong only where none of them allowed it.
    pub lawful_uses: Vec<(Timestamp, Id)>,
    /// The last collection of this life.
    pub collected: Option<Timestamp>,
    /// The cancellation of the account that stands.
    pub cancelled_at: Option<Timestamp>,
}

/// The decision, and everything that is wrong with the names that findings have.
pub fn judge(case: &Case<'_>) -> Judged {
    let history = History::of(case);
    let rules = Rules::of(case, &history.annulled);
    let mut walked = Walk::through(&history, &rules, case, false);
    let verdict = walked.verdict(case.now);
    let (decision, overdue) = concluded(&walked, &verdict, (&history, &rules), case);
    let mut wrongs = wrong::standing(&walked, &verdict, case.now);
    wrongs.extend(std::mem::take(&mut walked.wrongs));
    wrongs.extend(overdue);
    Judged {
        decision,
        wrongs,
        lawful_uses: walked.lawful_uses,
        collected: walked.life.map(|life| life.collected),
        cancelled_at: walked.cancelled_at,
    }
}

/// The decision, and the verdict that it was made from.
fn with_verdict<T>(case: &Case<'_>, tell: impl FnOnce(Decision, &Verdict<'_>) -> T) -> T {
    let history = History::of(case);
    let rules = Rules::of(case, &history.annulled);
    let walked = Walk::through(&history, &rules, case, false);
    let verdict = walked.verdict(case.now);
    tell(concluded(&walked, &verdict, (&history, &rules), case).0, &verdict)
}

/// The decision, and what is overdue by it.
fn concluded(
    walked: &Walk<'_>,
    verdict: &Verdict<'_>,
    (history, rules): (&History<'_>, &Rules<'_>),
    case: &Case<'_>,
) -> (Decision, Option<Wrong>) {
    let mut decision = Decision::of(verdict, rules);
    decision.findings.extend(walked.wrongs.iter().filter_map(|wrong| wrong.what.code()));
    let mut overdue = overrun(&decision, verdict.took_effect, case.now);
    if verdict.state == State::Due {
        decision.plan = plan(walked, history, rules, case);
    } else if verdict.state != State::Review {
        overdue = owed(&mut decision, walked, history, rules, case);
    }
    decision.findings.extend(overdue.iter().filter_map(|wrong| wrong.what.code()));
    (decision, overdue)
}

/// Step 17: due, and 24 hours have passed since, and since the version that binds took effect.
fn overrun(decision: &Decision, took_effect: Option<Timestamp>, now: Timestamp) -> Option<Wrong> {
    let due = decision.due_at.filter(|_| decision.state == State::Due)?;
    let since = took_effect.map_or(due, |effect| due.max(effect));
    let binding = decision.because.first().cloned();
    (now.since(since) >= GRACE_MS).then_some(Wrong { at: due, what: What::Overrun { binding } })
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
) -> Option<Wrong> {
    let overtaken_by = walked.overtaken_by()?;
    let earlier = history.without_collections_from(overtaken_by);
    let before = Walk::through(&earlier, rules, case, false);
    let verdict = before.verdict(case.now);
    let mut copy = Decision::of(&verdict, rules);
    let mut overdue = None;
    if verdict.state == State::Due {
        copy.plan = plan(&before, &earlier, rules, case);
        overdue = overrun(&copy, verdict.took_effect, case.now);
        copy.findings.extend(overdue.iter().filter_map(|wrong| wrong.what.code()));
        decision.owed = copy.due_at;
    }
    let collected_before = history.facts[overtaken_by].at;
    decision.earlier = Some(Box::new(Earlier { decision: copy, collected_before }));
    overdue
}
