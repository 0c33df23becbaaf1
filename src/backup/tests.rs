//! What becomes of a backup that is harmed, file by file, and of one that is made after another.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::domain::time::Timestamp;

const KEK: [u8; 32] = [7; 32];

/// Takes everything: what is in the files is others' business.
struct Blind;

impl Inspect for Blind {
    fn begin(&mut self, _path: &str) {}
    fn bytes(&mut self, _bytes: &[u8]) -> Result<(), String> {
        Ok(())
    }
    fn end(&mut self) -> Result<(), String> {
        Ok(())
    }
    fn all(&mut self, _manifest: &Manifest) -> Result<(), String> {
        Ok(())
    }
}

/// A data directory with two segments, the second of more than two chunks, and what goes into a pack.
struct Data(tempfile::TempDir);

const SEGMENTS: [(&str, usize); 2] =
    [("log/00000000000000000000.seg", 1 << 20), ("log/00000000000000000009.seg", 2_500_000)];
const SMALL: [&str; 2] = ["ledger/checkpoints/a!b/000/1.checkpoint", "erasures/x.json"];

impl Data {
    fn new() -> Data {
        let data = Data(tempfile::tempdir().unwrap());
        for (n, (path, bytes)) in SEGMENTS.iter().enumerate() {
            data.put(path, &vec![n as u8 + 1; *bytes]);
        }
        data.put(manifest::VAULT, b"the vault");
        SMALL.iter().for_each(|path| data.put(path, path.as_bytes()));
        data
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join("data").join(below)
    }

    fn put(&self, below: &str, bytes: &[u8]) {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn place(&self) -> PathBuf {
        self.0.path().join("backups")
    }

    fn back_up(&self, day: i64, kek: &[u8; 32], epoch: u32) -> Result<(PathBuf, Manifest), Error> {
        let created_at = Timestamp::EPOCH.plus_ms(day * 86_400_000);
        let about = About {
            vault: [1; 16],
            origin: "a/b".to_owned(),
            head: 12,
            tree: (0, [0; 32]),
            kek_epoch: epoch,
            created_at,
            expires_at: created_at.plus_ms(86_400_000),
        };
        let mut writer = Writer::begin(&self.place(), &format!("day-{day}"), kek, about)?;
        for (path, bytes) in SEGMENTS {
            writer.add(path, &self.path(path), bytes as u64, &Unwatched)?;
        }
        let small = SMALL.map(str::to_owned);
        writer.add_pack(&self.path(""), &small, &Unwatched)?;
        writer.add(manifest::VAULT, &self.path(manifest::VAULT), 9, &Unwatched)?;
        writer.close(&mut Blind, &Unwatched)?.name_it()
    }

    /// Into a new place; what is there when it failed.
    fn restore(&self, backup: &Path, kek: &[u8; 32]) -> Result<PathBuf, (Error, bool)> {
        let beside = restore::beside(&self.0.path().join("new"));
        let done = Document::read(backup).and_then(|document| Backup::open(backup, document, kek));
        let done = done.and_then(|backup| restore::put_together(&backup, &beside, &mut Blind, &Unwatched));
        match done {
            Ok(()) => Ok(beside),
            Err(error) => Err((error, beside.exists())),
        }
    }
}

fn reused(manifest: &Manifest) -> Vec<&str> {
    manifest.files.iter().filter(|file| file.reused).map(|file| file.path.as_str()).collect()
}

#[test]
fn what_was_backed_up_comes_back_and_is_nowhere_in_clear() {
    let data = Data::new();
    let (backup, manifest) = data.back_up(1, &KEK, 1).unwrap();
    assert_eq!(manifest.files.len(), 4);
    for entry in fs::read_dir(&backup).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        for needle in [&[1; 64][..], &[2; 64], b"the vault", b"erasures/"] {
            assert!(!bytes.windows(needle.len()).any(|window| window == needle));
        }
    }
    let restored = data.restore(&backup, &KEK).unwrap();
    let paths = SEGMENTS.iter().map(|(path, _)| *path).chain([manifest::VAULT]).chain(SMALL);
    for path in paths {
        assert_eq!(fs::read(restored.join(path)).unwrap(), fs::read(data.path(path)).unwrap(), "{path}");
    }
    let (error, left) = data.restore(&backup, &[8; 32]).unwrap_err();
    assert!(matches!(error, Error::Foreign) && left, "another try's directory is not touched before");
}

