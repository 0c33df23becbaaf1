//! Counts for jobs that watch: what stands, and what time alone brings about, as of any instant. They judge
//! nothing that `views` does not judge, and change nothing.

use std::collections::BTreeSet;

use crate::app::App;
use crate::app::error::Error;
use crate::app::findings::Basis;
use crate::app::jobs::Counts;
use crate::domain::time::{MS_PER_DAY, Timestamp};
use crate::views::counter::Counters;
use crate::views::findings::State;

/// What ends within so long is counted as ending: the longest warning that the law data know.
const SOON_MS: i64 = 90 * MS_PER_DAY;

impl App {
    /// Findings of some codes that nobody closed and nothing cured, each under a name of its own.
    pub async fn standing(&self, names: &'static [(&'static str, &'static str)]) -> Result<Counts, Error> {
        let all = self.findings(None, self.log.head().checked_sub(1)).await?;
        let mut counts: Counts = names.iter().map(|(_, name)| (*name, 0)).collect();
        for finding in &all.findings {
            let name = names.iter().find(|(code, _)| *code == finding.key.code());
            if let Some((_, name)) = name.filter(|_| stands(finding.state)) {
                *counts.entry(name).or_default() += 1;
            }
        }
        Ok(counts)
    }

    /// All findings that stand.
    pub async fn findings_that_stand(&self) -> Result<u64, Error> {
        let all = self.findings(None, self.log.head().checked_sub(1)).await?;
        Ok(all.findings.iter().filter(|finding| stands(finding.state)).count() as u64)
    }

    /// Mechanisms of transfers: in force, ending soon, and those that have ended without another version.
    pub async fn mechanisms_at(&self, at: Timestamp) -> Result<Counts, Error> {
        self.ask(move |ask| {
            let registers = Basis::of(ask, ask.applied, at)?.registers;
            let mut counts = Counts::from([("in_force", 0), ("ending", 0), ("ended", 0)]);
            let mechanisms =
                registers.mechanisms.keys().filter_map(|id| registers.mechanism(id, ask.applied));
            for mechanism in mechanisms {
                let ends = mechanism.at(at).map(|period| period.to.map(|(to, _)| to));
                let name = match ends {
                    Some(Some(to)) if to <= at.plus_ms(SOON_MS) => "ending",
                    Some(_) => "in_force",
                    None if mechanism.before(at).next().is_some() => "ended",
                    None => continue,
                };
                *counts.entry(name).or_default() += 1;
            }
            Ok(counts)
        })
        .await
    }

    /// Exporters from China, and how many of them need a mechanism by their numbers.
    pub async fn exporters_at(&self, at: Timestamp) -> Result<Counts, Error> {
        self.ask(move |ask| {
            let from = Basis::of(ask, ask.applied, at)?;
            let counters = Counters::new(ask, &from.registers, &ask.transfer_shapes(), ask.applied)?;
            let exporters: BTreeSet<_> = counters.0.keys().map(|(exporter, _)| exporter.clone()).collect();
            let asked = |exporter: &&_| counters.asked(exporter, at, from.law).is_some();
            let over = exporters.iter().filter(asked).count() as u64;
            Ok(Counts::from([("exporters", exporters.len() as u64), ("needing_mechanism", over)]))
        })
        .await
    }

    /// Assessments by their newest of each kind: those that have run out, and those that do soon.
    pub async fn assessments_at(&self, at: Timestamp) -> Result<Counts, Error> {
        self.ask(move |ask| {
            let registers = Basis::of(ask, ask.applied, at)?.registers;
            let mut counts = Counts::from([("assessments_over", 0), ("assessments_ending", 0)]);
            for made in registers.assessments.values() {
                let mut seen = Vec::new();
                let known =
                    made.iter().rev().filter(|entry| entry.from <= at && entry.position < ask.applied);
                for entry in known {
                    if seen.contains(&entry.body.kind) {
                        continue;
                    }
                    seen.push(entry.body.kind);
                    let name = match entry.body.valid_until {
                        Some(until) if until < at => "assessments_over",
                        Some(until) if until <= at.plus_ms(SOON_MS) => "assessments_ending",
                        _ => continue,
                    };
                    *counts.entry(name).or_default() += 1;
                }
            }
            Ok(counts)
        })
        .await
    }

    /// Numbers that emitters' own counts lack, noticed by an instant.
    pub async fn missing_numbers_at(&self, at: Timestamp) -> Result<u64, Error> {
        let (gaps, _) = self.emitter_gaps().await?;
        Ok(gaps.iter().filter(|gap| gap.noticed_at <= at).map(|gap| gap.last - gap.first + 1).sum())
    }
}

fn stands(state: State) -> bool {
    matches!(state, State::Open | State::Acknowledged | State::Reopened)
}
