//! The rows of one generation, in fjall.
//!
//! All rows stand in *one* keyspace, told apart by their first byte, together with the position up
//! to which they are applied. fjall writes a batch as one journal entry and flushes a keyspace's
//! memtables whole and in order, so whatever a crash leaves is the state after some batch, never
//! half of one or rows of two times. Nothing is synced: what a crash loses is replayed from the log.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fjall::config::{
    BlockSizePolicy, BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry,
};
use fjall::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, Readable, Slice, Snapshot,
};

use crate::domain::id::{Digest, EventId, Id, Mark, SubjectId};
use crate::domain::time::Timestamp;
use crate::record;
use crate::views::Error;
use crate::views::codec::{Malformed, Reader, from_sortable, put_bytes, put_u64, sortable};

/// Raised whenever rows change their meaning; a store of another format is rebuilt.
pub const FORMAT: u64 = 8;

/// Key and value of a row.
pub type Stored = (Vec<u8>, Vec<u8>);

/// First byte of a row's key.
pub mod tag {
    pub const PERSON: u8 = b'a';
    pub const POSTINGS: u8 = b'b';
    pub const BINDING: u8 = b'c';
    pub const NAMED: u8 = b'd';
    pub const ERASED: u8 = b'e';
    pub const RETRACTED: u8 = b'f';
    pub const REGISTER: u8 = b'g';
    pub const ZONE: u8 = b'h';
    pub const EMITTER: u8 = b'i';
    pub const EVIDENCE: u8 = b'k';
    pub const FOUND: u8 = b'l';
    pub const META: u8 = b'm';
    pub const OCCURRENCES: u8 = b'o';
    pub const EXPORTED: u8 = b'p';
    pub const QUEUE: u8 = b'q';
    pub const PLAN: u8 = b'r';
    pub const SHAPE: u8 = b's';
    pub const TALLY: u8 = b't';
    /// Of the due index, which is not made from the log alone.
    pub const DUE: u8 = b'u';
    pub const PLANNED: u8 = b'v';
}

/// Rows of the kind `META`.
pub mod meta {
    pub const FORMAT: &[u8] = b"mformat";
    /// Records below this position are applied.
    pub const APPLIED: &[u8] = b"mapplied";
    /// The dictionary of shapes takes no more.
    pub const SHAPES_FULL: &[u8] = b"mshapes_full";
}

pub fn person(subject: SubjectId) -> [u8; 17] {
    prefixed(tag::PERSON, &subject.0)
}

pub fn postings(subject: SubjectId, first: u64) -> [u8; 25] {
    let mut key = [0; 25];
    key[..17].copy_from_slice(&postings_of(subject));
    key[17..].copy_from_slice(&first.to_be_bytes());
    key
}

pub fn postings_of(subject: SubjectId) -> [u8; 17] {
    prefixed(tag::POSTINGS, &subject.0)
}

/// A mark bound at an instant by a record; the value is the subject.
pub fn binding(mark: Mark, at: Timestamp, position: u64) -> Vec<u8> {
    let mut key = of_mark(tag::BINDING, mark);
    key.extend_from_slice(&sortable(at.ms()));
    key.extend_from_slice(&position.to_be_bytes());
    key
}

/// A part that is attributed to nobody but names a mark; the value are the marks of the part.
pub fn named(mark: Mark, at: Timestamp, position: u64, part: u8) -> Vec<u8> {
    let mut key = of_mark(tag::NAMED, mark);
    key.extend_from_slice(&sortable(at.ms()));
    key.extend_from_slice(&position.to_be_bytes());
    key.push(part);
    key
}

/// Instant and position of a row of `binding` or `named`.
pub fn at_and_position(key: &[u8]) -> Result<(Timestamp, u64), Malformed> {
    let mut reader = Reader::new(key, "mark");
    reader.take(17)?;
    let at = Timestamp::from_ms(from_sortable(reader.array()?)).ok_or(Malformed("mark"))?;
    Ok((at, u64::from_be_bytes(reader.array()?)))
}

