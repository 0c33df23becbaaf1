//! The log of a cluster keeps the port's contract, also while nodes fail.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use custody::clock::{Clock, SystemClock};
use custody::log::contract::{self, Storage, event_id, record};
use custody::log::faulty::{Call, Fault, Faulty};
use custody::log::kurrent::{Kurrent, Nodes, Options};
use custody::log::sidecars::Sidecars;
use custody::log::sidecars::memory::MemorySidecars;
use custody::log::{Error, Log, Outcome};
use rcgen::ExtendedKeyUsagePurpose;
use tempfile::TempDir;

use super::support::authority::Authority;
use super::support::stand_in::Cluster;

/// One node's place in a cluster.
struct Place {
    cluster: Arc<Cluster>,
    sidecars: Arc<dyn Sidecars>,
    dir: TempDir,
    patience: Duration,
    connection: String,
    prefix: String,
}

impl Place {
    fn new(cluster: Cluster) -> Place {
        Place::beside(&Arc::new(cluster), &(MemorySidecars::new(Arc::new(SystemClock)) as Arc<dyn Sidecars>))
    }

    fn beside(cluster: &Arc<Cluster>, sidecars: &Arc<dyn Sidecars>) -> Place {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let (cluster, sidecars) = (Arc::clone(cluster), Arc::clone(sidecars));
        let connection = cluster.connection();
        let prefix = "custody-g@".to_owned();
        Place { cluster, sidecars, dir, patience: Duration::from_secs(20), connection, prefix }
    }

    /// On a real KurrentDB, if one is named; each with streams of its own.
    fn usual(nodes: usize) -> Place {
        match std::env::var("CUSTODY_TEST_KURRENTDB") {
            Ok(connection) => {
                let prefix = format!("custody-test-{}@", uuid::Uuid::now_v7());
                Place { connection, prefix, ..Place::new(Cluster::start(0)) }
            }
            Err(_) => Place::new(Cluster::start(nodes)),
        }
    }

    /// Another node on the same log.
    fn another(&self) -> Place {
        let (connection, prefix) = (self.connection.clone(), self.prefix.clone());
        Place { connection, prefix, ..Place::beside(&self.cluster, &self.sidecars) }
    }

    async fn try_open(&self) -> Result<Arc<Kurrent>, Error> {
        let options = Options {
            dir: self.dir.path().to_owned(),
            nodes: Nodes::parse(&self.connection).unwrap(),
            prefix: self.prefix.clone(),
            queue_bytes: 16 << 20,
            patience: self.patience,
            set_aside: custody::server::shared::set_aside("g".parse().unwrap()).unwrap(),
        };
        Kurrent::open(options, Arc::clone(&self.sidecars)).await.map(Arc::new)
    }

    async fn kurrent(&self) -> Arc<Kurrent> {
        self.try_open().await.unwrap()
    }
}

