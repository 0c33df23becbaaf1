//! A whole service that is to be emptied: everything that its holder was told to destroy is begun at once, and what has
//! to stay is named, so that who empties it needs no list of what goes.
//!
//! Promises: each datum is decided anew before it is said to go, as for single ones, and each has its own execution in
//! the record. What stays is all that the service held when the last was begun and that was not begun; why it stays is
//! not told. A crash in between loses nothing: what was begun stays begun, and the same call says it again.

use std::collections::HashSet;

use crate::app::instructions::acknowledge::Acknowledgement;
use crate::app::instructions::place;
use crate::app::{App, Caller, Error};
use crate::domain::datum::DatumKey;
use crate::domain::event::{InstructionAnswer, InstructionKind};
use crate::domain::id::{Id, SubjectId};
use crate::domain::identity::Identifier;
use crate::domain::instruction::{Instruction, State};
use crate::domain::time::Timestamp;
use crate::views::instructions::{Behind, Open};
use crate::views::retention::due::{Deciding, Work};

/// Instructions, or people, looked at in one step.
const STEP: usize = 1_000;

/// Which instructions: to one addressee, to destroy what one service held, in one way.
#[derive(Debug, Clone)]
pub struct Whole {
    pub addressee: Id,
    pub service: Id,
    pub kind: InstructionKind,
}

/// What of some instructions was begun.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BegunSome {
    pub begun: u64,
    pub revoked: u64,
}

/// What stays with a service.
#[derive(Debug, Clone)]
pub struct Kept {
    pub subject: SubjectId,
    pub identifiers: Vec<Identifier>,
    pub key: DatumKey,
    /// What was collected before goes.
    pub collected_from: Option<Timestamp>,
}

/// What of some instructions was answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AcknowledgedSome {
    pub acknowledged: u64,
    pub after_recall: u64,
    pub excepted: u64,
}

impl Whole {
    fn has(&self, told: &Instruction) -> bool {
        told.kind == self.kind
            && told.is_of_what_is_due()
            && told.addressee == self.addressee
            && told.of.service.as_ref() == Some(&self.service)
    }

    /// What of a person's data stays.
    fn kept(&self, work: &Work, now: Timestamp) -> Vec<(DatumKey, Option<Timestamp>)> {
        let begun: Vec<_> =
            work.instructions.iter().filter(|told| self.has(told) && told.state == State::Begun).collect();
        let is_held = |key: &&DatumKey| work.person.decide(key, now).state.is_held();
        let of_service = work.person.keys().filter(|key| key.service.as_ref() == Some(&self.service));
        let stays = |key: &DatumKey| {
            let told = begun.iter().find(|told| told.of.holds(key));
            match told.map(|told| told.collected_before) {
                None => Some((key.clone(), None)),
                Some(Some(before)) => Some((key.clone(), Some(before))),
                Some(None) => None,
            }
        };
        of_service.filter(is_held).filter_map(stays).collect()
    }
}

impl App {
    /// Only whoever holds what a service held is told what stays there.
    pub fn may_empty(&self, caller: &Caller, whole: &Whole) -> Result<(), Error> {
        caller.may_answer_for(&whole.addressee)?;
        if self.holder_of_data(&whole.service, self.clock.now()) != whole.addressee {
            let why = format!("{} does not hold what {} held", whole.addressee, whole.service);
            return Err(Error::PermissionDenied { reason: "not_the_holder", why });
        }
        Ok(())
    }

