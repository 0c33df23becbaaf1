//! `Streams/Read`: what a request asks for, and the answer of a finite read.
//!
//! Promises: a read sees what was durable when it began. A read of `$all` forwards starts at the position
//! asked for, backwards before it. Does not: resolve links, give first and last positions, or know regular
//! expressions but the one that leaves out system streams; that one clients send for a flag.

use crate::log::{Event, Source};
use crate::node::Node;
use crate::subscribe::{self, Start};
use crate::wire::StreamIdentifier;
use crate::wire_read::{
    AllOptions, Content, Count, FilterOn, FilterOption, FilterOptions, FromPosition, FromRevision, Options,
    ReadReq, ReadResp, Source as WireSource, StreamNotFound, StreamOptions, UuidForm, Window,
};
use futures_util::StreamExt;
use std::collections::VecDeque;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Events looked at in one go.
pub const CHUNK: usize = 256;
/// What clients send to leave out system streams or system event types.
const NO_SYSTEM: &str = r"^[^\$].*";

pub type Contents = futures_util::stream::BoxStream<'static, Result<ReadResp, Status>>;

pub async fn read(node: Arc<Node>, request: Request<ReadReq>) -> Result<Response<Contents>, Status> {
    let Some(options) = request.into_inner().options else {
        return Err(Status::invalid_argument("options are required"));
    };
    if options.uuid_option.and_then(|option| option.form) == Some(UuidForm::Structured(())) {
        return Err(Status::unimplemented("Read with structured UUIDs"));
    }
    let filter = match &options.filter {
        Some(FilterOption::Filter(filter)) => Some(Filter::new(filter)?),
        _ => None,
    };
    match options.count {
        Some(Count::Subscription(())) => {
            let (source, start) = start_after(options.source)?;
            Ok(Response::new(subscribe::subscribe(node, source, start, filter)))
        }
        Some(Count::Count(count)) => finite(node, options, count, filter),
        None => Err(Status::invalid_argument("a count or a subscription is required")),
    }
}

/// Which events are wanted.
pub struct Filter {
    on_stream: bool,
    prefixes: Vec<String>,
    no_system: bool,
    /// A checkpoint is due after so many events that were looked at.
    pub checkpoint_every: u64,
}

impl Filter {
    fn new(options: &FilterOptions) -> Result<Self, Status> {
        let (on_stream, expression) = match &options.on {
            Some(FilterOn::StreamIdentifier(expression)) => (true, expression),
            Some(FilterOn::EventType(expression)) => (false, expression),
            None => return Err(Status::invalid_argument("a filter needs an expression")),
        };
        let no_system = expression.regex == NO_SYSTEM;
        if !no_system && !expression.regex.is_empty() {
            return Err(Status::unimplemented("Read with a regular expression"));
        }
        if !no_system && expression.prefix.is_empty() {
            return Err(Status::invalid_argument("a filter needs a prefix"));
        }
        let window = match options.window {
            Some(Window::Max(max)) => u64::from(max.max(1)),
            _ => u64::from(u32::MAX),
        };
        let checkpoint_every = window * u64::from(options.checkpoint_interval_multiplier.max(1));
        Ok(Self { on_stream, prefixes: expression.prefix.clone(), no_system, checkpoint_every })
    }

    pub fn takes(&self, event: &Event) -> bool {
        let name = if self.on_stream { &event.stream[..] } else { event.kind.as_bytes() };
        // A regular expression wins over prefixes.
        if self.no_system {
            return !name.is_empty() && !name.starts_with(b"$");
        }
        self.prefixes.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
    }
}

/// A finite read in progress: `from..to` are the places still to look at.
struct Reading {
    node: Arc<Node>,
    source: Source,
    from: usize,
    to: usize,
    backwards: bool,
    left: u64,
    filter: Option<Filter>,
    ready: VecDeque<Arc<Event>>,
}

