//! Subscriptions: everything after a place, and then whatever comes.
//!
//! Promises: confirmation first; every wanted event once and in order; with a filter, checkpoints every so
//! many events looked at and when the end is reached; then "caught up". A subscription ends with
//! `UNAVAILABLE`, or without an error when a test asks for it. Does not: say "fell behind", as real nodes
//! of today do not; nor end when leadership moves, a follower serves it as well.

use crate::faults::End;
use crate::log::Source;
use crate::node::Node;
use crate::read::{CHUNK, Contents, Filter};
use crate::wire::Position;
use crate::wire_read::{Confirmation, Content};
use futures_util::StreamExt;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::watch;
use tonic::Status;

#[derive(Clone, Copy)]
pub enum Start {
    /// This place in the source is the first.
    At(usize),
    /// What is after this position of `$all`, which may not have been read from the file yet.
    After(u64),
    End,
}

struct Subscription {
    node: Arc<Node>,
    source: Source,
    start: Start,
    filter: Option<Filter>,
    durable: watch::Receiver<usize>,
    ends: watch::Receiver<End>,
    /// The next place to look at.
    next: usize,
    /// Events looked at since the last checkpoint, and the last one's position.
    considered: u64,
    last_position: u64,
    caught_up: bool,
    over: bool,
    ready: VecDeque<Content>,
}

pub fn subscribe(node: Arc<Node>, source: Source, start: Start, filter: Option<Filter>) -> Contents {
    let confirmation = Confirmation { subscription_id: uuid::Uuid::now_v7().to_string() };
    let next = match start {
        Start::At(place) => place,
        Start::After(position) => node.log.count_below(position.saturating_add(1)),
        Start::End => node.log.length(&source),
    };
    let subscription = Subscription {
        durable: node.log.follow(),
        ends: node.faults.ends(),
        ready: VecDeque::from([Content::Confirmation(confirmation)]),
        node,
        source,
        start,
        filter,
        next,
        considered: 0,
        last_position: 0,
        caught_up: false,
        over: false,
    };
    futures_util::stream::unfold(subscription, |mut subscription| async move {
        let content = subscription.next().await?;
        Some((content.map(Into::into), subscription))
    })
    .boxed()
}

impl Subscription {
    async fn next(&mut self) -> Option<Result<Content, Status>> {
        loop {
            if self.over {
                return None;
            }
            if self.ends.has_changed().unwrap_or(true) {
                return self.end();
            }
            if let Some(content) = self.ready.pop_front() {
                self.node.faults.while_hung().await;
                return Some(Ok(content));
            }
            self.fill();
            if self.ready.is_empty() {
                tokio::select! {
                    _ = self.ends.changed() => return self.end(),
                    _ = self.durable.changed() => {}
                }
            }
        }
    }

    fn end(&mut self) -> Option<Result<Content, Status>> {
        self.over = true;
        match *self.ends.borrow_and_update() {
            End::Clean => None,
            End::Unavailable => Some(Err(Status::unavailable("subscription dropped"))),
        }
    }

    fn fill(&mut self) {
        // Before looking, so that what comes meanwhile wakes us.
        self.durable.borrow_and_update();
        let length = self.node.log.length(&self.source);
        let to = length.min(self.next.saturating_add(CHUNK));
        if self.next < to {
            for event in self.node.log.slice(&self.source, self.next, to) {
                self.considered += 1;
                self.last_position = event.position;
                let is_new = !matches!(self.start, Start::After(position) if event.position <= position);
                if is_new && self.filter.as_ref().is_none_or(|filter| filter.takes(&event)) {
                    self.ready.push_back(Content::Event(event.encoded.clone()));
                }
                let every = self.filter.as_ref().map(|filter| filter.checkpoint_every);
                if every.is_some_and(|every| self.considered >= every) {
                    self.checkpoint();
                }
            }
            self.next = to;
        }
        if self.next >= length && !self.caught_up {
            self.caught_up = true;
            if self.filter.is_some() && self.considered > 0 {
                self.checkpoint();
            }
            self.ready.push_back(Content::CaughtUp(()));
        }
    }

    fn checkpoint(&mut self) {
        self.considered = 0;
        self.ready.push_back(Content::Checkpoint(Position::at(self.last_position)));
    }
}
