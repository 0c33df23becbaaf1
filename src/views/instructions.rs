//! What those who hold data are told to do: the instructions of a person, the open ones of an addressee, and how many
//! there were under a plan.
//!
//! A person's instructions are folded from the person's own events. Beside that stands a row for each that is open,
//! by addressee, so that whoever asks for work reads no more than there is; it only says whom to look at.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use crate::domain::event::{Body, EventType, InstructionOutcome, RecallReason};
use crate::domain::id::{Id, SubjectId};
use crate::domain::instruction::{Instruction, fold, named};
use crate::views::Error;
use crate::views::apply::Applier;
use crate::views::ask::Ask;
use crate::views::codec::{Malformed, Reader, put_bytes};
use crate::views::decode::Decoded;
use crate::views::fold::split_key;
use crate::views::own::Own;
use crate::views::person::Key;
use crate::views::report::Line;
use crate::views::shape::{self, Shapes};
use crate::views::store::tag;

const WHAT: &str = "instruction";

/// An open instruction of somebody.
#[derive(Debug, Clone, PartialEq)]
pub struct Open {
    pub subject: SubjectId,
    pub instruction: Instruction,
}

/// Where a list of open instructions goes on: behind this addressee and id.
pub type Behind = (Id, Id);

/// Events about instructions under a plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub issued: u64,
    /// Those given to somebody else among them.
    pub recalled: u64,
    pub reassigned: u64,
    pub done: u64,
    pub refused: u64,
    pub impossible: u64,
    pub deferred: u64,
}

/// What of an event decides about its row.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Stated {
    addressee: Option<Id>,
    instruction_id: Option<Id>,
    plan_id: Option<Id>,
    outcome: Option<InstructionOutcome>,
    reason: Option<RecallReason>,
}

pub fn is_about_one(event_type: EventType) -> bool {
    use EventType::*;
    matches!(event_type, InstructionIssued | InstructionRecalled | InstructionAcknowledged)
}

fn queued(addressee: &Id, id: &Id) -> Vec<u8> {
    let mut key = queued_for(addressee);
    key.extend_from_slice(id.as_str().as_bytes());
    key
}

fn queued_for(addressee: &Id) -> Vec<u8> {
    let mut key = vec![tag::QUEUE];
    put_bytes(&mut key, addressee.as_str().as_bytes());
    key
}

fn counted(plan: &Id, what: u8) -> Vec<u8> {
    let mut key = vec![tag::PLAN];
    put_bytes(&mut key, plan.as_str().as_bytes());
    key.push(what);
    key
}

const ISSUED: u8 = 0;
const RECALLED: u8 = 1;
const REASSIGNED: u8 = 2;
/// Behind it, by the number of the outcome.
const ANSWERED: u8 = 16;

fn stated(header: &str, index: Option<&str>) -> Stated {
    let header: Stated = serde_json::from_str(header).unwrap_or_default();
    let index: Stated = index.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
    Stated { instruction_id: index.instruction_id, ..header }
}

impl Applier {
    /// Puts an instruction into its addressee's queue, or takes it out, and counts it for its plan. What was put off
    /// stays, and comes again.
    pub(super) fn queue(&mut self, event: &Decoded) -> Result<(), Error> {
        let stated = stated(&event.body_json, event.index_json.as_deref());
        let (what, stays) = match (event.event_type, stated.outcome) {
            (EventType::InstructionIssued, _) => (ISSUED, true),
            (EventType::InstructionRecalled, _) => (RECALLED, false),
            (_, Some(outcome)) => {
                (ANSWERED + outcome.number() as u8, outcome == InstructionOutcome::Deferred)
            }
            _ => return Ok(()),
        };
        if let Some(plan) = &stated.plan_id {
            self.count(counted(plan, what))?;
            if stated.reason == Some(RecallReason::Reassigned) {
                self.count(counted(plan, REASSIGNED))?;
            }
        }
        // Of somebody who was erased no more is known than that there was one.
        let (Some(addressee), Some(id)) = (&stated.addressee, &stated.instruction_id) else { return Ok(()) };
        let Some(subject) = event.data_subjects().next() else { return Ok(()) };
        match (event.event_type, stays) {
            (EventType::InstructionIssued, _) if self.people.is_erased(subject)? => {}
            (EventType::InstructionIssued, _) => {
                self.rows.push((queued(addressee, id), Some(subject.0.to_vec())));
            }
            (_, false) => self.rows.push((queued(addressee, id), None)),
            (_, true) => {}
        }
        Ok(())
    }
}

/// The row that a person's entry has in a queue, for whoever removes everything of theirs.
pub(super) fn row_of(shapes: &Shapes, key: &Key) -> Result<Option<Vec<u8>>, Error> {
    let (inline, own) = split_key(key)?;
    let event_type = match inline {
        Some(bytes) => shape::decode(bytes)?.event_type,
        None => match shapes.get(key.shape) {
            Some(shape) => shape.event_type,
            None => return Ok(None),
        },
    };
    if event_type != EventType::InstructionIssued {
        return Ok(None);
    }
    let Own { body: Some(header), index, .. } = own else { return Ok(None) };
    let stated = stated(&header, index.as_deref());
    Ok(stated.addressee.zip(stated.instruction_id).map(|(addressee, id)| queued(&addressee, &id)))
}

