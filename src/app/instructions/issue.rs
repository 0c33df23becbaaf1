//! What goes out to those who hold data, besides what plans do: to recipients when something is gone, for an officer,
//! and from one addressee to another.

use std::collections::BTreeSet;

use crate::app::own::{About, event_id};
use crate::app::subjects::Name;
use crate::app::{App, Error};
use crate::domain::datum::{DatumKey, Selector, SlotSelector};
use crate::domain::event::catalogue::{InstructionIssued, InstructionRecalled};
use crate::domain::event::{Body, InstructionKind, List, PlanCause, RecallReason, RecipientChannel};
use crate::domain::id::{Id, SubjectId};
use crate::domain::instruction::Instruction;
use crate::domain::plan::Item;
use crate::domain::time::{MS_PER_DAY, Timestamp};
use crate::limits;
use crate::views::instructions::Open;
use crate::views::retention::due::Deciding;

/// By when an instruction has to be answered (`domain.md` 6.8).
const ANSWER_MS: i64 = 30 * MS_PER_DAY;

/// What somebody is to be told.
#[derive(Debug, Clone)]
pub struct Telling {
    pub kind: InstructionKind,
    pub addressee: Id,
    pub channel: RecipientChannel,
    pub of: Selector,
    pub cause: Option<PlanCause>,
    /// Of what a plan counts: what its items' holders are told.
    pub plan: Option<Id>,
    /// Of what follows from it.
    pub after_plan: Option<Id>,
    pub case: Option<Id>,
    pub because: Vec<Id>,
    pub collected_before: Option<Timestamp>,
    /// Of what falls due at its addressee.
    pub due_at: Option<Timestamp>,
    /// By when it has to be answered; in 30 days if not stated.
    pub due: Option<Timestamp>,
}

impl Telling {
    /// What whoever holds an item of a plan is told: the service, or who took over from it.
    pub(crate) fn of_item(item: Item, plan: Id, app: &App, now: Timestamp) -> Telling {
        Telling {
            kind: item.group.action,
            addressee: app.holder_of_data(&item.group.service, now),
            channel: RecipientChannel::Grpc,
            of: Selector::one(&item.key),
            cause: Some(item.group.cause),
            plan: Some(plan),
            after_plan: None,
            case: None,
            because: item.group.because,
            collected_before: item.collected_before,
            due_at: Some(item.due_at),
            due: None,
        }
    }

    /// What a recipient is told of data that their source erased unasked.
    pub(crate) fn of_gone(key: &DatumKey, recipient: Id, app: &App, now: Timestamp) -> Telling {
        Telling {
            kind: app.kind_for(&recipient, now),
            channel: app.channel_of(&recipient, now),
            addressee: recipient,
            of: Selector::one(key),
            cause: None,
            plan: None,
            after_plan: None,
            case: None,
            because: Vec::new(),
            collected_before: None,
            due_at: None,
            due: None,
        }
    }

    /// What a recipient is told of data that are gone at their source.
    pub(super) fn of_erasure(told: &Instruction, recipient: Id, app: &App) -> Telling {
        let now = app.now();
        Telling {
            kind: app.kind_for(&recipient, now),
            channel: app.channel_of(&recipient, now),
            addressee: recipient,
            plan: None,
            after_plan: told.plan.clone(),
            due_at: None,
            due: None,
            ..Telling::again(told)
        }
    }

    /// The same once more.
    fn again(told: &Instruction) -> Telling {
        Telling {
            kind: told.kind,
            addressee: told.addressee.clone(),
            channel: told.channel.unwrap_or(RecipientChannel::Grpc),
            of: told.of.clone(),
            cause: told.cause,
            plan: told.plan.clone(),
            after_plan: None,
            case: told.case.clone(),
            because: told.because.clone(),
            collected_before: told.collected_before,
            due_at: told.due_at,
            due: None,
        }
    }
}

/// The event that tells it; its id is the instruction's.
pub(crate) fn issued(telling: Telling, subject: SubjectId, now: Timestamp) -> Result<About, Error> {
    let id = event_id(now)?;
    let slot = match telling.of.slot {
        SlotSelector::Named(slot) => Some(slot),
        SlotSelector::All | SlotSelector::Unnamed => None,
    };
    let body = InstructionIssued {
        service: telling.of.service,
        record_kind: telling.of.record_kind,
        category: telling.of.category,
        slot,
        exact: telling.of.exact.then_some(true),
        kind: Some(telling.kind),
        addressee: Some(telling.addressee),
        channel: Some(telling.channel),
        cause: telling.cause,
        due: Some(telling.due.unwrap_or(now.plus_ms(ANSWER_MS))),
        due_at: telling.due_at,
        because: List::new(telling.because.into_iter().take(limits::LIST).collect()).unwrap_or_default(),
        instruction_id: id.to_string().parse().ok(),
        plan_id: telling.plan,
        plan_ref: telling.after_plan,
        case_id: telling.case,
        collected_before: telling.collected_before,
    };
    Ok((id, now, Body::InstructionIssued(Box::new(body)), subject))
}

/// The event that makes an instruction void.
pub(crate) fn recalled((one, reason): (Open, RecallReason), now: Timestamp) -> Result<About, Error> {
    let body = InstructionRecalled {
        addressee: Some(one.instruction.addressee),
        reason: Some(reason),
        plan_id: one.instruction.plan,
        instruction_id: Some(one.instruction.id),
    };
    Ok((event_id(now)?, now, Body::InstructionRecalled(Box::new(body)), one.subject))
}

