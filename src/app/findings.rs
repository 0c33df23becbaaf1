//! Findings and the register of transfers, as they are asked for, and what officers do about findings.

use std::sync::{Arc, Mutex};

use crate::app::own::staff;
use crate::app::{App, Caller, Error};
use crate::domain::event::catalogue::{FindingAcknowledged, FindingClosed, FindingReopened, JobRan};
use crate::domain::event::{Body, JobOutcome, TransferRegime};
use crate::domain::finding::Key;
use crate::domain::id::Id;
use crate::domain::law::Law;
use crate::domain::personal::Personal;
use crate::domain::time::{MS_PER_DAY, MS_PER_MINUTE, Timestamp};
use crate::views::ask::Ask;
use crate::views::counter::Counters;
use crate::views::findings::{DETECTOR, Finding, Findings, Separate, State, name};
use crate::views::flows::FlowLine;
use crate::views::lock;
use crate::views::registers::Registers;
use crate::views::stretch::Scope;

/// Between two ticks of the detectors (`domain.md`, section 5).
const TICK_MS: i64 = 10 * MS_PER_MINUTE;

/// When the detectors last ticked, and what the log held then.
#[derive(Default)]
pub struct Detecting(Mutex<Option<Ticked>>);

#[derive(Clone, Copy)]
struct Ticked {
    at: Timestamp,
    /// The log's head behind the tick's own record.
    head: u64,
    /// Something new was recorded before it, which the next tick may be the first to judge.
    news: bool,
}

/// Which lines of the register of transfers.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub scope: Scope,
    /// Only what nothing allowed.
    pub uncovered: bool,
    /// All if empty.
    pub exporters: Vec<String>,
    pub importers: Vec<String>,
    pub regime: Option<TransferRegime>,
    /// Lines before the page, and at most on it.
    pub start: usize,
    pub limit: usize,
}

/// A page of the register of transfers, and what it was computed from.
pub struct Transfers {
    pub lines: Vec<TransferLine>,
    /// Whether there are lines behind these.
    pub more: bool,
    pub from: Basis,
}

/// One line of the register, with what is counted and looked up only for a page.
pub struct TransferLine {
    pub flow: FlowLine,
    /// Different people of whom something is kept.
    pub people: u64,
    /// `None` where no transfer of the line asks for a separate consent.
    pub consents: Option<Separate>,
    /// Whether the importer's registration names a contact.
    pub has_contact: bool,
}

/// What an answer was computed from.
pub struct Basis {
    pub registers: Registers,
    pub applied: u64,
    pub unjudged: u64,
    pub law: &'static Law,
}

/// What an officer does about a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub key: Key,
    pub state: State,
    pub reason: Option<Id>,
    pub note: Option<String>,
}

impl App {
    pub async fn findings(
        &self,
        known_at: Option<u64>,
        at_least: Option<u64>,
    ) -> Result<Arc<Findings>, Error> {
        self.at_least(at_least).await?;
        self.ask(move |ask| Ok(ask.findings(known_at)?)).await
    }

    /// One finding; an error where there is none of this key.
    pub async fn finding(&self, key: Key, known_at: Option<u64>) -> Result<(Finding, Arc<Findings>), Error> {
        let all = self.findings(known_at, None).await?;
        let found = all.findings.iter().find(|finding| finding.key == key).cloned();
        Ok((found.ok_or(Error::FindingNotFound)?, all))
    }

    /// Records what an officer does about a finding that there is.
    pub async fn decide_finding(&self, caller: &Caller, decision: Decision) -> Result<u64, Error> {
        let Decision { key, state, reason, note } = decision;
        // Only what is found can be dealt with, so that a slip of the pen closes nothing.
        self.finding(key.clone(), None).await?;
        let (code, name) = (key.code().parse().ok(), name(&key).to_string().parse().ok());
        let note = note.filter(|note| !note.is_empty()).map(Personal::new);
        let body = match state {
            State::Closed => Body::FindingClosed(Box::new(FindingClosed {
                code,
                key: name,
                reason,
                note,
                ..Default::default()
            })),
            State::Reopened => Body::FindingReopened(Box::new(FindingReopened {
                code,
                key: name,
                reason,
                note,
                ..Default::default()
            })),
            State::Acknowledged | State::Open | State::Cured => {
                Body::FindingAcknowledged(Box::new(FindingAcknowledged {
                    code,
                    key: name,
                    reason,
                    note,
                    ..Default::default()
                }))
            }
        };
        Ok(self.record_own(body, vec![staff(caller)]).await?.position)
    }