fn is_told_of(body: &Body) -> bool {
    named(body).is_some() || matches!(body, Body::ErasureDeferred(_))
}

/// The instructions among what is kept of a person.
pub fn among(lines: &[Line]) -> Vec<Instruction> {
    let mut acts: Vec<_> = lines
        .iter()
        .filter(|line| is_told_of(&line.body))
        .filter_map(|line| line.own.act.map(|(at, position)| (at, position, &line.body)))
        .collect();
    acts.sort_by_key(|(_, position, _)| *position);
    fold(acts.into_iter().map(|(at, position, body): (_, _, &Body)| (at, position, body)))
}

impl Ask {
    /// Every instruction about a person, the oldest first; `None` where nobody is known by the handle.
    pub fn instructions_of(&self, subject: SubjectId) -> Result<Option<Vec<Instruction>>, Error> {
        let lines = self.lines_of(subject, None, self.applied)?;
        Ok(lines.map(|(_, lines)| among(&lines)))
    }

    /// Open instructions of one addressee or of all, in the order of addressees and ids, behind one of them, whose ids
    /// are wanted.
    pub fn open_instructions(
        &self,
        addressee: Option<&Id>,
        behind: Option<&Behind>,
        most: usize,
        wanted: impl Fn(&Id) -> bool,
    ) -> Result<Vec<Open>, Error> {
        let all = addressee.map_or_else(|| vec![tag::QUEUE], queued_for);
        let from = match behind {
            Some((addressee, id)) => [&queued(addressee, id)[..], &[0]].concat(),
            None => all.clone(),
        };
        let end = after_all(&all);
        let mut open = Vec::new();
        let mut of: Option<(SubjectId, Vec<Instruction>)> = None;
        for row in self.reading.range(&from..&end) {
            if open.len() == most {
                break;
            }
            let (key, value) = row?;
            let subject = SubjectId(value[..].try_into().map_err(|_| Malformed(WHAT))?);
            let (addressee, id) = split(&key)?;
            if !wanted(&id) {
                continue;
            }
            if of.as_ref().is_none_or(|(known, _)| *known != subject) {
                of = Some((subject, self.instructions_of(subject)?.unwrap_or_default()));
            }
            // A row whose instruction was taken back says nothing.
            let known = of.iter().flat_map(|(_, all)| all);
            let found = known
                .filter(|one| one.state.is_open())
                .find(|one| one.id == id && one.addressee == addressee);
            open.extend(found.map(|one| Open { subject, instruction: one.clone() }));
        }
        Ok(open)
    }

    /// Whom instructions are about, by the events that issued them.
    pub fn subjects_of(&self, positions: &[u64]) -> Result<HashMap<u64, SubjectId>, Error> {
        let mut subjects = HashMap::new();
        self.reach.decode_all(positions, |event| {
            let about =
                event.data_subjects().next().filter(|_| event.event_type == EventType::InstructionIssued);
            subjects.extend(about.map(|subject| (event.position, subject)));
            Ok(())
        })?;
        Ok(subjects)
    }

    /// How many instructions are open, by addressee.
    pub fn queue_lengths(&self) -> Result<BTreeMap<Id, u64>, Error> {
        let mut lengths = BTreeMap::new();
        for row in self.reading.prefix(&[tag::QUEUE]) {
            *lengths.entry(split(&row?.0)?.0).or_default() += 1;
        }
        Ok(lengths)
    }

    /// What there was under a plan; it stays when the people are erased.
    pub fn plan_counts(&self, plan: &Id) -> Result<Counts, Error> {
        let of = |what| Ok::<u64, Error>(self.reading.number(&counted(plan, what))?.unwrap_or(0));
        let answered = |outcome: InstructionOutcome| of(ANSWERED + outcome.number() as u8);
        Ok(Counts {
            issued: of(ISSUED)?,
            recalled: of(RECALLED)?,
            reassigned: of(REASSIGNED)?,
            done: answered(InstructionOutcome::Done)?,
            refused: answered(InstructionOutcome::Refused)?,
            impossible: answered(InstructionOutcome::Impossible)?,
            deferred: answered(InstructionOutcome::Deferred)?,
        })
    }
}

/// The first key behind all that begin so.
fn after_all(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    // Keys hold ids, whose bytes are ASCII.
    end.push(0x80);
    end
}

fn split(key: &[u8]) -> Result<(Id, Id), Malformed> {
    let mut reader = Reader::new(key.get(1..).ok_or(Malformed(WHAT))?, WHAT);
    let addressee = reader.text()?.parse().map_err(|_| Malformed(WHAT))?;
    let id = std::str::from_utf8(reader.rest()).map_err(|_| Malformed(WHAT))?;
    Ok((addressee, id.parse().map_err(|_| Malformed(WHAT))?))
}
