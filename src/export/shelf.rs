//! Where finished exports lie until they are fetched or too old: a directory per bundle, and beside it
//! a file that says what it is.
//!
//! Promises: an export that is ready survives a restart; what is removed is gone from the disk; only
//! the owner may read any of it. Not promised: an export in the making survives; after a crash it
//! stands here as failed, and what it left is removed. Nothing about a person stands in the files
//! beside the bundles. Blocks, except for reading what stands in memory.

mod survey;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{Error, Progress, folder};
use crate::domain::id::{Digest, Id};
use crate::domain::time::Timestamp;
use crate::durable;
use crate::verify::{Kind, Level};

/// Exports that stand here at once, at most.
const MOST: usize = 1_000;
/// By which a clock may be set back without anything else being done about it.
const STEPPED_MS: i64 = crate::domain::time::MS_PER_HOUR;
/// Steps of an export's progress are told at most this often, in events.
const STEP: u64 = 10_000;

/// An export, made or in the making.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub id: Id,
    pub kind: Kind,
    pub level: Level,
    /// First position, and the one after the last.
    pub from: u64,
    pub to: u64,
    /// Name of the caller that asked for it.
    pub requester: Id,
    pub created_at: Timestamp,
    pub state: State,
    #[serde(skip)]
    pub progress: Option<Progress>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waits for another.
    Pending,
    Running,
    Ready(Finished),
    /// A stable word and a sentence, both fit for a client.
    Failed {
        reason: String,
        message: String,
    },
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// Of the bundle as an archive.
    pub size_bytes: u64,
    pub manifest_sha256: Digest,
    pub events: u64,
    /// Sealed parts that come with their key.
    pub opened: u64,
    /// Place of the event that says that it was made.
    pub position: u64,
    /// Of the checkpoint in it, and whether enough witnesses have cosigned that one.
    pub tree_size: u64,
    pub witnessed: bool,
    pub expires_at: Timestamp,
}

impl State {
    /// Whether nothing will change any more.
    pub fn is_final(&self) -> bool {
        matches!(self, State::Ready(_) | State::Failed { .. })
    }
}

/// All exports of a node.
pub struct Shelf {
    dir: PathBuf,
    /// Never held while files are touched: whoever asks does not wait for a disk.
    kept: Mutex<BTreeMap<Id, watch::Sender<Kept>>>,
    /// Held by whoever changes files, and what stands for them above.
    files: Mutex<()>,
}

fn failed(path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::Io { path: path.to_owned(), source }
}

/// The description of an export, if it is what was written under its name.
fn read(bytes: &[u8], name: &str) -> Option<Kept> {
    let entry: Kept = serde_json::from_slice(durable::without_sum(bytes).ok()?).ok()?;
    (entry.id.as_str() == name).then_some(entry)
}

