//! Makes a record: header line, index blocks, sealed boxes.

use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::domain::event::catalogue::Fields;
use crate::domain::event::{Body, Envelope, Event, EventType, Place, TimeSource, Unset, Visit};
use crate::domain::id::{Digest, SubjectId};
use crate::domain::personal::Draft;
use crate::domain::time::Timestamp;
use crate::limits;
use crate::record::fingerprint::Fingerprint;
use crate::record::header::{PartRole, associated_data, leaf_hash};
use crate::record::index::IndexMark;
use crate::record::key::{self, Class, IndexKey, Salt, SecretKey, YearKey};
use crate::record::noted::Noted;
use crate::record::{Error, VERSION, json};

/// Plaintexts are padded to a multiple of this many bytes, with blanks.
pub const PADDING: usize = 64;

/// The keys of whoever a part is about.
#[derive(Clone, Copy)]
pub struct Keys<'a> {
    pub subject: SubjectId,
    pub link: &'a SecretKey,
    /// Of `link`, where the holder of the keys is at hand for many records.
    pub year: Option<&'a YearKey>,
    /// A person's identity key, or the only key of a matter.
    pub identity: &'a SecretKey,
    pub evidence: &'a SecretKey,
}

/// One part to be: in which role, and whose keys. Without keys it is attributed to nobody.
pub struct Party<'a> {
    pub role: PartRole,
    pub keys: Option<Keys<'a>>,
    pub ids: Vec<IndexMark>,
    pub noted: Noted,
}

/// What the server adds to an event.
pub struct Sealing<'a> {
    pub recorded_at: Timestamp,
    pub salt: Salt,
    pub fingerprint: Fingerprint,
    pub index_key: &'a IndexKey,
    /// The controller's key, for what is attributed to nobody yet.
    pub organisation: &'a SecretKey,
}

/// A record, ready for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedRecord {
    pub header: Bytes,
    pub pieces: Vec<Bytes>,
    pub leaf: Digest,
}

