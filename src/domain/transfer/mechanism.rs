//! A transfer mechanism over time: when it was in force, and for what. A version counts from the later of its
//! signature and its first day; it ends with its last day, with the next version, or with a suspension or an
//! end that was declared. A later version never cures what lies before it.

use std::collections::BTreeSet;

use crate::domain::event::TransferRegime;
use crate::domain::event::catalogue::TransferMechanismRegistered;
use crate::domain::id::{Country, Id};
use crate::domain::time::Timestamp;
use crate::domain::transfer::{Flow, Short};
use crate::domain::vocabulary;

/// Why a period ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// Its last day passed.
    Expired,
    /// Suspended or ended by the organisation (SCC Clause 16).
    Stopped,
    /// Another version took its place.
    Replaced,
}

/// One version while it was in force: `[from, to)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    pub from: Timestamp,
    pub to: Option<(Timestamp, End)>,
    pub kind: Id,
    pub importer_country: Country,
    /// Empty: for all.
    pub cats: BTreeSet<Id>,
    pub purposes: BTreeSet<Id>,
    pub sensitive: Option<bool>,
    /// Position of the event that registered it.
    pub position: u64,
}

/// All versions of one mechanism between one exporter and one importer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mechanism {
    pub id: Id,
    pub regime: TransferRegime,
    pub exporter: Id,
    pub importer: Id,
    /// By their beginnings; they do not overlap.
    pub periods: Vec<Period>,
}

/// A registration: when it was made, where it stands in the log, and what it says.
#[derive(Debug, Clone, Copy)]
pub struct Version<'a> {
    pub at: Timestamp,
    pub position: u64,
    pub body: &'a TransferMechanismRegistered,
}

impl Mechanism {
    /// From its registrations, and from when it was suspended or ended. `None` where no registration says
    /// for whom it is.
    pub fn of(id: &Id, versions: &[Version<'_>], stops: &[Timestamp]) -> Option<Mechanism> {
        let newest = versions.iter().max_by_key(|version| (version.at, version.position))?.body;
        let mut sorted: Vec<(Timestamp, &Version<'_>)> =
            versions.iter().filter_map(|version| Some((version.body.in_force_from()?, version))).collect();
        sorted.sort_by_key(|(from, version)| (*from, version.at, version.position));
        let mut periods = Vec::with_capacity(sorted.len());
        for (n, (from, version)) in sorted.iter().enumerate() {
            let body = version.body;
            let expiry = body.expires_at.as_ref().map(|day| (day.ends(), End::Expired));
            let next = sorted.get(n + 1).map(|(from, _)| (*from, End::Replaced));
            // A stop ends the versions that were registered before it.
            let stop = stops.iter().filter(|stop| **stop >= version.at && **stop >= *from).min();
            let stop = stop.map(|stop| (*stop, End::Stopped));
            let to = [expiry, stop, next].into_iter().flatten().min();
            if to.is_none_or(|(to, _)| *from < to) {
                periods.push(Period {
                    from: *from,
                    to,
                    kind: body.kind.clone()?,
                    importer_country: body.importer_country?,
                    cats: body.cats.iter().cloned().collect(),
                    purposes: body.purposes.iter().cloned().collect(),
                    sensitive: body.sensitive,
                    position: version.position,
                });
            }
        }
        Some(Mechanism {
            id: id.clone(),
            regime: newest.regime?,
            exporter: newest.exporter.clone()?,
            importer: newest.importer.clone()?,
            periods,
        })
    }

    pub fn is_for(&self, regime: TransferRegime, flow: &Flow) -> bool {
        self.regime == regime && self.exporter == flow.exporter && self.importer == flow.importer
    }

    /// The version in force at an instant.
    pub fn at(&self, at: Timestamp) -> Option<&Period> {
        self.periods.iter().find(|period| period.from <= at && period.to.is_none_or(|(to, _)| at < to))
    }

    /// Versions that had ended by an instant.
    pub fn before(&self, at: Timestamp) -> impl Iterator<Item = &Period> {
        self.periods.iter().filter(move |period| period.to.is_some_and(|(to, _)| to <= at))
    }

    /// Every instant at which something begins or ends.
    pub fn bounds(&self) -> impl Iterator<Item = Timestamp> {
        self.periods.iter().flat_map(|period| [Some(period.from), period.to.map(|(to, _)| to)]).flatten()
    }
}

impl TransferMechanismRegistered {
    /// The later of signature and first day.
    pub fn in_force_from(&self) -> Option<Timestamp> {
        let first = self.effective_at.as_ref().map(|day| day.begins());
        self.signed_at.into_iter().chain(first).max()
    }
}

impl Period {
    /// In what this falls short of a flow; empty if in nothing. A narrower category is covered by the broader.
    pub fn short_of(&self, flow: &Flow) -> Vec<Short> {
        let covers =
            |cat: &Id| self.cats.iter().any(|ours| vocabulary::satisfies(cat.as_str(), ours.as_str()));
        let mut short = Vec::new();
        if !self.cats.is_empty() && !flow.cats.iter().all(covers) {
            short.push(Short::Categories);
        }
        if !self.purposes.is_empty() && !flow.purposes.is_subset(&self.purposes) {
            short.push(Short::Purposes);
        }
        if self.importer_country != flow.to {
            short.push(Short::Country);
        }
        if self.sensitive == Some(false) && flow.sensitive {
            short.push(Short::Sensitive);
        }
        short
    }
}
