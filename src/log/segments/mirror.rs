//! The second copy of the segments, on another path: file by file the same bytes up to the head.
//!
//! A group is acknowledged when both copies have it; both are written and synced side by side. What is
//! purged here is purged there before the purge is answered. A mirror that fails is given up until it was
//! brought up to date (`Shared::bring_up`), by the next start or by the upkeep of every minute; what is
//! done meanwhile is `OnFailure`'s. While events are recorded without it, the file `mirror.behind` says so,
//! and then every byte of both is compared; otherwise from the segment on in which the mirror's tail mark
//! lies.
//!
//! A crash leaves the mirror with a group more than the log, or with a part of one less. The start adds to
//! the log what only the mirror has (`adopt`): it may have been acknowledged, where the log was put back
//! from an older copy or its disk lost its end. A mirror whose records are others is never touched.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::chain::{self, Chain, SEGMENT_HEAD, Segment};
use super::copy::Walk;
use super::disk::Disk;
use super::frame;
use super::lane::Lane;
use super::purging::{self, Noted};
use super::scan::Scan;
use super::space::PAGE;
use super::{Shared, tail};
use crate::dirlock::DirLock;
use crate::durable::sync_dir;
use crate::mirror::{Keeper, Options};

/// Compared and copied at once, while nothing is purged.
const CHUNK: u64 = 1 << 20;

/// What is known of the mirror.
pub struct Mirror {
    keeper: Keeper,
    /// What is purged is purged there too. It may be on its way to be complete.
    there: Mutex<Option<Arc<There>>>,
    /// Where the next group goes. The writer holds this while it commits, so whoever else holds it may be
    /// sure that the head stays where it is. Not to be asked for by who holds `Shared::purging`.
    lane: Mutex<Option<Lane>>,
}

/// The mirror's segments, locked against another process.
pub struct There {
    pub chain: Chain,
    _lock: DirLock,
}

/// Up to where a copy goes: a segment and an offset in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    first: u64,
    at: u64,
}

impl Mirror {
    pub fn new(options: Options, log: &Path) -> Mirror {
        Mirror { keeper: Keeper::new(options, log), there: Mutex::default(), lane: Mutex::default() }
    }

    pub fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    pub fn lane(&self) -> MutexGuard<'_, Option<Lane>> {
        self.lane.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn there(&self) -> Option<Arc<There>> {
        self.there.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn hold(&self, there: Option<Arc<There>>) {
        *self.there.lock().unwrap_or_else(PoisonError::into_inner) = there;
    }

    /// The mirror's own segments, if it can be reached.
    fn open(&self) -> io::Result<Arc<There>> {
        let dir = self.keeper.place().part("log")?;
        let lock = DirLock::take(&dir).map_err(io::Error::other)?;
        Ok(Arc::new(There { chain: Chain::open(&dir)?, _lock: lock }))
    }

    /// Adds to the log whatever only the mirror has. Says whether there was any.
    pub fn adopt(&self, log: &Chain, head: u64, end: u64, disk: &dyn Disk) -> io::Result<bool> {
        let there = self.open()?;
        purging::finish(&there.chain, disk)?;
        adopt(log, head, end, &there, disk)
    }

    /// Whether the next group goes there too; an error where it has gone away meanwhile.
    fn is_well(&self) -> io::Result<bool> {
        let lane = self.lane();
        let Some(lane) = lane.as_ref().filter(|_| self.keeper.failing().is_none()) else { return Ok(false) };
        self.keeper.place().part("log")?;
        lane.is_there()?;
        Ok(true)
    }

    /// Gives it up until it was brought up to date.
    pub fn fail(&self, why: String) {
        self.keeper.fail(why);
        self.hold(None);
    }

    /// Does to the mirror what was done to the log; a failure gives it up, and is returned where that means
    /// that nothing may go on.
    fn also(&self, act: impl FnOnce(&There) -> io::Result<()>) -> io::Result<()> {
        let done = match self.there() {
            Some(there) => act(&there),
            None => Err(io::Error::other("the mirror is failing")),
        };
        let Err(source) = done else { return Ok(()) };
        if self.keeper.failing().is_none() {
            self.fail(source.to_string());
        }
        if self.keeper.goes_on() { self.keeper.falls_behind() } else { Err(source) }
    }
}

/// Where the whole batches of a log end.
struct Ends {
    head: u64,
    segment: Arc<Segment>,
    at: u64,
}

impl There {
    /// `None` while nothing was ever mirrored.
    fn ends(&self) -> io::Result<Option<Ends>> {
        let Some(first) = self.chain.firsts().last().copied() else { return Ok(None) };
        let segment = self.chain.segment(first)?;
        segment.check_head()?.map_err(io::Error::other)?;
        let mark = self.mark()?;
        let mut scan = Scan::new(&segment.data)?;
        let (mut at, mut position) = (SEGMENT_HEAD, first);
        let (mut whole, mut head) = (at, position);
        while let Some(found) = scan.head(at)?
            && found.position == position
        {
            let bytes = scan.bytes(at, found.total as usize)?;
            // As in `recover`: beyond the mark zeros are no purge, but what was not written.
            let written = bytes.len() == found.total as usize
                && frame::check(&found, bytes).is_ok_and(|purged| purged == 0 || position < mark);
            if !written {
                break;
            }
            (at, position) = (at + u64::from(found.total), position + 1);
            if found.left == 0 {
                (whole, head) = (at, position);
            }
        }
        Ok(Some(Ends { head, segment, at: whole }))
    }

