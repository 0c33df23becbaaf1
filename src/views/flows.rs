//! The register of transfers: every flow across a border, by what allowed it when it happened, or did not.
//!
//! Computed from the rows of when each shape occurred, the registers and the law, whenever it is asked for;
//! so a mechanism that is registered late, an event that arrives late and one that is taken back change the
//! answer as they should, in whatever order they came.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::domain::event::catalogue::DataTransferred;
use crate::domain::event::{Body, EventType, MappingKind, TransferMode, TransferRegime};
use crate::domain::id::{Country, Id};
use crate::domain::time::Timestamp;
use crate::domain::transfer::{self, Flow, Mechanism, Verdict};
use crate::domain::vocabulary::{self, Level};
use crate::views::Error;
use crate::views::ask::Ask;
use crate::views::counter::Counters;
use crate::views::registers::Registers;
use crate::views::shape::Shape;
use crate::views::stretch::{SAMPLES, Scope, Stretch};

/// What one line of the register is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineKey {
    pub exporter: Id,
    pub importer: Id,
    pub from: Country,
    pub to: Country,
    /// `None` where neither the event nor its activity names one.
    pub purpose: Option<Id>,
    pub verdict: Verdict,
}

/// One line of the register.
#[derive(Debug, Clone, PartialEq)]
pub struct FlowLine {
    pub key: LineKey,
    /// Whose law asks for something; `None` for a flow that no law here asks about.
    pub regime: Option<TransferRegime>,
    pub cats: BTreeSet<Id>,
    pub sensitive: bool,
    pub modes: BTreeSet<TransferMode>,
    /// What emitters claim allows it.
    pub claims: BTreeSet<Id>,
    pub count: u64,
    pub first: Timestamp,
    pub last: Timestamp,
    /// The first positions, at most `SAMPLES`.
    pub samples: Vec<u64>,
    pub parts: Vec<Part>,
}

/// Records that a line is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub stretch: Stretch,
    /// Whether these are all records of the shape.
    pub whole: bool,
}

/// A transfer's shape with its body.
pub struct Transfer {
    pub number: u32,
    pub shape: Arc<Shape>,
    pub body: DataTransferred,
}

impl Transfer {
    pub fn exporter(&self) -> &Id {
        self.body.exporter.as_ref().unwrap_or(&self.shape.controller)
    }

    /// Who gets the data, after mappings.
    fn importer(&self, registers: &Registers, known_at: u64) -> Option<Id> {
        let stated = self.body.recipient_id.as_ref()?;
        Some(registers.mapped(MappingKind::Recipient, stated, &self.shape.emitter, known_at))
    }

    pub fn is_domestic(&self) -> bool {
        self.body.from_country == self.body.to_country
    }

    /// The flow as it stood at an instant: what was not stated comes from the activity's revision of then.
    pub fn resolve(&self, registers: &Registers, at: Timestamp, known_at: u64) -> Option<Flow> {
        let body = &self.body;
        let activity = registers.resolved(&self.shape, at, known_at);
        let activity = activity.map(|revision| revision.entry.body);
        let meant = |kind, term: &Id| registers.mapped(kind, term, &self.shape.emitter, known_at);
        let cats: BTreeSet<Id> = match (&*body.cats, &activity) {
            ([], Some(activity)) => {
                activity.cats.iter().map(|cat| meant(MappingKind::Category, cat)).collect()
            }
            (stated, _) => stated.iter().map(|cat| meant(MappingKind::Category, cat)).collect(),
        };
        let purposes = match (&body.purpose, &activity) {
            (Some(purpose), _) => BTreeSet::from([meant(MappingKind::Purpose, purpose)]),
            (None, Some(activity)) => {
                activity.purposes.iter().map(|purpose| meant(MappingKind::Purpose, &purpose.id)).collect()
            }
            (None, None) => BTreeSet::new(),
        };
        let by_category = || cats.iter().any(|cat| vocabulary::level(cat.as_str()) == Some(Level::Sensitive));
        let sensitive = body.sensitive.or_else(|| activity.as_ref()?.sensitive).unwrap_or_else(by_category);
        Some(Flow {
            exporter: self.exporter().clone(),
            importer: self.importer(registers, known_at)?,
            from: body.from_country?,
            to: body.to_country?,
            cats,
            purposes,
            sensitive,
            exemption: body.exemption.clone(),
        })
    }
}

