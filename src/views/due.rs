//! Who has something that is due, or will be, and when: an index by instant, so that finding nothing due costs
//! nothing.
//!
//! A person stands in it at the first instant at which anything about the person's data can change by time alone: the
//! end of a datum's time, a consent that lapses, a service that ends. What is due and in somebody's hands needs no
//! looking at; what was told to somebody and is void, and what is gone and who got it was not told, does. What happens to a person is seen by reading the
//! log on from where the index stands, off the way of events; what holds for everybody (a rule, a hold without a
//! name, the end of a service) has everybody decided anew, in steps.
//!
//! The rows lie beside those of the views and are written by whoever refreshes them, each step in one batch with how
//! far it is. They can be dropped at any time: everybody is decided anew then. A crash loses the last steps. Nobody
//! may be erased while a step is under way, or a row of theirs could be written once more.

mod news;

use std::collections::BTreeMap;
use std::sync::Arc;

use fjall::Slice;

use crate::domain::id::{Id, SubjectId};
use crate::domain::time::Timestamp;
use crate::views::ask::Ask;
use crate::views::codec::{Malformed, Reader, from_sortable, put_bytes, put_i64, put_u64, sortable};
use crate::views::retention::{Bounds, House, Outlook};
use crate::views::store::{Batch, Reading, tag};
use crate::views::{Error, Views};
use news::{News, read_news};

/// People decided, and records read, in one step.
const PEOPLE: usize = 2_000;
const RECORDS: u64 = 20_000;

/// How far a refresh came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refreshed {
    /// Records below this position are in the index; none while everybody is being decided anew.
    pub known: u64,
    /// People decided.
    pub people: u64,
}

/// How far the index is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct State {
    /// Records below this position are in it; `None`: it has not begun.
    seen: Option<u64>,
    /// Until when what holds for everybody stays as it is.
    house_until: Option<Timestamp>,
    /// Everybody is being decided anew.
    pass: Option<Pass>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pass {
    /// What the views had applied when it began.
    from: u64,
    /// The last who was decided.
    after: Option<SubjectId>,
}

/// What a person's row says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Row {
    at: Option<Timestamp>,
    /// Data held, by service.
    held: BTreeMap<Id, u64>,
    /// Perhaps nobody needs to know the person any more.
    gone: bool,
}

const BY_TIME: u8 = b'a';
const BY_PERSON: u8 = b'p';
const BY_SERVICE: u8 = b's';
const GONE: u8 = b'g';
const STATE: [u8; 2] = [tag::DUE, b'm'];
const WHAT: &str = "due index";

fn by_time(at: Timestamp, subject: SubjectId) -> Vec<u8> {
    [&[tag::DUE, BY_TIME][..], &sortable(at.ms()), &subject.0].concat()
}

fn by_person(subject: SubjectId) -> Vec<u8> {
    [&[tag::DUE, BY_PERSON][..], &subject.0].concat()
}

fn by_service(service: &Id) -> Vec<u8> {
    [&[tag::DUE, BY_SERVICE][..], service.as_str().as_bytes()].concat()
}

fn gone(subject: SubjectId) -> Vec<u8> {
    [&[tag::DUE, GONE][..], &subject.0].concat()
}

/// People with a row of one kind, in the order of their handles, behind one if one is named; each with what it says.
pub(super) fn people(
    reading: &Reading,
    kind: u8,
    behind: Option<SubjectId>,
) -> impl Iterator<Item = Result<(SubjectId, Slice), Error>> + use<> {
    let from = match behind {
        // The key right behind that one.
        Some(subject) => [&[tag::DUE, kind][..], &subject.0, &[0]].concat(),
        None => vec![tag::DUE, kind],
    };
    reading.range(&from..&[tag::DUE, kind + 1]).map(|row| {
        let (key, row) = row?;
        Ok((SubjectId(*key.last_chunk().ok_or(Malformed(WHAT))?), row))
    })
}

/// The rows of one person, for whoever removes everything of theirs.
pub(super) fn rows_of(reading: &Reading, subject: SubjectId) -> Result<Vec<Vec<u8>>, Error> {
    let key = by_person(subject);
    let Some(row) = reading.get(&key)? else { return Ok(Vec::new()) };
    let row = Row::decode(&row)?;
    let at = row.at.map(|at| by_time(at, subject));
    Ok(at.into_iter().chain(row.gone.then(|| gone(subject))).chain([key]).collect())
}

impl Views {
    /// One bounded step towards an index that knows everything applied so far.
    pub fn refresh_due(&self, now: Timestamp) -> Result<Refreshed, Error> {
        let ask = self.ask()?;
        let state = State::load(&ask.reading)?;
        let house_is_over = state.house_until.is_some_and(|until| until <= now);
        let seen = match (&state.pass, state.seen) {
            (Some(pass), _) => return ask.pass(&state, pass, now),
            (None, Some(seen)) if !house_is_over => seen,
            _ => return ask.begin_pass(&state, now),
        };
        if seen >= ask.applied {
            return Ok(Refreshed { known: seen, people: 0 });
        }
        let until = ask.applied.min(seen + RECORDS);
        match read_news(&ask, seen, until)? {
            News::Everybody => ask.begin_pass(&state, now),
            News::Some(subjects) => {
                let house = Arc::new(ask.house(ask.applied)?);
                let mut step = Step::new(&ask, &house, now);
                for subject in &subjects {
                    step.decide(*subject)?;
                }
                step.commit(&State { seen: Some(until), ..state })?;
                Ok(Refreshed { known: until, people: subjects.len() as u64 })
            }
        }
    }
}

