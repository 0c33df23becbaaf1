//! What the views know of the erased: that they are, by their tombs, and where in the log something
//! stands that proves a consent or a case of theirs.
//!
//! A rebuild is told the tombs beforehand, so that of records whose pieces stay for the evidence's sake
//! nothing counts but that. Rows name the tomb, never the handle.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::domain::erasure::Left;
use crate::domain::event::{Body, EventType, FindingTally, IdentityErasureScope, TransferTally};
use crate::domain::id::{Digest, Id, SubjectId};
use crate::domain::time::Timestamp;
use crate::record;
use crate::views::Error;
use crate::views::apply::Applier;
use crate::views::codec::{Malformed, Reader, put_i64, put_u64};
use crate::views::decode::{Decoded, DecodedPart};
use crate::views::fold;
use crate::views::postings;
use crate::views::store::{self, Reading, Stored, tag};

/// The row of one tomb.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Erased {
    /// Where *accepted* stands; `None` where only the tomb is known.
    pub accepted: Option<u64>,
    /// Whether what proves consents and cases is kept.
    pub kept: bool,
    /// Where *erased* stands, once it does.
    pub erased: Option<u64>,
    /// Where the end of the evidence stands, once it does.
    pub evidence_ended: Option<u64>,
}

impl Erased {
    /// Of a tomb whose events were not read yet.
    pub fn by_tomb(left: Left) -> Erased {
        Erased { kept: left != Left::Nothing, ..Erased::default() }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![u8::from(self.kept)];
        for position in [self.accepted, self.erased, self.evidence_ended] {
            put_u64(&mut out, position.map_or(0, |position| position + 1));
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Erased, Malformed> {
        let mut reader = Reader::new(bytes, "erased person");
        let kept = reader.byte()? == 1;
        let mut position = || reader.u64().map(|position| position.checked_sub(1));
        let (accepted, erased, evidence_ended) = (position()?, position()?, position()?);
        reader.end()?;
        Ok(Erased { accepted, kept, erased, evidence_ended })
    }
}

/// The row of a tomb.
pub fn row(reading: &Reading, tomb: Digest) -> Result<Option<Erased>, Error> {
    Ok(reading.get(&store::tomb(tomb))?.map(|row| Erased::decode(&row)).transpose()?)
}

/// All tombs' rows, as they stand in the store.
pub fn rows(reading: &Reading) -> Result<Vec<Stored>, Error> {
    reading.prefix(&[tag::ERASED]).map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect()
}

/// Where something stands that proves a consent or a case of an erased person, oldest first.
pub fn evidence(reading: &Reading, tomb: Digest) -> Result<Vec<u64>, Error> {
    let mut positions = Vec::new();
    for row in reading.prefix(&store::evidence_of(tomb)) {
        let (key, _) = row?;
        let position = key.last_chunk::<8>().ok_or(Malformed("evidence"))?;
        positions.push(u64::from_be_bytes(*position));
    }
    Ok(positions)
}

/// Which events say how an erasure went on.
pub fn is_sequel(event_type: EventType) -> bool {
    matches!(event_type, EventType::IdentityErased | EventType::KeyDestroyed)
}

/// Header fields of the events of an erasure.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Stated {
    pub tomb: Option<Digest>,
    pub scope: Option<IdentityErasureScope>,
}

pub fn stated(event: &Decoded) -> Stated {
    serde_json::from_str(&event.body_json).unwrap_or_default()
}

impl Applier {
    /// Notes the tombs of an *accepted*, and where the people's evidence is. Of several the first counts.
    pub(super) fn note_erased(&mut self, event: &Decoded, gone: &[SubjectId]) -> Result<(), Error> {
        let Stated { tomb, scope } = stated(event);
        let keep = scope == Some(IdentityErasureScope::Identity);
        let reading = self.store.reading();
        // The header says it too, for a rebuild that does not see the purged part any more.
        let tombs: BTreeSet<Digest> = gone.iter().map(|subject| record::tomb(*subject)).chain(tomb).collect();
        for tomb in tombs {
            let before = row(&reading, tomb)?.unwrap_or_default();
            let first = before.accepted.is_none_or(|accepted| accepted >= event.position);
            let row = match first {
                true => Erased { accepted: Some(event.position), kept: keep, ..Erased::default() },
                false => Erased { kept: before.kept && keep, ..before },
            };
            self.rows.push((store::tomb(tomb).to_vec(), Some(row.encode())));
            if !row.kept {
                self.forget_evidence(&reading, tomb)?;
            } else if first && let Some(subject) = gone.iter().find(|one| record::tomb(**one) == tomb) {
                self.gather_evidence(&reading, event.position, *subject)?;
            }
        }
        Ok(())
    }

    /// Where something proves a consent or a case, and that the erasure was asked for.
    fn gather_evidence(&mut self, reading: &Reading, at: u64, subject: SubjectId) -> Result<(), Error> {
        let positions: Vec<u64> =
            postings::ascending(reading, subject)?.iter().map(|posting| posting.position).collect();
        let mut proofs = vec![at];
        self.reach.decode_all(&positions, |record| {
            let mut mine = record.parts.iter().filter(|part| part.subject == Some(subject));
            if mine.any(|part| part.proves) {
                proofs.push(record.position);
            }
            Ok(())
        })?;
        let tomb = record::tomb(subject);
        let row = |position| (store::evidence(tomb, position).to_vec(), Some(Vec::new()));
        self.rows.extend(proofs.into_iter().map(row));
        Ok(())
    }

