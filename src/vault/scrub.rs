//! What has to be done to a vault now and then, so that nothing of what was deleted stays in its files.

use async_trait::async_trait;

use crate::domain::time::Timestamp;
use crate::vault::Error;

/// Deleting leaves remains that only rewriting ends, which is too much for every deletion.
#[async_trait]
pub trait Scrub: Send + Sync {
    /// Forgets marks of erased identifiers whose time is over, and leaves nothing of what was deleted before
    /// in any file. Takes about as long as copying the vault, in which nothing else is written; needs room
    /// for another one. To be called at the latest every 90 days.
    async fn scrub(&self) -> Result<(), Error>;

    /// When that was last done to its end; `None` if it never was.
    async fn scrubbed_at(&self) -> Result<Option<Timestamp>, Error>;
}
