//! The contract of the port as a suite that runs on every adapter.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

use super::{Error, Log, NewRecord, Outcome, PieceRef};
use crate::domain::id::{EventId, Id};
use crate::limits;

/// One place where a log is kept.
#[async_trait]
pub trait Storage: Send + Sync {
    /// Opens what is there. What was opened before has been dropped.
    async fn open(&self) -> Arc<dyn Log>;
}

/// Runs all of it; `fresh` makes an empty place for each part.
pub async fn run<S: Storage>(fresh: impl Fn() -> S) {
    appended_records_are_found_read_and_kept(&fresh()).await;
    positions_are_dense_and_batches_in_one_piece(&fresh()).await;
    an_event_is_stored_once_for_ever(&fresh()).await;
    limits_are_kept_and_nothing_is_stored(&fresh()).await;
    reads_are_bounded(&fresh()).await;
    purged_pieces_are_gone_and_all_else_stays(&fresh()).await;
    who_waits_is_woken(&fresh()).await;
    concurrent_callers_each_get_their_own(&fresh()).await;
    a_duplicate_in_flight_gets_the_same_position(&fresh()).await;
}

pub fn emitter(name: &str) -> Id {
    name.parse().unwrap_or_else(|_| panic!("{name} is an id"))
}

/// A record that is different for every `n`: with two pieces, or with none if `n` ends in 7.
pub fn record(from: &str, n: u64) -> NewRecord {
    let piece = |kind: &str| Bytes::from(format!("{kind}-{n}-{}", "x".repeat(n as usize % 40)));
    NewRecord {
        emitter: emitter(from),
        event_id: event_id(n),
        header: format!("{{\"n\":{n}}}").into(),
        pieces: if n % 10 == 7 { Vec::new() } else { vec![piece("index"), piece("sealed")] },
    }
}

/// Ids that ascend like those of version 7, but for every third, which is as good as random.
pub fn event_id(n: u64) -> EventId {
    EventId(if n.is_multiple_of(3) {
        Uuid::from_u64_pair(n.wrapping_mul(0x9E37_79B9_7F4A_7C15) & !0xF000 | 0x4000, n | 1 << 63)
    } else {
        Uuid::from_u64_pair(n << 16 | 0x7000, 1 << 63)
    })
}

async fn append_one(log: &dyn Log, record: NewRecord) -> Outcome {
    log.append(vec![record]).await.expect("append")[0]
}

/// Whether the log holds exactly `records` from position `from` on.
async fn assert_holds(log: &dyn Log, from: u64, records: &[NewRecord]) {
    assert_eq!(log.head(), from + records.len() as u64);
    let mut next = from;
    while next < log.head() {
        let read = log.read(next, 1_000, 1 << 20).await.expect("read");
        assert!(!read.is_empty(), "nothing at {next} below the head");
        for stored in read {
            let given = &records[(next - from) as usize];
            assert_eq!(stored.position, next);
            assert_eq!(stored.header, given.header);
            let pieces: Vec<_> = given.pieces.iter().cloned().map(Some).collect();
            assert_eq!(stored.pieces, pieces);
            next += 1;
        }
    }
    let ids: Vec<_> = records.iter().map(|r| (r.emitter.clone(), r.event_id)).collect();
    let expected: Vec<_> = (from..next).map(Some).collect();
    assert_eq!(log.find(&ids).await.expect("find"), expected);
}

pub async fn appended_records_are_found_read_and_kept(storage: &dyn Storage) {
    let log = storage.open().await;
    assert_eq!(log.head(), 0);
    assert_eq!(log.read(0, 10, 1_000).await.expect("read"), []);
    let records: Vec<_> = (0..30).map(|n| record("app", n)).collect();
    let mut next = 0;
    for batch in records.chunks(7) {
        let outcomes = log.append(batch.to_vec()).await.expect("append");
        let expected: Vec<_> = (next..).take(batch.len()).map(Outcome::Appended).collect();
        assert_eq!(outcomes, expected);
        next += batch.len() as u64;
        assert_eq!(log.head(), next, "what is acknowledged is visible at once");
    }
    assert_holds(&*log, 0, &records).await;
    let unknown = [(emitter("app"), event_id(99)), (emitter("other"), event_id(1))];
    assert_eq!(log.find(&unknown).await.expect("find"), [None, None]);
    drop(log);
    let log = storage.open().await;
    assert_holds(&*log, 0, &records).await;
    assert_eq!(append_one(&*log, record("app", 30)).await, Outcome::Appended(30));
}

