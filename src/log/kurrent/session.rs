//! The writer: appends groups to a stream of its own, in order, several at a time, over the `eventstore` crate.
//!
//! Promises: a group that was sent is the same bytes under the same ids whenever it is sent again, at the
//! same revision of the same stream, until the cluster has answered for it; so it is stored once. A stream
//! that holds something else at its revision is left, and what is unanswered is sent to a new one: of what was
//! stored twice that way, the numbering counts the first.
//!
//! The crate loses its way after many errors (a dead node is asked for ever; one failed append closes the
//! session of all), so that on every error the client is thrown away and made anew.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use eventstore::{BatchAppendClient, Client, EventData, ExpectedRevision};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::entry::TYPE;
use super::gather::Group;
use super::nodes::Nodes;
use super::waiting::Waiting;

/// Appends under way at the same time.
const IN_FLIGHT: usize = 16;
/// How long an append may go unanswered before it is sent again over another connection.
const ANSWER: Duration = Duration::from_secs(5);
/// Pause before another connection, doubled each time up to the second.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Times that the oldest append may be contradicted before its stream is left.
const CONTRADICTED: u32 = 2;

type Appending = Pin<Box<dyn Future<Output = eventstore::Result<()>> + Send>>;

/// How long an append is sent again. Whoever looks for sidecars without a header passes over those of an hour, so
/// none may be stored so late; and nobody waits so long.
const GIVEN_UP: Duration = Duration::from_secs(30 * 60);

/// A group that was sent. `after` is the revision that it follows; `None` begins the stream.
struct Sent {
    group: Group,
    after: Option<u64>,
    since: Instant,
}

impl Sent {
    fn last(&self) -> u64 {
        self.after.map_or(0, |after| after + 1) + self.group.events.len() as u64 - 1
    }
}

pub struct Session {
    nodes: Nodes,
    waiting: Arc<Waiting>,
    /// Streams of this process begin so.
    streams: String,
    /// How many streams were left.
    left: u32,
    /// The last revision that was given out in the present stream.
    given: Option<u64>,
    /// The next to be sent, once its sidecars are durable.
    next: Option<Group>,
    unanswered: VecDeque<Sent>,
    answered: u64,
    contradicted: u32,
    /// Why nothing can be appended now.
    down: watch::Sender<Option<String>>,
}

/// How a connection ended.
enum Ended {
    /// Nothing more comes.
    Closed,
    Failed(eventstore::Error),
    Silent,
}

impl Session {
    pub fn new(
        nodes: Nodes,
        waiting: Arc<Waiting>,
        streams: String,
        down: watch::Sender<Option<String>>,
    ) -> Session {
        Session {
            nodes,
            waiting,
            streams,
            left: 0,
            given: None,
            next: None,
            unanswered: VecDeque::new(),
            answered: 0,
            contradicted: 0,
            down,
        }
    }

    fn stream(&self) -> String {
        format!("{}{}", self.streams, self.left)
    }

    /// Appends what comes until nothing more comes and all of it is answered.
    pub async fn run(mut self, mut groups: mpsc::Receiver<Group>) {
        let mut again = AGAIN.0;
        loop {
            let before = self.answered;
            match self.connection(&mut groups).await {
                Ended::Closed => return,
                Ended::Failed(error) => self.failed(&error),
                Ended::Silent => self.note("appends are not answered".to_owned()),
            }
            again = if self.answered > before { AGAIN.0 } else { (again * 2).min(AGAIN.1) };
            tokio::time::sleep(again).await;
        }
    }

    fn note(&self, why: String) {
        // Said once, however often it is tried again.
        if self.down.borrow().as_ref() != Some(&why) {
            tracing::warn!(why, unanswered = self.unanswered.len(), "the cluster is connected to anew");
            self.down.send_replace(Some(why));
        }
    }

