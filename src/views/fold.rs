//! What one event adds to one person's state. The same function serves the running views, a
//! re-fold after a retraction, and answers as of an earlier time.

use serde::Deserialize;

use crate::domain::event::EventType;
use crate::domain::id::{EventId, Id, SubjectId};
use crate::domain::time::{MS_PER_MINUTE, Timestamp};
use crate::record::MarkUse;
use crate::views::codec::{Malformed, Reader, put_bytes};
use crate::views::decode::{Decoded, DecodedPart};
use crate::views::own::{Own, Side};
use crate::views::person::{Entries, Key, add};
use crate::views::shape::Keep;

/// Types by name, so that this file reads like `domain.md` and needs no list of its own.
pub fn is_link(event_type: EventType) -> bool {
    matches!(
        event_type.as_str(),
        "IdentifierLinked" | "IdentifierUnlinked" | "SubjectsMerged" | "SubjectsSplit"
    )
}

/// What allows others, and was recorded so long after it happened, is kept with the time of its recording: it may
/// be what was missed. Whatever is recorded sooner was there when those were judged that it allows, because they
/// are judged ten minutes later and what allows them may come five minutes behind them.
pub const LATE_MS: i64 = 5 * MS_PER_MINUTE;

/// When an event was recorded, where that is kept.
fn recorded_late(event: &Decoded) -> Option<Timestamp> {
    let allows = matches!(event.event_type, EventType::ConsentGiven | EventType::NoticeShown);
    (allows && event.recorded_at.since(event.at) > LATE_MS).then_some(event.recorded_at)
}

/// Takes events back.
pub fn is_retraction(event_type: EventType) -> bool {
    event_type.as_str() == "EventsRetracted"
}

/// Ends a person.
pub fn is_erasure(event_type: EventType) -> bool {
    event_type.as_str() == "IdentityErasureAccepted"
}

/// A retraction is not retracted, and an erasure cannot be.
pub fn can_be_retracted(event_type: EventType) -> bool {
    !is_retraction(event_type) && !is_erasure(event_type)
}

/// Folds an event into the state of the person of one part. `erased` says of the other side of a
/// link whether it is gone. A person who stands in several parts is folded at the first.
pub fn fold(
    entries: &mut Entries,
    event: &Decoded,
    part: &DecodedPart,
    shape: u32,
    erased: impl Fn(SubjectId) -> bool,
) {
    let mut put = |own: &Own, tally| {
        let own = own.encode();
        if shape == 0 {
            let mut long = Vec::with_capacity(event.shape.len() + own.len() + 2);
            put_bytes(&mut long, &event.shape);
            long.extend_from_slice(&own);
            add(entries, 0, &long, tally);
        } else {
            add(entries, shape, &own, tally);
        }
    };
    let act = Some((event.at, event.position));
    for id in part.marks(MarkUse::Bind) {
        put(&Own { act, mark: Some((id.kind, id.mark)), ..Own::default() }, event.tally);
    }
    if is_retraction(event.event_type) && carries(event, part) {
        for id in retracted_ids(event).event_ids {
            put(&Own { retracts: Some(id), ..Own::default() }, event.tally);
        }
    }
    if !part.role.is_data_subject() {
        return;
    }
    // What was entered afterwards decides about nobody's data alone, so that it is kept where retention looks.
    let decides = event.keep == Keep::Act
        || matches!(
            event.event_type,
            EventType::DataCollected | EventType::DataUsed | EventType::AccountRegistered
        );
    let mut own =
        Own { recorded: recorded_late(event), backfill: event.backfill && decides, ..Own::default() };
    match event.keep {
        Keep::Nothing => return,
        Keep::Coarse => {}
        Keep::Tally => own.index = event.index_json.clone(),
        Keep::Act => {
            own.index = event.index_json.clone();
            own.body = Some(event.body_json.clone());
            own.act = act;
        }
    }
    if is_link(event.event_type) {
        match other_side(event, part) {
            Some((side, other)) if !erased(other) => own.other = Some((side, other)),
            _ => return,
        }
    }
    put(&own, event.tally);
}

/// The two sides of a link or merge are its first two data subjects.
fn other_side(event: &Decoded, part: &DecodedPart) -> Option<(Side, SubjectId)> {
    let mut sides = event.parts.iter().filter(|part| part.role.is_data_subject());
    let (first, second) = (sides.next()?, sides.next()?);
    if part.number == first.number {
        Some((Side::First, second.subject?))
    } else if part.number == second.number {
        Some((Side::Second, first.subject?))
    } else {
        None
    }
}

/// Whether the body's index fields stand in this part: in the data subjects', or else the first.
pub fn carries(event: &Decoded, part: &DecodedPart) -> bool {
    if event.parts.iter().any(|part| part.role.is_data_subject()) {
        part.role.is_data_subject()
    } else {
        part.number == 0
    }
}

/// The index fields of a retraction; empty where they are purged.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Retracted {
    pub event_ids: Vec<EventId>,
}

pub fn retracted_ids(event: &Decoded) -> Retracted {
    event.index_json.as_deref().and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
}

/// Whose events a retraction takes back.
pub fn retracted_emitter(body_json: &str) -> Option<Id> {
    #[derive(Deserialize)]
    struct Emitter {
        emitter: Option<Id>,
    }
    serde_json::from_str::<Emitter>(body_json).ok()?.emitter
}

/// An entry's key as it reads: where the dictionary was full, the shape's bytes stand in it.
pub fn split_key(key: &Key) -> Result<(Option<&[u8]>, Own), Malformed> {
    if key.shape != 0 {
        return Ok((None, Own::decode(&key.own)?));
    }
    let mut reader = Reader::new(&key.own, "state entry");
    let shape = reader.bytes()?;
    let own = reader.rest();
    Ok((Some(shape), Own::decode(own)?))
}
