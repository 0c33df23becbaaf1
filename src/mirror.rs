//! The mirror: a second copy of the log and of the vault on another path, which has everything before
//! anybody is told that it is stored.
//!
//! Its directory has the layout of a data directory without what is made again from the log, so it can be
//! put in the place of one that was lost (`custody restore --from`). It does not hold the keyring, nor
//! the outside copy.
//!
//! A name in both directories tells a mirror from an empty mount point, or from another service's: without
//! it an unmounted disk would be answered by filling the disk below it.

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::durable;

/// The name's file, in the data directory and in the mirror's.
const FILE: &str = "mirror.id";
/// In a store's own directory, while its mirror lacks something.
const BEHIND: &str = "mirror.behind";

/// What to do while the second copy cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// Nothing is recorded until both have it again. Reads go on.
    Stop,
    /// Events are recorded in one copy; an alarm says so until the other has caught up.
    GoOn,
}

impl FromStr for OnFailure {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "stop" => Ok(OnFailure::Stop),
            "go_on" => Ok(OnFailure::GoOn),
            _ => Err("must be stop or go_on"),
        }
    }
}

/// How a mirror stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub directory: PathBuf,
    /// Why the second copy lacks something, if so.
    pub failing: Option<String>,
}

/// A mirror's directory, which may be there or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    directory: PathBuf,
    id: String,
}

impl Place {
    /// The mirror of a data directory. At first, or where it is to be begun `anew`, both get a name; a data
    /// directory that was put back from a copy takes over the name that lies in the mirror.
    pub fn of(data: &Path, directory: &Path, anew: bool) -> io::Result<Place> {
        let known = read(data)?;
        let id = match known.filter(|_| !anew) {
            Some(id) => id,
            None => {
                durable::make_dir(directory)?;
                let id = read(directory)?.unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
                durable::replace(&directory.join(FILE), id.as_bytes())?;
                durable::replace(&data.join(FILE), id.as_bytes())?;
                id
            }
        };
        Ok(Place { directory: directory.to_path_buf(), id })
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where a part of the mirror lies, if the mirror is there at all.
    pub fn part(&self, name: &str) -> io::Result<PathBuf> {
        let missing = |why: &str| {
            let why = format!("{why}: mount it, or begin a new one with `custody serve --new-mirror`");
            io::Error::new(io::ErrorKind::NotFound, why)
        };
        match read(&self.directory)? {
            Some(id) if id == self.id => {}
            Some(_) => return Err(missing("the directory holds the mirror of other data")),
            None => return Err(missing("the directory does not hold the mirror")),
        }
        let part = self.directory.join(name);
        durable::make_dir(&part)?;
        Ok(part)
    }
}

/// How a store has a mirror.
#[derive(Debug, Clone)]
pub struct Options {
    pub place: Place,
    pub on_failure: OnFailure,
}

/// What one store knows of its mirror, and what follows from it.
pub struct Keeper {
    options: Options,
    /// The store's own directory.
    store: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    failing: Option<String>,
    /// The file that says so is there.
    behind: bool,
}

impl Keeper {
    pub fn new(options: Options, store: &Path) -> Keeper {
        let state = State { failing: None, behind: store.join(BEHIND).exists() };
        Keeper { options, store: store.to_path_buf(), state: Mutex::new(state) }
    }

    pub fn place(&self) -> &Place {
        &self.options.place
    }

    pub fn goes_on(&self) -> bool {
        self.options.on_failure == OnFailure::GoOn
    }

    pub fn failing(&self) -> Option<String> {
        self.state().failing.clone()
    }

    pub fn standing(&self) -> Standing {
        Standing { directory: self.options.place.directory.clone(), failing: self.failing() }
    }

    /// Gives it up until it was brought up to date.
    pub fn fail(&self, why: String) {
        let mut state = self.state();
        if state.failing.as_ref() != Some(&why) {
            tracing::error!(why, store = %self.store.display(), "the mirror fails");
        }
        state.failing = Some(why);
    }

    /// Whether it lacks something since before this start, or since it failed.
    pub fn is_behind(&self) -> bool {
        self.state().behind
    }

    /// From now on it lacks something, and the next start knows. To be called before anybody is told that
    /// something is stored or destroyed which the mirror has not.
    pub fn falls_behind(&self) -> io::Result<()> {
        let mut state = self.state();
        if !state.behind {
            durable::replace(&self.store.join(BEHIND), b"1\n")?;
            state.behind = true;
        }
        Ok(())
    }

    /// It has everything.
    pub fn is_whole(&self) -> io::Result<()> {
        let mut state = self.state();
        match std::fs::remove_file(self.store.join(BEHIND)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => {
                removed?;
                durable::sync_dir(&self.store)?;
            }
        }
        state.behind = false;
        if state.failing.take().is_some() {
            tracing::info!(store = %self.store.display(), "the mirror is up to date again");
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a directory is a mirror.
pub fn is_one(directory: &Path) -> bool {
    directory.join(FILE).is_file() && directory.join("log").is_dir() && directory.join("vault").is_dir()
}

fn read(directory: &Path) -> io::Result<Option<String>> {
    match std::fs::read_to_string(directory.join(FILE)) {
        Ok(id) => Ok(Some(id.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_mount_point_and_another_mirror_are_not_taken_for_it() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        std::fs::create_dir(at("data")).unwrap();
        let place = Place::of(&at("data"), &at("mirror"), false).unwrap();
        assert!(place.part("log").unwrap().is_dir());
        std::fs::rename(at("mirror"), at("elsewhere")).unwrap();
        std::fs::create_dir(at("mirror")).unwrap();
        let again = Place::of(&at("data"), &at("mirror"), false).unwrap();
        assert_eq!(again, place);
        assert_eq!(again.part("log").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(std::fs::read_dir(at("mirror")).unwrap().count(), 0, "nothing is begun there");
        std::fs::create_dir(at("other")).unwrap();
        Place::of(&at("other"), &at("mirror"), false).unwrap();
        assert!(again.part("log").unwrap_err().to_string().contains("other data"));
        let anew = Place::of(&at("data"), &at("third"), true).unwrap();
        assert!(anew.part("log").is_ok());
        // Data that was put back from a copy without the name finds its mirror again.
        std::fs::create_dir(at("restored")).unwrap();
        assert_eq!(Place::of(&at("restored"), &at("third"), false).unwrap(), anew);
    }
}
