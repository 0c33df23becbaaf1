//! The header line: what it says and how it is read back. Its bytes are the leaf of the tree.

use std::fmt;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::domain::erasure;
use crate::domain::event::{Body, Envelope, EventType, Role};
use crate::domain::id::Digest;
use crate::domain::time::Timestamp;
use crate::record::index::IndexBlock;
use crate::record::key::{self, Class, IndexKey, Salt, SecretKey};
use crate::record::noted::Noted;
use crate::record::{Error, parse};

/// SHA-256(0x00 ‖ header): the leaf hash of RFC 6962.
pub fn leaf_hash(header: &[u8]) -> Digest {
    Digest(Sha256::new_with_prefix([0u8]).chain_update(header).finalize().into())
}

/// In which capacity a part stands in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartRole {
    Person(Role),
    /// A hold, breach, case or complaint, with a key of its own.
    Matter,
    /// Nobody: carries the references and the fingerprint of an event about no person.
    Nobody,
}

impl PartRole {
    pub fn as_str(self) -> &'static str {
        match self {
            PartRole::Person(role) => role.as_str(),
            PartRole::Matter => "matter",
            PartRole::Nobody => "nobody",
        }
    }

    pub fn from_name(name: &str) -> Option<PartRole> {
        match name {
            "matter" => Some(PartRole::Matter),
            "nobody" => Some(PartRole::Nobody),
            _ => Role::ALL.iter().find(|role| role.as_str() == name).map(|role| PartRole::Person(*role)),
        }
    }

    pub fn is_data_subject(self) -> bool {
        self == PartRole::Person(Role::DataSubject)
    }
}

impl fmt::Display for PartRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One person (or matter, or nobody) of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub role: PartRole,
    pub tag: [u8; 16],
    /// SHA-256 of the index block as stored.
    pub index_sha256: Digest,
    pub noted: Noted,
    pub boxes: Vec<SealedBox>,
}

/// What the header says of one sealed box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedBox {
    pub class: Class,
    pub commitment: Digest,
    /// SHA-256 of the ciphertext with its tag, as stored.
    pub sha256: Digest,
    /// Padded length of the plaintext in bytes, a multiple of 64.
    pub padded: u32,
}

/// A header as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Header<'a> {
    /// What the emitter stated; references that stand in index blocks are not filled in.
    pub envelope: Envelope,
    pub event_type: EventType,
    pub recorded_at: Timestamp,
    pub salt: Salt,
    pub parts: Vec<Part>,
    /// The body's header fields, as stored.
    pub body_json: &'a str,
    /// The bytes before `,"p":`, which all pieces are bound to.
    pub(super) bound: &'a [u8],
}

