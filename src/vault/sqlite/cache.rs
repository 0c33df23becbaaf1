//! What is known of people lately seen, without asking SQLite. Bounded; sharded; two generations.
//!
//! A shard keeps a young and an old map. A hit in the old one moves the entry to the young; when
//! the young one is full it becomes the old and what was old is forgotten. Readers fill it with what
//! they read, but only if no writer has touched the shard since they began to read.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::marks::Place;
use crate::domain::identity::resolve::Binding;
use crate::vault::Holder;

/// A binding with the keys of its holder.
#[derive(Clone)]
pub(super) struct Known {
    pub binding: Binding,
    pub holder: Arc<Holder>,
}

impl AsRef<Binding> for Known {
    fn as_ref(&self) -> &Binding {
        &self.binding
    }
}

#[derive(Clone)]
pub(super) enum Slot {
    /// All bindings of an identifier; never none, and never one with erased marks.
    Bindings(Arc<[Known]>),
    Holder(Arc<Holder>),
    /// The identifier was seen with the holder.
    Seen,
}

/// Keys are keyed hashes or random bits already.
#[derive(Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // The length prefix of an array comes as a number, so this is the key itself.
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    fn write_usize(&mut self, _: usize) {}
}

type Map = HashMap<Place, Slot, BuildHasherDefault<FirstBytes>>;

#[derive(Default)]
struct Shard {
    young: Map,
    old: Map,
    /// Counts what writers did here.
    version: u64,
}

pub(super) struct Cache {
    shards: Box<[Mutex<Shard>]>,
    /// Entries of one generation of one shard.
    half: usize,
}

const SHARDS: usize = 64;

impl Cache {
    /// Holds at most about `entries`.
    pub fn new(entries: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Cache { shards, half: entries.div_ceil(2 * SHARDS).max(1) }
    }

    pub fn get(&self, place: &Place) -> Option<Slot> {
        let mut shard = self.shard(place);
        if let Some(slot) = shard.young.get(place) {
            return Some(slot.clone());
        }
        let slot = shard.old.remove(place)?;
        self.insert(&mut shard, *place, slot.clone());
        Some(slot)
    }

    /// To be asked before reading what `fill` is to be given.
    pub fn version(&self, place: &Place) -> u64 {
        self.shard(place).version
    }

    /// What a reader found; dropped if a writer was here since `version`.
    pub fn fill(&self, place: Place, slot: Slot, version: u64) {
        let mut shard = self.shard(&place);
        if shard.version == version {
            shard.old.remove(&place);
            self.insert(&mut shard, place, slot);
        }
    }

    /// What a writer committed.
    pub fn put(&self, place: Place, slot: Option<Slot>) {
        let mut shard = self.shard(&place);
        shard.version += 1;
        shard.old.remove(&place);
        match slot {
            Some(slot) => self.insert(&mut shard, place, slot),
            None => {
                shard.young.remove(&place);
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            *shard = Shard { version: shard.version + 1, ..Shard::default() };
        }
    }

    fn insert(&self, shard: &mut Shard, place: Place, slot: Slot) {
        if shard.young.len() >= self.half {
            shard.old = std::mem::take(&mut shard.young);
        }
        shard.young.insert(place, slot);
    }

    fn shard(&self, place: &Place) -> MutexGuard<'_, Shard> {
        // The hash takes the first bytes, the shard the last.
        let shard = &self.shards[place[15] as usize % SHARDS];
        // No code that can panic runs under the lock, but for an allocation that fails.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        let of = |shard: &Mutex<Shard>| {
            let shard = shard.lock().unwrap();
            shard.young.len() + shard.old.len()
        };
        self.shards.iter().map(of).sum()
    }
}
