//! Every change of the keyring as an event. Its id follows from the change, so that it is recorded once,
//! however often a crash comes between the change and the event.

use sha2::{Digest as _, Sha256};

use crate::app::App;
use crate::app::error::Error;
use crate::domain::event::catalogue::{KeyDestroyed, KeyRotated};
use crate::domain::event::{Body, KeyClass};
use crate::domain::id::{EventId, Id};
use crate::domain::time::Timestamp;
use crate::vault::keyring::{Class, Description, Gone};

/// What a key is called in events: `kek-2`, `lookup-1`, `2026Q4`.
pub fn name(class: Class, id: u32) -> String {
    if class == Class::Index { format!("{}Q{}", id / 10, id % 10) } else { format!("{class}-{id}") }
}

fn epoch(class: Class, id: u32) -> Result<Id, Error> {
    name(class, id).parse().map_err(|_| Error::internal("key_name"))
}

fn class_of(class: Class) -> KeyClass {
    match class {
        Class::Kek => KeyClass::Kek,
        Class::Index => KeyClass::Index,
        Class::Lookup | Class::Fingerprint => KeyClass::Lookup,
        Class::EvidenceLookup => KeyClass::Evidence,
        Class::Checkpoint | Class::Manifest => KeyClass::Signing,
    }
}

impl App {
    /// Records what the keyring says has happened and the log does not hold yet.
    pub(super) async fn record_changes(&self) -> Result<(), Error> {
        if self.keys.state().recorded {
            return Ok(());
        }
        let (living, gone) = (self.keyring.describe(), self.keyring.gone());
        for key in &living {
            let Some(at) = put_to_use(key, &living, &gone) else { continue };
            let id = self.change_id(b"used", (key.class, key.id, at));
            if self.recorded(id).await?.is_none() {
                let before = earlier(key.class, key.id, &living, &gone);
                let body = KeyRotated {
                    class: Some(class_of(key.class)),
                    old_epoch: before.map(|id| epoch(key.class, id)).transpose()?,
                    new_epoch: Some(epoch(key.class, key.id)?),
                    ..Default::default()
                };
                self.record_own_about(id, Body::KeyRotated(Box::new(body)), None).await?;
            }
        }
        for Gone { class, id: key, at } in gone {
            let id = self.change_id(b"destroyed", (class, key, at));
            if self.recorded(id).await?.is_none() {
                let body = KeyDestroyed {
                    class: Some(class_of(class)),
                    old_epoch: Some(epoch(class, key)?),
                    ..Default::default()
                };
                self.record_own_about(id, Body::KeyDestroyed(Box::new(body)), None).await?;
            }
        }
        self.keys.state().recorded = true;
        Ok(())
    }

    /// Where it stands in the log that a key was put to use.
    pub(super) async fn used_from(&self, key: &Description) -> Result<Option<u64>, Error> {
        match key.activated {
            Some(at) => self.recorded(self.change_id(b"used", (key.class, key.id, at))).await,
            None => Ok(None),
        }
    }

    /// The keyring has changed: the next round records what is new.
    pub fn changed_keys(&self) {
        self.keys.state().recorded = false;
    }

    fn change_id(&self, what: &[u8], (class, id, at): (Class, u32, Timestamp)) -> EventId {
        let mut hash = Sha256::new();
        hash.update(b"custody/v1/key-change/");
        hash.update(self.keyring.vault_id());
        hash.update(what);
        hash.update(class.as_str());
        hash.update(id.to_le_bytes());
        hash.update(at.ms().to_le_bytes());
        let whole: [u8; 32] = hash.finalize().into();
        EventId(uuid::Builder::from_custom_bytes(whole.as_chunks::<16>().0[0]).into_uuid())
    }
}

/// When a key took another's place, if it did: the first of its class took nobody's.
fn put_to_use(key: &Description, living: &[Description], gone: &[Gone]) -> Option<Timestamp> {
    let first = earlier(key.class, key.id, living, gone).is_none();
    match key.class {
        Class::Index => (!first).then_some(key.created),
        _ => key.activated.filter(|at| !first || *at != key.created),
    }
}

/// The newest key of a class before one.
fn earlier(class: Class, id: u32, living: &[Description], gone: &[Gone]) -> Option<u32> {
    let living = living.iter().filter(|key| key.class == class).map(|key| key.id);
    let gone = gone.iter().filter(|gone| gone.class == class).map(|gone| gone.id);
    living.chain(gone).filter(|other| *other < id).max()
}
