//! The files of an embedded node, as backups need them.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use crate::app::Error;
use crate::app::backup::{Part, Stores};
use crate::app::mirror::{Mirror, Standing};
use crate::backup::{Inspect, Manifest};
use crate::durable;
use crate::ledger;
use crate::log::Log;
use crate::log::segments::copy::Walk;
use crate::log::segments::{self, Segments};
use crate::vault::sqlite;

/// The log and the vault of one data directory.
pub struct Embedded {
    pub data: PathBuf,
    pub log: Arc<Segments>,
    pub vault: Arc<sqlite::Vault>,
}

/// Where a snapshot of the vault lies while it is being encrypted.
fn snapshot(data: &Path) -> PathBuf {
    data.join("vault").join("snapshot.sqlite")
}

/// Overwrites what a crash left, with the files that SQLite may have put beside it.
pub fn forget_snapshot(data: &Path) -> std::io::Result<()> {
    let path = snapshot(data);
    for ending in ["sqlite-journal", "sqlite-wal", "sqlite-shm", "sqlite"] {
        durable::forget(&path.with_extension(ending))?;
    }
    Ok(())
}

#[async_trait]
impl Stores for Embedded {
    fn data(&self) -> &Path {
        &self.data
    }

    fn log_parts(&self, head: u64) -> Result<Vec<Part>, Error> {
        let part = |part: crate::log::segments::copy::Part| {
            let name = part.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Part { path: format!("log/{name}"), source: part.path, bytes: part.bytes }
        };
        Ok(self.log.parts(head)?.into_iter().map(part).collect())
    }

    fn small_files(&self, head: u64) -> Result<Vec<String>, Error> {
        let mut paths = Vec::new();
        below(&self.data, "ledger/checkpoints", &mut paths)?;
        // One that was published meanwhile is over records that the backup lacks.
        let size = |path: &String| path.rsplit('/').next()?.strip_suffix(".checkpoint")?.parse::<u64>().ok();
        paths.retain(|path| size(path).is_some_and(|size| size <= head));
        let checkpoints = paths.len();
        below(&self.data, "erasures", &mut paths)?;
        let work = |path: &String| path.ends_with(".json");
        let erasures: Vec<String> = paths.split_off(checkpoints).into_iter().filter(work).collect();
        paths.extend(erasures);
        Ok(paths)
    }

    fn vault_bytes(&self) -> u64 {
        fs::metadata(self.data.join("vault").join(sqlite::FILE)).map_or(0, |file| file.len())
    }

    async fn snapshot_vault(&self) -> Result<(PathBuf, Vec<u32>), Error> {
        let to = snapshot(&self.data);
        match self.vault.snapshot(&to).await {
            Ok(taken) => Ok((to, taken.epochs)),
            Err(error) => {
                self.forget_snapshot()?;
                Err(error.into())
            }
        }
    }

    fn forget_snapshot(&self) -> Result<(), Error> {
        forget_snapshot(&self.data).map_err(|error| Error::fault("vault_snapshot", error))
    }

    fn inspector(&self) -> Box<dyn Inspect> {
        Box::new(Frames::default())
    }
}

/// The second copies of one data directory.
pub struct Mirrors {
    log: Arc<Segments>,
    vault: Arc<sqlite::Vault>,
    /// Held while they are tended: of two at once the second would find the copy in use, and raise an alarm.
    turn: tokio::sync::Mutex<()>,
}

impl Mirrors {
    pub fn new(log: Arc<Segments>, vault: Arc<sqlite::Vault>) -> Mirrors {
        Mirrors { log, vault, turn: tokio::sync::Mutex::default() }
    }
}

#[async_trait]
impl Mirror for Mirrors {
    fn standing(&self) -> Standing {
        let both = [self.log.mirror(), self.vault.mirror()];
        let directory = both.iter().flatten().map(|standing| standing.directory.clone()).next();
        let failing: Vec<String> = ["log", "vault"]
            .iter()
            .zip(both.into_iter().flatten())
            .filter_map(|(store, standing)| Some(format!("{store}: {}", standing.failing?)))
            .collect();
        Standing {
            directory: directory.unwrap_or_default(),
            failing: (!failing.is_empty()).then(|| failing.join("; ")),
        }
    }

