//! Sidecars in PostgreSQL: one table in 32 parts by hash of the leaf.
//!
//! Promises: the port's contract, with the durability of `crate::postgres`. After `scrub` answers, nothing of what was
//! purged or removed before it began stands in a file of the tables, their indexes or the planner's statistics.
//! Does not promise, and so the operator's to see to:
//! * the write-ahead log and its archive hold every piece as it was put, until they are recycled or deleted;
//! * replicas replay the same changes later; replication slots that nobody reads keep the log for ever;
//! * base backups and dumps hold what the tables held; they may live no longer than the key-encryption key;
//! * between a purge and the next scrub the bytes may lie in the free space of pages;
//! * blocks that the file system freed may still be on the medium.
//!
//! While a part is written anew nobody can use it, and a large batch uses every part: callers wait, and beyond
//! `patience` they are told so. A part is a 32nd of all, so a scrub is for quiet hours.
//!
//! Pieces are encrypted, and whoever destroyed the key needs none of the above; it takes the last trace away.
//! A crash loses what was not answered, and nothing of the note which parts have to be scrubbed.

mod codec;
mod scrub;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;

use super::{NO_SUCH_PIECE, NewSidecar, Pieces, Sidecars, Status, Stored, check};
use crate::clock::Clock;
use crate::domain::id::{Digest, EventId};
use crate::domain::time::Timestamp;
use crate::log::Error;
use crate::postgres::{self, Connection, Database, Migration};

const PARTS: i32 = 32;

/// So many in a row that were put too late end the search for those that were put before an instant.
const LOOKED: usize = 1_000;

const MIGRATIONS: [Migration; 1] =
    [Migration { part: "sidecars", version: 1, sql: include_str!("postgres/tables.sql") }];

pub struct PostgresSidecars {
    database: Arc<Database>,
    clock: Arc<dyn Clock>,
    vacuuming: Arc<AtomicBool>,
}

