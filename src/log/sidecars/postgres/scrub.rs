//! Takes away what PostgreSQL keeps of rows that were changed or deleted.
//!
//! Promises: a part in which something was purged is noted in the purge's own transaction, and the note stays until
//! the part was written anew by a `VACUUM FULL` that could see every purge it is about. Rows that an older transaction
//! might still read are copied by it, so afterwards the part says how old such a transaction may have been
//! (`relfrozenxid`, which `VACUUM FULL` sets to just that); while one is older than the purge, the scrub is an error
//! and is to be run again. A crash leaves parts scrubbed or noted.
//! Does not promise to be quick, nor that the part can be used meanwhile: it is locked while it is copied.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use deadpool_postgres::Transaction;
use tokio_postgres::Row;

use super::{Error, PARTS, PostgresSidecars, said};
use crate::postgres;

/// Longest time that one part is worked on.
const PART: Duration = Duration::from_secs(3_600);

/// Notes that something was purged in parts.
pub async fn note(transaction: &Transaction<'_>, parts: &[String]) -> Result<(), tokio_postgres::Error> {
    let upsert = "INSERT INTO sidecar_scrubs AS old (part, purges, newest) \
                  SELECT part, 1, pg_current_xact_id() FROM unnest($1::text[]) AS part ORDER BY part \
                  ON CONFLICT (part) DO UPDATE SET purges = old.purges + 1, \
                  newest = greatest(old.newest, excluded.newest)";
    transaction.execute(upsert, &[&parts]).await.map(drop)
}

impl PostgresSidecars {
    pub(super) async fn scrub_parts(&self) -> Result<(), Error> {
        let (client, _) = self.database.connect_alone().await.map_err(said)?;
        let unbounded = client.batch_execute("SET statement_timeout = 0");
        self.database.within(unbounded).await.map_err(said)?;
        let select = "SELECT part, purges FROM sidecar_scrubs WHERE purges > scrubbed ORDER BY part";
        let noted = self.database.within(client.query(select, &[])).await.map_err(said)?;
        for row in noted {
            let (part, purges) = (row.get::<_, &str>(0), row.get::<_, i64>(1));
            // No caller's text, and nothing but our own parts.
            if !(0..PARTS).any(|n| part == format!("sidecars_{n:02}")) {
                return Err(super::corrupt("a note about a part that is none"));
            }
            let vacuum = format!("VACUUM (FULL) {part}");
            let unanswered = postgres::Error::unanswered("a part was not scrubbed in an hour");
            match tokio::time::timeout(PART, client.batch_execute(&vacuum)).await {
                Ok(done) => done.map_err(postgres::Error::from),
                Err(_) => Err(unanswered),
            }
            .map_err(said)?;
            // Older than a purge, somebody's transaction may still read what was purged: it was copied.
            let update = "UPDATE sidecar_scrubs SET scrubbed = $2 WHERE part = $1 AND age(newest::xid) > \
                          (SELECT age(relfrozenxid) FROM pg_class WHERE oid = to_regclass($1))";
            let updated = self.database.within(client.execute(update, &[&part, &purges])).await;
            if updated.map_err(said)? == 0 {
                let reason =
                    "a transaction older than a purge is still open, so nothing was scrubbed for good";
                return Err(Error::Unavailable { reason, source: None });
            }
        }
        Ok(())
    }

    /// Has dead rows of some parts taken out of the way soon, beside whoever goes on. That it fails is no matter:
    /// the server does the same by itself, and only `scrub` promises anything.
    pub(super) fn vacuum(&self, parts: Vec<String>) {
        if parts.is_empty() || self.vacuuming.swap(true, Ordering::AcqRel) {
            return;
        }
        let (database, vacuuming) = (Arc::clone(&self.database), Arc::clone(&self.vacuuming));
        tokio::spawn(async move {
            if let Ok(connection) = database.get().await {
                let vacuum =
                    format!("VACUUM (SKIP_LOCKED, INDEX_CLEANUP OFF, TRUNCATE OFF) {}", parts.join(", "));
                if let Err(why) = connection.batch_execute(&vacuum).await {
                    tracing::debug!(error = %postgres::Error::from(why), "sidecars were not vacuumed");
                }
            }
            vacuuming.store(false, Ordering::Release);
        });
    }
}

/// Names of parts in the rows of a statement that ended with `RETURNING` them.
pub fn parts(rows: &[Row]) -> Vec<String> {
    let mut parts: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    parts.sort_unstable();
    parts.dedup();
    parts
}