#[test]
fn whatever_is_done_to_a_file_it_is_named_and_nothing_is_put_together() {
    let data = Data::new();
    let (first, manifest) = data.back_up(1, &KEK, 1).unwrap();
    data.put(SEGMENTS[0].0, &vec![9; SEGMENTS[0].1]);
    let (other, _) = data.back_up(2, &KEK, 1).unwrap();
    for file in &manifest.files {
        let path = first.join(&file.name);
        let whole = fs::read(&path).unwrap();
        let flipped = |at: usize| {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            bytes
        };
        let mut harms = vec![
            flipped(0),
            flipped(whole.len() / 2),
            flipped(whole.len() - 1),
            whole[..whole.len() - 1].to_vec(),
            whole[..whole.len() / 2].to_vec(),
            Vec::new(),
            vec![0; whole.len()],
            [&whole[..], &[0]].concat(),
        ];
        if whole.len() > 2 * ((1 << 20) + 16) {
            // Two chunks exchanged, and one left out.
            let (one, rest) = whole.split_at((1 << 20) + 16);
            let (two, rest) = rest.split_at((1 << 20) + 16);
            harms.extend([[two, one, rest].concat(), [one, rest].concat()]);
        }
        let theirs = fs::read(other.join(&file.name)).unwrap();
        if theirs != whole {
            harms.push(theirs);
        }
        for (n, harm) in harms.iter().enumerate() {
            fs::write(&path, harm).unwrap();
            let (error, left) = data.restore(&first, &KEK).unwrap_err();
            assert!(
                matches!(&error, Error::Damaged { file: named, .. } if *named == file.name),
                "{n}: {error}"
            );
            assert!(!left, "{} {n}", file.name);
        }
        fs::remove_file(&path).unwrap();
        let (error, left) = data.restore(&first, &KEK).unwrap_err();
        assert!(error.to_string().contains("is missing") && !left, "{error}");
        fs::write(&path, whole).unwrap();
    }
    data.restore(&first, &KEK).unwrap();
}

#[test]
fn a_manifest_that_was_touched_is_refused() {
    let data = Data::new();
    let (backup, _) = data.back_up(1, &KEK, 1).unwrap();
    let path = backup.join(manifest::FILE);
    let text = fs::read_to_string(&path).unwrap();
    for (from, to) in [
        ("\"head\":12", "\"head\":13"),
        ("1970-01-03", "1971-01-03"),
        ("\"origin\":\"a/b\"", "\"origin\":\"a/c\""),
    ] {
        assert!(text.contains(from), "{from}");
        fs::write(&path, text.replace(from, to)).unwrap();
        let (error, _) = data.restore(&backup, &KEK).unwrap_err();
        assert!(matches!(error, Error::Foreign), "{from}: {error}");
    }
    for torn in [
        &text[..text.len() / 2],
        "",
        "{}",
        &text.replace("log/0", "log/../../0"),
        &text.replace("backup/1", "backup/2"),
    ] {
        fs::write(&path, torn).unwrap();
        assert!(matches!(data.restore(&backup, &KEK), Err((Error::Malformed { .. }, _))));
    }
    fs::remove_file(&path).unwrap();
    let (error, _) = data.restore(&backup, &KEK).unwrap_err();
    assert!(error.to_string().contains("manifest.json"), "{error}");
}

