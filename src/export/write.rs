//! Streams a bundle out of the log.

use std::collections::BTreeSet;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::folder::{Folder, OutFile};
use super::{Disclose, Error, MAX_SELECTION, Progress, Proofs, Request, Scope, Share, Watch};
use crate::domain::event::EventType;
use crate::domain::id::Digest;
use crate::ledger::tlog::{Checkpoint, ConsistencyFile, InclusionFile, Note, SignedCheckpoint, base64};
use crate::log::{Log, StoredRecord};
use crate::record::header::Header;
use crate::verify::manifest::is_text;
use crate::verify::manifest::{CHECKPOINT, COVER, EDGE, EVENTS, OPEN, PIECES, POSITIONS, README, REGISTERS};
use crate::verify::pieces::{Opening, frame};
use crate::verify::registers::Registers;
use crate::verify::{Counts, Kind, Level, Manifest, TagKeys};

/// Records that are read at once, and about how many bytes.
const CHUNK: usize = 1_000;
const CHUNK_BYTES: usize = 4 << 20;
const README_TEXT: &str = include_str!("README.txt");

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Produced {
    pub manifest: Manifest,
    /// By which the log's own event names the export.
    pub manifest_sha256: Digest,
    /// Of the checkpoint in it.
    pub tree_size: u64,
}

/// Writes a bundle: an archive if the target's name ends in `.tar`, a directory otherwise.
pub async fn write(
    log: &dyn Log,
    proofs: &dyn Proofs,
    disclose: &dyn Disclose,
    request: &Request,
    target: &Path,
    progress: &mut Watch<'_>,
) -> Result<Produced, Error> {
    check(request)?;
    let checkpoint = proofs.checkpoint(request.to)?;
    if checkpoint.checkpoint.size < request.to {
        return Err(Error::Refused(format!(
            "no checkpoint covers position {} yet",
            request.to.saturating_sub(1)
        )));
    }
    let mut folder = Folder::create(target)?;
    surroundings(&mut folder, proofs, &checkpoint, request)?;
    let mut events = Events::open(&folder, request, disclose)?;
    match &request.scope {
        Scope::Selection { positions, .. } => {
            for chunk in positions.chunks(CHUNK) {
                for record in log.get(chunk).await? {
                    prove(&mut folder, proofs, &checkpoint, &record)?;
                    events.add(&record)?;
                }
                progress(Progress { done: events.counts.events, total: positions.len() as u64 })?;
            }
        }
        Scope::Range | Scope::Subject { .. } => {
            let mut next = request.from;
            while next < request.to {
                let most = usize::try_from(request.to - next).unwrap_or(CHUNK).min(CHUNK);
                let records = log.read(next, most, CHUNK_BYTES).await?;
                if records.is_empty() {
                    return Err(Error::Refused(format!("the log ends before position {}", request.to)));
                }
                for record in records {
                    events.add(&record)?;
                    next = record.position + 1;
                }
                progress(Progress { done: next - request.from, total: request.to - request.from })?;
            }
        }
    }
    let counts = events.finish(&mut folder)?;
    seal(folder, proofs, checkpoint.checkpoint, request, counts)
}

fn check(request: &Request) -> Result<(), Error> {
    let refused = |why: &str| Err(Error::Refused(why.to_owned()));
    request.cover.check()?;
    if request.from > request.to {
        return refused("the range ends before it begins");
    }
    if let Scope::Selection { positions, words, filter } = &request.scope {
        if positions.len() > MAX_SELECTION {
            return refused("a selection has at most 100,000 events; export the range");
        }
        let inside = positions.iter().all(|position| (request.from..request.to).contains(position));
        if !inside || !positions.is_sorted_by(|a, b| a < b) {
            return refused("the selected positions are not ascending within the range");
        }
        if !is_text(words) || !is_text(filter) {
            return refused("the filter is not one line of text");
        }
    }
    if request.since.len() > 16 {
        return refused("growth is shown from at most 16 checkpoints");
    }
    Ok(())
}

