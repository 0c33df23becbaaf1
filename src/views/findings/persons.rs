//! What is wrong about single people: consent, notice, choice, children, and how long their data are kept.
//! Everybody's row is looked at, one person at a time, so that memory stays flat. Where a tally has one answer from
//! its first instant to its last, the row is enough; else, and where something was recorded so late that it may have
//! been missed, the person's own records are read.
//!
//! Those merged count as one person, and a linked device counts for its time (`views/group.rs`). People who were
//! erased have no row: their erasures say what had been found (`views/erased.rs`).

mod basis;
mod belonging;
#[cfg(test)]
mod both_ways;
mod choice;
mod executed;
mod instructed;
mod kept;
mod life;
mod separate;
mod told;

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use crate::domain::event::EventType;
use crate::domain::finding::{Key, Value, rule};
use crate::domain::id::SubjectId;
use crate::domain::time::{MS_PER_MINUTE, Timestamp};
use crate::views::ask::{Ask, mine};
use crate::views::codec::Malformed;
use crate::views::decode::Decoded;
use crate::views::findings::Finder;
use crate::views::fold;
use crate::views::own::Own;
use crate::views::person::{Person, Tally};
use crate::views::report::whole_body;
use crate::views::retract::taken_back_by;
use crate::views::shape::{self, Shape};
use crate::views::store::{self, tag};
use crate::views::stretch::{SAMPLES, Stretch};
use crate::views::zone::{ZONE, Zone};
use crate::views::{Error, occurrences, postings};
use belonging::Of;
use life::{Item, Life, Sure, Terms, Unsure};
pub use separate::Separate;

pub(super) use executed::{hold_key, stale_since};
use kept::Keeping;

/// A code that rests on absence and is found here. All of them wait equally long, which a test holds.
const WAITS: &str = "F-NO-CONSENT";

/// What one person adds to a finding.
#[derive(Debug, Clone)]
pub struct Hit {
    code: &'static str,
    values: Vec<Option<Value>>,
    tally: Tally,
    position: Option<u64>,
    /// When it could have been seen, and when what was missing was recorded after all.
    cured: Option<(Timestamp, Timestamp)>,
}

/// What all people together add to one finding: what is wrong, and what was cured.
#[derive(Debug, Clone, Default)]
pub struct Sums {
    pub open: Option<Sum>,
    pub cured: Option<(Sum, Timestamp, Timestamp)>,
}

#[derive(Debug, Clone)]
pub struct Sum {
    pub tally: Tally,
    pub people: u64,
    pub samples: BTreeSet<u64>,
    /// All positions, where somebody asks what a finding was raised by.
    pub all: Vec<u64>,
}

pub type Found = BTreeMap<Key, Sums>;

impl Sum {
    fn new(tally: Tally) -> Sum {
        Sum { tally: Tally { count: 0, ..tally }, people: 0, samples: BTreeSet::new(), all: Vec::new() }
    }

    pub fn stretch(&self) -> Stretch {
        let samples = self.samples.iter().copied().take(SAMPLES).collect();
        Stretch {
            shape: 0,
            count: self.tally.count,
            first: self.tally.first,
            last: self.tally.last,
            samples,
            some: Some(self.all.clone()),
        }
    }

    fn add(&mut self, hit: &Hit) {
        self.tally.add(hit.tally);
        self.samples.extend(hit.position.filter(|_| self.samples.len() < SAMPLES));
    }
}

/// One run over people.
pub(super) struct Pass<'f> {
    finder: &'f Finder<'f>,
    shapes: &'f [Arc<Shape>],
    /// Where the revisions of each shape's activity begin.
    revisions: Vec<Vec<Timestamp>>,
    /// What happened, and was recorded, by then is judged by what is missing.
    ripe: Option<Timestamp>,
    wait_ms: i64,
    /// Everything below this position was recorded by then.
    unripe_from: u64,
    /// By zone: nothing from its first position on was recorded before.
    recorded_from: Vec<Timestamp>,
    /// Whether any part names a mark only, and may count as somebody's.
    named: bool,
    terms: RefCell<HashMap<TermsOf, Rc<Terms>>>,
    keeping: Option<Keeping<'f>>,
}

/// A shape, and the position of the revision of its activity.
type TermsOf = (u32, Option<u64>);

