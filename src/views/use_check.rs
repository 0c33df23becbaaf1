//! The facts with which `domain::use_check` decides: what is kept of the person, what the registers say of the
//! activity, and whether flows that it needs are allowed. Services ask before each use, so that one person's row
//! and the registers have to do; only where the number of people exported from China decides are these counted.

use crate::domain::consent::{Act as ConsentAct, Step, Timeline};
use crate::domain::event::catalogue::ActivityRegistered;
use crate::domain::event::{AgeBand, Body, LegalBasis, MappingKind, PurposeBasis, RecipientRole};
use crate::domain::id::{Id, Regime, SubjectId};
use crate::domain::law::Law;
use crate::domain::time::Timestamp;
use crate::domain::transfer::{self, Flow, Mechanism};
use crate::domain::use_check::{
    self, Abroad, AccountAct, Act, Code, Datum, DatumKey, Opening, Question, Recipient, Selector, Verdict,
    What,
};
use crate::domain::vocabulary;
use crate::views::ask::Ask;
use crate::views::counter::Counters;
use crate::views::group::Group;
use crate::views::registers::{Registers, Revision};
use crate::views::report::{Line, data};
use crate::views::{Error, lock};

/// What is asked, of somebody who is known or of nobody known.
#[derive(Debug, Clone)]
pub struct UseQuestion {
    pub subject: Option<SubjectId>,
    pub activity: Id,
    /// When the use is to be.
    pub at: Timestamp,
    /// Only what had happened by then, if a time was named.
    pub as_of: Option<Timestamp>,
    pub known_at: Option<u64>,
}

/// The answer, and what it was computed from.
#[derive(Debug, Clone, PartialEq)]
pub struct UseAnswer {
    pub verdict: Verdict,
    /// Records below this position were taken into account.
    pub known_at: u64,
    pub law: &'static Law,
    /// Of the activity.
    pub revision: Option<u64>,
    /// Whether anything is known of the person.
    pub known: bool,
}

/// What one person's lines say.
#[derive(Default)]
struct Facts {
    data: Vec<Datum>,
    /// Purposes that were added to what is held.
    added: Vec<(Selector, Opening)>,
    steps: Vec<Step>,
    acts: Vec<Act>,
    accounts: Vec<AccountAct>,
    age: Option<(Timestamp, AgeBand)>,
}

impl Ask {
    /// The service that an activity is of, as registered at an instant.
    pub fn service_of(&self, activity: &Id, at: Timestamp, known_at: Option<u64>) -> Option<Id> {
        let known_at = known_at.unwrap_or(u64::MAX).min(self.applied);
        let registers = lock::read(&self.generation.shared.registers);
        registers.activity_at(activity, at, known_at)?.entry.body.service.clone()
    }

    /// Whether an activity may touch a person's data.
    pub fn check_use(&self, question: &UseQuestion) -> Result<UseAnswer, Error> {
        let known_at = question.known_at.unwrap_or(u64::MAX).min(self.applied);
        // The registers are locked after the lines are read, because reading them locks these too.
        let known = match question.subject {
            Some(subject) => self.lines_of(subject, question.as_of, known_at)?,
            None => None,
        };
        let lines = known.as_ref().map_or(&[][..], |(_, lines)| lines);
        let (mut answer, to_count) = {
            let registers = lock::read(&self.generation.shared.registers);
            answer(&registers, question, lines, known_at, None)
        };
        if to_count {
            let registers = lock::read(&self.generation.shared.registers).clone();
            let counters = Counters::new(self, &registers, &self.transfer_shapes(), known_at)?;
            answer = self::answer(&registers, question, lines, known_at, Some(&counters)).0;
        }
        if let Some((group, lines)) = &known {
            self.end_by_rules(&mut answer.verdict, group, lines, (question.at, known_at))?;
        }
        Ok(UseAnswer { known: known.is_some(), ..answer })
    }

