//! Plans of erasure: what is due, who agrees, what became of it.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::api::events::{page_size, read};
use crate::api::guard::Call;
use crate::api::page::Token;
use crate::api::terms::{maybe, time};
use crate::app::ledger::Which as Proven;
use crate::app::plans::{BehindItem, Outcome, PlanItem};
use crate::app::sweep::Which;
use crate::app::{App, Error};
use crate::domain::id::{Digest, Id, SubjectId};
use crate::domain::plan::PlanState;
use crate::domain::time::Timestamp;
use crate::limits;
use crate::pb;
use crate::pb::plan_service_server::{PlanService, PlanServiceServer};
use crate::views::plans::Plan;

pub struct Plans {
    app: Arc<App>,
}

impl Plans {
    pub fn new(app: Arc<App>) -> Self {
        Plans { app }
    }

    pub fn into_server(self) -> PlanServiceServer<Self> {
        PlanServiceServer::new(self).max_decoding_message_size(limits::MESSAGE_BYTES)
    }
}

#[tonic::async_trait]
impl PlanService for Plans {
    async fn plan_erasures(
        &self,
        request: Request<pb::PlanErasuresRequest>,
    ) -> Result<Response<pb::PlanErasuresResponse>, Status> {
        let call = Call::of(&request)?;
        let swept = self.app.sweep_all(Which::All, Some(&call.caller)).await.map_err(|e| call.status(e))?;
        Ok(Response::new(pb::PlanErasuresResponse {
            plans: swept.plans.iter().map(plan).collect(),
            due: swept.due,
            instructed: swept.instructed,
            recalled: swept.recalled,
        }))
    }

    async fn list_plans(
        &self,
        request: Request<pb::ListPlansRequest>,
    ) -> Result<Response<pb::ListPlansResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.list(request.into_inner()).await.map_err(|e| call.status(e))?;
        Ok(Response::new(answer))
    }

    async fn get_plan(
        &self,
        request: Request<pb::GetPlanRequest>,
    ) -> Result<Response<pb::GetPlanResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.get(&request.into_inner()).await.map_err(|e| call.status(e))?;
        Ok(Response::new(answer))
    }

    async fn list_plan_items(
        &self,
        request: Request<pb::ListPlanItemsRequest>,
    ) -> Result<Response<pb::ListPlanItemsResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.items(&request.into_inner()).await.map_err(|e| call.status(e))?;
        Ok(Response::new(answer))
    }

    async fn approve_plan(
        &self,
        request: Request<pb::ApprovePlanRequest>,
    ) -> Result<Response<pb::ApprovePlanResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.approve(&call, request.into_inner()).await.map_err(|e| call.status(e))?;
        Ok(Response::new(answer))
    }

    async fn reject_plan(
        &self,
        request: Request<pb::RejectPlanRequest>,
    ) -> Result<Response<pb::RejectPlanResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.reject(&call, request.into_inner()).await.map_err(|e| call.status(e))?;
        Ok(Response::new(answer))
    }
}

impl Plans {
    async fn list(&self, request: pb::ListPlansRequest) -> Result<pb::ListPlansResponse, Error> {
        let question = format!("plans {} {}", request.state, request.service);
        let start = Token::read(&request.page_token, &question)?.unwrap_or(0) as usize;
        let size = page_size(request.page_size);
        let mut plans = self.app.erasure_plans(request.at_least).await?;
        plans.retain(|plan| {
            (request.state == 0 || state(plan.state) as i32 == request.state)
                && (request.service.is_empty() || plan.group.service.as_str() == request.service)
        });
        let end = (start + size).min(plans.len());
        let next = (end < plans.len()).then(|| Token::write(end as u64, &question));
        Ok(pb::ListPlansResponse {
            plans: plans.iter().skip(start).take(size).map(plan).collect(),
            next_page_token: next.unwrap_or_default(),
        })
    }

    async fn get(&self, request: &pb::GetPlanRequest) -> Result<pb::GetPlanResponse, Error> {
        let found = self.app.erasure_plan(&read("plan_id", &request.plan_id)?, request.at_least).await?;
        let outcome = self.app.plan_outcome(&found).await?;
        let proof = match self.app.inclusion(Proven::Position(found.position), None).await {
            Ok(proof) => proof.file.to_string(),
            // The next checkpoint brings it.
            Err(Error::Unavailable { .. }) => String::new(),
            Err(error) => return Err(error),
        };
        let event = self.app.event(found.position).await?;
        let outcome = pb::PlanOutcome {
            origin: self.app.ledger_origin(),
            header: event.header().clone(),
            tlog_proof: proof,
            ..outcome_of(&found, &outcome)
        };
        Ok(pb::GetPlanResponse { plan: Some(plan(&found)), outcome: Some(outcome) })
    }

