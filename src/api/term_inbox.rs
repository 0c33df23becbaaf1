//! Terms that wait to be mapped, and their mapping.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::api::convert::{Path, Violations};
use crate::api::events::{done, known_before, page_size};
use crate::api::guard::Call;
use crate::api::page::Token;
use crate::api::terms::time;
use crate::app::terms::Mapping;
use crate::app::{App, Error};
use crate::domain::event::MappingKind;
use crate::domain::id::Id;
use crate::limits;
use crate::pb;
use crate::pb::term_service_server::{TermService, TermServiceServer};
use crate::views::inbox::UnmappedTerm;

pub struct TermInbox {
    app: Arc<App>,
}

impl TermInbox {
    pub fn new(app: Arc<App>) -> Self {
        TermInbox { app }
    }

    pub fn into_server(self) -> TermServiceServer<Self> {
        TermServiceServer::new(self).max_decoding_message_size(limits::MESSAGE_BYTES)
    }
}

#[tonic::async_trait]
impl TermService for TermInbox {
    async fn list_unmapped_terms(
        &self,
        request: Request<pb::ListUnmappedTermsRequest>,
    ) -> Result<Response<pb::ListUnmappedTermsResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(self.list(request.into_inner()).await.map_err(|e| call.status(e))?))
    }

    async fn map_term(
        &self,
        request: Request<pb::MapTermRequest>,
    ) -> Result<Response<pb::MapTermResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(self.map(&call, request.into_inner()).await.map_err(|e| call.status(e))?))
    }
}

impl TermInbox {
    async fn list(
        &self,
        request: pb::ListUnmappedTermsRequest,
    ) -> Result<pb::ListUnmappedTermsResponse, Error> {
        let question = format!("unmapped {:?} {:?}", request.kind, request.known_at);
        let kind = match request.kind {
            0 => None,
            number => {
                let kind = MappingKind::from_number(number);
                Some(kind.ok_or_else(|| Error::invalid("kind", "is not a kind of term"))?)
            }
        };
        let start = Token::read(&request.page_token, &question)?.unwrap_or(0) as usize;
        let (mut terms, computed_at) =
            self.app.unmapped_terms(known_before(request.known_at), request.at_least).await?;
        terms.retain(|term| kind.is_none_or(|kind| kind == term.kind));
        let end = (start + page_size(request.page_size)).min(terms.len());
        let next = (end < terms.len()).then(|| Token::write(end as u64, &question));
        let page = terms.into_iter().skip(start).take(end.saturating_sub(start));
        Ok(pb::ListUnmappedTermsResponse {
            terms: page.map(waiting).collect(),
            next_page_token: next.unwrap_or_default(),
            computed_at,
        })
    }

    async fn map(&self, call: &Call, request: pb::MapTermRequest) -> Result<pb::MapTermResponse, Error> {
        let mut violations = Violations::new();
        let mut id = |field: &'static str, text: &str, required: bool| {
            if text.is_empty() && !required {
                return None;
            }
            match text.parse::<Id>() {
                Ok(id) => Some(id),
                Err(why) => {
                    violations.add(&Path::ROOT.field(field), why.to_string());
                    None
                }
            }
        };
        let (term, maps_to) = (id("term", &request.term, true), id("maps_to", &request.maps_to, true));
        let (emitter, reason) =
            (id("emitter", &request.emitter, false), id("reason", &request.reason, false));
        let kind = MappingKind::from_number(request.kind);
        if kind.is_none() {
            violations.add(&Path::ROOT.field("kind"), "is required");
        }
        done(violations)?;
        let (Some(kind), Some(term), Some(maps_to)) = (kind, term, maps_to) else {
            return Err(Error::invalid("term", "is required"));
        };
        let mapping = Mapping { kind, term, emitter, maps_to, reason };
        let (position, changes, computed_at) =
            self.app.map_term(&call.caller, mapping, request.check).await?;
        let changes = changes.into_iter().map(|(key, before, after)| pb::FindingChange {
            key: key.to_string(),
            before,
            after,
        });
        Ok(pb::MapTermResponse { position, changes: changes.collect(), computed_at })
    }
}

fn waiting(term: UnmappedTerm) -> pb::UnmappedTerm {
    pb::UnmappedTerm {
        kind: term.kind.number(),
        term: term.term.to_string(),
        emitters: term.emitters.iter().map(Id::to_string).collect(),
        services: term.services.iter().map(Id::to_string).collect(),
        count: term.count,
        first: time(term.first),
        last: time(term.last),
        positions: term.samples,
        suggestions: term.suggestions,
    }
}
