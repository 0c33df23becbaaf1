//! The second copy of the vault, on another path: what is committed here is there before anybody is
//! answered, and what is destroyed here is destroyed there.
//!
//! Whatever a commit wrote to the write-ahead log is written to the copy's and synced. Before SQLite begins
//! that log again from its start, the copy has it whole, and takes it into its own file; when this one's
//! log is emptied, so is the copy's. The writer does all of this, between its commits. The format of the
//! log is SQLite's documented one (sqlite.org/fileformat2.html, section 4).
//!
//! A crash leaves the copy with every commit that was answered, and perhaps one less than the vault. Every
//! start compares both files and copies the vault anew where they differ, unless the copy is newer: then
//! the vault is an older copy itself, and is not opened. Not noticed: an older vault that was opened while
//! its mirror was away and may go on without, and has overtaken it since.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use tokio::sync::watch;

use super::writer::truncate_wal;
use super::{FILE, closed, schema};
use crate::durable;
use crate::mirror::{Keeper, Options};
use crate::vault::Error;

/// Bytes before the first frame of a write-ahead log, and before the page in each frame.
const WAL_HEAD: u64 = 32;
const FRAME_HEAD: u64 = 24;
/// Compared and copied at once.
const CHUNK: u64 = 1 << 20;

/// What a vault with a mirror has besides.
pub(super) struct Mirror {
    pub keeper: Keeper,
    own: PathBuf,
    /// The vault's file, to read it as a whole. Open as long as any connection is: closing it would drop the
    /// locks that SQLite holds for this process, and another one could take the write-ahead log away.
    content: File,
    /// Commits that were begun, and those that the mirror has or was given up over.
    begun: AtomicU64,
    settled: watch::Sender<u64>,
}

/// The copy, as the writer keeps it.
pub(super) struct Copy {
    own_wal: PathBuf,
    file: PathBuf,
    wal: File,
    /// Which log is being copied: SQLite takes others each time that it begins anew.
    salts: [u8; 8],
    /// Bytes of it that the copy has.
    done: u64,
}

impl Mirror {
    /// `own` is the vault's file, which is there.
    pub fn new(options: Options, own: &Path) -> io::Result<Mirror> {
        let store = own.parent().unwrap_or(Path::new("."));
        Ok(Mirror {
            keeper: Keeper::new(options, store),
            own: own.to_path_buf(),
            content: File::open(own)?,
            begun: AtomicU64::new(0),
            settled: watch::Sender::new(0),
        })
    }

    /// Makes the mirror's file the same as the vault's. Nobody writes to the vault meanwhile.
    ///
    /// # Errors
    /// Of kind `InvalidData` where the mirror is another vault's, or newer: nothing was touched.
    pub fn bring_up(&self, connection: &Connection) -> io::Result<Copy> {
        let file = self.keeper.place().part("vault")?.join(FILE);
        forget_unfinished(&file)?;
        if file.exists() {
            apply(&file)?;
            is_not_newer(connection, &file)?;
        }
        truncate_wal(connection).map_err(io::Error::other)?;
        if !same(&self.content, &file)? {
            replace(&self.content, &file)?;
        }
        let wal = open_wal(&file)?;
        self.keeper.is_whole()?;
        Ok(Copy { own_wal: beside(&self.own, "-wal"), file, wal, salts: [0; 8], done: 0 })
    }

    /// Does to the copy what was done to the vault. A failure gives the copy up, and is returned where that
    /// means that nothing may go on; so is that it was given up before.
    pub fn also(
        &self,
        copy: &mut Option<Copy>,
        act: impl FnOnce(&mut Copy) -> io::Result<()>,
    ) -> Result<(), Error> {
        let done = match copy {
            Some(copy) => act(copy),
            None => Err(io::Error::other("the mirror is failing")),
        };
        let Err(source) = done else { return Ok(()) };
        *copy = None;
        if self.keeper.failing().is_none() {
            self.keeper.fail(source.to_string());
        }
        if self.keeper.goes_on() {
            self.keeper.falls_behind().map_err(unwritten)
        } else {
            Err(unwritten(source))
        }
    }

