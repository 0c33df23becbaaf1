//! Follows the log: one thread reads, some decode, one applies and commits.
//!
//! Records travel in slices (`feed.rs`) that are dealt out to the decoders in turn and taken back in
//! the same turn, so they arrive in the order of the log. All queues are bounded. Commits grow with
//! the load.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{Builder, JoinHandle};

use crate::log::StoredRecord;
use crate::views::Error;
use crate::views::apply::Applier;
use crate::views::decode::{Decoded, Decoder};
use crate::views::feed::{Feed, Stop};
use crate::views::reach::Reach;

/// Slices that may wait before and behind each decoder.
const WAITING: usize = 2;
/// What the threads tell.
pub trait Watch: Send + Sync {
    /// Records below this position are committed.
    fn applied(&self, next: u64);
    /// The runner has ended, with the reason if it was not asked to.
    fn ended(&self, why: Option<Error>);
}

/// Decoded records, and what stopped the decoder behind them.
struct Slice {
    events: Vec<Decoded>,
    failed: Option<Error>,
}

/// So near to the head nothing is held back for a larger commit.
const NEAR: u64 = 4096;

/// How a runner works; see `Options`.
#[derive(Debug, Clone, Copy)]
pub struct How {
    pub chunk_records: usize,
    pub decoders: usize,
    /// The first position that is not applied any more.
    pub until: u64,
}

/// Starts all threads; they end when `stop` is heard or an error is met.
pub fn start(
    applier: Applier,
    reach: Reach,
    stop: Arc<Stop>,
    watch: Arc<dyn Watch>,
    how: How,
) -> Result<Vec<JoinHandle<()>>, Error> {
    let mut threads = Vec::new();
    let (mut dealt, mut decoded) = (Vec::new(), Vec::new());
    for n in 0..how.decoders {
        let (to, from) = sync_channel::<Result<Vec<StoredRecord>, Error>>(WAITING);
        let (done, taken) = sync_channel::<Slice>(WAITING);
        let reach = reach.clone();
        threads.push(spawn(&format!("views-decode-{n}"), move || decode(&reach, &from, &done))?);
        dealt.push(to);
        decoded.push(taken);
    }
    let from = applier.next();
    let feed = Feed::new(reach.clone(), Arc::clone(&stop), from);
    threads.push(spawn("views-read", move || feed.run(&dealt))?);
    threads.push(spawn("views-apply", move || {
        let apply = Apply { applier, held: 0, watch: &*watch };
        let run = || apply.run(&decoded, &reach, &stop, how);
        // A bug must not leave answers that look up to date; the rows are those of the last commit.
        let why = match catch_unwind(AssertUnwindSafe(run)) {
            Ok(ended) => ended.err(),
            Err(_) => Some(Error::Stopped("the applier panicked".to_owned())),
        };
        stop.stop();
        drop(decoded);
        watch.ended(why);
    })?);
    Ok(threads)
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    Builder::new().name(name.to_owned()).spawn(body).map_err(Error::Io)
}

fn decode(reach: &Reach, from: &Receiver<Result<Vec<StoredRecord>, Error>>, done: &SyncSender<Slice>) {
    let mut decoder = Decoder::new(&*reach.keys);
    for slice in from {
        let decoded = match slice {
            Err(why) => Slice { events: Vec::new(), failed: Some(why) },
            Ok(slice) => decode_slice(&mut decoder, &slice),
        };
        let last = decoded.failed.is_some();
        if done.send(decoded).is_err() || last {
            return;
        }
    }
}

/// What comes before a record that cannot be decoded is still applied.
fn decode_slice(decoder: &mut Decoder<'_>, slice: &[StoredRecord]) -> Slice {
    let mut events = Vec::with_capacity(slice.len());
    for stored in slice {
        match decoder.decode(stored) {
            Ok(event) => events.push(event),
            Err(source) => {
                let failed = Some(Error::Record { position: stored.position, source });
                return Slice { events, failed };
            }
        }
    }
    Slice { events, failed: None }
}

/// The one who applies, with what it holds back.
struct Apply<'a> {
    applier: Applier,
    held: usize,
    watch: &'a dyn Watch,
}

impl Apply<'_> {
    /// Takes slices in turn; commits when it is near the head or enough is held back.
    fn run(mut self, decoded: &[Receiver<Slice>], reach: &Reach, stop: &Stop, how: How) -> Result<(), Error> {
        for from in decoded.iter().cycle() {
            let slice = match from.try_recv() {
                Err(TryRecvError::Empty) => {
                    let head = reach.log.head().min(how.until);
                    if head.saturating_sub(self.applier.next()) <= NEAR {
                        self.commit()?;
                    }
                    from.recv().ok()
                }
                other => other.ok(),
            };
            let Some(slice) = slice else { break };
            for event in &slice.events {
                if event.position >= how.until {
                    return self.commit();
                }
                self.applier.apply(event)?;
                self.held += 1;
                if self.held >= how.chunk_records {
                    self.commit()?;
                }
            }
            if let Some(why) = slice.failed {
                self.commit()?;
                return Err(why);
            }
        }
        self.commit()?;
        if stop.wanted() { Ok(()) } else { Err(Error::Stopped("a thread that decodes has ended".to_owned())) }
    }

    fn commit(&mut self) -> Result<(), Error> {
        if self.held > 0 {
            self.applier.commit()?;
            self.held = 0;
            self.watch.applied(self.applier.next());
        }
        Ok(())
    }
}
