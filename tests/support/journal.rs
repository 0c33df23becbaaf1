//! Reads the journal that `shim/unsynced.c` writes. The format is described there.

use std::{ffi::OsStr, fs, io, os::unix::ffi::OsStrExt, path::Path, path::PathBuf};

/// One recorded operation, in the order of the journal.
#[derive(Debug)]
pub struct Entry {
    /// CLOCK_MONOTONIC in nanoseconds, strictly increasing: taken before a change or a send, and
    /// after a sync returned.
    pub seq: u64,
    /// The inode that the operation is about, or 0.
    pub ino: u64,
    pub op: Op,
}

#[derive(Debug)]
pub enum Op {
    Write {
        path: PathBuf,
        offset: u64,
        len: u64,
        old_size: u64,
        saved: Vec<Saved>,
    },
    Resize {
        path: PathBuf,
        size: u64,
        old_size: u64,
        saved: Vec<Saved>,
    },
    /// Covers entries about the same inode with `from <= seq < began`.
    Sync {
        path: PathBuf,
        from: u64,
        began: u64,
        error: i32,
    },
    Create {
        path: PathBuf,
        parent: u64,
    },
    /// The file or directory made by the entry `creation` got this entry's inode.
    Born {
        creation: u64,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
        grave: Option<PathBuf>,
        old_parent: u64,
        new_parent: u64,
    },
    Unlink {
        path: PathBuf,
        grave: PathBuf,
        parent: u64,
    },
    RemoveDir {
        path: PathBuf,
        parent: u64,
    },
    Send {
        descriptor: u64,
        len: u64,
        bytes: Vec<u8>,
    },
    /// A fault was injected.
    Refused {
        path: PathBuf,
        error: i32,
    },
}

/// Bytes as they were before a change.
#[derive(Debug)]
pub struct Saved {
    pub offset: u64,
    pub bytes: Vec<u8>,
}

const HEAD: usize = 48;

/// Reads a journal; one that does not exist is empty. A torn last entry is dropped: its operation
/// did not happen yet.
pub fn read(path: &Path) -> io::Result<Vec<Entry>> {
    let bytes = match fs::read(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut entries: Vec<Entry> = Vec::new();
    let mut saved = Vec::new();
    let mut rest = bytes.as_slice();
    while let Some(raw) = Raw::split(&mut rest) {
        match raw.kind {
            1 => saved.push(raw.saved()),
            11 => {
                let cancelled = entries.iter().rposition(|e| e.seq == raw.a);
                entries.remove(cancelled.ok_or_else(|| bad("a cancelled entry that is not there"))?);
            }
            _ => entries.push(raw.entry(std::mem::take(&mut saved))?),
        }
    }
    Ok(entries)
}

struct Raw<'a> {
    kind: u32,
    seq: u64,
    ino: u64,
    a: u64,
    b: u64,
    c: u64,
    payload: &'a [u8],
}

impl<'a> Raw<'a> {
    fn split(rest: &mut &'a [u8]) -> Option<Raw<'a>> {
        let (head, _) = rest.split_first_chunk::<HEAD>()?;
        let word = |i: usize| u64::from_ne_bytes(*head[i..].first_chunk().expect("8 bytes of the head"));
        let half = |i: usize| u32::from_ne_bytes(*head[i..].first_chunk().expect("4 bytes of the head"));
        let payload = rest.get(HEAD..half(0) as usize)?;
        *rest = &rest[half(0) as usize..];
        Some(Raw {
            kind: half(4),
            seq: word(8),
            ino: word(16),
            a: word(24),
            b: word(32),
            c: word(40),
            payload,
        })
    }

    fn saved(&self) -> Saved {
        let all_zero = self.payload.is_empty();
        let bytes = if all_zero { vec![0; self.b as usize] } else { self.payload.to_vec() };
        Saved { offset: self.a, bytes }
    }

    /// The texts of the payload, each ended by NUL.
    fn path(&self, index: usize) -> PathBuf {
        let text = self.payload.split(|byte| *byte == 0).nth(index).unwrap_or_default();
        PathBuf::from(OsStr::from_bytes(text))
    }

    fn entry(&self, saved: Vec<Saved>) -> io::Result<Entry> {
        let Raw { kind, seq, ino, a, b, c, .. } = *self;
        let path = self.path(0);
        let op = match kind {
            2 => Op::Write { path, offset: a, len: b, old_size: c, saved },
            3 => Op::Resize { path, size: a, old_size: c, saved },
            4 => Op::Sync { path, from: a, began: b, error: c as i32 },
            5 => Op::Create { path, parent: a },
            6 => Op::Born { creation: a },
            7 => {
                let grave = Some(self.path(2)).filter(|grave| !grave.as_os_str().is_empty());
                Op::Rename { from: path, to: self.path(1), grave, old_parent: a, new_parent: b }
            }
            8 => Op::Unlink { path, grave: self.path(1), parent: a },
            9 => Op::RemoveDir { path, parent: a },
            10 => Op::Send { descriptor: a, len: b, bytes: self.payload.to_vec() },
            12 => Op::Refused { path, error: c as i32 },
            _ => return Err(bad("an entry of an unknown kind")),
        };
        Ok(Entry { seq, ino, op })
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the journal of unsynced changes holds {what}"))
}
