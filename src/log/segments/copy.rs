//! What a backup needs of the segments: which bytes make the log up to a head, and whether bytes that
//! come out of a backup are frames of a log.

use std::path::{Path, PathBuf};

use super::chain::SEGMENT_HEAD;
use super::frame::{self, HEAD, Head, u64_at};
use super::{Segments, chain, tail};
use crate::log::Error;

/// The part of a segment below a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub first: u64,
    pub path: PathBuf,
    /// From the beginning of the file to the end of the last frame.
    pub bytes: u64,
}

impl Segments {
    /// The bytes that make the log up to `head`, which must not be beyond the log's own. They stay as
    /// they are but for purges, so whoever copies them must see to it that nothing is purged.
    pub fn parts(&self, head: u64) -> Result<Vec<Part>, Error> {
        if head > self.shared.head() {
            return Err(Error::Refused("the log ends before that"));
        }
        let firsts = self.shared.chain.firsts();
        let mut parts = Vec::with_capacity(firsts.len());
        for (index, first) in firsts.iter().enumerate().filter(|(_, first)| **first < head) {
            let end = firsts.get(index + 1).copied().unwrap_or(head).min(head);
            let bytes = self.shared.frame_end(end - 1)?;
            parts.push(Part {
                first: *first,
                path: self.shared.chain.dir().join(chain::file_name(*first)),
                bytes,
            });
        }
        Ok(parts)
    }
}

/// Sets the tail mark of a log that was put together from a copy: its end is known.
pub fn mark_tail(dir: &Path, head: u64) -> std::io::Result<()> {
    tail::write(dir, head)
}

/// Follows the frames of one segment through pieces of any length.
pub struct Walk {
    next: u64,
    at: u64,
    waiting: Vec<u8>,
}

impl Walk {
    pub fn from(first: u64) -> Walk {
        Walk { next: first, at: 0, waiting: Vec::new() }
    }

    /// Says what is wrong with the frame of a position.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.waiting.extend_from_slice(bytes);
        let mut from = 0;
        if self.at == 0 && self.waiting.len() >= SEGMENT_HEAD as usize {
            let first = u64_at(&self.waiting, 16);
            if first != self.next || self.waiting[..SEGMENT_HEAD as usize] != chain::head_bytes(first) {
                return Err("does not begin as a segment of the log".to_owned());
            }
            (from, self.at) = (SEGMENT_HEAD as usize, SEGMENT_HEAD);
        }
        while self.at > 0 && self.waiting.len() - from >= HEAD {
            let wrong = |what: &str| format!("is damaged at position {}: {what}", self.next);
            let Some(head) = Head::read(&self.waiting[from..]) else {
                return Err(wrong("the head of a frame does not check"));
            };
            if head.position != self.next {
                return Err(wrong("a frame has another position"));
            }
            let Some(whole) = self.waiting.get(from..from + head.total as usize) else { break };
            frame::check(&head, whole).map_err(|damage| wrong(damage.what()))?;
            from += whole.len();
            self.at += whole.len() as u64;
            self.next += 1;
        }
        self.waiting.drain(..from);
        Ok(())
    }

    /// The position after the last frame.
    pub fn end(&self) -> Result<u64, String> {
        if self.at == 0 || !self.waiting.is_empty() {
            return Err(format!("ends in the middle of position {}", self.next));
        }
        Ok(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Log;
    use crate::log::contract::record;
    use crate::log::segments::Options;

    #[tokio::test]
    async fn the_parts_are_the_frames_up_to_a_head_and_nothing_else_passes_for_them() {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options::new(dir.path());
        options.segment_bytes = 4 << 10;
        let log = Segments::open(options).unwrap();
        for n in 0..200 {
            log.append(vec![record("app", n)]).await.unwrap();
        }
        assert!(log.parts(201).is_err());
        for head in [1, 30, 199, 200] {
            let parts = log.parts(head).unwrap();
            let mut next = 0;
            for part in &parts {
                assert_eq!(part.first, next);
                let bytes = std::fs::read(&part.path).unwrap()[..part.bytes as usize].to_vec();
                for step in [1, 7, 4_096] {
                    let mut walk = Walk::from(part.first);
                    bytes.chunks(step).for_each(|piece| walk.add(piece).unwrap());
                    next = walk.end().unwrap();
                }
                let mut cut = Walk::from(part.first);
                cut.add(&bytes[..bytes.len() - 1]).unwrap();
                assert!(cut.end().is_err());
                assert!(Walk::from(part.first + 1).add(&bytes).is_err());
                let mut flipped = bytes.clone();
                flipped[bytes.len() / 2] ^= 1;
                let mut walk = Walk::from(part.first);
                assert!(walk.add(&flipped).is_err() || walk.end().is_err());
            }
            assert_eq!(next, head);
        }
        assert!(log.parts(200).unwrap().len() > 2, "there are several segments");
    }
}
