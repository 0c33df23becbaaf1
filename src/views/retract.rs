//! Events that change what earlier ones left behind: retractions and the erasure of a person.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::event::EventType;
use crate::domain::id::{EventId, Id, Mark, SubjectId};
use crate::domain::time::Timestamp;
use crate::views::Error;
use crate::views::apply::Applier;
use crate::views::ask::Ask;
use crate::views::codec::{Malformed, Reader};
use crate::views::decode::Decoded;
use crate::views::due;
use crate::views::exported;
use crate::views::fold::{self, fold, split_key};
use crate::views::instructions;
use crate::views::mark;
use crate::views::own::Own;
use crate::views::person::{Entries, Key, Person};
use crate::views::postings;
use crate::views::registers::Registers;
use crate::views::sealed;
use crate::views::store::{self, Reading, tag};
use crate::views::{lock, shape};

/// A filter of fixed size over the events taken back, so that the others cost no look-up.
pub struct Taken(Vec<u64>);

const BITS: usize = 1 << 20;
/// Events looked up at once.
const FOUND_AT_ONCE: usize = 1_000;

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

/// People who go with the record at hand: their rows still stand, and no longer count.
pub type Gone = BTreeSet<SubjectId>;

impl Applier {
    /// Notes what an event takes back, and folds everybody anew whom the originals touched. The
    /// notes are committed first; should the rest be lost, the replay notes the same again.
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
        let ids = fold::retracted_ids(event).event_ids;
        let mut batch = self.store.batch(ids.len() * sources.len());
        for id in &ids {
            self.taken.add(*id);
            for by in &sources {
                batch.number(&store::retracted(&emitter, *id, *by), event.position);
            }
        }
        batch.commit()?;
        self.refold_originals(&emitter, &ids, &Gone::new())
    }

    /// Folds anew everybody named by these events, as far as they are applied.
    fn refold_originals(&mut self, emitter: &Id, ids: &[EventId], gone: &Gone) -> Result<(), Error> {
        let ids: Vec<_> = ids.iter().map(|id| (emitter.clone(), *id)).collect();
        let mut positions: Vec<u64> =
            self.reach.find(&ids)?.into_iter().flatten().filter(|position| *position < self.next).collect();
        positions.sort_unstable();
        let mut people = BTreeSet::new();
        let mut register = false;
        let reading = self.store.reading();
        self.reach.clone().decode_all(&positions, |original| {
            if fold::can_be_retracted(original.event_type) {
                people.extend(original.parts.iter().filter_map(|part| part.subject));
                register |= original.event_type.is_register();
                let by = taken_back_by(&reading, &original.emitter, original.event_id, gone)?;
                lock::write(&self.shared.book).retract(original.position, by);
                let shape = lock::read(&self.shared.shapes).number(&original.shape).unwrap_or(0);
                self.occurrences.set(shape, &original, !is_retracted(&reading, &original, gone)?)?;
            }
            Ok(())
        })?;
        if register {
            let mut loaded = Registers::load(&self.store.reading(), &self.reach, gone)?;
            std::mem::swap(&mut *lock::write(&self.shared.registers), &mut loaded);
        }
        for subject in people {
            self.refold(subject, gone)?;
        }
        Ok(())
    }

    /// A person's state from the log again, without what was taken back. Everything before must be
    /// committed.
    fn refold(&mut self, subject: SubjectId, gone: &Gone) -> Result<(), Error> {
        let Some(person) = self.people.get(subject)? else { return Ok(()) };
        let before = std::mem::take(&mut person.entries);
        let reading = self.store.reading();
        let mut replay = Replay::new(&reading, subject, gone);
        let positions: Vec<u64> =
            postings::ascending(&reading, subject)?.iter().map(|posting| posting.position).collect();
        let shared = std::sync::Arc::clone(&self.shared);
        self.reach.decode_all(&positions, |event| {
            let number = lock::read(&shared.shapes).number(&event.shape).unwrap_or(0);
            replay.add(&event, number)
        })?;
        let bindings = rows_of_bindings(&replay.entries)?;
        let stale = rows_of_bindings(&before)?.into_iter().filter(|key| !bindings.contains(key));
        self.rows.extend(stale.map(|key| (key, None)));
        let none = replay.no_exports.into_iter().filter(|key| !replay.exports.contains_key(key));
        self.rows.extend(none.map(|key| (key, None)));
        self.rows.extend(replay.exports.into_iter().map(|(key, first)| (key, Some(exported::encode(first)))));
        // A retraction may have gone with its own person, and then what it took back counts again.
        self.rows.extend(bindings.into_iter().map(|key| (key, Some(subject.0.to_vec()))));
        if let Some(person) = self.people.get(subject)? {
            person.retracted = replay.retracted;
            person.entries = replay.entries;
        }
        Ok(())
    }

    /// Removes everything that a rebuild would not see once the people's pieces are purged. The
    /// rows go in the commit that counts the record as applied.
    pub(super) fn erase(&mut self, event: &Decoded) -> Result<(), Error> {
        let gone: Gone = event.data_subjects().collect();
        let reading = self.store.reading();
        let mut back: BTreeMap<Id, Vec<EventId>> = BTreeMap::new();
        self.note_erased(event, &gone.iter().copied().collect::<Vec<_>>())?;
        for subject in &gone {
            self.people.erase(*subject);
        }
        for subject in &gone {
            for row in reading.prefix(&store::postings_of(*subject)) {
                self.rows.push((row?.0.to_vec(), None));
            }
            // Even the removal of a row would write the handle down.
            let Some(row) = reading.get(&store::person(*subject))? else { continue };
            self.rows.push((store::person(*subject).to_vec(), None));
            self.rows.extend(due::rows_of(&reading, *subject)?.into_iter().map(|key| (key, None)));
            self.rows.extend(sealed::rows_of(&reading, *subject)?.into_iter().map(|key| (key, None)));
            for (key, tally) in Person::decode(&row)?.entries {
                let shapes = lock::read(&self.shared.shapes);
                let exports = exported::rows_of(&reading, &shapes, *subject, &key, tally)?;
                let queued = instructions::row_of(&shapes, &key)?;
                drop(shapes);
                self.rows.extend(queued.map(|key| (key, None)));
                self.rows.extend(exports.into_iter().map(|key| (key, None)));
                self.erase_entry(&reading, *subject, &key, &mut back)?;
            }
        }
        for (emitter, events) in back {
            self.refold_originals(&emitter, &events, &gone)?;
        }
        Ok(())
    }

    fn erase_entry(
        &mut self,
        reading: &Reading,
        subject: SubjectId,
        key: &Key,
        back: &mut BTreeMap<Id, Vec<EventId>>,
    ) -> Result<(), Error> {
        let (_, own) = split_key(key)?;
        if let Some((_, other)) = own.other
            && let Some(other) = self.people.get(other)?
        {
            other.entries.retain(|(key, _)| !names(key, subject));
        }
        if let Some((_, mark)) = own.mark {
            self.forget_named(reading, subject, mark)?;
        }
        self.rows.extend(binding_row(&own).map(|key| (key, None)));
        if let Some(event) = own.retracts
            && let Some(emitter) = self.emitter_of_retraction(key)?
        {
            self.rows.push((store::retracted(&emitter, event, Some(subject)), None));
            back.entry(emitter).or_default().push(event);
        }
        Ok(())
    }

    /// Parts that count as the person's through one of the marks go with the person.
    fn forget_named(&mut self, reading: &Reading, subject: SubjectId, mark: Mark) -> Result<(), Error> {
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

    fn emitter_of_retraction(&self, key: &Key) -> Result<Option<Id>, Error> {
        let (bytes, _) = split_key(key)?;
        let inline = bytes.map(shape::decode).transpose()?;
        let shapes = lock::read(&self.shared.shapes);
        let shape = inline.as_ref().or_else(|| shapes.get(key.shape).map(|shape| &**shape));
        Ok(shape.and_then(|shape| shape.body_json.as_deref()).and_then(fold::retracted_emitter))
    }
}

