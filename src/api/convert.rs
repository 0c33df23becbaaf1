//! From the API's messages to the domain and back: the only place where untrusted input is checked.
//!
//! Promises: whatever `event` returns is well formed in every field, and a refusal names every
//! violation of the event with its path and without repeating a value. It does not ask the clock, the
//! registers or the vault; `app` does. Unknown terms of open vocabularies pass.

mod body;
mod compound;
mod value;
mod violation;

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;

pub use value::{Field, Value};
pub use violation::{Path, Violation, Violations};

use crate::domain::event::check::check;
use crate::domain::event::{
    ActorKind, Body, Envelope, Event, List, Person, References, Role, TimeSource, Unset, Window,
};
use crate::domain::id::{Country, EventId, Id};
use crate::domain::identity::{self, Identifier, Kind};
use crate::domain::personal::Personal;
use crate::domain::time::Timestamp;
use crate::limits;
use crate::pb;

/// The country whose national form a telephone number has, by the service an event states.
pub type Home<'a> = &'a dyn Fn(Option<&Id>) -> Option<Country>;

/// Reads an event. `None` after a violation; all of them are in `violations`.
pub fn event(
    mut message: pb::Event,
    at: &Path<'_>,
    home: Home<'_>,
    violations: &mut Violations,
) -> Option<Event> {
    let before = violations.len();
    let people = std::mem::take(&mut message.people);
    let body = message.body.take();
    let envelope = envelope(message, at, violations);
    let service = envelope.as_ref().and_then(|envelope| envelope.service.as_ref());
    let people = read_people(people, &at.field("people"), &mut || home(service), violations);
    if body.is_none() {
        violations.add(&at.field("body"), "is required: the event says nothing of what happened");
    }
    let body = body.and_then(|body| Body::read(body, at, violations));
    if let Some(body) = &body {
        check(envelope.as_ref(), &people, body, &mut |field, why| violations.add_below(at, field, why));
    }
    let event = Event { envelope: envelope?, people, body: body? };
    (violations.len() == before).then_some(event)
}

/// The device's clock at sending, from which the server tells how far it is off.
pub fn sent_at(message: &pb::Event) -> Option<Timestamp> {
    Value::read(message.sent_at?, &Path::ROOT, &mut Violations::new())
}

/// Writes an event. Values of people are written as they stand in it; who may not see them leaves
/// `people[].identifiers` empty.
pub fn to_wire(event: &Event) -> pb::Event {
    let envelope = &event.envelope;
    pb::Event {
        event_id: envelope.event_id.to_string(),
        controller: envelope.controller.write(),
        emitter: envelope.emitter.write(),
        occurred_at: Some(Value::write(&envelope.occurred_at)),
        people: event.people.iter().map(write_person).collect(),
        service: envelope.service.write(),
        activity: envelope.activity.write(),
        time_source: envelope.time_source.number(),
        regimes: envelope.regimes.iter().map(Value::write).collect(),
        policy_version: envelope.policy_version.write(),
        window: envelope.window.write(),
        count: envelope.count.write(),
        sent_at: None,
        emitter_seq: envelope.emitter_seq.write(),
        backfill: envelope.backfill,
        import_id: envelope.import_id.write(),
        actor: envelope.actor.write(),
        actor_ref: envelope.personal.actor_ref.write(),
        correlation_id: envelope.personal.correlation_id.write(),
        causation_id: envelope.personal.causation_id.write(),
        body: Some(event.body.write()),
    }
}

/// An identifier's kind as the API numbers it.
pub fn kind_to_wire(kind: Kind) -> pb::IdentifierKind {
    match kind {
        Kind::Account => pb::IdentifierKind::Account,
        Kind::Openid => pb::IdentifierKind::Openid,
        Kind::Unionid => pb::IdentifierKind::Unionid,
        Kind::Phone => pb::IdentifierKind::Phone,
        Kind::Email => pb::IdentifierKind::Email,
        Kind::DeviceSerial => pb::IdentifierKind::DeviceSerial,
        Kind::Imei => pb::IdentifierKind::Imei,
        Kind::Oaid => pb::IdentifierKind::Oaid,
        Kind::AndroidId => pb::IdentifierKind::AndroidId,
        Kind::Mac => pb::IdentifierKind::Mac,
        Kind::Ip => pb::IdentifierKind::Ip,
        Kind::Station => pb::IdentifierKind::Station,
    }
}

/// Reads an identifier into its normal form. The outer `None` after a violation, the inner one for a
/// placeholder that identifies nobody.
pub fn identifier(
    wire: pb::Identifier,
    at: &Path<'_>,
    home: &mut dyn FnMut() -> Option<Country>,
    violations: &mut Violations,
) -> Option<Option<Identifier>> {
    let before = violations.len();
    let pb::Identifier { kind: number, realm, value } = wire;
    let value = Personal::new(value);
    let kind = kind_from_wire(number, &at.field("kind"), violations);
    let realm = Option::<Id>::read(realm, &at.field("realm"), violations);
    let value_at = at.field("value");
    if value.expose().is_empty() {
        violations.add(&value_at, "is required");
    } else if value.expose().len() > limits::IDENTIFIER_BYTES {
        violations.add(&value_at, "is longer than 320 bytes");
    }
    if violations.len() > before {
        return None;
    }
    let kind = kind?;
    let home = if kind == Kind::Phone { home() } else { None };
    let normal = identity::normalise(kind, realm, value.expose(), home);
    normal.map_err(|why| violations.add(&value_at, why.0)).ok()
}

