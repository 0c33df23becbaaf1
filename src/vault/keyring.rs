//! The keyring: the few keys under which everything else is locked. A file of its own, outside the
//! data directory, readable by its owner only; or the same text in an environment variable, then
//! read-only.
//!
//! Promises: it is never created beside a data directory that is not empty; it is replaced as a
//! whole or not at all; a damaged, foreign or too widely readable one is refused with the way out.
//! Not promised: copies of it are beyond reach. A crash loses at most the change being made.

mod copy;
mod file;

use std::path::PathBuf;
use std::sync::{RwLock, RwLockReadGuard};

use chrono::Datelike;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::domain::id::Digest;
use crate::domain::time::Timestamp;
use crate::vault::Key;

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Wraps the keys of people. Its epochs end when backups do.
    Kek,
    /// Encrypts index blocks; one per calendar quarter, its id is year and quarter: 20264.
    Index,
    /// Keys the marks of identifiers.
    Lookup,
    /// Keys the fingerprints by which a retry is told from a conflict.
    Fingerprint,
    /// Keys what is asked only in disputes, after an erasure.
    EvidenceLookup,
    /// Signs checkpoints of the log. Older keys sign beside the active one until they are removed.
    Checkpoint,
    /// Signs manifests of exports; never the same key as that of checkpoints.
    Manifest,
}

impl Class {
    pub const ALL: [Class; 7] = [
        Class::Kek,
        Class::Index,
        Class::Lookup,
        Class::Fingerprint,
        Class::EvidenceLookup,
        Class::Checkpoint,
        Class::Manifest,
    ];

    /// Whether its keys sign. A keyring from before there were any has none; nothing is signed then
    /// until one is added.
    pub fn signs(self) -> bool {
        matches!(self, Class::Checkpoint | Class::Manifest)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Class::Kek => "kek",
            Class::Index => "index",
            Class::Lookup => "lookup",
            Class::Fingerprint => "fingerprint",
            Class::EvidenceLookup => "evidence_lookup",
            Class::Checkpoint => "checkpoint",
            Class::Manifest => "manifest",
        }
    }
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Class {
    type Err = crate::domain::id::Malformed;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Class::ALL.into_iter().find(|class| class.as_str() == text);
        known.ok_or(crate::domain::id::Malformed(
            "is not a class of keys: kek, index, lookup, fingerprint, evidence_lookup, checkpoint, manifest",
        ))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "there is no keyring at {0}; put the newest copy of this data directory's keyring there, or name its place in the \
         configuration. If no copy is left, nothing personal can be opened any more, ever: exported bundles, their \
         proofs and published checkpoints verify as before (`custody verify`), and a new service needs another data \
         directory"
    )]
    Missing(PathBuf),
    #[error("the keyring {path} can be read by others (mode {mode:03o}); run: chmod 600 {path}")]
    Permissions { path: PathBuf, mode: u32 },
    #[error("the keyring is damaged: {0}; restore it from a copy")]
    Damaged(&'static str),
    #[error("the keyring is of format {0}, which this version does not know")]
    Format(u32),
    #[error(
        "the keyring belongs to vault {keyring}, this is vault {vault}; use the keyring that was made with it"
    )]
    Foreign { keyring: String, vault: String },
    #[error("the keyring has no {class} key {id}; add it from the keyring of another node or a copy")]
    NoKey { class: Class, id: u32 },
    #[error(
        "the {class} key {id} was destroyed at {at}, and what it locked cannot be opened again; put back what was \
         written since then"
    )]
    Destroyed { class: Class, id: u32, at: Timestamp },
    #[error(
        "{0} keys are not replaced: every retry of an event that was recorded before would be taken for another event"
    )]
    Lasting(Class),
    #[error("the keyring came from the environment and cannot be changed; change it where it is kept")]
    ReadOnly,
    #[error("the {class} key {id} is the active one; activate another first")]
    Active { class: Class, id: u32 },
    #[error(
        "index keys are made one per quarter and the newest counts; they are not added or activated by hand"
    )]
    ByCalendar,
    #[error("the keyring was changed by somebody else meanwhile; try again")]
    Changed,
    #[error("keyring {path}")]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{0} is there already; name another file for the copy")]
    Exists(PathBuf),
    #[error("no randomness from the operating system")]
    Randomness,
}

