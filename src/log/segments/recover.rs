//! Opening: find the end of the log, tell a torn write from a loss, read again what the id index
//! lacks.
//!
//! Known to have been durable is everything below `known`: the greater of the tail mark and the
//! position up to which the id index is complete. Reading starts where the index ends.
//!
//! Where a frame does not check, the log ends there with a *torn group* only if the position is
//! not below `known`, it lies in the last segment, and no frame of a later group follows (a group
//! is written only after the one before it was synced). Then the log is cut back to the last whole
//! batch, and all after it overwritten with zeros. Everything else is damage: nothing is written,
//! and the log opens read-only.
//!
//! Limit: a flipped byte in the very last group, with nothing written after it, no tail mark and
//! the index behind it (a crash within about a second of the last record), cannot be told from
//! a torn write.

use std::io;
use std::sync::Arc;

use super::chain::{Chain, SEGMENT_HEAD, Segment};
use super::disk::Disk;
use super::frame::{self, Head};
use super::ids::Ids;
use super::scan::Scan;
use super::writer::Place;
use crate::domain::id::{EventId, Id};
use crate::durable::sync_dir;

/// What is not as it was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub position: u64,
    /// File and offset.
    pub place: String,
    pub what: &'static str,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "position {}, {}: {}", self.position, self.place, self.what)
    }
}

pub struct Recovered {
    pub head: u64,
    /// Where to go on writing; `None` if there is damage.
    pub place: Result<Place, Damage>,
}

struct Recovery<'a> {
    chain: &'a Chain,
    ids: &'a Ids,
    disk: &'a dyn Disk,
    known: u64,
    /// The next position.
    head: u64,
    damage: Option<Damage>,
    /// Ids of the group last read, which become the index's when a later group shows, or the end
    /// of recovery makes sure, that it was synced.
    held: Vec<(Id, EventId, u64)>,
    held_group: u64,
}

/// A frame that checks, and whose it is.
type Keyed = (Head, (Id, EventId));

/// Where the whole batches of a segment end, and where its last group begins.
struct Ends {
    at: u64,
    group_at: u64,
}

pub fn recover(chain: &Chain, ids: &Ids, disk: &dyn Disk, marked: u64) -> io::Result<Recovered> {
    let applied = ids.applied();
    let known = marked.max(applied);
    let mut recovery =
        Recovery { chain, ids, disk, known, head: applied, damage: None, held: Vec::new(), held_group: 0 };
    let firsts = chain.firsts();
    if firsts.is_empty() {
        return recovery.without_segments();
    }
    recovery.check_chain(&firsts)?;
    let from = firsts.partition_point(|first| *first <= applied).saturating_sub(1);
    let mut end = Ends { at: SEGMENT_HEAD, group_at: SEGMENT_HEAD };
    let mut last = chain.segment(firsts[from])?;
    for (index, first) in firsts.iter().enumerate().skip(from) {
        last = chain.segment(*first)?;
        let next = firsts.get(index + 1).copied();
        recovery.head = recovery.head.max(*first);
        end = recovery.read_segment(&last, next)?;
        if let Some(next) = next
            && recovery.head != next
        {
            let place = last.place(end.at);
            recovery.damaged(recovery.head, place, "records are missing at the end of a segment");
        }
    }
    if recovery.head < known {
        recovery.damaged(recovery.head, last.place(end.at), "the log ends here, but was durable beyond");
    }
    recovery.finish(last, end)
}

