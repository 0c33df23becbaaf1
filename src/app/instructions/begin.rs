//! The go/no-go before acting: decided anew, at the one place where holds are asked for.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::app::instructions::ended;
use crate::app::own::event_id;
use crate::app::sweep::recalled;
use crate::app::{App, Caller, Error};
use crate::domain::event::catalogue::InstructionBegun;
use crate::domain::event::{Body, InstructionAnswer, RecallReason};
use crate::domain::id::{Id, SubjectId};
use crate::domain::instruction::State;
use crate::views::instructions::Open;
use crate::views::retention::due::{Deciding, Work};

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
        let _nothing_is_held = self.deciding.write().await;
        self.settled().await?;
        let (now, mut events, mut answers) = (self.clock.now(), Vec::new(), Vec::with_capacity(ids.len()));
        let mut found = Vec::with_capacity(ids.len());
        for id in &ids {
            found.push(self.instruction(addressee, id).await);
        }
        let (found, voids) = self.voids(found).await?;
        let mut told = std::collections::BTreeSet::new();
        for (found, void) in found.into_iter().zip(voids) {
            let answer = match (found, void) {
                (Err(error), _) => Err(error),
                (Ok(open), _) if !told.insert(open.instruction.id.clone()) => {
                    Err(Error::invalid("instruction_ids", "names an instruction twice"))
                }
                (Ok(open), _) if open.instruction.state == State::Recalled => Ok(InstructionAnswer::Revoked),
                (Ok(open), _) if !open.instruction.state.is_open() => Err(ended(&open.instruction)),
                (Ok(open), void) => {
                    let answer =
                        if void.is_some() { InstructionAnswer::Revoked } else { InstructionAnswer::Go };
                    if open.instruction.state != State::Begun || void.is_some() {
                        events.push((event_id(now)?, now, begun(&open, answer), open.subject));
                    }
                    let id = open.instruction.id.clone();
                    match void {
                        Some(reason) => {
                            self.leases.answered(&id, now);
                            events.push(recalled((open, reason), now)?);
                        }
                        None => self.leases.take(std::iter::once(&id), now.plus_ms(LEASE_MS), now),
                    }
                    Ok(answer)
                }
            };
            answers.push(answer);
        }
        self.record_own_each(events).await?;
        Ok(answers)
    }

    /// Why each of these is void, if it is.
    async fn voids(
        &self,
        found: Vec<Result<Open, Error>>,
    ) -> Result<(Vec<Result<Open, Error>>, Vec<Option<RecallReason>>), Error> {
        let now = self.clock.now();
        self.ask(move |ask| {
            let deciding = Deciding::new(ask, now)?;
            let mut works: BTreeMap<SubjectId, Option<Work>> = BTreeMap::new();
            let mut voids = Vec::with_capacity(found.len());
            for one in &found {
                let Ok(open) = one else {
                    voids.push(None);
                    continue;
                };
                let work = match works.entry(open.subject) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => new.insert(deciding.work(ask, ask.canonical(open.subject)?)?),
                };
                let work = work.as_ref();
                voids.push(work.and_then(|work| work.voided(&open.instruction, now)));
            }
            Ok((found, voids))
        })
        .await
    }
}

fn begun(open: &Open, answer: InstructionAnswer) -> Body {
    Body::InstructionBegun(Box::new(InstructionBegun {
        addressee: Some(open.instruction.addressee.clone()),
        answer: Some(answer),
        instruction_id: Some(open.instruction.id.clone()),
    }))
}
