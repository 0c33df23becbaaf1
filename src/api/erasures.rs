//! Erasures of people.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::api::convert::{Path, Value, Violations};
use crate::api::guard::Call;
use crate::api::terms::time;
use crate::api::{events, subjects};
use crate::app::erase::{Erasure, Reason};
use crate::app::{App, Error};
use crate::domain::event::IdentityErasureCause;
use crate::limits;
use crate::pb;
use crate::pb::erasure_service_server::{ErasureService, ErasureServiceServer};

/// People of one request.
const MAX_SUBJECTS: usize = 100;

pub struct Erasures {
    app: Arc<App>,
}

impl Erasures {
    pub fn new(app: Arc<App>) -> Self {
        Erasures { app }
    }

    pub fn into_server(self) -> ErasureServiceServer<Self> {
        ErasureServiceServer::new(self).max_decoding_message_size(limits::MESSAGE_BYTES)
    }
}

#[tonic::async_trait]
impl ErasureService for Erasures {
    async fn erase_subjects(
        &self,
        request: Request<pb::EraseSubjectsRequest>,
    ) -> Result<Response<pb::EraseSubjectsResponse>, Status> {
        let call = Call::of(&request)?;
        let erasures = self.erase(&call, request.into_inner()).await.map_err(|e| call.status(e))?;
        Ok(Response::new(pb::EraseSubjectsResponse { erasures: erasures.into_iter().map(erasure).collect() }))
    }
}

impl Erasures {
    async fn erase(&self, call: &Call, request: pb::EraseSubjectsRequest) -> Result<Vec<Erasure>, Error> {
        let home = self.app.home_country(&call.caller);
        let root = Path::ROOT;
        let mut violations = Violations::new();
        let at = root.field("subjects");
        if !(1..=MAX_SUBJECTS).contains(&request.subjects.len()) {
            violations.add(&at, "names no one, or more than 100 people");
        }
        let mut names = Vec::new();
        for (n, name) in request.subjects.into_iter().enumerate() {
            names.extend(subjects::name(Some(name), &at.index(n), home, &mut violations));
        }
        let cause = IdentityErasureCause::from_number(request.cause);
        if cause.is_none() {
            violations.add(&root.field("cause"), "is required");
        }
        let case_id = match request.case_id.as_str() {
            "" => None,
            text => Value::read(text.to_owned(), &root.field("case_id"), &mut violations),
        };
        if !request.evidence_too {
            violations.add(
                &root.field("evidence_too"),
                "has to be true: keeping the evidence of consents and cases is not offered yet",
            );
        }
        events::done(violations)?;
        let cause = cause.ok_or_else(|| Error::internal("erasure_request"))?;
        self.app.erase(&call.caller, &names, Reason { cause, case_id }).await
    }
}

fn erasure(done: Erasure) -> pb::Erasure {
    pb::Erasure {
        tomb: done.tomb.0.to_vec().into(),
        accepted_position: done.accepted,
        erased_position: done.erased,
        shredded_at: time(done.shredded_at),
        purged_at: time(done.purged_at),
        pieces: done.pieces,
    }
}
