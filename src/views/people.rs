//! The people at hand: those changed since the last commit, decoded, and those met lately, as
//! stored. Bounded: what is not met again for a while is dropped and read from the store.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use crate::domain::id::SubjectId;
use crate::views::Error;
use crate::views::person::Person;
use crate::views::store::{self, Batch, Store};

/// Handles are random already, so their first bytes are their hash.
#[derive(Clone, Copy, Default)]
pub struct Random;

impl BuildHasher for Random {
    type Hasher = FirstBytes;
    fn build_hasher(&self) -> FirstBytes {
        FirstBytes(0)
    }
}

pub struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 ^= u64::from_le_bytes(*first);
        }
    }
    fn write_usize(&mut self, _: usize) {}
}

type Map<T> = HashMap<SubjectId, T, Random>;

enum Known {
    /// Boxed, so that the table stays small while it grows.
    Person(Box<Person>),
    /// Erased, by a record before this one.
    Erased,
}

pub struct People {
    store: Store,
    changed: Map<Known>,
    /// Two generations of rows as stored; the older one goes when the younger one is full.
    young: Map<Box<[u8]>>,
    old: Map<Box<[u8]>>,
    young_bytes: u64,
    /// Bytes that each generation may take.
    budget: u64,
}

/// Bytes that a cached row takes besides its own.
const OVERHEAD: u64 = 64;

impl People {
    pub fn new(store: Store, cache_bytes: u64) -> Self {
        People {
            store,
            changed: Map::default(),
            young: Map::default(),
            old: Map::default(),
            young_bytes: 0,
            budget: cache_bytes / 2,
        }
    }

    /// The person, to be changed; new if never met. `None` if erased.
    pub fn get(&mut self, subject: SubjectId) -> Result<Option<&mut Person>, Error> {
        if !self.changed.contains_key(&subject) {
            let known = self.load(subject)?;
            self.changed.insert(subject, known);
        }
        match self.changed.get_mut(&subject) {
            Some(Known::Person(person)) => Ok(Some(person)),
            _ => Ok(None),
        }
    }

    pub fn is_erased(&mut self, subject: SubjectId) -> Result<bool, Error> {
        match self.changed.get(&subject) {
            Some(Known::Erased) => Ok(true),
            Some(Known::Person(_)) => Ok(false),
            None => Ok(self.store.get(&store::erased(subject))?.is_some()),
        }
    }

    /// People changed since the last commit.
    pub fn changed(&self) -> usize {
        self.changed.len()
    }

    fn load(&mut self, subject: SubjectId) -> Result<Known, Error> {
        if let Some(row) = self.young.get(&subject).or_else(|| self.old.get(&subject)) {
            return Ok(Known::Person(Box::new(Person::decode(row)?)));
        }
        if let Some(row) = self.store.get(&store::person(subject))? {
            return Ok(Known::Person(Box::new(Person::decode(&row)?)));
        }
        if self.store.get(&store::erased(subject))?.is_some() {
            return Ok(Known::Erased);
        }
        Ok(Known::Person(Box::default()))
    }

    /// From now on the person counts as nobody; the caller removes the rows in the same batch.
    pub fn erase(&mut self, subject: SubjectId) {
        self.changed.insert(subject, Known::Erased);
        self.young.remove(&subject);
        self.old.remove(&subject);
    }

    /// Puts all changed rows into the batch, in order of their keys, and keeps them at hand.
    pub fn write(&mut self, batch: &mut Batch) {
        let mut changed: Vec<(SubjectId, Box<Person>)> = self
            .changed
            .drain()
            .filter_map(|(subject, known)| match known {
                Known::Person(person) => Some((subject, person)),
                Known::Erased => None,
            })
            .collect();
        changed.sort_unstable_by_key(|(subject, _)| *subject);
        let mut row = Vec::with_capacity(1024);
        for (subject, person) in changed {
            row.clear();
            person.encode(&mut row);
            batch.insert(&store::person(subject), &row);
            self.young_bytes += row.len() as u64 + OVERHEAD;
            if let Some(before) = self.young.insert(subject, row.as_slice().into()) {
                self.young_bytes -= before.len() as u64 + OVERHEAD;
            }
        }
        if self.young_bytes > self.budget {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }
}
