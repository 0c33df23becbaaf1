//! What the registers say, as it follows from headers alone: `registers.ndjson`. The writer makes the
//! file with this, the verifier makes it again and compares.
//!
//! Promises: the lines depend on the set of events and not on the order in which they are added; a
//! bundle cannot take more than `MAX_BYTES` of memory, whatever its events register. Not promised:
//! that nothing listed was retracted, because which events a retraction names stands where a verifier
//! cannot read it. Nothing is written, so a crash loses nothing.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::files::{Files, Lines};
use super::manifest::{Manifest, REGISTERS};
use super::report::{Claim, Verdict};
use super::{Stop, malformed};
use crate::domain::event::About;
use crate::domain::id::Id;
use crate::domain::time::Timestamp;
use crate::limits;
use crate::record::header::Header;
use crate::record::{Error, json};

/// What the registers of a bundle may take, at most: the bodies, and `COST` for each.
pub const MAX_BYTES: usize = 64 << 20;
/// More than a version takes beside its body: the ids, and the maps' own room.
const COST: usize = 512;
/// Longer than any line: what stands before the body is short.
const MAX_LINE: usize = limits::HEADER_BYTES + COST;

/// The entries of all registers, as far as the events added say.
#[derive(Debug, Default)]
pub struct Registers {
    /// By the name of the register, which is the event type's, and the entry's id.
    entries: BTreeMap<(&'static str, String), Entry>,
    /// When the last of the events was recorded.
    end: Option<Timestamp>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Entry {
    /// All that there were.
    versions: u64,
    /// Bodies of those that are not left out, by when they count from and by position.
    kept: BTreeMap<(Timestamp, u64), Box<str>>,
}

impl Entry {
    /// Leaves out each version whose successor counts at the end already; says how much that frees.
    /// The end only moves on, so what is left out early would be left out in the end.
    fn settle(&mut self, end: Timestamp) -> usize {
        let mut freed = 0;
        while self.kept.keys().nth(1).is_some_and(|(from, _)| *from <= end) {
            freed += self.kept.pop_first().map_or(0, |(_, body)| COST + body.len());
        }
        freed
    }
}

impl Registers {
    /// Takes any event of the range; those of no register only move the end.
    pub fn add(&mut self, position: u64, header: &Header<'_>) -> Result<(), Error> {
        let end = self.end.map_or(header.recorded_at, |end| end.max(header.recorded_at));
        self.end = Some(end);
        let Some(fields) = header.event_type.register_id() else { return Ok(()) };
        // Not the typed body: a field that is newer than this program changes nothing here.
        let body: Map<String, Value> =
            serde_json::from_str(header.body_json).map_err(|why| Error::malformed("body", why))?;
        let from = match body.get("effective_at").and_then(Value::as_str) {
            Some(text) => {
                Timestamp::read(text).ok_or_else(|| Error::malformed("body", "has no valid effective_at"))?
            }
            None => header.envelope.counts_as_of(header.recorded_at),
        };
        let id = |field: &&str| {
            let valid = |value: &Value| value.as_str()?.parse::<Id>().ok();
            let wrong = || Error::malformed("body", format_args!("has no valid {field}"));
            let mut names = field.split('.');
            let mut value = body.get(names.next()?);
            for name in names {
                value = value.and_then(|value| value.get(name));
            }
            value.map(|value| valid(value).ok_or_else(wrong))
        };
        let ids = fields.iter().filter_map(id).collect::<Result<Vec<Id>, Error>>()?;
        // About one person, of whom no register is kept.
        if ids.is_empty() && header.event_type.about() == About::Anybody {
            return Ok(());
        }
        // No id holds a blank, so no two lists of ids read the same.
        let entry = self.entries.entry((header.event_type.as_str(), ids.join(" "))).or_default();
        entry.versions += 1;
        entry.kept.insert((from, position), header.body_json.into());
        self.bytes += COST + header.body_json.len();
        self.bytes -= entry.settle(end);
        if self.bytes > MAX_BYTES {
            return Err(Error::TooLarge { what: "what the registers hold", limit: MAX_BYTES });
        }
        Ok(())
    }

    /// The lines of the file, in order, without their newlines.
    pub fn lines(self) -> impl Iterator<Item = Vec<u8>> {
        let end = self.end;
        self.entries.into_iter().flat_map(move |((register, id), mut entry)| {
            if let Some(end) = end {
                entry.settle(end);
            }
            let versions = entry.versions;
            entry.kept.into_iter().map(move |((from, position), body)| {
                let mut line = vec![b'{'];
                json::key(&mut line, "register");
                json::plain(&mut line, register);
                json::key(&mut line, "id");
                json::plain(&mut line, &id);
                json::key(&mut line, "from");
                json::time(&mut line, from);
                json::key(&mut line, "position");
                json::number(&mut line, position);
                json::key(&mut line, "versions");
                json::number(&mut line, versions);
                json::key(&mut line, "b");
                line.extend_from_slice(body.as_bytes());
                line.push(b'}');
                line
            })
        })
    }
}

/// Compares the bundle's file with the lines that follow from its events. `unread` of them are newer
/// than this program, and what they register cannot be said.
pub(super) fn judge(
    files: &mut Files<'_>,
    manifest: &Manifest,
    registers: Option<Registers>,
    unread: u64,
) -> Result<Verdict, Stop> {
    let Some(registers) = registers else {
        let why = "a selection carries no registers: ask for the whole range";
        return Ok(Verdict::NotAsked(why.to_owned()));
    };
    let file = Lines::open(files, REGISTERS, MAX_LINE)?;
    let mut file = file.ok_or_else(|| malformed(REGISTERS, "is missing"))?;
    if unread > 0 {
        while file.line()?.is_some() {}
        file.finish()?;
        let why = format!("{unread} events are newer than this program: what they register is unknown");
        return Ok(Verdict::Unproven(why));
    }
    let failed = |why: String| Err(Stop::Failed(Claim::Registers, why));
    let mut number = 0;
    for line in registers.lines() {
        number += 1;
        if file.line()? != Some(&line[..]) {
            let line = String::from_utf8_lossy(&line);
            return failed(format!("line {number} of {REGISTERS} is not what the events say: {line:.300}"));
        }
    }
    if file.line()?.is_some() {
        return failed(format!("line {} of {REGISTERS} follows from no event here", number + 1));
    }
    file.finish()?;
    let from = manifest.from;
    Ok(Verdict::Proven(if from == 0 {
        format!("{number} entries follow from the events")
    } else {
        format!(
            "{number} entries follow from the events here; what was registered before position {from} is not among them"
        )
    }))
}
