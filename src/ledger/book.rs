//! Every checkpoint that was ever published, one file each, by origin and size:
//! `checkpoints/<origin>/<size / 65536>/<size>.checkpoint`. There are two books, one in the data
//! directory and one in the outside copy; the outside one is written first, so that what the data
//! directory knows the outside copy knows too.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::tlog::SignedCheckpoint;
use super::{Error, io_error, keep_file};

/// Sizes that share a directory.
const BUCKET: u64 = 1 << 16;
const ENDING: &str = ".checkpoint";
/// A checkpoint with a hundred cosignatures is smaller.
const MAX_BYTES: u64 = 1 << 20;

/// Checkpoints kept in one place.
#[derive(Debug, Clone)]
pub struct Book {
    root: PathBuf,
}

impl Book {
    /// The book of a directory; nothing is made before the first checkpoint.
    pub fn of(directory: &Path) -> Book {
        Book { root: directory.join("checkpoints") }
    }

    pub fn place(&self) -> &Path {
        &self.root
    }

    /// Names of all logs that have a checkpoint here.
    pub fn origins(&self) -> Result<Vec<String>, Error> {
        Ok(names(&self.root)?.iter().map(|name| name.replace('!', "/")).collect())
    }

    /// Keeps a checkpoint; one of the same size is replaced, as when cosignatures were added.
    pub fn keep(&self, checkpoint: &SignedCheckpoint) -> Result<(), Error> {
        let head = &checkpoint.checkpoint;
        keep_file(&self.path(&head.origin, head.size), checkpoint.to_string().as_bytes())
    }

    pub fn get(&self, origin: &str, size: u64) -> Result<Option<SignedCheckpoint>, Error> {
        let path = self.path(origin, size);
        let bytes = match fs::metadata(&path) {
            Ok(found) if found.len() > MAX_BYTES => return Err(Error::Damaged("a checkpoint is too long")),
            Ok(_) => fs::read(&path).map_err(io_error(&path))?,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error(&path)(error)),
        };
        let checkpoint = SignedCheckpoint::parse(&bytes)
            .map_err(|why| Error::Checkpoint { path: path.clone(), why: why.to_string() })?;
        let head = &checkpoint.checkpoint;
        if head.origin != origin || head.size != size {
            let why = "it is of another log or size than its name says".to_owned();
            return Err(Error::Checkpoint { path, why });
        }
        Ok(Some(checkpoint))
    }

    /// Sizes of at most `limit` checkpoints below `below`, the largest first.
    pub fn sizes(&self, origin: &str, below: u64, limit: usize) -> Result<Vec<u64>, Error> {
        let dir = self.root.join(origin.replace('/', "!"));
        let mut sizes = Vec::new();
        for bucket in numbers(&dir, "")?.into_iter().rev() {
            if sizes.len() >= limit || bucket > below / BUCKET {
                continue;
            }
            let found = numbers(&dir.join(format!("{bucket:015}")), ENDING)?;
            sizes.extend(found.into_iter().rev().filter(|size| *size < below));
        }
        sizes.truncate(limit);
        Ok(sizes)
    }

    /// The one of the largest tree.
    pub fn newest(&self, origin: &str) -> Result<Option<SignedCheckpoint>, Error> {
        match self.sizes(origin, u64::MAX, 1)?.first() {
            Some(size) => self.get(origin, *size),
            None => Ok(None),
        }
    }

    pub(super) fn path(&self, origin: &str, size: u64) -> PathBuf {
        // Neither stands in an origin's characters in another meaning: an id has no `!`.
        let dir = self.root.join(origin.replace('/', "!"));
        dir.join(format!("{:015}", size / BUCKET)).join(format!("{size:020}{ENDING}"))
    }
}

/// The entries of a directory that may not be there.
fn names(dir: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_error(dir)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(io_error(dir))?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

/// Those that are numbers with this ending, in order; a temporary file is none.
fn numbers(dir: &Path, ending: &str) -> Result<Vec<u64>, Error> {
    let names = names(dir)?;
    Ok(names.iter().filter_map(|name| name.strip_suffix(ending)?.parse().ok()).collect())
}
