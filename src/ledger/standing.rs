//! Whether the log is the one that was published: the question of every start.

use std::sync::{Arc, PoisonError, RwLockReadGuard};

use super::book::Book;
use super::point::Naming;
use super::tlog::proof::edge_at;
use super::tlog::{Hash, Invalid, SignedCheckpoint, base64};
use super::{Error, Ledger, names};

/// What stands between the ledger and its next signature.
#[derive(Default)]
pub(super) struct Standing {
    /// The newest checkpoint of the present origin.
    pub latest: Option<Arc<SignedCheckpoint>>,
    /// Lies in the outside copy, and not yet in the data directory.
    pub owed: Option<Arc<SignedCheckpoint>>,
    /// Why nothing is ever signed again under this origin.
    pub diverged: Option<Diverged>,
    /// Why the last publication failed.
    pub failing: Option<String>,
    /// Why the log is followed no more.
    pub stopped: Option<String>,
    /// What witnesses refuse, by name.
    pub refusals: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
pub(super) struct Diverged {
    pub why: String,
    /// The checkpoint that the log does not bear out.
    pub published: Option<Arc<SignedCheckpoint>>,
}

/// What an operator needs to see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    pub origin: String,
    pub size: u64,
    pub root: Hash,
    /// Size and signatures of the newest checkpoint.
    pub published: Option<(u64, usize)>,
    /// Whether as many witnesses have cosigned it as the policy asks for.
    pub witnessed: bool,
    pub bytes_on_disk: u64,
    pub diverged: Option<String>,
    pub failing: Option<String>,
    pub stopped: Option<String>,
    pub refusals: Vec<(String, String)>,
}

/// What a recovery will write down: which origin ended how, and what is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    pub old_origin: String,
    pub old_size: u64,
    pub old_root: Hash,
    /// First and last position that are not borne out by the log.
    pub missing: (u64, u64),
    pub new_origin: String,
    pub why: String,
}

