//! Backup and restore at the size of a real log, beside `cp` of the same files in the same run; and
//! what a backup costs those who record meanwhile.
//!
//! `cargo bench --bench backup` takes a million events; `-- --events 200000` says otherwise.

mod support;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use custody::cli::restore::from_backup;
use custody::clock::{Clock, SystemClock};
use custody::config::Config;
use custody::server::{Running, Server};
use support::{BATCH, EMITTERS, clients, ingest, load, newcomers, number, rate, row, size};
use tokio::runtime::Runtime;

/// The allocator of the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A copy that is on the disk when it returns, like a backup.
fn copy(from: &Path, to: &Path) -> Duration {
    let started = Instant::now();
    std::fs::create_dir(to).expect("made");
    for folder in ["log", "vault"] {
        let copied = Command::new("cp").arg("-r").arg(from.join(folder)).arg(to).status();
        assert!(copied.expect("cp").success());
    }
    assert!(Command::new("sync").arg("-f").arg(to).status().expect("sync").success());
    started.elapsed()
}

async fn measure(config: &Config, running: &Running, events: u64) -> std::path::PathBuf {
    let clients = clients(running).await;
    rate("ingestion, alone", ingest(&clients, 0, events, newcomers).await, events, "events");
    let quietly = || Arc::new(|_, _| {});
    let started = Instant::now();
    let (first, manifest) = running.app().create_backup(quietly()).await.expect("a backup");
    row("backup, read back", started.elapsed(), manifest.sizes().0);
    let started = Instant::now();
    let (again, manifest) = running.app().create_backup(quietly()).await.expect("a backup");
    let (bytes, reused) = manifest.sizes();
    row(&format!("  again, {} % linked", 100 * reused / bytes.max(1)), started.elapsed(), bytes);
    for dir in [first, again] {
        std::fs::remove_dir_all(dir).expect("removed");
    }

    let more = events / 4;
    rate("ingestion, alone", ingest(&clients, events, more, newcomers).await, more, "events");
    let enough = Arc::new(AtomicBool::new(false));
    let (app, ended) = (Arc::clone(running.app()), Arc::clone(&enough));
    let backing_up = tokio::spawn(async move {
        let mut made = 0;
        while !ended.load(Ordering::SeqCst) {
            let (dir, _) = app.create_backup(Arc::new(|_, _| {})).await.expect("a backup");
            // Nothing is linked: each is a whole one.
            std::fs::remove_dir_all(dir).expect("removed");
            made += 1;
        }
        made
    });
    let took = ingest(&clients, events + more, more, newcomers).await;
    enough.store(true, Ordering::SeqCst);
    let made = backing_up.await.expect("backups");
    rate(&format!("  while backing up, {made} times"), took, more, "events");
    let (last, _) = running.app().create_backup(quietly()).await.expect("a backup");
    let beside = config.data.directory.with_extension("copy");
    let took = copy(&config.data.directory, &beside);
    row("cp -r log vault, synced", took, size(&beside));
    std::fs::remove_dir_all(beside).expect("removed");
    last
}

fn main() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let config = support::config(place.path());
    let events = number("--events", 1_000_000) / (4 * EMITTERS * BATCH) * (4 * EMITTERS * BATCH);
    println!("{events} events; load {}", load());
    let runtime = Runtime::new().expect("a runtime");
    let last = runtime.block_on(async {
        let running = Server::start(config.clone(), Arc::new(SystemClock)).await.expect("a service");
        let last = measure(&config, &running, events).await;
        running.app().publish().await.expect("published");
        running.stop().await.expect("stopped");
        last
    });
    std::fs::remove_dir_all(&config.data.directory).expect("removed");
    let started = Instant::now();
    let restored = from_backup(&config, &last, SystemClock.now(), |_| Ok(()));
    let took = started.elapsed();
    let restored = restored.unwrap_or_else(|failure| panic!("{}", failure.message));
    row(&format!("restore of {} records", restored.head), took, size(&config.data.directory));
    println!("load {}", load());
}
