//! Where what is sealed with data lies, such as locators, and of whom something was erased since: so that what is
//! sealed goes with the data it belongs to (`domain.md` 2.3).
//!
//! An index that reads on in the log from where it stands, off the way of events: a row for each record of a person's
//! data that has something sealed under the person's identity key, and one for each person of whom something was erased
//! or made anonymous, or came late. Its rows lie beside those of what is due and can be dropped like them: the log is read again. A
//! crash loses the last steps. Nobody may be erased while a step is under way.

use std::collections::BTreeSet;

use crate::domain::datum::DatumKey;
use crate::domain::event::EventType;
use crate::domain::id::SubjectId;
use crate::domain::retention::Act;
use crate::domain::time::{MS_PER_HOUR, Timestamp};
use crate::log::{PieceRef, StoredRecord};
use crate::record::{Class, Header};
use crate::views::ask::Ask;
use crate::views::codec::Malformed;
use crate::views::decode::{Decoded, Decoder};
use crate::views::due::people;
use crate::views::retention::due::Deciding;
use crate::views::store::{Reading, tag};
use crate::views::{Error, Views};

/// Records read from the log in one step.
const READ: usize = 20_000;
const READ_BYTES: usize = 16 << 20;

/// How long after it happened something may be recorded and not count as late.
const LATE_MS: i64 = MS_PER_HOUR;

const LIES: u8 = b'l';
const TOUCHED: u8 = b'x';
const SEEN: [u8; 2] = [tag::DUE, b'n'];
const WHAT: &str = "sealed index";

/// What lies sealed of one person's data that are gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    pub subject: SubjectId,
    pub pieces: Vec<PieceRef>,
    /// A hold is on the person: all of it stays.
    pub is_held: bool,
    /// Whose records they are, besides the person's own.
    sources: Vec<SubjectId>,
}

fn lies(subject: SubjectId) -> Vec<u8> {
    [&[tag::DUE, LIES][..], &subject.0].concat()
}

fn lies_at(subject: SubjectId, position: u64) -> Vec<u8> {
    [&lies(subject)[..], &position.to_be_bytes()].concat()
}

fn touched(subject: SubjectId) -> Vec<u8> {
    [&[tag::DUE, TOUCHED][..], &subject.0].concat()
}

/// The rows of one person, for whoever removes everything of theirs.
pub(super) fn rows_of(reading: &Reading, subject: SubjectId) -> Result<Vec<Vec<u8>>, Error> {
    // Even the removal of a row that is not there would write the handle down.
    let touched = reading.get(&touched(subject))?.map(|_| Ok(touched(subject)));
    reading.prefix(&lies(subject)).map(|row| Ok(row?.0.to_vec())).chain(touched).collect()
}

impl Views {
    /// Reads the next records. All below the position answered are in the index.
    pub fn refresh_sealed(&self) -> Result<u64, Error> {
        let ask = self.ask()?;
        let seen = ask.reading.number(&SEEN)?.unwrap_or(0);
        let most = usize::try_from(ask.applied.saturating_sub(seen)).unwrap_or(READ).min(READ);
        if most == 0 {
            return Ok(seen);
        }
        let records = ask.reach.wait(ask.reach.log.read(seen, most, READ_BYTES))?;
        let Some(last) = records.last() else { return Ok(seen) };
        let (mut decoder, next) = (Decoder::new(&*ask.reach.keys), last.position + 1);
        let mut rows: BTreeSet<Vec<u8>> = BTreeSet::new();
        for stored in &records {
            note(stored, &mut decoder, &mut rows)
                .map_err(|source| Error::Record { position: stored.position, source })?;
        }
        let mut batch = ask.generation.store.batch(rows.len() + 1);
        rows.iter().for_each(|row| batch.insert(row, &[]));
        batch.number(&SEEN, next);
        batch.commit()?;
        Ok(next)
    }

    /// What was found of a person is dealt with; what is still there waits until something is erased again.
    pub fn forget_sealed(&self, found: &Sealed) -> Result<(), Error> {
        let ask = self.ask()?;
        let mut batch = ask.generation.store.batch(found.pieces.len() + 1);
        for subject in found.sources.iter().chain([&found.subject]) {
            found.pieces.iter().for_each(|piece| batch.remove(&lies_at(*subject, piece.position)));
            batch.remove(&touched(*subject));
        }
        batch.commit()
    }
}

