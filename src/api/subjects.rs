//! What officers ask about a person.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::api::guard::Call;
use crate::api::page::Token;
use crate::api::terms::time;
use crate::api::{convert, events, report};
use crate::app::own::Opening;
use crate::app::subjects::{Name, Wanted};
use crate::app::{App, Error};
use crate::domain::id::{Country, Id};
use crate::domain::identity::Identifier;
use crate::limits;
use crate::pb;
use crate::pb::subject_service_server::{SubjectService, SubjectServiceServer};
use crate::views::report::ReportOptions;

/// Events a report shows as evidence where nobody says how many.
const EVIDENCE: u32 = 50;

pub struct Subjects {
    app: Arc<App>,
}

impl Subjects {
    pub fn new(app: Arc<App>) -> Self {
        Subjects { app }
    }

    pub fn into_server(self) -> SubjectServiceServer<Self> {
        SubjectServiceServer::new(self).max_decoding_message_size(limits::MESSAGE_BYTES)
    }
}

#[tonic::async_trait]
impl SubjectService for Subjects {
    async fn get_subject_report(
        &self,
        request: Request<pb::GetSubjectReportRequest>,
    ) -> Result<Response<pb::GetSubjectReportResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.report(&call, request.into_inner()).await.map_err(|e| call.status(e))?;
        Ok(Response::new(answer))
    }

    async fn list_subject_events(
        &self,
        request: Request<pb::ListSubjectEventsRequest>,
    ) -> Result<Response<pb::ListSubjectEventsResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.list(&call, request.into_inner()).await.map_err(|e| call.status(e))?;
        Ok(Response::new(answer))
    }

    async fn find_subject(
        &self,
        request: Request<pb::FindSubjectRequest>,
    ) -> Result<Response<pb::FindSubjectResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.find(&call, request.into_inner()).await.map_err(|e| call.status(e))?;
        Ok(Response::new(answer))
    }
}

impl Subjects {
    async fn report(
        &self,
        call: &Call,
        request: pb::GetSubjectReportRequest,
    ) -> Result<pb::GetSubjectReportResponse, Error> {
        let mut violations = convert::Violations::new();
        let name = name(
            request.subject,
            &convert::Path::ROOT.field("subject"),
            self.app.home_country(&call.caller),
            &mut violations,
        );
        let opening = opening(request.opening, &mut violations);
        let as_of = events::instant(request.as_of, "as_of", &mut violations);
        events::done(violations)?;
        let options = ReportOptions {
            as_of,
            known_at: events::known_before(request.known_at),
            evidence: request.evidence_limit.unwrap_or(EVIDENCE) as usize,
            ..ReportOptions::default()
        };
        let name = name.ok_or_else(|| Error::invalid("subject", "is required"))?;
        let answer =
            self.app.report(&call.caller, &name, options, request.at_least, opening.as_ref()).await?;
        let mut report = report::subject_report(answer);
        if call.caller.speaks_to_the_person() {
            report.evidence.iter_mut().for_each(without_place);
        }
        Ok(pb::GetSubjectReportResponse { report: Some(report) })
    }

