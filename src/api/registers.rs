//! The registers.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::api::convert::{self, Path, Value, Violations};
use crate::api::events::{done, instant, known_before, page_size};
use crate::api::guard::Call;
use crate::api::ingest::told;
use crate::api::page::Token;
use crate::api::terms::{maybe, time};
use crate::app::error::FieldViolation;
use crate::app::registers::{Applied, Basis, Became, Import, Outcome, Proposed, Wanted, When, event_id};
use crate::app::{App, Error};
use crate::domain::event::{ActorKind, Event, RegisterKind, RegisterState};
use crate::domain::id::Id;
use crate::domain::register::book::give_reason;
use crate::domain::register::diff::Change;
use crate::domain::register::{Contradiction, keeps};
use crate::domain::time::Timestamp;
use crate::pb::register_service_server::{RegisterService, RegisterServiceServer};
use crate::views::book::{Entry, Line};
use crate::{limits, pb};

pub struct Registers {
    app: Arc<App>,
}

impl Registers {
    pub fn new(app: Arc<App>) -> Self {
        Registers { app }
    }

    pub fn into_server(self) -> RegisterServiceServer<Self> {
        RegisterServiceServer::new(self).max_decoding_message_size(limits::MESSAGE_BYTES)
    }
}

#[tonic::async_trait]
impl RegisterService for Registers {
    async fn list_register_entries(
        &self,
        request: Request<pb::ListRegisterEntriesRequest>,
    ) -> Result<Response<pb::ListRegisterEntriesResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(self.list(request.into_inner()).await.map_err(|e| call.status(e))?))
    }

    async fn get_register_entry(
        &self,
        request: Request<pb::GetRegisterEntryRequest>,
    ) -> Result<Response<pb::GetRegisterEntryResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(self.get(request.into_inner()).await.map_err(|e| call.status(e))?))
    }

    async fn list_register_history(
        &self,
        request: Request<pb::ListRegisterHistoryRequest>,
    ) -> Result<Response<pb::ListRegisterHistoryResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(self.history(request.into_inner()).await.map_err(|e| call.status(e))?))
    }

    async fn apply_register_entries(
        &self,
        request: Request<pb::ApplyRegisterEntriesRequest>,
    ) -> Result<Response<pb::ApplyRegisterEntriesResponse>, Status> {
        let call = Call::of(&request)?;
        let applied = self.apply(&call, request.into_inner()).await.map_err(|e| call.status(e))?;
        Ok(Response::new(applied_to_wire(applied)))
    }
}

impl Registers {
    async fn list(
        &self,
        request: pb::ListRegisterEntriesRequest,
    ) -> Result<pb::ListRegisterEntriesResponse, Error> {
        let (kind, ids, states, as_of) = (request.kind, &request.ids, &request.states, &request.as_of);
        let question = format!("register {kind} {ids:?} {states:?} {as_of:?} {:?}", request.known_at);
        let mut violations = Violations::new();
        let kind = read_kind(request.kind, &mut violations);
        let as_of = instant(request.as_of, "as_of", &mut violations);
        let root = Path::ROOT;
        if request.ids.len() > limits::PAGE {
            violations.add(&root.field("ids"), "has more than 1,000 values");
        }
        let at = root.field("states");
        let states = request
            .states
            .iter()
            .enumerate()
            .filter_map(|(n, state)| RegisterState::read(*state, &at.index(n), &mut violations))
            .collect();
        done(violations)?;
        let wanted = Wanted {
            kind: kind.ok_or_else(|| Error::invalid("kind", "is required"))?,
            ids: request.ids,
            states,
            when: When { as_of, known_at: known_before(request.known_at), at_least: request.at_least },
            start: Token::read(&request.page_token, &question)?.unwrap_or(0) as usize,
            limit: page_size(request.page_size),
        };
        let end = (wanted.start + wanted.limit) as u64;
        let page = self.app.register_entries(wanted).await?;
        let next = page.more.then(|| Token::write(end, &question));
        Ok(pb::ListRegisterEntriesResponse {
            entries: page.items.into_iter().map(entry_to_wire).collect(),
            next_page_token: next.unwrap_or_default(),
            computed_from: Some(basis(page.from)),
        })
    }

