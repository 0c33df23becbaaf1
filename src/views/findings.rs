//! What breaks the policy or the law, computed from the events, the registers and the adopted law whenever it
//! is asked for: the same findings after a rebuild, and in whatever order events came.
//!
//! One finding per code and key (`domain::finding`). What rests on absence is judged only for what happened,
//! and was recorded, long enough before the newest recorded tick of the detectors; without a tick not at all.
//! Events whose shape found no room in the dictionary are not judged, and the answer says that there are
//! such. Nothing here stores a finding.

mod abroad;
mod acts;
mod collecting;
mod house;
mod identities;
mod sdks;
mod sharing;
mod transfers;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use acts::{Act, State, name};

use crate::domain::event::catalogue::{JobRan, MappingAdded};
use crate::domain::event::{Body, EventType, MappingKind};
use crate::domain::finding::{Key, Rule, Severity, Value, rule};
use crate::domain::id::{Id, Regime};
use crate::domain::law::Law;
use crate::domain::time::{MS_PER_MINUTE, Timestamp};
use crate::views::ask::Ask;
use crate::views::flows::merged;
use crate::views::registers::{Registers, Revision};
use crate::views::shape::Shape;
use crate::views::stretch::{Scope, Stretch};
use crate::views::{Error, lock, occurrences};

/// The job whose runs are the detectors' ticks.
pub const DETECTOR: &str = "detector";

/// The codes that have their detector; the others' rules are there, and nothing is found by them yet.
pub const JUDGED: &[&str] = &[
    "F-ADM",
    "F-ANALYTICS-LINKED",
    "F-AUTHORITY-DISCLOSURE",
    "F-BASIS-REGIME",
    "F-BILINGUAL",
    "F-CATEGORY-UNDECLARED",
    "F-CLEARTEXT",
    "F-CN-FILING-LATE",
    "F-CN-THRESHOLD",
    "F-EMITTER-GAP",
    "F-EMITTER-SILENT",
    "F-FOREIGN-AUTHORITY",
    "F-IDENTITY-CONFLICT",
    "F-LATE-FOR-ERASED",
    "F-LOCALISATION",
    "F-NO-ASSESSMENT",
    "F-PRE-CONSENT-SDK",
    "F-PURPOSE-CREEP",
    "F-RECIPIENT-NO-CONTRACT",
    "F-REGION",
    "F-REMOTE-ACCESS",
    "F-SDK-CHANGED",
    "F-SDK-SCOPE",
    "F-SDK-UNDECLARED",
    "F-SHARE-NO-SAFEGUARD",
    "F-TRANSFER-EXPIRED",
    "F-TRANSFER-EXPIRING",
    "F-TRANSFER-NO-ASSESSMENT",
    "F-TRANSFER-NO-MECHANISM",
    "F-TRANSFER-SCOPE",
    "F-UNMAPPED",
];

/// One finding.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    pub key: Key,
    /// That of its rule, or what the rule lets it rise to.
    pub severity: Severity,
    /// Single acts, as the events count them.
    pub count: u64,
    pub first: Timestamp,
    pub last: Timestamp,
    /// The first positions, at most `stretch::SAMPLES`.
    pub samples: Vec<u64>,
    pub state: State,
    /// What officers did about it, oldest first.
    pub acts: Vec<Act>,
}

/// All findings, and what they were computed from.
#[derive(Debug, Clone, PartialEq)]
pub struct Findings {
    /// By code and key.
    pub findings: Vec<Finding>,
    /// Records below this position were taken into account.
    pub known_at: u64,
    /// The newest tick; what rests on absence is judged as of then.
    pub tick: Option<Timestamp>,
    pub law: (Id, Id),
    /// Events that could not be judged, because they are of too many shapes.
    pub unjudged: u64,
}

impl Ask {
    /// Everything that is wrong as known before a position.
    pub fn findings(&self, known_at: Option<u64>) -> Result<Findings, Error> {
        Ok(self.judge_all(known_at, None, None)?.0)
    }

    /// The finding of a key, if there is one, and which records it was raised by.
    pub fn raised(&self, key: &Key, known_at: Option<u64>) -> Result<(Option<Finding>, RaisedBy), Error> {
        let traced = Traced { code: key.code(), key: Some(key.clone()), stretches: Vec::new() };
        let (all, traced) = self.judge_all(known_at, Some(traced), None)?;
        let stretches = traced.into_iter().map(|(_, stretch, scope)| (stretch, scope)).collect();
        Ok((all.findings.into_iter().find(|finding| finding.key == *key), stretches))
    }