/// Seals an event for its parties. Without any, the part `nobody` is made, so that every record
/// has an index block. Fails only where the event is too large, or names a matter that is no party.
pub fn seal(event: &Event, parties: &[Party<'_>], how: &Sealing<'_>) -> Result<SealedRecord, Error> {
    let nobody = [Party { role: PartRole::Nobody, keys: None, ids: Vec::new(), noted: Noted::default() }];
    let parties = if parties.is_empty() { &nobody[..] } else { parties };
    if parties.len() > limits::PARTS {
        return Err(Error::TooLarge { what: "list of parts", limit: limits::PARTS });
    }
    let mut header = Vec::with_capacity(1024);
    header.push(b'{');
    write_envelope(&mut header, &event.envelope, event.body.event_type(), Some((how.recorded_at, how.salt)))?;
    json::key(&mut header, "b");
    write_fields(&mut header, &event.body, &[Place::Header])?;
    let bound = header.len();

    header.extend_from_slice(b",\"p\":[");
    let mut pieces = Vec::with_capacity(parties.len() * 2);
    for (i, party) in parties.iter().enumerate() {
        if i > 0 {
            header.push(b',');
        }
        let part = PartSealer { event, party, how, i: i as u8, carries: carries_body(parties, i) };
        part.seal(&mut header, bound, &mut pieces)?;
    }
    header.extend_from_slice(b"]}");
    if header.len() > limits::HEADER_BYTES {
        return Err(Error::TooLarge { what: "header", limit: limits::HEADER_BYTES });
    }
    if pieces.iter().map(Bytes::len).sum::<usize>() > limits::SIDECAR_BYTES {
        return Err(Error::TooLarge { what: "sidecar", limit: limits::SIDECAR_BYTES });
    }
    let leaf = leaf_hash(&header);
    Ok(SealedRecord { header: header.into(), pieces, leaf })
}

/// The body's personal fields belong to the data subjects; where there is none, to the first part.
fn carries_body(parties: &[Party<'_>], i: usize) -> bool {
    if parties.iter().any(|party| party.role.is_data_subject()) {
        parties[i].role.is_data_subject()
    } else {
        i == 0
    }
}

/// Seals one part of one record.
struct PartSealer<'a> {
    event: &'a Event,
    party: &'a Party<'a>,
    how: &'a Sealing<'a>,
    i: u8,
    carries: bool,
}

impl PartSealer<'_> {
    fn seal(&self, header: &mut Vec<u8>, bound: usize, pieces: &mut Vec<Bytes>) -> Result<(), Error> {
        let aad = associated_data(&header[..bound], self.i, self.party.role);
        let index = self.index_block(&aad)?;
        header.push(b'{');
        json::key(header, "role");
        json::plain(header, self.party.role.as_str());
        json::key(header, "tag");
        json::base64(header, &self.tag());
        json::key(header, "sh");
        json::base64(header, &Sha256::digest(&index));
        self.party.noted.write(header)?;
        pieces.push(index.into());

        let boxes = self.boxes(&aad)?;
        if !boxes.is_empty() {
            json::key(header, "x");
            header.push(b'[');
            for (n, (description, ciphertext)) in boxes.into_iter().enumerate() {
                if n > 0 {
                    header.push(b',');
                }
                header.extend_from_slice(&description);
                pieces.push(ciphertext);
            }
            header.push(b']');
        }
        header.push(b'}');
        Ok(())
    }

    /// A part that is attributed to nobody carries bytes that nobody without the index key can
    /// tell from a tag.
    fn tag(&self) -> [u8; 16] {
        match &self.party.keys {
            Some(keys) => {
                let year = self.how.recorded_at.year();
                let year = match keys.year {
                    Some(known) => known.of(keys.link, year),
                    None => key::tag_key(keys.link, year),
                };
                key::tag(&year, self.how.salt, self.i)
            }
            None => key::tag(&self.how.index_key.filler_key(), self.how.salt, self.i),
        }
    }

    fn index_block(&self, aad: &[u8]) -> Result<Vec<u8>, Error> {
        let mut block = Vec::with_capacity(192);
        block.extend_from_slice(&self.how.index_key.epoch.to_be_bytes());
        block.push(b'{');
        if let Some(keys) = &self.party.keys {
            json::key(&mut block, "subject");
            json::base64(&mut block, &keys.subject.0);
        }
        json::key(&mut block, "fp");
        json::base64(&mut block, &self.how.fingerprint.0);
        let personal = &self.event.envelope.personal;
        for (name, value) in [
            ("actor_ref", &personal.actor_ref),
            ("correlation_id", &personal.correlation_id),
            ("causation_id", &personal.causation_id),
        ] {
            if let Some(value) = value {
                json::key(&mut block, name);
                json::plain(&mut block, value.as_str());
            }
        }
        if !self.party.ids.is_empty() {
            json::key(&mut block, "ids");
            json::value(&mut block, &self.party.ids).map_err(|e| Error::malformed("index block", e))?;
        }
        if self.carries {
            let before = block.len();
            json::key(&mut block, "b");
            let empty = block.len() + 2;
            write_fields(&mut block, &self.event.body, &[Place::Index])?;
            if block.len() == empty {
                block.truncate(before);
            }
        }
        block.push(b'}');
        let block_key = self.how.index_key.block_key(self.how.salt, self.i);
        key::encrypt(&block_key, aad, &mut block, 4)?;
        Ok(block)
    }

    /// The sealed boxes of this part, each with its description for the header.
    fn boxes(&self, aad: &[u8]) -> Result<Vec<(Vec<u8>, Bytes)>, Error> {
        let mut boxes = Vec::new();
        for (class, key, places) in self.wanted_boxes() {
            let mut plain = Draft::with_capacity(256);
            write_fields(&mut plain, &self.event.body, places)?;
            if plain.as_slice() != b"{}" {
                boxes.push(self.sealed_box(class, key, &plain, aad)?);
            }
        }
        Ok(boxes)
    }

    /// Which boxes the part may have: at most one of a class, because the class and the part are
    /// all that tells their keys apart and every nonce is zero.
    fn wanted_boxes(&self) -> Vec<(Class, &SecretKey, &'static [Place])> {
        match (&self.party.keys, self.party.role) {
            (Some(keys), PartRole::Matter) => vec![(Class::Matter, keys.identity, &[Place::Matter])],
            (Some(keys), _) if self.carries => vec![
                (Class::Identity, keys.identity, &[Place::Identity]),
                (Class::Evidence, keys.evidence, &[Place::Evidence]),
            ],
            (None, _) if self.carries => {
                vec![(Class::Organisation, self.how.organisation, &[Place::Identity, Place::Evidence])]
            }
            _ => Vec::new(),
        }
    }

    fn sealed_box(
        &self,
        class: Class,
        key: &SecretKey,
        plain: &[u8],
        aad: &[u8],
    ) -> Result<(Vec<u8>, Bytes), Error> {
        let box_key = key::box_key(class, key, self.how.salt, self.i);
        let padded = plain.len().next_multiple_of(PADDING);
        let mut sealed = Vec::with_capacity(padded + 16);
        sealed.extend_from_slice(plain);
        sealed.resize(padded, b' ');
        key::encrypt(&box_key, aad, &mut sealed, 0)?;
        let mut description = vec![b'{'];
        json::key(&mut description, "key");
        json::plain(&mut description, class.as_str());
        json::key(&mut description, "kc");
        json::base64(&mut description, &key::commitment(&box_key).0);
        json::key(&mut description, "ch");
        json::base64(&mut description, &Sha256::digest(&sealed));
        json::key(&mut description, "n");
        json::number(&mut description, padded as u64);
        description.push(b'}');
        Ok((description, sealed.into()))
    }
}

