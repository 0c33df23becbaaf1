//! Sidecars that fail on purpose: for tests of those who call them.

use std::sync::Arc;

use async_trait::async_trait;

use super::{NewSidecar, Pieces, Sidecars, Status, Stored};
use crate::domain::id::Digest;
use crate::domain::time::Timestamp;
use crate::log::Error;
use crate::log::faulty::error;
pub use crate::scripted::Fault;
use crate::scripted::Script;

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

/// Hands calls on to other sidecars, except those that the script says to fail.
pub struct Faulty {
    inner: Arc<dyn Sidecars>,
    script: Script<Call>,
}

impl Faulty {
    pub fn new(inner: Arc<dyn Sidecars>) -> Faulty {
        Faulty { inner, script: Script::default() }
    }

    /// What happens to the next calls of that kind, in order, after those scripted already.
    pub fn script(&self, call: Call, faults: impl IntoIterator<Item = Fault>) {
        self.script.add(call, faults);
    }

    /// Whether every scripted call was made.
    pub fn is_done(&self) -> bool {
        self.script.is_done()
    }

    async fn run<T>(&self, call: Call, effect: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.script.run(call, effect, error).await
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