    /// What all findings of a code were raised by, by their keys.
    pub fn raised_by_code(
        &self,
        code: &'static str,
        known_at: Option<u64>,
    ) -> Result<(Findings, Vec<(Key, Stretch)>), Error> {
        let traced = Traced { code, key: None, stretches: Vec::new() };
        let (all, traced) = self.judge_all(known_at, Some(traced), None)?;
        Ok((all, traced.into_iter().map(|(key, stretch, _)| (key, stretch)).collect()))
    }

    /// What would be found if a term meant something.
    pub fn findings_if(&self, mapping: MappingAdded, at: Timestamp) -> Result<Findings, Error> {
        Ok(self.judge_all(None, None, Some((mapping, at)))?.0)
    }

    fn judge_all(
        &self,
        known_at: Option<u64>,
        traced: Option<Traced>,
        supposed: Option<(MappingAdded, Timestamp)>,
    ) -> Result<(Findings, Traces), Error> {
        let known_at = known_at.unwrap_or(u64::MAX).min(self.applied);
        // A copy, so that whoever applies events does not wait for this.
        let mut registers = lock::read(&self.generation.shared.registers).clone();
        if let Some((mapping, at)) = supposed {
            registers.suppose(mapping, at, known_at);
        }
        self.judge_by(&registers, known_at, traced)
    }

    /// Everything that is wrong by registers that are handed in.
    pub fn findings_by(&self, registers: &Registers, known_at: Option<u64>) -> Result<Findings, Error> {
        let known_at = known_at.unwrap_or(u64::MAX).min(self.applied);
        Ok(self.judge_by(registers, known_at, None)?.0)
    }

    fn judge_by(
        &self,
        registers: &Registers,
        known_at: u64,
        traced: Option<Traced>,
    ) -> Result<(Findings, Vec<(Key, Stretch, Scope)>), Error> {
        let tick = self.tick(known_at)?;
        let law = registers.law(tick.unwrap_or(Timestamp::LAST), known_at);
        let mut finder = Finder {
            ask: self,
            registers,
            law,
            scope: Scope::all(known_at),
            tick,
            found: BTreeMap::new(),
            traced,
        };
        finder.transfers()?;
        finder.sharing()?;
        finder.sdks()?;
        finder.collecting()?;
        finder.house()?;
        finder.abroad()?;
        finder.identities()?;
        let traced = finder.traced.take().map(|traced| {
            let scope = finder.scope_of(traced.code).unwrap_or(finder.scope);
            traced.stretches.into_iter().map(|(key, stretch)| (key, stretch, scope)).collect()
        });
        let mut findings: Vec<Finding> = finder.found.into_values().collect();
        acts::put_on(self, known_at, &mut findings)?;
        let law = (law.name().clone(), law.version().clone());
        let unjudged = self.unjudged(known_at)?;
        Ok((Findings { findings, known_at, tick, law, unjudged }, traced.unwrap_or_default()))
    }

    /// Events that have no shape to be judged by.
    pub fn unjudged(&self, known_at: u64) -> Result<u64, Error> {
        let all = occurrences::of_shape(&self.reading, 0, known_at);
        all.map(|one| one.map(|one| one.count)).sum()
    }

    /// The newest recorded tick of the detectors.
    pub fn tick(&self, known_at: u64) -> Result<Option<Timestamp>, Error> {
        let mut positions = self.positions_of(&[EventType::JobRan], known_at)?;
        positions.reverse();
        let mut tick = None;
        // Other jobs run in between; the newest tick is never far. Of two the later recorded counts, because a
        // clock may have been set back.
        for some in positions.chunks(16) {
            self.reach.decode_all(some, |event| {
                if let (None, Ok(Body::JobRan(body))) =
                    (tick, Body::from_json(event.event_type, &event.body_json))
                {
                    tick = at_of(&body, event.at);
                }
                Ok(())
            })?;
            if tick.is_some() {
                break;
            }
        }
        Ok(tick)
    }
}

fn at_of(body: &JobRan, at: Timestamp) -> Option<Timestamp> {
    body.job.as_ref().filter(|job| job.as_str() == DETECTOR)?;
    Some(body.scheduled_for.unwrap_or(at).min(at))
}

/// What the detectors ask, and where they put what they find.
struct Finder<'a> {
    ask: &'a Ask,
    registers: &'a Registers,
    law: &'static Law,
    scope: Scope,
    tick: Option<Timestamp>,
    found: BTreeMap<Key, Finding>,
    traced: Option<Traced>,
}

/// Records that raised a finding, and of which of them its code is judged.
pub type RaisedBy = Vec<(Stretch, Scope)>;

