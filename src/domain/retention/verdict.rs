//! Steps 10 to 13: until when the datum has to stay and may stay, what keeps it from going, and what it may be used
//! for meanwhile.

use crate::domain::event::{Anchor, RestrictionGround, RuleKind};
use crate::domain::id::{Id, Regime};
use crate::domain::retention::State;
use crate::domain::retention::decision::binding;
use crate::domain::retention::episode::{Episode, Shield, Until, is_anchored};
use crate::domain::retention::rule::Version;
use crate::domain::retention::walk::{Life, Walk};
use crate::domain::time::Timestamp;
use crate::domain::vocabulary;

/// Until when a floor or a cap reaches.
#[derive(Debug, Clone, Copy)]
pub struct Bound<'a> {
    pub version: Version<'a>,
    pub anchor: Option<Timestamp>,
    /// `None`: without end; a floor that has not started, or a cap that does not bind.
    pub until: Option<Timestamp>,
}

impl Bound<'_> {
    /// Whether what it runs from has not happened. An account that goes on is no such thing: nobody waits for its end.
    pub fn is_pending(&self) -> bool {
        self.anchor.is_none() && self.version.rule.anchor != Anchor::AccountCancelled
    }

    /// Whether it still reaches beyond an instant.
    pub fn runs(&self, at: Timestamp) -> bool {
        self.until.is_none_or(|until| at < until)
    }
}

/// A purpose with what its rules say.
#[derive(Debug, Clone)]
pub struct Needed<'a> {
    pub episode: Episode,
    pub until: Until<'a>,
    pub usable: bool,
}

/// What keeps a datum whose time is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocker {
    Hold(Id),
    Restriction(Option<RestrictionGround>),
    Deferred,
}

/// Where it stands at an instant, with everything that decided it.
#[derive(Debug, Clone)]
pub struct Verdict<'a> {
    pub state: State,
    pub due_at: Option<Timestamp>,
    pub needed: Vec<Needed<'a>>,
    pub floors: Vec<Bound<'a>>,
    pub caps: Vec<Bound<'a>>,
    pub blockers: Vec<Blocker>,
    pub order: Option<(Timestamp, Id)>,
    /// need, need' and keep_until of step 10; `None`: without end.
    pub need: Option<Timestamp>,
    pub capped: Option<Timestamp>,
    pub keep_until: Option<Timestamp>,
    /// It went on being due when a blocker was lifted.
    pub released: bool,
    /// Floors of laws from outside the EU that keep an EU datum (step 10).
    pub foreign_floors: Vec<&'a Id>,
    pub deferral_refused: bool,
    pub account_cancelled: bool,
    /// When the latest of the versions that bind took effect.
    pub took_effect: Option<Timestamp>,
}

/// The earlier; `None` is without end.
fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    a.into_iter().chain(b).min()
}

/// The later; `None` is without end.
fn later(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    a.zip(b).map(|(a, b)| a.max(b))
}

