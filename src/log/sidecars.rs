//! stub
use super::Error;
use crate::domain::id::{Digest, EventId, Id};
use crate::domain::time::Timestamp;
use async_trait::async_trait;
use bytes::Bytes;
#[derive(Debug, Clone)]
pub struct NewSidecar {
    pub leaf: Digest,
    pub emitter: Id,
    pub event_id: EventId,
    pub pieces: Vec<Bytes>,
}
pub struct Stored {
    pub leaf: Digest,
    pub emitter: Id,
    pub event_id: EventId,
    pub number: u64,
}
#[async_trait]
pub trait Sidecars: Send + Sync {
    async fn put(&self, batch: Vec<NewSidecar>) -> Result<(), Error>;
    async fn get(&self, leaves: &[Digest]) -> Result<Vec<Option<Vec<Option<Bytes>>>>, Error>;
    async fn purge(&self, pieces: &[(Digest, u16)]) -> Result<(), Error>;
    async fn put_before(&self, before: Timestamp, after: u64, limit: usize) -> Result<Vec<Stored>, Error>;
    async fn remove(&self, leaves: &[Digest]) -> Result<(), Error>;
    async fn scrub(&self) -> Result<(), Error>;
}
