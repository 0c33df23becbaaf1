//! Whether data may be used, and who is affected.

use std::str::FromStr;
use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::api::convert::{Path, Violations};
use crate::api::events::{done, instant, known_before, page_size};
use crate::api::guard::Call;
use crate::api::page::Token;
use crate::api::report::identifier_line;
use crate::api::subjects;
use crate::api::terms::{country, maybe, time};
use crate::app::questions::{Member, Page, When};
use crate::app::{App, Error};
use crate::domain::id::Id;
use crate::domain::time::Timestamp;
use crate::domain::use_check::{Judged, Reason};
use crate::domain::vocabulary::Locale;
use crate::limits;
use crate::pb;
use crate::pb::question_service_server::{QuestionService, QuestionServiceServer};
use crate::views::population::{Population, Selector, Standing};

pub struct Questions {
    app: Arc<App>,
}

impl Questions {
    pub fn new(app: Arc<App>) -> Self {
        Questions { app }
    }

    pub fn into_server(self) -> QuestionServiceServer<Self> {
        QuestionServiceServer::new(self).max_decoding_message_size(limits::MESSAGE_BYTES)
    }
}

#[tonic::async_trait]
impl QuestionService for Questions {
    async fn check_use(
        &self,
        request: Request<pb::CheckUseRequest>,
    ) -> Result<Response<pb::CheckUseResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.check(&call, request.into_inner()).await.map_err(|e| call.status(e))?;
        Ok(Response::new(answer))
    }

    async fn count_population(
        &self,
        request: Request<pb::CountPopulationRequest>,
    ) -> Result<Response<pb::CountPopulationResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.count(request.into_inner()).await.map_err(|e| call.status(e))?;
        Ok(Response::new(answer))
    }

    async fn list_population(
        &self,
        request: Request<pb::ListPopulationRequest>,
    ) -> Result<Response<pb::ListPopulationResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.list(&call, request.into_inner()).await.map_err(|e| call.status(e))?;
        Ok(Response::new(answer))
    }
}

impl Questions {
    async fn check(&self, call: &Call, request: pb::CheckUseRequest) -> Result<pb::CheckUseResponse, Error> {
        let mut violations = Violations::new();
        let home = self.app.home_country(&call.caller);
        let name = subjects::name(request.subject, &Path::ROOT.field("subject"), home, &mut violations);
        let activity = required::<Id>(&request.activity, "activity", &mut violations);
        let as_of = instant(request.as_of, "as_of", &mut violations);
        done(violations)?;
        let (Some(name), Some(activity)) = (name, activity) else {
            return Err(Error::invalid("activity", "is required"));
        };
        let known_at = known_before(request.known_at);
        let when = When { as_of, known_at, at_least: request.at_least };
        let (answer, at) = self.app.check_use(&call.caller, &name, activity, when).await?;
        Ok(pb::CheckUseResponse {
            allowed: answer.verdict.allowed,
            reasons: answer.verdict.reasons.iter().map(reason).collect(),
            data: answer.verdict.data.iter().map(datum).collect(),
            as_of: time(at),
            computed_at: answer.known_at,
            law: format!("{} {}", answer.law.name(), answer.law.version()),
            activity_revision: answer.revision,
            subject_known: answer.known,
            periods_not_judged: false,
        })
    }

    async fn count(&self, request: pb::CountPopulationRequest) -> Result<pb::CountPopulationResponse, Error> {
        let mut violations = Violations::new();
        let selector = selector(request.selector, &mut violations);
        let as_of = instant(request.as_of, "as_of", &mut violations);
        done(violations)?;
        let known_at = known_before(request.known_at);
        let when = When { as_of, known_at, at_least: request.at_least };
        let found = self.app.population(selector, when).await?;
        Ok(pb::CountPopulationResponse {
            people: found.people.len() as u64,
            erased: found
                .erased
                .map(|erased| pb::ErasedPeople { at_least: erased.at_least, at_most: erased.at_most }),
            computed_from: Some(basis(&found, as_of)),
        })
    }

    async fn list(
        &self,
        call: &Call,
        request: pb::ListPopulationRequest,
    ) -> Result<pb::ListPopulationResponse, Error> {
        let mut violations = Violations::new();
        let question = format!("{:?}", (&request.selector, &request.as_of, request.known_at));
        let selector = selector(request.selector, &mut violations);
        let as_of = instant(request.as_of, "as_of", &mut violations);
        if request.opening.is_none() {
            violations.add(&Path::ROOT.field("opening"), "is required: why the list is read");
        }
        let opening = subjects::opening(request.opening, &mut violations);
        done(violations)?;
        let opening = opening.ok_or_else(|| Error::invalid("opening.reason", "is required"))?;
        let page = Page {
            after: Token::read(&request.page_token, &question)?,
            limit: page_size(request.page_size),
            identifiers: request.identifiers,
            opening,
        };
        let known_at = known_before(request.known_at);
        let when = When { as_of, known_at, at_least: request.at_least };
        let found = self.app.population_page(&call.caller, selector, when, page).await?;
        Ok(pb::ListPopulationResponse {
            computed_from: Some(basis(&found.from, as_of)),
            members: found.members.iter().map(member).collect(),
            next_page_token: found.next.map(|next| Token::write(next, &question)).unwrap_or_default(),
        })
    }
}

