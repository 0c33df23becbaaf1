//! Reads a backup back: every byte that leaves has passed its tag, every file its digests.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use hmac::Mac;

use super::manifest;
use super::seal::{self, Place, Refused, Root};
use super::{Document, Error, Manifest, Meter, PACK, io_error, pack};

/// Looks at what is in a backup: whether the bytes are those of a log, which nobody here knows.
/// Messages are words that follow a file's name.
pub trait Inspect: Send {
    fn begin(&mut self, path: &str);
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), String>;
    /// Of the file last begun.
    fn end(&mut self) -> Result<(), String>;
    /// After all files.
    fn all(&mut self, manifest: &Manifest) -> Result<(), String>;
}

/// A backup whose manifest checks.
pub struct Backup {
    pub dir: PathBuf,
    pub manifest: Manifest,
    pub(super) root: Root,
}

impl Backup {
    /// With the key of the epoch that its manifest names.
    pub fn open(dir: &Path, document: Document, kek: &[u8; 32]) -> Result<Backup, Error> {
        let root = Root::new(kek);
        let manifest = document.checked(&root)?;
        Ok(Backup { dir: dir.to_path_buf(), manifest, root })
    }

    /// Reads everything but the files named.
    pub fn verify(
        &self,
        inspect: &mut dyn Inspect,
        meter: &dyn Meter,
        but: &HashSet<String>,
    ) -> Result<(), Error> {
        for file in &self.manifest.files {
            if but.contains(&file.name) {
                inspect.begin(&file.path);
                meter.moved(file.plain_bytes)?;
                continue;
            }
            let mut unpack = pack::Unpack::default();
            self.read(file, inspect, |bytes| {
                meter.moved(bytes.len() as u64)?;
                if file.path == PACK { unpacked(file, &mut unpack, bytes, |_, _| Ok(())) } else { Ok(()) }
            })?;
            whole_pack(file, &unpack)?;
        }
        self.all(inspect)
    }

    pub(super) fn all(&self, inspect: &mut dyn Inspect) -> Result<(), Error> {
        inspect.all(&self.manifest).map_err(|why| damaged("the log in it", why))
    }

    /// Opens a file for `inspect` and `take`.
    pub(super) fn read(
        &self,
        file: &manifest::File,
        inspect: &mut dyn Inspect,
        mut take: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let path = self.dir.join(&file.name);
        let sealed = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(damaged(&file.name, "is missing"));
            }
            opened => opened.map_err(io_error(&path))?,
        };
        if sealed.metadata().map_err(io_error(&path))?.len() != file.bytes {
            return Err(damaged(&file.name, "has another length than the manifest says"));
        }
        let cipher =
            self.root.cipher(&Place { backup: &file.sealed_for, name: &file.name, salt: &file.salt });
        let mut same = self.root.sameness();
        inspect.begin(&file.path);
        let opened = seal::open(sealed, file.bytes, cipher, |bytes| {
            same.update(bytes);
            inspect.bytes(bytes).map_err(|why| damaged(&file.name, why))?;
            take(bytes)
        });
        let digest = opened.map_err(|refused| match refused {
            Refused::Unreadable(source) => io_error(&path)(source),
            Refused::Altered(why) => damaged(&file.name, why),
            Refused::Taker(error) => error,
        })?;
        if digest != file.sha256 || <[u8; 32]>::from(same.finalize().into_bytes()) != file.same {
            return Err(damaged(&file.name, "is not the file that the manifest names"));
        }
        inspect.end().map_err(|why| damaged(&file.name, why))
    }
}

pub(super) fn unpacked(
    file: &manifest::File,
    unpack: &mut pack::Unpack,
    bytes: &[u8],
    each: impl FnMut(&str, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    unpack.add(bytes, each)?.map_err(|why| damaged(&file.name, why))
}

pub(super) fn whole_pack(file: &manifest::File, unpack: &pack::Unpack) -> Result<(), Error> {
    if file.path == PACK && !unpack.is_whole() {
        return Err(damaged(&file.name, "is cut short"));
    }
    Ok(())
}

fn damaged(file: &str, why: impl Into<String>) -> Error {
    Error::Damaged { file: file.to_owned(), why: why.into() }
}
