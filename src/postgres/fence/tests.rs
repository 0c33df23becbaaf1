//! Two who disagree, in every order; against the server of the tests.

use super::*;
use crate::postgres::throwaway;

const ORIGIN: &str = "custody.local/default/events-1";

fn root(tree: u8, size: u64) -> Digest {
    let mut bytes = [tree; 32];
    bytes[24..].copy_from_slice(&size.to_be_bytes());
    Digest(bytes)
}

/// Somebody whose tree is `tree` above size 5, and everybody's up to there.
async fn ask(fence: &Fence, tree: u8, size: u64) -> Result<(), Refused> {
    let own = |size| root(if size <= 5 { 0 } else { tree }, size);
    fence.fence(ORIGIN, size, &own(size), |earlier| async move { Some(own(earlier)) }).await
}

async fn two() -> (Fence, Fence) {
    let options = throwaway::options("fence");
    let open = || async { Database::open(options.clone()).await.unwrap() };
    (Fence::open(open().await, "one").await.unwrap(), Fence::open(open().await, "two").await.unwrap())
}

#[tokio::test]
async fn only_what_continues_the_released_tree_is_released() {
    let (one, two) = two().await;
    assert_eq!(one.newest(ORIGIN).await.unwrap(), None);
    ask(&one, 1, 0).await.unwrap();
    ask(&one, 1, 3).await.unwrap();
    ask(&two, 2, 3).await.unwrap();
    ask(&two, 2, 5).await.unwrap();
    assert!(matches!(ask(&one, 1, 4).await, Err(Refused::Behind { size: 4, released: 5 })));
    ask(&one, 1, 8).await.unwrap();
    ask(&one, 1, 8).await.unwrap();
    for size in [8, 9, 1_000] {
        let refused = ask(&two, 2, size).await.unwrap_err();
        let right = matches!(&refused, Refused::Contradicts { released: 8, node } if node == "one");
        assert!(right && !refused.retryable(), "{refused}");
    }
    // Who does not know what it had is not believed.
    let unknown = one.fence(ORIGIN, 9, &root(1, 9), |_| async { None }).await;
    assert!(matches!(unknown, Err(Refused::Contradicts { .. })));
    assert!(
        one.fence(ORIGIN, u64::MAX, &root(1, 9), |size| async move { Some(root(1, size)) }).await.is_err()
    );
    assert_eq!(two.newest(ORIGIN).await.unwrap(), Some((8, root(1, 8))));
    two.fence("another", 2, &root(9, 2), |_| async { None }).await.unwrap();
}

/// A leader is suspended at either side of its question, another takes over with a tree that differs, and then the
/// first goes on.
#[tokio::test]
async fn a_leader_who_was_suspended_releases_no_second_tree() {
    let (one, two) = two().await;
    ask(&one, 1, 5).await.unwrap();
    // Suspended before it asked: the other is first.
    ask(&two, 2, 9).await.unwrap();
    assert!(matches!(ask(&one, 1, 7).await, Err(Refused::Behind { .. })));
    assert!(matches!(ask(&one, 1, 9).await, Err(Refused::Contradicts { .. })));
    assert!(matches!(ask(&one, 1, 12).await, Err(Refused::Contradicts { .. })));
    // Suspended after it was answered and before it signed: what it may sign is what the other continues, or nobody.
    ask(&two, 2, 20).await.unwrap();
    assert!(matches!(ask(&one, 1, 21).await, Err(Refused::Contradicts { .. })));
    ask(&one, 2, 21).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_at_once_one_is_released() {
    let (one, two) = two().await;
    let (one, two) = (Arc::new(one), Arc::new(two));
    for size in (10..200).step_by(10) {
        let ask = |fence: &Arc<Fence>, tree: u8| {
            let fence = Arc::clone(fence);
            // Both continue what was released before, whichever that was, and differ from now on.
            tokio::spawn(async move {
                let newest = fence.newest(ORIGIN).await.unwrap();
                let before =
                    move |at| async move { newest.filter(|(size, _)| *size == at).map(|(_, root)| root) };
                fence.fence(ORIGIN, size, &root(tree, size), before).await
            })
        };
        let (a, b) = (ask(&one, 1), ask(&two, 2));
        let (a, b) = (a.await.unwrap(), b.await.unwrap());
        assert!(a.is_ok() != b.is_ok(), "size {size}: {a:?}, {b:?}");
    }
}
