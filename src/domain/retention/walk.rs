//! Steps 2 to 7: the history of a datum, one fact after the other: its lives, what opened and ended its purposes,
//! and what was wrong on the way.

mod opening;

use std::collections::BTreeSet;

use crate::domain::event::{LegalBasis, PurposeBasis, RestrictionGround, RuleKind, SoftEnd};
use crate::domain::id::{Id, Regime};
use crate::domain::retention::episode::{Ended, Episode, HardEnd};
use crate::domain::retention::history::{Counted, History};
use crate::domain::retention::rule::{Rules, Version};
use crate::domain::retention::wrong::{Cause, Kept, What, Wrong};
use crate::domain::retention::{Act, Case, Code};
use crate::domain::time::Timestamp;

/// What one life of a datum knows: from its first collection to its execution.
#[derive(Debug, Clone)]
pub struct Life {
    pub regimes: Vec<Regime>,
    pub collected: Timestamp,
    /// The last collection or lawful use.
    pub last_activity: Timestamp,
    /// The latest of each purpose.
    pub episodes: Vec<Episode>,
    /// The first one.
    pub order: Option<(Timestamp, Id)>,
    /// Whose it was.
    pub ordered_by: Option<Id>,
    pub deferred: bool,
    /// Since the last collection.
    demands: Vec<Demand>,
    /// The place of the first collection after the last demand.
    overtaken_by: Option<usize>,
    backfilled: bool,
    /// Whether an account was cancelled in it.
    pub account_cancelled: bool,
}

/// A demand is about the data held when it was made.
#[derive(Debug, Clone)]
enum Demand {
    Erasure,
    /// `None`: every purpose.
    Unlawful(Option<Id>),
}

impl Demand {
    fn cause(&self) -> Cause {
        match self {
            Demand::Erasure => Cause::ERASURE_ACCEPTED,
            Demand::Unlawful(_) => Cause::UNLAWFUL,
        }
    }
}

/// Where the datum stands after the facts so far.
#[derive(Debug, Clone)]
pub struct Walk<'a> {
    pub(super) case: Case<'a>,
    pub(super) rules: &'a Rules<'a>,
    history: &'a History<'a>,
    /// Whether consents and registrations that are missing count as there (4.4 step 1).
    supposing: bool,
    pub(super) life: Option<Life>,
    pub(super) lived: bool,
    pub(super) wrongs: BTreeSet<Wrong>,
    /// Uses that were allowed.
    pub(super) lawful_uses: Vec<(Timestamp, Id)>,
    consents: Vec<Id>,
    objections: Vec<Option<Id>>,
    pub(super) account_cancelled: bool,
    /// The first cancellation since the last registration.
    pub(super) cancelled_at: Option<Timestamp>,
    /// The first cancellation or end of the service since the last registration.
    pub(super) account_ended: Option<Timestamp>,
    termination_notified: bool,
    service_terminated: bool,
    pub(super) holds: Vec<Id>,
    pub(super) restrictions: Vec<Option<RestrictionGround>>,
    /// When a hold or restriction was lifted last.
    pub(super) released: Option<Timestamp>,
    pub(super) transaction: Option<Timestamp>,
    /// Since the last execution that ended a life.
    pub(super) own_transaction: Option<Timestamp>,
    pub(super) aborted: bool,
    ever_opened: BTreeSet<Id>,
    /// Whether the last life ended with the datum anonymous.
    anonymised: bool,
}

