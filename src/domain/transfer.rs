//! Whether a flow across a border was allowed when it happened, and by what: decided from what is registered
//! and from the law of the day, never from what an emitter claims.
//!
//! Two laws are asked, each by where the data come from: a flow out of the European Economic Area (GDPR 44
//! to 49) and one out of mainland China (PIPL 38 to 40). Not decided here: whether the exporter is bound by
//! the GDPR at all, and flows onwards from a third country.

pub mod mechanism;

use std::collections::BTreeSet;

use crate::domain::event::TransferRegime;
use crate::domain::id::{Country, Id};
use crate::domain::law::Law;
use crate::domain::time::Timestamp;
use crate::domain::vocabulary;

pub use mechanism::{Mechanism, Period};

/// A flow, resolved: what was stated, or what its activity had registered then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    pub exporter: Id,
    pub importer: Id,
    pub from: Country,
    pub to: Country,
    pub cats: BTreeSet<Id>,
    pub purposes: BTreeSet<Id>,
    pub sensitive: bool,
    /// The exemption that the emitter names (2024 Provisions, Art. 3 to 6): one of the law's own list is
    /// believed, because only the emitter knows, and shown as a claim.
    pub exemption: Option<Id>,
}

impl Flow {
    /// The exemption that it names, if the law knows it.
    pub fn exempt(&self, law: &Law) -> Option<&Id> {
        self.exemption.as_ref().filter(|id| law.exemption(id.as_str()).is_some())
    }
}

/// What allowed a flow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// It left no area whose law asks for anything.
    Domestic,
    /// The country of destination, by decision of the Commission (GDPR 45).
    Adequacy(Country),
    Mechanism(Id),
    /// An exemption of the 2024 Provisions.
    Exemption(Id),
    /// So few people that nothing is asked for (2024 Provisions, Art. 5(4)).
    BelowThreshold,
}

/// In what a mechanism falls short of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Short {
    Categories,
    Purposes,
    Country,
    Sensitive,
}

/// What is wrong with a flow, or what allowed it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Allowed(By),
    /// Only time is missing: it would have covered the flow, and had been suspended or had ended. `None` for
    /// a lapsed decision of adequacy.
    Expired(Option<Id>),
    /// In force, and not for this.
    Scope(Id, Vec<Short>),
    Nothing,
}

impl Verdict {
    pub fn mechanism(&self) -> Option<&Id> {
        match self {
            Verdict::Allowed(By::Mechanism(id)) | Verdict::Scope(id, _) => Some(id),
            Verdict::Expired(id) => id.as_ref(),
            _ => None,
        }
    }

    pub fn is_allowed(&self) -> bool {
        matches!(self, Verdict::Allowed(_))
    }
}

/// Which law a flow has to satisfy, if any.
pub fn regime(from: Country, to: Country, at: Timestamp) -> Option<TransferRegime> {
    let day = at.local_date(chrono_tz::UTC);
    if from == to {
        return None;
    }
    if from.as_str() == "CN" {
        return Some(TransferRegime::Cn);
    }
    (vocabulary::in_eea(from, day) && !vocabulary::in_eea(to, day)).then_some(TransferRegime::Eu)
}

/// Judges a flow at an instant. `asked` says whether the exporter's numbers of that year ask for a mechanism
/// at all, and for which kinds; only flows from China depend on it.
pub fn judge(
    flow: &Flow,
    at: Timestamp,
    law: &Law,
    mechanisms: &[Mechanism],
    asked: Option<&[Id]>,
) -> Verdict {
    let Some(regime) = regime(flow.from, flow.to, at) else { return Verdict::Allowed(By::Domestic) };
    let day = at.local_date(chrono_tz::UTC);
    let mine = || mechanisms.iter().filter(|mechanism| mechanism.is_for(regime, flow));
    // A kind that the law does not know, or not for this country, allows nothing.
    let kind_fits = |period: &Period| {
        let known = law.mechanism(period.kind.as_str());
        known.is_some_and(|kind| kind.countries.is_empty() || kind.countries.contains(&flow.to))
            && asked.is_none_or(|kinds| kinds.contains(&period.kind))
    };
    match regime {
        TransferRegime::Eu => {
            // A decision for part of a country needs the importer's own certificate, registered as a mechanism.
            if law.adequacy(flow.to, day).is_some_and(|decision| decision.scope.is_none()) {
                return Verdict::Allowed(By::Adequacy(flow.to));
            }
        }
        TransferRegime::Cn => {
            if let Some(id) = flow.exempt(law) {
                return Verdict::Allowed(By::Exemption(id.clone()));
            }
            if asked.is_none() {
                // Shown with its mechanism where there is one all the same.
                let covering = mine().find(|mechanism| covers(mechanism, flow, at));
                return Verdict::Allowed(
                    covering.map_or(By::BelowThreshold, |m| By::Mechanism(m.id.clone())),
                );
            }
        }
    }
    let mut scope: Option<(Id, Vec<Short>)> = None;
    let mut expired = None;
    for mechanism in mine() {
        if let Some(period) = mechanism.at(at).filter(|period| kind_fits(period)) {
            let short = period.short_of(flow);
            if short.is_empty() {
                return Verdict::Allowed(By::Mechanism(mechanism.id.clone()));
            }
            if scope.as_ref().is_none_or(|(_, known)| short.len() < known.len()) {
                scope = Some((mechanism.id.clone(), short));
            }
        } else if mechanism.before(at).any(|period| kind_fits(period) && period.short_of(flow).is_empty()) {
            expired = expired.or(Some(mechanism.id.clone()));
        }
    }
    if let Some(id) = expired {
        return Verdict::Expired(Some(id));
    }
    let lapsed = regime == TransferRegime::Eu && law.lapsed_adequacy(flow.to, day).is_some();
    match scope {
        _ if lapsed => Verdict::Expired(None),
        Some((id, short)) => Verdict::Scope(id, short),
        None => Verdict::Nothing,
    }
}

fn covers(mechanism: &Mechanism, flow: &Flow, at: Timestamp) -> bool {
    mechanism.at(at).is_some_and(|period| period.short_of(flow).is_empty())
}