/// What an officer tells those who hold a person's data.
#[derive(Debug, Clone)]
pub struct Order {
    pub kind: InstructionKind,
    pub of: Selector,
    pub case: Option<Id>,
    pub due: Option<Timestamp>,
}

impl App {
    /// Tells every service that holds what is meant, and, where that concerns them, whoever got it from there.
    pub async fn tell_holders(&self, name: &Name, order: Order) -> Result<Vec<Open>, Error> {
        if matches!(order.kind, InstructionKind::Erase | InstructionKind::Anonymise) {
            return Err(Error::invalid("kind", "is not given by hand: what goes is planned"));
        }
        self.settled().await?;
        let now = self.clock.now();
        let (of, subject) = (order.of.clone(), self.who(name, None).await?);
        let (services, recipients) = self
            .ask(move |ask| {
                let work = Deciding::new(ask, now)?.work(ask, ask.canonical(subject)?)?;
                let work = work.ok_or(Error::SubjectNotFound)?;
                let (mut services, mut recipients) = (BTreeSet::new(), BTreeSet::new());
                for key in work.person.keys().filter(|key| of.holds(key)) {
                    recipients.extend(work.person.recipients(key).cloned());
                    if work.person.decide(key, now).state.is_held() {
                        services.extend(key.service.clone());
                    }
                }
                Ok((services, recipients))
            })
            .await?;
        let (to_services, to_recipients) = concerned(order.kind);
        let holders = services.into_iter().filter(|_| to_services).map(|service| {
            let of = Selector { service: Some(service.clone()), ..order.of.clone() };
            (self.holder_of_data(&service, now), RecipientChannel::Grpc, of)
        });
        let recipients = recipients.into_iter().filter(|_| to_recipients).map(|recipient| {
            let channel = self.channel_of(&recipient, now);
            (recipient, channel, order.of.clone())
        });
        let mut events = Vec::new();
        for (addressee, channel, of) in holders.chain(recipients) {
            let telling = Telling {
                kind: order.kind,
                addressee,
                channel,
                of,
                cause: order.case.as_ref().map(|_| PlanCause::Case),
                plan: None,
                after_plan: None,
                case: order.case.clone(),
                because: Vec::new(),
                collected_before: None,
                due_at: None,
                due: order.due,
            };
            events.push(issued(telling, subject, now)?);
        }
        self.tell(events, subject).await
    }

    /// Takes an instruction from an addressee that will not carry it out, and gives it to another.
    pub async fn reassign(&self, from: &Id, id: &Id, to: Id) -> Result<Open, Error> {
        let now = self.clock.now();
        let known = self.views.registers(|registers| {
            registers.service_at(&to, now, u64::MAX).is_some()
                || registers.recipient_at(&to, now, u64::MAX).is_some()
        });
        if !known {
            return Err(Error::invalid("to", "is neither a registered service nor a recipient"));
        }
        let _nothing_is_held = self.decide().await?;
        self.settled().await?;
        let known = self.given(from, vec![id.clone()]).await?.pop();
        let open = known.unwrap_or(Err(Error::InstructionNotFound))?.open;
        let state = open.instruction.state;
        use crate::domain::instruction::State::{Impossible, Refused};
        if !(state.is_open() || matches!(state, Refused | Impossible)) {
            return Err(super::ended(&open.instruction));
        }
        let channel = self.channel_of(&to, now);
        let telling = Telling { addressee: to, channel, ..Telling::again(&open.instruction) };
        let subject = open.subject;
        let void = recalled((open, RecallReason::Reassigned), now)?;
        let told = self.tell(vec![void, issued(telling, subject, now)?], subject).await?;
        told.into_iter().next().ok_or_else(|| Error::internal("not_told"))
    }

    /// Records instructions, and tells them as they stand then.
    async fn tell(&self, events: Vec<About>, subject: SubjectId) -> Result<Vec<Open>, Error> {
        let ids: BTreeSet<String> = events.iter().map(|(id, ..)| id.to_string()).collect();
        self.record_own_each(events).await?;
        self.settled().await?;
        let all = self.ask(move |ask| Ok(ask.instructions_of(subject)?)).await?.unwrap_or_default();
        let new = all.into_iter().filter(|one| ids.contains(one.id.as_str()));
        Ok(new.map(|instruction| Open { subject, instruction }).collect())
    }

    /// The service itself, or whoever took over what an ended one holds.
    pub(super) fn holder_of_data(&self, service: &Id, now: Timestamp) -> Id {
        let successor = self.views.registers(|registers| registers.successor_of(service, now));
        successor.unwrap_or_else(|| service.clone())
    }

    /// By which way a recipient is told; a service watches.
    pub(super) fn channel_of(&self, addressee: &Id, now: Timestamp) -> RecipientChannel {
        let registered = self.views.registers(|registers| {
            registers.recipient_at(addressee, now, u64::MAX).map(|entry| entry.body.channel)
        });
        match registered {
            Some(channel) => channel.unwrap_or(RecipientChannel::Desk),
            None => RecipientChannel::Grpc,
        }
    }
}

/// Whether services that hold data are told, and whether those are who got them.
fn concerned(kind: InstructionKind) -> (bool, bool) {
    use InstructionKind::*;
    match kind {
        Restrict | Lift | Rectify | StopUsing => (true, true),
        ProvideCopy | PreserveBackups => (true, false),
        Notify => (false, true),
        Erase | Anonymise => (false, false),
    }
}
