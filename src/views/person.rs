//! One person's row: what is known, as tallies, and the newest of the postings.
//!
//! A row is a sorted list of *entries*. An entry's key is what kind of thing happened (its shape,
//! shared between people) and what is particular to the person; its value is how often, first and
//! last. Folding an event in is adding to one entry, and merging two people is merging two sorted
//! lists: sums, minima and maxima, so the order in which events arrive cannot matter.

use crate::domain::time::Timestamp;
use crate::record::PartRole;
use crate::views::codec::{Malformed, Reader, put_bytes, put_i64, put_u64};

/// Postings that stand in the row itself before they are sealed into a block of their own. Small
/// in tests, so that few events make several blocks.
pub const TAIL: usize = if cfg!(test) { 4 } else { 128 };

const FORMAT: u8 = 1;

/// How often, first and last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    pub count: u64,
    pub first: Timestamp,
    pub last: Timestamp,
}

impl Tally {
    pub fn add(&mut self, other: Tally) {
        self.count = self.count.saturating_add(other.count);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

/// What an entry is about. Sorted by shape, so that a concern's entries of one shape lie together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Number in the dictionary of shapes; 0 where it was full and `own` begins with the shape.
    pub shape: u32,
    /// Encoded `Own`.
    pub own: Box<[u8]>,
}

pub type Entries = Vec<(Key, Tally)>;

/// Adds to one entry. Allocates only for a new one.
pub fn add(entries: &mut Entries, shape: u32, own: &[u8], tally: Tally) {
    match entries.binary_search_by(|(key, _)| key.shape.cmp(&shape).then_with(|| (*key.own).cmp(own))) {
        Ok(at) => entries[at].1.add(tally),
        Err(at) => entries.insert(at, (Key { shape, own: own.into() }, tally)),
    }
}

/// One position of a posting list, and in which roles the person stands in that record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posting {
    pub position: u64,
    pub roles: Roles,
}

/// A set of roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Roles(pub u8);

impl Roles {
    /// Data subjects only, the common case.
    pub const SUBJECT: Roles = Roles(1);

    pub fn of(role: PartRole) -> Roles {
        match role {
            PartRole::Person(role) => Roles(1 << (role.number() - 1)),
            PartRole::Matter => Roles(1 << 5),
            PartRole::Nobody => Roles(1 << 6),
        }
    }

    pub fn is_data_subject(self) -> bool {
        self.0 & 1 != 0
    }
}

/// A person's row, decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Person {
    /// Records that name the person as a data subject.
    pub events: u64,
    /// Those of them that were taken back.
    pub retracted: u64,
    /// Sealed blocks of postings, in rows of their own.
    pub blocks: u64,
    /// Postings not sealed yet, in order.
    pub tail: Vec<Posting>,
    pub entries: Entries,
}

impl Person {
    /// Notes that the person stands in a record. Positions come in order. A full tail is handed
    /// back to be sealed.
    #[must_use]
    pub fn post(&mut self, position: u64, roles: Roles) -> Option<Vec<Posting>> {
        match self.tail.last_mut() {
            Some(last) if last.position == position => last.roles.0 |= roles.0,
            _ => {
                let sealed = (self.tail.len() >= TAIL).then(|| std::mem::take(&mut self.tail));
                self.blocks += u64::from(sealed.is_some());
                self.tail.push(Posting { position, roles });
                return sealed;
            }
        }
        None
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(FORMAT);
        put_u64(out, self.events);
        put_u64(out, self.retracted);
        put_u64(out, self.blocks);
        put_u64(out, self.tail.len() as u64);
        put_postings(out, &self.tail);
        put_u64(out, self.entries.len() as u64);
        for (key, tally) in &self.entries {
            put_u64(out, key.shape.into());
            put_bytes(out, &key.own);
            put_u64(out, tally.count);
            put_i64(out, tally.first.ms());
            put_u64(out, tally.last.since(tally.first) as u64);
        }
    }

