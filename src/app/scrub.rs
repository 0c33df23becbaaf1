//! The vault's files without remains of what was deleted: once a week they are rewritten.
//!
//! Promises: what is left of the erased in gaps of the vault's file goes within eight days while the service
//! runs, where 90 are allowed; marks of their identifiers go with the first scrub after their 90 days. The
//! vault keeps when it was last done, so a restart changes nothing. Nobody is erased and no backup reads
//! meanwhile, and new people wait. The clock may jump: a scrub has to be due for an hour, and one that was
//! done ahead of now counts as never. A crash loses the scrub: the next one does all of it.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use crate::app::App;
use crate::app::error::Error;
use crate::app::keys::DUE_MS;
use crate::domain::time::{MS_PER_DAY, Timestamp};

/// Between two.
const EVERY_MS: i64 = 7 * MS_PER_DAY;
/// What lies further ahead of now was written by a clock that was wrong.
const AHEAD_MS: i64 = MS_PER_DAY;

/// What is known of scrubs.
#[derive(Debug, Default)]
pub struct Scrubbing {
    /// Since when the next one is due. Locked by whoever looks after it.
    due: tokio::sync::Mutex<Option<Timestamp>>,
    /// Why the last one failed.
    failing: Mutex<Option<String>>,
}

impl Scrubbing {
    /// Why remains of the erased stay in the vault's files, if they do.
    pub fn failing(&self) -> Option<String> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, failing: Option<String>) {
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = failing;
    }
}

impl App {
    /// Scrubs the vault if it is time to. What fails is an alarm, and is tried again when it has been due for
    /// another hour: each try writes as much as there is.
    pub async fn scrub_in_time(&self) {
        let mut due = self.scrubbing.due.lock().await;
        match self.scrub_if(&mut due).await {
            Ok(false) => {}
            Ok(true) => {
                *due = None;
                self.scrubbing.note(None);
                tracing::info!("the vault's file was rewritten, without remains of what was deleted");
            }
            Err(why) => {
                *due = None;
                let chain = why.chain().unwrap_or_default();
                tracing::error!(reason = why.reason(), error = %why, chain, "the vault is not scrubbed");
                self.scrubbing.note(Some(format!(
                    "remains of what was deleted may stay in the vault's file, which cannot be rewritten: {why}"
                )));
            }
        }
    }

    /// Says whether it was done.
    async fn scrub_if(&self, due: &mut Option<Timestamp>) -> Result<bool, Error> {
        let now = self.clock.now();
        let age = self.vault.scrubbed_at().await?.map_or(i64::MAX, |at| now.since(at));
        if (-AHEAD_MS..EVERY_MS).contains(&age) {
            *due = None;
            return Ok(false);
        }
        let since = due.get_or_insert(now);
        *since = now.min(*since);
        if now.since(*since) < DUE_MS || self.called_off.load(Ordering::Relaxed) {
            return Ok(false);
        }
        // A backup is being read, or somebody erased: the next minute is soon enough.
        let Some(_nobody_is_erased) = self.erasures.try_pause() else { return Ok(false) };
        self.has_room_to_scrub()?;
        self.vault.scrub().await?;
        Ok(true)
    }

    /// What is rewritten lies on the disk twice for a while; the reserve is not for that.
    fn has_room_to_scrub(&self) -> Result<(), Error> {
        let (Some(disk), needed) = (self.reserve.seen(), self.backups.vault_bytes()) else { return Ok(()) };
        let free = disk.free.saturating_sub(disk.reserve);
        if free >= needed {
            return Ok(());
        }
        let why =
            format!("it needs {needed} bytes, and the disk has {free} free beside its reserve: make room");
        Err(Error::Precondition { reason: "no_room", why })
    }
}
