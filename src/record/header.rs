//! The header line: what it says and how it is read back. Its bytes are the leaf of the tree.

use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::domain::event::{ActorKind, Body, Envelope, EventType, References, Role, TimeSource, Window};
use crate::domain::id::{Digest, EventId, Id, Regime};
use crate::domain::time::Timestamp;
use crate::record::index::IndexBlock;
use crate::record::key::{self, Class, IndexKey, Salt, SecretKey};
use crate::record::{Error, VERSION};

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
    bound: &'a [u8],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    #[serde(rename = "v")]
    _v: u32,
    event_id: EventId,
    #[serde(rename = "type")]
    event_type: &'a str,
    controller: Id,
    emitter: Id,
    emitter_seq: Option<u64>,
    service: Option<Id>,
    activity: Option<Id>,
    #[serde(default)]
    regimes: Vec<Regime>,
    policy_version: Option<Id>,
    occurred_at: Timestamp,
    recorded_at: Timestamp,
    time_source: Option<TimeSource>,
    clock_offset: Option<i64>,
    window: Option<Window>,
    count: Option<u64>,
    #[serde(default)]
    backfill: bool,
    import_id: Option<Id>,
    actor: Option<ActorKind>,
    salt: Bytes16,
    #[serde(borrow)]
    b: &'a RawValue,
    p: Vec<WirePart<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WirePart<'a> {
    role: &'a str,
    tag: Bytes16,
    sh: Digest,
    #[serde(default, borrow)]
    x: Vec<WireBox<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireBox<'a> {
    key: &'a str,
    kc: Digest,
    ch: Digest,
    n: u32,
}

/// Tags and salts have the form of a mark and none of its meaning.
type Bytes16 = crate::domain::id::Mark;

impl<'a> Header<'a> {
    /// Strict: unknown or duplicate keys, another version or an unknown type are errors.
    pub fn parse(bytes: &'a [u8]) -> Result<Header<'a>, Error> {
        let text = std::str::from_utf8(bytes).map_err(|e| Error::malformed("header", e))?;
        check_version(text)?;
        let wire: Wire<'a> = serde_json::from_str(text).map_err(|e| Error::malformed("header", e))?;
        let event_type = EventType::from_name(wire.event_type)
            .ok_or_else(|| Error::UnknownType(wire.event_type.chars().take(64).collect()))?;
        let body_json = wire.b.get();
        let bound = bytes_before_parts(text, body_json)?;
        let parts = wire.p.iter().map(part).collect::<Result<_, _>>()?;
        Ok(Header {
            event_type,
            recorded_at: wire.recorded_at,
            salt: Salt(wire.salt.0),
            parts,
            body_json,
            bound,
            envelope: Envelope {
                event_id: wire.event_id,
                controller: wire.controller,
                emitter: wire.emitter,
                emitter_seq: wire.emitter_seq,
                service: wire.service,
                activity: wire.activity,
                regimes: wire.regimes,
                policy_version: wire.policy_version,
                occurred_at: wire.occurred_at,
                time_source: wire.time_source.unwrap_or(TimeSource::Server),
                clock_offset: wire.clock_offset,
                window: wire.window,
                count: wire.count,
                backfill: wire.backfill,
                import_id: wire.import_id,
                actor: wire.actor,
                personal: References::default(),
            },
        })
    }

    /// Which piece holds the index block of part `i`.
    pub fn index_piece(&self, i: usize) -> usize {
        self.parts[..i].iter().map(|part| 1 + part.boxes.len()).sum()
    }

    /// Which piece holds box `b` of part `i`.
    pub fn box_piece(&self, i: usize, b: usize) -> usize {
        self.index_piece(i) + 1 + b
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

fn check_version(text: &str) -> Result<(), Error> {
    let digits = text
        .strip_prefix("{\"v\":")
        .and_then(|rest| rest.split_once(','))
        .map(|(digits, _)| digits)
        .ok_or_else(|| Error::malformed("header", "does not begin with its version"))?;
    match digits.parse::<u64>() {
        Ok(v) if v == u64::from(VERSION) => Ok(()),
        Ok(v) => Err(Error::UnknownVersion(v)),
        Err(e) => Err(Error::malformed("header version", e)),
    }
}

/// The parts come right after the body, so the bound bytes end where the body ends.
fn bytes_before_parts<'a>(text: &'a str, body_json: &str) -> Result<&'a [u8], Error> {
    let end = body_json.as_ptr() as usize + body_json.len() - text.as_ptr() as usize;
    if text[end..].starts_with(",\"p\":") {
        Ok(&text.as_bytes()[..end])
    } else {
        Err(Error::malformed("header", "the parts do not follow the body"))
    }
}

fn part(wire: &WirePart<'_>) -> Result<Part, Error> {
    let boxes = wire.x.iter().map(|x| {
        let class = Class::from_name(x.key).ok_or_else(|| Error::malformed("part", "unknown key class"))?;
        Ok(SealedBox { class, commitment: x.kc, sha256: x.ch, padded: x.n })
    });
    Ok(Part {
        role: PartRole::from_name(wire.role).ok_or_else(|| Error::malformed("part", "unknown role"))?,
        tag: wire.tag.0,
        index_sha256: wire.sh,
        boxes: boxes.collect::<Result<_, Error>>()?,
    })
}