pub fn of_mark(kind: u8, mark: Mark) -> Vec<u8> {
    let mut key = Vec::with_capacity(34);
    key.push(kind);
    key.extend_from_slice(&mark.0);
    key
}

/// An erased person is remembered by the tomb, so that no file holds the handle any more.
pub fn erased(subject: SubjectId) -> [u8; 33] {
    tomb(record::tomb(subject))
}

pub fn tomb(tomb: Digest) -> [u8; 33] {
    prefixed(tag::ERASED, &tomb.0)
}

/// A record that proves something of an erased person.
pub fn evidence(tomb: Digest, position: u64) -> [u8; 41] {
    let mut key = [0; 41];
    key[..33].copy_from_slice(&evidence_of(tomb));
    key[33..].copy_from_slice(&position.to_be_bytes());
    key
}

pub fn evidence_of(tomb: Digest) -> [u8; 33] {
    prefixed(tag::EVIDENCE, &tomb.0)
}

/// An event taken back, by whom it was taken back (a part of the retraction; zeros for none).
pub fn retracted(emitter: &Id, event: EventId, by: Option<SubjectId>) -> Vec<u8> {
    let mut key = retracted_event(emitter, event);
    key.extend_from_slice(&by.map_or([0; 16], |subject| subject.0));
    key
}

pub fn retracted_event(emitter: &Id, event: EventId) -> Vec<u8> {
    let mut key = vec![tag::RETRACTED];
    put_bytes(&mut key, emitter.as_str().as_bytes());
    key.extend_from_slice(event.as_bytes());
    key
}

/// Which event the row of a retraction is about.
pub fn split_retracted(key: &[u8]) -> Result<(Id, EventId), Malformed> {
    let wrong = || Malformed("retraction");
    let mut reader = Reader::new(key.get(1..).ok_or_else(wrong)?, "retraction");
    let emitter = reader.text()?.parse().map_err(|_| wrong())?;
    let event: &[u8; 16] = reader.rest().first_chunk().ok_or_else(wrong)?;
    Ok((emitter, EventId(uuid::Uuid::from_bytes(*event))))
}

pub fn register(position: u64) -> [u8; 9] {
    prefixed(tag::REGISTER, &position.to_be_bytes())
}

/// An event about a plan.
pub fn planned(position: u64) -> [u8; 9] {
    prefixed(tag::PLANNED, &position.to_be_bytes())
}

pub fn zone(number: u64) -> [u8; 9] {
    prefixed(tag::ZONE, &number.to_be_bytes())
}

pub fn emitter(emitter: &Id) -> Vec<u8> {
    let mut key = vec![tag::EMITTER];
    key.extend_from_slice(emitter.as_str().as_bytes());
    key
}

pub fn emitter_of(key: &[u8]) -> Result<Id, Malformed> {
    let name = key.get(1..).and_then(|name| std::str::from_utf8(name).ok());
    name.and_then(|name| name.parse().ok()).ok_or(Malformed("emitter"))
}

pub fn shape(number: u32) -> [u8; 5] {
    prefixed(tag::SHAPE, &number.to_be_bytes())
}

/// One block of a shape's records.
pub fn occurrences(shape: u32, block: u64) -> [u8; 13] {
    let mut key = [0; 13];
    key[..5].copy_from_slice(&occurrences_of(shape));
    key[5..].copy_from_slice(&block.to_be_bytes());
    key
}

pub fn occurrences_of(shape: u32) -> [u8; 5] {
    prefixed(tag::OCCURRENCES, &shape.to_be_bytes())
}

/// Somebody was among those whose data a transfer of this shape took, in a year.
pub fn exported(shape: u32, year: u16, subject: SubjectId) -> [u8; 23] {
    let mut key = [0; 23];
    key[..7].copy_from_slice(&exported_in(shape, year));
    key[7..].copy_from_slice(&subject.0);
    key
}

pub fn exported_of(shape: u32) -> [u8; 5] {
    prefixed(tag::EXPORTED, &shape.to_be_bytes())
}