impl From<Error> for crate::vault::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Io { ref source, .. } => crate::vault::Error::Keyring(format!("{error}: {source}")),
            other => crate::vault::Error::Keyring(other.to_string()),
        }
    }
}

/// Where the keyring is.
pub enum Source {
    File(PathBuf),
    /// The text itself, from an environment variable.
    Text(Zeroizing<String>),
}

#[derive(Clone)]
struct Entry {
    class: Class,
    id: u32,
    created: Timestamp,
    active: bool,
    /// When it was first or last put to use; not known of keys from before this was kept.
    activated: Option<Timestamp>,
    /// When another took its place.
    replaced: Option<Timestamp>,
    key: Key,
}

/// A key that was destroyed here on purpose: what is told from one that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gone {
    pub class: Class,
    pub id: u32,
    pub at: Timestamp,
}

struct Keys {
    /// Which vault this keyring was made with.
    vault: [u8; 16],
    /// In the order in which they were added.
    entries: Vec<Entry>,
    /// In the order in which they were destroyed. Never forgotten, so that no id is given twice.
    gone: Vec<Gone>,
    /// What the file held when it was last read or written.
    digest: Digest,
}

/// One key as an operator may see it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Description {
    pub class: Class,
    pub id: u32,
    /// `2026Q4`, for index keys.
    pub name: Option<String>,
    pub created: Timestamp,
    pub active: bool,
    /// When it was put to use, where that is known.
    pub activated: Option<Timestamp>,
    /// When another took its place.
    pub replaced: Option<Timestamp>,
}

