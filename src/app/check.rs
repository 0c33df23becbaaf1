//! Re-reads and re-hashes everything that is stored, and compares the views with what the log says.
//! Changes nothing; what it finds is told, never mended.

use sha2::{Digest as _, Sha256};

use crate::app::App;
use crate::app::error::Error;
use crate::app::operate::blocking;
use crate::domain::id::Digest;
use crate::log::{self, StoredRecord};
use crate::record::{self, Header};

/// Something stored that does not check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `None` where it is not about one record.
    pub position: Option<u64>,
    /// Stable.
    pub code: &'static str,
    pub message: String,
}

/// What the check tells while it runs.
#[derive(Debug)]
pub enum News {
    Progress { done: u64, total: u64 },
    Finding(Finding),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    pub records: u64,
    /// Of headers and pieces.
    pub bytes: u64,
    pub findings: u64,
    /// Of the Merkle tree over all headers; `None` if one of them could not be read.
    pub root: Option<Digest>,
}

/// Read at a time, so that a check leaves room for others.
const RECORDS: usize = 4_096;
const BYTES: usize = 8 << 20;
/// Findings that are told one by one; a disk that is gone would fill the terminal.
const TOLD: u64 = 1_000;

impl App {
    /// Checks the log up to its present head; with `compare_views`, the views too.
    pub async fn check_storage(
        &self,
        compare_views: bool,
        mut tell: impl FnMut(News) + Send + 'static,
    ) -> Result<Summary, Error> {
        let total = self.log.head();
        let mut summary = Summary::default();
        let mut tree = Some(Tree::default());
        let mut position = 0;
        while position < total {
            let wanted = usize::try_from(total - position).unwrap_or(RECORDS).min(RECORDS);
            match self.log.read(position, wanted, BYTES).await {
                Ok(records) => {
                    // A log that gives nothing below its head is broken in a way of its own.
                    let Some(last) = records.last() else { return Err(Error::internal("log_ended_early")) };
                    position = last.position + 1;
                    for stored in &records {
                        check_record(stored, &mut summary, &mut tell);
                        if let Some(tree) = &mut tree {
                            tree.add(record::leaf_hash(&stored.header));
                        }
                    }
                }
                Err(log::Error::Corrupt { position: at, place, what }) => {
                    found(&mut summary, &mut tell, Some(at), "RECORD_CORRUPT", format!("{place}: {what}"));
                    tree = None;
                    position = at.max(position) + 1;
                }
                Err(error) => return Err(error.into()),
            }
            tell(News::Progress { done: position, total });
        }
        summary.root = tree.map(|tree| tree.root());
        if compare_views {
            self.compare(&mut summary, tell).await?;
        }
        Ok(summary)
    }

    async fn compare(
        &self,
        summary: &mut Summary,
        mut tell: impl FnMut(News) + Send + 'static,
    ) -> Result<(), Error> {
        let views = std::sync::Arc::clone(&self.views);
        let (comparison, mut tell) = blocking(move || {
            let progress = |at: crate::views::rebuild::Progress| {
                tell(News::Progress { done: at.applied, total: at.head });
                true
            };
            let comparison = views.compare(progress)?;
            Ok((comparison, tell))
        })
        .await?;
        if comparison.different > 0 {
            let message = format!(
                "{} of {} rows differ from what the log says, such as {}; `custody views rebuild` makes them anew",
                comparison.different,
                comparison.rows,
                comparison.samples.join(", ")
            );
            found(summary, &mut tell, None, "VIEWS_DIFFER", message);
        }
        Ok(())
    }
}

fn found(
    summary: &mut Summary,
    tell: &mut impl FnMut(News),
    position: Option<u64>,
    code: &'static str,
    message: String,
) {
    summary.findings += 1;
    if summary.findings <= TOLD {
        tell(News::Finding(Finding { position, code, message }));
    }
}

/// A record whose checksums hold: does it say what it should, and are its pieces those it names?
fn check_record(stored: &StoredRecord, summary: &mut Summary, tell: &mut impl FnMut(News)) {
    summary.records += 1;
    summary.bytes += stored.header.len() as u64;
    let header = match Header::parse(&stored.header) {
        Ok(header) => header,
        Err(error) => return found(summary, tell, Some(stored.position), "HEADER_UNREADABLE", error.to_string()),
    };
    if header.pieces() != stored.pieces.len() {
        let message = format!("{} pieces are stored, the header names {}", stored.pieces.len(), header.pieces());
        return found(summary, tell, Some(stored.position), "PIECES_MISSING", message);
    }
    for (i, piece) in stored.pieces.iter().enumerate() {
        // A piece that was purged is gone because somebody was erased.
        let Some(piece) = piece else { continue };
        summary.bytes += piece.len() as u64;
        if let Err(error) = header.check_piece(i, piece) {
            found(summary, tell, Some(stored.position), "PIECE_ALTERED", error.to_string());
        }
    }
}

/// The root of a Merkle tree (RFC 6962, 2.1) whose leaves come one by one: the roots of the perfect
/// subtrees, largest first.
#[derive(Default)]
struct Tree {
    leaves: u64,
    roots: Vec<Digest>,
}

impl Tree {
    fn add(&mut self, leaf: Digest) {
        let mut node = leaf;
        let mut size = self.leaves;
        // Each trailing one bit is a subtree as large as the new one.
        while size & 1 == 1 {
            if let Some(left) = self.roots.pop() {
                node = joined(left, node);
            }
            size >>= 1;
        }
        self.roots.push(node);
        self.leaves += 1;
    }

    fn root(&self) -> Digest {
        let mut roots = self.roots.iter().rev().copied();
        let Some(smallest) = roots.next() else { return Digest(Sha256::digest([]).into()) };
        roots.fold(smallest, |right, left| joined(left, right))
    }
}

fn joined(left: Digest, right: Digest) -> Digest {
    let hash = Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0);
    Digest(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(leaves: &[Digest]) -> Digest {
        let mut tree = Tree::default();
        leaves.iter().for_each(|leaf| tree.add(*leaf));
        tree.root()
    }

    /// RFC 6962, 2.1, word for word.
    fn defined(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => Digest(Sha256::digest([]).into()),
            [one] => *one,
            _ => {
                let k = leaves.len().next_power_of_two() / 2;
                joined(defined(&leaves[..k]), defined(&leaves[k..]))
            }
        }
    }

    #[test]
    fn the_root_is_the_one_of_the_definition() {
        let leaves: Vec<Digest> = (0..40u8).map(|i| Digest([i; 32])).collect();
        for n in 0..=leaves.len() {
            assert_eq!(root(&leaves[..n]), defined(&leaves[..n]), "{n} leaves");
        }
    }
}
