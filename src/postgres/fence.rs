//! The fence before a signature: of each origin only one tree gets out, whoever believes to lead.
//!
//! Promises: `fence` answers `Ok` only if (origin, size, root) stands in the table, durably, after all smaller sizes
//! of the origin, and the caller's own tree had, at the size released before, the root that was released then. Two
//! callers who disagree about anything below the larger size cannot both get `Ok`, however long one of them was
//! suspended in between. It may be asked the same again.
//! Does not promise that a fenced tree was signed or seen by anybody: it may be, and so it binds.
//! A crash loses what was not answered; it may stand in the table, and binds then.

use std::sync::Arc;

use super::{Database, Error, Migration};
use crate::domain::id::Digest;

const MIGRATIONS: [Migration; 1] = [Migration {
    part: "fence",
    version: 1,
    sql: "CREATE TABLE checkpoints (origin text NOT NULL, size bigint NOT NULL, root bytea NOT NULL, \
          node text NOT NULL, at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (origin, size))",
}];

/// Why nothing may be signed.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// More was released before.
    #[error("a tree of size {released} was released before, and this one has size {size}")]
    Behind { size: u64, released: u64 },
    /// Another tree was released: this one is not its continuation, and must never be signed.
    #[error("the tree released at size {released} by {node} is another than this one was at that size")]
    Contradicts { released: u64, node: String },
    /// It could not be found out.
    #[error(transparent)]
    Database(#[from] Error),
}

impl Refused {
    /// Whether the same call may succeed later without anybody's doing.
    pub fn retryable(&self) -> bool {
        matches!(self, Refused::Database(error) if error.retryable())
    }
}

/// The checkpoints of all origins.
#[derive(Debug)]
pub struct Fence {
    database: Arc<Database>,
    /// Who asks: for an operator who looks into the table.
    node: String,
}

impl Fence {
    /// Brings the table up to date.
    pub async fn open(database: Arc<Database>, node: impl Into<String>) -> Result<Fence, Error> {
        database.migrate(&MIGRATIONS).await?;
        Ok(Fence { database, node: node.into() })
    }

    /// To be asked before a signature over a tree is made. `root_at` tells which root the caller's own tree had at a
    /// size of before, `None` if it cannot tell; it is asked at most once.
    pub async fn fence<F>(
        &self,
        origin: &str,
        size: u64,
        root: &Digest,
        root_at: impl FnOnce(u64) -> F + Send,
    ) -> Result<(), Refused>
    where
        F: Future<Output = Option<Digest>> + Send,
    {
        let mut connection = self.database.get().await?;
        let step = async {
            let transaction = connection.transaction().await?;
            let lock = "SELECT pg_advisory_xact_lock(hashtextextended('custody fence ' || current_schema() || $1, 0))";
            transaction.query_one(lock, &[&origin]).await?;
            let newest =
                "SELECT size, root, node FROM checkpoints WHERE origin = $1 ORDER BY size DESC LIMIT 1";
            let newest = transaction.query_opt(newest, &[&origin]).await?;
            Ok((transaction, newest))
        };
        // Nothing was written yet.
        let (transaction, newest) = self.database.within(step).await.map_err(Error::before_effect)?;
        if let Some(newest) = newest {
            let (released, node) = (newest.get::<_, i64>(0).unsigned_abs(), newest.get(2));
            if released > size {
                return Err(Refused::Behind { size, released });
            }
            let own = if released == size { Some(*root) } else { root_at(released).await };
            if own.is_none_or(|own| own.0 != newest.get::<_, &[u8]>(1)) {
                return Err(Refused::Contradicts { released, node });
            }
            if released == size {
                return Ok(());
            }
        }
        let too_large = |_| Error::Refused("a size that is no bigint".to_owned());
        let size = i64::try_from(size).map_err(too_large)?;
        let step = async {
            let insert = "INSERT INTO checkpoints (origin, size, root, node) VALUES ($1, $2, $3, $4)";
            transaction.execute(insert, &[&origin, &size, &root.0.as_slice(), &self.node]).await?;
            transaction.commit().await
        };
        Ok(self.database.within(step).await?)
    }

    /// The newest tree that was released of an origin.
    pub async fn newest(&self, origin: &str) -> Result<Option<(u64, Digest)>, Error> {
        let connection = self.database.get().await?;
        let select = "SELECT size, root FROM checkpoints WHERE origin = $1 ORDER BY size DESC LIMIT 1";
        let row = self.database.within(connection.query_opt(select, &[&origin])).await;
        let Some(row) = row.map_err(Error::before_effect)? else { return Ok(None) };
        let root = row.get::<_, &[u8]>(1).try_into().map(Digest);
        let root = root.map_err(|_| Error::Mismatch("a root that is no SHA-256".to_owned()))?;
        Ok(Some((row.get::<_, i64>(0).unsigned_abs(), root)))
    }
}

#[cfg(test)]
mod tests;