/// The keys, with the place they came from. Shared; changes are seen by everybody at once.
pub struct Keyring {
    /// `None`: read-only.
    path: Option<PathBuf>,
    keys: RwLock<Keys>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Keyring {
    /// Reads the keyring. A missing file is made only if `may_create`, by which the caller says
    /// that the data directory is empty.
    pub fn open(source: Source, may_create: bool, now: Timestamp) -> Result<Self, Error> {
        match source {
            Source::Text(text) => {
                let keys = file::parse(text.trim().as_bytes())?;
                Ok(Keyring { path: None, keys: RwLock::new(keys) })
            }
            Source::File(path) => {
                let keys = match file::read(&path) {
                    Err(Error::Missing(_)) if may_create => file::create(&path, now)?,
                    other => other?,
                };
                Ok(Keyring { path: Some(path), keys: RwLock::new(keys) })
            }
        }
    }

    /// The vault this keyring was made with.
    pub fn vault_id(&self) -> [u8; 16] {
        self.read().vault
    }

    /// The key-encryption key of an epoch.
    pub fn kek(&self, epoch: u32) -> Result<Key, Error> {
        self.key(Class::Kek, epoch)
    }

    pub fn active_kek(&self) -> Result<(u32, Key), Error> {
        self.active(Class::Kek)
    }

    pub fn index_key(&self, epoch: u32) -> Result<Key, Error> {
        self.key(Class::Index, epoch)
    }

    /// The index key to write with: this quarter's, or the newest before it if a keyring that
    /// cannot be written has none.
    pub fn active_index(&self, now: Timestamp) -> Result<(u32, Key), Error> {
        let wanted = quarter(now);
        let keys = self.read();
        let index = || keys.entries.iter().filter(|entry| entry.class == Class::Index);
        let newest = index().filter(|entry| entry.id <= wanted).max_by_key(|entry| entry.id);
        let found = newest.or_else(|| index().min_by_key(|entry| entry.id));
        found.map(|e| (e.id, e.key.clone())).ok_or(Error::NoKey { class: Class::Index, id: wanted })
    }

    /// Makes this quarter's index key if it is not there. Tells whether one was made; a read-only
    /// keyring goes on with the newest it has.
    pub fn ensure_index_epoch(&self, now: Timestamp) -> Result<bool, Error> {
        let id = quarter(now);
        let there = self.read().entries.iter().any(|e| e.class == Class::Index && e.id == id);
        if there || self.path.is_none() {
            return Ok(false);
        }
        self.change(|keys| {
            keys.entries.push(entry(Class::Index, id, now)?);
            Ok(true)
        })
    }

    /// The secret of fingerprints.
    pub fn fingerprint(&self) -> Result<Key, Error> {
        self.active(Class::Fingerprint).map(|(_, key)| key)
    }

    /// The key of evidence look-ups.
    pub fn evidence_lookup(&self) -> Result<Key, Error> {
        self.active(Class::EvidenceLookup).map(|(_, key)| key)
    }

    /// The keys of a class that sign now: the active one, and those before it that are still here,
    /// so that whoever trusts an old key only has time to learn the new one. Added but not yet
    /// activated ones do not sign.
    pub fn signing(&self, class: Class) -> Vec<(u32, Key)> {
        let Ok((active, _)) = self.active(class) else { return Vec::new() };
        let mut keys = self.all(class);
        keys.retain(|(id, _)| *id <= active);
        keys
    }

    /// All living keys of a class, the active one first.
    pub fn all(&self, class: Class) -> Vec<(u32, Key)> {
        let keys = self.read();
        let mut of_class: Vec<&Entry> = keys.entries.iter().filter(|e| e.class == class).collect();
        of_class.sort_by_key(|entry| (!entry.active, std::cmp::Reverse(entry.id)));
        of_class.into_iter().map(|entry| (entry.id, entry.key.clone())).collect()
    }

    /// Adds a new key, not yet active, so that every node has it before one uses it.
    pub fn add(&self, class: Class, now: Timestamp) -> Result<u32, Error> {
        if class == Class::Index {
            return Err(Error::ByCalendar);
        }
        self.change(|keys| {
            let living = keys.entries.iter().filter(|e| e.class == class).map(|e| e.id);
            let gone = keys.gone.iter().filter(|gone| gone.class == class).map(|gone| gone.id);
            let id = 1 + living.chain(gone).max().unwrap_or(0);
            keys.entries.push(entry(class, id, now)?);
            Ok(id)
        })
    }

    /// From now on new things are locked with this key. Nothing is changed where it is the active one.
    pub fn activate(&self, class: Class, id: u32, now: Timestamp) -> Result<(), Error> {
        match class {
            Class::Index => return Err(Error::ByCalendar),
            Class::Fingerprint => return Err(Error::Lasting(class)),
            _ => {}
        }
        self.key(class, id)?;
        if self.active(class).is_ok_and(|(active, _)| active == id) {
            return Ok(());
        }
        self.change(|keys| {
            for entry in keys.entries.iter_mut().filter(|entry| entry.class == class) {
                if entry.id == id {
                    (entry.active, entry.activated, entry.replaced) = (true, Some(now), None);
                } else if std::mem::take(&mut entry.active) {
                    entry.replaced = Some(now);
                }
            }
            Ok(())
        })
    }

    /// Says that a key was replaced just now, where what is noted cannot be true: the clock was set back.
    pub fn replaced_now(&self, class: Class, id: u32, now: Timestamp) -> Result<(), Error> {
        self.change(|keys| {
            let of_id = |entry: &&mut Entry| entry.class == class && entry.id == id && !entry.active;
            keys.entries.iter_mut().filter(of_id).for_each(|entry| entry.replaced = Some(now));
            Ok(())
        })
    }

    /// Destroys a key here, and notes that this was done. Whether anything still needs it the caller asks
    /// first.
    pub fn destroy(&self, class: Class, id: u32, now: Timestamp) -> Result<(), Error> {
        self.take_out(class, id, Some(now))
    }

    /// Takes a key out without a trace, as a damaged copy would lack it.
    #[cfg(any(test, feature = "testing"))]
    pub fn remove(&self, class: Class, id: u32) -> Result<(), Error> {
        self.take_out(class, id, None)
    }

    fn take_out(&self, class: Class, id: u32, noted: Option<Timestamp>) -> Result<(), Error> {
        self.key(class, id)?;
        self.change(|keys| {
            let is_it = |entry: &Entry| entry.class == class && entry.id == id;
            if keys.entries.iter().any(|entry| is_it(entry) && entry.active) {
                return Err(Error::Active { class, id });
            }
            keys.entries.retain(|entry| !is_it(entry));
            keys.gone.extend(noted.map(|at| Gone { class, id, at }));
            Ok(())
        })
    }

    /// Whether a key is here; if not, why.
    pub fn has(&self, class: Class, id: u32) -> Result<(), Error> {
        self.key(class, id).map(drop)
    }

    /// Keys that were destroyed here.
    pub fn gone(&self) -> Vec<Gone> {
        self.read().gone.clone()
    }

    /// Whether it can be changed at all.
    pub fn is_writable(&self) -> bool {
        self.path.is_some()
    }

    /// Ids, classes and dates; never keys.
    pub fn describe(&self) -> Vec<Description> {
        let keys = self.read();
        let mut all: Vec<Description> = keys
            .entries
            .iter()
            .map(|entry| Description {
                class: entry.class,
                id: entry.id,
                name: (entry.class == Class::Index).then(|| format!("{}Q{}", entry.id / 10, entry.id % 10)),
                created: entry.created,
                active: entry.active,
                activated: entry.activated,
                replaced: entry.replaced,
            })
            .collect();
        all.sort_by_key(|description| (description.class, description.id));
        all
    }

    fn read(&self) -> RwLockReadGuard<'_, Keys> {
        // A panic while the lock was held cannot leave the keys half changed: they are replaced whole.
        self.keys.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn key(&self, class: Class, id: u32) -> Result<Key, Error> {
        let keys = self.read();
        let found = keys.entries.iter().find(|entry| entry.class == class && entry.id == id);
        if let Some(entry) = found {
            return Ok(entry.key.clone());
        }
        let gone = keys.gone.iter().find(|gone| gone.class == class && gone.id == id);
        Err(gone.map_or(Error::NoKey { class, id }, |gone| Error::Destroyed { class, id, at: gone.at }))
    }

    fn active(&self, class: Class) -> Result<(u32, Key), Error> {
        let keys = self.read();
        let found = keys.entries.iter().find(|entry| entry.class == class && entry.active);
        found.map(|entry| (entry.id, entry.key.clone())).ok_or(Error::NoKey { class, id: 0 })
    }

    /// Changes a copy, stores it, and only then puts it in place.
    fn change<T>(&self, edit: impl FnOnce(&mut Keys) -> Result<T, Error>) -> Result<T, Error> {
        let path = self.path.as_ref().ok_or(Error::ReadOnly)?;
        let mut keys = self.keys.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if file::read(path)?.digest != keys.digest {
            return Err(Error::Changed);
        }
        let (entries, gone) = (keys.entries.clone(), keys.gone.clone());
        let mut changed = Keys { vault: keys.vault, entries, gone, digest: keys.digest };
        let result = edit(&mut changed)?;
        file::write(path, &mut changed)?;
        *keys = changed;
        Ok(result)
    }
}

/// Year and quarter in UTC: 20264.
fn quarter(now: Timestamp) -> u32 {
    let date = now.local_date(chrono_tz::UTC);
    date.year().unsigned_abs() * 10 + date.quarter()
}

fn entry(class: Class, id: u32, created: Timestamp) -> Result<Entry, Error> {
    let mut key = Zeroizing::new([0u8; 32]);
    getrandom::fill(key.as_mut()).map_err(|_| Error::Randomness)?;
    Ok(Entry { class, id, created, active: false, activated: None, replaced: None, key })
}

fn digest_of(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

#[cfg(test)]
mod tests;
