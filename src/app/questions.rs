//! Questions: whether data may be used, and who is affected. Nothing is stored but that a list of people was read.

use crate::app::access::Caller;
use crate::app::own::Opening;
use crate::app::subjects::Name;
use crate::app::{App, Error};
use crate::domain::event::ReadLevel;
use crate::domain::id::{Id, SubjectId};
use crate::domain::identity::Identifier;
use crate::domain::time::Timestamp;
use crate::limits;
use crate::vault::Candidate;
use crate::views::population::{Population, Selector};
use crate::views::use_check::{UseAnswer, UseQuestion};

/// As of when, and as known when.
#[derive(Debug, Clone, Copy, Default)]
pub struct When {
    pub as_of: Option<Timestamp>,
    pub known_at: Option<u64>,
    /// The views must have reached this position first.
    pub at_least: Option<u64>,
}

/// Which page of a population.
#[derive(Debug, Clone)]
pub struct Page {
    /// The first bytes of the handle with which the page before ended.
    pub after: Option<u64>,
    pub limit: usize,
    /// Whether the people's identifiers are wanted.
    pub identifiers: bool,
    pub opening: Opening,
}

/// Somebody who is affected.
#[derive(Debug)]
pub struct Member {
    pub subject: SubjectId,
    pub merged: Vec<SubjectId>,
    pub identifiers: Vec<(Identifier, Candidate)>,
}

/// A page of a population.
#[derive(Debug)]
pub struct Members {
    pub members: Vec<Member>,
    pub next: Option<u64>,
    pub from: Population,
}

impl App {
    /// An answer from views that lack something would be believed, and acted on.
    fn whole(&self) -> Result<(), Error> {
        match self.views.stale() {
            Some(_) => Err(Error::ViewsBehind { at: self.views.applied() }),
            None => Ok(()),
        }
    }

    /// Whether an activity may touch a person's data, and the instant that was judged.
    pub async fn check_use(
        &self,
        caller: &Caller,
        name: &Name,
        activity: Id,
        when: When,
    ) -> Result<(UseAnswer, Timestamp), Error> {
        self.at_least(when.at_least).await?;
        self.whole()?;
        let at = when.as_of.unwrap_or_else(|| self.clock.now());
        // Whoever is known to nobody has nothing here, and may be asked about all the same.
        let subject = match self.who(name, when.as_of).await {
            Ok(subject) => Some(subject),
            Err(Error::SubjectNotFound) => None,
            Err(error) => return Err(error),
        };
        let caller = caller.clone();
        let answer = self
            .ask(move |ask| {
                let service = ask.service_of(&activity, at, when.known_at);
                caller.may_ask_of(service.as_ref())?;
                let When { as_of, known_at, .. } = when;
                Ok(ask.check_use(&UseQuestion { subject, activity, at, as_of, known_at })?)
            })
            .await?;
        Ok((answer, at))
    }

    /// Everybody whom a selector picks.
    pub async fn population(&self, selector: Selector, when: When) -> Result<Population, Error> {
        self.at_least(when.at_least).await?;
        self.whole()?;
        let now = self.clock.now();
        self.ask(move |ask| Ok(ask.population(&selector, when.as_of, when.known_at, now)?)).await
    }

    /// A page of them. That it is read, and why, is recorded before it is answered.
    pub async fn population_page(
        &self,
        caller: &Caller,
        selector: Selector,
        when: When,
        page: Page,
    ) -> Result<Members, Error> {
        if page.identifiers {
            caller.may_open()?;
        }
        let from = self.population(selector, when).await?;
        let after = |subject: &&SubjectId| page.after.is_none_or(|after| first_bytes(subject) > after);
        let mut shown: Vec<SubjectId> = Vec::new();
        let mut rest = from.people.iter().filter(after).peekable();
        while let Some(subject) = rest.peek() {
            // Two handles that begin alike are not torn apart, because the next page begins behind both.
            let alike = shown.last().is_some_and(|last| first_bytes(last) == first_bytes(subject));
            if shown.len() >= page.limit.clamp(1, limits::PAGE) && !alike {
                break;
            }
            shown.extend(rest.next());
        }
        let next = rest.peek().and_then(|_| shown.last()).map(first_bytes);
        let level = if page.identifiers { ReadLevel::Opened } else { ReadLevel::Index };
        let count = shown.len() as u64;
        self.record_read_at(caller, "ListPopulation", (level, &page.opening), count, count).await?;
        let known_at = from.known_at;
        let groups = self
            .ask(move |ask| {
                let mut groups = Vec::with_capacity(shown.len());
                for subject in shown {
                    let group = ask.group(subject, known_at)?;
                    let others = group.into_iter().flat_map(|group| group.members);
                    groups.push((subject, others.filter(|other| *other != subject).collect::<Vec<_>>()));
                }
                Ok(groups)
            })
            .await?;
        let mut members = Vec::with_capacity(groups.len());
        for (subject, merged) in groups {
            let mut identifiers = Vec::new();
            if page.identifiers {
                for one in [subject].iter().chain(&merged) {
                    identifiers.extend(self.vault.identifiers(*one).await?);
                }
            }
            members.push(Member { subject, merged, identifiers });
        }
        Ok(Members { members, next, from })
    }
}

/// The beginning of a handle, by which pages are cut.
fn first_bytes(subject: &SubjectId) -> u64 {
    subject.0.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