/// Everything that transfers are judged with, at one position.
pub struct Judge<'a> {
    pub registers: &'a Registers,
    pub scope: Scope,
    /// By exporter and importer.
    pub mechanisms: BTreeMap<(Id, Id), Vec<Mechanism>>,
    pub counters: Counters,
    /// Which of the adopted laws counts.
    pub as_of: Timestamp,
}

impl Judge<'_> {
    /// What is to be said of a flow at an instant.
    pub fn verdict(&self, flow: &Flow, at: Timestamp) -> Verdict {
        let law = self.registers.law(self.as_of, self.scope.known_at);
        let asked = self.counters.asked(&flow.exporter, at, law);
        transfer::judge(flow, at, law, self.between(&flow.exporter, &flow.importer), asked.as_deref())
    }

    /// The same by the mechanisms that were known before a position; numbers of people as they are known now.
    pub fn verdict_before(&self, flow: &Flow, at: Timestamp, known_at: u64) -> Verdict {
        let law = self.registers.law(self.as_of, self.scope.known_at);
        let asked = self.counters.asked(&flow.exporter, at, law);
        let mine = self.between(&flow.exporter, &flow.importer).iter();
        let known: Vec<Mechanism> =
            mine.filter_map(|mechanism| self.registers.mechanism(&mechanism.id, known_at)).collect();
        transfer::judge(flow, at, law, &known, asked.as_deref())
    }

    /// Where the mechanisms stand that may allow a transfer, and the assessments that these need.
    pub fn positions(&self, transfer: &Transfer) -> Vec<u64> {
        let importer = transfer.importer(self.registers, self.scope.known_at);
        let mine = importer.map(|importer| self.between(transfer.exporter(), &importer)).unwrap_or_default();
        let mut positions = Vec::new();
        for mechanism in mine {
            let (id, registers) = (&mechanism.id, self.registers);
            positions.extend(registers.mechanisms.get(id).into_iter().flatten().map(|entry| entry.position));
            positions
                .extend(registers.mechanism_stops.get(id).into_iter().flatten().map(|entry| entry.position));
            let assessed = registers.assessed_for(id).into_iter();
            let made = assessed.filter_map(|of| registers.assessments.get(of)).flatten();
            positions.extend(made.map(|entry| entry.position));
        }
        positions
    }

    fn between(&self, exporter: &Id, importer: &Id) -> &[Mechanism] {
        self.mechanisms.get(&(exporter.clone(), importer.clone())).map(Vec::as_slice).unwrap_or_default()
    }

    pub fn all(&self) -> impl Iterator<Item = &Mechanism> {
        self.mechanisms.values().flatten()
    }

    /// Where the judgement of a shape may change.
    pub fn bounds(&self, transfer: &Transfer) -> Vec<Timestamp> {
        let known_at = self.scope.known_at;
        let importer = transfer.importer(self.registers, known_at);
        let mine = importer.map(|importer| self.between(transfer.exporter(), &importer)).unwrap_or_default();
        let mut bounds: Vec<Timestamp> = mine.iter().flat_map(Mechanism::bounds).collect();
        // What a mechanism needs besides begins and ends too.
        let assessed = mine.iter().flat_map(|mechanism| self.registers.assessed_for(&mechanism.id));
        bounds.extend(assessed.flat_map(|of| self.registers.assessment_bounds(of)));
        bounds.extend(self.registers.revisions(&transfer.shape, known_at));
        let law = self.registers.law(self.as_of, self.scope.known_at);
        bounds.extend(transfer.body.to_country.into_iter().flat_map(|to| law.bounds(to).collect::<Vec<_>>()));
        if transfer.body.from_country.is_some_and(|from| from.as_str() == "CN") {
            bounds.extend(self.counters.bounds(transfer.exporter(), law));
        }
        bounds
    }
}

impl Ask {
    /// All shapes of transfers.
    pub fn transfer_shapes(&self) -> Vec<Transfer> {
        let shapes = self.shapes();
        let transfers = shapes.iter().filter_map(|(number, shape)| match &shape.body {
            Some(Body::DataTransferred(body)) if shape.event_type == EventType::DataTransferred => {
                Some(Transfer { number, shape: Arc::clone(shape), body: (**body).clone() })
            }
            _ => None,
        });
        transfers.collect()
    }

