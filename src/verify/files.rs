//! Reads the files of a bundle, each exactly once, and compares them with the manifest on the way.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read};

use sha2::{Digest, Sha256};

use super::manifest::{CHECKPOINT, COVER, EDGE, EVENTS, OPEN, PIECES, POSITIONS, README, REGISTERS};
use super::manifest::{FileEntry, Kind, Level, MANIFEST, Manifest};
use super::report::Claim;
use super::source::Source;
use super::{Error, Stop, malformed, unreadable};

/// Buffers that files are read with; the only memory that a large file takes.
const BUFFER: usize = 256 * 1024;
/// Longest file that is read at once: a checkpoint, a proof, an edge.
pub const MAX_SMALL: u64 = 2 << 20;

/// The files that the manifest lists.
pub struct Files<'a> {
    source: &'a dyn Source,
    manifest: &'a Manifest,
    unread: BTreeSet<&'a str>,
}

impl<'a> Files<'a> {
    /// Refuses what is listed and not there, there and not listed, of another length, or without a
    /// place in a bundle of this kind.
    pub fn new(source: &'a dyn Source, manifest: &'a Manifest) -> Result<Files<'a>, Stop> {
        let failed = |why: String| Stop::Failed(Claim::Files, why);
        let mut there = 0;
        for (name, length) in source.files().into_iter().filter(|(name, _)| *name != MANIFEST) {
            let listed =
                manifest.file(name).ok_or_else(|| failed(format!("{name} is not in the manifest")))?;
            if listed.length != length {
                let why = format!("{name} has {length} bytes, the manifest says {}", listed.length);
                return Err(failed(why));
            }
            there += 1;
        }
        let unread: BTreeSet<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
        if there != unread.len() {
            let names: BTreeSet<&str> = source.files().into_iter().map(|(name, _)| name).collect();
            let missing = unread.difference(&names).next().unwrap_or(&"a file");
            return Err(failed(format!("{missing} is missing")));
        }
        required(manifest, &unread)?;
        Ok(Files { source, manifest, unread })
    }

    /// Opens a file, once; `None` if the bundle has none of this name.
    pub fn open(&mut self, name: &str) -> Result<Option<BufReader<Checked<'a>>>, Stop> {
        let Some(entry) = self.manifest.file(name).filter(|_| self.unread.remove(name)) else {
            return Ok(None);
        };
        let inner = self.source.open(name).map_err(unreadable(name))?;
        let checked = Checked { inner: inner.take(entry.length), hash: Sha256::new(), entry };
        let buffer = usize::try_from(entry.length).unwrap_or(BUFFER).clamp(1, BUFFER);
        Ok(Some(BufReader::with_capacity(buffer, checked)))
    }

    /// A short file, whole.
    pub fn small(&mut self, name: &str) -> Result<Option<Vec<u8>>, Stop> {
        let Some(mut file) = self.open(name)? else { return Ok(None) };
        if file.get_ref().entry.length > MAX_SMALL {
            return Err(malformed(name, "is longer than such a file can be").into());
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(unreadable(name))?;
        finish(file)?;
        Ok(Some(bytes))
    }

    /// Hashes what nobody had a reason to read.
    pub fn rest(mut self) -> Result<usize, Stop> {
        while let Some(name) = self.unread.first().copied() {
            self.small(name)?;
        }
        Ok(self.manifest.files.len())
    }
}

/// What a bundle of this kind must have, and what it must not.
fn required(manifest: &Manifest, listed: &BTreeSet<&str>) -> Result<(), Error> {
    let whole = manifest.kind != Kind::Selection;
    let rules = [
        (CHECKPOINT, true),
        (EVENTS, true),
        (COVER, true),
        (README, true),
        (EDGE, whole),
        (REGISTERS, whole),
        (POSITIONS, manifest.kind != Kind::Range),
        (PIECES, manifest.level != Level::Headers),
        (OPEN, manifest.level == Level::Opened),
    ];
    for (name, expected) in rules {
        match (expected, listed.contains(name)) {
            (true, false) => return Err(malformed(name, "is missing")),
            (false, true) => return Err(malformed(name, "has no place in a bundle of this kind and level")),
            _ => {}
        }
    }
    if whole && listed.iter().any(|name| name.starts_with("proofs/")) {
        return Err(malformed("proofs/", "has no place in a bundle of a whole range"));
    }
    Ok(())
}

/// A file that is hashed while it is read, and never read beyond its listed length.
pub struct Checked<'a> {
    inner: io::Take<Box<dyn Read + 'a>>,
    hash: Sha256,
    entry: &'a FileEntry,
}

impl Read for Checked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}

/// After the last byte: whether the file is the one that the manifest lists.
pub fn finish(file: BufReader<Checked<'_>>) -> Result<(), Stop> {
    let over = !file.buffer().is_empty();
    let mut file = file.into_inner();
    let name = &file.entry.path;
    let failed = |why: &str| Err(Stop::Failed(Claim::Files, format!("{name} {why}")));
    let mut one = [0u8; 1];
    let more = file.inner.get_mut().read(&mut one).map_err(unreadable(name))?;
    if over || more > 0 || file.inner.limit() > 0 {
        return failed("is shorter or longer than its listed length, or goes on after its end");
    }
    if <[u8; 32]>::from(file.hash.finalize()) != file.entry.sha256 {
        return failed("is not the file that the manifest lists: its SHA-256 is another");
    }
    Ok(())
}

/// A file of lines, none longer than a limit.
pub struct Lines<'a> {
    name: &'static str,
    file: BufReader<Checked<'a>>,
    limit: usize,
    line: Vec<u8>,
}

impl<'a> Lines<'a> {
    pub fn open(files: &mut Files<'a>, name: &'static str, limit: usize) -> Result<Option<Lines<'a>>, Stop> {
        let file = files.open(name)?;
        Ok(file.map(|file| Lines { name, file, limit, line: Vec::new() }))
    }

    /// The next line without its newline; `None` at the end.
    pub fn line(&mut self) -> Result<Option<&[u8]>, Stop> {
        self.line.clear();
        let most = self.limit as u64 + 1;
        let read = (&mut self.file).take(most).read_until(b'\n', &mut self.line);
        read.map_err(unreadable(self.name))?;
        match self.line.pop() {
            None => Ok(None),
            Some(b'\n') if !self.line.is_empty() => Ok(Some(&self.line)),
            _ => {
                Err(malformed(self.name, "has a line that is empty, too long, or without its newline").into())
            }
        }
    }

    /// Nothing may follow.
    pub fn finish(mut self) -> Result<(), Stop> {
        if self.line()?.is_some() {
            return Err(Stop::Failed(Claim::Contents, format!("{} goes on after the last event", self.name)));
        }
        finish(self.file)
    }
}
