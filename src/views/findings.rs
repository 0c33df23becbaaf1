//! What breaks the policy or the law, computed from the events, the registers and the adopted law whenever it
//! is asked for: the same findings after a rebuild, and in whatever order events came.
//!
//! One finding per code and key (`domain::finding`). What rests on absence is judged only for what happened,
//! and was recorded, long enough before the newest recorded tick of the detectors; without a tick not at all.
//! Where what was missing then was recorded later, with a time of its own that would have done, it is cured, and
//! both times are told. Events whose shape found no room in the dictionary are not judged, and the answer says that there are
//! such. Nothing here stores a finding.

mod abroad;
mod acts;
mod collecting;
mod house;
mod identities;
mod keeping;
mod lessons;
mod persons;
mod sdks;
mod sharing;
mod transfers;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

pub use acts::{Act, State, name};
pub use persons::Separate;

use crate::domain::event::catalogue::{JobRan, MappingAdded};
use crate::domain::event::{Body, EventType, MappingKind};
use crate::domain::finding::{Key, Rule, Severity, Value, rule};
use crate::domain::id::{Id, Regime, SubjectId};
use crate::domain::law::Law;
use crate::domain::time::{MS_PER_MINUTE, Timestamp};
use crate::views::ask::Ask;
use crate::views::erased::{self, Carried};
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
    "F-BUNDLED-CONSENT",
    "F-CANCEL-LATE",
    "F-CATEGORY-UNDECLARED",
    "F-CHILD",
    "F-CLEARTEXT",
    "F-CN-FILING-LATE",
    "F-CN-THRESHOLD",
    "F-CONFLICT-OF-LAWS",
    "F-DEFER-NOT-ALLOWED",
    "F-EMITTER-GAP",
    "F-EMITTER-SILENT",
    "F-FALSE-ANONYMISATION",
    "F-FORCED-PERMISSION",
    "F-FOREIGN-AUTHORITY",
    "F-HOLD-STALE",
    "F-IDENTITY-CONFLICT",
    "F-INSTRUCTION-OVERDUE",
    "F-LATE-FOR-ERASED",
    "F-LEGACY-EVIDENCE",
    "F-LOCALISATION",
    "F-MARKETING-OPTOUT",
    "F-NO-ASSESSMENT",
    "F-NO-CONSENT",
    "F-NO-SEPARATE-CONSENT",
    "F-NOTICE-MISSING",
    "F-NOTICE-STALE",
    "F-ORDER-CONFLICT",
    "F-PRE-CONSENT-SDK",
    "F-PREMATURE-ERASURE",
    "F-PURPOSE-CREEP",
    "F-RECIPIENT-NO-CONTRACT",
    "F-REGION",
    "F-REMOTE-ACCESS",
    "F-RETENTION-OVERRUN",
    "F-RETENTION-UNDEFINED",
    "F-SDK-CHANGED",
    "F-SDK-SCOPE",
    "F-SDK-UNDECLARED",
    "F-SHARE-NO-SAFEGUARD",
    "F-TERMINATION-NOTICE",
    "F-TRANSFER-EXPIRED",
    "F-TRANSFER-EXPIRING",
    "F-TRANSFER-NO-ASSESSMENT",
    "F-TRANSFER-NO-MECHANISM",
    "F-TRANSFER-SCOPE",
    "F-UNMAPPED",
    "F-USE-AFTER-END",
];

/// One finding.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    pub key: Key,
    /// That of its rule, or what the rule lets it rise to.
    pub severity: Severity,
    /// Single acts, as the events count them, without those that were cured.
    pub count: u64,
    /// Different people, merged ones as one, erased ones included; `None` where events are judged without asking
    /// whom they were about.
    pub people: Option<u64>,
    /// Of these: erased since, counted by the tallies of their erasures.
    pub erased: u64,
    pub first: Timestamp,
    pub last: Timestamp,
    /// Positions of some of it, at most `stretch::SAMPLES`: the first, or those of the first people.
    pub samples: Vec<u64>,
    pub cured: Option<Cured>,
    pub state: State,
    /// What officers did about it, oldest first.
    pub acts: Vec<Act>,
}