    /// The tail mark; without one, or with a damaged one, everything is looked at.
    fn mark(&self) -> io::Result<u64> {
        Ok(tail::read(self.chain.dir())?.unwrap_or(0))
    }

    pub fn purge(&self, segment: &Segment, offset: u64, length: usize, disk: &dyn Disk) -> io::Result<()> {
        let twin = self.chain.segment(segment.first)?;
        disk.write(&twin.data, &vec![0; length], offset)
    }

    pub fn sync(&self, segment: &Segment, disk: &dyn Disk) -> io::Result<()> {
        disk.sync(&self.chain.segment(segment.first)?.data)
    }
}

/// Adds to the log whatever only the mirror has. Says whether there was any. Nothing else is open yet.
fn adopt(log: &Chain, head: u64, end: u64, there: &There, disk: &dyn Disk) -> io::Result<bool> {
    let Some(theirs) = there.ends()? else { return Ok(false) };
    let mark = there.mark()?;
    if mark > head && theirs.head < mark {
        return Err(io::Error::other(
            "the mirror is damaged, and the log ends before it: see `custody fsck`",
        ));
    }
    same_records(log, &there.chain, head.min(theirs.head))?;
    if theirs.head <= head {
        return Ok(false);
    }
    tracing::warn!(from = head, to = theirs.head, "records that only the mirror has are added to the log");
    let last = log.firsts().last().copied().unwrap_or(0);
    for first in there.chain.firsts().into_iter().filter(|first| *first >= last) {
        let twin = there.chain.segment(first)?;
        let until = if first == theirs.segment.first {
            theirs.at
        } else {
            Scan::new(&twin.data)?.last_used(SEGMENT_HEAD)?
        };
        let path = log.dir().join(chain::file_name(first));
        let (from, to) =
            if first == last { (end, path.clone()) } else { (0, path.with_extension("adopted")) };
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&to)?;
        let mut at = from;
        while at < until {
            let mut bytes = vec![0; (until - at).min(CHUNK) as usize];
            twin.data.read_exact_at(&mut bytes, at)?;
            disk.write(&file, &bytes, at)?;
            at += bytes.len() as u64;
        }
        file.set_len(file.metadata()?.len().next_multiple_of(PAGE))?;
        file.sync_all()?;
        std::fs::rename(&to, &path)?;
        sync_dir(log.dir())?;
    }
    Ok(true)
}

