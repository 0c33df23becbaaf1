//! One process per data directory. The lock is the operating system's: it ends with the process,
//! however that ends, and a file left behind by a crash locks nobody out.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A program that a process is just starting holds the process's files, and so a lock that it has let go of, until
/// it has become that program: moments, for which is waited.
const TRIES: u32 = 10;
const AGAIN: Duration = Duration::from_millis(20);

/// Held as long as the value lives.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0} is in use by another process; stop it first, or name another directory")]
    InUse(PathBuf),
    #[error("cannot lock {path}")]
    Io { path: PathBuf, source: io::Error },
}

impl DirLock {
    /// Creates the directory if need be and locks it by a file `lock` inside.
    pub fn take(dir: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Io { path: dir.to_path_buf(), source };
        std::fs::create_dir_all(dir).map_err(failed)?;
        let options = OpenOptions::new().create(true).write(true).truncate(false).clone();
        let file = options.open(dir.join("lock")).map_err(failed)?;
        let mut tries = 0;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(DirLock { _file: file }),
                Err(TryLockError::WouldBlock) if tries < TRIES => std::thread::sleep(AGAIN),
                Err(TryLockError::WouldBlock) => return Err(Error::InUse(dir.to_path_buf())),
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
            tries += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_until_the_first_lets_go() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirLock::take(dir.path()).unwrap();
        let refused = DirLock::take(dir.path()).unwrap_err();
        assert!(matches!(&refused, Error::InUse(path) if path == dir.path()), "{refused}");
        drop(first);
        assert!(DirLock::take(dir.path()).is_ok());
    }
}