pub async fn positions_are_dense_and_batches_in_one_piece(storage: &dyn Storage) {
    let log = storage.open().await;
    let twice = record("app", 1);
    let batch = vec![record("app", 0), twice.clone(), twice.clone(), record("app", 2)];
    let outcomes = log.append(batch).await.expect("append");
    use Outcome::{Appended, Exists};
    assert_eq!(outcomes, [Appended(0), Appended(1), Exists(1), Appended(2)]);
    assert_eq!(log.append(vec![]).await.expect("nothing to append"), []);
    let outcomes = log.append(vec![twice.clone(), record("app", 0)]).await.expect("append");
    assert_eq!(outcomes, [Exists(1), Exists(0)]);
    assert_holds(&*log, 0, &[record("app", 0), twice, record("app", 2)]).await;
}

pub async fn an_event_is_stored_once_for_ever(storage: &dyn Storage) {
    let log = storage.open().await;
    for n in 0..20 {
        assert_eq!(append_one(&*log, record("app", n)).await, Outcome::Appended(n));
    }
    // Other bytes under the same id are the same event; another emitter's id is another event.
    let other = NewRecord { header: Bytes::from_static(b"{}"), ..record("app", 6) };
    assert_eq!(append_one(&*log, other).await, Outcome::Exists(6));
    assert_eq!(append_one(&*log, record("b", 6)).await, Outcome::Appended(20));
    drop(log);
    let log = storage.open().await;
    for n in 0..20 {
        assert_eq!(append_one(&*log, record("app", n)).await, Outcome::Exists(n));
    }
    assert_eq!(append_one(&*log, record("b", 6)).await, Outcome::Exists(20));
    assert_eq!(log.head(), 21);
}

pub async fn limits_are_kept_and_nothing_is_stored(storage: &dyn Storage) {
    let log = storage.open().await;
    let wrong = [
        NewRecord { header: Bytes::new(), ..record("app", 1) },
        NewRecord { header: vec![b'h'; limits::HEADER_BYTES + 1].into(), ..record("app", 1) },
        NewRecord { pieces: vec![Bytes::new()], ..record("app", 1) },
        NewRecord { pieces: vec![vec![1; limits::SIDECAR_BYTES + 1].into()], ..record("app", 1) },
    ];
    for wrong in wrong {
        let refused = log.append(vec![record("app", 0), wrong]).await;
        assert!(matches!(&refused, Err(error @ Error::Refused(_)) if !error.retryable()), "{refused:?}");
    }
    let many = (0..=limits::BATCH_EVENTS as u64).map(|n| record("app", n)).collect();
    assert!(matches!(log.append(many).await, Err(Error::Refused(_))));
    assert_eq!(log.head(), 0);
    let largest = NewRecord {
        header: vec![b'h'; limits::HEADER_BYTES].into(),
        pieces: vec![vec![1; limits::SIDECAR_BYTES].into()],
        ..record("app", 0)
    };
    assert_eq!(append_one(&*log, largest.clone()).await, Outcome::Appended(0));
    assert_holds(&*log, 0, &[largest]).await;
}

pub async fn reads_are_bounded(storage: &dyn Storage) {
    let log = storage.open().await;
    let records: Vec<_> = (0..200).map(|n| record("app", n)).collect();
    for batch in records.chunks(9) {
        log.append(batch.to_vec()).await.expect("append");
    }
    let positions = |read: Vec<super::StoredRecord>| read.iter().map(|r| r.position).collect::<Vec<_>>();
    assert_eq!(positions(log.read(5, 3, 1 << 20).await.expect("read")), [5, 6, 7]);
    assert_eq!(positions(log.read(5, 3, 0).await.expect("read")), [5], "at least one");
    let some = log.read(0, 1_000, 2_000).await.expect("read");
    assert!(some.len() > 1 && some.len() < 60, "about 2,000 bytes, but {} records", some.len());
    assert_eq!(log.read(200, 10, 1_000).await.expect("read"), []);
    assert_eq!(positions(log.get(&[199, 0, 7, 7]).await.expect("get")), [199, 0, 7, 7]);
    assert!(log.get(&[0, 200]).await.is_err(), "beyond the head");
    let all: Vec<u64> = (0..200).rev().collect();
    assert_eq!(positions(log.get(&all).await.expect("get")), all);
}

