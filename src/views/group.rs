//! Who counts as one person: merges, links of devices and contacts, and parts that only name a
//! mark. Resolved when asked, from the rows of those concerned, so that it does not matter in
//! which order the events about it arrived.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::domain::event::EventType;
use crate::domain::id::{Mark, SubjectId};
use crate::domain::identity::Kind;
use crate::domain::time::Timestamp;
use crate::views::Error;
use crate::views::fold::split_key;
use crate::views::mark;
use crate::views::own::{Own, Side};
use crate::views::person::Person;
use crate::views::shape::{self, Shapes};
use crate::views::store::{self, Reading};

/// `[from, to)` in valid time; open ends are `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

impl Span {
    pub const ALWAYS: Span = Span { from: None, to: None };

    pub fn holds(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= at) && self.to.is_none_or(|to| at < to)
    }
}

/// Whose records count, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub subject: SubjectId,
    pub span: Span,
}

/// A part that only names marks, and counts as the person's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedPart {
    pub position: u64,
    pub part: u8,
    pub at: Timestamp,
}

/// An identifier bound to a member, keyed.
pub type BoundMark = (Kind, Mark, Timestamp);

/// Everything that counts as one person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The person after merges.
    pub canonical: SubjectId,
    /// The canonical person and those merged into it, in order of their handles.
    pub members: BTreeSet<SubjectId>,
    /// Members for ever, linked devices and contacts for their time.
    pub sources: Vec<Source>,
    pub named: BTreeSet<NamedPart>,
    pub marks: Vec<BoundMark>,
    /// The rows of the sources, as far as they were read.
    pub rows: BTreeMap<SubjectId, Person>,
}

/// The identity acts of one person's row, as far as they were known at a position.
struct Acts {
    person: Option<Person>,
    links: Vec<(EventType, Side, SubjectId, Own)>,
    marks: Vec<BoundMark>,
}

/// Looks people up as of one snapshot.
pub struct Resolver<'a> {
    pub reading: &'a Reading,
    pub shapes: &'a Shapes,
    /// Acts at or beyond this position are not known.
    pub known_at: u64,
}

impl Resolver<'_> {
    /// The person that a handle stands for after merges. Follows each merge once, so that a ring
    /// of merges ends.
    pub fn canonical(&self, subject: SubjectId) -> Result<SubjectId, Error> {
        Ok(self.canonical_acts(subject)?.0)
    }

    /// The same with what is known of that person.
    fn canonical_acts(&self, subject: SubjectId) -> Result<(SubjectId, Acts), Error> {
        let mut seen = BTreeSet::from([subject]);
        let mut at = subject;
        loop {
            let acts = self.acts(at)?;
            match merges(&acts.links, Side::Second).into_iter().next() {
                Some(kept) if seen.insert(kept) => at = kept,
                _ => return Ok((at, acts)),
            }
        }
    }

    /// As whom what happens to a handle counts: who it is after merges, and whoever it was linked to.
    pub fn counts_as(&self, subject: SubjectId) -> Result<Vec<SubjectId>, Error> {
        let (canonical, acts) = self.canonical_acts(subject)?;
        let acts = if canonical == subject { acts } else { self.acts(subject)? };
        let mut people = vec![canonical];
        for (event_type, side, by, _) in acts.links {
            if side == Side::Second && is_identifier_act(event_type) {
                people.push(self.canonical(by)?);
            }
        }
        Ok(people)
    }

    /// Everything that counts as the person a handle stands for. `None` if nothing is known.
    pub fn group(&self, subject: SubjectId) -> Result<Option<Group>, Error> {
        let (canonical, acts) = self.canonical_acts(subject)?;
        let mut members = BTreeSet::from([canonical]);
        let mut open = vec![(canonical, acts)];
        let mut links: BTreeMap<SubjectId, Vec<(EventType, Own)>> = BTreeMap::new();
        let (mut marks, mut rows) = (Vec::new(), BTreeMap::new());
        while let Some((member, acts)) = open.pop() {
            rows.extend(acts.person.map(|row| (member, row)));
            marks.extend(acts.marks);
            for gone in merges(&acts.links, Side::First).into_iter().filter(|gone| members.insert(*gone)) {
                open.push((gone, self.acts(gone)?));
            }
            for (event_type, side, other, own) in acts.links {
                if side == Side::First && is_identifier_act(event_type) {
                    links.entry(other).or_default().push((event_type, own));
                }
            }
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let mut sources: Vec<Source> =
            members.iter().map(|subject| Source { subject: *subject, span: Span::ALWAYS }).collect();
        for (other, acts) in links {
            if !members.contains(&other) {
                let theirs = self.acts(other)?;
                let spans = spans(&theirs, &acts, &members);
                rows.extend(theirs.person.map(|row| (other, row)));
                sources.extend(spans.into_iter().map(|span| Source { subject: other, span }));
            }
        }
        let named = self.named(&marks, &members)?;
        Ok(Some(Group { canonical, members, sources, named, marks, rows }))
    }

    /// Parts that count as one handle's own, without those merged with it.
    pub fn named_of(&self, subject: SubjectId) -> Result<BTreeSet<NamedPart>, Error> {
        self.named(&self.acts(subject)?.marks, &BTreeSet::from([subject]))
    }

    fn named(
        &self,
        marks: &[BoundMark],
        members: &BTreeSet<SubjectId>,
    ) -> Result<BTreeSet<NamedPart>, Error> {
        let mut named = BTreeSet::new();
        let mut seen = BTreeSet::new();
        for (_, mark, _) in marks {
            if !seen.insert(*mark) || !self.reading.may_name(*mark) {
                continue;
            }
            for row in mark::named(self.reading, *mark) {
                let (at, position, part, all) = row?;
                if position >= self.known_at {
                    continue;
                }
                let holder = mark::attribute(self.reading, self.shapes, &all, at, self.known_at)?;
                if holder.is_some_and(|holder| members.contains(&holder)) {
                    named.insert(NamedPart { position, part, at });
                }
            }
        }
        Ok(named)
    }

    fn acts(&self, subject: SubjectId) -> Result<Acts, Error> {
        let mut acts = Acts { person: None, links: Vec::new(), marks: Vec::new() };
        let Some(row) = self.reading.get(&store::person(subject))? else { return Ok(acts) };
        let person = Person::decode(&row)?;
        for (key, _) in &person.entries {
            // Only acts that name another person or a mark matter, and both stand in `own`.
            if key.own.len() < 17 {
                continue;
            }
            let (inline, own) = split_key(key)?;
            if own.act.is_some_and(|(_, position)| position >= self.known_at) {
                continue;
            }
            if let (Some((kind, mark)), Some((at, _))) = (own.mark, own.act) {
                acts.marks.push((kind, mark, at));
            }
            if let Some((side, other)) = own.other {
                let event_type = match inline {
                    Some(bytes) => Some(shape::decode(bytes)?.event_type),
                    None => self.shapes.get(key.shape).map(|shape| shape.event_type),
                };
                acts.links.extend(event_type.map(|event_type| (event_type, side, other, own)));
            }
        }
        acts.person = Some(person);
        Ok(acts)
    }
}

