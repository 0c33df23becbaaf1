//! Whether what somebody was told to do with a person's data was done (GDPR 17, 19, 28(3); PIPL 21, 47).
//!
//! An officer decides on a refusal by recalling the instruction, or by issuing one for the same data again; what officers
//! do about the finding itself is told with it (`findings/acts.rs`) and takes nothing back.

use std::collections::BTreeMap;

use crate::domain::event::catalogue::InstructionIssued;
use crate::domain::event::{Body, InstructionOutcome};
use crate::domain::finding::Value;
use crate::domain::id::Id;
use crate::domain::time::{MS_PER_DAY, Timestamp};
use crate::views::findings::maybe;
use crate::views::findings::persons::Pass;
use crate::views::findings::persons::kept::{INSTRUCTION, Wrongs};
use crate::views::report::Line;

/// How long an officer may take to decide on a refusal.
const DECIDED_MS: i64 = 7 * MS_PER_DAY;

/// An instruction is that of one addressee.
type Name<'l> = (&'l Id, Option<&'l Id>);

/// What became of one.
#[derive(Default)]
struct Course {
    recalled: bool,
    /// By when it was said.
    answers: Vec<(Timestamp, u64, InstructionOutcome)>,
    /// Deferrals that the system reports by themselves.
    deferred: Vec<Timestamp>,
}

impl Pass<'_> {
    pub(super) fn instructions(&self, now: Timestamp, past: &[&Line], to: &mut Wrongs) {
        let courses = courses(past);
        for line in past {
            let (Body::InstructionIssued(body), Some((at, position))) = (&line.body, line.own.act) else {
                continue;
            };
            let Some(id) = &body.instruction_id else { continue };
            let none = Course::default();
            let course = courses.get(&(id, body.addressee.as_ref())).unwrap_or(&none);
            // A system that defers need not say whom it heard it from.
            let deferred = courses.get(&(id, None)).map(|course| course.deferred.as_slice());
            let overdue = course.overdue(body.due, deferred.unwrap_or_default(), now, |answer| {
                past.iter().any(|other| issues_again(other, body, answer.max(at)))
            });
            if let Some(since) = overdue {
                let kind = body.kind.and_then(|kind| Value::of(kind.as_str()).ok());
                to.add(INSTRUCTION, vec![maybe(body.addressee.as_ref()), kind], since, position);
            }
        }
    }
}

fn courses<'l>(past: &[&'l Line]) -> BTreeMap<Name<'l>, Course> {
    let mut courses: BTreeMap<Name<'l>, Course> = BTreeMap::new();
    for line in past {
        let position = line.own.act.map_or(0, |(_, position)| position);
        match &line.body {
            Body::InstructionRecalled(body) => {
                let Some(id) = &body.instruction_id else { continue };
                courses.entry((id, body.addressee.as_ref())).or_default().recalled = true;
            }
            Body::InstructionAcknowledged(body) => {
                let (Some(id), Some(outcome)) = (&body.instruction_id, body.outcome) else { continue };
                let course = courses.entry((id, body.addressee.as_ref())).or_default();
                course.answers.push((line.at(), position, outcome));
            }
            Body::ErasureDeferred(body) => {
                let Some(id) = &body.instruction_id else { continue };
                courses.entry((id, None)).or_default().deferred.push(line.at());
            }
            _ => {}
        }
    }
    for course in courses.values_mut() {
        course.answers.sort_unstable();
        course.deferred.sort_unstable();
    }
    courses
}

impl Course {
    /// Since when nothing became of it, if nothing did.
    fn overdue(
        &self,
        due: Option<Timestamp>,
        deferred: &[Timestamp],
        now: Timestamp,
        decided_since: impl FnOnce(Timestamp) -> bool,
    ) -> Option<Timestamp> {
        if self.recalled {
            return None;
        }
        let second_of = |mut at: Vec<Timestamp>| {
            at.sort_unstable();
            at.get(1).copied()
        };
        let said = self.answers.iter().filter(|answer| answer.2 == InstructionOutcome::Deferred);
        let twice = second_of(said.map(|answer| answer.0).collect()).or(second_of(deferred.to_vec()));
        match self.answers.last() {
            Some((_, _, InstructionOutcome::Done)) => None,
            Some((at, _, InstructionOutcome::Refused | InstructionOutcome::Impossible)) => {
                let since = at.plus_ms(DECIDED_MS);
                (since <= now && !decided_since(*at)).then_some(since)
            }
            Some((_, _, InstructionOutcome::Deferred)) => twice,
            None => twice.or(due.filter(|due| *due < now && deferred.is_empty())),
        }
    }
}

/// Whether a line tells somebody to do the same with the same data after an instant.
fn issues_again(line: &Line, first: &InstructionIssued, after: Timestamp) -> bool {
    let Body::InstructionIssued(body) = &line.body else { return false };
    let selects = |body: &InstructionIssued| {
        let slot = (body.slot.clone(), body.exact == Some(true));
        (body.service.clone(), body.record_kind.clone(), body.category.clone(), slot)
    };
    line.at() > after && body.kind == first.kind && selects(body) == selects(first)
}
