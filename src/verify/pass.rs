//! The one pass over the events: each is put into the tree or proven by its own file, its sealed
//! parts are compared with it, and one person's parts are found by their tags.

use std::collections::BTreeSet;

use super::files::{Files, Lines};
use super::manifest::{Counts, EDGE, EVENTS, Kind, Manifest, POSITIONS};
use super::pieces::{Openings, Pieces};
use super::report::{Claim, Report, Verdict};
use super::{Options, Stop, TagKeys, malformed, trust};
use crate::domain::event::EventType;
use crate::ledger::tlog::{Edge, Hash, InclusionFile, SignedCheckpoint, decimal, hash_of, leaf_hash};
use crate::limits;
use crate::record;
use crate::record::header::Header;
use crate::record::key::SecretKey;

/// What the pass leaves for others.
pub(super) struct Walked {
    /// The root at the size of the checkpoint that the verifier kept, where the pass came by it.
    pub root_then: Option<Hash>,
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
    let mut contents = Contents {
        pieces: Pieces::open(files)?,
        openings: Openings::open(files)?,
        counts: Counts::default(),
        unread: 0,
    };
    let mut person = Person::open(files, manifest.kind, options.tag_keys.as_ref())?;
    let mut lines = lines.ok_or_else(|| malformed(EVENTS, "is missing"))?;
    let root_then = if manifest.kind == Kind::Selection {
        selection(files, shown, manifest, &mut lines, &mut contents, &mut person, report)?;
        None
    } else {
        range(files, shown, manifest, since, &mut lines, &mut contents, &mut person, report)?
    };
    lines.finish()?;
    contents.finish(manifest, report)?;
    person.finish(manifest, report)?;
    Ok(Walked { root_then })
}

/// All events from one position to another: appended to the edge before them they must give the
/// root after them. That proves each of them, and that none is missing.
#[allow(clippy::too_many_arguments)] // One pass has to feed all who look at an event.
fn range(
    files: &mut Files<'_>,
    shown: &SignedCheckpoint,
    manifest: &Manifest,
    since: Option<u64>,
    lines: &mut Lines<'_>,
    contents: &mut Contents<'_>,
    person: &mut Person<'_, '_>,
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
        contents.look_at(position, line, person)?;
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
    report.set(
        Claim::SelectionComplete,
        Verdict::NotAsked("nothing was selected: the range is whole".to_owned()),
    );
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
    contents: &mut Contents<'_>,
    person: &mut Person<'_, '_>,
    report: &mut Report,
) -> Result<(), Stop> {
    let positions = Lines::open(files, POSITIONS, 20)?;
    let mut positions = Positions::new(positions.ok_or_else(|| malformed(POSITIONS, "is missing"))?);
    let failed = |why: String| Stop::Failed(Claim::Inclusion, why);
    while let Some(position) = positions.next(manifest)? {
        let line = lines.line()?.ok_or_else(|| failed(format!("event {position} is missing")))?;
        let name = format!("proofs/{position}.tlog-proof");
        let bytes = files.small(&name)?.ok_or_else(|| failed(format!("{name} is missing")))?;
        let proof = InclusionFile::parse(&bytes).map_err(|why| malformed(&name, &why.to_string()))?;
        if proof.checkpoint != *shown || proof.index != position || proof.extra.is_some() {
            return Err(malformed(&name, "is about another event or checkpoint, or says more").into());
        }
        proof.check(&leaf_hash(line)).map_err(|why| failed(format!("event {position}: {why}")))?;
        contents.look_at(position, line, person)?;
    }
    positions.finish()?;
    let said = format!("{} events, each with its proof", contents.counts.events);
    report.set(Claim::Inclusion, Verdict::Proven(said));
    report.set(Claim::RangeComplete, Verdict::NotAsked("the bundle is a selection".to_owned()));
    let why = "whether other events fit the filter cannot be seen from a selection: ask for the whole range";
    report.set(Claim::SelectionComplete, Verdict::Unproven(why.to_owned()));
    Ok(())
}

/// `positions`: ascending and within the range.
struct Positions<'a> {
    lines: Lines<'a>,
    last: Option<u64>,
}

impl<'a> Positions<'a> {
    fn new(lines: Lines<'a>) -> Self {
        Positions { lines, last: None }
    }

    fn next(&mut self, manifest: &Manifest) -> Result<Option<u64>, Stop> {
        let Some(line) = self.lines.line()? else { return Ok(None) };
        let position = std::str::from_utf8(line).ok().and_then(decimal);
        let fits = |position: &u64| {
            (manifest.from..manifest.to).contains(position) && self.last.is_none_or(|last| last < *position)
        };
        let wrong = || malformed(POSITIONS, "has a line that is no position of the range, or out of order");
        let position = position.filter(fits).ok_or_else(wrong)?;
        self.last = Some(position);
        Ok(Some(position))
    }

