//! Where a bundle's bytes come from: a directory, or an archive. The only file of the verifier that
//! opens files. It follows no links and reads nothing outside what it was given.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::manifest::{MANIFEST, MAX_FILES, is_path};
use super::ustar::{self, Part, Place, ReadAt};
use super::{Error, malformed};

/// A bundle's files by name.
pub trait Source {
    /// Name and length of every file, `manifest` included.
    fn files(&self) -> Vec<(&str, u64)>;

    /// The bytes of a file that is listed.
    fn open(&self, name: &str) -> io::Result<Box<dyn Read + '_>>;
}

/// Opens a bundle of either form.
pub fn open(path: &Path) -> Result<Box<dyn Source>, Error> {
    let io = |source| Error::Io { file: path.display().to_string(), source };
    if fs::metadata(path).map_err(io)?.is_dir() {
        return Ok(Box::new(Directory::open(path)?));
    }
    Ok(Box::new(Archive::open(File::open(path).map_err(io)?)?))
}

/// A bundle as a directory.
pub struct Directory {
    root: PathBuf,
    files: BTreeMap<String, u64>,
}

impl Directory {
    pub fn open(root: &Path) -> Result<Directory, Error> {
        let mut files = BTreeMap::new();
        let folders = list(root, "", &mut files)?;
        for folder in folders {
            if !list(&root.join(&folder), &format!("{folder}/"), &mut files)?.is_empty() {
                return Err(malformed(&folder, "holds a directory"));
            }
        }
        Ok(Directory { root: root.to_owned(), files })
    }
}

/// Adds the plain files of one directory, and returns the directories in it.
fn list(folder: &Path, prefix: &str, files: &mut BTreeMap<String, u64>) -> Result<Vec<String>, Error> {
    let io = |source| Error::Io { file: folder.display().to_string(), source };
    let mut folders = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        // Does not follow links, so that a link is neither.
        let kind = entry.file_type().map_err(io)?;
        if kind.is_dir() && ["proofs", "consistency"].contains(&name.as_str()) {
            folders.push(name);
        } else if kind.is_file() && (name == MANIFEST || is_path(&name)) {
            files.insert(name, entry.metadata().map_err(io)?.len());
        } else {
            return Err(malformed(&name, "has no place in a bundle"));
        }
        if files.len() > MAX_FILES + 1 {
            return Err(malformed("bundle", "has more files than any bundle needs"));
        }
    }
    Ok(folders)
}

impl Source for Directory {
    fn files(&self) -> Vec<(&str, u64)> {
        self.files.iter().map(|(name, length)| (name.as_str(), *length)).collect()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(File::open(self.root.join(name))?))
    }
}

/// A bundle as an archive in a file or in memory.
pub struct Archive<B> {
    bytes: B,
    places: BTreeMap<String, Place>,
}

impl<B: ReadAt> Archive<B> {
    pub fn open(bytes: B) -> Result<Archive<B>, Error> {
        let places = ustar::scan(&bytes)?;
        Ok(Archive { bytes, places })
    }
}

impl<B: ReadAt> Source for Archive<B> {
    fn files(&self) -> Vec<(&str, u64)> {
        self.places.iter().map(|(name, place)| (name.as_str(), place.length)).collect()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read + '_>> {
        let place = self.places.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Part { bytes: &self.bytes, at: place.offset, left: place.length }))
    }
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let length = buffer.len().min(rest.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}
