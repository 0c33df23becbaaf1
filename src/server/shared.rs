//! The log of a cluster, opened as the configuration says it: for a node, and for whoever moves a log.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use crate::app::own::EMITTER;
use crate::clock::Clock;
use crate::config::{Cluster, Config};
use crate::domain::event::AsideReason;
use crate::domain::event::catalogue::RecordSetAside;
use crate::domain::id::Id;
use crate::log::kurrent::{Aside, Kurrent, Nodes, Options, SetAside, Why};
use crate::log::sidecars::Sidecars;
use crate::log::sidecars::postgres::PostgresSidecars;
use crate::log::{self, NewRecord};
use crate::postgres::{self, Database};
use crate::record;

/// The node's own copy of what it has numbered, below the data directory.
const NUMBERED: &str = "numbered";

/// The log and its sidecars, open.
pub struct Shared {
    pub database: Arc<Database>,
    pub log: Arc<Kurrent>,
}

impl Shared {
    pub async fn open(config: &Config, cluster: &Cluster, clock: Arc<dyn Clock>) -> anyhow::Result<Shared> {
        let database = database(cluster).await?;
        let sidecars = PostgresSidecars::open(Arc::clone(&database), clock).await.context("the sidecars")?;
        let group = &config.group.controller_group;
        let options = Options {
            dir: config.data.directory.join(NUMBERED),
            nodes: Nodes::parse(&cluster.kurrentdb.0).context("cluster.kurrentdb")?,
            // No id holds this character, so that no group's streams begin like another's.
            prefix: format!("custody-{group}@"),
            queue_bytes: usize::try_from(config.limits.log_queue_bytes)?,
            patience: Duration::from_millis(cluster.patience_ms),
            set_aside: set_aside(group.clone())?,
        };
        let log = Kurrent::open(options, sidecars as Arc<dyn Sidecars>).await;
        Ok(Shared { database, log: Arc::new(log.context("the log in KurrentDB (cluster.kurrentdb)")?) })
    }
}

/// The database of a cluster.
pub async fn database(cluster: &Cluster) -> anyhow::Result<Arc<Database>> {
    let options = postgres::Options {
        password_file: cluster.postgres_password.clone(),
        ca_file: cluster.postgres_ca.clone(),
        connections: usize::try_from(cluster.connections)?,
        schema: cluster.schema.clone(),
        patience: Duration::from_millis(cluster.patience_ms),
        ..postgres::Options::new(cluster.postgres.0.as_str())
    };
    Database::open(options).await.context("PostgreSQL (cluster.postgres)")
}

/// The record in the place of what does not count: about nobody, the same on every node of the group.
pub fn set_aside(group: Id) -> anyhow::Result<Arc<SetAside>> {
    let custody: Id = EMITTER.parse().map_err(|why| anyhow::anyhow!("{EMITTER} {why}"))?;
    Ok(Arc::new(move |aside: &Aside| {
        let (reason, first_position) = match aside.why {
            Why::Repeats(first) => (AsideReason::Repeats, Some(first)),
            Why::Unreadable => (AsideReason::Unreadable, None),
        };
        let body = RecordSetAside { reason: Some(reason), first_position, leaf: Some(aside.leaf) };
        let header = record::aside::header(&group, &custody, (aside.id, aside.at), body)
            .map_err(|_| log::Error::Refused("what does not count cannot be described"))?;
        Ok(NewRecord { emitter: custody.clone(), event_id: aside.id, header, pieces: Vec::new() })
    }))
}
