//! Which (emitter, event id) stands at which position.
//!
//! Recent ids are held in memory, in two generations; all others in an LSM store that is never
//! synced. Ids reach the store in sorted chunks, each in one atomic batch with the position up to
//! which the store is complete, and only after the log synced them: what a crash takes from the
//! store is replayed from the log, and what the store knows was durable.
//!
//! Ids of version 7 ascend, so most new ones are greater than every id of their emitter that has
//! left memory: those cannot be in the store and cost no look-up. Others are looked up by the
//! caller's task, not by the writer.

mod store;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;

use store::Store;

use crate::domain::id::{EventId, Id};

/// An emitter by number, and the event id.
pub type Key = (u32, [u8; 16]);

/// Ids written to the store at once.
pub const CHUNK: usize = 65_536;
/// Ids of a generation: what a table of 2^18 buckets takes, with room for the group that fills it.
pub const GENERATION: usize = 200_000;
/// Chunks that may wait for the store before the writer has to.
const WAITING: usize = 2;

/// How much memory the store may use.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    pub cache_bytes: u64,
    pub memtable_bytes: u64,
}

pub struct Ids {
    window: RwLock<Window>,
    store: Arc<Store>,
    progress: Arc<Progress>,
    pending: Mutex<Pending>,
    /// Ids of a chunk and of a generation; smaller in tests.
    chunk: usize,
    generation: usize,
}

#[derive(Default)]
struct Window {
    names: Vec<Id>,
    numbers: HashMap<Id, u32>,
    /// Per emitter, the greatest id of version 7 that has left memory.
    left: Vec<Option<[u8; 16]>>,
    young: Generation,
    old: Generation,
}

#[derive(Default)]
struct Generation {
    positions: HashMap<Key, u64>,
    /// All ids from this position on are in this generation or a younger one.
    first: u64,
}

/// Durable ids on their way into the store.
struct Pending {
    ids: Vec<(Key, u64)>,
    sender: Option<SyncSender<Chunk>>,
    thread: Option<JoinHandle<()>>,
}

struct Chunk {
    ids: Vec<(Key, u64)>,
    names: Vec<Id>,
}

/// Up to which position the store is complete, and what went wrong with it.
#[derive(Default)]
struct Progress {
    state: Mutex<(u64, Option<String>)>,
    changed: Condvar,
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, (u64, Option<String>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the store answered before the writer came to it.
#[derive(Debug)]
pub struct LookedUp {
    pub known: Vec<Option<u64>>,
    /// Indexes of those that only the store can answer.
    ask: Vec<usize>,
    /// All positions below this have been considered; memory had those from here on.
    below: u64,
}

impl LookedUp {
    /// How many look-ups in the store are still to be made.
    pub fn to_ask(&self) -> usize {
        self.ask.len()
    }
}

impl Ids {
    /// Opens the store. The ids of all records from `applied()` on must then be replayed.
    pub fn open(dir: &Path, memory: Memory, chunk: usize, generation: usize) -> io::Result<Ids> {
        let (store, emitters) = Store::open_or_renew(dir, memory)?;
        let start = store.applied();
        let mut window = Window::default();
        for (name, greatest) in emitters {
            let number = window.number(&name);
            window.left[number as usize] = greatest;
        }
        (window.young.first, window.old.first) = (start, start);
        let store = Arc::new(store);
        let progress = Arc::new(Progress { state: Mutex::new((start, None)), changed: Condvar::new() });
        let (sender, receiver) = sync_channel(WAITING);
        let theirs = (Arc::clone(&store), Arc::clone(&progress));
        let thread = std::thread::Builder::new().name("log-ids".into());
        let thread = thread.spawn(move || keep_storing(&theirs.0, &theirs.1, &receiver))?;
        let pending = Pending { ids: Vec::new(), sender: Some(sender), thread: Some(thread) };
        let (window, pending) = (RwLock::new(window), Mutex::new(pending));
        Ok(Ids { window, store, progress, pending, chunk, generation })
    }

    /// The store is complete up to this position.
    pub fn applied(&self) -> u64 {
        self.progress.lock().0
    }

    /// First half of a look-up before appending: which ids have to be looked for in the store?
    pub fn plan<'a>(&self, ids: impl Iterator<Item = (&'a Id, &'a EventId)>) -> LookedUp {
        let window = self.read();
        let (mut known, mut ask) = (Vec::new(), Vec::new());
        for (index, (emitter, event_id)) in ids.enumerate() {
            let number = window.numbers.get(emitter);
            if number.is_some_and(|number| window.may_have_left(&(*number, *event_id.as_bytes()))) {
                ask.push(index);
            }
            known.push(None);
        }
        LookedUp { known, ask, below: window.old.first }
    }

    /// First half of a search: what memory knows below `head`, and what the store has to be asked.
    pub fn recall(&self, ids: &[(Id, EventId)], head: u64) -> LookedUp {
        let window = self.read();
        let (mut known, mut ask) = (Vec::with_capacity(ids.len()), Vec::new());
        for (index, (emitter, event_id)) in ids.iter().enumerate() {
            let key = window.numbers.get(emitter).map(|number| (*number, *event_id.as_bytes()));
            let found = key.and_then(|key| window.position(&key)).filter(|position| *position < head);
            if found.is_none() && key.is_some_and(|key| window.may_have_left(&key)) {
                ask.push(index);
            }
            known.push(found);
        }
        LookedUp { known, ask, below: window.old.first }
    }

    /// Second half of both: asks the store, which may read from disk.
    pub fn ask<'a>(
        &self,
        looked: &mut LookedUp,
        id: impl Fn(usize) -> (&'a Id, &'a EventId),
    ) -> io::Result<()> {
        for index in std::mem::take(&mut looked.ask) {
            let (emitter, event_id) = id(index);
            looked.known[index] = self.store.get(emitter, event_id.as_bytes())?;
        }
        Ok(())
    }

