//! What officers did about findings: events that name the finding by the hash of its key, because a key is
//! longer than an id may be.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use crate::domain::event::{Body, EventType};
use crate::domain::finding::Key;
use crate::domain::id::{Digest, Id};
use crate::domain::time::Timestamp;
use crate::views::Error;
use crate::views::ask::Ask;
use crate::views::findings::Finding;
use crate::views::retract::is_retracted;

/// How a finding stands. In the order in which acts of one instant count: the last decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Open,
    Acknowledged,
    Closed,
    Reopened,
    /// What was missing arrived; no act, and what officers did before does not change it, but closing it does.
    Cured,
}

/// One act.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Act {
    pub at: Timestamp,
    pub state: State,
    pub position: u64,
    pub reason: Option<Id>,
}

/// How acts name a finding: SHA-256 of its key as it is written, in hexadecimal.
pub fn name(key: &Key) -> Digest {
    Digest(Sha256::digest(key.to_string().as_bytes()).into())
}

/// Puts on each finding what was done about it before a position.
pub fn put_on(ask: &Ask, known_at: u64, findings: &mut [Finding]) -> Result<(), Error> {
    use EventType::{FindingAcknowledged, FindingClosed, FindingReopened};
    let positions = ask.positions_of(&[FindingAcknowledged, FindingClosed, FindingReopened], known_at)?;
    let mut acts: BTreeMap<String, Vec<Act>> = BTreeMap::new();
    ask.reach.decode_all(&positions, |event| {
        if is_retracted(&ask.reading, &event, &Default::default())? {
            return Ok(());
        }
        let said = match Body::from_json(event.event_type, &event.body_json) {
            Ok(Body::FindingAcknowledged(body)) => (State::Acknowledged, body.key, body.reason),
            Ok(Body::FindingClosed(body)) => (State::Closed, body.key, body.reason),
            Ok(Body::FindingReopened(body)) => (State::Reopened, body.key, body.reason),
            _ => return Ok(()),
        };
        if let (state, Some(key), reason) = said {
            let act = Act { at: event.at, state, position: event.position, reason };
            acts.entry(key.to_string()).or_default().push(act);
        }
        Ok(())
    })?;
    for finding in findings {
        if let Some(mut acts) = acts.remove(&name(&finding.key).to_string()) {
            acts.sort_unstable();
            let last = acts.last().map_or(State::Open, |act| act.state);
            if finding.state != State::Cured || last == State::Closed {
                finding.state = last;
            }
            finding.acts = acts;
        }
    }
    Ok(())
}