/// What was missing when it could be seen first, and was recorded later with a time that would have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cured {
    /// Single acts.
    pub count: u64,
    /// When the first of them could have been seen.
    pub raised_at: Timestamp,
    /// When the last of what was missing was recorded.
    pub cured_at: Timestamp,
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
    /// Everything that is wrong as known before a position. The newest answers are kept, so that asking again
    /// while nothing was recorded costs nothing.
    pub fn findings(&self, known_at: Option<u64>) -> Result<Arc<Findings>, Error> {
        let known_at = known_at.unwrap_or(u64::MAX).min(self.applied);
        let answers = &self.generation.shared.answers;
        answers.of((self.applied, known_at), || Ok(self.judge_all(Some(known_at), None, None)?.0))
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
    ) -> Result<(Findings, Traces), Error> {
        let mut finder = Finder { traced, ..Finder::new(self, registers, known_at)? };
        finder.transfers()?;
        finder.sharing()?;
        finder.sdks()?;
        finder.collecting()?;
        finder.house()?;
        finder.abroad()?;
        finder.identities()?;
        finder.keeping();
        finder.persons()?;
        finder.erased()?;
        let traced = finder.traced.take().map(|traced| {
            let scope = finder.scope_of(traced.code).unwrap_or(finder.scope);
            traced.stretches.into_iter().map(|(key, stretch)| (key, stretch, scope)).collect()
        });
        let Finder { tick, law, found, .. } = finder;
        let mut findings: Vec<Finding> = found.into_values().collect();
        acts::put_on(self, known_at, &mut findings)?;
        let law = (law.name().clone(), law.version().clone());
        let unjudged = self.unjudged(known_at)?;
        Ok((Findings { findings, known_at, tick, law, unjudged }, traced.unwrap_or_default()))
    }

    /// What is found about one person and those merged into it, with how often. Ask before they are erased.
    pub fn findings_about(&self, subject: SubjectId) -> Result<Vec<(Key, u64)>, Error> {
        let registers = lock::read(&self.generation.shared.registers).clone();
        Finder::new(self, &registers, self.applied)?.about(subject)
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

/// What was applied when somebody asked, and what was to be known.
type Asked = (u64, u64);

/// The newest answers. Whoever asks while one is computed waits for
/// it and computes nothing.
#[derive(Default)]
pub struct Answers(Mutex<Vec<(Asked, Arc<Findings>)>>);

/// One of the present and one of the past.
const ANSWERS: usize = 2;

impl Answers {
    fn of(&self, key: Asked, find: impl FnOnce() -> Result<Findings, Error>) -> Result<Arc<Findings>, Error> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = known.iter().find(|(of, _)| *of == key) {
            return Ok(Arc::clone(found));
        }
        let found = Arc::new(find()?);
        known.truncate(ANSWERS - 1);
        known.insert(0, (key, Arc::clone(&found)));
        Ok(found)
    }
}

/// A shape of one type with its body.
struct Kind<B> {
    number: u32,
    shape: Arc<Shape>,
    body: B,
}

impl<'a> Finder<'a> {
    fn new(ask: &'a Ask, registers: &'a Registers, known_at: u64) -> Result<Finder<'a>, Error> {
        let tick = ask.tick(known_at)?;
        let law = registers.law(tick.unwrap_or(Timestamp::LAST), known_at);
        let (scope, found) = (Scope::all(known_at), BTreeMap::new());
        Ok(Finder { ask, registers, law, scope, tick, found, traced: None })
    }
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
        finding.open(stretch);
        finding.people = None;
    }

    /// Adds a stretch that was cured.
    fn cure(&mut self, code: &'static str, values: Vec<Option<Value>>, stretch: &Stretch, cured: Cured) {
        debug_assert!(JUDGED.contains(&code), "{code}");
        let (Ok(key), Some(rule)) = (Key::new(code, values), rule(code)) else { return };
        let finding = self.found.entry(key.clone()).or_insert_with(|| Finding::new(key, rule, stretch));
        finding.cure(stretch, cured);
        finding.people = None;
    }

    /// Adds what is wrong about people.
    fn count_people(&mut self, found: persons::Found) {
        for (key, persons::Sums { open, cured }) in found {
            let Some(rule) = rule(key.code()) else { continue };
            debug_assert!(JUDGED.contains(&key.code()), "{key}");
            // Events that were judged without asking about whom may be these people's too.
            let mixed = self.found.contains_key(&key);
            let known = open.as_ref().or(cured.as_ref().map(|(sum, ..)| sum)).map(persons::Sum::stretch);
            let Some(known) = known else { continue };
            let entry = self.found.entry(key.clone());
            let finding = entry.or_insert_with(|| Finding::new(key, rule, &known));
            let people = open.as_ref().map_or(0, |sum| sum.people);
            if let Some(sum) = &open {
                let stretch = sum.stretch();
                finding.open(&stretch);
                if let Some(traced) = self.traced.as_mut().filter(|traced| traced.wants(&finding.key)) {
                    traced.stretches.push((finding.key.clone(), stretch));
                }
            }
            if let Some((sum, raised_at, cured_at)) = &cured {
                let count = sum.tally.count;
                let people = if open.is_none() { sum.people } else { people };
                finding.cure(&sum.stretch(), Cured { count, raised_at: *raised_at, cured_at: *cured_at });
                finding.people = Some(people).filter(|_| !mixed);
            } else {
                finding.people = Some(people).filter(|_| !mixed);
            }
        }
    }

    /// A finding about one register event, or about the state of things at an instant.
    fn note(&mut self, code: &'static str, values: Vec<Option<Value>>, at: Timestamp, position: Option<u64>) {
        let samples: Vec<u64> = position.into_iter().collect();
        let once = Stretch { shape: 0, count: 1, first: at, last: at, some: Some(samples.clone()), samples };
        self.raise(code, values, &once);
    }
}

