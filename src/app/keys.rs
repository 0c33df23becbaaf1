//! The keyring, for those who read records.

use std::sync::Arc;

use crate::record::{IndexKey, IndexKeys};
use crate::vault::keyring::Keyring;

/// Hands out index keys, and nothing else of the keyring. A key that was destroyed is gone for the
/// next reader: nothing is kept here.
pub struct KeyringIndex(pub Arc<Keyring>);

impl IndexKeys for KeyringIndex {
    fn index_key(&self, epoch: u32) -> Option<IndexKey> {
        self.0.index_key(epoch).ok().map(|key| IndexKey::new(epoch, &key))
    }
}
