//! What is to be done about one person's data: what is due, what only a hold or the like keeps, whether what somebody
//! was told to do still stands, and who got what is gone and was not told so.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::domain::datum::DatumKey;
use crate::domain::event::{Body, RecallReason};
use crate::domain::id::{Id, SubjectId};
use crate::domain::instruction::Instruction;
use crate::domain::plan::Item;
use crate::domain::retention::{Act, Decision, Fact, Reason, State};
use crate::domain::time::Timestamp;
use crate::views::Error;
use crate::views::ask::Ask;
use crate::views::instructions;
use crate::views::plans::Plan;
use crate::views::report::Line;
use crate::views::retention::{Bounds, House, Person};

/// What there is to do about one person.
pub struct Work {
    pub subject: SubjectId,
    pub person: Person,
    pub instructions: Vec<Instruction>,
    /// Requests that nobody has answered.
    pub open_cases: bool,
    /// Where the newest record of the person stands.
    newest: u64,
}

/// Decides about many people by the same house.
pub struct Deciding {
    pub house: Arc<House>,
    pub now: Timestamp,
    bounds: Bounds,
    /// What held for everybody when plans were made.
    then: HashMap<Id, Arc<House>>,
}

impl Deciding {
    pub fn new(ask: &Ask, now: Timestamp) -> Result<Deciding, Error> {
        let house = Arc::new(ask.house_at(ask.applied, now)?);
        let bounds = Bounds::of(&house, None);
        Ok(Deciding { house, now, bounds, then: HashMap::new() })
    }

    /// `None` of somebody who counts as another, or of whom nothing is known.
    pub fn work(&self, ask: &Ask, subject: SubjectId) -> Result<Option<Work>, Error> {
        Work::of(ask, subject, &self.house, &self.bounds)
    }

    /// Whether an item that is due now is one of a plan's, which was made when less was known.
    pub fn was_planned(&mut self, ask: &Ask, plan: &Plan, work: &Work, item: &Item) -> Result<bool, Error> {
        if !plan.reaches(item) {
            return Ok(false);
        }
        if work.newest < plan.computed_at {
            return Ok(true);
        }
        let house = match self.then.get(&plan.id) {
            Some(house) => Arc::clone(house),
            None => Arc::new(ask.house_at(plan.computed_at, plan.as_of)?),
        };
        self.then.insert(plan.id.clone(), Arc::clone(&house));
        let bounds = Bounds::of(&house, None);
        let then = ask.person_at(work.subject, &house, &bounds, plan.computed_at)?;
        Ok(then.is_some_and(|person| {
            let decision = person.decide(&item.key, plan.as_of);
            Item::of(&item.key, &decision).is_some_and(|then| then.group == item.group)
        }))
    }
}

/// Whether a request was received and neither fulfilled, refused nor withdrawn.
fn has_open_cases(lines: &[Line]) -> bool {
    let mut open: BTreeSet<Option<&Id>> = BTreeSet::new();
    let mut closed: BTreeSet<Option<&Id>> = BTreeSet::new();
    for line in lines {
        match &line.body {
            Body::RequestReceived(body) => drop(open.insert(body.case_id.as_ref())),
            Body::RequestFulfilled(body) => drop(closed.insert(body.case_id.as_ref())),
            Body::RequestRefused(body) => drop(closed.insert(body.case_id.as_ref())),
            Body::RequestWithdrawn(body) => drop(closed.insert(body.case_id.as_ref())),
            _ => {}
        }
    }
    open.difference(&closed).next().is_some()
}

impl Work {
    /// `None` of somebody who counts as another, or of whom nothing is known.
    pub(in crate::views) fn of(
        ask: &Ask,
        subject: SubjectId,
        house: &Arc<House>,
        bounds: &Bounds,
    ) -> Result<Option<Work>, Error> {
        let group = ask.group(subject, ask.applied)?.filter(|group| group.canonical == subject);
        let Some(group) = group else { return Ok(None) };
        let (gathered, lines) = ask.known(&group, ask.applied, bounds)?;
        Ok(Some(Work {
            subject,
            person: Person::new(gathered, Arc::clone(house)),
            instructions: instructions::among(&lines),
            open_cases: has_open_cases(&lines),
            newest: group
                .rows
                .values()
                .filter_map(|row| row.tail.last())
                .map(|last| last.position)
                .max()
                .unwrap_or(0),
        }))
    }

