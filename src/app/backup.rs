//! Backups of a service that runs: log first, then vault, under the key-encryption key in use.
//!
//! Promises: a backup holds all records below its head, whole, and everybody they are about; it was
//! read back before it has a name; the log says of it before it has one. Nobody is erased while log
//! and vault are read, so a backup holds a person before the erasure or after it, never in the middle
//! of it, and never half a purged piece. Erasures that were interrupted before go along with their
//! work files, and are carried through by whoever restores. The price: an erasure asked for meanwhile
//! waits. A crash leaves what has the ending `.partial`, which the next backup removes, and a
//! snapshot of the vault, which the next start overwrites before anybody is served.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use tokio::sync::Semaphore;

use crate::app::App;
use crate::app::error::Error;
use crate::app::record::DISK_AT_RESERVE;
use crate::backup::manifest::VAULT;
use crate::backup::{self, About, EXPIRED, Inspect, Manifest, Meter, PARTIAL, Writer};
use crate::disk::{FileSystem, Probe, Rule};
use crate::domain::event::catalogue::{BackupTaken, BackupsExpired};
use crate::domain::event::{Body, ErasureMethod, List};
use crate::domain::id::{Digest, Id};
use crate::domain::time::{MS_PER_DAY, Timestamp};
use crate::limits;
use crate::vault::keyring::{self, Keyring};

/// What is in a backup.
const STORES: [&str; 2] = ["log", "vault"];
const SERVICE: &str = "custody";

/// A part of the log as a file: its path below the data directory, where it is, its first bytes.
#[derive(Debug, Clone)]
pub struct Part {
    pub path: String,
    pub source: PathBuf,
    pub bytes: u64,
}

/// The files behind the ports, which only an embedded log and vault have.
#[async_trait]
pub trait Stores: Send + Sync {
    fn data(&self) -> &Path;

    /// What makes the log up to a head.
    fn log_parts(&self, head: u64) -> Result<Vec<Part>, Error>;

    /// Paths below the data directory of checkpoints over at most so many records, and of the work
    /// files of erasures.
    fn small_files(&self, head: u64) -> Result<Vec<String>, Error>;

    fn vault_bytes(&self) -> u64;

    /// Writes the vault as it is now to a file inside the data directory, and says which key-encryption
    /// keys its rows are locked with.
    async fn snapshot_vault(&self) -> Result<(PathBuf, Vec<u32>), Error>;

    /// Overwrites and removes that file, if it is there.
    fn forget_snapshot(&self) -> Result<(), Error>;

    /// Looks at what comes out of a backup.
    fn inspector(&self) -> Box<dyn Inspect>;
}

/// What the app keeps of backups: where they lie, how long, and whose turn it is.
pub struct Backups {
    place: PathBuf,
    keep_ms: i64,
    /// What is kept free on their disk.
    rule: Rule,
    stores: Arc<dyn Stores>,
    /// Held by who makes one.
    making: Semaphore,
    /// Held by who touches what lies there.
    turn: Semaphore,
}

impl Backups {
    pub fn new(place: PathBuf, keep_days: u64, rule: Rule, stores: Arc<dyn Stores>) -> Backups {
        let keep_ms = i64::try_from(keep_days).unwrap_or(i64::MAX).saturating_mul(MS_PER_DAY);
        Backups { place, keep_ms, rule, stores, making: Semaphore::new(1), turn: Semaphore::new(1) }
    }

    /// How large the vault's file is.
    pub(crate) fn vault_bytes(&self) -> u64 {
        self.stores.vault_bytes()
    }

    /// Returns in a moment in which no backup is being made.
    pub(crate) async fn nothing_is_made(&self) -> Result<(), Error> {
        self.turn.acquire().await.map(drop).map_err(|gone| Error::fault("backup_turn", gone))
    }
}

/// What is done of a backup, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Begun,
    LogWritten,
    /// The snapshot lies in the data directory.
    VaultTaken,
    VaultWritten,
    ReadBack,
    Recorded,
    Named,
}

impl Step {
    pub const ALL: [Step; 7] = [
        Step::Begun,
        Step::LogWritten,
        Step::VaultTaken,
        Step::VaultWritten,
        Step::ReadBack,
        Step::Recorded,
        Step::Named,
    ];
}

