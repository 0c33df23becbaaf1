//! Takes away what was never synced, as the loss of power would.
//!
//! What a sync covers (a strict reading of POSIX with ext4's order of metadata):
//! * a file's sync covers the changes of its contents that began before it, and its creation;
//! * a directory's sync covers the changes of names in it, and its own creation;
//! * when a change of names is covered, so are the earlier ones in that directory, and the creation
//!   of the directories above; a rename or an unlink waits for a sync of its directory;
//! * what a *failed* sync should have covered is covered by no later one (Linux drops such pages).
//!
//! Everything from the first uncovered change on is undone in reverse, then done again in order as
//! far as it is kept. Contents are kept or lost in pieces, and a piece of a file has one history: if
//! one change of it is covered, those before it are there too.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

use super::{
    crash::Dice,
    journal::{Entry, Op, Saved},
};

/// How much of what was not synced is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// All of it.
    All,
    /// A random part, as if the disk had been busy writing back: of each piece of a file any
    /// number of its latest changes; of the changes of names any number of the last ones. Pieces
    /// are pages of 4 KiB, or (with odd seeds) sectors of 512 bytes.
    Torn(u64),
}

/// What was taken away.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Discarded {
    /// Writes of which something was lost.
    pub writes: usize,
    /// Bytes of them.
    pub bytes: u64,
    /// Bytes not synced that reached the disk all the same.
    pub kept_bytes: u64,
    pub resizes: usize,
    /// Creations, renames and removals.
    pub names: usize,
    /// Changes that could not be taken back because names were changed behind the shim's back.
    /// What happened there counts as durable.
    pub unexplained: usize,
}

impl Discarded {
    pub fn nothing(&self) -> bool {
        self.writes == 0 && self.resizes == 0 && self.names == 0
    }

    pub fn add(&mut self, other: &Discarded) {
        self.writes += other.writes;
        self.bytes += other.bytes;
        self.kept_bytes += other.kept_bytes;
        self.resizes += other.resizes;
        self.names += other.names;
        self.unexplained += other.unexplained;
    }
}

/// Rewinds the directory `root` by a journal whose graves are in `state`.
pub fn run(entries: Vec<Entry>, root: &Path, state: &Path, loss: Loss) -> io::Result<Discarded> {
    let mut discarded = Discarded::default();
    let mut chance = Chance::new(loss);
    let covered = Covered::of(&entries);
    let mut homes = HashMap::new();
    find_inodes(root, &mut homes)?;
    find_inodes(&state.join("graves"), &mut homes)?;
    for (ino, changes) in contents(&entries, &covered) {
        match homes.get(&ino) {
            Some(path) => rewind_contents(path, &changes, &mut chance, &mut discarded)?,
            None => discarded.unexplained += 1,
        }
    }
    let limbo = state.join("limbo");
    fs::create_dir(&limbo)?;
    rewind_names(&entries, &covered, &limbo, &mut chance, &mut discarded)?;
    fs::remove_dir_all(&limbo)?;
    Ok(discarded)
}

struct Chance {
    piece: u64,
    dice: Option<Dice>,
}

impl Chance {
    fn new(loss: Loss) -> Chance {
        match loss {
            Loss::All => Chance { piece: 4096, dice: None },
            Loss::Torn(seed) => {
                Chance { piece: if seed % 2 == 0 { 4096 } else { 512 }, dice: Some(Dice(seed)) }
            }
        }
    }

    /// How many changes of a history reached the disk, if the first `least` certainly did.
    fn reached(&mut self, least: usize, all: usize) -> usize {
        let further = self.dice.as_mut().map_or(0, |dice| dice.below((all - least) as u64 + 1));
        least + further as usize
    }
}

// --- what is covered ---

struct Covered {
    /// By index of the entry.
    covered: Vec<bool>,
    /// Changes of files that were gone for good when another file got their inode.
    outlived: BTreeSet<usize>,
}

/// The changes that wait for a sync, while the journal is read in order.
#[derive(Default)]
struct Waiting {
    contents: HashMap<u64, Vec<usize>>,
    names: HashMap<u64, Vec<usize>>,
    /// Inode to its parent and the seq of its creation, and the seq of a creation to its parent.
    births: HashMap<u64, (u64, u64)>,
    creations: HashMap<u64, u64>,
}