    /// Whether nothing asks any more to know who the person is (`domain.md` 4.4 step 5): no datum, account, hold,
    /// open instruction or case.
    pub fn is_needless(&self, now: Timestamp) -> bool {
        let told = |one: &Instruction| {
            use crate::domain::instruction::State::{Impossible, Refused};
            one.state.is_open() || one.destroys() && matches!(one.state, Refused | Impossible)
        };
        !self.person.holds_anything(now)
            && !self.person.has_account(now)
            && !self.person.is_anywhere_held(now)
            && !self.instructions.iter().any(told)
            && !self.open_cases
    }

    /// Every datum with its decision.
    pub fn decided(&self, now: Timestamp) -> Vec<(&DatumKey, Decision)> {
        self.person.keys().map(|key| (key, self.person.decide(key, now))).collect()
    }

    /// What of it is due, and nobody has in hand.
    pub fn items(&self, decided: &[(&DatumKey, Decision)]) -> Vec<Item> {
        let due = decided.iter().filter_map(|(key, decision)| Item::of(key, decision));
        due.filter(|item| !self.is_in_hand(item)).collect()
    }

    /// Whether somebody was told, and has not answered, or has answered that it is not done: then an officer decides.
    pub(in crate::views) fn is_in_hand(&self, item: &Item) -> bool {
        use crate::domain::instruction::State::{Done, Recalled};
        self.instructions.iter().any(|told| {
            told.is_of_what_is_due()
                && told.collected_before == item.collected_before
                && told.of.holds(&item.key)
                && !matches!(told.state, Done | Recalled)
        })
    }

    /// Why an instruction to destroy is void by now; `None` while it stands. What was handed on to a recipient is
    /// gone at its source, so that only a hold keeps it there.
    pub fn voided(&self, told: &Instruction, now: Timestamp) -> Option<RecallReason> {
        self.voided_among(&[], told, now)
    }

    /// What nobody has begun and is void by now, with why.
    pub fn void(
        &self,
        decided: &[(&DatumKey, Decision)],
        now: Timestamp,
    ) -> Vec<(&Instruction, RecallReason)> {
        use crate::domain::instruction::State::Begun;
        let told = self.instructions.iter().filter(|told| told.state.is_open() && told.state != Begun);
        told.filter_map(|told| Some((told, self.voided_among(decided, told, now)?))).collect()
    }

    /// Who got data that are gone, and was not told so: the source erased them unasked, or a hold made void what was
    /// told (GDPR 17(2), 19; PIPL 47). Not of what was entered from the past, and not while a hold is on it.
    pub fn untold<'w>(
        &'w self,
        decided: &[(&'w DatumKey, Decision)],
        now: Timestamp,
    ) -> Vec<(&'w DatumKey, &'w Id)> {
        let mut untold = Vec::new();
        for (key, _) in decided.iter().filter(|(_, decision)| decision.state == State::Done) {
            let Some(at) = self.person.gone_at(key, now) else { continue };
            let mut got = self.person.recipients(key).filter(|one| !self.is_told(one, key, at)).peekable();
            if got.peek().is_some() && !self.person.is_held(key, now) {
                untold.extend(got.map(|recipient| (*key, recipient)));
            }
        }
        untold
    }

    /// Whether a recipient was told something about a datum since then, and it was not recalled.
    fn is_told(&self, recipient: &Id, key: &DatumKey, since: Timestamp) -> bool {
        use crate::domain::instruction::State::Recalled;
        let told = self.instructions.iter().filter(|told| told.addressee == *recipient);
        told.filter(|told| told.issued_at >= since && told.state != Recalled).any(|told| told.of.holds(key))
    }

    /// A datum that is not among what was decided is decided now.
    fn voided_among(
        &self,
        decided: &[(&DatumKey, Decision)],
        told: &Instruction,
        now: Timestamp,
    ) -> Option<RecallReason> {
        let key = told.of.datum()?;
        if !told.destroys() {
            return None;
        }
        if self.person.is_held(&key, now) {
            return Some(RecallReason::Hold);
        }
        if !told.is_of_what_is_due() {
            return None;
        }
        let known = decided.iter().find(|(one, _)| **one == key).map(|(_, decision)| decision.clone());
        let decision = known.unwrap_or_else(|| self.person.decide(&key, now));
        if Item::of(&key, &decision).is_some_and(|item| item.collected_before == told.collected_before) {
            return None;
        }
        let annulled = |version: &Id| self.person.house.is_annulled(version);
        let only_deferred = decision.because.iter().all(|reason| *reason == Reason::Deferred);
        match decision.state {
            State::Suspended if only_deferred => None,
            State::Done => Some(RecallReason::Executed),
            State::Suspended => Some(RecallReason::Hold),
            _ if told.because.iter().any(annulled) => Some(RecallReason::Annulled),
            State::Absent => Some(RecallReason::Retracted),
            _ => Some(RecallReason::Reopened),
        }
    }
}

/// Whether something is kept beyond its time.
pub fn is_kept(decision: &Decision) -> bool {
    decision.state == State::Suspended
}

impl Person {
    /// Whether a hold is on a datum, held here or not any more.
    pub fn is_held(&self, key: &DatumKey, now: Timestamp) -> bool {
        let facts = self.facts(key);
        is_on_hold(facts.iter().filter(|fact| fact.act.is_about(key)), now)
    }

