//! Applies decoded records to the rows of one generation, strictly in the order of the log.
//!
//! Changes are held until `commit`, which writes all rows and the applied position in one batch.
//! Because records are applied one after the other, the rows are the same whatever the number of
//! records between two commits. A crash loses what was not committed; it is replayed.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use crate::domain::id::Id;
use crate::domain::register::{self, Book};
use crate::record::MarkUse;
use crate::views::book;
use crate::views::codec::Reader;
use crate::views::decode::{Decoded, DecodedPart};
use crate::views::erased;
use crate::views::exported::{self, Exports};
use crate::views::findings::Answers;
use crate::views::fold::{self, fold};
use crate::views::instructions;
use crate::views::mark;
use crate::views::occurrences::Occurrences;
use crate::views::people::People;
use crate::views::person::{Roles, put_postings};
use crate::views::reach::Reach;
use crate::views::registers::Registers;
use crate::views::retract::{Taken, taken_back_by};
use crate::views::sequence::Sequence;
use crate::views::shape::{self, Shapes};
use crate::views::store::{self, Store, meta};
use crate::views::zone::{ZONE, Zone};
use crate::views::{Error, lock};

/// What readers share with the applier.
#[derive(Default)]
pub struct Shared {
    pub shapes: RwLock<Shapes>,
    pub registers: RwLock<Registers>,
    pub book: RwLock<Book>,
    /// What was found last.
    pub answers: Answers,
}

/// A row that waits for the commit; `None` removes it.
type Row = (Vec<u8>, Option<Vec<u8>>);

pub struct Applier {
    pub(super) store: Store,
    pub(super) shared: Arc<Shared>,
    pub(super) reach: Reach,
    pub(super) people: People,
    /// The next position to apply.
    pub(super) next: u64,
    pub(super) rows: Vec<Row>,
    pub(super) taken: Taken,
    pub(super) occurrences: Occurrences,
    exports: Exports,
    /// Numbers in rows of their own, changed since the last commit.
    counters: HashMap<Vec<u8>, u64>,
    zone: Zone,
    emitters: HashMap<Id, (Sequence, bool)>,
    shapes_were_full: bool,
}

impl Applier {
    /// Continues where the store stands.
    pub fn open(store: Store, shared: Arc<Shared>, reach: Reach, cache_bytes: u64) -> Result<Applier, Error> {
        let reading = store.reading();
        let next = reading.applied()?;
        let mut shapes = Vec::new();
        for row in reading.prefix(&[store::tag::SHAPE]) {
            shapes.push(row?.1.to_vec());
        }
        let full = reading.get(meta::SHAPES_FULL)?.is_some();
        *lock::write(&shared.shapes) = Shapes::restore(shapes.into_iter(), full)?;
        *lock::write(&shared.registers) = Registers::load(&reading, &reach, &Default::default())?;
        *lock::write(&shared.book) = book::load(&reading, &reach)?;
        let mut emitters = HashMap::new();
        for row in reading.prefix(&[store::tag::EMITTER]) {
            let (key, value) = row?;
            emitters.insert(store::emitter_of(&key)?, (Sequence::decode(&value)?, false));
        }
        // That of the last applied position: the first of the next zone writes it once more.
        let zone = match reading.get(&store::zone(next.saturating_sub(1) / ZONE))? {
            Some(row) => Zone::decode(&row)?,
            None => Zone::default(),
        };
        Ok(Applier {
            people: People::new(store.clone(), cache_bytes),
            taken: Taken::load(&reading)?,
            occurrences: Occurrences::new(store.clone()),
            exports: Exports::default(),
            counters: HashMap::new(),
            store,
            shared,
            reach,
            next,
            rows: Vec::new(),
            zone,
            emitters,
            shapes_were_full: full,
        })
    }

    pub fn next(&self) -> u64 {
        self.next
    }

    /// People held back until the commit, by which the caller bounds the batch.
    pub fn changed(&self) -> usize {
        self.people.changed()
    }

