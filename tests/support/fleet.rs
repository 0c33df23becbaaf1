//! A cluster of the real program: nodes that are processes of their own, on stand-ins of KurrentDB and a real
//! PostgreSQL.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use custody::cli::client::{Client, Remote};
use custody::postgres::{Options, throwaway};
use tempfile::TempDir;

use super::events::workplace;
use super::server::Served;
use super::stand_in::Cluster;

/// Nodes with one keyring.
pub struct Fleet {
    pub cluster: Cluster,
    postgres: Options,
    below: TempDir,
    nodes: Vec<Mutex<Option<Served>>>,
}

impl Fleet {
    /// So many stand-ins and nodes; the first node makes the keyring.
    pub fn start(stand_ins: usize, nodes: usize) -> Fleet {
        let fleet = Fleet::prepare(stand_ins, nodes);
        (0..nodes).for_each(|node| fleet.revive(node));
        fleet
    }

    /// Nodes that do not run yet.
    pub fn prepare(stand_ins: usize, nodes: usize) -> Fleet {
        Fleet {
            cluster: Cluster::start(stand_ins),
            postgres: throwaway::options("fleet"),
            below: workplace(),
            nodes: (0..nodes).map(|_| Mutex::new(None)).collect(),
        }
    }

    pub fn data(&self, node: usize) -> PathBuf {
        self.below.path().join(format!("node-{node}"))
    }

    pub fn keyring(&self) -> PathBuf {
        self.below.path().join("shared.keyring")
    }

    /// `--set` and what makes a node one of this cluster.
    pub fn settings(&self) -> Vec<String> {
        let settings = [
            format!("cluster.kurrentdb={}", self.cluster.connection()),
            format!("cluster.postgres={}", self.postgres.url),
            format!("cluster.schema={}", self.postgres.schema),
            "cluster.connections=16".to_owned(),
            "keys.kek_days=0".to_owned(),
        ];
        settings.into_iter().flat_map(|setting| ["--set".to_owned(), setting]).collect()
    }

    /// Starts a node that does not run.
    pub fn revive(&self, node: usize) {
        let mut slot = self.nodes[node].lock().unwrap();
        if slot.is_some() {
            return;
        }
        let mut command = Served::command_with(&self.data(node), &self.keyring());
        *slot = Some(Served::spawn(command.args(self.settings())));
    }

    /// SIGKILL.
    pub fn kill(&self, node: usize) {
        drop(self.nodes[node].lock().unwrap().take());
    }

    /// SIGTERM; it ends in order.
    pub fn stop(&self, node: usize) {
        if let Some(served) = self.nodes[node].lock().unwrap().take() {
            served.stop();
        }
    }

    /// `http://…` of a node, if it runs.
    pub fn address(&self, node: usize) -> Option<String> {
        self.nodes[node].lock().unwrap().as_ref().map(|served| format!("http://{}", served.address()))
    }

    pub async fn client(&self, node: usize) -> Option<Client> {
        Remote::local(self.address(node)?).connect().await.ok()
    }

    pub fn below(&self) -> &Path {
        self.below.path()
    }
}
