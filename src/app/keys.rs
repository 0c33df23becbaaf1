//! The keys under which everything else is locked: who reads and signs with them, how they are replaced
//! while events are recorded, and what nobody can read any more when one is destroyed.
//!
//! Promises: no key is destroyed that the vault, or a record that is left, still needs; each change of the
//! keyring stands in the log, at the latest after the next start; a crash at any step is carried on by the
//! minute's upkeep, and locks nobody out meanwhile. Not promised: copies of the keyring are beyond reach.
//! The clock may jump: a key that is due is destroyed only when it has been due for an hour, and what
//! cannot be true (used or replaced more than a day ahead of now) counts as being so just now.

mod change;
mod events;
mod needs;
mod tend;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::app::error::Error;
use crate::domain::time::Timestamp;
use crate::ledger;
use crate::ledger::tlog::{KeyKind, Signer};
use crate::record::{IndexKey, IndexKeys};
use crate::vault::Key;
use crate::vault::keyring::{self, Class, Keyring};
pub use events::name;
pub use needs::{Consequences, Listed};
pub use tend::{DUE_MS, ENDED_MS, Step};

/// How long key-encryption keys live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// How long one is in use; `None`: they are replaced and destroyed by hand only.
    pub use_ms: Option<i64>,
    /// How long it is kept when another has taken its place.
    pub keep_ms: i64,
}

/// What is known of the keys' replacement.
pub struct Rotation {
    life: Life,
    /// One change of the keyring at a time.
    one: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Why the last round of upkeep failed.
    failing: Option<String>,
    /// What has to be done by hand, because the keyring cannot be written here.
    by_hand: Option<String>,
    /// Since when a key is found to be due for its end.
    due: BTreeMap<u32, Timestamp>,
    /// All changes of the keyring stand in the log.
    recorded: bool,
}

impl Rotation {
    pub fn new(life: Life) -> Rotation {
        Rotation { life, one: tokio::sync::Mutex::default(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // It is only written, never half.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why keys are not replaced as they should be, if so.
    pub fn failing(&self) -> Option<String> {
        self.state().failing.clone()
    }

    /// What somebody has to do with a keyring that cannot be written here.
    pub fn by_hand(&self) -> Option<String> {
        self.state().by_hand.clone()
    }
}

impl From<keyring::Error> for Error {
    fn from(error: keyring::Error) -> Self {
        match error {
            keyring::Error::NoKey { .. }
            | keyring::Error::Destroyed { .. }
            | keyring::Error::Lasting(_)
            | keyring::Error::ReadOnly
            | keyring::Error::Active { .. }
            | keyring::Error::ByCalendar
            | keyring::Error::Changed => refused(error.to_string()),
            other => Error::fault("keyring", other),
        }
    }
}

fn refused(why: String) -> Error {
    Error::Precondition { reason: "key_refused", why }
}

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
