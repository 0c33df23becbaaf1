//! Moving a log to other storage: every record byte for byte, in order, with its pieces.
//!
//! Promises: a target that holds anything but the beginning of the source is refused, so that nothing is mixed;
//! a copy that was interrupted goes on where it ended; at the end both are read and their roots are the same.
//! What was purged is purged there too. Neither log may be written by others meanwhile.
//!
//! A piece that was purged has no bytes any more: a byte is put in its place and purged at once, so that the record
//! keeps its number of pieces. A crash between the two leaves the byte, which the next run purges.

use bytes::Bytes;

use crate::ledger::tlog::{Edge, Hash};
use crate::log::{self, Log, NewRecord, Outcome, PieceRef, StoredRecord};
use crate::record::{self, Header};

/// Records and bytes that are copied at once.
const RECORDS: usize = 500;
const BYTES: usize = 1 << 20;
/// Stands where a purged piece was, until it is purged.
const PLACEHOLDER: &[u8] = b"-";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the log that is copied from")]
    From(#[source] log::Error),
    #[error("the log that is copied to")]
    To(#[source] log::Error),
    #[error("the record at position {position} cannot be read")]
    Record { position: u64, source: record::Error },
    /// Nothing was changed.
    #[error("the log that is copied to is not empty, and not the beginning of the other: {0}")]
    NotEmpty(String),
    #[error("position {0} was taken by something else: somebody writes to the log that is copied to")]
    Disturbed(u64),
    #[error("the copy is not the same from position {0} on")]
    Differs(u64),
    #[error("the tree cannot be computed")]
    Tree,
}

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Records that were there already, of an earlier run.
    pub before: u64,
    pub records: u64,
    /// Of the tree over all headers, the same in both.
    pub root: Hash,
}

/// How far a copy is; told after every batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Looking at what is there already.
    Comparing,
    Copying,
    /// Reading both once more.
    Verifying,
}

pub type Progress<'a> = &'a mut (dyn FnMut(Step, u64, u64) + Send);

/// Copies what `to` lacks. Both have to be open, and nobody else's.
pub async fn copy(from: &dyn Log, to: &dyn Log, progress: Progress<'_>) -> Result<Copied, Error> {
    let (head, before) = (from.head(), to.head());
    if before > head {
        return Err(Error::NotEmpty(format!("it has {before} records, the other {head}")));
    }
    compare(from, to, before, (Step::Comparing, progress)).await.map_err(|error| match error {
        Error::Differs(at) => Error::NotEmpty(format!("the record at position {at} is another")),
        other => other,
    })?;
    let mut next = before;
    while next < head {
        next = copy_some(from, to, next).await?;
        progress(Step::Copying, next, head);
    }
    let root = compare(from, to, head, (Step::Verifying, progress)).await?;
    Ok(Copied { before, records: head - before, root })
}

async fn copy_some(from: &dyn Log, to: &dyn Log, next: u64) -> Result<u64, Error> {
    let records = from.read(next, RECORDS, BYTES).await.map_err(Error::From)?;
    let gone = records.iter().flat_map(places).filter(|(_, piece)| piece.is_none());
    let gone: Vec<PieceRef> = gone.map(|(place, _)| place).collect();
    let batch = records.iter().map(anew).collect::<Result<Vec<_>, _>>()?;
    let wanted = batch.len() as u64;
    let outcomes = to.append(batch).await.map_err(Error::To)?;
    for (position, outcome) in (next..).zip(outcomes) {
        if outcome != Outcome::Appended(position) {
            return Err(Error::Disturbed(position));
        }
    }
    to.purge(&gone).await.map_err(Error::To)?;
    Ok(next + wanted)
}

fn anew(record: &StoredRecord) -> Result<NewRecord, Error> {
    let unreadable = |source| Error::Record { position: record.position, source };
    let header = Header::parse(&record.header).map_err(unreadable)?;
    let piece = |piece: &Option<Bytes>| piece.clone().unwrap_or(Bytes::from_static(PLACEHOLDER));
    Ok(NewRecord {
        emitter: header.envelope.emitter.clone(),
        event_id: header.envelope.event_id,
        header: record.header.clone(),
        pieces: record.pieces.iter().map(piece).collect(),
    })
}

fn places(record: &StoredRecord) -> impl Iterator<Item = (PieceRef, Option<&Bytes>)> {
    let place = |piece: usize| PieceRef { position: record.position, piece: piece as u16 };
    record.pieces.iter().enumerate().map(move |(n, piece)| (place(n), piece.as_ref()))
}