/// Hears bytes done and bytes in all.
pub type Progress = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// Counts, tells, and ends the work when the service stops.
struct Telling {
    progress: Progress,
    done: AtomicU64,
    total: AtomicU64,
    called_off: Arc<AtomicBool>,
}

impl Meter for Telling {
    fn moved(&self, bytes: u64) -> Result<(), backup::Error> {
        if self.called_off.load(Ordering::Relaxed) {
            return Err(backup::Error::CalledOff);
        }
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // What grew meanwhile is not in the total.
        (self.progress)(done, self.total.load(Ordering::Relaxed).max(done));
        Ok(())
    }
}

impl App {
    /// Makes a backup. What a failure leaves is removed.
    pub async fn create_backup(self: &Arc<Self>, progress: Progress) -> Result<(PathBuf, Manifest), Error> {
        let made = self.backup_watched(progress, |_| Ok(())).await;
        if made.is_err()
            && let Ok(_turn) = self.backups.turn.try_acquire()
        {
            let cleaned = self.on_backups(|backups| backups.clean()).await;
            if let Err(error) = cleaned {
                tracing::error!(%error, "what a backup left could not be removed; the next one tries again");
            }
        }
        made
    }

    /// `watch` is told each step that is done; where it fails everything stays as a crash would leave
    /// it.
    pub(crate) async fn backup_watched(
        self: &Arc<Self>,
        progress: Progress,
        mut watch: impl FnMut(Step) -> Result<(), Error> + Send,
    ) -> Result<(PathBuf, Manifest), Error> {
        let _making =
            self.backups.making.try_acquire().map_err(|_| refused("a backup is being made already"))?;
        // Old ones may be being removed, which is short.
        let _turn = self.backups.turn.acquire().await.map_err(|gone| Error::fault("backup_turn", gone))?;
        self.may_grow()?;
        if let Some(why) = self.log.status().read_only {
            return Err(refused(format!("the log is read-only: {why}")));
        }
        if self.reserve.is_reached() {
            // The snapshot of the vault has to go there.
            return Err(DISK_AT_RESERVE);
        }
        let telling = Arc::new(Telling {
            progress,
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            called_off: Arc::clone(&self.called_off),
        });
        let nobody_is_erased = self.erasures.pause().await;
        let (about, kek) = self.about_backup()?;
        let (head, meter) = (about.head, Arc::clone(&telling));
        let writer = self
            .on_backups(move |backups| {
                backups.clean()?;
                let name = name(about.created_at, head);
                let writer = Writer::begin(&backups.place, &name, &kek, about)?;
                backups.has_room(&writer, head, &meter)?;
                Ok(writer)
            })
            .await?;
        watch(Step::Begun)?;
        let meter = Arc::clone(&telling);
        let writer = self.on_backups(move |backups| backups.write_log(writer, head, &*meter)).await?;
        watch(Step::LogWritten)?;
        // After the log: everybody whom its records are about is in it.
        let (snapshot, epochs) = self.backups.stores.snapshot_vault().await?;
        watch(Step::VaultTaken)?;
        let meter = Arc::clone(&telling);
        let writer = self
            .on_backups(move |backups| {
                let mut writer = writer;
                let bytes = std::fs::metadata(&snapshot).map_err(failed(&snapshot))?.len();
                writer.locked_with(epochs);
                // Whatever became of it: nobody is erased while a second copy of the vault is there.
                let added = writer.add(VAULT, &snapshot, bytes, &*meter);
                backups.stores.forget_snapshot()?;
                added?;
                Ok(writer)
            })
            .await?;
        drop(nobody_is_erased);
        watch(Step::VaultWritten)?;
        let closed = self
            .on_backups(move |backups| Ok(writer.close(&mut *backups.stores.inspector(), &*telling)?))
            .await?;
        watch(Step::ReadBack)?;
        // Before it has its name, so that there is no backup of which the log does not know.
        self.record_backup(&STORES, closed.manifest.kek_epoch, closed.manifest.expires_at).await?;
        watch(Step::Recorded)?;
        let named = self.on_backups(|_| Ok(closed.name_it()?)).await?;
        watch(Step::Named)?;
        tracing::info!(directory = %named.0.display(), head = named.1.head, "a backup was made");
        Ok(named)
    }

    /// The backups that are there, the oldest first.
    pub async fn backups(&self) -> Result<Vec<(PathBuf, Manifest)>, Error> {
        self.on_backups(|backups| Ok(backup::all(&backups.place)?)).await
    }