#[test]
fn what_is_unchanged_is_linked_and_what_changed_in_place_is_not() {
    use std::os::unix::fs::MetadataExt;
    let data = Data::new();
    let (first, manifest) = data.back_up(1, &KEK, 1).unwrap();
    assert_eq!(reused(&manifest), Vec::<&str>::new());
    // As a purge does: same length, and perhaps the same time.
    let mut bytes = fs::read(data.path(SEGMENTS[1].0)).unwrap();
    bytes[2_000_000..2_000_100].fill(0);
    data.put(SEGMENTS[1].0, &bytes);
    let (second, manifest) = data.back_up(2, &KEK, 1).unwrap();
    assert_eq!(reused(&manifest), [SEGMENTS[0].0, manifest::VAULT]);
    let inode = |backup: &Path, n: usize| fs::metadata(backup.join(&manifest.files[n].name)).unwrap().ino();
    assert_eq!(inode(&first, 0), inode(&second, 0));
    assert_ne!(inode(&first, 1), inode(&second, 1));
    // It stands on its own.
    fs::remove_dir_all(&first).unwrap();
    let restored = data.restore(&second, &KEK).unwrap();
    assert_eq!(fs::read(restored.join(SEGMENTS[1].0)).unwrap(), bytes);

    // A damaged one before is a reason to write anew, and so is another key.
    let damaged = second.join(&manifest.files[0].name);
    let mut sealed = fs::read(&damaged).unwrap();
    sealed[100] ^= 1;
    fs::write(&damaged, sealed).unwrap();
    let (third, manifest) = data.back_up(3, &KEK, 1).unwrap();
    assert_eq!(reused(&manifest), [SEGMENTS[1].0, manifest::VAULT]);
    data.restore(&third, &KEK).unwrap();
    let (fourth, manifest) = data.back_up(4, &[8; 32], 2).unwrap();
    assert_eq!(reused(&manifest), Vec::<&str>::new());
    data.restore(&fourth, &[8; 32]).unwrap();
}

#[test]
fn what_a_crash_left_is_removed_by_the_next_and_counts_for_nothing() {
    let data = Data::new();
    let place = data.place();
    fs::create_dir_all(place.join("day-0.partial/x")).unwrap();
    data.back_up(1, &KEK, 1).unwrap();
    assert!(!place.join("day-0.partial").exists());
    assert!(matches!(data.back_up(1, &KEK, 1), Err(Error::Exists(_))));
    fs::create_dir(place.join("by-hand")).unwrap();
    assert_eq!(all(&place).unwrap().len(), 1);
}

#[test]
fn it_can_be_called_off_at_any_byte() {
    struct Off(std::sync::atomic::AtomicI64);
    impl Meter for Off {
        fn moved(&self, bytes: u64) -> Result<(), Error> {
            let left = self.0.fetch_sub(bytes as i64, std::sync::atomic::Ordering::SeqCst);
            if left > 0 { Ok(()) } else { Err(Error::CalledOff) }
        }
    }
    let data = Data::new();
    let (dir, _) = data.back_up(1, &KEK, 1).unwrap();
    let backup = Backup::open(&dir, Document::read(&dir).unwrap(), &KEK).unwrap();
    let off = Off(2_000_000.into());
    let ended = backup.verify(&mut Blind, &off, &HashSet::new());
    assert!(matches!(ended, Err(Error::CalledOff)));
    let beside = data.path("new.restoring");
    let off = Off(2_000_000.into());
    assert!(restore::put_together(&backup, &beside, &mut Blind, &off).is_err());
    assert!(!beside.exists());
}

/// Without the note a purge that power cut short in the mirror would look like damage.
#[test]
fn what_a_mirror_noted_of_a_purge_comes_with_its_segments() {
    let dir = tempfile::tempdir().unwrap();
    let (mirror, copy) = (dir.path().join("mirror"), dir.path().join("copy"));
    for name in ["log/0.seg", "log/purging", "log/tail", "log/spare", "vault/vault.sqlite", "mirror.id"] {
        let path = mirror.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, name).unwrap();
    }
    restore::copy_of(&mirror, &copy).unwrap();
    for name in ["log/0.seg", "log/purging", "log/tail", "vault/vault.sqlite"] {
        assert_eq!(std::fs::read_to_string(copy.join(name)).unwrap(), name);
    }
    assert!(!copy.join("log/spare").exists() && !copy.join("mirror.id").exists());
}