    async fn tend(&self) {
        let _turn = self.turn.lock().await;
        // People first: nobody may have records there whose keys are not.
        self.vault.tend_mirror().await;
        let log = Arc::clone(&self.log);
        if let Err(error) = tokio::task::spawn_blocking(move || log.tend_mirror()).await {
            tracing::error!(%error, "bringing the log's mirror up to date ended");
        }
    }

    async fn compare(&self, called_off: Arc<AtomicBool>) -> Result<Vec<String>, Error> {
        let log = Arc::clone(&self.log);
        let compared =
            tokio::task::spawn_blocking(move || log.compare_mirror(&|| !called_off.load(Ordering::Relaxed)))
                .await;
        let mut differences = compared.map_err(|died| Error::fault("compare_died", died))??;
        differences.extend(self.vault.compare_mirror().await?);
        Ok(differences)
    }
}

/// The origin and the head of a copied data directory, if its log and its vault are whole; else what is
/// wrong. Blocks.
pub fn look_into(data: &Path) -> Result<(String, u64), String> {
    let log = Segments::open(segments::Options::new(data.join("log"))).map_err(told)?;
    let checked = log.check(&mut |_| ()).map_err(told)?;
    if let Some(damage) = checked.damage.first() {
        return Err(format!("the log is damaged at {damage}"));
    }
    if let Some(why) = log.status().read_only {
        return Err(why);
    }
    let first = log.first().map_err(told)?.ok_or("its log is empty")?;
    let naming = ledger::naming(&first).map_err(told)?.ok_or("its log does not begin as one of custody")?;
    sqlite::check_copy(&data.join("vault").join(sqlite::FILE)).map_err(told)?;
    let head = log.head();
    log.close().map_err(told)?;
    Ok((naming.origin, head))
}

fn told(error: impl std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Paths of the files below a folder of the data directory, which may not be there.
fn below(data: &Path, folder: &str, into: &mut Vec<String>) -> Result<(), Error> {
    let unreadable = |error| Error::fault("data_directory", error);
    let entries = match fs::read_dir(data.join(folder)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        let is_dir = entry.file_type().map_err(unreadable)?.is_dir();
        names.extend(entry.file_name().into_string().ok().map(|name| (name, is_dir)));
    }
    names.sort();
    for (name, is_dir) in names {
        let path = format!("{folder}/{name}");
        if is_dir {
            below(data, &path, into)?;
        } else {
            into.push(path);
        }
    }
    Ok(())
}

/// Sees to it that the segments in a backup are frames without gaps, from the first to its head.
#[derive(Default)]
pub struct Frames {
    walk: Option<Walk>,
    /// First position and the one after the last. Of what was linked and not read again, its frames
    /// were seen when it was written, and its first position is the end of the one before.
    seen: Vec<(u64, Option<u64>)>,
}

impl Inspect for Frames {
    fn begin(&mut self, path: &str) {
        let first = path.strip_prefix("log/").and_then(|name| name.strip_suffix(".seg"));
        let first = first.and_then(|digits| digits.parse().ok());
        self.seen.extend(first.map(|first| (first, None)));
        self.walk = first.map(Walk::from);
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.walk.as_mut().map_or(Ok(()), |walk| walk.add(bytes))
    }

    fn end(&mut self) -> Result<(), String> {
        let Some(walk) = self.walk.take() else { return Ok(()) };
        let end = walk.end()?;
        if let Some(last) = self.seen.last_mut() {
            last.1 = Some(end);
        }
        Ok(())
    }

    fn all(&mut self, manifest: &Manifest) -> Result<(), String> {
        let mut next = 0;
        for (n, (first, end)) in self.seen.iter().enumerate() {
            if *first != next {
                return Err(format!("lacks positions {next} to {}", first.saturating_sub(1)));
            }
            let following = self.seen.get(n + 1).map_or(manifest.head, |(first, _)| *first);
            next = end.unwrap_or(following);
        }
        if next != manifest.head {
            return Err(format!("ends at position {next} and not at {}", manifest.head));
        }
        Ok(())
    }
}
