//! A bundle in the making: files are hashed while they are written, and listed.
//!
//! An archive is packed from the finished directory (`archive.rs`), because its entries need their
//! lengths before their bytes and the manifest needs every hash; reading the log twice would give the
//! same bytes and cost more than copying a file.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::Error;
use super::archive::Archive;
use crate::verify::manifest::{FileEntry, MANIFEST};

pub(super) struct Folder {
    target: PathBuf,
    partial: PathBuf,
    files: Vec<FileEntry>,
}

fn io(path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::Io { path: path.to_owned(), source }
}

/// Only the owner may read what could hold keys.
fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Where a bundle is made before it gets its name.
pub(super) fn partial(target: &Path) -> PathBuf {
    let mut partial = target.as_os_str().to_owned();
    partial.push(".custody-partial");
    partial.into()
}

impl Folder {
    pub fn create(target: &Path) -> Result<Folder, Error> {
        if target.try_exists().map_err(io(target))? {
            return Err(Error::Refused(format!("{} is there already", target.display())));
        }
        let partial = partial(target);
        if partial.try_exists().map_err(io(&partial))? {
            fs::remove_dir_all(&partial).map_err(io(&partial))?;
        }
        DirBuilder::new().mode(0o700).create(&partial).map_err(io(&partial))?;
        Ok(Folder { target: target.to_owned(), partial, files: Vec::new() })
    }

    pub fn file(&self, name: &str) -> Result<OutFile, Error> {
        let path = self.partial.join(name);
        if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
            DirBuilder::new().mode(0o700).create(parent).map_err(io(parent))?;
        }
        let file = BufWriter::with_capacity(256 * 1024, private(&path).map_err(io(&path))?);
        Ok(OutFile { name: name.to_owned(), path, file, hash: Sha256::new(), length: 0 })
    }

    pub fn add(&mut self, file: OutFile) -> Result<(), Error> {
        let OutFile { name, path, file, hash, length } = file;
        file.into_inner().map_err(|e| io(&path)(e.into_error()))?;
        self.files.push(FileEntry { sha256: hash.finalize().into(), length, path: name });
        Ok(())
    }

    /// A whole small file.
    pub fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let mut file = self.file(name)?;
        file.write(bytes)?;
        self.add(file)
    }

    /// What the manifest lists.
    pub fn listed(&mut self) -> Vec<FileEntry> {
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        std::mem::take(&mut self.files)
    }

    /// Writes the manifest, packs if the target is an archive, and gives the bundle its name.
    pub fn finish(mut self, manifest: &[u8], listed: &[FileEntry]) -> Result<(), Error> {
        self.put(MANIFEST, manifest)?;
        if !is_archive(&self.target) {
            return fs::rename(&self.partial, &self.target).map_err(io(&self.target));
        }
        let packed = self.partial.join("packed");
        let mut out = private(&packed).map_err(io(&packed))?;
        let archive = Archive::of(&self.partial, manifest.len() as u64, listed)?;
        let mut reader = BufReader::with_capacity(256 * 1024, archive.reader());
        io::copy(&mut reader, &mut out).map_err(io(&packed))?;
        out.sync_all().map_err(io(&packed))?;
        fs::rename(&packed, &self.target).map_err(io(&self.target))?;
        fs::remove_dir_all(&self.partial).map_err(io(&self.partial))
    }
}

/// By its name.
pub(super) fn is_archive(target: &Path) -> bool {
    target.extension().is_some_and(|extension| extension == "tar")
}

/// A file of the bundle on its way.
pub(super) struct OutFile {
    name: String,
    path: PathBuf,
    file: BufWriter<File>,
    hash: Sha256,
    length: u64,
}

impl OutFile {
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        self.file.write_all(bytes).map_err(io(&self.path))
    }
}
