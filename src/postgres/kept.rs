//! How far something is known to be, by origin: a position that only grows, whoever raises it.
//!
//! Promises: `read` is at least as high as every `raise` that was answered. A crash loses what was not answered.

use std::sync::Arc;

use super::{Database, Error, Migration};

const MIGRATIONS: [Migration; 1] = [Migration {
    part: "kept",
    version: 1,
    sql: "CREATE TABLE kept (origin text PRIMARY KEY, position bigint NOT NULL)",
}];

#[derive(Debug)]
pub struct Kept {
    database: Arc<Database>,
}

impl Kept {
    /// Brings the table up to date.
    pub async fn open(database: Arc<Database>) -> Result<Kept, Error> {
        database.migrate(&MIGRATIONS).await?;
        Ok(Kept { database })
    }

    /// To this position, or where it is if that is further.
    pub async fn raise(&self, origin: &str, position: u64) -> Result<(), Error> {
        let too_large = |_| Error::Refused("a position that is no bigint".to_owned());
        let position = i64::try_from(position).map_err(too_large)?;
        let upsert = "INSERT INTO kept AS old (origin, position) VALUES ($1, $2) ON CONFLICT (origin) \
                      DO UPDATE SET position = excluded.position WHERE old.position < excluded.position";
        let connection = self.database.get().await?;
        self.database.within(connection.execute(upsert, &[&origin, &position])).await.map(drop)
    }

    /// `None` if nobody raised it yet.
    pub async fn read(&self, origin: &str) -> Result<Option<u64>, Error> {
        let connection = self.database.get().await?;
        let select = "SELECT position FROM kept WHERE origin = $1";
        let row = self.database.within(connection.query_opt(select, &[&origin])).await;
        Ok(row.map_err(Error::before_effect)?.map(|row| row.get::<_, i64>(0).unsigned_abs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::throwaway;

    #[tokio::test]
    async fn a_position_only_grows() {
        let kept = Kept::open(Database::open(throwaway::options("kept")).await.unwrap()).await.unwrap();
        assert_eq!(kept.read("a").await.unwrap(), None);
        for (raised, expected) in [(0, 0), (7, 7), (3, 7), (8, 8)] {
            kept.raise("a", raised).await.unwrap();
            assert_eq!(kept.read("a").await.unwrap(), Some(expected));
        }
        assert!(kept.raise("a", u64::MAX).await.is_err());
        assert_eq!((kept.read("a").await.unwrap(), kept.read("b").await.unwrap()), (Some(8), None));
    }
}
