//! Sidecars in PostgreSQL beside the disk they stand on.
//!
//! `cargo bench --bench sidecars` starts a server with `fsync=on` in the temporary directory and prints how many
//! sidecars of two pieces and 400 bytes are put and got each second in batches of 500, by one and by four at a time,
//! then what a purge and a scrub take. `-- --batches 2000` puts more.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use custody::clock::{Clock, SystemClock};
use custody::domain::id::{Digest, EventId, Id};
use custody::log::sidecars::postgres::PostgresSidecars;
use custody::log::sidecars::{NewSidecar, Sidecars};
use custody::postgres::Database;
use custody::postgres::throwaway::{Server, Setup};
use uuid::Uuid;

const BATCH: u64 = 500;

/// As good as random, as hashes are.
fn leaf(n: u64) -> Digest {
    let mut bytes = [0; 32];
    for (at, chunk) in bytes.chunks_mut(8).enumerate() {
        let mixed = (n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(at as u32 * 13 + 7);
        chunk.copy_from_slice(&mixed.wrapping_mul(0xD6E8_FEB8_6659_FD93).to_le_bytes());
    }
    Digest(bytes)
}

fn batch(from: u64) -> Vec<NewSidecar> {
    let emitter: Id = "solar-app".parse().expect("an id");
    let one = |n: u64| NewSidecar {
        leaf: leaf(n),
        emitter: emitter.clone(),
        event_id: EventId(Uuid::from_u64_pair(n << 16 | 0x7000, 1 << 63)),
        pieces: vec![vec![n as u8; 120].into(), vec![n as u8; 280].into()],
    };
    (from..from + BATCH).map(one).collect()
}

/// Runs `work` with the numbers of batches, `tasks` at a time; returns sidecars each second.
async fn rate<F>(batches: std::ops::Range<u64>, tasks: u64, work: impl Fn(u64) -> F) -> f64
where
    F: Future<Output = ()> + Send + 'static,
{
    let started = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for n in batches.clone() {
        if running.len() as u64 >= tasks {
            running.join_next().await.expect("one runs").expect("task");
        }
        running.spawn(work(n));
    }
    while let Some(done) = running.join_next().await {
        done.expect("task");
    }
    (batches.end - batches.start) as f64 * BATCH as f64 / started.elapsed().as_secs_f64()
}

/// Median time to overwrite 4 KiB and sync, beside the server's files.
fn floor(folder: &std::path::Path) -> Duration {
    let path = folder.join("floor");
    std::fs::write(&path, vec![0; 4 << 20]).expect("write");
    let file = File::options().write(true).open(path).expect("open");
    file.sync_all().expect("sync");
    let mut times: Vec<Duration> = (0..300)
        .map(|n| {
            let started = Instant::now();
            file.write_all_at(&[7; 4096], n * 4096).expect("write");
            file.sync_data().expect("sync");
            started.elapsed()
        })
        .collect();
    times.sort();
    times[150]
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let given = arguments.iter().position(|argument| argument == "--batches");
    let batches: u64 = given.map_or(200, |at| arguments[at + 1].parse().expect("a number"));
    let server = Server::new(Setup { fsync: true, ..Setup::default() });
    let database = Database::open(server.options("bench")).await.expect("open");
    let sidecars = PostgresSidecars::open(database, Arc::new(SystemClock)).await.expect("open");
    let folder = std::env::temp_dir().join(format!("custody-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    println!("fdatasync of 4 KiB: {:?}", floor(&folder));
    let put = |n: u64| {
        let sidecars = Arc::clone(&sidecars);
        async move { sidecars.put(batch(n * BATCH)).await.expect("put") }
    };
    let get = |n: u64| {
        let sidecars = Arc::clone(&sidecars);
        async move {
            let leaves: Vec<_> = (n * BATCH..(n + 1) * BATCH).map(leaf).collect();
            assert!(sidecars.get(&leaves).await.expect("get").iter().all(Option::is_some));
        }
    };
    rate(0..20, 4, put).await;
    for (round, tasks) in [1, 4, 1, 4].into_iter().enumerate() {
        let first = 20 + round as u64 * batches;
        println!("put, {tasks} at a time: {:.0}/s", rate(first..first + batches, tasks, put).await);
        println!("got, {tasks} at a time: {:.0}/s", rate(first..first + batches, tasks, get).await);
    }
    let (started, mut after, mut count) = (Instant::now(), 0, 0);
    loop {
        let page = sidecars.put_before(SystemClock.now(), after, 1_000).await.expect("list");
        let Some(last) = page.last() else { break };
        (after, count) = (last.number, count + page.len());
    }
    println!("{count} listed in {:?}", started.elapsed());
    let pieces: Vec<_> = (0..BATCH).map(|n| (leaf(n), 0)).collect();
    let started = Instant::now();
    sidecars.purge(&pieces).await.expect("purge");
    println!("{BATCH} pieces purged in {:?}", started.elapsed());
    let started = Instant::now();
    sidecars.scrub().await.expect("scrub");
    println!("all parts scrubbed in {:?}", started.elapsed());
    println!("{:?}", sidecars.status().await.expect("status"));
    println!("fdatasync of 4 KiB: {:?}", floor(&folder));
    std::fs::remove_dir_all(&folder).expect("removed");
}
