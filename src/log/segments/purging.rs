//! What is about to be purged, noted before the first zero is written. Zeros go in place, a sector at a time as
//! far as the disk is concerned: where power fails in between, a piece is neither what it was nor purged, which
//! would be taken for damage. The next start finds the note and writes the zeros again before anything is read.
//!
//! `purging`: `custpurg`, then for each piece the first position of its segment (u64), the offset of its frame
//! (u64), the checksum of the frame's body (u32) and the number of the piece (u16), all little-endian; at last
//! the CRC-32C of all that. It names nobody. A crash loses the note or its removal: zeros over zeros do no harm.

use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::chain::{Chain, Segment};
use super::disk::Disk;
use super::frame::{self, HEAD, Head, u16_at, u32_at, u64_at};
use crate::durable;

const MAGIC: &[u8; 8] = b"custpurg";
const ENTRY: usize = 22;

/// One piece that is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noted {
    /// First position of the segment.
    pub first: u64,
    /// Where the frame begins.
    pub offset: u64,
    pub body_crc: u32,
    pub piece: u16,
}

fn path(dir: &Path) -> PathBuf {
    dir.join("purging")
}

/// Notes what is about to be overwritten. Durable when it returns.
pub fn note(dir: &Path, pieces: &[Noted]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(MAGIC.len() + pieces.len() * ENTRY + 4);
    bytes.extend_from_slice(MAGIC);
    for noted in pieces {
        bytes.extend_from_slice(&noted.first.to_le_bytes());
        bytes.extend_from_slice(&noted.offset.to_le_bytes());
        bytes.extend_from_slice(&noted.body_crc.to_le_bytes());
        bytes.extend_from_slice(&noted.piece.to_le_bytes());
    }
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    durable::replace(&path(dir), &bytes)
}

/// The zeros are synced: the note may go. Not synced, because it does no harm if it comes back.
pub fn done(dir: &Path) -> io::Result<()> {
    match std::fs::remove_file(path(dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Does what was noted and perhaps not done. To be called before the segments are read.
pub fn finish(chain: &Chain, disk: &dyn Disk) -> io::Result<()> {
    let bytes = match std::fs::read(path(chain.dir())) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    match read(&bytes) {
        Some(pieces) => {
            tracing::warn!(pieces = pieces.len(), "a purge that may have been cut short is done again");
            // Sorted by position when they were noted, so pieces of one segment lie together.
            for of_segment in pieces.chunk_by(|a, b| a.first == b.first) {
                again(chain, disk, of_segment)?;
            }
        }
        // It was replaced whole, so this is no cut; what it was about shows where it is read.
        None => tracing::error!("the note of what was being purged does not check"),
    }
    done(chain.dir())
}

fn read(bytes: &[u8]) -> Option<Vec<Noted>> {
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    let entries = body.strip_prefix(MAGIC)?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*crc) || !entries.len().is_multiple_of(ENTRY) {
        return None;
    }
    let one = |entry: &[u8]| Noted {
        first: u64_at(entry, 0),
        offset: u64_at(entry, 8),
        body_crc: u32_at(entry, 16),
        piece: u16_at(entry, 20),
    };
    Some(entries.chunks_exact(ENTRY).map(one).collect())
}

/// Overwrites pieces of one segment, and syncs once.
fn again(chain: &Chain, disk: &dyn Disk, pieces: &[Noted]) -> io::Result<()> {
    let Some(first) = pieces.first().map(|noted| noted.first).filter(|first| chain.firsts().contains(first))
    else {
        return Ok(());
    };
    let segment = chain.segment(first)?;
    for noted in pieces {
        if let Some(range) = range(&segment, noted) {
            let length = (range.end - range.start) as usize;
            disk.write(&segment.data, &vec![0; length], range.start)?;
        }
    }
    disk.sync(&segment.data)
}

/// Where a piece lies, if the very frame that was meant stands there.
fn range(segment: &Segment, noted: &Noted) -> Option<Range<u64>> {
    let mut head = [0; HEAD];
    segment.data.read_exact_at(&mut head, noted.offset).ok()?;
    let head = Head::read(&head).filter(|head| head.body_crc == noted.body_crc)?;
    let mut bytes = vec![0; head.total as usize];
    segment.data.read_exact_at(&mut bytes, noted.offset).ok()?;
    frame::check_body(&head, &bytes).ok()?;
    let range = frame::piece_range(&head, &bytes, noted.piece)?;
    Some(noted.offset + range.start as u64..noted.offset + range.end as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_reads_back_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let pieces = [1u16, 2].map(|piece| Noted { first: 9, offset: 64, body_crc: 5, piece });
        note(dir.path(), &pieces).unwrap();
        let bytes = std::fs::read(path(dir.path())).unwrap();
        assert_eq!(read(&bytes).unwrap(), pieces);
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 4;
            assert_eq!(read(&other), None, "byte {at}");
        }
        assert_eq!(read(&[]), None);
        done(dir.path()).unwrap();
        done(dir.path()).unwrap();
    }
}
