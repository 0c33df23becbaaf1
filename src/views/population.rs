//! Who is affected: everybody named as a data subject by an event that a selector picks, each once. Those merged
//! are one person; a device's events are whoever's it was linked to then; parts that only name a mark are
//! whoever's it is bound to.
//!
//! Asked of one row per person where that row says it, of the records where it does not: within a window, as
//! known earlier, where an activity changed meanwhile, and where a mechanism or a finding is named. Counts are
//! exact for people of whom something is kept. Of the erased only the tallies of their erasures are left, and
//! these carry transfers by recipient and country alone.

mod pick;

use std::collections::{BTreeMap, BTreeSet};

pub use pick::Selector;

use crate::domain::consent::{Act, Timeline, Wanted};
use crate::domain::event::EventType;
use crate::domain::id::{Id, SubjectId};
use crate::domain::law::Law;
use crate::domain::time::Timestamp;
use crate::views::ask::Ask;
use crate::views::codec::Reader;
use crate::views::decode::Decoded;
use crate::views::fold::split_key;
use crate::views::group::{Resolver, Span};
use crate::views::own::Side;
use crate::views::person::{Key, Person, Tally};
use crate::views::registers::Registers;
use crate::views::report::whole_body;
use crate::views::shape::{self, Shape, Shapes};
use crate::views::store::{self, tag};
use crate::views::stretch::Scope;
use crate::views::use_check::consent_step;
use crate::views::{Error, lock, mark, postings};

/// What somebody's consent to a purpose has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    InForce,
    /// Given once, and withdrawn or run out.
    Ended,
    /// Asked for and refused, never given.
    Refused,
    /// Nothing on record.
    None,
}

/// Of the erased, as far as tallies tell: between these numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErasedPeople {
    pub at_least: u64,
    pub at_most: u64,
}

/// Who is affected, and what that was computed from.
#[derive(Debug, Clone, PartialEq)]
pub struct Population {
    /// After merges, by handle.
    pub people: BTreeSet<SubjectId>,
    /// `None` where no tally carries what was asked for.
    pub erased: Option<ErasedPeople>,
    /// Records below this position were taken into account.
    pub known_at: u64,
    pub law: &'static Law,
    /// Events of too many shapes to be judged, where a mechanism or a finding was asked for.
    pub unjudged: u64,
}

impl Ask {
    /// Everybody whom a selector picks, as of an instant if one is named; `now` says which law counts.
    pub fn population(
        &self,
        selector: &Selector,
        as_of: Option<Timestamp>,
        known_at: Option<u64>,
        now: Timestamp,
    ) -> Result<Population, Error> {
        let known_at = known_at.unwrap_or(u64::MAX).min(self.applied);
        // Copies, so that whoever applies events does not wait for this.
        let registers = lock::read(&self.generation.shared.registers).clone();
        let shapes = self.shapes().clone();
        let end = as_of.map(|as_of| as_of.plus_ms(1));
        let to = selector.to.into_iter().chain(end).min();
        let scope = Scope { known_at, from: selector.from, to, ripe: None };
        let mut asking = Asking {
            ask: self,
            selector,
            registers: &registers,
            resolver: Resolver { reading: &self.reading, shapes: &shapes, known_at },
            shapes: &shapes,
            scope,
            owners: BTreeMap::new(),
            people: BTreeSet::new(),
        };
        let mut unjudged = 0;
        match asking.named_positions(now)? {
            Some(positions) => {
                unjudged = self.unjudged(known_at)?;
                asking.by_records(&positions)?;
            }
            None => {
                asking.by_rows()?;
                asking.by_marks()?;
            }
        }
        let mut people = asking.people;
        if let Some(subject) = selector.subject {
            let canonical =
                Resolver { reading: &self.reading, shapes: &shapes, known_at }.canonical(subject)?;
            people.retain(|one| *one == canonical);
        }
        if let Some((purpose, standing)) = &selector.consent {
            let at = as_of.unwrap_or(now);
            let mut fit = BTreeSet::new();
            for one in people {
                if self.standing(one, (purpose, at), (as_of, known_at), &registers)? == *standing {
                    fit.insert(one);
                }
            }
            people = fit;
        }
        let erased = match as_of.is_none() && known_at >= self.applied {
            true => self.erased_people(selector)?,
            false => None,
        };
        Ok(Population { people, erased, known_at, law: registers.law(now, known_at), unjudged })
    }

