//! The registers with their history: every version of every entry, in memory, also those taken back. Bounded by
//! the number of register events, like `registers`, which holds what counts in the form in which it is asked.
//!
//! Only headers are read, so that nothing changes when a person who was named in a register event is erased.

use std::sync::{Arc, RwLockReadGuard};

use crate::domain::event::{Body, RegisterKind, RegisterState};
use crate::domain::register::diff::{Change, changes};
use crate::domain::register::standing::replaced;
use crate::domain::register::{Act, Book, Known, Version, expires, keeps, standing};
use crate::domain::time::Timestamp;
use crate::views::ask::Ask;
use crate::views::codec::Malformed;
use crate::views::decode::Decoded;
use crate::views::reach::Reach;
use crate::views::retract::taken_back_by;
use crate::views::store::{Reading, tag};
use crate::views::{Error, lock};

/// An entry as it stands at an instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub kind: RegisterKind,
    pub id: String,
    pub state: RegisterState,
    /// The version in force; of what is not in force the last that was, or the first that will be.
    pub version: Line,
    /// What ended, suspended or annulled it.
    pub stopped_by: Option<Line>,
    /// Versions that count.
    pub versions: usize,
}

/// A version with its place in the history of its entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub version: Arc<Version>,
    /// From when on it counts no more.
    pub to: Option<Timestamp>,
    /// As far as is known.
    pub retracted_by: Option<u64>,
    pub annulled_by: Option<u64>,
    pub changes: Vec<Change>,
}

/// A register event as a version; `None` for what is of no register.
pub fn version(event: &Decoded, retracted_by: Option<u64>) -> Result<Option<Version>, Error> {
    let Some(envelope) = event.register.as_deref().filter(|_| keeps(event.event_type)) else {
        return Ok(None);
    };
    let body = Body::from_json(event.event_type, &event.body_json).map_err(|why| Error::Record {
        position: event.position,
        source: crate::record::Error::malformed("register event", why),
    })?;
    let version = Version::new(event.position, event.recorded_at, envelope.clone(), body);
    Ok(Some(Version { retracted_by, ..version }))
}

/// Reads all register events again.
pub fn load(reading: &Reading, reach: &Reach) -> Result<Book, Error> {
    let positions = positions(reading)?;
    let mut book = Book::default();
    reach.decode_all(&positions, |event| {
        let by = taken_back_by(reading, &event.emitter, event.event_id, &Default::default())?;
        if let Some(version) = version(&event, by)? {
            book.add(version);
        }
        Ok(())
    })?;
    Ok(book)
}

/// Where register events stand in the log.
pub fn positions(reading: &Reading) -> Result<Vec<u64>, Error> {
    let mut positions = Vec::new();
    for row in reading.prefix(&[tag::REGISTER]) {
        let (key, _) = row?;
        let position = key.last_chunk::<8>().ok_or(Malformed("register"))?;
        positions.push(u64::from_be_bytes(*position));
    }
    Ok(positions)
}

impl Ask {
    fn book(&self) -> RwLockReadGuard<'_, Book> {
        lock::read(&self.generation.shared.book)
    }

    /// The entries of a register that are registered at all, by name.
    pub fn entries(&self, kind: RegisterKind, as_of: Timestamp, known_at: Option<u64>) -> Vec<Entry> {
        let (book, known_at) = (self.book(), self.known_at(known_at));
        let rules = rules(&book, kind, known_at);
        let entry = |(id, versions)| entry(kind, id, versions, (as_of, known_at), &rules);
        book.of(kind).filter_map(entry).collect()
    }

    pub fn entry(
        &self,
        kind: RegisterKind,
        id: &str,
        as_of: Timestamp,
        known_at: Option<u64>,
    ) -> Option<Entry> {
        let (book, known_at) = (self.book(), self.known_at(known_at));
        let rules = rules(&book, kind, known_at);
        entry(kind, id, book.versions(kind, id), (as_of, known_at), &rules)
    }

    /// Every version of an entry in the order of the log, also those taken back.
    pub fn history(&self, kind: RegisterKind, id: &str, known_at: Option<u64>) -> Vec<Line> {
        let (book, known_at) = (self.book(), self.known_at(known_at));
        let all = book.versions(kind, id);
        let mut lines: Vec<Line> = all
            .iter()
            .filter(|version| version.position < known_at)
            .map(|version| line(version, all, known_at))
            .collect();
        lines.sort_by_key(|line| line.version.position);
        lines
    }

    fn known_at(&self, known_at: Option<u64>) -> u64 {
        known_at.unwrap_or(u64::MAX).min(self.applied)
    }
}

type Rules<'a> = Vec<(&'a str, Vec<&'a Version>)>;

/// All retention rules, where it is about them: they take over from each other.
fn rules(book: &Book, kind: RegisterKind, known_at: u64) -> Rules<'_> {
    static NONE: Book = Book::EMPTY;
    match kind {
        RegisterKind::RetentionRule => Known { book, fresh: &NONE, known_at }.of(kind),
        _ => Vec::new(),
    }
}

fn entry(
    kind: RegisterKind,
    id: &str,
    all: &[Arc<Version>],
    (as_of, known_at): (Timestamp, u64),
    rules: &Rules<'_>,
) -> Option<Entry> {
    let known: Vec<&Version> = counted(all, known_at).map(Arc::as_ref).collect();
    let found = standing(&known, as_of)?;
    let line_of = |wanted: &Version| {
        let version = all.iter().find(|version| version.position == wanted.position)?;
        Some(line(version, all, known_at))
    };
    let mut version = line_of(found.version)?;
    let mut state = found.state;
    if let Some(from) = replaced(rules, id) {
        version.to = Some(version.to.map_or(from, |to| to.min(from)));
        if from <= as_of && state == RegisterState::InForce {
            state = RegisterState::Replaced;
        }
    }
    let stopped_by = found.stopped_by.and_then(line_of);
    Some(Entry { kind, id: id.to_owned(), state, version, stopped_by, versions: known.len() })
}

fn counted(all: &[Arc<Version>], known_at: u64) -> impl Iterator<Item = &Arc<Version>> {
    all.iter().filter(move |version| version.is_known(known_at))
}

/// A version among all of its entry, which are sorted by when they count from.
fn line(version: &Arc<Version>, all: &[Arc<Version>], known_at: u64) -> Line {
    let place = |version: &Version| (version.from, version.position);
    let next = counted(all, known_at)
        .find(|later| place(later) > place(version) && later.act() != Act::Adds)
        .map(|later| later.from);
    let annulled = counted(all, known_at).find(|other| other.act() == Act::Annuls);
    let to = match version.act() {
        Act::Registers => expires(&version.body).into_iter().chain(next).min(),
        Act::Suspends | Act::Ends => next,
        Act::Adds | Act::Annuls => None,
    };
    let before: Vec<&Version> = counted(all, version.position)
        .map(Arc::as_ref)
        .filter(|earlier| place(earlier) < place(version))
        .collect();
    Line {
        to,
        retracted_by: version.retracted_by.filter(|by| *by < known_at),
        annulled_by: annulled.map(|by| by.position).filter(|_| version.act() == Act::Registers),
        changes: changes(version, &before),
        version: Arc::clone(version),
    }
}
