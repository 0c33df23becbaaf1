//! Makes a backup: sealed files beside each other in `<name>.partial`, which gets its name when
//! everything in it was read back.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::manifest::{self, Manifest, name_of};
use super::seal::{CHUNK, Place, Root, Sealer};
use super::{Backup, Document, Error, Inspect, Meter, PACK, PARTIAL, io_error, pack};
use crate::domain::time::Timestamp;
use crate::durable;

/// What a backup is of.
#[derive(Debug, Clone)]
pub struct About {
    pub vault: [u8; 16],
    pub origin: String,
    pub head: u64,
    pub tree: (u64, [u8; 32]),
    pub kek_epoch: u32,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

pub struct Writer {
    /// The name it gets.
    name: PathBuf,
    partial: PathBuf,
    root: Root,
    manifest: Manifest,
    previous: Option<(PathBuf, Manifest)>,
    /// Linked, and found to be whole.
    checked: HashSet<String>,
}

impl Writer {
    /// Removes what a crash left and begins a new one.
    pub fn begin(place: &Path, name: &str, kek: &[u8; 32], about: About) -> Result<Writer, Error> {
        durable::make_dir(place).map_err(io_error(place))?;
        for left in super::ending(place, PARTIAL)? {
            super::remove(&left)?;
        }
        let named = place.join(name);
        if named.exists() {
            return Err(Error::Exists(named));
        }
        let root = Root::new(kek);
        let previous = newest(place, &root, about.kek_epoch)?;
        let partial = place.join(format!("{name}.{PARTIAL}"));
        fs::create_dir(&partial).map_err(io_error(&partial))?;
        durable::sync_dir(place).map_err(io_error(place))?;
        let manifest = Manifest::new(about, random()?);
        Ok(Writer { name: named, partial, root, manifest, previous, checked: HashSet::new() })
    }

    /// Bytes that the backup before has under this path, perhaps the same ones.
    pub fn previous(&self, path: &str) -> Option<u64> {
        let (_, manifest) = self.previous.as_ref()?;
        manifest.files.iter().find(|file| file.path == path).map(|file| file.plain_bytes)
    }

    /// Adds the first `bytes` of a file. Where the backup before holds the same bytes, its sealed file
    /// is linked if it is still whole.
    pub fn add(&mut self, path: &str, source: &Path, bytes: u64, meter: &dyn Meter) -> Result<(), Error> {
        if self.previous(path) == Some(bytes) && self.reuse(path, source, bytes, meter)? {
            return meter.moved(bytes);
        }
        let mut sealer = self.sealer(path)?;
        let failed = io_error(&self.partial);
        each_chunk(source, bytes, |chunk| {
            sealer.1.add(chunk).map_err(&failed)?;
            meter.moved(chunk.len() as u64)
        })?;
        self.finish(sealer)
    }

    /// Adds small files, each read as a whole, by their paths below a directory.
    pub fn add_pack(&mut self, below: &Path, paths: &[String], meter: &dyn Meter) -> Result<(), Error> {
        let mut sealer = self.sealer(PACK)?;
        let failed = io_error(&self.partial);
        for path in paths {
            let source = below.join(path);
            let bytes = Zeroizing::new(fs::read(&source).map_err(io_error(&source))?);
            sealer.1.add(&pack::head(path, bytes.len() as u64)).map_err(&failed)?;
            sealer.1.add(&bytes).map_err(&failed)?;
            meter.moved(bytes.len() as u64)?;
        }
        sealer.1.add(&pack::END).map_err(&failed)?;
        self.finish(sealer)
    }

    /// The key-encryption keys that the vault's rows are locked with.
    pub fn locked_with(&mut self, epochs: Vec<u32>) {
        self.manifest.locked_with = epochs;
    }

    /// Writes the manifest, then reads back what was written; what was linked was read before.
    pub fn close(self, inspect: &mut dyn Inspect, meter: &dyn Meter) -> Result<Closed, Error> {
        self.manifest.write(&self.partial, &self.root)?;
        durable::sync_dir(&self.partial).map_err(io_error(&self.partial))?;
        let Writer { name, partial, root, checked, .. } = self;
        let manifest = Document::read(&partial)?.checked(&root)?;
        let backup = Backup { dir: partial.clone(), manifest, root };
        backup.verify(inspect, meter, &checked)?;
        Ok(Closed { name, partial, manifest: backup.manifest })
    }

