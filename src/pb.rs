//! The API's messages and services, generated from `proto/custody/v1`. Only `api` and `cli` use them.

#![allow(missing_docs, clippy::all)]

tonic::include_proto!("custody.v1");

/// The compiled `proto/`, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