/// The root over the first `size` headers, which are the same in both; purges what a crash left.
async fn compare(
    from: &dyn Log,
    to: &dyn Log,
    size: u64,
    (step, progress): (Step, Progress<'_>),
) -> Result<Hash, Error> {
    let mut edge = Edge::default();
    while edge.size() < size {
        let at = edge.size();
        let ours = from.read(at, RECORDS, BYTES).await.map_err(Error::From)?;
        let most = usize::try_from(size - at).unwrap_or(RECORDS).min(ours.len());
        let positions: Vec<u64> = ours.iter().take(most).map(|record| record.position).collect();
        let theirs = to.get(&positions).await.map_err(Error::To)?;
        let mut left = Vec::new();
        for (one, other) in ours.iter().zip(&theirs) {
            if one.header != other.header || one.pieces.len() != other.pieces.len() {
                return Err(Error::Differs(one.position));
            }
            for ((place, mine), copied) in places(one).zip(&other.pieces) {
                if mine.is_none() && copied.is_some() {
                    left.push(place);
                } else if mine != copied.as_ref() {
                    return Err(Error::Differs(one.position));
                }
            }
            edge.push(record::leaf_hash(&one.header).0, |_, _, _| ()).map_err(|_| Error::Tree)?;
        }
        to.purge(&left).await.map_err(Error::To)?;
        progress(step, edge.size(), size);
    }
    Ok(edge.root())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::event::AsideReason;
    use crate::domain::event::catalogue::RecordSetAside;
    use crate::domain::id::{Digest, EventId};
    use crate::domain::time::Timestamp;
    use crate::log::faulty::{Call, Fault, Faulty};
    use crate::log::segments::{Options, Segments};

    const RECORDS_THERE: u64 = 1_200;

    fn record(n: u64) -> NewRecord {
        let (group, emitter) = ("g".parse().unwrap(), "custody".parse().unwrap());
        let event_id = EventId(uuid::Uuid::from_u128(u128::from(n) + 1));
        let (reason, leaf) = (Some(AsideReason::Unreadable), Some(Digest([n as u8; 32])));
        let body = RecordSetAside { reason, first_position: None, leaf };
        let header = record::aside::header(&group, &emitter, (event_id, Timestamp::EPOCH), body).unwrap();
        let piece = |kind: &str| Bytes::from(format!("{kind} of {n}"));
        NewRecord { emitter, event_id, header, pieces: vec![piece("index"), piece("sealed")] }
    }

    fn open() -> (tempfile::TempDir, Arc<Segments>) {
        let dir = tempfile::tempdir().unwrap();
        let log = Arc::new(Segments::open(Options::new(dir.path())).unwrap());
        (dir, log)
    }

    #[tokio::test]
    async fn a_copy_that_was_interrupted_goes_on_and_what_is_another_is_refused() {
        let (_from, from) = open();
        for first in (0..RECORDS_THERE).step_by(100) {
            from.append((first..first + 100).map(record).collect()).await.unwrap();
        }
        let gone = [3, 700].map(|position| PieceRef { position, piece: 1 });
        from.purge(&gone).await.unwrap();
        let (_to, to) = open();
        let faulty = Faulty::new(Arc::clone(&to) as Arc<dyn Log>);
        // The second batch is stored and its answer lost; in the third run what was purged is not purged at first.
        faulty.script(Call::Append, [Fault::Pass, Fault::After]);
        faulty.script(Call::Purge, [Fault::Pass, Fault::Pass, Fault::Pass, Fault::Before]);
        let mut runs = 0;
        let copied = loop {
            runs += 1;
            match copy(&*from, &faulty, &mut |_, _, _| ()).await {
                Ok(copied) => break copied,
                Err(Error::To(error)) => assert!(error.retryable()),
                Err(other) => panic!("{other}"),
            }
        };
        assert!(faulty.is_done() && runs == 3, "{runs} runs");
        assert_eq!(copied.before + copied.records, RECORDS_THERE);
        let all: Vec<u64> = (0..RECORDS_THERE).collect();
        assert_eq!(to.get(&all).await.unwrap(), from.get(&all).await.unwrap());
        assert_eq!(copy(&*from, &*to, &mut |_, _, _| ()).await.unwrap().root, copied.root);

        let (_other, other) = open();
        other.append(vec![record(7_777)]).await.unwrap();
        let refused = copy(&*from, &*other, &mut |_, _, _| ()).await;
        assert!(matches!(refused, Err(Error::NotEmpty(_))), "{refused:?}");
        assert_eq!(other.head(), 1);
    }
}