    /// What somebody's consent to a purpose had come to at an instant.
    fn standing(
        &self,
        subject: SubjectId,
        (purpose, at): (&Id, Timestamp),
        (as_of, known_at): (Option<Timestamp>, u64),
        registers: &Registers,
    ) -> Result<Standing, Error> {
        let lines = self.lines_of(subject, as_of, known_at)?.map(|(_, lines)| lines).unwrap_or_default();
        let steps = lines.iter().filter_map(|line| consent_step(registers, known_at, line));
        let mine = steps.filter(|step| step.at <= at && step.purpose.as_ref() == Some(purpose)).collect();
        let line = Timeline::new(mine);
        let did = |act| line.steps().iter().any(|step| step.act == act);
        Ok(match () {
            () if line.in_force(&Wanted { settle_ms: 0, ..Wanted::to_purpose(purpose) }, at) => {
                Standing::InForce
            }
            () if did(Act::Given) => Standing::Ended,
            () if did(Act::Refused) => Standing::Refused,
            () => Standing::None,
        })
    }

    /// The erased in lines of transfers: somebody may stand in several years, levels and lines.
    fn erased_people(&self, selector: &Selector) -> Result<Option<ErasedPeople>, Error> {
        let Some(recipient) = selector.recipient.as_ref().filter(|_| selector.asks_of_transfers_only())
        else {
            return Ok(None);
        };
        let mut erased = ErasedPeople { at_least: 0, at_most: 0 };
        for row in self.reading.prefix(&[tag::TALLY]) {
            let (key, value) = row?;
            let mut reader = Reader::new(&key[1..], "tally");
            let line: Vec<&str> = reader.text()?.split(':').collect();
            let [_, importer, to] = line[..] else { continue };
            let country = selector.country.is_none_or(|country| country.as_str() == to);
            if importer == recipient.as_str() && country {
                let count = Reader::new(&value, "tally").u64()?;
                erased.at_least = erased.at_least.max(count);
                erased.at_most += count;
            }
        }
        Ok(Some(erased))
    }
}

/// From when to when a device's events were somebody's.
type Owners = Vec<(Span, SubjectId)>;

struct Asking<'a> {
    ask: &'a Ask,
    selector: &'a Selector,
    registers: &'a Registers,
    resolver: Resolver<'a>,
    shapes: &'a Shapes,
    scope: Scope,
    owners: BTreeMap<SubjectId, Owners>,
    people: BTreeSet<SubjectId>,
}

/// What a row says of one of its entries.
#[derive(PartialEq, Eq)]
enum Says {
    No,
    Yes,
    /// Only its records know.
    AskRecords,
}

