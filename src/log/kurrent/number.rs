//! Numbering: every event under our prefix takes the next position, in the order of `$all`.
//!
//! All nodes see the same events in the same order, so all give the same positions. Of two events of one
//! (emitter, event id) the first counts; in the place of the second, and of what is no record, stands a
//! record that says so (`Aside`), made alike on every node.

use std::collections::HashMap;
use std::sync::Arc;

use super::entry::{Aside, Incoming, Note, Why, leaf};
use super::wire::Place;
use crate::domain::id::{EventId, Id};
use crate::limits;
use crate::log::segments::Segments;
use crate::log::{Error, Log, NewRecord, Outcome};

/// Makes the record that stands in the place of an event which does not count. Without pieces; a function of
/// what it is given alone.
pub type SetAside = dyn Fn(&Aside) -> Result<NewRecord, Error> + Send + Sync;

/// Where an event that came stands: at its own position, or at that of an earlier copy.
#[derive(Debug)]
pub struct Numbered {
    pub emitter: Id,
    pub event_id: EventId,
    pub position: u64,
    /// The stream it came in; `None` of a copy that does not count.
    pub stream: Option<bytes::Bytes>,
}

pub struct Numberer {
    local: Arc<Segments>,
    set_aside: Arc<SetAside>,
    /// Everything up to here is in the local copy.
    pub last: Option<Place>,
}

impl Numberer {
    /// Goes on where the local copy ends.
    pub async fn resume(local: Arc<Segments>, set_aside: Arc<SetAside>) -> Result<Numberer, Error> {
        let last = match local.head().checked_sub(1) {
            Some(position) => Some(note_at(&local, position).await?.0.place),
            None => None,
        };
        Ok(Numberer { local, set_aside, last })
    }

    /// The newest record of the local copy: where it came from, and its leaf hash if it is a copy.
    pub async fn newest(&self) -> Result<Option<(Note, crate::domain::id::Digest)>, Error> {
        match self.local.head().checked_sub(1) {
            Some(position) => note_at(&self.local, position).await.map(Some),
            None => Ok(None),
        }
    }

    /// Numbers what is new among these. When it returns, all of it is in the local copy.
    pub async fn take(&mut self, incoming: Vec<Incoming>) -> Result<Vec<Numbered>, Error> {
        let last = self.last;
        let new: Vec<Incoming> = incoming.into_iter().filter(|event| Some(event.place) > last).collect();
        let mut numbered = Vec::with_capacity(new.len());
        let mut new = new.into_iter().peekable();
        while new.peek().is_some() {
            let some: Vec<Incoming> = new.by_ref().take(limits::BATCH_EVENTS).collect();
            self.take_some(some, &mut numbered).await?;
        }
        Ok(numbered)
    }

    async fn take_some(&mut self, events: Vec<Incoming>, numbered: &mut Vec<Numbered>) -> Result<(), Error> {
        let Some(last) = events.last().map(|event| event.place) else { return Ok(()) };
        let named: Vec<_> = events.iter().map(Incoming::named).collect();
        let ids: Vec<_> = named.iter().flatten().map(|n| (n.emitter.clone(), n.event_id)).collect();
        let mut found = self.local.find(&ids).await?.into_iter();
        let first = self.local.head();
        let mut here: HashMap<(Id, EventId), u64> = HashMap::new();
        let mut records = Vec::with_capacity(events.len());
        for ((event, named), position) in events.into_iter().zip(named).zip(first..) {
            let mut note = Note { place: event.place, pieces: 0, counts: false };
            let record = match named {
                None => self.aside(&event, Why::Unreadable, note)?,
                Some(named) => {
                    let key = (named.emitter, named.event_id);
                    let earlier = found.next().flatten().or_else(|| here.get(&key).copied());
                    match earlier {
                        Some(position) => {
                            let (emitter, event_id) = key;
                            numbered.push(Numbered { emitter, event_id, position, stream: None });
                            self.aside(&event, Why::Repeats(position), note)?
                        }
                        None => {
                            (note.pieces, note.counts) = (named.pieces, true);
                            here.insert(key.clone(), position);
                            let (emitter, event_id) = key;
                            numbered.push(Numbered {
                                emitter: emitter.clone(),
                                event_id,
                                position,
                                stream: Some(event.stream),
                            });
                            NewRecord { emitter, event_id, header: event.data, pieces: vec![note.encode()] }
                        }
                    }
                }
            };
            records.push(record);
        }
        let wanted = records.len() as u64;
        let outcomes = self.local.append(records).await?;
        let expected = (first..first + wanted).map(Outcome::Appended);
        if !outcomes.into_iter().eq(expected) {
            return Err(damaged(first, "the local copy numbers otherwise than the cluster"));
        }
        self.last = Some(last);
        Ok(())
    }

    fn aside(&self, event: &Incoming, why: Why, note: Note) -> Result<NewRecord, Error> {
        let aside = Aside { why, leaf: leaf(&event.data), id: event.own_id(), at: event.created };
        tracing::warn!(?why, place = event.place.commit, "an event of the cluster does not count");
        let record = (self.set_aside)(&aside)?;
        Ok(NewRecord { pieces: vec![note.encode()], ..record })
    }
}

async fn note_at(local: &Segments, position: u64) -> Result<(Note, crate::domain::id::Digest), Error> {
    let mut found = local.get(&[position]).await?;
    let record = found.pop().ok_or_else(|| damaged(position, "a record is missing"))?;
    let note = Note::decode(&record.pieces).ok_or_else(|| damaged(position, "a record has no note"))?;
    Ok((note, leaf(&record.header)))
}

pub fn damaged(position: u64, what: &'static str) -> Error {
    Error::Corrupt { position, place: "the local copy of the log".to_owned(), what }
}
