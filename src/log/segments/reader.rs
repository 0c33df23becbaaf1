//! Reading and purging. Every byte that leaves has passed its checksum.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;

use super::Shared;
use super::chain::Segment;
use super::frame::{self, HEAD, Head};
use super::purging::{self, Noted};
use crate::log::{Error, PieceRef, StoredRecord};

/// Most bytes read at once: small enough that the allocator has such a piece at hand and asks the system for no
/// fresh pages.
const CHUNK: usize = 128 << 10;
/// Times that a frame is read again when a piece does not check, because a purge may be at work.
const AGAIN: usize = 2;

fn unreadable(source: io::Error) -> Error {
    Error::Unavailable { reason: "the log cannot be read", source: Some(source) }
}

impl Shared {
    /// Records from `from` on, as `Log::read` promises.
    pub fn read_records(
        &self,
        from: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredRecord>, Error> {
        let head = self.head();
        let (mut records, mut bytes) = (Vec::new(), 0);
        let mut next = from;
        while next < head && records.len() < max_records && (bytes < max_bytes || records.is_empty()) {
            let (segment, after) = self.segment_of(next)?;
            let count = (head.min(after) - next).min((max_records - records.len()) as u64);
            let room = (max_bytes - bytes.min(max_bytes)).min(CHUNK);
            let (ends, frames) = match self.read_run(&segment, next, count, room) {
                Ok(Some(run)) => run,
                Ok(None) => {
                    // The side file does not know: go record by record, which repairs it.
                    records.push(self.read_one(next)?);
                    bytes += records.last().map_or(0, size);
                    next += 1;
                    continue;
                }
                Err(error) => return Err(unreadable(error)),
            };
            bytes += frames.len();
            for pair in ends.windows(2) {
                let frame = frames.slice((pair[0] - ends[0]) as usize..(pair[1] - ends[0]) as usize);
                let record = match decode(next, &frame) {
                    Some(record) => record,
                    // What was read before a damaged record is good, and is given first.
                    None => match self.read_one(next) {
                        Err(_) if !records.is_empty() => return Ok(records),
                        other => other?,
                    },
                };
                records.push(record);
                next += 1;
            }
        }
        Ok(records)
    }

    /// The ends and bytes of up to `count` frames, as many as fit into `room`, at least one.
    fn read_run(
        &self,
        segment: &Segment,
        first: u64,
        count: u64,
        room: usize,
    ) -> io::Result<Option<(Vec<u32>, Bytes)>> {
        let count = count.min((room / HEAD) as u64 + 1) as usize;
        let mut ends = segment.ends(first, count)?;
        let whole = ends.windows(2).take_while(|pair| pair[0] != 0 && pair[0] < pair[1]).count();
        let fit = ends.iter().take(whole + 1).take_while(|end| (**end - ends[0]) as usize <= room).count();
        let frames = whole.min(fit.saturating_sub(1).max(1));
        if frames == 0 || (ends[frames] - ends[0]) as usize > room.max(frame::LONGEST) {
            return Ok(None);
        }
        ends.truncate(frames + 1);
        let mut bytes = vec![0; (ends[frames] - ends[0]) as usize];
        match segment.data.read_exact_at(&mut bytes, ends[0].into()) {
            Ok(()) => Ok(Some((ends, bytes.into()))),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// One record. Repairs the offsets if they lead nowhere.
    pub fn read_one(&self, position: u64) -> Result<StoredRecord, Error> {
        let (segment, _) = self.segment_of(position)?;
        let (offset, head, mut frame) = self.frame_of(&segment, position)?;
        for _ in 0..AGAIN {
            if let Ok(record) = frame::decode(&head, &frame) {
                return Ok(record);
            }
            // Half a purge looks like damage: wait until none is under way.
            let _none = self.purging.lock().unwrap_or_else(PoisonError::into_inner);
            frame = self.frame_of(&segment, position)?.2;
        }
        frame::decode(&head, &frame)
            .map_err(|damage| self.corrupt(position, segment.place(offset), damage.what()))
    }

    /// Offset, head and bytes of the frame of a position below the head.
    fn frame_of(&self, segment: &Arc<Segment>, position: u64) -> Result<(u64, Head, Bytes), Error> {
        if let Some(found) = try_frame(segment, position).map_err(unreadable)? {
            return Ok(found);
        }
        let repair = self.repairing.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match try_frame(segment, position).map_err(unreadable)? {
            Some(found) => Some(found),
            None => {
                segment.rebuild_ends(self.head()).map_err(unreadable)?;
                try_frame(segment, position).map_err(unreadable)?
            }
        };
        drop(repair);
        let start = segment.ends(position, 1).map_err(unreadable)?.first().copied().unwrap_or(0);
        found.ok_or_else(|| self.corrupt(position, segment.place(start.into()), "there is no such record"))
    }

    /// Where the frame of a position below the head ends in its segment.
    pub fn frame_end(&self, position: u64) -> Result<u64, Error> {
        let (segment, _) = self.segment_of(position)?;
        let (offset, head, _) = self.frame_of(&segment, position)?;
        Ok(offset + u64::from(head.total))
    }

    fn segment_of(&self, position: u64) -> Result<(Arc<Segment>, u64), Error> {
        let located = self.chain.locate(position).map_err(unreadable)?;
        located.ok_or_else(|| self.corrupt(position, "no segment".into(), "there is no such record"))
    }

    /// Overwrites pieces with zeros and syncs. Zeros are written again where they are already,
    /// because an earlier sync of them may have failed.
    pub fn purge_pieces(&self, pieces: &[PieceRef]) -> Result<(), Error> {
        let mut pieces = pieces.to_vec();
        pieces.sort_unstable();
        let Some(last) = pieces.last() else { return Ok(()) };
        self.writable()?;
        let head = self.head();
        if last.position >= head {
            return Err(Error::Refused("a piece beyond the head cannot be purged"));
        }
        let failed = |reason, source| Error::Unknown { reason, source: Some(source) };
        // Recovery takes zeros in the last group for a torn write, unless the mark is beyond it.
        self.mark_tail(last.position + 1)
            .map_err(|source| failed("the tail mark could not be written", source))?;
        let _alone = self.purging.lock().unwrap_or_else(PoisonError::into_inner);
        let mut touched: Vec<Arc<Segment>> = Vec::new();
        let (mut ranges, mut noted) = (Vec::with_capacity(pieces.len()), Vec::with_capacity(pieces.len()));
        for of_record in pieces.chunk_by(|a, b| a.position == b.position) {
            let position = of_record[0].position;
            let (segment, _) = self.segment_of(position)?;
            let (offset, head, frame) = self.frame_of(&segment, position)?;
            frame::check_body(&head, &frame)
                .map_err(|damage| self.corrupt(position, segment.place(offset), damage.what()))?;
            for piece in of_record {
                let range = frame::piece_range(&head, &frame, piece.piece)
                    .ok_or(Error::Refused("the record has no such piece"))?;
                ranges.push((Arc::clone(&segment), offset + range.start as u64, range.len()));
                let (first, body_crc, piece) = (segment.first, head.body_crc, piece.piece);
                noted.push(Noted { first, offset, body_crc, piece });
            }
            if touched.last().is_none_or(|last| last.first != segment.first) {
                touched.push(segment);
            }
        }
        purging::note(self.chain.dir(), &noted)
            .map_err(|source| failed("what is to be purged could not be noted", source))?;
        for (segment, at, length) in &ranges {
            self.disk
                .write(&segment.data, &vec![0; *length], *at)
                .map_err(|source| failed("pieces could not be purged", source))?;
        }
        for segment in touched {
            self.disk
                .sync(&segment.data)
                .map_err(|source| failed("the purge could not be synced", source))?;
        }
        purging::done(self.chain.dir())
            .map_err(|source| failed("the note of a purge could not be removed", source))?;
        self.purge_mirror(&ranges, &noted)
            .map_err(|source| failed("the pieces are purged here, and not in the mirror", source))
    }
}

fn size(record: &StoredRecord) -> usize {
    record.header.len() + record.pieces.iter().flatten().map(Bytes::len).sum::<usize>()
}

/// The record of a frame, if all of it checks.
fn decode(position: u64, frame: &Bytes) -> Option<StoredRecord> {
    let head = Head::read(frame)?;
    let right = head.position == position && head.total as usize == frame.len();
    right.then(|| frame::decode(&head, frame).ok()).flatten()
}

/// Follows the offsets to a frame; `None` if they do not lead to the right one.
fn try_frame(segment: &Segment, position: u64) -> io::Result<Option<(u64, Head, Bytes)>> {
    let Some((offset, length)) = segment.range(position)? else { return Ok(None) };
    if length > frame::LONGEST {
        return Ok(None);
    }
    let mut bytes = vec![0; length];
    match segment.data.read_exact_at(&mut bytes, offset) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let right = |head: &Head| head.position == position && head.total as usize == length;
    Ok(Head::read(&bytes).filter(right).map(|head| (offset, head, bytes.into())))
}