impl Finder<'_> {
    /// Judges everybody.
    pub(super) fn persons(&mut self) -> Result<(), Error> {
        let shapes: Vec<Arc<Shape>> = self.ask.shapes().iter().map(|(_, shape)| Arc::clone(shape)).collect();
        let found = {
            let pass = Pass::new(self, &shapes)?;
            let mut found = Found::new();
            for row in self.ask.reading.prefix(&[tag::PERSON]) {
                let (key, row) = row?;
                let subject = SubjectId(*key.last_chunk::<16>().ok_or(Malformed("person"))?);
                pass.count(subject, Person::decode(&row)?, &mut found)?;
            }
            found
        };
        self.count_people(found);
        Ok(())
    }

    /// What is wrong about one person and those merged into it.
    pub(super) fn about(&self, subject: SubjectId) -> Result<Vec<(Key, u64)>, Error> {
        let shapes: Vec<Arc<Shape>> = self.ask.shapes().iter().map(|(_, shape)| Arc::clone(shape)).collect();
        Pass::new(self, &shapes)?.of(subject)
    }
}

impl<'f> Pass<'f> {
    pub fn new(finder: &'f Finder<'f>, shapes: &'f [Arc<Shape>]) -> Result<Pass<'f>, Error> {
        let wait_ms = rule(WAITS).map_or(0, |rule| i64::from(rule.wait_minutes) * MS_PER_MINUTE);
        let ripe = finder.tick.map(|tick| tick.plus_ms(-wait_ms));
        let named = finder.ask.reading.prefix(&[tag::NAMED]).next().transpose()?.is_some();
        let zones = zones(finder.ask)?;
        let unripe_from = match ripe {
            Some(ripe) => recorded_after(finder.ask, &zones, ripe)?,
            None => 0,
        };
        let mut recorded_from: Vec<Timestamp> = zones.iter().map(|(first, _)| *first).collect();
        // A clock may have been set back.
        for n in (1..recorded_from.len()).rev() {
            recorded_from[n - 1] = recorded_from[n - 1].min(recorded_from[n]);
        }
        let terms = RefCell::default();
        let revisions = shapes.iter().map(|shape| finder.revisions(shape)).collect();
        let keeping = Keeping::of(finder)?;
        Ok(Pass {
            finder,
            shapes,
            revisions,
            ripe,
            wait_ms,
            unripe_from,
            recorded_from,
            named,
            terms,
            keeping,
        })
    }

    /// Adds what is wrong about one person. `row` is that of the handle.
    fn count(&self, subject: SubjectId, row: Person, found: &mut Found) -> Result<(), Error> {
        let group = match self.stands_alone(&row)? {
            true => None,
            false => match self.group(subject)? {
                Some(group) => Some(group),
                None => return Ok(()),
            },
        };
        let mut hits = match self.by_rows(subject, row, group.as_ref())? {
            Ok(hits) => hits,
            Err(Unsure) => self.by_records(subject, group.as_ref())?,
        };
        let mut kept = self.kept(subject, group.as_ref(), false)?;
        let traced = |hit: &Hit| self.finder.traced.as_ref().is_some_and(|traced| traced.code == hit.code);
        let wanted = |hit: &Hit| hit.position.is_none() && (traced(hit) || wants_samples(found, hit));
        if hits.iter().any(wanted) {
            hits = self.by_records(subject, group.as_ref())?;
        }
        if kept.iter().any(wanted) {
            kept = self.kept(subject, group.as_ref(), true)?;
        }
        hits.extend(kept);
        let mut keys: BTreeMap<Key, (bool, bool)> = BTreeMap::new();
        for hit in &hits {
            let Ok(key) = Key::new(hit.code, hit.values.clone()) else { continue };
            let sums = found.entry(key.clone()).or_default();
            let seen = keys.entry(key).or_default();
            let (sum, seen) = match hit.cured {
                None => (sums.open.get_or_insert_with(|| Sum::new(hit.tally)), &mut seen.0),
                Some((raised, at)) => {
                    let (sum, first, last) =
                        sums.cured.get_or_insert_with(|| (Sum::new(hit.tally), raised, at));
                    (*first, *last) = (raised.min(*first), at.max(*last));
                    (sum, &mut seen.1)
                }
            };
            sum.add(hit);
            sum.all.extend(hit.position.filter(|_| traced(hit)));
            sum.people += u64::from(!std::mem::replace(seen, true));
        }
        Ok(())
    }

    /// What is wrong about one person now, for those who are about to be erased.
    pub fn of(&self, subject: SubjectId) -> Result<Vec<(Key, u64)>, Error> {
        let subject = self.resolver(|resolver| resolver.canonical(subject))?;
        let group = self.group(subject)?;
        let mut found: BTreeMap<Key, u64> = BTreeMap::new();
        let mut hits = self.by_records(subject, group.as_ref())?;
        hits.extend(self.kept(subject, group.as_ref(), false)?);
        for hit in hits.into_iter().filter(|hit| hit.cured.is_none()) {
            if let Ok(key) = Key::new(hit.code, hit.values) {
                let count = found.entry(key).or_default();
                *count = count.saturating_add(hit.tally.count);
            }
        }
        Ok(found.into_iter().collect())
    }

    /// By what the rows say, where they say enough.
    fn by_rows(&self, subject: SubjectId, row: Person, of: Option<&Of>) -> Result<Sure<Vec<Hit>>, Error> {
        Ok(self.life_by_rows(subject, row, of)?.and_then(|life| self.judge(&life)))
    }

    fn life_by_rows(
        &self,
        subject: SubjectId,
        row: Person,
        of: Option<&Of>,
    ) -> Result<Sure<Life<'f>>, Error> {
        let mut life = Life { ripe: true, ..Life::default() };
        match of {
            None => {
                if let Err(unsure) = self.add_row(&mut life, subject, &row, None)? {
                    return Ok(Err(unsure));
                }
            }
            Some(of) if !of.group.named.is_empty() || self.share_records(of)? => return Ok(Err(Unsure)),
            Some(of) => {
                let sources: BTreeSet<SubjectId> = of.group.sources.iter().map(|s| s.subject).collect();
                for source in sources {
                    let Some(row) = self.finder.ask.reading.get(&store::person(source))? else { continue };
                    if let Err(unsure) = self.add_row(&mut life, source, &Person::decode(&row)?, Some(of))? {
                        return Ok(Err(unsure));
                    }
                }
            }
        }
        life.close();
        Ok(Ok(life))
    }