    /// What transfers are judged with, as known before the scope's position.
    pub fn judge<'a>(
        &self,
        registers: &'a Registers,
        transfers: &[Transfer],
        scope: Scope,
        as_of: Timestamp,
    ) -> Result<Judge<'a>, Error> {
        let mut mechanisms: BTreeMap<(Id, Id), Vec<Mechanism>> = BTreeMap::new();
        for mechanism in registers.mechanisms.keys().filter_map(|id| registers.mechanism(id, scope.known_at))
        {
            let parties = (mechanism.exporter.clone(), mechanism.importer.clone());
            mechanisms.entry(parties).or_default().push(mechanism);
        }
        let counters = Counters::new(self, registers, transfers, scope.known_at)?;
        Ok(Judge { registers, scope, mechanisms, counters, as_of })
    }

    /// Every stretch of every transfer with the flow as it was then, and what is to be said of it.
    pub fn judged<'t>(
        &self,
        judge: &Judge<'_>,
        transfers: &'t [Transfer],
    ) -> Result<Vec<(&'t Transfer, Part, Flow, Verdict)>, Error> {
        let mut judged = Vec::new();
        for transfer in transfers {
            let stretches = self.stretches(transfer.number, judge.bounds(transfer), &judge.scope)?;
            let whole = stretches.len() == 1 && judge.scope.is_all(self.applied);
            for stretch in stretches {
                let Some(flow) = transfer.resolve(judge.registers, stretch.first, judge.scope.known_at)
                else {
                    continue;
                };
                let verdict = judge.verdict(&flow, stretch.first);
                judged.push((transfer, Part { stretch, whole }, flow, verdict));
            }
        }
        Ok(judged)
    }

    /// The register of transfers. `as_of` says which of the adopted laws counts.
    pub fn transfers(
        &self,
        registers: &Registers,
        scope: Scope,
        as_of: Timestamp,
    ) -> Result<Vec<FlowLine>, Error> {
        let transfers = self.transfer_shapes();
        // What was registered since this snapshot was taken does not count.
        let scope = Scope { known_at: scope.known_at.min(self.applied), ..scope };
        let judge = self.judge(registers, &transfers, scope, as_of)?;
        let mut lines: BTreeMap<LineKey, FlowLine> = BTreeMap::new();
        for (transfer, part, flow, verdict) in self.judged(&judge, &transfers)? {
            let purposes = flow.purposes.iter().cloned().map(Some);
            let none = flow.purposes.is_empty().then_some(None);
            for purpose in purposes.chain(none) {
                let key = LineKey {
                    exporter: flow.exporter.clone(),
                    importer: flow.importer.clone(),
                    from: flow.from,
                    to: flow.to,
                    purpose,
                    verdict: verdict.clone(),
                };
                lines
                    .entry(key)
                    .or_insert_with_key(|key| FlowLine::new(key.clone(), &part.stretch))
                    .add(transfer, &part, &flow);
            }
        }
        Ok(lines.into_values().collect())
    }
}

impl FlowLine {
    fn new(key: LineKey, stretch: &Stretch) -> FlowLine {
        FlowLine {
            regime: transfer::regime(key.from, key.to, stretch.first),
            key,
            cats: BTreeSet::new(),
            sensitive: false,
            modes: BTreeSet::new(),
            claims: BTreeSet::new(),
            count: 0,
            first: stretch.first,
            last: stretch.last,
            samples: Vec::new(),
            parts: Vec::new(),
        }
    }

    fn add(&mut self, transfer: &Transfer, part: &Part, flow: &Flow) {
        let (body, stretch) = (&transfer.body, &part.stretch);
        self.cats.extend(flow.cats.iter().cloned());
        self.sensitive |= flow.sensitive;
        self.modes.extend(body.mode);
        self.claims.extend(body.mechanism_id.iter().chain(&body.exemption).cloned());
        self.count = self.count.saturating_add(stretch.count);
        (self.first, self.last) = (self.first.min(stretch.first), self.last.max(stretch.last));
        self.samples = merged(&self.samples, &stretch.samples);
        self.parts.push(part.clone());
    }
}

/// The first positions of two lists.
pub fn merged(a: &[u64], b: &[u64]) -> Vec<u64> {
    let all: BTreeSet<u64> = a.iter().chain(b).copied().collect();
    all.into_iter().take(SAMPLES).collect()
}
