//! The contract, the search of raw bytes, outages; against a server of the tests.

use super::*;
use crate::clock::{ManualClock, SystemClock};
use crate::log::sidecars::contract::{self, Storage, leaf, scrubbed_in_the_end, sidecar};
use crate::log::sidecars::faulty::Faulty;
use crate::log::sidecars::memory::MemorySidecars;
use crate::postgres::Options;
use crate::postgres::throwaway::{self, Server, Setup};

struct InPostgres(Options);

#[async_trait]
impl Storage for InPostgres {
    async fn open(&self, clock: Arc<dyn Clock>) -> Arc<dyn Sidecars> {
        PostgresSidecars::open(Database::open(self.0.clone()).await.unwrap(), clock).await.unwrap()
    }
}

struct BehindFaults(InPostgres);

#[async_trait]
impl Storage for BehindFaults {
    async fn open(&self, clock: Arc<dyn Clock>) -> Arc<dyn Sidecars> {
        Arc::new(Faulty::new(self.0.open(clock).await))
    }
}

/// Memory outlives whoever opened it.
struct InMemory(tokio::sync::OnceCell<Arc<MemorySidecars>>);

#[async_trait]
impl Storage for InMemory {
    async fn open(&self, clock: Arc<dyn Clock>) -> Arc<dyn Sidecars> {
        Arc::clone(self.0.get_or_init(|| async { MemorySidecars::new(clock) }).await) as Arc<dyn Sidecars>
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    contract::run(|| InPostgres(throwaway::options("sidecars"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_behind_faults() {
    contract::run(|| BehindFaults(InPostgres(throwaway::options("sidecars")))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_the_contract() {
    contract::run(|| InMemory(tokio::sync::OnceCell::new())).await;
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::at(Timestamp::EPOCH))
}

/// Files under a folder that hold some bytes, but for the write-ahead log, of which nothing is promised.
fn files_with(folder: &std::path::Path, bytes: &[u8]) -> Vec<std::path::PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.extend((!path.ends_with("pg_wal")).then_some(path));
            } else if std::fs::read(&path).unwrap_or_default().windows(bytes.len()).any(|w| w == bytes) {
                found.push(path);
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_scrub_nothing_of_what_was_purged_is_in_a_file() {
    let server = Server::new(Setup::default());
    let options = server.options("scrub");
    let database = Database::open(options).await.unwrap();
    let sidecars = PostgresSidecars::open(Arc::clone(&database), clock()).await.unwrap();
    let marked = |n: u64, text: &str, length: usize| NewSidecar {
        pieces: vec![format!("{text}{}", "y".repeat(length)).into(), format!("stays-{n}").into()],
        ..sidecar(n)
    };
    let words = ["purged-in-the-page", "purged-out-of-line", "removed-entirely"];
    for (n, (word, length)) in (1..).zip(words.iter().zip([50, 20_000, 300])) {
        sidecars.put(vec![marked(n, word, length), marked(n + 100, "stays-too", length)]).await.unwrap();
    }
    let connection = database.get().await.unwrap();
    connection.batch_execute("ANALYZE; CHECKPOINT").await.unwrap();
    for word in words {
        assert!(!files_with(&server.data(), word.as_bytes()).is_empty(), "the search finds {word}");
    }
    // Somebody who reads as of before the purge keeps the bytes, and the scrub knows.
    let (mut reader, _) = database.connect_alone().await.unwrap();
    let level = tokio_postgres::IsolationLevel::RepeatableRead;
    let reading = reader.build_transaction().isolation_level(level).start().await.unwrap();
    reading.query("SELECT count(*) FROM sidecars", &[]).await.unwrap();
    sidecars.purge(&[(leaf(1), 0), (leaf(2), 0)]).await.unwrap();
    sidecars.remove(&[leaf(3)]).await.unwrap();
    let early = sidecars.scrub().await.unwrap_err();
    assert!(early.retryable(), "{early}");
    assert!(!files_with(&server.data(), words[0].as_bytes()).is_empty());
    reading.rollback().await.unwrap();
    scrubbed_in_the_end(&*sidecars).await;
    connection.batch_execute("CHECKPOINT").await.unwrap();
    for word in words {
        let found = files_with(&server.data(), word.as_bytes());
        assert!(found.is_empty(), "{word}: {found:?}");
    }
    assert!(!files_with(&server.data(), b"stays-too").is_empty());
    let noted = connection.query("SELECT 1 FROM sidecar_scrubs WHERE purges > scrubbed", &[]).await.unwrap();
    assert!(noted.is_empty());
    let got = sidecars.get(&[leaf(1), leaf(3)]).await.unwrap();
    assert_eq!(got, [Some(vec![None, Some("stays-1".into())]), None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_harmed_row_is_loud() {
    let database = Database::open(throwaway::options("harmed")).await.unwrap();
    let sidecars = PostgresSidecars::open(Arc::clone(&database), clock()).await.unwrap();
    sidecars.put(vec![sidecar(1), sidecar(2)]).await.unwrap();
    let connection = database.get().await.unwrap();
    let swap = "UPDATE sidecars SET pieces = set_byte(pieces, 12, get_byte(pieces, 12) # 1) WHERE leaf = $1";
    connection.execute(swap, &[&leaf(1).0.as_slice()]).await.unwrap();
    let harmed = sidecars.get(&[leaf(2), leaf(1)]).await.unwrap_err();
    assert!(matches!(&harmed, Error::Corrupt { .. }) && !harmed.retryable(), "{harmed}");
    sidecars.get(&[leaf(2)]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_an_error_in_time_and_loses_nothing() {
    let server = Server::new(Setup { fsync: true, ..Setup::default() });
    let options = Options { patience: std::time::Duration::from_secs(5), ..server.options("outage") };
    let database = Database::open(options).await.unwrap();
    let sidecars = PostgresSidecars::open(database, clock()).await.unwrap();
    sidecars.put((0..50).map(sidecar).collect()).await.unwrap();
    sidecars.purge(&[(leaf(8), 1)]).await.unwrap();
    server.kill();
    assert!(sidecars.put(vec![sidecar(60)]).await.unwrap_err().retryable());
    assert!(sidecars.get(&[leaf(1)]).await.unwrap_err().retryable());
    assert!(sidecars.scrub().await.unwrap_err().retryable());
    server.start();
    let leaves: Vec<_> = (0..50).map(leaf).collect();
    let got = sidecars.get(&leaves).await.unwrap();
    assert!(got.iter().all(Option::is_some));
    assert_eq!(got[8].as_ref().map(|pieces| pieces[1].is_none()), Some(true));
    sidecars.put(vec![sidecar(60)]).await.unwrap();
    sidecars.scrub().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_are_all_used_and_counted() {
    let database = Database::open(throwaway::options("parts")).await.unwrap();
    let sidecars = PostgresSidecars::open(Arc::clone(&database), Arc::new(SystemClock)).await.unwrap();
    for batch in 0..4 {
        sidecars.put((batch * 500..(batch + 1) * 500).map(sidecar).collect()).await.unwrap();
    }
    let connection = database.get().await.unwrap();
    let rows = connection.query("SELECT tableoid, count(*) FROM sidecars GROUP BY 1", &[]).await.unwrap();
    assert_eq!(rows.len(), PARTS as usize);
    connection.batch_execute("ANALYZE sidecars").await.unwrap();
    assert_eq!(sidecars.status().await.unwrap().sidecars, 2_000);
}
