//! The minute's upkeep of keys: a new key-encryption key when the one in use is old enough, everything
//! moved to the keys in use, and the end of those that nothing needs and that were kept long enough.
//!
//! Each round looks at what is there and does what is left, so a crash needs no work of its own: a key
//! that was added and not used is used; what is locked with an older key is found by its count.

use std::sync::atomic::Ordering;

use crate::app::App;
use crate::app::error::Error;
use crate::domain::time::{MS_PER_DAY, MS_PER_HOUR, Timestamp};
use crate::vault::keyring::{Class, Description};

/// How long a key has to be due, so that a clock that jumps for a moment destroys nothing.
pub const DUE_MS: i64 = MS_PER_HOUR;
/// When it has ended, at the latest, while the service runs: rounds come some minutes late, and one that locks
/// everybody anew takes its time.
pub const ENDED_MS: i64 = DUE_MS + MS_PER_HOUR;
/// What lies further ahead of now than this was written by a clock that was wrong.
const AHEAD_MS: i64 = MS_PER_DAY;
/// Key-encryption keys that are made by themselves, at most: a clock that swings to and fro makes no more.
const MOST: usize = 32;

/// What is done of a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Added,
    Activated,
    /// One batch of holders.
    Rewrapped,
    /// What was locked with the old key is in no file.
    Forgotten,
    /// One batch of holders' identifiers.
    Remarked,
    Destroyed,
    Recorded,
}

pub(super) type Watch<'a> = &'a mut (dyn FnMut(Step) -> Result<(), Error> + Send);
type Progress<'a> = &'a mut (dyn FnMut(u64, u64) + Send);

impl App {
    /// Does what is due. What fails is an alarm, and is tried again in a minute.
    pub async fn tend_keys(&self) {
        let done = self.tend_keys_watched(&mut |_| Ok(())).await;
        if let Err(why) = &done {
            let chain = why.chain().unwrap_or_default();
            tracing::error!(reason = why.reason(), error = %why, chain, "keys are not replaced");
        }
        self.keys.state().failing = done.err().map(|why| why.to_string());
    }

    /// `watch` is told each step that is done; where it fails things stay as a crash would leave them.
    pub(crate) async fn tend_keys_watched(&self, watch: Watch<'_>) -> Result<(), Error> {
        let _one = self.keys.one.lock().await;
        // Nothing may be recorded, so nothing is changed that would have to be.
        if self.may_grow().is_err() {
            return Ok(());
        }
        self.note_changes(watch).await?;
        let made = self.make_kek(watch).await?;
        self.move_all(&mut |_, _| {}, watch).await?;
        let ended = self.end_keks(watch).await?;
        self.keys.state().by_hand = made.or(ended);
        Ok(())
    }

    async fn note_changes(&self, watch: Watch<'_>) -> Result<(), Error> {
        self.record_changes().await?;
        watch(Step::Recorded)
    }

    /// A new key-encryption key, if the one in use is old enough; or what somebody has to do instead.
    async fn make_kek(&self, watch: Watch<'_>) -> Result<Option<String>, Error> {
        let (Some(use_ms), now) = (self.keys.life.use_ms, self.clock.now()) else { return Ok(None) };
        let keks = self.keks();
        let Some(active) = keks.iter().find(|key| key.active) else { return Ok(None) };
        let age = now.since(active.activated.unwrap_or(active.created));
        if (-AHEAD_MS..use_ms).contains(&age) {
            return Ok(None);
        }
        if !self.keyring.is_writable() {
            return Ok(Some(format!(
                "kek {} has been in use for {} days, and the keyring came from the environment",
                active.id,
                age / MS_PER_DAY
            )));
        }
        let waiting =
            keks.iter().filter(|key| key.id > active.id && key.activated.is_none()).max_by_key(|k| k.id);
        let id = match waiting {
            Some(key) => key.id,
            None if keks.len() >= MOST => {
                return Err(super::refused(format!(
                    "there are {} key-encryption keys: see that the clock is right, then destroy those that nothing \
                     needs",
                    keks.len()
                )));
            }
            None => self.keyring.add(Class::Kek, now)?,
        };
        watch(Step::Added)?;
        self.keyring.activate(Class::Kek, id, now)?;
        self.changed_keys();
        watch(Step::Activated)?;
        tracing::info!(
            id,
            "a new key-encryption key is in use: copy the keyring to where its copies are kept"
        );
        self.note_changes(watch).await?;
        Ok(None)
    }

