//! What somebody who holds data is told to do with them, and what became of it (`domain.md` 2.2): issued ▸ begun, a
//! go/no-go asked before acting ▸ done, refused, impossible or deferred; or recalled.
//!
//! A fold over what was recorded, in the order of the log. What was done is done, also where it had been recalled.

use crate::domain::datum::Selector;
use crate::domain::event::catalogue::InstructionIssued;
use crate::domain::event::{
    Body, InstructionAnswer, InstructionKind, InstructionOutcome, PlanCause, RecallReason, RecipientChannel,
};
use crate::domain::id::Id;
use crate::domain::time::{MS_PER_DAY, Timestamp};
use crate::domain::words::words;

words!(
    /// Where an instruction stands.
    State, "is not a state of an instruction",
    {
        Issued = "issued",
        /// Its addressee asked, and was told to go ahead.
        Begun = "begun",
        Done = "done",
        Refused = "refused",
        Impossible = "impossible",
        /// Put off; it comes again.
        Deferred = "deferred",
        Recalled = "recalled",
    }
);

/// When what was put off comes again, unless it was said.
const AGAIN_MS: i64 = 7 * MS_PER_DAY;

impl State {
    /// Whether its addressee still has to answer.
    pub fn is_open(self) -> bool {
        matches!(self, State::Issued | State::Begun | State::Deferred)
    }
}

/// One instruction about one person's data.
#[derive(Debug, Clone, PartialEq)]
pub struct Instruction {
    pub id: Id,
    pub kind: InstructionKind,
    /// A service, or a recipient.
    pub addressee: Id,
    pub channel: Option<RecipientChannel>,
    pub cause: Option<PlanCause>,
    /// The plan that counts it.
    pub plan: Option<Id>,
    /// The plan that it follows from.
    pub after_plan: Option<Id>,
    pub case: Option<Id>,
    pub of: Selector,
    pub collected_before: Option<Timestamp>,
    /// Versions of rules, and what ended purposes.
    pub because: Vec<Id>,
    /// Since when the data are due to go.
    pub due_at: Option<Timestamp>,
    /// By when it is to be answered.
    pub due: Option<Timestamp>,
    pub issued_at: Timestamp,
    /// Where it stands in the log.
    pub position: u64,
    pub state: State,
    /// When it came to that state.
    pub since: Timestamp,
    /// Why it was not done, or recalled.
    pub ground: Option<Id>,
    pub recalled: bool,
    /// When it comes again, where it was put off.
    pub again_at: Option<Timestamp>,
}

impl Instruction {
    fn issued(body: &InstructionIssued, at: Timestamp, position: u64) -> Option<Instruction> {
        let of = Selector {
            service: body.service.clone(),
            record_kind: body.record_kind.clone(),
            category: body.category.clone(),
            slot: body.slot.clone().into(),
            exact: false,
        };
        Some(Instruction {
            id: body.instruction_id.clone()?,
            kind: body.kind?,
            addressee: body.addressee.clone()?,
            channel: body.channel,
            cause: body.cause,
            plan: body.plan_id.clone(),
            after_plan: body.plan_ref.clone(),
            case: body.case_id.clone(),
            of: if body.exact == Some(true) { of.exactly() } else { of },
            collected_before: body.collected_before,
            because: body.because.to_vec(),
            due_at: body.due_at,
            due: body.due,
            issued_at: at,
            position,
            state: State::Issued,
            since: at,
            ground: None,
            recalled: false,
            again_at: None,
        })
    }

    /// Whether it asks to destroy.
    pub fn destroys(&self) -> bool {
        matches!(self.kind, InstructionKind::Erase | InstructionKind::Anonymise)
    }

    /// Whether it is told to whoever holds what is due. Recipients are told when it is gone there.
    pub fn is_of_what_is_due(&self) -> bool {
        self.destroys() && self.due_at.is_some()
    }

    /// Whether it was put off, and its time has not come again.
    pub fn is_put_off(&self, now: Timestamp) -> bool {
        self.state == State::Deferred && self.again_at.is_some_and(|at| at > now)
    }

    /// How many of these days have passed since it was issued, if it is still open.
    pub fn reminders(&self, after_ms: &[i64], now: Timestamp) -> u32 {
        let passed = after_ms.iter().filter(|after| now.since(self.issued_at) >= **after).count();
        if self.state.is_open() { passed as u32 } else { 0 }
    }

    fn turn(&mut self, at: Timestamp, body: &Body) {
        match body {
            Body::InstructionBegun(body)
                if self.state.is_open() && body.answer == Some(InstructionAnswer::Go) =>
            {
                (self.state, self.since) = (State::Begun, at);
            }
            Body::InstructionRecalled(body) => {
                self.recalled = true;
                if self.state != State::Done {
                    (self.state, self.since) = (State::Recalled, at);
                    self.ground = body.reason.map(RecallReason::as_str).and_then(|code| code.parse().ok());
                }
            }
            Body::InstructionAcknowledged(body) => {
                let Some(outcome) = body.outcome else { return };
                // What was recalled can only turn out to have been done.
                if self.state == State::Done || self.recalled && outcome != InstructionOutcome::Done {
                    return;
                }
                self.state = match outcome {
                    InstructionOutcome::Done => State::Done,
                    InstructionOutcome::Refused => State::Refused,
                    InstructionOutcome::Impossible => State::Impossible,
                    InstructionOutcome::Deferred => State::Deferred,
                };
                // Until the deferral itself says when it is looked at again.
                self.again_at = (self.state == State::Deferred).then(|| at.plus_ms(AGAIN_MS));
                (self.since, self.ground) = (at, body.ground.clone());
            }
            _ => {}
        }
    }
}

