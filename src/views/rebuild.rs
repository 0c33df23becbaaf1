//! A second generation beside the one that answers: to replace it, or to compare it with.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, TryLockError};

use fjall::Slice;

use crate::domain::erasure::Left;
use crate::domain::id::{Digest, SubjectId};
use crate::log::PieceRef;
use crate::record;
use crate::views::ask::Ask;
use crate::views::codec::Malformed;
use crate::views::generation::{self, Generation, Start};
use crate::views::store::{Reading, Store, tag};
use crate::views::{Error, Views, by_tombs, erased, lock};

/// How far a rebuild is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub applied: u64,
    pub head: u64,
}

/// Rows in which two generations differ, at the same position.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Records below this position are in both.
    pub applied: u64,
    pub rows: u64,
    pub different: u64,
    /// The first of them: what kind of row, and its key in hexadecimal; no values, which may be
    /// somebody's.
    pub samples: Vec<String>,
}

/// Differences that are named.
const SAMPLES: usize = 20;

impl Views {
    /// Makes the next generation from the log, catches up and puts it in the place of the old one,
    /// which answers until then and is removed afterwards. Blocks until done; `progress` is called
    /// now and then and says whether to go on. One at a time.
    pub fn rebuild(&self, progress: impl FnMut(Progress) -> bool) -> Result<u64, Error> {
        self.rebuild_without(&[], progress)
    }

    /// The same, without anything of people whom the log does not know to be erased: a copy of it that
    /// is older than their tombs.
    pub fn rebuild_without(
        &self,
        tombs: &[(Digest, Left)],
        progress: impl FnMut(Progress) -> bool,
    ) -> Result<u64, Error> {
        let mut only = self.alone()?;
        let mut seed = by_tombs(tombs);
        seed.extend(erased::rows(&self.live().store.reading())?);
        let next = self.fill(&mut only, (seed, None), progress)?;
        self.replace_by(&next)?;
        *lock::write(&self.incomplete) = None;
        Ok(next.number)
    }

    /// Makes removed rows physically unreadable: all rows are copied into a new generation and the
    /// old one's files are removed. Part of erasing people, to be done for many at once. Answers
    /// go on; records are applied again when the copy is done.
    pub fn scrub(&self) -> Result<(), Error> {
        let mut only = self.alone()?;
        let live = self.live();
        let number = self.next_number(&mut only)?;
        live.close();
        let copied = Store::open(&generation::path(&self.options.dir, number), self.options.cache_bytes / 4)
            .and_then(|copy| live.store.copy_to(&copy))
            .and_then(|()| Generation::open(&self.options, number, self.reach.clone()))
            .and_then(|next| self.replace_by(&next));
        if copied.is_err() {
            // The old one goes on; what was copied is removed when the views are next opened.
            live.start(None)?;
        }
        copied
    }

    /// Puts a generation in the place of the one that answers.
    fn replace_by(&self, next: &Arc<Generation>) -> Result<(), Error> {
        generation::set_current(&self.options.dir, next.number)?;
        let old = {
            let mut live = lock::write(&self.live);
            std::mem::replace(&mut *live, Arc::clone(next))
        };
        // Questions that are being answered keep the old rows; their files go with the last.
        old.discard();
        Ok(())
    }

    /// What must be purged of people whom the log does not know to be erased, because it is an older copy
    /// than their tombs. Found in a temporary generation that knows them still.
    pub fn pieces_of_tombs(
        &self,
        tombs: &HashMap<Digest, Left>,
        progress: impl FnMut(Progress) -> bool,
    ) -> Result<Vec<PieceRef>, Error> {
        let mut only = self.alone()?;
        let knowing = self.fill(&mut only, Start::default(), progress)?;
        knowing.discard();
        let ask = Ask::new(knowing, self.reach.clone())?;
        let mut pieces = Vec::new();
        for row in ask.reading.prefix(&[tag::PERSON]) {
            let (key, _) = row?;
            let subject = SubjectId(*key.last_chunk::<16>().ok_or(Malformed("person"))?);
            if let Some(left) = tombs.get(&record::tomb(subject)) {
                pieces.extend(ask.pieces_of(subject, 0, *left != Left::Nothing)?);
            }
        }
        Ok(pieces)
    }