    fn sealer(&self, path: &str) -> Result<(manifest::File, Sealer<File>), Error> {
        let name = name_of(path).unwrap_or_default();
        let file = manifest::File {
            path: path.to_owned(),
            plain_bytes: 0,
            bytes: 0,
            sha256: [0; 32],
            same: [0; 32],
            salt: random()?,
            sealed_for: self.manifest.id,
            reused: false,
            name,
        };
        let place = self.partial.join(&file.name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let out = options.open(&place).map_err(io_error(&place))?;
        let cipher =
            self.root.cipher(&Place { backup: &file.sealed_for, name: &file.name, salt: &file.salt });
        Ok((file, Sealer::new(out, cipher, self.root.sameness())))
    }

    fn finish(&mut self, (mut file, sealer): (manifest::File, Sealer<File>)) -> Result<(), Error> {
        let failed = io_error(&self.partial);
        let (out, written) = sealer.finish().map_err(&failed)?;
        out.sync_all().map_err(&failed)?;
        // Reading back is worth something only from the disk. Where the kernel keeps it in memory all
        // the same, the digests are still compared.
        let _ = rustix::fs::fadvise(&out, 0, None, rustix::fs::Advice::DontNeed);
        (file.plain_bytes, file.bytes) = (written.plain_bytes, written.bytes);
        (file.sha256, file.same) = (written.sha256, written.same);
        self.manifest.files.push(file);
        Ok(())
    }

    /// Whether the sealed file of the backup before was linked.
    fn reuse(&mut self, path: &str, source: &Path, bytes: u64, meter: &dyn Meter) -> Result<bool, Error> {
        use hmac::Mac;
        let Some((dir, manifest)) = &self.previous else { return Ok(false) };
        let Some(file) = manifest.files.iter().find(|file| file.path == path) else { return Ok(false) };
        let mut same = self.root.sameness();
        each_chunk(source, bytes, |chunk| {
            same.update(chunk);
            // Counted once, when it is known what becomes of it; but it may be called off.
            meter.moved(0)
        })?;
        if file.same != <[u8; 32]>::from(same.finalize().into_bytes()) {
            return Ok(false);
        }
        let mut file = file.clone();
        let (from, to) = (dir.join(&file.name), self.partial.join(&file.name));
        if fs::hard_link(from, &to).is_err() {
            return Ok(false);
        }
        if !is_whole(&to, &file).map_err(io_error(&to))? {
            tracing::warn!(file = file.name, "the backup before is damaged: the file is written anew");
            fs::remove_file(&to).map_err(io_error(&to))?;
            return Ok(false);
        }
        file.reused = true;
        self.checked.insert(file.name.clone());
        self.manifest.files.push(file);
        Ok(true)
    }
}

/// A backup that was read back and has no name yet.
pub struct Closed {
    name: PathBuf,
    partial: PathBuf,
    pub manifest: Manifest,
}

impl Closed {
    /// From now on it counts.
    pub fn name_it(self) -> Result<(PathBuf, Manifest), Error> {
        fs::rename(&self.partial, &self.name).map_err(io_error(&self.partial))?;
        durable::sync_dir(self.name.parent().unwrap_or(Path::new("."))).map_err(io_error(&self.name))?;
        Ok((self.name, self.manifest))
    }
}

/// The newest backup that this key bears out. One that it does not is no reason to make none.
fn newest(place: &Path, root: &Root, epoch: u32) -> Result<Option<(PathBuf, Manifest)>, Error> {
    let found = super::all(place)?.into_iter().rev().filter(|(_, manifest)| manifest.kek_epoch == epoch);
    let checked = |(dir, _): (PathBuf, _)| {
        let manifest = Document::read(&dir).ok()?.checked(root).ok()?;
        Some((dir, manifest))
    };
    Ok(found.filter_map(checked).next())
}

/// By its digest, which the manifest vouches for.
fn is_whole(path: &Path, file: &manifest::File) -> std::io::Result<bool> {
    let mut digest = Sha256::new();
    let (mut sealed, mut chunk) = (File::open(path)?, vec![0; CHUNK]);
    loop {
        match sealed.read(&mut chunk)? {
            0 => return Ok(file.sha256 == <[u8; 32]>::from(digest.finalize())),
            read => digest.update(&chunk[..read]),
        }
    }
}

fn each_chunk(
    source: &Path,
    bytes: u64,
    mut take: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut file = File::open(source).map_err(io_error(source))?;
    let (mut left, mut chunk) = (bytes, Zeroizing::new(vec![0; CHUNK]));
    while left > 0 {
        let size = left.min(CHUNK as u64);
        file.read_exact(&mut chunk[..size as usize]).map_err(io_error(source))?;
        take(&chunk[..size as usize])?;
        left -= size;
    }
    Ok(())
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| Error::Randomness)?;
    Ok(bytes)
}
