//! A finished bundle's directory as the one archive it would be packed into, read from any byte on.
//!
//! The archive's form follows from names and lengths alone, so nothing has to be packed beforehand:
//! whoever fetches a bundle and is cut off asks for the rest, of a second copy that never exists.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::Error;
use crate::ledger::tlog::Note;
use crate::verify::Manifest;
use crate::verify::manifest::{FileEntry, MANIFEST};
use crate::verify::ustar;

pub struct Archive {
    root: PathBuf,
    /// In the archive's order; each begins where its header does.
    entries: Vec<Entry>,
    size: u64,
}

struct Entry {
    at: u64,
    header: [u8; ustar::BLOCK],
    name: String,
    length: u64,
}

fn io(path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::Io { path: path.to_owned(), source }
}

impl Archive {
    /// Of a bundle that is whole.
    pub fn open(root: &Path) -> Result<Archive, Error> {
        let path = root.join(MANIFEST);
        let bytes = std::fs::read(&path).map_err(io(&path))?;
        let note = Note::parse(&bytes)?;
        let listed =
            Manifest::parse(&note.text).map_err(|why| Error::Refused(format!("{} {why}", path.display())))?;
        Self::of(root, bytes.len() as u64, &listed.files)
    }

    pub(super) fn of(root: &Path, manifest: u64, listed: &[FileEntry]) -> Result<Archive, Error> {
        let (mut entries, mut at) = (Vec::with_capacity(listed.len() + 1), 0);
        let files = listed.iter().map(|file| (file.path.as_str(), file.length));
        for (name, length) in [(MANIFEST, manifest)].into_iter().chain(files) {
            let header = ustar::header(name, length).ok_or_else(|| {
                Error::Refused(format!(
                    "{name} has {length} bytes, an archive's file has less than 8 GiB: export a part of the range"
                ))
            })?;
            entries.push(Entry { at, header, name: name.to_owned(), length });
            at += ustar::BLOCK as u64 + length + ustar::padding(length) as u64;
        }
        Ok(Archive { root: root.to_owned(), entries, size: at + ustar::END.len() as u64 })
    }

    /// In bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes from an offset on: as many as asked for, fewer only at the end. Blocks.
    pub fn read(&self, offset: u64, most: usize) -> Result<Vec<u8>, Error> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; most.min(left)];
        let end = offset + bytes.len() as u64;
        let first = self.entries.partition_point(|entry| entry.at <= offset).saturating_sub(1);
        // What no entry covers is padding, or the end: zeros.
        for entry in self.entries[first..].iter().take_while(|entry| entry.at < end) {
            let content = entry.at + ustar::BLOCK as u64;
            if let Some((from, to)) = overlap(offset, end, entry.at, content) {
                let header = &entry.header[(from - entry.at) as usize..(to - entry.at) as usize];
                bytes[(from - offset) as usize..(to - offset) as usize].copy_from_slice(header);
            }
            if let Some((from, to)) = overlap(offset, end, content, content + entry.length) {
                let path = self.root.join(&entry.name);
                let into = &mut bytes[(from - offset) as usize..(to - offset) as usize];
                let file = File::open(&path).map_err(io(&path))?;
                file.read_exact_at(into, from - content).map_err(io(&path))?;
            }
        }
        Ok(bytes)
    }

    /// The whole of it, for whoever copies.
    pub(super) fn reader(&self) -> impl Read + '_ {
        Reader { archive: self, at: 0 }
    }
}

/// What two spans have in common.
fn overlap(from: u64, to: u64, first: u64, end: u64) -> Option<(u64, u64)> {
    let (from, to) = (from.max(first), to.min(end));
    (from < to).then_some((from, to))
}

struct Reader<'a> {
    archive: &'a Archive,
    at: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.archive.read(self.at, buffer.len()).map_err(io::Error::other)?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }
}
