//! Events that custody itself records: what it opened, who read.

use std::sync::Arc;

use crate::app::App;
use crate::app::access::Caller;
use crate::app::error::Error;
use crate::app::fleet::Turn;
use crate::app::record::Receipt;
use crate::domain::event::catalogue::{LogOpened, RecordsRead};
use crate::domain::event::{ActorKind, Body, Envelope, Event, Person, ReadLevel, Role};
use crate::domain::id::{EventId, Id, SubjectId};
use crate::domain::identity::{Identifier, Kind};
use crate::domain::personal::Personal;
use crate::domain::time::Timestamp;
use crate::vault::Holder;

/// The emitter name of custody's own events. Nobody else may use it.
pub const EMITTER: &str = "custody";

/// An event about one person that custody is to record: its id, when it happened, what, and about whom.
pub(crate) type About = (EventId, Timestamp, Body, SubjectId);

/// What a caller says when it asks for sealed values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// A code of the organisation's, such as `access_request`.
    pub reason: Id,
    /// The ticket or case the read is for.
    pub ticket: Option<Id>,
}

impl App {
    /// The log's first event names the house. Does nothing where the log has begun.
    pub async fn open_house(&self) -> Result<(), Error> {
        if self.log.head() > 0 {
            return Ok(());
        }
        // Two nodes of a cluster may start at once.
        let _alone = self.fleet.exclude(Turn::Register).await?;
        if self.log.latest().await? > 0 {
            return Ok(());
        }
        let body = LogOpened {
            origin: self.house.origin.parse().ok(),
            region: self.house.region.as_str().parse().ok(),
            controller_group: Some(self.house.group.clone()),
            format_version: Some(crate::record::VERSION.into()),
            ..Default::default()
        };
        self.record_own(Body::LogOpened(Box::new(body)), Vec::new()).await.map(|_| ())
    }

    /// Records that sealed values of `subjects` people in `rows` records are about to be opened.
    /// The reader is a person with a part of their own; the people read about are not named, so
    /// that the event does not appear among theirs.
    pub(crate) async fn record_read(
        &self,
        caller: &Caller,
        rpc: &'static str,
        opening: &Opening,
        rows: u64,
        subjects: u64,
    ) -> Result<Receipt, Error> {
        self.record_read_at(caller, rpc, (ReadLevel::Opened, opening), rows, subjects).await
    }

    /// The same of a read that may open nothing.
    pub(crate) async fn record_read_at(
        &self,
        caller: &Caller,
        rpc: &'static str,
        (level, opening): (ReadLevel, &Opening),
        rows: u64,
        subjects: u64,
    ) -> Result<Receipt, Error> {
        let body = RecordsRead {
            rpc: rpc.parse().ok(),
            level: Some(level),
            rows: Some(rows),
            subjects: Some(subjects),
            reason: Some(opening.reason.clone()),
            ticket: opening.ticket.clone(),
            ..Default::default()
        };
        self.record_own(Body::RecordsRead(Box::new(body)), vec![staff(caller)]).await
    }

    /// The same about one person, by the keys; `id` names the event, so that it can be recorded again.
    pub(crate) async fn record_own_about(
        &self,
        id: EventId,
        body: Body,
        about: Option<Arc<Holder>>,
    ) -> Result<Receipt, Error> {
        let person = |_: &Arc<Holder>| Person { role: Role::DataSubject, identifiers: Vec::new() };
        let event = Event {
            envelope: self.own_envelope(id, ActorKind::System)?,
            people: about.iter().map(person).collect(),
            body,
        };
        self.record_about(event, about.as_slice()).await
    }

    /// The same about several people, with whoever of the staff answers for it.
    pub(crate) async fn record_own_about_many(
        &self,
        body: Body,
        about: &[Arc<Holder>],
        staff: Vec<Person>,
    ) -> Result<Receipt, Error> {
        let id = event_id(self.clock.now())?;
        let person = |_: &Arc<Holder>| Person { role: Role::DataSubject, identifiers: Vec::new() };
        let event = Event {
            envelope: self.own_envelope(id, ActorKind::Staff)?,
            people: about.iter().map(person).chain(staff).collect(),
            body,
        };
        self.record_about(event, about).await
    }

    /// Records events about one person each, in one batch; each says when it happened, and is named by its id. Of
    /// people who are erased meanwhile nothing is recorded.
    pub(crate) async fn record_own_each(&self, events: Vec<About>) -> Result<Vec<Receipt>, Error> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let subjects: Vec<SubjectId> = events.iter().map(|(.., subject)| *subject).collect();
        let holders = self.vault.holders(&subjects).await?;
        let mut about = Vec::with_capacity(events.len());
        for ((id, at, body, _), holder) in events.into_iter().zip(holders) {
            let Some(holder) = holder else { continue };
            let envelope = Envelope { occurred_at: at, ..self.own_envelope(id, ActorKind::System)? };
            let people = vec![Person { role: Role::DataSubject, identifiers: Vec::new() }];
            about.push((Event { envelope, people, body }, holder));
        }
        if about.is_empty() { Ok(Vec::new()) } else { self.record_about_each(about).await }
    }

    fn own_envelope(&self, id: EventId, actor: ActorKind) -> Result<Envelope, Error> {
        let emitter: Id = EMITTER.parse().map_err(|_| Error::internal("own_emitter"))?;
        Ok(Envelope {
            actor: Some(actor),
            ..Envelope::new(id, self.house.group.clone(), emitter, self.clock.now())
        })
    }

    pub(crate) async fn record_own(&self, body: Body, people: Vec<Person>) -> Result<Receipt, Error> {
        let (custody, event) = self.own_event(body, people)?;
        self.record(&custody, vec![Ok(event)])
            .await
            .pop()
            .unwrap_or_else(|| Err(Error::internal("no_answer")))
    }

    /// An event of custody's own, and custody as the one who records it.
    pub(crate) fn own_event(&self, body: Body, people: Vec<Person>) -> Result<(Caller, Event), Error> {
        let actor = if people.is_empty() { ActorKind::System } else { ActorKind::Staff };
        let envelope = self.own_envelope(event_id(self.clock.now())?, actor)?;
        Ok((Caller::custody(envelope.emitter.clone()), Event { envelope, people, body }))
    }
}

/// The caller as a person of an event, with a part of their own.
pub(crate) fn staff(caller: &Caller) -> Person {
    staff_named(&caller.name)
}

/// The same of somebody else of the staff, by name.
pub(crate) fn staff_named(name: &Id) -> Person {
    Person {
        role: Role::Staff,
        identifiers: vec![Identifier {
            kind: Kind::Account,
            realm: EMITTER.parse().ok(),
            value: Personal::new(name.to_string()),
        }],
    }
}

/// A UUIDv7 of the clock's own time.
pub(crate) fn event_id(now: Timestamp) -> Result<EventId, Error> {
    let salt = crate::record::Salt::random()?;
    let mut random = [0u8; 10];
    random.copy_from_slice(&salt.0[..10]);
    let ms = u64::try_from(now.ms()).unwrap_or_default();
    Ok(EventId(uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid()))
}