fn basis(found: &Population, as_of: Option<Timestamp>) -> pb::PopulationBasis {
    pb::PopulationBasis {
        as_of: as_of.and_then(time),
        computed_at: found.known_at,
        law: format!("{} {}", found.law.name(), found.law.version()),
        unjudged: found.unjudged,
    }
}

fn member(member: &Member) -> pb::PopulationMember {
    let lines = member.identifiers.iter().map(|(identifier, binding)| identifier_line(identifier, binding));
    pb::PopulationMember {
        subject: member.subject.to_string(),
        merged: member.merged.iter().map(ToString::to_string).collect(),
        identifiers: lines.collect(),
    }
}

fn reason(reason: &Reason) -> pb::UseReason {
    pb::UseReason {
        code: reason.code.to_string(),
        en: reason.code.says(Locale::En).to_owned(),
        zh: reason.code.says(Locale::Zh).to_owned(),
        legal: reason.code.text().legal.clone(),
        purpose: maybe(&reason.purpose),
        recipient: maybe(&reason.recipient),
        country: country(&reason.country),
        since: reason.since.and_then(time),
    }
}

fn datum(judged: &Judged) -> pb::UseDatum {
    pb::UseDatum {
        service: maybe(&judged.key.service),
        record_kind: maybe(&judged.key.record_kind),
        category: judged.key.category.to_string(),
        slot: maybe(&judged.key.slot),
        held: judged.held,
        usable_for: judged.usable_for.iter().map(Id::to_string).collect(),
        reasons: judged.reasons.iter().map(reason).collect(),
    }
}

fn required<T: FromStr>(text: &str, field: &'static str, violations: &mut Violations) -> Option<T>
where
    T::Err: std::fmt::Display,
{
    if text.is_empty() {
        violations.add(&Path::ROOT.field(field), "is required");
        return None;
    }
    text.parse().map_err(|why: T::Err| violations.add(&Path::ROOT.field(field), why.to_string())).ok()
}

/// A selector without anything would pick everybody.
fn selector(wire: Option<pb::PopulationSelector>, violations: &mut Violations) -> Selector {
    let root = Path::ROOT;
    let at = root.field("selector");
    let Some(wire) = wire else {
        violations.add(&at, "is required");
        return Selector::default();
    };
    macro_rules! read {
        ($field:ident) => {{
            let text = &wire.$field;
            if text.is_empty() {
                None
            } else {
                match text.parse() {
                    Ok(value) => Some(value),
                    Err(why) => {
                        violations.add(&at.field(stringify!($field)), format!("{why}"));
                        None
                    }
                }
            }
        }};
    }
    let mut selector = Selector {
        subject: read!(subject),
        service: read!(service),
        record_kind: read!(record_kind),
        category: read!(category),
        slot: read!(slot),
        purpose: read!(purpose),
        recipient: read!(recipient),
        sdk_version: read!(sdk_version),
        app_version: read!(app_version),
        policy_version: read!(policy_version),
        mechanism: read!(mechanism),
        country: read!(country),
        finding: read!(finding),
        ..Selector::default()
    };
    selector.from = instant(wire.occurred_from, "selector.occurred_from", violations);
    selector.to = instant(wire.occurred_to, "selector.occurred_to", violations);
    if let Some(consent) = wire.consent {
        let standing = match consent.standing() {
            pb::ConsentStanding::InForce => Some(Standing::InForce),
            pb::ConsentStanding::Ended => Some(Standing::Ended),
            pb::ConsentStanding::Refused => Some(Standing::Refused),
            pb::ConsentStanding::None => Some(Standing::None),
            pb::ConsentStanding::Unspecified => {
                violations.add(&at.field("consent").field("standing"), "is required");
                None
            }
        };
        match consent.purpose.parse::<Id>() {
            Ok(purpose) => selector.consent = standing.map(|standing| (purpose, standing)),
            Err(why) => violations.add(&at.field("consent").field("purpose"), why.to_string()),
        }
    }
    if selector.is_empty() {
        violations.add(&at, "sets no field, and would pick everybody");
    }
    selector
}