/// Whether two logs agree below a position, by the heads of the frames in the segment before it, which
/// hold the checksums of everything that is never changed.
fn same_records(one: &Chain, other: &Chain, below: u64) -> io::Result<()> {
    let Some(last) = below.checked_sub(1) else { return Ok(()) };
    let differs =
        || io::Error::other("the mirror holds the records of another log; put another directory there");
    let (Some((mine, _)), Some((theirs, _))) = (one.locate(last)?, other.locate(last)?) else {
        return Err(differs());
    };
    if mine.first != theirs.first {
        return Err(differs());
    }
    let (mut mine, mut theirs) = (Scan::new(&mine.data)?, Scan::new(&theirs.data)?);
    let mut at = SEGMENT_HEAD;
    while let Some(head) = mine.head(at)?
        && head.position <= last
    {
        if theirs.bytes(at, frame::HEAD)? != mine.bytes(at, frame::HEAD)? {
            return Err(differs());
        }
        at += u64::from(head.total);
    }
    Ok(())
}

impl Shared {
    /// Sees whether the mirror is there, and brings one that is not, or was given up, up to date; how that
    /// went is in its standing.
    pub fn tend(&self, mirror: &Mirror) {
        match mirror.is_well() {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => mirror.fail(error.to_string()),
        }
        if let Err(error) = self.attach(mirror) {
            mirror.fail(error.to_string());
        }
    }

    /// Brings the mirror up to date, and has the writer go on in it. Events are recorded meanwhile, if that
    /// is allowed at all, but for the last moment. Blocks.
    fn attach(&self, mirror: &Mirror) -> io::Result<()> {
        // The room ahead is made by a thread of the lane, which must not write over what is copied.
        drop(mirror.lane().take());
        let (there, reached) = self.bring_up(mirror)?;
        let mut lane = mirror.lane();
        let reached = self.copy_from(&there, reached, 0)?;
        let segment = there.chain.segment(reached.first)?;
        *lane = Some(Lane::open(&there.chain, Arc::clone(&self.disk), self.segment_bytes, segment)?);
        mirror.keeper.is_whole()
    }

    /// Copies to the mirror what it lacks below the head, which may move meanwhile. Blocks.
    fn bring_up(&self, mirror: &Mirror) -> io::Result<(Arc<There>, Reached)> {
        let there = mirror.open()?;
        if let Some(theirs) = there.ends()? {
            let head = self.head();
            // What it has more is what was undone here.
            same_records(&self.chain, &there.chain, head.min(theirs.head))?;
        }
        let trusted = there.mark()?;
        let from = if mirror.keeper.is_behind() { 0 } else { trusted };
        // From here on purges reach it.
        mirror.hold(Some(Arc::clone(&there)));
        let firsts = self.chain.firsts();
        let start = firsts.partition_point(|first| *first <= from).saturating_sub(1);
        let mut reached = Reached { first: firsts.get(start).copied().unwrap_or(0), at: 0 };
        loop {
            let before = reached;
            reached = self.copy_from(&there, reached, trusted)?;
            if reached == before || (reached.first == before.first && reached.at - before.at < CHUNK) {
                return Ok((there, reached));
            }
        }
    }

    /// Copies from one point up to the head. Below `trusted` the mirror had everything once: what differs
    /// there is only written over if the log's own segment checks.
    fn copy_from(&self, there: &There, from: Reached, trusted: u64) -> io::Result<Reached> {
        let head = self.head();
        let firsts = self.chain.firsts();
        let mut reached = from;
        for (index, first) in firsts.iter().enumerate().filter(|(_, first)| **first >= from.first) {
            let next = firsts.get(index + 1).copied().unwrap_or(head).min(head);
            let end = match next.checked_sub(1).filter(|last| last >= first) {
                Some(last) => self.frame_end(last).map_err(io::Error::other)?,
                None => SEGMENT_HEAD,
            };
            let at = if *first == from.first { from.at } else { 0 };
            self.copy_segment(there, *first, (at, end), trusted > *first)?;
            reached = Reached { first: *first, at: end };
        }
        tail::write(there.chain.dir(), head)?;
        Ok(reached)
    }

