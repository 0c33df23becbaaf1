//! Whether an append is taken: the rules of expected revisions and of repeated appends.
//!
//! Promises: with an exact revision or "no stream", an append sent again with the same ids is recognised
//! for ever; with "any" and "exists", while its ids are among the recent ones of this leader. Does not:
//! touch the log. A crash loses the recent ids, as in the database this stands in for.

use crate::log::Inner;
use crate::wire::{Expected, ProposedMessage, Uuid};
use std::collections::{HashMap, VecDeque};

/// Ids kept for appends without an exact expectation.
const RECENT_MAX: usize = 200_000;

#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// Write it; its first event gets this revision.
    Write { first_revision: u64 },
    /// It is in the log already, or holds no events.
    Known { last_revision: Option<u64>, position: Option<u64> },
    /// The stream is elsewhere: number of its events.
    Wrong { revisions: u64 },
}

/// Where recent ids went, for appends that do not say what they expect.
#[derive(Default)]
pub struct Recent {
    revisions: HashMap<uuid::Uuid, u64>,
    order: VecDeque<uuid::Uuid>,
}

impl Recent {
    pub fn remember(&mut self, events: &[ProposedMessage], first_revision: u64) {
        for (revision, id) in (first_revision..).zip(events.iter().filter_map(id_of)) {
            if self.revisions.insert(id, revision).is_none() {
                self.order.push_back(id);
            }
        }
        while self.order.len() > RECENT_MAX {
            if let Some(id) = self.order.pop_front() {
                self.revisions.remove(&id);
            }
        }
    }
}

pub fn decide(
    log: &Inner,
    recent: &Recent,
    stream: &[u8],
    expected: Expected,
    events: &[ProposedMessage],
) -> Verdict {
    let revisions = log.revisions(stream);
    let wanted = match expected {
        Expected::StreamExists(()) if revisions == 0 => return Verdict::Wrong { revisions },
        Expected::Any(()) | Expected::StreamExists(()) => {
            let seen = events.first().and_then(id_of).and_then(|id| recent.revisions.get(&id).copied());
            let repeated = seen.filter(|&revision| all_equal(log, stream, revision, events));
            repeated.unwrap_or(revisions)
        }
        Expected::NoStream(()) => 0,
        Expected::Revision(revision) => revision.saturating_add(1),
    };
    if wanted > revisions {
        return Verdict::Wrong { revisions };
    }
    if events.is_empty() {
        let at_head = wanted == revisions;
        let nothing = Verdict::Known { last_revision: revisions.checked_sub(1), position: None };
        return if at_head { nothing } else { Verdict::Wrong { revisions } };
    }
    if wanted == revisions {
        return Verdict::Write { first_revision: revisions };
    }
    if !all_equal(log, stream, wanted, events) {
        return Verdict::Wrong { revisions };
    }
    let last = wanted + events.len() as u64 - 1;
    Verdict::Known {
        last_revision: Some(last),
        position: log.event(stream, last).map(|event| event.position),
    }
}

fn all_equal(log: &Inner, stream: &[u8], first_revision: u64, events: &[ProposedMessage]) -> bool {
    (first_revision..).zip(events).all(|(revision, message)| {
        log.event(stream, revision).is_some_and(|event| Some(event.id) == id_of(message))
    })
}

fn id_of(message: &ProposedMessage) -> Option<uuid::Uuid> {
    message.id.as_ref().and_then(Uuid::parse)
}