    fn finish(self) -> Result<(), Stop> {
        self.lines.finish()
    }
}

/// Compares headers with the sealed parts and keys that came with them, and counts.
struct Contents<'a> {
    pieces: Option<Pieces<'a>>,
    openings: Option<Openings<'a>>,
    counts: Counts,
    /// Events of a version or type that this program does not know.
    unread: u64,
}

impl Contents<'_> {
    fn look_at(&mut self, position: u64, line: &[u8], person: &mut Person<'_, '_>) -> Result<(), Stop> {
        self.counts.events += 1;
        let header = match Header::parse(line) {
            Ok(header) => header,
            Err(record::Error::UnknownVersion(_) | record::Error::UnknownType(_)) => {
                self.unread += 1;
                self.pieces.as_mut().map_or(Ok(()), |pieces| pieces.skip(position))?;
                return self.openings.as_mut().map_or(Ok(()), |openings| openings.skip(position));
            }
            Err(why) => return Err(Stop::Failed(Claim::Contents, format!("event {position}: {why}"))),
        };
        if header.event_type == EventType::EventsRetracted {
            self.counts.retractions += 1;
        }
        let theirs = person.look_at(position, &header)?;
        if self.pieces.is_none() {
            self.counts.withheld += header.parts.iter().map(|part| part.boxes.len() as u64).sum::<u64>();
            return Ok(());
        }
        for (i, part) in header.parts.iter().enumerate() {
            let before = self.counts.sealed;
            self.piece(position, &header, header.index_piece(i))?;
            for b in 0..part.boxes.len() {
                self.sealed_box(position, &header, i, b)?;
            }
            if self.counts.sealed > before && theirs.as_ref().is_some_and(|theirs| !theirs.contains(&i)) {
                let why = format!("event {position}: part {i} is somebody else's and was handed out");
                return Err(Stop::Failed(Claim::SubjectComplete, why));
            }
        }
        Ok(())
    }

    /// A piece, if it is here, and is the one that the header speaks of.
    fn piece(&mut self, position: u64, header: &Header<'_>, number: usize) -> Result<Option<Vec<u8>>, Stop> {
        let (Some(pieces), Ok(short)) = (&mut self.pieces, u16::try_from(number)) else { return Ok(None) };
        let piece = pieces.take(position, short)?;
        if let Some(bytes) = piece.as_ref().filter(|bytes| !bytes.is_empty()) {
            let wrong =
                |why| Stop::Failed(Claim::Contents, format!("event {position}, piece {number}: {why}"));
            header.check_piece(number, bytes).map_err(wrong)?;
        }
        Ok(piece)
    }

    fn sealed_box(&mut self, position: u64, header: &Header<'_>, i: usize, b: usize) -> Result<(), Stop> {
        let piece = self.piece(position, header, header.box_piece(i, b))?;
        let key = match (&mut self.openings, u8::try_from(i), u8::try_from(b)) {
            (Some(openings), Ok(i), Ok(b)) => openings.take(position, i, b)?,
            _ => None,
        };
        let failed =
            |why: &str| Stop::Failed(Claim::Contents, format!("event {position}, part {i}, box {b}: {why}"));
        match (piece, key) {
            (Some(bytes), key) if !bytes.is_empty() => {
                self.counts.sealed += 1;
                if let Some(key) = key {
                    opens(header, i, b, &bytes, &key).map_err(|why| failed(&why))?;
                    self.counts.opened += 1;
                }
            }
            (_, Some(_)) => return Err(failed("a key without the sealed part that it opens")),
            (Some(_), None) => self.counts.destroyed += 1,
            (None, None) => self.counts.withheld += 1,
        }
        Ok(())
    }

    fn finish(self, manifest: &Manifest, report: &mut Report) -> Result<(), Stop> {
        let failed = |why: String| Err(Stop::Failed(Claim::Contents, why));
        if let Some(pieces) = self.pieces {
            pieces.finish()?;
        }
        if let Some(openings) = self.openings {
            openings.finish()?;
        }
        let said = Counts { retracted: manifest.counts.retracted, ..self.counts };
        if self.unread > 0 {
            let why = format!("{} events are of a version or type newer than this program", self.unread);
            report.set(Claim::Contents, Verdict::Unproven(why));
        } else if said != manifest.counts {
            return failed(format!("counted {said:?}, the manifest says {:?}", manifest.counts));
        } else {
            let Counts { sealed, opened, .. } = said;
            let why = format!("{} sealed parts as they were sealed then, {opened} opened", sealed - opened);
            report.set(Claim::Contents, Verdict::Proven(why));
        }
        let attested = [
            (said.destroyed, "sealed parts are said to be destroyed"),
            (said.withheld, "sealed parts were not handed out"),
            (said.retracted, "of the events are said to be retracted"),
        ];
        let attested = attested.into_iter().filter(|(count, _)| *count > 0);
        report.attested.extend(attested.map(|(count, what)| format!("{count} {what}")));
        Ok(())
    }
}

