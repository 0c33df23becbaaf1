//! How long what is held about a person may be kept: the facts of the log brought before the decision procedure
//! (`domain/retention`), for one person and for everybody.
//!
//! Everything is decided anew when somebody asks, so that nothing that comes late or is taken back leaves a wrong
//! date behind. A person's row says enough where nothing ended between the first and the last of what a tally counts;
//! else the person's records are read one by one. People who were erased have no row and nothing is due of them.

mod facts;
mod house;
mod sweep;

use crate::domain::datum::DatumKey;
use crate::domain::id::SubjectId;
use crate::domain::retention::{Case, Decision, Explanation, Fact, decide, explain};
use crate::domain::time::Timestamp;
use crate::views::Error;
use crate::views::ask::Ask;
use crate::views::lock;

pub use house::House;
pub use sweep::{Change, Held, Sweep};

use facts::Gathered;

/// What is asked about one person.
#[derive(Debug, Clone, Copy)]
pub struct RetentionQuestion {
    pub subject: SubjectId,
    /// Decided as of then.
    pub as_of: Timestamp,
    pub known_at: Option<u64>,
}

/// One datum, and why it stays until it does.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    pub key: DatumKey,
    pub explanation: Explanation,
}

impl Ask {
    /// Every datum of a person, explained; `None` where nobody is known by the handle.
    pub fn retention(&self, question: &RetentionQuestion) -> Result<Option<Vec<Explained>>, Error> {
        let known_at = question.known_at.unwrap_or(u64::MAX).min(self.applied);
        let house = self.house(known_at, question.as_of)?;
        let Some(group) = self.group(question.subject, known_at)? else { return Ok(None) };
        let lines = self.single_lines(&group, known_at)?;
        let gathered = {
            let registers = lock::read(&self.generation.shared.registers);
            Gathered::of(&lines, &registers, known_at)
        };
        let person = Person::new(gathered, &house);
        let explained = person.keys.iter().map(|key| Explained {
            key: key.clone(),
            explanation: explain(&person.case(key, &house, question.as_of)),
        });
        Ok(Some(explained.collect()))
    }
}

/// One person's facts, those of the house included.
pub(crate) struct Person {
    pub keys: Vec<DatumKey>,
    facts: Vec<Fact>,
}

impl Person {
    fn new(gathered: Gathered, house: &House) -> Person {
        let mut facts = gathered.facts;
        facts.extend(house.facts.iter().cloned());
        Person { keys: gathered.keys, facts }
    }

    fn case<'a>(&'a self, key: &'a DatumKey, house: &'a House, now: Timestamp) -> Case<'a> {
        let silent = key.service.as_ref().is_some_and(|service| house.silent.contains(service));
        Case { key, rules: &house.rules, facts: &self.facts, now, silent }
    }

    pub(crate) fn decide(&self, key: &DatumKey, house: &House, now: Timestamp) -> Decision {
        decide(&self.case(key, house, now))
    }
}
