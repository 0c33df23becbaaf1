//! Shapes: what many people's entries have in common, kept once.
//!
//! A shape is the organisation's half of an event: its type, who emitted it for which service and
//! activity, and the header fields of its body. It names no person and no reference made for one,
//! because headers do not. Emitters repeat few shapes, so entries name them by number. The
//! dictionary is bounded: once it is full, a new shape is written out in the entry itself.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::event::catalogue::About;
use crate::domain::event::{Body, Envelope, EventType};
use crate::domain::id::{Id, Regime};
use crate::record::Noted;
use crate::views::codec::{Malformed, Reader, put_bytes, put_u64};
use crate::views::own::kind_from;

/// How an event type enters a person's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Not at all: it says nothing about the person's data.
    Nothing,
    /// Counted together with others of its shape and index fields.
    Tally,
    /// Counted together with others of its shape, whatever its index fields.
    Coarse,
    /// Every act for itself, with all fields.
    Act,
}

/// Frequent things are tallied; what has a history, or a case, is kept act by act. A type that is
/// not named here is kept act by act, which is never wrong, only larger.
pub fn keep(event_type: EventType) -> Keep {
    match event_type.as_str() {
        "DataCollected"
        | "DataUsed"
        | "DataShared"
        | "DataTransferred"
        | "MessageSent"
        | "NoticeShown"
        | "SdkObserved"
        | "DevicePermissionChanged"
        | "ServiceRefused"
        | "AutomatedDecisionMade"
        | "AccountRegistered" => Keep::Tally,
        "StaffAccessed" => Keep::Coarse,
        "RecordsRead"
        | "ContentDisclosed"
        | "ExportProduced"
        | "EventsRetracted"
        | "IdentityErasureAccepted"
        | "IdentityErased" => Keep::Nothing,
        _ if event_type.about() == About::Nobody => Keep::Nothing,
        _ => Keep::Act,
    }
}

/// Events about reading stay off the posting list of the person read.
pub fn is_reading(event_type: EventType) -> bool {
    matches!(event_type.as_str(), "RecordsRead" | "ContentDisclosed" | "ExportProduced")
}

/// A shape, read back.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    pub event_type: EventType,
    pub controller: Id,
    pub emitter: Id,
    pub service: Option<Id>,
    pub activity: Option<Id>,
    pub regimes: Vec<Regime>,
    pub policy_version: Option<Id>,
    /// What was odd about its identifiers.
    pub noted: Noted,
    /// The body's header fields; `None` where hardly two are the same.
    pub body_json: Option<Box<str>>,
    /// The same, parsed.
    pub body: Option<Body>,
}

const WHAT: &str = "shape";

/// The bytes of an event's shape: equal for equal shapes.
pub fn encode(out: &mut Vec<u8>, envelope: &Envelope, event_type: EventType, noted: &Noted, body_json: &str) {
    put_bytes(out, event_type.as_str().as_bytes());
    put_bytes(out, envelope.controller.as_str().as_bytes());
    put_bytes(out, envelope.emitter.as_str().as_bytes());
    for id in [&envelope.service, &envelope.activity, &envelope.policy_version] {
        put_bytes(out, id.as_ref().map_or("", Id::as_str).as_bytes());
    }
    out.push(envelope.regimes.len() as u8);
    envelope.regimes.iter().for_each(|regime| out.extend_from_slice(regime.as_str().as_bytes()));
    out.push(u8::from(noted.late) | u8::from(!noted.kinds.is_empty()) << 1);
    if !noted.kinds.is_empty() {
        put_u64(out, noted.kinds.len() as u64);
        out.extend(noted.kinds.iter().map(|kind| *kind as u8));
        put_u64(out, noted.realms.len() as u64);
        noted.realms.iter().for_each(|realm| put_bytes(out, realm.as_str().as_bytes()));
    }
    if repeats(event_type) {
        put_bytes(out, body_json.as_bytes());
    }
}

