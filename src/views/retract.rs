//! Events that change what earlier ones left behind: retractions and the erasure of a person.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::id::{EventId, Id, SubjectId};
use crate::record::MarkUse;
use crate::views::Error;
use crate::views::apply::Applier;
use crate::views::codec::Malformed;
use crate::views::decode::Decoded;
use crate::views::fold::{self, fold, split_key};
use crate::views::mark;
use crate::views::own::Own;
use crate::views::person::{Entries, Person};
use crate::views::postings;
use crate::views::registers;
use crate::views::store::{self, Reading, tag};
use crate::views::{lock, shape};

/// A filter of fixed size over the events taken back, so that the others cost no look-up.
pub struct Taken(Vec<u64>);

const BITS: usize = 1 << 20;

impl Taken {
    pub fn load(reading: &Reading) -> Result<Taken, Error> {
        let mut taken = Taken(vec![0; BITS / 64]);
        for row in reading.prefix(&[tag::RETRACTED]) {
            let (key, _) = row?;
            let event = key.len().checked_sub(32).and_then(|at| key.get(at..at + 16));
            let event: [u8; 16] =
                event.and_then(|bytes| bytes.try_into().ok()).ok_or(Malformed("retraction"))?;
            taken.add(EventId(uuid::Uuid::from_bytes(event)));
        }
        Ok(taken)
    }

    fn bit(event: EventId) -> (usize, u64) {
        let bytes = event.as_bytes();
        let mixed = bytes.iter().fold(0u64, |mixed, byte| {
            (mixed ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(7)
        });
        let bit = mixed as usize % BITS;
        (bit / 64, 1 << (bit % 64))
    }

    fn add(&mut self, event: EventId) {
        let (word, bit) = Self::bit(event);
        self.0[word] |= bit;
    }

    pub fn may_hold(&self, event: EventId) -> bool {
        let (word, bit) = Self::bit(event);
        self.0[word] & bit != 0
    }
}

impl Applier {
    /// Notes what an event takes back, and folds everybody anew whom the originals touched.
    pub(super) fn take_back(&mut self, event: &Decoded) -> Result<(), Error> {
        let Some(emitter) = fold::retracted_emitter(&event.body_json) else { return Ok(()) };
        let mut sources = BTreeSet::new();
        for part in event.parts.iter().filter(|part| fold::carries(event, part) && !part.purged) {
            match part.subject {
                Some(subject) if self.people.is_erased(subject)? => {}
                by => {
                    sources.insert(by);
                }
            }
        }
        if sources.is_empty() {
            return Ok(());
        }
        let ids = fold::retracted_ids(event).event_ids;
        for id in &ids {
            self.taken.add(*id);
            for by in &sources {
                self.rows.push((store::retracted(&emitter, *id, *by), Some(Vec::new())));
            }
        }
        self.commit()?;
        self.refold_originals(&emitter, &ids)
    }

    /// Folds anew everybody named by these events, as far as they are applied.
    fn refold_originals(&mut self, emitter: &Id, ids: &[EventId]) -> Result<(), Error> {
        let ids: Vec<_> = ids.iter().map(|id| (emitter.clone(), *id)).collect();
        let mut positions: Vec<u64> =
            self.reach.find(&ids)?.into_iter().flatten().filter(|position| *position < self.next).collect();
        positions.sort_unstable();
        let mut people = BTreeSet::new();
        let mut register = false;
        self.reach.clone().decode_all(&positions, |original| {
            if fold::can_be_retracted(original.event_type) {
                people.extend(original.parts.iter().filter_map(|part| part.subject));
                register |= registers::is_register(original.event_type);
            }
            Ok(())
        })?;
        if register {
            let loaded = registers::load(&self.store.reading(), &self.reach)?;
            *lock::write(&self.shared.registers) = loaded;
        }
        for subject in people {
            self.refold(subject)?;
        }
        Ok(())
    }

    /// A person's state from the log again, without what was taken back. Everything before must be
    /// committed.
    fn refold(&mut self, subject: SubjectId) -> Result<(), Error> {
        let Some(person) = self.people.get(subject)? else { return Ok(()) };
        let before = person.entries.clone();
        let reading = self.store.reading();
        let positions: Vec<u64> =
            postings::ascending(&reading, subject)?.iter().map(|posting| posting.position).collect();
        let mut after = Entries::new();
        let mut bindings = BTreeMap::new();
        let reach = self.reach.clone();
        reach.decode_all(&positions, |event| {
            if is_retracted(&reading, &event)? {
                return Ok(());
            }
            let number = lock::read(&self.shared.shapes).number(&event.shape).unwrap_or(0);
            for part in event.parts.iter().filter(|part| part.subject == Some(subject)) {
                if part.role.is_data_subject() && shape::is_reading(event.event_type)
                    || repeats(&event, part.number)
                {
                    continue;
                }
                let mut erased = Vec::new();
                for other in event.data_subjects().filter(|_| fold::is_link(event.event_type)) {
                    if reading.get(&store::erased(other))?.is_some() {
                        erased.push(other);
                    }
                }
                fold(&mut after, &event, part, number, |other| erased.contains(&other));
                for id in part.marks(MarkUse::Bind) {
                    bindings.insert(store::binding(id.mark, event.at, event.position), ());
                }
            }
            Ok(())
        })?;
        for own in owns(&before)? {
            if let Some(key) = binding_row(&own)
                && !bindings.contains_key(&key)
            {
                self.rows.push((key, None));
            }
        }
        if let Some(person) = self.people.get(subject)? {
            person.entries = after;
        }
        Ok(())
    }

