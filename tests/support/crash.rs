//! Running a program so that what it never synced can be taken away after a kill.
//!
//! A [`Sandbox`] watches one directory. Commands started through [`Sandbox::arm`] record every
//! change below it (`shim/unsynced.c` says what is covered); [`Sandbox::discard_unsynced`] then
//! leaves the directory as a disk could have been found after the power went, and starts anew.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::OnceLock,
};

use super::{
    journal::{self, Entry},
    preload::compiled,
    rewind::{self, Discarded, Loss},
    trace::Trace,
};

const SOURCES: [(&str, &str); 3] = [
    ("unsynced.h", include_str!("shim/unsynced.h")),
    ("unsynced.c", include_str!("shim/unsynced.c")),
    ("exports.c", include_str!("shim/exports.c")),
];

/// A watched directory, and beside it what is recorded about it.
pub struct Sandbox {
    root: PathBuf,
    state: PathBuf,
}

/// What goes wrong from now on; see `shim/unsynced.c` for the exact meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The next so many syncs of paths that contain the text fail with EIO.
    FailSyncs { times: u32, path: String },
    /// Syncs of paths that contain the text take so much longer.
    SlowSyncs { ms: u32, path: String },
    /// The process is killed when it is about to make the change behind so many more records.
    KillAfter { records: u64 },
    /// The disk has room for so many more bytes (and, while there is any, names).
    FullAfter { bytes: u64 },
}

impl Sandbox {
    /// Makes `below`/watched, the directory to work in, and `below`/unsynced for the records.
    pub fn new(below: &Path) -> io::Result<Sandbox> {
        let below = below.canonicalize()?;
        let sandbox = Sandbox { root: below.join("watched"), state: below.join("unsynced") };
        fs::create_dir_all(&sandbox.root)?;
        fs::create_dir_all(sandbox.state.join("graves"))?;
        Ok(sandbox)
    }

    /// The watched directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the command's process record its changes, and what it sends over TCP.
    pub fn arm<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("LD_PRELOAD", library())
            .env("UNSYNCED_ROOT", &self.root)
            .env("UNSYNCED_STATE", &self.state)
            .env("UNSYNCED_TRACE", "1")
    }

    /// Replaces the faults in force, also those of a process that runs; an empty list ends them.
    pub fn set_faults(&self, faults: &[Fault]) -> io::Result<()> {
        let lines: String = faults
            .iter()
            .map(|fault| match fault {
                Fault::FailSyncs { times, path } => format!("fail-sync {times} {path}\n"),
                Fault::SlowSyncs { ms, path } => format!("delay-sync {ms} {path}\n"),
                Fault::KillAfter { records } => format!("kill-after {records}\n"),
                Fault::FullAfter { bytes } => format!("full-after {bytes}\n"),
            })
            .collect();
        let draft = self.state.join("control.new");
        fs::write(&draft, lines)?;
        fs::rename(draft, self.state.join("control"))
    }

    /// What was recorded since the last discard.
    pub fn journal(&self) -> io::Result<Vec<Entry>> {
        journal::read(&self.state.join("journal"))
    }

    /// The same as a trace of writes, syncs and sends.
    pub fn trace(&self) -> io::Result<Trace> {
        Ok(Trace::new(self.journal()?))
    }

    /// Forgets the records: what stands in the directory counts as durable.
    pub fn forget(&self) -> io::Result<()> {
        fs::remove_file(self.state.join("journal")).or_else(missing_is_fine)?;
        fs::remove_dir_all(self.state.join("graves"))?;
        fs::create_dir(self.state.join("graves"))
    }

    /// Takes away what no sync covers, then forgets the records. No recorded process may be
    /// running. Faults stay in force.
    pub fn discard_unsynced(&self, loss: Loss) -> io::Result<Discarded> {
        let discarded = rewind::run(self.journal()?, &self.root, &self.state, loss)?;
        self.forget()?;
        Ok(discarded)
    }
}

/// Kills with SIGKILL and waits.
pub fn kill(child: &mut Child) -> io::Result<()> {
    child.kill()?;
    child.wait().map(drop)
}

/// A small generator for choices that must be the same for the same seed (SplitMix64).
pub struct Dice(pub u64);

impl Dice {
    /// A number below `bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)).checked_rem(bound).unwrap_or(0)
    }
}

/// The compiled shim.
pub fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| compiled("unsynced", &SOURCES))
}

fn missing_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