    fn add_row(
        &self,
        life: &mut Life<'f>,
        subject: SubjectId,
        row: &Person,
        of: Option<&Of>,
    ) -> Result<Sure<()>, Error> {
        let newest = row.tail.last().map_or(0, |posting| posting.position);
        let known_at = self.finder.known_at();
        // A row lacks what was taken back later than is asked about.
        if newest >= known_at || row.retracted > 0 && known_at < self.finder.ask.applied {
            return Ok(Err(Unsure));
        }
        life.ripe &= newest < self.unripe_from;
        for (key, tally) in &row.entries {
            // What found no room in the dictionary is not judged.
            let Some(shape) = (key.shape as usize).checked_sub(1).and_then(|at| self.shapes.get(at)) else {
                continue;
            };
            if !is_asked(shape.event_type) {
                continue;
            }
            let own = Own::decode(&key.own)?;
            if own.mark.is_some() || own.retracts.is_some() {
                continue;
            }
            let linked = match of.map(|of| of.holds(subject, tally.first, tally.last)) {
                None => false,
                Some(Ok(None)) => continue,
                Some(Ok(Some(linked))) => linked,
                Some(Err(unsure)) => return Ok(Err(unsure)),
            };
            if own.recorded.is_some() && self.may_cure(subject, row, own.recorded)? {
                return Ok(Err(Unsure));
            }
            match self.tallied(key.shape, shape, &own, *tally, linked)? {
                Ok(item) => life.add(self.finder, item),
                Err(unsure) => return Ok(Err(unsure)),
            }
        }
        Ok(Ok(()))
    }

