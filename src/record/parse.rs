//! Reads a header line back, by hand and in its fixed order.
//!
//! Version 1 allows exactly one spelling of every header, so this is no general JSON parser: it
//! expects each key where it must stand. What is unknown, doubled, out of order, or spelled
//! otherwise is an error. It allocates for the parts and for names of more than 24 bytes only,
//! because the views read every record with it.

use std::str::FromStr;

use crate::domain::event::{ActorKind, Envelope, EventType, References, TimeSource, Window};
use crate::domain::id::Digest;
use crate::domain::time::Timestamp;
use crate::limits;
use crate::record::header::{Header, Part, PartRole, SealedBox};
use crate::record::key::{Class, Salt};
use crate::record::noted::Noted;
use crate::record::{Error, VERSION};

/// More than the version, a UUID and the keys around them take.
const BEFORE_TYPE: usize = 128;
/// Values inside values in a body, at most; the catalogue's deepest has five.
const DEPTH: usize = 16;

/// The whole of `Header::parse`.
pub(super) fn header(bytes: &[u8]) -> Result<Header<'_>, Error> {
    let text = std::str::from_utf8(bytes).map_err(|e| Error::malformed("header", e))?;
    let mut line = Line { text, at: 0 };
    line.expect("{\"v\":")?;
    check_version(line.number()?)?;
    let event_id = line.required("event_id")?;
    let event_type = line.name("type")?.ok_or_else(|| missing("type"))?;
    let event_type = EventType::from_name(event_type)
        .ok_or_else(|| Error::UnknownType(event_type.chars().take(64).collect()))?;
    let mut envelope = Envelope {
        event_id,
        controller: line.required("controller")?,
        emitter: line.required("emitter")?,
        emitter_seq: line.optional_number("emitter_seq")?,
        service: line.optional("service")?,
        activity: line.optional("activity")?,
        regimes: line.list("regimes")?,
        policy_version: line.optional("policy_version")?,
        occurred_at: line.time("occurred_at")?,
        time_source: TimeSource::Server,
        clock_offset: None,
        window: None,
        count: None,
        backfill: false,
        import_id: None,
        actor: None,
        personal: References::default(),
    };
    let recorded_at = line.time("recorded_at")?;
    if let Some(source) = line.name("time_source")? {
        envelope.time_source = match TimeSource::from_name(source) {
            Some(source) if source != TimeSource::Server => source,
            _ => return Err(wrong("time_source")),
        };
    }
    envelope.clock_offset = line.optional_signed("clock_offset")?;
    envelope.window = line.window()?;
    envelope.count = line.optional_number("count")?;
    if line.key("backfill") {
        line.expect("true")?;
        envelope.backfill = true;
    }
    envelope.import_id = line.optional("import_id")?;
    if let Some(actor) = line.name("actor")? {
        envelope.actor = Some(ActorKind::from_name(actor).ok_or_else(|| wrong("actor"))?);
    }
    let salt = line.bytes16("salt")?;
    let body_json = line.body()?;
    let bound = &bytes[..line.at];
    // What stands in the place of another record is about nobody, and has nothing beside it.
    let parts =
        if event_type == EventType::RecordSetAside && line.no_parts() { Vec::new() } else { line.parts()? };
    line.expect("}")?;
    if line.at != text.len() {
        return Err(Error::malformed("header", "goes on after its end"));
    }
    Ok(Header { envelope, event_type, recorded_at, salt: Salt(salt), parts, body_json, bound })
}

/// The type that a header names, without reading the rest: cheap enough to look for a rare type
/// among all records. `None` if it does not begin as one of this version.
pub(super) fn type_name(bytes: &[u8]) -> Option<&str> {
    // A header is ASCII, so it can be cut anywhere.
    let start = &bytes[..bytes.len().min(BEFORE_TYPE + limits::ID_BYTES)];
    let mut line = Line { text: std::str::from_utf8(start).ok()?, at: 0 };
    line.expect("{\"v\":").ok()?;
    check_version(line.number().ok()?).ok()?;
    line.name("event_id").ok()??;
    line.name("type").ok()?
}

fn check_version(version: u64) -> Result<(), Error> {
    if version == u64::from(VERSION) { Ok(()) } else { Err(Error::UnknownVersion(version)) }
}

fn missing(key: &'static str) -> Error {
    Error::malformed("header", format_args!("lacks {key:?} in its place"))
}

fn wrong(key: &'static str) -> Error {
    Error::malformed("header", format_args!("has no valid {key:?}"))
}

