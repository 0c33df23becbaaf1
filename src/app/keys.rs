//! The keyring, for those who read records and for those who sign.

use std::sync::Arc;

use crate::ledger;
use crate::ledger::tlog::{KeyKind, Signer};
use crate::record::{IndexKey, IndexKeys};
use crate::vault::Key;
use crate::vault::keyring::{Class, Keyring};

/// Hands out index keys, and nothing else of the keyring. A key that was destroyed is gone for the
/// next reader: nothing is kept here.
pub struct KeyringIndex(pub Arc<Keyring>);

impl IndexKeys for KeyringIndex {
    fn index_key(&self, epoch: u32) -> Option<IndexKey> {
        self.0.index_key(epoch).ok().map(|key| IndexKey::new(epoch, &key))
    }
}

/// Signs checkpoints with the keyring's keys. They are read anew for every signature, so that a
/// rotation needs no restart of its own.
pub struct KeyringSigners(pub Arc<Keyring>);

impl ledger::Keys for KeyringSigners {
    fn signers(&self, origin: &str) -> Result<Vec<Signer>, ledger::Error> {
        let keys = self.0.signing(Class::Checkpoint);
        if keys.is_empty() {
            let way = "`custody keyring add checkpoint`, then `custody keyring activate checkpoint 1`";
            return Err(ledger::Error::NoKey(way.to_owned()));
        }
        let signer = |(_, key): &(u32, Key)| Signer::from_seed(origin, KeyKind::Text, key);
        Ok(keys.iter().map(signer).collect::<Result<_, _>>()?)
    }
}