    fn tallied(
        &self,
        number: u32,
        shape: &'f Arc<Shape>,
        own: &Own,
        tally: Tally,
        linked: bool,
    ) -> Result<Sure<Item<'f>>, Error> {
        let revisions = &self.revisions[number as usize - 1];
        let changes = revisions.iter().any(|from| tally.first < *from && *from <= tally.last);
        if changes {
            return Ok(Err(Unsure));
        }
        let (first, last) = own.act.map_or((tally.first, tally.last), |(at, _)| (at, at));
        let body = match (&own.index, &own.body, &shape.body) {
            (None, None, Some(body)) => Cow::Borrowed(body),
            _ => Cow::Owned(whole_body(shape, own)?),
        };
        Ok(Ok(Item {
            terms: self.terms(number, shape, &body, last),
            shape,
            number,
            body,
            count: tally.count,
            since: tally.first,
            first,
            last,
            position: own.act.map(|(_, position)| position),
            recorded_at: own.recorded,
            backfill: own.backfill,
            linked,
        }))
    }

    /// Whether what was recorded late may have been missing when something about the person could be judged.
    fn may_cure(&self, subject: SubjectId, row: &Person, late: Option<Timestamp>) -> Result<bool, Error> {
        let oldest = match row.blocks {
            0 => row.tail.first().copied(),
            _ => postings::oldest(&self.finder.ask.reading, subject, 0, 1)?.first().copied(),
        };
        // Nothing about the person was recorded before the first record of the zone.
        let zone = oldest.map_or(0, |posting| posting.position / ZONE) as usize;
        let from = self.recorded_from.get(zone);
        Ok(from.is_none_or(|from| late.is_some_and(|late| late > from.plus_ms(self.wait_ms))))
    }

    fn terms(
        &self,
        number: u32,
        shape: &Shape,
        body: &crate::domain::event::Body,
        at: Timestamp,
    ) -> Rc<Terms> {
        let revision = self.finder.revision(shape, at);
        // Acts of one shape differ in their bodies.
        let key = (number, revision.as_ref().map(|revision| revision.entry.position));
        if shape.body.is_none() || number == 0 {
            return Rc::new(Terms::of(self.finder, shape, body, revision.as_ref()));
        }
        let mut known = self.terms.borrow_mut();
        let of = || Rc::new(Terms::of(self.finder, shape, body, revision.as_ref()));
        Rc::clone(known.entry(key).or_insert_with(of))
    }

    /// Record by record.
    fn by_records(&self, subject: SubjectId, of: Option<&Of>) -> Result<Vec<Hit>, Error> {
        // A single record has one answer.
        Ok(self.judge(&self.life_by_records(subject, of)?).unwrap_or_default())
    }

    fn life_by_records(&self, subject: SubjectId, of: Option<&Of>) -> Result<Life<'f>, Error> {
        let of = &*Of::or_alone(of, subject);
        let ask = self.finder.ask;
        let mut positions = BTreeSet::new();
        for source in &of.group.sources {
            let all = postings::ascending(&ask.reading, source.subject)?;
            positions.extend(all.iter().map(|posting| posting.position));
        }
        positions.extend(of.group.named.iter().map(|named| named.position));
        let known_at = self.finder.known_at();
        let positions: Vec<u64> = positions.into_iter().filter(|position| *position < known_at).collect();
        let mut life = Life { ripe: true, ..Life::default() };
        ask.reach.decode_all(&positions, |event| {
            if let Some(item) = self.record(of, &event)? {
                life.add(self.finder, item);
            }
            Ok(())
        })?;
        life.close();
        Ok(life)
    }

    fn record(&self, of: &Of, event: &Decoded) -> Result<Option<Item<'f>>, Error> {
        if !is_asked(event.event_type) {
            return Ok(None);
        }
        let Some(part) = mine(&of.group, event).first().map(|part| &event.parts[usize::from(*part)]) else {
            return Ok(None);
        };
        let lent = part.subject.is_some_and(|who| of.is_lent(who, event.at));
        let ask = self.finder.ask;
        let taken_back = || {
            let by = taken_back_by(&ask.reading, &event.emitter, event.event_id, &BTreeSet::new())?;
            Ok::<bool, Error>(by.is_some_and(|by| by < self.finder.known_at()))
        };
        if !part.role.is_data_subject() || lent || fold::can_be_retracted(event.event_type) && taken_back()? {
            return Ok(None);
        }
        let number = ask.shapes().number(&event.shape).unwrap_or(0);
        let Some(shape) = (number as usize).checked_sub(1).and_then(|at| self.shapes.get(at)) else {
            return Ok(None);
        };
        let keeps = event.keep == shape::Keep::Act;
        let own = Own {
            index: event.index_json.clone(),
            body: keeps.then(|| event.body_json.clone()),
            ..Own::default()
        };
        let body = Cow::Owned(whole_body(shape, &own)?);
        Ok(Some(Item {
            terms: self.terms(number, shape, &body, event.at),
            shape,
            number,
            body,
            count: event.tally.count,
            since: event.tally.first,
            first: event.at,
            last: event.at,
            position: Some(event.position),
            recorded_at: Some(event.recorded_at),
            backfill: event.backfill,
            linked: part.subject.is_some_and(|who| !of.group.members.contains(&who)),
        }))
    }

    fn judge(&self, life: &Life<'_>) -> Sure<Vec<Hit>> {
        let mut hits = Vec::new();
        self.basis(life, &mut hits)?;
        self.separate(life, &mut hits)?;
        self.children(life, &mut hits)?;
        self.told(life, &mut hits)?;
        self.sdks(life, &mut hits)?;
        self.uses(life, &mut hits)?;
        self.marketing(life, &mut hits)?;
        self.bundles(life, &mut hits);
        self.forced(life, &mut hits)?;
        Ok(hits)
    }

    /// Something is wrong, whatever comes later.
    fn wrong(&self, hits: &mut Vec<Hit>, code: &'static str, item: &Item<'_>, values: Vec<Option<Value>>) {
        let tally = Tally { count: item.count, first: item.since, last: item.last };
        hits.push(Hit { code, values, tally, position: item.position, cured: None });
    }

    /// Something that had to be there is missing, or arrived after all. `there` says whether it is there by now,
    /// `learned` when that was recorded, if nobody knew by an instant.
    fn missing(
        &self,
        life: &Life<'_>,
        hits: &mut Vec<Hit>,
        (code, item, values): (&'static str, &Item<'_>, Vec<Option<Value>>),
        there: bool,
        learned: impl FnOnce(Timestamp) -> Option<Timestamp>,
    ) -> Sure<()> {
        let Some(ripe) = self.ripe else { return Ok(()) };
        let judged_at = item.recorded_at.map(|recorded| recorded.max(item.last));
        if there {
            if let Some(by) = judged_at.filter(|at| *at <= ripe).map(|at| at.plus_ms(self.wait_ms))
                && let Some(cured) = learned(by)
            {
                let tally = Tally { count: item.count, first: item.since, last: item.last };
                hits.push(Hit { code, values, tally, position: item.position, cured: Some((by, cured)) });
            }
            return Ok(());
        }
        let is_ripe = match judged_at {
            Some(at) => at <= ripe,
            None if life.ripe && item.last <= ripe => true,
            None if item.first > ripe => false,
            None => return Err(Unsure),
        };
        if is_ripe {
            self.wrong(hits, code, item, values);
        }
        Ok(())
    }
}

