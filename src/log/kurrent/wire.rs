//! Messages of KurrentDB's public protocol, as far as a follower needs them: reading `$all` and gossip
//! (`event_store.client.streams.Streams/Read`, `event_store.client.gossip.Gossip/Read`).
//!
//! Appending goes through the `eventstore` crate. Its subscription does not serve here: when a node ends
//! one without an error, its `next` turns round for ever without yielding, and nothing can stop it.

use bytes::Bytes;
use prost::Message;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

/// Nothing.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Empty {}

/// A place in `$all`: ascending, with gaps, the same on every node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Message)]
pub struct Place {
    #[prost(uint64, tag = "1")]
    pub commit: u64,
    #[prost(uint64, tag = "2")]
    pub prepare: u64,
}

#[derive(Clone, PartialEq, Message)]
struct ReadReq {
    #[prost(message, optional, tag = "1")]
    options: Option<Options>,
}

#[derive(Clone, PartialEq, Message)]
struct Options {
    #[prost(message, optional, tag = "2")]
    all: Option<AllOptions>,
    #[prost(int32, tag = "3")]
    direction: i32,
    #[prost(bool, tag = "4")]
    resolve_links: bool,
    #[prost(oneof = "Much", tags = "5, 6")]
    much: Option<Much>,
    #[prost(oneof = "Filter", tags = "7, 8")]
    filter: Option<Filter>,
    #[prost(message, optional, tag = "9")]
    uuid: Option<UuidOption>,
}