    /// Of what is held, purposes whose time is over by the retention rules are not usable.
    fn end_by_rules(
        &self,
        verdict: &mut Verdict,
        group: &Group,
        lines: &[Line],
        (at, known_at): (Timestamp, u64),
    ) -> Result<(), Error> {
        let usable = |judged: &use_check::Judged| judged.held && !judged.usable_for.is_empty();
        let keys: Vec<DatumKey> =
            verdict.data.iter().filter(|judged| usable(judged)).map(|judged| judged.key.clone()).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let person = self.person_by(group, lines, known_at)?;
        for key in keys {
            verdict.is_over(&key, &person.decide(&key, at).usable_for);
        }
        Ok(())
    }
}

/// The answer, and whether numbers of exports would have to be counted for it to be right.
fn answer(
    registers: &Registers,
    question: &UseQuestion,
    lines: &[Line],
    known_at: u64,
    counters: Option<&Counters>,
) -> (UseAnswer, bool) {
    let at = question.at;
    let law = registers.law(at, known_at);
    let revision = registers.activity_at(&question.activity, at, known_at);
    let number = revision.as_ref().map(|revision| revision.number);
    let say = |verdict| UseAnswer { verdict, known_at, law, revision: number, known: false };
    let Some(Revision { entry, .. }) = revision else {
        return (say(Verdict::refused(Code::ActivityUnknown, None)), false);
    };
    let ends = registers.activity_ends.get(&question.activity).into_iter().flatten();
    let ended = ends.filter(|end| end.position < known_at && end.from <= at).map(|end| end.from).max();
    if let Some(ended) = ended.filter(|ended| entry.from <= *ended) {
        return (say(Verdict::refused(Code::ActivityEnded, Some(ended))), false);
    }
    let looked = Looked { registers, known_at, activity: &entry.body, at, law };
    let mut facts = Facts::default();
    lines.iter().for_each(|line| looked.gather(line, &mut facts));
    looked.add_purposes(&mut facts);
    looked.add_what_is_not_held(&mut facts);
    let (recipients, to_count) = looked.recipients(counters);
    let service = entry.body.service.as_ref().and_then(|id| registers.service_at(id, at, known_at));
    let verdict = use_check::decide(&Question {
        at,
        law,
        purposes: &looked.purposes(),
        regimes: &entry.body.regimes,
        sensitive: entry.body.sensitive == Some(true),
        recipients: &recipients,
        for_children: service.is_some_and(|service| service.body.directed_at_children == Some(true)),
        data: &facts.data,
        consents: &Timeline::new(facts.steps),
        acts: &facts.acts,
        accounts: &facts.accounts,
        service_ended: looked.service_ended(),
        age_band: facts.age.map(|(_, band)| band),
    });
    (say(verdict), to_count && verdict_hangs_on(&recipients))
}

/// Whether a flow is refused that numbers may allow.
fn verdict_hangs_on(recipients: &[Recipient]) -> bool {
    recipients.iter().any(|recipient| recipient.abroad.is_some_and(|abroad| !abroad.allowed))
}

/// The activity as it was registered, and where everything else stands.
struct Looked<'a> {
    registers: &'a Registers,
    known_at: u64,
    activity: &'a ActivityRegistered,
    at: Timestamp,
    law: &'static Law,
}