    /// A commit with what makes it part of the mirror; `in_both` waits for its end.
    pub fn commit(&self, commit: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let outcome = commit();
        self.settled.send_replace(number);
        outcome
    }

    /// Returns when whatever can be read of the vault at this moment is in the mirror too; an error where it
    /// has to be, and is not.
    pub async fn in_both(&self) -> Result<(), Error> {
        let begun = self.begun.load(Ordering::SeqCst);
        let mut settled = self.settled.subscribe();
        settled.wait_for(|settled| *settled >= begun).await.map_err(|_| closed())?;
        match self.keeper.failing() {
            Some(why) if !self.keeper.goes_on() => Err(unwritten(io::Error::other(why))),
            _ => Ok(()),
        }
    }

    /// How the copy differs. Both logs were emptied just before.
    pub fn compare(&self, copy: &Copy) -> io::Result<Vec<String>> {
        let same = same(&self.content, &copy.file)?;
        Ok(if same { Vec::new() } else { vec![format!("{} differs from the vault", copy.file.display())] })
    }
}

impl Copy {
    /// Whether the file that is written to still has its name.
    pub fn is_there(&self) -> io::Result<()> {
        let named = fs::metadata(beside(&self.file, "-wal"))?.ino() == self.wal.metadata()?.ino();
        if named && self.file.is_file() {
            Ok(())
        } else {
            Err(io::Error::other("the mirror's files were removed or replaced"))
        }
    }

    /// Copies what was committed since the last time.
    pub fn ship(&mut self, connection: &Connection) -> io::Result<()> {
        let frames = frames(connection).map_err(io::Error::other)?;
        if frames == 0 {
            return Ok(());
        }
        let source = File::open(&self.own_wal)?;
        let mut head = [0; WAL_HEAD as usize];
        source.read_exact_at(&mut head, 0)?;
        // Of the head: what this log is told from others by, and the length of a page.
        let salts: [u8; 8] = std::array::from_fn(|n| head[16 + n]);
        let page = u32::from_be_bytes(std::array::from_fn(|n| head[8 + n]));
        if salts != self.salts {
            if self.done > 0 {
                self.truncate()?;
            }
            self.salts = salts;
        }
        let end = WAL_HEAD + frames * (FRAME_HEAD + u64::from(page));
        if end == self.done {
            return Ok(());
        }
        while self.done < end {
            let mut bytes = vec![0; (end - self.done).min(CHUNK) as usize];
            source.read_exact_at(&mut bytes, self.done)?;
            self.wal.write_all_at(&bytes, self.done)?;
            self.done += bytes.len() as u64;
        }
        self.wal.sync_data()
    }

    /// Takes the copy's log into its file and empties it: what was destroyed before is then in neither.
    pub fn truncate(&mut self) -> io::Result<()> {
        apply(&self.file)?;
        self.wal = open_wal(&self.file)?;
        (self.salts, self.done) = ([0; 8], 0);
        Ok(())
    }
}

fn unwritten(source: io::Error) -> Error {
    Error::Unavailable {
        reason: "the mirror of the vault cannot be written",
        source: Some(anyhow::Error::new(source)),
    }
}

/// Committed frames in the write-ahead log. What lies behind them in the file is of commits that failed, or of
/// an earlier log.
fn frames(connection: &Connection) -> Result<u64, rusqlite::Error> {
    let frames: i64 = connection.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get(1))?;
    Ok(u64::try_from(frames).unwrap_or(0))
}

/// Takes the copy's log into its file. SQLite finds by itself how much of it is whole.
fn apply(file: &Path) -> io::Result<()> {
    let failed = |error: rusqlite::Error| {
        let what = "cannot be read; move it away, and it is made anew within a minute";
        io::Error::other(format!("{} {what}: {error}", file.display()))
    };
    // Never makes one: the mirror may not be mounted.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags).map_err(failed)?;
    connection.pragma_update(None, "secure_delete", "ON").map_err(failed)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    truncate_wal(&connection).map_err(io::Error::other)?;
    connection.close().map_err(|(_, error)| failed(error))
}

