//! One process per data directory: a lock that the kernel lets go of when the process ends, however
//! it ends.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// Held while it lives.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0} is in use by another custody process: stop it first, or name another data directory")]
    Held(PathBuf),
    #[error("the data directory {path} cannot be used")]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl DirectoryLock {
    /// Makes the directory if it is not there, readable by its owner only, and takes it.
    pub fn take(directory: &Path) -> Result<Self, Error> {
        use std::os::unix::fs::DirBuilderExt;
        let failed = |source| Error::Io { path: directory.to_owned(), source };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(directory.join(NAME))
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(DirectoryLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::Held(directory.to_owned())),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}

const NAME: &str = "lock";

/// Whether nothing of a service is in the directory yet; the lock's own file does not count.
pub fn is_empty(directory: &Path) -> std::io::Result<bool> {
    match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
        Ok(mut entries) => Ok(!entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() != NAME))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_taken_once() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("data");
        assert!(is_empty(&directory).unwrap());
        let lock = DirectoryLock::take(&directory).unwrap();
        assert!(matches!(DirectoryLock::take(&directory), Err(Error::Held(_))));
        assert!(is_empty(&directory).unwrap());
        drop(lock);
        DirectoryLock::take(&directory).unwrap();
        std::fs::write(directory.join("log"), "x").unwrap();
        assert!(!is_empty(&directory).unwrap());
    }
}