impl PostgresSidecars {
    /// Brings the tables up to date.
    pub async fn open(
        database: Arc<Database>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<PostgresSidecars>, postgres::Error> {
        database.migrate(&MIGRATIONS).await?;
        Ok(Arc::new(PostgresSidecars { database, clock, vacuuming: Arc::default() }))
    }

    async fn connection(&self) -> Result<Connection, Error> {
        self.database.get().await.map_err(said)
    }

    async fn insert(&self, batch: &[NewSidecar]) -> Result<(), postgres::Error> {
        let blobs: Vec<Vec<u8>> = batch.iter().map(|new| codec::encode(&new.leaf, &new.pieces)).collect();
        let blobs: Vec<&[u8]> = blobs.iter().map(Vec::as_slice).collect();
        let leaves: Vec<&[u8]> = batch.iter().map(|new| &new.leaf.0[..]).collect();
        let emitters: Vec<&str> = batch.iter().map(|new| new.emitter.as_str()).collect();
        let events: Vec<uuid::Uuid> = batch.iter().map(|new| new.event_id.0).collect();
        let now = self.clock.now().ms();
        let connection = self.database.get().await?;
        let insert = "INSERT INTO sidecars (leaf, emitter, event_id, pieces, put_ms) \
                      SELECT leaf, emitter, event_id, pieces, $5 \
                      FROM unnest($1::bytea[], $2::text[], $3::uuid[], $4::bytea[]) \
                      AS new (leaf, emitter, event_id, pieces) ON CONFLICT DO NOTHING";
        let done = async {
            let statement = connection.prepare_cached(insert).await?;
            connection.execute(&statement, &[&leaves, &emitters, &events, &blobs, &now]).await
        };
        self.database.within(done).await.map(drop)
    }

    /// Says in which parts something was done.
    async fn purge_in(
        &self,
        connection: &mut Connection,
        wanted: &BTreeMap<Digest, Vec<u16>>,
    ) -> Result<Vec<String>, Error> {
        let leaves: Vec<&[u8]> = wanted.keys().map(|leaf| &leaf.0[..]).collect();
        let step = async {
            let transaction = connection.transaction().await?;
            // In the order of leaves, so that two who purge the same do not wait for each other.
            let select = "SELECT leaf, pieces FROM sidecars WHERE leaf = ANY($1) ORDER BY leaf FOR UPDATE";
            let rows = transaction.query(select, &[&leaves]).await?;
            Ok((transaction, rows))
        };
        let (transaction, rows) = self.database.within(step).await.map_err(said)?;
        if rows.len() != wanted.len() {
            return Err(NO_SUCH_PIECE);
        }
        let (mut changed, mut blobs) = (Vec::new(), Vec::new());
        for row in &rows {
            let leaf = digest(row.get(0))?;
            let mut pieces = codec::decode(&leaf, row.get(1))?;
            let mut changes = false;
            for piece in wanted.get(&leaf).into_iter().flatten() {
                let piece = pieces.get_mut(usize::from(*piece)).ok_or(NO_SUCH_PIECE)?;
                changes |= piece.take().is_some();
            }
            if changes {
                blobs.push(codec::encode_purged(&leaf, &pieces));
                changed.push(leaf);
            }
        }
        let leaves: Vec<&[u8]> = changed.iter().map(|leaf| &leaf.0[..]).collect();
        let step = async {
            let update = "UPDATE sidecars AS old SET pieces = new.pieces \
                          FROM unnest($1::bytea[], $2::bytea[]) AS new (leaf, pieces) \
                          WHERE old.leaf = new.leaf RETURNING old.tableoid::regclass::text";
            let parts = scrub::parts(&transaction.query(update, &[&leaves, &blobs]).await?);
            scrub::note(&transaction, &parts).await?;
            transaction.commit().await?;
            Ok(parts)
        };
        self.database.within(step).await.map_err(said)
    }
}

#[async_trait]
impl Sidecars for PostgresSidecars {
    async fn put(&self, mut batch: Vec<NewSidecar>) -> Result<(), Error> {
        check(&batch)?;
        if batch.is_empty() {
            return Ok(());
        }
        // Two who put the same leaves in different orders would wait for each other.
        batch.sort_unstable_by_key(|new| new.leaf);
        self.insert(&batch).await.map_err(said)
    }

    async fn get(&self, leaves: &[Digest]) -> Result<Vec<Option<Pieces>>, Error> {
        if leaves.is_empty() {
            return Ok(Vec::new());
        }
        let asked: Vec<&[u8]> = leaves.iter().map(|leaf| &leaf.0[..]).collect();
        let connection = self.connection().await?;
        // One look into one part for each leaf; `= ANY` would look for all of them in every part.
        let select = "SELECT asked.at, found.pieces FROM unnest($1::bytea[]) WITH ORDINALITY AS asked (leaf, at) \
                      CROSS JOIN LATERAL (SELECT pieces FROM sidecars WHERE leaf = asked.leaf LIMIT 1) AS found";
        let rows = async {
            let statement = connection.prepare_cached(select).await?;
            connection.query(&statement, &[&asked]).await
        };
        let rows = self.database.within(rows).await.map_err(said_of_reading)?;
        let mut found: Vec<Option<Pieces>> = leaves.iter().map(|_| None).collect();
        for row in rows {
            let at = usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or(usize::MAX);
            let leaf = leaves.get(at).ok_or_else(|| corrupt("an answer about something else"))?;
            found[at] = Some(codec::decode(leaf, row.get(1))?);
        }
        Ok(found)
    }

    async fn purge(&self, pieces: &[(Digest, u16)]) -> Result<(), Error> {
        if pieces.is_empty() {
            return Ok(());
        }
        let mut wanted: BTreeMap<Digest, Vec<u16>> = BTreeMap::new();
        pieces.iter().for_each(|(leaf, piece)| wanted.entry(*leaf).or_default().push(*piece));
        let mut connection = self.connection().await?;
        let parts = self.purge_in(&mut connection, &wanted).await?;
        self.vacuum(parts);
        Ok(())
    }