/// Whether many events of a type have the same body. The others' shapes have none, or each of them would
/// take a place in the dictionary. A retraction's says whose events it takes back.
fn repeats(event_type: EventType) -> bool {
    matches!(keep(event_type), Keep::Tally | Keep::Coarse) || event_type == EventType::EventsRetracted
}

pub fn decode(bytes: &[u8]) -> Result<Shape, Malformed> {
    let mut reader = Reader::new(bytes, WHAT);
    let event_type = EventType::from_name(reader.text()?).ok_or(Malformed(WHAT))?;
    let id = |text: &str| text.parse::<Id>().map_err(|_| Malformed(WHAT));
    let controller = id(reader.text()?)?;
    let emitter = id(reader.text()?)?;
    let mut optional = || match reader.text()? {
        "" => Ok(None),
        text => id(text).map(Some),
    };
    let (service, activity, policy_version) = (optional()?, optional()?, optional()?);
    let mut regimes = Vec::new();
    for _ in 0..reader.byte()? {
        let text = std::str::from_utf8(reader.take(2)?).map_err(|_| Malformed(WHAT))?;
        regimes.push(text.parse().map_err(|_| Malformed(WHAT))?);
    }
    let bits = reader.byte()?;
    let mut noted = Noted { late: bits & 1 != 0, ..Noted::default() };
    if bits & 2 != 0 {
        for _ in 0..reader.u64()? {
            noted.kinds.push(kind_from(reader.byte()?)?);
        }
        for _ in 0..reader.u64()? {
            noted.realms.push(id(reader.text()?)?);
        }
    }
    let body_json: Option<Box<str>> = if reader.is_empty() { None } else { Some(reader.text()?.into()) };
    reader.end()?;
    let body = match &body_json {
        Some(json) => Some(Body::from_json(event_type, json).map_err(|_| Malformed(WHAT))?),
        None => None,
    };
    Ok(Shape {
        event_type,
        controller,
        emitter,
        service,
        activity,
        regimes,
        policy_version,
        noted,
        body_json,
        body,
    })
}

/// Shapes by number, from 1 on, in the order in which the log first had them.
#[derive(Debug, Default, Clone)]
pub struct Shapes {
    numbers: HashMap<Arc<[u8]>, u32>,
    list: Vec<Arc<Shape>>,
    bytes: u64,
    full: bool,
}

/// What the dictionary holds at most, so that memory stays flat whatever emitters say.
pub const SHAPES: usize = 1 << 16;
pub const SHAPE_BYTES: u64 = 32 * 1024 * 1024;

impl Shapes {
    pub fn number(&self, bytes: &[u8]) -> Option<u32> {
        self.numbers.get(bytes).copied()
    }

    /// `None` once the dictionary is full. What comes first stays, so that a rebuild, which sees
    /// the same shapes in the same order, numbers them alike.
    pub fn insert(&mut self, bytes: &[u8]) -> Result<Option<u32>, Malformed> {
        if self.full || self.list.len() >= SHAPES || self.bytes + bytes.len() as u64 > SHAPE_BYTES {
            self.full = true;
            return Ok(None);
        }
        self.list.push(Arc::new(decode(bytes)?));
        let number = self.list.len() as u32;
        self.bytes += bytes.len() as u64;
        self.numbers.insert(bytes.into(), number);
        Ok(Some(number))
    }

    /// The dictionary as it was stored. Whether it was full is stored beside it.
    pub fn restore(rows: impl Iterator<Item = Vec<u8>>, full: bool) -> Result<Shapes, Malformed> {
        let mut shapes = Shapes::default();
        for row in rows {
            shapes.insert(&row)?;
        }
        shapes.full = full;
        Ok(shapes)
    }

    pub fn is_full(&self) -> bool {
        self.full
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn get(&self, number: u32) -> Option<&Arc<Shape>> {
        self.list.get((number as usize).checked_sub(1)?)
    }

    /// All shapes with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Arc<Shape>)> {
        self.list.iter().enumerate().map(|(i, shape)| (i as u32 + 1, shape))
    }
}
