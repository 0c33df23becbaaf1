//! The shared file: a mark, then frames of length, checksum and payload; one frame is one append.
//!
//! Promises: a frame is read whole or not at all, so an append is atomic. Does not: notice every change an
//! attacker makes, the checksum only tells a torn frame from a whole one. A crash while writing loses the
//! frame that was being written and no earlier one.

use crate::wire::ProposedMessage;
use bytes::{Bytes, BytesMut};
use prost::Message;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The file starts with this, so that no event has position 0, which clients take for the start.
pub const MARK: &[u8; 16] = b"kurrent-stand-in";
const HEADER: usize = 16;
/// One pass reads at most this much, unless a single frame is longer.
const PASS_BYTES: usize = 4 << 20;
/// Longer than any append the transport lets in, so a length above it is no length.
const FRAME_BYTES_MAX: u64 = 64 << 20;

/// What one frame holds: events of one append to one stream.
#[derive(Clone, PartialEq, Message)]
pub struct StoredAppend {
    #[prost(bytes = "bytes", tag = "1")]
    pub stream: Bytes,
    #[prost(uint64, tag = "2")]
    pub first_revision: u64,
    /// 100 ns since 1970, as the protocol gives it to readers.
    #[prost(uint64, tag = "3")]
    pub created_ticks: u64,
    #[prost(message, repeated, tag = "4")]
    pub events: Vec<ProposedMessage>,
}

/// Adds the frame of `append` to `buffer`.
pub fn write(append: &StoredAppend, buffer: &mut Vec<u8>) {
    let payload = append.encoded_len();
    buffer.reserve(HEADER + payload);
    let start = buffer.len();
    buffer.extend_from_slice(&(payload as u64).to_le_bytes());
    buffer.extend_from_slice(&[0; 8]);
    // Cannot fail: a vector has room for everything.
    append.encode(buffer).expect("a vector grows");
    let sum = checksum(&buffer[start + HEADER..]);
    buffer[start + 8..start + HEADER].copy_from_slice(&sum.to_le_bytes());
}

/// The whole frames from `offset` on, each with its own offset, and where the next one starts.
pub struct Pass {
    pub appends: Vec<(u64, StoredAppend)>,
    pub next: u64,
}

/// Reads what is whole from `offset` on; an incomplete or torn last frame is left for a later pass.
pub fn read(file: &File, offset: u64) -> io::Result<Pass> {
    let mut want = PASS_BYTES;
    loop {
        let mut buffer = BytesMut::zeroed(want.min(file.metadata()?.len().saturating_sub(offset) as usize));
        let got = read_up_to(file, &mut buffer, offset)?;
        buffer.truncate(got);
        let bytes = buffer.freeze();
        let mut pass = Pass { appends: Vec::new(), next: offset };
        while let Some((append, length)) = whole(&bytes.slice((pass.next - offset) as usize..))? {
            pass.appends.push((pass.next, append));
            pass.next += length;
        }
        match first_length(&bytes) {
            Some(length) if pass.appends.is_empty() && length as usize > got && got == want => {
                want = length as usize;
            }
            _ => return Ok(pass),
        }
    }
}

/// Whether nothing but a torn end follows `offset`. A bad frame with more after it is damage.
pub fn is_torn_end(file: &File, offset: u64) -> io::Result<bool> {
    let mut header = [0; HEADER];
    let got = read_up_to(file, &mut header, offset)?;
    if got < HEADER {
        return Ok(true);
    }
    let end = file.metadata()?.len();
    Ok(first_length(&Bytes::copy_from_slice(&header)).is_some_and(|length| offset + length >= end))
}

fn whole(bytes: &Bytes) -> io::Result<Option<(StoredAppend, u64)>> {
    let Some(length) = first_length(bytes) else { return Ok(None) };
    if length > bytes.len() as u64 {
        return Ok(None);
    }
    let payload = bytes.slice(HEADER..length as usize);
    if checksum(&payload) != number(&bytes[8..HEADER]) {
        return Ok(None);
    }
    let append = StoredAppend::decode(payload).map_err(io::Error::other)?;
    Ok(Some((append, length)))
}

/// The length of the frame at the start of `bytes` with its header, when it can be one.
fn first_length(bytes: &Bytes) -> Option<u64> {
    let length = number(bytes.get(..8)?);
    (bytes.len() >= HEADER && length > 0 && length < FRAME_BYTES_MAX).then_some(length + HEADER as u64)
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read_at(&mut buffer[got..], offset + got as u64)? {
            0 => break,
            more => got += more,
        }
    }
    Ok(got)
}

/// Eight bytes at a time, multiplied and turned: fast also in a build without optimisation.
fn checksum(bytes: &[u8]) -> u64 {
    let mut sum = bytes.len() as u64 ^ 0x9e37_79b9_7f4a_7c15;
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        // Cannot fail: the chunk has eight bytes.
        let word = u64::from_le_bytes(word.try_into().expect("eight bytes"));
        sum = (sum.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
    (sum.rotate_left(5) ^ number(words.remainder())).wrapping_mul(0x517c_c1b7_2722_0a95)
}