fn kind_from_wire(number: i32, at: &Path<'_>, violations: &mut Violations) -> Option<Kind> {
    let kind = Kind::ALL.into_iter().find(|kind| kind_to_wire(*kind) as i32 == number);
    if kind.is_none() {
        let why = if number == 0 { "is required" } else { "is not a kind of identifier" };
        violations.add(at, why);
    }
    kind
}

/// Everything but the people and the body, which the caller has taken out.
fn envelope(message: pb::Event, at: &Path<'_>, violations: &mut Violations) -> Option<Envelope> {
    // Taken apart whole, so that a new field is not forgotten here.
    let pb::Event {
        event_id,
        controller,
        emitter,
        occurred_at,
        people: _,
        service,
        activity,
        time_source,
        regimes,
        policy_version,
        window,
        count,
        sent_at,
        emitter_seq,
        backfill,
        import_id,
        actor,
        actor_ref,
        correlation_id,
        causation_id,
        body: _,
    } = message;
    let mut read = Reader { at, violations };
    let event_id: Option<EventId> = read.required("event_id", event_id);
    let controller: Option<Id> = read.required("controller", controller);
    let emitter: Option<Id> = read.required("emitter", emitter);
    let window = read.field("window", window);
    let occurred_at = read.occurred_at(occurred_at, &window);
    let regimes: List<_, { limits::REGIMES }> = read.field("regimes", regimes);
    let _: Option<Timestamp> = read.field("sent_at", sent_at);
    let time_source: Option<TimeSource> = read.field("time_source", time_source);
    let service = read.field("service", service);
    let activity = read.field("activity", activity);
    let policy_version = read.field("policy_version", policy_version);
    let count = read.field("count", count);
    let emitter_seq = read.field("emitter_seq", emitter_seq);
    let import_id = read.field("import_id", import_id);
    let actor: Option<ActorKind> = read.field("actor", actor);
    let personal = References {
        actor_ref: read.field("actor_ref", actor_ref),
        correlation_id: read.field("correlation_id", correlation_id),
        causation_id: read.field("causation_id", causation_id),
    };
    Some(Envelope {
        event_id: event_id?,
        controller: controller?,
        emitter: emitter?,
        emitter_seq,
        service,
        activity,
        regimes: regimes.to_vec(),
        policy_version,
        occurred_at: occurred_at?,
        time_source: time_source.unwrap_or(TimeSource::Server),
        clock_offset: None,
        window,
        count,
        backfill,
        import_id,
        actor,
        personal,
    })
}

/// Reads the fields of one message.
struct Reader<'a, 'p> {
    at: &'a Path<'p>,
    violations: &'a mut Violations,
}

impl Reader<'_, '_> {
    fn field<W, T: Field<W>>(&mut self, name: &'static str, wire: W) -> T {
        T::read(wire, &self.at.field(name), self.violations)
    }

    fn required<W, T>(&mut self, name: &'static str, wire: W) -> Option<T>
    where
        Option<T>: Field<W> + Unset,
    {
        let before = self.violations.len();
        let value: Option<T> = self.field(name, wire);
        if value.is_unset() && self.violations.len() == before {
            self.violations.add(&self.at.field(name), "is required");
        }
        value
    }

    /// Of a batched event the end of its window, which need not be said twice.
    fn occurred_at(
        &mut self,
        wire: Option<prost_types::Timestamp>,
        window: &Option<Window>,
    ) -> Option<Timestamp> {
        match (wire, window) {
            (None, Some(window)) => Some(window.to),
            (wire, _) => self.required("occurred_at", wire),
        }
    }
}

fn read_people(
    wire: Vec<pb::Person>,
    at: &Path<'_>,
    home: &mut dyn FnMut() -> Option<Country>,
    violations: &mut Violations,
) -> Vec<Person> {
    if wire.len() > limits::PEOPLE {
        violations.add(at, format!("has {} people, at most {} are allowed", wire.len(), limits::PEOPLE));
        return Vec::new();
    }
    let mut people = Vec::with_capacity(wire.len());
    for (index, person) in wire.into_iter().enumerate() {
        people.extend(read_person(person, &at.index(index), home, violations));
    }
    people
}

fn read_person(
    wire: pb::Person,
    at: &Path<'_>,
    home: &mut dyn FnMut() -> Option<Country>,
    violations: &mut Violations,
) -> Option<Person> {
    let pb::Person { role, identifiers: wire } = wire;
    let role = Role::read(role, &at.field("role"), violations);
    let at = at.field("identifiers");
    if wire.is_empty() {
        violations.add(&at, "is required: nobody is named");
    }
    if wire.len() > limits::IDENTIFIERS {
        violations
            .add(&at, format!("has {} values, at most {} are allowed", wire.len(), limits::IDENTIFIERS));
        return None;
    }
    let mut identifiers = Vec::with_capacity(wire.len());
    for (index, one) in wire.into_iter().enumerate() {
        identifiers.extend(identifier(one, &at.index(index), home, violations).flatten());
    }
    Some(Person { role: role?, identifiers })
}

/// Writes an identifier with its value.
pub fn identifier_to_wire(identifier: &Identifier) -> pb::Identifier {
    pb::Identifier {
        kind: kind_to_wire(identifier.kind).into(),
        realm: identifier.realm.write(),
        value: identifier.value.expose().clone(),
    }
}

fn write_person(person: &Person) -> pb::Person {
    let identifiers = person.identifiers.iter().map(identifier_to_wire);
    pb::Person { role: person.role.number(), identifiers: identifiers.collect() }
}