type Traces = Vec<(Key, Stretch, Scope)>;

/// Findings of which somebody asks what raised them: one, or all of a code.
struct Traced {
    code: &'static str,
    key: Option<Key>,
    stretches: Vec<(Key, Stretch)>,
}

impl Traced {
    fn wants(&self, key: &Key) -> bool {
        self.code == key.code() && self.key.as_ref().is_none_or(|wanted| wanted == key)
    }
}

/// A shape of one type with its body.
struct Kind<B> {
    number: u32,
    shape: Arc<Shape>,
    body: B,
}

impl Finder<'_> {
    fn known_at(&self) -> u64 {
        self.scope.known_at
    }

    fn is_tracing(&self) -> bool {
        self.traced.is_some()
    }

    /// All shapes whose body is of one type.
    fn kinds<B>(&self, body: impl Fn(&Body) -> Option<B>) -> Vec<Kind<B>> {
        let shapes = self.ask.shapes();
        let of = shapes.iter().filter_map(|(number, shape)| {
            let body = body(shape.body.as_ref()?)?;
            Some(Kind { number, shape: Arc::clone(shape), body })
        });
        of.collect()
    }

    /// What a code is judged on: everything, or what is ripe where it rests on absence; `None` if nothing is.
    fn scope_of(&self, code: &str) -> Option<Scope> {
        let rule = rule(code)?;
        if !rule.absence {
            return Some(self.scope);
        }
        let wait = i64::from(rule.wait_minutes) * MS_PER_MINUTE;
        Some(Scope { ripe: Some(self.tick?.plus_ms(-wait)), ..self.scope })
    }

    /// The stretches of a shape that a code is judged on.
    fn stretches<B>(&self, code: &str, of: &Kind<B>, bounds: Vec<Timestamp>) -> Result<Vec<Stretch>, Error> {
        match self.scope_of(code) {
            Some(scope) => self.ask.stretches(of.number, bounds, &scope),
            None => Ok(Vec::new()),
        }
    }

    /// Where an activity's revisions begin.
    fn revisions(&self, shape: &Shape) -> Vec<Timestamp> {
        self.registers.revisions(shape, self.known_at())
    }

    fn revision(&self, shape: &Shape, at: Timestamp) -> Option<Revision> {
        self.registers.resolved(shape, at, self.known_at())
    }

    /// Whose law applies to an event: as stated, or as its activity says.
    fn regimes(&self, shape: &Shape, at: Timestamp) -> Vec<Regime> {
        match self.revision(shape, at) {
            Some(revision) if shape.regimes.is_empty() => revision.entry.body.regimes.to_vec(),
            _ => shape.regimes.clone(),
        }
    }

    fn mapped(&self, kind: MappingKind, term: &Id, shape: &Shape) -> Id {
        self.registers.mapped(kind, term, &shape.emitter, self.known_at())
    }

    /// Adds a stretch to a finding.
    fn raise(&mut self, code: &'static str, values: Vec<Option<Value>>, stretch: &Stretch) {
        debug_assert!(JUDGED.contains(&code), "{code}");
        let (Ok(key), Some(rule)) = (Key::new(code, values), rule(code)) else { return };
        if let Some(traced) = self.traced.as_mut().filter(|traced| traced.wants(&key)) {
            traced.stretches.push((key.clone(), stretch.clone()));
        }
        let finding = self.found.entry(key.clone()).or_insert_with(|| Finding::new(key, rule, stretch));
        finding.count = finding.count.saturating_add(stretch.count);
        finding.first = finding.first.min(stretch.first);
        finding.last = finding.last.max(stretch.last);
        finding.samples = merged(&finding.samples, &stretch.samples);
    }

    /// A finding about one register event, or about the state of things at an instant.
    fn note(&mut self, code: &'static str, values: Vec<Option<Value>>, at: Timestamp, position: Option<u64>) {
        let samples: Vec<u64> = position.into_iter().collect();
        let once = Stretch { shape: 0, count: 1, first: at, last: at, some: Some(samples.clone()), samples };
        self.raise(code, values, &once);
    }
}

impl Finding {
    fn new(key: Key, rule: &Rule, stretch: &Stretch) -> Finding {
        Finding {
            key,
            severity: rule.severity,
            count: 0,
            first: stretch.first,
            last: stretch.last,
            samples: Vec::new(),
            state: State::Open,
            acts: Vec::new(),
        }
    }
}

/// A value of a key.
fn value(id: &Id) -> Option<Value> {
    Some(Value::from(id))
}

fn maybe(id: Option<&Id>) -> Option<Value> {
    id.map(Value::from)
}
