//! The profile for several nodes: where KurrentDB and PostgreSQL are.

use std::fmt;
use std::path::PathBuf;

use super::Config;

/// Where a cluster keeps its headers, and its vault and sidecars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    pub kurrentdb: Hidden,
    pub postgres: Hidden,
    pub postgres_password: Option<PathBuf>,
    pub postgres_ca: Option<PathBuf>,
    pub connections: u64,
    pub schema: String,
    pub patience_ms: u64,
}

/// Text that may hold a password, and is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Config {
    /// What a cluster leaves to others cannot be configured here too.
    pub(super) fn check_cluster(&self, problems: &mut Vec<String>) {
        let Some(cluster) = &self.cluster else { return };
        if cluster.kurrentdb.0.is_empty() || cluster.postgres.0.is_empty() {
            problems.push(
                "a cluster needs both cluster.kurrentdb and cluster.postgres; leave both empty for one machine"
                    .to_owned(),
            );
        }
        if cluster.connections < 8 {
            problems.push(format!(
                "cluster.connections is {}: a node needs at least 8 connections to PostgreSQL",
                cluster.connections
            ));
        }
        if cluster.patience_ms < 1_000 {
            problems.push(format!(
                "cluster.patience_ms is {}: an election takes longer; at least 1000",
                cluster.patience_ms
            ));
        }
        if self.mirror.directory.is_some() {
            problems.push(
                "mirror.directory is set: in a cluster KurrentDB and PostgreSQL keep the second copies"
                    .to_owned(),
            );
        }
        if self.keys.kek_days > 0 {
            problems.push(format!(
                "keys.kek_days is {}: every node of a cluster has a copy of the keyring, so that keys are added by \
                 hand and the keyring is copied before they are activated; set it to 0",
                self.keys.kek_days
            ));
        }
    }
}
