//! What a register entry that was recorded late cures: a contract, a registration, an assessment with dates of its
//! own that would have done. Events are told apart by which of the entries that matter were recorded when they could
//! be judged first; what was wrong by those and is right by all was cured when the entry came that made it right.

use std::collections::BTreeMap;

use crate::domain::finding::{Value, rule};
use crate::domain::time::{MS_PER_MINUTE, Timestamp};
use crate::record::Header;
use crate::views::Error;
use crate::views::findings::{Cured, Finder, Kind};
use crate::views::occurrences;
use crate::views::stretch::Stretch;

/// Entries of registers, in the order of the log, each with when it was recorded; of a clock that was set back the
/// latest time so far.
#[derive(Debug, Default)]
pub struct Lessons(Vec<(Timestamp, u64)>);

/// Records that are judged alike, by what was known then and by what is known now.
#[derive(Debug)]
pub struct Case {
    pub stretch: Stretch,
    /// How many of the entries were recorded when these could be judged first.
    known: usize,
    /// When the first of them could.
    raised_at: Timestamp,
}

/// The values of the key of each finding.
pub type Keys = Vec<Vec<Option<Value>>>;

impl Finder<'_> {
    /// Register entries that matter to something, by their positions.
    pub(super) fn lessons(&self, mut positions: Vec<u64>) -> Result<Lessons, Error> {
        positions.retain(|position| *position < self.known_at());
        positions.sort_unstable();
        positions.dedup();
        let mut lessons = Vec::with_capacity(positions.len());
        let mut latest = Timestamp::EPOCH;
        for some in positions.chunks(512) {
            for record in self.ask.reach.get(some)? {
                let position = record.position;
                let header =
                    Header::parse(&record.header).map_err(|source| Error::Record { position, source })?;
                latest = latest.max(header.recorded_at);
                lessons.push((latest, position));
            }
        }
        Ok(Lessons(lessons))
    }

    /// A shape's records that a code is judged on, cut at `bounds` and by what was known.
    pub(super) fn cases<B>(
        &self,
        code: &str,
        of: &Kind<B>,
        mut bounds: Vec<Timestamp>,
        lessons: &Lessons,
    ) -> Result<Vec<Case>, Error> {
        let (Some(scope), Some(rule)) = (self.scope_of(code), rule(code)) else { return Ok(Vec::new()) };
        let wait_ms = i64::from(rule.wait_minutes) * MS_PER_MINUTE;
        bounds.sort_unstable();
        bounds.dedup();
        let mut cases: BTreeMap<(usize, usize), Case> = BTreeMap::new();
        for one in occurrences::of_shape(&self.ask.reading, of.number, scope.known_at) {
            let one = one?;
            if !scope.holds(&one) {
                continue;
            }
            let judged_at = one.at.max(one.recorded_at).plus_ms(wait_ms);
            let known = lessons.0.partition_point(|(recorded, _)| *recorded <= judged_at);
            let at = bounds.partition_point(|bound| *bound <= one.at);
            let case = cases.entry((at, known)).or_insert_with(|| Case {
                stretch: Stretch::some_of(of.number, &one, self.is_tracing()),
                known,
                raised_at: judged_at,
            });
            case.stretch.add(&one);
            case.raised_at = case.raised_at.min(judged_at);
        }
        Ok(cases.into_values().collect())
    }

    /// Raises what is wrong by all that is known, and tells what was cured. `wrong` says what is wrong as known
    /// before a position, and nothing where something else is wrong by now.
    pub(super) fn judge_case(
        &mut self,
        code: &'static str,
        (case, lessons): (&Case, &Lessons),
        wrong: impl Fn(&Self, u64) -> Keys,
    ) {
        let now = wrong(self, self.known_at());
        let later = &lessons.0[case.known..];
        if let Some((_, first)) = later.first() {
            for values in wrong(self, *first).into_iter().filter(|values| !now.contains(values)) {
                let mut cures = later.iter().enumerate();
                let cured = cures.find(|(n, _)| {
                    let next = later.get(n + 1).map_or(self.known_at(), |(_, position)| *position);
                    !wrong(self, next).contains(&values)
                });
                if let Some((_, (cured_at, _))) = cured {
                    let (count, raised_at) = (case.stretch.count, case.raised_at);
                    self.cure(code, values, &case.stretch, Cured { count, raised_at, cured_at: *cured_at });
                }
            }
        }
        now.into_iter().for_each(|values| self.raise(code, values, &case.stretch));
    }
}
