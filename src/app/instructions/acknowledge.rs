//! What became of an instruction, and what follows from it: what a service erased is recorded as erased, and whoever
//! got the data from it is told (GDPR 17(2), 19; PIPL 47).

use std::collections::BTreeMap;

use crate::app::instructions::issue::{Telling, issued};
use crate::app::instructions::{Known, ended};
use crate::app::own::{About, event_id};
use crate::app::{App, Caller, Error};
use crate::domain::event::catalogue::{
    AnonymisationExecuted, ErasureDeferred, ErasureExecuted, InstructionAcknowledged,
};
use crate::domain::event::{
    Body, ErasureMethod, InstructionKind, InstructionOutcome, List, RecipientRole, Verification,
};
use crate::domain::id::{Digest, Id};
use crate::domain::instruction::{Instruction, State};
use crate::domain::time::Timestamp;
use crate::limits;

/// What somebody says became of an instruction.
#[derive(Debug, Clone)]
pub struct Acknowledgement {
    pub id: Id,
    pub outcome: InstructionOutcome,
    pub ground: Option<Id>,
    /// Of something that was done; of a deferral, when it is looked at again.
    pub done: Done,
    pub review_at: Option<Timestamp>,
    pub evidence_sha256: Option<Digest>,
}

/// How something was done.
#[derive(Debug, Clone, Default)]
pub struct Done {
    pub at: Option<Timestamp>,
    pub method: Option<ErasureMethod>,
    pub stores: Vec<Id>,
    pub backups_expire_at: Option<Timestamp>,
    pub verification: Option<Verification>,
    pub reid_test_ref: Option<Id>,
}

/// How an answer was taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Acknowledged {
    /// As it was recorded.
    pub body: InstructionAcknowledged,
    /// It was there already.
    pub duplicate: bool,
    /// It had been recalled, and was done all the same.
    pub after_recall: bool,
}

impl App {
    /// Records what became of some instructions. One that is refused leaves the others as they are.
    pub async fn acknowledge_instructions(
        &self,
        caller: &Caller,
        addressee: &Id,
        answers: Vec<Acknowledgement>,
    ) -> Result<Vec<Result<Acknowledged, Error>>, Error> {
        caller.may_answer_for(addressee)?;
        let _nothing_is_held = self.decide().await?;
        self.settled().await?;
        let (mut events, mut results) = (Vec::new(), Vec::with_capacity(answers.len()));
        let mut answered: BTreeMap<Id, InstructionOutcome> = BTreeMap::new();
        let ids = answers.iter().map(|answer| answer.id.clone()).collect();
        for (answer, known) in answers.into_iter().zip(self.given(addressee, ids).await?) {
            let result = known.and_then(|known| match answered.get(&answer.id) {
                None => self.take(&known, &answer, &mut events),
                Some(outcome) if *outcome == answer.outcome => Ok(again(&known.open.instruction, &answer)),
                Some(_) => Err(Error::invalid("acknowledgements", "answers an instruction in two ways")),
            });
            if result.is_ok() {
                self.leases.answered(&answer.id, self.clock.now());
                answered.insert(answer.id, answer.outcome);
            }
            results.push(result);
        }
        self.record_own_each(events).await?;
        Ok(results)
    }

    /// Takes one answer, and adds what is to be recorded of it.
    fn take(
        &self,
        known: &Known,
        answer: &Acknowledgement,
        events: &mut Vec<About>,
    ) -> Result<Acknowledged, Error> {
        let (told, subject, now) = (&known.open.instruction, known.open.subject, self.clock.now());
        if is_said_again(told, answer, now) {
            return Ok(again(told, answer));
        }
        let done = answer.outcome == InstructionOutcome::Done;
        // What was said to be impossible may be done in the end; what is done stays done.
        let may_turn = told.state.is_open()
            || done && matches!(told.state, State::Recalled | State::Refused | State::Impossible);
        if !may_turn {
            return Err(ended(told));
        }
        check(told, answer, now)?;
        let body = body(told, answer);
        let mut add = |at, body| {
            events.push((event_id(now)?, at, body, subject));
            Ok::<(), Error>(())
        };
        add(now, Body::InstructionAcknowledged(Box::new(body.clone())))?;
        if told.is_of_what_is_due() && done {
            add(answer.done.at.unwrap_or(now), executed(told, answer))?;
            for recipient in &known.recipients {
                events.push(issued(Telling::of_erasure(told, recipient.clone(), self), subject, now)?);
            }
        } else if told.is_of_what_is_due() && answer.outcome == InstructionOutcome::Deferred {
            add(now, deferred(told, answer))?;
        }
        Ok(Acknowledged { body, duplicate: false, after_recall: told.state == State::Recalled })
    }

