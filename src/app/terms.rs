//! The inbox of unknown terms, and what officers say that they mean.

use std::collections::BTreeMap;

use crate::app::own::staff;
use crate::app::{App, Caller, Error};
use crate::domain::event::catalogue::MappingAdded;
use crate::domain::event::{Body, MappingKind};
use crate::domain::finding::Key;
use crate::domain::id::Id;
use crate::views::findings::Findings;
use crate::views::inbox::{UnmappedTerm, known_terms};
use crate::views::lock;

/// What a term is said to mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    pub kind: MappingKind,
    pub term: Id,
    /// `None`: everybody's.
    pub emitter: Option<Id>,
    pub maps_to: Id,
    pub reason: Option<Id>,
}

/// A finding with how many events it has, before and after.
pub type Change = (Key, u64, u64);

impl App {
    pub async fn unmapped_terms(
        &self,
        known_at: Option<u64>,
        at_least: Option<u64>,
    ) -> Result<(Vec<UnmappedTerm>, u64), Error> {
        self.at_least(at_least).await?;
        self.ask(move |ask| Ok(ask.unmapped_terms(known_at)?)).await
    }

    /// Says what a term means, and what that changes. With `check` only the latter.
    pub async fn map_term(
        &self,
        caller: &Caller,
        mapping: Mapping,
        check: bool,
    ) -> Result<(Option<u64>, Vec<Change>, u64), Error> {
        let body = MappingAdded {
            kind: Some(mapping.kind),
            term: Some(mapping.term.clone()),
            emitter: mapping.emitter.clone(),
            maps_to: Some(mapping.maps_to.clone()),
            reason: mapping.reason.clone(),
        };
        let (supposed, now) = (body.clone(), self.clock.now());
        let (changes, computed_at) = self
            .ask(move |ask| {
                let registers = lock::read(&ask.generation.shared.registers).clone();
                let known = known_terms(mapping.kind, &registers, ask.applied);
                mapping.check(&known)?;
                let before = ask.findings(None)?;
                let after = ask.findings_if(supposed, now)?;
                Ok((changes(&before, &after), before.known_at))
            })
            .await?;
        if check {
            return Ok((None, changes, computed_at));
        }
        let receipt = self.record_own(Body::MappingAdded(Box::new(body)), vec![staff(caller)]).await?;
        Ok((Some(receipt.position), changes, computed_at))
    }
}

impl Mapping {
    /// Everything that is wrong with it.
    fn check(&self, known: &[String]) -> Result<(), Error> {
        let mut wrong = Vec::new();
        let is_known = |term: &Id| known.iter().any(|one| one == term.as_str());
        if !is_known(&self.maps_to) {
            wrong.push(("maps_to", "is no known term of this kind"));
        }
        if self.maps_to == self.term {
            wrong.push(("maps_to", "is the term itself"));
        }
        // What everybody knows keeps its meaning; one emitter may mean something else by it.
        if is_known(&self.term) && self.emitter.is_none() {
            wrong.push(("term", "is known already: only one emitter's use of it can be mapped"));
        }
        Error::of_fields(wrong)
    }
}

/// Findings whose numbers differ.
fn changes(before: &Findings, after: &Findings) -> Vec<Change> {
    let mut all: BTreeMap<&Key, (u64, u64)> = BTreeMap::new();
    for finding in &before.findings {
        all.entry(&finding.key).or_default().0 = finding.count;
    }
    for finding in &after.findings {
        all.entry(&finding.key).or_default().1 = finding.count;
    }
    let differ = all.into_iter().filter(|(_, (before, after))| before != after);
    differ.map(|(key, (before, after))| (key.clone(), before, after)).collect()
}
