//! Terms that wait to be mapped: what raises F-UNMAPPED, by term, with who says it and where (GDPR 30).

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::event::MappingKind;
use crate::domain::id::Id;
use crate::domain::time::Timestamp;
use crate::domain::vocabulary::{self, near};
use crate::views::Error;
use crate::views::ask::Ask;
use crate::views::flows::merged;
use crate::views::lock;
use crate::views::registers::Registers;

const UNMAPPED: &str = "F-UNMAPPED";

/// A term that no vocabulary or register knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnmappedTerm {
    pub kind: MappingKind,
    pub term: Id,
    pub emitters: BTreeSet<Id>,
    pub services: BTreeSet<Id>,
    /// Single acts, as the events count them.
    pub count: u64,
    pub first: Timestamp,
    pub last: Timestamp,
    /// The first positions.
    pub samples: Vec<u64>,
    /// Known terms that are spelled much like it, the nearest first.
    pub suggestions: Vec<String>,
}

impl Ask {
    /// Every term that waits, by kind and term; and the position up to which was read.
    pub fn unmapped_terms(&self, known_at: Option<u64>) -> Result<(Vec<UnmappedTerm>, u64), Error> {
        let (all, raised) = self.raised_by_code(UNMAPPED, known_at)?;
        let registers = lock::read(&self.generation.shared.registers).clone();
        let mut terms: BTreeMap<(MappingKind, Id), UnmappedTerm> = BTreeMap::new();
        for (key, stretch) in raised {
            let value = |field| key.get(field).map(|value| value.as_str().to_owned());
            let kind = value("kind").and_then(|kind| MappingKind::from_name(&kind));
            let term = value("term").and_then(|term| term.parse::<Id>().ok());
            let (Some(kind), Some(term)) = (kind, term) else { continue };
            let waiting = terms.entry((kind, term.clone())).or_insert_with(|| UnmappedTerm {
                kind,
                suggestions: near::of(term.as_str(), known_terms(kind, &registers, all.known_at)),
                term,
                emitters: BTreeSet::new(),
                services: BTreeSet::new(),
                count: 0,
                first: stretch.first,
                last: stretch.last,
                samples: Vec::new(),
            });
            if let Some(shape) = self.shapes().get(stretch.shape) {
                waiting.emitters.insert(shape.emitter.clone());
                waiting.services.extend(shape.service.clone());
            }
            waiting.count = waiting.count.saturating_add(stretch.count);
            waiting.first = waiting.first.min(stretch.first);
            waiting.last = waiting.last.max(stretch.last);
            waiting.samples = merged(&waiting.samples, &stretch.samples);
        }
        Ok((terms.into_values().collect(), all.known_at))
    }
}

/// What a term of a kind may be mapped to.
pub fn known_terms(kind: MappingKind, registers: &Registers, known_at: u64) -> Vec<String> {
    let listed = |kind| vocabulary::terms(kind).into_iter().map(|term| term.id.clone()).collect();
    match kind {
        MappingKind::Category => listed(vocabulary::Kind::Category),
        MappingKind::Purpose => listed(vocabulary::Kind::Purpose),
        MappingKind::RecordKind => listed(vocabulary::Kind::RecordKind),
        MappingKind::Activity => {
            let known = registers.activities.iter().filter(|(_, h)| h.iter().any(|e| e.position < known_at));
            known.map(|(id, _)| id.to_string()).collect()
        }
        MappingKind::Recipient => {
            let known = registers.recipients.iter().filter(|(_, h)| h.iter().any(|e| e.position < known_at));
            known.map(|(id, _)| id.to_string()).collect()
        }
    }
}
