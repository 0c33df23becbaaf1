//! Findings and the register of transfers, as they are asked for, and what officers do about findings.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::app::own::staff;
use crate::app::{App, Caller, Error};
use crate::domain::event::catalogue::{FindingAcknowledged, FindingClosed, FindingReopened};
use crate::domain::event::{Body, TransferRegime};
use crate::domain::finding::Key;
use crate::domain::id::Id;
use crate::domain::law::Law;
use crate::domain::personal::Personal;
use crate::domain::time::{MS_PER_DAY, Timestamp};
use crate::views::ask::Ask;
use crate::views::counter::Counters;
use crate::views::findings::{Finding, Findings, Separate, State, name};
use crate::views::flows::FlowLine;
use crate::views::lock;
use crate::views::registers::Registers;
use crate::views::stretch::Scope;

/// When the detectors last ticked, and what the log held then.
#[derive(Default)]
pub struct Detecting(Mutex<Option<Ticked>>);

#[derive(Clone, Copy)]
struct Ticked {
    at: Timestamp,
    /// The log's head behind the tick's own record, and behind what jobs recorded since.
    head: u64,
    /// Something new was recorded before it, which the next tick may be the first to judge.
    news: bool,
}

impl Detecting {
    fn lock(&self) -> MutexGuard<'_, Option<Ticked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A tick was recorded at a position, when the log's head had been `seen`.
    pub(crate) fn ticked(&self, at: Timestamp, seen: u64, position: u64) {
        let mut known = self.lock();
        let news = known.is_none_or(|ticked| seen > ticked.head);
        *known = Some(Ticked { at, head: position + 1, news });
    }

    /// What a job recorded about itself is nothing to judge.
    pub(crate) fn passes(&self, position: u64) {
        if let Some(ticked) = self.lock().as_mut().filter(|ticked| ticked.head == position) {
            ticked.head = position + 1;
        }
    }
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

    /// Whether a tick now would judge nothing that the last one did not: nothing was recorded since, and it is less
    /// than a day ago, so that a clock alone has brought little about.
    pub fn detectors_are_idle(&self) -> bool {
        let (now, head) = (self.clock.now(), self.log.head());
        // A clock that was set back makes the last tick lie ahead; then there is another.
        self.detecting.lock().is_some_and(|ticked| {
            head <= ticked.head && !ticked.news && (0..MS_PER_DAY).contains(&now.since(ticked.at))
        })
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
