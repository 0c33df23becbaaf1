//! What can be certified about one erasure, put together from the log, the keyring and the outside copy.

use crate::app::App;
use crate::app::erase::PATIENCE;
use crate::app::erase::letter::{self, Letters};
use crate::app::error::Error;
use crate::app::ledger::Which;
use crate::domain::erasure::Left;
use crate::domain::event::catalogue::{IdentityErased, IdentityErasureAccepted};
use crate::domain::event::{Body, TransferTally};
use crate::domain::event::{IdentityErasureCause, IdentityErasureScope};
use crate::domain::id::Digest;
use crate::domain::time::Timestamp;
use crate::ledger::Inclusion;
use crate::record::Header;
use crate::vault::keyring::Class;

/// What was destroyed, when, and what is kept.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The log's name in proofs.
    pub origin: String,
    pub tomb: Digest,
    pub cause: Option<IdentityErasureCause>,
    pub scope: IdentityErasureScope,
    /// Position and time of *accepted*.
    pub accepted: (u64, Timestamp),
    /// Position of *erased*, whose header line is the person's receipt.
    pub erased: u64,
    pub header: bytes::Bytes,
    pub shredded_at: Timestamp,
    pub purged_at: Option<Timestamp>,
    pub beyond_backups_at: Option<Timestamp>,
    /// Whether no key-encryption key of that time is left in the keyring.
    pub beyond_backups: bool,
    /// Until when what proves consents and cases is kept, if it is.
    pub kept_until: Option<Timestamp>,
    /// When what was kept had gone too.
    pub evidence_ended_at: Option<Timestamp>,
    pub tallies: Vec<TransferTally>,
    /// That *erased* stands in the published log; `None` until the next checkpoint.
    pub proof: Option<Inclusion>,
    pub letters: Letters,
}

impl App {
    /// The certificate of one erasure that is done.
    pub async fn erasure_certificate(&self, tomb: Digest) -> Result<Certificate, Error> {
        let mut row = self.ask(move |ask| Ok(ask.erased(tomb)?)).await?;
        if row.as_ref().is_none_or(|row| row.erased.is_none()) {
            // Whoever was erased just now may be ahead of the views.
            self.views.wait_for(self.log.head(), PATIENCE).await?;
            row = self.ask(move |ask| Ok(ask.erased(tomb)?)).await?;
        }
        let row = row.ok_or(Error::SubjectNotFound)?;
        let (Some(accepted), Some(erased)) = (row.accepted, row.erased) else {
            return Err(Error::SubjectNotFound);
        };
        let (accepted_at, _, accepted_body) = self.read_own(accepted).await?;
        let (_, header, erased_body) = self.read_own(erased).await?;
        let (Body::IdentityErasureAccepted(accepting), Body::IdentityErased(done)) =
            (accepted_body, erased_body)
        else {
            return Err(Error::internal("erasure_events"));
        };
        let evidence_ended_at = match row.evidence_ended {
            Some(position) => Some(self.read_own(position).await?.0),
            None => None,
        };
        let left = self.on_erasures(move |erasures| erasures.tombs.left(&tomb)).await?;
        let kept_until = match left {
            Some(Left::Evidence { until }) if row.kept => Some(until),
            _ => None,
        };
        let proof = match self.inclusion(Which::Position(erased), None).await {
            Ok(proof) => Some(proof),
            // The next checkpoint brings it; an answer without it says so.
            Err(Error::Unavailable { .. }) => None,
            Err(error) => return Err(error),
        };
        self.certify((tomb, kept_until, evidence_ended_at), (accepted, accepted_at, *accepting), *done)
            .map(|certificate| Certificate { erased, header, proof, ..certificate })
            .map(|certificate| Certificate { letters: letter::of(&certificate), ..certificate })
    }

    fn certify(
        &self,
        (tomb, kept_until, evidence_ended_at): (Digest, Option<Timestamp>, Option<Timestamp>),
        (accepted, accepted_at, accepting): (u64, Timestamp, IdentityErasureAccepted),
        done: IdentityErased,
    ) -> Result<Certificate, Error> {
        let shredded_at = done.shredded_at.ok_or_else(|| Error::internal("erasure_events"))?;
        // What was destroyed then was locked with a key that lived then.
        let lives =
            |key: &crate::vault::keyring::Description| key.class == Class::Kek && key.created <= shredded_at;
        Ok(Certificate {
            origin: self.ledger.origin().ok_or_else(|| Error::internal("no_origin"))?,
            tomb,
            cause: accepting.cause,
            scope: accepting.scope.unwrap_or(IdentityErasureScope::IdentityAndEvidence),
            accepted: (accepted, accepted_at),
            erased: 0,
            header: bytes::Bytes::new(),
            shredded_at,
            purged_at: done.purged_at,
            beyond_backups_at: done.beyond_backups_at,
            beyond_backups: !self.keyring.describe().iter().any(lives),
            kept_until,
            evidence_ended_at,
            tallies: done.transfer_tallies.to_vec(),
            proof: None,
            letters: Letters::default(),
        })
    }

    async fn read_own(&self, position: u64) -> Result<(Timestamp, bytes::Bytes, Body), Error> {
        let record = self.log.get(&[position]).await?.pop();
        let line = record.ok_or_else(|| Error::internal("position_without_record"))?.header;
        let header = Header::parse(&line)?;
        Ok((header.recorded_at, line.clone(), header.body(None)?))
    }
}