impl<'a> Walk<'a> {
    /// All of the history.
    pub fn through(
        history: &'a History<'a>,
        rules: &'a Rules<'a>,
        case: &Case<'a>,
        supposing: bool,
    ) -> Walk<'a> {
        let mut walk = Walk {
            case: *case,
            rules,
            history,
            supposing,
            life: None,
            lived: false,
            wrongs: BTreeSet::new(),
            lawful_uses: Vec::new(),
            consents: Vec::new(),
            objections: Vec::new(),
            account_cancelled: false,
            cancelled_at: None,
            account_ended: None,
            termination_notified: false,
            service_terminated: false,
            holds: Vec::new(),
            restrictions: Vec::new(),
            released: None,
            transaction: None,
            own_transaction: None,
            aborted: false,
            ever_opened: BTreeSet::new(),
            anonymised: false,
        };
        for (place, fact) in history.facts.iter().enumerate() {
            walk.step(place, fact);
        }
        walk
    }

    pub fn is_ordered(&self) -> bool {
        self.life.as_ref().is_some_and(|life| life.order.is_some())
    }

    pub fn is_backfilled(&self) -> bool {
        self.life.as_ref().is_some_and(|life| life.backfilled)
    }

    /// The place of the collection that came after this life's last demand.
    pub fn overtaken_by(&self) -> Option<usize> {
        self.life.as_ref().and_then(|life| life.overtaken_by)
    }

    fn step(&mut self, place: usize, fact: &Counted<'a>) {
        let at = fact.at;
        match &*fact.act {
            Act::Collected { regimes, purposes, .. } => self.collected(place, fact, regimes, purposes),
            Act::PurposeAdded { purpose, .. } => self.added(place, fact, purpose),
            Act::PurposeFulfilled { purpose, .. } => {
                self.each(|episode| {
                    if episode.purpose == *purpose {
                        episode.end_soft(at, SoftEnd::Fulfilled);
                    }
                });
            }
            Act::Used { purpose, .. } => self.used(at, purpose),
            Act::ConsentGiven { purpose, .. } => {
                if !self.consents.contains(purpose) {
                    self.consents.push(purpose.clone());
                }
            }
            Act::ConsentWithdrawn { purpose } => self.withdrawn(place, at, purpose),
            Act::AccountRegistered { .. } => {
                self.account_cancelled = false;
                (self.cancelled_at, self.account_ended) = (None, None);
            }
            Act::AccountCancelled { .. } => {
                self.account_cancelled = true;
                self.cancelled_at.get_or_insert(at);
                self.life.iter_mut().for_each(|life| life.account_cancelled = true);
                self.account_ends(place, at, SoftEnd::AccountCancelled);
            }
            Act::TransactionCompleted { .. } => {
                self.transaction = Some(at);
                self.own_transaction = Some(at);
                self.each(|episode| episode.transaction = Some(at));
            }
            Act::TransactionAborted { .. } => self.aborted = true,
            Act::ObjectionUpheld { purpose, .. } => {
                self.objections.push(purpose.clone());
                self.end_hard(at, purpose.as_ref(), HardEnd::ObjectionUpheld);
            }
            Act::UnlawfulProcessingFound { purpose, .. } => {
                self.demand(Demand::Unlawful(purpose.clone()));
                self.end_hard(at, purpose.as_ref(), HardEnd::Unlawful);
            }
            Act::ErasureAccepted { .. } => self.erasure_accepted(at),
            Act::RestrictionApplied { ground, .. } => self.restrictions.push(*ground),
            Act::RestrictionLifted { ground, .. } => {
                self.lift(at, |applied| ground.is_none() || *ground == *applied);
            }
            Act::HoldPlaced { hold, .. } => {
                if !self.holds.contains(hold) {
                    self.holds.push(hold.clone());
                }
            }
            Act::HoldReleased { hold } => {
                if self.holds.contains(hold) {
                    self.holds.retain(|held| held != hold);
                    self.released = Some(at);
                }
            }
            Act::DeletionOrdered { order, authority, .. } => {
                if let Some(life) = self.life.as_mut().filter(|life| life.order.is_none()) {
                    life.order = Some((at, order.clone()));
                    life.ordered_by.clone_from(authority);
                }
            }
            Act::Deferred { technical, .. } => self.deferred(at, *technical),
            Act::Executed { collected_before, anonymised, .. } => {
                self.executed(place, at, *collected_before, *anonymised);
            }
            Act::TerminationNotified { .. } => self.termination_notified = true,
            Act::ServiceTerminated { .. } => self.service_terminated(place, at),
            Act::ServiceRegistered { .. } | Act::RuleAnnulled { .. } | Act::Retracted { .. } => {}
        }
        if let Some(life) = self.life.as_mut().filter(|_| fact.backfill) {
            life.backfilled = true;
        }
    }

    fn each(&mut self, act: impl FnMut(&mut Episode)) {
        self.life.iter_mut().flat_map(|life| &mut life.episodes).for_each(act);
    }

    /// A collection: begins a life, joins what is open and opens what is not.
    fn collected(&mut self, place: usize, fact: &Counted<'a>, regimes: &[Regime], purposes: &[PurposeBasis]) {
        let at = fact.at;
        self.life.get_or_insert_with(|| Life {
            regimes: Vec::new(),
            collected: at,
            last_activity: at,
            episodes: Vec::new(),
            order: None,
            ordered_by: None,
            deferred: false,
            demands: Vec::new(),
            overtaken_by: None,
            backfilled: false,
            account_cancelled: false,
        });
        self.lived = true;
        // Whether a purpose is open is reckoned on what came before.
        let open: Vec<bool> =
            purposes.iter().map(|purpose| self.open_episode(&purpose.id, at).is_some()).collect();
        let Some(life) = &mut self.life else { return };
        let is_european = life.regimes.contains(&Regime::EU);
        life.collect(place, at, regimes);
        if life.deferred && !is_european && life.regimes.contains(&Regime::EU) {
            self.wrong(at, What::DeferralRefused);
        }
        for (purpose, _) in purposes.iter().zip(&open).filter(|(_, open)| **open) {
            self.each(|episode| {
                if episode.purpose == purpose.id {
                    episode.collected = Some(at);
                    episode.last_activity = episode.last_activity.max(at);
                }
            });
        }
        for (purpose, _) in purposes.iter().zip(&open).filter(|(_, open)| !**open) {
            self.open(place, fact, purpose);
        }
    }

    /// A purpose is added to what is held; after a demand it opens nothing until the datum is collected again.
    fn added(&mut self, place: usize, fact: &Counted<'a>, purpose: &PurposeBasis) {
        if self.life.is_none() || self.open_episode(&purpose.id, fact.at).is_some() {
            return;
        }
        let concerns = |demand: &&Demand| match demand {
            Demand::Erasure => purpose.basis != LegalBasis::LegalObligation,
            Demand::Unlawful(named) => named.as_ref().is_none_or(|named| *named == purpose.id),
        };
        match self.life.as_ref().and_then(|life| life.demands.iter().find(concerns)) {
            Some(demand) => {
                let cause = demand.cause();
                self.wrong(fact.at, What::Opened { purpose: purpose.id.clone(), cause });
            }
            None => self.open(place, fact, purpose),
        }
    }

    fn open_episode(&mut self, purpose: &Id, at: Timestamp) -> Option<&mut Episode> {
        let kind = self.case.key.record_kind.as_ref();
        let Life { regimes, episodes, .. } = self.life.as_mut()?;
        let episode = episodes.iter_mut().find(|episode| episode.purpose == *purpose)?;
        episode.is_open(self.rules, kind, regimes, at).then_some(episode)
    }

    /// Step 7.
    fn used(&mut self, at: Timestamp, purpose: &Id) {
        if !self.is_usable(at, purpose) {
            self.misused(at, purpose);
            return;
        }
        self.lawful_uses.push((at, purpose.clone()));
        if let Some(life) = &mut self.life {
            life.last_activity = life.last_activity.max(at);
        }
        self.each(|episode| {
            if episode.purpose == *purpose {
                episode.last_activity = episode.last_activity.max(at);
            }
        });
    }

    fn wrong(&mut self, at: Timestamp, what: What) {
        self.wrongs.insert(Wrong { at, what });
    }

    /// A use for a purpose that was not usable.
    fn misused(&mut self, at: Timestamp, purpose: &Id) {
        if !self.ever_opened.contains(purpose) {
            return self.wrong(at, What::Plain(Code::PurposeCreep));
        }
        if self.life.is_none() && self.anonymised {
            self.wrong(at, What::UsedAnonymous { purpose: purpose.clone() });
        }
        let cause = self.why_not(purpose);
        self.wrong(at, What::Used { purpose: purpose.clone(), cause });
    }

    /// Why a purpose that was opened once is not usable.
    fn why_not(&self, purpose: &Id) -> Cause {
        let Some(life) = &self.life else { return Cause::Executed };
        let latest = life.episodes.iter().find(|episode| episode.purpose == *purpose);
        let hard = latest.and_then(|episode| episode.hard).map(|(at, end)| (at, Ended::Hard(end)));
        let soft = latest.and_then(|episode| episode.soft).map(|(at, end)| (at, Ended::Soft(end)));
        match hard.into_iter().chain(soft).min_by_key(|(at, _)| *at) {
            Some((_, end)) => Cause::Ended(end),
            None if life.order.is_some() => Cause::Ordered,
            None if !self.restrictions.is_empty() => Cause::Restricted,
            // Opened in an earlier life only.
            None if latest.is_none() => Cause::Executed,
            None => Cause::Expired,
        }
    }

    fn withdrawn(&mut self, place: usize, at: Timestamp, purpose: &Id) {
        self.consents.retain(|given| given != purpose);
        self.each(|episode| {
            let rests_on_it = episode.basis == LegalBasis::Consent && episode.purpose == *purpose;
            if rests_on_it && !episode.is_shielded(place) {
                episode.end_hard(at, HardEnd::ConsentWithdrawn);
            }
        });
    }

    fn account_ends(&mut self, place: usize, at: Timestamp, end: SoftEnd) {
        self.account_ended.get_or_insert(at);
        self.each(|episode| {
            if end == SoftEnd::AccountCancelled && episode.is_shielded(place) {
                return;
            }
            episode.account_ended.get_or_insert(at);
            if episode.basis != LegalBasis::LegalObligation {
                episode.end_soft(at, end);
            }
        });
    }

    fn service_terminated(&mut self, place: usize, at: Timestamp) {
        if !self.termination_notified {
            self.wrong(at, What::Plain(Code::TerminationNotice));
        }
        self.service_terminated = true;
        self.account_ends(place, at, SoftEnd::ServiceTerminated);
    }

    /// Of one purpose, or of all.
    fn end_hard(&mut self, at: Timestamp, purpose: Option<&Id>, end: HardEnd) {
        self.each(|episode| {
            if purpose.is_none_or(|purpose| episode.purpose == *purpose) {
                episode.end_hard(at, end);
            }
        });
    }

    fn demand(&mut self, demand: Demand) {
        if let Some(life) = &mut self.life {
            life.demands.push(demand);
            // It is the last one now, and nothing was collected since.
            life.overtaken_by = None;
        }
    }

    fn erasure_accepted(&mut self, at: Timestamp) {
        if self.life.is_none() {
            return;
        }
        self.demand(Demand::Erasure);
        self.lift(at, |_| true);
        self.each(|episode| {
            // GDPR 17(3)(b).
            if episode.basis != LegalBasis::LegalObligation {
                episode.end_hard(at, HardEnd::ErasureAccepted);
            }
        });
    }

    fn lift(&mut self, at: Timestamp, lifted: impl Fn(&Option<RestrictionGround>) -> bool) {
        let before = self.restrictions.len();
        self.restrictions.retain(|applied| !lifted(applied));
        if self.restrictions.len() < before {
            self.released = Some(at);
        }
    }

    /// Step 11: PIPL 47(2) knows it, the GDPR does not.
    fn deferred(&mut self, at: Timestamp, technical: bool) {
        if let Some(life) = self.life.as_mut().filter(|_| technical) {
            life.deferred = true;
            if life.regimes.contains(&Regime::EU) {
                self.wrong(at, What::DeferralRefused);
            }
        }
    }

    /// Steps 2 and 17: ends the life, unless it is only about an earlier copy.
    fn executed(
        &mut self,
        place: usize,
        at: Timestamp,
        collected_before: Option<Timestamp>,
        anonymised: bool,
    ) {
        let Some(life) = &self.life else { return };
        let ends = collected_before.is_none_or(|before| before > life.collected);
        for kept in self.kept_at_execution(place, at, collected_before) {
            self.wrong(at, What::Destroyed(kept));
        }
        if ends {
            self.life = None;
            self.anonymised = anonymised;
            self.own_transaction = None;
        }
    }

    /// What still kept what was destroyed. An execution on an earlier copy is judged on that copy.
    fn kept_at_execution(
        &self,
        place: usize,
        at: Timestamp,
        collected_before: Option<Timestamp>,
    ) -> Vec<Kept> {
        let Some(before) = collected_before else { return self.kept(at) };
        let history = self.history.copy_before(before, place);
        let copy = Walk::through(&history, self.rules, &self.case, self.supposing);
        if copy.life.is_some() { copy.kept(at) } else { Vec::new() }
    }

    fn kept(&self, at: Timestamp) -> Vec<Kept> {
        let mut kept: Vec<Kept> = self.holds.first().map(|_| Kept::Hold).into_iter().collect();
        if !self.is_ordered() {
            kept.extend(self.restrictions.iter().copied().map(Kept::Restriction));
            let floors = self.floors(at).into_iter().filter(|floor| floor.runs(at));
            kept.extend(floors.map(|floor| Kept::Floor(floor.version.rule.id.clone())));
        }
        kept
    }

    /// Purposes of this life, whatever became of them.
    pub(super) fn purposes(&self) -> impl Iterator<Item = &Id> {
        self.life.iter().flat_map(|life| life.episodes.iter().map(|episode| &episode.purpose))
    }

    /// Floors or caps that concern the datum and are in force at an instant (step 10).
    pub(super) fn in_force(&self, kind: RuleKind, at: Timestamp) -> impl Iterator<Item = &Version<'a>> {
        let regimes = self.life.as_ref().map_or(&[][..], |life| &life.regimes[..]);
        self.rules
            .kind(kind)
            .filter(move |version| version.is_in_force(at) && version.is_about(self.purposes(), regimes))
    }
}

impl Life {
    fn collect(&mut self, place: usize, at: Timestamp, regimes: &[Regime]) {
        for regime in regimes {
            if !self.regimes.contains(regime) {
                self.regimes.push(*regime);
            }
        }
        self.collected = at;
        self.last_activity = self.last_activity.max(at);
        if !self.demands.is_empty() {
            self.demands.clear();
            self.overtaken_by = Some(place);
        }
    }
}
