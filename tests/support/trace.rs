//! What a recorded process wrote, synced and sent, in order.
//!
//! The times lean to the safe side: a write's is taken before it and a sync's begin after it was
//! complete, a sync's end after it returned, a send's before the bytes leave. So "the sync ended
//! before the send" in the trace means that it did.

use std::path::Path;

use super::journal::{Entry, Op};

pub struct Trace {
    entries: Vec<Entry>,
}

/// A send on a TCP socket that nothing durable stands behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Premature {
    /// When it left.
    pub at: u64,
    /// The write that it should have waited for: when, and where.
    pub write: u64,
    pub offset: u64,
}

impl Trace {
    pub fn new(entries: Vec<Entry>) -> Trace {
        Trace { entries }
    }

    /// How many successful syncs of paths that contain the text.
    pub fn syncs(&self, path: &str) -> usize {
        self.entries
            .iter()
            .filter(|e| matches!(&e.op, Op::Sync { path: p, error: 0, .. } if contains(p, path)))
            .count()
    }

    /// How many writes to paths that contain the text.
    pub fn writes(&self, path: &str) -> usize {
        self.entries
            .iter()
            .filter(|e| matches!(&e.op, Op::Write { path: p, .. } if contains(p, path)))
            .count()
    }

    /// The injected faults: an errno each.
    pub fn faults(&self) -> Vec<i32> {
        self.entries
            .iter()
            .filter_map(|e| match e.op {
                Op::Refused { error, .. } => Some(error),
                Op::Sync { error, .. } if error != 0 => Some(error),
                _ => None,
            })
            .collect()
    }

    /// When bytes that hold `needle` first left on a TCP socket.
    pub fn sent(&self, needle: &[u8]) -> Option<u64> {
        self.entries.iter().find_map(|e| match &e.op {
            Op::Send { bytes, .. } if bytes.windows(needle.len()).any(|w| w == needle) => Some(e.seq),
            _ => None,
        })
    }

    /// Sends that carry an answer: HTTP/2 headers or data, not only settings or window updates.
    pub fn answers(&self) -> impl Iterator<Item = u64> {
        self.entries.iter().filter_map(|e| match &e.op {
            Op::Send { bytes, .. } if carries_answer(bytes) => Some(e.seq),
            _ => None,
        })
    }

    /// The first write to a range of a file that was not synced when `at` came, if any.
    pub fn unsynced(&self, path: &str, range: std::ops::Range<u64>, at: u64) -> Option<u64> {
        let touches = |e: &&Entry| match &e.op {
            Op::Write { path: p, offset, len, .. } => {
                contains(p, path) && *offset < range.end && range.start < offset + len
            }
            _ => false,
        };
        let before = self.entries.iter().take_while(|e| e.seq < at);
        before.filter(touches).find(|write| !self.is_synced(write, at)).map(|write| write.seq)
    }

    /// For a load with one request in flight: the answers that left while a write to a path that
    /// contains the text was not yet synced.
    pub fn premature(&self, path: &str) -> Vec<Premature> {
        let mut open: Vec<&Entry> = Vec::new();
        let mut found = Vec::new();
        for entry in &self.entries {
            match &entry.op {
                Op::Write { path: p, .. } if contains(p, path) => open.push(entry),
                Op::Sync { from, began, error: 0, .. } => {
                    open.retain(|write| write.ino != entry.ino || !(*from..*began).contains(&write.seq));
                }
                Op::Send { bytes, .. } if carries_answer(bytes) => {
                    found.extend(open.first().map(|write| premature(entry, write)));
                }
                _ => {}
            }
        }
        found
    }

    fn is_synced(&self, write: &Entry, by: u64) -> bool {
        self.entries.iter().take_while(|e| e.seq < by).any(|e| match e.op {
            Op::Sync { from, began, error: 0, .. } => {
                e.ino == write.ino && (from..began).contains(&write.seq)
            }
            _ => false,
        })
    }
}

fn premature(send: &Entry, write: &Entry) -> Premature {
    let offset = if let Op::Write { offset, .. } = write.op { offset } else { 0 };
    Premature { at: send.seq, write: write.seq, offset }
}

fn contains(path: &Path, text: &str) -> bool {
    path.to_string_lossy().contains(text)
}

/// Whether bytes that begin at a frame of HTTP/2 hold a frame of data (0) or headers (1). Bytes
/// that are no HTTP/2 count as an answer.
fn carries_answer(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some((head, _)) = rest.split_first_chunk::<9>() {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        if !(2..=9).contains(&head[3]) {
            return true;
        }
        rest = rest.get(9 + length..).unwrap_or_default();
    }
    !rest.is_empty()
}