    /// Removes everything that a rebuild would not see once the person's pieces are purged.
    pub(super) fn erase(&mut self, event: &Decoded) -> Result<(), Error> {
        self.commit()?;
        let subjects: BTreeSet<SubjectId> = event.data_subjects().collect();
        for subject in subjects {
            self.erase_person(subject, event.position)?;
            self.commit()?;
        }
        Ok(())
    }

    fn erase_person(&mut self, subject: SubjectId, position: u64) -> Result<(), Error> {
        let reading = self.store.reading();
        let person = match reading.get(&store::person(subject))? {
            Some(row) => Person::decode(&row)?,
            None => Person::default(),
        };
        let mut taken_back: BTreeMap<Id, Vec<EventId>> = BTreeMap::new();
        for (key, _) in &person.entries {
            let (_, own) = split_key(key)?;
            if let Some((_, other)) = own.other
                && let Some(other) = self.people.get(other)?
            {
                other.entries.retain(|(key, _)| !names(key, subject));
            }
            if let Some((_, mark)) = own.mark {
                self.forget_named(&reading, subject, mark)?;
            }
            self.rows.extend(binding_row(&own).map(|key| (key, None)));
            if let Some(event) = own.retracts
                && let Some(emitter) = self.emitter_of_retraction(key)?
            {
                self.rows.push((store::retracted(&emitter, event, Some(subject)), None));
                taken_back.entry(emitter).or_default().push(event);
            }
        }
        for row in reading.prefix(&store::postings_of(subject)) {
            self.rows.push((row?.0.to_vec(), None));
        }
        self.rows.push((store::person(subject).to_vec(), None));
        let mut value = Vec::new();
        crate::views::codec::put_u64(&mut value, position);
        self.rows.push((store::erased(subject).to_vec(), Some(value)));
        self.people.evict(subject);
        drop(reading);
        self.commit()?;
        for (emitter, events) in taken_back {
            self.refold_originals(&emitter, &events)?;
        }
        Ok(())
    }

    /// Parts that count as the person's through one of the marks go with the person.
    fn forget_named(
        &mut self,
        reading: &Reading,
        subject: SubjectId,
        mark: crate::domain::id::Mark,
    ) -> Result<(), Error> {
        for row in mark::named(reading, mark) {
            let (at, position, part, marks) = row?;
            let holder = mark::attribute(reading, &lock::read(&self.shared.shapes), &marks, at, u64::MAX)?;
            if holder == Some(subject) {
                for (_, mark) in marks {
                    self.rows.push((store::named(mark, at, position, part), None));
                }
            }
        }
        Ok(())
    }

    fn emitter_of_retraction(&self, key: &crate::views::person::Key) -> Result<Option<Id>, Error> {
        let (bytes, _) = split_key(key)?;
        let inline = bytes.map(shape::decode).transpose()?;
        let shapes = lock::read(&self.shared.shapes);
        let shape = inline.as_ref().or_else(|| shapes.get(key.shape).map(|shape| &**shape));
        Ok(shape.and_then(|shape| shape.body_json.as_deref()).and_then(fold::retracted_emitter))
    }
}

/// Whether an event was taken back, as far as these rows know.
pub fn is_retracted(reading: &Reading, event: &Decoded) -> Result<bool, Error> {
    if !fold::can_be_retracted(event.event_type) {
        return Ok(false);
    }
    was_taken_back(reading, &event.emitter, event.event_id)
}

pub fn was_taken_back(reading: &Reading, emitter: &Id, event: EventId) -> Result<bool, Error> {
    reading.prefix(&store::retracted_event(emitter, event)).next().transpose().map(|row| row.is_some())
}

/// Whether an earlier part names the same person in the same role.
pub fn repeats(event: &Decoded, number: u8) -> bool {
    let part = &event.parts[usize::from(number)];
    event.parts[..usize::from(number)]
        .iter()
        .any(|earlier| earlier.subject == part.subject && earlier.role == part.role)
}

fn names(key: &crate::views::person::Key, subject: SubjectId) -> bool {
    split_key(key).is_ok_and(|(_, own)| own.other.is_some_and(|(_, other)| other == subject))
}

fn owns(entries: &Entries) -> Result<Vec<Own>, Malformed> {
    entries.iter().map(|(key, _)| split_key(key).map(|(_, own)| own)).collect()
}

/// The row that a bound mark has beside its person's.
fn binding_row(own: &Own) -> Option<Vec<u8>> {
    let ((_, mark), (at, position)) = (own.mark?, own.act?);
    Some(store::binding(mark, at, position))
}