    /// Applies one record. An error leaves the rows as they were at the last commit; the applier is
    /// then of no more use.
    pub fn apply(&mut self, event: &Decoded) -> Result<(), Error> {
        if event.position != self.next {
            return Err(Error::Order { expected: self.next, got: event.position });
        }
        let sequel = erased::is_sequel(event.event_type);
        let special = sequel || fold::is_retraction(event.event_type) || fold::is_erasure(event.event_type);
        if special {
            // These read and change rows of others, so everything before them must stand.
            self.commit()?;
        }
        let shape = self.shape(event)?;
        self.map(event, shape);
        let retracted = self.taken.may_hold(event.event_id)
            && fold::can_be_retracted(event.event_type)
            && self.store.has_prefix(&store::retracted_event(&event.emitter, event.event_id))?;
        self.occurrences.set(shape, event, !retracted)?;
        if register::keeps(event.event_type) {
            self.register(event, retracted)?;
        }
        if fold::is_erasure(event.event_type) {
            self.erase(event)?;
        } else if sequel {
            self.note_sequel(event)?;
        } else if special {
            self.take_back(event)?;
        }
        if instructions::is_about_one(event.event_type) {
            self.queue(event)?;
        }
        for part in &event.parts {
            self.part(event, part, shape, retracted)?;
        }
        self.next += 1;
        if special { self.commit() } else { Ok(()) }
    }

    /// Keeps an event of a register, also one that was taken back before it came.
    fn register(&mut self, event: &Decoded, retracted: bool) -> Result<(), Error> {
        self.rows.push((store::register(event.position).to_vec(), Some(Vec::new())));
        let by = match retracted {
            true => {
                taken_back_by(&self.store.reading(), &event.emitter, event.event_id, &Default::default())?
            }
            false => None,
        };
        if let Some(version) = book::version(event, by)? {
            lock::write(&self.shared.book).add(version);
        }
        if !retracted {
            lock::write(&self.shared.registers).add(event)?;
        }
        Ok(())
    }

    /// The number of the event's shape; 0 if the dictionary is full.
    fn shape(&mut self, event: &Decoded) -> Result<u32, Error> {
        if let Some(number) = lock::read(&self.shared.shapes).number(&event.shape) {
            return Ok(number);
        }
        let number = lock::write(&self.shared.shapes).insert(&event.shape)?;
        match number {
            Some(number) => self.rows.push((store::shape(number).to_vec(), Some(event.shape.clone()))),
            None if !self.shapes_were_full => {
                self.shapes_were_full = true;
                self.rows.push((meta::SHAPES_FULL.to_vec(), Some(Vec::new())));
            }
            None => {}
        }
        Ok(number.unwrap_or(0))
    }

    /// Zone maps and the emitters' own numbers.
    fn map(&mut self, event: &Decoded, shape: u32) {
        if event.position.is_multiple_of(ZONE) {
            if event.position > 0 {
                self.rows.push((store::zone(event.position / ZONE - 1).to_vec(), Some(self.zone.encode())));
            }
            self.zone = Zone::default();
        }
        self.zone.add(shape, event);
        let Some(seq) = event.emitter_seq else { return };
        match self.emitters.get_mut(&event.emitter) {
            Some((sequence, changed)) => {
                sequence.see(seq, event.recorded_at);
                *changed = true;
            }
            None => {
                self.emitters.insert(event.emitter.clone(), (Sequence::first(seq), true));
            }
        }
    }

