//! What the adapter adds to the contract: what it does when bytes or calls go wrong.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use tempfile::TempDir;

use super::*;
use crate::log::contract::{self, Storage, record};

mod crash;
mod damage;
mod faults;
mod mirrored;
mod model;

/// Small enough that a few records roll a segment, a chunk and a generation of ids.
fn small(dir: &Path) -> Options {
    let mut options = Options::new(dir);
    options.segment_bytes = 4 << 10;
    options.ids = (8, 16);
    options
}

/// A directory in memory where there is such a thing: these tests are not about the disk.
fn quick_dir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

struct Small(TempDir);

#[async_trait]
impl Storage for Small {
    async fn open(&self) -> Arc<dyn Log> {
        Arc::new(Segments::open(small(self.0.path())).unwrap())
    }
}

struct Usual(TempDir);

#[async_trait]
impl Storage for Usual {
    async fn open(&self) -> Arc<dyn Log> {
        Arc::new(Segments::open(Options::new(self.0.path())).unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_contract_holds_with_the_usual_options() {
    contract::run(|| Usual(tempfile::tempdir().unwrap())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_contract_holds_across_small_segments_and_generations() {
    contract::run(|| Small(quick_dir())).await;
}

#[tokio::test]
async fn a_group_commit_is_counted() {
    let count = || {
        let text = crate::telemetry::exporter::render();
        let of = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(&format!("{name}_count"))).unwrap();
            line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
        };
        (of(crate::telemetry::metrics::LOG_COMMIT_SECONDS), of(crate::telemetry::metrics::LOG_COMMIT_RECORDS))
    };
    let before = count();
    let log = Segments::open(small(quick_dir().path())).unwrap();
    log.append(vec![record("app", 0)]).await.unwrap();
    let after = count();
    // Other tests of this process count too.
    assert!(after.0 > before.0 && after.1 > before.1, "{before:?} {after:?}");
}
