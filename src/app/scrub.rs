//! The vault's files without remains of what was deleted: once a week they are rewritten.
//!
//! Promises: what is left of the erased in gaps of the vault's file goes within eight days while the service
//! runs, where 90 are allowed; marks of their identifiers go with the first scrub after their 90 days. The
//! vault keeps when it was last done, so a restart changes nothing. Nobody is erased and no backup reads
//! meanwhile, and new people wait. The clock may jump: a scrub has to be due for an hour, and one that was
//! done ahead of now counts as never. A crash loses the scrub: the next one does all of it. Looked at every
//! minute; done by a job.

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
    /// Looks whether the vault is to be scrubbed, and remembers since when.
    pub async fn look_at_scrub(&self) -> Result<(), Error> {
        let mut due = self.scrubbing.due.lock().await;
        let now = self.clock.now();
        let age = self.vault.scrubbed_at().await?.map_or(i64::MAX, |at| now.since(at));
        *due = match *due {
            _ if (-AHEAD_MS..EVERY_MS).contains(&age) => None,
            None => Some(now),
            Some(since) => Some(now.min(since)),
        };
        Ok(())
    }

    /// Whether the vault has to be scrubbed, and had to for an hour.
    pub async fn scrub_is_due(&self) -> Result<bool, Error> {
        self.look_at_scrub().await?;
        let due = *self.scrubbing.due.lock().await;
        Ok(due.is_some_and(|since| self.clock.now().since(since) >= DUE_MS))
    }

    async fn scrub_stores(&self) -> Result<(), Error> {
        self.vault.scrub().await?;
        Ok(self.log.scrub().await?)
    }

    /// Scrubs the vault, and the log where purging leaves remains. Says false where a backup is being read or somebody erased: then soon is early enough.
    /// What fails is an alarm, and is tried again when it has been due for another hour: each try writes as much
    /// as there is.
    pub async fn scrub(&self) -> Result<bool, Error> {
        let mut due = self.scrubbing.due.lock().await;
        let Some(_nobody_is_erased) = self.erasures.try_pause() else { return Ok(false) };
        let scrubbed = match self.has_room_to_scrub() {
            Ok(()) => self.scrub_stores().await,
            Err(why) => Err(why),
        };
        *due = scrubbed.is_err().then(|| self.clock.now());
        self.scrubbing.note(scrubbed.as_ref().err().map(|why| {
            format!(
                "remains of what was deleted may stay in the vault's file, which cannot be rewritten: {why}"
            )
        }));
        scrubbed.map(|()| true)
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