    fn part(
        &mut self,
        event: &Decoded,
        part: &DecodedPart,
        shape: u32,
        retracted: bool,
    ) -> Result<(), Error> {
        let Some(subject) = part.subject else {
            if part.role.is_data_subject() && !part.purged {
                self.unattributed(event, part);
            }
            return Ok(());
        };
        if part.role.is_data_subject() && shape::is_reading(event.event_type) {
            return Ok(());
        }
        // The other side of a link must be known to be gone before this side is folded.
        let erased = if fold::is_link(event.event_type) { self.erased_among(event)? } else { Vec::new() };
        let Some(person) = self.people.get(subject)? else { return self.note_proof(event, part, subject) };
        if let Some(sealed) = person.post(event.position, Roles::of(part.role)) {
            let mut row = Vec::with_capacity(sealed.len() * 2);
            crate::views::codec::put_u64(&mut row, sealed.len() as u64);
            put_postings(&mut row, &sealed);
            self.rows.push((store::postings(subject, sealed[0].position).to_vec(), Some(row)));
        }
        let earlier = event.parts[..usize::from(part.number)]
            .iter()
            .any(|other| other.subject == Some(subject) && other.role == part.role);
        if part.role.is_data_subject() && !earlier {
            person.events += 1;
            person.retracted += u64::from(retracted);
        }
        if retracted || earlier {
            return Ok(());
        }
        fold(&mut person.entries, event, part, shape, |other| erased.contains(&other));
        if let Some(key) = exported::row(event, part, shape) {
            self.exports.see(&self.store, key, event.at)?;
        }
        for id in part.marks(MarkUse::Bind) {
            let key = store::binding(id.mark, event.at, event.position);
            self.rows.push((key, Some(subject.0.to_vec())));
        }
        Ok(())
    }

    /// Adds one to a number that stands in a row.
    pub(super) fn count(&mut self, key: Vec<u8>) -> Result<(), Error> {
        if !self.counters.contains_key(&key) {
            let before = self.store.get(&key)?;
            let before = before.map(|bytes| Reader::new(&bytes, "number").u64()).transpose()?;
            self.counters.insert(key.clone(), before.unwrap_or(0));
        }
        self.counters.entry(key).and_modify(|count| *count += 1);
        Ok(())
    }

    fn erased_among(&mut self, event: &Decoded) -> Result<Vec<crate::domain::id::SubjectId>, Error> {
        let mut erased = Vec::new();
        for subject in event.data_subjects() {
            if self.people.is_erased(subject)? {
                erased.push(subject);
            }
        }
        Ok(erased)
    }

    /// Kept by its marks, so that a binding that covers its time attributes it, whichever of the
    /// two arrives first.
    fn unattributed(&mut self, event: &Decoded, part: &DecodedPart) {
        let marks = mark::encode(part.marks(MarkUse::Named));
        for id in part.marks(MarkUse::Named) {
            let key = store::named(id.mark, event.at, event.position, part.number);
            self.rows.push((key, Some(marks.clone())));
        }
    }

    /// Writes everything that waits, in one batch.
    pub fn commit(&mut self) -> Result<(), Error> {
        let mut batch = self.store.batch(self.rows.len() + self.people.changed() + 4);
        self.people.write(&mut batch);
        self.rows.extend(self.occurrences.changed(self.next));
        self.rows.extend(self.exports.take());
        self.rows.sort_by(|a, b| a.0.cmp(&b.0));
        let mut rows = std::mem::take(&mut self.rows).into_iter().peekable();
        while let Some((key, value)) = rows.next() {
            // Of two changes of one row the later one counts; sorting kept their order.
            if rows.peek().is_some_and(|(next, _)| *next == key) {
                continue;
            }
            match value {
                Some(value) => batch.insert(&key, &value),
                None => batch.remove(&key),
            }
        }
        for (emitter, (sequence, changed)) in &mut self.emitters {
            if std::mem::take(changed) {
                batch.insert(&store::emitter(emitter), &sequence.encode());
            }
        }
        if self.next > 0 {
            batch.insert(&store::zone((self.next - 1) / ZONE), &self.zone.encode());
        }
        for (key, count) in self.counters.drain() {
            batch.number(&key, count);
        }
        batch.number(meta::APPLIED, self.next);
        batch.number(meta::FORMAT, store::FORMAT);
        batch.commit()
    }
}
