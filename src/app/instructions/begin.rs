//! The go/no-go before acting: decided anew, at the one place where holds are asked for.

use std::collections::BTreeSet;

use crate::app::instructions::issue::recalled;
use crate::app::instructions::{Known, ended};
use crate::app::own::{About, event_id};
use crate::app::{App, Caller, Error};
use crate::domain::event::catalogue::InstructionBegun;
use crate::domain::event::{Body, InstructionAnswer};
use crate::domain::id::Id;
use crate::domain::instruction::{Instruction, State};
use crate::domain::time::Timestamp;

/// How long whoever was told to go ahead has it in hand.
const LEASE_MS: i64 = 600_000;

/// What whoever asks is told of one.
pub type Begun = Result<InstructionAnswer, Error>;

impl App {
    /// Answers for each of some instructions whether it is still to be done.
    pub async fn begin_instructions(
        &self,
        caller: &Caller,
        addressee: &Id,
        ids: Vec<Id>,
    ) -> Result<Vec<Begun>, Error> {
        caller.may_answer_for(addressee)?;
        let _nothing_is_held = self.decide().await?;
        self.settled().await?;
        let (now, mut events, mut asked) = (self.clock.now(), Vec::new(), BTreeSet::new());
        let mut answers = Vec::with_capacity(ids.len());
        for known in self.given(addressee, ids).await? {
            answers.push(known.and_then(|known| match asked.insert(known.open.instruction.id.clone()) {
                true => self.begin(known, now, &mut events),
                false => Err(Error::invalid("instruction_ids", "names an instruction twice")),
            }));
        }
        self.record_own_each(events).await?;
        Ok(answers)
    }

    /// Answers for one, and adds what is to be recorded of it.
    fn begin(&self, known: Known, now: Timestamp, events: &mut Vec<About>) -> Begun {
        let Known { open, void, .. } = known;
        let told = &open.instruction;
        if told.state == State::Recalled {
            return Ok(InstructionAnswer::Revoked);
        }
        if !told.state.is_open() {
            return Err(ended(told));
        }
        match void {
            Some(reason) => {
                self.leases.answered(&told.id, now);
                events.push((event_id(now)?, now, begun(told, InstructionAnswer::Revoked), open.subject));
                events.push(recalled((open, reason), now)?);
                Ok(InstructionAnswer::Revoked)
            }
            None => {
                self.leases.keep(&told.id, LEASE_MS, now);
                if told.state != State::Begun {
                    events.push((event_id(now)?, now, begun(told, InstructionAnswer::Go), open.subject));
                }
                Ok(InstructionAnswer::Go)
            }
        }
    }
}

fn begun(told: &Instruction, answer: InstructionAnswer) -> Body {
    Body::InstructionBegun(Box::new(InstructionBegun {
        addressee: Some(told.addressee.clone()),
        answer: Some(answer),
        instruction_id: Some(told.id.clone()),
    }))
}