    fn forget_evidence(&mut self, reading: &Reading, tomb: Digest) -> Result<(), Error> {
        for evidence in reading.prefix(&store::evidence_of(tomb)) {
            self.rows.push((evidence?.0.to_vec(), None));
        }
        Ok(())
    }

    /// Of a part of somebody erased nothing counts but that it proves something, if it stood there
    /// before.
    pub(super) fn note_proof(
        &mut self,
        event: &Decoded,
        part: &DecodedPart,
        subject: SubjectId,
    ) -> Result<(), Error> {
        if !part.proves || fold::is_erasure(event.event_type) {
            return Ok(());
        }
        let tomb = record::tomb(subject);
        let Some(row) = self.store.get(&store::tomb(tomb))? else { return Ok(()) };
        let row = Erased::decode(&row)?;
        if row.kept && row.accepted.is_none_or(|accepted| event.position < accepted) {
            self.rows.push((store::evidence(tomb, event.position).to_vec(), Some(Vec::new())));
        }
        Ok(())
    }

    /// Notes that an erasure is done, or that its evidence is gone too. Everything before is committed.
    pub(super) fn note_sequel(&mut self, event: &Decoded) -> Result<(), Error> {
        let Some(tomb) = stated(event).tomb else { return Ok(()) };
        let reading = self.store.reading();
        let Some(mut row) =
            row(&reading, tomb)?.filter(|row| row.accepted.is_some_and(|at| at < event.position))
        else {
            return Ok(());
        };
        if event.event_type == EventType::IdentityErased {
            if row.erased.is_none() {
                self.count_on(&reading, event)?;
            }
            row.erased = Some(event.position);
        } else {
            (row.kept, row.evidence_ended) = (false, Some(event.position));
            self.forget_evidence(&reading, tomb)?;
        }
        self.rows.push((store::tomb(tomb).to_vec(), Some(row.encode())));
        Ok(())
    }

    /// The erased person goes on counting, as the event says.
    fn count_on(&mut self, reading: &Reading, event: &Decoded) -> Result<(), Error> {
        let Ok(Body::IdentityErased(body)) = Body::from_json(event.event_type, &event.body_json) else {
            return Ok(());
        };
        for TransferTally { line, year, sensitive } in body.transfer_tallies.iter() {
            let key = store::tally(line, *year, *sensitive);
            let mut value = Vec::new();
            put_u64(&mut value, reading.number(&key)?.unwrap_or(0) + 1);
            self.rows.push((key, Some(value)));
        }
        for FindingTally { code, key, count } in body.finding_tallies.iter() {
            let Some(key) = key else { continue };
            let key = store::found(code, key);
            let known = reading.get(&key)?.map(|row| Carried::decode(&row)).transpose()?;
            let more = Carried { people: 1, count: *count, first: event.at, last: event.at };
            self.rows.push((key, Some(known.map_or(more, |known| known.with(more)).encode())));
        }
        Ok(())
    }
}

/// What erasures carry on of one finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    pub people: u64,
    pub count: u64,
    /// Of the erasures: when it happened went with the people.
    pub first: Timestamp,
    pub last: Timestamp,
}

impl Carried {
    fn with(self, more: Carried) -> Carried {
        Carried {
            people: self.people.saturating_add(more.people),
            count: self.count.saturating_add(more.count),
            first: self.first.min(more.first),
            last: self.last.max(more.last),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_u64(&mut out, self.people);
        put_u64(&mut out, self.count);
        put_i64(&mut out, self.first.ms());
        put_i64(&mut out, self.last.ms());
        out
    }

    fn decode(bytes: &[u8]) -> Result<Carried, Malformed> {
        let wrong = Malformed("finding of the erased");
        let mut reader = Reader::new(bytes, "finding of the erased");
        let (people, count) = (reader.u64()?, reader.u64()?);
        let (first, last) = (Timestamp::from_ms(reader.i64()?), Timestamp::from_ms(reader.i64()?));
        reader.end()?;
        let (Some(first), Some(last)) = (first, last) else { return Err(wrong) };
        Ok(Carried { people, count, first, last })
    }
}

/// Everything that erasures carry on, by code and key.
pub fn carried(reading: &Reading) -> Result<Vec<(Id, Id, Carried)>, Error> {
    let rows = reading.prefix(&[tag::FOUND]).map(|row| {
        let (key, value) = row?;
        let (code, key) = store::found_of(&key)?;
        Ok((code, key, Carried::decode(&value)?))
    });
    rows.collect()
}

/// How many of the erased count in a line and year.
pub fn tally(reading: &Reading, line: &Id, year: u64, sensitive: bool) -> Result<u64, Error> {
    Ok(reading.number(&store::tally(line, year, sensitive))?.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back() {
        let full =
            Erased { accepted: Some(0), kept: true, erased: Some(u64::MAX >> 1), evidence_ended: None };
        for row in [full, Erased::default(), Erased::by_tomb(Left::Nothing)] {
            assert_eq!(Erased::decode(&row.encode()), Ok(row));
        }
        let (first, last) = (Timestamp::EPOCH, Timestamp::LAST);
        let one = Carried { people: 1, count: 3, first: last, last };
        let both = one.with(Carried { first, last: first, ..one });
        assert_eq!(both, Carried { people: 2, count: 6, first, last });
        assert_eq!(Carried::decode(&both.encode()), Ok(both));
        assert!(Erased::decode(&full.encode()[..3]).is_err());
    }
}