/// A mirror that has seen more than the vault is not written over, nor is another vault's.
fn is_not_newer(connection: &Connection, file: &Path) -> io::Result<()> {
    let copy = schema::open_reader(file).map_err(io::Error::other)?;
    let meta = |of: &Connection, name: &str| {
        let sql = "SELECT value FROM meta WHERE name = ?1";
        of.query_row(sql, [name], |row| row.get::<_, Value>(0)).optional().map_err(io::Error::other)
    };
    let refuse = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidData, why));
    let (mine, theirs) = (meta(connection, "vault")?, meta(&copy, "vault")?);
    if theirs.is_some() && mine != theirs {
        return refuse("the mirror holds another vault: name another mirror.directory");
    }
    let generation = |of: &Connection| match meta(of, "generation") {
        Ok(Some(Value::Integer(number))) => Ok(number),
        Ok(_) => Ok(0),
        Err(error) => Err(error),
    };
    if generation(&copy)? > generation(connection)? {
        return refuse(
            "the mirror is newer than the vault: move the data directory away and put back the mirror (`custody restore \
             --from`); where the older one is meant, `custody serve --new-mirror` with an empty mirror.directory",
        );
    }
    Ok(())
}

/// Whether a file has the vault's bytes.
fn same(content: &File, file: &Path) -> io::Result<bool> {
    let copy = match File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    let end = content.metadata()?.len();
    if copy.metadata()?.len() != end {
        return Ok(false);
    }
    let mut at = 0;
    while at < end {
        let length = (end - at).min(CHUNK) as usize;
        let (mut mine, mut theirs) = (vec![0; length], vec![0; length]);
        content.read_exact_at(&mut mine, at)?;
        copy.read_exact_at(&mut theirs, at)?;
        if mine != theirs {
            return Ok(false);
        }
        at += length as u64;
    }
    Ok(true)
}

/// Puts a copy of the vault in the place of the mirror's file, whose bytes are overwritten: keys that were
/// destroyed since may stand in it. There is a whole file at every moment.
fn replace(content: &File, file: &Path) -> io::Result<()> {
    let fresh = beside(file, ".new");
    let out = private().create(true).truncate(true).open(&fresh)?;
    let (end, mut at) = (content.metadata()?.len(), 0);
    while at < end {
        let mut bytes = vec![0; (end - at).min(CHUNK) as usize];
        content.read_exact_at(&mut bytes, at)?;
        out.write_all_at(&bytes, at)?;
        at += bytes.len() as u64;
    }
    out.sync_all()?;
    if file.exists() {
        for ending in ["-wal", "-shm"] {
            durable::forget(&beside(file, ending))?;
        }
        fs::hard_link(file, beside(file, ".old"))?;
    }
    fs::rename(&fresh, file)?;
    durable::sync_dir(file.parent().unwrap_or(Path::new(".")))?;
    forget_unfinished(file)
}

/// Overwrites what `replace` leaves when it is interrupted: keys stand in it that may have been destroyed
/// since. A second name of the mirror's file itself is only taken away.
fn forget_unfinished(file: &Path) -> io::Result<()> {
    let inode = |path: &Path| fs::metadata(path).map(|data| data.ino()).ok();
    let old = beside(file, ".old");
    if inode(&old).is_some() && inode(&old) == inode(file) {
        fs::remove_file(&old)?;
    }
    durable::forget(&old)?;
    durable::forget(&beside(file, ".new"))
}

fn open_wal(file: &Path) -> io::Result<File> {
    let wal = private().create(true).truncate(true).open(beside(file, "-wal"))?;
    durable::sync_dir(file.parent().unwrap_or(Path::new(".")))?;
    Ok(wal)
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
