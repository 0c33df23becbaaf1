//! Transparency logs as mathematics and text: RFC 6962 trees and proofs, and the C2SP formats
//! (`signed-note`, `tlog-checkpoint`, `tlog-cosignature`, `tlog-proof`, `tlog-tiles`, `tlog-policy`,
//! the request of `tlog-witness`). Pure: no I/O, no clock, no randomness, nothing of ours.
//!
//! Promises: every parser takes hostile bytes, is strict (one text per value), bounds what it
//! allocates by what it was given, and never panics, with sizes up to 2^64 - 1; what is written here
//! is read by implementations that others wrote (`tests/third_parties.rs`). Not promised: that a
//! signed tree is the only one that was ever signed; that is what witnesses and kept checkpoints are
//! for.
//!
//! For whoever builds on it:
//!
//! | wish | call |
//! |---|---|
//! | grow a tree, or fold a range and compare its root | [`Edge::push`], [`Edge::root`], [`Edge::from_parts`] |
//! | make a proof from stored hashes | [`proof::inclusion`], [`proof::consistency`], [`proof::edge_at`] |
//! | check one | [`proof::check_inclusion`], [`proof::check_consistency`] |
//! | sign or check a text (checkpoint, manifest) | [`Signer`], [`Note`], [`Note::verify`] |
//! | read a checkpoint with its signatures | [`SignedCheckpoint::parse`] |
//! | trust | [`Policy::parse`] or [`Policy::of_log`], then [`Policy::judge`] |
//! | proof files | [`InclusionFile`], [`ConsistencyFile`] |
//! | tiles | [`tile::Resource`], [`tile::bundle`] |
//!
//! Why not the crates `tlog_tiles` and `signed_note` 0.2: they were tried and agree, but they are
//! copies of 2025 that get no fixes, bring a second sha2, base64 and thiserror and all of `url`, write
//! Go's tile paths, panic on a wrong reader, and verify without strictness. `ed25519-dalek` 3 shares
//! our sha2; `ct-merkle`, which others keep, is the oracle of the property tests.

pub mod checkpoint;
pub mod file;
pub mod note;
pub mod policy;
pub mod proof;
pub mod tile;
pub mod tree;

#[cfg(test)]
mod tests;

pub use checkpoint::{Checkpoint, SignedCheckpoint};
pub use file::{ConsistencyFile, InclusionFile};
pub use note::{KeyKind, Note, Signature, Signer, VerifierKey};
pub use policy::Policy;
pub use proof::Nodes;
pub use tree::{Edge, Hash, leaf_hash, node_hash};

/// Why bytes or a proof are not what they claim to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("malformed {what}: {why}")]
    Malformed { what: &'static str, why: &'static str },
    #[error("the signature of {0} does not verify")]
    Signature(String),
    #[error("{0} has signed more than once")]
    TwoSignatures(String),
    #[error("no signature of a known key")]
    Unsigned,
    #[error("the proof does not lead to the root: {0}")]
    Proof(&'static str),
}

pub(crate) fn malformed(what: &'static str, why: &'static str) -> Invalid {
    Invalid::Malformed { what, why }
}

/// A decimal number as all of these formats write it: ASCII digits, no sign, no leading zero.
pub fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit());
    if !digits || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.parse().ok()
}

/// Standard base64 with its padding, and exactly one text for a value.
pub fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

pub fn unbase64(text: &str) -> Option<Vec<u8>> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

/// A hash as these formats write it.
pub fn hash_of(text: &str) -> Option<Hash> {
    if text.len() != 44 {
        return None;
    }
    unbase64(text)?.try_into().ok()
}