impl Ask {
    /// Who stands in the index at or before an instant, the longest first, behind a row if one is named.
    pub fn due_people(
        &self,
        until: Timestamp,
        behind: Option<(Timestamp, SubjectId)>,
        most: usize,
    ) -> Result<Vec<(Timestamp, SubjectId)>, Error> {
        let from = match behind {
            // The key right behind that one.
            Some((at, subject)) => [&by_time(at, subject)[..], &[0]].concat(),
            None => vec![tag::DUE, BY_TIME],
        };
        let end = [&[tag::DUE, BY_TIME][..], &sortable(until.plus_ms(1).ms())].concat();
        if from >= end {
            return Ok(Vec::new());
        }
        let mut people = Vec::new();
        for row in self.reading.range(&from..&end).take(most) {
            let (key, _) = row?;
            let mut reader = Reader::new(&key[2..], WHAT);
            let at = Timestamp::from_ms(from_sortable(reader.array()?)).ok_or(Malformed(WHAT))?;
            people.push((at, SubjectId(reader.array()?)));
        }
        Ok(people)
    }

    /// People of whom nothing is held any more, behind one if one is named.
    pub fn people_gone(&self, behind: Option<SubjectId>, most: usize) -> Result<Vec<SubjectId>, Error> {
        people(&self.reading, GONE, behind).take(most).map(|row| Ok(row?.0)).collect()
    }

    /// People of whom a service holds anything, behind one if one is named.
    pub fn people_with_data(
        &self,
        service: &Id,
        behind: Option<SubjectId>,
        most: usize,
    ) -> Result<Vec<SubjectId>, Error> {
        let mut found = Vec::new();
        for row in people(&self.reading, BY_PERSON, behind) {
            if found.len() == most {
                break;
            }
            let (subject, row) = row?;
            if Row::decode(&row)?.held.contains_key(service) {
                found.push(subject);
            }
        }
        Ok(found)
    }

    /// Data that a service holds, of everybody.
    pub fn held_by(&self, service: &Id) -> Result<u64, Error> {
        Ok(self.reading.number(&by_service(service))?.unwrap_or(0))
    }

    /// Records below this position are in the index.
    pub fn due_known(&self) -> Result<u64, Error> {
        Ok(State::load(&self.reading)?.seen.unwrap_or(0))
    }

    fn begin_pass(&self, state: &State, now: Timestamp) -> Result<Refreshed, Error> {
        let pass = Pass { from: self.applied, after: None };
        let mut batch = self.generation.store.batch(1);
        State { pass: Some(pass.clone()), house_until: None, ..state.clone() }.put(&mut batch);
        batch.commit()?;
        self.pass(&State { house_until: None, ..state.clone() }, &pass, now)
    }

    /// Decides the next people of a pass over everybody.
    fn pass(&self, state: &State, pass: &Pass, now: Timestamp) -> Result<Refreshed, Error> {
        let house = Arc::new(self.house(self.applied)?);
        // The earliest change of what any step of the pass was decided by.
        let house_until = state.house_until.into_iter().chain(house.until(now)).min();
        let mut step = Step::new(self, &house, now);
        let from = match pass.after {
            Some(subject) => [&[tag::PERSON][..], &subject.0, &[0]].concat(),
            None => vec![tag::PERSON],
        };
        let end = [tag::PERSON + 1];
        let (mut last, mut people) = (None, 0);
        for row in self.reading.range(&from..&end).take(PEOPLE) {
            let (key, _) = row?;
            let subject = SubjectId(*key.last_chunk::<16>().ok_or(Malformed(WHAT))?);
            step.decide(subject)?;
            (last, people) = (Some(subject), people + 1);
        }
        let goes_on = people == PEOPLE as u64;
        let next = State {
            seen: if goes_on { state.seen } else { Some(pass.from) },
            house_until,
            pass: goes_on.then_some(Pass { from: pass.from, after: last }),
        };
        step.commit(&next)?;
        Ok(Refreshed { known: if goes_on { 0 } else { pass.from }, people })
    }
}

/// Rows of some people, made anew.
struct Step<'a> {
    ask: &'a Ask,
    house: &'a Arc<House>,
    bounds: Bounds,
    now: Timestamp,
    rows: BTreeMap<SubjectId, Row>,
}

