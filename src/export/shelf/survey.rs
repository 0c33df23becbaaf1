//! Whether what lies on the shelf is what was put there: every description, and every file of every
//! finished bundle against its manifest. Changes nothing.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::{Shelf, State, failed, folder, read};
use crate::domain::id::Id;
use crate::export::Error;
use crate::ledger::tlog::Note;
use crate::verify::Manifest;
use crate::verify::manifest::MANIFEST;

impl Shelf {
    /// Every entry that does not check: its name, and what is wrong. One that is made or removed
    /// meanwhile is passed over. `go_on` is asked between files.
    pub fn survey(&self, go_on: &dyn Fn() -> bool) -> Result<Vec<(String, String)>, Error> {
        let mut found = Vec::new();
        let mut described = BTreeSet::new();
        let names = self.names()?;
        for name in names.iter().filter_map(|name| name.strip_suffix(".json")) {
            described.insert(name.to_owned());
            let text = match fs::read(self.dir.join(format!("{name}.json"))) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                text => text.map_err(failed(&self.dir))?,
            };
            let Some(entry) = read(&text, name) else {
                found.push((format!("{name}.json"), "the description is not what was written".to_owned()));
                continue;
            };
            let State::Ready(made) = &entry.state else { continue };
            for (file, why) in bundle(&self.bundle(&entry.id), &made.manifest_sha256.0, go_on)? {
                if self.is_ready(&entry.id) {
                    found.push((format!("{name}/{file}"), why));
                }
            }
        }
        for name in names.into_iter().filter(|name| !name.ends_with(".json") && !described.contains(name)) {
            let partial = folder::partial(Path::new(""));
            let partial = partial.to_string_lossy();
            let id = name.strip_suffix(&*partial).unwrap_or(&name).parse::<Id>().ok();
            // Being made just now, or half written when a crash came.
            let known = id.is_some_and(|id| self.get(&id).is_some()) || name.ends_with(".json.new");
            let there = || {
                let _none = self.alone();
                self.dir.join(&name).exists()
            };
            if !known && there() {
                found.push((name, "nothing says what this is".to_owned()));
            }
        }
        Ok(found)
    }

    /// Whether a bundle is to be there. A removal that has begun takes its files first, and is waited for.
    fn is_ready(&self, id: &Id) -> bool {
        let _none = self.alone();
        self.get(id).is_some_and(|entry| matches!(entry.state, State::Ready(_)))
    }
}

/// What is wrong with a finished bundle.
fn bundle(
    root: &Path,
    manifest: &[u8; 32],
    go_on: &dyn Fn() -> bool,
) -> Result<Vec<(String, String)>, Error> {
    let one = |why: String| Ok(vec![(MANIFEST.to_owned(), why)]);
    let bytes = match fs::read(root.join(MANIFEST)) {
        Ok(bytes) => bytes,
        Err(why) => return one(format!("cannot be read: {}", why.kind())),
    };
    if Sha256::digest(&bytes)[..] != manifest[..] {
        return one("is not the manifest that was signed and recorded".to_owned());
    }
    let note = Note::parse(&bytes)?;
    let listed = Manifest::parse(&note.text).map_err(Error::Refused)?;
    let mut found = Vec::new();
    let mut there = files_below(root, root).map_err(failed(root))?;
    there.remove(MANIFEST);
    for file in &listed.files {
        if !go_on() {
            return Err(Error::CalledOff);
        }
        there.remove(&file.path);
        match hash(&root.join(&file.path)) {
            Ok((sha256, length)) if (sha256, length) == (file.sha256, file.length) => {}
            Ok(_) => found.push((file.path.clone(), "is not what the manifest says".to_owned())),
            Err(why) => found.push((file.path.clone(), format!("cannot be read: {}", why.kind()))),
        }
    }
    found.extend(there.into_iter().map(|name| (name, "is not in the manifest".to_owned())));
    Ok(found)
}

fn hash(path: &Path) -> io::Result<([u8; 32], u64)> {
    let mut file = File::open(path)?;
    let (mut hash, mut length, mut buffer) = (Sha256::new(), 0u64, vec![0; 256 * 1024]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((hash.finalize().into(), length)),
            read => {
                hash.update(&buffer[..read]);
                length += read as u64;
            }
        }
    }
}

fn files_below(root: &Path, dir: &Path) -> io::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files_below(root, &path)?);
        } else if let Ok(name) = path.strip_prefix(root) {
            found.insert(name.to_string_lossy().into_owned());
        }
    }
    Ok(found)
}