/// An event that somebody wants to take back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    pub event_id: EventId,
    pub event_type: EventType,
    pub controller: Id,
    pub service: Option<Id>,
    /// The data subjects of whom its index blocks still tell.
    pub subjects: Vec<SubjectId>,
    pub taken_back_by: Option<u64>,
    /// What it registers, as `type id`.
    pub register_entry: Option<String>,
}

impl Ask {
    /// The events at some positions, in the order in which these are given.
    pub fn originals(&self, positions: &[u64]) -> Result<Vec<Original>, Error> {
        let mut sorted = positions.to_vec();
        sorted.sort_unstable();
        let mut originals = BTreeMap::new();
        self.reach.decode_all(&sorted, |event| {
            let shape = shape::decode(&event.shape)?;
            let subjects: BTreeSet<SubjectId> = event.data_subjects().collect();
            let original = Original {
                event_id: event.event_id,
                event_type: event.event_type,
                controller: shape.controller,
                service: shape.service,
                subjects: subjects.into_iter().collect(),
                taken_back_by: taken_back_by(&self.reading, &event.emitter, event.event_id, &Gone::new())?,
                register_entry: register_entry(&event),
            };
            originals.insert(event.position, original);
            Ok(())
        })?;
        Ok(positions.iter().filter_map(|position| originals.get(position).cloned()).collect())
    }
}

fn register_entry(event: &Decoded) -> Option<String> {
    let fields = event.event_type.register_id()?;
    let body: serde_json::Value = serde_json::from_str(&event.body_json).ok()?;
    let named = fields.iter().filter_map(|field| body.get(field)?.as_str());
    Some(format!("{} {}", event.event_type.as_str(), named.collect::<Vec<_>>().join(" ")))
}

