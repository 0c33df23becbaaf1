//! Events as they were recorded.

use std::collections::HashMap;
use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::api::convert::{self, Field, Path, Value, Violations};
use crate::api::guard::Call;
use crate::api::page::Token;
use crate::api::retractions;
use crate::api::terms::{maybe, time};
use crate::app::error::FieldViolation;
use crate::app::subjects::Evidence;
use crate::app::{App, Error};
use crate::domain::event::catalogue::Fields;
use crate::domain::event::{Body, Event, EventType, Place, Sealed, Unset, Visit};
use crate::domain::id::{EventId, Id};
use crate::domain::time::Timestamp;
use crate::limits;
use crate::pb;
use crate::pb::event_service_server::{EventService, EventServiceServer};
use crate::record::{Header, PartRole};
use crate::views::EventView;
use crate::views::list::{Cursor, Filter};

/// Events of a page where nobody says how many.
const PAGE: usize = 100;

pub struct Events {
    app: Arc<App>,
}

impl Events {
    pub fn new(app: Arc<App>) -> Self {
        Events { app }
    }

    pub fn into_server(self) -> EventServiceServer<Self> {
        EventServiceServer::new(self).max_decoding_message_size(limits::MESSAGE_BYTES)
    }
}

#[tonic::async_trait]
impl EventService for Events {
    async fn get_event(
        &self,
        request: Request<pb::GetEventRequest>,
    ) -> Result<Response<pb::GetEventResponse>, Status> {
        let call = Call::of(&request)?;
        let event = self.get(request.into_inner()).await.map_err(|e| call.status(e))?;
        Ok(Response::new(pb::GetEventResponse { event: Some(event) }))
    }

    async fn list_events(
        &self,
        request: Request<pb::ListEventsRequest>,
    ) -> Result<Response<pb::ListEventsResponse>, Status> {
        let call = Call::of(&request)?;
        let page = self.list(request.into_inner()).await.map_err(|e| call.status(e))?;
        Ok(Response::new(page))
    }

    async fn retract_events(
        &self,
        request: Request<pb::RetractEventsRequest>,
    ) -> Result<Response<pb::RetractEventsResponse>, Status> {
        let call = Call::of(&request)?;
        let taken_back = retractions::retract(&self.app, &call, request.into_inner()).await;
        Ok(Response::new(taken_back.map_err(|e| call.status(e))?))
    }
}

impl Events {
    async fn get(&self, request: pb::GetEventRequest) -> Result<pb::EventRecord, Error> {
        let position = match request.name {
            Some(pb::get_event_request::Name::Position(position)) => position,
            Some(pb::get_event_request::Name::EventName(name)) => {
                let emitter: Id =
                    name.emitter.parse().map_err(|why| Error::invalid("event_name.emitter", why))?;
                let id: EventId =
                    name.event_id.parse().map_err(|why| Error::invalid("event_name.event_id", why))?;
                self.app.position_of(emitter, id).await?
            }
            None => return Err(Error::invalid("name", "is required")),
        };
        event_record(self.app.event(position).await?)
    }

    async fn list(&self, request: pb::ListEventsRequest) -> Result<pb::ListEventsResponse, Error> {
        let order = request.order();
        let wanted = request.filter.unwrap_or_default();
        let question = format!("{wanted:?} {order:?}");
        let mut violations = Violations::new();
        let without_retracted = wanted.without_retracted;
        let filter = filter(wanted, order, &mut violations);
        done(violations)?;
        let cursor = Token::read(&request.page_token, &question)?.map(Cursor);
        let page = self.app.list(filter, cursor, page_size(request.page_size), request.at_least).await?;
        let events = page.events.into_iter().filter(|view| !without_retracted || view.retracted_by.is_none());
        Ok(pb::ListEventsResponse {
            events: events.map(event_record).collect::<Result<_, _>>()?,
            next_page_token: page.next.map(|next| Token::write(next.0, &question)).unwrap_or_default(),
            computed_at: page.applied,
        })
    }
}

pub(crate) fn filter(wire: pb::EventFilter, order: pb::Order, violations: &mut Violations) -> Filter {
    let root = Path::ROOT;
    let at = root.field("filter");
    let mut ids = |values: &[String], name: &'static str| list::<Id>(values, &at.field(name), violations);
    Filter {
        emitters: ids(&wire.emitters, "emitters"),
        services: ids(&wire.services, "services"),
        activities: ids(&wire.activities, "activities"),
        purposes: ids(&wire.purposes, "purposes"),
        recipients: ids(&wire.recipients, "recipients"),
        categories: ids(&wire.categories, "categories"),
        countries: list(&wire.countries, &at.field("countries"), violations),
        types: types(&wire.types, violations),
        occurred_from: instant(wire.occurred_from, "filter.occurred_from", violations),
        occurred_to: instant(wire.occurred_to, "filter.occurred_to", violations),
        recorded_from: instant(wire.recorded_from, "filter.recorded_from", violations),
        recorded_to: instant(wire.recorded_to, "filter.recorded_to", violations),
        position_from: wire.position_from,
        known_at: wire.position_to,
        oldest_first: order == pb::Order::OldestFirst,
    }
}

