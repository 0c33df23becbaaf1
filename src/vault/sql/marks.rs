//! What stands on disk and in index blocks instead of an identifier.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::domain::id::{Mark, SubjectId};
use crate::domain::identity::Identifier;
use crate::vault::keyring::{Class, Keyring};
use crate::vault::{Error, HolderKind};

/// The key of a row. The mark itself stands in index blocks and never in a file of the vault, so
/// that neither tells anything about the other to who lacks the look-up key.
pub type Place = [u8; 16];

/// One identifier under one look-up key: the two halves of its HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marking {
    pub mark: Mark,
    pub place: Place,
    /// The look-up key.
    pub lookup: u32,
}

/// Keyed look-ups under every living look-up key, the active one first.
pub struct Marker {
    /// Each with its key schedule done, so that a mark costs two compressions.
    keys: Vec<(u32, Hmac<Sha256>)>,
}

impl Marker {
    /// Of the look-up keys, or of those for what is asked in disputes only.
    pub fn new(keyring: &Keyring, class: Class) -> Result<Self, Error> {
        let mut keys = Vec::new();
        for (id, key) in keyring.all(class) {
            let keyed = Hmac::<Sha256>::new_from_slice(key.as_ref())
                .map_err(|_| Error::Keyring("a look-up key has a wrong length".into()))?;
            keys.push((id, keyed));
        }
        if keys.is_empty() {
            return Err(Error::Keyring(format!("the keyring has no {class} key")));
        }
        Ok(Marker { keys })
    }

    /// The look-up key that new rows are stored under.
    pub fn active(&self) -> u32 {
        self.keys[0].0
    }

    pub fn has(&self, lookup: u32) -> bool {
        self.keys.iter().any(|(id, _)| *id == lookup)
    }

    /// Whether no rotation of look-up keys is under way.
    pub fn is_single(&self) -> bool {
        self.keys.len() == 1
    }

    /// Under the active key.
    pub fn mark(&self, identifier: &Identifier) -> Marking {
        marking(&self.keys[0], identifier)
    }

    /// The place under one of the living keys; `None` if the key is not here.
    pub fn place_under(&self, lookup: u32, identifier: &Identifier) -> Option<Place> {
        let key = self.keys.iter().find(|(id, _)| *id == lookup)?;
        Some(marking(key, identifier).place)
    }

    /// Under the keys that are living but not active; mostly none.
    pub fn older(&self, identifier: &Identifier) -> Vec<Marking> {
        self.keys[1..].iter().map(|key| marking(key, identifier)).collect()
    }
}

fn marking((lookup, key): &(u32, Hmac<Sha256>), identifier: &Identifier) -> Marking {
    let mut mac = key.clone();
    mac.update(identifier.kind.as_str().as_bytes());
    mac.update(&[0]);
    mac.update(identifier.realm.as_ref().map_or("", |realm| realm.as_str()).as_bytes());
    mac.update(&[0]);
    mac.update(identifier.value.expose().as_bytes());
    let whole: [u8; 32] = mac.finalize().into_bytes().into();
    let (halves, _) = whole.as_chunks::<16>();
    Marking { mark: Mark(halves[0]), place: halves[1], lookup: *lookup }
}

/// Where a holder is found by its handle. Unkeyed: the handle is 128 random bits.
pub fn place_of_subject(subject: SubjectId) -> Place {
    cut(Sha256::new().chain_update(b"custody/v1/vault/subject/").chain_update(subject.0))
}

/// Where an organisation or a matter is found by its name, which is no secret. People have none.
pub fn place_of_name(kind: HolderKind, name: &str) -> Option<Place> {
    let label: &[u8] = match kind {
        HolderKind::Matter => b"custody/v1/vault/matter/",
        HolderKind::Organisation => b"custody/v1/vault/organisation/",
        HolderKind::Person | HolderKind::Device => return None,
    };
    Some(cut(Sha256::new().chain_update(label).chain_update(name)))
}

/// Where the cache remembers that an identifier was seen with a holder. Both are random bits.
pub fn place_of_pair(subject: SubjectId, place: &Place) -> Place {
    std::array::from_fn(|i| subject.0[i] ^ place[i])
}

fn cut(hash: Sha256) -> Place {
    let whole: [u8; 32] = hash.finalize().into();
    whole.as_chunks::<16>().0[0]
}
