//! Files that are there whole or not at all, and names that outlive the loss of power.
//!
//! A crash leaves the old file or the new one, and perhaps `<name>.new`, which the next replacement
//! overwrites.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Replaces a file in one step; the directory must be there.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    put(path, bytes, None)
}

/// The same for what only the owner may read.
pub fn replace_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    put(path, bytes, Some(0o600))
}

/// Temporary file, sync, rename, sync of the directory.
fn put(path: &Path, bytes: &[u8], mode: Option<u32>) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode.unwrap_or(0o666));
    let mut file = options.open(&temporary)?;
    if let Some(mode) = mode {
        // It may have been left there by somebody with another mask.
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_dir(parent(path))
}

/// Makes a directory and those above it, each durable in the one that holds it.
pub fn make_dir(dir: &Path) -> io::Result<()> {
    if dir.as_os_str().is_empty() || dir.is_dir() {
        return Ok(());
    }
    let above = parent(dir);
    make_dir(above)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_dir(above),
    }
}

/// Makes names made, changed or removed in a directory durable.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The directory that holds a path; the current one for a bare name.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| parent.as_os_str() != OsStr::new("")).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_what_is_private_stays_so() {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path().join("a/b");
        make_dir(&dir).unwrap();
        make_dir(&dir).unwrap();
        let path = dir.join("x.y");
        fs::write(dir.join("x.y.new"), b"left by a crash, and longer than what follows").unwrap();
        replace(&path, b"one").unwrap();
        replace_private(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        assert!(replace(&dir.join("none/x"), b"").is_err());
    }
}
