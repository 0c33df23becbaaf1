//! Proofs from the stored hashes. Each is checked before it leaves, so that a damaged file makes an
//! error and never a wrong proof.

use std::sync::Arc;

use super::tlog::proof::{check_consistency, check_inclusion, consistency, edge_at, inclusion};
use super::tlog::tile::{Resource, WIDTH, bundle, hashes_on};
use super::tlog::{Hash, InclusionFile, SignedCheckpoint, leaf_hash};
use super::{Error, Ledger};

/// That a record stands in a published tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inclusion {
    pub leaf: Hash,
    pub file: InclusionFile,
}

/// That the tree of `old` leaves is the beginning of that of `new`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Growth {
    pub old: u64,
    pub old_root: Hash,
    pub new: u64,
    pub new_root: Hash,
    pub path: Vec<Hash>,
    /// What was published at the new size, if anything was.
    pub checkpoint: Option<SignedCheckpoint>,
}

impl Ledger {
    /// A kept checkpoint of the present origin; the newest where no size is given.
    pub fn checkpoint(&self, size: Option<u64>) -> Result<Arc<SignedCheckpoint>, Error> {
        match size {
            None => self.latest().ok_or(Error::NotFound),
            Some(size) => {
                let origin = self.origin().ok_or(Error::NotFound)?;
                let kept = match self.inside.get(&origin, size)? {
                    Some(kept) => Some(kept),
                    None => self.outside.get(&origin, size)?,
                };
                kept.map(Arc::new).ok_or(Error::NotFound)
            }
        }
    }

    /// Kept checkpoints below a size, the largest first.
    pub fn checkpoints(&self, below: u64, limit: usize) -> Result<Vec<SignedCheckpoint>, Error> {
        let origin = self.origin().ok_or(Error::NotFound)?;
        let sizes = self.inside.sizes(&origin, below, limit)?;
        sizes.into_iter().filter_map(|size| self.inside.get(&origin, size).transpose()).collect()
    }

    /// Whether as many witnesses have cosigned as the policy asks for; no policy asks for none.
    pub fn is_witnessed(&self, checkpoint: &SignedCheckpoint) -> bool {
        self.options.witnesses.as_ref().is_none_or(|witnesses| witnesses.are_enough(checkpoint))
    }

    /// The proof that the record with this header stands at `position`, in the newest checkpoint or
    /// in one of a given size.
    pub fn inclusion(&self, position: u64, header: &[u8], size: Option<u64>) -> Result<Inclusion, Error> {
        self.newest_is_ours(size)?;
        let pending = Error::Pending { position };
        let checkpoint = match (size, self.latest()) {
            (None, None) => return Err(pending),
            (None, Some(latest)) => latest,
            (size, _) => self.checkpoint(size)?,
        };
        let (head, leaf) = (&checkpoint.checkpoint, leaf_hash(header));
        if position >= head.size {
            return Err(if size.is_some() { Error::Beyond { size: head.size } } else { pending });
        }
        let path = inclusion(position, head.size, &self.hashes)?;
        check_inclusion(&leaf, position, head.size, &path, &head.root)
            .map_err(|_| Error::Damaged("a proof made of them does not check"))?;
        let checkpoint = SignedCheckpoint::clone(&checkpoint);
        Ok(Inclusion { leaf, file: InclusionFile { extra: None, index: position, path, checkpoint } })
    }

    /// The proof that the tree only grew between two sizes, published or not.
    pub fn growth(&self, old: u64, new: Option<u64>) -> Result<Growth, Error> {
        self.newest_is_ours(new)?;
        let checkpoint = match new {
            None => Some(SignedCheckpoint::clone(&*self.checkpoint(None)?)),
            Some(size) => match self.checkpoint(Some(size)) {
                Err(Error::NotFound) => None,
                found => Some(SignedCheckpoint::clone(&*found?)),
            },
        };
        let size = self.size();
        let new = checkpoint.as_ref().map_or(new.unwrap_or(size), |found| found.checkpoint.size);
        if new > size || old > new {
            return Err(Error::Beyond { size: if new > size { size } else { new } });
        }
        let (old_root, new_root) = (edge_at(old, &self.hashes)?.root(), edge_at(new, &self.hashes)?.root());
        let path = consistency(old, new, &self.hashes)?;
        let checks = check_consistency(old, &old_root, new, &new_root, &path).is_ok()
            && checkpoint.as_ref().is_none_or(|found| found.checkpoint.root == new_root);
        if !checks {
            return Err(Error::Damaged("a proof made of them does not check"));
        }
        Ok(Growth { old, old_root, new, new_root, path, checkpoint })
    }

    /// In the newest checkpoint nothing can be proven by a log that does not bear it out; in an older
    /// one, named by its size, what is left still can.
    fn newest_is_ours(&self, size: Option<u64>) -> Result<(), Error> {
        match self.diverged().filter(|_| size.is_none()) {
            Some(why) => Err(Error::Diverged(why)),
            None => Ok(()),
        }
    }

    /// The right edge of the tree at a size: with it a range that begins there can be proven whole.
    pub fn edge(&self, size: u64) -> Result<super::tlog::Edge, Error> {
        if size > self.size() {
            return Err(Error::Beyond { size: self.size() });
        }
        edge_at(size, &self.hashes)
    }

    /// The bytes of a tile or bundle of the newest checkpoint's tree; `None` where it has none such.
    pub async fn resource(self: &Arc<Self>, resource: Resource) -> Result<Option<Vec<u8>>, Error> {
        let Some(latest) = self.latest() else { return Ok(None) };
        let size = latest.checkpoint.size;
        let (level, index, width) = match resource {
            Resource::Checkpoint => return Ok(Some(latest.to_string().into_bytes())),
            Resource::Hashes { level, index, width } => (level, index, width),
            Resource::Entries { index, width } => (0, index, width),
        };
        let first = index.checked_mul(WIDTH);
        let last = first.and_then(|first| first.checked_add(width.into()));
        let (Some(first), Some(last)) = (first, last) else { return Ok(None) };
        if last > hashes_on(level, size) {
            return Ok(None);
        }
        if !matches!(resource, Resource::Entries { .. }) {
            return Ok(Some(self.hashes.read(level, first, width.into())?.concat()));
        }
        let mut bytes = Vec::new();
        let mut next = first;
        while next < last {
            let records = self.log.read_headers(next, (last - next) as usize, 8 << 20).await?;
            if records.is_empty() {
                return Err(Error::Behind { size: next });
            }
            for record in records {
                bundle(&mut bytes, &record.header)?;
                next = record.position + 1;
            }
        }
        Ok(Some(bytes))
    }
}
