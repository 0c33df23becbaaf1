//! The record of processing activities: what the organisation does with which data, as Article 30 GDPR and
//! PIPL 55 to 56 ask for it, from the registers, with what the events show beside it.
//!
//! Computed when asked for, as things stood at an instant and as was known before a position. Nothing here is
//! about one person; how many people there are is counted only when asked for, from everybody's row.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::event::catalogue::{
    ActivityEnded, ActivityRegistered, ControllerRegistered, RecipientEnded, RecipientRegistered,
    ServiceRegistered,
};
use crate::domain::event::{
    AssessmentKind, AssessmentResult, EventType, RecipientRole, RetentionRule, Role, TransferRegime,
};
use crate::domain::id::{Country, Id};
use crate::domain::time::Timestamp;
use crate::domain::transfer::{self, Flow, Verdict};
use crate::domain::vocabulary::{self, Level};
use crate::record::PartRole;
use crate::views::ask::Ask;
use crate::views::flows::{Judge, Transfer};
use crate::views::person::Person;
use crate::views::registers::{Entry, Registers, Revision, in_force};
use crate::views::rules::Rules;
use crate::views::store::{self, tag};
use crate::views::stretch::Scope;
use crate::views::{Error, occurrences};

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// As things stood then.
    pub as_of: Timestamp,
    /// As was known before this position.
    pub known_at: u64,
}

/// One activity.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub activity: Id,
    pub revision: Revision,
    /// `None` where the service is not registered, or was not then.
    pub service: Option<ServiceRegistered>,
    pub controller: Option<Controller>,
    pub recipients: Vec<Recipient>,
    pub abroad: Vec<Abroad>,
    pub limits: Vec<Limit>,
    /// Purposes that no rule gives a time limit.
    pub unlimited: Vec<Id>,
    pub assessments: Vec<Assessed>,
    /// Those of its categories that count as sensitive in China (PIPL 28).
    pub sensitive_cats: BTreeSet<Id>,
    pub sensitive: bool,
    /// The later of its newest revision and its newest assessment.
    pub last_review: Timestamp,
    /// When an event of it was recorded last.
    pub last_event: Option<Timestamp>,
    /// Different people of whom something is collected in it and kept; `None` where nobody counted.
    pub people: Option<u64>,
}

/// Who answers for an activity.
#[derive(Debug, Clone, PartialEq)]
pub struct Controller {
    pub id: Id,
    /// `None` where it is not registered.
    pub registered: Option<ControllerRegistered>,
    /// Whether its registration names somebody as a contact: the data protection officer. The name itself is
    /// personal and not shown.
    pub has_contact: bool,
}

/// Who gets data of an activity.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipient {
    pub id: Id,
    /// `None` where it is not registered, or has ended.
    pub registered: Option<RecipientRegistered>,
}

/// A country that asks for a safeguard.
#[derive(Debug, Clone, PartialEq)]
pub struct Abroad {
    pub importer: Id,
    pub from: Country,
    pub to: Country,
    pub regime: TransferRegime,
    /// What allows it at this moment, or what is missing.
    pub verdict: Verdict,
    /// Whether a transfer of the activity was recorded, or the register alone says so.
    pub observed: bool,
}

/// How long data of an activity are kept, by one rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    pub rule: RetentionRule,
    /// Those of the activity's purposes that it is about; all if empty.
    pub purposes: Vec<Id>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Assessed {
    pub of: Id,
    pub kind: AssessmentKind,
    pub result: AssessmentResult,
    pub at: Timestamp,
    pub valid_until: Option<Timestamp>,
}

/// What one processor does for one controller (GDPR 30(2)).
#[derive(Debug, Clone, PartialEq)]
pub struct Processing {
    pub processor: Id,
    pub registered: RecipientRegistered,
    /// Whether the processor is a controller of this group, whose own record this is.
    pub in_group: bool,
    pub controller: Controller,
    pub activities: BTreeSet<Id>,
    pub purposes: BTreeSet<Id>,
    pub cats: BTreeSet<Id>,
    pub safeguards: BTreeSet<crate::domain::event::Safeguard>,
    pub abroad: Vec<Abroad>,
}