    /// What a recipient does when it hears that data are gone (GDPR 17(2), 19, 28(3)(g)).
    pub(super) fn kind_for(&self, recipient: &Id, now: Timestamp) -> InstructionKind {
        let role = self.views.registers(|registers| {
            registers.recipient_at(recipient, now, u64::MAX).and_then(|entry| entry.body.role)
        });
        match role {
            Some(RecipientRole::Processor | RecipientRole::JointController) => InstructionKind::Erase,
            _ => InstructionKind::Notify,
        }
    }
}

/// What is there already; nothing is recorded.
fn again(told: &Instruction, answer: &Acknowledgement) -> Acknowledged {
    Acknowledged { body: body(told, answer), duplicate: true, after_recall: false }
}

/// Whether an answer says what was said before. What was put off can be put off again once its time has come.
fn is_said_again(told: &Instruction, answer: &Acknowledgement, now: Timestamp) -> bool {
    let same = told.state == state_of(answer.outcome);
    same && (!told.state.is_open() || told.is_put_off(now))
}

fn state_of(outcome: InstructionOutcome) -> State {
    match outcome {
        InstructionOutcome::Done => State::Done,
        InstructionOutcome::Refused => State::Refused,
        InstructionOutcome::Impossible => State::Impossible,
        InstructionOutcome::Deferred => State::Deferred,
    }
}

/// Every field that is missing or wrong.
fn check(told: &Instruction, answer: &Acknowledgement, now: Timestamp) -> Result<(), Error> {
    let mut wrong = Vec::new();
    let done = answer.outcome == InstructionOutcome::Done;
    if !done && answer.ground.is_none() {
        wrong.push(("ground", "is required where something was not done"));
    }
    if done && told.destroys() && answer.done.method.is_none() {
        wrong.push(("method", "is required where data were erased or made anonymous"));
    }
    if done && told.kind == InstructionKind::Anonymise && answer.done.reid_test_ref.is_none() {
        wrong.push(("reid_test_ref", "is required where data were made anonymous"));
    }
    if answer.outcome == InstructionOutcome::Deferred && answer.review_at.is_none() {
        wrong.push(("review_at", "is required of a deferral"));
    }
    if answer.done.at.is_some_and(|at| at.since(now) > limits::AHEAD_MS) {
        wrong.push(("executed_at", "lies more than five minutes ahead of the server"));
    }
    if answer.done.at.is_some_and(|at| at < told.issued_at) {
        wrong.push(("executed_at", "lies before the instruction"));
    }
    Error::of_fields(wrong)
}

fn body(told: &Instruction, answer: &Acknowledgement) -> InstructionAcknowledged {
    InstructionAcknowledged {
        addressee: Some(told.addressee.clone()),
        outcome: Some(answer.outcome),
        ground: answer.ground.clone(),
        instruction_id: Some(told.id.clone()),
        plan_id: told.plan.clone(),
        case_id: told.case.clone(),
        evidence_sha256: answer.evidence_sha256,
        ..Default::default()
    }
}

/// The execution, of exactly what the instruction names.
fn executed(told: &Instruction, answer: &Acknowledgement) -> Body {
    let key = told.of.datum();
    let (of, done) = (&told.of, &answer.done);
    let slot = key.and_then(|key| key.slot);
    // Rules stand among what made it due; the others end purposes, and have a colon.
    let rules = told.because.iter().filter(|because| !because.as_str().contains(':')).cloned().collect();
    if told.kind == InstructionKind::Anonymise {
        return Body::AnonymisationExecuted(Box::new(AnonymisationExecuted {
            service: of.service.clone(),
            record_kind: of.record_kind.clone(),
            category: of.category.clone(),
            slot,
            exact: of.exact.then_some(true),
            method: done.method,
            stores: List::new(done.stores.clone()).unwrap_or_default(),
            backups_expire_at: done.backups_expire_at,
            rules: List::new(rules).unwrap_or_default(),
            verification: done.verification,
            reid_test_ref: done.reid_test_ref.clone(),
            instruction_id: Some(told.id.clone()),
            due_at: told.due_at,
            collected_before: told.collected_before,
        }));
    }
    Body::ErasureExecuted(Box::new(ErasureExecuted {
        service: of.service.clone(),
        record_kind: of.record_kind.clone(),
        category: of.category.clone(),
        slot,
        exact: of.exact.then_some(true),
        method: done.method,
        stores: List::new(done.stores.clone()).unwrap_or_default(),
        backups_expire_at: done.backups_expire_at,
        rules: List::new(rules).unwrap_or_default(),
        verification: done.verification,
        instruction_id: Some(told.id.clone()),
        due_at: told.due_at,
        collected_before: told.collected_before,
    }))
}

fn deferred(told: &Instruction, answer: &Acknowledgement) -> Body {
    Body::ErasureDeferred(Box::new(ErasureDeferred {
        service: told.of.service.clone(),
        record_kind: told.of.record_kind.clone(),
        category: told.of.category.clone(),
        slot: told.of.datum().and_then(|key| key.slot),
        reason: answer.ground.clone(),
        review_at: answer.review_at,
        instruction_id: Some(told.id.clone()),
    }))
}
