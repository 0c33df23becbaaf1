//! The one pass over the events: each is put into the tree or proven by its own file, and shown to
//! `contents`, which looks at what is in it.

use std::ops::Range;

use super::contents::Contents;
use super::files::{Files, Lines};
use super::manifest::{EDGE, EVENTS, Kind, Manifest, POSITIONS};
use super::registers::Registers;
use super::report::{Claim, Report, Verdict};
use super::{Options, Stop, malformed, trust};
use crate::ledger::tlog::{Edge, Hash, InclusionFile, SignedCheckpoint, decimal, hash_of, leaf_hash};
use crate::limits;

/// What the pass leaves for others.
pub(super) struct Walked {
    /// The root at the size of the checkpoint that the verifier kept, where the pass came by it.
    pub root_then: Option<Hash>,
    /// What the events of a whole range register.
    pub registers: Option<Registers>,
    /// Events of a version or type that this program does not know.
    pub unread: u64,
}

pub(super) fn run<'a>(
    files: &mut Files<'a>,
    shown: &SignedCheckpoint,
    manifest: &Manifest,
    options: &Options,
    since: Option<u64>,
    report: &mut Report,
) -> Result<Walked, Stop> {
    let lines = Lines::open(files, EVENTS, limits::HEADER_BYTES)?;
    let mut lines = lines.ok_or_else(|| malformed(EVENTS, "is missing"))?;
    let mut contents = Contents::open(files, manifest, options)?;
    let root_then = if manifest.kind == Kind::Selection {
        selection(files, shown, manifest, &mut lines, &mut contents, report)?;
        None
    } else {
        range(files, shown, manifest, since, &mut lines, &mut contents, report)?
    };
    lines.finish()?;
    let (registers, unread) = contents.finish(manifest, report)?;
    Ok(Walked { root_then, registers, unread })
}

/// All events from one position to another: appended to the edge before them they must give the
/// root after them. That proves each of them, and that none is missing.
fn range(
    files: &mut Files<'_>,
    shown: &SignedCheckpoint,
    manifest: &Manifest,
    since: Option<u64>,
    lines: &mut Lines<'_>,
    contents: &mut Contents<'_, '_>,
    report: &mut Report,
) -> Result<Option<Hash>, Stop> {
    let head = &shown.checkpoint;
    let mut edge = read_edge(files, manifest.from)?;
    let mut then = Some(edge.root()).filter(|_| since == Some(edge.size()));
    while edge.size() < manifest.to {
        let position = edge.size();
        let Some(line) = lines.line()? else {
            let why = format!("the events end before {position}, the range goes to {}", manifest.to);
            return Err(Stop::Failed(Claim::RangeComplete, why));
        };
        contents.look_at(position, line)?;
        edge.push(leaf_hash(line), |_, _, _| {}).map_err(|why| malformed(EDGE, &why.to_string()))?;
        if since == Some(edge.size()) {
            then = Some(edge.root());
        }
    }
    let leads = if edge.size() == head.size {
        edge.root() == head.root
    } else {
        let name = format!("consistency/{}-{}", manifest.to, head.size);
        let file = trust::consistency(files, &name, manifest.to, shown)?;
        let file = file.ok_or_else(|| Stop::Failed(Claim::RangeComplete, format!("{name} is missing")))?;
        file.check(&edge.root()).is_ok()
    };
    if !leads {
        let why = "the events do not lead to the signed root: one is altered, missing, added or moved";
        report.set(Claim::Inclusion, Verdict::Failed(why.to_owned()));
        return Err(Stop::Failed(Claim::RangeComplete, why.to_owned()));
    }
    let count = manifest.to - manifest.from;
    report.set(Claim::Inclusion, Verdict::Proven(format!("{count} events lead to the signed root")));
    let said = format!("all events of positions {} to {} (exclusive)", manifest.from, manifest.to);
    report.set(Claim::RangeComplete, Verdict::Proven(said));
    let whole = "nothing was selected: the range is whole";
    report.set(Claim::SelectionComplete, Verdict::NotAsked(whole.to_owned()));
    Ok(then)
}

fn read_edge(files: &mut Files<'_>, from: u64) -> Result<Edge, Stop> {
    let bytes = files.small(EDGE)?.ok_or_else(|| malformed(EDGE, "is missing"))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| malformed(EDGE, "is not text"))?;
    let mut hashes = Vec::new();
    for line in text.split_terminator('\n').take(65) {
        hashes.push(hash_of(line).ok_or_else(|| malformed(EDGE, "has a line that is no SHA-256 in base64"))?);
    }
    if text.len() != hashes.len() * 45 {
        return Err(malformed(EDGE, "is not one hash a line").into());
    }
    Ok(Edge::from_parts(from, hashes).map_err(|why| malformed(EDGE, &why.to_string()))?)
}

/// Chosen events, each with the proof of its own.
fn selection(
    files: &mut Files<'_>,
    shown: &SignedCheckpoint,
    manifest: &Manifest,
    lines: &mut Lines<'_>,
    contents: &mut Contents<'_, '_>,
    report: &mut Report,
) -> Result<(), Stop> {
    let mut positions = Positions::open(files, manifest)?;
    let failed = |why: String| Stop::Failed(Claim::Inclusion, why);
    let mut count = 0;
    while let Some(position) = positions.next()? {
        let line = lines.line()?.ok_or_else(|| failed(format!("event {position} is missing")))?;
        let name = format!("proofs/{position}.tlog-proof");
        let bytes = files.small(&name)?.ok_or_else(|| failed(format!("{name} is missing")))?;
        let proof = InclusionFile::parse(&bytes).map_err(|why| malformed(&name, &why.to_string()))?;
        if proof.checkpoint != *shown || proof.index != position || proof.extra.is_some() {
            return Err(malformed(&name, "is about another event or checkpoint, or says more").into());
        }
        proof.check(&leaf_hash(line)).map_err(|why| failed(format!("event {position}: {why}")))?;
        contents.look_at(position, line)?;
        count += 1;
    }
    positions.finish()?;
    report.set(Claim::Inclusion, Verdict::Proven(format!("{count} events, each with its proof")));
    report.set(Claim::RangeComplete, Verdict::NotAsked("the bundle is a selection".to_owned()));
    let why = "whether other events fit the filter cannot be seen from a selection: ask for the whole range";
    report.set(Claim::SelectionComplete, Verdict::Unproven(why.to_owned()));
    Ok(())
}

/// `positions`: ascending and within the range.
pub(super) struct Positions<'a> {
    lines: Lines<'a>,
    /// Where the next may lie.
    range: Range<u64>,
}

impl<'a> Positions<'a> {
    pub fn open(files: &mut Files<'a>, manifest: &Manifest) -> Result<Positions<'a>, Stop> {
        let lines = Lines::open(files, POSITIONS, 20)?;
        let lines = lines.ok_or_else(|| malformed(POSITIONS, "is missing"))?;
        Ok(Positions { lines, range: manifest.from..manifest.to })
    }

    pub fn next(&mut self) -> Result<Option<u64>, Stop> {
        let Some(line) = self.lines.line()? else { return Ok(None) };
        let position = std::str::from_utf8(line).ok().and_then(decimal);
        let wrong = || malformed(POSITIONS, "has a line that is no position of the range, or out of order");
        let position = position.filter(|position| self.range.contains(position)).ok_or_else(wrong)?;
        self.range.start = position + 1;
        Ok(Some(position))
    }

    pub fn finish(self) -> Result<(), Stop> {
        self.lines.finish()
    }
}
