//! Whether an activity may touch a person's data now (`domain.md` 4.2 steps 3, 5, 6, 13; 7.9): for every datum
//! it touches, whether each of its purposes is open, and where nothing is held yet, whether an opening now would
//! have a basis in force. Allowed only if all are.
//!
//! A pure function of what is known about the person, in whatever order it is given. That a period of retention is
//! over is told to it afterwards (`Verdict::is_over`). Of an answer that is no, every reason is named.

mod reason;

use std::collections::BTreeSet;

use crate::domain::consent::{Act as ConsentAct, SETTLE_MS, Timeline, To, Wanted, age_of_consent, is_below};
use crate::domain::event::{AgeBand, LegalBasis, PurposeBasis};
use crate::domain::id::{Country, Id, Regime};
use crate::domain::law::Law;
use crate::domain::time::Timestamp;

pub use crate::domain::datum::{DatumKey, Selector};
pub use reason::{Code, Text};

/// A purpose was opened for a datum, or could have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    pub at: Timestamp,
    pub purpose: Id,
    pub basis: LegalBasis,
    /// By a collection; else the purpose was added to what is held.
    pub collected: bool,
}

/// A datum with everything that opened purposes for it. Without any, nothing is held of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datum {
    pub key: DatumKey,
    pub openings: Vec<Opening>,
}

/// What happened to data, besides being collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    Objected,
    Unlawful,
    ErasureAccepted,
    Fulfilled,
    Restricted,
    RestrictionLifted,
    /// Erased or made anonymous: what was collected before is held no more.
    Executed,
}

/// One such act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    pub at: Timestamp,
    pub what: What,
    pub of: Selector,
    /// `None`: every purpose.
    pub purpose: Option<Id>,
}

/// An account was opened, or closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountAct {
    pub at: Timestamp,
    pub opened: bool,
    /// Services whose contracts hang on it; all if empty.
    pub services: Vec<Id>,
}

/// Whom the activity gives data to, and where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    pub id: Id,
    /// Decides for itself what becomes of the data: another controller, or an SDK.
    pub independent: bool,
    pub abroad: Option<Abroad>,
}

/// A flow that the activity needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abroad {
    pub country: Country,
    /// Whether something allows it now.
    pub allowed: bool,
}

/// Everything that is known of the person and the activity.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    pub at: Timestamp,
    pub law: &'a Law,
    /// Of the activity, as registered then.
    pub purposes: &'a [PurposeBasis],
    pub regimes: &'a [Regime],
    pub sensitive: bool,
    pub recipients: &'a [Recipient],
    pub for_children: bool,
    pub data: &'a [Datum],
    pub consents: &'a Timeline,
    pub acts: &'a [Act],
    pub accounts: &'a [AccountAct],
    /// When the service ended.
    pub service_ended: Option<Timestamp>,
    /// As stated last.
    pub age_band: Option<AgeBand>,
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reason {
    pub code: Code,
    pub purpose: Option<Id>,
    pub recipient: Option<Id>,
    pub country: Option<Country>,
    /// Since when it is so, where one instant made it so.
    pub since: Option<Timestamp>,
}

impl Reason {
    fn of(code: Code, purpose: Option<&Id>, since: Option<Timestamp>) -> Reason {
        Reason { code, purpose: purpose.cloned(), recipient: None, country: None, since }
    }
}

/// What is to be said of one datum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    pub key: DatumKey,
    pub held: bool,
    /// Purposes of the activity that it may be used for, or opened for.
    pub usable_for: Vec<Id>,
    pub reasons: Vec<Reason>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub allowed: bool,
    /// Each once, whatever it is about.
    pub reasons: Vec<Reason>,
    pub data: Vec<Judged>,
}

impl Verdict {
    /// By the retention rules a datum is usable for some purposes only; of the others the time is over.
    pub fn is_over(&mut self, key: &DatumKey, usable_for: &[Id]) {
        for judged in self.data.iter_mut().filter(|judged| judged.held && judged.key == *key) {
            let (kept, over): (Vec<Id>, Vec<Id>) =
                std::mem::take(&mut judged.usable_for).into_iter().partition(|id| usable_for.contains(id));
            judged.usable_for = kept;
            for purpose in over {
                let reason = Reason::of(Code::RetentionOver, Some(&purpose), None);
                if !self.reasons.contains(&reason) {
                    self.reasons.push(reason.clone());
                    self.reasons.sort();
                }
                judged.reasons.push(reason);
                self.allowed = false;
            }
        }
    }

