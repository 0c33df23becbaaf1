//! The id index on disk: one fjall keyspace, never synced by us.
//!
//! | key | value |
//! |---|---|
//! | emitter ‖ 16 bytes of the event id | position, u64 little-endian |
//! | 00 `a` | the store is complete up to this position, u64 little-endian |
//! | 00 `m` ‖ emitter | greatest id of version 7 of that emitter in the store, or empty |
//!
//! An emitter begins with a letter or digit, so the kinds cannot be mixed up. All live in one
//! keyspace, so that they reach the disk together or not at all.

use std::collections::HashMap;
use std::fmt::Display;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fjall::config::{CompressionPolicy, PinningPolicy};
use fjall::{Database, Keyspace, KeyspaceCreateOptions};

use super::{Key, Memory, is_version_7};
use crate::domain::id::Id;
use crate::log::segments::frame::u64_at;

const APPLIED: &[u8] = b"\0a";
const EMITTERS: &[u8] = b"\0m";

/// Per emitter, the greatest id of version 7.
type Emitters = HashMap<Id, Option<[u8; 16]>>;

pub struct Store {
    db: Database,
    ids: Keyspace,
    emitters: Mutex<Emitters>,
    distrusted: PathBuf,
}

fn other(error: impl Display) -> io::Error {
    io::Error::other(format!("id index: {error}"))
}

impl Store {
    /// Opens the store; if that cannot be done it is moved aside and begun anew, because all that
    /// is in it can be read from the log again. Lists the emitters with their greatest ids.
    pub fn open_or_renew(dir: &Path, memory: Memory) -> io::Result<(Store, Emitters)> {
        let (path, distrusted) = (dir.join("ids"), dir.join("ids.distrusted"));
        let opened = if distrusted.exists() {
            Err(other("was found damaged before"))
        } else {
            // The store asserts where it finds what cannot be.
            catch_unwind(AssertUnwindSafe(|| Store::open(dir, memory)))
                .unwrap_or_else(|_| Err(other("panicked while it was opened")))
        };
        let store = match opened {
            Ok(store) => store,
            Err(error) => {
                tracing::error!(%error, "the id index is moved aside and built again from the log");
                let aside = dir.join("ids.damaged");
                if aside.exists() {
                    std::fs::remove_dir_all(&aside)?;
                }
                if path.exists() {
                    std::fs::rename(&path, &aside)?;
                }
                let _ = std::fs::remove_file(distrusted);
                Store::open(dir, memory)?
            }
        };
        let emitters = store.emitters.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok((store, emitters))
    }

    fn open(dir: &Path, memory: Memory) -> io::Result<Store> {
        let builder = Database::builder(dir.join("ids")).cache_size(memory.cache_bytes).worker_threads(1);
        let db =
            builder.max_journaling_size((4 * memory.memtable_bytes).max(64 << 20)).open().map_err(other)?;
        let options = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(memory.memtable_bytes)
                // Nothing that grows with the index is pinned in memory: the cache decides.
                .index_block_pinning_policy(PinningPolicy::all(false))
                .filter_block_pinning_policy(PinningPolicy::all(false))
                .index_block_partitioning_policy(PinningPolicy::all(true))
                .filter_block_partitioning_policy(PinningPolicy::all(true))
                .data_block_compression_policy(CompressionPolicy::all(fjall::CompressionType::Lz4))
        };
        let ids = db.keyspace("ids", options).map_err(other)?;
        let mut emitters = HashMap::new();
        for entry in ids.prefix(EMITTERS) {
            let (key, value) = entry.into_inner().map_err(other)?;
            let name = std::str::from_utf8(&key[EMITTERS.len()..]).map_err(other)?;
            emitters.insert(name.parse().map_err(other)?, value.first_chunk().copied());
        }
        let emitters = Mutex::new(emitters);
        Ok(Store { db, ids, emitters, distrusted: dir.join("ids.distrusted") })
    }

    /// The store is complete up to this position.
    pub fn applied(&self) -> u64 {
        let mark = self.ids.get(APPLIED).ok().flatten();
        mark.filter(|mark| mark.len() == 8).map_or(0, |mark| u64_at(&mark, 0))
    }

    pub fn get(&self, emitter: &Id, id: &[u8; 16]) -> io::Result<Option<u64>> {
        let found = self.ids.get(key(emitter, id)).map_err(other)?;
        match found {
            Some(value) if value.len() == 8 => Ok(Some(u64_at(&value, 0))),
            Some(_) => Err(other("an entry has the wrong length")),
            None => Ok(None),
        }
    }

    /// Adds ids in one batch. They continue where the store ends; says where it ends now.
    pub fn add(&self, mut ids: Vec<(Key, u64)>, names: &[Id]) -> io::Result<u64> {
        let Some((_, last)) = ids.last().copied() else { return Ok(self.applied()) };
        // Numbers stand for emitters in another order than their names do, but ids of one emitter
        // stay together, and that is what makes sorted chunks cheap.
        ids.sort_unstable();
        let mut emitters = self.emitters.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = fjall::OwnedWriteBatch::with_capacity(self.db.clone(), ids.len() + 16);
        for run in ids.chunk_by(|a, b| a.0.0 == b.0.0) {
            let name = &names[run[0].0.0 as usize];
            for ((_, id), position) in run {
                batch.insert(&self.ids, key(name, id), position.to_le_bytes());
            }
            let greatest = run.iter().rev().map(|((_, id), _)| *id).find(is_version_7);
            let known = emitters.entry(name.clone()).or_default();
            *known = (*known).max(greatest);
            let mark = [EMITTERS, name.as_str().as_bytes()].concat();
            batch.insert(&self.ids, mark, known.as_ref().map_or(&[][..], |id| id));
        }
        batch.insert(&self.ids, APPLIED, (last + 1).to_le_bytes());
        batch.commit().map_err(other)?;
        Ok(last + 1)
    }

    /// Makes the next start build the store again.
    pub fn distrust(&self) {
        let _ = std::fs::write(&self.distrusted, b"");
    }
}

fn key(emitter: &Id, id: &[u8; 16]) -> Vec<u8> {
    [emitter.as_str().as_bytes(), id].concat()
}