impl Covered {
    fn of(entries: &[Entry]) -> Covered {
        let mut all = Covered { covered: vec![false; entries.len()], outlived: BTreeSet::new() };
        let mut waiting = Waiting::default();
        let mut changes: HashMap<u64, Vec<usize>> = HashMap::new();
        for (index, entry) in entries.iter().enumerate() {
            match &entry.op {
                Op::Write { .. } | Op::Resize { .. } => {
                    waiting.contents.entry(entry.ino).or_default().push(index);
                    changes.entry(entry.ino).or_default().push(index);
                }
                Op::Create { parent, .. } => {
                    waiting.creations.insert(entry.seq, *parent);
                    waiting.names.entry(*parent).or_default().push(index);
                }
                Op::Born { creation } => {
                    all.outlived.extend(changes.remove(&entry.ino).unwrap_or_default());
                    waiting.contents.remove(&entry.ino);
                    if let Some(parent) = waiting.creations.get(creation) {
                        waiting.births.insert(entry.ino, (*parent, *creation));
                    }
                }
                Op::Unlink { parent, .. } | Op::RemoveDir { parent, .. } => {
                    waiting.names.entry(*parent).or_default().push(index);
                }
                Op::Rename { old_parent, new_parent, .. } => {
                    for parent in BTreeSet::from([*old_parent, *new_parent]) {
                        waiting.names.entry(parent).or_default().push(index);
                    }
                }
                Op::Sync { from, began, error, .. } => {
                    let synced = waiting.take_contents(entries, entry.ino, *from..*began);
                    if *error == 0 {
                        synced.into_iter().for_each(|index| all.covered[index] = true);
                        all.cover_names(entries, &mut waiting, entry.ino, *began);
                    }
                }
                Op::Send { .. } | Op::Refused { .. } => {}
            }
        }
        all
    }

    /// Covers the changes of names in a directory before `upto`, and the creation of the directory
    /// (or of the file, which has no names in it) and of those above.
    fn cover_names(&mut self, entries: &[Entry], waiting: &mut Waiting, ino: u64, upto: u64) {
        let (mut ino, mut upto) = (ino, upto);
        loop {
            let names = waiting.names.remove(&ino).unwrap_or_default();
            let (done, rest): (Vec<_>, Vec<_>) = names.into_iter().partition(|i| entries[*i].seq < upto);
            done.into_iter().for_each(|index| self.covered[index] = true);
            waiting.names.insert(ino, rest);
            match waiting.births.get(&ino) {
                Some((parent, creation)) => (ino, upto) = (*parent, creation + 1),
                None => return,
            }
        }
    }
}

impl Waiting {
    fn take_contents(&mut self, entries: &[Entry], ino: u64, when: std::ops::Range<u64>) -> Vec<usize> {
        let changes = self.contents.remove(&ino).unwrap_or_default();
        let (taken, rest) = changes.into_iter().partition(|i| when.contains(&entries[*i].seq));
        self.contents.insert(ino, rest);
        taken
    }
}

// --- contents ---

struct Change<'a> {
    op: &'a Op,
    covered: bool,
}

/// The changes of each file from the first that is not covered on.
fn contents<'a>(entries: &'a [Entry], covered: &Covered) -> BTreeMap<u64, Vec<Change<'a>>> {
    let mut files: BTreeMap<u64, Vec<Change>> = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        if !matches!(entry.op, Op::Write { .. } | Op::Resize { .. }) || covered.outlived.contains(&index) {
            continue;
        }
        let covered = covered.covered[index];
        if !covered || files.contains_key(&entry.ino) {
            files.entry(entry.ino).or_default().push(Change { op: &entry.op, covered });
        }
    }
    files
}

fn rewind_contents(
    path: &Path,
    changes: &[Change],
    chance: &mut Chance,
    out: &mut Discarded,
) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut written = Vec::new();
    for change in changes.iter().rev() {
        written.push(undo(&file, change.op)?);
    }
    written.reverse();

    let mut reached = reached_per_piece(changes, chance);
    let mut resizes_reached = reached_resizes(changes, chance);
    for (change, bytes) in changes.iter().zip(&written) {
        match change.op {
            Op::Write { offset, .. } => {
                let lost = redo_write(&file, *offset, bytes, &mut reached, chance.piece)?;
                out.writes += usize::from(lost > 0);
                out.bytes += lost;
                out.kept_bytes += if change.covered { 0 } else { bytes.len() as u64 - lost };
            }
            Op::Resize { size, .. } if resizes_reached > 0 => {
                resizes_reached -= 1;
                file.set_len(*size)?;
            }
            _ => out.resizes += 1,
        }
    }
    Ok(())
}

/// Undoes a change; returns the bytes that it had written.
fn undo(file: &File, op: &Op) -> io::Result<Vec<u8>> {
    let (old_size, saved, written): (u64, &[Saved], _) = match op {
        Op::Write { offset, len, old_size, saved, .. } => {
            let there = file.metadata()?.len().saturating_sub(*offset).min(*len);
            let mut bytes = vec![0; there as usize];
            file.read_exact_at(&mut bytes, *offset)?;
            (*old_size, saved, bytes)
        }
        Op::Resize { old_size, saved, .. } => (*old_size, saved, Vec::new()),
        _ => unreachable!("only changes of contents are collected"),
    };
    file.set_len(old_size)?;
    for saved in saved {
        file.write_all_at(&saved.bytes, saved.offset)?;
    }
    Ok(written)
}

