//! A log that fails on purpose: for tests of those who call one.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Error, Log, NewRecord, Outcome, PieceRef, Status, StoredRecord};
use crate::domain::id::{EventId, Id};
pub use crate::scripted::Fault;
use crate::scripted::Script;

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Append,
    Find,
    Read,
    Get,
    Wait,
    Purge,
}

/// Hands calls on to another log, except those that the script says to fail.
pub struct Faulty {
    inner: Arc<dyn Log>,
    script: Script<Call>,
}

impl Faulty {
    pub fn new(inner: Arc<dyn Log>) -> Faulty {
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

/// What the log, and what lies beside it, say of a fault.
pub(in crate::log) fn error(fault: Fault) -> Error {
    match fault {
        Fault::After => Error::Unknown { reason: "scripted, after", source: None },
        Fault::ReadOnly => Error::ReadOnly("scripted".to_owned()),
        Fault::Pass | Fault::Before => Error::Unavailable { reason: "scripted, before", source: None },
    }
}

#[async_trait]
impl Log for Faulty {
    async fn append(&self, batch: Vec<NewRecord>) -> Result<Vec<Outcome>, Error> {
        self.run(Call::Append, self.inner.append(batch)).await
    }

    async fn find(&self, ids: &[(Id, EventId)]) -> Result<Vec<Option<u64>>, Error> {
        self.run(Call::Find, self.inner.find(ids)).await
    }

    async fn read(
        &self,
        from: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredRecord>, Error> {
        self.run(Call::Read, self.inner.read(from, max_records, max_bytes)).await
    }

    async fn read_headers(
        &self,
        from: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredRecord>, Error> {
        self.run(Call::Read, self.inner.read_headers(from, max_records, max_bytes)).await
    }

    async fn get(&self, positions: &[u64]) -> Result<Vec<StoredRecord>, Error> {
        self.run(Call::Get, self.inner.get(positions)).await
    }

    fn head(&self) -> u64 {
        self.inner.head()
    }

    async fn latest(&self) -> Result<u64, Error> {
        self.inner.latest().await
    }

    async fn wait_beyond(&self, position: u64) -> Result<(), Error> {
        self.run(Call::Wait, self.inner.wait_beyond(position)).await
    }

    async fn purge(&self, pieces: &[PieceRef]) -> Result<(), Error> {
        self.run(Call::Purge, self.inner.purge(pieces)).await
    }

    async fn scrub(&self) -> Result<(), Error> {
        self.inner.scrub().await
    }

    fn status(&self) -> Status {
        self.inner.status()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::contract::record;
    use crate::log::segments::{Options, Segments};

    #[tokio::test]
    async fn calls_fail_as_scripted_before_or_after_their_effect() {
        let dir = tempfile::tempdir().unwrap();
        let log = Faulty::new(Arc::new(Segments::open(Options::new(dir.path())).unwrap()));
        log.script(Call::Append, [Fault::Before, Fault::After, Fault::ReadOnly]);
        let before = log.append(vec![record("app", 1)]).await;
        assert!(matches!(before, Err(Error::Unavailable { .. })));
        assert_eq!(log.head(), 0);
        let after = log.append(vec![record("app", 1)]).await;
        assert!(matches!(after, Err(Error::Unknown { .. })));
        assert_eq!(log.head(), 1);
        assert!(matches!(log.append(vec![record("app", 1)]).await, Err(Error::ReadOnly(_))));
        assert!(log.is_done());
        assert_eq!(log.append(vec![record("app", 1)]).await.unwrap(), [Outcome::Exists(0)]);
    }
}