    /// Makes a temporary generation and compares every row with the one that answers, at the same
    /// position. For `fsck`.
    pub fn compare(&self, progress: impl FnMut(Progress) -> bool) -> Result<Comparison, Error> {
        let mut only = self.alone()?;
        let live = self.live();
        let mine = live.store.reading();
        let seed = erased::rows(&mine)?;
        let other = self.fill(&mut only, (seed, Some(mine.applied()?)), progress)?;
        other.discard();
        compare_rows(&mine, &other.store.reading())
    }

    fn alone(&self) -> Result<std::sync::MutexGuard<'_, u64>, Error> {
        match self.second.try_lock() {
            Ok(only) => Ok(only),
            Err(TryLockError::Poisoned(poisoned)) => Ok(PoisonError::into_inner(poisoned)),
            Err(TryLockError::WouldBlock) => Err(Error::Busy),
        }
    }

    /// A number that no generation had, also none that is gone: no path means two things.
    fn next_number(&self, last: &mut u64) -> Result<u64, Error> {
        let there = generation::present(&self.options.dir)?.last().copied().unwrap_or(0);
        *last = there.max(*last) + 1;
        Ok(*last)
    }

    /// A new generation that has reached the one that answers, or a position.
    fn fill(
        &self,
        only: &mut u64,
        from: Start,
        mut progress: impl FnMut(Progress) -> bool,
    ) -> Result<Arc<Generation>, Error> {
        let until = from.1;
        let number = self.next_number(only)?;
        let next = Generation::make(&self.options, number, self.reach.clone(), from)?;
        let filled = self.reach.wait(async {
            let mut news = next.follow();
            loop {
                let applied = *news.borrow_and_update();
                let head = until.unwrap_or_else(|| self.reach.log.head());
                if !progress(Progress { applied, head }) {
                    return Err(Error::CalledOff);
                }
                if let Some(why) = next.failed() {
                    return Err(Error::Stopped(why));
                }
                if applied >= until.unwrap_or_else(|| self.live().applied()) {
                    return Ok(());
                }
                if news.changed().await.is_err() {
                    return Err(Error::CalledOff);
                }
            }
        });
        match filled {
            Ok(()) => Ok(next),
            Err(why) => {
                next.discard();
                Err(why)
            }
        }
    }
}

/// Shapes have the same numbers in both, because both saw the same log, so rows compare as bytes.
fn compare_rows(mine: &Reading, other: &Reading) -> Result<Comparison, Error> {
    let mut result = Comparison { applied: mine.applied()?, ..Comparison::default() };
    let mut note = |key: &[u8], what: &str| {
        result.different += 1;
        if result.samples.len() < SAMPLES {
            let hex: String = key[1..].iter().map(|byte| format!("{byte:02x}")).collect();
            result.samples.push(format!("{} {hex} {what}", name_of(key[0])));
        }
    };
    // The due index is as new as whoever asked for it last wanted it to be.
    let counts = |row: &Result<(Slice, Slice), Error>| !matches!(row, Ok((key, _)) if key[0] == tag::DUE);
    let (mut left, mut right) = (mine.prefix(&[]).filter(counts), other.prefix(&[]).filter(counts));
    let (mut a, mut b) = (left.next().transpose()?, right.next().transpose()?);
    loop {
        let order = match (&a, &b) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((mine, _)), Some((other, _))) => mine.cmp(other),
        };
        result.rows += 1;
        match (order, &a, &b) {
            (Ordering::Less, Some((key, _)), _) => note(key, "stands only in the views that answer"),
            (Ordering::Greater, _, Some((key, _))) => note(key, "is missing in the views that answer"),
            (_, Some((key, mine)), Some((_, other))) if mine != other => note(key, "differs"),
            _ => {}
        }
        if order != Ordering::Greater {
            a = left.next().transpose()?;
        }
        if order != Ordering::Less {
            b = right.next().transpose()?;
        }
    }
    Ok(result)
}

fn name_of(kind: u8) -> &'static str {
    match kind {
        tag::PERSON => "person",
        tag::POSTINGS => "postings",
        tag::BINDING => "binding",
        tag::NAMED => "named part",
        tag::ERASED => "erased person",
        tag::RETRACTED => "retraction",
        tag::REGISTER => "register event",
        tag::ZONE => "zone",
        tag::EMITTER => "emitter",
        tag::EVIDENCE => "evidence of an erased person",
        tag::OCCURRENCES => "occurrences of a shape",
        tag::EXPORTED => "person among those exported",
        tag::QUEUE => "open instruction",
        tag::PLAN => "number of a plan",
        tag::SHAPE => "shape",
        tag::TALLY => "tally of the erased",
        _ => "position",
    }
}