/// A place in the line.
struct Line<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Line<'a> {
    fn rest(&self) -> &'a str {
        // `at` only ever moves past ASCII.
        &self.text[self.at..]
    }

    fn take(&mut self, literal: &str) -> bool {
        let there = self.rest().as_bytes().starts_with(literal.as_bytes());
        if there {
            self.at += literal.len();
        }
        there
    }

    fn expect(&mut self, literal: &'static str) -> Result<(), Error> {
        if self.take(literal) {
            return Ok(());
        }
        Err(Error::malformed("header", format_args!("has no {literal:?} at byte {}", self.at)))
    }

    /// Takes `,"key":` if it comes next.
    fn key(&mut self, key: &str) -> bool {
        let rest = self.rest().as_bytes();
        let end = key.len() + 4;
        let there = rest.len() >= end
            && rest.starts_with(b",\"")
            && &rest[2..end - 2] == key.as_bytes()
            && &rest[end - 2..end] == b"\":";
        if there {
            self.at += end;
        }
        there
    }

    /// A string without escapes, which is all that the envelope and the parts have.
    fn string(&mut self) -> Result<&'a str, Error> {
        self.expect("\"")?;
        let rest = self.rest();
        let plain = |b: &u8| matches!(b, 0x20..0x7f) && *b != b'"' && *b != b'\\';
        let length = rest.as_bytes().iter().take_while(|b| plain(b)).count();
        self.at += length;
        self.expect("\"")?;
        Ok(&rest[..length])
    }

    fn name(&mut self, key: &'static str) -> Result<Option<&'a str>, Error> {
        if self.key(key) { self.string().map(Some) } else { Ok(None) }
    }

    fn optional<T: FromStr>(&mut self, key: &'static str) -> Result<Option<T>, Error> {
        match self.name(key)? {
            Some(text) => text.parse().map(Some).map_err(|_| wrong(key)),
            None => Ok(None),
        }
    }

    fn required<T: FromStr>(&mut self, key: &'static str) -> Result<T, Error> {
        self.optional(key)?.ok_or_else(|| missing(key))
    }

    fn time(&mut self, key: &'static str) -> Result<Timestamp, Error> {
        let text = self.name(key)?.ok_or_else(|| missing(key))?;
        Timestamp::read(text).ok_or_else(|| wrong(key))
    }

    /// Decimal, below 2^53, without leading zeros.
    fn number(&mut self) -> Result<u64, Error> {
        let rest = self.rest().as_bytes();
        let length = rest.iter().take(17).take_while(|b| b.is_ascii_digit()).count();
        let digits = &rest[..length];
        let value = digits.iter().fold(0u64, |value, digit| value * 10 + u64::from(digit - b'0'));
        if length == 0 || value > limits::NUMBER || (digits[0] == b'0' && length > 1) {
            return Err(Error::malformed("header", format_args!("has no valid number at byte {}", self.at)));
        }
        self.at += length;
        Ok(value)
    }

    fn optional_number(&mut self, key: &'static str) -> Result<Option<u64>, Error> {
        if self.key(key) { self.number().map(Some) } else { Ok(None) }
    }

    fn optional_signed(&mut self, key: &'static str) -> Result<Option<i64>, Error> {
        if !self.key(key) {
            return Ok(None);
        }
        let negative = self.take("-");
        // Below 2^53, so it fits.
        let value = self.number()? as i64;
        if negative && value == 0 {
            return Err(wrong(key));
        }
        Ok(Some(if negative { -value } else { value }))
    }

    /// Strings, at least one where the key is there.
    fn list<T: FromStr>(&mut self, key: &'static str) -> Result<Vec<T>, Error> {
        let mut list = Vec::new();
        if self.key(key) {
            self.expect("[")?;
            loop {
                list.push(self.string()?.parse().map_err(|_| wrong(key))?);
                if !self.take(",") {
                    break;
                }
            }
            self.expect("]")?;
        }
        Ok(list)
    }

    fn window(&mut self) -> Result<Option<Window>, Error> {
        if !self.key("window") {
            return Ok(None);
        }
        let mut time = |before: &'static str| {
            self.expect(before)?;
            Timestamp::read(self.string()?).ok_or_else(|| wrong("window"))
        };
        let window = Window { from: time("{\"from\":")?, to: time(",\"to\":")? };
        self.expect("}")?;
        Ok(Some(window))
    }

    fn bytes16(&mut self, key: &'static str) -> Result<[u8; 16], Error> {
        let mark: crate::domain::id::Mark = self.required(key)?;
        Ok(mark.0)
    }

    fn digest(&mut self, key: &'static str) -> Result<Digest, Error> {
        self.required(key)
    }

    fn body(&mut self) -> Result<&'a str, Error> {
        if !self.key("b") || !self.rest().starts_with('{') {
            return Err(missing("b"));
        }
        let from = self.at;
        self.skip(DEPTH)?;
        Ok(&self.text[from..self.at])
    }

    fn no_parts(&mut self) -> bool {
        self.take(",\"p\":[]")
    }

    fn parts(&mut self) -> Result<Vec<Part>, Error> {
        if !self.key("p") {
            return Err(Error::malformed("header", "the parts do not follow the body"));
        }
        self.expect("[")?;
        let mut parts = Vec::with_capacity(1);
        loop {
            parts.push(self.part()?);
            if parts.len() > limits::PARTS {
                return Err(Error::TooLarge { what: "list of parts", limit: limits::PARTS });
            }
            if !self.take(",") {
                break;
            }
        }
        self.expect("]")?;
        Ok(parts)
    }

    fn part(&mut self) -> Result<Part, Error> {
        self.expect("{\"role\":")?;
        let role = PartRole::from_name(self.string()?);
        let role = role.ok_or_else(|| Error::malformed("part", "unknown role"))?;
        let (tag, index_sha256) = (self.bytes16("tag")?, self.digest("sh")?);
        let noted = self.noted()?;
        let mut boxes = Vec::new();
        if self.key("x") {
            self.expect("[")?;
            loop {
                boxes.push(self.sealed_box()?);
                if !self.take(",") {
                    break;
                }
            }
            self.expect("]")?;
        }
        self.expect("}")?;
        Ok(Part { role, tag, index_sha256, noted, boxes })
    }

    fn noted(&mut self) -> Result<Noted, Error> {
        let mut noted = Noted::default();
        if self.key("late") {
            self.expect("true")?;
            noted.late = true;
        }
        noted.kinds = self.list("kinds")?;
        if !noted.kinds.is_empty() {
            noted.realms = self.list("realms")?;
        }
        let sorted = noted.kinds.is_sorted_by(|a, b| a < b) && noted.realms.is_sorted_by(|a, b| a < b);
        if sorted { Ok(noted) } else { Err(Error::malformed("part", "its kinds or realms are not in order")) }
    }

    fn sealed_box(&mut self) -> Result<SealedBox, Error> {
        self.expect("{\"key\":")?;
        let class = Class::from_name(self.string()?);
        let class = class.ok_or_else(|| Error::malformed("part", "unknown key class"))?;
        let (commitment, sha256) = (self.digest("kc")?, self.digest("ch")?);
        let padded = self.optional_number("n")?.and_then(|n| u32::try_from(n).ok());
        let padded = padded.ok_or_else(|| wrong("n"))?;
        self.expect("}")?;
        Ok(SealedBox { class, commitment, sha256, padded })
    }

    /// Passes over one value of the body, without blanks and in ASCII. What its keys mean, and that
    /// none stands twice, is for who reads the body.
    fn skip(&mut self, depth: usize) -> Result<(), Error> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(Error::malformed("body", "is nested too deeply"));
        };
        match self.rest().as_bytes().first() {
            Some(b'{') => self.skip_list("{", "}", |line| {
                line.skip_string()?;
                line.expect(":")?;
                line.skip(depth)
            }),
            Some(b'[') => self.skip_list("[", "]", |line| line.skip(depth)),
            Some(b'"') => self.skip_string(),
            Some(b't') => self.expect("true"),
            Some(b'f') => self.expect("false"),
            Some(b'-') => {
                self.at += 1;
                self.number().map(|_| ())
            }
            _ => self.number().map(|_| ()),
        }
    }

    fn skip_list(
        &mut self,
        open: &'static str,
        close: &'static str,
        mut each: impl FnMut(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.expect(open)?;
        if self.take(close) {
            return Ok(());
        }
        loop {
            each(self)?;
            if !self.take(",") {
                return self.expect(close);
            }
        }
    }

    fn skip_string(&mut self) -> Result<(), Error> {
        self.expect("\"")?;
        loop {
            let rest = self.rest().as_bytes();
            let plain = |b: &u8| matches!(b, 0x20..0x7f) && *b != b'"' && *b != b'\\';
            let length = rest.iter().take_while(|b| plain(b)).count();
            self.at += length;
            match rest[length..] {
                [b'"', ..] => {
                    self.at += 1;
                    return Ok(());
                }
                [b'\\', b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(u8::is_ascii_hexdigit) => {
                    self.at += 6;
                }
                [b'\\', b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't', ..] => self.at += 2,
                _ => return Err(Error::malformed("body", "has a string that is none")),
            }
        }
    }
}
