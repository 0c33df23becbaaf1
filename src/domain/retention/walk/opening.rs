//! Step 3: whether a purpose opens, on which basis, and what is wrong where none is in force.

use crate::domain::event::{LegalBasis, PurposeBasis, SoftEnd};
use crate::domain::id::Id;
use crate::domain::retention::episode::{Ended, Episode, HardEnd, Shield};
use crate::domain::retention::history::Counted;
use crate::domain::retention::walk::Walk;
use crate::domain::retention::wrong::{Cause, What};
use crate::domain::retention::{Act, Code};
use crate::domain::time::{MS_PER_MINUTE, Timestamp};

/// How long after an opening the consent or registration that it needs may still come.
const SETTLE_MS: i64 = 5 * MS_PER_MINUTE;

impl<'a> Walk<'a> {
    /// Step 3: opens an episode if its basis is in force; says what is wrong if it is not.
    pub(super) fn open(&mut self, place: usize, fact: &Counted<'a>, purpose: &PurposeBasis) {
        let mut basis = self.basis(place, fact.at, purpose);
        if self.supposing && self.suppose(basis, purpose) {
            basis = self.basis(place, fact.at, purpose);
        }
        if let Err(lacking) = basis {
            let what = self.lack(fact, purpose, lacking);
            self.wrong(fact.at, what);
        }
        let standing = self.account_ended;
        let settled = matches!(basis, Ok(Shield::Until(_)));
        let registers = settled && purpose.basis == LegalBasis::Contract;
        let transaction = self.own_transaction;
        let Some(life) = &mut self.life else { return };
        let latest = life.episodes.iter().position(|episode| episode.purpose == purpose.id);
        // An ended episode stays the latest where nothing lawful takes its place.
        if basis.is_err() && latest.is_some() {
            return;
        }
        let first = latest.is_none();
        let mut episode = Episode {
            purpose: purpose.id.clone(),
            basis: purpose.basis,
            opened: fact.at,
            collected: Some(life.collected),
            last_activity: fact.at,
            transaction: transaction.filter(|_| first),
            // A registration that settles the opening counts as having been there.
            account_ended: standing.filter(|_| first && !registers),
            soft: None,
            hard: None,
            shield: basis.unwrap_or(Shield::No),
        };
        match basis {
            Ok(_) => {}
            Err(Lacking::Consent) => episode.end_hard(fact.at, HardEnd::Unlawful),
            Err(Lacking::Objected) => episode.end_hard(fact.at, HardEnd::ObjectionUpheld),
            Err(Lacking::Account) => episode.end_soft(fact.at, SoftEnd::AccountCancelled),
            Err(Lacking::Service) => episode.end_soft(fact.at, SoftEnd::ServiceTerminated),
        }
        self.ever_opened.insert(purpose.id.clone());
        match latest {
            Some(n) => life.episodes[n] = episode,
            None => life.episodes.push(episode),
        }
    }

    /// Counts what is missing as there (4.4 step 1). Whether anything was.
    fn suppose(&mut self, basis: Result<Shield, Lacking>, purpose: &PurposeBasis) -> bool {
        match basis {
            Err(Lacking::Consent) => self.consents.push(purpose.id.clone()),
            Err(Lacking::Account) => {
                self.account_cancelled = false;
                (self.cancelled_at, self.account_ended) = (None, None);
            }
            _ => return false,
        }
        true
    }

    /// Whether the basis of a purpose is in force, and until where later ends do not touch what opens on it.
    fn basis(&self, place: usize, at: Timestamp, purpose: &PurposeBasis) -> Result<Shield, Lacking> {
        let shield = match purpose.basis {
            LegalBasis::Consent if !self.consents.contains(&purpose.id) => {
                let given = |act: &Act| matches!(act, Act::ConsentGiven { purpose: given, .. } if *given == purpose.id);
                self.settles(place, at, given).ok_or(Lacking::Consent)?
            }
            LegalBasis::Contract if self.account_cancelled => {
                let registered = |act: &Act| matches!(act, Act::AccountRegistered { .. });
                self.settles(place, at, registered).ok_or(Lacking::Account)?
            }
            LegalBasis::LegitimateInterest | LegalBasis::PublicTask => {
                let objected = |to: &Option<Id>| to.as_ref().is_none_or(|to| *to == purpose.id);
                if self.objections.iter().any(objected) {
                    return Err(Lacking::Objected);
                }
                Shield::No
            }
            _ => Shield::No,
        };
        let goes_on = !self.service_terminated || purpose.basis == LegalBasis::LegalObligation;
        if goes_on { Ok(shield) } else { Err(Lacking::Service) }
    }

    /// Whether what is missing at an opening comes in time, or may still. Nothing does once the service has ended.
    fn settles(&self, place: usize, at: Timestamp, comes: impl Fn(&Act) -> bool) -> Option<Shield> {
        if self.service_terminated {
            return None;
        }
        let last = at.plus_ms(SETTLE_MS);
        let later = self.history.facts.iter().enumerate().skip(place + 1);
        let mut in_time = later.take_while(|(_, fact)| fact.at <= last);
        if let Some((settled, _)) = in_time.find(|(_, fact)| comes(&fact.act)) {
            return Some(Shield::Until(settled));
        }
        (self.case.now < last).then_some(Shield::Settling)
    }

    /// What an opening without a basis is called. Where old evidence may be missing it is no breach yet.
    fn lack(&self, fact: &Counted<'a>, purpose: &PurposeBasis, lacking: Lacking) -> What {
        let early = self.history.evidence_from.is_some_and(|from| fact.at < from);
        let end = match lacking {
            Lacking::Consent | Lacking::Account if fact.backfill || early => {
                return What::Plain(Code::LegacyEvidence);
            }
            Lacking::Consent => return What::Plain(Code::NoConsent),
            Lacking::Objected => Ended::Hard(HardEnd::ObjectionUpheld),
            Lacking::Account => Ended::Soft(SoftEnd::AccountCancelled),
            Lacking::Service => Ended::Soft(SoftEnd::ServiceTerminated),
        };
        What::Opened { purpose: purpose.id.clone(), cause: Cause::Ended(end) }
    }
}

/// What an opening lacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lacking {
    Consent,
    Account,
    Objected,
    Service,
}
