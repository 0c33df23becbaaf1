//! One record as bytes. The layout stands in the head of `segments.rs`.

use bytes::Bytes;

use crate::domain::id::{EventId, Id};
use crate::limits;
use crate::log::{Error, NewRecord, StoredRecord};

/// Bytes of the fixed head.
pub const HEAD: usize = 56;
/// No frame is longer: head, emitter, table, header and sidecar at their limits.
pub const LONGEST: usize =
    HEAD + limits::ID_BYTES + 8 * PIECES + limits::HEADER_BYTES + limits::SIDECAR_BYTES;
/// Most pieces of one record: index block and three sealed boxes for each part, and some to spare.
pub const PIECES: usize = 1024;

/// The fixed head, read and checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the whole frame.
    pub total: u32,
    pub position: u64,
    /// First position of the group that was written and synced as one.
    pub group: u64,
    /// Frames of the same batch that follow.
    pub left: u16,
    pub pieces: u16,
    pub emitter: u8,
    pub event_id: [u8; 16],
    pub header: u32,
    pub body_crc: u32,
}

impl Head {
    /// `None` if these bytes are not the head of a frame.
    pub fn read(bytes: &[u8]) -> Option<Head> {
        let bytes: &[u8; HEAD] = bytes.first_chunk()?;
        if u32_at(bytes, 0) != crc32c::crc32c(&bytes[4..]) {
            return None;
        }
        let head = Head {
            total: u32_at(bytes, 4),
            position: u64_at(bytes, 8),
            group: u64_at(bytes, 16),
            left: u16_at(bytes, 24),
            pieces: u16_at(bytes, 26),
            emitter: bytes[28],
            event_id: *bytes[32..].first_chunk()?,
            header: u32_at(bytes, 48),
            body_crc: u32_at(bytes, 52),
        };
        (head.before_pieces() <= head.total as usize && head.total as usize <= LONGEST).then_some(head)
    }

    /// Where the table begins.
    fn table(&self) -> usize {
        HEAD + self.emitter as usize
    }

    /// Where the pieces begin.
    fn before_pieces(&self) -> usize {
        self.table() + 8 * self.pieces as usize + self.header as usize
    }
}

/// Why a frame whose head checks is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    Body,
    Piece(u16),
}

impl Damage {
    pub fn what(self) -> &'static str {
        match self {
            Damage::Body => "header or table of pieces does not check",
            Damage::Piece(_) => "a piece does not check",
        }
    }
}

/// Offsets of a piece inside the frame, or `None` beyond the last. The body must have been checked.
pub fn piece_range(head: &Head, frame: &[u8], piece: u16) -> Option<std::ops::Range<usize>> {
    if piece >= head.pieces {
        return None;
    }
    let length = |i: u16| u32_at(frame, head.table() + 8 * i as usize) as usize;
    let start = head.before_pieces() + (0..piece).map(length).sum::<usize>();
    Some(start..start + length(piece))
}

/// Checks emitter, table and header, and that the lengths add up to the frame.
pub fn check_body(head: &Head, frame: &[u8]) -> Result<(), Damage> {
    let body = &frame[HEAD..head.before_pieces()];
    if crc32c::crc32c(body) != head.body_crc {
        return Err(Damage::Body);
    }
    let lengths: usize =
        (0..head.pieces as usize).map(|i| u32_at(frame, head.table() + 8 * i) as usize).sum();
    if head.before_pieces() + lengths != head.total as usize { Err(Damage::Body) } else { Ok(()) }
}

/// Checks the whole frame. Says how many pieces are purged, that is, all zero.
pub fn check(head: &Head, frame: &[u8]) -> Result<usize, Damage> {
    check_body(head, frame)?;
    let mut purged = 0;
    walk_pieces(head, frame, |_, bytes| purged += usize::from(bytes.is_none()))?;
    Ok(purged)
}

