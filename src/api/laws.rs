//! The law data.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::api::convert::{Value, Violations};
use crate::api::events::{done, instant};
use crate::api::guard::Call;
use crate::api::registers::reason;
use crate::api::terms::{maybe, time};
use crate::api::transfers::outcome;
use crate::app::law::{Adopted, Flow, Judged, Known, Preview, Tiers};
use crate::app::{App, Error};
use crate::domain::event::Body;
use crate::domain::law::{self, Law};
use crate::domain::register::Version;
use crate::limits;
use crate::pb;
use crate::pb::law_service_server::{LawService, LawServiceServer};

pub struct Laws {
    app: Arc<App>,
}

impl Laws {
    pub fn new(app: Arc<App>) -> Self {
        Laws { app }
    }

    pub fn into_server(self) -> LawServiceServer<Self> {
        LawServiceServer::new(self).max_decoding_message_size(limits::MESSAGE_BYTES)
    }
}

#[tonic::async_trait]
impl LawService for Laws {
    async fn list_laws(
        &self,
        request: Request<pb::ListLawsRequest>,
    ) -> Result<Response<pb::ListLawsResponse>, Status> {
        let call = Call::of(&request)?;
        let (laws, computed_at) =
            self.app.laws(request.into_inner().at_least).await.map_err(|e| call.status(e))?;
        let laws = laws.iter().map(law_to_wire).collect();
        Ok(Response::new(pb::ListLawsResponse { laws, computed_at }))
    }

    async fn get_law(
        &self,
        request: Request<pb::GetLawRequest>,
    ) -> Result<Response<pb::GetLawResponse>, Status> {
        let call = Call::of(&request)?;
        let found = async {
            let law = named(&request.into_inner().version)?;
            let (all, computed_at) = self.app.laws(None).await?;
            let known = all.iter().find(|known| known.law.sha256() == law.sha256()).map(law_to_wire);
            Ok::<_, Error>(pb::GetLawResponse {
                law: known,
                document: law.document().to_owned(),
                computed_at,
            })
        };
        Ok(Response::new(found.await.map_err(|e| call.status(e))?))
    }

    async fn preview_law(
        &self,
        request: Request<pb::PreviewLawRequest>,
    ) -> Result<Response<pb::PreviewLawResponse>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        let preview = async { self.app.preview_law(named(&request.version)?, request.at_least).await };
        Ok(Response::new(preview_to_wire(preview.await.map_err(|e| call.status(e))?)))
    }

    async fn adopt_law(
        &self,
        request: Request<pb::AdoptLawRequest>,
    ) -> Result<Response<pb::AdoptLawResponse>, Status> {
        let call = Call::of(&request)?;
        let adopted = self.adopt(&call, request.into_inner()).await.map_err(|e| call.status(e))?;
        let Adopted { position, recorded } = adopted;
        Ok(Response::new(pb::AdoptLawResponse { position, already_adopted: !recorded }))
    }
}

impl Laws {
    async fn adopt(&self, call: &Call, request: pb::AdoptLawRequest) -> Result<Adopted, Error> {
        let mut violations = Violations::new();
        let at = instant(request.effective_at, "effective_at", &mut violations);
        let reason = reason(request.reason, &mut violations);
        done(violations)?;
        self.app.adopt_law(&call.caller, named(&request.version)?, at, reason).await
    }
}

fn named(version: &str) -> Result<&'static Law, Error> {
    let known = || law::shipped().iter().map(|law| law.version().as_str()).collect::<Vec<_>>().join(", ");
    law::by_version(version).ok_or_else(|| {
        Error::invalid("version", format_args!("is no document of this program; there are {}", known()))
    })
}

fn law_to_wire(known: &Known) -> pb::Law {
    pb::Law {
        name: known.law.name().to_string(),
        version: known.law.version().to_string(),
        sha256: known.law.sha256().write(),
        effective: known.law.effective().to_string(),
        in_force: known.in_force,
        adoptions: known.adoptions.iter().map(|version| adoption(version)).collect(),
    }
}

fn adoption(version: &Version) -> pb::LawAdoption {
    let effective_at = match &version.body {
        Body::LawDataActivated(body) => body.effective_at,
        _ => None,
    };
    pb::LawAdoption {
        position: version.position,
        recorded_at: time(version.recorded_at),
        effective_at: effective_at.and_then(time),
        emitter: version.envelope.emitter.to_string(),
        reason: maybe(&version.reason().cloned()),
    }
}

fn preview_to_wire(preview: Preview) -> pb::PreviewLawResponse {
    let differences = preview.now.law.differences(preview.then.law);
    let findings = preview.findings.iter().map(|(key, (now, then))| pb::FindingDifference {
        key: key.to_string(),
        code: key.code().to_owned(),
        count_now: *now,
        count_then: *then,
    });
    pb::PreviewLawResponse {
        findings: findings.collect(),
        transfers: preview.transfers.iter().map(|(flow, both)| transfer_to_wire(flow, both)).collect(),
        tiers: preview.tiers.iter().map(tiers_to_wire).collect(),
        now: Some(law_to_wire(&preview.now)),
        then: Some(law_to_wire(&preview.then)),
        differences,
        computed_at: preview.applied,
    }
}

fn transfer_to_wire(flow: &Flow, (now, then): &(Judged, Judged)) -> pb::TransferDifference {
    let (exporter, importer, from, to, purpose) = flow;
    let judged = |judged: &Judged| {
        let one = |(verdict, count): (&_, &u64)| {
            let (outcome, allowed_by, _) = outcome(verdict);
            pb::TransferJudgement { outcome: outcome.into(), allowed_by, count: *count }
        };
        judged.iter().map(one).collect()
    };
    pb::TransferDifference {
        exporter: exporter.to_string(),
        importer: importer.to_string(),
        from_country: from.to_string(),
        to_country: to.to_string(),
        purpose: maybe(purpose),
        now: judged(now),
        then: judged(then),
    }
}

fn tiers_to_wire(tiers: &Tiers) -> pb::TierDifference {
    pb::TierDifference {
        exporter: tiers.exporter.to_string(),
        year: tiers.year.into(),
        tier_now: tiers.now.0.clone(),
        tier_then: tiers.then.0.clone(),
        next_general_now: tiers.now.1,
        next_general_then: tiers.then.1,
    }
}
