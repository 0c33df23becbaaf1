//! Instructions, as those who carry them out ask for them and answer them.

mod answer;
mod whole;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::api::convert::{self, Field, Path, Value, Violations};
use crate::api::events::{done, instant, page_size, read};
use crate::api::guard::Call;
use crate::api::page::Token;
use crate::api::subjects;
use crate::api::terms::{maybe, number, time};
use crate::app::instructions::{Order, Told, Wanted};
use crate::app::{App, Error, Role};
use crate::domain::datum::{Selector, SlotSelector};
use crate::domain::event::{InstructionAnswer, InstructionKind};
use crate::domain::id::Id;
use crate::domain::instruction::State;
use crate::limits;
use crate::pb;
use crate::pb::instruction_service_server::{InstructionService, InstructionServiceServer};
use crate::views::instructions::{Behind, Open};

/// For how long something is in somebody's hands unless stated, at least, and at most.
const LEASE: Duration = Duration::from_secs(600);
const LEASE_LEAST: Duration = Duration::from_secs(1);
const LEASE_MOST: Duration = Duration::from_secs(86_400);
/// How soon one who watches is told of what somebody else let go.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Messages that wait for a caller who watches.
const WAITING: usize = 2;

pub struct Instructions {
    app: Arc<App>,
}

impl Instructions {
    pub fn new(app: Arc<App>) -> Self {
        Instructions { app }
    }

    pub fn into_server(self) -> InstructionServiceServer<Self> {
        InstructionServiceServer::new(self).max_decoding_message_size(limits::MESSAGE_BYTES)
    }
}

type Watched = Pin<Box<dyn Stream<Item = Result<pb::WatchInstructionsResponse, Status>> + Send>>;

#[tonic::async_trait]
impl InstructionService for Instructions {
    type WatchInstructionsStream = Watched;
    type BeginServiceStream = whole::Answers<pb::BeginServiceResponse>;
    type AcknowledgeServiceStream = whole::Answers<pb::AcknowledgeServiceResponse>;