pub fn exported_in(shape: u32, year: u16) -> [u8; 7] {
    let mut key = [tag::EXPORTED; 7];
    key[1..5].copy_from_slice(&shape.to_be_bytes());
    key[5..].copy_from_slice(&year.to_be_bytes());
    key
}

/// How many of the erased count in a line of transfers.
pub fn tally(line: &Id, year: u64, sensitive: bool) -> Vec<u8> {
    let mut key = vec![tag::TALLY];
    put_bytes(&mut key, line.as_str().as_bytes());
    key.extend_from_slice(&year.to_be_bytes());
    key.push(u8::from(sensitive));
    key
}

/// How many of the erased count in a finding: its code, and its key as the erasure's event names it.
pub fn found(code: &Id, key: &Id) -> Vec<u8> {
    let mut row = vec![tag::FOUND];
    put_bytes(&mut row, code.as_str().as_bytes());
    row.extend_from_slice(key.as_str().as_bytes());
    row
}

/// Code and key of such a row.
pub fn found_of(key: &[u8]) -> Result<(Id, Id), Malformed> {
    let wrong = || Malformed("finding of the erased");
    let mut reader = Reader::new(key.get(1..).ok_or_else(wrong)?, "finding of the erased");
    let code = reader.text()?.parse().map_err(|_| wrong())?;
    let key = std::str::from_utf8(reader.rest()).map_err(|_| wrong())?;
    Ok((code, key.parse().map_err(|_| wrong())?))
}

fn prefixed<const N: usize>(first: u8, rest: &[u8]) -> [u8; N] {
    let mut key = [first; N];
    key[1..].copy_from_slice(rest);
    key
}

/// One generation's rows. Clones are handles to the same.
#[derive(Clone)]
pub struct Store {
    db: Database,
    rows: Keyspace,
    named: Arc<NamedMarks>,
}

/// Which marks have rows of parts that name them, as bits by the first bytes of a mark: few have, everybody who asks
/// about a person wants to know, and to look for rows in a range costs much more than to know that there are none.
/// What is removed leaves its bit: one that is set says nothing.
struct NamedMarks(Box<[AtomicU64]>);

impl NamedMarks {
    /// A megabyte.
    const WORDS: usize = 1 << 17;

    fn new() -> NamedMarks {
        NamedMarks((0..NamedMarks::WORDS).map(|_| AtomicU64::new(0)).collect())
    }

    /// Marks are keyed digests, so that any of their bits will do.
    fn place(mark: &[u8]) -> Option<(usize, u64)> {
        let bits = u32::from_be_bytes(*mark.first_chunk()?);
        Some((bits as usize / 64 % NamedMarks::WORDS, 1 << (bits % 64)))
    }

    /// Of any row that is written.
    fn note(&self, key: &[u8]) {
        if key.first() == Some(&tag::NAMED)
            && let Some((word, bit)) = NamedMarks::place(&key[1..])
        {
            self.0[word].fetch_or(bit, Ordering::Release);
        }
    }

    fn may_have(&self, mark: Mark) -> bool {
        NamedMarks::place(&mark.0).is_none_or(|(word, bit)| self.0[word].load(Ordering::Acquire) & bit != 0)
    }
}

impl Store {
    /// Opens or makes the store. `cache_bytes` bounds the block cache.
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<Store, Error> {
        let db = Database::builder(dir)
            .cache_size(cache_bytes)
            .max_journaling_size(192 * 1024 * 1024)
            .worker_threads(1)
            .open()?;
        let rows = db.keyspace("views", || {
            KeyspaceCreateOptions::default()
                .max_memtable_size((cache_bytes / 2).clamp(4 << 20, 32 << 20))
                .data_block_size_policy(BlockSizePolicy::all(8 * 1024))
                .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
                .filter_policy(FilterPolicy::all(FilterPolicyEntry::Bloom(
                    BloomConstructionPolicy::BitsPerKey(10.0),
                )))
        })?;
        let named = Arc::new(NamedMarks::new());
        for row in rows.prefix([tag::NAMED]) {
            named.note(&row.key()?);
        }
        Ok(Store { db, rows, named })
    }

