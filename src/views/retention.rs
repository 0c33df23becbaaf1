//! How long what is held about a person may be kept: the facts of the log brought before the decision procedure
//! (`domain/retention`), for one person and for everybody.
//!
//! Everything is decided anew when somebody asks, so that nothing that comes late or is taken back leaves a wrong
//! date behind. A person's row says enough where nothing ended between the first and the last of what a tally counts;
//! else the person's records are read one by one. People who were erased have no row and nothing is due of them.

pub mod due;
mod facts;
mod house;
mod judging;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::domain::consent::SETTLE_MS;
use crate::domain::datum::DatumKey;
use crate::domain::event::Title;
use crate::domain::id::{Id, SubjectId};
use crate::domain::plan::Item;
use crate::domain::retention::{
    Act, Case, Decision, Explanation, Fact, Judged, Reason, State, decide, explain, judge,
};
use crate::domain::time::Timestamp;
use crate::views::Error;
use crate::views::ask::Ask;
use crate::views::group::Group;
use crate::views::report::Line;

pub use house::House;
pub(super) use judging::{Judgement, Judging};
pub(super) use sweep::Bounds;
pub use sweep::{Change, Held, Sweep};

use due::Work;
use facts::Gathered;

/// What is asked about one person.
#[derive(Debug, Clone, Copy)]
pub struct RetentionQuestion {
    pub subject: SubjectId,
    /// Decided as of then.
    pub as_of: Timestamp,
    pub known_at: Option<u64>,
}

/// One datum, and why it stays until it does.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    pub key: DatumKey,
    pub explanation: Explanation,
}

impl Ask {
    /// Every datum of a person, explained; `None` where nobody is known by the handle.
    pub fn retention(&self, question: &RetentionQuestion) -> Result<Option<Vec<Explained>>, Error> {
        let known_at = question.known_at.unwrap_or(u64::MAX).min(self.applied);
        let house = Arc::new(self.house_at(known_at, question.as_of)?);
        let Some(group) = self.group(question.subject, known_at)? else { return Ok(None) };
        let lines = self.single_lines(&group, known_at)?;
        let person = Person::new(self.gather(&lines, known_at), house);
        let explained = person.keys().map(|key| Explained {
            key: key.clone(),
            explanation: explain(&person.case(key, &person.facts(key), question.as_of)),
        });
        Ok(Some(explained.collect()))
    }
}

/// One person's facts, and what holds for everybody.
pub struct Person {
    house: Arc<House>,
    data: BTreeMap<DatumKey, Vec<Fact>>,
    /// What may be about several data.
    general: Vec<Fact>,
    /// Who got which categories, by name.
    shared: BTreeMap<Id, BTreeSet<Id>>,
}

/// How long a datum is kept, as its person may hear it (`domain.md` 6.7): no hold is told, and what it keeps beyond its
/// time is told as every other such thing is.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// As it would be without holds.
    pub decision: Decision,
    /// Something keeps it although its time is over.
    pub kept: bool,
    /// Citations of the rules that bind.
    pub citations: Vec<(Id, Title)>,
}

impl Ask {
    /// A person's facts: by the lines of the rows where they say enough, else by the records.
    pub(super) fn person_by(&self, group: &Group, lines: &[Line], known_at: u64) -> Result<Person, Error> {
        let house = Arc::new(self.house(known_at)?);
        let mut gathered = self.gather(lines, known_at);
        if !Bounds::of(&house, None).are_kept_by(&gathered) {
            gathered = self.gather(&self.single_lines(group, known_at)?, known_at);
        }
        Ok(Person::new(gathered, house))
    }
}

/// How a person's data will change, for whoever waits for something to be due.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outlook {
    /// The first instant at which anything about the person's data changes by time alone; not ahead where something is
    /// due and in nobody's hands, is kept beyond its time, or was told to somebody and is void, or is gone and who got it was not told.
    pub next: Option<Timestamp>,
    /// Data held, by service.
    pub held: BTreeMap<Id, u64>,
    /// There was something, or an account, and nothing is held any more: perhaps the last reason to know the person
    /// is gone.
    pub gone: bool,
}

impl Ask {
    /// `None` of somebody who counts as another, or of whom nothing is known.
    pub(super) fn outlook(
        &self,
        subject: SubjectId,
        house: &Arc<House>,
        bounds: &Bounds,
        now: Timestamp,
    ) -> Result<Option<Outlook>, Error> {
        let Some(work) = Work::of(self, subject, house, bounds)? else { return Ok(None) };
        let (person, decided) = (&work.person, work.decided(now));
        let mut outlook = Outlook::default();
        for (key, decision) in &decided {
            if !decision.state.is_held() {
                continue;
            }
            let in_hand = Item::of(key, decision).is_some_and(|item| work.is_in_hand(&item));
            let changes = person.changes(key, decision, now).filter(|at| !in_hand || *at > now);
            outlook.next = outlook.next.into_iter().chain(changes).min();
            if let Some(service) = &key.service {
                *outlook.held.entry(service.clone()).or_default() += 1;
            }
        }
        if !work.void(&decided, now).is_empty() || !work.untold(&decided, now).is_empty() {
            outlook.next = outlook.next.into_iter().chain([now]).min();
        }
        let holds_anything = |(_, one): &(_, Decision)| one.state.is_held();
        let cancelled = person.general.iter().any(|fact| matches!(fact.act, Act::AccountCancelled { .. }));
        outlook.gone = !decided.iter().any(holds_anything) && (cancelled || !decided.is_empty());
        Ok(Some(outlook))
    }

