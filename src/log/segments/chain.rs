//! The segment files: their names, heads, side files of offsets, and which position lies where.
//!
//! The side file `<first>.ends` holds, for each record of a segment, the offset (u32) at which its
//! frame ends. It is never synced and never trusted: whoever follows it checks that he arrived at
//! a frame with the right position and length, and otherwise rebuilds the file from the segment.
//! Four bytes a record buy reads of one record by two small `pread`s, exact ranges for long reads,
//! and no memory that grows with the log.
//!
//! The file grows with every group, so a full disk refuses it while the segment, whose room was
//! made beforehand, still takes records. What it refuses waits in memory (`Unwritten`), so that
//! what is acknowledged can be read; a segment with such offsets stays open until they are written.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::disk::Disk;
use super::frame::{u32_at, u64_at};
use super::scan::Scan;
use crate::durable::{self, sync_dir};

/// Bytes before the first frame.
pub const SEGMENT_HEAD: u64 = 32;
const MAGIC: &[u8; 8] = b"custlog\n";
const VERSION: u32 = 1;
/// The zero-filled file that will be the next segment.
pub const SPARE: &str = "spare";
/// Segments kept open for reading; each costs two descriptors.
const OPEN: usize = 64;

/// One segment, open for reading and purging. The writer has a descriptor of its own, because the
/// kernel reports a failed write-back once per descriptor, and the writer must hear of it.
#[derive(Debug)]
pub struct Segment {
    pub first: u64,
    pub path: PathBuf,
    pub data: File,
    ends: File,
    unwritten: Mutex<Unwritten>,
}

/// Offsets that the side file did not take: those of the records from `from` on, counted in the
/// segment. At most four bytes for each of its records.
#[derive(Debug, Default)]
struct Unwritten {
    from: usize,
    ends: Vec<u32>,
}

impl Unwritten {
    /// Takes in the offsets of the records from `from` on; what was held of them before is replaced.
    fn add(&mut self, from: usize, ends: &[u32]) {
        if self.ends.is_empty() || from < self.from {
            self.from = from;
            self.ends.clear();
        }
        // Records between, if there are any, have their offsets in the file or get them rebuilt.
        self.ends.resize(from - self.from, 0);
        self.ends.extend_from_slice(ends);
    }

    /// Puts the offsets held in place of those read, which belong to the records from `from` on.
    fn lay_over(&self, from: usize, read: &mut Vec<u32>, most: usize) {
        let (begin, end) = (self.from.max(from), (self.from + self.ends.len()).min(from + most));
        if begin < end {
            read.resize(read.len().max(end - from), 0);
            read[begin - from..end - from].copy_from_slice(&self.ends[begin - self.from..end - self.from]);
        }
    }
}

pub fn file_name(first: u64) -> String {
    format!("{first:020}.seg")
}

pub fn head_bytes(first: u64) -> [u8; SEGMENT_HEAD as usize] {
    let mut head = [0; SEGMENT_HEAD as usize];
    head[..8].copy_from_slice(MAGIC);
    head[8..12].copy_from_slice(&VERSION.to_le_bytes());
    head[16..24].copy_from_slice(&first.to_le_bytes());
    let crc = crc32c::crc32c(&head[..28]);
    head[28..].copy_from_slice(&crc.to_le_bytes());
    head
}

impl Segment {
    fn open(dir: &Path, first: u64) -> io::Result<Segment> {
        let path = dir.join(file_name(first));
        let data = OpenOptions::new().read(true).write(true).open(&path)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let ends = options.open(path.with_extension("ends"))?;
        Ok(Segment { first, path, data, ends, unwritten: Mutex::default() })
    }

