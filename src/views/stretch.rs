//! A shape's records between the instants at which something registered begins or ends: within one stretch
//! the same register and the same law answer for all of them, so each is judged once.

use crate::domain::time::Timestamp;
use crate::views::Error;
use crate::views::ask::Ask;
use crate::views::occurrences::{self, Occurrence};

/// Positions that a stretch names; the first ones.
pub const SAMPLES: usize = 64;

/// Records of one shape that are judged alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    pub shape: u32,
    pub count: u64,
    pub first: Timestamp,
    pub last: Timestamp,
    /// In the order of the log.
    pub samples: Vec<u64>,
    /// The positions, where these are not all records of the shape between `first` and `last` and somebody
    /// asked for them.
    pub some: Option<Vec<u64>>,
}

/// Which records are looked at.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    /// Only records before this position.
    pub known_at: u64,
    /// Only what happened at or after.
    pub from: Option<Timestamp>,
    /// Only what happened before.
    pub to: Option<Timestamp>,
    /// Only what can be judged although it rests on absence: recorded, and happened, before this.
    pub ripe: Option<Timestamp>,
}

impl Scope {
    pub fn all(known_at: u64) -> Scope {
        Scope { known_at, from: None, to: None, ripe: None }
    }

    /// Whether every record below a position is looked at.
    pub fn is_all(&self, applied: u64) -> bool {
        self.known_at >= applied && (self.from, self.to, self.ripe) == (None, None, None)
    }

    pub(super) fn holds(&self, one: &Occurrence) -> bool {
        self.from.is_none_or(|from| from <= one.at)
            && self.to.is_none_or(|to| one.at < to)
            && self.ripe.is_none_or(|ripe| one.at.max(one.recorded_at) <= ripe)
    }
}

impl Stretch {
    pub(super) fn of(shape: u32, one: &Occurrence) -> Stretch {
        Stretch { shape, count: 0, first: one.at, last: one.at, samples: Vec::new(), some: None }
    }

    /// To be filled with those records only that are added. `keep` says whether somebody will ask which.
    pub fn some_of(shape: u32, one: &Occurrence, keep: bool) -> Stretch {
        Stretch { some: keep.then(Vec::new), ..Stretch::of(shape, one) }
    }

    pub fn add(&mut self, one: &Occurrence) {
        self.count = self.count.saturating_add(one.count);
        (self.first, self.last) = (self.first.min(one.at), self.last.max(one.at));
        if self.samples.len() < SAMPLES {
            self.samples.push(one.position);
        }
        self.some.iter_mut().for_each(|some| some.push(one.position));
    }
}

impl Ask {
    /// The records of a shape, cut at `bounds`, the earliest stretch first. A bound begins a stretch.
    pub fn stretches(
        &self,
        shape: u32,
        bounds: Vec<Timestamp>,
        scope: &Scope,
    ) -> Result<Vec<Stretch>, Error> {
        self.cut(shape, bounds, scope, Stretch::of, |_| true)
    }

    /// The same of those records only that count.
    pub fn stretches_of(
        &self,
        shape: u32,
        bounds: Vec<Timestamp>,
        scope: &Scope,
        keep: bool,
        counts: impl Fn(&Occurrence) -> bool,
    ) -> Result<Vec<Stretch>, Error> {
        self.cut(shape, bounds, scope, |shape, one| Stretch::some_of(shape, one, keep), counts)
    }

    /// The positions of a stretch's records.
    pub fn positions_in(&self, stretch: &Stretch, scope: &Scope) -> Result<Vec<u64>, Error> {
        if let Some(some) = &stretch.some {
            return Ok(some.clone());
        }
        let mut positions = Vec::new();
        for one in occurrences::of_shape(&self.reading, stretch.shape, scope.known_at) {
            let one = one?;
            if scope.holds(&one) && stretch.first <= one.at && one.at <= stretch.last {
                positions.push(one.position);
            }
        }
        Ok(positions)
    }

    fn cut(
        &self,
        shape: u32,
        mut bounds: Vec<Timestamp>,
        scope: &Scope,
        begin: impl Fn(u32, &Occurrence) -> Stretch,
        counts: impl Fn(&Occurrence) -> bool,
    ) -> Result<Vec<Stretch>, Error> {
        bounds.sort_unstable();
        bounds.dedup();
        let mut stretches: Vec<Option<Stretch>> = vec![None; bounds.len() + 1];
        for one in occurrences::of_shape(&self.reading, shape, scope.known_at) {
            let one = one?;
            if scope.holds(&one) && counts(&one) {
                let at = bounds.partition_point(|bound| *bound <= one.at);
                stretches[at].get_or_insert_with(|| begin(shape, &one)).add(&one);
            }
        }
        Ok(stretches.into_iter().flatten().collect())
    }
}
