//! Keyed identifiers: who had a mark at an instant, and whose is a part that names marks only.

use crate::domain::event::EventType;
use crate::domain::id::{Mark, SubjectId};
use crate::domain::identity::{Class, Kind};
use crate::domain::time::Timestamp;
use crate::record::IndexMark;
use crate::views::Error;
use crate::views::codec::{Malformed, Reader, put_u64};
use crate::views::fold::split_key;
use crate::views::own::kind_from;
use crate::views::person::Person;
use crate::views::shape::{self, Shapes};
use crate::views::store::{self, Reading, tag};

/// The marks of one unattributed part, as the value of its rows.
pub fn encode<'a>(marks: impl Iterator<Item = &'a IndexMark>) -> Vec<u8> {
    let marks: Vec<_> = marks.collect();
    let mut out = Vec::with_capacity(1 + marks.len() * 17);
    put_u64(&mut out, marks.len() as u64);
    for id in marks {
        out.push(id.kind as u8);
        out.extend_from_slice(&id.mark.0);
    }
    out
}

pub fn decode(bytes: &[u8]) -> Result<Vec<(Kind, Mark)>, Malformed> {
    let mut reader = Reader::new(bytes, "mark");
    let mut marks = Vec::new();
    for _ in 0..reader.len()? {
        marks.push((kind_from(reader.byte()?)?, Mark(reader.array()?)));
    }
    reader.end()?;
    Ok(marks)
}

/// Whose a part is that names these marks at this instant: the strongest mark that was bound then
/// decides. `known_at` hides bindings at and beyond a position.
pub fn attribute(
    reading: &Reading,
    shapes: &Shapes,
    marks: &[(Kind, Mark)],
    at: Timestamp,
    known_at: u64,
) -> Result<Option<SubjectId>, Error> {
    let mut marks = marks.to_vec();
    // Of the marks of one identifier the one under the newest look-up key stands first and stays there:
    // it is bound by everything that was recorded since.
    marks.sort_by_key(|(kind, _)| *kind);
    for (kind, mark) in marks {
        if let Some(subject) = holder(reading, shapes, kind, mark, at, known_at)? {
            return Ok(Some(subject));
        }
    }
    Ok(None)
}

/// Who had the mark: the last to be bound at or before the instant, unless a contact's binding
/// ended with the person's account.
fn holder(
    reading: &Reading,
    shapes: &Shapes,
    kind: Kind,
    mark: Mark,
    at: Timestamp,
    known_at: u64,
) -> Result<Option<SubjectId>, Error> {
    let from = store::of_mark(tag::BINDING, mark);
    let to = store::binding(mark, at.plus_ms(1), 0);
    for row in reading.range(&from..&to).rev() {
        let (key, value) = row?;
        let (bound_at, position) = store::at_and_position(&key)?;
        if position >= known_at {
            continue;
        }
        let subject = SubjectId(value[..].try_into().map_err(|_| Malformed("mark"))?);
        if kind.class() == Class::Contact && cancelled(reading, shapes, subject, (bound_at, at), known_at)? {
            return Ok(None);
        }
        return Ok(Some(subject));
    }
    Ok(None)
}

/// Whether the person closed an account after the first instant and at or before the second.
fn cancelled(
    reading: &Reading,
    shapes: &Shapes,
    subject: SubjectId,
    (from, to): (Timestamp, Timestamp),
    known_at: u64,
) -> Result<bool, Error> {
    let Some(row) = reading.get(&store::person(subject))? else { return Ok(false) };
    for (key, _) in Person::decode(&row)?.entries {
        let (inline, own) = split_key(&key)?;
        let event_type = match inline {
            Some(bytes) => Some(shape::decode(bytes)?.event_type),
            None => shapes.get(key.shape).map(|shape| shape.event_type),
        };
        let closed = own.act.filter(|(at, position)| from < *at && *at <= to && *position < known_at);
        // A mark that the closing event bound is an entry of its own, and closes nothing.
        if event_type == Some(EventType::AccountCancelled) && closed.is_some() && own.mark.is_none() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Parts recorded before a position that name marks, whether or not anybody is found by them.
pub fn named_before(reading: &Reading, position: u64) -> Result<u64, Error> {
    let mut count = 0;
    for row in reading.prefix(&[tag::NAMED]) {
        let (key, value) = row?;
        // A part has a row for each of its marks: the first counts for all.
        let first = decode(&value)?.first().map(|(_, mark)| *mark);
        if store::at_and_position(&key)?.1 < position && first.is_some_and(|mark| key[1..17] == mark.0) {
            count += 1;
        }
    }
    Ok(count)
}

/// Positions and parts that name a mark, each with all marks of the part.
pub type Named = (Timestamp, u64, u8, Vec<(Kind, Mark)>);

pub fn named(reading: &Reading, mark: Mark) -> impl Iterator<Item = Result<Named, Error>> + use<> {
    reading.prefix(&store::of_mark(tag::NAMED, mark)).map(|row| {
        let (key, value) = row?;
        let (at, position) = store::at_and_position(&key)?;
        let part = *key.last().ok_or(Malformed("mark"))?;
        Ok((at, position, part, decode(&value)?))
    })
}