#[async_trait]
impl Storage for Place {
    async fn open(&self) -> Arc<dyn Log> {
        self.kurrent().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_the_contract() {
    contract::run(|| Place::usual(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_the_contract_with_three_nodes() {
    contract::run(|| Place::usual(3)).await;
}

async fn append_one(log: &dyn Log, n: u64) -> Result<Outcome, Error> {
    Ok(log.append(vec![record("app", n)]).await?[0])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_give_the_same_positions_and_a_retry_elsewhere_counts_once() {
    let first = Place::usual(3);
    let second = first.another();
    let (a, b) = (first.kurrent().await, second.kurrent().await);
    let mut tasks = Vec::new();
    for (log, from) in [(&a, 0u64), (&b, 100)] {
        for task in 0..4u64 {
            let log = Arc::clone(log);
            tasks.push(tokio::spawn(async move {
                for n in 0..25 {
                    append_one(&*log, from + task * 25 + n).await.unwrap();
                }
            }));
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    // At once on both: one of them may store a copy that does not count.
    for n in 300..320 {
        let (one, other) = tokio::join!(append_one(&*a, n), append_one(&*b, n));
        let at = |outcome: Outcome| match outcome {
            Outcome::Appended(at) | Outcome::Exists(at) => at,
        };
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!(at(one), at(other));
        assert!(
            matches!(one, Outcome::Exists(_)) || matches!(other, Outcome::Exists(_)),
            "{one:?} {other:?}"
        );
    }
    let (end_a, end_b) = (a.latest().await.unwrap(), b.latest().await.unwrap());
    assert_eq!(end_a, end_b);
    assert!(end_a >= 220);
    let (all_a, all_b) = (everything(&*a).await, everything(&*b).await);
    assert_eq!(all_a, all_b);
    let ids: Vec<_> = (300..320).map(|n| (contract::emitter("app"), event_id(n))).collect();
    assert_eq!(a.find(&ids).await.unwrap(), b.find(&ids).await.unwrap());
}

async fn everything(log: &dyn Log) -> Vec<custody::log::StoredRecord> {
    let mut all = Vec::new();
    while (all.len() as u64) < log.head() {
        all.extend(log.read(all.len() as u64, 1_000, 1 << 20).await.unwrap());
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_count_has_a_position_on_every_node() {
    let first = Place::new(Cluster::start(1));
    let log = first.kurrent().await;
    for n in 0..5 {
        assert_eq!(append_one(&*log, n).await.unwrap(), Outcome::Appended(n));
    }
    first.cluster.tell(0, "duplicate").unwrap();
    first.cluster.tell(0, "garbage custody-g@").unwrap();
    log.wait_beyond(6).await.unwrap();
    assert_eq!(append_one(&*log, 9).await.unwrap(), Outcome::Appended(7));
    let said =
        |at: usize, all: &[custody::log::StoredRecord]| String::from_utf8(all[at].header.to_vec()).unwrap();
    let all = everything(&*log).await;
    assert!(said(5, &all).contains(r#""reason":"repeats","first_position":4"#), "{}", said(5, &all));
    assert!(said(6, &all).contains(r#""reason":"unreadable""#), "{}", said(6, &all));
    assert!(all[5].pieces.is_empty() && all[6].pieces.is_empty());
    let second = Place::beside(&first.cluster, &first.sidecars);
    assert_eq!(everything(&*second.kurrent().await).await, all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_lost_late_or_refused_change_nothing() {
    let place = Place::new(Cluster::start(3));
    let log = place.kurrent().await;
    let mut n = 0;
    for fault in
        ["lose 1", "refuse 1", "timeout 1", "drop", "end clean", "end unavailable", "unready 2", "resign"]
    {
        let leader = place.cluster.leader();
        place.cluster.tell(leader, fault).unwrap();
        for _ in 0..3 {
            assert_eq!(append_one(&*log, n).await.unwrap(), Outcome::Appended(n), "after {fault}");
            n += 1;
        }
    }
    let leader = place.cluster.leader();
    place.cluster.kill(leader);
    for _ in 0..3 {
        assert_eq!(append_one(&*log, n).await.unwrap(), Outcome::Appended(n), "after a kill");
        n += 1;
    }
    let records: Vec<_> = (0..n).map(|n| record("app", n)).collect();
    for (stored, given) in everything(&*log).await.iter().zip(&records) {
        assert_eq!(stored.header, given.header);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_no_node_answers_reads_go_on_and_appends_can_be_repeated() {
    let mut place = Place::new(Cluster::start(1));
    place.patience = Duration::from_secs(2);
    let log = place.kurrent().await;
    append_one(&*log, 0).await.unwrap();
    place.cluster.tell(0, "hang").unwrap();
    let waiting = append_one(&*log, 1).await;
    assert!(matches!(&waiting, Err(error) if error.retryable()), "{waiting:?}");
    assert_eq!(log.get(&[0]).await.unwrap()[0].header, record("app", 0).header);
    place.cluster.tell(0, "unhang").unwrap();
    assert_eq!(eventually(&log, 1).await, 1);
    place.cluster.kill(0);
    let refused = append_one(&*log, 2).await;
    assert!(matches!(&refused, Err(error) if error.retryable()), "{refused:?}");
    drop(log);
    // A node starts without the cluster if it knows something of it, and not if it knows nothing.
    let log = place.kurrent().await;
    assert_eq!(log.head(), 2);
    let stranger =
        Place { patience: Duration::from_millis(300), ..Place::beside(&place.cluster, &place.sidecars) };
    assert!(matches!(stranger.try_open().await, Err(Error::Unavailable { .. })));
    place.cluster.revive(0);
    assert_eq!(eventually(&log, 2).await, 2);
}

/// Appends until there is an answer; says at which position.
async fn eventually(log: &Kurrent, n: u64) -> u64 {
    for _ in 0..20 {
        match append_one(log, n).await {
            Ok(Outcome::Appended(at) | Outcome::Exists(at)) => return at,
            Err(error) => assert!(error.retryable(), "{error}"),
        }
    }
    panic!("no answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_was_put_back_is_noticed() {
    let place = Place::new(Cluster::start(1));
    let log = place.kurrent().await;
    for n in 0..3 {
        append_one(&*log, n).await.unwrap();
    }
    drop(log);
    // Another, younger cluster in its place.
    let cluster = Arc::new(Cluster::start(1));
    let other = Place { connection: cluster.connection(), cluster, ..place };
    let younger = Place::beside(&other.cluster, &other.sidecars);
    append_one(&*younger.kurrent().await, 7).await.unwrap();
    let log = other.kurrent().await;
    assert!(log.status().read_only.is_some_and(|why| why.contains("something else")));
    assert!(matches!(append_one(&*log, 8).await, Err(Error::ReadOnly(_))));
    assert_eq!(everything(&*log).await.len(), 3, "what was numbered is still read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sidecars_without_a_header_are_swept() {
    let place = Place::new(Cluster::start(1));
    let log = place.kurrent().await;
    for n in 0..3 {
        append_one(&*log, n).await.unwrap();
    }
    let orphan = record("app", 100);
    let leaf = custody::record::leaf_hash(&orphan.header);
    let (emitter, event_id, pieces) = (orphan.emitter, orphan.event_id, orphan.pieces);
    let orphan = custody::log::sidecars::NewSidecar { leaf, emitter, event_id, pieces };
    place.sidecars.put(vec![orphan]).await.unwrap();
    let far = SystemClock.now().plus_ms(60_000);
    let (swept, next) = log.sweep_orphans(far, 0).await.unwrap();
    assert_eq!(swept, 1);
    assert_eq!(log.sweep_orphans(far, next.unwrap()).await.unwrap(), (0, None));
    assert_eq!(place.sidecars.get(&[leaf]).await.unwrap(), [None]);
    assert_eq!(everything(&*log).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_before_and_after_their_effect_leave_one_record() {
    let place = Place::new(Cluster::start(1));
    let log = Faulty::new(place.open().await);
    log.script(Call::Append, [Fault::Before, Fault::After]);
    assert!(append_one(&log, 0).await.is_err_and(|error| error.retryable()));
    assert!(append_one(&log, 0).await.is_err_and(|error| error.retryable()));
    assert_eq!(append_one(&log, 0).await.unwrap(), Outcome::Exists(0));
    assert_eq!(log.head(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_only_our_authority_and_the_right_password_are_believed() {
    let below = tempfile::tempdir().unwrap();
    let authority = Authority::new(below.path(), "ours");
    let stranger = Authority::new(below.path(), "theirs");
    let identity = authority.issue("node", ExtendedKeyUsagePurpose::ServerAuth);
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let (certificate, key) = (path(&identity.certificate), path(&identity.key));
    let more = ["--certificate", &certificate, "--key", &key, "--user", "admin:changeit"];
    let cluster = Arc::new(Cluster::start_with(3, &more));
    let sidecars = MemorySidecars::new(Arc::new(SystemClock)) as Arc<dyn Sidecars>;
    let at = |user: &str, authority: &Authority| {
        let query = format!("tlsCaFile={}&nodePreference=follower", authority.certificate.display());
        let connection = cluster.connection_with(&query).replace("esdb://", &format!("esdb://{user}@"));
        let patience = Duration::from_secs(2);
        Place { connection, patience, ..Place::beside(&cluster, &sidecars) }
    };
    for wrong in [at("admin:guessed", &authority), at("admin:changeit", &stranger)] {
        let refused = wrong.try_open().await.err().unwrap();
        assert!(refused.retryable(), "{refused:?}");
    }
    let right = Place { patience: Duration::from_secs(20), ..at("admin:changeit", &authority) };
    let log = right.kurrent().await;
    for n in 0..5 {
        assert_eq!(append_one(&*log, n).await.unwrap(), Outcome::Appended(n));
    }
    assert_eq!(log.latest().await.unwrap(), 5);
}