    /// No, before anything is looked at.
    pub fn refused(code: Code, since: Option<Timestamp>) -> Verdict {
        Verdict { allowed: false, reasons: vec![Reason::of(code, None, since)], data: Vec::new() }
    }
}

/// The decision.
pub fn decide(question: &Question<'_>) -> Verdict {
    let mut general = question.of_activity();
    let mut data = Vec::with_capacity(question.data.len());
    for datum in question.data {
        data.push(question.judge(datum));
    }
    general.extend(data.iter().flat_map(|judged| judged.reasons.iter().cloned()));
    let reasons: BTreeSet<Reason> = general.into_iter().collect();
    Verdict { allowed: reasons.is_empty(), reasons: reasons.into_iter().collect(), data }
}

impl Question<'_> {
    fn is_under(&self, regime: Regime) -> bool {
        self.regimes.contains(&regime)
    }

    /// What does not depend on a datum.
    fn of_activity(&self) -> Vec<Reason> {
        let mut reasons = Vec::new();
        if self.purposes.is_empty() {
            reasons.push(Reason::of(Code::PurposeMissing, None, None));
        }
        for recipient in self.recipients {
            if let Some(abroad) = recipient.abroad.filter(|abroad| !abroad.allowed) {
                reasons.push(Reason {
                    recipient: Some(recipient.id.clone()),
                    country: Some(abroad.country),
                    ..Reason::of(Code::TransferNotAllowed, None, None)
                });
            }
        }
        for purpose in self.purposes {
            self.separate_consents(purpose, &mut reasons);
            if self.lacks_guardian(purpose) {
                reasons.push(Reason::of(Code::GuardianConsentMissing, Some(&purpose.id), None));
            }
        }
        reasons
    }

    /// Consents that the law of China asks for besides the general one.
    fn separate_consents(&self, purpose: &PurposeBasis, reasons: &mut Vec<Reason>) {
        if !self.is_under(Regime::CN) {
            return;
        }
        let wanted = |to| Wanted { to, separate: true, settle_ms: 0, ..Wanted::to_purpose(&purpose.id) };
        let lacks = |to| !self.consents.in_force(&wanted(to), self.at);
        let missing = || Reason::of(Code::SeparateConsentMissing, Some(&purpose.id), None);
        // PIPL 29.
        if self.sensitive && lacks(To::Anybody) {
            reasons.push(missing());
        }
        for recipient in self.recipients {
            let named = Reason { recipient: Some(recipient.id.clone()), ..missing() };
            // PIPL 23.
            if recipient.independent && lacks(To::Recipient(&recipient.id)) {
                reasons.push(named.clone());
            }
            // PIPL 39.
            let abroad = recipient.abroad.filter(|_| purpose.basis == LegalBasis::Consent);
            if let Some(Abroad { country, .. }) = abroad
                && lacks(To::Abroad(&recipient.id, country))
            {
                reasons.push(Reason { country: Some(country), ..named });
            }
        }
    }

    /// Below the age of consent a guardian consents: GDPR 8 where consent is the basis, PIPL 31 whatever it is.
    fn lacks_guardian(&self, purpose: &PurposeBasis) -> bool {
        let laws: Vec<Regime> = self
            .regimes
            .iter()
            .copied()
            .filter(|regime| *regime == Regime::CN || purpose.basis == LegalBasis::Consent)
            .collect();
        let Some((age, _)) = age_of_consent(self.law, &laws) else { return false };
        let wanted = Wanted { guardian: true, settle_ms: 0, ..Wanted::to_purpose(&purpose.id) };
        is_below(self.age_band, age, self.for_children) && !self.consents.in_force(&wanted, self.at)
    }

    fn judge(&self, datum: &Datum) -> Judged {
        let executed = self.acts_on(&datum.key).filter(|act| act.what == What::Executed);
        let life = executed.map(|act| act.at).max();
        let openings: Vec<&Opening> = datum
            .openings
            .iter()
            .filter(|opening| opening.at <= self.at && life.is_none_or(|end| opening.at > end))
            .collect();
        let held = openings.iter().any(|opening| opening.collected);
        let mut judged = Judged { key: datum.key.clone(), held, usable_for: Vec::new(), reasons: Vec::new() };
        for purpose in self.purposes {
            let wrong = match held {
                true => self.of_held(&datum.key, &openings, purpose),
                false => self.no_basis(purpose, &datum.key, self.at, 0),
            };
            match wrong {
                None => judged.usable_for.push(purpose.id.clone()),
                Some(reason) => judged.reasons.push(reason),
            }
        }
        if let Some(since) = self.restricted_since(&datum.key).filter(|_| held) {
            judged.usable_for.clear();
            judged.reasons.push(Reason::of(Code::Restricted, None, Some(since)));
        }
        judged
    }

    /// Acts on a datum until now.
    fn acts_on(&self, key: &DatumKey) -> impl Iterator<Item = &Act> {
        self.acts.iter().filter(move |act| act.at <= self.at && act.of.holds(key))
    }

    /// Why a purpose of a datum that is held is not usable.
    fn of_held(&self, key: &DatumKey, openings: &[&Opening], purpose: &PurposeBasis) -> Option<Reason> {
        let id = &purpose.id;
        let demanded = self.acts_on(key).filter(|act| {
            act.what == What::ErasureAccepted
                || act.what == What::Unlawful && act.purpose.as_ref().is_none_or(|of| of == id)
        });
        let demanded = demanded.map(|act| act.at).max();
        // After a demand a purpose that is added opens nothing until the datum is collected again.
        let counts = |opening: &Opening| {
            opening.collected
                || demanded.is_none_or(|demand| {
                    demand > opening.at
                        || openings.iter().any(|o| o.collected && o.at > demand && o.at <= opening.at)
                })
        };
        let mine: Vec<&&Opening> =
            openings.iter().filter(|opening| opening.purpose == *id && counts(opening)).collect();
        let Some(last) = mine.iter().max_by_key(|opening| opening.at) else {
            return Some(Reason::of(Code::PurposeNotOpened, Some(id), None));
        };
        let basis = PurposeBasis { id: id.clone(), basis: last.basis };
        let end = self.last_end(key, &basis);
        if let Some((ended, code)) = end.filter(|(ended, _)| *ended >= last.at) {
            return Some(Reason::of(code, Some(id), Some(ended)));
        }
        let since = end.map(|(ended, _)| ended);
        let mut open: Vec<_> =
            mine.iter().filter(|opening| since.is_none_or(|end| opening.at > end)).collect();
        // What is wrong with the newest is said.
        open.sort_by_key(|opening| opening.at);
        let mut wrong = None;
        for opening in open {
            let of = PurposeBasis { id: id.clone(), basis: opening.basis };
            match self.no_basis(&of, key, opening.at, SETTLE_MS) {
                None => return None,
                Some(reason) => wrong = Some(reason),
            }
        }
        let may_settle = self.at < last.at.plus_ms(SETTLE_MS)
            && matches!(last.basis, LegalBasis::Consent | LegalBasis::Contract);
        match may_settle {
            true => Some(Reason::of(Code::PurposeSettling, Some(id), Some(last.at))),
            false => wrong,
        }
    }

    /// The last end of a purpose, whatever ended it.
    fn last_end(&self, key: &DatumKey, purpose: &PurposeBasis) -> Option<(Timestamp, Code)> {
        let required = purpose.basis == LegalBasis::LegalObligation;
        let named = |act: &Act| act.purpose.as_ref().is_none_or(|of| *of == purpose.id);
        let acts = self.acts_on(key).filter(|act| named(act)).filter_map(|act| {
            let code = match act.what {
                What::Objected => Code::ObjectionUpheld,
                What::Unlawful => Code::UnlawfulProcessing,
                // GDPR 17(3)(b).
                What::ErasureAccepted if !required => Code::ErasureAccepted,
                What::Fulfilled => Code::PurposeFulfilled,
                _ => return None,
            };
            Some((act.at, code))
        });
        let accounts = self.accounts.iter().filter(|act| !required && !act.opened && act.at <= self.at);
        let accounts = accounts
            .filter(|act| is_about(act, key.service.as_ref()))
            .map(|act| (act.at, Code::AccountEnded));
        let service = self.service_ended.filter(|end| !required && *end <= self.at);
        let service = service.map(|end| (end, Code::ServiceEnded));
        let consent = (purpose.basis == LegalBasis::Consent).then(|| self.consent_end(&purpose.id)).flatten();
        acts.chain(accounts).chain(service).chain(consent).max_by_key(|(at, _)| *at)
    }

    /// When consent to a purpose was withdrawn or ran out last.
    fn consent_end(&self, purpose: &Id) -> Option<(Timestamp, Code)> {
        let steps =
            self.consents.steps().iter().filter(|step| step.purpose.as_ref().is_none_or(|of| of == purpose));
        let wanted = Wanted { settle_ms: 0, ..Wanted::to_purpose(purpose) };
        let ends = steps.filter_map(|step| match step.act {
            ConsentAct::Withdrawn if step.recipient.is_none() => Some((step.at, Code::ConsentWithdrawn)),
            ConsentAct::Given => {
                let end = step.expires_at.filter(|end| !self.consents.in_force(&wanted, *end))?;
                Some((end, Code::ConsentExpired))
            }
            _ => None,
        });
        ends.filter(|(at, _)| *at <= self.at).max_by_key(|(at, _)| *at)
    }

    /// Why an opening at an instant had, or would have, no basis in force. What is missing counts as having
    /// been there if it comes within `settle` of it.
    fn no_basis(&self, purpose: &PurposeBasis, key: &DatumKey, at: Timestamp, settle: i64) -> Option<Reason> {
        let id = &purpose.id;
        let ended = self.service_ended.filter(|end| *end <= at);
        if let Some(ended) = ended.filter(|_| purpose.basis != LegalBasis::LegalObligation) {
            return Some(Reason::of(Code::ServiceEnded, Some(id), Some(ended)));
        }
        match purpose.basis {
            LegalBasis::Consent => {
                let wanted = Wanted { settle_ms: settle, ..Wanted::to_purpose(id) };
                (!self.consents.in_force(&wanted, at)).then(|| self.why_no_consent(id, at))
            }
            LegalBasis::Contract => {
                let mine = |opened: bool, by: Timestamp| {
                    let acts = self.accounts.iter().filter(move |act| act.opened == opened && act.at <= by);
                    acts.filter(|act| is_about(act, key.service.as_ref())).map(|act| act.at).max()
                };
                let closed = mine(false, at)?;
                let opened = mine(true, at.plus_ms(settle));
                let again = opened.is_some_and(|opened| opened > closed);
                (!again).then(|| Reason::of(Code::AccountEnded, Some(id), Some(closed)))
            }
            LegalBasis::LegitimateInterest | LegalBasis::PublicTask => {
                let mut objections = self.acts.iter().filter(|act| {
                    act.what == What::Objected
                        && act.at <= at
                        && act.purpose.as_ref() == Some(id)
                        && act.of.holds(key)
                });
                objections.next().map(|act| Reason::of(Code::ObjectionUpheld, Some(id), Some(act.at)))
            }
            _ => None,
        }
    }

    /// What the person said last about a purpose to which no consent is in force.
    fn why_no_consent(&self, purpose: &Id, at: Timestamp) -> Reason {
        let mut steps = self.consents.steps().iter();
        let last = steps.rfind(|step| step.at <= at && step.purpose.as_ref().is_none_or(|of| of == purpose));
        let (code, since) = match last {
            None => (Code::ConsentMissing, None),
            Some(step) => match step.act {
                ConsentAct::Given => (Code::ConsentExpired, step.expires_at),
                ConsentAct::Refused => (Code::ConsentRefused, Some(step.at)),
                ConsentAct::Objected | ConsentAct::Withdrawn => (Code::ConsentWithdrawn, Some(step.at)),
            },
        };
        Reason::of(code, Some(purpose), since)
    }

    /// Since when a datum is restricted. A restriction ends when it is lifted, and when an erasure is accepted
    /// after it.
    fn restricted_since(&self, key: &DatumKey) -> Option<Timestamp> {
        let last =
            |what: &[What]| self.acts_on(key).filter(|act| what.contains(&act.what)).map(|act| act.at).max();
        let since = last(&[What::Restricted])?;
        let lifted = last(&[What::RestrictionLifted, What::ErasureAccepted]);
        lifted.is_none_or(|lifted| lifted < since).then_some(since)
    }
}

fn is_about(act: &AccountAct, service: Option<&Id>) -> bool {
    act.services.is_empty() || service.is_none_or(|service| act.services.contains(service))
}

#[cfg(test)]
mod tests;