    /// Waits until memory has room for more ids: until the store has taken the older generation.
    pub fn make_room(&self) -> Result<(), String> {
        let (full, needed) = {
            let window = self.read();
            (window.young.positions.len() >= self.generation, window.young.first)
        };
        if !full {
            return self.progress.lock().1.clone().map_or(Ok(()), Err);
        }
        let mut state = self.progress.lock();
        while state.0 < needed && state.1.is_none() {
            state = self.progress.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(error) = &state.1 {
            return Err(error.clone());
        }
        drop(state);
        self.write().rotate(self.generation);
        Ok(())
    }

    /// Claims ids for positions that are being written. Nobody finds them before `head` says so.
    pub fn claim(&self) -> Claim<'_> {
        Claim { window: self.write(), store: &self.store, last: None }
    }

    /// Takes claims back whose records were not stored.
    pub fn release(&self, claimed: &[(Key, u64)]) {
        let mut window = self.write();
        for (key, _) in claimed {
            window.young.positions.remove(key);
        }
    }

    /// These ids are durable. Waits when the store cannot keep up.
    pub fn durable(&self, ids: &[(Key, u64)]) {
        let mut pending = self.pending();
        pending.ids.extend_from_slice(ids);
        if pending.ids.len() >= self.chunk {
            self.send(&mut pending);
        }
    }

    /// Adds an id while the log is read again after a start. True if it was there already.
    pub fn replay(&self, emitter: &Id, event_id: &EventId, position: u64) -> Result<bool, String> {
        self.make_room()?;
        let mut window = self.write();
        let key = (window.number(emitter), *event_id.as_bytes());
        let twice = window.position(&key).is_some();
        if !twice {
            window.young.positions.insert(key, position);
        }
        drop(window);
        // The first of two stays what is found, but the store counts every position.
        if !twice {
            self.durable(&[(key, position)]);
        }
        Ok(twice)
    }

    /// Stores what is pending and stops the thread.
    pub fn close(&self) {
        let mut pending = self.pending();
        self.send(&mut pending);
        pending.sender = None;
        if let Some(thread) = pending.thread.take() {
            let _ = thread.join();
        }
    }

    /// Makes the next start rebuild the store, because it was found damaged.
    pub fn distrust(&self) {
        self.store.distrust();
    }

