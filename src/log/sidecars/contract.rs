//! The contract of the port as a suite that runs on every adapter, bare and behind failing calls.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

use super::faulty::{Call, Fault, Faulty};
use super::{NewSidecar, Pieces, Sidecars};
use crate::clock::{Clock, ManualClock};
use crate::domain::id::{Digest, EventId};
use crate::domain::time::Timestamp;
use crate::limits;
use crate::log::Error;

/// One place where sidecars are kept.
#[async_trait]
pub trait Storage: Send + Sync {
    /// Opens what is there.
    async fn open(&self, clock: Arc<dyn Clock>) -> Arc<dyn Sidecars>;
}

/// Runs all of it; `fresh` makes an empty place for each part.
pub async fn run<S: Storage>(fresh: impl Fn() -> S) {
    what_was_put_is_got(&fresh()).await;
    the_same_again_changes_nothing(&fresh()).await;
    what_can_never_be_put_is_refused(&fresh()).await;
    purged_pieces_are_gone_and_told_from_none(&fresh()).await;
    what_was_put_is_listed_in_order(&fresh()).await;
    removed_ones_are_gone(&fresh()).await;
    many_at_once_get_on(&fresh()).await;
    a_lost_answer_does_no_harm(&fresh()).await;
}

pub fn leaf(n: u64) -> Digest {
    let mut bytes = [0x5A; 32];
    bytes[..8].copy_from_slice(&n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    bytes[24..].copy_from_slice(&n.to_be_bytes());
    Digest(bytes)
}

/// A sidecar that is different for every `n`, with one to three pieces of different lengths.
pub fn sidecar(n: u64) -> NewSidecar {
    let piece = |kind: u64| Bytes::from(format!("piece-{n}-{kind}-{}", "x".repeat((n * 7 % 300) as usize)));
    NewSidecar {
        leaf: leaf(n),
        emitter: crate::log::sidecars::contract::emitter(),
        event_id: EventId(Uuid::from_u64_pair(n << 16 | 0x7000, 1 << 63)),
        pieces: (0..=n % 3).map(piece).collect(),
    }
}

fn emitter() -> crate::domain::id::Id {
    "app".parse().expect("is an id")
}

fn clock() -> ManualClock {
    ManualClock::at(Timestamp::EPOCH.plus_ms(1_000_000))
}

fn whole(sidecar: &NewSidecar) -> Option<Pieces> {
    Some(sidecar.pieces.iter().cloned().map(Some).collect())
}

async fn assert_get(sidecars: &dyn Sidecars, n: u64, expected: Option<Pieces>) {
    assert_eq!(sidecars.get(&[leaf(n)]).await.expect("get"), [expected]);
}

pub async fn what_was_put_is_got(storage: &dyn Storage) {
    let sidecars = storage.open(Arc::new(clock())).await;
    sidecars.put(vec![]).await.expect("nothing");
    assert_eq!(sidecars.get(&[]).await.expect("nothing"), [] as [Option<Pieces>; 0]);
    for batch in (0..60).map(sidecar).collect::<Vec<_>>().chunks(17) {
        sidecars.put(batch.to_vec()).await.expect("put");
    }
    drop(sidecars);
    let sidecars = storage.open(Arc::new(clock())).await;
    let order: Vec<u64> = (0..70).map(|n| n * 37 % 70).chain([5, 5]).collect();
    let leaves: Vec<_> = order.iter().map(|n| leaf(*n)).collect();
    let got = sidecars.get(&leaves).await.expect("get");
    for (n, got) in order.iter().zip(got) {
        assert_eq!(got, if *n < 60 { whole(&sidecar(*n)) } else { None }, "{n}");
    }
    let largest = NewSidecar { pieces: vec![vec![7; limits::SIDECAR_BYTES].into()], ..sidecar(99) };
    sidecars.put(vec![largest.clone()]).await.expect("put");
    assert_get(&*sidecars, 99, whole(&largest)).await;
    let status = sidecars.status().await.expect("status");
    assert!(status.bytes > 60 * 100, "{status:?}");
}

pub async fn the_same_again_changes_nothing(storage: &dyn Storage) {
    let sidecars = storage.open(Arc::new(clock())).await;
    sidecars.put(vec![sidecar(2), sidecar(1), sidecar(2)]).await.expect("twice in one batch");
    let other = NewSidecar { pieces: vec![Bytes::from_static(b"other")], ..sidecar(2) };
    sidecars.put(vec![sidecar(3), other]).await.expect("put");
    for n in 1..4 {
        assert_get(&*sidecars, n, whole(&sidecar(n))).await;
    }
    let listed = sidecars.put_before(Timestamp::LAST, 0, 100).await.expect("list");
    assert_eq!(listed.len(), 3);
}

pub async fn what_can_never_be_put_is_refused(storage: &dyn Storage) {
    let sidecars = storage.open(Arc::new(clock())).await;
    let wrong = [
        NewSidecar { pieces: vec![], ..sidecar(1) },
        NewSidecar { pieces: vec![Bytes::new()], ..sidecar(1) },
        NewSidecar { pieces: vec![vec![1; limits::SIDECAR_BYTES].into(), "x".into()], ..sidecar(1) },
    ];
    for wrong in wrong {
        let refused = sidecars.put(vec![sidecar(0), wrong]).await;
        assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    }
    assert_get(&*sidecars, 0, None).await;
}

pub async fn purged_pieces_are_gone_and_told_from_none(storage: &dyn Storage) {
    let sidecars = storage.open(Arc::new(clock())).await;
    sidecars.put((0..12).map(sidecar).collect()).await.expect("put");
    sidecars.purge(&[]).await.expect("nothing");
    // 2, 5 and 8 have three pieces, 3 has one.
    let all = [(leaf(5), 2), (leaf(2), 0), (leaf(2), 2), (leaf(3), 0), (leaf(2), 0)];
    sidecars.purge(&all).await.expect("purge");
    sidecars.purge(&all[1..3]).await.expect("again");
    for unknown in [(leaf(99), 0), (leaf(8), 3)] {
        let refused = sidecars.purge(&[(leaf(8), 1), unknown]).await;
        assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    }
    sidecars.put((0..12).map(sidecar).collect()).await.expect("put again brings nothing back");
    for scrubbed in [false, true] {
        for n in 0..12 {
            let mut pieces = whole(&sidecar(n)).expect("some");
            let gone = |at: usize| matches!((n, at), (5, 2) | (2, 0 | 2) | (3, 0));
            pieces.iter_mut().enumerate().filter(|(at, _)| gone(*at)).for_each(|(_, piece)| *piece = None);
            assert_get(&*sidecars, n, Some(pieces)).await;
        }
        assert_get(&*sidecars, 99, None).await;
        if !scrubbed {
            scrubbed_in_the_end(&*sidecars).await;
        }
    }
}

/// Others that use the same server may be in the way for a while.
pub async fn scrubbed_in_the_end(sidecars: &dyn Sidecars) {
    for _ in 0..200 {
        match sidecars.scrub().await {
            Ok(()) => return,
            Err(error) => assert!(error.retryable(), "{error:?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("not scrubbed");
}

pub async fn what_was_put_is_listed_in_order(storage: &dyn Storage) {
    let clock = clock();
    let begin = clock.now();
    let sidecars = storage.open(Arc::new(clock.clone())).await;
    for n in 0..40 {
        sidecars.put(vec![sidecar(n)]).await.expect("put");
        clock.advance_ms(10);
    }
    sidecars.purge(&[(leaf(3), 0)]).await.expect("purge");
    let before = begin.plus_ms(250);
    let mut listed = Vec::new();
    let mut after = 0;
    loop {
        let page = sidecars.put_before(before, after, 7).await.expect("list");
        assert!(page.len() <= 7);
        let Some(last) = page.last() else { break };
        assert!(last.number > after);
        after = last.number;
        listed.extend(page);
    }
    assert!(listed.is_sorted_by_key(|stored| stored.number));
    assert_eq!(listed.len(), 25);
    for (n, stored) in (0..).zip(&listed) {
        let given = sidecar(n);
        let got = (stored.leaf, &stored.emitter, stored.event_id);
        assert_eq!(got, (given.leaf, &given.emitter, given.event_id));
    }
    assert_eq!(sidecars.put_before(before, after, 0).await.expect("none"), []);
    assert_eq!(sidecars.put_before(begin, 0, 10).await.expect("none"), []);
}

pub async fn removed_ones_are_gone(storage: &dyn Storage) {
    let sidecars = storage.open(Arc::new(clock())).await;
    sidecars.put((0..6).map(sidecar).collect()).await.expect("put");
    sidecars.purge(&[(leaf(3), 0)]).await.expect("purge");
    sidecars.remove(&[leaf(3), leaf(99), leaf(4)]).await.expect("remove");
    sidecars.remove(&[]).await.expect("nothing");
    scrubbed_in_the_end(&*sidecars).await;
    for n in 0..6 {
        assert_get(&*sidecars, n, if n == 3 || n == 4 { None } else { whole(&sidecar(n)) }).await;
    }
    sidecars.put(vec![sidecar(3)]).await.expect("put");
    assert_get(&*sidecars, 3, whole(&sidecar(3))).await;
}

pub async fn many_at_once_get_on(storage: &dyn Storage) {
    let sidecars = storage.open(Arc::new(clock())).await;
    let tasks: Vec<_> = (0..6)
        .map(|task| {
            let sidecars = Arc::clone(&sidecars);
            tokio::spawn(async move {
                for round in 0..5 {
                    // Every other batch is one that others put too, in another order.
                    let first = if round % 2 == 0 { 1_000 } else { task * 100 + round * 10 };
                    let mut batch: Vec<_> = (first..first + 10).map(sidecar).collect();
                    batch.rotate_left(task as usize);
                    sidecars.put(batch.clone()).await.expect("put");
                    let pieces: Vec<_> = batch.iter().skip(5).map(|sidecar| (sidecar.leaf, 0)).collect();
                    sidecars.purge(&pieces).await.expect("purge");
                    let leaves: Vec<_> = batch.iter().map(|sidecar| sidecar.leaf).collect();
                    let got = sidecars.get(&leaves).await.expect("get");
                    assert!(got.iter().all(Option::is_some));
                    assert!(got[5..].iter().flatten().all(|pieces| pieces[0].is_none()));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("task");
    }
}

pub async fn a_lost_answer_does_no_harm(storage: &dyn Storage) {
    let clock = clock();
    let sidecars = Faulty::new(storage.open(Arc::new(clock.clone())).await);
    let batch: Vec<_> = (0..20).map(sidecar).collect();
    sidecars.script(Call::Put, [Fault::Before, Fault::After]);
    assert!(matches!(sidecars.put(batch.clone()).await, Err(Error::Unavailable { .. })));
    assert_get(&sidecars, 1, None).await;
    assert!(matches!(sidecars.put(batch.clone()).await, Err(Error::Unknown { .. })));
    clock.advance_ms(1_000);
    sidecars.put(batch.clone()).await.expect("again");
    let listed = sidecars.put_before(clock.now(), 0, 100).await.expect("list");
    assert_eq!(listed.len(), 20, "it counts once, as of the first time");
    sidecars.script(Call::Purge, [Fault::Before, Fault::After]);
    for again in [true, true, false] {
        assert_eq!(sidecars.purge(&[(leaf(4), 1)]).await.is_err(), again);
    }
    let pieces = vec![Some(sidecar(4).pieces[0].clone()), None];
    assert_get(&sidecars, 4, Some(pieces)).await;
    sidecars.script(Call::Remove, [Fault::Before, Fault::After]);
    for again in [true, true, false] {
        assert_eq!(sidecars.remove(&[leaf(6)]).await.is_err(), again);
    }
    assert_get(&sidecars, 6, None).await;
    assert!(sidecars.is_done());
}
