//! A copy of the vault as it is at one moment, while it is in use.

use std::path::Path;

use rusqlite::Connection;

use super::{Vault, admin, closed, schema};
use crate::vault::Error;
use crate::vault::sql::port::Store as _;

/// What a snapshot holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The key-encryption epochs that its rows are locked with.
    pub epochs: Vec<u32>,
    pub generation: u64,
}

impl Vault {
    /// Writes everything that is committed now to a new file, without the gaps in which remains of
    /// deleted rows may lie, and checks it. Others read and write meanwhile. The file is as open to its
    /// reader as the vault itself: whoever asked for it overwrites it. It need not outlive a crash, so it
    /// is not synced.
    pub async fn snapshot(&self, to: &Path) -> Result<Snapshot, Error> {
        // What waits unsynced is written first.
        self.write(|_| Ok(())).await?;
        let (from, to) = (self.shared.readers.path.clone(), to.to_path_buf());
        tokio::task::spawn_blocking(move || snapshot(&from, &to)).await.map_err(|_| closed())?
    }
}

/// Whether a copy of a vault is a whole database. Blocks.
pub fn check_copy(path: &Path) -> Result<(), Error> {
    checked(path).map(drop)
}

fn checked(path: &Path) -> Result<Connection, Error> {
    let copy = schema::open_reader(path)?;
    let said: String = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if said != "ok" {
        return Err(Error::Corrupt { what: "a copy of the vault does not check", source: None });
    }
    Ok(copy)
}

fn snapshot(from: &Path, to: &Path) -> Result<Snapshot, Error> {
    let source = schema::open_reader(from)?;
    let name = to.to_str().ok_or(Error::Unavailable {
        reason: "the path of the snapshot is not text: name the data directory in Unicode",
        source: None,
    })?;
    // The new file takes this over from the old one. Without it, a table that outgrows its first page leaves
    // its first rows, keys and all, in the gap of that page.
    source.pragma_update(None, "secure_delete", "ON")?;
    source.execute("VACUUM INTO ?1", [name])?;
    let copy = checked(to)?;
    let counts = admin::counts(&copy)?;
    let epoch = |(name, count): &(String, i64)| {
        name.strip_prefix("kek:").filter(|_| *count > 0).and_then(|epoch| epoch.parse().ok())
    };
    let generation = counts.iter().find(|(name, _)| name == "generation").map_or(0, |(_, count)| *count);
    Ok(Snapshot {
        epochs: counts.iter().filter_map(epoch).collect(),
        generation: u64::try_from(generation).unwrap_or(0),
    })
}
