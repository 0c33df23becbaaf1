//! The second copy of log and vault, as the use cases see it: how it stands, and its upkeep.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;

use crate::app::App;
use crate::app::error::Error;
pub use crate::mirror::Standing;

/// The second copies of the stores, together.
#[async_trait]
pub trait Mirror: Send + Sync {
    /// How they stand, as one: what fails in one of them fails.
    fn standing(&self) -> Standing;

    /// Sees whether they are still there, and brings up to date what is failing. May take long.
    async fn tend(&self);

    /// Reads both copies, unless it is called off, and says how they differ.
    async fn compare(&self, called_off: Arc<AtomicBool>) -> Result<Vec<String>, Error>;
}

impl App {
    /// How the mirror stands, where there is one.
    pub fn mirror(&self) -> Option<Standing> {
        self.mirror.as_ref().map(|mirror| mirror.standing())
    }

    /// To be called every minute.
    pub async fn tend_mirror(&self) {
        if let Some(mirror) = &self.mirror {
            mirror.tend().await;
        }
    }
}