    pub fn reading(&self) -> Reading {
        Reading { snapshot: self.db.snapshot(), rows: self.rows.clone(), named: Arc::clone(&self.named) }
    }

    pub fn batch(&self, rows: usize) -> Batch {
        let batch = OwnedWriteBatch::with_capacity(self.db.clone(), rows);
        Batch { batch, rows: self.rows.clone(), named: Arc::clone(&self.named) }
    }

    /// The newest committed value, without the cost of a snapshot.
    pub fn get(&self, key: &[u8]) -> Result<Option<Slice>, Error> {
        Ok(self.rows.get(key)?)
    }

    pub fn has_prefix(&self, prefix: &[u8]) -> Result<bool, Error> {
        match self.rows.prefix(prefix).next() {
            None => Ok(false),
            Some(row) => row.key().map(|_| true).map_err(Error::from),
        }
    }

    /// Writes every row into another, empty store, whose files then hold nothing that was removed
    /// here: fjall keeps removed rows in tables and journals for as long as it likes.
    pub fn copy_to(&self, other: &Store) -> Result<(), Error> {
        let mut rows = other.rows.start_ingestion()?;
        for row in self.db.snapshot().iter(&self.rows) {
            let (key, value) = row.into_inner()?;
            other.named.note(&key);
            rows.write(key, value)?;
        }
        Ok(rows.finish()?)
    }

    pub fn disk_bytes(&self) -> Result<u64, Error> {
        Ok(self.db.disk_space()?)
    }
}

/// Rows to be written together or not at all.
pub struct Batch {
    batch: OwnedWriteBatch,
    rows: Keyspace,
    named: Arc<NamedMarks>,
}

impl Batch {
    pub fn insert(&mut self, key: &[u8], value: &[u8]) {
        // Before anybody can read it.
        self.named.note(key);
        self.batch.insert(&self.rows, key, value);
    }

    pub fn remove(&mut self, key: &[u8]) {
        self.batch.remove(&self.rows, key);
    }

    pub fn number(&mut self, key: &[u8], value: u64) {
        let mut bytes = Vec::with_capacity(9);
        put_u64(&mut bytes, value);
        self.insert(key, &bytes);
    }

    pub fn commit(self) -> Result<(), Error> {
        Ok(self.batch.commit()?)
    }
}

/// All rows as they stood after one batch.
pub struct Reading {
    snapshot: Snapshot,
    rows: Keyspace,
    named: Arc<NamedMarks>,
}

impl Reading {
    pub fn get(&self, key: &[u8]) -> Result<Option<Slice>, Error> {
        Ok(self.snapshot.get(&self.rows, key)?)
    }

    pub fn number(&self, key: &[u8]) -> Result<Option<u64>, Error> {
        match self.get(key)? {
            None => Ok(None),
            Some(bytes) => Ok(Some(Reader::new(&bytes, "number").u64()?)),
        }
    }

    /// Whether there may be parts that name a mark.
    pub fn may_name(&self, mark: Mark) -> bool {
        self.named.may_have(mark)
    }

    /// Records below this position are in these rows.
    pub fn applied(&self) -> Result<u64, Error> {
        Ok(self.number(meta::APPLIED)?.unwrap_or(0))
    }

    /// Rows in order of their keys; may be walked from the end.
    pub fn prefix(
        &self,
        prefix: &[u8],
    ) -> impl DoubleEndedIterator<Item = Result<(Slice, Slice), Error>> + use<> {
        self.snapshot.prefix(&self.rows, prefix).map(|row| row.into_inner().map_err(Error::from))
    }

    pub fn range(
        &self,
        range: std::ops::Range<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = Result<(Slice, Slice), Error>> + use<> {
        self.snapshot.range::<&[u8], _>(&self.rows, range).map(|row| row.into_inner().map_err(Error::from))
    }
}
