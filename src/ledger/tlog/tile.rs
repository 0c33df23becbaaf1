//! Tiles of `tlog-tiles`: 256 neighbouring hashes of every eighth level, and bundles of 256 entries.

use std::fmt;

use super::{Invalid, malformed};

/// Hashes or entries of a full tile.
pub const WIDTH: u64 = 256;
/// Levels of the tree between two levels of tiles.
pub const HEIGHT: u32 = 8;
/// Levels of tiles that a tree of less than 2^64 leaves can have.
pub const LEVELS: u32 = 8;
/// Longest entry of a bundle.
pub const MAX_ENTRY: usize = u16::MAX as usize;

/// What a path below a log's prefix names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    Checkpoint,
    /// Hashes of tile level `level`.
    Hashes {
        level: u32,
        index: u64,
        width: u16,
    },
    Entries {
        index: u64,
        width: u16,
    },
}

/// `/checkpoint`, `/tile/<L>/<N>[.p/<W>]` or `/tile/entries/<N>[.p/<W>]`, without the first slash.
impl std::str::FromStr for Resource {
    type Err = Invalid;

    fn from_str(path: &str) -> Result<Self, Invalid> {
        if path == "checkpoint" {
            return Ok(Resource::Checkpoint);
        }
        let wrong = malformed("path", "neither checkpoint nor tile");
        // The longest has eight groups of digits.
        let rest = path.strip_prefix("tile/").filter(|_| path.len() <= 64).ok_or(wrong.clone())?;
        let (level, rest) = rest.split_once('/').ok_or(wrong.clone())?;
        let (number, width) = match rest.split_once(".p/") {
            None => (rest, 256),
            Some((number, width)) => {
                let width = super::decimal(width).filter(|w| (1..WIDTH).contains(w));
                (number, width.ok_or(malformed("path", "a partial tile is 1 to 255 wide"))? as u16)
            }
        };
        let index = parse_index(number).ok_or(malformed("path", "the tile's number"))?;
        if level == "entries" {
            return Ok(Resource::Entries { index, width });
        }
        match super::decimal(level) {
            Some(level @ 0..=63) => Ok(Resource::Hashes { level: level as u32, index, width }),
            _ => Err(malformed("path", "a tile's level is 0 to 63")),
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (index, width) = match *self {
            Resource::Checkpoint => return f.write_str("checkpoint"),
            Resource::Hashes { level, index, width } => {
                write!(f, "tile/{level}/")?;
                (index, width)
            }
            Resource::Entries { index, width } => {
                f.write_str("tile/entries/")?;
                (index, width)
            }
        };
        f.write_str(&index_path(index))?;
        if u64::from(width) < WIDTH { write!(f, ".p/{width}") } else { Ok(()) }
    }
}

/// `x001/x234/067`: a number as path elements of three digits, of which all but the last begin
/// with x.
pub fn index_path(index: u64) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    path
}

fn parse_index(path: &str) -> Option<u64> {
    let mut index: u64 = 0;
    let mut groups = path.split('/').peekable();
    while let Some(group) = groups.next() {
        let digits = if groups.peek().is_some() { group.strip_prefix('x')? } else { group };
        if digits.len() != 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    // One path per number: no leading groups of zeros.
    (index_path(index) == path).then_some(index)
}

/// Hashes that stand on a level of tiles in a tree of this size.
pub fn hashes_on(level: u32, size: u64) -> u64 {
    size.checked_shr(level.saturating_mul(HEIGHT)).unwrap_or(0)
}

/// One entry of a bundle, behind the others: its length in two bytes, then itself.
pub fn bundle(out: &mut Vec<u8>, entry: &[u8]) -> Result<(), Invalid> {
    let length = u16::try_from(entry.len()).map_err(|_| malformed("entry", "longer than 65535 bytes"))?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(entry);
    Ok(())
}

/// The entries of a bundle; at most 256.
pub fn unbundle(mut bytes: &[u8]) -> Result<Vec<&[u8]>, Invalid> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let cut = malformed("bundle", "cut off within an entry");
        let (length, rest) = bytes.split_first_chunk::<2>().ok_or(cut.clone())?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, rest) = rest.split_at_checked(length).ok_or(cut)?;
        if entries.len() as u64 == WIDTH {
            return Err(malformed("bundle", "more than 256 entries"));
        }
        entries.push(entry);
        bytes = rest;
    }
    Ok(entries)
}