    async fn get(&self, request: pb::GetRegisterEntryRequest) -> Result<pb::GetRegisterEntryResponse, Error> {
        let mut violations = Violations::new();
        let kind = read_kind(request.kind, &mut violations);
        let as_of = instant(request.as_of, "as_of", &mut violations);
        required("id", &request.id, &mut violations);
        done(violations)?;
        let kind = kind.ok_or_else(|| Error::invalid("kind", "is required"))?;
        let when = When { as_of, known_at: known_before(request.known_at), at_least: request.at_least };
        let (entry, from) = self.app.register_entry(kind, request.id, when).await?;
        Ok(pb::GetRegisterEntryResponse {
            entry: Some(entry_to_wire(entry)),
            computed_from: Some(basis(from)),
        })
    }

    async fn history(
        &self,
        request: pb::ListRegisterHistoryRequest,
    ) -> Result<pb::ListRegisterHistoryResponse, Error> {
        let question = format!("history {} {} {:?}", request.kind, request.id, request.known_at);
        let mut violations = Violations::new();
        let kind = read_kind(request.kind, &mut violations);
        required("id", &request.id, &mut violations);
        done(violations)?;
        let kind = kind.ok_or_else(|| Error::invalid("kind", "is required"))?;
        let start = Token::read(&request.page_token, &question)?.unwrap_or(0) as usize;
        let limit = page_size(request.page_size);
        let when = When { as_of: None, known_at: known_before(request.known_at), at_least: request.at_least };
        let page = self.app.register_history(kind, request.id, when, (start, limit)).await?;
        let next = page.more.then(|| Token::write((start + limit) as u64, &question));
        Ok(pb::ListRegisterHistoryResponse {
            versions: page.items.into_iter().map(line_to_wire).collect(),
            next_page_token: next.unwrap_or_default(),
            computed_from: Some(basis(page.from)),
        })
    }

    async fn apply(&self, call: &Call, request: pb::ApplyRegisterEntriesRequest) -> Result<Applied, Error> {
        let mut violations = Violations::new();
        let root = Path::ROOT;
        if !(1..=limits::BATCH_EVENTS).contains(&request.entries.len()) {
            violations.add(&root.field("entries"), "is empty, or holds more than 1,000");
        }
        let id: Option<Id> =
            convert::Field::read(request.import_id, &root.field("import_id"), &mut violations);
        if id.is_none() && violations.is_empty() && !request.check_only {
            violations.add(&root.field("import_id"), "is required: by it a repetition is known");
        }
        let reason = reason(request.reason, &mut violations);
        let at = instant(request.occurred_at, "occurred_at", &mut violations);
        done(violations)?;
        let own = call.caller.emitters.first().unwrap_or(&call.caller.name).to_string();
        let stated = Stated {
            controller: request.controller,
            emitter: if request.emitter.is_empty() { own } else { request.emitter },
            at: at.unwrap_or_else(|| self.app.now()),
            dated: at.is_some(),
            id: id.clone(),
            reason,
        };
        let entries = request.entries.into_iter().enumerate();
        let entries = entries.map(|(n, event)| self.read(call, event, n, &stated)).collect();
        let import = Import { entries, id, dated: at.is_some(), check_only: request.check_only };
        self.app.apply_registers(&call.caller, import).await
    }

    /// One entry, with what the request says of all.
    fn read(&self, call: &Call, mut event: pb::Event, n: usize, stated: &Stated) -> Proposed {
        let fill = |field: &mut String, with: &str| {
            if field.is_empty() {
                with.clone_into(field);
            }
        };
        fill(&mut event.controller, &stated.controller);
        fill(&mut event.emitter, &stated.emitter);
        if event.occurred_at.is_none() {
            (event.occurred_at, event.backfill) = (time(stated.at), event.backfill || stated.dated);
        }
        if event.actor == 0 {
            event.actor = ActorKind::Staff.number();
        }
        let id = stated.id.as_ref();
        fill(&mut event.import_id, id.map(Id::as_str).unwrap_or_default());
        // What is only checked has a name of its own, which is kept nowhere.
        let import = event.import_id.parse().or_else(|_| "check".parse());
        if let (Ok(import), Ok(emitter)) = (import, event.emitter.parse()) {
            fill(&mut event.event_id, &event_id(&import, &emitter, n).to_string());
        }
        let mut violations = Violations::new();
        let home = |_: Option<&Id>| self.app.home_country(&call.caller);
        let read = convert::event(event, &Path::ROOT, &home, &mut violations);
        match read {
            Some(mut event) if violations.is_empty() => {
                if let Some(reason) = &stated.reason {
                    give_reason(&mut event.body, reason);
                }
                of_a_register(event)
            }
            _ => Err(violations
                .into_vec()
                .into_iter()
                .map(|v| FieldViolation::new(v.field, v.description))
                .collect()),
        }
    }
}

