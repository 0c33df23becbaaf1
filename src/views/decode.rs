//! From a stored record to what the views need of it. Pure, and the costliest step of a rebuild,
//! so it runs on threads of its own, ahead of the applier.

use std::collections::HashMap;

use crate::domain::event::{Envelope, EventType, Window};
use crate::domain::id::{EventId, Id, SubjectId};
use crate::domain::register;
use crate::domain::time::Timestamp;
use crate::log::StoredRecord;
use crate::record::{self, Header, IndexBlock, IndexKey, IndexKeys, IndexMark, MarkUse, Noted, PartRole};
use crate::views::person::Tally;
use crate::views::shape::{self, Keep};

/// A record, decoded for the fold.
#[derive(Debug, Clone)]
pub struct Decoded {
    pub position: u64,
    pub event_type: EventType,
    pub keep: Keep,
    pub event_id: EventId,
    pub emitter: Id,
    pub emitter_seq: Option<u64>,
    /// When it counts: a device's time that lies ahead of its receipt counts as of the receipt.
    pub at: Timestamp,
    /// As stated.
    pub occurred_at: Timestamp,
    pub recorded_at: Timestamp,
    /// Entered afterwards on purpose.
    pub backfill: bool,
    pub tally: Tally,
    /// See `shape::encode`.
    pub shape: Vec<u8>,
    /// The body's header fields.
    pub body_json: Box<str>,
    /// The body's index fields, from the first part that has them and is not purged.
    pub index_json: Option<Box<str>>,
    pub parts: Vec<DecodedPart>,
    /// Of an event of a register.
    pub register: Option<Box<Envelope>>,
}

#[derive(Debug, Clone)]
pub struct DecodedPart {
    pub number: u8,
    pub role: PartRole,
    /// `None`: attributed to nobody, or purged.
    pub subject: Option<SubjectId>,
    pub purged: bool,
    /// Whether it proves a consent or the handling of a case.
    pub proves: bool,
    pub ids: Vec<IndexMark>,
}

impl DecodedPart {
    pub fn marks(&self, usage: MarkUse) -> impl Iterator<Item = &IndexMark> {
        self.ids.iter().filter(move |id| id.usage == usage)
    }
}

impl Decoded {
    /// The data subjects, in the order of their parts.
    pub fn data_subjects(&self) -> impl Iterator<Item = SubjectId> {
        self.parts.iter().filter(|part| part.role.is_data_subject()).filter_map(|part| part.subject)
    }
}

/// Opens index blocks, remembering the epochs' keys.
pub struct Decoder<'a> {
    keys: &'a dyn IndexKeys,
    known: HashMap<u32, IndexKey>,
}

impl<'a> Decoder<'a> {
    pub fn new(keys: &'a dyn IndexKeys) -> Self {
        Decoder { keys, known: HashMap::new() }
    }

    /// Opens every index block that is left. One that is there and does not open is an error,
    /// because to pass over it would make a wrong answer.
    pub fn open(
        &mut self,
        header: &Header<'_>,
        pieces: &[Option<bytes::Bytes>],
    ) -> Result<Vec<Option<IndexBlock>>, record::Error> {
        if pieces.len() != header.pieces() {
            return Err(record::Error::malformed("record", "has not the pieces its header names"));
        }
        (0..header.parts.len())
            .map(|i| match &pieces[header.index_piece(i)] {
                None => Ok(None),
                Some(piece) => {
                    let epoch = Header::index_epoch(piece)?;
                    header.open_index(i, piece, self.key(epoch)?).map(Some)
                }
            })
            .collect()
    }

    pub fn decode(&mut self, stored: &StoredRecord) -> Result<Decoded, record::Error> {
        let header = Header::parse(&stored.header)?;
        let blocks = self.open(&header, &stored.pieces)?;
        let mut index_json = None;
        let mut parts = Vec::with_capacity(blocks.len());
        for (i, (part, block)) in header.parts.iter().zip(blocks).enumerate() {
            let number = i as u8;
            let proves = header.proves(i);
            parts.push(match block {
                None => DecodedPart {
                    number,
                    role: part.role,
                    subject: None,
                    purged: true,
                    proves,
                    ids: Vec::new(),
                },
                Some(block) => {
                    if index_json.is_none() {
                        index_json = block.body_json().map(Box::from);
                    }
                    DecodedPart {
                        number,
                        role: part.role,
                        subject: block.subject,
                        purged: false,
                        proves,
                        ids: block.ids,
                    }
                }
            });
        }
        let envelope = &header.envelope;
        let at = envelope.counts_as_of(header.recorded_at);
        let first = envelope.window.map_or(at, |Window { from, .. }| from.min(at));
        let mut bytes = Vec::with_capacity(256);
        let mut noted = Noted::default();
        header.parts.iter().filter(|part| !part.noted.is_nothing()).for_each(|part| noted.add(&part.noted));
        shape::encode(&mut bytes, envelope, header.event_type, &noted, header.body_json);
        Ok(Decoded {
            position: stored.position,
            event_type: header.event_type,
            keep: shape::keep(header.event_type),
            event_id: envelope.event_id,
            emitter: envelope.emitter.clone(),
            emitter_seq: envelope.emitter_seq,
            at,
            occurred_at: envelope.occurred_at,
            recorded_at: header.recorded_at,
            backfill: envelope.backfill,
            tally: Tally { count: envelope.count.unwrap_or(1), first, last: at },
            shape: bytes,
            body_json: header.body_json.into(),
            index_json,
            parts,
            register: register::keeps(header.event_type).then(|| Box::new(envelope.clone())),
        })
    }

    fn key(&mut self, epoch: u32) -> Result<&IndexKey, record::Error> {
        match self.known.entry(epoch) {
            std::collections::hash_map::Entry::Occupied(known) => Ok(known.into_mut()),
            std::collections::hash_map::Entry::Vacant(new) => {
                Ok(new.insert(self.keys.index_key(epoch).ok_or(record::Error::NoIndexKey(epoch))?))
            }
        }
    }
}
