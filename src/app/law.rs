//! The law data: which documents there are, which is adopted, and what another would change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::app::own::staff;
use crate::app::{App, Caller, Error};
use crate::domain::event::catalogue::LawDataActivated;
use crate::domain::event::{Body, RegisterKind};
use crate::domain::finding::Key;
use crate::domain::id::{Country, Id};
use crate::domain::law::{self, Law};
use crate::domain::register::Version;
use crate::domain::time::Timestamp;
use crate::domain::transfer::Verdict;
use crate::views::ask::Ask;
use crate::views::counter::{Counters, year_begins};
use crate::views::lock;
use crate::views::registers::Registers;
use crate::views::stretch::Scope;

/// A document with the events that adopted it.
pub struct Known {
    pub law: &'static Law,
    pub in_force: bool,
    pub adoptions: Vec<Arc<Version>>,
}

/// The flows that one line of a comparison is about: exporter, importer, countries, purpose.
pub type Flow = (Id, Id, Country, Country, Option<Id>);

/// What judging by another document would change.
pub struct Preview {
    pub now: Known,
    pub then: Known,
    /// Of each finding how many acts there are now, and would be.
    pub findings: BTreeMap<Key, (u64, u64)>,
    pub transfers: BTreeMap<Flow, (Judged, Judged)>,
    pub tiers: Vec<Tiers>,
    pub applied: u64,
}

/// The adoption by which a document counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adopted {
    pub position: u64,
    /// Whether it was recorded now; else it stood there before.
    pub recorded: bool,
}

/// How many transfers each verdict is about.
pub type Judged = BTreeMap<Verdict, u64>;

/// An exporter's tier in a year, now and then, with the people who are missing to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiers {
    pub exporter: Id,
    pub year: u16,
    pub now: (String, u64),
    pub then: (String, u64),
}

impl App {
    /// All documents, the oldest first.
    pub async fn laws(&self, at_least: Option<u64>) -> Result<(Vec<Known>, u64), Error> {
        self.at_least(at_least).await?;
        let now = self.clock.now();
        self.ask(move |ask| {
            let in_force = current(ask, now);
            let all = law::shipped().iter().map(|law| known(ask, law, in_force));
            Ok((all.collect(), ask.applied))
        })
        .await
    }

    /// Everything that would be said otherwise under another document, which counts as if it were adopted now.
    pub async fn preview_law(
        &self,
        candidate: &'static Law,
        at_least: Option<u64>,
    ) -> Result<Preview, Error> {
        self.at_least(at_least).await?;
        let now = self.clock.now();
        self.ask(move |ask| {
            let registers = lock::read(&ask.generation.shared.registers).clone();
            let in_force = registers.law(now, u64::MAX);
            let other = Registers { as_if: Some(candidate), ..registers.clone() };
            // The same law for both, also where one that is adopted already begins only later.
            let registers = Registers { as_if: Some(in_force), ..registers };
            Ok(Preview {
                findings: findings(ask, &registers, &other)?,
                transfers: transfers(ask, &registers, &other, now)?,
                tiers: tiers(ask, (&registers, in_force), (&other, candidate))?,
                now: known(ask, in_force, in_force),
                then: known(ask, candidate, in_force),
                applied: ask.applied,
            })
        })
        .await
    }

    /// Records that everything is judged by a document from an instant on. Where an adoption says so already,
    /// nothing is recorded, and that one is the answer.
    pub async fn adopt_law(
        &self,
        caller: &Caller,
        adopted: &'static Law,
        effective_at: Option<Timestamp>,
        reason: Option<Id>,
    ) -> Result<Adopted, Error> {
        let from = effective_at.unwrap_or_else(|| self.clock.now());
        // Held until it is in the log, so that two officers who adopt the same at once record it once.
        let registering = self.settle_registers().await?;
        let standing = self.views.registers(|registers| registers.adoption(from, u64::MAX));
        if let Some((position, _)) = standing.filter(|(_, law)| law.sha256() == adopted.sha256()) {
            return Ok(Adopted { position, recorded: false });
        }
        let body = LawDataActivated {
            name: Some(adopted.name().clone()),
            version: Some(adopted.version().clone()),
            sha256: Some(adopted.sha256()),
            effective_at: Some(from),
            reason,
        };
        // A document of this program contradicts no register.
        let (custody, event) = self.own_event(Body::LawDataActivated(Box::new(body)), vec![staff(caller)])?;
        let recorded = self.record_whole(&custody, vec![event]).await?;
        drop(registering);
        let position = recorded.first().ok_or_else(|| Error::internal("no_answer"))?.position;
        self.seen(Some(position)).await;
        Ok(Adopted { position, recorded: true })
    }
}

