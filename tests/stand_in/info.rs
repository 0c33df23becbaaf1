//! What clients ask before they do anything: which methods there are, and who is in the cluster.
//!
//! Promises: batches are advertised; a member is alive when its process is. Does not: list what this node
//! does not do.

use crate::node::{Node, split};
use crate::wire::{ClusterInfo, EndPoint, MemberInfo, SupportedMethod, SupportedMethods, Uuid};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tonic::{Request, Response, Status};

/// Clients compare it by its numbers.
const VERSION: &str = "26.1.0";
const FOLLOWER: i32 = 6;
const LEADER: i32 = 8;

pub async fn supported_methods(_: Request<()>) -> Result<Response<SupportedMethods>, Status> {
    let batch = SupportedMethod {
        method_name: "batchappend".to_owned(),
        service_name: "event_store.client.streams.streams".to_owned(),
        features: Vec::new(),
    };
    let methods = SupportedMethods { methods: vec![batch], event_store_server_version: VERSION.to_owned() };
    Ok(Response::new(methods))
}

pub async fn gossip(node: Arc<Node>, _: Request<()>) -> Result<Response<ClusterInfo>, Status> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let members = node.cluster.members().into_iter().filter_map(|member| {
        let (address, port) = split(&member.address)?;
        Some(MemberInfo {
            instance_id: Some(Uuid::text(instance_id(&member.address))),
            time_stamp: i64::try_from(now.as_nanos() / 100).unwrap_or(i64::MAX),
            state: if member.leads { LEADER } else { FOLLOWER },
            is_alive: member.is_alive,
            http_end_point: Some(EndPoint { address, port: u32::from(port) }),
        })
    });
    Ok(Response::new(ClusterInfo { members: members.collect() }))
}

/// The same for an address on every node.
fn instance_id(address: &str) -> uuid::Uuid {
    let number = address.bytes().fold(0_u128, |number, byte| {
        (number ^ u128::from(byte)).wrapping_mul(0x0100_0000_0000_0000_0000_013b)
    });
    uuid::Uuid::from_u128(number)
}
