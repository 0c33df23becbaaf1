//! The two calls on which durability rests, in one place, so that tests can make them fail or
//! forget.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

pub trait Disk: Send + Sync {
    /// Writes all of `bytes` at offset `at`.
    fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Returns when all writes made before through this very `File` would survive the loss of power.
    fn sync(&self, file: &File) -> io::Result<()>;
}

/// The operating system's own.
pub struct Direct;

impl Disk for Direct {
    fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        file.write_all_at(bytes, at)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}
