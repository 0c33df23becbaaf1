//! What is known of people lately seen, without asking the database. Bounded; sharded; two generations.
//!
//! A shard keeps a young and an old map. A hit in the old one moves the entry to the young; when
//! the young one is full it becomes the old and what was old is forgotten. Readers fill it with what
//! they read, but only if no writer has touched the shard since they began to read. Where others write
//! to the same database, it is used only while its lease runs.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::marks::Place;
use crate::clock::Stopwatch;
use crate::domain::identity::resolve::Binding;
use crate::vault::Holder;

/// A binding with the keys of its holder.
#[derive(Clone)]
pub struct Known {
    pub binding: Binding,
    pub holder: Arc<Holder>,
}

impl AsRef<Binding> for Known {
    fn as_ref(&self) -> &Binding {
        &self.binding
    }
}

#[derive(Clone)]
pub enum Slot {
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

pub struct Cache {
    shards: Box<[Mutex<Shard>]>,
    /// Entries of one generation of one shard.
    half: usize,
    /// `None` where nobody else writes.
    lease: Option<Arc<Lease>>,
}

/// How often writers were at each shard.
pub struct Versions([u64; SHARDS]);

/// Until when what is remembered may be used. It runs by the machine's own steps, whatever the clock says.
pub struct Lease {
    origin: Stopwatch,
    /// As `now` counts.
    until: AtomicU64,
}

impl Lease {
    /// One that is over.
    pub fn over() -> Self {
        Lease { origin: Stopwatch::start(), until: AtomicU64::new(0) }
    }

    /// Milliseconds since it was made.
    pub fn now(&self) -> u64 {
        self.origin.elapsed().as_millis() as u64
    }

    pub fn runs(&self) -> bool {
        self.now() < self.until.load(Ordering::Acquire)
    }

    pub fn end(&self) {
        self.until.store(0, Ordering::Release);
    }

    pub fn renew(&self, from: u64, length: Duration) {
        self.until.store(from + length.as_millis() as u64, Ordering::Release);
    }
}

const SHARDS: usize = 64;

impl Cache {
    /// Holds at most about `entries`.
    pub fn new(entries: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Cache { shards, half: entries.div_ceil(2 * SHARDS).max(1), lease: None }
    }

    /// One that may be used while a lease runs.
    pub fn leased(entries: usize, lease: Arc<Lease>) -> Self {
        Cache { lease: Some(lease), ..Cache::new(entries) }
    }

    pub fn get(&self, place: &Place) -> Option<Slot> {
        if self.lease.as_ref().is_some_and(|lease| !lease.runs()) {
            return None;
        }
        let mut shard = self.shard(place);
        if let Some(slot) = shard.young.get(place) {
            return Some(slot.clone());
        }
        let slot = shard.old.remove(place)?;
        self.insert(&mut shard, *place, slot.clone());
        Some(slot)
    }

    /// To be asked before the transaction begins in which is read what `fill` is to be given.
    pub fn versions(&self) -> Versions {
        Versions(std::array::from_fn(|i| self.lock(i).version))
    }

    /// What a reader found; dropped if a writer was here since `before`.
    pub fn fill(&self, place: Place, slot: Slot, before: &Versions) {
        let mut shard = self.shard(&place);
        if shard.version == before.0[shard_of(&place)] {
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
        for i in 0..SHARDS {
            let mut shard = self.lock(i);
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
        self.lock(shard_of(place))
    }

    fn lock(&self, shard: usize) -> MutexGuard<'_, Shard> {
        // No code that can panic runs under the lock, but for an allocation that fails.
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
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

/// The hash takes the first bytes, the shard the last.
fn shard_of(place: &Place) -> usize {
    place[15] as usize % SHARDS
}
