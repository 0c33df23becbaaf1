//! The tail mark: a small file that says up to which position the log was durable. It is written
//! when the log is closed, when it falls idle, and before pieces are purged, so that an end of the
//! log before the mark is known as a loss and not mistaken for a write that power cut short.
//!
//! `tail`: `custtail`, the position (u64, little-endian), CRC-32C of these 16 bytes.

use std::io;
use std::path::Path;

use super::frame::{u32_at, u64_at};
use crate::durable;

const MAGIC: &[u8; 8] = b"custtail";

/// All records below `position` were durable before this was called, and it is known for ever.
pub fn write(dir: &Path, position: u64) -> io::Result<()> {
    let mut bytes = [0; 20];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&position.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..16]);
    bytes[16..].copy_from_slice(&crc.to_le_bytes());
    durable::replace(&dir.join("tail"), &bytes)
}

/// The mark, if there is one; `Err` if it does not check.
pub fn read(dir: &Path) -> io::Result<Result<u64, &'static str>> {
    let bytes = match std::fs::read(dir.join("tail")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ok(0)),
        other => other?,
    };
    let whole =
        bytes.len() == 20 && bytes[..8] == *MAGIC && crc32c::crc32c(&bytes[..16]) == u32_at(&bytes, 16);
    Ok(if whole { Ok(u64_at(&bytes, 8)) } else { Err("the tail mark does not check") })
}