    /// Removes backups whose time is over, and says so in the log. What a crash left of it is carried
    /// through: a backup that is being removed keeps its manifest until that is recorded.
    pub async fn expire_backups(&self) -> Result<(), Error> {
        let now = self.clock.now();
        let Ok(_turn) = self.backups.turn.try_acquire() else { return Ok(()) };
        let (gone, left) = self.on_backups(move |backups| backups.empty_expired(now)).await?;
        let Some(newest) = gone.iter().map(|(_, created_at)| *created_at).max() else { return Ok(()) };
        // Only that of which nothing is left is said to be gone.
        let up_to = left.map_or(newest, |oldest| newest.min(oldest.plus_ms(-1)));
        let body = BackupsExpired {
            service: Some(id(SERVICE)?),
            stores: stores(&STORES)?,
            up_to: Some(up_to),
            method: Some(ErasureMethod::Delete),
        };
        self.record_own(Body::BackupsExpired(Box::new(body)), Vec::new()).await?;
        tracing::info!(backups = gone.len(), %up_to, "backups whose time is over are removed");
        self.on_backups(move |_| gone.iter().try_for_each(|(dir, _)| Ok(backup::remove(dir)?))).await
    }

    /// Records that a copy of the keyring was made. It is to be replaced by a newer one when a backup
    /// made now would have ended.
    pub async fn note_keyring_copy(&self) -> Result<Timestamp, Error> {
        let (epoch, _) = self.keyring.active_kek().map_err(|e| Error::fault("keyring", e))?;
        let expires_at = self.clock.now().plus_ms(self.backups.keep_ms);
        self.record_backup(&["keyring"], epoch, expires_at).await?;
        Ok(expires_at)
    }

    /// Writes a copy of the keyring to a new file. Its digest tells copies apart, and no key.
    pub fn copy_keyring(&self, to: &Path) -> Result<Digest, keyring::Error> {
        self.keyring.copy_to(to)
    }

    /// The vault that the keyring was made with.
    pub fn vault_id(&self) -> [u8; 16] {
        self.keyring.vault_id()
    }

    async fn record_backup(&self, held: &[&str], kek_epoch: u32, expires_at: Timestamp) -> Result<(), Error> {
        let body = BackupTaken {
            service: Some(id(SERVICE)?),
            stores: stores(held)?,
            key_epoch: Some(id(&format!("kek-{kek_epoch}"))?),
            expires_at: Some(expires_at),
        };
        self.record_own(Body::BackupTaken(Box::new(body)), Vec::new()).await.map(drop)
    }

    fn about_backup(&self) -> Result<(About, crate::vault::Key), Error> {
        let (kek_epoch, kek) = self.keyring.active_kek().map_err(|e| Error::fault("keyring", e))?;
        let created_at = self.clock.now();
        // The tree first: it never covers more than the log has.
        let tree = self.ledger.head();
        let about = About {
            vault: self.keyring.vault_id(),
            origin: self.ledger.origin().unwrap_or_else(|| self.house.origin.clone()),
            head: self.log.head(),
            tree,
            kek_epoch,
            created_at,
            expires_at: created_at.plus_ms(self.backups.keep_ms),
        };
        Ok((about, kek))
    }

    async fn on_backups<T: Send + 'static>(
        self: &App,
        act: impl FnOnce(&Inner) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let inner = Inner {
            place: self.backups.place.clone(),
            rule: self.backups.rule,
            stores: Arc::clone(&self.backups.stores),
        };
        let done = tokio::task::spawn_blocking(move || act(&inner)).await;
        done.map_err(|died| Error::fault("backup_died", died))?
    }
}

/// What threads that may block are given.
struct Inner {
    place: PathBuf,
    rule: Rule,
    stores: Arc<dyn Stores>,
}

impl Inner {
    /// Removes what a failure or a crash left.
    fn clean(&self) -> Result<(), Error> {
        for left in backup::ending(&self.place, PARTIAL)? {
            backup::remove(&left)?;
        }
        self.stores.forget_snapshot()
    }

