//! Files that carry a proof with its checkpoint: `.tlog-proof` for one entry (`tlog-proof`), and the
//! request of a witness (`tlog-witness`), which also serves as the file that shows growth.

use std::fmt;

use super::checkpoint::SignedCheckpoint;
use super::proof::{MAX_HASHES, check_consistency, check_inclusion};
use super::tree::Hash;
use super::{Invalid, base64, decimal, hash_of, malformed, unbase64};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
/// Longest opaque data that is read, in base64.
const MAX_EXTRA: usize = 64 * 1024;

/// That an entry stands in a log: `.tlog-proof`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionFile {
    /// Opaque and not authenticated.
    pub extra: Option<Vec<u8>>,
    pub index: u64,
    pub path: Vec<Hash>,
    pub checkpoint: SignedCheckpoint,
}

impl InclusionFile {
    pub fn parse(bytes: &[u8]) -> Result<InclusionFile, Invalid> {
        let wrong = |why| malformed("tlog-proof", why);
        let (mut lines, checkpoint) = split(bytes, "tlog-proof")?;
        if lines.next() != Some(FIRST_LINE) {
            return Err(wrong("the first line is not c2sp.org/tlog-proof@v1"));
        }
        let mut line = lines.next().unwrap_or_default();
        let mut extra = None;
        if let Some(data) = line.strip_prefix("extra ") {
            let data = Some(data).filter(|data| data.len() <= MAX_EXTRA).and_then(unbase64);
            extra = Some(data.ok_or(wrong("extra is not base64, or too long"))?);
            line = lines.next().unwrap_or_default();
        }
        let index = line.strip_prefix("index ").and_then(decimal).ok_or(wrong("no index"))?;
        let path = hashes(lines, "tlog-proof")?;
        Ok(InclusionFile { extra, index, path, checkpoint })
    }

    /// Whether this leaf stands there in the tree of the checkpoint. Whose checkpoint it is, a
    /// policy says.
    pub fn check(&self, leaf: &Hash) -> Result<(), Invalid> {
        let head = &self.checkpoint.checkpoint;
        check_inclusion(leaf, self.index, head.size, &self.path, &head.root)
    }
}

impl fmt::Display for InclusionFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", base64(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        write_hashes(f, &self.path)?;
        write!(f, "\n{}", self.checkpoint)
    }
}

/// That a log only grew from `old` to its checkpoint: what a witness is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsistencyFile {
    pub old: u64,
    pub path: Vec<Hash>,
    pub checkpoint: SignedCheckpoint,
}

impl ConsistencyFile {
    pub fn parse(bytes: &[u8]) -> Result<ConsistencyFile, Invalid> {
        let (mut lines, checkpoint) = split(bytes, "consistency file")?;
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(decimal);
        let old = old.ok_or(malformed("consistency file", "no old size"))?;
        Ok(ConsistencyFile { old, path: hashes(lines, "consistency file")?, checkpoint })
    }

    /// Whether the tree of the checkpoint begins with the tree of `old` leaves and this root.
    pub fn check(&self, old_root: &Hash) -> Result<(), Invalid> {
        let head = &self.checkpoint.checkpoint;
        check_consistency(self.old, old_root, head.size, &head.root, &self.path)
    }
}

impl fmt::Display for ConsistencyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        write_hashes(f, &self.path)?;
        write!(f, "\n{}", self.checkpoint)
    }
}

/// The lines before the first empty one, and the checkpoint behind it.
fn split<'b>(
    bytes: &'b [u8],
    what: &'static str,
) -> Result<(std::str::Split<'b, char>, SignedCheckpoint), Invalid> {
    let text = std::str::from_utf8(bytes).map_err(|_| malformed(what, "not UTF-8"))?;
    let (head, checkpoint) =
        text.split_once("\n\n").ok_or(malformed(what, "no empty line before the checkpoint"))?;
    Ok((head.split('\n'), SignedCheckpoint::parse(checkpoint.as_bytes())?))
}

fn hashes<'l>(lines: impl Iterator<Item = &'l str>, what: &'static str) -> Result<Vec<Hash>, Invalid> {
    let mut path = Vec::new();
    for line in lines {
        if path.len() == MAX_HASHES {
            return Err(malformed(what, "more hashes than any tree needs"));
        }
        path.push(hash_of(line).ok_or(malformed(what, "a line is not a SHA-256 in base64"))?);
    }
    Ok(path)
}

fn write_hashes(f: &mut fmt::Formatter<'_>, path: &[Hash]) -> fmt::Result {
    path.iter().try_for_each(|hash| writeln!(f, "{}", base64(hash)))
}
