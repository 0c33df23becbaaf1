//! Register events on the one path: compared with the registers before they are sealed, and recorded together
//! where they are one import.

use super::{Answers, Checked, LAG_LIMIT, Receipt, VIEWS_TOO_FAR_BEHIND, count};
use crate::app::registers::gate;
use crate::app::{App, Caller, Error};
use crate::domain::event::Event;
use crate::domain::register::Book;
use crate::domain::register::contradiction::asks_registers;
use crate::domain::time::Timestamp;

impl App {
    /// Register events that contradict the registers. The guard is held until the others are in the log.
    pub(super) async fn refuse_contradictions(
        &self,
        caller: &Caller,
        new: Vec<Checked>,
        now: Timestamp,
        answers: &mut Answers,
    ) -> (Vec<Checked>, Option<gate::Registering<'_>>) {
        if !new.iter().any(|checked| asks_registers(checked.event.body.event_type())) {
            return (new, None);
        }
        let settled = self.settle_registers().await;
        let (mut passed, mut before) = (Vec::with_capacity(new.len()), Book::default());
        for checked in new {
            let event = &checked.event;
            if asks_registers(event.body.event_type()) {
                let found = match &settled {
                    Ok(_) => self.contradicted(caller, event, &before, now),
                    Err(error) => {
                        answers[checked.at] = Some(Err(error.repeated()));
                        continue;
                    }
                };
                if !found.is_empty() {
                    answers[checked.at] = Some(Err(gate::refused(&found)));
                    continue;
                }
                before.add(gate::fresh(event, now));
            }
            passed.push(checked);
        }
        (passed, settled.ok())
    }

    /// Records all of these, or none of them; their registers were compared, and the guard is held.
    pub(crate) async fn record_whole(
        &self,
        caller: &Caller,
        events: Vec<Event>,
    ) -> Result<Vec<Receipt>, Error> {
        if self.views.lag() > LAG_LIMIT {
            return Err(VIEWS_TOO_FAR_BEHIND);
        }
        let mut answers: Answers = events.iter().map(|_| None).collect();
        let now = self.clock.now();
        let checked = self.check(caller, events.into_iter().map(Ok).collect(), &mut answers);
        let checked = self.refuse_at_reserve(caller, checked, &mut answers);
        let checked = self.complete(checked, now, &mut answers);
        self.may_grow()?;
        let _keeping = self.keeping(&checked).await;
        let _recording = self.recording.read().await;
        if answers.iter().all(Option::is_none) && !checked.is_empty() {
            match self.attribute_and_seal(caller, checked, now, &mut answers).await {
                Ok(ready) if answers.iter().all(Option::is_none) => self.append(ready, &mut answers).await,
                Ok(_) => {}
                Err((_, error)) => return Err(error),
            }
        }
        count(&answers);
        if let Some(Some(Err(error))) = answers.iter().find(|answer| matches!(answer, Some(Err(_)))) {
            return Err(error.repeated());
        }
        answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(|| Err(Error::internal("no_answer"))))
            .collect()
    }

    /// The receipt of an event that is recorded already, with the same content.
    pub(crate) async fn record_known(&self, caller: &Caller, event: Event) -> Result<Receipt, Error> {
        let mut answers: Answers = vec![None];
        let stated = self.check(caller, vec![Ok(event)], &mut answers);
        self.answer_known(stated, &mut answers).await;
        count(&answers);
        answers.pop().flatten().unwrap_or_else(|| Err(Error::EventNotFound))
    }
}
