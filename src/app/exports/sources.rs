//! What the writer of bundles is given: proofs of the ledger, and the keys of what may be opened.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::id::SubjectId;
use crate::export::{Disclose, Error, Proofs, Share};
use crate::ledger::tlog::{Edge, Hash, KeyKind, SignedCheckpoint, Signer, VerifierKey};
use crate::ledger::{self, Ledger};
use crate::record::header::Header;
use crate::record::key::{Class, box_key};
use crate::vault::Holder;
use crate::vault::keyring::{self, Keyring};
use crate::verify::Manifest;

/// The ledger's proofs, signed by the keyring.
pub(super) struct LedgerProofs {
    pub ledger: Arc<Ledger>,
    pub keyring: Arc<Keyring>,
    /// The largest tree that the recipient holds a checkpoint of: growth leads from there.
    pub since: u64,
}

fn no_proof(error: ledger::Error) -> Error {
    Error::Proof(Box::new(error))
}

impl Proofs for LedgerProofs {
    fn checkpoint(&self, covering: u64) -> Result<SignedCheckpoint, Error> {
        let newest = self.ledger.checkpoint(None).map_err(no_proof)?;
        // One that ends where the range does saves the recipient a proof, if it is worth as much.
        match self.ledger.checkpoint(Some(covering)) {
            Ok(exact)
                if covering >= self.since
                    && self.ledger.is_witnessed(&exact) >= self.ledger.is_witnessed(&newest) =>
            {
                Ok(SignedCheckpoint::clone(&exact))
            }
            Ok(_) | Err(ledger::Error::NotFound) => Ok(SignedCheckpoint::clone(&newest)),
            Err(error) => Err(no_proof(error)),
        }
    }

    fn edge(&self, size: u64) -> Result<Edge, Error> {
        self.ledger.edge(size).map_err(no_proof)
    }

    fn inclusion(&self, position: u64, header: &[u8], size: u64) -> Result<Vec<Hash>, Error> {
        Ok(self.ledger.inclusion(position, header, Some(size)).map_err(no_proof)?.file.path)
    }

    fn growth(&self, old: u64, new: u64) -> Result<Vec<Hash>, Error> {
        Ok(self.ledger.growth(old, Some(new)).map_err(no_proof)?.path)
    }

    fn manifest_signer(&self, origin: &str) -> Result<Signer, Error> {
        manifest_signer(&self.keyring, origin).map_err(no_proof)
    }
}

/// The keyring's active key for manifests of a log.
pub(crate) fn manifest_signer(keyring: &Keyring, origin: &str) -> Result<Signer, ledger::Error> {
    let keys = keyring.signing(keyring::Class::Manifest);
    let Some((_, key)) = keys.first() else {
        let way = "`custody keyring add manifest`, then `custody keyring activate manifest 1`";
        return Err(ledger::Error::NoKey(way.to_owned()));
    };
    Ok(Signer::from_seed(&Manifest::key_name(origin), KeyKind::Text, key)?)
}

/// How others know the key of a seed for manifests.
pub(crate) fn manifest_key_of(seed: &crate::vault::Key, origin: &str) -> Result<VerifierKey, ledger::Error> {
    let signer = Signer::from_seed(&Manifest::key_name(origin), KeyKind::Text, seed)?;
    Ok(signer.verifier().clone())
}

/// Opens the parts that were recorded as disclosed, as far as their keys live, and no others.
#[derive(Default)]
pub(super) struct Opener {
    /// Whose part it is, by position and number.
    pub parts: HashMap<(u64, u8), SubjectId>,
    pub holders: HashMap<SubjectId, Arc<Holder>>,
}

impl Disclose for Opener {
    fn share(&self, position: u64, header: &Header<'_>, part: usize, sealed: usize) -> Share {
        // At most 32 parts.
        let number = part as u8;
        let holder = self.parts.get(&(position, number)).and_then(|subject| self.holders.get(subject));
        let class = header.parts[part].boxes[sealed].class;
        let key = holder.and_then(|holder| match class {
            Class::Identity => holder.identity.as_ref(),
            Class::Evidence => holder.evidence.as_ref(),
            Class::Matter | Class::Organisation => None,
        });
        key.map_or(Share::Sealed, |key| Share::Open(box_key(class, key, header.salt, number)))
    }
}