pub async fn purged_pieces_are_gone_and_all_else_stays(storage: &dyn Storage) {
    let log = storage.open().await;
    for n in 0..6 {
        append_one(&*log, record("app", n)).await;
    }
    let piece = |position, piece| PieceRef { position, piece };
    log.purge(&[piece(5, 1), piece(2, 0), piece(2, 1)]).await.expect("purge");
    log.purge(&[piece(2, 0)]).await.expect("again");
    log.purge(&[]).await.expect("nothing");
    assert!(log.purge(&[piece(6, 0)]).await.is_err(), "beyond the head");
    assert!(log.purge(&[piece(1, 2)]).await.is_err(), "no such piece");
    let check = |read: Vec<super::StoredRecord>| {
        for stored in read {
            let given = record("app", stored.position);
            assert_eq!(stored.header, given.header);
            for (i, bytes) in given.pieces.iter().enumerate() {
                let gone = matches!((stored.position, i), (2, _) | (5, 1));
                assert_eq!(stored.pieces[i].as_ref(), (!gone).then_some(bytes));
            }
        }
    };
    check(log.read(0, 10, 1 << 20).await.expect("read"));
    drop(log);
    let log = storage.open().await;
    assert_eq!((log.head(), log.status().read_only), (6, None));
    check(log.read(0, 10, 1 << 20).await.expect("read"));
    check(log.get(&[5, 2]).await.expect("get"));
    assert_eq!(append_one(&*log, record("app", 2)).await, Outcome::Exists(2));
}

pub async fn who_waits_is_woken(storage: &dyn Storage) {
    let log = storage.open().await;
    let waiting = tokio::spawn({
        let log = Arc::clone(&log);
        async move {
            log.wait_beyond(1).await.expect("wait");
            log.head()
        }
    });
    append_one(&*log, record("app", 0)).await;
    assert!(!waiting.is_finished());
    append_one(&*log, record("app", 1)).await;
    assert_eq!(waiting.await.expect("task"), 2);
    log.wait_beyond(0).await.expect("already there");
}

pub async fn concurrent_callers_each_get_their_own(storage: &dyn Storage) {
    const TASKS: u64 = 8;
    const EACH: u64 = 60;
    let log = storage.open().await;
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                let mut got = Vec::new();
                let numbers: Vec<u64> = (0..EACH).map(|n| task * EACH + n).collect();
                for batch in numbers.chunks(1 + task as usize) {
                    let records = batch.iter().map(|n| record("app", *n)).collect();
                    let outcomes = log.append(records).await.expect("append");
                    let Outcome::Appended(first) = outcomes[0] else { panic!("{outcomes:?}") };
                    let expected: Vec<_> = (first..).take(batch.len()).map(Outcome::Appended).collect();
                    assert_eq!(outcomes, expected, "a batch lies in one piece");
                    got.extend(batch.iter().copied().zip(first..));
                }
                got
            })
        })
        .collect();
    let mut taken = HashSet::new();
    for task in tasks {
        for (n, position) in task.await.expect("task") {
            assert!(taken.insert(position));
            assert_eq!(log.get(&[position]).await.expect("get")[0].header, record("app", n).header);
        }
    }
    assert_eq!(log.head(), TASKS * EACH);
    assert_eq!(taken.len() as u64, TASKS * EACH);
}

pub async fn a_duplicate_in_flight_gets_the_same_position(storage: &dyn Storage) {
    let log = storage.open().await;
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let log = Arc::clone(&log);
            tokio::spawn(async move { append_one(&*log, record("app", 1)).await })
        })
        .collect();
    let mut appended = 0;
    for task in tasks {
        match task.await.expect("task") {
            Outcome::Appended(0) => appended += 1,
            outcome => assert_eq!(outcome, Outcome::Exists(0)),
        }
    }
    assert_eq!((appended, log.head()), (1, 1));
}