/// Whether an export may be called so: its name is a file's too.
pub fn is_name(id: &Id) -> bool {
    id.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

impl Shelf {
    /// Finds what is kept, and removes what nobody finished.
    pub fn open(dir: PathBuf) -> Result<Shelf, Error> {
        durable::make_dir(&dir).map_err(failed(&dir))?;
        let shelf = Shelf { dir, kept: Mutex::default(), files: Mutex::default() };
        let mut kept = BTreeMap::new();
        for name in
            shelf.names()?.into_iter().filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
        {
            let path = shelf.dir.join(format!("{name}.json"));
            let text = fs::read(&path).map_err(failed(&path))?;
            let entry = read(&text, &name);
            let Some(mut entry) = entry else {
                tracing::warn!(path = %path.display(), "not a description of an export: passed over");
                continue;
            };
            if !entry.state.is_final() {
                entry.state = State::Failed {
                    reason: "stopping".to_owned(),
                    message: "custody stopped before the export was made".to_owned(),
                };
                shelf.describe(&entry)?;
            }
            kept.insert(entry.id.clone(), watch::Sender::new(entry));
        }
        let ready = |name: &str| {
            let state =
                name.parse::<Id>().ok().and_then(|id| kept.get(&id).map(|k| k.borrow().state.clone()));
            matches!(state, Some(State::Ready(_)))
        };
        for name in shelf.names()? {
            let path = shelf.dir.join(&name);
            if path.is_dir() && !ready(&name) {
                fs::remove_dir_all(&path).map_err(failed(&path))?;
            }
        }
        *shelf.lock() = kept;
        Ok(shelf)
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        let entries = fs::read_dir(&self.dir).map_err(failed(&self.dir))?;
        let name =
            |entry: io::Result<fs::DirEntry>| entry.map(|e| e.file_name().to_string_lossy().into_owned());
        entries.map(name).collect::<io::Result<_>>().map_err(failed(&self.dir))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Id, watch::Sender<Kept>>> {
        // No call leaves it half changed.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the bundle of this name lies, or will lie.
    pub fn bundle(&self, id: &Id) -> PathBuf {
        self.dir.join(id.as_str())
    }

    fn describe(&self, entry: &Kept) -> Result<(), Error> {
        let path = self.dir.join(format!("{}.json", entry.id));
        let text = serde_json::to_vec(entry).map_err(io::Error::other).map_err(failed(&path))?;
        durable::replace_private(&path, &durable::with_sum(text)).map_err(failed(&path))
    }

    /// Makes room for a new one; what stands there already under its name is given back instead.
    pub fn begin(&self, entry: Kept) -> Result<Option<Kept>, Error> {
        let _alone = self.alone();
        if let Some(there) = self.get(&entry.id) {
            return Ok(Some(there));
        }
        if self.lock().len() >= MOST {
            return Err(Error::Refused(format!("{MOST} exports are kept already: delete some")));
        }
        self.describe(&entry)?;
        self.lock().insert(entry.id.clone(), watch::Sender::new(entry));
        Ok(None)
    }

    /// `None` once it was removed.
    pub fn get(&self, id: &Id) -> Option<Kept> {
        self.lock().get(id).map(|kept| kept.borrow().clone())
    }

    /// The newest first.
    pub fn list(&self) -> Vec<Kept> {
        let mut all: Vec<Kept> = self.lock().values().map(|kept| kept.borrow().clone()).collect();
        all.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        all
    }

    pub fn follow(&self, id: &Id) -> Option<watch::Receiver<Kept>> {
        self.lock().get(id).map(watch::Sender::subscribe)
    }

    /// Tells how far it is. An error once it was removed, so that whoever makes it stops.
    pub fn step(&self, id: &Id, progress: Progress) -> Result<(), Error> {
        let kept = self.lock();
        let entry = kept.get(id).ok_or(Error::CalledOff)?;
        entry.send_if_modified(|entry| {
            let told = entry.progress.map_or(0, |before| before.done);
            let news = progress.done >= told + STEP || progress.done == progress.total;
            if news {
                entry.progress = Some(progress);
            }
            news
        });
        Ok(())
    }

    /// Durable, then visible. `false` if it was removed meanwhile: then its files are removed too.
    pub fn set(&self, id: &Id, state: State) -> Result<bool, Error> {
        let _alone = self.alone();
        let there = self.get(id);
        if there.is_none() || matches!(state, State::Failed { .. }) {
            self.discard(id)?;
        }
        let Some(mut changed) = there else { return Ok(false) };
        changed.state = state;
        self.describe(&changed)?;
        if let Some(entry) = self.lock().get(id) {
            entry.send_replace(changed);
        }
        Ok(true)
    }

    /// Removes the bundle and what is known of it. Whether there was any.
    pub fn remove(&self, id: &Id) -> Result<bool, Error> {
        let _alone = self.alone();
        if self.get(id).is_none() {
            return Ok(false);
        }
        self.discard(id)?;
        let path = self.dir.join(format!("{id}.json"));
        absent_is_fine(fs::remove_file(&path)).map_err(failed(&path))?;
        durable::sync_dir(&self.dir).map_err(failed(&self.dir))?;
        self.lock().remove(id);
        Ok(true)
    }

    fn discard(&self, id: &Id) -> Result<(), Error> {
        let bundle = self.bundle(id);
        for path in [folder::partial(&bundle), bundle] {
            absent_is_fine(fs::remove_dir_all(&path)).map_err(failed(&path))?;
        }
        Ok(())
    }

    /// Removes what is older than it may become; `oldest` is when a failed one of today began. What was
    /// made at a time that is still to come, because the clock was set back, has no age that could be
    /// told, and goes too.
    pub fn expire(&self, now: Timestamp, oldest: Timestamp) -> Result<u64, Error> {
        let due = |kept: &Kept| match &kept.state {
            State::Ready(_) | State::Failed { .. } if kept.created_at.since(now) > STEPPED_MS => true,
            State::Ready(made) => made.expires_at <= now,
            State::Failed { .. } => kept.created_at <= oldest,
            State::Pending | State::Running => false,
        };
        let mut removed = 0;
        for kept in self.list().iter().filter(|kept| due(kept)) {
            removed += u64::from(self.remove(&kept.id)?);
        }
        Ok(removed)
    }
}

fn absent_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(id: &str, at: i64, state: State) -> Kept {
        Kept {
            id: id.parse().unwrap(),
            kind: Kind::Range,
            level: Level::Headers,
            from: 0,
            to: 3,
            requester: "officer".parse().unwrap(),
            created_at: Timestamp::from_ms(at).unwrap(),
            state,
            progress: None,
        }
    }

    fn finished(expires: i64) -> State {
        State::Ready(Finished {
            size_bytes: 1,
            manifest_sha256: Digest([1; 32]),
            events: 3,
            opened: 0,
            position: 9,
            tree_size: 3,
            witnessed: true,
            expires_at: Timestamp::from_ms(expires).unwrap(),
        })
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(ms).unwrap()
    }

    #[test]
    fn what_is_ready_outlives_a_restart_and_what_is_not_fails() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(dir.path().join("exports")).unwrap();
        for (n, id) in ["a", "b", "c"].into_iter().enumerate() {
            let new = kept(id, n as i64, State::Pending);
            assert_eq!(shelf.begin(new.clone()).unwrap(), None);
            assert_eq!(shelf.begin(new.clone()).unwrap(), Some(new), "a name stands for one export");
            fs::create_dir(shelf.bundle(&id.parse().unwrap())).unwrap();
        }
        let (a, b, c) = ("a".parse().unwrap(), "b".parse().unwrap(), "c".parse().unwrap());
        shelf.set(&a, finished(50)).unwrap();
        shelf.set(&b, State::Running).unwrap();
        fs::create_dir(dir.path().join("exports/c.custody-partial")).unwrap();
        drop(shelf);

        let shelf = Shelf::open(dir.path().join("exports")).unwrap();
        let states: Vec<_> = shelf.list().into_iter().map(|k| (k.id, k.state)).collect();
        assert_eq!(states[2], (a.clone(), finished(50)), "the newest first");
        assert!(states[..2].iter().all(|(_, state)| matches!(state, State::Failed { .. })), "{states:?}");
        assert!(shelf.bundle(&a).is_dir() && !shelf.bundle(&b).exists() && !shelf.bundle(&c).exists());
        assert_eq!(fs::read_dir(dir.path().join("exports")).unwrap().count(), 4, "nothing is left over");

        assert_eq!(shelf.expire(at(49), at(-1)).unwrap(), 0);
        assert_eq!(
            shelf.expire(at(50), at(1)).unwrap(),
            2,
            "the ready one by its time, one failed by its age"
        );
        assert!(!shelf.bundle(&a).exists());
        assert!(shelf.get(&a).is_none() && shelf.get(&c).is_some());
    }

    #[test]
    fn whoever_makes_an_export_that_was_removed_is_told_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(dir.path().to_owned()).unwrap();
        let id: Id = "a".parse().unwrap();
        shelf.begin(kept("a", 0, State::Pending)).unwrap();
        let told = shelf.follow(&id).unwrap();
        shelf.step(&id, Progress { done: 1, total: STEP * 2 }).unwrap();
        assert_eq!(told.borrow().progress, None, "small steps are not told");
        shelf.step(&id, Progress { done: STEP, total: STEP * 2 }).unwrap();
        assert_eq!(told.borrow().progress.map(|step| step.done), Some(STEP));
        assert!(shelf.remove(&id).unwrap() && !shelf.remove(&id).unwrap());
        assert!(matches!(shelf.step(&id, Progress { done: 1, total: 1 }), Err(Error::CalledOff)));
        fs::create_dir(shelf.bundle(&id)).unwrap();
        fs::create_dir(folder::partial(&shelf.bundle(&id))).unwrap();
        assert!(!shelf.set(&id, finished(1)).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(told.has_changed().is_err(), "whoever watches sees the end");
    }
}
