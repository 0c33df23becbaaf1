//! The log, for those who wait for it on threads of their own.

use std::sync::Arc;

use crate::domain::id::{EventId, Id};
use crate::log::{self, Log, StoredRecord};
use crate::record::IndexKeys;
use crate::views::Error;
use crate::views::decode::{Decoded, Decoder};

/// Records fetched in one go when single ones are asked for.
const FETCH: usize = 512;

/// A blocking handle to the log and the keys that open its index blocks. Must not be used on a
/// thread that drives asynchronous tasks.
#[derive(Clone)]
pub struct Reach {
    pub log: Arc<dyn Log>,
    pub keys: Arc<dyn IndexKeys>,
    /// Always there until the handle is dropped.
    runtime: Option<Arc<tokio::runtime::Runtime>>,
}

impl Reach {
    pub fn new(log: Arc<dyn Log>, keys: Arc<dyn IndexKeys>) -> Result<Reach, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("views-log")
            .enable_time()
            .build()
            .map_err(Error::Io)?;
        Ok(Reach { log, keys, runtime: Some(Arc::new(runtime)) })
    }

    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        match &self.runtime {
            Some(runtime) => runtime.block_on(future),
            None => unreachable!("only `drop` takes it, and nothing runs after it"),
        }
    }

    pub fn get(&self, positions: &[u64]) -> Result<Vec<StoredRecord>, Error> {
        Ok(self.wait(self.log.get(positions))?)
    }

    /// Where an event stands, if it does.
    pub fn find(&self, ids: &[(Id, EventId)]) -> Result<Vec<Option<u64>>, log::Error> {
        self.wait(self.log.find(ids))
    }

    /// Hands every record of a list to `take`, decoded, in its order, a bounded number at a time.
    pub fn decode_all(
        &self,
        positions: &[u64],
        mut take: impl FnMut(Decoded) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut decoder = Decoder::new(&*self.keys);
        for some in positions.chunks(FETCH) {
            for stored in self.get(some)? {
                let decoded = decoder
                    .decode(&stored)
                    .map_err(|source| Error::Record { position: stored.position, source })?;
                take(decoded)?;
            }
        }
        Ok(())
    }
}

impl Drop for Reach {
    /// A runtime must not be awaited on a thread that drives tasks, where the last handle may go.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take().and_then(Arc::into_inner) {
            runtime.shutdown_background();
        }
    }
}
