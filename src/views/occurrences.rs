//! When each shape occurred: for every shape its records, in order of position, with their times. What is
//! judged by register and law, whoever it was about, is judged from these rows alone: a shape says what
//! happened, and its rows say how often before and after a contract ended.
//!
//! Written in blocks of positions, of which the newest are at hand until they are full. An event that was
//! taken back has no row; rows of the erased stay, because a header names nobody.

use std::collections::BTreeMap;

use crate::domain::event::EventType;
use crate::domain::time::Timestamp;
use crate::views::Error;
use crate::views::ask::Ask;
use crate::views::codec::{Malformed, Reader, put_i64, put_u64};
use crate::views::decode::Decoded;
use crate::views::store::{self, Reading, Store};

/// Positions of one block. Small in tests, so that few events make several.
pub const BLOCK: u64 = if cfg!(test) { 8 } else { 1 << 14 };

const WHAT: &str = "occurrences";

/// One record of a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occurrence {
    pub position: u64,
    /// When it counts (`Decoded::at`).
    pub at: Timestamp,
    pub recorded_at: Timestamp,
    /// How many single acts it stands for.
    pub count: u64,
}

impl Occurrence {
    pub fn of(event: &Decoded) -> Occurrence {
        Occurrence {
            position: event.position,
            at: event.at,
            recorded_at: event.recorded_at,
            count: event.tally.count,
        }
    }
}

fn encode(list: &[Occurrence]) -> Vec<u8> {
    let mut out = Vec::with_capacity(list.len() * 8);
    let (mut position, mut recorded) = (0, 0);
    for one in list {
        put_u64(&mut out, one.position - position);
        put_i64(&mut out, one.recorded_at.ms() - recorded);
        put_i64(&mut out, one.recorded_at.ms() - one.at.ms());
        put_u64(&mut out, one.count);
        (position, recorded) = (one.position, one.recorded_at.ms());
    }
    out
}

pub fn decode(bytes: &[u8]) -> Result<Vec<Occurrence>, Malformed> {
    let mut reader = Reader::new(bytes, WHAT);
    let mut list = Vec::new();
    let (mut position, mut recorded) = (0u64, 0i64);
    let time = |ms: Option<i64>| ms.and_then(Timestamp::from_ms).ok_or(Malformed(WHAT));
    while !reader.is_empty() {
        position = position.checked_add(reader.u64()?).ok_or(Malformed(WHAT))?;
        recorded = recorded.checked_add(reader.i64()?).ok_or(Malformed(WHAT))?;
        let recorded_at = time(Some(recorded))?;
        let at = time(recorded.checked_sub(reader.i64()?))?;
        list.push(Occurrence { position, at, recorded_at, count: reader.u64()? });
    }
    Ok(list)
}

/// The newest block of every shape, and older ones that a retraction has changed.
pub struct Occurrences {
    store: Store,
    /// By shape and number of the block; whether it has changed since the last commit.
    at_hand: BTreeMap<(u32, u64), (Vec<Occurrence>, bool)>,
}

impl Occurrences {
    pub fn new(store: Store) -> Occurrences {
        Occurrences { store, at_hand: BTreeMap::new() }
    }

    fn block(&mut self, shape: u32, number: u64) -> Result<&mut (Vec<Occurrence>, bool), Error> {
        match self.at_hand.entry((shape, number)) {
            std::collections::btree_map::Entry::Occupied(known) => Ok(known.into_mut()),
            std::collections::btree_map::Entry::Vacant(new) => {
                let list = match self.store.get(&store::occurrences(shape, number))? {
                    Some(row) => decode(&row)?,
                    None => Vec::new(),
                };
                Ok(new.insert((list, false)))
            }
        }
    }

    /// The event is there, or is not.
    pub fn set(&mut self, shape: u32, event: &Decoded, there: bool) -> Result<(), Error> {
        let (list, changed) = self.block(shape, event.position / BLOCK)?;
        // Nearly always the newest.
        let at = match list.last() {
            Some(last) if last.position >= event.position => {
                list.partition_point(|one| one.position < event.position)
            }
            _ => list.len(),
        };
        let known = list.get(at).is_some_and(|one| one.position == event.position);
        if there && !known {
            list.insert(at, Occurrence::of(event));
        } else if !there && known {
            list.remove(at);
        }
        *changed |= there != known;
        Ok(())
    }