/// The key is the one that the header commits to, it opens the part, and JSON is in it.
fn opens(header: &Header<'_>, i: usize, b: usize, piece: &[u8], key: &SecretKey) -> Result<(), String> {
    let plain = header.open_box_with(i, b, piece, key).map_err(|why| why.to_string())?;
    let parsed = serde_json::from_slice::<serde::de::IgnoredAny>(&plain);
    if parsed.is_err() || plain.first() != Some(&b'{') {
        return Err("what it holds is no JSON object".to_owned());
    }
    Ok(())
}

/// Finds one person's events by their tags, and compares them with the bundle's own list.
struct Person<'a, 'k> {
    keys: Option<&'k TagKeys>,
    /// In a subject's bundle: the events that it says are this person's.
    listed: Option<Lines<'a>>,
    next: Option<u64>,
    found: u64,
    /// Years of events for which no key was given.
    uncovered: BTreeSet<i32>,
}

impl<'a, 'k> Person<'a, 'k> {
    fn open(files: &mut Files<'a>, kind: Kind, keys: Option<&'k TagKeys>) -> Result<Self, Stop> {
        let listed = if kind == Kind::Subject { Lines::open(files, POSITIONS, 20)? } else { None };
        let mut person = Person { keys, listed, next: None, found: 0, uncovered: BTreeSet::new() };
        person.advance()?;
        Ok(person)
    }

    fn advance(&mut self) -> Result<(), Stop> {
        let Some(lines) = &mut self.listed else { return Ok(()) };
        let last = self.next.take();
        let Some(line) = lines.line()? else { return Ok(()) };
        let position = std::str::from_utf8(line).ok().and_then(decimal);
        let position = position.filter(|position| last.is_none_or(|last| last < *position));
        let position = position
            .ok_or_else(|| malformed(POSITIONS, "has a line that is no position, or out of order"))?;
        self.next = Some(position);
        Ok(())
    }

    /// Which parts are theirs; `None` where that is not asked or cannot be said.
    fn look_at(&mut self, position: u64, header: &Header<'_>) -> Result<Option<Vec<usize>>, Stop> {
        let listed = self.next == Some(position);
        if listed {
            self.advance()?;
        }
        let Some(keys) = self.keys else { return Ok(None) };
        let year = header.recorded_at.year();
        if !keys.covers(year) {
            self.uncovered.insert(year);
            return Ok(None);
        }
        let theirs: Vec<usize> = (0..header.parts.len()).filter(|i| keys.is_theirs(header, *i)).collect();
        self.found += u64::from(!theirs.is_empty());
        if self.listed.is_none() {
            return Ok(None);
        }
        let failed = |why: String| Err(Stop::Failed(Claim::SubjectComplete, why));
        match (listed, theirs.is_empty()) {
            (false, false) => {
                failed(format!("event {position} is this person's, and the bundle does not list it"))
            }
            (true, true) => failed(format!("event {position} is listed, and is not this person's")),
            _ => Ok(Some(theirs)),
        }
    }

    fn finish(self, manifest: &Manifest, report: &mut Report) -> Result<(), Stop> {
        if let Some(position) = self.next {
            let why = format!("position {position} is listed, and no such event is here");
            return Err(Stop::Failed(Claim::SubjectComplete, why));
        }
        if let Some(lines) = self.listed {
            lines.finish()?;
        }
        let verdict = match (self.keys, manifest.kind) {
            (None, Kind::Subject) => Verdict::Unproven(
                "no tag keys of the person were given: whose events are listed is nobody's word".into(),
            ),
            (None, _) => Verdict::NotAsked("no tag keys of a person were given".to_owned()),
            (Some(_), Kind::Selection) => {
                let why = format!(
                    "{} events here are this person's; what was not selected cannot be seen",
                    self.found
                );
                Verdict::Unproven(why)
            }
            (Some(_), _) if !self.uncovered.is_empty() => {
                let years: Vec<String> = self.uncovered.iter().map(i32::to_string).collect();
                Verdict::Unproven(format!("there is no tag key for {}", years.join(", ")))
            }
            (Some(_), _) => {
                Verdict::Proven(format!("{} events are this person's, and no others", self.found))
            }
        };
        report.set(Claim::SubjectComplete, verdict);
        Ok(())
    }
}
