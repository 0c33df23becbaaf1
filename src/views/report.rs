//! The report about one person: everything that follows from the events, as terms and handles.
//! Labels and opened values are added above.
//!
//! A state keeps what emitters stated; what they left to the register is resolved here, from the
//! activity's revision at the time. Where a revision changed within a tally, the person's records
//! are folded again with the revision as part of the key, so that the answer is exact.

pub mod acts;
pub mod data;
pub mod recipients;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use acts::*;
pub use data::*;
pub use recipients::*;

use crate::domain::event::Body;
use crate::domain::id::{Id, SubjectId};
use crate::domain::time::Timestamp;
use crate::views::Error;
use crate::views::codec::Malformed;
use crate::views::event_view::EventView;
use crate::views::fold::split_key;
use crate::views::own::Own;
use crate::views::person::{Entries, Tally};
use crate::views::registers::{Registers, Revision};
use crate::views::shape::{self, Shape, Shapes};

/// What is asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReportOptions {
    /// State of the world at this instant; now if `None`.
    pub as_of: Option<Timestamp>,
    /// What was known before this position; all if `None`.
    pub known_at: Option<u64>,
    /// Newest events to give as evidence, at most `limits::PAGE`.
    pub evidence: usize,
    /// As of when it is decided how long data are kept; not at all if `None`.
    pub decided_at: Option<Timestamp>,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    Stated,
    /// From this revision of the activity.
    Register {
        activity: Id,
        revision: u64,
    },
    /// Neither stated nor registered.
    Unmapped,
}

/// Everything that follows from the events about one person. Lists are sorted.
#[derive(Debug, Clone)]
pub struct Report {
    /// After merges.
    pub subject: SubjectId,
    /// Others that were merged into it.
    pub merged: Vec<SubjectId>,
    /// Devices and contacts whose events count for a time.
    pub linked: Vec<SubjectId>,
    /// Records below this position were taken into account.
    pub applied: u64,
    pub as_of: Option<Timestamp>,
    pub known_at: Option<u64>,
    /// Why newer events may be missing.
    pub stale: Option<String>,

    pub data: Vec<Datum>,
    pub purposes: Vec<PurposeUse>,
    pub sources: Vec<SourceLine>,
    pub recipients: Vec<Recipient>,
    pub transfers: Vec<Transfer>,
    pub consents: Vec<Consent>,
    pub permissions: Vec<PermissionLine>,
    pub accounts: Vec<Account>,
    pub notices: Vec<Line>,
    pub messages: Vec<Line>,
    pub staff_accesses: Vec<Line>,
    pub decisions: Vec<Line>,
    /// Requests and what became of them, oldest first.
    pub requests: Vec<Line>,
    pub transactions: Vec<Line>,
    /// Everything else that is kept act by act: holds, instructions, executions, complaints.
    pub other_acts: Vec<Line>,
    pub services: BTreeSet<Id>,
    /// Records about the person, and those of them that were taken back.
    pub events: u64,
    pub retracted: u64,
    /// Newest first.
    pub evidence: Vec<EventView>,
}

/// One entry of the state, read back.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub shape: Arc<Shape>,
    /// Header and index fields.
    pub body: Body,
    pub own: Own,
    pub tally: Tally,
    /// The activity's revision that fills in what was not stated.
    pub revision: Option<Revision>,
}

impl Line {
    /// The origin of a value: stated, or `registered` by the line's revision.
    fn origin(&self, stated: bool, registered: bool) -> Origin {
        match (&self.shape.activity, &self.revision) {
            _ if stated => Origin::Stated,
            (Some(activity), Some(revision)) if registered => {
                Origin::Register { activity: activity.clone(), revision: revision.number }
            }
            _ => Origin::Unmapped,
        }
    }

    /// When it happened, where every act is a line of its own.
    pub fn at(&self) -> Timestamp {
        self.own.act.map_or(self.tally.first, |(at, _)| at)
    }
}

/// The state of a person as lines, with what the fold already knows of revisions: by the position
/// of a register entry, or one map under `None` that is yet to be resolved.
pub type Folded = BTreeMap<Option<u64>, Entries>;

/// Turns entries into lines. Marks and retractions are no news about the person and are left out.
pub fn lines(
    entries: &Entries,
    shapes: &Shapes,
    registers: &Registers,
    known_at: u64,
) -> Result<Vec<Line>, Error> {
    let mut lines = Vec::with_capacity(entries.len());
    for (key, tally) in entries {
        let (inline, own) = split_key(key)?;
        if own.mark.is_some() || own.retracts.is_some() {
            continue;
        }
        let shape = match inline {
            Some(bytes) => Arc::new(shape::decode(bytes)?),
            None => Arc::clone(shapes.get(key.shape).ok_or(Malformed("shape number"))?),
        };
        let body = whole_body(&shape, &own)?;
        let revision = registers.resolved(&shape, tally.last, known_at);
        lines.push(Line { shape, body, own, tally: *tally, revision });
    }
    Ok(lines)
}

/// The body of a line: its header fields, from the shape or its own, and its index fields.
pub(super) fn whole_body(shape: &Shape, own: &Own) -> Result<Body, Error> {
    let json = own.body.as_deref().or(shape.body_json.as_deref()).ok_or(Malformed("state entry"))?;
    let body = match (&own.index, &shape.body) {
        (None, Some(body)) => return Ok(body.clone()),
        (None, None) => Body::from_json(shape.event_type, json),
        (Some(index), _) => {
            let head = json.strip_suffix('}').ok_or(Malformed("state entry"))?;
            let tail = index.strip_prefix('{').ok_or(Malformed("state entry"))?;
            let comma = if head.len() > 1 && tail.len() > 1 { "," } else { "" };
            Body::from_json(shape.event_type, &format!("{head}{comma}{tail}"))
        }
    };
    body.map_err(|_| Malformed("state entry").into())
}

/// Widens a tally that may not be there yet.
fn tally_up(to: &mut Option<Tally>, more: Tally) {
    match to {
        Some(tally) => tally.add(more),
        None => *to = Some(more),
    }
}