impl Ask {
    /// Whether a registration names somebody as a contact who is not erased. Who it is stays closed.
    pub fn names_contact(&self, position: u64) -> Result<bool, Error> {
        let mut contacts = Vec::new();
        self.reach.decode_all(&[position], |event| {
            let parts = event.parts.iter().filter(|part| part.role == PartRole::Person(Role::Contact));
            contacts.extend(parts.filter_map(|part| part.subject));
            Ok(())
        })?;
        for contact in contacts {
            if self.reading.get(&store::erased(contact))?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Every activity that is performed at a moment, by name.
    pub fn processing_records(
        &self,
        registers: &Registers,
        moment: Moment,
        count_people: bool,
    ) -> Result<Vec<Record>, Error> {
        let moment = Moment { known_at: moment.known_at.min(self.applied), ..moment };
        let transfers = self.transfer_shapes();
        let judge = self.judge(registers, &transfers, Scope::all(moment.known_at), moment.as_of)?;
        let rules = self.rules(moment.known_at)?;
        let people = if count_people { Some(self.people_by_activity(registers)?) } else { None };
        let events = Events::new(self, registers, &transfers, moment.known_at);
        let draft = Draft { ask: self, registers, moment, judge: &judge, events: &events };
        let mut records = Vec::new();
        for activity in registers.activities.keys() {
            let Some(revision) = performed(registers, activity, moment) else { continue };
            let mut record = draft.record(activity, revision, &rules)?;
            record.people = people.as_ref().map(|people| people.get(activity).copied().unwrap_or(0));
            records.push(record);
        }
        Ok(records)
    }

    /// Different people per activity in which something was collected about them. Those merged count as one;
    /// devices and contacts that are linked to somebody count for themselves.
    fn people_by_activity(&self, registers: &Registers) -> Result<BTreeMap<Id, u64>, Error> {
        let (merged, mut counts) = (self.merged()?, BTreeMap::<Id, u64>::new());
        let mut others = BTreeSet::new();
        for row in self.reading.prefix(&[tag::PERSON]) {
            let (key, value) = row?;
            let subject = key.last_chunk::<16>().ok_or(crate::views::codec::Malformed("person"))?;
            let person = Person::decode(&value)?;
            let shapes = self.shapes();
            let collected = person.entries.iter().filter_map(|(key, _)| {
                let shape = shapes.get(key.shape)?;
                let collects = shape.event_type == EventType::DataCollected;
                collects.then(|| registers.performed(shape, u64::MAX)).flatten()
            });
            let mine: BTreeSet<Id> = collected.collect();
            let canonical = merged.get(&crate::domain::id::SubjectId(*subject));
            for activity in mine {
                if canonical.is_none_or(|canonical| others.insert((activity.clone(), *canonical))) {
                    *counts.entry(activity).or_default() += 1;
                }
            }
        }
        Ok(counts)
    }
}

/// The revision in force, unless the activity had ended and was not registered again.
fn performed(registers: &Registers, activity: &Id, moment: Moment) -> Option<Revision> {
    let revision = registers.activity_at(activity, moment.as_of, moment.known_at)?;
    let end: Option<&Entry<ActivityEnded>> =
        in_force(registers.activity_ends.get(activity), moment.as_of, moment.known_at);
    end.is_none_or(|end| end.from < revision.entry.from).then_some(revision)
}

/// A recipient's registration in force, unless it had ended and was not registered again.
pub fn receives(registers: &Registers, recipient: &Id, moment: Moment) -> Option<RecipientRegistered> {
    let entry = in_force(registers.recipients.get(recipient), moment.as_of, moment.known_at)?;
    let end: Option<&Entry<RecipientEnded>> =
        in_force(registers.recipient_ends.get(recipient), moment.as_of, moment.known_at);
    end.is_none_or(|end| end.from < entry.from).then(|| (*entry.body).clone())
}

/// What events there are, by activity.
struct Events<'a> {
    shapes: BTreeMap<Id, Vec<u32>>,
    transfers: BTreeMap<Id, Vec<&'a Transfer>>,
}

impl<'a> Events<'a> {
    fn new(ask: &Ask, registers: &Registers, all: &'a [Transfer], known_at: u64) -> Events<'a> {
        let mut shapes: BTreeMap<Id, Vec<u32>> = BTreeMap::new();
        for (number, shape) in ask.shapes().iter() {
            if let Some(activity) = registers.performed(shape, known_at) {
                shapes.entry(activity).or_default().push(number);
            }
        }
        let mut transfers: BTreeMap<Id, Vec<&Transfer>> = BTreeMap::new();
        for transfer in all {
            if let Some(activity) = registers.performed(&transfer.shape, known_at) {
                transfers.entry(activity).or_default().push(transfer);
            }
        }
        Events { shapes, transfers }
    }
}

/// What the record of one activity is made from.
struct Draft<'a> {
    ask: &'a Ask,
    registers: &'a Registers,
    moment: Moment,
    judge: &'a Judge<'a>,
    events: &'a Events<'a>,
}

impl Draft<'_> {
    fn record(&self, activity: &Id, revision: Revision, rules: &Rules) -> Result<Record, Error> {
        let Moment { as_of, known_at } = self.moment;
        let body = revision.entry.body.clone();
        let service = body.service.as_ref().and_then(|id| self.registers.service_at(id, as_of, known_at));
        let service = service.map(|entry| (*entry.body).clone());
        let owner = service.as_ref().and_then(|service| service.owner.clone());
        let controller = owner.map(|owner| self.controller(owner)).transpose()?;
        let recipients = body.recipients.iter().map(|stated| {
            let id = stated.clone();
            Recipient { registered: receives(self.registers, &id, self.moment), id }
        });
        let recipients: Vec<Recipient> = recipients.collect();
        let sensitive = |cat: &&Id| vocabulary::level(cat.as_str()) == Some(Level::Sensitive);
        let sensitive_cats: BTreeSet<Id> = body.cats.iter().filter(sensitive).cloned().collect();
        let assessments = self.assessments(activity, &body);
        let reviewed = assessments.iter().map(|made| made.at).max().unwrap_or(revision.entry.from);
        let limits = limits(rules, &body, as_of);
        let unlimited = body.purposes.iter().map(|purpose| &purpose.id);
        let unlimited =
            unlimited.filter(|purpose| !limits.iter().any(|limit| limit.purposes.contains(purpose)));
        Ok(Record {
            activity: activity.clone(),
            abroad: self.abroad(activity, &body, &recipients, service.as_ref(), controller.as_ref())?,
            sensitive: body.sensitive.unwrap_or(!sensitive_cats.is_empty()),
            unlimited: unlimited.cloned().collect(),
            last_review: reviewed.max(revision.entry.from),
            last_event: self.last_event(activity)?,
            people: None,
            service,
            controller,
            recipients,
            limits,
            assessments,
            sensitive_cats,
            revision,
        })
    }

