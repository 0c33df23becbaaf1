//! Plans as officers see them, and what they decide about them: somebody other than the planner approves, and names
//! the plan as it was read.

use crate::app::own::staff;
use crate::app::sweep::{Swept, Which};
use crate::app::{App, Caller, Error};
use crate::domain::datum::DatumKey;
use crate::domain::event::Body;
use crate::domain::event::catalogue::{PlanApproved, PlanRejected};
use crate::domain::id::{Digest, Id, SubjectId};
use crate::domain::plan::{Item, PlanState};
use crate::domain::retention::Decision;
use crate::domain::time::Timestamp;
use crate::views::instructions::Counts;
use crate::views::plans::Plan;
use crate::views::retention::due::{Deciding, is_kept};

/// People looked at for one page of items.
const LOOKED_AT: usize = 1_000;

/// What became of a plan's items.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Still due, and nobody was told.
    pub due: u64,
    /// Kept beyond their time.
    pub kept: u64,
    pub counts: Counts,
    pub known_at: u64,
}

/// One item of a plan of which nobody was told yet.
#[derive(Debug, Clone)]
pub struct PlanItem {
    pub subject: SubjectId,
    pub key: DatumKey,
    pub due_at: Timestamp,
    pub collected_before: Option<Timestamp>,
    pub recipients: Vec<Id>,
    /// What keeps it, if something does.
    pub kept_by: Option<Decision>,
}

/// Where a list of items goes on.
pub type BehindItem = (Timestamp, SubjectId);

impl App {
    /// Every plan, the newest first.
    pub async fn erasure_plans(&self, at_least: Option<u64>) -> Result<Vec<Plan>, Error> {
        self.at_least(at_least).await?;
        let mut plans: Vec<Plan> = self.ask(|ask| Ok(ask.plans())).await?.into_values().collect();
        plans.sort_by_key(|plan| std::cmp::Reverse(plan.position));
        Ok(plans)
    }

    pub async fn erasure_plan(&self, id: &Id, at_least: Option<u64>) -> Result<Plan, Error> {
        self.at_least(at_least).await?;
        let id = id.clone();
        self.ask(move |ask| ask.plan(&id).ok_or(Error::PlanNotFound)).await
    }

    /// What became of a plan's items so far.
    pub async fn plan_outcome(&self, plan: &Plan) -> Result<Outcome, Error> {
        let (mut behind, mut due, mut kept) = (None, 0, 0);
        loop {
            let (items, next) = self.plan_items(plan, behind, LOOKED_AT).await?;
            kept += items.iter().filter(|item| item.kept_by.is_some()).count() as u64;
            due += items.iter().filter(|item| item.kept_by.is_none()).count() as u64;
            behind = next;
            if behind.is_none() {
                break;
            }
        }
        let id = plan.id.clone();
        self.ask(move |ask| Ok(Outcome { due, kept, counts: ask.plan_counts(&id)?, known_at: ask.applied }))
            .await
    }

    /// What is due or kept of a plan among the next so many people, and where the next of them stand.
    pub async fn plan_items(
        &self,
        plan: &Plan,
        behind: Option<BehindItem>,
        people: usize,
    ) -> Result<(Vec<PlanItem>, Option<BehindItem>), Error> {
        let (plan, now) = (plan.clone(), self.clock.now());
        self.ask(move |ask| {
            let most = people.min(LOOKED_AT);
            let people = ask.due_people(plan.as_of, behind, most)?;
            let next = people.last().copied().filter(|_| people.len() == most);
            let (mut items, mut deciding) = (Vec::new(), Deciding::new(ask, now)?);
            for (_, subject) in people {
                let Some(work) = deciding.work(ask, subject)? else { continue };
                let recipients = |key: &DatumKey| work.person.recipients(key).cloned().collect();
                let decided = work.decided(now);
                for item in work.items(&decided) {
                    if deciding.was_planned(ask, &plan, &work, &item)? {
                        let recipients = recipients(&item.key);
                        let Item { key, due_at, collected_before, .. } = item;
                        let kept_by = None;
                        items.push(PlanItem { subject, key, due_at, collected_before, recipients, kept_by });
                    }
                }
                for (key, decision) in decided.into_iter().filter(|(_, decision)| is_kept(decision)) {
                    let ends_at = decision.ends_at.filter(|at| *at <= plan.as_of);
                    if let Some(due_at) = ends_at.filter(|_| is_of(&plan, key)) {
                        let (key, recipients) = (key.clone(), recipients(key));
                        let (collected_before, kept_by) = (None, Some(decision));
                        items.push(PlanItem { subject, key, due_at, collected_before, recipients, kept_by });
                    }
                }
            }
            Ok((items, next))
        })
        .await
    }

    /// Approves a plan as it was read, and has it done.
    pub async fn approve_plan(
        &self,
        caller: &Caller,
        id: &Id,
        sha256: Digest,
        reason: Option<Id>,
    ) -> Result<(Plan, Swept), Error> {
        let plan = self.waiting(id, sha256).await?;
        if plan.group.confirm && reason.is_none() {
            return Err(Error::invalid("reason", "is required to confirm"));
        }
        self.is_another(caller, &plan).await?;
        let body = PlanApproved {
            plan_id: Some(plan.id.clone()),
            plan_sha256: Some(sha256),
            reason,
            ..Default::default()
        };
        self.record_own(Body::PlanApproved(Box::new(body)), vec![staff(caller)]).await?;
        let swept = self.sweep_all(Which::All, None).await?;
        Ok((self.erasure_plan(id, None).await?, swept))
    }

    /// Rejects a plan as it was read.
    pub async fn reject_plan(
        &self,
        caller: &Caller,
        id: &Id,
        sha256: Digest,
        reason: Id,
    ) -> Result<Plan, Error> {
        let plan = self.waiting(id, sha256).await?;
        let body = PlanRejected {
            plan_id: Some(plan.id),
            plan_sha256: Some(sha256),
            reason: Some(reason),
            ..Default::default()
        };
        let position =
            self.record_own(Body::PlanRejected(Box::new(body)), vec![staff(caller)]).await?.position;
        self.erasure_plan(id, Some(position)).await
    }

    async fn waiting(&self, id: &Id, sha256: Digest) -> Result<Plan, Error> {
        self.settled().await?;
        let plan = self.erasure_plan(id, None).await?;
        let refused = |why: String| Err(Error::Precondition { reason: "plan_decided", why });
        if plan.sha256 != sha256 {
            return refused("the plan is another than the one that was read".to_owned());
        }
        if plan.state != PlanState::Waiting {
            return refused(format!("the plan is {}", plan.state));
        }
        Ok(plan)
    }

    /// Whoever planned it does not approve it (`domain.md` 4.4 step 4).
    async fn is_another(&self, caller: &Caller, plan: &Plan) -> Result<(), Error> {
        let Some(planner) = plan.planner else { return Ok(()) };
        let me = staff(caller);
        let mut same = false;
        for identifier in &me.identifiers {
            let candidates = self.vault.candidates(identifier, None).await?;
            same |= candidates.iter().any(|candidate| candidate.subject == planner);
        }
        if same {
            let why = "whoever planned it does not approve it".to_owned();
            return Err(Error::Precondition { reason: "second_person_required", why });
        }
        Ok(())
    }
}

/// What is kept has no reasons to go by: it belongs to the plans of its service.
fn is_of(plan: &Plan, key: &DatumKey) -> bool {
    key.service.as_ref() == Some(&plan.group.service)
}
