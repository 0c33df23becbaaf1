//! Whose data crossed borders in which year: one row per shape of transfer, year and person, with the first
//! time, so that people are counted once however often their data went. Years are those of the
//! law on export from China, from midnight in Shanghai (2024 Provisions, Art. 3), for every regime, so that
//! one register has one year.
//!
//! The rows of somebody who is erased go; the erasure's own event says how that person counted.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Datelike;

use crate::domain::event::EventType;
use crate::domain::id::SubjectId;
use crate::domain::time::Timestamp;
use crate::views::ask::Ask;
use crate::views::codec::{Malformed, Reader, put_i64};
use crate::views::decode::{Decoded, DecodedPart};
use crate::views::flows::Part;
use crate::views::person::{Key, Tally};
use crate::views::shape::Shapes;
use crate::views::store::{self, Reading, Store};
use crate::views::{Error, occurrences};

const WHAT: &str = "person among those exported";

/// The value of a row: when the person was first among them.
pub fn encode(first: Timestamp) -> Vec<u8> {
    let mut out = Vec::with_capacity(6);
    put_i64(&mut out, first.ms());
    out
}

fn decode(bytes: &[u8]) -> Result<Timestamp, Malformed> {
    let mut reader = Reader::new(bytes, WHAT);
    let first = reader.i64()?;
    reader.end()?;
    Timestamp::from_ms(first).ok_or(Malformed(WHAT))
}

/// The year an export counts in.
pub fn year_of(at: Timestamp) -> u16 {
    u16::try_from(at.local_date(chrono_tz::Asia::Shanghai).year()).unwrap_or_default()
}

/// The row of one part of a transfer, if it has one. A shape without a number has none.
pub fn row(event: &Decoded, part: &DecodedPart, shape: u32) -> Option<Vec<u8>> {
    let counts = event.event_type == EventType::DataTransferred && part.role.is_data_subject() && shape != 0;
    let subject = part.subject.filter(|_| counts)?;
    Some(store::exported(shape, year_of(event.at), subject).to_vec())
}

/// Rows that wait for the commit.
#[derive(Default)]
pub struct Exports(BTreeMap<Vec<u8>, Timestamp>);

impl Exports {
    pub fn see(&mut self, store: &Store, key: Vec<u8>, at: Timestamp) -> Result<(), Error> {
        let known = match self.0.get(&key) {
            Some(first) => Some(*first),
            None => store.get(&key)?.map(|row| decode(&row)).transpose()?,
        };
        // Nearly always the person was there before, and nothing changes.
        if known.is_none_or(|first| at < first) {
            self.0.insert(key, at);
        }
        Ok(())
    }

    pub fn take(&mut self) -> impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)> + use<> {
        std::mem::take(&mut self.0).into_iter().map(|(key, first)| (key, Some(encode(first))))
    }
}

/// The rows that an entry of a person has.
pub fn rows_of(
    reading: &Reading,
    shapes: &Shapes,
    subject: SubjectId,
    key: &Key,
    tally: Tally,
) -> Result<Vec<Vec<u8>>, Error> {
    let transfer = shapes.get(key.shape).is_some_and(|shape| shape.event_type == EventType::DataTransferred);
    let mut rows = Vec::new();
    for year in (year_of(tally.first)..=year_of(tally.last)).filter(|_| transfer) {
        let key = store::exported(key.shape, year, subject);
        if reading.get(&key)?.is_some() {
            rows.push(key.to_vec());
        }
    }
    Ok(rows)
}

impl Ask {
    /// When each of the people was first among those whose data transfers of any of these shapes took in a
    /// year, sorted. Those merged count as one.
    pub fn exported(
        &self,
        shapes: &BTreeSet<u32>,
        year: u16,
        merged: &Merged,
    ) -> Result<Vec<Timestamp>, Error> {
        self.firsts(&shapes.iter().map(|shape| (*shape, year)).collect::<Vec<_>>(), merged)
    }