/// For each piece of a file, how many of its changes reached the disk.
fn reached_per_piece(changes: &[Change], chance: &mut Chance) -> BTreeMap<u64, usize> {
    let mut histories: BTreeMap<u64, (usize, usize)> = BTreeMap::new();
    for change in changes {
        let Op::Write { offset, len, .. } = change.op else { continue };
        for piece in pieces(*offset, *len, chance.piece) {
            let (least, all) = histories.entry(piece).or_default();
            *all += 1;
            if change.covered {
                *least = *all;
            }
        }
    }
    histories.into_iter().map(|(piece, (least, all))| (piece, chance.reached(least, all))).collect()
}

fn reached_resizes(changes: &[Change], chance: &mut Chance) -> usize {
    let resizes = changes.iter().filter(|change| matches!(change.op, Op::Resize { .. }));
    let (mut least, mut all) = (0, 0);
    for change in resizes {
        all += 1;
        if change.covered {
            least = all;
        }
    }
    chance.reached(least, all)
}

fn pieces(offset: u64, len: u64, piece: u64) -> std::ops::Range<u64> {
    offset / piece..(offset + len).div_ceil(piece)
}

/// Writes the pieces of a change that reached the disk; returns the bytes of the others.
fn redo_write(
    file: &File,
    offset: u64,
    bytes: &[u8],
    reached: &mut BTreeMap<u64, usize>,
    piece: u64,
) -> io::Result<u64> {
    let mut lost = 0;
    let end = offset + bytes.len() as u64;
    for number in pieces(offset, bytes.len() as u64, piece) {
        let (from, to) = (offset.max(number * piece), end.min((number + 1) * piece));
        match reached.get_mut(&number) {
            Some(left) if *left > 0 => {
                *left -= 1;
                file.write_all_at(&bytes[(from - offset) as usize..(to - offset) as usize], from)?;
            }
            _ => lost += to - from,
        }
    }
    Ok(lost)
}

// --- names ---

fn rewind_names(
    entries: &[Entry],
    covered: &Covered,
    limbo: &Path,
    chance: &mut Chance,
    out: &mut Discarded,
) -> io::Result<()> {
    let names: Vec<(&Entry, bool)> = entries
        .iter()
        .zip(&covered.covered)
        .filter(|(e, _)| {
            matches!(e.op, Op::Create { .. } | Op::Rename { .. } | Op::Unlink { .. } | Op::RemoveDir { .. })
        })
        .map(|(entry, covered)| (entry, *covered))
        .skip_while(|(_, covered)| *covered)
        .collect();
    let open = names.iter().filter(|(_, covered)| !covered).count();
    let mut reached = chance.reached(0, open);

    let mut undone = Vec::new();
    for (back, (entry, covered)) in names.iter().rev().enumerate() {
        let done = undo_name(entry, limbo)?;
        // The last one may have been recorded without having been done.
        out.unexplained += usize::from(!done && !covered && back > 0);
        undone.push(done);
    }
    for ((entry, covered), undone) in names.iter().zip(undone.into_iter().rev()) {
        let keep = *covered || reached > 0;
        reached -= usize::from(!*covered && reached > 0);
        if !undone {
            continue;
        }
        if !keep {
            out.names += 1;
        } else if !redo_name(entry, limbo)? {
            out.unexplained += 1;
        }
    }
    Ok(())
}

fn inode(path: &Path) -> Option<u64> {
    fs::symlink_metadata(path).ok().map(|data| data.ino())
}

fn limbo_of(entry: &Entry, limbo: &Path) -> PathBuf {
    limbo.join(entry.seq.to_string())
}

/// Undoes a change of names; false if it had not been done, or somebody changed the names since.
fn undo_name(entry: &Entry, limbo: &Path) -> io::Result<bool> {
    match &entry.op {
        Op::Create { path, .. } if inode(path).is_some() => fs::rename(path, limbo_of(entry, limbo))?,
        Op::Rename { from, to, grave, .. } if inode(to) == Some(entry.ino) => {
            fs::rename(to, from)?;
            if let Some(grave) = grave {
                fs::rename(grave, to)?;
            }
        }
        Op::Unlink { path, grave, .. } if inode(path).is_none() => fs::rename(grave, path)?,
        Op::RemoveDir { path, .. } if inode(path).is_none() => fs::create_dir(path)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Does a change of names again; false if the names do not allow it.
fn redo_name(entry: &Entry, limbo: &Path) -> io::Result<bool> {
    let done = match &entry.op {
        Op::Create { path, .. } => fs::rename(limbo_of(entry, limbo), path),
        Op::Rename { from, to, .. } => fs::rename(from, to),
        Op::Unlink { path, grave, .. } => fs::rename(path, grave),
        Op::RemoveDir { path, .. } => fs::remove_dir(path),
        _ => unreachable!("only changes of names are collected"),
    };
    match done {
        Ok(()) => Ok(true),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => Ok(false),
        Err(e) => Err(e),
    }
}

fn find_inodes(dir: &Path, homes: &mut HashMap<u64, PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            find_inodes(&entry.path(), homes)?;
        } else if kind.is_file() {
            homes.insert(entry.metadata()?.ino(), entry.path());
        }
    }
    Ok(())
}
