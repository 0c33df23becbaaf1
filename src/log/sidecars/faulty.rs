//! Sidecars that fail on purpose: for tests of those who call them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{NewSidecar, Pieces, Sidecars, Status, Stored};
use crate::domain::id::Digest;
use crate::domain::time::Timestamp;
use crate::log::Error;

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Put,
    Get,
    Purge,
    PutBefore,
    Remove,
    Scrub,
    Status,
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It goes through.
    Pass,
    /// It fails with `Unavailable` and has no effect.
    Before,
    /// It takes effect, and then fails with `Unknown`.
    After,
}

/// Hands calls on to other sidecars, except those that the script says to fail.
pub struct Faulty {
    inner: Arc<dyn Sidecars>,
    script: Mutex<Vec<(Call, VecDeque<Fault>)>>,
}

impl Faulty {
    pub fn new(inner: Arc<dyn Sidecars>) -> Faulty {
        Faulty { inner, script: Mutex::default() }
    }

    /// What happens to the next calls of that kind, in order, after those scripted already.
    pub fn script(&self, call: Call, faults: impl IntoIterator<Item = Fault>) {
        let mut script = self.lock();
        match script.iter_mut().find(|(kind, _)| *kind == call) {
            Some((_, waiting)) => waiting.extend(faults),
            None => script.push((call, faults.into_iter().collect())),
        }
    }

    /// Whether every scripted call was made.
    pub fn is_done(&self) -> bool {
        self.lock().iter().all(|(_, waiting)| waiting.is_empty())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Call, VecDeque<Fault>)>> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run<T>(&self, call: Call, effect: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let fault = self.lock().iter_mut().find(|(kind, _)| *kind == call).and_then(|(_, w)| w.pop_front());
        match fault.unwrap_or(Fault::Pass) {
            Fault::Pass => effect.await,
            Fault::Before => Err(Error::Unavailable { reason: "scripted, before", source: None }),
            Fault::After => {
                effect.await?;
                Err(Error::Unknown { reason: "scripted, after", source: None })
            }
        }
    }
}

#[async_trait]
impl Sidecars for Faulty {
    async fn put(&self, batch: Vec<NewSidecar>) -> Result<(), Error> {
        self.run(Call::Put, self.inner.put(batch)).await
    }

    async fn get(&self, leaves: &[Digest]) -> Result<Vec<Option<Pieces>>, Error> {
        self.run(Call::Get, self.inner.get(leaves)).await
    }

    async fn purge(&self, pieces: &[(Digest, u16)]) -> Result<(), Error> {
        self.run(Call::Purge, self.inner.purge(pieces)).await
    }

    async fn put_before(&self, before: Timestamp, after: u64, limit: usize) -> Result<Vec<Stored>, Error> {
        self.run(Call::PutBefore, self.inner.put_before(before, after, limit)).await
    }

    async fn remove(&self, leaves: &[Digest]) -> Result<(), Error> {
        self.run(Call::Remove, self.inner.remove(leaves)).await
    }

    async fn scrub(&self) -> Result<(), Error> {
        self.run(Call::Scrub, self.inner.scrub()).await
    }

    async fn status(&self) -> Result<Status, Error> {
        self.run(Call::Status, self.inner.status()).await
    }
}
