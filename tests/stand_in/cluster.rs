//! Who is there and who leads, by locks on files of the shared directory.
//!
//! Promises: at most one process holds the leader's lock, and the kernel releases the locks of a process
//! that is killed. Does not: elect anybody, whoever asks first leads; nor depose a leader that is merely
//! stopped, its locks stay. A crash loses nothing, the files are rewritten by the next holder.

use rustix::fs::{FlockOperation, flock};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

pub struct Cluster {
    dir: PathBuf,
    own: String,
    peers: Vec<String>,
    /// Locked as long as this process lives; that is how others see it.
    _alive: File,
}

pub struct Member {
    pub address: String,
    pub is_alive: bool,
    pub leads: bool,
}

/// Leads while this lives.
pub struct Leadership<'a> {
    cluster: &'a Cluster,
    _lock: File,
}

impl Cluster {
    pub fn join(dir: &Path, own: &str, peers: &[String]) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let alive = open(&alive_path(dir, own))?;
        flock(&alive, FlockOperation::LockExclusive)?;
        Ok(Self { dir: dir.to_owned(), own: own.to_owned(), peers: peers.to_vec(), _alive: alive })
    }

    pub fn own(&self) -> &str {
        &self.own
    }

    pub fn log_path(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// The lock, if nobody has it. The caller brings its log up to date and then announces itself.
    pub fn try_lead(&self) -> io::Result<Option<Leadership<'_>>> {
        let lock = open(&self.dir.join("leader.lock"))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Leadership { cluster: self, _lock: lock })),
            Err(error) if error == rustix::io::Errno::WOULDBLOCK => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The address of a living leader that has announced itself.
    pub fn leader(&self) -> Option<String> {
        let address = fs::read_to_string(self.dir.join("leader")).ok()?;
        self.is_alive(&address).then_some(address)
    }

    /// This node, the peers it was told of and whoever else lives in the directory.
    pub fn members(&self) -> Vec<Member> {
        let leader = self.leader();
        let mut addresses = BTreeSet::from_iter(self.peers.iter().cloned());
        addresses.insert(self.own.clone());
        let others = self.present().into_iter().filter(|address| self.is_alive(address));
        addresses.extend(others.collect::<Vec<_>>());
        let member = |address: String| Member {
            is_alive: self.is_alive(&address),
            leads: leader.as_ref() == Some(&address),
            address,
        };
        addresses.into_iter().map(member).collect()
    }

    fn present(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.dir) else { return Vec::new() };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.filter_map(|name| Some(name.strip_prefix("alive-")?.to_owned())).collect()
    }

    /// A living process holds its own lock, so that no shared one can be had.
    fn is_alive(&self, address: &str) -> bool {
        match File::open(alive_path(&self.dir, address)) {
            Ok(file) => flock(&file, FlockOperation::NonBlockingLockShared).is_err(),
            Err(_) => false,
        }
    }
}

impl Leadership<'_> {
    /// From now on others find this node as the leader.
    pub fn announce(&self) -> io::Result<()> {
        let written = self.cluster.dir.join("leader.new");
        fs::write(&written, &self.cluster.own)?;
        fs::rename(written, self.cluster.dir.join("leader"))
    }

    /// The name goes before the lock does, so that it never names a node that has given up.
    pub fn renounce(&self) -> io::Result<()> {
        fs::remove_file(self.cluster.dir.join("leader"))
    }
}

fn alive_path(dir: &Path, address: &str) -> PathBuf {
    dir.join(format!("alive-{address}"))
}

fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).open(path)
}