    fn failed(&mut self, error: &eventstore::Error) {
        if is_contradiction(error) {
            self.contradicted += 1;
        }
        if self.contradicted >= CONTRADICTED {
            self.leave_stream();
        }
        if is_too_large(error)
            && let Some(sent) = self.unanswered.pop_front()
        {
            // Nothing of it is stored, and what follows it has not been taken either.
            self.waiting.refuse(&sent.group.batches, "the cluster takes no append of this length");
            self.leave_stream();
        }
        self.note(name_of(error));
    }

    /// What is unanswered goes to a new stream.
    fn leave_stream(&mut self) {
        tracing::warn!(stream = self.stream(), "a stream is left for another");
        (self.left, self.contradicted) = (self.left + 1, 0);
        let mut after = None;
        for sent in &mut self.unanswered {
            sent.after = after;
            after = Some(sent.last());
        }
        self.given = after;
    }

    /// What was sent long ago and may be stored is not sent again; what follows it goes to a new stream, because
    /// nobody knows at which revision this one stands.
    fn give_up_the_old(&mut self) {
        let old = self.unanswered.iter().take_while(|sent| sent.since.elapsed() > GIVEN_UP).count();
        if old == 0 {
            return;
        }
        for sent in self.unanswered.drain(..old) {
            self.waiting.refuse(&sent.group.batches, "the cluster gave no answer for half an hour");
        }
        self.leave_stream();
    }

    /// One connection, until it fails: first what is unanswered, then what comes.
    async fn connection(&mut self, groups: &mut mpsc::Receiver<Group>) -> Ended {
        let (_client, session) = match tokio::time::timeout(ANSWER, connect(&self.nodes)).await {
            Ok(Ok(connected)) => connected,
            Ok(Err(error)) => return Ended::Failed(error),
            Err(_) => return Ended::Silent,
        };
        self.give_up_the_old();
        if self.unanswered.is_empty() {
            self.down.send_if_modified(|down| down.take().is_some());
        }
        let session = Arc::new(session);
        let mut answers: VecDeque<Appending> = VecDeque::with_capacity(IN_FLIGHT);
        for sent in &self.unanswered {
            answers.push_back(self.append(&session, sent).await);
        }
        let mut silent = Box::pin(tokio::time::sleep(ANSWER));
        let mut open = true;
        loop {
            if self.unanswered.is_empty() && self.next.is_none() && !open {
                return Ended::Closed;
            }
            tokio::select! {
                biased;
                answer = first(&mut answers), if !answers.is_empty() => {
                    if let Err(error) = answer {
                        return Ended::Failed(error);
                    }
                    answers.pop_front();
                    self.unanswered.pop_front();
                    self.answered += 1;
                    self.contradicted = 0;
                    self.down.send_if_modified(|down| down.take().is_some());
                    silent.as_mut().reset(Instant::now() + ANSWER);
                }
                () = &mut silent, if !answers.is_empty() => return Ended::Silent,
                group = groups.recv(), if open && self.next.is_none() && answers.len() < IN_FLIGHT => {
                    open = group.is_some();
                    self.next = group;
                }
                durable = durable(&mut self.next), if self.next.is_some() => {
                    let Some(sent) = self.take(durable) else { continue };
                    if answers.is_empty() {
                        silent.as_mut().reset(Instant::now() + ANSWER);
                    }
                    answers.push_back(self.append(&session, &sent).await);
                    self.unanswered.push_back(sent);
                }
            }
        }
    }

    /// The next group, whose sidecars are durable unless writing them panicked: from now on it may be stored.
    /// What nobody waits for any more is left out.
    fn take(&mut self, durable: bool) -> Option<Sent> {
        let mut group = self.next.take().filter(|_| durable)?;
        let going = self.waiting.send(&group.batches);
        group.events.retain(|event| going.contains(&event.batch));
        group.batches = going;
        if group.events.is_empty() {
            return None;
        }
        let sent = Sent { group, after: self.given, since: Instant::now() };
        self.given = Some(sent.last());
        Some(sent)
    }

