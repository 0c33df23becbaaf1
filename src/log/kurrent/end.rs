//! Where the log ends in the cluster, as its leader knows it: everything that was acknowledged anywhere lies
//! before it. A follower may lag behind, so only the leader is asked.

use std::time::Duration;

use tokio::sync::Mutex;

use super::nodes::Nodes;
use super::wire::{Place, Wire};
use crate::log::Error;

/// Pause before the leader is looked for again.
const AGAIN: Duration = Duration::from_millis(200);

pub struct End {
    nodes: Nodes,
    prefix: String,
    /// The connection that answered last.
    leader: Mutex<Option<Wire>>,
}

impl End {
    pub fn new(nodes: Nodes, prefix: String) -> End {
        End { nodes, prefix, leader: Mutex::default() }
    }

    /// The place of the newest event; waits for a leader no longer than `patience`.
    pub async fn newest(&self, patience: Duration) -> Result<Option<Place>, Error> {
        let asking = async {
            loop {
                match self.ask().await {
                    Ok(place) => return place,
                    Err(why) => tracing::debug!(why, "the leader does not say where the log ends"),
                }
                tokio::time::sleep(AGAIN).await;
            }
        };
        let late = |_| Error::Unavailable { reason: "the cluster's leader does not answer", source: None };
        tokio::time::timeout(patience, asking).await.map_err(late)
    }

    async fn ask(&self) -> Result<Option<Place>, String> {
        let mut leader = self.leader.lock().await;
        let wire = match leader.take() {
            Some(wire) => wire,
            None => self.nodes.leader().await?,
        };
        let asked = tokio::time::timeout(self.nodes.patience(), wire.newest(self.prefix.clone())).await;
        let place =
            asked.map_err(|_| "no answer".to_owned())?.map_err(|status| format!("{:?}", status.code()))?;
        *leader = Some(wire);
        Ok(place)
    }
}