impl Ledger {
    pub(super) fn standing(&self) -> RwLockReadGuard<'_, Standing> {
        self.standing.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change_standing<T>(&self, change: impl FnOnce(&mut Standing) -> T) -> T {
        change(&mut self.standing.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why the log must take nothing more, if so.
    pub fn diverged(&self) -> Option<String> {
        self.standing().diverged.as_ref().map(|diverged| diverged.why.clone())
    }

    pub(super) fn stopped(&self, why: &Error) {
        self.change_standing(|standing| standing.stopped = Some(why.to_string()));
        // Whoever waits for a size looks again.
        self.size.send_modify(|_| {});
    }

    pub(super) async fn ended(&self) -> String {
        let mut seen = self.size.subscribe();
        loop {
            if let Some(why) = self.standing().stopped.clone() {
                return why;
            }
            if seen.changed().await.is_err() {
                return "it was closed".to_owned();
            }
        }
    }

    pub fn status(&self) -> Status {
        let (size, root) = self.head();
        let standing = self.standing();
        let latest = standing.latest.as_deref();
        Status {
            origin: self.origin().unwrap_or_default(),
            size,
            root,
            published: latest.map(|latest| (latest.checkpoint.size, latest.note.signatures.len())),
            witnessed: latest.is_some_and(|latest| self.is_witnessed(latest)),
            bytes_on_disk: self.hashes.bytes(),
            diverged: standing.diverged.as_ref().map(|diverged| diverged.why.clone()),
            failing: standing.failing.clone(),
            stopped: standing.stopped.clone(),
            refusals: standing.refusals.clone().into_iter().collect(),
        }
    }

    /// Compares what was published, here and outside, with the tree. Run at every start, before
    /// anything is signed, and after a recovery.
    pub fn examine(&self) -> Result<(), Error> {
        let namings = self.point().origins.clone();
        let origins: Vec<String> = namings.iter().map(|naming| naming.origin.clone()).collect();
        let Some(present) = origins.last() else { return self.refuse_if_published() };
        self.compare_books(&origins)?;
        self.take_over(&namings)?;
        let newest = self.newest_of_both(present)?;
        let diverged = match (self.stranger(&origins)?, self.two_heads(present)?) {
            (Some(found), _) | (None, Some(found)) => Some(found),
            (None, None) => self.against(newest.as_deref())?,
        };
        if let Some(diverged) = &diverged {
            tracing::error!(why = diverged.why, "the log is not the one that was published: it is read-only");
        }
        self.change_standing(|standing| (standing.latest, standing.diverged) = (newest, diverged));
        Ok(())
    }

    /// An empty log beside checkpoints has lost everything, and must not begin again.
    fn refuse_if_published(&self) -> Result<(), Error> {
        for book in [&self.inside, &self.outside] {
            if let Some(origin) = book.origins()?.into_iter().next() {
                return Err(Error::LogMissing { place: book.place().to_path_buf(), origin });
            }
        }
        Ok(())
    }

    /// The outside copy knows at least what the data directory knows, or was declared lost.
    fn compare_books(&self, origins: &[String]) -> Result<(), Error> {
        for origin in origins {
            let newest = |book: &Book| book.sizes(origin, u64::MAX, 1).map(|sizes| sizes.first().copied());
            let (inside, outside) = (newest(&self.inside)?, newest(&self.outside)?);
            let Some(size) = inside.filter(|inside| outside.is_none_or(|outside| outside < *inside)) else {
                continue;
            };
            if !self.options.outside_lost {
                return Err(Error::OutsideLost { outside: self.options.outside.clone(), size });
            }
            tracing::warn!(origin, size, "the outside copy was declared lost and is made again");
            for size in self.inside.sizes(origin, u64::MAX, usize::MAX)? {
                if let Some(checkpoint) = self.inside.get(origin, size)? {
                    self.outside.keep(&checkpoint)?;
                }
            }
        }
        Ok(())
    }

    /// The newest checkpoint, whichever book it stands in. One that only reached the outside copy
    /// before a crash is taken over by now if the log bears it out.
    fn newest_of_both(&self, origin: &str) -> Result<Option<Arc<SignedCheckpoint>>, Error> {
        let Some(newest) = self.outside.newest(origin)? else { return Ok(None) };
        self.check_signature(&newest)?;
        Ok(Some(Arc::new(newest)))
    }

    /// Takes over what only reached the outside copy, under each of the log's names, if the log bears it
    /// out: one checkpoint after a crash, or all that were published since the data directory was copied,
    /// where it was put back from a copy.
    fn take_over(&self, origins: &[Naming]) -> Result<(), Error> {
        for (at, Naming { origin, .. }) in origins.iter().enumerate() {
            let end = origins.get(at + 1).map_or(self.size(), |next| next.from.min(self.size()));
            let known = self.inside.newest(origin)?.map_or(0, |newest| newest.checkpoint.size);
            // Nearly always nothing lacks, and there may be a million files.
            let newest = self.outside.sizes(origin, end.saturating_add(1), 1)?;
            if newest.first().is_none_or(|newest| *newest <= known) {
                continue;
            }
            let mut lacking = self.outside.sizes(origin, end.saturating_add(1), usize::MAX)?;
            lacking.retain(|size| *size > known);
            // Upwards, so that what is known tells where to go on after a crash.
            for size in lacking.into_iter().rev() {
                // A bad signature is told of the newest below, of others by `fsck`.
                if let Some(lacking) = self.outside.get(origin, size)?
                    && self.check_signature(&lacking).is_ok()
                    && self.against(Some(&lacking))?.is_none()
                {
                    self.inside.keep(&lacking)?;
                }
            }
        }
        Ok(())
    }

    /// Two checkpoints over the same size with different roots: whatever the log holds, somebody was
    /// told something else. Both stay where they are, as evidence.
    fn two_heads(&self, origin: &str) -> Result<Option<Diverged>, Error> {
        let Some(inside) = self.inside.newest(origin)? else { return Ok(None) };
        let size = inside.checkpoint.size;
        let outside = self.outside.get(origin, size)?;
        Ok(outside.filter(|outside| outside.checkpoint != inside.checkpoint).map(|outside| {
            let why = format!("there are two checkpoints over {size} records with different roots");
            Diverged { why, published: Some(Arc::new(outside)) }
        }))
    }

    /// A signature of a key that is still here must verify; of others nothing can be said.
    fn check_signature(&self, checkpoint: &SignedCheckpoint) -> Result<(), Error> {
        let keys: Vec<_> = match self.keys.signers(&checkpoint.checkpoint.origin) {
            Err(Error::NoKey(_)) => return Ok(()),
            signers => signers?.iter().map(|signer| signer.verifier().clone()).collect(),
        };
        match checkpoint.note.verify(&keys) {
            Ok(_) | Err(Invalid::Unsigned) => Ok(()),
            Err(why) => {
                let path = self.outside.place().to_path_buf();
                Err(Error::Checkpoint { path, why: why.to_string() })
            }
        }
    }

    /// Checkpoints under a name that this log never had: it is older than its own continuation, or
    /// the outside copy is another log's.
    fn stranger(&self, origins: &[String]) -> Result<Option<Diverged>, Error> {
        for book in [&self.outside, &self.inside] {
            let stranger = book.origins()?.into_iter().find(|origin| !origins.contains(origin));
            if let Some(origin) = stranger {
                let why = format!(
                    "{} holds checkpoints of {origin}, a name that this log never had",
                    book.place().display()
                );
                return Ok(Some(Diverged { why, published: None }));
            }
        }
        Ok(None)
    }

    /// Whether the tree bears out a checkpoint.
    fn against(&self, published: Option<&SignedCheckpoint>) -> Result<Option<Diverged>, Error> {
        let Some(published) = published else { return Ok(None) };
        let head = &published.checkpoint;
        let why = if head.size > self.log.head() {
            let have = self.log.head();
            format!("it has {have} records, but a checkpoint over {} was published", head.size)
        } else if head.size > self.size() {
            // The log cannot be read up to there: nothing is signed, and nothing can be said.
            return Ok(None);
        } else if edge_at(head.size, &self.hashes)?.root() != head.root {
            format!(
                "its first {} records are not those of the published root {}",
                head.size,
                base64(&head.root)
            )
        } else {
            return Ok(None);
        };
        Ok(Some(Diverged { why, published: Some(Arc::new(published.clone())) }))
    }

    /// What is to be written down when the log goes on under another name; `None` where nothing
    /// stands against going on under this one.
    pub fn loss(&self) -> Result<Option<Loss>, Error> {
        let Some(diverged) = self.standing().diverged.clone() else { return Ok(None) };
        let Some(published) = diverged.published else { return Err(Error::Diverged(diverged.why)) };
        let head = &published.checkpoint;
        // Below the newest kept checkpoint that the log bears out, everything is as it was published.
        let mut proven = 0;
        for size in
            self.outside.sizes(&head.origin, head.size.min(self.size().saturating_add(1)), usize::MAX)?
        {
            let kept = self.outside.get(&head.origin, size)?;
            if self.against(kept.as_ref())?.is_none() {
                proven = size;
                break;
            }
        }
        // Where the log only lacks its end, that begins at its head.
        let first = if head.size > self.log.head() { self.log.head() } else { proven };
        Ok(Some(Loss {
            old_origin: head.origin.clone(),
            old_size: head.size,
            old_root: head.root,
            missing: (first, head.size.saturating_sub(1)),
            new_origin: names::next(&head.origin),
            why: diverged.why,
        }))
    }
}
