//! Following the log: leaf by leaf into the tree, its hashes to disk, in chunks.

use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::hashes::Hashes;
use super::point::Point;
use super::tlog::proof::edge_at;
use super::tlog::tile::{HEIGHT, LEVELS, hashes_on};
use super::tlog::{Hash, leaf_hash};
use super::{Error, Ledger, names};
use crate::log::StoredRecord;

/// Records taken at once, and about how many bytes.
const RECORDS: usize = 4_096;
const BYTES: usize = 8 << 20;
/// After a chunk, so that a trickle of events is followed in a few chunks and not one by one.
const LULL: Duration = Duration::from_millis(20);
/// How long to wait before a log that is unavailable is asked again.
const AGAIN: Duration = Duration::from_millis(200);
/// Leaves between two consistent points, so that a start replays no more.
const POINTS: u64 = 1 << 20;

/// Goes back to the consistent point, or to the beginning where there is none that fits.
pub fn resume(dir: &Path, hashes: &Hashes, head: u64) -> Result<Point, Error> {
    let stored = Point::load(&dir.join("edge"))?.unwrap_or_default();
    let size = stored.edge.size();
    let fits = size <= head && hashes.cut(size)? && edge_at(size, hashes)? == stored.edge;
    if fits {
        return Ok(stored);
    }
    tracing::warn!(size, head, "the ledger's hashes do not fit the log and are made again");
    hashes.cut(0)?;
    Ok(Point::default())
}

impl Ledger {
    /// Takes over everything up to the log's head.
    pub async fn catch_up(self: &Arc<Self>) -> Result<(), Error> {
        while self.size() < self.log.head() {
            self.step().await?;
        }
        Ok(())
    }

    /// Follows no more, and makes durable what was followed, so that the next start is short.
    pub fn close(&self) -> Result<(), Error> {
        self.stop.send_replace(true);
        let point = self.point().clone();
        if point.edge.size() == 0 { Ok(()) } else { self.keep_point(&point) }
    }

    /// Follows the log until the ledger is closed, or until something is met that cannot be.
    pub async fn follow(self: Arc<Self>) {
        if self.standing().stopped.is_some() {
            return;
        }
        let mut stop = self.stop.subscribe();
        let mut failing = false;
        loop {
            let step = async {
                self.log.wait_beyond(self.size()).await?;
                self.catch_up().await
            };
            let step = tokio::select! {
                _stopped = stop.wait_for(|stop| *stop) => return,
                step = step => step,
            };
            let pause = match step {
                Ok(()) => {
                    failing = false;
                    LULL
                }
                // A full disk, such as will have room again. Nothing was taken over.
                Err(why @ Error::Io { .. }) => {
                    if !failing {
                        tracing::warn!(error = %why, "the ledger cannot write, and tries again");
                    }
                    failing = true;
                    AGAIN
                }
                Err(Error::Log(why)) if why.retryable() => AGAIN,
                Err(_) if *self.stop.borrow() => return,
                Err(why) => {
                    tracing::error!(error = %why, "the ledger follows the log no more");
                    return self.stopped(&why);
                }
            };
            tokio::select! {
                _stopped = stop.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn step(self: &Arc<Self>) -> Result<(), Error> {
        let records = self.log.read_headers(self.size(), RECORDS, BYTES).await?;
        let ledger = Arc::clone(self);
        let absorbed = tokio::task::spawn_blocking(move || ledger.absorb(&records)).await;
        absorbed.unwrap_or_else(|died| Err(Error::Stopped(died.to_string())))
    }

    /// Grows the tree by neighbouring records. The hashes are written before anybody sees the size.
    fn absorb(&self, records: &[StoredRecord]) -> Result<(), Error> {
        let _alone = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut grown = self.point().clone();
        let before = grown.edge.size();
        let mut fresh: [Vec<Hash>; LEVELS as usize] = Default::default();
        // Another chunk may have come first, when a wish to publish met the one who follows.
        for record in records.iter().skip_while(|record| record.position < before) {
            if record.position != grown.edge.size() {
                return Err(Error::Stopped(format!("the log gave position {}", record.position)));
            }
            grown.origins.extend(names::naming(record)?);
            grown.edge.push(leaf_hash(&record.header), |level, _, hash| {
                if level % HEIGHT == 0 {
                    fresh[(level / HEIGHT) as usize].push(*hash);
                }
            })?;
        }
        for (level, hashes) in fresh.iter().enumerate().filter(|(_, hashes)| !hashes.is_empty()) {
            self.hashes.write(level as u32, hashes_on(level as u32, before), hashes)?;
        }
        let size = grown.edge.size();
        if size / POINTS > before / POINTS {
            self.keep_point(&grown)?;
        }
        *self.point() = grown;
        self.size.send_replace(size);
        Ok(())
    }

    /// Makes the hashes durable, and then says so.
    pub(super) fn keep_point(&self, point: &Point) -> Result<(), Error> {
        // Who follows and who publishes may both come here, and write the same temporary file.
        let _alone = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        self.hashes.sync()?;
        point.store(&self.options.dir.join("edge"))
    }
}