fn current(ask: &Ask, now: Timestamp) -> &'static Law {
    lock::read(&ask.generation.shared.registers).law(now, u64::MAX)
}

fn known(ask: &Ask, law: &'static Law, in_force: &'static Law) -> Known {
    let lines = ask.history(RegisterKind::Law, law.name().as_str(), None);
    let adopts = |version: &Arc<Version>| match &version.body {
        Body::LawDataActivated(body) => body.sha256 == Some(law.sha256()),
        _ => false,
    };
    let counted = lines.into_iter().filter(|line| line.retracted_by.is_none()).map(|line| line.version);
    let adoptions = counted.filter(adopts).collect();
    Known { law, in_force: law.sha256() == in_force.sha256(), adoptions }
}

fn findings(
    ask: &Ask,
    now: &Registers,
    then: &Registers,
) -> Result<BTreeMap<Key, (u64, u64)>, crate::views::Error> {
    let mut counts: BTreeMap<Key, (u64, u64)> = BTreeMap::new();
    for found in ask.findings_by(now, None)?.findings {
        counts.entry(found.key).or_default().0 = found.count;
    }
    for found in ask.findings_by(then, None)?.findings {
        counts.entry(found.key).or_default().1 = found.count;
    }
    counts.retain(|_, (now, then)| now != then);
    Ok(counts)
}

fn transfers(
    ask: &Ask,
    now: &Registers,
    then: &Registers,
    as_of: Timestamp,
) -> Result<BTreeMap<Flow, (Judged, Judged)>, crate::views::Error> {
    let mut flows: BTreeMap<Flow, (Judged, Judged)> = BTreeMap::new();
    for (registers, which) in [(now, 0), (then, 1)] {
        for line in ask.transfers(registers, Scope::all(u64::MAX), as_of)? {
            let key = line.key;
            let both = flows.entry((key.exporter, key.importer, key.from, key.to, key.purpose)).or_default();
            let judged = if which == 0 { &mut both.0 } else { &mut both.1 };
            *judged.entry(key.verdict).or_default() += line.count;
        }
    }
    flows.retain(|_, (now, then)| now != then);
    Ok(flows)
}

fn tiers(
    ask: &Ask,
    (now, now_law): (&Registers, &Law),
    (then, then_law): (&Registers, &Law),
) -> Result<Vec<Tiers>, crate::views::Error> {
    let shapes = ask.transfer_shapes();
    let (now, then) =
        (Counters::new(ask, now, &shapes, ask.applied)?, Counters::new(ask, then, &shapes, ask.applied)?);
    let reached = |counters: &Counters, key: &(Id, u16), law: &Law| {
        let numbers = counters.0.get(key);
        let (general, sensitive) =
            numbers.map(|numbers| (numbers.general.count(), numbers.sensitive.count())).unwrap_or_default();
        let day = year_begins(key.1 + 1).plus_ms(-1).local_date(chrono_tz::Asia::Shanghai);
        let tier = law.cn_tier(day, general, sensitive).map(|tier| tier.id.to_string()).unwrap_or_default();
        let next = law.cn_tiers(day).find(|tier| !tier.is_reached(general, sensitive));
        (tier, next.map_or(0, |next| next.general.saturating_sub(general)))
    };
    let keys: BTreeSet<(Id, u16)> = now.0.keys().chain(then.0.keys()).cloned().collect();
    let both = keys.into_iter().map(|key| {
        let (now, then) = (reached(&now, &key, now_law), reached(&then, &key, then_law));
        Tiers { exporter: key.0, year: key.1, now, then }
    });
    Ok(both.filter(|tiers| tiers.now != tiers.then).collect())
}
