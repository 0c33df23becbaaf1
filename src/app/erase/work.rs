//! An erasure in the making, as it is written down before anything is done.
//!
//! It names the person by the handle, because whoever resumes it has nothing else; so it is readable
//! by the owner only, overwritten with zeros and removed when the work is done.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::domain::event::IdentityErasureCause;
use crate::domain::id::{Digest, EventId, Id, SubjectId};
use crate::durable;
use crate::log::PieceRef;
use crate::record::tomb;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    pub subject: SubjectId,
    pub requester: Id,
    cause: i32,
    pub case_id: Option<Id>,
    /// The events that this erasure records, whoever records them.
    pub accepted: EventId,
    pub erased: EventId,
    /// What the views knew to be the person's: position and number of each piece.
    pieces: Vec<(u64, u16)>,
    /// Records from here on are looked at one by one.
    pub seen_to: u64,
}

impl Work {
    pub fn new(
        subject: SubjectId,
        requester: Id,
        (cause, case_id): (IdentityErasureCause, Option<Id>),
        (accepted, erased): (EventId, EventId),
        pieces: &[PieceRef],
        seen_to: u64,
    ) -> Work {
        let pieces = pieces.iter().map(|piece| (piece.position, piece.piece)).collect();
        Work { subject, requester, cause: cause.number(), case_id, accepted, erased, pieces, seen_to }
    }

    pub fn tomb(&self) -> Digest {
        tomb(self.subject)
    }

    pub fn cause(&self) -> Option<IdentityErasureCause> {
        IdentityErasureCause::from_number(self.cause)
    }

    pub fn pieces(&self) -> Vec<PieceRef> {
        self.pieces.iter().map(|(position, piece)| PieceRef { position: *position, piece: *piece }).collect()
    }

    fn path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{}.json", super::tombs::name(&self.tomb())))
    }

    /// Durable when it returns. One that stands there already stays as it is.
    pub fn write(self, dir: &Path) -> io::Result<Work> {
        durable::make_dir(dir)?;
        let path = self.path(dir);
        match fs::read(&path) {
            Ok(there) => Ok(serde_json::from_slice(&there)?),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                durable::replace_private(&path, &serde_json::to_vec(&self)?)?;
                Ok(self)
            }
            Err(error) => Err(error),
        }
    }

    /// All that were begun and are not done.
    pub fn all(dir: &Path) -> io::Result<Vec<Work>> {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut all = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == "json") {
                all.push(serde_json::from_slice(&fs::read(&path)?)?);
            } else {
                // Of a crash while one was written: nothing had been done.
                forget(&path)?;
            }
        }
        Ok(all)
    }

    pub fn done(&self, dir: &Path) -> io::Result<()> {
        match forget(&self.path(dir)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }
}

/// Overwrites, because the bytes of a removed file stay on the disk until somebody needs the place.
fn forget(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    file.write_all(&vec![0; length])?;
    file.sync_all()?;
    fs::remove_file(path)?;
    durable::sync_dir(path.parent().unwrap_or(Path::new(".")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(n: u8) -> Work {
        let id = |k: u8| format!("018f3a1c-0000-7000-8000-0000000000{k:02x}").parse().unwrap();
        let pieces = [PieceRef { position: 7, piece: 1 }, PieceRef { position: 9, piece: 0 }];
        let reason = (IdentityErasureCause::ALL[0], Some("case-1".parse().unwrap()));
        Work::new(SubjectId([n; 16]), "officer".parse().unwrap(), reason, (id(n), id(n + 100)), &pieces, 12)
    }

    #[test]
    fn what_is_written_down_is_found_again_and_forgotten_once_it_is_done() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("erasures");
        assert_eq!(Work::all(&dir).unwrap(), vec![]);
        let first = work(1).write(&dir).unwrap();
        let again = Work { seen_to: 99, ..work(1) };
        assert_eq!(again.write(&dir).unwrap(), first, "the first counts");
        work(2).write(&dir).unwrap();
        fs::write(dir.join("x.json.new"), b"torn").unwrap();
        assert_eq!(Work::all(&dir).unwrap().len(), 2);
        assert!(!dir.join("x.json.new").exists());
        assert_eq!(first.pieces().len(), 2);
        first.done(&dir).unwrap();
        first.done(&dir).unwrap();
        assert_eq!(Work::all(&dir).unwrap(), vec![work(2)]);
    }
}
