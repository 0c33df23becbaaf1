//! Takes records from the log for the decoders, in slices.
//!
//! What comes after a pause is passed on at once. Under load records are taken only every `REST`, so
//! that a thousand single events a second do not wake every thread of the views a thousand times;
//! somebody who waits for a receipt (`Stop::hurry`) ends the rest early.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use tokio::time::Sleep;

use crate::log::StoredRecord;
use crate::views::Error;
use crate::views::reach::Reach;

/// Records of one slice, and about how many bytes.
const SLICE: usize = 2048;
const SLICE_BYTES: usize = 8 << 20;
/// From one slice to the next, unless it was full.
const REST: Duration = Duration::from_millis(100);
/// How long to wait before a log that is unavailable is asked again.
const AGAIN: Duration = Duration::from_millis(200);

/// How to tell the threads of a runner that something is wanted of them.
#[derive(Default)]
pub struct Stop {
    wanted: AtomicBool,
    bell: tokio::sync::Notify,
    hurry: tokio::sync::Notify,
}

impl Stop {
    /// Everybody who waits for the log hears it, and ends.
    pub fn stop(&self) {
        self.wanted.store(true, Ordering::SeqCst);
        self.bell.notify_waiters();
        // For one that is just about to wait.
        self.bell.notify_one();
    }

    pub fn wanted(&self) -> bool {
        self.wanted.load(Ordering::SeqCst)
    }

    /// Ends the rest that the feed takes now, or else its next one.
    pub fn hurry(&self) {
        self.hurry.notify_one();
    }
}

type Dealt = SyncSender<Result<Vec<StoredRecord>, Error>>;

pub struct Feed {
    reach: Reach,
    stop: Arc<Stop>,
    next: u64,
    /// Runs from when the last slice was taken.
    rest: Option<Pin<Box<Sleep>>>,
}

impl Feed {
    /// Takes records from `next` on.
    pub fn new(reach: Reach, stop: Arc<Stop>, next: u64) -> Self {
        Feed { reach, stop, next, rest: None }
    }

    /// Deals slices out in turn until asked to stop or nobody takes them.
    pub fn run(mut self, dealt: &[Dealt]) {
        for to in dealt.iter().cycle() {
            match self.next_slice() {
                Ok(None) => return,
                Ok(Some(slice)) => {
                    self.next += slice.len() as u64;
                    if to.send(Ok(slice)).is_err() {
                        return;
                    }
                }
                Err(why) => {
                    // The applier meets it in its turn; if it is gone, nobody needs to know.
                    let _ = to.send(Err(why));
                    return;
                }
            }
        }
    }

    /// The next records, waiting for them; `None` when asked to stop.
    fn next_slice(&mut self) -> Result<Option<Vec<StoredRecord>>, Error> {
        let (reach, stop) = (self.reach.clone(), Arc::clone(&self.stop));
        reach.wait(async {
            loop {
                if stop.wanted() {
                    return Ok(None);
                }
                let got = tokio::select! {
                    got = self.attempt() => got,
                    () = stop.bell.notified() => continue,
                };
                match got {
                    Ok(slice) if slice.is_empty() => {}
                    Ok(slice) => {
                        // Behind a full slice there is probably more.
                        let rests = slice.len() < SLICE;
                        self.rest = rests.then(|| Box::pin(tokio::time::sleep(REST)));
                        return Ok(Some(slice));
                    }
                    Err(_) if stop.wanted() => return Ok(None),
                    Err(why) if why.retryable() => tokio::time::sleep(AGAIN).await,
                    Err(why) => return Err(why.into()),
                }
            }
        })
    }

    async fn attempt(&mut self) -> Result<Vec<StoredRecord>, crate::log::Error> {
        if let Some(rest) = &mut self.rest {
            tokio::select! {
                () = rest => {}
                () = self.stop.hurry.notified() => {}
            }
            self.rest = None;
        }
        let log = &self.reach.log;
        if log.head() <= self.next {
            // A position is beyond itself only with a record at it.
            log.wait_beyond(self.next).await?;
        }
        log.read(self.next, SLICE, SLICE_BYTES).await
    }
}