/// Only records that matter here are opened.
fn note(
    stored: &StoredRecord,
    decoder: &mut Decoder<'_>,
    rows: &mut BTreeSet<Vec<u8>>,
) -> Result<(), crate::record::Error> {
    use EventType::*;
    let event_type = Header::type_name(&stored.header).and_then(EventType::from_name);
    match event_type {
        Some(ErasureExecuted | AnonymisationExecuted) => {
            rows.extend(decoder.decode(stored)?.data_subjects().map(touched));
        }
        Some(DataCollected | TransactionCompleted | TransactionAborted) => {
            let header = Header::parse(&stored.header)?;
            if sealed_pieces(stored, &header).next().is_some() {
                let event = decoder.decode(stored)?;
                rows.extend(event.data_subjects().map(|subject| lies_at(subject, stored.position)));
                // What comes late may be of data that were erased before it came.
                if event.recorded_at.since(event.at) > LATE_MS {
                    rows.extend(event.data_subjects().map(touched));
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// Part and piece of what lies there, sealed under a person's identity key.
fn sealed_pieces<'a>(
    stored: &'a StoredRecord,
    header: &'a Header<'_>,
) -> impl Iterator<Item = (usize, u16)> + use<'a> {
    header.parts.iter().enumerate().flat_map(move |(i, part)| {
        let boxes = part.boxes.iter().enumerate().filter(|(_, sealed)| sealed.class == Class::Identity);
        let pieces = boxes.map(move |(b, _)| header.box_piece(i, b));
        let there = pieces.filter(|piece| matches!(stored.pieces.get(*piece), Some(Some(_))));
        there.map(move |piece| (i, piece as u16))
    })
}

impl Ask {
    /// People of whom something was erased, behind one if one is named.
    pub fn touched_people(&self, behind: Option<SubjectId>, most: usize) -> Result<Vec<SubjectId>, Error> {
        people(&self.reading, TOUCHED, behind).take(most).map(|row| Ok(row?.0)).collect()
    }

    /// What lies sealed with a person's data that are gone: with each of them, where it lies with several. Of somebody
    /// who counts as another, that other's.
    pub fn sealed_of_gone(
        &self,
        subject: SubjectId,
        now: Timestamp,
        deciding: &Deciding,
    ) -> Result<Option<Sealed>, Error> {
        let subject = self.canonical(subject)?;
        let Some(work) = deciding.work(self, subject)? else { return Ok(None) };
        let Some(group) = self.group(subject, self.applied)? else { return Ok(None) };
        let sources: Vec<SubjectId> = group.sources.iter().map(|source| source.subject).collect();
        let mut positions = BTreeSet::new();
        for source in &sources {
            for row in self.reading.prefix(&lies(*source)) {
                let (key, _) = row?;
                positions.insert(u64::from_be_bytes(*key.last_chunk::<8>().ok_or(Malformed(WHAT))?));
            }
        }
        let positions: Vec<u64> = positions.into_iter().collect();
        let mut gone = BTreeSet::new();
        self.each_of(&group, &positions, self.applied, &mut |event, lines| {
            let gathered = self.gather(&lines, self.applied);
            let of = |key: &&DatumKey| gathered.general.iter().any(|fact| is_transaction_of(&fact.act, key));
            let mut keys: Vec<&DatumKey> = gathered.data.keys().collect();
            keys.extend(work.person.keys().filter(of));
            if !keys.is_empty() && keys.iter().all(|key| work.person.is_gone_since(key, event.at, now)) {
                gone.insert(event.position);
            }
            Ok(())
        })?;
        let gone: Vec<u64> = gone.into_iter().collect();
        let pieces = self.pieces_under(&gone, &sources)?;
        Ok(Some(Sealed { subject, pieces, is_held: work.person.is_anywhere_held(now), sources }))
    }

    /// The pieces that lie at these positions sealed for these people.
    fn pieces_under(&self, positions: &[u64], of: &[SubjectId]) -> Result<Vec<PieceRef>, Error> {
        let mut decoder = Decoder::new(&*self.reach.keys);
        let mut pieces = Vec::new();
        for some in positions.chunks(1_000) {
            for stored in self.reach.wait(self.reach.log.get(some))? {
                let position = stored.position;
                let record = |source| Error::Record { position, source };
                let header = Header::parse(&stored.header).map_err(record)?;
                let event = decoder.decode(&stored).map_err(record)?;
                let theirs = |i: usize| is_of(&event, i, of);
                let found = sealed_pieces(&stored, &header).filter(|(i, _)| theirs(*i));
                pieces.extend(found.map(|(_, piece)| PieceRef { position, piece }));
            }
        }
        Ok(pieces)
    }

    /// Whether something of a person's was erased or made anonymous, ever.
    pub fn was_touched(&self, subject: SubjectId) -> Result<bool, Error> {
        let Some((_, lines)) = self.lines_of(self.canonical(subject)?, None, self.applied)? else {
            return Ok(false);
        };
        use EventType::{AnonymisationExecuted, ErasureExecuted};
        let executed = |event_type| matches!(event_type, ErasureExecuted | AnonymisationExecuted);
        Ok(lines.iter().any(|line| executed(line.shape.event_type)))
    }
}

fn is_of(event: &Decoded, i: usize, of: &[SubjectId]) -> bool {
    let part = event.parts.iter().find(|part| usize::from(part.number) == i);
    part.is_some_and(|part| {
        part.role.is_data_subject() && part.subject.is_some_and(|subject| of.contains(&subject))
    })
}

fn is_transaction_of(act: &Act, key: &DatumKey) -> bool {
    matches!(act, Act::TransactionCompleted { .. } | Act::TransactionAborted { .. }) && act.is_about(key)
}
