//! The troubles a test asks for, and where a call meets them.
//!
//! Promises: a fault is met by the next calls in the order in which they come, each once. Does not: make
//! faults of its own accord. A crash forgets what was asked for.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::watch;

/// What happens to one append.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    Answer,
    /// Stored, then the connection breaks.
    Lose,
    /// Not stored, and the connection breaks.
    Refuse,
    /// Stored, then answered with the node's own time limit.
    TimeOut,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    Clean,
    Unavailable,
}

pub struct Faults {
    delay_ms: AtomicU64,
    lose: AtomicU64,
    refuse: AtomicU64,
    time_out: AtomicU64,
    unready: AtomicU64,
    hung: watch::Sender<bool>,
    ends: watch::Sender<End>,
    cuts: watch::Sender<()>,
}

impl Faults {
    pub fn none() -> Self {
        Self {
            delay_ms: AtomicU64::new(0),
            lose: AtomicU64::new(0),
            refuse: AtomicU64::new(0),
            time_out: AtomicU64::new(0),
            unready: AtomicU64::new(0),
            hung: watch::Sender::new(false),
            ends: watch::Sender::new(End::Unavailable),
            cuts: watch::Sender::new(()),
        }
    }

    pub fn set_delay(&self, ms: u64) {
        self.delay_ms.store(ms, Relaxed);
    }

    pub fn lose(&self, calls: u64) {
        self.lose.store(calls, Relaxed);
    }

    pub fn refuse(&self, calls: u64) {
        self.refuse.store(calls, Relaxed);
    }

    pub fn time_out(&self, calls: u64) {
        self.time_out.store(calls, Relaxed);
    }

    pub fn set_unready(&self, calls: u64) {
        self.unready.store(calls, Relaxed);
    }

    pub fn hang(&self, hung: bool) {
        self.hung.send_replace(hung);
    }

    pub fn end_subscriptions(&self, how: End) {
        self.ends.send_replace(how);
    }

    pub fn drop_connections(&self) {
        self.cuts.send_replace(());
    }

    pub fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms.load(Relaxed))
    }

    /// Whether this call is one of those that find the node not ready.
    pub fn meets_unready(&self) -> bool {
        take(&self.unready)
    }

    /// What the next append meets: refused before lost before timed out, when several were asked for.
    pub fn fate(&self) -> Fate {
        if take(&self.refuse) {
            Fate::Refuse
        } else if take(&self.lose) {
            Fate::Lose
        } else if take(&self.time_out) {
            Fate::TimeOut
        } else {
            Fate::Answer
        }
    }

    /// Returns at once, or when the node no longer hangs.
    pub async fn while_hung(&self) {
        if *self.hung.borrow() {
            // Cannot fail: the sender is in `self`.
            let _ = self.hung.subscribe().wait_for(|hung| !hung).await;
        }
    }

    /// Changes when subscriptions are to end.
    pub fn ends(&self) -> watch::Receiver<End> {
        self.ends.subscribe()
    }

    /// Changes when connections are to break.
    pub fn cuts(&self) -> watch::Receiver<()> {
        self.cuts.subscribe()
    }
}

fn take(counter: &AtomicU64) -> bool {
    counter.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
}
