//! How many people's data each exporter gave out of China in a year, by which the law asks for more or less
//! (2024 Provisions, Art. 5, 7, 8): general and sensitive for themselves, everybody once, exempt flows not.
//!
//! The erased go on counting by the tallies of their erasures, as if from the year's first instant: when
//! exactly, nobody knows any more, and nothing is to look smaller than it was. Of collective transfers, which
//! name nobody, the largest number counts once. Asked about what was known at an earlier position, it counts the
//! people of whom is known now.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;

use crate::domain::id::Id;
use crate::domain::law::{Law, Tier};
use crate::domain::time::{Timestamp, midnight};
use crate::views::ask::Ask;
use crate::views::exported::year_of;
use crate::views::flows::Transfer;
use crate::views::registers::Registers;
use crate::views::{Error, erased, occurrences};

/// Numbers of one exporter in one year.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counter {
    pub general: People,
    pub sensitive: People,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct People {
    /// When each was first among them, sorted.
    pub firsts: Vec<Timestamp>,
    pub erased: u64,
    /// The largest number that a collective transfer stated.
    pub collective: u64,
}

impl People {
    pub fn count(&self) -> u64 {
        self.before() + self.firsts.len() as u64
    }

    fn before(&self) -> u64 {
        self.erased + self.collective
    }

    fn at(&self, at: Timestamp) -> u64 {
        self.before() + self.firsts.partition_point(|first| *first <= at) as u64
    }

    /// When a number was reached.
    pub fn reached(&self, number: u64, year: u16) -> Option<Timestamp> {
        match number.checked_sub(self.before() + 1) {
            None => Some(year_begins(year)),
            Some(n) => self.firsts.get(usize::try_from(n).ok()?).copied(),
        }
    }
}

/// By exporter and year.
#[derive(Debug, Clone, Default)]
pub struct Counters(pub BTreeMap<(Id, u16), Counter>);

impl Counters {
    pub fn new(
        ask: &Ask,
        registers: &Registers,
        transfers: &[Transfer],
        known_at: u64,
    ) -> Result<Counters, Error> {
        let mut shapes: BTreeMap<(Id, u16, bool), (BTreeSet<u32>, u64)> = BTreeMap::new();
        for transfer in transfers {
            if transfer.body.from_country.is_none_or(|from| from.as_str() != "CN") || transfer.is_domestic() {
                continue;
            }
            let mut years: BTreeMap<u16, Timestamp> = BTreeMap::new();
            for one in occurrences::of_shape(&ask.reading, transfer.number, known_at) {
                let at = one?.at;
                years.entry(year_of(at)).and_modify(|last| *last = at.max(*last)).or_insert(at);
            }
            for (year, last) in years {
                let Some(flow) = transfer.resolve(registers, last, known_at) else { continue };
                let law = registers.law(Timestamp::LAST, known_at);
                if flow.exempt(law).is_some() {
                    continue;
                }
                let (numbers, collective) = shapes.entry((flow.exporter, year, flow.sensitive)).or_default();
                numbers.insert(transfer.number);
                *collective = (*collective).max(transfer.body.subjects.unwrap_or(0));
            }
        }
        let (mut counters, merged) = (Counters::default(), ask.merged()?);
        for ((exporter, year, sensitive), (numbers, collective)) in shapes {
            let line = erased_line(&exporter);
            let erased = match &line {
                Some(line) => erased::tally(&ask.reading, line, year.into(), sensitive)?,
                None => 0,
            };
            let people = People { firsts: ask.exported(&numbers, year, &merged)?, erased, collective };
            let counter = counters.0.entry((exporter, year)).or_default();
            *(if sensitive { &mut counter.sensitive } else { &mut counter.general }) = people;
        }
        Ok(counters)
    }

    /// The tier that an exporter had reached at an instant; `None` where the law knows none yet.
    pub fn tier<'l>(&self, exporter: &Id, at: Timestamp, law: &'l Law) -> Option<&'l Tier> {
        let day = at.local_date(chrono_tz::Asia::Shanghai);
        let counter = self.0.get(&(exporter.clone(), year_of(at)));
        let (general, sensitive) =
            counter.map_or((0, 0), |counter| (counter.general.at(at), counter.sensitive.at(at)));
        law.cn_tier(day, general, sensitive)
    }

    /// The kinds of mechanisms that were asked for at an instant, if any was.
    pub fn asked(&self, exporter: &Id, at: Timestamp, law: &Law) -> Option<Vec<Id>> {
        let tier = self.tier(exporter, at, law)?;
        (!tier.kinds.is_empty()).then(|| tier.kinds.clone())
    }

    /// When an exporter reached a tier, and when years began.
    pub fn bounds(&self, exporter: &Id, law: &Law) -> Vec<Timestamp> {
        let mine = self.0.iter().filter(|((of, _), _)| of == exporter);
        let mut bounds = Vec::new();
        for ((_, year), counter) in mine {
            bounds.extend([year_begins(*year), year_begins(year + 1)]);
            for tier in law.cn_tiers(NaiveDate::MAX) {
                bounds.extend(counter.general.reached(tier.general, *year));
                bounds.extend(counter.sensitive.reached(tier.sensitive, *year));
            }
        }
        bounds
    }
}

/// The line under which the erased go on counting for an exporter (`app::erase`).
pub fn erased_line(exporter: &Id) -> Option<Id> {
    format!("{exporter}:CN").parse().ok()
}

/// Midnight in Shanghai.
pub fn year_begins(year: u16) -> Timestamp {
    let day = NaiveDate::from_ymd_opt(year.into(), 1, 1).unwrap_or(NaiveDate::MIN);
    midnight(day, chrono_tz::Asia::Shanghai)
}
