//! One copy of the log as it grows: the segment that is written, and the room ahead of it. A log has one,
//! and one more where it has a mirror.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use super::chain::{Chain, Segment};
use super::disk::Disk;
use super::space::Space;

pub struct Lane {
    disk: Arc<dyn Disk>,
    space: Space,
    pub segment: Arc<Segment>,
    /// The writer's own descriptor: see `chain::Segment`.
    file: File,
}

/// Why bytes are not stored.
pub enum Broken {
    /// They may be there in part; what was there before is.
    Write(io::Error),
    /// Nobody knows what is on the disk.
    Sync(io::Error),
}

impl Broken {
    pub fn source(self) -> io::Error {
        match self {
            Broken::Write(source) | Broken::Sync(source) => source,
        }
    }
}

impl Lane {
    /// Goes on in a segment of a chain.
    pub fn open(
        chain: &Chain,
        disk: Arc<dyn Disk>,
        segment_bytes: u64,
        segment: Arc<Segment>,
    ) -> io::Result<Lane> {
        let mut space = Space::start(chain.dir(), Arc::clone(&disk), segment_bytes)?;
        let file = own_file(&segment)?;
        space.follow(&segment.path, segment.data.metadata()?.len())?;
        Ok(Lane { disk, space, segment, file })
    }

    /// Length of the segment. Only a batch that is longer may exceed it.
    pub fn limit(&self) -> u64 {
        self.space.limit()
    }

    /// Returns when the segment has room up to an offset.
    pub fn room(&self, end: u64) -> io::Result<()> {
        self.space.room(end)
    }

    /// Goes on in a new segment, of which `first` will be the first position.
    pub fn begin(&mut self, chain: &Chain, first: u64) -> io::Result<()> {
        let filled = self.space.take_spare()?;
        let segment = chain.begin(&*self.disk, first)?;
        self.file = own_file(&segment)?;
        self.space.follow(&segment.path, filled)?;
        self.segment = segment;
        Ok(())
    }

    /// Whether the file that is written to still has its name.
    pub fn is_there(&self) -> io::Result<()> {
        if std::fs::metadata(&self.segment.path)?.ino() == self.file.metadata()?.ino() {
            return Ok(());
        }
        Err(io::Error::other("the mirror's files were removed or replaced"))
    }

    /// Writes and syncs.
    pub fn store(&self, bytes: &[u8], at: u64) -> Result<(), Broken> {
        self.disk.write(&self.file, bytes, at).map_err(Broken::Write)?;
        self.disk.sync(&self.file).map_err(Broken::Sync)
    }

    /// Puts zeros where bytes were to be stored.
    pub fn undo(&self, length: usize, at: u64) -> io::Result<()> {
        self.store(&vec![0; length], at).map_err(Broken::source)
    }
}

fn own_file(segment: &Segment) -> io::Result<File> {
    OpenOptions::new().write(true).open(&segment.path)
}