impl Asking<'_> {
    /// The records that a mechanism or a finding names, if one does.
    fn named_positions(&self, now: Timestamp) -> Result<Option<Vec<u64>>, Error> {
        let mut named: Option<BTreeSet<u64>> = None;
        if let Some(key) = &self.selector.finding {
            let mut positions = BTreeSet::new();
            for (stretch, scope) in self.ask.raised(key, Some(self.scope.known_at))?.1 {
                positions.extend(self.ask.positions_in(&stretch, &scope)?);
            }
            named = Some(positions);
        }
        if let Some(mechanism) = &self.selector.mechanism {
            let transfers = self.ask.transfer_shapes();
            let judge = self.ask.judge(self.registers, &transfers, Scope::all(self.scope.known_at), now)?;
            let mut positions = BTreeSet::new();
            for (_, part, _, verdict) in self.ask.judged(&judge, &transfers)? {
                if verdict.mechanism() == Some(mechanism) {
                    positions.extend(self.ask.positions_in(&part.stretch, &judge.scope)?);
                }
            }
            named = Some(match named {
                Some(others) => others.intersection(&positions).copied().collect(),
                None => positions,
            });
        }
        Ok(named.map(|positions| positions.into_iter().collect()))
    }

    fn picks(&self, shape: &Shape, body: &crate::domain::event::Body, at: Timestamp) -> bool {
        self.selector.picks(shape, body, at, self.registers, self.scope.known_at)
    }

    fn by_records(&mut self, positions: &[u64]) -> Result<(), Error> {
        let mut all = Vec::new();
        self.ask.reach.decode_all(positions, |event| {
            all.extend(self.picked(&event)?);
            Ok(())
        })?;
        for (part, at) in all {
            self.count(part, at)?;
        }
        Ok(())
    }

    /// Whom a record names, if it is picked: by handle, or by marks.
    fn picked(&self, event: &Decoded) -> Result<Vec<(Part, Timestamp)>, Error> {
        let within = self.scope.from.is_none_or(|from| from <= event.at)
            && self.scope.to.is_none_or(|to| event.at < to)
            && event.position < self.scope.known_at;
        if !within || shape::is_reading(event.event_type) {
            return Ok(Vec::new());
        }
        let shape = shape::decode(&event.shape)?;
        let json = match &event.index_json {
            Some(index) => joined(&event.body_json, index),
            None => event.body_json.to_string(),
        };
        let body = crate::domain::event::Body::from_json(event.event_type, &json);
        let failed = |e| Error::Record {
            position: event.position,
            source: crate::record::Error::malformed("body", e),
        };
        if !self.picks(&shape, &body.map_err(failed)?, event.at) {
            return Ok(Vec::new());
        }
        let subjects = event.parts.iter().filter(|part| part.role.is_data_subject() && !part.purged);
        let named = |part: &crate::views::decode::DecodedPart| match part.subject {
            Some(subject) => Part::Of(subject),
            None => {
                Part::Marked(part.marks(crate::record::MarkUse::Named).map(|id| (id.kind, id.mark)).collect())
            }
        };
        Ok(subjects.map(|part| (named(part), event.at)).collect())
    }

    fn count(&mut self, part: Part, at: Timestamp) -> Result<(), Error> {
        let subject = match part {
            Part::Of(subject) => Some(subject),
            Part::Marked(marks) => {
                mark::attribute(&self.ask.reading, self.shapes, &marks, at, self.scope.known_at)?
            }
        };
        let Some(subject) = subject else { return Ok(()) };
        if self.ask.reading.get(&store::erased(subject))?.is_none() {
            let owner = self.owner(subject, at)?;
            self.people.insert(owner);
        }
        Ok(())
    }

    /// Who somebody was at an instant: the person after merges, or of a device whoever it was linked to.
    fn owner(&mut self, subject: SubjectId, at: Timestamp) -> Result<SubjectId, Error> {
        if !self.owners.contains_key(&subject) {
            let mut owners = Owners::new();
            for (event_type, side, other) in self.links(subject)? {
                if side == Side::Second && event_type == EventType::IdentifierLinked {
                    let group = self.resolver.group(other)?;
                    let sources =
                        group.iter().flat_map(|group| group.sources.iter().map(|s| (s, group.canonical)));
                    let mine = sources.filter(|(source, _)| source.subject == subject);
                    owners.extend(mine.map(|(source, canonical)| (source.span, canonical)));
                }
            }
            owners.push((Span::ALWAYS, self.resolver.canonical(subject)?));
            self.owners.insert(subject, owners);
        }
        let owner = self.owners[&subject].iter().find(|(span, _)| span.holds(at));
        Ok(owner.map_or(subject, |(_, owner)| *owner))
    }

    /// The links and merges in which a row stands.
    fn links(&self, subject: SubjectId) -> Result<Vec<(EventType, Side, SubjectId)>, Error> {
        let Some(row) = self.ask.reading.get(&store::person(subject))? else { return Ok(Vec::new()) };
        let mut links = Vec::new();
        for (key, _) in &Person::decode(&row)?.entries {
            let (inline, own) = split_key(key)?;
            if let Some((side, other)) = own.other {
                let event_type = match inline {
                    Some(bytes) => Some(shape::decode(bytes)?.event_type),
                    None => self.shapes.get(key.shape).map(|shape| shape.event_type),
                };
                links.extend(event_type.map(|event_type| (event_type, side, other)));
            }
        }
        Ok(links)
    }

    fn by_rows(&mut self) -> Result<(), Error> {
        for row in self.ask.reading.prefix(&[tag::PERSON]) {
            let (key, value) = row?;
            let who = key.last_chunk::<16>().ok_or(crate::views::codec::Malformed("person"))?;
            let (subject, person) = (SubjectId(*who), Person::decode(&value)?);
            let (mut yes, mut ask_records, mut linked) = (None, false, false);
            for (key, tally) in &person.entries {
                linked |= split_key(key)?.1.other.is_some_and(|(side, _)| side == Side::Second);
                match self.says(key, tally)? {
                    Says::No => {}
                    Says::Yes => yes = Some(tally.last),
                    Says::AskRecords => ask_records = true,
                }
            }
            match yes {
                Some(at) if !linked => self.count(Part::Of(subject), at)?,
                None if !ask_records => {}
                _ => self.by_own_records(subject)?,
            }
        }
        Ok(())
    }

    fn by_own_records(&mut self, subject: SubjectId) -> Result<(), Error> {
        let positions: Vec<u64> = postings::ascending(&self.ask.reading, subject)?
            .iter()
            .map(|posting| posting.position)
            .filter(|position| *position < self.scope.known_at)
            .collect();
        let mut times = Vec::new();
        self.ask.reach.decode_all(&positions, |event| {
            let mine = self.picked(&event)?.into_iter().any(|(part, _)| part == Part::Of(subject));
            if mine && !self.is_taken_back(&event)? {
                times.push(event.at);
            }
            Ok(())
        })?;
        for at in times {
            self.count(Part::Of(subject), at)?;
        }
        Ok(())
    }

    fn is_taken_back(&self, event: &Decoded) -> Result<bool, Error> {
        crate::views::retract::is_retracted(&self.ask.reading, event, &Default::default())
    }

    fn says(&self, key: &Key, tally: &Tally) -> Result<Says, Error> {
        let (inline, own) = split_key(key)?;
        if own.mark.is_some() || own.retracts.is_some() {
            return Ok(Says::No);
        }
        let (from, to) = (self.scope.from, self.scope.to);
        let outside = from.is_some_and(|from| tally.last < from) || to.is_some_and(|to| tally.first >= to);
        let act = own.act.map(|(_, position)| position);
        if outside || act.is_some_and(|position| position >= self.scope.known_at) {
            return Ok(Says::No);
        }
        let decoded;
        let shape: &Shape = match (inline, self.shapes.get(key.shape)) {
            (Some(bytes), _) => {
                decoded = shape::decode(bytes)?;
                &decoded
            }
            (None, Some(shape)) => shape,
            (None, None) => return Ok(Says::No),
        };
        let known_at = self.scope.known_at;
        let changes = self.registers.shape_changes_within(shape, tally.first, tally.last, known_at);
        let whole = from.is_none_or(|from| from <= tally.first) && to.is_none_or(|to| tally.last < to);
        let known = act.is_some() || self.scope.known_at >= self.ask.applied;
        if changes || !whole || !known {
            return Ok(Says::AskRecords);
        }
        let yes = self.picks(shape, &whole_body(shape, &own)?, tally.last);
        Ok(if yes { Says::Yes } else { Says::No })
    }

    /// Parts that name marks only stand in nobody's row.
    fn by_marks(&mut self) -> Result<(), Error> {
        let mut positions = BTreeSet::new();
        for row in self.ask.reading.prefix(&[tag::NAMED]) {
            let position = store::at_and_position(&row?.0)?.1;
            if position < self.scope.known_at {
                positions.insert(position);
            }
        }
        let mut all = Vec::new();
        self.ask.reach.decode_all(&positions.into_iter().collect::<Vec<_>>(), |event| {
            if !self.is_taken_back(&event)? {
                all.extend(
                    self.picked(&event)?.into_iter().filter(|(part, _)| matches!(part, Part::Marked(_))),
                );
            }
            Ok(())
        })?;
        for (part, at) in all {
            self.count(part, at)?;
        }
        Ok(())
    }
}

/// Whom a part names.
#[derive(PartialEq, Eq)]
enum Part {
    Of(SubjectId),
    Marked(Vec<(crate::domain::identity::Kind, crate::domain::id::Mark)>),
}

/// One object of two that share no key.
fn joined(head: &str, tail: &str) -> String {
    let head = head.strip_suffix('}').unwrap_or(head);
    let tail = tail.strip_prefix('{').unwrap_or(tail);
    let comma = if head.len() > 1 && tail.len() > 1 { "," } else { "" };
    format!("{head}{comma}{tail}")
}