/// Everything but the events: checkpoint, edge, growth, what people read.
fn surroundings(
    folder: &mut Folder,
    proofs: &dyn Proofs,
    checkpoint: &SignedCheckpoint,
    request: &Request,
) -> Result<(), Error> {
    let head = &checkpoint.checkpoint;
    folder.put(CHECKPOINT, checkpoint.to_string().as_bytes())?;
    folder.put(README, README_TEXT.as_bytes())?;
    folder.put(COVER, request.cover.text(&head.origin, request).as_bytes())?;
    let mut since: BTreeSet<u64> = request.since.iter().copied().collect();
    if !matches!(request.scope, Scope::Selection { .. }) {
        let edge = proofs.edge(request.from)?;
        let lines: String = edge.hashes().iter().map(|hash| base64(hash) + "\n").collect();
        folder.put(EDGE, lines.as_bytes())?;
        since.insert(request.to);
    }
    for old in since.into_iter().filter(|old| *old < head.size) {
        let path = proofs.growth(old, head.size)?;
        let file = ConsistencyFile { old, path, checkpoint: checkpoint.clone() };
        folder.put(&format!("consistency/{old}-{}", head.size), file.to_string().as_bytes())?;
    }
    Ok(())
}

fn prove(
    folder: &mut Folder,
    proofs: &dyn Proofs,
    checkpoint: &SignedCheckpoint,
    record: &StoredRecord,
) -> Result<(), Error> {
    let index = record.position;
    let path = proofs.inclusion(index, &record.header, checkpoint.checkpoint.size)?;
    let file = InclusionFile { extra: None, index, path, checkpoint: checkpoint.clone() };
    folder.put(&format!("proofs/{index}.tlog-proof"), file.to_string().as_bytes())
}

/// Lists every file, signs, and gives the bundle its name.
fn seal(
    mut folder: Folder,
    proofs: &dyn Proofs,
    head: Checkpoint,
    request: &Request,
    counts: Counts,
) -> Result<Produced, Error> {
    let (kind, filter_words, filter) = match &request.scope {
        Scope::Range => (Kind::Range, None, None),
        Scope::Subject { .. } => (Kind::Subject, None, None),
        Scope::Selection { words, filter, .. } => {
            (Kind::Selection, Some(words.clone()), Some(filter.clone()))
        }
    };
    let Checkpoint { origin, size: tree_size, .. } = head;
    let signer = proofs.manifest_signer(&origin)?;
    if signer.verifier().name() != Manifest::key_name(&origin) {
        return Err(Error::Refused(format!("the key given is not that of {}", Manifest::key_name(&origin))));
    }
    let manifest = Manifest {
        origin,
        export: request.export.to_string(),
        kind,
        from: request.from,
        to: request.to,
        filter_words,
        filter,
        level: request.level,
        counts,
        created: request.created,
        authority: request.cover.authority.clone(),
        law: request.cover.legal_power.clone(),
        files: folder.listed(),
    };
    let note = Note::new(manifest.text())?.signed([&signer]).to_string();
    folder.finish(note.as_bytes(), &manifest.files)?;
    let manifest_sha256 = Digest(Sha256::digest(&note).into());
    Ok(Produced { manifest, manifest_sha256, tree_size })
}

/// The files that grow with the events.
struct Events<'a> {
    lines: OutFile,
    positions: Option<OutFile>,
    pieces: Option<OutFile>,
    open: Option<OutFile>,
    /// What the events register, and the file for it; a selection has none.
    registers: Option<(Registers, OutFile)>,
    /// In a bundle about one person: that person's keys.
    person: Option<&'a TagKeys>,
    disclose: &'a dyn Disclose,
    counts: Counts,
}