/// All instructions that these acts are about, the oldest first. The acts are given as they stand in the log.
pub fn fold<'a>(acts: impl IntoIterator<Item = (Timestamp, u64, &'a Body)>) -> Vec<Instruction> {
    let mut all: Vec<Instruction> = Vec::new();
    for (at, position, body) in acts {
        if let Body::InstructionIssued(body) = body {
            all.extend(Instruction::issued(body, at, position));
        } else if let Body::ErasureDeferred(body) = body {
            let put_off = all.iter_mut().rfind(|one| Some(&one.id) == body.instruction_id.as_ref());
            put_off.into_iter().for_each(|one| one.again_at = body.review_at);
        } else if let Some((addressee, id)) = named(body) {
            let known = all.iter_mut().rfind(|one| one.id == *id && one.addressee == *addressee);
            known.into_iter().for_each(|one| one.turn(at, body));
        }
    }
    all
}

/// The addressee and the id of the instruction that an act is about.
pub fn named(body: &Body) -> Option<(&Id, &Id)> {
    let (addressee, id) = match body {
        Body::InstructionIssued(body) => (&body.addressee, &body.instruction_id),
        Body::InstructionBegun(body) => (&body.addressee, &body.instruction_id),
        Body::InstructionRecalled(body) => (&body.addressee, &body.instruction_id),
        Body::InstructionAcknowledged(body) => (&body.addressee, &body.instruction_id),
        _ => return None,
    };
    Some((addressee.as_ref()?, id.as_ref()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::catalogue::*;

    fn id(text: &str) -> Option<Id> {
        text.parse().ok()
    }

    fn issued() -> Body {
        Body::InstructionIssued(Box::new(InstructionIssued {
            kind: Some(InstructionKind::Erase),
            addressee: id("solar"),
            instruction_id: id("one"),
            exact: Some(true),
            ..Default::default()
        }))
    }

    fn begun(answer: InstructionAnswer) -> Body {
        let (addressee, instruction_id) = (id("solar"), id("one"));
        Body::InstructionBegun(Box::new(InstructionBegun { addressee, answer: Some(answer), instruction_id }))
    }

    fn recalled() -> Body {
        Body::InstructionRecalled(Box::new(InstructionRecalled {
            addressee: id("solar"),
            instruction_id: id("one"),
            reason: Some(RecallReason::Hold),
            ..Default::default()
        }))
    }

    fn answered(outcome: InstructionOutcome) -> Body {
        Body::InstructionAcknowledged(Box::new(InstructionAcknowledged {
            addressee: id("solar"),
            instruction_id: id("one"),
            outcome: Some(outcome),
            ..Default::default()
        }))
    }

    fn state(acts: &[Body]) -> Vec<(State, bool)> {
        let acts =
            acts.iter().enumerate().map(|(n, body)| (Timestamp::EPOCH.plus_ms(n as i64), n as u64, body));
        fold(acts).iter().map(|one| (one.state, one.recalled)).collect()
    }

    #[test]
    fn an_instruction_goes_its_way() {
        use InstructionOutcome as Outcome;
        let go = || begun(InstructionAnswer::Go);
        for (acts, wanted) in [
            (vec![], State::Issued),
            (vec![begun(InstructionAnswer::Revoked)], State::Issued),
            (vec![go()], State::Begun),
            (vec![go(), answered(Outcome::Done)], State::Done),
            (vec![answered(Outcome::Refused)], State::Refused),
            (vec![answered(Outcome::Deferred)], State::Deferred),
            (vec![answered(Outcome::Deferred), go(), answered(Outcome::Done)], State::Done),
            (vec![go(), answered(Outcome::Done), answered(Outcome::Refused)], State::Done),
        ] {
            let acts: Vec<Body> = std::iter::once(issued()).chain(acts).collect();
            assert_eq!(state(&acts), [(wanted, false)], "{acts:?}");
        }
        assert!(state(&[go()]).is_empty(), "nobody was told anything");
    }

    #[test]
    fn what_was_recalled_is_void_and_what_was_done_is_done() {
        use InstructionOutcome as Outcome;
        let recalled = |acts: Vec<Body>| {
            let acts: Vec<Body> = [issued(), recalled()].into_iter().chain(acts).collect();
            state(&acts)
        };
        assert_eq!(recalled(vec![]), [(State::Recalled, true)]);
        assert_eq!(recalled(vec![begun(InstructionAnswer::Go)]), [(State::Recalled, true)]);
        assert_eq!(recalled(vec![answered(Outcome::Deferred)]), [(State::Recalled, true)]);
        assert_eq!(recalled(vec![answered(Outcome::Done)]), [(State::Done, true)]);
    }
}
