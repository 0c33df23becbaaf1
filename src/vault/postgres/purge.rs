//! What was destroyed goes from the files: tables are written anew, which PostgreSQL does beside the old files,
//! and the old ones are cut to nothing when that is committed.
//!
//! Promises: when `purge` returns, no file of a part of `holders` holds a wrapped key that was overwritten in a
//! transaction before, of whichever node. PostgreSQL carries over rows that somebody with an older transaction
//! may still see; it says how many there were, and it is done again until there are none, or `patience` is
//! over. A crash, or an error, leaves the parts in `purge`, and the next call does them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_postgres::{AsyncMessage, Client};

use super::schema::{PARTS, WITH_REMAINS};
use crate::clock::Stopwatch;
use crate::postgres::{Database, Error};

/// How many times longer than for anything else a transaction of somebody is waited for.
const PATIENT: u32 = 4;
/// Between two tries, at first and at most.
const SOON: Duration = Duration::from_millis(20);
const LATER: Duration = Duration::from_secs(1);

/// What PostgreSQL said of dead rows that it had to keep.
type Kept = Arc<Mutex<Option<u64>>>;

/// One at a time on a node; whoever comes meanwhile may find its parts done.
#[derive(Default)]
pub(super) struct Purge {
    turn: tokio::sync::Mutex<()>,
}

impl Purge {
    /// What has to be written anew because somebody was destroyed.
    pub async fn destroyed(&self, database: &Database) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        let (client, kept) = connect(database).await?;
        let parts = client.query("SELECT part, again FROM purge ORDER BY part", &[]).await?;
        for row in &parts {
            let part: &str = row.get(0);
            rewrite(database, &client, &kept, part).await?;
            // Somebody else may have been destroyed in it meanwhile.
            let done = "DELETE FROM purge WHERE part = $1 AND again = $2";
            client.execute(done, &[&part, &row.get::<_, i64>(1)]).await?;
        }
        if !parts.is_empty() {
            // Of no use to anybody without the keys; soon is enough for these, and `scrub` ends it.
            let others = WITH_REMAINS.join(", ");
            client.batch_execute(&format!("VACUUM (INDEX_CLEANUP OFF, TRUNCATE OFF) {others}")).await?;
        }
        Ok(())
    }

    /// Everything.
    pub async fn all(&self, database: &Database) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        let (client, kept) = connect(database).await?;
        super::others::forget_changes(database, &client).await?;
        let before = client.query("SELECT part, again FROM purge", &[]).await?;
        let parts = (0..PARTS).map(|part| format!("holders_{part}"));
        for table in parts.chain(WITH_REMAINS.map(str::to_owned)) {
            rewrite(database, &client, &kept, &table).await?;
        }
        for row in &before {
            let done = "DELETE FROM purge WHERE part = $1 AND again = $2";
            client.execute(done, &[&row.get::<_, &str>(0), &row.get::<_, i64>(1)]).await?;
        }
        Ok(())
    }
}

async fn connect(database: &Database) -> Result<(Client, Kept), Error> {
    let kept = Kept::default();
    let theirs = Arc::clone(&kept);
    let hear = move |message| {
        if let AsyncMessage::Notice(notice) = message
            && let Some(number) = notice.detail().and_then(first_number)
        {
            let mut kept = theirs.lock().unwrap_or_else(PoisonError::into_inner);
            *kept = Some(kept.map_or(number, |kept| kept.max(number)));
        }
    };
    let (client, _driven) = database.connect_hearing(hear).await?;
    database.within(client.batch_execute("SET statement_timeout = 0")).await?;
    Ok((client, kept))
}

/// "0 dead row versions cannot be removed yet.", in whichever language.
fn first_number(detail: &str) -> Option<u64> {
    let digits = detail.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

async fn rewrite(database: &Database, client: &Client, kept: &Kept, table: &str) -> Result<(), Error> {
    let (watch, mut pause) = (Stopwatch::start(), SOON);
    let take = || kept.lock().unwrap_or_else(PoisonError::into_inner).take();
    loop {
        take();
        client.batch_execute(&format!("VACUUM (FULL, VERBOSE) {table}")).await?;
        match take() {
            Some(0) => return Ok(()),
            None => return Err(Error::Mismatch("VACUUM does not say what it has left".to_owned())),
            Some(_) if watch.elapsed() > database.patience() * PATIENT => {
                return Err(Error::unavailable(
                    "somebody's transaction is open for long and keeps destroyed keys in the database's files",
                ));
            }
            Some(_) => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(LATER);
    }
}
