//! Backups: one directory each, every file of it encrypted under the key-encryption key of its epoch.
//!
//! Promises: a backup is whole or has the ending `.partial`; a file that was torn, cut, altered,
//! exchanged or removed is refused by its name before anything is put in place; whoever lacks the
//! key-encryption key of the epoch reads nothing but `manifest.json`, which names nobody. So a backup
//! ends with that key, with the index blocks and the locked keys in it, wherever its copies are.
//! Not promised: the keyring, views, hashes of the ledger, exports and the outside copy are in no
//! backup. They are derived or have to lie elsewhere. A crash loses the backup, or the restored
//! directory, in the making: the next run removes what it left and begins again.
//!
//! ## A backup
//! | file | content |
//! |---|---|
//! | `manifest.json` | what is in it, in clear, with a MAC (`manifest.rs`) |
//! | `log-<first position>.seg.sealed` | a segment of the log, up to its last record below the head |
//! | `vault-vault.sqlite.sealed` | a snapshot of the vault, made after the log was read |
//! | `pack.sealed` | published checkpoints, and the work files of erasures in the making (`pack.rs`) |
//!
//! `seal.rs` has the layout of a sealed file. Nothing here asks for the time, knows the log's frames
//! or takes keys from a keyring: callers bring all three.

pub mod manifest;
mod pack;
pub mod read;
pub mod restore;
mod seal;
pub mod write;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

pub use manifest::{Document, Manifest};
pub use read::{Backup, Inspect};
pub use write::{About, Writer};

/// The path of a pack in a manifest; all others are paths below the data directory.
pub const PACK: &str = "pack";
/// The ending of a backup that is being made.
pub const PARTIAL: &str = "partial";
/// The ending of one that is being removed.
pub const EXPIRED: &str = "expired";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{path}: {source}")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{place} is not a backup: {why}")]
    Malformed { place: PathBuf, why: String },
    /// Names the file.
    #[error("the backup cannot be used: {file} {why}; take another backup")]
    Damaged { file: String, why: String },
    #[error("the manifest does not belong to this keyring, or was altered; take another backup")]
    Foreign,
    #[error("{0} is there already")]
    Exists(PathBuf),
    #[error("it was called off")]
    CalledOff,
    #[error("no randomness from the operating system")]
    Randomness,
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> Error + use<> {
    let path = path.to_path_buf();
    move |source| Error::Io { path: path.clone(), source }
}

/// Hears how many bytes were worked through, and can call the work off.
pub trait Meter: Send + Sync {
    fn moved(&self, bytes: u64) -> Result<(), Error>;
}

/// For whoever does not watch.
pub struct Unwatched;

impl Meter for Unwatched {
    fn moved(&self, _bytes: u64) -> Result<(), Error> {
        Ok(())
    }
}

/// The backups of a directory with what their manifests say, unchecked, the oldest first. What is
/// being made or removed is none.
pub fn all(place: &Path) -> Result<Vec<(PathBuf, Manifest)>, Error> {
    let mut found = Vec::new();
    for path in entries(place)? {
        if path.extension().is_none()
            && let Ok(document) = Document::read(&path)
        {
            found.push((path, document.stated));
        }
    }
    found.sort_by_key(|(_, manifest)| (manifest.created_at, manifest.head));
    Ok(found)
}

/// The entries of a directory that end in this, such as those that a crash left.
pub fn ending(place: &Path, ending: &str) -> Result<Vec<PathBuf>, Error> {
    let mut found = entries(place)?;
    found.retain(|path| path.extension().is_some_and(|extension| extension == ending));
    Ok(found)
}

fn entries(place: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match std::fs::read_dir(place) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_error(place)(error)),
    };
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()).map_err(io_error(place)))
        .collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    Ok(paths)
}

/// Removes a sealed file, if it is there.
pub fn remove_file(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(path)(error)),
        _ => Ok(()),
    }
}

/// Removes what is sealed, or was never named: nobody can read it, or nobody has relied on it.
pub fn remove(dir: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(dir)(error)),
        _ => Ok(()),
    }
}
