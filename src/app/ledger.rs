//! Checkpoints and proofs, and how a log goes on that lost what was published.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::app::App;
use crate::app::error::Error;
use crate::app::exports::sources::manifest_signer;
use crate::domain::event::catalogue::LogContinued;
use crate::domain::event::{Body, LossReason};
use crate::domain::id::{Digest, EventId, Id};
use crate::ledger::tlog::{SignedCheckpoint, VerifierKey};
use crate::ledger::{Growth, Inclusion, Ledger, Loss};
use crate::log;

/// Which record a proof is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    Position(u64),
    Name(Id, EventId),
    /// A receipt: the record there must be the one it was given for.
    Receipt {
        position: u64,
        leaf_hash: Digest,
    },
}

/// A kept checkpoint, and what it is worth.
#[derive(Debug, Clone)]
pub struct Kept {
    pub checkpoint: Arc<SignedCheckpoint>,
    /// Whether as many witnesses have cosigned as the policy asks for.
    pub witnessed: bool,
}

impl App {
    /// Whether anything new may be recorded: not on a log that is not the one that was published.
    pub(crate) fn may_grow(&self) -> Result<(), Error> {
        match self.ledger.diverged() {
            Some(why) if !self.recovering.load(Ordering::SeqCst) => {
                Err(Error::ReadOnly { source: Some(Arc::new(log::Error::ReadOnly(why))) })
            }
            _ => Ok(()),
        }
    }

    /// The newest checkpoint, or the one of a size.
    pub async fn checkpoint(&self, size: Option<u64>) -> Result<Kept, Error> {
        let checkpoint = self.ask_ledger(move |ledger| ledger.checkpoint(size)).await?;
        Ok(Kept { witnessed: self.ledger.is_witnessed(&checkpoint), checkpoint })
    }

    /// What a checkpoint is worth here.
    pub fn judged(&self, checkpoint: SignedCheckpoint) -> Kept {
        Kept { witnessed: self.ledger.is_witnessed(&checkpoint), checkpoint: Arc::new(checkpoint) }
    }

    /// The log's name in proofs; empty where nothing can be signed.
    pub fn ledger_origin(&self) -> String {
        self.ledger.origin().unwrap_or_default()
    }

    /// A checkpoint over everything that is recorded now.
    pub async fn publish(&self) -> Result<Kept, Error> {
        let published = self.ledger.publish().await?;
        self.ledger.ask_witnesses().await;
        self.checkpoint(Some(published.checkpoint.size)).await
    }

    /// Kept checkpoints below a size, the largest first.
    pub async fn checkpoints(&self, below: u64, limit: usize) -> Result<Vec<Kept>, Error> {
        let kept = self.ask_ledger(move |ledger| ledger.checkpoints(below, limit)).await?;
        Ok(kept.into_iter().map(|checkpoint| self.judged(checkpoint)).collect())
    }

    /// The keys by which others check what is signed here.
    pub fn verifier_keys(&self) -> Result<Vec<VerifierKey>, Error> {
        match self.ledger.verifier_keys() {
            // The alarm says so; what was signed before is still to be had.
            Err(crate::ledger::Error::NoKey(_)) => Ok(Vec::new()),
            keys => Ok(keys?),
        }
    }

    /// The key by which others check manifests of exports; `None` if the keyring has none.
    pub fn manifest_key(&self) -> Option<VerifierKey> {
        let signer = manifest_signer(&self.keyring, &self.ledger.origin()?);
        signer.ok().map(|signer| signer.verifier().clone())
    }

    /// The proof that a record stands in a published tree.
    pub async fn inclusion(&self, which: Which, size: Option<u64>) -> Result<Inclusion, Error> {
        let position = match &which {
            Which::Position(position) | Which::Receipt { position, .. } => *position,
            Which::Name(emitter, event_id) => self.position_of(emitter.clone(), *event_id).await?,
        };
        if position >= self.log.head() {
            return Err(Error::EventNotFound);
        }
        let record = self.log.get(&[position]).await?.pop();
        let header = record.ok_or_else(|| Error::internal("position_without_record"))?.header;
        let proof = self.ask_ledger(move |ledger| ledger.inclusion(position, &header, size)).await?;
        match which {
            Which::Receipt { leaf_hash, .. } if leaf_hash.0 != proof.leaf => Err(Error::invalid(
                "receipt.leaf_hash",
                "is not that of the record at the receipt's position",
            )),
            _ => Ok(proof),
        }
    }

    /// The proof that the tree only grew.
    pub async fn growth(&self, old: u64, new: Option<u64>) -> Result<Growth, Error> {
        self.ask_ledger(move |ledger| ledger.growth(old, new)).await
    }

    /// What a recovery would write down; `None` where the log is the one that was published.
    pub async fn loss(&self) -> Result<Option<Loss>, Error> {
        self.ask_ledger(|ledger| ledger.loss()).await
    }

    /// Opens the next origin, with an event that names what was published and is missing; then
    /// publishes under it. The old origin is never signed again.
    pub async fn recover(&self, loss: &Loss, reason: LossReason) -> Result<Kept, Error> {
        let body = LogContinued {
            origin: Some(id(&loss.new_origin)?),
            old_origin: Some(id(&loss.old_origin)?),
            old_size: Some(loss.old_size),
            old_root: Some(Digest(loss.old_root)),
            missing_from: Some(loss.missing.0),
            missing_to: Some(loss.missing.1),
            reason: Some(reason),
        };
        self.recovering.store(true, Ordering::SeqCst);
        let recorded = self.record_own(Body::LogContinued(Box::new(body)), Vec::new()).await;
        self.recovering.store(false, Ordering::SeqCst);
        let position = recorded?.position;
        self.ledger.catch_up().await?;
        self.ask_ledger(|ledger| ledger.examine()).await?;
        tracing::warn!(position, origin = loss.new_origin, "the log goes on under another name");
        self.publish().await
    }

    /// Asks the ledger on a thread that may block.
    async fn ask_ledger<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Ledger) -> Result<T, crate::ledger::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let ledger = Arc::clone(&self.ledger);
        let answered = tokio::task::spawn_blocking(move || question(&ledger)).await;
        Ok(answered.map_err(|died| Error::fault("ledger_died", died))??)
    }
}

fn id(origin: &str) -> Result<Id, Error> {
    origin.parse().map_err(|_| Error::internal("origin_malformed"))
}
