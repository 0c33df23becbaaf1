//! Of how many people whose data went abroad a separate consent was asked, and how many had given it, for the lines
//! of the register of transfers: judged as `F-NO-SEPARATE-CONSENT` is, from the same rows (PIPL 39).
//!
//! Only people who stand among those exported are looked at, and only where a line asks for a consent at all.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::domain::event::LegalBasis;
use crate::domain::id::{Id, Regime, SubjectId};
use crate::domain::time::Timestamp;
use crate::views::Error;
use crate::views::ask::Ask;
use crate::views::exported::year_of;
use crate::views::findings::Finder;
use crate::views::findings::persons::Pass;
use crate::views::findings::persons::basis::{abroad_on_consent, separately};
use crate::views::findings::persons::belonging::Of;
use crate::views::findings::persons::life::{Item, Life, Sure, Terms, Unsure};
use crate::views::flows::FlowLine;
use crate::views::person::Person;
use crate::views::registers::Registers;
use crate::views::shape::Shape;
use crate::views::store;

/// People of one line of the register. Counted are different people who are not erased; those merged are one, and
/// what happened on a linked device counts as its user's, as in findings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Separate {
    /// Who has a transfer in the line that falls under the law of China, as it or its activity says, and whose activity
    /// says for its purpose that it rests on consent.
    pub asked: u64,
    /// Of these, who at each such transfer had a consent in force that was asked for separately or given in writing, to
    /// this purpose, naming this recipient or none and this country or none. One that came within five minutes after
    /// it counts.
    pub consented: u64,
}

/// By shapes, where each line's records that ask for consent lie: the line, its purpose, first and last.
#[derive(Default)]
struct Asking<'l>(HashMap<u32, Vec<(usize, &'l Id, Timestamp, Timestamp)>>);

impl Ask {
    /// For each line how many people had consented; `None` where none of its transfers asks for it.
    pub fn separate_consents(
        &self,
        registers: &Registers,
        lines: &[FlowLine],
        known_at: u64,
    ) -> Result<Vec<Option<Separate>>, Error> {
        let shapes: Vec<Arc<Shape>> = self.shapes().iter().map(|(_, shape)| Arc::clone(shape)).collect();
        let finder = Finder::new(self, registers, known_at.min(self.applied))?;
        let asking = Asking::of(&finder, &shapes, lines);
        let mut sums = vec![None; lines.len()];
        if asking.0.is_empty() {
            return Ok(sums);
        }
        for (line, ..) in asking.0.values().flatten() {
            sums[*line] = Some(Separate::default());
        }
        let pass = Pass::new(&finder, &shapes)?;
        let mut seen = BTreeSet::new();
        for who in self.exported_people(&asking.rows())? {
            let (who, _) = who?;
            let Some(row) = self.reading.get(&store::person(who))? else { continue };
            let row = Person::decode(&row)?;
            if pass.stands_alone(&row)? {
                pass.add_consents(who, row, None, &asking, &mut sums)?;
                continue;
            }
            for one in pass.counts_as(who, &row)? {
                if seen.insert(one)
                    && let Some(of) = pass.group(one)?
                {
                    pass.add_consents(one, row.clone(), Some(&of), &asking, &mut sums)?;
                }
            }
        }
        Ok(sums)
    }
}

impl<'l> Asking<'l> {
    fn of(finder: &Finder<'_>, shapes: &[Arc<Shape>], lines: &'l [FlowLine]) -> Asking<'l> {
        let mut asking = Asking::default();
        for (n, line) in lines.iter().enumerate() {
            let Some(purpose) = &line.key.purpose else { continue };
            for stretch in line.parts.iter().map(|part| &part.stretch) {
                let shape = (stretch.shape as usize).checked_sub(1).and_then(|at| shapes.get(at));
                let Some((shape, body)) = shape.and_then(|shape| Some((shape, shape.body.as_ref()?))) else {
                    continue;
                };
                // Within a stretch the activity says one thing.
                let revision = finder.revision(shape, stretch.first);
                let terms = Terms::of(finder, shape, body, revision.as_ref());
                let consent = (purpose.clone(), Some(LegalBasis::Consent));
                if terms.regimes.contains(&Regime::CN) && terms.purposes.contains(&consent) {
                    let of_shape = asking.0.entry(stretch.shape).or_default();
                    of_shape.push((n, purpose, stretch.first, stretch.last));
                }
            }
        }
        asking
    }

    /// Where the people stand whom it is about.
    fn rows(&self) -> Vec<(u32, u16)> {
        let mut rows = BTreeSet::new();
        for (shape, parts) in &self.0 {
            for (.., first, last) in parts {
                rows.extend((year_of(*first)..=year_of(*last)).map(|year| (*shape, year)));
            }
        }
        rows.into_iter().collect()
    }

    /// Whether one person had consented, for each line in which it is asked.
    fn answers(&self, life: &Life<'_>) -> Sure<BTreeMap<usize, bool>> {
        let mut answers = BTreeMap::new();
        for item in &life.transferred {
            for (purpose, to) in abroad_on_consent(item) {
                for line in self.lines(item, purpose)? {
                    let spans = life.consents.spans(&separately(Some(purpose), to), None);
                    *answers.entry(line).or_insert(true) &=
                        spans.throughout(item.first, item.last).ok_or(Unsure)?;
                }
            }
        }
        Ok(answers)
    }

    /// The lines in which something stands for a purpose.
    fn lines(&self, item: &Item<'_>, purpose: &Id) -> Sure<BTreeSet<usize>> {
        let mut lines = BTreeSet::new();
        for (line, of, first, last) in self.0.get(&item.number).into_iter().flatten() {
            if *of != purpose || item.last < *first || *last < item.first {
                continue;
            }
            if item.first < *first || *last < item.last {
                return Err(Unsure);
            }
            lines.insert(*line);
        }
        Ok(lines)
    }
}

impl Pass<'_> {
    fn add_consents(
        &self,
        subject: SubjectId,
        row: Person,
        of: Option<&Of>,
        asking: &Asking<'_>,
        sums: &mut [Option<Separate>],
    ) -> Result<(), Error> {
        let by_rows = self.life_by_rows(subject, row, of)?.and_then(|life| asking.answers(&life));
        let answers = match by_rows {
            Ok(answers) => answers,
            // A single record has one answer.
            Err(Unsure) => asking.answers(&self.life_by_records(subject, of)?).unwrap_or_default(),
        };
        for (line, consented) in answers {
            let sum = sums[line].get_or_insert_default();
            sum.asked += 1;
            sum.consented += u64::from(consented);
        }
        Ok(())
    }
}