/// Calls `each` with every piece in order: its range, or `None` where it is purged.
fn walk_pieces(
    head: &Head,
    frame: &[u8],
    mut each: impl FnMut(u16, Option<std::ops::Range<usize>>),
) -> Result<(), Damage> {
    let mut start = head.before_pieces();
    for i in 0..head.pieces {
        let entry = head.table() + 8 * i as usize;
        let range = start..start + u32_at(frame, entry) as usize;
        start = range.end;
        if is_zero(&frame[range.clone()]) {
            each(i, None);
        } else if crc32c::crc32c(&frame[range.clone()]) == u32_at(frame, entry + 4) {
            each(i, Some(range));
        } else {
            return Err(Damage::Piece(i));
        }
    }
    Ok(())
}

/// The record in a frame, sharing its bytes.
pub fn decode(head: &Head, frame: &Bytes) -> Result<StoredRecord, Damage> {
    check_body(head, frame)?;
    let end = head.before_pieces();
    let header = frame.slice(end - head.header as usize..end);
    let mut pieces = Vec::with_capacity(head.pieces as usize);
    walk_pieces(head, frame, |_, range| pieces.push(range.map(|range| frame.slice(range))))?;
    Ok(StoredRecord { position: head.position, header, pieces })
}

/// Who sent the record. The body must have been checked.
pub fn key(head: &Head, frame: &[u8]) -> Option<(Id, EventId)> {
    let emitter = std::str::from_utf8(&frame[HEAD..head.table()]).ok()?.parse().ok()?;
    Some((emitter, EventId(uuid::Uuid::from_bytes(head.event_id))))
}

/// Frames of a batch, complete but for what only the writer knows.
#[derive(Debug)]
pub struct Encoded {
    pub bytes: Vec<u8>,
    pub frames: Vec<Framed>,
}

#[derive(Debug)]
pub struct Framed {
    pub emitter: Id,
    pub event_id: EventId,
    pub total: u32,
}

/// The size of the frames of a batch that is within the port's limits.
pub fn size_of(batch: &[NewRecord]) -> Result<usize, Error> {
    if batch.len() > limits::BATCH_EVENTS {
        return Err(Error::Refused("too many records in one batch"));
    }
    batch.iter().map(check_limits).sum()
}

/// Builds the frames of a batch; runs in the caller's task, because checksums cost.
pub fn encode(batch: Vec<NewRecord>) -> Result<Encoded, Error> {
    let size = size_of(&batch)?;
    let mut encoded = Encoded { bytes: Vec::with_capacity(size), frames: Vec::with_capacity(batch.len()) };
    for record in batch {
        let total = encode_one(&record, &mut encoded.bytes);
        encoded.frames.push(Framed { emitter: record.emitter, event_id: record.event_id, total });
    }
    Ok(encoded)
}

/// The size of the frame that a record will get.
fn check_limits(record: &NewRecord) -> Result<usize, Error> {
    let sidecar: usize = record.pieces.iter().map(Bytes::len).sum();
    if record.header.is_empty() {
        return Err(Error::Refused("the header is empty"));
    }
    if record.header.len() > limits::HEADER_BYTES {
        return Err(Error::Refused("the header is too long"));
    }
    if record.pieces.len() > PIECES {
        return Err(Error::Refused("too many pieces"));
    }
    if sidecar > limits::SIDECAR_BYTES {
        return Err(Error::Refused("the pieces are too long"));
    }
    // An empty or all-zero piece could not be told from a purged one.
    if record.pieces.iter().any(|piece| is_zero(piece)) {
        return Err(Error::Refused("a piece is empty or all zero"));
    }
    Ok(HEAD + record.emitter.as_str().len() + 8 * record.pieces.len() + record.header.len() + sidecar)
}

fn encode_one(record: &NewRecord, out: &mut Vec<u8>) -> u32 {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD]);
    out.extend_from_slice(record.emitter.as_str().as_bytes());
    for piece in &record.pieces {
        out.extend_from_slice(&(piece.len() as u32).to_le_bytes());
        out.extend_from_slice(&crc32c::crc32c(piece).to_le_bytes());
    }
    out.extend_from_slice(&record.header);
    let body_crc = crc32c::crc32c(&out[start + HEAD..]);
    for piece in &record.pieces {
        out.extend_from_slice(piece);
    }
    let frame = &mut out[start..];
    let total = frame.len() as u32;
    frame[4..8].copy_from_slice(&total.to_le_bytes());
    frame[26..28].copy_from_slice(&(record.pieces.len() as u16).to_le_bytes());
    frame[28] = record.emitter.as_str().len() as u8;
    frame[32..48].copy_from_slice(record.event_id.as_bytes());
    frame[48..52].copy_from_slice(&(record.header.len() as u32).to_le_bytes());
    frame[52..56].copy_from_slice(&body_crc.to_le_bytes());
    total
}