/// The envelope in its fixed order, without the closing brace. `added` is what the server adds.
pub(crate) fn write_envelope(
    out: &mut Vec<u8>,
    envelope: &Envelope,
    event_type: EventType,
    added: Option<(Timestamp, Salt)>,
) -> Result<(), Error> {
    let text = |out: &mut Vec<u8>, name: &str, value: &str| {
        json::key(out, name);
        json::plain(out, value);
    };
    json::key(out, "v");
    json::number(out, VERSION.into());
    let mut id = [0u8; 36];
    text(out, "event_id", envelope.event_id.0.hyphenated().encode_lower(&mut id));
    text(out, "type", event_type.as_str());
    text(out, "controller", envelope.controller.as_str());
    text(out, "emitter", envelope.emitter.as_str());
    if let Some(seq) = envelope.emitter_seq {
        json::key(out, "emitter_seq");
        json::number(out, seq);
    }
    for (name, value) in [("service", &envelope.service), ("activity", &envelope.activity)] {
        if let Some(value) = value {
            text(out, name, value.as_str());
        }
    }
    let broken = |e| Error::malformed("envelope", e);
    if !envelope.regimes.is_empty() {
        json::key(out, "regimes");
        json::value(out, &envelope.regimes).map_err(broken)?;
    }
    if let Some(version) = &envelope.policy_version {
        text(out, "policy_version", version.as_str());
    }
    json::key(out, "occurred_at");
    json::time(out, envelope.occurred_at);
    if let Some((recorded_at, _)) = added {
        json::key(out, "recorded_at");
        json::time(out, recorded_at);
    }
    if envelope.time_source != TimeSource::Server {
        text(out, "time_source", envelope.time_source.as_str());
    }
    if let (Some(offset), Some(_)) = (envelope.clock_offset, added) {
        json::key(out, "clock_offset");
        json::value(out, &offset).map_err(broken)?;
    }
    if let Some(window) = &envelope.window {
        json::key(out, "window");
        json::value(out, window).map_err(broken)?;
    }
    if let Some(count) = envelope.count {
        json::key(out, "count");
        json::number(out, count);
    }
    if envelope.backfill {
        json::key(out, "backfill");
        out.extend_from_slice(b"true");
    }
    if let Some(import) = &envelope.import_id {
        text(out, "import_id", import.as_str());
    }
    if let Some(actor) = envelope.actor {
        text(out, "actor", actor.as_str());
    }
    if let Some((_, salt)) = added {
        json::key(out, "salt");
        json::base64(out, &salt.0);
    }
    Ok(())
}

/// The body's set fields of some places, as one JSON object.
pub(super) fn write_fields(out: &mut Vec<u8>, body: &Body, places: &[Place]) -> Result<(), Error> {
    out.push(b'{');
    let mut writer = OfPlaces { out, places, failed: None };
    body.visit(&mut writer);
    let failed = writer.failed;
    out.push(b'}');
    failed.map_or(Ok(()), |why| Err(Error::malformed("body", why)))
}

struct OfPlaces<'a> {
    out: &'a mut Vec<u8>,
    places: &'a [Place],
    failed: Option<serde_json::Error>,
}

impl OfPlaces<'_> {
    fn write<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) {
        json::key(self.out, name);
        if let Err(why) = json::value(self.out, value) {
            self.failed = Some(why);
        }
    }
}

impl Visit for OfPlaces<'_> {
    fn open<T: Serialize + Unset>(&mut self, place: Place, name: &'static str, value: &T) {
        if self.places.contains(&place) && !value.is_unset() {
            self.write(name, value);
        }
    }

    fn sealed(&mut self, place: Place, name: &'static str, value: &crate::domain::event::Sealed) {
        if self.places.contains(&place)
            && let Some(value) = value
        {
            self.write(name, value.expose());
        }
    }
}