    /// Hands a group to the crate, which sends in the order in which it is handed them.
    async fn append(&self, session: &Arc<BatchAppendClient>, sent: &Sent) -> Appending {
        let (session, stream) = (Arc::clone(session), self.stream());
        let expected = sent.after.map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
        let event = |event: &super::gather::Outgoing| {
            EventData::binary(TYPE, event.data.clone()).id(event.id).metadata(event.metadata.clone())
        };
        let events: Vec<EventData> = sent.group.events.iter().map(event).collect();
        let mut appending: Appending =
            Box::pin(async move { session.append_to_stream(stream, expected, events).await.map(drop) });
        // The first look sends it; an answer that is there at once is kept.
        match std::future::poll_fn(|context| Poll::Ready(appending.as_mut().poll(context))).await {
            Poll::Pending => appending,
            Poll::Ready(answer) => Box::pin(std::future::ready(answer)),
        }
    }
}

/// The answer to the oldest; it stays where it is.
async fn first(answers: &mut VecDeque<Appending>) -> eventstore::Result<()> {
    match answers.front_mut() {
        Some(oldest) => oldest.await,
        None => std::future::pending().await,
    }
}

/// Whether the sidecars of the next group have been written, when that has ended; the group stays.
async fn durable(next: &mut Option<Group>) -> bool {
    match next {
        Some(group) => (&mut group.sidecars).await.is_ok(),
        None => std::future::pending().await,
    }
}

/// The crate installs a provider of cryptography for the whole process when it first connects, and never works again
/// if another is there. So it comes first; whether a node answers does not matter.
pub async fn install_provider(nodes: &Nodes) {
    if let Ok(client) = Client::new(nodes.for_appending().clone()) {
        let _answered = tokio::time::timeout(ANSWER, client.server_info()).await;
    }
}

async fn connect(nodes: &Nodes) -> eventstore::Result<(Client, BatchAppendClient)> {
    let client = Client::new(nodes.for_appending().clone())?;
    // The session is opened lazily; whether a node answers is seen here.
    client.server_info().await?;
    let session = client.batch_append(&Default::default()).await?;
    Ok((client, session))
}

/// Something else stands at the revision, or what came before was not taken.
fn is_contradiction(error: &eventstore::Error) -> bool {
    use eventstore::Error;
    match error {
        Error::WrongExpectedVersion { .. } | Error::ResourceAlreadyExists => true,
        Error::Grpc { message, .. } => message.contains("WrongExpectedVersion"),
        _ => false,
    }
}

fn is_too_large(error: &eventstore::Error) -> bool {
    matches!(error, eventstore::Error::Grpc { code, .. } if *code as i32 == tonic::Code::InvalidArgument as i32)
}

/// Kinds, not texts: a text may quote what was sent.
fn name_of(error: &eventstore::Error) -> String {
    use eventstore::Error;
    match error {
        Error::Grpc { code, .. } => format!("an append failed: {code:?}"),
        Error::NotLeaderException(_) => "the node is not the leader".to_owned(),
        Error::AccessDenied => "the cluster refuses these credentials".to_owned(),
        Error::DeadlineExceeded => "the cluster did not answer in time".to_owned(),
        Error::ConnectionClosed => "no node can be reached".to_owned(),
        Error::UnsupportedFeature => {
            "the node takes no batch appends: KurrentDB 21.10 or newer does".to_owned()
        }
        Error::ServerError(_) | Error::GrpcConnectionError(_) => "the connection failed".to_owned(),
        _ => "an append failed".to_owned(),
    }
}

/// A name for the streams of one process, so that ours are told from others'.
pub fn name_streams(prefix: &str) -> Result<String, getrandom::Error> {
    let mut random = [0u8; 16];
    getrandom::fill(&mut random)?;
    Ok(format!("{prefix}{}-", uuid::Builder::from_random_bytes(random).into_uuid()))
}