    async fn items(&self, request: &pb::ListPlanItemsRequest) -> Result<pb::ListPlanItemsResponse, Error> {
        let question = format!("plan items {}", request.plan_id);
        let behind = Token::read_place(&request.page_token, &question)?.map(|place| behind(&place));
        let found = self.app.erasure_plan(&read("plan_id", &request.plan_id)?, None).await?;
        let size = page_size(request.page_size);
        let (mut items, mut next) = (Vec::new(), behind.transpose()?);
        loop {
            let (more, goes_on) = self.app.plan_items(&found, next, size).await?;
            items.extend(more);
            next = goes_on;
            if next.is_none() || items.len() >= size {
                break;
            }
        }
        let token = next.map(|(at, subject)| [&at.ms().to_be_bytes()[..], &subject.0].concat());
        Ok(pb::ListPlanItemsResponse {
            items: items.iter().map(item).collect(),
            next_page_token: token.map(|place| Token::write_place(&place, &question)).unwrap_or_default(),
        })
    }

    async fn approve(
        &self,
        call: &Call,
        request: pb::ApprovePlanRequest,
    ) -> Result<pb::ApprovePlanResponse, Error> {
        let (id, sha256) = (read("plan_id", &request.plan_id)?, digest(&request.plan_sha256)?);
        let reason = if request.reason.is_empty() { None } else { Some(read("reason", &request.reason)?) };
        let (approved, swept) = self.app.approve_plan(&call.caller, &id, sha256, reason).await?;
        Ok(pb::ApprovePlanResponse { plan: Some(plan(&approved)), instructed: swept.instructed })
    }

    async fn reject(
        &self,
        call: &Call,
        request: pb::RejectPlanRequest,
    ) -> Result<pb::RejectPlanResponse, Error> {
        let (id, sha256) = (read("plan_id", &request.plan_id)?, digest(&request.plan_sha256)?);
        let reason: Id = read("reason", &request.reason)?;
        let rejected = self.app.reject_plan(&call.caller, &id, sha256, reason).await?;
        Ok(pb::RejectPlanResponse { plan: Some(plan(&rejected)) })
    }
}

fn digest(bytes: &[u8]) -> Result<Digest, Error> {
    bytes.try_into().map(Digest).map_err(|_| Error::invalid("plan_sha256", "is not 32 bytes"))
}

fn behind(place: &[u8]) -> Result<BehindItem, Error> {
    let (at, subject) = place.split_first_chunk::<8>().ok_or(Error::PageToken)?;
    let at = Timestamp::from_ms(i64::from_be_bytes(*at)).ok_or(Error::PageToken)?;
    Ok((at, SubjectId(subject.try_into().map_err(|_| Error::PageToken)?)))
}

fn plan(plan: &Plan) -> pb::Plan {
    let texts = |ids: &[Id]| ids.iter().map(ToString::to_string).collect();
    pb::Plan {
        plan_id: plan.id.to_string(),
        cause: plan.group.cause.number(),
        service: plan.group.service.to_string(),
        action: plan.group.action.number(),
        confirm: plan.group.confirm,
        because: texts(&plan.group.because),
        counts: plan
            .counts
            .iter()
            .map(|tally| pb::Tally { name: tally.name.to_string(), count: tally.count })
            .collect(),
        items: plan.items(),
        as_of: time(plan.as_of),
        computed_at: plan.computed_at.saturating_sub(1),
        plan_sha256: plan.sha256.0.to_vec().into(),
        state: state(plan.state).into(),
        approvals_needed: texts(&plan.approvals_needed),
        position: plan.position,
        planned_at: time(plan.planned_at),
        decided_at: plan.decided_at.and_then(time),
        reason: maybe(&plan.reason),
    }
}

fn state(state: PlanState) -> pb::PlanState {
    match state {
        PlanState::Waiting => pb::PlanState::Waiting,
        PlanState::Approved => pb::PlanState::Approved,
        PlanState::Rejected => pb::PlanState::Rejected,
    }
}

fn outcome_of(plan: &Plan, outcome: &Outcome) -> pb::PlanOutcome {
    let counts = &outcome.counts;
    let told = counts.issued.saturating_sub(counts.reassigned);
    pb::PlanOutcome {
        due: outcome.due,
        kept: outcome.kept,
        passed_over: plan.items().saturating_sub(told + outcome.due + outcome.kept),
        instructed: counts.issued,
        recalled: counts.recalled,
        done: counts.done,
        refused: counts.refused,
        impossible: counts.impossible,
        deferred: counts.deferred,
        computed_at: outcome.known_at,
        ..Default::default()
    }
}

fn item(item: &PlanItem) -> pb::PlanItem {
    let kept_by = item.kept_by.iter().flat_map(|decision| &decision.because);
    let state = if item.kept_by.is_some() { pb::PlanItemState::Kept } else { pb::PlanItemState::Due };
    pb::PlanItem {
        subject: item.subject.to_string(),
        service: maybe(&item.key.service),
        record_kind: maybe(&item.key.record_kind),
        category: item.key.category.to_string(),
        slot: maybe(&item.key.slot),
        due_at: time(item.due_at),
        collected_before: item.collected_before.and_then(time),
        recipients: item.recipients.iter().map(ToString::to_string).collect(),
        state: state.into(),
        kept_by: kept_by.map(ToString::to_string).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written() {
        let (at, subject) = (Timestamp::EPOCH.plus_ms(-7), SubjectId([3; 16]));
        let place = [&at.ms().to_be_bytes()[..], &subject.0].concat();
        assert_eq!(behind(&place).unwrap(), (at, subject));
        assert!(behind(&place[1..]).is_err());
    }
}