    /// A person as known before a position, and who got what; `None` of somebody who counts as another, or of whom
    /// nothing is known.
    pub(super) fn person_at(
        &self,
        subject: SubjectId,
        house: &Arc<House>,
        bounds: &Bounds,
        known_at: u64,
    ) -> Result<Option<Person>, Error> {
        let group = self.group(subject, known_at)?.filter(|group| group.canonical == subject);
        let Some(group) = group else { return Ok(None) };
        let (gathered, _) = self.known(&group, known_at, bounds)?;
        Ok(Some(Person::new(gathered, Arc::clone(house))))
    }
}

impl Person {
    pub fn new(gathered: Gathered, house: Arc<House>) -> Person {
        let Gathered { data, mut general, shared, .. } = gathered;
        let concerns = |fact: &&Fact| data.keys().any(|key| fact.act.is_about(key));
        general.extend(house.facts.iter().filter(concerns).cloned());
        Person { house, data, general, shared }
    }

    pub fn keys(&self) -> impl Iterator<Item = &DatumKey> {
        self.data.keys()
    }

    /// What is about a datum. Rows do not tell in which order things arrived, and that must not matter.
    fn facts(&self, key: &DatumKey) -> Vec<Fact> {
        let own = self.data.get(key).into_iter().flatten();
        let mut facts: Vec<Fact> = own.chain(&self.general).cloned().collect();
        facts.sort_by_key(|fact| (fact.at, fact.act.rank()));
        facts
    }

    fn case<'a>(&'a self, key: &'a DatumKey, facts: &'a [Fact], now: Timestamp) -> Case<'a> {
        let silent = key.service.as_ref().is_some_and(|service| self.house.silent.contains(service));
        Case { key, rules: &self.house.rules, facts, now, silent }
    }

    pub fn decide(&self, key: &DatumKey, now: Timestamp) -> Decision {
        decide(&self.case(key, &self.facts(key), now))
    }

    pub fn judge(&self, key: &DatumKey, now: Timestamp) -> Judged {
        judge(&self.case(key, &self.facts(key), now))
    }

    /// When a decision changes, or has changed, by time alone.
    fn changes(
        &self,
        key: &DatumKey,
        decision: &Decision,
        now: Timestamp,
    ) -> impl Iterator<Item = Timestamp> {
        let earlier = decision.earlier.as_ref().and_then(|earlier| earlier.decision.ends_at);
        let settling = decision.because.iter().any(|reason| matches!(reason, Reason::Settling(_)));
        let settled = settling.then(|| now.plus_ms(SETTLE_MS));
        let own = self.data.get(key).into_iter().flatten();
        let told = own.chain(&self.general).filter(|fact| fact.act.is_about(key)).flat_map(|fact| {
            let lapses = match &fact.act {
                Act::ConsentGiven { expires_at, .. } => *expires_at,
                _ => None,
            };
            std::iter::once(fact.at).chain(lapses)
        });
        let ahead = told.filter(|at| *at > now).min();
        [decision.ends_at, earlier, settled, ahead].into_iter().flatten()
    }

    /// Who got a datum from here.
    pub fn recipients(&self, key: &DatumKey) -> impl Iterator<Item = &Id> {
        self.shared.iter().filter(|(_, cats)| cats.contains(&key.category)).map(|(recipient, _)| recipient)
    }

    /// `None` for what was never collected under this name.
    pub fn told(&self, key: &DatumKey, now: Timestamp) -> Option<Told> {
        self.data.contains_key(key).then_some(())?;
        let mut facts = self.facts(key);
        let full = decide(&self.case(key, &facts, now));
        let of_a_hold = |fact: &Fact| matches!(fact.act, Act::HoldPlaced { .. } | Act::HoldReleased { .. });
        let decision = if facts.iter().any(of_a_hold) {
            facts.retain(|fact| !of_a_hold(fact));
            decide(&self.case(key, &facts, now))
        } else {
            full.clone()
        };
        let kept = decision.state == State::Due && full.state != State::Due;
        let cited = decision.because.iter().filter_map(|reason| match reason {
            Reason::Rule(id) | Reason::Pending(id) => {
                let rule = self.house.rules.iter().find(|rule| rule.id == *id)?;
                Some((id.clone(), rule.legal.clone()?))
            }
            _ => None,
        });
        let citations = cited.collect();
        Some(Told { decision, kept, citations })
    }
}
