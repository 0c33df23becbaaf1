//! Findings about flows across borders (GDPR 44 to 49; PIPL 38 to 40; 2024 Provisions).

use std::sync::Arc;

use crate::domain::event::{AssessmentKind, TransferRegime};
use crate::domain::finding::{Key, Value, rule};
use crate::domain::id::Id;
use crate::domain::time::{LocalDate, MS_PER_DAY, Timestamp, midnight};
use crate::domain::transfer::mechanism::End;
use crate::domain::transfer::{By, Flow, Mechanism, Verdict};
use crate::views::Error;
use crate::views::counter::People;
use crate::views::findings::lessons::Keys;
use crate::views::findings::{Finder, Kind, maybe, value};
use crate::views::flows::{Judge, Part, Transfer};
use crate::views::occurrences;

const NONE: &str = "F-TRANSFER-NO-MECHANISM";
const EXPIRED: &str = "F-TRANSFER-EXPIRED";
const SCOPE: &str = "F-TRANSFER-SCOPE";
const ASSESSMENT: &str = "F-TRANSFER-NO-ASSESSMENT";
const EXPIRING: &str = "F-TRANSFER-EXPIRING";

/// So long before the end of a mechanism its finding is graver.
const URGENT_MS: i64 = 7 * MS_PER_DAY;

/// From so many uses of a derogation within a year for one importer on, it is no exception any more: our
/// threshold for what GDPR 49 calls occasional.
const DEROGATIONS: usize = 3;

type Judged<'t> = (&'t Transfer, Part, Flow, Verdict);