    /// A page of the register of transfers.
    pub async fn transfers(&self, wanted: Wanted, at_least: Option<u64>) -> Result<Transfers, Error> {
        self.at_least(at_least).await?;
        let now = self.clock.now();
        self.ask(move |ask| {
            let from = Basis::of(ask, wanted.scope.known_at, now)?;
            let mut all = ask.transfers(&from.registers, wanted.scope, now)?;
            all.retain(|line| wanted.has(line));
            let more = all.len() > wanted.start.saturating_add(wanted.limit);
            let page: Vec<FlowLine> = all.into_iter().skip(wanted.start).take(wanted.limit).collect();
            let known_at = wanted.scope.known_at;
            let consents = ask.separate_consents(&from.registers, &page, known_at)?;
            let merged = ask.merged()?;
            let mut lines = Vec::with_capacity(page.len());
            for (flow, consents) in page.into_iter().zip(consents) {
                let people = ask.people(&flow.parts, &merged)?;
                let importer = from.registers.importer_at(&flow.key.importer, flow.last, known_at);
                let has_contact = importer.map_or(Ok(false), |position| ask.names_contact(position))?;
                lines.push(TransferLine { flow, people, consents, has_contact });
            }
            Ok(Transfers { lines, more, from })
        })
        .await
    }

    /// The numbers of exports from China.
    pub async fn export_counters(&self, at_least: Option<u64>) -> Result<(Counters, Basis), Error> {
        self.at_least(at_least).await?;
        let now = self.clock.now();
        self.ask(move |ask| {
            let from = Basis::of(ask, u64::MAX, now)?;
            Ok((Counters::new(ask, &from.registers, &ask.transfer_shapes(), ask.applied)?, from))
        })
        .await
    }

    /// Records a tick of the detectors every ten minutes while there is news to be judged, and once a day
    /// otherwise, for what a clock alone brings about.
    pub async fn tick_detectors(&self) -> Result<(), Error> {
        let now = self.clock.now();
        let known = *self.detecting.0.lock().unwrap_or_else(|e| e.into_inner());
        let head = self.log.head();
        let news = known.is_none_or(|ticked| head > ticked.head);
        let last = match known {
            Some(ticked) => Some(ticked.at),
            None => self.ask(|ask| Ok(ask.tick(u64::MAX)?)).await?,
        };
        let since = last.unwrap_or(self.started_at);
        let wait = if news || known.is_some_and(|ticked| ticked.news) { TICK_MS } else { MS_PER_DAY };
        // A clock that was set back makes the last tick lie ahead; then there is another at once.
        let waits = (0..wait).contains(&now.since(since));
        if waits || self.reserve.is_reached() || self.log.status().read_only.is_some() {
            return Ok(());
        }
        let body = JobRan {
            job: DETECTOR.parse().ok(),
            scheduled_for: Some(now),
            outcome: Some(JobOutcome::Ok),
            computed_at: Some(head),
            ..Default::default()
        };
        let position = self.record_own(Body::JobRan(Box::new(body)), Vec::new()).await?.position;
        let ticked = Ticked { at: now, head: position + 1, news };
        *self.detecting.0.lock().unwrap_or_else(|e| e.into_inner()) = Some(ticked);
        Ok(())
    }
}

impl Wanted {
    fn has(&self, line: &FlowLine) -> bool {
        let one_of =
            |wanted: &[String], has: &Id| wanted.is_empty() || wanted.iter().any(|one| one == has.as_str());
        (!self.uncovered || !line.key.verdict.is_allowed())
            && one_of(&self.exporters, &line.key.exporter)
            && one_of(&self.importers, &line.key.importer)
            && self.regime.is_none_or(|regime| line.regime == Some(regime))
    }
}

impl Basis {
    pub(crate) fn of(ask: &Ask, known_at: u64, now: Timestamp) -> Result<Basis, Error> {
        let registers = lock::read(&ask.generation.shared.registers).clone();
        let law = registers.law(now, known_at);
        Ok(Basis { registers, applied: ask.applied, unjudged: ask.unjudged(known_at)?, law })
    }
}