    fn controller(&self, id: Id) -> Result<Controller, Error> {
        let Moment { as_of, known_at } = self.moment;
        let entry = in_force(self.registers.controllers.get(&id), as_of, known_at);
        let has_contact = match entry {
            Some(entry) => self.ask.names_contact(entry.position)?,
            None => false,
        };
        Ok(Controller { id, registered: entry.map(|entry| (*entry.body).clone()), has_contact })
    }

    fn assessments(&self, activity: &Id, body: &ActivityRegistered) -> Vec<Assessed> {
        let Moment { as_of, known_at } = self.moment;
        let mut made = Vec::new();
        for of in [Some(activity), body.assessment_ref.as_ref()].into_iter().flatten() {
            for entry in self.registers.assessments.get(of).into_iter().flatten() {
                if entry.from <= as_of && entry.position < known_at {
                    let body = &entry.body;
                    let (kind, result, valid_until) = (body.kind, body.result, body.valid_until);
                    made.push(Assessed { of: of.clone(), kind, result, at: entry.from, valid_until });
                }
            }
        }
        made.dedup();
        made
    }

    /// Flows of an activity that a law asks something for: those that were recorded, and those that its
    /// recipients' countries make.
    fn abroad(
        &self,
        activity: &Id,
        body: &ActivityRegistered,
        recipients: &[Recipient],
        service: Option<&ServiceRegistered>,
        controller: Option<&Controller>,
    ) -> Result<Vec<Abroad>, Error> {
        let mut flows: BTreeMap<(Id, Country, Country), (Flow, bool)> = BTreeMap::new();
        for transfer in self.events.transfers.get(activity).into_iter().flatten() {
            let known_at = self.moment.known_at;
            let Some(flow) = transfer.resolve(self.registers, self.moment.as_of, known_at) else { continue };
            let happened = occurrences::of_shape(&self.ask.reading, transfer.number, known_at);
            let happened = happened.map(|one| one.map(|one| one.at));
            let mut happened = happened.filter(|at| !matches!(at, Ok(at) if *at > self.moment.as_of));
            if happened.next().transpose()?.is_some() {
                flows
                    .entry((flow.importer.clone(), flow.from, flow.to))
                    .and_modify(|(known, _)| known.cats.extend(flow.cats.iter().cloned()))
                    .or_insert((flow, true));
            }
        }
        let from = service.and_then(|service| service.storage_country);
        for recipient in recipients {
            let to = recipient.registered.as_ref().and_then(|body| body.country);
            let (Some(from), Some(to), Some(exporter)) = (from, to, controller) else { continue };
            let by_category =
                || body.cats.iter().any(|cat| vocabulary::level(cat.as_str()) == Some(Level::Sensitive));
            flows.entry((recipient.id.clone(), from, to)).or_insert_with(|| {
                let flow = Flow {
                    exporter: exporter.id.clone(),
                    importer: recipient.id.clone(),
                    from,
                    to,
                    cats: body.cats.iter().cloned().collect(),
                    purposes: body.purposes.iter().map(|purpose| purpose.id.clone()).collect(),
                    sensitive: body.sensitive.unwrap_or_else(by_category),
                    exemption: None,
                };
                (flow, false)
            });
        }
        let abroad = flows.into_values().filter_map(|(flow, observed)| {
            let regime = transfer::regime(flow.from, flow.to, self.moment.as_of)?;
            let verdict = self.judge.verdict(&flow, self.moment.as_of);
            Some(Abroad { importer: flow.importer, from: flow.from, to: flow.to, regime, verdict, observed })
        });
        Ok(abroad.collect())
    }