impl<'a> Events<'a> {
    fn open(folder: &Folder, request: &'a Request, disclose: &'a dyn Disclose) -> Result<Self, Error> {
        let file = |wanted: bool, name: &str| wanted.then(|| folder.file(name)).transpose();
        let person = match &request.scope {
            Scope::Subject { keys } => Some(keys),
            _ => None,
        };
        let whole = !matches!(request.scope, Scope::Selection { .. });
        Ok(Events {
            lines: folder.file(EVENTS)?,
            positions: file(!matches!(request.scope, Scope::Range), POSITIONS)?,
            pieces: file(request.level != Level::Headers, PIECES)?,
            open: file(request.level == Level::Opened, OPEN)?,
            registers: file(whole, REGISTERS)?.map(|file| (Registers::default(), file)),
            person,
            disclose,
            counts: Counts { retracted: request.retracted, ..Counts::default() },
        })
    }

    fn add(&mut self, record: &StoredRecord) -> Result<(), Error> {
        let position = record.position;
        let header = Header::parse(&record.header).map_err(|source| Error::Record { position, source })?;
        self.lines.write(&record.header)?;
        self.lines.write(b"\n")?;
        self.counts.events += 1;
        self.counts.retractions += u64::from(header.event_type == EventType::EventsRetracted);
        if let Some((registers, _)) = &mut self.registers {
            let refused = |why| Error::Refused(format!("registers, at position {position}: {why}"));
            registers.add(position, &header).map_err(refused)?;
        }
        let theirs = |i: usize| self.person.is_none_or(|keys| keys.is_theirs(&header, i));
        let theirs: Vec<bool> = (0..header.parts.len()).map(theirs).collect();
        if let Some(positions) = self.positions.as_mut().filter(|_| theirs.contains(&true)) {
            positions.write(format!("{position}\n").as_bytes())?;
        }
        for (i, part) in header.parts.iter().enumerate() {
            for b in 0..part.boxes.len() {
                self.sealed_box(record, &header, i, b, theirs[i])?;
            }
        }
        Ok(())
    }

    fn sealed_box(
        &mut self,
        record: &StoredRecord,
        header: &Header<'_>,
        i: usize,
        b: usize,
        theirs: bool,
    ) -> Result<(), Error> {
        let position = record.position;
        let Some(pieces) = self.pieces.as_mut().filter(|_| theirs) else {
            self.counts.withheld += 1;
            return Ok(());
        };
        let share = self.disclose.share(position, header, i, b);
        if matches!(share, Share::Withhold) {
            self.counts.withheld += 1;
            return Ok(());
        }
        let number = header.box_piece(i, b);
        // At most 32 parts of four boxes: both numbers fit.
        let (short, part, sealed) = (number as u16, i as u8, b as u8);
        let Some(bytes) = record.pieces.get(number).and_then(Option::as_ref) else {
            self.counts.destroyed += 1;
            return pieces.write(&frame(position, short, 0));
        };
        pieces.write(&frame(position, short, bytes.len() as u32))?;
        pieces.write(bytes)?;
        self.counts.sealed += 1;
        if let (Share::Open(key), Some(open)) = (share, &mut self.open) {
            let wrong = |_| Error::Key { position, part: i, sealed: b };
            header.open_box_with(i, b, bytes, &key).map_err(wrong)?;
            open.write(Opening { position, part, sealed, key }.line().as_bytes())?;
            open.write(b"\n")?;
            self.counts.opened += 1;
        }
        Ok(())
    }

    fn finish(self, folder: &mut Folder) -> Result<Counts, Error> {
        folder.add(self.lines)?;
        if let Some((registers, mut file)) = self.registers {
            for mut line in registers.lines() {
                line.push(b'\n');
                file.write(&line)?;
            }
            folder.add(file)?;
        }
        for file in [self.positions, self.pieces, self.open].into_iter().flatten() {
            folder.add(file)?;
        }
        Ok(self.counts)
    }
}
