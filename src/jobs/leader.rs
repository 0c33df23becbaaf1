//! Who runs the jobs of a log, where several could.

use async_trait::async_trait;

/// Says whether this process is the one. Asked before a run and between its batches, so that a leader who was
/// replaced half-way gives up; that a slot is not recorded twice is the log's own doing.
#[async_trait]
pub trait Leader: Send + Sync {
    async fn leads(&self) -> bool;
}

/// Embedded: whoever has the log open holds the lock of its data directory, and nobody else can.
#[derive(Debug, Clone, Copy)]
pub struct HoldsLock;

#[async_trait]
impl Leader for HoldsLock {
    async fn leads(&self) -> bool {
        true
    }
}
