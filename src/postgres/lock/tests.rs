//! Leaders and critical sections; against the server of the tests, or one that is paused and killed.

use super::*;
use crate::postgres::Options;
use crate::postgres::throwaway::{self, Server, Setup};

const LEADS: Name = Name("leads");
const SECTION: Name = Name("section");

async fn locks(options: &Options) -> Locks {
    Locks::new(Database::open(options.clone()).await.unwrap())
}

/// Looks until it is so, but not for ever. Says how long that took.
async fn until(what: &str, limit: Duration, so: impl Fn() -> bool) -> Duration {
    let watch = Stopwatch::start();
    while !so() {
        assert!(watch.elapsed() < limit, "not in {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    watch.elapsed()
}

const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn one_leads_and_another_follows_when_it_is_gone() {
    let options = throwaway::options("leader");
    let (one, two) = (locks(&options).await, locks(&options).await);
    let other = locks(&throwaway::options("leader")).await;
    let first = one.leader(LEADS);
    assert!(!first.leads(), "not before the server says so");
    until("one leads", SOON, || first.leads()).await;
    let second = two.leader(LEADS);
    // Other names and other schemas are led by others.
    let (elsewhere, otherwise) = (other.leader(LEADS), two.leader(SECTION));
    until("others lead", SOON, || elsewhere.leads() && otherwise.leads()).await;
    assert!(first.leads() && !second.leads());
    drop(first);
    until("two leads", SOON, || second.leads()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_is_none_as_soon_as_its_session_is_gone() {
    let options = throwaway::options("leader");
    let (one, two) = (locks(&options).await, locks(&options).await);
    let leader = one.leader(LEADS);
    until("one leads", SOON, || leader.leads()).await;
    let ended = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted \
                 AND (classid::bigint << 32) + objid::bigint = $1";
    let connection = two.database.get().await.unwrap();
    let key = LEADS.key(&one.database);
    assert_eq!(connection.query(ended, &[&key]).await.unwrap().len(), 1);
    let took = until("it is told", SOON, || !leader.leads()).await;
    assert!(took < LEASE, "sooner than the lease ends: {took:?}");
    until("it leads again", SOON, || leader.leads()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_who_hears_nothing_stops_in_five_seconds() {
    let server = Server::new(Setup::default());
    let locks = locks(&server.options("leader")).await;
    let leader = locks.leader(LEADS);
    until("it leads", SOON, || leader.leads()).await;
    server.pause();
    let took = until("it stops", SOON, || !leader.leads()).await;
    assert!(took <= LEASE + Duration::from_millis(500), "{took:?}");
    server.resume();
    until("it leads again", SOON, || leader.leads()).await;
    server.kill();
    until("it is told", SOON, || !leader.leads()).await;
    server.start();
    until("it leads again", SOON, || leader.leads()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sections_are_shared_or_exclusive_and_end_with_their_guards() {
    let options = Options { patience: Duration::from_secs(1), ..throwaway::options("section") };
    let (one, two) = (locks(&options).await, locks(&options).await);
    let shared = (one.share(SECTION).await.unwrap(), two.share(SECTION).await.unwrap());
    assert!(shared.0.held() && shared.1.held());
    let busy = two.exclusive(SECTION).await.unwrap_err();
    assert!(matches!(busy, Error::Unavailable { .. }), "{busy}");
    two.exclusive(Name("another")).await.map(drop).unwrap();
    drop(shared.0);
    assert!(two.exclusive(SECTION).await.is_err());
    drop(shared.1);
    let mut alone = two.exclusive(SECTION).await.unwrap();
    assert!(one.share(SECTION).await.is_err() && one.exclusive(SECTION).await.is_err());
    assert_eq!(alone.connection().query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
    drop(alone);
    for _ in 0..40 {
        drop(one.share(SECTION).await.unwrap());
        drop(two.exclusive(SECTION).await.unwrap());
    }
    // A call that is given up keeps nothing.
    let held = one.exclusive(SECTION).await.unwrap();
    let given_up = two.exclusive(SECTION);
    assert!(tokio::time::timeout(Duration::from_millis(100), given_up).await.is_err());
    drop(held);
    one.exclusive(SECTION).await.map(drop).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sections_leave_connections_to_work_with() {
    let options = Options { patience: Duration::from_secs(1), ..throwaway::options("section") };
    let locks = locks(&options).await;
    let mut guards = Vec::new();
    for _ in 0..options.connections / 2 {
        guards.push(locks.share(SECTION).await.unwrap());
    }
    assert!(locks.share(SECTION).await.unwrap_err().retryable());
    drop(locks.database.get().await.unwrap());
    guards.pop();
    locks.share(SECTION).await.map(drop).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn exclusive_is_exclusive() {
    let options = throwaway::options("section");
    let inside = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for _ in 0..3 {
        let (locks, inside) = (locks(&options).await, Arc::clone(&inside));
        tasks.push(tokio::spawn(async move {
            for _ in 0..20 {
                let guard = locks.exclusive(SECTION).await.unwrap();
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                tokio::task::yield_now().await;
                inside.fetch_sub(1, Ordering::SeqCst);
                drop(guard);
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}
