//! A file that is there whole or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use super::{Error, io_error};

/// Temporary file, sync, rename, sync of the directory. The directory is made if need be.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let dir = path.parent().unwrap_or(Path::new("."));
    make_dir(dir)?;
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary).map_err(io_error(&temporary))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io_error(&temporary))?;
    fs::rename(&temporary, path).map_err(io_error(path))?;
    sync_dir(dir)
}

/// Makes a directory and those above it, each durable in the one that holds it.
pub fn make_dir(dir: &Path) -> Result<(), Error> {
    if dir.as_os_str().is_empty() || dir.is_dir() {
        return Ok(());
    }
    let above = dir.parent().unwrap_or(Path::new("."));
    make_dir(above)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(io_error(dir)(error)),
        _ => sync_dir(above),
    }
}

fn sync_dir(dir: &Path) -> Result<(), Error> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io_error(dir))
}