/// Folds one person's records again, without those taken back.
pub struct Replay<'a> {
    reading: &'a Reading,
    subject: SubjectId,
    gone: &'a Gone,
    pub entries: Entries,
    /// Rows of transfers that count, and the keys of those taken back.
    pub exports: BTreeMap<Vec<u8>, Timestamp>,
    pub no_exports: BTreeSet<Vec<u8>>,
    pub events: u64,
    pub retracted: u64,
}

impl<'a> Replay<'a> {
    pub fn new(reading: &'a Reading, subject: SubjectId, gone: &'a Gone) -> Self {
        Replay {
            reading,
            subject,
            gone,
            entries: Entries::new(),
            exports: BTreeMap::new(),
            no_exports: BTreeSet::new(),
            events: 0,
            retracted: 0,
        }
    }

    /// Adds a record, whatever the order. `shape` is its number; 0 writes the shape out.
    pub fn add(&mut self, event: &Decoded, shape: u32) -> Result<(), Error> {
        let mine = || event.parts.iter().filter(|part| part.subject == Some(self.subject));
        let retracted = is_retracted(self.reading, event, self.gone)?;
        if mine().any(|part| part.role.is_data_subject()) && !shape::is_reading(event.event_type) {
            self.events += 1;
            self.retracted += u64::from(retracted);
        }
        let exports = mine().filter_map(|part| exported::row(event, part, shape));
        if retracted {
            self.no_exports.extend(exports);
            return Ok(());
        }
        for key in exports {
            self.exports.entry(key).and_modify(|first| *first = event.at.min(*first)).or_insert(event.at);
        }
        for part in mine() {
            let reading = part.role.is_data_subject() && shape::is_reading(event.event_type);
            if reading || repeats(event, part.number) {
                continue;
            }
            let mut erased = BTreeSet::new();
            for other in event.data_subjects().filter(|_| fold::is_link(event.event_type)) {
                if self.gone.contains(&other) || self.reading.get(&store::erased(other))?.is_some() {
                    erased.insert(other);
                }
            }
            fold(&mut self.entries, event, part, shape, |other| erased.contains(&other));
        }
        Ok(())
    }
}

/// Whether an event was taken back, as far as these rows know, by somebody who is not gone.
pub fn is_retracted(reading: &Reading, event: &Decoded, gone: &Gone) -> Result<bool, Error> {
    if !fold::can_be_retracted(event.event_type) {
        return Ok(false);
    }
    Ok(taken_back_by(reading, &event.emitter, event.event_id, gone)?.is_some())
}

/// The position of the first event that took this one back.
pub fn taken_back_by(
    reading: &Reading,
    emitter: &Id,
    event: EventId,
    gone: &Gone,
) -> Result<Option<u64>, Error> {
    let mut first = None;
    for row in reading.prefix(&store::retracted_event(emitter, event)) {
        let (key, value) = row?;
        let by = key.last_chunk::<16>().ok_or(Malformed("retraction"))?;
        if !gone.contains(&SubjectId(*by)) {
            let position = Reader::new(&value, "retraction").u64()?;
            first = Some(first.map_or(position, |first: u64| first.min(position)));
        }
    }
    Ok(first)
}

/// How many events of `[from, to)` were taken back, by events here or elsewhere.
pub fn taken_back_between(ask: &Ask, from: u64, to: u64) -> Result<u64, Error> {
    let mut named = BTreeSet::new();
    for row in ask.reading.prefix(&[tag::RETRACTED]) {
        let (key, _) = row?;
        named.insert(store::split_retracted(&key)?);
    }
    let named: Vec<(Id, EventId)> = named.into_iter().collect();
    let mut count = 0;
    for some in named.chunks(FOUND_AT_ONCE) {
        let found = ask.reach.find(some)?;
        count += found.into_iter().flatten().filter(|position| (from..to).contains(position)).count() as u64;
    }
    Ok(count)
}

/// Whether an earlier part names the same person in the same role.
pub fn repeats(event: &Decoded, number: u8) -> bool {
    let part = &event.parts[usize::from(number)];
    event.parts[..usize::from(number)]
        .iter()
        .any(|earlier| earlier.subject == part.subject && earlier.role == part.role)
}

fn names(key: &Key, subject: SubjectId) -> bool {
    split_key(key).is_ok_and(|(_, own)| own.other.is_some_and(|(_, other)| other == subject))
}

fn rows_of_bindings(entries: &Entries) -> Result<BTreeSet<Vec<u8>>, Malformed> {
    let mut rows = BTreeSet::new();
    for (key, _) in entries {
        rows.extend(binding_row(&split_key(key)?.1));
    }
    Ok(rows)
}

/// The row that a bound mark has beside its person's.
fn binding_row(own: &Own) -> Option<Vec<u8>> {
    let ((_, mark), (at, position)) = (own.mark?, own.act?);
    Some(store::binding(mark, at, position))
}