fn list<T: std::str::FromStr>(values: &[String], at: &Path<'_>, violations: &mut Violations) -> Vec<T>
where
    T::Err: std::fmt::Display,
{
    let mut read = Vec::with_capacity(values.len());
    for (n, value) in values.iter().enumerate() {
        match value.parse() {
            Ok(value) => read.push(value),
            Err(why) => violations.add(&at.index(n), format!("{why}")),
        }
    }
    read
}

/// Event types by name; an unknown one is a violation.
pub(crate) fn types(names: &[String], violations: &mut Violations) -> Vec<EventType> {
    let mut types = Vec::with_capacity(names.len());
    for (n, name) in names.iter().enumerate() {
        match EventType::from_name(name) {
            Some(event_type) => types.push(event_type),
            None => violations.add(&Path::ROOT.field("types").index(n), "is not an event type"),
        }
    }
    types
}

pub(crate) fn instant(
    wire: Option<prost_types::Timestamp>,
    field: &'static str,
    violations: &mut Violations,
) -> Option<Timestamp> {
    Value::read(wire?, &Path::ROOT.field(field), violations)
}

/// The API's position counts itself in; the views' is the first one that is left out.
pub(crate) fn known_before(known_at: Option<u64>) -> Option<u64> {
    known_at.map(|position| position.saturating_add(1))
}

pub(crate) fn page_size(wanted: u32) -> usize {
    if wanted == 0 { PAGE } else { (wanted as usize).min(limits::PAGE) }
}

/// Refuses a request with every violation in it.
pub(crate) fn done(violations: Violations) -> Result<(), Error> {
    let all: Vec<FieldViolation> =
        violations.into_vec().into_iter().map(|v| FieldViolation::new(v.field, v.description)).collect();
    if all.is_empty() { Ok(()) } else { Err(Error::Invalid(all)) }
}

/// An event of all, with its exact header line.
fn event_record(view: EventView) -> Result<pb::EventRecord, Error> {
    let header = Header::parse(&view.record.header)?;
    let parts = header.parts.iter().enumerate().map(|(i, part)| pb::RecordPart {
        role: match part.role {
            PartRole::Person(role) => role.number(),
            PartRole::Matter | PartRole::Nobody => 0,
        },
        role_name: part.role.to_string(),
        tag: part.tag.to_vec().into(),
        index_present: matches!(view.record.pieces.get(header.index_piece(i)), Some(Some(_))),
        sealed_present: (0..part.boxes.len())
            .any(|b| matches!(view.record.pieces.get(header.box_piece(i, b)), Some(Some(_)))),
        sealed_bytes: part.boxes.iter().map(|sealed| sealed.padded).sum(),
    });
    let parts = parts.collect();
    let (recorded_at, clock_offset_ms) = (time(header.recorded_at), header.envelope.clock_offset);
    Ok(pb::EventRecord {
        position: view.position,
        leaf_hash: view.leaf.0.to_vec().into(),
        header: view.record.header.clone(),
        event: Some(wire_event(&view, &view.body)),
        recorded_at,
        clock_offset_ms,
        parts,
        retracted_by: view.retracted_by,
    })
}

/// An event of one person, with what was opened of it.
pub(crate) fn evidence_event(evidence: Evidence) -> pb::EvidenceEvent {
    let Evidence { view, opened, closed } = evidence;
    pb::EvidenceEvent {
        position: view.position,
        event_id: view.envelope.event_id.to_string(),
        r#type: view.event_type.as_str().to_string(),
        occurred_at: time(view.envelope.occurred_at),
        recorded_at: time(view.recorded_at),
        emitter: view.envelope.emitter.to_string(),
        service: maybe(&view.envelope.service),
        activity: maybe(&view.envelope.activity),
        role: view.role().map_or(0, |role| role.number()),
        event: Some(wire_event(&view, &view.body)),
        opened: opened.as_ref().map(sealed_fields).unwrap_or_default(),
        closed: closed.unwrap_or_default().to_string(),
        retracted_by: view.retracted_by,
        window: view.envelope.window.write(),
        leaf_hash: view.leaf.0.to_vec().into(),
    }
}

fn wire_event(view: &EventView, body: &Body) -> pb::Event {
    convert::to_wire(&Event { envelope: view.envelope.clone(), people: Vec::new(), body: body.clone() })
}

/// The sealed fields of an opened body, by name.
fn sealed_fields(body: &Body) -> HashMap<String, String> {
    struct Opened(HashMap<String, String>);
    impl Visit for Opened {
        fn open<T: serde::Serialize + Unset>(&mut self, _: Place, _: &'static str, _: &T) {}
        fn sealed(&mut self, _: Place, name: &'static str, value: &Sealed) {
            if let Some(value) = value {
                self.0.insert(name.to_string(), value.expose().clone());
            }
        }
    }
    let mut opened = Opened(HashMap::new());
    body.visit(&mut opened);
    opened.0
}

/// One field of a request, read from its text.
pub(crate) fn read<T: std::str::FromStr>(field: &'static str, text: &str) -> Result<T, Error>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|why: T::Err| Error::invalid(field, why))
}