#[derive(Clone, PartialEq, Message)]
struct AllOptions {
    #[prost(oneof = "From", tags = "1, 2, 3")]
    from: Option<From>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum From {
    #[prost(message, tag = "1")]
    Place(Place),
    #[prost(message, tag = "2")]
    Start(Empty),
    #[prost(message, tag = "3")]
    End(Empty),
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Much {
    #[prost(uint64, tag = "5")]
    Count(u64),
    #[prost(message, tag = "6")]
    Subscription(Empty),
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Filter {
    #[prost(message, tag = "7")]
    By(FilterOptions),
    #[prost(message, tag = "8")]
    None(Empty),
}

#[derive(Clone, PartialEq, Message)]
struct FilterOptions {
    #[prost(message, optional, tag = "1")]
    stream: Option<Expression>,
    #[prost(uint32, tag = "3")]
    max: u32,
    #[prost(uint32, tag = "5")]
    checkpoint_interval_multiplier: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Expression {
    #[prost(string, repeated, tag = "2")]
    prefix: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct UuidOption {
    #[prost(message, optional, tag = "2")]
    string: Option<Empty>,
}

/// One message of a reading.
#[derive(Clone, PartialEq, Message)]
pub struct ReadResp {
    #[prost(oneof = "Content", tags = "1, 2, 3, 4, 8, 9")]
    pub content: Option<Content>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Content {
    #[prost(message, tag = "1")]
    Event(ReadEvent),
    #[prost(message, tag = "2")]
    Confirmation(Empty),
    #[prost(message, tag = "3")]
    Checkpoint(Place),
    #[prost(message, tag = "4")]
    StreamNotFound(Empty),
    #[prost(message, tag = "8")]
    CaughtUp(Empty),
    #[prost(message, tag = "9")]
    FellBehind(Empty),
}

#[derive(Clone, PartialEq, Message)]
pub struct ReadEvent {
    #[prost(message, optional, tag = "1")]
    pub event: Option<RecordedEvent>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RecordedEvent {
    #[prost(message, optional, tag = "2")]
    pub stream: Option<StreamIdentifier>,
    #[prost(uint64, tag = "3")]
    pub revision: u64,
    #[prost(uint64, tag = "4")]
    pub prepare: u64,
    #[prost(uint64, tag = "5")]
    pub commit: u64,
    /// `type`, `created` (100 ns since 1970), `content-type`.
    #[prost(map = "string, string", tag = "6")]
    pub system: std::collections::HashMap<String, String>,
    #[prost(bytes = "bytes", tag = "7")]
    pub metadata: Bytes,
    #[prost(bytes = "bytes", tag = "8")]
    pub data: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub struct StreamIdentifier {
    #[prost(bytes = "bytes", tag = "3")]
    pub name: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub struct ClusterInfo {
    #[prost(message, repeated, tag = "1")]
    pub members: Vec<MemberInfo>,
}

#[derive(Clone, PartialEq, Message)]
pub struct MemberInfo {
    #[prost(int32, tag = "3")]
    pub state: i32,
    #[prost(bool, tag = "4")]
    pub is_alive: bool,
    #[prost(message, optional, tag = "5")]
    pub http: Option<EndPoint>,
}

#[derive(Clone, PartialEq, Message)]
pub struct EndPoint {
    #[prost(string, tag = "1")]
    pub address: String,
    #[prost(uint32, tag = "2")]
    pub port: u32,
}

/// States of a member that can be read from; the others are on their way up or down.
pub const FOLLOWER: i32 = 6;
pub const LEADER: i32 = 8;
pub const READ_ONLY_REPLICA: i32 = 14;

/// Events that a filter passes over before it says how far it has come.
const CHECKPOINT_EVERY: u32 = 1_000;
/// A node may send one event of 16 MiB.
const LARGEST: usize = 17 << 20;

/// A connection to one node.
#[derive(Clone)]
pub struct Wire {
    pub channel: Channel,
    pub authorization: Option<MetadataValue<Ascii>>,
    /// Whoever is not the leader refuses.
    pub leader_only: bool,
}

impl Wire {
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        if self.leader_only {
            request.metadata_mut().insert("requires-leader", MetadataValue::from_static("true"));
        }
        request
    }

    async fn grpc(&self) -> Result<Grpc<Channel>, Status> {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(LARGEST);
        grpc.ready().await.map_err(|why| Status::unavailable(why.to_string()))?;
        Ok(grpc)
    }

    async fn read(&self, options: Options) -> Result<Streaming<ReadResp>, Status> {
        let path = PathAndQuery::from_static("/event_store.client.streams.Streams/Read");
        let codec: ProstCodec<ReadReq, ReadResp> = ProstCodec::default();
        let request = self.request(ReadReq { options: Some(options) });
        Ok(self.grpc().await?.server_streaming(request, path, codec).await?.into_inner())
    }

    /// Every event of streams with this prefix behind a place, and those that come; now and then how far
    /// the filter has come.
    pub async fn subscribe(
        &self,
        after: Option<Place>,
        prefix: String,
    ) -> Result<Streaming<ReadResp>, Status> {
        self.read(options(after, Much::Subscription(Empty {}), Filter::By(by(prefix)))).await
    }

    /// The event at a place, if there is one at exactly this.
    pub async fn event_at(&self, place: Place) -> Result<Option<RecordedEvent>, Status> {
        let mut found = self.read(options(Some(place), Much::Count(1), Filter::None(Empty {}))).await?;
        while let Some(message) = found.message().await? {
            if let Some(Content::Event(ReadEvent { event: Some(event) })) = message.content {
                return Ok((event.commit == place.commit).then_some(event));
            }
        }
        Ok(None)
    }

    /// The place of the newest event of streams with this prefix; `None` if there is none.
    pub async fn newest(&self, prefix: String) -> Result<Option<Place>, Status> {
        let mut options = options(None, Much::Count(1), Filter::By(by(prefix)));
        options.direction = 1;
        options.all = Some(AllOptions { from: Some(From::End(Empty {})) });
        let mut found = self.read(options).await?;
        while let Some(message) = found.message().await? {
            if let Some(Content::Event(ReadEvent { event: Some(event) })) = message.content {
                return Ok(Some(Place { commit: event.commit, prepare: event.prepare }));
            }
        }
        Ok(None)
    }

    /// What a node knows of its cluster. No credentials are asked for it.
    pub async fn gossip(&self) -> Result<ClusterInfo, Status> {
        let path = PathAndQuery::from_static("/event_store.client.gossip.Gossip/Read");
        let codec: ProstCodec<Empty, ClusterInfo> = ProstCodec::default();
        Ok(self.grpc().await?.unary(Request::new(Empty {}), path, codec).await?.into_inner())
    }
}

fn options(from: Option<Place>, much: Much, filter: Filter) -> Options {
    Options {
        all: Some(AllOptions { from: Some(from.map_or(From::Start(Empty {}), From::Place)) }),
        direction: 0,
        resolve_links: false,
        much: Some(much),
        filter: Some(filter),
        uuid: Some(UuidOption { string: Some(Empty {}) }),
    }
}

fn by(prefix: String) -> FilterOptions {
    FilterOptions {
        stream: Some(Expression { prefix: vec![prefix] }),
        max: CHECKPOINT_EVERY,
        checkpoint_interval_multiplier: 1,
    }
}
