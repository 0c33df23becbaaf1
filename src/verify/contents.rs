//! What is in the events: each header is compared with the sealed parts and keys that came with it,
//! shown to whoever looks for a person or for registers, and counted.

use super::files::Files;
use super::manifest::{Counts, Kind, Manifest};
use super::person::Person;
use super::pieces::{Openings, Pieces};
use super::registers::Registers;
use super::report::{Claim, Report, Verdict};
use super::{Options, Stop};
use crate::domain::event::EventType;
use crate::record;
use crate::record::header::Header;
use crate::record::key::SecretKey;

pub(super) struct Contents<'a, 'k> {
    pieces: Option<Pieces<'a>>,
    openings: Option<Openings<'a>>,
    person: Person<'a, 'k>,
    /// Of a whole range; a selection claims nothing about registers.
    registers: Option<Registers>,
    counts: Counts,
    /// Events of a version or type that this program does not know.
    unread: u64,
}

impl<'a, 'k> Contents<'a, 'k> {
    pub fn open(files: &mut Files<'a>, manifest: &Manifest, options: &'k Options) -> Result<Self, Stop> {
        Ok(Contents {
            pieces: Pieces::open(files)?,
            openings: Openings::open(files)?,
            person: Person::open(files, manifest, options.tag_keys.as_ref())?,
            registers: (manifest.kind != Kind::Selection).then(Registers::default),
            counts: Counts::default(),
            unread: 0,
        })
    }

    pub fn look_at(&mut self, position: u64, line: &[u8]) -> Result<(), Stop> {
        self.counts.events += 1;
        let header = match Header::parse(line) {
            Ok(header) => header,
            Err(record::Error::UnknownVersion(_) | record::Error::UnknownType(_)) => {
                self.unread += 1;
                self.person.skip(position)?;
                self.pieces.as_mut().map_or(Ok(()), |pieces| pieces.skip(position))?;
                return self.openings.as_mut().map_or(Ok(()), |openings| openings.skip(position));
            }
            Err(why) => return Err(Stop::Failed(Claim::Contents, format!("event {position}: {why}"))),
        };
        if header.event_type == EventType::EventsRetracted {
            self.counts.retractions += 1;
        }
        if let Some(registers) = &mut self.registers {
            let failed = |why| Stop::Failed(Claim::Registers, format!("event {position}: {why}"));
            registers.add(position, &header).map_err(failed)?;
        }
        let theirs = self.person.look_at(position, &header)?;
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

    /// Leaves what the events register, and how many of them are newer than this program.
    pub fn finish(self, manifest: &Manifest, report: &mut Report) -> Result<(Option<Registers>, u64), Stop> {
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
        self.person.finish(manifest, self.unread, report)?;
        Ok((self.registers, self.unread))
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