    /// Begins the next of what there is, and says where the next of them stand.
    pub async fn begin_some(
        &self,
        caller: &Caller,
        whole: &Whole,
        behind: Option<Behind>,
    ) -> Result<(BegunSome, Option<Behind>), Error> {
        self.may_empty(caller, whole)?;
        let (open, next) = self.some_of(whole, behind, None).await?;
        let mut some = BegunSome::default();
        if !open.is_empty() {
            let ids = open.into_iter().map(|one| one.instruction.id).collect();
            for answer in self.begin_instructions(caller, &whole.addressee, ids).await? {
                match answer {
                    Ok(InstructionAnswer::Go) => some.begun += 1,
                    Ok(InstructionAnswer::Revoked) => some.revoked += 1,
                    // Somebody else answered it meanwhile.
                    Err(Error::Precondition { reason: "instruction_ended", .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok((some, next))
    }

    /// What stays of the next people, and where the next of them stand. To be asked once all is begun.
    pub async fn kept_by_service(
        &self,
        caller: &Caller,
        whole: &Whole,
        behind: Option<SubjectId>,
    ) -> Result<(Vec<Kept>, Option<SubjectId>), Error> {
        self.may_empty(caller, whole)?;
        let (whole, now) = (whole.clone(), self.clock.now());
        let (found, next) = self
            .ask(move |ask| {
                let people = ask.people_with_data(&whole.service, behind, STEP)?;
                let next = people.last().copied().filter(|_| people.len() == STEP);
                let (deciding, mut found) = (Deciding::new(ask, now)?, Vec::new());
                for subject in people {
                    let Some(work) = deciding.work(ask, subject)? else { continue };
                    let kept = whole.kept(&work, now);
                    found.extend((!kept.is_empty()).then_some((subject, kept)));
                }
                Ok((found, next))
            })
            .await?;
        let mut all = Vec::new();
        for (subject, kept) in found {
            let identifiers = self.names_of(subject).await?;
            all.extend(kept.into_iter().map(|(key, collected_from)| Kept {
                subject,
                identifiers: identifiers.clone(),
                key,
                collected_from,
            }));
        }
        Ok((all, next))
    }

    /// Brings what is asked for who holds what up to date with all that was recorded.
    pub async fn know_who_holds(&self) -> Result<(), Error> {
        let until = self.settled().await?;
        while self.refresh_due(self.clock.now()).await?.known < until {
            if self.is_called_off() {
                return Err(Error::stopping());
            }
        }
        Ok(())
    }

    /// Answers the next of what was begun by an instant, and says where the next of them stand.
    pub async fn acknowledge_some(
        &self,
        caller: &Caller,
        (whole, begun_by): (&Whole, Timestamp),
        (answer, except): (&Acknowledgement, &HashSet<Id>),
        behind: Option<Behind>,
    ) -> Result<(AcknowledgedSome, Option<Behind>), Error> {
        self.may_empty(caller, whole)?;
        let (open, next) = self.some_of(whole, behind, Some(begun_by)).await?;
        let (excepted, open): (Vec<Open>, Vec<Open>) =
            open.into_iter().partition(|one| except.contains(&one.instruction.id));
        let mut some = AcknowledgedSome { excepted: excepted.len() as u64, ..Default::default() };
        if !open.is_empty() {
            let of = |one: Open| Acknowledgement { id: one.instruction.id, ..answer.clone() };
            let answers = open.into_iter().map(of).collect();
            for answered in self.acknowledge_instructions(caller, &whole.addressee, answers).await? {
                match answered {
                    Ok(answered) => {
                        some.acknowledged += 1;
                        some.after_recall += u64::from(answered.after_recall);
                    }
                    // Somebody else answered it meanwhile.
                    Err(Error::Precondition { reason: "instruction_ended", .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok((some, next))
    }

    /// The next of an addressee's open instructions that are meant; only those begun by an instant, if one is given.
    async fn some_of(
        &self,
        whole: &Whole,
        behind: Option<Behind>,
        begun_by: Option<Timestamp>,
    ) -> Result<(Vec<Open>, Option<Behind>), Error> {
        self.settled().await?;
        let whole = whole.clone();
        self.ask(move |ask| {
            let mut open = ask.open_instructions(Some(&whole.addressee), behind.as_ref(), STEP, |_| true)?;
            let next = open.last().filter(|_| open.len() == STEP).map(place);
            let is_begun = |one: &Instruction, by| one.state == State::Begun && one.since <= by;
            open.retain(|one| {
                whole.has(&one.instruction) && begun_by.is_none_or(|by| is_begun(&one.instruction, by))
            });
            Ok((open, next))
        })
        .await
    }
}