    async fn put_before(&self, before: Timestamp, after: u64, limit: usize) -> Result<Vec<Stored>, Error> {
        let connection = self.connection().await?;
        // Who is too young is passed over here: the server would look through all that came since.
        let select = "SELECT leaf, emitter, event_id, number, put_ms FROM sidecars \
                      WHERE number > $1 ORDER BY number LIMIT $2";
        let (after, looked) = (signed(after), signed(limit.max(LOOKED) as u64));
        let rows = async {
            let statement = connection.prepare_cached(select).await?;
            connection.query(&statement, &[&after, &looked]).await
        };
        let rows = self.database.within(rows).await.map_err(said_of_reading)?;
        let stored = |row: &tokio_postgres::Row| {
            let emitter = row.get::<_, &str>(1).parse().map_err(|_| corrupt("a sidecar's emitter"))?;
            let number = row.get::<_, i64>(3).unsigned_abs();
            Ok(Stored { leaf: digest(row.get(0))?, emitter, event_id: EventId(row.get(2)), number })
        };
        let old = rows.iter().filter(|row| row.get::<_, i64>(4) < before.ms());
        old.take(limit).map(stored).collect()
    }

    async fn remove(&self, leaves: &[Digest]) -> Result<(), Error> {
        let mut leaves: Vec<&[u8]> = leaves.iter().map(|leaf| &leaf.0[..]).collect();
        if leaves.is_empty() {
            return Ok(());
        }
        leaves.sort_unstable();
        let mut connection = self.connection().await?;
        let step = async {
            let transaction = connection.transaction().await?;
            let lock = "SELECT 1 FROM sidecars WHERE leaf = ANY($1) ORDER BY leaf FOR UPDATE";
            transaction.query(lock, &[&leaves]).await?;
            let delete = "DELETE FROM sidecars WHERE leaf = ANY($1) RETURNING tableoid::regclass::text";
            let parts = scrub::parts(&transaction.query(delete, &[&leaves]).await?);
            scrub::note(&transaction, &parts).await?;
            transaction.commit().await?;
            Ok(parts)
        };
        let parts = self.database.within(step).await.map_err(said)?;
        self.vacuum(parts);
        Ok(())
    }

    async fn scrub(&self) -> Result<(), Error> {
        self.scrub_parts().await
    }

    async fn status(&self) -> Result<Status, Error> {
        let connection = self.connection().await?;
        let select = "SELECT coalesce(sum(greatest(reltuples, pg_stat_get_live_tuples(oid), 0)), 0)::bigint, \
                      coalesce(sum(pg_total_relation_size(oid)), 0)::bigint \
                      FROM pg_class JOIN pg_inherits ON oid = inhrelid WHERE inhparent = 'sidecars'::regclass";
        let row = self.database.within(connection.query_one(select, &[])).await.map_err(said_of_reading)?;
        let number = |at| row.get::<_, i64>(at).unsigned_abs();
        Ok(Status { sidecars: number(0), bytes: number(1) })
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn digest(bytes: &[u8]) -> Result<Digest, Error> {
    bytes.try_into().map(Digest).map_err(|_| corrupt("a leaf that is no SHA-256"))
}

fn corrupt(what: &'static str) -> Error {
    Error::Corrupt { position: u64::MAX, place: "sidecars".to_owned(), what }
}

fn said_of_reading(error: postgres::Error) -> Error {
    said(error.before_effect())
}

fn said(error: postgres::Error) -> Error {
    let cause = |source: Option<anyhow::Error>| source.map(std::io::Error::other);
    match error {
        postgres::Error::Unavailable { reason, source } => {
            Error::Unavailable { reason, source: cause(source) }
        }
        postgres::Error::Unanswered { reason, source } => Error::Unknown { reason, source: cause(source) },
        other => Error::ReadOnly(other.to_string()),
    }
}

#[cfg(test)]
mod tests;