    fn copy_segment(&self, there: &There, first: u64, range: (u64, u64), known: bool) -> io::Result<()> {
        let source = self.chain.segment(first)?;
        let twin = there.chain.take_in(first)?;
        let (from, end) = range;
        let (mut at, mut checked) = (from, !known);
        while at < end {
            let length = (end - at).min(CHUNK) as usize;
            let _none = self.purging.lock().unwrap_or_else(PoisonError::into_inner);
            let mut bytes = vec![0; length];
            source.data.read_exact_at(&mut bytes, at)?;
            if !holds(&twin.data, &bytes, at)? {
                if !checked {
                    check_segment(&source, end)?;
                    checked = true;
                }
                self.disk.write(&twin.data, &bytes, at)?;
            }
            at += length as u64;
        }
        let used = Scan::new(&twin.data)?.last_used(end)?;
        if used > end {
            self.disk.write(&twin.data, &vec![0; (used - end) as usize], end)?;
        }
        twin.data.set_len(twin.data.metadata()?.len().max(end).next_multiple_of(PAGE))?;
        self.disk.sync(&twin.data)
    }

    /// How the mirror differs from the log below the head; nothing while it is failing, which is told
    /// elsewhere. Ends early where it is told to. Blocks.
    pub fn compare_mirror(&self, go_on: &dyn Fn() -> bool) -> io::Result<Vec<String>> {
        let Some(there) = self.mirror.as_ref().and_then(Mirror::there) else { return Ok(Vec::new()) };
        let (head, firsts) = (self.head(), self.chain.firsts());
        let mut differences = Vec::new();
        for (index, first) in firsts.iter().enumerate().filter(|(_, first)| **first < head) {
            let last = firsts.get(index + 1).copied().unwrap_or(head).min(head) - 1;
            let end = self.frame_end(last).map_err(io::Error::other)?;
            let source = self.chain.segment(*first)?;
            let path = there.chain.dir().join(chain::file_name(*first));
            let Ok(twin) = File::open(&path) else {
                differences.push(format!("{} cannot be read", path.display()));
                continue;
            };
            let mut at = 0;
            while at < end && go_on() {
                let mut bytes = vec![0; (end - at).min(CHUNK) as usize];
                let _none = self.purging.lock().unwrap_or_else(PoisonError::into_inner);
                source.data.read_exact_at(&mut bytes, at)?;
                if !holds(&twin, &bytes, at)? {
                    differences.push(format!("{} differs from the log behind byte {at}", path.display()));
                    break;
                }
                at += bytes.len() as u64;
            }
        }
        Ok(differences)
    }

    /// Overwrites the same pieces in the mirror.
    pub fn purge_mirror(&self, ranges: &[(Arc<Segment>, u64, usize)], noted: &[Noted]) -> io::Result<()> {
        let Some(mirror) = &self.mirror else { return Ok(()) };
        mirror.also(|there| {
            // As in the log: zeros in the last group count for a torn write, unless the mark is beyond.
            tail::write(there.chain.dir(), self.head())?;
            purging::note(there.chain.dir(), noted)?;
            for (segment, offset, length) in ranges {
                there.purge(segment, *offset, *length, &*self.disk)?;
            }
            for of_segment in ranges.chunk_by(|a, b| a.0.first == b.0.first) {
                there.sync(&of_segment[0].0, &*self.disk)?;
            }
            purging::done(there.chain.dir())
        })
    }
}

/// Whether a file holds these bytes at an offset.
fn holds(file: &File, bytes: &[u8], at: u64) -> io::Result<bool> {
    let mut theirs = vec![0; bytes.len()];
    match file.read_exact_at(&mut theirs, at) {
        Ok(()) => Ok(theirs == bytes),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether all frames of a segment check.
fn check_segment(segment: &Segment, end: u64) -> io::Result<()> {
    let mut walk = Walk::from(segment.first);
    let mut at = 0;
    while at < end {
        let mut bytes = vec![0; (end - at).min(CHUNK) as usize];
        segment.data.read_exact_at(&mut bytes, at)?;
        walk.add(&bytes).map_err(|what| {
            io::Error::other(format!("the log's own segment {what}; the mirror is left as it is"))
        })?;
        at += bytes.len() as u64;
    }
    Ok(())
}
