//! The archive form of a bundle: `ustar` in its one canonical spelling.
//!
//! Every file has mode 0644 and neither time, owner nor names; `manifest` comes first, the others
//! follow in the order of their bytes; two blocks of zeros end the archive, and nothing follows.
//! Whoever packs the same files gets the same bytes, so an archive has one hash. Because each header is
//! compared with the one that would be written for its name and size, links, devices, long names,
//! directories and every other kind of entry are refused without being understood.

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::manifest::{MANIFEST, MAX_FILES, is_path};
use super::{Error, malformed, unreadable};

/// What an archive is called where something is wrong with it.
const ARCHIVE: &str = "archive";

pub const BLOCK: usize = 512;
/// Eleven octal digits are all that the format has for a length; larger files go into a directory.
pub const MAX_FILE: u64 = (1 << 33) - 1;
/// What ends an archive.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// Bytes that can be read from any place, such as a file.
pub trait ReadAt {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    fn size(&self) -> io::Result<u64>;
}

/// Some of those bytes, in order.
pub(super) struct Part<'b, B> {
    pub bytes: &'b B,
    pub at: u64,
    pub left: u64,
}

impl<B: ReadAt> Read for Part<'_, B> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.bytes.read_at(&mut buffer[..length], self.at)?;
        (self.at, self.left) = (self.at + read as u64, self.left - read as u64);
        Ok(read)
    }
}

/// Where an entry's bytes lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub offset: u64,
    pub length: u64,
}

/// The header of an entry. `None` where the name or the length does not fit the format.
pub fn header(name: &str, length: u64) -> Option<[u8; BLOCK]> {
    if name.is_empty() || name.len() > 100 || length > MAX_FILE {
        return None;
    }
    let mut block = [0u8; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000644\x000000000\x000000000\0");
    put(124, format!("{length:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    // The sum is taken with blanks in its place.
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    put(329, b"0000000\x000000000\0");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Some(block)
}

/// Zeros after an entry of this length, up to the next block.
pub fn padding(length: u64) -> usize {
    (BLOCK - (length % BLOCK as u64) as usize) % BLOCK
}

/// Finds the entries of an archive without reading their content.
pub fn scan(archive: &impl ReadAt) -> Result<BTreeMap<String, Place>, Error> {
    let refused = |why: String| Err(malformed(ARCHIVE, &why));
    let size = archive.size().map_err(unreadable(ARCHIVE))?;
    let mut places = BTreeMap::new();
    let mut last = String::new();
    let mut at = 0;
    loop {
        let mut block = [0u8; BLOCK];
        if !fill(archive, &mut block, at)? {
            return refused(format!("is cut off at byte {at}"));
        }
        if block == [0; BLOCK] {
            let mut blocks = [0u8; END.len()];
            let whole = size == at + END.len() as u64 && fill(archive, &mut blocks, at)? && blocks == END;
            let why = format!("does not end with two blocks of zeros at byte {at}");
            return if whole { Ok(places) } else { refused(why) };
        }
        let (name, length) = match entry(&block) {
            Ok(found) => found,
            Err(why) => return refused(format!("has at byte {at} an entry that is not canonical: {why}")),
        };
        let offset = at + BLOCK as u64;
        // The length is below 2^33 and the offset below the file's size.
        let next = offset + length + padding(length) as u64;
        if next > size {
            return refused(format!("is cut off within {name}"));
        }
        let mut zeros = [0u8; BLOCK];
        let pad = padding(length);
        if !fill(archive, &mut zeros[..pad], offset + length)? || zeros != [0; BLOCK] {
            return refused(format!("has something other than zeros behind {name}"));
        }
        let in_order = if places.is_empty() { name == MANIFEST } else { last == MANIFEST || name > last };
        if !in_order || places.insert(name.clone(), Place { offset, length }).is_some() {
            return refused(format!("has {name} twice or out of order"));
        }
        if places.len() > MAX_FILES + 1 {
            return refused(format!("has more than {MAX_FILES} files"));
        }
        (last, at) = (name, next);
    }
}

fn entry(block: &[u8; BLOCK]) -> Result<(String, u64), &'static str> {
    let name = block[..100].split(|byte| *byte == 0).next().unwrap_or_default();
    let name = std::str::from_utf8(name).ok().filter(|name| *name == MANIFEST || is_path(name));
    let name = name.ok_or("its name is not one of a bundle's")?;
    let digits = std::str::from_utf8(&block[124..135]).ok();
    let digits = digits.filter(|digits| digits.bytes().all(|b| (b'0'..=b'7').contains(&b)));
    let length = digits.and_then(|digits| u64::from_str_radix(digits, 8).ok()).ok_or("its length")?;
    if header(name, length).as_ref() != Some(block) {
        return Err("it is no plain file, or says more than name and length");
    }
    Ok((name.to_owned(), length))
}

/// Reads until the buffer is full; `false` if the archive ends before.
fn fill(archive: &impl ReadAt, buffer: &mut [u8], at: u64) -> Result<bool, Error> {
    let mut part = Part { bytes: archive, at, left: buffer.len() as u64 };
    match part.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(end) if end.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(why) => Err(unreadable(ARCHIVE)(why)),
    }
}
