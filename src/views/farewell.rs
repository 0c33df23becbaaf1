//! What an erasure asks before the views forget the person, and what a dispute asks afterwards.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::event::{Body, EventType};
use crate::domain::id::{Digest, SubjectId};
use crate::domain::time::Timestamp;
use crate::domain::transfer::Flow;
use crate::limits;
use crate::log::PieceRef;
use crate::record::{Header, tomb};
use crate::views::ask::Ask;
use crate::views::codec::Malformed;
use crate::views::decode::Decoder;
use crate::views::erased::{self, Erased};
use crate::views::group::Resolver;
use crate::views::retract::is_retracted;
use crate::views::{Error, EventView, flows, lock, postings};

/// Records decoded at once.
const PAGE: usize = 64;

/// A transfer in which somebody stood, as it stood then.
#[derive(Debug, Clone, PartialEq)]
pub struct Transfer {
    pub at: Timestamp,
    pub flow: Flow,
    /// Whether the law asks nothing of it, however many there are.
    pub exempt: bool,
}

impl Ask {
    /// The pieces from a position on that must be purged when this very handle is erased: its own
    /// parts, and parts that count as its through a mark. Ask before the erasure is applied; afterwards
    /// nobody knows. Not those of merged or linked people, who are erased by their own handles.
    pub fn pieces_of(
        &self,
        subject: SubjectId,
        from: u64,
        keep_evidence: bool,
    ) -> Result<Vec<PieceRef>, Error> {
        let resolver = Resolver { reading: &self.reading, shapes: &self.shapes(), known_at: u64::MAX };
        let named = resolver.named_of(subject)?;
        let own = postings::ascending(&self.reading, subject)?;
        let all: BTreeSet<u64> = own
            .iter()
            .map(|posting| posting.position)
            .chain(named.iter().map(|named| named.position))
            .collect();
        let all: Vec<u64> = all.range(from..).copied().collect();
        let mut pieces = Vec::new();
        self.each_part(&all, |position, i, header, of| {
            let counts = named.iter().any(|n| n.position == position && usize::from(n.part) == i);
            if of == Some(subject) || counts {
                let keep = keep_evidence && !counts;
                let gone = header.pieces_to_purge(i, keep);
                pieces.extend(gone.map(|piece| PieceRef { position, piece }));
            }
        })?;
        Ok(pieces)
    }

    /// The pieces that were kept of an erased person.
    pub fn evidence_pieces(&self, subject: SubjectId) -> Result<Vec<PieceRef>, Error> {
        let positions = erased::evidence(&self.reading, tomb(subject))?;
        let mut pieces = Vec::new();
        self.each_part(&positions, |position, i, header, of| {
            if of == Some(subject) {
                pieces.extend(header.pieces_to_purge(i, false).map(|piece| PieceRef { position, piece }));
            }
        })?;
        Ok(pieces)
    }

    /// What proves consents and cases of an erased person, oldest first, at most a page.
    pub fn evidence_of(&self, subject: SubjectId) -> Result<Vec<EventView>, Error> {
        let mut positions = erased::evidence(&self.reading, tomb(subject))?;
        positions.truncate(limits::PAGE);
        let mut decoder = Decoder::new(&*self.reach.keys);
        let mut views = Vec::with_capacity(positions.len());
        for record in self.reach.get(&positions)? {
            let of = |parts: &[crate::views::event_view::ViewedPart]| {
                parts.iter().position(|part| part.subject == Some(subject)).map(|i| i as u8)
            };
            views.push(EventView::read_of(&self.reading, &mut decoder, record, Some(subject), of)?);
        }
        Ok(views)
    }

    /// Every tomb that the log knows, and whether what proves consents and cases is kept still.
    pub fn all_erased(&self) -> Result<Vec<(Digest, bool)>, Error> {
        let mut found = Vec::new();
        for (key, row) in erased::rows(&self.reading)? {
            let row = Erased::decode(&row)?;
            let tomb = key.last_chunk::<32>().ok_or(Malformed("tomb"))?;
            if row.accepted.is_some() {
                found.push((Digest(*tomb), row.kept && row.evidence_ended.is_none()));
            }
        }
        Ok(found)
    }

    /// What the views know of a tomb.
    pub fn erased(&self, tomb: Digest) -> Result<Option<Erased>, Error> {
        erased::row(&self.reading, tomb)
    }

    /// Transfers in which somebody stands as a data subject, but for those taken back.
    pub fn transfers_of(&self, subject: SubjectId) -> Result<Vec<Transfer>, Error> {
        let positions: Vec<u64> =
            postings::ascending(&self.reading, subject)?.iter().map(|posting| posting.position).collect();
        let mut transfers = Vec::new();
        self.reach.decode_all(&positions, |event| {
            let counts = event.event_type == EventType::DataTransferred
                && event.data_subjects().any(|one| one == subject)
                && !is_retracted(&self.reading, &event, &Default::default())?;
            if counts
                && let Ok(Body::DataTransferred(body)) = Body::from_json(event.event_type, &event.body_json)
            {
                let shape = Arc::new(crate::views::shape::decode(&event.shape)?);
                let transfer = flows::Transfer { number: 0, shape, body: *body };
                let registers = lock::read(&self.generation.shared.registers);
                let law = registers.law(Timestamp::LAST, u64::MAX);
                transfers.extend(transfer.resolve(&registers, event.at, u64::MAX).map(|flow| Transfer {
                    at: event.at,
                    exempt: flow.exempt(law).is_some(),
                    flow,
                }));
            }
            Ok(())
        })?;
        Ok(transfers)
    }

    /// Shows each part of some records with the person of its index block.
    fn each_part(
        &self,
        positions: &[u64],
        mut show: impl FnMut(u64, usize, &Header<'_>, Option<SubjectId>),
    ) -> Result<(), Error> {
        let mut decoder = Decoder::new(&*self.reach.keys);
        for some in positions.chunks(PAGE) {
            for record in self.reach.get(some)? {
                let position = record.position;
                let failed = |source| Error::Record { position, source };
                let header = Header::parse(&record.header).map_err(failed)?;
                let blocks = decoder.open(&header, &record.pieces).map_err(failed)?;
                for (i, block) in blocks.iter().enumerate() {
                    show(position, i, &header, block.as_ref().and_then(|block| block.subject));
                }
            }
        }
        Ok(())
    }
}