fn wants_samples(found: &Found, hit: &Hit) -> bool {
    let Ok(key) = Key::new(hit.code, hit.values.clone()) else { return false };
    let sums = found.get(&key);
    let sum = sums.and_then(|sums| sums.open.as_ref());
    sum.is_none_or(|sum| sum.samples.len() < SAMPLES)
}

/// Types that say something about consent, notice or choice.
fn is_asked(event_type: EventType) -> bool {
    use EventType::*;
    matches!(
        event_type,
        AccountRegistered
            | AccountCancelled
            | NoticeShown
            | ConsentGiven
            | ConsentRefused
            | ConsentWithdrawn
            | DevicePermissionChanged
            | ServiceRefused
            | DataCollected
            | DataUsed
            | PurposeAdded
            | MessageSent
            | SdkObserved
            | DataShared
            | DataTransferred
            | ObjectionUpheld
    )
}

/// When the first and the last record of each zone were recorded.
fn zones(ask: &Ask) -> Result<Vec<(Timestamp, Timestamp)>, Error> {
    let rows = ask.reading.prefix(&[tag::ZONE]);
    // An empty zone has neither, and hides nothing.
    rows.map(|row| Ok(Zone::decode(&row?.1)?.recorded.unwrap_or((Timestamp::LAST, Timestamp::EPOCH))))
        .collect()
}

/// The first position of a record that was recorded after an instant.
fn recorded_after(ask: &Ask, zones: &[(Timestamp, Timestamp)], at: Timestamp) -> Result<u64, Error> {
    let Some(zone) = zones.iter().position(|(_, last)| *last > at) else { return Ok(u64::MAX) };
    let numbers: Vec<u32> = ask.shapes().iter().map(|(number, _)| number).collect();
    let mut first = u64::MAX;
    for number in std::iter::once(0).chain(numbers) {
        let found = occurrences::first_after(&ask.reading, number, zone as u64 * ZONE, at)?;
        first = first.min(found.unwrap_or(u64::MAX));
    }
    Ok(first)
}
