//! Makes a data directory from a backup: beside the place where it belongs, and moved there in one
//! step when all of it checked and is on the disk.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::read::{unpacked, whole_pack};
use super::{Backup, Error, Inspect, Meter, PACK, io_error, pack};

/// Where a data directory is put together: beside it, so that it can be moved there.
pub fn beside(data: &Path) -> PathBuf {
    let mut name = data.as_os_str().to_owned();
    name.push(".restoring");
    name.into()
}

/// Opens everything into a new directory. What was there is of an earlier try, and is removed. When
/// it fails, the directory is removed too.
pub fn put_together(
    backup: &Backup,
    dir: &Path,
    inspect: &mut dyn Inspect,
    meter: &dyn Meter,
) -> Result<(), Error> {
    super::remove(dir)?;
    let done = open_all(backup, dir, inspect, meter);
    if done.is_err() {
        super::remove(dir)?;
    }
    done
}

fn open_all(backup: &Backup, dir: &Path, inspect: &mut dyn Inspect, meter: &dyn Meter) -> Result<(), Error> {
    fs::create_dir_all(dir).map_err(io_error(dir))?;
    for file in &backup.manifest.files {
        let mut unpack = pack::Unpack::default();
        if file.path == PACK {
            backup.read(file, inspect, |bytes| {
                meter.moved(bytes.len() as u64)?;
                unpacked(file, &mut unpack, bytes, |path, bytes| write(&dir.join(path), bytes))
            })?;
        } else {
            let path = dir.join(&file.path);
            let mut out = create(&path)?;
            backup.read(file, inspect, |bytes| {
                meter.moved(bytes.len() as u64)?;
                out.write_all(bytes).map_err(io_error(&path))
            })?;
        }
        whole_pack(file, &unpack)?;
    }
    backup.all(inspect)
}

fn create(path: &Path) -> Result<File, Error> {
    if let Some(above) = path.parent() {
        fs::create_dir_all(above).map_err(io_error(above))?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path).map_err(io_error(path))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    create(path)?.write_all(bytes).map_err(io_error(path))
}

/// The same from a mirror: its segments and its vault, and nothing that lies beside them.
pub fn copy_of(mirror: &Path, dir: &Path) -> Result<(), Error> {
    super::remove(dir)?;
    let done = copy_all(mirror, dir);
    if done.is_err() {
        super::remove(dir)?;
    }
    done
}

fn copy_all(mirror: &Path, dir: &Path) -> Result<(), Error> {
    let log = mirror.join("log");
    // A purge that was cut short is done again from its note; without it half a piece would be damage.
    let mut paths = vec![
        "log/tail".into(),
        "log/purging".into(),
        "vault/vault.sqlite".into(),
        "vault/vault.sqlite-wal".into(),
    ];
    for entry in fs::read_dir(&log).map_err(io_error(&log))? {
        let name = entry.map_err(io_error(&log))?.file_name();
        if Path::new(&name).extension().is_some_and(|extension| extension == "seg") {
            paths.push(Path::new("log").join(name));
        }
    }
    for path in paths {
        let mut source = match File::open(mirror.join(&path)) {
            // The vault's own log is not there where it was closed in order, the mark where it never was, the note
            // where nothing was being purged.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            opened => opened.map_err(io_error(&path))?,
        };
        std::io::copy(&mut source, &mut create(&dir.join(&path))?).map_err(io_error(&path))?;
    }
    Ok(())
}

/// Makes durable what lies there: one call for many small files.
pub fn sync(dir: &Path) -> Result<(), Error> {
    let synced = File::open(dir).and_then(|opened| Ok(rustix::fs::syncfs(&opened)?));
    synced.map_err(io_error(dir))
}

/// Moves the directory to where it belongs, which must be empty but for its lock.
pub fn put_in_place(dir: &Path, data: &Path) -> Result<(), Error> {
    match fs::remove_file(data.join("lock")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io_error(data)(error)),
        _ => {}
    }
    // Over an empty directory only: whatever came there meanwhile makes this fail.
    fs::rename(dir, data).map_err(io_error(data))?;
    let above = data.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    crate::durable::sync_dir(above).map_err(io_error(above))
}
