//! A log that keeps everything in memory: what an officer's own cases are tried on, and tests. It fulfils the
//! port's contract but for one promise: nothing in it is durable.

use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;

use crate::domain::id::{EventId, Id};
use crate::log::{Error, Log, NewRecord, Outcome, PieceRef, Status, StoredRecord};

type Records = Vec<(Id, EventId, StoredRecord)>;

pub struct MemoryLog {
    records: Mutex<Records>,
    bell: tokio::sync::watch::Sender<u64>,
}

impl MemoryLog {
    pub fn new() -> Arc<MemoryLog> {
        Arc::new(MemoryLog { records: Mutex::default(), bell: tokio::sync::watch::Sender::new(0) })
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub fn push(&self, record: &NewRecord) -> u64 {
        let mut records = self.records();
        let position = records.len() as u64;
        let pieces = record.pieces.iter().cloned().map(Some).collect();
        let stored = StoredRecord { position, header: record.header.clone(), pieces };
        records.push((record.emitter.clone(), record.event_id, stored));
        self.bell.send_replace(records.len() as u64);
        position
    }

    /// Takes the newest records away, as a lost disk would.
    #[cfg(any(test, feature = "testing"))]
    pub fn cut(&self, head: usize) {
        self.records().truncate(head);
        self.bell.send_replace(head as u64);
    }
}

#[async_trait]
impl Log for MemoryLog {
    async fn append(&self, batch: Vec<NewRecord>) -> Result<Vec<Outcome>, Error> {
        Ok(batch.iter().map(|record| Outcome::Appended(self.push(record))).collect())
    }

    async fn find(&self, ids: &[(Id, EventId)]) -> Result<Vec<Option<u64>>, Error> {
        let records = self.records();
        let at = |(emitter, id): &(Id, EventId)| {
            records.iter().position(|(e, i, _)| e == emitter && i == id).map(|at| at as u64)
        };
        Ok(ids.iter().map(at).collect())
    }

    async fn read(&self, from: u64, max: usize, max_bytes: usize) -> Result<Vec<StoredRecord>, Error> {
        let records = self.records();
        let mut bytes = 0;
        let fits = |(_, _, stored): &&(Id, EventId, StoredRecord)| {
            let before = bytes;
            bytes += stored.header.len();
            before <= max_bytes
        };
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        Ok(records.iter().skip(from).take(max).take_while(fits).map(|(_, _, s)| s.clone()).collect())
    }

    async fn get(&self, positions: &[u64]) -> Result<Vec<StoredRecord>, Error> {
        let records = self.records();
        let one = |position: &u64| {
            let at = usize::try_from(*position).ok();
            at.and_then(|at| records.get(at)).map(|(_, _, stored)| stored.clone())
        };
        positions.iter().map(|p| one(p).ok_or(Error::Refused("beyond the head"))).collect()
    }

    fn head(&self) -> u64 {
        *self.bell.borrow()
    }

    async fn wait_beyond(&self, position: u64) -> Result<(), Error> {
        let closed = |_| Error::Unavailable { reason: "closed", source: None };
        self.bell.subscribe().wait_for(|head| *head > position).await.map(|_| ()).map_err(closed)
    }

    async fn purge(&self, pieces: &[PieceRef]) -> Result<(), Error> {
        let mut records = self.records();
        for piece in pieces {
            let record = usize::try_from(piece.position).ok().and_then(|at| records.get_mut(at));
            let piece = record.and_then(|(_, _, stored)| stored.pieces.get_mut(usize::from(piece.piece)));
            piece.into_iter().for_each(|piece| *piece = None);
        }
        Ok(())
    }

    fn status(&self) -> Status {
        Status {
            head: self.head(),
            bytes_on_disk: 0,
            bytes_waiting: 0,
            read_only: None,
            cause: None,
            unreachable: None,
        }
    }
}
