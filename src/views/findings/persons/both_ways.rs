//! For tests: everybody judged by rows and by records.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::finding::Key;
use crate::domain::id::SubjectId;
use crate::domain::time::Timestamp;
use crate::views::Error;
use crate::views::findings::Finder;
use crate::views::findings::persons::belonging::Of;
use crate::views::findings::persons::{Hit, Pass};
use crate::views::person::{Person, Tally};
use crate::views::shape::Shape;
use crate::views::store::tag;

/// What is said of one person by the rows, where they say enough, and by the records.
pub type BothWays = (Option<Vec<String>>, Vec<String>);

impl crate::views::ask::Ask {
    /// Everybody judged in both ways, each as lines that compare.
    pub fn both_ways(&self) -> Result<Vec<BothWays>, Error> {
        let registers = crate::views::lock::read(&self.generation.shared.registers).clone();
        let finder = Finder::new(self, &registers, self.applied)?;
        let shapes: Vec<Arc<Shape>> = self.shapes().iter().map(|(_, shape)| Arc::clone(shape)).collect();
        let pass = Pass::new(&finder, &shapes)?;
        let lines = |hits: Vec<Hit>| {
            let mut sums: BTreeMap<(Key, Option<(Timestamp, Timestamp)>), Tally> = BTreeMap::new();
            for hit in hits {
                let key = (Key::new(hit.code, hit.values).unwrap(), hit.cured);
                sums.entry(key).and_modify(|sum| sum.add(hit.tally)).or_insert(hit.tally);
            }
            sums.into_iter().map(|(key, tally)| format!("{key:?} {tally:?}")).collect::<Vec<_>>()
        };
        let mut all = Vec::new();
        for row in self.reading.prefix(&[tag::PERSON]) {
            let (key, row) = row?;
            let (subject, row) = (SubjectId(*key.last_chunk::<16>().unwrap()), Person::decode(&row)?);
            let of = if pass.stands_alone(&row)? { None } else { pass.group(subject)? };
            if of.is_none() && !pass.stands_alone(&row)? {
                continue;
            }
            let by_rows = pass.by_rows(subject, row, of.as_ref())?.ok();
            all.push((by_rows.map(lines), lines(pass.by_records(subject, of.as_ref())?)));
            let of = of.unwrap_or_else(|| Of::alone(subject));
            let mut kept = pass.kept_both_ways(&of)?.into_iter().map(lines);
            all.extend(kept.next().zip(kept.next()).map(|(rows, records)| (Some(rows), records)));
        }
        Ok(all)
    }
}
