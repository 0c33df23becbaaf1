//! A bundle to be harmed: links to the files of an honest one, each replaced when it is touched, so
//! that a copy of a gigabyte costs nothing.

use std::fs;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

pub struct Copy {
    path: PathBuf,
}

impl Copy {
    pub fn of(bundle: &Path, path: &Path) -> Copy {
        let copy = Copy { path: path.to_owned() };
        copy.remove();
        fs::create_dir(path).expect("made");
        for file in fs::read_dir(bundle).expect("a bundle") {
            let file = file.expect("a file");
            fs::hard_link(file.path(), path.join(file.file_name())).expect("linked");
        }
        copy
    }

    fn remove(&self) {
        if self.path.exists() {
            fs::remove_dir_all(&self.path).expect("removed");
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path.join(name)).expect("a file")
    }

    /// Makes a file, or puts another in its place.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        self.splice(name, bytes, 0..0, &[]);
    }

    /// A file as these bytes with others in the place of some.
    pub fn splice(&self, name: &str, bytes: &[u8], place: Range<usize>, others: &[u8]) {
        let path = self.path.join(name);
        if path.exists() {
            fs::remove_file(&path).expect("removed");
        }
        let mut file = fs::File::create_new(path).expect("made");
        for part in [&bytes[..place.start], others, &bytes[place.end..]] {
            file.write_all(part).expect("written");
        }
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.remove();
    }
}