/// Fills in what only the writer knows, and seals the head.
pub fn place(frame: &mut [u8], position: u64, group: u64, left: u16) {
    frame[8..16].copy_from_slice(&position.to_le_bytes());
    frame[16..24].copy_from_slice(&group.to_le_bytes());
    frame[24..26].copy_from_slice(&left.to_le_bytes());
    let crc = crc32c::crc32c(&frame[4..HEAD]);
    frame[..4].copy_from_slice(&crc.to_le_bytes());
}

pub fn is_zero(bytes: &[u8]) -> bool {
    // In blocks without a branch inside, because megabytes are asked about.
    let (blocks, rest) = bytes.as_chunks::<64>();
    let zero = |block: &[u8]| block.iter().fold(0, |any, byte| any | byte) == 0;
    blocks.iter().all(|block| zero(block)) && zero(rest)
}

pub fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> NewRecord {
        NewRecord {
            emitter: "app".parse().unwrap(),
            event_id: EventId(uuid::Uuid::from_u128(0x1234)),
            header: Bytes::from_static(b"{}"),
            pieces: vec![Bytes::from_static(b"index"), Bytes::from_static(b"sealed")],
        }
    }

    #[test]
    fn the_layout_is_as_written_down() {
        let mut frame = encode(vec![sample()]).unwrap().bytes;
        place(&mut frame, 7, 5, 2);
        let text: Vec<String> =
            frame.chunks(8).map(|c| c.iter().map(|b| format!("{b:02x}")).collect()).collect();
        // Only ever changed together with the version in the head of a segment.
        let golden = [
            "a0dc185d58000000", // checksum, length
            "0700000000000000", // position
            "0500000000000000", // group
            "0200020003000000", // left, pieces, emitter
            "0000000000000000", // event id
            "0000000000001234",
            "02000000866e0775", // header, checksum of the body
            "61707005000000b1", // emitter, table, header, pieces
            "f8754406000000fb",
            "1c47867b7d696e64",
            "65787365616c6564",
        ];
        assert_eq!(text, golden);
    }

    #[test]
    fn every_flip_is_seen() {
        let mut frame = encode(vec![sample()]).unwrap().bytes;
        place(&mut frame, 7, 5, 2);
        for at in 0..frame.len() {
            for bit in 0..8 {
                let mut bad = frame.clone();
                bad[at] ^= 1 << bit;
                let seen = Head::read(&bad).is_none_or(|head| check(&head, &bad).is_err());
                assert!(seen, "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn limits_are_kept() {
        let refused = |change: fn(&mut NewRecord)| {
            let mut record = sample();
            change(&mut record);
            matches!(encode(vec![record]), Err(Error::Refused(_)))
        };
        assert!(!refused(|_| {}));
        assert!(refused(|r| r.header = Bytes::new()));
        assert!(refused(|r| r.header = vec![b'x'; limits::HEADER_BYTES + 1].into()));
        assert!(refused(|r| r.pieces.push(Bytes::new())));
        assert!(refused(|r| r.pieces.push(vec![0; 9].into())));
        assert!(refused(|r| r.pieces = vec![vec![1; limits::SIDECAR_BYTES / 2].into(); 3]));
        assert!(refused(|r| r.pieces = vec![Bytes::from_static(b"x"); PIECES + 1]));
    }

    #[test]
    fn the_longest_record_fits() {
        let mut record = sample();
        record.emitter = "e".repeat(limits::ID_BYTES).parse().unwrap();
        record.header = vec![b'x'; limits::HEADER_BYTES].into();
        record.pieces = vec![vec![1; limits::SIDECAR_BYTES / PIECES].into(); PIECES];
        let mut frame = encode(vec![record]).unwrap().bytes;
        place(&mut frame, 0, 0, 0);
        assert_eq!(frame.len(), LONGEST);
        assert_eq!(Head::read(&frame).map(|head| check(&head, &frame)), Some(Ok(0)));
    }
}