    /// When something of the activity was recorded last.
    fn last_event(&self, activity: &Id) -> Result<Option<Timestamp>, Error> {
        let mut last = None;
        for number in self.events.shapes.get(activity).into_iter().flatten() {
            last = last.max(occurrences::newest(&self.ask.reading, *number, self.moment.known_at)?);
        }
        Ok(last)
    }
}

/// Rules in force that are about an activity: every list that a rule states has something in common with it.
fn limits(rules: &Rules, body: &ActivityRegistered, as_of: Timestamp) -> Vec<Limit> {
    let purposes: Vec<&Id> = body.purposes.iter().map(|purpose| &purpose.id).collect();
    let fits = |rule: &&RetentionRule| {
        let Some(matches) = &rule.matches else { return true };
        let any =
            |stated: &[Id], ours: &[&Id]| stated.is_empty() || stated.iter().any(|id| ours.contains(&id));
        any(&matches.purposes, &purposes)
            && any(&matches.categories, &body.cats.iter().collect::<Vec<_>>())
            && any(&matches.record_kinds, &body.record_kind.iter().collect::<Vec<_>>())
            && (matches.regimes.is_empty()
                || matches.regimes.iter().any(|regime| body.regimes.contains(regime)))
    };
    let limit = |rule: &RetentionRule| {
        let stated = rule.matches.iter().flat_map(|matches| matches.purposes.iter());
        Limit {
            purposes: stated.filter(|purpose| purposes.contains(purpose)).cloned().collect(),
            rule: rule.clone(),
        }
    };
    rules.in_force(as_of).iter().filter(fits).map(limit).collect()
}

/// What each processor does for each controller, from the records of the activities.
pub fn processors(registers: &Registers, records: &[Record], moment: Moment) -> Vec<Processing> {
    let mut all: BTreeMap<(Id, Id), Processing> = BTreeMap::new();
    for record in records {
        let Some(controller) = &record.controller else { continue };
        for recipient in &record.recipients {
            let processor = |body: &&RecipientRegistered| body.role == Some(RecipientRole::Processor);
            let Some(body) = recipient.registered.as_ref().filter(processor) else { continue };
            let key = (recipient.id.clone(), controller.id.clone());
            let in_group = registers.controllers.get(&recipient.id);
            let in_group = in_force(in_group, moment.as_of, moment.known_at).is_some();
            let one = all.entry(key).or_insert_with(|| Processing {
                processor: recipient.id.clone(),
                registered: body.clone(),
                in_group,
                controller: controller.clone(),
                activities: BTreeSet::new(),
                purposes: BTreeSet::new(),
                cats: BTreeSet::new(),
                safeguards: BTreeSet::new(),
                abroad: Vec::new(),
            });
            let activity = &record.revision.entry.body;
            let declared = |cat: &&Id| {
                body.cats.is_empty()
                    || body.cats.iter().any(|ours| vocabulary::satisfies(cat.as_str(), ours.as_str()))
            };
            let wanted = |purpose: &&Id| body.purposes.is_empty() || body.purposes.contains(purpose);
            one.activities.insert(record.activity.clone());
            one.purposes.extend(activity.purposes.iter().map(|p| &p.id).filter(wanted).cloned());
            one.cats.extend(activity.cats.iter().filter(declared).cloned());
            one.safeguards.extend(activity.safeguards.iter().copied());
            let theirs = record.abroad.iter().filter(|abroad| abroad.importer == recipient.id);
            one.abroad
                .extend(theirs.filter(|abroad| !one.abroad.contains(abroad)).cloned().collect::<Vec<_>>());
        }
    }
    all.into_values().collect()
}
