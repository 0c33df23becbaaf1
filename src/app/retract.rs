//! Taking wrong events back (`domain.md` 2.2): the log keeps them, the views ignore them. Everything that cannot
//! be taken back is named before anything is recorded.
//!
//! One request may need several events, because each has a part for every person concerned. A crash between two
//! of them leaves the rest as it was; the same request again passes over what was taken back already.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::app::access::{Caller, Role};
use crate::app::error::FieldViolation;
use crate::app::own::{staff, staff_named};
use crate::app::{App, Error};
use crate::domain::event::catalogue::EventsRetracted;
use crate::domain::event::{Body, EventType, List, RetractionReason};
use crate::domain::id::{EventId, Id, SubjectId};
use crate::limits;
use crate::vault::{self, Holder};
use crate::views::retract::Original;

/// What is to be taken back.
#[derive(Debug, Clone)]
pub struct Wrong {
    pub emitter: Id,
    pub event_ids: Vec<EventId>,
    pub reason: RetractionReason,
    pub replacement_ids: Vec<EventId>,
    /// A second person who agrees.
    pub approver: Option<Id>,
}

/// What was taken back, or would be.
#[derive(Debug, Default)]
pub struct TakenBack {
    pub positions: Vec<u64>,
    pub by_type: BTreeMap<&'static str, u64>,
    pub people: u64,
    pub retractions: usize,
    pub already: Vec<EventId>,
    pub register_entries: BTreeSet<String>,
    pub second_person: bool,
}

/// One event that takes back: ids, what replaces them, and the people concerned.
#[derive(Debug, Default, PartialEq, Eq)]
struct Retraction {
    ids: Vec<EventId>,
    replacements: Vec<EventId>,
    people: BTreeSet<SubjectId>,
}

/// People of one retraction, so that there is room for the staff.
const PEOPLE: usize = limits::PARTS - 2;
/// Ids stand in the part of each person: as many as a sidecar can hold.
const IDS_TIMES_PEOPLE: usize = 1_200;

impl App {
    /// Takes events back, and says what that changes; with `check` only the latter.
    pub async fn retract(&self, caller: &Caller, wrong: Wrong, check: bool) -> Result<TakenBack, Error> {
        if !caller.has(Role::Officer) {
            // Nobody learns which ids another emitter has used.
            let own = caller.controller.as_ref().unwrap_or(&self.house.group);
            caller.may_speak_for(own, &wrong.emitter, None)?;
        }
        let originals = self.originals(&wrong).await?;
        may_retract(caller, &wrong, &originals)?;
        let mut told = TakenBack { already: already(&originals), ..TakenBack::default() };
        let new: Vec<&Original> =
            originals.iter().filter(|original| original.taken_back_by.is_none()).collect();
        for original in &new {
            *told.by_type.entry(original.event_type.as_str()).or_default() += 1;
            told.register_entries.extend(original.register_entry.clone());
        }
        told.second_person = new.iter().any(|original| needs_second_person(original.event_type));
        let mut holders: BTreeMap<SubjectId, Arc<Holder>> = BTreeMap::new();
        for subject in new.iter().flat_map(|original| &original.subjects) {
            match self.vault.holder(*subject).await {
                Ok(holder) => drop(holders.insert(*subject, holder)),
                // Of the erased nothing counts any more.
                Err(vault::Error::NotFound) => {}
                Err(error) => return Err(error.into()),
            }
        }
        told.people = holders.len() as u64;
        let retractions = in_pieces(&new, &holders, &wrong.replacement_ids);
        told.retractions = retractions.len();
        if check {
            return Ok(told);
        }
        self.second_person(caller, &wrong, told.second_person)?;
        for retraction in retractions {
            let about: Vec<Arc<Holder>> =
                retraction.people.iter().filter_map(|one| holders.get(one)).cloned().collect();
            let people = std::iter::once(staff(caller)).chain(wrong.approver.as_ref().map(staff_named));
            let body = EventsRetracted {
                emitter: Some(wrong.emitter.clone()),
                retracted_count: Some(retraction.ids.len() as u64),
                reason: Some(wrong.reason),
                event_ids: List::new(retraction.ids).unwrap_or_default(),
                replacement_ids: List::new(retraction.replacements).unwrap_or_default(),
                ..EventsRetracted::default()
            };
            let body = Body::EventsRetracted(Box::new(body));
            told.positions.push(self.record_own_about_many(body, &about, people.collect()).await?.position);
        }
        Ok(told)
    }

