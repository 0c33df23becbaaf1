//! The hashes that proofs are made of: one flat file per level of tiles, 32 bytes a hash. Derived
//! from the log and not synced on its way; a proof made from them is checked before it leaves.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::tlog::tile::{HEIGHT, LEVELS, hashes_on};
use super::tlog::{Hash, Nodes, node_hash};
use super::{Error, io_error};

const BYTES: u64 = 32;

/// The files, open. Written by the one who follows the log, read by anybody below the tree's size.
pub struct Hashes {
    files: Vec<(PathBuf, File)>,
}

impl Hashes {
    /// Opens the files of a directory, making those that are not there.
    pub fn open(dir: &Path) -> Result<Hashes, Error> {
        let files = (0..LEVELS).map(|level| {
            let path = dir.join(format!("hashes-{level}"));
            let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
            let file = options.open(&path).map_err(io_error(&path))?;
            Ok((path, file))
        });
        Ok(Hashes { files: files.collect::<Result<_, Error>>()? })
    }

    /// Writes neighbouring hashes of a level of tiles.
    pub fn write(&self, level: u32, first: u64, hashes: &[Hash]) -> Result<(), Error> {
        let (path, file) = self.file(level)?;
        file.write_all_at(hashes.as_flattened(), first * BYTES).map_err(io_error(path))
    }

    /// Neighbouring hashes of a level of tiles.
    pub fn read(&self, level: u32, first: u64, count: usize) -> Result<Vec<Hash>, Error> {
        let (path, file) = self.file(level)?;
        let mut hashes = vec![[0; 32]; count];
        let at = first.checked_mul(BYTES).ok_or(Error::Damaged("an index beyond any file"))?;
        file.read_exact_at(hashes.as_flattened_mut(), at).map_err(|source| match source.kind() {
            std::io::ErrorKind::UnexpectedEof => Error::Damaged("a file of hashes is too short"),
            _ => Error::Io { path: path.clone(), source },
        })?;
        Ok(hashes)
    }

    /// Cuts every file to what a tree of this size has; says whether all of it is there.
    pub fn cut(&self, size: u64) -> Result<bool, Error> {
        let mut whole = true;
        for (level, (path, file)) in self.files.iter().enumerate() {
            let wanted = hashes_on(level as u32, size) * BYTES;
            let length = file.metadata().map_err(io_error(path))?.len();
            whole &= length >= wanted;
            if length != wanted {
                file.set_len(wanted).map_err(io_error(path))?;
            }
        }
        Ok(whole)
    }

    /// Returns when what was written would survive the loss of power.
    pub fn sync(&self) -> Result<(), Error> {
        self.files.iter().try_for_each(|(path, file)| file.sync_data().map_err(io_error(path)))
    }

    pub fn bytes(&self) -> u64 {
        self.files.iter().filter_map(|(_, file)| Some(file.metadata().ok()?.len())).sum()
    }

    fn file(&self, level: u32) -> Result<&(PathBuf, File), Error> {
        self.files.get(level as usize).ok_or(Error::Damaged("a level beyond any tree"))
    }
}

/// Levels between two files are hashed again from the file below: at most 128 hashes.
impl Nodes for Hashes {
    type Error = Error;

    fn node(&self, level: u32, index: u64) -> Result<Hash, Error> {
        let within = level % HEIGHT;
        let mut hashes = self.read(level / HEIGHT, index << within, 1 << within)?;
        while hashes.len() > 1 {
            hashes = hashes.as_chunks::<2>().0.iter().map(|[left, right]| node_hash(left, right)).collect();
        }
        hashes.pop().ok_or(Error::Damaged("a level without hashes"))
    }
}