impl Finder<'_> {
    /// Adds what was found about people who are erased by now. Rows say how they count now, not how they counted
    /// at an earlier position.
    fn erased(&mut self) -> Result<(), Error> {
        if self.known_at() < self.ask.applied {
            return Ok(());
        }
        for (code, brief, carried) in erased::carried(&self.ask.reading)? {
            let named = || self.found.keys().find(|key| key.code() == code.as_str() && key.brief() == brief);
            let Some(key) = Key::of_brief(code.as_str(), &brief).or_else(|| named().cloned()) else {
                continue;
            };
            let Some(rule) = rule(key.code()) else { continue };
            let Carried { people, count, first, last } = carried;
            let stretch =
                Stretch { shape: 0, count, first, last, samples: Vec::new(), some: Some(Vec::new()) };
            let known = self.found.contains_key(&key);
            let finding = self.found.entry(key.clone()).or_insert_with(|| Finding::new(key, rule, &stretch));
            let open = finding.count > 0;
            finding.people = match known {
                // Of what was cured the people are told who were, until somebody is counted who was not.
                true => finding.people.map(|living| people.saturating_add(if open { living } else { 0 })),
                false => Some(people),
            };
            finding.erased = people;
            match open {
                // When it happened is known of the living only.
                true => finding.count = finding.count.saturating_add(count),
                false => finding.open(&stretch),
            }
        }
        Ok(())
    }
}

impl Finding {
    fn new(key: Key, rule: &Rule, stretch: &Stretch) -> Finding {
        Finding {
            key,
            severity: rule.severity,
            count: 0,
            people: None,
            erased: 0,
            first: stretch.first,
            last: stretch.last,
            samples: Vec::new(),
            cured: None,
            state: State::Open,
            acts: Vec::new(),
        }
    }

    fn open(&mut self, stretch: &Stretch) {
        if self.count == 0 {
            // What was cured is not told beside what is open.
            (self.first, self.last, self.samples) = (stretch.first, stretch.last, Vec::new());
        }
        self.count = self.count.saturating_add(stretch.count);
        self.widen(stretch);
        self.state = State::Open;
    }

    fn cure(&mut self, stretch: &Stretch, more: Cured) {
        if self.count == 0 {
            self.widen(stretch);
            self.state = State::Cured;
        }
        self.cured = Some(match self.cured {
            Some(known) => Cured {
                count: known.count.saturating_add(more.count),
                raised_at: known.raised_at.min(more.raised_at),
                cured_at: known.cured_at.max(more.cured_at),
            },
            None => more,
        });
    }

    fn widen(&mut self, stretch: &Stretch) {
        (self.first, self.last) = (self.first.min(stretch.first), self.last.max(stretch.last));
        self.samples = merged(&self.samples, &stretch.samples);
    }
}

/// A value of a key.
fn value(id: &Id) -> Option<Value> {
    Some(Value::from(id))
}

fn maybe(id: Option<&Id>) -> Option<Value> {
    id.map(Value::from)
}
