//! Everything that is wrong with what is held about somebody, datum by datum, for whoever tells findings. One person
//! after the other, so that memory stays flat: by the rows where they say enough, else by the records.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::datum::DatumKey;
use crate::domain::id::Id;
use crate::domain::retention::{Act, Judged};
use crate::domain::time::Timestamp;
use crate::views::Error;
use crate::views::ask::Ask;
use crate::views::decode::Decoded;
use crate::views::group::Group;
use crate::views::registers::Registers;
use crate::views::report::Line;
use crate::views::retention::facts::{Gathered, Span};
use crate::views::retention::sweep::Bounds;
use crate::views::retention::{House, Person};

/// What everybody is judged by.
pub struct Judging<'a> {
    ask: &'a Ask,
    registers: &'a Registers,
    house: Arc<House>,
    bounds: Bounds,
    known_at: u64,
    now: Timestamp,
}

/// One person.
pub struct Judgement {
    /// What is kept of the person; acts stand in it one by one.
    pub lines: Vec<Line>,
    pub data: Vec<(DatumKey, Judged)>,
}

/// Whether a record of a group counts as the person's.
pub type Counts<'c> = &'c dyn Fn(&Decoded) -> bool;

impl<'a> Judging<'a> {
    pub fn new(
        ask: &'a Ask,
        registers: &'a Registers,
        known_at: u64,
        now: Timestamp,
    ) -> Result<Judging<'a>, Error> {
        let house = Arc::new(ask.house(known_at)?);
        let bounds = Bounds::of(&house, None);
        Ok(Judging { ask, registers, house, bounds, known_at, now })
    }

    /// Judges one person; not by rows where some of the records do not count.
    pub fn of(&self, group: &Group, some: Option<Counts<'_>>) -> Result<Judgement, Error> {
        let rows = match some {
            None => self.ask.row_lines(group, self.known_at)?,
            Some(_) => None,
        };
        if let Some(lines) = rows {
            let gathered = self.gather(&lines);
            if self.bounds.are_kept_by(&gathered) {
                let spans = gathered.spans.clone();
                let data = self.judge(gathered);
                if !may_hide(&spans, &data) {
                    return Ok(Judgement { lines, data });
                }
            }
        }
        let mut lines = Vec::new();
        self.ask.each_record(group, self.known_at, &mut |event, mut more| {
            if some.is_none_or(|counts| counts(event)) {
                lines.append(&mut more);
            }
            Ok(())
        })?;
        let data = self.judge(self.gather(&lines));
        Ok(Judgement { lines, data })
    }

    /// Where the records stand in which something happened to some data at some instants.
    pub fn positions(
        &self,
        group: &Group,
        sought: &BTreeSet<(DatumKey, Timestamp)>,
    ) -> Result<Vec<(DatumKey, Timestamp, u64)>, Error> {
        let mut found = Vec::new();
        self.ask.each_record(group, self.known_at, &mut |event, lines| {
            let Gathered { data, general, .. } = self.gather(&lines);
            for (key, at) in sought {
                let is_it = |at_: Timestamp, act: &Act| at_ == *at && act.is_about(key);
                let mut facts = data.values().flatten().chain(&general);
                if facts.any(|fact| is_it(fact.at, &fact.act)) {
                    found.push((key.clone(), *at, event.position));
                }
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn gather(&self, lines: &[Line]) -> Gathered {
        Gathered::of(lines, self.registers, self.known_at)
    }

    fn judge(&self, gathered: Gathered) -> Vec<(DatumKey, Judged)> {
        let person = Person::new(gathered, Arc::clone(&self.house));
        let mut data: Vec<(DatumKey, Judged)> =
            person.keys().map(|key| (key.clone(), person.judge(key, self.now))).collect();
        // A use that may be of several data is one of those that allow it.
        let lawful: BTreeSet<(Timestamp, Id)> =
            data.iter_mut().flat_map(|(_, judged)| std::mem::take(&mut judged.lawful_uses)).collect();
        for (_, judged) in &mut data {
            judged.wrongs.retain(|wrong| {
                wrong.what.used_for().is_none_or(|purpose| !lawful.contains(&(wrong.at, purpose.clone())))
            });
        }
        data
    }
}

/// Whether something that was done wrong may have been done again between the ends of what is told as one.
fn may_hide(spans: &[Span], data: &[(DatumKey, Judged)]) -> bool {
    let wrongs = || data.iter().flat_map(|(_, judged)| &judged.wrongs);
    let done = || wrongs().filter(|wrong| wrong.what.is_of_many()).map(|wrong| wrong.at);
    spans.iter().any(|span| done().any(|at| span.first <= at && at <= span.last))
}