/// Why something is recorded: a code, never running text.
pub(crate) fn reason(text: String, violations: &mut Violations) -> Option<Id> {
    let (root, before) = (Path::ROOT, violations.len());
    let at = root.field("reason");
    let reason: Option<Id> = convert::Field::read(text, &at, violations);
    if violations.len() == before
        && reason.as_ref().is_some_and(|reason| reason.as_str().bytes().any(|b| b.is_ascii_uppercase()))
    {
        violations.add(&at, "is not a lower-case code");
    }
    reason
}

/// What a request says of all its entries.
struct Stated {
    controller: String,
    emitter: String,
    at: Timestamp,
    dated: bool,
    id: Option<Id>,
    reason: Option<Id>,
}

fn of_a_register(event: Event) -> Proposed {
    if keeps(event.body.event_type()) {
        return Ok(event);
    }
    Err(vec![FieldViolation::new(event.body.event_type().field(), "is an event of no register")])
}

fn read_kind(number: i32, violations: &mut Violations) -> Option<RegisterKind> {
    RegisterKind::read(number, &Path::ROOT.field("kind"), violations)
}

fn required(field: &'static str, text: &str, violations: &mut Violations) {
    if text.is_empty() {
        violations.add(&Path::ROOT.field(field), "is required");
    }
}

fn basis(from: Basis) -> pb::RegisterBasis {
    pb::RegisterBasis { computed_at: from.applied, as_of: time(from.as_of) }
}

fn entry_to_wire(entry: Entry) -> pb::RegisterEntry {
    pb::RegisterEntry {
        kind: entry.kind.number(),
        id: entry.id,
        state: entry.state.number(),
        version: Some(line_to_wire(entry.version)),
        stopped_by: entry.stopped_by.map(line_to_wire),
        versions: entry.versions as u64,
    }
}

fn line_to_wire(line: Line) -> pb::RegisterVersion {
    let version = &line.version;
    let event = Event { envelope: version.envelope.clone(), people: Vec::new(), body: version.body.clone() };
    pb::RegisterVersion {
        position: version.position,
        recorded_at: time(version.recorded_at),
        event: Some(convert::to_wire(&event)),
        effective_from: Some(version.from).filter(|from| *from != Timestamp::FIRST).and_then(time),
        effective_to: line.to.and_then(time),
        reason: maybe(&version.reason().cloned()),
        retracted_by: line.retracted_by,
        annulled_by: line.annulled_by,
        changes: line.changes.into_iter().map(change_to_wire).collect(),
    }
}

fn change_to_wire(change: Change) -> pb::FieldChange {
    pb::FieldChange { field: change.field, before: change.before, after: change.after }
}

fn applied_to_wire(applied: Applied) -> pb::ApplyRegisterEntriesResponse {
    pb::ApplyRegisterEntriesResponse {
        outcomes: applied.outcomes.into_iter().map(outcome_to_wire).collect(),
        applied: applied.applied,
        computed_at: applied.computed_at,
    }
}

fn outcome_to_wire(outcome: Outcome) -> pb::RegisterOutcome {
    let result = match outcome.result {
        Became::Unchanged => pb::RegisterResult::Unchanged,
        Became::New => pb::RegisterResult::New,
        Became::Changed => pb::RegisterResult::Changed,
        Became::Refused => pb::RegisterResult::Refused,
    };
    let (kind, id) = outcome.entry.map(|(kind, id)| (kind.number(), id)).unwrap_or_default();
    let violation = |v: FieldViolation| pb::FieldViolation { field: v.field, description: v.description };
    pb::RegisterOutcome {
        kind,
        id,
        result: result.into(),
        changes: outcome.changes.into_iter().map(change_to_wire).collect(),
        contradictions: outcome.contradictions.iter().map(contradiction_to_wire).collect(),
        violations: outcome.violations.into_iter().map(violation).collect(),
        receipt: outcome.receipt.as_ref().map(told),
    }
}

fn contradiction_to_wire(found: &Contradiction) -> pb::Contradiction {
    pb::Contradiction {
        field: found.field.clone(),
        reason: found.reason.number(),
        kind: found.kind.number(),
        id: found.id.clone(),
        position: found.position,
        description: found.to_string(),
    }
}