impl Looked<'_> {
    /// What a term of the register means; a mapping for one emitter is not the register's.
    fn meant(&self, kind: MappingKind, term: &Id) -> Id {
        self.registers.mapped(kind, term, term, self.known_at)
    }

    fn purposes(&self) -> Vec<PurposeBasis> {
        let meant = |purpose: &PurposeBasis| PurposeBasis {
            id: self.meant(MappingKind::Purpose, &purpose.id),
            basis: purpose.basis,
        };
        self.activity.purposes.iter().map(meant).collect()
    }

    /// Whether the activity touches a datum: of its service and kind of record, of a category of its own or a
    /// narrower one.
    fn touches(&self, key: &DatumKey) -> bool {
        let covers = |ours: &Id| {
            vocabulary::satisfies(key.category.as_str(), self.meant(MappingKind::Category, ours).as_str())
        };
        let kind = self.activity.record_kind.as_ref();
        let kind = kind.map(|kind| self.meant(MappingKind::RecordKind, kind));
        key.service == self.activity.service
            && (kind.is_none() || key.record_kind.is_none() || kind == key.record_kind)
            && (self.activity.cats.is_empty() || self.activity.cats.iter().any(covers))
    }

    fn gather(&self, line: &Line, facts: &mut Facts) {
        let emitter = &line.shape.emitter;
        let meant = |kind, term: &Id| self.registers.mapped(kind, term, emitter, self.known_at);
        macro_rules! selector {
            ($body:ident) => {
                Selector {
                    service: $body.service.clone(),
                    record_kind: $body.record_kind.as_ref().map(|kind| meant(MappingKind::RecordKind, kind)),
                    category: $body.category.as_ref().map(|cat| meant(MappingKind::Category, cat)),
                    slot: $body.slot.clone().into(),
                    exact: false,
                }
            };
        }
        macro_rules! act {
            ($what:ident, $body:ident, $purpose:expr) => {{
                let purpose: Option<&Id> = $purpose;
                let purpose = purpose.map(|purpose| meant(MappingKind::Purpose, purpose));
                facts.acts.push(Act { at: line.at(), what: What::$what, of: selector!($body), purpose })
            }};
        }
        match &line.body {
            Body::DataCollected(body) => self.collected(line, body, facts),
            Body::PurposeAdded(body) => {
                let Some(purpose) = &body.purpose else { return };
                let opening = Opening {
                    at: line.at(),
                    purpose: meant(MappingKind::Purpose, &purpose.id),
                    basis: purpose.basis,
                    collected: false,
                };
                facts.added.push((selector!(body), opening));
            }
            Body::PurposeFulfilled(body) => act!(Fulfilled, body, body.purpose.as_ref()),
            Body::ObjectionUpheld(body) => act!(Objected, body, body.purpose.as_ref()),
            Body::UnlawfulProcessingFound(body) => act!(Unlawful, body, body.purpose.as_ref()),
            Body::ErasureAccepted(body) => act!(ErasureAccepted, body, None),
            Body::RestrictionApplied(body) => act!(Restricted, body, None),
            Body::RestrictionLifted(body) => act!(RestrictionLifted, body, None),
            // An execution on what was collected before an instant ends nothing that was collected since.
            Body::ErasureExecuted(body) => {
                act!(Executed, body, None);
                narrow(facts, body.collected_before, body.exact);
            }
            Body::AnonymisationExecuted(body) => {
                act!(Executed, body, None);
                narrow(facts, body.collected_before, body.exact);
            }
            Body::AccountRegistered(body) => {
                note_age(facts, line.tally.last, body.age_band);
                let services = self.contracts(line, &body.services);
                for at in [line.tally.first, line.tally.last] {
                    facts.accounts.push(AccountAct { at, opened: true, services: services.clone() });
                }
            }
            Body::AccountCancelled(body) => {
                let services = self.contracts(line, &body.services);
                facts.accounts.push(AccountAct { at: line.at(), opened: false, services });
            }
            _ => self.consent(line, facts),
        }
    }

    fn consent(&self, line: &Line, facts: &mut Facts) {
        let Some(step) = consent_step(self.registers, self.known_at, line) else { return };
        let band = match &line.body {
            Body::ConsentGiven(body) => body.age_band,
            Body::ConsentRefused(body) => body.age_band,
            _ => None,
        };
        note_age(facts, step.at, band);
        facts.steps.push(step);
    }

    fn collected(
        &self,
        line: &Line,
        body: &crate::domain::event::catalogue::DataCollected,
        facts: &mut Facts,
    ) {
        let emitter = &line.shape.emitter;
        let meant = |kind, term: &Id| self.registers.mapped(kind, term, emitter, self.known_at);
        let registered = line.revision.as_ref().map(|revision| &*revision.entry.body);
        let purposes: Vec<(Id, LegalBasis)> = data::purposes(line, &body.purposes)
            .into_iter()
            .filter_map(|(purpose, basis, _)| Some((meant(MappingKind::Purpose, &purpose?), basis?)))
            .collect();
        for key in data::datum_keys(line.shape.service.as_ref(), body, registered) {
            let key = DatumKey {
                service: key.service,
                record_kind: key.record_kind.map(|kind| meant(MappingKind::RecordKind, &kind)),
                category: meant(MappingKind::Category, &key.category),
                slot: key.slot,
            };
            if !self.touches(&key) {
                continue;
            }
            // Between the first and the last nothing opened that these two do not open.
            let openings = [line.tally.first, line.tally.last].into_iter().flat_map(|at| {
                let one = move |(purpose, basis): &(Id, LegalBasis)| Opening {
                    at,
                    purpose: purpose.clone(),
                    basis: *basis,
                    collected: true,
                };
                purposes.iter().map(one).collect::<Vec<_>>()
            });
            match facts.data.iter_mut().find(|datum| datum.key == key) {
                Some(datum) => datum.openings.extend(openings),
                None => facts.data.push(Datum { key, openings: openings.collect() }),
            }
        }
    }

    /// Services whose contracts hang on an account.
    fn contracts(&self, line: &Line, stated: &[Id]) -> Vec<Id> {
        if !stated.is_empty() {
            return stated.to_vec();
        }
        let Some(own) = &line.shape.service else { return Vec::new() };
        let registered = self.registers.service_at(own, self.at, self.known_at);
        let mut services = registered.map(|entry| entry.body.account_services.to_vec()).unwrap_or_default();
        services.push(own.clone());
        services
    }

    fn add_purposes(&self, facts: &mut Facts) {
        for (of, opening) in std::mem::take(&mut facts.added) {
            for datum in facts.data.iter_mut().filter(|datum| of.holds(&datum.key)) {
                datum.openings.push(opening.clone());
            }
        }
    }

    /// Categories of the activity of which nothing is held: it would collect them.
    fn add_what_is_not_held(&self, facts: &mut Facts) {
        for cat in self.activity.cats.iter().map(|cat| self.meant(MappingKind::Category, cat)) {
            let held = |datum: &Datum| vocabulary::satisfies(datum.key.category.as_str(), cat.as_str());
            if !facts.data.iter().any(held) {
                let key = DatumKey {
                    service: self.activity.service.clone(),
                    record_kind: self.activity.record_kind.clone(),
                    category: cat,
                    slot: None,
                };
                facts.data.push(Datum { key, openings: Vec::new() });
            }
        }
    }

    fn service_ended(&self) -> Option<Timestamp> {
        let ends = self.registers.others.iter().filter(|entry| entry.position < self.known_at);
        let ends = ends.filter_map(|entry| match &*entry.body {
            Body::ServiceTerminated(body) if body.service == self.activity.service => {
                Some(body.end_at.unwrap_or(entry.from))
            }
            _ => None,
        });
        ends.min()
    }

    /// Whom the activity names, and whether a flow to each is allowed; and whether a count may allow more.
    fn recipients(&self, counters: Option<&Counters>) -> (Vec<Recipient>, bool) {
        let (mut recipients, mut to_count) = (Vec::new(), false);
        for id in self.activity.recipients.iter().map(|id| self.meant(MappingKind::Recipient, id)) {
            let registered = self.registers.recipient_at(&id, self.at, self.known_at);
            let role = registered.and_then(|entry| entry.body.role);
            let independent = matches!(role, Some(RecipientRole::Controller | RecipientRole::Sdk));
            let flow = registered.and_then(|entry| entry.body.country).and_then(|to| self.flow(&id, to));
            let abroad = flow.map(|flow| {
                let (allowed, hangs) = self.is_allowed(&flow, counters);
                to_count |= hangs;
                Abroad { country: flow.to, allowed }
            });
            recipients.push(Recipient { id, independent, abroad });
        }
        (recipients, to_count)
    }

    /// The flow to a recipient, if it crosses a border at which a law asks for something.
    fn flow(&self, importer: &Id, to: crate::domain::id::Country) -> Option<Flow> {
        let service = self.activity.service.as_ref();
        let service = &self.registers.service_at(service?, self.at, self.known_at)?.body;
        let (exporter, from) = (service.owner.clone()?, service.storage_country?);
        transfer::regime(from, to, self.at)?;
        Some(Flow {
            exporter,
            importer: importer.clone(),
            from,
            to,
            cats: self.activity.cats.iter().map(|cat| self.meant(MappingKind::Category, cat)).collect(),
            purposes: self.purposes().into_iter().map(|purpose| purpose.id).collect(),
            sensitive: self.activity.sensitive == Some(true),
            exemption: None,
        })
    }

    /// Whether something allows a flow. Of one from China this may hang on how many people's data went before:
    /// what satisfies the strictest tier is allowed without a count.
    fn is_allowed(&self, flow: &Flow, counters: Option<&Counters>) -> (bool, bool) {
        let mechanisms: Vec<Mechanism> = self
            .registers
            .mechanisms
            .iter()
            .filter(|(_, history)| {
                let for_both = |body: &crate::domain::event::catalogue::TransferMechanismRegistered| {
                    body.exporter.as_ref() == Some(&flow.exporter)
                        && body.importer.as_ref() == Some(&flow.importer)
                };
                history.iter().any(|entry| for_both(&entry.body))
            })
            .filter_map(|(id, _)| self.registers.mechanism(id, self.known_at))
            .collect();
        let chinese = flow.from.as_str() == Regime::CN.as_str();
        let asked: Option<Vec<Id>> = match counters {
            _ if !chinese => None,
            Some(counters) => counters.asked(&flow.exporter, self.at, self.law),
            None => self
                .law
                .cn_tiers(self.at.local_date(chrono_tz::Asia::Shanghai))
                .last()
                .map(|tier| tier.kinds.clone()),
        };
        let verdict = transfer::judge(flow, self.at, self.law, &mechanisms, asked.as_deref());
        (verdict.is_allowed(), chinese && counters.is_none())
    }
}

