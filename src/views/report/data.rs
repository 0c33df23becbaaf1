//! What is held, for what, and from where.

use std::collections::{BTreeMap, BTreeSet};

pub use crate::domain::datum::DatumKey;
use crate::domain::event::catalogue::{ActivityRegistered, DataCollected};
use crate::domain::event::{Body, LegalBasis, PurposeBasis, Safeguard, Source};
use crate::domain::id::{Country, Id, Regime};
use crate::views::person::Tally;
use crate::views::registers::Registers;
use crate::views::report::{Line, Origin, tally_up};
use crate::views::retention::Told;

/// A datum that is held.
#[derive(Debug, Clone, PartialEq)]
pub struct Datum {
    pub key: DatumKey,
    pub collected: Tally,
    pub activities: BTreeSet<Id>,
    pub sources: BTreeSet<Source>,
    pub collection_countries: BTreeSet<Country>,
    pub storage_countries: BTreeSet<Country>,
    /// Whether any collection was required, sensitive, or all were encrypted; `None`: nobody said.
    pub required: Option<bool>,
    pub sensitive: Option<bool>,
    pub encrypted_at_rest: Option<bool>,
    pub purposes: BTreeSet<(Id, Option<LegalBasis>, Origin)>,
    /// Whose law applies, and what protects the data.
    pub regimes: BTreeSet<Regime>,
    pub safeguards: BTreeSet<Safeguard>,
    /// Where category and record kind come from; several where collections differ.
    pub origins: BTreeSet<Origin>,
    /// How long it is kept, where that was asked.
    pub retention: Option<Told>,
}

/// A purpose that data serve.
#[derive(Debug, Clone, PartialEq)]
pub struct PurposeUse {
    /// `None`: an activity that resolves to no purpose.
    pub purpose: Option<Id>,
    pub basis: Option<LegalBasis>,
    pub origin: Origin,
    pub services: BTreeSet<Id>,
    pub operations: BTreeSet<Id>,
    pub collected: Option<Tally>,
    pub used: Option<Tally>,
}

/// Where data came from.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceLine {
    pub source: Option<Source>,
    pub emitter: Id,
    pub service: Option<Id>,
    pub collected: Tally,
}

/// Categories of a line, and whether they were stated.
pub fn categories<'a>(line: &'a Line, stated: &'a [Id]) -> (Vec<Id>, Origin) {
    if !stated.is_empty() {
        return (stated.to_vec(), Origin::Stated);
    }
    let registered = line.revision.as_ref().map_or(&[][..], |revision| &revision.entry.body.cats);
    (registered.to_vec(), line.origin(false, !registered.is_empty()))
}

/// Purposes of a line with their bases; where there are none, one that is unmapped.
pub fn purposes(line: &Line, stated: &[PurposeBasis]) -> Vec<(Option<Id>, Option<LegalBasis>, Origin)> {
    let registered = line.revision.as_ref().map_or(&[][..], |revision| &revision.entry.body.purposes);
    let (list, origin) = match (stated, registered) {
        ([], []) => return vec![(None, None, Origin::Unmapped)],
        ([], registered) => (registered, line.origin(false, true)),
        (stated, _) => (stated, Origin::Stated),
    };
    list.iter().map(|purpose| (Some(purpose.id.clone()), Some(purpose.basis), origin.clone())).collect()
}

/// Regimes of a line: those stated, else its activity's.
pub fn regimes(line: &Line) -> Vec<Regime> {
    match &line.revision {
        Some(revision) if line.shape.regimes.is_empty() => revision.entry.body.regimes.to_vec(),
        _ => line.shape.regimes.clone(),
    }
}

/// What a collection adds to: one datum per category, named as the emitter or the register says.
pub fn datum_keys(
    service: Option<&Id>,
    body: &DataCollected,
    registered: Option<&ActivityRegistered>,
) -> Vec<DatumKey> {
    let stated =
        if body.cats.is_empty() { registered.map_or(&[][..], |activity| &activity.cats) } else { &body.cats };
    let mut cats = stated.to_vec();
    if cats.is_empty() {
        cats.extend(UNMAPPED.parse::<Id>());
    }
    let record_kind = body.record_kind.clone().or_else(|| registered?.record_kind.clone());
    let key = |category| DatumKey {
        service: service.cloned(),
        record_kind: record_kind.clone(),
        category,
        slot: body.slot.clone(),
    };
    cats.into_iter().map(key).collect()
}

/// A category that neither the emitter nor the register named.
pub const UNMAPPED: &str = "unmapped";

type PurposeKey = (Option<Id>, Option<LegalBasis>, Origin);

/// Gathers collections and uses.
#[derive(Default)]
pub struct DataSection {
    data: BTreeMap<DatumKey, Datum>,
    purposes: BTreeMap<PurposeKey, PurposeUse>,
    sources: BTreeMap<(Option<Source>, Id, Option<Id>), Tally>,
}

