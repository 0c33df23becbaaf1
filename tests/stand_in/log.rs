//! The log in memory: every event in the order of `$all`, and where each stream's events are.
//!
//! Promises: readers see what is durable and nothing else; order and positions are the same on every node,
//! because they follow from the file. Does not: forget anything, memory grows with the log. A crash loses
//! nothing, the file is read again.

use crate::frame::StoredAppend;
use crate::wire::{ProposedMessage, StreamIdentifier, Uuid};
use crate::wire_read::{ReadEvent, RecordedEvent};
use bytes::{Bytes, BytesMut};
use prost::Message;
use std::collections::HashMap;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::watch;

/// One event as readers get it.
pub struct Event {
    pub position: u64,
    pub stream: Bytes,
    pub kind: String,
    pub id: uuid::Uuid,
    /// A [`ReadEvent`], encoded once.
    pub encoded: Bytes,
}

/// What is read: everything, or one stream.
#[derive(Clone)]
pub enum Source {
    All,
    Stream(Bytes),
}

/// Events, some of the last of which may not be durable yet.
#[derive(Default)]
pub struct Inner {
    events: Vec<Arc<Event>>,
    streams: HashMap<Bytes, Vec<usize>>,
}

pub struct Log {
    inner: RwLock<Inner>,
    durable: watch::Sender<usize>,
}

impl Log {
    pub fn new() -> Self {
        Self { inner: RwLock::default(), durable: watch::Sender::new(0) }
    }

    /// Number of durable events; changes wake whoever follows the log.
    pub fn follow(&self) -> watch::Receiver<usize> {
        self.durable.subscribe()
    }

    pub fn count(&self) -> usize {
        *self.durable.borrow()
    }

    /// For the one who writes: also shows what is not durable yet.
    pub fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        // Cannot fail: the process ends when the only writer panics.
        self.inner.write().expect("the log's writer is alive")
    }

    /// Shows everything that was added to readers.
    pub fn publish(&self) {
        let count = self.read().events.len();
        self.durable.send_replace(count);
    }

    /// Number of durable events in `source`.
    pub fn length(&self, source: &Source) -> usize {
        let durable = self.count();
        match source {
            Source::All => durable,
            Source::Stream(name) => {
                let inner = self.read();
                inner.streams.get(name).map_or(0, |places| places.partition_point(|&place| place < durable))
            }
        }
    }

    /// The durable events `from..to` of `source`; `to` is at most its length.
    pub fn slice(&self, source: &Source, from: usize, to: usize) -> Vec<Arc<Event>> {
        let inner = self.read();
        match source {
            Source::All => inner.events[from..to].to_vec(),
            Source::Stream(name) => {
                let places = inner.streams.get(name).map_or(&[][..], |places| &places[from..to]);
                places.iter().map(|&place| Arc::clone(&inner.events[place])).collect()
            }
        }
    }

    /// How many durable events have a position below `position`.
    pub fn count_below(&self, position: u64) -> usize {
        let durable = self.count();
        self.read().events[..durable].partition_point(|event| event.position < position)
    }

    /// The newest event whose stream does not start with `$`.
    pub fn last_of_users(&self) -> Option<Arc<Event>> {
        let durable = self.count();
        self.read().events[..durable].iter().rev().find(|event| !event.stream.starts_with(b"$")).cloned()
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        // Cannot fail: the process ends when the only writer panics.
        self.inner.read().expect("the log's writer is alive")
    }
}

impl Inner {
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Number of events of a stream, which is also the revision of its next one.
    pub fn revisions(&self, stream: &[u8]) -> u64 {
        self.streams.get(stream).map_or(0, |places| places.len() as u64)
    }

    /// The event of a stream at a revision.
    pub fn event(&self, stream: &[u8], revision: u64) -> Option<&Event> {
        let place = *self.streams.get(stream)?.get(usize::try_from(revision).ok()?)?;
        self.events.get(place).map(AsRef::as_ref)
    }

    /// Adds the events of a frame that starts at `offset`. They are shown by the next [`Log::publish`].
    pub fn add(&mut self, append: &StoredAppend, offset: u64) {
        let mut room = BytesMut::new();
        // A name of its own, for that of `append` would keep the whole message it came in.
        let known = self.streams.get_key_value(&append.stream).map(|(name, _)| name.clone());
        let stream = known.unwrap_or_else(|| Bytes::copy_from_slice(&append.stream));
        let places = self.streams.entry(stream.clone()).or_default();
        for (index, message) in append.events.iter().enumerate() {
            let position = offset + index as u64;
            places.push(self.events.len());
            // Cannot fail: the buffer grows.
            read_event(append, index, position).encode(&mut room).expect("a buffer grows");
            self.events.push(Arc::new(Event {
                position,
                stream: stream.clone(),
                kind: message.metadata.get("type").cloned().unwrap_or_default(),
                id: message.id.as_ref().and_then(Uuid::parse).unwrap_or_default(),
                encoded: room.split().freeze(),
            }));
        }
    }
}

impl Event {
    /// The event as its writer proposed it.
    pub fn proposed(&self) -> Option<ProposedMessage> {
        let recorded = ReadEvent::decode(self.encoded.clone()).ok()?.event?;
        let mut metadata = recorded.metadata;
        metadata.remove("created");
        let (custom_metadata, data) = (recorded.custom_metadata, recorded.data);
        Some(ProposedMessage { id: recorded.id, metadata, custom_metadata, data })
    }
}

fn read_event(append: &StoredAppend, index: usize, position: u64) -> ReadEvent {
    let message = &append.events[index];
    let mut metadata = message.metadata.clone();
    metadata.insert("created".to_owned(), append.created_ticks.to_string());
    let event = RecordedEvent {
        id: message.id.as_ref().and_then(Uuid::parse).map(Uuid::text),
        stream_identifier: Some(StreamIdentifier { stream_name: append.stream.clone() }),
        stream_revision: append.first_revision + index as u64,
        prepare_position: position,
        commit_position: position,
        metadata,
        custom_metadata: message.custom_metadata.clone(),
        data: message.data.clone(),
    };
    ReadEvent { event: Some(event), commit_position: Some(position) }
}
