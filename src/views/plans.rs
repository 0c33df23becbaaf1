//! Plans of erasure as they were recorded, with what officers decided about each, and whether an item belongs to one.

use std::collections::BTreeMap;

use crate::domain::event::catalogue::ErasurePlanned;
use crate::domain::event::{Body, EventType, InstructionKind, List, Tally};
use crate::domain::id::{Digest, Id, SubjectId};
use crate::domain::plan::{Group, Item, PlanState};
use crate::domain::time::Timestamp;
use crate::views::Error;
use crate::views::ask::Ask;

/// One plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub id: Id,
    pub group: Group,
    pub rules: Vec<Id>,
    pub counts: Vec<Tally>,
    pub sha256: Digest,
    /// What was due at this instant, as it was known before this position.
    pub as_of: Timestamp,
    pub computed_at: u64,
    pub approvals_needed: Vec<Id>,
    /// Whoever of the staff asked for it, if it was not the clock.
    pub planner: Option<SubjectId>,
    pub position: u64,
    pub planned_at: Timestamp,
    pub state: PlanState,
    pub decided_at: Option<Timestamp>,
    pub reason: Option<Id>,
}

impl Plan {
    pub fn items(&self) -> u64 {
        self.counts.iter().map(|tally| tally.count).sum()
    }

    /// Whether an item that is due now was due when the plan was made. What became due since is another plan's.
    pub fn reaches(&self, item: &Item) -> bool {
        item.group == self.group && item.due_at <= self.as_of
    }

    fn of(body: ErasurePlanned, at: Timestamp, position: u64) -> Option<Plan> {
        let group = Group {
            service: body.service?,
            cause: body.cause?,
            action: body.action.unwrap_or(InstructionKind::Erase),
            confirm: body.confirm == Some(true),
            because: body.because.to_vec(),
        };
        let approvals_needed = body.approvals_needed.to_vec();
        Some(Plan {
            id: body.plan_id?,
            group,
            rules: body.rules.to_vec(),
            counts: body.counts.to_vec(),
            sha256: body.plan_sha256?,
            as_of: body.as_of?,
            computed_at: body.computed_at?,
            state: if approvals_needed.is_empty() { PlanState::Approved } else { PlanState::Waiting },
            approvals_needed,
            planner: None,
            position,
            planned_at: at,
            decided_at: None,
            reason: None,
        })
    }
}

/// The event of a plan.
pub fn planned(plan: &Plan) -> ErasurePlanned {
    ErasurePlanned {
        plan_id: Some(plan.id.clone()),
        cause: Some(plan.group.cause),
        rules: first_of(&plan.rules),
        counts: first_of(&plan.counts),
        plan_sha256: Some(plan.sha256),
        approvals_needed: first_of(&plan.approvals_needed),
        service: Some(plan.group.service.clone()),
        action: Some(plan.group.action),
        confirm: Some(plan.group.confirm),
        because: first_of(&plan.group.because),
        as_of: Some(plan.as_of),
        computed_at: Some(plan.computed_at),
        ..Default::default()
    }
}

/// As many as an event may state.
fn first_of<T: Clone, const N: usize>(all: &[T]) -> List<T, N> {
    List::new(all.iter().take(N).cloned().collect()).unwrap_or_default()
}

impl Ask {
    /// Every plan as known before a position, by its id.
    pub fn plans(&self, known_at: u64) -> Result<BTreeMap<Id, Plan>, Error> {
        let types = [EventType::ErasurePlanned, EventType::PlanApproved, EventType::PlanRejected];
        let positions = self.positions_of(&types, known_at.min(self.applied))?;
        let mut plans: BTreeMap<Id, Plan> = BTreeMap::new();
        self.reach.decode_all(&positions, |event| {
            let (at, position) = (event.at, event.position);
            // Where the dictionary was full, others stand among them.
            let Ok(body) = Body::from_json(event.event_type, &event.body_json) else { return Ok(()) };
            match body {
                Body::ErasurePlanned(body) => {
                    let planner = event.parts.iter().find_map(|part| part.subject);
                    plans.extend(
                        Plan::of(*body, at, position).map(|plan| (plan.id.clone(), Plan { planner, ..plan })),
                    );
                }
                Body::PlanApproved(body) => {
                    decide(&mut plans, body.plan_id.as_ref(), PlanState::Approved, at, body.reason);
                }
                Body::PlanRejected(body) => {
                    decide(&mut plans, body.plan_id.as_ref(), PlanState::Rejected, at, body.reason);
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(plans)
    }
}

fn decide(
    plans: &mut BTreeMap<Id, Plan>,
    id: Option<&Id>,
    state: PlanState,
    at: Timestamp,
    reason: Option<Id>,
) {
    if let Some(plan) = id.and_then(|id| plans.get_mut(id)) {
        (plan.state, plan.decided_at, plan.reason) = (state, Some(at), reason);
    }
}