    /// Locks everybody with the active key-encryption key, and moves identifiers to the active look-up key.
    pub(super) async fn move_all(&self, progress: Progress<'_>, watch: Watch<'_>) -> Result<(), Error> {
        let (mut passed, people) = (0, self.vault.status().await?.people);
        let active = self.keyring.active_kek()?.0;
        let mut moved = false;
        // Holders that were on their way when the key changed are found by the second round.
        while self.vault.locked_with().await?.iter().any(|(id, _)| *id != active) {
            let mut after = 0;
            moved = true;
            loop {
                self.go_on()?;
                let batch = self.vault.rewrap_some(after).await?;
                watch(Step::Rewrapped)?;
                (passed, after) = (passed + batch.passed, batch.after);
                progress(passed, people.max(passed));
                if batch.last {
                    break;
                }
            }
        }
        if moved {
            self.vault.forget_old_wraps().await?;
            watch(Step::Forgotten)?;
        }
        while let Some(batch) = self.vault.remark_some().await? {
            self.go_on()?;
            watch(Step::Remarked)?;
            passed += batch.passed;
            progress(passed, people.max(passed));
        }
        Ok(())
    }

    fn go_on(&self) -> Result<(), Error> {
        if self.called_off.load(Ordering::Relaxed) { Err(Error::stopping()) } else { Ok(()) }
    }

    /// The end of key-encryption keys that were kept long enough; or what somebody has to do instead.
    async fn end_keks(&self, watch: Watch<'_>) -> Result<Option<String>, Error> {
        if self.keys.life.use_ms.is_none() {
            return Ok(None);
        }
        let (now, keks) = (self.clock.now(), self.keks());
        let active = keks.iter().find(|key| key.active).map_or(0, |key| key.id);
        let mut by_hand = None;
        for key in keks.iter().filter(|key| !key.active && (key.id < active || key.replaced.is_some())) {
            let kept = key.replaced.map_or(i64::MIN, |at| now.since(at));
            if kept < self.keys.life.keep_ms {
                self.keys.state().due.remove(&key.id);
            }
            if kept < -AHEAD_MS && self.keyring.is_writable() {
                // Written by a clock that was wrong, or before it was noted at all: counted from now.
                self.keyring.replaced_now(Class::Kek, key.id, now)?;
            } else if kept >= self.keys.life.keep_ms && self.has_been_due(key.id, now) {
                by_hand = self.end_kek(key, watch).await?.or(by_hand);
            }
        }
        Ok(by_hand)
    }

    fn has_been_due(&self, id: u32, now: Timestamp) -> bool {
        let mut state = self.keys.state();
        let since = state.due.entry(id).or_insert(now);
        if now < *since {
            *since = now;
        }
        now.since(*since) >= DUE_MS
    }

    async fn end_kek(&self, key: &Description, watch: Watch<'_>) -> Result<Option<String>, Error> {
        let holders = self.vault.count_locked_with(key.id).await?;
        if holders > 0 {
            return Err(super::refused(format!(
                "kek {} is due for its end, but {holders} holders are locked with it although none is counted: run \
                 `custody fsck`",
                key.id
            )));
        }
        if !self.keyring.is_writable() {
            return Ok(Some(format!(
                "kek {} was kept long enough and is still in the keyring, which came from the environment",
                key.id
            )));
        }
        self.end_key(Class::Kek, key.id).await?;
        self.keys.state().due.remove(&key.id);
        self.changed_keys();
        watch(Step::Destroyed)?;
        tracing::info!(id = key.id, "a key-encryption key was destroyed: do the same where copies are kept");
        self.note_changes(watch).await?;
        Ok(None)
    }

    fn keks(&self) -> Vec<Description> {
        self.keyring.describe().into_iter().filter(|key| key.class == Class::Kek).collect()
    }
}
