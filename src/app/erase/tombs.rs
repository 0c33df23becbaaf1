//! The tombs of the erased, outside the data directory: a vault that is restored from an older copy
//! would bring their keys back, and does not know.
//!
//! A tomb is the digest of a random handle and tells nothing about anybody. Each is a file, durable before
//! any key is destroyed: empty, or with the instant until which what proves consents and cases is kept.
//! Nothing is ever removed here, and what is empty stays so.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use crate::domain::erasure::Left;
use crate::domain::id::Digest;
use crate::durable;
use crate::verify::manifest::{hex, unhex};

/// Of one log's outside copy.
pub struct Tombs(PathBuf);

const EVIDENCE: &str = "evidence until ";

pub fn name(tomb: &Digest) -> String {
    hex(&tomb.0)
}

impl Tombs {
    pub fn of(dir: PathBuf) -> Tombs {
        Tombs(dir)
    }

    /// Durable when it returns.
    pub fn keep(&self, tomb: &Digest, left: Left) -> io::Result<()> {
        durable::make_dir(&self.0)?;
        let path = self.0.join(name(tomb));
        match (self.left(tomb)?, left) {
            (Some(Left::Nothing), _) | (Some(Left::Evidence { .. }), Left::Evidence { .. }) => Ok(()),
            (_, Left::Nothing) => durable::replace(&path, b""),
            (_, Left::Evidence { until }) => {
                durable::replace(&path, format!("{EVIDENCE}{until}\n").as_bytes())
            }
        }
    }

    /// What one tomb says; `None` if there is none.
    pub fn left(&self, tomb: &Digest) -> io::Result<Option<Left>> {
        match fs::read(self.0.join(name(tomb))) {
            Ok(text) => read(&text).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Names of entries that are no tombs. A file that a crash left half made is none either, and is
    /// passed over.
    pub fn malformed(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut malformed = Vec::new();
        for entry in entries {
            let entry = entry?;
            let (name, found) = (entry.file_name().to_string_lossy().into_owned(), entry.metadata()?);
            let well = |name: &str| unhex(name).is_some_and(|tomb| hex(&tomb) == name);
            let is_tomb =
                well(&name) && found.is_file() && fs::read(entry.path()).and_then(|text| read(&text)).is_ok();
            if !is_tomb && !name.strip_suffix(".new").is_some_and(well) {
                malformed.push(name);
            }
        }
        Ok(malformed)
    }

    pub fn all(&self) -> io::Result<Vec<(Digest, Left)>> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut all = Vec::new();
        for entry in entries {
            let entry = entry?;
            if let Some(tomb) = entry.file_name().to_str().and_then(unhex) {
                all.push((Digest(tomb), read(&fs::read(entry.path())?)?));
            }
        }
        Ok(all)
    }
}

fn read(text: &[u8]) -> io::Result<Left> {
    if text.is_empty() {
        return Ok(Left::Nothing);
    }
    let until = std::str::from_utf8(text).ok().and_then(|text| text.trim_end().strip_prefix(EVIDENCE));
    let until = until.and_then(|until| until.parse().ok());
    let damaged = || io::Error::new(ErrorKind::InvalidData, "a tomb is damaged: put it back from a copy");
    until.map(|until| Left::Evidence { until }).ok_or_else(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    #[test]
    fn a_tomb_is_kept_once_and_for_good() {
        let root = tempfile::tempdir().unwrap();
        let tombs = Tombs::of(root.path().join("outside/tombs"));
        assert!(tombs.all().unwrap().is_empty());
        let evidence = |ms| Left::Evidence { until: Timestamp::from_ms(ms).unwrap() };
        let (one, two) = (Digest([0xA5; 32]), Digest([1; 32]));
        for (tomb, left) in [(one, Left::Nothing), (two, evidence(7)), (one, evidence(9)), (two, evidence(8))]
        {
            tombs.keep(&tomb, left).unwrap();
        }
        fs::write(root.path().join("outside/tombs/note"), b"by hand").unwrap();
        let all = |tombs: &Tombs| {
            let mut all = tombs.all().unwrap();
            all.sort_by_key(|(tomb, _)| *tomb);
            all
        };
        assert_eq!(all(&tombs), [(two, evidence(7)), (one, Left::Nothing)]);
        tombs.keep(&two, Left::Nothing).unwrap();
        assert_eq!(all(&tombs), [(two, Left::Nothing), (one, Left::Nothing)]);
        fs::write(root.path().join("outside/tombs").join(name(&one)), b"evidence until x").unwrap();
        assert!(tombs.all().is_err() && tombs.keep(&one, Left::Nothing).is_err(), "damage is loud");
    }
}