impl<'a> Walk<'a> {
    /// Step 12, at an instant that no fact so far comes after.
    pub fn verdict(&self, now: Timestamp) -> Verdict<'a> {
        let Some(life) = &self.life else {
            return Verdict::empty(if self.lived { State::Done } else { State::Absent });
        };
        let mut verdict = Verdict { order: life.order.clone(), ..Verdict::empty(State::Blocked) };
        verdict.needed = self.needed(life, now);
        verdict.floors = self.floors(now);
        verdict.caps = self.caps(life, now);
        verdict.blockers = self.blockers(life);
        verdict.account_cancelled = life.account_cancelled || self.account_cancelled;
        verdict.deferral_refused = life.deferred && life.regimes.contains(&Regime::EU);
        if life.regimes.contains(&Regime::EU) {
            let floors = verdict.floors.iter().map(|floor| floor.version.rule);
            let foreign = floors.filter(|rule| rule.law_of.is_some_and(|law| is_foreign(law, now)));
            verdict.foreign_floors = foreign.map(|rule| &rule.id).collect();
        }
        verdict.reckon();
        verdict.conclude(self.released, now);
        // An order binds by itself, whatever the rules say.
        let rules = binding(&verdict).filter(|_| verdict.order.is_none());
        verdict.took_effect = rules.filter_map(Version::took_effect).max();
        verdict
    }

    fn needed(&self, life: &Life, now: Timestamp) -> Vec<Needed<'a>> {
        let kind = self.case.key.record_kind.as_ref();
        let until = |episode: &Episode| episode.until(self.rules, kind, &life.regimes, now);
        let all = life.episodes.iter();
        all.map(|episode| Needed { episode: episode.clone(), until: until(episode), usable: false }).collect()
    }

    /// Floors that bind the datum: of a law that its regimes include, and not of a transaction that came to nothing.
    pub(super) fn floors(&self, now: Timestamp) -> Vec<Bound<'a>> {
        let Some(life) = &self.life else { return Vec::new() };
        let bound = |version: &Version<'a>| Bound::new(version, self.anchor(life, version, self.transaction));
        let binds = |version: &&Version<'_>| {
            let lawful = version.rule.law_of.is_none_or(|law| life.regimes.contains(&law));
            let of_transaction = version.rule.anchor == Anchor::TransactionCompleted;
            lawful && !(of_transaction && self.aborted && self.transaction.is_none())
        };
        self.in_force(RuleKind::Floor, now).filter(binds).map(bound).collect()
    }

    fn caps(&self, life: &Life, now: Timestamp) -> Vec<Bound<'a>> {
        let bound =
            |version: &Version<'a>| Bound::new(version, self.anchor(life, version, self.own_transaction));
        self.in_force(RuleKind::Cap, now).map(bound).collect()
    }

    /// Floors and caps run from the datum, not from an episode.
    fn anchor(
        &self,
        life: &Life,
        version: &Version<'_>,
        transaction: Option<Timestamp>,
    ) -> Option<Timestamp> {
        match version.rule.anchor {
            Anchor::Collected | Anchor::Logged | Anchor::DocumentCreated => {
                let kind = self.case.key.record_kind.as_ref();
                is_anchored(version.rule.anchor, kind).then_some(life.collected)
            }
            Anchor::LastActivity => Some(life.last_activity),
            Anchor::TransactionCompleted => transaction,
            Anchor::AccountCancelled => self.account_ended,
            // A datum has purposes, and each ends for itself.
            Anchor::PurposeEnded => None,
        }
    }

    fn blockers(&self, life: &Life) -> Vec<Blocker> {
        let holds = self.holds.iter().cloned().map(Blocker::Hold);
        let restrictions = self.restrictions.iter().copied().map(Blocker::Restriction);
        let deferred = life.deferred && !life.regimes.contains(&Regime::EU);
        holds.chain(restrictions).chain(deferred.then_some(Blocker::Deferred)).collect()
    }

    /// Whether a datum may be used for a purpose just before something happens at this instant; what is still
    /// settling counts as usable (step 7).
    pub(super) fn is_usable(&self, at: Timestamp, purpose: &Id) -> bool {
        let verdict = self.verdict(at);
        let usable = |needed: &&Needed<'_>| needed.episode.purpose == *purpose;
        verdict.needed.iter().find(usable).is_some_and(|needed| verdict.allows(needed, at))
    }
}

/// A law of neither the EU nor a country of the EEA: GDPR 6(3) knows no legal obligation under it.
fn is_foreign(law: Regime, now: Timestamp) -> bool {
    !vocabulary::is_european(law, now.local_date(chrono_tz::UTC))
}

