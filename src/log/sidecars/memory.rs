//! Sidecars in memory: for tests of whoever uses the port. Fulfils the contract but for one promise: nothing in it
//! is durable, so a crash loses all of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{NO_SUCH_PIECE, NewSidecar, Pieces, Sidecars, Status, Stored, check};
use crate::clock::Clock;
use crate::domain::id::Digest;
use crate::domain::time::Timestamp;
use crate::log::Error;

struct Row {
    stored: Stored,
    put: Timestamp,
    pieces: Pieces,
}

#[derive(Default)]
struct Rows {
    by_leaf: HashMap<Digest, Row>,
    last: u64,
}

pub struct MemorySidecars {
    clock: Arc<dyn Clock>,
    rows: Mutex<Rows>,
}

impl MemorySidecars {
    pub fn new(clock: Arc<dyn Clock>) -> Arc<MemorySidecars> {
        Arc::new(MemorySidecars { clock, rows: Mutex::default() })
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Sidecars for MemorySidecars {
    async fn put(&self, batch: Vec<NewSidecar>) -> Result<(), Error> {
        check(&batch)?;
        let put = self.clock.now();
        let mut rows = self.rows();
        for NewSidecar { leaf, emitter, event_id, pieces } in batch {
            rows.last += 1;
            let stored = Stored { leaf, emitter, event_id, number: rows.last };
            let pieces = pieces.into_iter().map(Some).collect();
            rows.by_leaf.entry(leaf).or_insert(Row { stored, put, pieces });
        }
        Ok(())
    }

    async fn get(&self, leaves: &[Digest]) -> Result<Vec<Option<Pieces>>, Error> {
        let rows = self.rows();
        Ok(leaves.iter().map(|leaf| rows.by_leaf.get(leaf).map(|row| row.pieces.clone())).collect())
    }

    async fn purge(&self, pieces: &[(Digest, u16)]) -> Result<(), Error> {
        let mut rows = self.rows();
        let known = |(leaf, piece): &(Digest, u16)| {
            rows.by_leaf.get(leaf).is_some_and(|row| usize::from(*piece) < row.pieces.len())
        };
        if !pieces.iter().all(known) {
            return Err(NO_SUCH_PIECE);
        }
        for (leaf, piece) in pieces {
            let row = rows.by_leaf.get_mut(leaf);
            row.into_iter().for_each(|row| row.pieces[usize::from(*piece)] = None);
        }
        Ok(())
    }

    async fn put_before(&self, before: Timestamp, after: u64, limit: usize) -> Result<Vec<Stored>, Error> {
        let rows = self.rows();
        let found = rows.by_leaf.values().filter(|row| row.put < before && row.stored.number > after);
        let mut found: Vec<Stored> = found.map(|row| row.stored.clone()).collect();
        found.sort_by_key(|stored| stored.number);
        found.truncate(limit);
        Ok(found)
    }

    async fn remove(&self, leaves: &[Digest]) -> Result<(), Error> {
        let mut rows = self.rows();
        leaves.iter().for_each(|leaf| drop(rows.by_leaf.remove(leaf)));
        Ok(())
    }

    async fn scrub(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn status(&self) -> Result<Status, Error> {
        let rows = self.rows();
        let pieces = rows.by_leaf.values().flat_map(|row| row.pieces.iter().flatten());
        Ok(Status {
            sidecars: rows.by_leaf.len() as u64,
            bytes: pieces.map(|piece| piece.len() as u64).sum(),
        })
    }
}