    /// Rows to be written; `None` removes one. Blocks before that of `next` are let go.
    pub fn changed(&mut self, next: u64) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let mut rows = Vec::new();
        for ((shape, number), (list, changed)) in &mut self.at_hand {
            if std::mem::take(changed) {
                let value = (!list.is_empty()).then(|| encode(list));
                rows.push((store::occurrences(*shape, *number).to_vec(), value));
            }
        }
        self.at_hand.retain(|(_, number), _| *number == next / BLOCK);
        rows
    }
}

/// A shape's records before a position, oldest first.
pub fn of_shape(
    reading: &Reading,
    shape: u32,
    known_at: u64,
) -> impl Iterator<Item = Result<Occurrence, Error>> + use<> {
    let mut rows = reading.prefix(&store::occurrences_of(shape));
    let mut block = Vec::<Occurrence>::new().into_iter();
    std::iter::from_fn(move || {
        loop {
            if let Some(one) = block.next() {
                return (one.position < known_at).then_some(Ok(one));
            }
            match rows.next()?.and_then(|(_, value)| Ok(decode(&value)?)) {
                Ok(list) => block = list.into_iter(),
                Err(why) => return Some(Err(why)),
            }
        }
    })
}

/// When a shape was recorded last before a position.
pub fn newest(reading: &Reading, shape: u32, known_at: u64) -> Result<Option<Timestamp>, Error> {
    for row in reading.prefix(&store::occurrences_of(shape)).rev() {
        let list = decode(&row?.1)?;
        if let Some(last) = list.iter().rfind(|one| one.position < known_at) {
            return Ok(Some(last.recorded_at));
        }
    }
    Ok(None)
}

/// The first position from one on at which a shape was recorded after an instant.
pub fn first_after(reading: &Reading, shape: u32, from: u64, at: Timestamp) -> Result<Option<u64>, Error> {
    let (begin, end) = (store::occurrences(shape, from / BLOCK), store::occurrences(shape, u64::MAX));
    for row in reading.range(&begin..&end) {
        let list = decode(&row?.1)?;
        if let Some(one) = list.iter().find(|one| one.position >= from && one.recorded_at > at) {
            return Ok(Some(one.position));
        }
    }
    Ok(None)
}

impl Ask {
    /// Where all events of some types stand, of those before a position, in the order of the log.
    pub fn positions_of(&self, types: &[EventType], known_at: u64) -> Result<Vec<u64>, Error> {
        let shapes: Vec<u32> = {
            let shapes = self.shapes();
            let some = shapes.iter().filter(|(_, shape)| types.contains(&shape.event_type));
            // Those without a number may be of any type: whoever reads the records sees.
            let full = shapes.is_full().then_some(0);
            full.into_iter().chain(some.map(|(number, _)| number)).collect()
        };
        let mut positions = Vec::new();
        for shape in shapes {
            for one in of_shape(&self.reading, shape, known_at) {
                positions.push(one?.position);
            }
        }
        positions.sort_unstable();
        Ok(positions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reads_back(raw in proptest::collection::vec((1u64..100, -1_000i64..1_000, -1_000i64..1_000, 0u64..300), 0..20)) {
            let mut position = 0;
            let list: Vec<Occurrence> = raw
                .into_iter()
                .map(|(step, at, recorded, count)| {
                    position += step;
                    let time = |ms| Timestamp::from_ms(1_700_000_000_000 + ms).unwrap();
                    Occurrence { position, at: time(at), recorded_at: time(recorded), count }
                })
                .collect();
            let bytes = encode(&list);
            prop_assert_eq!(decode(&bytes)?, list);
            if !bytes.is_empty() {
                let _ = decode(&bytes[..bytes.len() - 1]);
            }
        }
    }
}