impl<'a> Step<'a> {
    fn new(ask: &'a Ask, house: &'a Arc<House>, now: Timestamp) -> Step<'a> {
        Step { ask, house, bounds: Bounds::of(house, None), now, rows: BTreeMap::new() }
    }

    /// Somebody who counts as another, or of whom nothing is known, has no row.
    fn decide(&mut self, subject: SubjectId) -> Result<(), Error> {
        let outlook = self.ask.outlook(subject, self.house, &self.bounds, self.now)?;
        let row =
            outlook.map_or_else(Row::default, |Outlook { next, held, gone }| Row { at: next, held, gone });
        self.rows.insert(subject, row);
        Ok(())
    }

    fn commit(self, state: &State) -> Result<(), Error> {
        let reading = &self.ask.reading;
        let mut batch = self.ask.generation.store.batch(self.rows.len() * 3 + 1);
        let mut held: BTreeMap<Id, i64> = BTreeMap::new();
        for (subject, row) in self.rows {
            let before = match reading.get(&by_person(subject))? {
                Some(bytes) => Row::decode(&bytes)?,
                None => Row::default(),
            };
            if row == before {
                continue;
            }
            if let Some(at) = before.at {
                batch.remove(&by_time(at, subject));
            }
            if let Some(at) = row.at {
                batch.insert(&by_time(at, subject), &[]);
            }
            match row.gone {
                true => batch.insert(&gone(subject), &[]),
                false => batch.remove(&gone(subject)),
            }
            match row == Row::default() {
                true => batch.remove(&by_person(subject)),
                false => batch.insert(&by_person(subject), &row.encode()),
            }
            before.held.into_iter().for_each(|(service, n)| *held.entry(service).or_default() -= n as i64);
            row.held.into_iter().for_each(|(service, n)| *held.entry(service).or_default() += n as i64);
        }
        for (service, more) in held.into_iter().filter(|(_, more)| *more != 0) {
            let key = by_service(&service);
            let before = reading.number(&key)?.unwrap_or(0);
            batch.number(&key, before.saturating_add_signed(more));
        }
        state.put(&mut batch);
        batch.commit()
    }
}

impl Row {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_time(&mut out, self.at);
        put_u64(&mut out, self.held.len() as u64);
        for (service, count) in &self.held {
            put_bytes(&mut out, service.as_str().as_bytes());
            put_u64(&mut out, *count);
        }
        out.push(u8::from(self.gone));
        out
    }

    fn decode(bytes: &[u8]) -> Result<Row, Malformed> {
        let mut reader = Reader::new(bytes, WHAT);
        let at = take_time(&mut reader)?;
        let mut held = BTreeMap::new();
        for _ in 0..reader.len()? {
            let service = reader.text()?.parse().map_err(|_| Malformed(WHAT))?;
            held.insert(service, reader.u64()?);
        }
        let gone = reader.byte()? == 1;
        reader.end()?;
        Ok(Row { at, held, gone })
    }
}

impl State {
    fn load(reading: &Reading) -> Result<State, Error> {
        let Some(bytes) = reading.get(&STATE)? else { return Ok(State::default()) };
        let mut reader = Reader::new(&bytes, WHAT);
        let seen = reader.u64()?.checked_sub(1);
        let house_until = take_time(&mut reader)?;
        let pass = match reader.byte()? {
            0 => None,
            has_last => {
                let from = reader.u64()?;
                let after = if has_last == 2 { Some(SubjectId(reader.array()?)) } else { None };
                Some(Pass { from, after })
            }
        };
        reader.end()?;
        Ok(State { seen, house_until, pass })
    }

    fn put(&self, batch: &mut Batch) {
        let mut out = Vec::new();
        put_u64(&mut out, self.seen.map_or(0, |seen| seen + 1));
        put_time(&mut out, self.house_until);
        match &self.pass {
            None => out.push(0),
            Some(Pass { from, after }) => {
                out.push(1 + u8::from(after.is_some()));
                put_u64(&mut out, *from);
                after.iter().for_each(|subject| out.extend_from_slice(&subject.0));
            }
        }
        batch.insert(&STATE, &out);
    }
}

fn put_time(out: &mut Vec<u8>, at: Option<Timestamp>) {
    out.push(u8::from(at.is_some()));
    at.iter().for_each(|at| put_i64(out, at.ms()));
}

fn take_time(reader: &mut Reader<'_>) -> Result<Option<Timestamp>, Malformed> {
    match reader.byte()? {
        0 => Ok(None),
        _ => Timestamp::from_ms(reader.i64()?).map(Some).ok_or(Malformed(WHAT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_back() {
        let at = Timestamp::from_ms(-5);
        let held = BTreeMap::from([("solar".parse().unwrap(), 7)]);
        for row in [Row::default(), Row { at, held, gone: true }] {
            assert_eq!(Row::decode(&row.encode()), Ok(row));
        }
        assert!(by_time(Timestamp::EPOCH, SubjectId([9; 16])) < by_time(Timestamp::LAST, SubjectId([0; 16])));
        assert!(
            by_time(Timestamp::FIRST, SubjectId([9; 16])) < by_time(Timestamp::EPOCH, SubjectId([0; 16]))
        );
    }
}