    async fn list_instructions(
        &self,
        request: Request<pb::ListInstructionsRequest>,
    ) -> Result<Response<pb::ListInstructionsResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.list(&call, request.into_inner()).await.map_err(|e| call.status(e))?;
        Ok(Response::new(answer))
    }

    async fn take_instructions(
        &self,
        request: Request<pb::TakeInstructionsRequest>,
    ) -> Result<Response<pb::TakeInstructionsResponse>, Status> {
        let call = Call::of(&request)?;
        let pb::TakeInstructionsRequest { addressee, max_instructions, lease } = request.into_inner();
        let taking = taking(&call, &addressee, max_instructions, lease).map_err(|e| call.status(e))?;
        let instructions = taking.take(&self.app, &call).await.map_err(|e| call.status(e))?;
        Ok(Response::new(pb::TakeInstructionsResponse { instructions }))
    }

    async fn watch_instructions(
        &self,
        request: Request<pb::WatchInstructionsRequest>,
    ) -> Result<Response<Self::WatchInstructionsStream>, Status> {
        let call = Call::of(&request)?;
        let pb::WatchInstructionsRequest { addressee, max_instructions, lease } = request.into_inner();
        let taking = taking(&call, &addressee, max_instructions, lease).map_err(|e| call.status(e))?;
        let (told, answers) = mpsc::channel(WAITING);
        let app = Arc::clone(&self.app);
        tokio::spawn(async move {
            // Whoever left is noticed before anything is put into its hands.
            while let Ok(room) = told.reserve().await {
                match taking.take(&app, &call).await {
                    Ok(instructions) if instructions.is_empty() => {
                        drop(room);
                        if app.is_called_off() {
                            return;
                        }
                        tokio::select! {
                            () = told.closed() => return,
                            () = app.news(LOOK_AGAIN) => {}
                        }
                    }
                    Ok(instructions) => room.send(Ok(pb::WatchInstructionsResponse { instructions })),
                    Err(error) => return room.send(Err(call.status(error))),
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn begin_instruction(
        &self,
        request: Request<pb::BeginInstructionRequest>,
    ) -> Result<Response<pb::BeginInstructionResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.begin(&call, request.into_inner()).await.map_err(|e| call.status(e))?;
        Ok(Response::new(answer))
    }

    async fn acknowledge_instruction(
        &self,
        request: Request<pb::AcknowledgeInstructionRequest>,
    ) -> Result<Response<pb::AcknowledgeInstructionResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.acknowledge(&call, request.into_inner()).await.map_err(|e| call.status(e))?;
        Ok(Response::new(answer))
    }

    async fn begin_service(
        &self,
        request: Request<pb::BeginServiceRequest>,
    ) -> Result<Response<Self::BeginServiceStream>, Status> {
        let call = Call::of(&request)?;
        let answers = self.begin_all(call.clone(), request.into_inner()).await;
        Ok(Response::new(answers.map_err(|e| call.status(e))?))
    }

    async fn acknowledge_service(
        &self,
        request: Request<pb::AcknowledgeServiceRequest>,
    ) -> Result<Response<Self::AcknowledgeServiceStream>, Status> {
        let call = Call::of(&request)?;
        let answers = self.acknowledge_all(call.clone(), request.into_inner()).await;
        Ok(Response::new(answers.map_err(|e| call.status(e))?))
    }

    async fn issue_instructions(
        &self,
        request: Request<pb::IssueInstructionsRequest>,
    ) -> Result<Response<pb::IssueInstructionsResponse>, Status> {
        let call = Call::of(&request)?;
        let issued = self.issue(&call, request.into_inner()).await.map_err(|e| call.status(e))?;
        let instructions = issued.into_iter().map(|open| instruction(&call, told(open))).collect();
        Ok(Response::new(pb::IssueInstructionsResponse { instructions }))
    }

    async fn reassign_instruction(
        &self,
        request: Request<pb::ReassignInstructionRequest>,
    ) -> Result<Response<pb::ReassignInstructionResponse>, Status> {
        let call = Call::of(&request)?;
        let pb::ReassignInstructionRequest { instruction_id, from, to } = request.into_inner();
        let reassigned = async {
            let (id, from): (Id, Id) = (read("instruction_id", &instruction_id)?, read("from", &from)?);
            self.app.reassign(&from, &id, read("to", &to)?).await
        };
        let open = reassigned.await.map_err(|e| call.status(e))?;
        Ok(Response::new(pb::ReassignInstructionResponse {
            instruction: Some(instruction(&call, told(open))),
        }))
    }
}

/// What somebody takes into its hands.
struct Taking {
    addressee: Id,
    limit: usize,
    lease_ms: i64,
}

fn taking(
    call: &Call,
    addressee: &str,
    max: u32,
    lease: Option<prost_types::Duration>,
) -> Result<Taking, Error> {
    let addressee = read("addressee", addressee)?;
    call.caller.may_answer_for(&addressee)?;
    let lease = lease.map_or(Ok(LEASE), Duration::try_from);
    let lease = lease.ok().filter(|lease| (LEASE_LEAST..=LEASE_MOST).contains(lease));
    let lease =
        lease.ok_or_else(|| Error::invalid("lease", "is shorter than a second, or longer than a day"))?;
    Ok(Taking { addressee, limit: page_size(max), lease_ms: lease.as_millis() as i64 })
}

impl Taking {
    async fn take(&self, app: &App, call: &Call) -> Result<Vec<pb::Instruction>, Error> {
        let taken = app.take_instructions(&self.addressee, self.limit, self.lease_ms).await?;
        Ok(taken.into_iter().map(|told| instruction(call, told)).collect())
    }
}

impl Instructions {
    async fn list(
        &self,
        call: &Call,
        request: pb::ListInstructionsRequest,
    ) -> Result<pb::ListInstructionsResponse, Error> {
        let question = format!("instructions {} {:?}", request.addressee, request.due_by);
        let mut violations = Violations::new();
        let due_by = instant(request.due_by, "due_by", &mut violations);
        done(violations)?;
        let addressee: Option<Id> = match request.addressee.as_str() {
            "" => None,
            text => Some(read("addressee", text)?),
        };
        let sees_all = call.caller.has(Role::Officer) || call.caller.has(Role::Auditor);
        match &addressee {
            Some(addressee) if !sees_all => call.caller.may_answer_for(addressee)?,
            None if !sees_all => return Err(Error::invalid("addressee", "is required")),
            _ => {}
        }
        if request.subject.is_some() {
            return self.of_person(call, request, sees_all).await;
        }
        let behind = Token::read_place(&request.page_token, &question)?.map(|place| behind(&place));
        let wanted = Wanted {
            addressee,
            due_by,
            behind: behind.transpose()?,
            limit: page_size(request.page_size),
            at_least: request.at_least,
        };
        let (told, next) = self.app.open_instructions(wanted).await?;
        let token = next.map(|(addressee, id)| format!("{addressee}\0{id}"));
        Ok(pb::ListInstructionsResponse {
            instructions: told.into_iter().map(|told| instruction(call, told)).collect(),
            next_page_token: token
                .map(|place| Token::write_place(place.as_bytes(), &question))
                .unwrap_or_default(),
        })
    }

    /// Every instruction about a person, also the answered ones.
    async fn of_person(
        &self,
        call: &Call,
        request: pb::ListInstructionsRequest,
        sees_all: bool,
    ) -> Result<pb::ListInstructionsResponse, Error> {
        if !sees_all {
            let why = format!("{} may not ask for a person's instructions", call.caller.name);
            return Err(Error::PermissionDenied { reason: "role_forbidden", why });
        }
        let mut violations = Violations::new();
        let home = self.app.home_country(&call.caller);
        let name = subjects::name(request.subject, &Path::ROOT.field("subject"), home, &mut violations);
        done(violations)?;
        let name = name.ok_or_else(|| Error::invalid("subject", "is required"))?;
        let told = self.app.instructions_about(&name, request.at_least).await?;
        let instructions = told.into_iter().map(|told| instruction(call, told)).collect();
        Ok(pb::ListInstructionsResponse { instructions, next_page_token: String::new() })
    }

    async fn begin(
        &self,
        call: &Call,
        request: pb::BeginInstructionRequest,
    ) -> Result<pb::BeginInstructionResponse, Error> {
        let addressee = read("addressee", &request.addressee)?;
        several("instruction_ids", request.instruction_ids.len())?;
        // An id that is none was given to nobody.
        let ids: Vec<Option<Id>> = request.instruction_ids.iter().map(|id| id.parse().ok()).collect();
        let known = ids.iter().flatten().cloned().collect();
        let mut answers = self.app.begin_instructions(&call.caller, &addressee, known).await?.into_iter();
        let results = request.instruction_ids.into_iter().zip(ids).map(|(instruction_id, id)| {
            let answer = match id {
                Some(_) => answers.next().unwrap_or_else(|| Err(Error::internal("no_answer"))),
                None => Err(Error::InstructionNotFound),
            };
            use pb::begin_instruction_result::Result as Told;
            let result = Some(match answer {
                Ok(answer) => Told::Answer(InstructionAnswer::number(answer)),
                Err(error) => Told::Refusal(refusal(&error)),
            });
            pb::BeginInstructionResult { instruction_id, result }
        });
        Ok(pb::BeginInstructionResponse { results: results.collect() })
    }

    async fn issue(&self, call: &Call, request: pb::IssueInstructionsRequest) -> Result<Vec<Open>, Error> {
        let mut violations = Violations::new();
        let root = Path::ROOT;
        let home = self.app.home_country(&call.caller);
        let name = subjects::name(request.subject, &root.field("subject"), home, &mut violations);
        let kind = InstructionKind::read(request.kind, &root.field("kind"), &mut violations);
        let mut id = |field, text| Option::<Id>::read(text, &root.field(field), &mut violations);
        let (service, record_kind) = (id("service", request.service), id("record_kind", request.record_kind));
        let (category, slot) = (id("category", request.category), id("slot", request.slot));
        let case = id("case_id", request.case_id);
        let due = instant(request.due, "due", &mut violations);
        done(violations)?;
        let (Some(name), Some(kind)) = (name, kind) else { return Err(Error::internal("instruction")) };
        let of = Selector { service, record_kind, category, slot: slot.into(), exact: false };
        self.app.tell_holders(&name, Order { kind, of, case, due }).await
    }
}

fn several(field: &'static str, count: usize) -> Result<(), Error> {
    let fits = (1..=limits::BATCH_EVENTS).contains(&count);
    if fits { Ok(()) } else { Err(Error::invalid(field, "has none, or more than 1,000")) }
}

fn behind(place: &[u8]) -> Result<Behind, Error> {
    let text = std::str::from_utf8(place).map_err(|_| Error::PageToken)?;
    let (addressee, id) = text.split_once('\0').ok_or(Error::PageToken)?;
    let parsed = addressee.parse().ok().zip(id.parse().ok());
    parsed.ok_or(Error::PageToken)
}

/// What was just told; who it is about is known to whoever told it.
fn told(open: Open) -> Told {
    let Open { subject, instruction } = open;
    Told { subject, instruction, identifiers: Vec::new(), taken_until: None, reminders: 0 }
}

fn refusal(error: &Error) -> pb::InstructionRefusal {
    pb::InstructionRefusal { reason: error.reason().to_uppercase(), message: error.to_string() }
}

/// As the caller may see it: addressees get names and no handle, officers both, auditors handles.
fn instruction(call: &Call, told: Told) -> pb::Instruction {
    let Told { subject, instruction: one, identifiers, taken_until, reminders } = told;
    let (officer, auditor) = (call.caller.has(Role::Officer), call.caller.has(Role::Auditor));
    let named = officer || !auditor;
    let slot = match &one.of.slot {
        SlotSelector::Named(slot) => slot.to_string(),
        SlotSelector::All | SlotSelector::Unnamed => String::new(),
    };
    pb::Instruction {
        instruction_id: one.id.to_string(),
        kind: one.kind.number(),
        addressee: one.addressee.to_string(),
        channel: number(one.channel),
        cause: number(one.cause),
        plan_id: maybe(&one.plan.or(one.after_plan)),
        case_id: maybe(&one.case),
        service: maybe(&one.of.service),
        record_kind: maybe(&one.of.record_kind),
        category: maybe(&one.of.category),
        slot,
        exact: one.of.exact,
        collected_before: one.collected_before.and_then(time),
        identifiers: identifiers.iter().filter(|_| named).map(convert::identifier_to_wire).collect(),
        subject: if officer || auditor { subject.to_string() } else { String::new() },
        issued_at: time(one.issued_at),
        due: one.due.and_then(time),
        state: state(one.state).into(),
        since: time(one.since),
        ground: maybe(&one.ground),
        reminders,
        taken_until: taken_until.and_then(time),
        because: one.because.iter().map(ToString::to_string).collect(),
    }
}

fn state(state: State) -> pb::InstructionState {
    match state {
        State::Issued => pb::InstructionState::Issued,
        State::Begun => pb::InstructionState::Begun,
        State::Done => pb::InstructionState::Done,
        State::Refused => pb::InstructionState::Refused,
        State::Impossible => pb::InstructionState::Impossible,
        State::Deferred => pb::InstructionState::Deferred,
        State::Recalled => pb::InstructionState::Recalled,
    }
}