    /// Whether what was collected of a datum at an instant was erased or made anonymous since.
    pub fn is_gone_since(&self, key: &DatumKey, at: Timestamp, now: Timestamp) -> bool {
        let own = self.data.get(key).into_iter().flatten();
        own.chain(&self.general).filter(|fact| at <= fact.at && fact.at <= now).any(|fact| match &fact.act {
            Act::Executed { of, collected_before, .. } => {
                of.holds(key) && collected_before.is_none_or(|before| at < before)
            }
            _ => false,
        })
    }

    /// When a datum was erased or made anonymous last, as it was told then.
    fn gone_at(&self, key: &DatumKey, now: Timestamp) -> Option<Timestamp> {
        let own = self.data.get(key).into_iter().flatten();
        let executed = own.chain(&self.general).filter(|fact| {
            !fact.backfill && fact.at <= now && matches!(&fact.act, Act::Executed { of, .. } if of.holds(key))
        });
        executed.map(|fact| fact.at).max()
    }

    /// Whether any hold is on the person or on anything of the person's.
    pub fn is_anywhere_held(&self, now: Timestamp) -> bool {
        let mut facts: Vec<&Fact> = self.general.iter().collect();
        facts.sort_by_key(|fact| (fact.at, fact.act.rank()));
        is_on_hold(facts.into_iter(), now)
    }

    /// Whether an account is open for a service that has not ended.
    pub fn has_account(&self, now: Timestamp) -> bool {
        let ended = |service: &Id| {
            let terminated =
                |act: &Act| matches!(act, Act::ServiceTerminated { service: one } if one == service);
            self.house.facts.iter().any(|fact| fact.at <= now && terminated(&fact.act))
        };
        let mut facts: Vec<_> = self.general.iter().filter(|fact| fact.at <= now).collect();
        facts.sort_by_key(|fact| (fact.at, fact.act.rank()));
        let mut open: BTreeSet<Id> = BTreeSet::new();
        let mut of_all = false;
        for fact in facts {
            match &fact.act {
                Act::AccountRegistered { services } if services.is_empty() => of_all = true,
                Act::AccountRegistered { services } => open.extend(services.iter().cloned()),
                Act::AccountCancelled { services } if services.is_empty() => {
                    of_all = false;
                    open.clear();
                }
                Act::AccountCancelled { services } => open.retain(|one| !services.contains(one)),
                _ => {}
            }
        }
        of_all || open.iter().any(|service| !ended(service))
    }

    /// Whether something of the person's is still held for any reason.
    pub fn holds_anything(&self, now: Timestamp) -> bool {
        self.keys().any(|key| self.decide(key, now).state.is_held())
    }
}

/// Whether one of the holds among these facts, in their order, was not released.
fn is_on_hold<'f>(facts: impl Iterator<Item = &'f Fact>, now: Timestamp) -> bool {
    let mut on: BTreeSet<&Id> = BTreeSet::new();
    for fact in facts.filter(|fact| fact.at <= now) {
        match &fact.act {
            Act::HoldPlaced { hold, .. } => drop(on.insert(hold)),
            Act::HoldReleased { hold } => drop(on.remove(hold)),
            _ => {}
        }
    }
    !on.is_empty()
}

impl House {
    pub(super) fn is_annulled(&self, version: &Id) -> bool {
        self.facts
            .iter()
            .any(|fact| matches!(&fact.act, Act::RuleAnnulled { version: one } if one == version))
    }
}

impl Ask {
    /// Those on whom, or on anything of whom, a hold is; of somebody who counts as another, on that other.
    pub fn held_among(&self, subjects: &[SubjectId], now: Timestamp) -> Result<BTreeSet<SubjectId>, Error> {
        let (deciding, mut held) = (Deciding::new(self, now)?, BTreeSet::new());
        for subject in subjects {
            let work = deciding.work(self, self.canonical(*subject)?)?;
            if work.is_some_and(|work| work.person.is_anywhere_held(now)) {
                held.insert(*subject);
            }
        }
        Ok(held)
    }
}