    /// Why the head of the file is not what it must be.
    pub fn check_head(&self) -> io::Result<Result<(), &'static str>> {
        let mut head = [0; SEGMENT_HEAD as usize];
        match self.data.read_exact_at(&mut head, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(Err("the file is cut short"));
            }
            other => other?,
        }
        Ok(if crc32c::crc32c(&head[..28]) != u32_at(&head, 28) || head[..8] != *MAGIC {
            Err("the head of the segment does not check")
        } else if u32_at(&head, 8) != VERSION {
            Err("the segment has a version that this program does not know")
        } else if u64_at(&head, 16) != self.first {
            Err("the file has another segment's name")
        } else {
            Ok(())
        })
    }

    /// Ends of the frames of `count` records from `first` on, with the start of the first one put
    /// before them. Fewer, or zeros, where the side file has no answer.
    pub fn ends(&self, first: u64, count: usize) -> io::Result<Vec<u32>> {
        let skip = (first - self.first) as usize;
        // The first record of a segment has no predecessor to end where it begins.
        let (from, wanted) = (skip.saturating_sub(1), if skip == 0 { count } else { count + 1 });
        // Memory before the file: offsets move from there to here.
        let mut held = Vec::new();
        self.unwritten().lay_over(from, &mut held, wanted);
        let mut bytes = vec![0; 4 * wanted];
        let read = read_up_to(&self.ends, &mut bytes, 4 * from as u64)?;
        let (words, _) = bytes[..read].as_chunks::<4>();
        let mut ends: Vec<u32> = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
        ends.resize(ends.len().max(held.len()), 0);
        ends.iter_mut().zip(held).filter(|(_, held)| *held != 0).for_each(|(end, held)| *end = held);
        if skip == 0 {
            ends.insert(0, SEGMENT_HEAD as u32);
        }
        Ok(ends)
    }

    /// Where the frame of a record probably lies.
    pub fn range(&self, position: u64) -> io::Result<Option<(u64, usize)>> {
        match self.ends(position, 1)?[..] {
            [start, end] if start != 0 && start < end => Ok(Some((start.into(), (end - start) as usize))),
            _ => Ok(None),
        }
    }

    /// Notes where the frames of the records from `first` on end. What the disk does not take waits
    /// in memory and is written with what comes next.
    pub fn note_ends(&self, first: u64, ends: &[u32]) {
        let mut unwritten = self.unwritten();
        let fresh = unwritten.ends.is_empty();
        unwritten.add((first - self.first) as usize, ends);
        let bytes: Vec<u8> = unwritten.ends.iter().flat_map(|end| end.to_le_bytes()).collect();
        match self.ends.write_all_at(&bytes, 4 * unwritten.from as u64) {
            Ok(()) => *unwritten = Unwritten::default(),
            // Once is enough: on a full disk every group fails.
            Err(error) if fresh => {
                tracing::warn!(%error, "the offsets of a segment wait in memory for the disk to take them");
            }
            Err(_) => {}
        }
    }

    /// Whether nothing would be lost by closing it.
    fn can_close(&self) -> bool {
        self.unwritten().ends.is_empty()
    }

    fn unwritten(&self) -> std::sync::MutexGuard<'_, Unwritten> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rebuilds the side file for the records below `head`.
    pub fn rebuild_ends(&self, head: u64) -> io::Result<()> {
        tracing::warn!(segment = %self.path.display(), "rebuilding the offsets of a segment");
        let mut scan = Scan::new(&self.data)?;
        let mut ends = Vec::new();
        let (mut at, mut position) = (SEGMENT_HEAD, self.first);
        while position < head {
            // Behind a frame that does not check, the next that does.
            let Some((start, found)) = scan.next_head(at, position, head)? else { break };
            if start > at || found.position > position {
                ends.resize((found.position - self.first - 1) as usize, 0);
                ends.push(start as u32);
            }
            at = start + u64::from(found.total);
            position = found.position + 1;
            ends.push(at as u32);
        }
        self.note_ends(self.first, &ends);
        Ok(())
    }

    pub fn place(&self, offset: u64) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        format!("{name}:{offset}")
    }
}

fn read_up_to(file: &File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], at + done as u64)? {
            0 => break,
            read => done += read,
        }
    }
    Ok(done)
}

/// All segments in order, a bounded number of them open.
pub struct Chain {
    dir: PathBuf,
    firsts: RwLock<Vec<u64>>,
    open: Mutex<VecDeque<Arc<Segment>>>,
}

impl Chain {
    pub fn open(dir: &Path) -> io::Result<Chain> {
        let mut firsts = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            if let Some(first) = name.strip_suffix(".seg").and_then(|digits| digits.parse().ok()) {
                firsts.push(first);
            }
        }
        firsts.sort_unstable();
        Ok(Chain { dir: dir.to_path_buf(), firsts: RwLock::new(firsts), open: Mutex::default() })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn firsts(&self) -> Vec<u64> {
        self.firsts.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The segment in which a position lies, and the first position after that segment.
    pub fn locate(&self, position: u64) -> io::Result<Option<(Arc<Segment>, u64)>> {
        let (first, next) = {
            let firsts = self.firsts.read().unwrap_or_else(PoisonError::into_inner);
            let after = firsts.partition_point(|first| *first <= position);
            let Some(index) = after.checked_sub(1) else { return Ok(None) };
            (firsts[index], firsts.get(after).copied().unwrap_or(u64::MAX))
        };
        Ok(Some((self.segment(first)?, next)))
    }

    /// The segment of that name, from the few kept open.
    pub fn segment(&self, first: u64) -> io::Result<Arc<Segment>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = open.iter().position(|segment| segment.first == first) {
            // The most recently used stand in front.
            open.swap(0, index);
        } else {
            let segment = Segment::open(&self.dir, first)?;
            while open.len() >= OPEN
                && let Some(oldest) = open.iter().rposition(|segment| segment.can_close())
            {
                open.remove(oldest);
            }
            open.push_front(Arc::new(segment));
        }
        Ok(Arc::clone(&open[0]))
    }

    /// The segment of that name; one that is not there is made, with its head and nothing else.
    pub fn take_in(&self, first: u64) -> io::Result<Arc<Segment>> {
        if !self.firsts().contains(&first) {
            durable::replace(&self.dir.join(file_name(first)), &head_bytes(first))?;
            let mut firsts = self.firsts.write().unwrap_or_else(PoisonError::into_inner);
            let place = firsts.partition_point(|other| *other < first);
            firsts.insert(place, first);
        }
        self.segment(first)
    }

    /// Turns the spare file into the segment that begins at `first`. When it returns, the segment
    /// is durable, so that a segment with a bad head is never an innocent leftover of a crash.
    pub fn begin(&self, disk: &dyn Disk, first: u64) -> io::Result<Arc<Segment>> {
        let spare = self.dir.join(SPARE);
        let file = OpenOptions::new().write(true).open(&spare)?;
        disk.write(&file, &head_bytes(first), 0)?;
        disk.sync(&file)?;
        std::fs::rename(&spare, self.dir.join(file_name(first)))?;
        sync_dir(&self.dir)?;
        // An earlier attempt may have come as far as this and left an empty segment.
        self.open.lock().unwrap_or_else(PoisonError::into_inner).retain(|segment| segment.first != first);
        let mut firsts = self.firsts.write().unwrap_or_else(PoisonError::into_inner);
        if firsts.last() != Some(&first) {
            firsts.push(first);
        }
        drop(firsts);
        self.segment(first)
    }
}