impl Recovery<'_> {
    fn damaged(&mut self, position: u64, place: String, what: &'static str) {
        tracing::error!(position, place, what, "the log is damaged");
        self.damage.get_or_insert(Damage { position, place, what });
    }

    /// A fresh log, or one that was lost.
    fn without_segments(mut self) -> io::Result<Recovered> {
        if self.known > 0 {
            self.damaged(0, "no segment".into(), "the log is gone, but there was one");
        }
        if let Some(damage) = self.damage {
            return Ok(Recovered { head: 0, place: Err(damage) });
        }
        std::fs::File::create(self.chain.dir().join(super::chain::SPARE))?;
        sync_dir(self.chain.dir())?;
        let segment = self.chain.begin(self.disk, 0)?;
        Ok(Recovered { head: 0, place: Ok(Place { segment, end: SEGMENT_HEAD }) })
    }

    /// Heads of all segments; whether the chain begins at the beginning.
    fn check_chain(&mut self, firsts: &[u64]) -> io::Result<()> {
        if firsts[0] != 0 {
            self.damaged(0, "no segment".into(), "the first segment is missing");
        }
        for first in firsts {
            let segment = self.chain.segment(*first)?;
            if let Err(what) = segment.check_head()? {
                self.damaged(*first, segment.place(0), what);
            }
            // A segment that ends too early is seen at the last record it must have.
            let before = first.checked_sub(1).filter(|last| *last < self.head);
            if let Some(last) = before
                && !self.has(last)?
            {
                self.damaged(last, segment.place(0), "the segment before lacks records");
            }
        }
        Ok(())
    }

    /// Whether there is a frame at a position, repairing the offsets if need be.
    fn has(&self, position: u64) -> io::Result<bool> {
        let Some((segment, next)) = self.chain.locate(position)? else { return Ok(false) };
        if frame_end(&segment, position)?.is_some() {
            return Ok(true);
        }
        segment.rebuild_ends(next.min(self.head))?;
        Ok(frame_end(&segment, position)?.is_some())
    }

    /// Reads a segment from `self.head` on, up to `next` or to its end.
    fn read_segment(&mut self, segment: &Arc<Segment>, next: Option<u64>) -> io::Result<Ends> {
        let mut scan = Scan::new(&segment.data)?;
        let mut at = self.start(segment, &mut scan)?;
        let noted_from = self.head;
        let (mut ends, mut batch) = (Vec::new(), Vec::new());
        let (mut whole, mut group, mut group_at) = (at, u64::MAX, at);
        let mut position = self.head;
        while next.is_none_or(|next| position < next) {
            match self.frame(&mut scan, at, position)? {
                Ok((head, key)) => {
                    if head.group != group {
                        (group, group_at) = (head.group, at);
                    }
                    at += u64::from(head.total);
                    ends.push(at as u32);
                    batch.push((key.0, key.1, position));
                    position += 1;
                    if head.left == 0 {
                        self.accept(&mut batch, group)?;
                        (whole, self.head) = (at, position);
                    }
                }
                Err(what) => match self.skip(&mut scan, segment, at, position, what)? {
                    None => break,
                    Some((start, found)) => {
                        ends.resize((found - noted_from - 1) as usize, 0);
                        ends.push(start as u32);
                        batch.clear();
                        (at, position) = (start, found);
                        (whole, self.head) = (at, position);
                    }
                },
            }
        }
        if !batch.is_empty() && (next.is_some() || self.head < self.known) {
            self.damaged(self.head, segment.place(whole), "a batch is not whole");
        }
        ends.truncate((self.head - noted_from) as usize);
        segment.note_ends(noted_from, &ends);
        Ok(Ends { at: whole, group_at: group_at.min(whole) })
    }

    /// The offset at which the frame of `self.head` must begin. Where the side file does not lead
    /// to its predecessor, the segment is read from its beginning.
    fn start(&mut self, segment: &Segment, scan: &mut Scan<'_>) -> io::Result<u64> {
        if self.head == segment.first {
            return Ok(SEGMENT_HEAD);
        }
        if let Some(end) = frame_end(segment, self.head - 1)? {
            return Ok(end);
        }
        segment.rebuild_ends(self.head)?;
        if let Some(end) = frame_end(segment, self.head - 1)? {
            return Ok(end);
        }
        let found = scan.next_head(SEGMENT_HEAD, self.head, u64::MAX)?;
        self.damaged(self.head - 1, segment.place(SEGMENT_HEAD), "there is no such record");
        Ok(found.map_or(scan.len, |(at, _)| at))
    }

    /// The frame of `position` at `at`, checked, or what is wrong.
    fn frame(&self, scan: &mut Scan<'_>, at: u64, position: u64) -> io::Result<Result<Keyed, &'static str>> {
        let Some(head) = scan.head(at)? else { return Ok(Err("the head of a frame does not check")) };
        if head.position != position {
            return Ok(Err("a frame has another position"));
        }
        let bytes = scan.bytes(at, head.total as usize)?;
        if bytes.len() < head.total as usize {
            return Ok(Err("a frame is cut short"));
        }
        Ok(match frame::check(&head, bytes) {
            // Before pieces are purged the tail mark is set beyond them.
            Ok(purged) if purged > 0 && position >= self.known => Err("a piece is missing"),
            Ok(_) => frame::key(&head, bytes).map(|key| (head, key)).ok_or("an emitter does not parse"),
            Err(damage) => Err(damage.what()),
        })
    }

    /// Decides what a frame that does not check means. `None`: the log ends before it. Otherwise
    /// it is damage, and reading goes on at the offset and position returned.
    fn skip(
        &mut self,
        scan: &mut Scan<'_>,
        segment: &Segment,
        at: u64,
        position: u64,
        what: &'static str,
    ) -> io::Result<Option<(u64, u64)>> {
        let mut search = at;
        while let Some((start, head)) = scan.next_head(search, position + 1, u64::MAX)? {
            // Frames of the same group prove nothing: their pages may have come before others.
            if head.group > position || head.position < self.known {
                self.damaged(position, segment.place(at), what);
                return Ok(Some((start, head.position)));
            }
            search = start + u64::from(head.total);
        }
        if position < self.known {
            self.damaged(position, segment.place(at), what);
        }
        Ok(None)
    }

    /// Takes a whole batch.
    fn accept(&mut self, batch: &mut Vec<(Id, EventId, u64)>, group: u64) -> io::Result<()> {
        if group != self.held_group {
            self.replay()?;
            self.held_group = group;
        }
        self.held.append(batch);
        Ok(())
    }

    /// Gives the index what is held. Not beyond damage: the index must have no gaps.
    fn replay(&mut self) -> io::Result<()> {
        for (emitter, event_id, position) in self.held.drain(..) {
            if self.damage.is_some() {
                continue;
            }
            if self.ids.replay(&emitter, &event_id, position).map_err(io::Error::other)? {
                tracing::error!(position, %emitter, %event_id, "an event stands twice in the log");
            }
        }
        Ok(())
    }

    /// Cuts what is torn and makes durable what stays.
    fn finish(mut self, segment: Arc<Segment>, end: Ends) -> io::Result<Recovered> {
        if self.damage.is_none() && self.head > self.known {
            self.make_durable(&segment, &end)?;
        } else if self.damage.is_none() {
            self.cut(&segment, end.at)?;
        }
        self.replay()?;
        let place = match self.damage {
            Some(damage) => Err(damage),
            None => Ok(Place { segment, end: end.at }),
        };
        Ok(Recovered { head: self.head, place })
    }

    /// Writes the last group again and syncs: its first sync may have failed, and a failed sync
    /// leaves pages that look clean and are not on disk.
    fn make_durable(&self, segment: &Segment, end: &Ends) -> io::Result<()> {
        let mut scan = Scan::new(&segment.data)?;
        let mut at = end.group_at;
        while at < end.at {
            let bytes = scan.bytes(at, (end.at - at).min(1 << 20) as usize)?;
            self.disk.write(&segment.data, bytes, at)?;
            at += bytes.len() as u64;
        }
        self.cut(segment, end.at)?;
        self.disk.sync(&segment.data)
    }

    /// Zeros whatever lies behind the end.
    fn cut(&self, segment: &Segment, end: u64) -> io::Result<()> {
        let used = Scan::new(&segment.data)?.last_used(end)?;
        if used == end {
            return Ok(());
        }
        let bytes = used - end;
        tracing::warn!(place = segment.place(end), bytes, head = self.head, "a torn write was cut off");
        self.disk.write(&segment.data, &vec![0; bytes as usize], end)?;
        self.disk.sync(&segment.data)
    }
}

/// Where the frame of a position ends, if the side file leads to it.
fn frame_end(segment: &Segment, position: u64) -> io::Result<Option<u64>> {
    use std::os::unix::fs::FileExt;
    let Some((start, length)) = segment.range(position)? else { return Ok(None) };
    let mut head = [0; frame::HEAD];
    if segment.data.read_exact_at(&mut head, start).is_err() {
        return Ok(None);
    }
    let right = |head: Head| head.position == position && head.total as usize == length;
    Ok(Head::read(&head).is_some_and(right).then_some(start + length as u64))
}