    /// The events that are meant; an error names every id that is wrong.
    async fn originals(&self, wrong: &Wrong) -> Result<Vec<Original>, Error> {
        let mut violations = Vec::new();
        let mut find = |field: &'static str, ids: &[EventId]| -> Vec<(Id, EventId)> {
            let mut seen = BTreeSet::new();
            for (n, id) in ids.iter().enumerate() {
                if !seen.insert(*id) {
                    violations.push(FieldViolation::new(format!("{field}[{n}]"), "stands here twice"));
                }
            }
            ids.iter().map(|id| (wrong.emitter.clone(), *id)).collect()
        };
        let names = find("event_ids", &wrong.event_ids);
        let others = find("replacement_ids", &wrong.replacement_ids);
        let (found, replacing) = (self.log.find(&names).await?, self.log.find(&others).await?);
        let unknown = "is no event of this emitter";
        let missing = |field: &'static str, found: &[Option<u64>]| -> Vec<FieldViolation> {
            let places = found.iter().enumerate().filter(|(_, position)| position.is_none());
            places.map(|(n, _)| FieldViolation::new(format!("{field}[{n}]"), unknown)).collect()
        };
        violations.extend(missing("event_ids", &found));
        violations.extend(missing("replacement_ids", &replacing));
        for (n, id) in wrong.replacement_ids.iter().enumerate() {
            if wrong.event_ids.contains(id) {
                let field = format!("replacement_ids[{n}]");
                violations.push(FieldViolation::new(field, "is one of the events to be taken back"));
            }
        }
        if violations.is_empty() {
            let positions: Vec<u64> = found.into_iter().flatten().collect();
            self.at_least(positions.iter().max().copied()).await?;
            let originals = self.ask(move |ask| Ok(ask.originals(&positions)?)).await?;
            for (n, original) in originals.iter().enumerate() {
                if let Some(why) = cannot_be_retracted(original.event_type) {
                    violations.push(FieldViolation::new(format!("event_ids[{n}]"), why));
                }
            }
            if violations.is_empty() {
                return Ok(originals);
            }
        }
        Err(Error::Invalid(violations))
    }

    /// Somebody else has to agree where that is asked for, and may always.
    fn second_person(&self, caller: &Caller, wrong: &Wrong, needed: bool) -> Result<(), Error> {
        let same = wrong.approver.as_ref() == Some(&caller.name);
        if same || needed && wrong.approver.is_none() {
            let why = "consents, holds, requests, orders and executions are taken back by two people: name \
                       another one as approver";
            return Err(Error::Precondition { reason: "second_person_required", why: why.to_owned() });
        }
        Ok(())
    }
}

/// An emitter takes back its own; an officer anybody's.
fn may_retract(caller: &Caller, wrong: &Wrong, originals: &[Original]) -> Result<(), Error> {
    if caller.has(Role::Officer) {
        return Ok(());
    }
    for original in originals {
        caller.may_speak_for(&original.controller, &wrong.emitter, original.service.as_ref())?;
    }
    Ok(())
}

fn already(originals: &[Original]) -> Vec<EventId> {
    let taken = originals.iter().filter(|original| original.taken_back_by.is_some());
    taken.map(|original| original.event_id).collect()
}

fn cannot_be_retracted(event_type: EventType) -> Option<&'static str> {
    match event_type {
        EventType::EventsRetracted => Some("takes events back itself: record these again instead"),
        own if own.is_own() => Some("is an event of custody's own"),
        _ => None,
    }
}

/// Consents, holds, requests, orders and executions (`domain.md` 2.2).
fn needs_second_person(event_type: EventType) -> bool {
    use EventType::*;
    let request = (RequestReceived.number()..=ComplaintAnswered.number()).contains(&event_type.number());
    request
        || matches!(
            event_type,
            ConsentGiven
                | ConsentRefused
                | ConsentWithdrawn
                | LegalHoldPlaced
                | LegalHoldReleased
                | AuthorityDeletionOrdered
                | ErasureExecuted
                | AnonymisationExecuted
        )
}

/// As few retractions as have room for all.
fn in_pieces(
    originals: &[&Original],
    holders: &BTreeMap<SubjectId, Arc<Holder>>,
    replacements: &[EventId],
) -> Vec<Retraction> {
    let mut pieces: Vec<Retraction> = Vec::new();
    for original in originals {
        let people: Vec<SubjectId> =
            original.subjects.iter().filter(|subject| holders.contains_key(subject)).copied().collect();
        // More people than one has room for: its id stands in several.
        let mut groups: Vec<&[SubjectId]> = people.chunks(PEOPLE).collect();
        if groups.is_empty() {
            groups.push(&[]);
        }
        for group in groups {
            let fits = |piece: &Retraction| {
                let people: BTreeSet<_> = piece.people.iter().chain(group).collect();
                let ids = piece.ids.len() + 1;
                // Parts of people, and those of nobody, do not go together: the former go with their people.
                piece.people.is_empty() == group.is_empty()
                    && people.len() <= PEOPLE
                    && ids <= limits::RETRACTED
                    && ids * people.len().max(1) <= IDS_TIMES_PEOPLE
            };
            match pieces.last_mut().filter(|piece| fits(piece)) {
                Some(piece) => {
                    piece.ids.push(original.event_id);
                    piece.people.extend(group);
                }
                None => pieces.push(Retraction {
                    ids: vec![original.event_id],
                    replacements: Vec::new(),
                    people: group.iter().copied().collect(),
                }),
            }
        }
    }
    let mut left = replacements.iter().copied();
    for piece in &mut pieces {
        let room = (IDS_TIMES_PEOPLE / piece.people.len().max(1)).saturating_sub(piece.ids.len());
        piece.replacements = left.by_ref().take(room).collect();
    }
    pieces
}