fn finite(
    node: Arc<Node>,
    options: Options,
    count: u64,
    filter: Option<Filter>,
) -> Result<Response<Contents>, Status> {
    let backwards = options.read_direction == 1;
    let (source, from, to) = range(&node, options.source, backwards)?;
    if let Source::Stream(name) = &source
        && node.log.length(&source) == 0
    {
        let stream_identifier = Some(StreamIdentifier { stream_name: name.clone() });
        let missing = Content::StreamNotFound(StreamNotFound { stream_identifier });
        return Ok(Response::new(futures_util::stream::iter([Ok(missing.into())]).boxed()));
    }
    let ready = VecDeque::new();
    let reading = Reading { node, source, from, to, backwards, left: count, filter, ready };
    let contents = futures_util::stream::unfold(reading, |mut reading| async move {
        let content = Content::Event(reading.next().await?.encoded.clone());
        Some((Ok(content.into()), reading))
    });
    Ok(Response::new(contents.boxed()))
}

impl Reading {
    async fn next(&mut self) -> Option<Arc<Event>> {
        self.left = self.left.checked_sub(1)?;
        while self.ready.is_empty() {
            self.fill()?;
        }
        self.node.faults.while_hung().await;
        self.ready.pop_front()
    }

    fn fill(&mut self) -> Option<()> {
        let length = CHUNK.min(self.to.checked_sub(self.from).filter(|&length| length > 0)?);
        let log = &self.node.log;
        if self.backwards {
            self.to -= length;
            self.ready.extend(log.slice(&self.source, self.to, self.to + length).into_iter().rev());
        } else {
            self.from += length;
            self.ready.extend(log.slice(&self.source, self.from - length, self.from));
        }
        if let Some(filter) = &self.filter {
            self.ready.retain(|event| filter.takes(event));
        }
        Some(())
    }
}

/// The places `from..to` a read covers.
fn range(node: &Node, source: Option<WireSource>, backwards: bool) -> Result<(Source, usize, usize), Status> {
    let (source, start) = match source {
        Some(WireSource::Stream(StreamOptions { stream_identifier: Some(stream), from: Some(from) })) => {
            let start = match from {
                FromRevision::Start(()) => 0,
                FromRevision::End(()) => usize::MAX,
                // Backwards the event at the revision is the first one, so the range ends after it.
                FromRevision::Revision(revision) => {
                    usize::try_from(revision).unwrap_or(usize::MAX).saturating_add(usize::from(backwards))
                }
            };
            (Source::Stream(stream.stream_name), start)
        }
        Some(WireSource::All(AllOptions { from: Some(from) })) => {
            let start = match from {
                FromPosition::Start(()) => 0,
                FromPosition::End(()) => usize::MAX,
                FromPosition::Position(position) => node.log.count_below(position.commit_position),
            };
            (Source::All, start)
        }
        _ => return Err(Status::invalid_argument("a source and where to start are required")),
    };
    let length = node.log.length(&source);
    let start = start.min(length);
    Ok(if backwards { (source, 0, start) } else { (source, start, length) })
}

/// Where a subscription starts: after the place that is named.
fn start_after(source: Option<WireSource>) -> Result<(Source, Start), Status> {
    Ok(match source {
        Some(WireSource::Stream(StreamOptions { stream_identifier: Some(stream), from: Some(from) })) => {
            let start = match from {
                FromRevision::Start(()) => Start::At(0),
                FromRevision::End(()) => Start::End,
                FromRevision::Revision(revision) => {
                    Start::At(usize::try_from(revision).unwrap_or(usize::MAX).saturating_add(1))
                }
            };
            (Source::Stream(stream.stream_name), start)
        }
        Some(WireSource::All(AllOptions { from: Some(from) })) => {
            let start = match from {
                FromPosition::Start(()) => Start::At(0),
                FromPosition::End(()) => Start::End,
                FromPosition::Position(position) => Start::After(position.commit_position),
            };
            (Source::All, start)
        }
        _ => return Err(Status::invalid_argument("a source and where to start are required")),
    })
}