/// When a device's or contact's events count as the members': from each link to its end, its
/// unlinking, or the next link to somebody else.
fn spans(other: &Acts, acts: &[(EventType, Own)], members: &BTreeSet<SubjectId>) -> Vec<Span> {
    let mut ends: Vec<Timestamp> = Vec::new();
    for (event_type, side, by, own) in &other.links {
        if *side == Side::Second && *event_type == EventType::IdentifierLinked && !members.contains(by) {
            ends.extend(interval(own).0);
        }
    }
    for (event_type, own) in acts {
        if *event_type == EventType::IdentifierUnlinked {
            ends.push(unlinked_at(own));
        }
    }
    let mut spans: Vec<(Timestamp, Timestamp)> = Vec::new();
    let mut starts: Vec<(Timestamp, Timestamp)> = acts
        .iter()
        .filter(|(event_type, _)| *event_type == EventType::IdentifierLinked)
        .filter_map(|(_, own)| {
            let (from, to) = interval(own);
            Some((from?, to.unwrap_or(LAST)))
        })
        .collect();
    starts.sort_unstable();
    for (from, to) in starts {
        let to = ends.iter().filter(|end| **end > from).fold(to, |to, end| to.min(*end));
        match spans.last_mut() {
            // Sessions that touch or overlap are one, so that no event counts twice.
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ if from < to => spans.push((from, to)),
            _ => {}
        }
    }
    spans.into_iter().map(|(from, to)| Span { from: Some(from), to: (to < LAST).then_some(to) }).collect()
}

/// The last instant there is: an open end that compares.
const LAST: Timestamp = Timestamp::LAST;

fn is_identifier_act(event_type: EventType) -> bool {
    matches!(event_type, EventType::IdentifierLinked | EventType::IdentifierUnlinked)
}

/// With whom a person is merged now, standing on `side`: per pair the last act decides, and of a
/// merge and a split at the same instant the split.
fn merges(links: &[(EventType, Side, SubjectId, Own)], side: Side) -> BTreeSet<SubjectId> {
    let mut last: BTreeMap<SubjectId, (Timestamp, bool)> = BTreeMap::new();
    for (event_type, stands, other, own) in links {
        let split = match event_type {
            EventType::SubjectsMerged => false,
            EventType::SubjectsSplit => true,
            _ => continue,
        };
        if let (true, Some((at, _))) = (*stands == side, own.act) {
            let latest = last.entry(*other).or_insert((at, split));
            *latest = (*latest).max((at, split));
        }
    }
    last.into_iter().filter(|(_, (_, split))| !split).map(|(other, _)| other).collect()
}

#[derive(Deserialize)]
struct Interval {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

/// From when to when a link holds; where it states no beginning, from when it was made.
fn interval(own: &Own) -> (Option<Timestamp>, Option<Timestamp>) {
    let stated = own.index.as_deref().and_then(|json| serde_json::from_str::<Interval>(json).ok());
    let made = own.act.map(|(at, _)| at);
    match stated {
        Some(Interval { from, to }) => (from.or(made), to),
        None => (made, None),
    }
}

fn unlinked_at(own: &Own) -> Timestamp {
    interval(own).1.or(own.act.map(|(at, _)| at)).unwrap_or(LAST)
}