impl Finder<'_> {
    pub(super) fn transfers(&mut self) -> Result<(), Error> {
        let transfers = self.ask.transfer_shapes();
        let registers = self.registers;
        let as_of = self.tick.unwrap_or(Timestamp::LAST);
        let judge = self.ask.judge(registers, &transfers, self.scope, as_of)?;
        let judged = self.ask.judged(&judge, &transfers)?;
        for (_, part, flow, verdict) in &judged {
            match verdict {
                Verdict::Expired(_) => self.flow(EXPIRED, flow, verdict, part),
                Verdict::Scope(..) => self.flow(SCOPE, flow, verdict, part),
                _ => {}
            }
        }
        self.derogations(&judge, &judged)?;
        for transfer in &transfers {
            self.absences(&judge, transfer)?;
        }
        self.numbers(&judge);
        self.ends(&judge, &judged);
        self.filings(&judge);
        Ok(())
    }

    fn flow(&mut self, code: &'static str, flow: &Flow, verdict: &Verdict, part: &Part) {
        keys_of(flow, verdict).into_iter().for_each(|key| self.raise(code, key, &part.stretch));
    }

    /// What rests on absence: a mechanism, and the assessments that it needs.
    fn absences(&mut self, judge: &Judge<'_>, transfer: &Transfer) -> Result<(), Error> {
        let kind = Kind { number: transfer.number, shape: Arc::clone(&transfer.shape), body: () };
        let lessons = self.lessons(judge.positions(transfer))?;
        for case in self.cases(NONE, &kind, judge.bounds(transfer), &lessons)? {
            let at = case.stretch.first;
            let Some(flow) = transfer.resolve(judge.registers, at, self.known_at()) else { continue };
            let verdict = judge.verdict(&flow, at);
            self.judge_case(NONE, (&case, &lessons), |finder, known_at| {
                // By now it may be wrong in another way, and then nothing cured it.
                let then = if known_at < finder.known_at() && verdict.is_allowed() {
                    judge.verdict_before(&flow, at, known_at)
                } else {
                    verdict.clone()
                };
                if then == Verdict::Nothing { keys_of(&flow, &then) } else { Keys::new() }
            });
            self.judge_case(ASSESSMENT, (&case, &lessons), |finder, known_at| {
                finder.unassessed_mechanism(judge, &verdict, at, known_at)
            });
        }
        Ok(())
    }

    /// A mechanism needs its assessments: of itself, of the importer, or the documents it names (SCC Clause 14;
    /// PIPL 55).
    fn unassessed_mechanism(
        &self,
        judge: &Judge<'_>,
        verdict: &Verdict,
        at: Timestamp,
        known_at: u64,
    ) -> Keys {
        let Verdict::Allowed(By::Mechanism(id)) = verdict else { return Keys::new() };
        let registers = self.registers;
        let period = judge.all().find(|mechanism| mechanism.id == *id).and_then(|mechanism| mechanism.at(at));
        let kind = period.and_then(|period| self.law.mechanism(period.kind.as_str()));
        let of = registers.assessed_for(id);
        let needs = kind.map(|kind| kind.needs.as_slice()).unwrap_or_default();
        let lacks =
            |kind: &&AssessmentKind| !of.iter().any(|of| registers.is_assessed(of, **kind, at, known_at));
        needs.iter().filter(lacks).take(1).map(|_| vec![value(id)]).collect()
    }

    /// A derogation that is used again and again is no exception (GDPR 49, recital 111).
    fn derogations(&mut self, judge: &Judge<'_>, judged: &[Judged<'_>]) -> Result<(), Error> {
        for mechanism in judge.all() {
            let strict = |kind: &Id| self.law.mechanism(kind.as_str()).is_some_and(|kind| kind.derogation);
            if !mechanism.periods.iter().any(|period| strict(&period.kind)) {
                continue;
            }
            let by = Verdict::Allowed(By::Mechanism(mechanism.id.clone()));
            let mine: Vec<&Judged<'_>> = judged.iter().filter(|(_, _, _, verdict)| *verdict == by).collect();
            let mut uses = Vec::new();
            for (transfer, part, _, _) in &mine {
                for one in occurrences::of_shape(&self.ask.reading, transfer.number, self.known_at()) {
                    let at = one?.at;
                    if part.stretch.first <= at && at <= part.stretch.last {
                        uses.push(at);
                    }
                }
            }
            uses.sort_unstable();
            let year = 365 * MS_PER_DAY;
            if uses.windows(DEROGATIONS).any(|some| some[DEROGATIONS - 1].since(some[0]) < year) {
                let over = Verdict::Scope(mechanism.id.clone(), Vec::new());
                for (_, part, flow, _) in mine {
                    self.flow(SCOPE, flow, &over, part);
                }
            }
        }
        Ok(())
    }

    /// Numbers near or at what asks for more, without a mechanism that would do (2024 Provisions 5, 7, 8).
    fn numbers(&mut self, judge: &Judge<'_>) {
        let warn = |number: u64| (number * 4).div_ceil(5);
        let mut found = Vec::new();
        for ((exporter, year), counter) in &judge.counters.0 {
            for tier in self.law.cn_tiers(chrono::NaiveDate::MAX).filter(|tier| !tier.kinds.is_empty()) {
                let at = |people: &People, number: u64| people.reached(number, *year);
                let full = at(&counter.general, tier.general).into_iter();
                let full = full.chain(at(&counter.sensitive, tier.sensitive)).min();
                let near = at(&counter.general, warn(tier.general)).into_iter();
                let near = near.chain(at(&counter.sensitive, warn(tier.sensitive))).min();
                let Some((at, percent)) = full.map(|at| (at, 100u64)).or(near.map(|at| (at, 80))) else {
                    continue;
                };
                let does = |mechanism: &Mechanism| {
                    let fits = mechanism.at(at).is_some_and(|period| tier.kinds.contains(&period.kind));
                    mechanism.regime == TransferRegime::Cn && mechanism.exporter == *exporter && fits
                };
                if !judge.all().any(does) {
                    let key = vec![
                        value(exporter),
                        Some(Value::from(u64::from(*year))),
                        value(&tier.id),
                        Some(Value::from(percent)),
                    ];
                    found.push((key, at));
                }
            }
        }
        found.into_iter().for_each(|(key, at)| self.note("F-CN-THRESHOLD", key, at, None));
    }

    /// A mechanism in use ends soon, and none takes its place (SCC 2021/914; PIPL 38). By the recorded tick.
    fn ends(&mut self, judge: &Judge<'_>, judged: &[Judged<'_>]) {
        let Some(now) = self.tick else { return };
        for mechanism in judge.all() {
            let Some(period) = mechanism.at(now) else { continue };
            let Some((to, End::Expired)) = period.to else { continue };
            let by = Verdict::Allowed(By::Mechanism(mechanism.id.clone()));
            let year_ago = now.plus_ms(-365 * MS_PER_DAY);
            let mut mine =
                judged.iter().filter(|(_, part, _, verdict)| *verdict == by && part.stretch.last >= year_ago);
            let Some((_, _, flow, _)) = mine.next() else { continue };
            let Some(kind) = self.law.mechanism(period.kind.as_str()) else { continue };
            let begins = match kind.warn_working_days {
                Some(days) => {
                    let last = to.plus_ms(-1).local_date(chrono_tz::Asia::Shanghai);
                    let day = self.law.working_day_before(last, days);
                    midnight(day, chrono_tz::Asia::Shanghai)
                }
                None => {
                    to.plus_ms(-i64::from(kind.warn_days.iter().copied().max().unwrap_or(0)) * MS_PER_DAY)
                }
            };
            let another = judge.all().any(|other| {
                other.id != mechanism.id
                    && other.is_for(mechanism.regime, flow)
                    && other.at(to).is_some_and(|period| period.short_of(flow).is_empty())
            });
            if now < begins || another {
                continue;
            }
            let key = vec![value(&mechanism.id)];
            self.note(EXPIRING, key.clone(), begins, Some(period.position));
            let rises = rule(EXPIRING).and_then(|rule| rule.rises_to).filter(|_| to.since(now) <= URGENT_MS);
            if let (Ok(key), Some(severity)) = (Key::new(EXPIRING, key), rises)
                && let Some(finding) = self.found.get_mut(&key)
            {
                finding.severity = severity;
            }
        }
    }

    /// A standard contract is filed within ten working days (Standard Contract Measures 7). By the tick.
    fn filings(&mut self, judge: &Judge<'_>) {
        let Some(now) = self.tick else { return };
        let mut late = Vec::new();
        for mechanism in judge.all() {
            let Some(period) = mechanism.periods.first().filter(|period| period.from <= now) else {
                continue;
            };
            let days = self.law.mechanism(period.kind.as_str()).and_then(|kind| kind.filing_working_days);
            let Some(days) = days else { continue };
            let from = period.from.local_date(chrono_tz::Asia::Shanghai);
            let due =
                LocalDate { date: self.law.working_day_after(from, days), tz: chrono_tz::Asia::Shanghai }
                    .ends();
            let history = self.registers.mechanisms.get(&mechanism.id).into_iter().flatten();
            let filed = history
                .filter(|entry| entry.position < self.known_at())
                .filter_map(|entry| entry.body.filing.as_ref()?.filed_at)
                .min();
            if filed.unwrap_or(now) >= due {
                late.push((mechanism.id.clone(), due, period.position));
            }
        }
        for (id, due, position) in late {
            self.note("F-CN-FILING-LATE", vec![value(&id)], due, Some(position));
        }
    }
}

/// One finding per purpose.
fn keys_of(flow: &Flow, verdict: &Verdict) -> Keys {
    let purposes = flow.purposes.iter().map(Some);
    let none = flow.purposes.is_empty().then_some(None);
    let key = |purpose| {
        let country = Some(Value::from(flow.to));
        let (exporter, importer) = (value(&flow.exporter), value(&flow.importer));
        vec![maybe(verdict.mechanism()), exporter, importer, country, maybe(purpose)]
    };
    purposes.chain(none).map(key).collect()
}