    pub fn decode(bytes: &[u8]) -> Result<Person, Malformed> {
        let mut reader = Reader::new(bytes, "person");
        if reader.byte()? != FORMAT {
            return Err(Malformed("person"));
        }
        let (events, retracted, blocks) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let n = reader.len()?;
        let tail = take_postings(&mut reader, n)?;
        let n = reader.len()?;
        let mut entries = Vec::with_capacity(n + 1);
        for _ in 0..n {
            let shape = u32::try_from(reader.u64()?).map_err(|_| Malformed("person"))?;
            let own = reader.bytes()?.into();
            let count = reader.u64()?;
            let first = reader.i64()?;
            let last = first.checked_add_unsigned(reader.u64()?);
            let (Some(first), Some(last)) = (Timestamp::from_ms(first), last.and_then(Timestamp::from_ms))
            else {
                return Err(Malformed("person"));
            };
            entries.push((Key { shape, own }, Tally { count, first, last }));
        }
        reader.end()?;
        Ok(Person { events, retracted, blocks, tail, entries })
    }
}

/// Deltas; a role byte only where it is not the common one.
pub fn put_postings(out: &mut Vec<u8>, postings: &[Posting]) {
    let mut before = 0;
    for posting in postings {
        let plain = posting.roles == Roles::SUBJECT;
        put_u64(out, (posting.position - before) << 1 | u64::from(!plain));
        if !plain {
            out.push(posting.roles.0);
        }
        before = posting.position;
    }
}

pub fn take_postings(reader: &mut Reader<'_>, n: usize) -> Result<Vec<Posting>, Malformed> {
    let mut postings = Vec::with_capacity(n);
    let mut position = 0u64;
    for _ in 0..n {
        let raw = reader.u64()?;
        position = position.checked_add(raw >> 1).ok_or(Malformed("postings"))?;
        let roles = if raw & 1 == 0 { Roles::SUBJECT } else { Roles(reader.byte()?) };
        postings.push(Posting { position, roles });
    }
    Ok(postings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn person() -> impl Strategy<Value = Person> {
        let entry =
            (0u32..50, proptest::collection::vec(any::<u8>(), 0..6), 1u64..9, 0i64..1 << 41, 0i64..99);
        (
            0u64..9,
            proptest::collection::btree_map(any::<u32>(), 1u8..64, 0..20),
            proptest::collection::vec(entry, 0..20),
        )
            .prop_map(|(blocks, tail, raw)| {
                let mut entries = Entries::new();
                for (shape, own, count, first, more) in raw {
                    let first = Timestamp::EPOCH.plus_ms(first);
                    add(&mut entries, shape, &own, Tally { count, first, last: first.plus_ms(more) });
                }
                let tail = tail.into_iter().map(|(p, r)| Posting { position: p.into(), roles: Roles(r) });
                Person { events: blocks + 1, retracted: 1, blocks, tail: tail.collect(), entries }
            })
    }

    proptest! {
        #[test]
        fn reads_back(person in person()) {
            let mut out = Vec::new();
            person.encode(&mut out);
            prop_assert_eq!(Person::decode(&out), Ok(person));
            prop_assert!(Person::decode(&out[..out.len() - 1]).is_err());
        }
    }

    #[test]
    fn a_full_tail_is_sealed_once() {
        let mut person = Person::default();
        let mut sealed = Vec::new();
        for position in 0..300u64 {
            sealed.extend(person.post(position, Roles::SUBJECT));
            assert!(person.post(position, Roles(8)).is_none());
        }
        let blocks = 299 / TAIL;
        assert_eq!((sealed.len(), person.blocks), (blocks, blocks as u64));
        assert_eq!(person.tail.len(), 300 - blocks * TAIL);
        assert!(sealed.iter().flatten().all(|posting| posting.roles == Roles(9)));
    }
}
