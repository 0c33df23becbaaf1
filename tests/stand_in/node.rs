//! What one process of the cluster is made of, as the calls see it, and the statuses it refuses them with.
//!
//! Promises: every status has the code and the trailers of the public protocol. Does not: decide anything
//! about the log, that is the keeper's.

use crate::cluster::Cluster;
use crate::faults::Faults;
use crate::keeper::{Append, Command, Outcome, Role};
use crate::log::Log;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use tokio::sync::{oneshot, watch};
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::{Code, Status};

pub struct Node {
    pub cluster: Arc<Cluster>,
    pub log: Arc<Log>,
    pub role: watch::Receiver<Role>,
    pub commands: Sender<Command>,
    pub faults: Faults,
    pub append_bytes_max: usize,
    /// What `authorization` must be, when anything must.
    pub authorization: Option<String>,
}

impl Node {
    pub fn leads(&self) -> bool {
        *self.role.borrow() == Role::Leader
    }

    /// Hands an append to the keeper; the receiver fails only when the process is ending.
    pub fn submit(&self, append: Append) -> oneshot::Receiver<Outcome> {
        let (answer, outcome) = oneshot::channel();
        // Fails when the keeper has ended, which the receiver then tells.
        let _ = self.commands.send(Command::Append(append, answer));
        outcome
    }

    /// Names the leader if there is one; between two leaders nobody is ready.
    pub fn not_leader(&self) -> Status {
        let Some((host, port)) = self.cluster.leader().and_then(|address| split(&address)) else {
            return Status::unavailable("no leader");
        };
        let mut trailers = exception("not-leader");
        trailers.insert("leader-endpoint-host", ascii(&host));
        trailers.insert("leader-endpoint-port", ascii(&port.to_string()));
        Status::with_metadata(Code::NotFound, "Leader info available", trailers)
    }
}

pub fn access_denied() -> Status {
    Status::with_metadata(Code::PermissionDenied, "Access Denied", exception("access-denied"))
}

pub fn too_large(most: usize) -> Status {
    let mut trailers = exception("maximum-append-size-exceeded");
    trailers.insert("maximum-append-size", ascii(&most.to_string()));
    Status::with_metadata(Code::InvalidArgument, too_large_message(most), trailers)
}

pub fn too_large_message(most: usize) -> String {
    format!("Maximum Append Size of {most} Exceeded.")
}

/// Host and port of `host:port`.
pub fn split(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    Some((host.to_owned(), port.parse().ok()?))
}

fn exception(name: &'static str) -> MetadataMap {
    let mut trailers = MetadataMap::new();
    trailers.insert("exception", MetadataValue::from_static(name));
    trailers
}

/// Hosts and numbers are ASCII; what is not could not have been listened on.
fn ascii(text: &str) -> MetadataValue<Ascii> {
    text.parse().unwrap_or_else(|_| MetadataValue::from_static("invalid"))
}
