//! The messages of the public protocol `event_store.client.*` that this node speaks, as prost structs
//! written by hand: field numbers are the protocol's, names are its names in Rust spelling.
//!
//! Promises: what is declared here has the bytes of the public protocol. Does not: declare the whole of it;
//! fields a client sends and this node ignores are left out, as protobuf allows. Messages about reading are
//! in [`crate::wire_read`].

use bytes::Bytes;
use std::collections::HashMap;

#[derive(Clone, PartialEq, prost::Message)]
pub struct Uuid {
    #[prost(oneof = "uuid::Value", tags = "1, 2")]
    pub value: Option<uuid::Value>,
}

pub mod uuid {
    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub struct Structured {
        #[prost(int64, tag = "1")]
        pub most_significant_bits: i64,
        #[prost(int64, tag = "2")]
        pub least_significant_bits: i64,
    }

    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Value {
        #[prost(message, tag = "1")]
        Structured(Structured),
        #[prost(string, tag = "2")]
        Text(String),
    }
}

impl Uuid {
    pub fn text(id: ::uuid::Uuid) -> Self {
        Self { value: Some(uuid::Value::Text(id.to_string())) }
    }

    /// The id, or none when it is absent or no id.
    pub fn parse(&self) -> Option<::uuid::Uuid> {
        match self.value.as_ref()? {
            uuid::Value::Text(text) => ::uuid::Uuid::parse_str(text).ok(),
            uuid::Value::Structured(halves) => Some(::uuid::Uuid::from_u64_pair(
                halves.most_significant_bits as u64,
                halves.least_significant_bits as u64,
            )),
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct StreamIdentifier {
    #[prost(bytes = "bytes", tag = "3")]
    pub stream_name: Bytes,
}

/// A position in `$all`; the protocol has it under several names with the same two fields.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Position {
    #[prost(uint64, tag = "1")]
    pub commit_position: u64,
    #[prost(uint64, tag = "2")]
    pub prepare_position: u64,
}

impl Position {
    /// Both parts are equal here: they differ only for transactions of a protocol older than this one.
    pub fn at(position: u64) -> Self {
        Self { commit_position: position, prepare_position: position }
    }
}

/// An event as a client proposes it. The log keeps it in this form.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ProposedMessage {
    #[prost(message, optional, tag = "1")]
    pub id: Option<Uuid>,
    #[prost(map = "string, string", tag = "2")]
    pub metadata: HashMap<String, String>,
    #[prost(bytes = "bytes", tag = "3")]
    pub custom_metadata: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct AppendOptions {
    #[prost(message, optional, tag = "1")]
    pub stream_identifier: Option<StreamIdentifier>,
    #[prost(oneof = "Expected", tags = "2, 3, 4, 5")]
    pub expected: Option<Expected>,
}

/// What a writer believes of the stream's head; the same numbers in Append and in the options of BatchAppend.
#[derive(Clone, Copy, PartialEq, prost::Oneof)]
pub enum Expected {
    #[prost(uint64, tag = "2")]
    Revision(u64),
    #[prost(message, tag = "3")]
    NoStream(()),
    #[prost(message, tag = "4")]
    Any(()),
    #[prost(message, tag = "5")]
    StreamExists(()),
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct AppendReq {
    #[prost(oneof = "append_req::Content", tags = "1, 2")]
    pub content: Option<append_req::Content>,
}

pub mod append_req {
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Content {
        #[prost(message, tag = "1")]
        Options(super::AppendOptions),
        #[prost(message, tag = "2")]
        Proposed(super::ProposedMessage),
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct AppendResp {
    #[prost(oneof = "append_resp::Result", tags = "1, 2")]
    pub result: Option<append_resp::Result>,
}

pub mod append_resp {
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Result {
        #[prost(message, tag = "1")]
        Success(super::Success),
        #[prost(message, tag = "2")]
        WrongExpectedVersion(super::WrongExpectedVersion),
    }
}

/// The same in both APIs.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Success {
    #[prost(oneof = "success::Revision", tags = "1, 2")]
    pub revision: Option<success::Revision>,
    #[prost(oneof = "success::At", tags = "3, 4")]
    pub at: Option<success::At>,
}

pub mod success {
    #[derive(Clone, Copy, PartialEq, prost::Oneof)]
    pub enum Revision {
        #[prost(uint64, tag = "1")]
        Current(u64),
        #[prost(message, tag = "2")]
        NoStream(()),
    }

    #[derive(Clone, Copy, PartialEq, prost::Oneof)]
    pub enum At {
        #[prost(message, tag = "3")]
        Position(super::Position),
        #[prost(message, tag = "4")]
        NoPosition(()),
    }
}

/// Carries the numbers twice: fields 1 to 5 are what clients of release 20.6 read.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WrongExpectedVersion {
    #[prost(oneof = "wrong::OldCurrent", tags = "1, 2")]
    pub old_current: Option<wrong::OldCurrent>,
    #[prost(oneof = "wrong::OldExpected", tags = "3, 4, 5")]
    pub old_expected: Option<wrong::OldExpected>,
    #[prost(oneof = "wrong::Current", tags = "6, 7")]
    pub current: Option<wrong::Current>,
    #[prost(oneof = "wrong::Expectation", tags = "8, 9, 10, 11")]
    pub expected: Option<wrong::Expectation>,
}

pub mod wrong {
    #[derive(Clone, Copy, PartialEq, prost::Oneof)]
    pub enum OldCurrent {
        #[prost(uint64, tag = "1")]
        Revision(u64),
        #[prost(message, tag = "2")]
        NoStream(()),
    }

    #[derive(Clone, Copy, PartialEq, prost::Oneof)]
    pub enum OldExpected {
        #[prost(uint64, tag = "3")]
        Revision(u64),
        #[prost(message, tag = "4")]
        Any(()),
        #[prost(message, tag = "5")]
        StreamExists(()),
    }

    #[derive(Clone, Copy, PartialEq, prost::Oneof)]
    pub enum Current {
        #[prost(uint64, tag = "6")]
        Revision(u64),
        #[prost(message, tag = "7")]
        NoStream(()),
    }

    #[derive(Clone, Copy, PartialEq, prost::Oneof)]
    pub enum Expectation {
        #[prost(uint64, tag = "8")]
        Revision(u64),
        #[prost(message, tag = "9")]
        Any(()),
        #[prost(message, tag = "10")]
        StreamExists(()),
        #[prost(message, tag = "11")]
        NoStream(()),
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct BatchAppendReq {
    #[prost(message, optional, tag = "1")]
    pub correlation_id: Option<Uuid>,
    #[prost(message, optional, tag = "2")]
    pub options: Option<AppendOptions>,
    #[prost(message, repeated, tag = "3")]
    pub proposed_messages: Vec<ProposedMessage>,
    #[prost(bool, tag = "4")]
    pub is_final: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct BatchAppendResp {
    #[prost(message, optional, tag = "1")]
    pub correlation_id: Option<Uuid>,
    #[prost(oneof = "batch_append_resp::Result", tags = "2, 3")]
    pub result: Option<batch_append_resp::Result>,
    #[prost(message, optional, tag = "4")]
    pub stream_identifier: Option<StreamIdentifier>,
    #[prost(oneof = "batch_append_resp::Expected", tags = "5, 6, 7, 8")]
    pub expected: Option<batch_append_resp::Expected>,
}

pub mod batch_append_resp {
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Result {
        #[prost(message, tag = "2")]
        Error(super::RpcStatus),
        #[prost(message, tag = "3")]
        Success(super::Success),
    }

    #[derive(Clone, Copy, PartialEq, prost::Oneof)]
    pub enum Expected {
        #[prost(uint64, tag = "5")]
        Revision(u64),
        #[prost(message, tag = "6")]
        NoStream(()),
        #[prost(message, tag = "7")]
        Any(()),
        #[prost(message, tag = "8")]
        StreamExists(()),
    }
}

/// `google.rpc.Status`, without its details.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SupportedMethods {
    #[prost(message, repeated, tag = "1")]
    pub methods: Vec<SupportedMethod>,
    #[prost(string, tag = "2")]
    pub event_store_server_version: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SupportedMethod {
    #[prost(string, tag = "1")]
    pub method_name: String,
    #[prost(string, tag = "2")]
    pub service_name: String,
    #[prost(string, repeated, tag = "3")]
    pub features: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ClusterInfo {
    #[prost(message, repeated, tag = "1")]
    pub members: Vec<MemberInfo>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct MemberInfo {
    #[prost(message, optional, tag = "1")]
    pub instance_id: Option<Uuid>,
    #[prost(int64, tag = "2")]
    pub time_stamp: i64,
    #[prost(int32, tag = "3")]
    pub state: i32,
    #[prost(bool, tag = "4")]
    pub is_alive: bool,
    #[prost(message, optional, tag = "5")]
    pub http_end_point: Option<EndPoint>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct EndPoint {
    #[prost(string, tag = "1")]
    pub address: String,
    #[prost(uint32, tag = "2")]
    pub port: u32,
}
