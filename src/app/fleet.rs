//! The other nodes of a cluster, as far as this one must not act at the same time as they do.
//!
//! Promises: of what excludes, nobody holds anything while somebody else does, on any node; and of all nodes one
//! leads at most. A node that dies lets go. An embedded node is alone: it excludes nobody, and leads.

use async_trait::async_trait;

use crate::app::Error;

/// What two nodes may not do at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Recording what keeps data is shared; deciding that data go excludes it.
    Keep,
    /// Checking register events against the registers, and recording them.
    Register,
}

/// Held until it is dropped.
pub type Held = Box<dyn Send + Sync>;

#[async_trait]
pub trait Fleet: Send + Sync {
    /// Together with others who share it.
    async fn share(&self, turn: Turn) -> Result<Held, Error>;

    /// Alone.
    async fn exclude(&self, turn: Turn) -> Result<Held, Error>;

    /// Whether this node does what only one may: jobs, checkpoints, tidying up.
    fn leads(&self) -> bool;

    /// There are no other nodes, and never will be.
    fn is_alone(&self) -> bool;
}

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct Alone;

#[async_trait]
impl Fleet for Alone {
    async fn share(&self, _: Turn) -> Result<Held, Error> {
        Ok(Box::new(()))
    }

    async fn exclude(&self, _: Turn) -> Result<Held, Error> {
        Ok(Box::new(()))
    }

    fn leads(&self) -> bool {
        true
    }

    fn is_alone(&self) -> bool {
        true
    }
}
