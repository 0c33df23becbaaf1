//! How long data may be kept, and what falls due: answers from the views, for one person and as sums over everybody.
//! Nothing is stored and nothing destroyed by asking.

use std::collections::BTreeMap;

use crate::app::questions::When;
use crate::app::subjects::Name;
use crate::app::{App, Error};
use crate::domain::id::{Id, SubjectId};
use crate::domain::retention::{Action, Decision, Plan, State};
use crate::domain::time::Timestamp;
use crate::views::retention::{Change, Explained, Held, RetentionQuestion, Sweep};

/// Every datum of a person, explained.
#[derive(Debug)]
pub struct Explanations {
    pub data: Vec<Explained>,
    pub as_of: Timestamp,
    pub known_at: u64,
}

/// What is due at an instant, and what other rules would change.
#[derive(Debug, Default)]
pub struct Forecast {
    pub lines: BTreeMap<LineKey, Line>,
    pub by: Timestamp,
    pub known_at: u64,
    pub data: u64,
    pub people: u64,
    pub change: Option<Changes>,
    /// Who was counted last; people come one after the other.
    last: Option<SubjectId>,
}

/// What data of a line have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineKey {
    pub service: Option<Id>,
    pub record_kind: Option<Id>,
    pub category: Id,
    pub state: State,
    pub action: Action,
    pub plan: Plan,
}

#[derive(Debug, Default)]
pub struct Line {
    pub data: u64,
    pub people: u64,
    pub first_due: Option<Timestamp>,
    pub last_due: Option<Timestamp>,
    pub recipients: BTreeMap<Id, u64>,
    /// Who was counted last; people come one after the other.
    last: Option<SubjectId>,
}

/// In numbers of data.
#[derive(Debug, Default)]
pub struct Changes {
    pub newly_due: u64,
    pub no_longer_due: u64,
    pub earlier: u64,
    pub later: u64,
    pub into_review: u64,
    pub out_of_review: u64,
    pub newly_due_lines: BTreeMap<LineKey, Line>,
}

impl App {
    pub async fn explain_retention(&self, name: &Name, when: When) -> Result<Explanations, Error> {
        self.at_least(when.at_least).await?;
        let as_of = when.as_of.unwrap_or_else(|| self.clock.now());
        let subject = self.who(name, when.as_of).await?;
        self.ask(move |ask| {
            let question = RetentionQuestion { subject, as_of, known_at: when.known_at };
            let data = ask.retention(&question)?.ok_or(Error::SubjectNotFound)?;
            let known_at = when.known_at.unwrap_or(u64::MAX).min(ask.applied);
            Ok(Explanations { data, as_of, known_at })
        })
        .await
    }

    /// Passes over everybody, on a thread that may block.
    pub async fn forecast_retention(&self, when: When, change: Option<Change>) -> Result<Forecast, Error> {
        self.at_least(when.at_least).await?;
        let by = when.as_of.unwrap_or_else(|| self.clock.now());
        self.ask(move |ask| {
            let mut forecast = Forecast {
                by,
                known_at: when.known_at.unwrap_or(u64::MAX).min(ask.applied),
                change: change.as_ref().map(|_| Changes::default()),
                ..Forecast::default()
            };
            let sweep = Sweep { as_of: by, known_at: when.known_at };
            ask.sweep(&sweep, change.as_ref(), &mut |held| {
                forecast.add(&held);
                Ok(())
            })?;
            Ok(forecast)
        })
        .await
    }
}

impl Forecast {
    fn add(&mut self, held: &Held<'_>) {
        self.data += 1;
        self.count_person(held.subject);
        let decision = &held.decision;
        if matters(decision) {
            add(&mut self.lines, held, decision);
        }
        let (Some(changes), Some(changed)) = (&mut self.change, &held.changed) else { return };
        changes.add(held, changed);
    }

    fn count_person(&mut self, subject: SubjectId) {
        if self.last != Some(subject) {
            self.last = Some(subject);
            self.people += 1;
        }
    }
}

/// Due, or for an officer to decide.
fn matters(decision: &Decision) -> bool {
    matches!(decision.state, State::Due | State::Review)
}

fn add(lines: &mut BTreeMap<LineKey, Line>, held: &Held<'_>, decision: &Decision) {
    let key = LineKey {
        service: held.key.service.clone(),
        record_kind: held.key.record_kind.clone(),
        category: held.key.category.clone(),
        state: decision.state,
        action: decision.action,
        plan: decision.plan,
    };
    let line = lines.entry(key).or_default();
    line.data += 1;
    if line.last != Some(held.subject) {
        line.last = Some(held.subject);
        line.people += 1;
    }
    if let Some(due) = decision.due_at {
        line.first_due = Some(line.first_due.map_or(due, |first| first.min(due)));
        line.last_due = Some(line.last_due.map_or(due, |last| last.max(due)));
    }
    for recipient in &held.recipients {
        *line.recipients.entry((*recipient).clone()).or_default() += 1;
    }
}

impl Changes {
    fn add(&mut self, held: &Held<'_>, changed: &Decision) {
        let before = &held.decision;
        let is = |decision: &Decision, state| decision.state == state;
        if is(changed, State::Due) && !is(before, State::Due) {
            self.newly_due += 1;
            add(&mut self.newly_due_lines, held, changed);
        }
        self.no_longer_due += u64::from(is(before, State::Due) && !is(changed, State::Due));
        self.into_review += u64::from(is(changed, State::Review) && !is(before, State::Review));
        self.out_of_review += u64::from(is(before, State::Review) && !is(changed, State::Review));
        // Without an end is later than any day.
        let end = |decision: &Decision| decision.due_at.unwrap_or(Timestamp::LAST);
        self.earlier += u64::from(end(changed) < end(before));
        self.later += u64::from(end(changed) > end(before));
    }
}