    /// Whether what is going to be written leaves the reserve of the disk alone.
    fn has_room(&self, writer: &Writer, head: u64, telling: &Telling) -> Result<(), Error> {
        let parts = self.stores.log_parts(head)?;
        let all = parts.iter().map(|part| part.bytes).sum::<u64>() + self.stores.vault_bytes();
        telling.total.store(2 * all, Ordering::Relaxed);
        let fresh = parts.iter().filter(|part| writer.previous(&part.path) != Some(part.bytes));
        let needed = fresh.map(|part| part.bytes).sum::<u64>() + self.stores.vault_bytes();
        let room = FileSystem(self.place.clone()).room().map_err(failed(&self.place))?;
        let free = room.free.saturating_sub(self.rule.of(room.total));
        if needed > free {
            return Err(refused(format!(
                "the disk of {} has room for {free} bytes beside its reserve, and the backup needs {needed}: free \
                 space, or name another backup.directory",
                self.place.display()
            )));
        }
        Ok(())
    }

    fn write_log(&self, mut writer: Writer, head: u64, meter: &dyn Meter) -> Result<Writer, Error> {
        for part in self.stores.log_parts(head)? {
            writer.add(&part.path, &part.source, part.bytes, meter)?;
        }
        writer.add_pack(self.stores.data(), &self.stores.small_files(head)?, meter)?;
        Ok(writer)
    }

    /// Removes all but the manifests of backups whose time is over. Says which they are with the times
    /// they were made at, and when the oldest of the others was.
    fn empty_expired(&self, now: Timestamp) -> Result<Expired, Error> {
        let mut left = None;
        for (dir, manifest) in backup::all(&self.place)? {
            if manifest.expires_at <= now {
                let ended = dir.with_extension(EXPIRED);
                std::fs::rename(&dir, &ended).map_err(failed(&dir))?;
            } else {
                left = left.or(Some(manifest.created_at));
            }
        }
        let mut gone = Vec::new();
        for dir in backup::ending(&self.place, EXPIRED)? {
            let Ok(document) = backup::Document::read(&dir) else {
                // Of a crash after it was recorded.
                backup::remove(&dir)?;
                continue;
            };
            for file in &document.stated.files {
                backup::remove_file(&dir.join(&file.name))?;
            }
            gone.push((dir, document.stated.created_at));
        }
        Ok((gone, left))
    }
}

/// Directories with the times they were made at, and the time of the oldest that stays.
type Expired = (Vec<(PathBuf, Timestamp)>, Option<Timestamp>);

/// `20261123T042500Z-12345`: sorted by name is sorted by age.
fn name(at: Timestamp, head: u64) -> String {
    let text = at.to_string();
    let digits: String = text.chars().take_while(|c| *c != '.').filter(|c| !matches!(c, '-' | ':')).collect();
    format!("{}Z-{head}", digits.trim_end_matches('Z'))
}

/// Which key opens a backup. `Err` says in words why none does.
pub fn kek_of(keyring: &Keyring, manifest: &Manifest) -> Result<crate::vault::Key, String> {
    if keyring.vault_id() != manifest.vault {
        return Err("the backup belongs to another keyring: use the one that was made with it".to_owned());
    }
    for epoch in manifest.locked_with.iter().chain([&manifest.kek_epoch]) {
        if keyring.kek(*epoch).is_ok() {
            continue;
        }
        let newest = keyring.active_kek().map_or(0, |(newest, _)| newest);
        return Err(if newest < *epoch {
            format!(
                "this keyring is older than the backup: it lacks kek {epoch}. Use the newest copy of the keyring"
            )
        } else {
            format!("kek {epoch} was destroyed: this backup can no longer be read, which is meant")
        });
    }
    keyring.kek(manifest.kek_epoch).map_err(|error| error.to_string())
}

fn refused(why: impl Into<String>) -> Error {
    Error::Precondition { reason: "backup_refused", why: why.into() }
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| backup::Error::Io { path: path.clone(), source }.into()
}

fn id(text: &str) -> Result<Id, Error> {
    text.parse().map_err(|_| Error::internal("backup_id"))
}

fn stores(names: &[&str]) -> Result<List<Id, { limits::LIST }>, Error> {
    let names = names.iter().map(|name| id(name)).collect::<Result<_, _>>()?;
    List::new(names).ok_or_else(|| Error::internal("backup_stores"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_when_and_up_to_where() {
        let at: Timestamp = "2026-11-23T04:25:00.123Z".parse().unwrap();
        assert_eq!(name(at, 12_345), "20261123T042500Z-12345");
        assert_eq!(name("2026-11-23T04:25:00Z".parse().unwrap(), 1), "20261123T042500Z-1");
    }
}
