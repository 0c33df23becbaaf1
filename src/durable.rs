//! Files that are there whole or not at all, and names that outlive the loss of power.
//!
//! A crash leaves the old file or the new one, and perhaps `<name>.new`, which the next replacement
//! overwrites.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use sha2::{Digest, Sha256};

/// Replaces a file in one step; the directory must be there.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    put(path, bytes, None)
}

/// The same for what only the owner may read.
pub fn replace_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    put(path, bytes, Some(0o600))
}

/// A text with its SHA-256 on a line behind it, so that a byte that changed on the disk is noticed.
pub fn with_sum(mut text: Vec<u8>) -> Vec<u8> {
    let sum = hex_sum(&text);
    text.push(b'\n');
    text.extend_from_slice(sum.as_bytes());
    text.push(b'\n');
    text
}

/// The text of `with_sum`; an error of kind `InvalidData` if it is not what was written.
pub fn without_sum(bytes: &[u8]) -> io::Result<&[u8]> {
    let whole = bytes.strip_suffix(b"\n").and_then(|rest| {
        let at = rest.iter().rposition(|byte| *byte == b'\n')?;
        let (text, sum) = (&rest[..at], &rest[at + 1..]);
        (hex_sum(text).as_bytes() == sum).then_some(text)
    });
    whole.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its checksum is wrong"))
}

fn hex_sum(text: &[u8]) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
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

/// Overwrites a file and removes it, because the bytes of a removed file stay on the disk until
/// somebody needs the place. Nothing where it is not there.
pub fn forget(path: &Path) -> io::Result<()> {
    let mut file = match OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let mut left = file.metadata()?.len();
    let zeros = vec![0; 1 << 20];
    while left > 0 {
        let step = left.min(zeros.len() as u64);
        file.write_all(&zeros[..step as usize])?;
        left -= step;
    }
    file.sync_all()?;
    fs::remove_file(path)?;
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
    fn a_sum_finds_every_flipped_bit_and_every_cut() {
        let kept = with_sum(b"{\"a\": 1}".to_vec());
        assert_eq!(without_sum(&kept).unwrap(), b"{\"a\": 1}");
        for at in 0..kept.len() {
            assert!(without_sum(&kept[..at]).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut bad = kept.clone();
                bad[at] ^= 1 << bit;
                assert!(without_sum(&bad).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

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
