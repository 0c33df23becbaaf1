//! Versions of the tables.
//!
//! Promises: a migration is applied once, whole or not at all, in order, whoever starts at the same time; a database
//! that a newer program has changed, or to which something else was applied under the same number, is refused.
//! A crash leaves the database between two migrations.

use sha2::{Digest, Sha256};
use tokio_postgres::Client;

use super::{Database, Error};

/// One step of the tables that belong together. A step that was released is never edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migration {
    /// Whose tables these are.
    pub part: &'static str,
    /// 1 is the first; without gaps.
    pub version: i32,
    pub sql: &'static str,
}

pub async fn run(database: &Database, migrations: &[Migration]) -> Result<(), Error> {
    let (mut client, task) = database.connect_alone().await?;
    // Others may be at it for longer than anybody waits for a lock otherwise.
    database.within(client.batch_execute("SET lock_timeout = '5min'; SET statement_timeout = 0")).await?;
    let schema = database.schema();
    let lock = "SELECT pg_advisory_lock(hashtextextended('custody migrations ' || $1, 0))";
    client.query_one(lock, &[&schema]).await?;
    prepare(&client, schema).await?;
    let parts: std::collections::BTreeSet<_> = migrations.iter().map(|migration| migration.part).collect();
    for part in parts {
        let mut of_part: Vec<_> = migrations.iter().filter(|migration| migration.part == part).collect();
        of_part.sort_by_key(|migration| migration.version);
        apply(&mut client, part, &of_part).await?;
    }
    // The lock ends with the session, and the session before anybody goes on.
    drop(client);
    drop(task.await);
    Ok(())
}

/// Made only where absent: an administrator may have made the schema for a role that may not.
async fn prepare(client: &Client, schema: &str) -> Result<(), Error> {
    let there = client.query_one("SELECT to_regnamespace($1) IS NOT NULL", &[&schema]).await?;
    if !there.get::<_, bool>(0) {
        client.batch_execute(&format!("CREATE SCHEMA {schema}")).await?;
    }
    let table = format!("{schema}.migrations");
    let there = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table]).await?;
    if !there.get::<_, bool>(0) {
        let sql = "CREATE TABLE migrations (part text NOT NULL, version int NOT NULL, \
                   applied_at timestamptz NOT NULL DEFAULT now(), digest bytea NOT NULL, \
                   PRIMARY KEY (part, version))";
        client.batch_execute(sql).await?;
    }
    Ok(())
}

async fn apply(client: &mut Client, part: &str, migrations: &[&Migration]) -> Result<(), Error> {
    let select = "SELECT version, digest FROM migrations WHERE part = $1 ORDER BY version";
    let applied = client.query(select, &[&part]).await?;
    if let Some(newest) = applied.last().map(|row| row.get::<_, i32>(0))
        && migrations.last().is_none_or(|known| known.version < newest)
    {
        let known = migrations.last().map_or(0, |known| known.version);
        let text = format!("its tables of {part} have version {newest}, and this program knows {known}");
        return Err(Error::Mismatch(text));
    }
    for (at, migration) in migrations.iter().enumerate() {
        if usize::try_from(migration.version) != Ok(at + 1) {
            return Err(Error::Mismatch(format!("migrations of {part} are not numbered 1, 2, 3, …")));
        }
        let digest = Sha256::digest(migration.sql).to_vec();
        match applied.get(at).map(|row| (row.get::<_, i32>(0), row.get::<_, &[u8]>(1))) {
            Some((version, found)) if version == migration.version && found == digest => {}
            Some(_) => {
                let text = format!("another migration {} of {part} was applied to it", migration.version);
                return Err(Error::Mismatch(text));
            }
            None => {
                let transaction = client.transaction().await?;
                transaction.batch_execute(migration.sql).await?;
                let insert = "INSERT INTO migrations (part, version, digest) VALUES ($1, $2, $3)";
                transaction.execute(insert, &[&part, &migration.version, &digest]).await?;
                transaction.commit().await?;
                tracing::info!(part, version = migration.version, "migrated PostgreSQL");
            }
        }
    }
    Ok(())
}