impl<'a> Header<'a> {
    /// Strict: another version, an unknown type, and any spelling but the one of version 1 are errors.
    pub fn parse(bytes: &'a [u8]) -> Result<Header<'a>, Error> {
        parse::header(bytes)
    }

    /// The type that a header names, without reading the rest; `None` if it does not begin as one.
    pub fn type_name(bytes: &[u8]) -> Option<&str> {
        parse::type_name(bytes)
    }

    /// Which piece holds the index block of part `i`.
    pub fn index_piece(&self, i: usize) -> usize {
        self.parts[..i].iter().map(|part| 1 + part.boxes.len()).sum()
    }

    /// Which piece holds box `b` of part `i`.
    pub fn box_piece(&self, i: usize, b: usize) -> usize {
        self.index_piece(i) + 1 + b
    }

    /// Whether part `i` proves a consent or the handling of a case.
    pub fn proves(&self, i: usize) -> bool {
        let sealed = self.parts[i].boxes.iter().any(|sealed| sealed.class == Class::Evidence);
        sealed || erasure::proves(self.event_type)
    }

    /// The pieces of part `i` that go when its person is erased: all, or all but what proves something.
    pub fn pieces_to_purge(&self, i: usize, keep_evidence: bool) -> impl Iterator<Item = u16> + use<'_, 'a> {
        let (first, keep) = (self.index_piece(i), keep_evidence && self.proves(i));
        let index = (!keep).then_some(first);
        let boxes = self.parts[i].boxes.iter().enumerate();
        let gone = boxes.filter(move |(_, sealed)| !(keep && sealed.class == Class::Evidence));
        index.into_iter().chain(gone.map(move |(b, _)| first + 1 + b)).map(|piece| piece as u16)
    }

    /// How many pieces the record has in all.
    pub fn pieces(&self) -> usize {
        self.index_piece(self.parts.len())
    }

    /// The index-key epoch that an index block says it needs.
    pub fn index_epoch(piece: &[u8]) -> Result<u32, Error> {
        let epoch = piece.first_chunk::<4>().ok_or_else(|| Error::malformed("index block", "too short"))?;
        Ok(u32::from_be_bytes(*epoch))
    }

    /// Opens the index block of part `i` from its piece. The AEAD vouches for the bytes, so the
    /// hash in the header is not recomputed here; `check_piece` does that.
    pub fn open_index(&self, i: usize, piece: &[u8], key: &IndexKey) -> Result<IndexBlock, Error> {
        let part = self.part(i)?;
        if Self::index_epoch(piece)? != key.epoch {
            return Err(Error::NoIndexKey(Self::index_epoch(piece)?));
        }
        let block_key = key.block_key(self.salt, i as u8);
        let aad = associated_data(self.bound, i as u8, part.role);
        let plain = key::decrypt(&block_key, &aad, &piece[4..], "index block")?;
        serde_json::from_slice(&plain).map_err(|e| Error::malformed("index block", e))
    }

    /// Opens a sealed box of part `i` with the holder's key of its class. The result is one JSON
    /// object of the body's sealed fields.
    pub fn open_box(
        &self,
        i: usize,
        b: usize,
        piece: &[u8],
        key: &[u8; 32],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let sealed = self.sealed_box(i, b)?;
        self.open_box_with(i, b, piece, &key::box_key(sealed.class, key, self.salt, i as u8))
    }

    /// The same with the box's own key, as a disclosure hands it out. The key must be the one that
    /// the header commits to.
    pub fn open_box_with(
        &self,
        i: usize,
        b: usize,
        piece: &[u8],
        box_key: &SecretKey,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let sealed = self.sealed_box(i, b)?;
        if key::commitment(box_key) != sealed.commitment {
            return Err(Error::Unopened { what: "sealed part" });
        }
        let aad = associated_data(self.bound, i as u8, self.part(i)?.role);
        let mut plain = key::decrypt(box_key, &aad, piece, "sealed part")?;
        let end = plain.iter().rposition(|b| *b != b' ').map_or(0, |last| last + 1);
        plain.truncate(end);
        Ok(plain)
    }

    /// Whether a piece is the one that the header commits to.
    pub fn check_piece(&self, number: usize, piece: &[u8]) -> Result<(), Error> {
        let mut first = 0;
        for part in &self.parts {
            let expected = match number.checked_sub(first) {
                Some(0) => Some((part.index_sha256, "index block")),
                Some(b) => part.boxes.get(b - 1).map(|sealed| (sealed.sha256, "sealed part")),
                None => None,
            };
            if let Some((sha256, what)) = expected {
                let actual = Digest(Sha256::digest(piece).into());
                return if actual == sha256 { Ok(()) } else { Err(Error::Mismatch { what }) };
            }
            first += 1 + part.boxes.len();
        }
        Err(Error::malformed("record", "has more pieces than its header names"))
    }

    /// The body with its header fields and, where an index block is given, that block's fields.
    pub fn body(&self, index: Option<&IndexBlock>) -> Result<Body, Error> {
        let parsed = match index.and_then(IndexBlock::body_json) {
            None => Body::from_json(self.event_type, self.body_json),
            Some(more) => Body::from_json(self.event_type, &joined(&[self.body_json, more])),
        };
        parsed.map_err(|e| Error::malformed("body", e))
    }

    /// The body with everything that could be opened: objects as `open_box` returns them.
    pub fn body_with(
        &self,
        index: Option<&IndexBlock>,
        opened: &[Zeroizing<Vec<u8>>],
    ) -> Result<Body, Error> {
        let mut objects = vec![self.body_json];
        objects.extend(index.and_then(IndexBlock::body_json));
        for object in opened {
            objects.push(std::str::from_utf8(object).map_err(|e| Error::malformed("sealed part", e))?);
        }
        let text = Zeroizing::new(joined(&objects));
        // The parser's message could quote a sealed value, so only its place is kept.
        Body::from_json(self.event_type, &text)
            .map_err(|e| Error::malformed("opened body", format_args!("at column {}", e.column())))
    }

    fn part(&self, i: usize) -> Result<&Part, Error> {
        self.parts.get(i).ok_or_else(|| Error::malformed("record", "has no such part"))
    }

    fn sealed_box(&self, i: usize, b: usize) -> Result<&SealedBox, Error> {
        self.part(i)?.boxes.get(b).ok_or_else(|| Error::malformed("record", "has no such sealed part"))
    }
}

/// `bound ‖ i ‖ role`: ties a piece to its record, its part and its role.
pub(crate) fn associated_data(bound: &[u8], i: u8, role: PartRole) -> Vec<u8> {
    let role = role.as_str().as_bytes();
    let mut aad = Vec::with_capacity(bound.len() + 1 + role.len());
    aad.extend_from_slice(bound);
    aad.push(i);
    aad.extend_from_slice(role);
    aad
}

/// One JSON object out of several that share no key.
fn joined(objects: &[&str]) -> String {
    let mut text = String::with_capacity(objects.iter().map(|o| o.len()).sum());
    text.push('{');
    for object in objects {
        let inner = object.trim_start_matches('{').strip_suffix('}').unwrap_or_default();
        if !inner.is_empty() {
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(inner);
        }
    }
    text.push('}');
    text
}
