//! One event as a reader sees it: its record, parsed, with what could be opened by index keys.

use bytes::Bytes;

use crate::domain::event::{Body, Envelope, EventType, Role};
use crate::domain::id::{Digest, SubjectId};
use crate::domain::time::Timestamp;
use crate::log::StoredRecord;
use crate::record::{self, Header, IndexBlock, PartRole, leaf_hash};
use crate::views::Error;
use crate::views::decode::Decoder;
use crate::views::retract::taken_back_by;
use crate::views::store::{self, Reading};

/// An event, read back. Sealed fields stay closed: whoever may open them has the record for it.
#[derive(Debug, Clone)]
pub struct EventView {
    pub position: u64,
    pub leaf: Digest,
    /// The stored header line and pieces.
    pub record: StoredRecord,
    pub event_type: EventType,
    /// With the references of the part it was read through.
    pub envelope: Envelope,
    pub recorded_at: Timestamp,
    /// Header and index fields.
    pub body: Body,
    pub parts: Vec<ViewedPart>,
    /// The part through which it was found; `None` in a list of all events.
    pub part: Option<u8>,
    pub retracted_by: Option<u64>,
}

#[derive(Debug, Clone)]
pub struct ViewedPart {
    pub role: PartRole,
    /// `None`: attributed to nobody, or its index block is purged.
    pub subject: Option<SubjectId>,
    pub purged: bool,
}

impl EventView {
    pub fn header(&self) -> &Bytes {
        &self.record.header
    }

    /// When it counts.
    pub fn at(&self) -> Timestamp {
        self.envelope.counts_as_of(self.recorded_at)
    }

    /// In which capacity the person it was found through stands in it.
    pub fn role(&self) -> Option<Role> {
        match self.parts.get(usize::from(self.part?))?.role {
            PartRole::Person(role) => Some(role),
            _ => None,
        }
    }

    /// Reads a record. `part` chooses the part it is read through. Nothing is told of the parts of people
    /// who are erased.
    pub(super) fn read(
        reading: &Reading,
        decoder: &mut Decoder<'_>,
        record: StoredRecord,
        part: impl FnOnce(&[ViewedPart]) -> Option<u8>,
    ) -> Result<EventView, Error> {
        EventView::read_of(reading, decoder, record, None, part)
    }

    /// The same, with what proves something of one of them.
    pub(super) fn read_of(
        reading: &Reading,
        decoder: &mut Decoder<'_>,
        record: StoredRecord,
        erased: Option<SubjectId>,
        part: impl FnOnce(&[ViewedPart]) -> Option<u8>,
    ) -> Result<EventView, Error> {
        let position = record.position;
        let failed = |source: record::Error| Error::Record { position, source };
        let header = Header::parse(&record.header).map_err(failed)?;
        let mut blocks = decoder.open(&header, &record.pieces).map_err(failed)?;
        for block in &mut blocks {
            let subject = block.as_ref().and_then(|block| block.subject).filter(|one| Some(*one) != erased);
            if let Some(subject) = subject
                && reading.get(&store::erased(subject))?.is_some()
            {
                *block = None;
            }
        }
        let parts: Vec<ViewedPart> = header
            .parts
            .iter()
            .zip(&blocks)
            .map(|(part, block)| ViewedPart {
                role: part.role,
                subject: block.as_ref().and_then(|block| block.subject),
                purged: block.is_none(),
            })
            .collect();
        let part = part(&parts);
        let mine = part.and_then(|part| blocks.get(usize::from(part))?.as_ref());
        let carrier = |block: &&IndexBlock| block.body_json().is_some();
        let index = mine.filter(carrier).or_else(|| blocks.iter().flatten().find(carrier));
        let body = header.body(index).map_err(failed)?;
        let mut envelope = header.envelope.clone();
        if let Some(block) = mine.or_else(|| blocks.iter().flatten().next()) {
            envelope.personal = block.references();
        }
        let retracted_by = taken_back_by(reading, &envelope.emitter, envelope.event_id, &Default::default())?;
        Ok(EventView {
            position,
            leaf: leaf_hash(&record.header),
            event_type: header.event_type,
            recorded_at: header.recorded_at,
            envelope,
            body,
            parts,
            part,
            retracted_by: if super::fold::can_be_retracted(header.event_type) { retracted_by } else { None },
            record,
        })
    }
}