impl<'a> Bound<'a> {
    fn new(version: &Version<'a>, anchor: Option<Timestamp>) -> Bound<'a> {
        Bound { version: *version, anchor, until: anchor.map(|anchor| version.until(anchor)) }
    }
}

impl<'a> Verdict<'a> {
    pub(super) fn empty(state: State) -> Verdict<'a> {
        Verdict {
            state,
            due_at: None,
            needed: Vec::new(),
            floors: Vec::new(),
            caps: Vec::new(),
            blockers: Vec::new(),
            order: None,
            need: None,
            capped: None,
            keep_until: None,
            released: false,
            foreign_floors: Vec::new(),
            deferral_refused: false,
            account_cancelled: false,
            took_effect: None,
        }
    }

    /// Step 10: the longest lawful need, not beyond any cap, and not before any floor.
    fn reckon(&mut self) {
        let first = Some(Timestamp::FIRST);
        self.need = self.needed.iter().fold(first, |need, of| later(need, of.until.at));
        self.capped = self.caps.iter().fold(self.need, |need, cap| earlier(need, cap.until));
        self.keep_until = self.floors.iter().fold(self.capped, |keep, floor| later(keep, floor.until));
    }

    /// Step 12, the first that applies.
    fn conclude(&mut self, released: Option<Timestamp>, now: Timestamp) {
        let held = self.blockers.iter().any(|blocker| matches!(blocker, Blocker::Hold(_)));
        let over = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        if let Some((ordered, _)) = &self.order {
            let ordered = *ordered;
            self.state = if held { State::Review } else { State::Due };
            self.due_at = Some(ordered).filter(|_| !held);
            return;
        }
        if self.needed.iter().any(|needed| needed.until.undefined) {
            self.state = State::Review;
        } else if !self.blockers.is_empty() {
            self.state = if over(self.keep_until) { State::Suspended } else { State::Blocked };
        } else {
            let lifted = released.filter(|at| self.keep_until.is_some_and(|keep| keep < *at));
            self.released = lifted.is_some();
            self.due_at = self.keep_until.map(|keep| lifted.map_or(keep, |at| keep.max(at)));
            self.state = if over(self.due_at) { State::Due } else { State::Blocked };
        }
        for n in 0..self.needed.len() {
            let needed = &self.needed[n];
            self.needed[n].usable = needed.episode.shield != Shield::Settling && self.allows(needed, now);
        }
        if self.state == State::Blocked && self.needed.iter().any(|needed| needed.usable) {
            self.state = State::Active;
        }
    }

    /// Step 13, but for settling.
    fn allows(&self, needed: &Needed<'_>, now: Timestamp) -> bool {
        let restricted = self.blockers.iter().any(|blocker| matches!(blocker, Blocker::Restriction(_)));
        if restricted || self.order.is_some() || self.state == State::Due {
            return false;
        }
        let ahead = |at: Option<Timestamp>| at.is_none_or(|at| now < at);
        needed.episode.hard.is_none() && ahead(needed.until.at) && ahead(self.capped) && !needed.until.in_tail
    }

    /// When its time is over, whatever still keeps it then.
    pub fn ends_at(&self) -> Option<Timestamp> {
        match self.state {
            State::Absent | State::Done | State::Review => None,
            _ => self.due_at.or(self.keep_until),
        }
    }

    /// Whether what the keep rules and caps say reaches until the end.
    pub fn is_needed_to_the_end(&self) -> bool {
        self.capped == self.keep_until
    }

    /// Purposes that reach until the end.
    pub fn lasting(&self) -> impl Iterator<Item = &Needed<'a>> {
        let reaches = self.is_needed_to_the_end();
        self.needed.iter().filter(move |needed| reaches && needed.until.at == self.capped)
    }

    pub fn lasting_caps(&self) -> impl Iterator<Item = &Bound<'a>> {
        let reaches = self.is_needed_to_the_end() && self.capped.is_some();
        self.caps.iter().filter(move |cap| reaches && cap.until == self.capped)
    }

    pub fn lasting_floors(&self) -> impl Iterator<Item = &Bound<'a>> {
        self.floors.iter().filter(|floor| floor.until == self.keep_until)
    }
}