impl DataSection {
    pub fn add(&mut self, line: &Line) {
        match &line.body {
            Body::DataCollected(body) => self.collected(line, body),
            Body::DataUsed(body) => self.used(line, body),
            _ => {}
        }
    }

    fn collected(&mut self, line: &Line, body: &DataCollected) {
        let registered = line.revision.as_ref().map(|revision| &*revision.entry.body);
        let (_, origin) = categories(line, &body.cats);
        let source = body.source.or_else(|| registered?.source);
        let sensitive = body.sensitive.or_else(|| registered?.sensitive);
        let purposes = purposes(line, &body.purposes);
        for key in datum_keys(line.shape.service.as_ref(), body, registered) {
            let required = body
                .required
                .or_else(|| registered.map(|activity| activity.required.contains(&key.category)));
            let datum = self.data.entry(key).or_insert_with_key(|key| Datum::new(key.clone(), line.tally));
            datum.collected.add(line.tally);
            datum.activities.extend(line.shape.activity.clone());
            datum.sources.extend(source);
            datum.collection_countries.extend(body.collection_country);
            datum.storage_countries.extend(body.storage_country);
            datum.required = either(datum.required, required);
            datum.sensitive = either(datum.sensitive, sensitive);
            datum.encrypted_at_rest = both(datum.encrypted_at_rest, body.encrypted_at_rest);
            datum.regimes.extend(regimes(line));
            datum
                .safeguards
                .extend(registered.iter().flat_map(|activity| activity.safeguards.iter().copied()));
            datum.origins.insert(origin.clone());
            for (purpose, basis, origin) in &purposes {
                datum.purposes.extend(purpose.clone().map(|id| (id, *basis, origin.clone())));
            }
        }
        for key in purposes {
            let purpose = self.purpose(key, line);
            tally_up(&mut purpose.collected, line.tally);
        }
        let key = (source, line.shape.emitter.clone(), line.shape.service.clone());
        self.sources.entry(key).and_modify(|tally| tally.add(line.tally)).or_insert(line.tally);
    }

    fn used(&mut self, line: &Line, body: &crate::domain::event::catalogue::DataUsed) {
        let registered = line.revision.as_ref().map_or(&[][..], |revision| &revision.entry.body.purposes);
        let keys = match &body.purpose {
            Some(stated) => {
                let known = registered.iter().find(|purpose| purpose.id == *stated);
                let basis = body.basis.or(known.map(|purpose| purpose.basis));
                vec![(Some(stated.clone()), basis, Origin::Stated)]
            }
            None => purposes(line, &[]),
        };
        for key in keys {
            let purpose = self.purpose(key, line);
            tally_up(&mut purpose.used, line.tally);
            purpose.operations.extend(body.operation.clone());
        }
    }

    fn purpose(&mut self, key: PurposeKey, line: &Line) -> &mut PurposeUse {
        let purpose = self.purposes.entry(key).or_insert_with_key(|(purpose, basis, origin)| PurposeUse {
            purpose: purpose.clone(),
            basis: *basis,
            origin: origin.clone(),
            services: BTreeSet::new(),
            operations: BTreeSet::new(),
            collected: None,
            used: None,
        });
        purpose.services.extend(line.shape.service.clone());
        purpose
    }

    pub fn finish(
        mut self,
        registers: &Registers,
        known_at: u64,
    ) -> (Vec<Datum>, Vec<PurposeUse>, Vec<SourceLine>) {
        for datum in self.data.values_mut().filter(|datum| datum.storage_countries.is_empty()) {
            // Where nobody stated it, the data lie where the service keeps its data.
            let service = datum.key.service.as_ref();
            let service = service.and_then(|id| registers.service_at(id, datum.collected.last, known_at));
            datum.storage_countries.extend(service.and_then(|entry| entry.body.storage_country));
        }
        let sources = self.sources.into_iter().map(|((source, emitter, service), collected)| SourceLine {
            source,
            emitter,
            service,
            collected,
        });
        (self.data.into_values().collect(), self.purposes.into_values().collect(), sources.collect())
    }
}

impl Datum {
    fn new(key: DatumKey, tally: Tally) -> Datum {
        Datum {
            key,
            // The caller adds the line that opens it.
            collected: Tally { count: 0, ..tally },
            activities: BTreeSet::new(),
            sources: BTreeSet::new(),
            collection_countries: BTreeSet::new(),
            storage_countries: BTreeSet::new(),
            required: None,
            sensitive: None,
            encrypted_at_rest: None,
            purposes: BTreeSet::new(),
            regimes: BTreeSet::new(),
            safeguards: BTreeSet::new(),
            origins: BTreeSet::new(),
            retention: None,
        }
    }
}

fn either(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    a.or(b).map(|_| a == Some(true) || b == Some(true))
}

fn both(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    a.or(b).map(|_| a != Some(false) && b != Some(false))
}