    fn send(&self, pending: &mut Pending) {
        if pending.ids.is_empty() {
            return;
        }
        let names = self.read().names.clone();
        let ids = std::mem::replace(&mut pending.ids, Vec::with_capacity(self.chunk));
        if let Some(sender) = &pending.sender {
            // The receiver ends only after this sender.
            let _ = sender.send(Chunk { ids, names });
        }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, Window> {
        self.window.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Window> {
        self.window.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread: puts chunks into the store in the order in which they come.
fn keep_storing(store: &Store, progress: &Progress, receiver: &Receiver<Chunk>) {
    while let Ok(chunk) = receiver.recv() {
        if progress.lock().1.is_some() {
            continue; // A gap must not be papered over by a later chunk.
        }
        let stored = store.add(chunk.ids, &chunk.names);
        let mut state = progress.lock();
        match stored {
            Ok(applied) => state.0 = applied,
            Err(error) => {
                tracing::error!(%error, "the id index cannot be written; the log turns read-only");
                state.1 = Some(format!("the id index cannot be written: {error}"));
            }
        }
        progress.changed.notify_all();
    }
}

/// The writer's hold on the window while it puts a group together.
pub struct Claim<'a> {
    window: RwLockWriteGuard<'a, Window>,
    store: &'a Store,
    /// The last emitter asked for: a batch mostly has one.
    last: Option<(Id, u32)>,
}

impl Claim<'_> {
    /// Claims the `index`th id of a batch for `position`, or says where it stands already.
    pub fn take(
        &mut self,
        emitter: &Id,
        event_id: &EventId,
        position: u64,
        looked: &LookedUp,
        index: usize,
    ) -> io::Result<Result<Key, u64>> {
        if let Some(stands) = looked.known[index] {
            return Ok(Err(stands));
        }
        let window = &mut *self.window;
        let number = match &self.last {
            Some((last, number)) if last == emitter => *number,
            _ => {
                let number = window.number(emitter);
                self.last = Some((emitter.clone(), number));
                number
            }
        };
        let key = (number, *event_id.as_bytes());
        if let Some(stands) = window.old.positions.get(&key) {
            return Ok(Err(*stands));
        }
        // Memory may have been rotated between the look-up and now.
        if window.old.first > looked.below
            && window.may_have_left(&key)
            && let Some(stands) = self.store.get(emitter, event_id.as_bytes())?
        {
            return Ok(Err(stands));
        }
        match window.young.positions.entry(key) {
            Entry::Occupied(stands) => Ok(Err(*stands.get())),
            Entry::Vacant(free) => {
                free.insert(position);
                Ok(Ok(key))
            }
        }
    }
}

impl Window {
    fn number(&mut self, emitter: &Id) -> u32 {
        if let Some(number) = self.numbers.get(emitter) {
            return *number;
        }
        let number = self.names.len() as u32;
        self.names.push(emitter.clone());
        self.left.push(None);
        self.numbers.insert(emitter.clone(), number);
        number
    }

    fn position(&self, key: &Key) -> Option<u64> {
        self.young.positions.get(key).or_else(|| self.old.positions.get(key)).copied()
    }

    /// Whether an id that is not in memory may be in the store.
    fn may_have_left(&self, (emitter, id): &Key) -> bool {
        if self.old.first == 0 {
            return false;
        }
        let greatest = self.left[*emitter as usize];
        !is_version_7(id) || greatest.is_some_and(|greatest| *id <= greatest)
    }

    /// Forgets the old generation, which the store has, and begins a new one.
    fn rotate(&mut self, capacity: usize) {
        for (emitter, id) in self.old.positions.keys().filter(|(_, id)| is_version_7(id)) {
            let greatest = &mut self.left[*emitter as usize];
            *greatest = (*greatest).max(Some(*id));
        }
        let next = self.young.positions.values().max().map_or(self.young.first, |last| last + 1);
        let fresh = Generation { positions: HashMap::with_capacity(capacity), first: next };
        self.old = std::mem::replace(&mut self.young, fresh);
    }
}

fn is_version_7(id: &[u8; 16]) -> bool {
    id[6] >> 4 == 7
}
