//! Records of processing, SDKs and the lists of an app, as they are asked for.

use crate::app::findings::Basis;
use crate::app::{App, Error};
use crate::domain::id::Id;
use crate::domain::time::Timestamp;
use crate::views::ask::Ask;
use crate::views::ropa::{self, Moment, Processing, Record};
use crate::views::sdks::{AppLists, Sdk};

/// As of when something is asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked {
    /// Now if `None`.
    pub as_of: Option<Timestamp>,
    /// What was known before this position; all if `None`.
    pub known_at: Option<u64>,
    /// Only when the views have reached this position.
    pub at_least: Option<u64>,
}

/// What is answered, and what it was computed from.
pub struct Answered<T> {
    pub answer: T,
    pub as_of: Timestamp,
    pub from: Basis,
}

impl App {
    /// The activities of controllers (GDPR 30(1)). People are counted only where the question is about now.
    pub async fn processing_records(
        &self,
        asked: Asked,
        count_people: bool,
    ) -> Result<Answered<Vec<Record>>, Error> {
        let count_people = count_people && asked.as_of.is_none() && asked.known_at.is_none();
        self.answered(asked, move |ask, from, moment| {
            Ok(ask.processing_records(&from.registers, moment, count_people)?)
        })
        .await
    }

    /// What processors do for controllers (GDPR 30(2)).
    pub async fn processor_records(&self, asked: Asked) -> Result<Answered<Vec<Processing>>, Error> {
        self.answered(asked, |ask, from, moment| {
            let records = ask.processing_records(&from.registers, moment, false)?;
            Ok(ropa::processors(&from.registers, &records, moment))
        })
        .await
    }

    pub async fn sdks(&self, asked: Asked) -> Result<Answered<Vec<Sdk>>, Error> {
        self.answered(asked, |ask, from, moment| Ok(ask.sdks(&from.registers, moment)?)).await
    }

    /// What an app collects and with whom it shares.
    pub async fn app_lists(&self, asked: Asked, service: Id) -> Result<Answered<AppLists>, Error> {
        self.answered(asked, move |ask, from, moment| Ok(ask.app_lists(&from.registers, &service, moment)?))
            .await
    }

    async fn answered<T: Send + 'static>(
        &self,
        asked: Asked,
        question: impl FnOnce(&Ask, &Basis, Moment) -> Result<T, Error> + Send + 'static,
    ) -> Result<Answered<T>, Error> {
        self.at_least(asked.at_least).await?;
        let as_of = asked.as_of.unwrap_or(self.clock.now());
        self.ask(move |ask| {
            let known_at = asked.known_at.unwrap_or(u64::MAX).min(ask.applied);
            let from = Basis { applied: known_at, ..Basis::of(ask, known_at, as_of)? };
            let answer = question(ask, &from, Moment { as_of, known_at })?;
            Ok(Answered { answer, as_of, from })
        })
        .await
    }
}
