//! What an operator does with keys while the service runs.

use crate::app::App;
use crate::app::error::Error;
use crate::app::keys::{Consequences, refused};
use crate::vault::keyring::{Class, Description};

/// Living keys of one class.
const MOST: usize = 64;

impl App {
    /// Adds a key that is not used yet.
    pub async fn add_key(&self, class: Class) -> Result<Description, Error> {
        let _one = self.keys.one.lock().await;
        self.may_grow()?;
        let keys = self.keyring.describe();
        if keys.iter().filter(|key| key.class == class).count() >= MOST {
            return Err(refused(format!("there are {MOST} {class} keys already: destroy some first")));
        }
        let id = self.keyring.add(class, self.clock.now())?;
        self.follow_keyring(class).await?;
        self.described(class, id)
    }

    /// Uses a key from now on, and records that. Upkeep moves what was locked with the one before.
    pub async fn activate_key(&self, class: Class, id: u32) -> Result<Description, Error> {
        let _one = self.keys.one.lock().await;
        self.may_grow()?;
        self.keyring.activate(class, id, self.clock.now())?;
        self.changed_keys();
        self.follow_keyring(class).await?;
        self.record_changes().await?;
        self.described(class, id)
    }

    /// Moves everything to the active keys now. `progress` is told how many holders were passed, and of
    /// how many in this round. Goes on if nobody listens.
    pub async fn rewrap_keys(
        self: &std::sync::Arc<Self>,
        mut progress: impl FnMut(u64, u64) + Send + 'static,
    ) -> Result<(), Error> {
        let app = std::sync::Arc::clone(self);
        let moving = tokio::spawn(async move {
            let _one = app.keys.one.lock().await;
            app.follow_keyring(Class::Lookup).await?;
            app.move_all(&mut progress, &mut |_| Ok(())).await
        });
        moving.await.map_err(|died| Error::fault("rewrap_died", died))?
    }

    /// Destroys a key that nothing needs, if it is said expressly, and tells what is lost with it.
    pub async fn destroy_key(
        &self,
        class: Class,
        id: u32,
        confirmed: bool,
        mut progress: impl FnMut(u64, u64) + Send,
    ) -> Result<Consequences, Error> {
        if !confirmed {
            return Err(Error::Precondition {
                reason: "confirmation_required",
                why: "nothing is destroyed without confirmation: ask for a preview, then confirm".to_owned(),
            });
        }
        let _one = self.keys.one.lock().await;
        self.may_grow()?;
        let searched = self.log.head();
        let consequences = self.consequences(class, id, &mut progress).await?;
        if let Some(why) = consequences.refused {
            return Err(refused(why));
        }
        if class == Class::Index {
            // Whoever seals with it has appended when this is held, and nobody seals meanwhile.
            let _nobody_records = self.recording.write().await;
            let (records, _) = self.blocks_of(id, (searched, self.log.head()), &mut progress).await?;
            let (writing, _) = self.keyring.active_index(self.clock.now())?;
            if records > 0 || id >= writing {
                return Err(refused("records of that quarter are being written".to_owned()));
            }
            self.keyring.destroy(class, id, self.clock.now())?;
        } else {
            self.end_key(class, id).await?;
        }
        self.changed_keys();
        self.record_changes().await?;
        tracing::warn!(%class, id, "a key was destroyed here; copies of the keyring still hold it");
        Ok(consequences)
    }

    /// Takes a key out of the keyring of which it was seen that nothing needs it.
    pub(super) async fn end_key(&self, class: Class, id: u32) -> Result<(), Error> {
        if class == Class::Kek {
            // What was locked with it stays in no file beside its end.
            self.vault.forget_old_wraps().await?;
        }
        self.keyring.destroy(class, id, self.clock.now())?;
        self.follow_keyring(class).await?;
        if class == Class::Lookup {
            self.vault.forget_lookup(id).await?;
        }
        Ok(())
    }

    /// Lets the vault know what the keyring holds now.
    async fn follow_keyring(&self, class: Class) -> Result<(), Error> {
        if matches!(class, Class::Lookup | Class::EvidenceLookup) {
            self.vault.take_lookup_keys().await?;
        }
        Ok(())
    }
}