    fn firsts(&self, of: &[(u32, u16)], merged: &Merged) -> Result<Vec<Timestamp>, Error> {
        let (mut firsts, mut others) = (Vec::new(), BTreeMap::new());
        for row in self.exported_people(of)? {
            let (who, first) = row?;
            match merged.get(&who) {
                Some(canonical) => {
                    others
                        .entry(*canonical)
                        .and_modify(|f: &mut Timestamp| *f = first.min(*f))
                        .or_insert(first);
                }
                None => firsts.push(first),
            }
        }
        firsts.extend(others.into_values());
        firsts.sort_unstable();
        Ok(firsts)
    }

    /// The people whose data transfers of any of these shapes took in their years, each once and in the order of
    /// their handles, with when each was first among them.
    pub fn exported_people(
        &self,
        of: &[(u32, u16)],
    ) -> Result<impl Iterator<Item = Result<(SubjectId, Timestamp), Error>>, Error> {
        let mut rows = Vec::with_capacity(of.len());
        for (shape, year) in of {
            let mut people = self.reading.prefix(&store::exported_in(*shape, *year));
            let next = person(people.next())?;
            rows.push((next, people));
        }
        // Rows of each shape are sorted by person: whoever comes next in any of them is counted once.
        Ok(std::iter::from_fn(move || {
            let least = rows.iter().filter_map(|(next, _)| next.map(|(who, _)| who)).min()?;
            let mut first = Timestamp::LAST;
            for (next, people) in &mut rows {
                if let Some((_, theirs)) = next.filter(|(who, _)| *who == least) {
                    first = first.min(theirs);
                    match person(people.next()) {
                        Ok(following) => *next = following,
                        Err(error) => return Some(Err(error)),
                    }
                }
            }
            Some(Ok((least, first)))
        }))
    }

    /// Different people of whom something is kept, in these records. Those merged count as one.
    pub fn people(&self, parts: &[Part], merged: &Merged) -> Result<u64, Error> {
        if parts.iter().all(|part| part.whole) {
            let mut rows = Vec::new();
            for Part { stretch, .. } in parts {
                for year in year_of(stretch.first)..=year_of(stretch.last) {
                    rows.push((stretch.shape, year));
                }
            }
            return Ok(self.firsts(&rows, merged)?.len() as u64);
        }
        let mut positions = Vec::new();
        for Part { stretch, .. } in parts {
            for one in occurrences::of_shape(&self.reading, stretch.shape, self.applied) {
                let one = one?;
                if stretch.first <= one.at && one.at <= stretch.last {
                    positions.push(one.position);
                }
            }
        }
        let mut people = BTreeSet::new();
        self.reach.decode_all(&positions, |event| {
            people.extend(event.data_subjects().map(|who| merged.get(&who).copied().unwrap_or(who)));
            Ok(())
        })?;
        Ok(people.len() as u64)
    }

    /// Everybody who stands in a merge, with the person that counts.
    pub fn merged(&self) -> Result<Merged, Error> {
        let positions = self.positions_of(&[EventType::SubjectsMerged], self.applied)?;
        let mut merged = Merged::new();
        self.reach.decode_all(&positions, |event| {
            for subject in event.data_subjects() {
                merged.insert(subject, self.canonical(subject)?);
            }
            Ok(())
        })?;
        Ok(merged)
    }
}

/// People who stand in merges, each with the one that counts.
pub type Merged = BTreeMap<SubjectId, SubjectId>;

type Row = Option<Result<(fjall::Slice, fjall::Slice), Error>>;

fn person(row: Row) -> Result<Option<(SubjectId, Timestamp)>, Error> {
    let Some(row) = row else { return Ok(None) };
    let (key, value) = row?;
    let subject = SubjectId(*key.last_chunk::<16>().ok_or(Malformed(WHAT))?);
    Ok(Some((subject, decode(&value)?)))
}
