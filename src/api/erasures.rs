//! Erasures of people.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::api::convert::{Path, Value, Violations};
use crate::api::guard::Call;
use crate::api::terms::time;
use crate::api::{events, subjects};
use crate::app::erase::{Certificate, Erasure, KeptEvidence, Reason};
use crate::app::{App, Error};
use crate::domain::event::{IdentityErasureCause, TransferTally};
use crate::domain::id::Digest;
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

    async fn get_erasure_certificate(
        &self,
        request: Request<pb::GetErasureCertificateRequest>,
    ) -> Result<Response<pb::GetErasureCertificateResponse>, Status> {
        let call = Call::of(&request)?;
        let found = self.certificate(&request.into_inner()).await.map_err(|e| call.status(e))?;
        Ok(Response::new(pb::GetErasureCertificateResponse { certificate: Some(certificate(found)) }))
    }

    async fn list_kept_evidence(
        &self,
        request: Request<pb::ListKeptEvidenceRequest>,
    ) -> Result<Response<pb::ListKeptEvidenceResponse>, Status> {
        let call = Call::of(&request)?;
        let found = self.evidence(&call, request.into_inner()).await.map_err(|e| call.status(e))?;
        Ok(Response::new(pb::ListKeptEvidenceResponse { kept: found.into_iter().map(kept).collect() }))
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
        events::done(violations)?;
        let cause = cause.ok_or_else(|| Error::internal("erasure_request"))?;
        let reason = Reason { cause, case_id, evidence_too: request.evidence_too };
        self.app.erase(&call.caller, &names, reason).await
    }

    async fn certificate(&self, request: &pb::GetErasureCertificateRequest) -> Result<Certificate, Error> {
        let tomb: [u8; 32] =
            request.tomb[..].try_into().map_err(|_| Error::invalid("tomb", "is not 32 bytes"))?;
        self.app.erasure_certificate(Digest(tomb)).await
    }

    async fn evidence(
        &self,
        call: &Call,
        request: pb::ListKeptEvidenceRequest,
    ) -> Result<Vec<KeptEvidence>, Error> {
        let mut violations = Violations::new();
        let (root, home) = (Path::ROOT, self.app.home_country(&call.caller));
        let name = subjects::name(request.subject, &root.field("subject"), home, &mut violations);
        if request.opening.is_none() {
            violations.add(&root.field("opening"), "is required: what is kept is shown for a dispute only");
        }
        let opening = subjects::opening(request.opening, &mut violations);
        events::done(violations)?;
        let (Some(name), Some(opening)) = (name, opening) else {
            return Err(Error::internal("evidence_request"));
        };
        self.app.kept_evidence(&call.caller, &name, &opening).await
    }
}

fn certificate(found: Certificate) -> pb::ErasureCertificate {
    let tally = |tally: TransferTally| pb::TransferTally {
        line: tally.line.to_string(),
        year: tally.year,
        sensitive: tally.sensitive,
    };
    pb::ErasureCertificate {
        origin: found.origin,
        tomb: found.tomb.0.to_vec().into(),
        cause: found.cause.map_or(0, IdentityErasureCause::number),
        scope: found.scope.number(),
        accepted_position: found.accepted.0,
        accepted_at: time(found.accepted.1),
        erased_position: found.erased,
        header: found.header,
        shredded_at: time(found.shredded_at),
        purged_at: found.purged_at.and_then(time),
        beyond_backups_at: found.beyond_backups_at.and_then(time),
        beyond_backups: found.beyond_backups,
        kept_until: found.kept_until.and_then(time),
        evidence_ended_at: found.evidence_ended_at.and_then(time),
        transfer_tallies: found.tallies.into_iter().map(tally).collect(),
        tlog_proof: found.proof.map(|proof| proof.file.to_string()).unwrap_or_default(),
        letter_en: found.letters.en,
        letter_zh: found.letters.zh,
    }
}

fn kept(found: KeptEvidence) -> pb::KeptEvidence {
    pb::KeptEvidence {
        subject: found.subject.to_string(),
        tomb: found.tomb.0.to_vec().into(),
        until: time(found.until),
        events: found.events.into_iter().map(events::evidence_event).collect(),
    }
}

fn erasure(done: Erasure) -> pb::Erasure {
    pb::Erasure {
        tomb: done.tomb.0.to_vec().into(),
        accepted_position: done.accepted,
        erased_position: done.erased,
        shredded_at: time(done.times.0),
        purged_at: time(done.times.1),
        pieces: done.pieces,
        kept_until: done.kept_until.and_then(time),
        beyond_backups_at: done.times.2.and_then(time),
    }
}
