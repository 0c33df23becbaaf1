//! An erasure in the making, as it is written down before anything is done.
//!
//! It names the person by the handle, because whoever resumes it has nothing else; so it is readable
//! by the owner only, overwritten with zeros and removed when the work is done.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::domain::erasure::Left;
use crate::domain::event::{FindingTally, IdentityErasureCause, IdentityErasureScope, TransferTally};
use crate::domain::id::{Digest, EventId, Id, SubjectId};
use crate::domain::time::Timestamp;
use crate::durable;
use crate::log::PieceRef;
use crate::record::tomb;

/// A file that lies here: its name, and whose erasure it is, if it is what was written.
pub type Found = (String, io::Result<Digest>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    pub subject: SubjectId,
    pub requester: Id,
    cause: i32,
    pub case_id: Option<Id>,
    /// The events that this erasure records, whoever records them.
    pub accepted: EventId,
    pub erased: EventId,
    /// Position and number of each piece that is to go.
    pieces: Vec<(u64, u16)>,
    /// Records from here on are looked at one by one.
    pub seen_to: u64,
    /// Until when what proves something is kept; `None`: everything goes.
    pub keep_until: Option<Timestamp>,
    /// The identity is gone already; what was kept goes now.
    pub evidence_only: bool,
    /// How the person counted.
    pub tallies: Vec<TransferTally>,
    /// What had been found about the person.
    #[serde(default)]
    pub findings: Vec<FindingTally>,
}

impl Work {
    /// Of a whole person, of whom nothing is found yet.
    pub fn new(
        subject: SubjectId,
        requester: Id,
        cause: IdentityErasureCause,
        (accepted, erased): (EventId, EventId),
    ) -> Work {
        Work {
            subject,
            requester,
            cause: cause.number(),
            case_id: None,
            accepted,
            erased,
            pieces: Vec::new(),
            seen_to: 0,
            keep_until: None,
            evidence_only: false,
            tallies: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// Of somebody of whom only evidence is left.
    pub fn of_evidence(self) -> Work {
        Work { evidence_only: true, ..self }
    }

    pub fn tomb(&self) -> Digest {
        tomb(self.subject)
    }

    /// What the tomb says.
    pub fn left(&self) -> Left {
        self.keep_until.map_or(Left::Nothing, |until| Left::Evidence { until })
    }

    pub fn scope(&self) -> IdentityErasureScope {
        match self.keep_until {
            Some(_) => IdentityErasureScope::Identity,
            None => IdentityErasureScope::IdentityAndEvidence,
        }
    }

    /// What came to light since it was written down.
    pub fn add(&mut self, pieces: &[PieceRef], seen_to: u64) {
        self.pieces.extend(pieces.iter().map(|piece| (piece.position, piece.piece)));
        self.seen_to = seen_to;
    }

    pub fn cause(&self) -> Option<IdentityErasureCause> {
        IdentityErasureCause::from_number(self.cause)
    }

    pub fn pieces(&self) -> Vec<PieceRef> {
        self.pieces.iter().map(|(position, piece)| PieceRef { position: *position, piece: *piece }).collect()
    }

    fn path(&self, dir: &Path) -> PathBuf {
        let what = if self.evidence_only { "-evidence" } else { "" };
        dir.join(format!("{}{what}.json", super::tombs::name(&self.tomb())))
    }

    /// Replaces what is written down; durable when it returns.
    pub fn rewrite(&self, dir: &Path) -> io::Result<()> {
        durable::replace_private(&self.path(dir), &durable::with_sum(serde_json::to_vec(self)?))
    }

    /// Durable when it returns. One that stands there already stays as it is.
    pub fn write(self, dir: &Path) -> io::Result<Work> {
        durable::make_dir(dir)?;
        let path = self.path(dir);
        match fs::read(&path) {
            Ok(there) => read(&path, &there),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.rewrite(dir)?;
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
                all.push(read(&path, &fs::read(&path)?)?);
            } else {
                // Of a crash while one was written, when nothing had been done, or removed, when all had.
                durable::forget(&path)?;
            }
        }
        Ok(all)
    }

    /// All files here. Changes nothing, not even what a crash left.
    pub fn survey(dir: &Path) -> io::Result<Vec<Found>> {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut all = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.ends_with(".json.new") {
                continue;
            }
            match fs::read(&path).and_then(|bytes| read(&path, &bytes)) {
                // It was done meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Ok(work) if work.path(dir) != path => {
                    all.push((name, Err(io::Error::new(ErrorKind::InvalidData, "it has another's name"))));
                }
                work => all.push((name, work.map(|work| work.tomb()))),
            }
        }
        Ok(all)
    }

    /// Takes the name away before the bytes: of a file that is half overwritten nobody could tell
    /// whether anything is left to do.
    pub fn done(&self, dir: &Path) -> io::Result<()> {
        let path = self.path(dir);
        let mut going = path.clone().into_os_string();
        going.push(".new");
        let going = PathBuf::from(going);
        match fs::rename(&path, &going) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            renamed => {
                renamed?;
                durable::sync_dir(dir)?;
            }
        }
        durable::forget(&going)
    }
}

/// A wrong digit would purge what is somebody else's, so nothing is done by a file that changed.
fn read(path: &Path, bytes: &[u8]) -> io::Result<Work> {
    let wrong = |why: &dyn std::fmt::Display| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let way = "`custody fsck` names the way out";
        io::Error::new(
            ErrorKind::InvalidData,
            format!("erasures/{name} is not what was written: {why}; {way}"),
        )
    };
    let text = durable::without_sum(bytes).map_err(|why| wrong(&why))?;
    serde_json::from_slice(text).map_err(|_| wrong(&"it cannot be read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(n: u8) -> Work {
        let id = |k: u8| format!("018f3a1c-0000-7000-8000-0000000000{k:02x}").parse().unwrap();
        Work {
            case_id: Some("case-1".parse().unwrap()),
            pieces: vec![(7, 1), (9, 0)],
            seen_to: 12,
            ..Work::new(
                SubjectId([n; 16]),
                "officer".parse().unwrap(),
                IdentityErasureCause::ALL[0],
                (id(n), id(n + 100)),
            )
        }
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
        let mut grown = work(1);
        grown.add(&[PieceRef { position: 12, piece: 3 }], 13);
        grown.rewrite(&dir).unwrap();
        fs::write(dir.join("x.json.new"), b"torn").unwrap();
        assert_eq!(Work::all(&dir).unwrap().len(), 2);
        assert!(!dir.join("x.json.new").exists());
        assert_eq!(grown.pieces().len(), 3);
        assert!(Work::all(&dir).unwrap().contains(&grown));
        first.done(&dir).unwrap();
        first.done(&dir).unwrap();
        assert_eq!(Work::all(&dir).unwrap(), vec![work(2)]);
    }
}
