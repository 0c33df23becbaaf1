//! The tombs of the erased, outside the data directory: a vault that is restored from an older copy
//! would bring their keys back, and does not know.
//!
//! A tomb is the digest of a random handle and tells nothing about anybody. Each is an empty file,
//! durable before any key is destroyed. Nothing is ever removed here.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use crate::domain::id::Digest;
use crate::durable;
use crate::verify::manifest::hex;

/// Of one log's outside copy.
pub struct Tombs(PathBuf);

pub fn name(tomb: &Digest) -> String {
    hex(&tomb.0)
}

impl Tombs {
    pub fn of(dir: PathBuf) -> Tombs {
        Tombs(dir)
    }

    /// Durable when it returns.
    pub fn keep(&self, tomb: &Digest) -> io::Result<()> {
        durable::make_dir(&self.0)?;
        let path = self.0.join(name(tomb));
        if path.exists() {
            return Ok(());
        }
        durable::replace(&path, b"")
    }

    pub fn all(&self) -> io::Result<Vec<Digest>> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut all = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            all.extend(name.to_str().and_then(unhex));
        }
        Ok(all)
    }
}

fn unhex(name: &str) -> Option<Digest> {
    let (pairs, rest) = name.as_bytes().as_chunks::<2>();
    let bytes: Vec<u8> = pairs
        .iter()
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect::<Option<_>>()?;
    rest.is_empty().then_some(Digest(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tomb_is_kept_once_and_for_good() {
        let root = tempfile::tempdir().unwrap();
        let tombs = Tombs::of(root.path().join("outside/tombs"));
        assert!(tombs.all().unwrap().is_empty());
        let (one, two) = (Digest([0xA5; 32]), Digest([1; 32]));
        for tomb in [one, two, one] {
            tombs.keep(&tomb).unwrap();
        }
        fs::write(root.path().join("outside/tombs/note"), b"by hand").unwrap();
        let mut all = tombs.all().unwrap();
        all.sort();
        assert_eq!(all, [two, one]);
    }
}