    async fn list(
        &self,
        call: &Call,
        request: pb::ListSubjectEventsRequest,
    ) -> Result<pb::ListSubjectEventsResponse, Error> {
        let mut violations = convert::Violations::new();
        let span = (request.occurred_from, request.occurred_to);
        let question = format!("{:?}", (&request.subject, &request.types, span, request.oldest_first));
        let name = name(
            request.subject,
            &convert::Path::ROOT.field("subject"),
            self.app.home_country(&call.caller),
            &mut violations,
        );
        let opening = opening(request.opening, &mut violations);
        let wanted = Wanted {
            types: events::types(&request.types, &mut violations),
            occurred_from: events::instant(request.occurred_from, "occurred_from", &mut violations),
            occurred_to: events::instant(request.occurred_to, "occurred_to", &mut violations),
            known_at: events::known_before(request.known_at),
            at_least: request.at_least,
            oldest_first: request.oldest_first,
            cursor: Token::read(&request.page_token, &question)?,
            limit: events::page_size(request.page_size),
        };
        events::done(violations)?;
        let name = name.ok_or_else(|| Error::invalid("subject", "is required"))?;
        let (evidence, next, applied) =
            self.app.subject_events(&call.caller, &name, wanted, opening.as_ref()).await?;
        let mut events: Vec<_> = evidence.into_iter().map(events::evidence_event).collect();
        if call.caller.speaks_to_the_person() {
            events.iter_mut().for_each(without_place);
        }
        Ok(pb::ListSubjectEventsResponse {
            events,
            next_page_token: next.map(|next| Token::write(next, &question)).unwrap_or_default(),
            computed_at: applied,
        })
    }

    async fn find(
        &self,
        call: &Call,
        request: pb::FindSubjectRequest,
    ) -> Result<pb::FindSubjectResponse, Error> {
        let mut violations = convert::Violations::new();
        let identifier = identifier(
            request.identifier,
            &convert::Path::ROOT.field("identifier"),
            self.app.home_country(&call.caller),
            &mut violations,
        );
        events::done(violations)?;
        let identifier = identifier.ok_or_else(|| Error::invalid("identifier", "identifies nobody"))?;
        let shared = identifier.kind.class() == crate::domain::identity::Class::Shared;
        let candidates = self.app.find_subject(&identifier).await?;
        let candidates = candidates.iter().map(|candidate| pb::SubjectCandidate {
            subject: candidate.subject.to_string(),
            from: time(candidate.from),
            to: candidate.to.and_then(time),
            associated_only: shared,
        });
        Ok(pb::FindSubjectResponse { candidates: candidates.collect() })
    }
}

/// No position, and nothing that leads to one, so that no gap shows (`domain.md` 6.7).
fn without_place(event: &mut pb::EvidenceEvent) {
    (event.position, event.retracted_by) = (0, None);
    event.leaf_hash.clear();
}

pub(crate) fn name(
    wire: Option<pb::SubjectName>,
    at: &convert::Path<'_>,
    home: Option<Country>,
    violations: &mut convert::Violations,
) -> Option<Name> {
    match wire.and_then(|wire| wire.name) {
        None => {
            violations.add(at, "is required");
            None
        }
        Some(pb::subject_name::Name::Subject(subject)) => match subject.parse() {
            Ok(subject) => Some(Name::Subject(subject)),
            Err(why) => {
                violations.add(&at.field("subject"), why.to_string());
                None
            }
        },
        Some(pb::subject_name::Name::Identifier(wire)) => {
            identifier(Some(wire), &at.field("identifier"), home, violations).map(Name::Identifier)
        }
    }
}

fn identifier(
    wire: Option<pb::Identifier>,
    at: &convert::Path<'_>,
    home: Option<Country>,
    violations: &mut convert::Violations,
) -> Option<Identifier> {
    let Some(wire) = wire else {
        violations.add(at, "is required");
        return None;
    };
    let read = convert::identifier(wire, at, &mut || home, violations)?;
    if read.is_none() {
        violations.add(at, "is a placeholder that identifies nobody");
    }
    read
}

pub(crate) fn opening(wire: Option<pb::Opening>, violations: &mut convert::Violations) -> Option<Opening> {
    let wire = wire?;
    let root = convert::Path::ROOT;
    let mut read = |name: &'static str, value: &str| match value.parse::<Id>() {
        Ok(id) => Some(id),
        Err(why) => {
            violations.add(&root.field("opening").field(name), why.to_string());
            None
        }
    };
    let reason = read("reason", &wire.reason)?;
    let ticket = if wire.ticket.is_empty() { None } else { Some(read("ticket", &wire.ticket)?) };
    Some(Opening { reason, ticket })
}