fn note_age(facts: &mut Facts, at: Timestamp, band: Option<AgeBand>) {
    if let Some(band) = band
        && facts.age.is_none_or(|known| known <= (at, band))
    {
        facts.age = Some((at, band));
    }
}

/// The newest act is of what was collected before an instant only, or of no more than it names.
fn narrow(facts: &mut Facts, collected_before: Option<Timestamp>, exact: Option<bool>) {
    let Some(act) = facts.acts.last_mut() else { return };
    if let Some(before) = collected_before {
        act.at = act.at.min(before.plus_ms(-1));
    }
    if exact == Some(true) {
        act.of = std::mem::take(&mut act.of).exactly();
    }
}

/// What a line says of consent, if it does.
pub(super) fn consent_step(registers: &Registers, known_at: u64, line: &Line) -> Option<Step> {
    let mut step = Step {
        at: line.at(),
        recorded_at: line.at(),
        act: ConsentAct::Given,
        purpose: None,
        recipient: None,
        country: None,
        kind: None,
        policy_version: line.shape.policy_version.clone(),
        expires_at: None,
        consent_id: None,
        guardian: false,
    };
    macro_rules! same {
        ($body:ident, $act:ident) => {{
            step.act = ConsentAct::$act;
            (step.purpose, step.recipient) = ($body.purpose.clone(), $body.recipient.clone());
            (step.country, step.kind) = ($body.country, $body.kind);
            step.consent_id = $body.consent_id.clone();
        }};
    }
    match &line.body {
        Body::ConsentGiven(body) => {
            same!(body, Given);
            (step.expires_at, step.guardian) = (body.expires_at, body.guardian_consent);
        }
        Body::ConsentRefused(body) => same!(body, Refused),
        Body::ConsentWithdrawn(body) => same!(body, Withdrawn),
        _ => return None,
    }
    let meant = |kind, term: Id| registers.mapped(kind, &term, &line.shape.emitter, known_at);
    step.purpose = step.purpose.map(|purpose| meant(MappingKind::Purpose, purpose));
    step.recipient = step.recipient.map(|recipient| meant(MappingKind::Recipient, recipient));
    Some(step)
}
