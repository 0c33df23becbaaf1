//! Reads a segment from front to back through a window, for recovery, check and repair.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::frame::{HEAD, Head, is_zero, u64_at};

const WINDOW: usize = 1 << 20;

pub struct Scan<'a> {
    file: &'a File,
    pub len: u64,
    base: u64,
    window: Vec<u8>,
}

impl<'a> Scan<'a> {
    pub fn new(file: &'a File) -> io::Result<Scan<'a>> {
        Ok(Scan { file, len: file.metadata()?.len(), base: 0, window: Vec::new() })
    }

    /// `count` bytes at `at`, or as many as the file has.
    pub fn bytes(&mut self, at: u64, count: usize) -> io::Result<&[u8]> {
        let count = count.min(self.len.saturating_sub(at) as usize);
        let inside = at >= self.base && at + count as u64 <= self.base + self.window.len() as u64;
        if !inside {
            let size = WINDOW.max(count).min((self.len - at.min(self.len)) as usize);
            self.window.resize(size, 0);
            self.base = at;
            self.file.read_exact_at(&mut self.window, at)?;
        }
        let from = (at - self.base) as usize;
        Ok(&self.window[from..from + count])
    }

    /// The head of a frame at `at`, if there is one.
    pub fn head(&mut self, at: u64) -> io::Result<Option<Head>> {
        Ok(Head::read(self.bytes(at, HEAD)?))
    }

    /// The first head at or after `at` that belongs to a position in `low..high`.
    pub fn next_head(&mut self, at: u64, low: u64, high: u64) -> io::Result<Option<(u64, Head)>> {
        if let Some(head) = self.head(at)?
            && (low..high).contains(&head.position)
        {
            return Ok(Some((at, head)));
        }
        let mut at = at;
        while at + (HEAD as u64) <= self.len {
            let window = self.bytes(at, WINDOW / 2)?;
            if is_zero(window) {
                at += (window.len() - (HEAD - 1)) as u64;
                continue;
            }
            for from in 0..=window.len() - HEAD {
                // The position is looked at before the checksum, which costs more.
                if (low..high).contains(&u64_at(window, from + 8))
                    && let Some(head) = Head::read(&window[from..])
                {
                    return Ok(Some((at + from as u64, head)));
                }
            }
            at += (window.len() - (HEAD - 1)) as u64;
        }
        Ok(None)
    }

    /// The offset behind the last byte that is not zero, looking from `at` on.
    pub fn last_used(&mut self, at: u64) -> io::Result<u64> {
        let (mut at, mut used) = (at, at);
        while at < self.len {
            let window = self.bytes(at, WINDOW)?;
            if !is_zero(window)
                && let Some(last) = window.iter().rposition(|byte| *byte != 0)
            {
                used = at + last as u64 + 1;
            }
            at += window.len() as u64;
        }
        Ok(used)
    }
}
