//! What is wrong with how long somebody's data are kept, and with how they were destroyed: taken from the decision
//! procedure (`domain.md` 4.2) as of the newest tick, datum by datum, never judged a second time.
//!
//! What stands counts once for each datum, what was done once for each instant, however many data it was about.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::datum::DatumKey;
use crate::domain::event::EventType;
use crate::domain::finding::Value;
use crate::domain::id::{Id, SubjectId};
use crate::domain::retention::{Judged, Kept, Reason, State, What};
use crate::domain::time::{LocalDate, Timestamp};
use crate::views::Error;
use crate::views::ask::mine;
use crate::views::decode::Decoded;
use crate::views::findings::persons::belonging::Of;
use crate::views::findings::persons::{Hit, Pass};
use crate::views::findings::{Finder, maybe, value};
use crate::views::person::Tally;
use crate::views::report::Line;
use crate::views::retention::{Judgement, Judging};

const AFTER_END: &str = "F-USE-AFTER-END";
const UNDEFINED: &str = "F-RETENTION-UNDEFINED";
pub(super) const OVERRUN: &str = "F-RETENTION-OVERRUN";
const PREMATURE: &str = "F-PREMATURE-ERASURE";
const LAWS: &str = "F-CONFLICT-OF-LAWS";
const ORDER: &str = "F-ORDER-CONFLICT";
const DEFERRED: &str = "F-DEFER-NOT-ALLOWED";
const CANCELLED: &str = "F-CANCEL-LATE";
pub(super) const HOLD: &str = "F-HOLD-STALE";
pub(super) const ANONYMOUS: &str = "F-FALSE-ANONYMISATION";
pub(super) const INSTRUCTION: &str = "F-INSTRUCTION-OVERDUE";

/// All that are found here.
const CODES: [&str; 11] = [
    AFTER_END,
    UNDEFINED,
    OVERRUN,
    PREMATURE,
    LAWS,
    ORDER,
    DEFERRED,
    CANCELLED,
    HOLD,
    ANONYMOUS,
    INSTRUCTION,
];

/// Chinese working days in which a cancelled account is cleared (determination of unlawful collection by apps,
/// 2019, VI).
const CLEARED_IN_DAYS: u32 = 15;

/// What people's data are judged by, once there was a tick.
pub(super) struct Keeping<'f> {
    judging: Judging<'f>,
    pub now: Timestamp,
    pub expired: Vec<Expired>,
}

/// Backups of a service that are gone: those taken at or before an instant.
pub(super) struct Expired {
    pub service: Id,
    /// All if empty.
    pub stores: Vec<Id>,
    pub up_to: Timestamp,
}

impl<'f> Keeping<'f> {
    /// `None` without a tick, and where only other codes are asked about.
    pub fn of(finder: &'f Finder<'f>) -> Result<Option<Keeping<'f>>, Error> {
        let is_asked = |code: &str| CODES.contains(&code);
        let Some(now) = finder.tick.filter(|_| finder.traced.as_ref().is_none_or(|by| is_asked(by.code)))
        else {
            return Ok(None);
        };
        let judging = Judging::new(finder.ask, finder.registers, finder.known_at(), now)?;
        Ok(Some(Keeping { judging, now, expired: super::executed::expired(finder, now)? }))
    }
}

/// Everything that is wrong about one person, each once.
#[derive(Default)]
pub(super) struct Wrongs(BTreeMap<Name, Place>);

/// A code with the values of its key, when, and of which datum where each counts for itself.
type Name = (&'static str, Vec<Option<Value>>, Timestamp, Option<DatumKey>);

/// Where it stands in the log.
enum Place {
    At(u64),
    /// Where something happened to the datum, at the first of these instants at which something did.
    Of(DatumKey, Vec<Timestamp>),
}

impl Wrongs {
    /// Of one record.
    pub fn add(&mut self, code: &'static str, values: Vec<Option<Value>>, at: Timestamp, position: u64) {
        self.0.entry((code, values, at, None)).or_insert(Place::At(position));
    }
}

impl Pass<'_> {
    /// What is wrong about one person; with where it stands in the log only if that is asked.
    pub(super) fn kept(
        &self,
        subject: SubjectId,
        of: Option<&Of>,
        with_places: bool,
    ) -> Result<Vec<Hit>, Error> {
        let Some(keeping) = &self.keeping else { return Ok(Vec::new()) };
        let of = &*Of::or_alone(of, subject);
        let wrongs = self.wrongs(keeping, of, true)?;
        let places = match with_places && !wrongs.0.is_empty() {
            true => self.places(keeping, of, &wrongs)?,
            false => BTreeMap::new(),
        };
        Ok(wrongs.0.into_iter().map(|(name, place)| hit(name, place, &places)).collect())
    }

    /// Everything that is wrong about one person, by the rows if they may tell it.
    fn wrongs(&self, keeping: &Keeping<'_>, of: &Of, by_rows: bool) -> Result<Wrongs, Error> {
        // What a device did while it was lent counts as somebody else's.
        let counts = |event: &Decoded| {
            let part = mine(&of.group, event).first().map(|part| &event.parts[usize::from(*part)]);
            let whose = part.and_then(|part| part.subject);
            !whose.is_some_and(|who| of.is_lent(who, event.at))
        };
        let some = !by_rows || of.lends();
        let Judgement { lines, data } =
            keeping.judging.of(&of.group, if some { Some(&counts) } else { None })?;
        let mut wrongs = Wrongs::default();
        for (key, judged) in &data {
            self.datum(keeping, key, judged, &mut wrongs);
        }
        if lines.iter().any(|line| is_told_of(line.shape.event_type)) {
            let past: Vec<&Line> = lines.iter().filter(|line| line.at() <= keeping.now).collect();
            self.executions(keeping, &past, &mut wrongs);
            self.holds(keeping.now, &past, &mut wrongs);
            self.instructions(keeping.now, &past, &mut wrongs);
        }
        Ok(wrongs)
    }

    /// For tests: what is wrong by the rows, and by the records.
    #[cfg(test)]
    pub(super) fn kept_both_ways(&self, of: &Of) -> Result<Vec<Vec<Hit>>, Error> {
        let ways = self.keeping.iter().flat_map(|keeping| [(keeping, true), (keeping, false)]);
        ways.map(|(keeping, by_rows)| {
            let wrongs = self.wrongs(keeping, of, by_rows)?;
            Ok(wrongs.0.into_iter().map(|(name, place)| hit(name, place, &BTreeMap::new())).collect())
        })
        .collect()
    }

    /// What is wrong about one datum.
    fn datum(&self, keeping: &Keeping<'_>, key: &DatumKey, judged: &Judged, to: &mut Wrongs) {
        let service = || maybe(key.service.as_ref());
        let kind = || maybe(key.record_kind.as_ref());
        let mut add = |code, values, at, stands: bool| {
            let name = (code, values, at, stands.then(|| key.clone()));
            let instants = if stands { Vec::new() } else { vec![at] };
            let instants = instants.into_iter().chain(judged.collected).collect();
            to.0.entry(name).or_insert(Place::Of(key.clone(), instants));
        };
        for wrong in &judged.wrongs {
            let at = wrong.at;
            match &wrong.what {
                What::Used { purpose, cause } | What::Opened { purpose, cause } => {
                    let cause = Value::of(cause.as_str()).ok();
                    add(AFTER_END, vec![service(), value(purpose), cause], at, false);
                }
                What::UsedAnonymous { .. } => add(ANONYMOUS, vec![service(), kind()], at, false),
                What::Destroyed(kept) => {
                    let (floor, blocker) = match kept {
                        Kept::Floor(floor) => (value(floor), None),
                        Kept::Hold => (None, Value::of("hold").ok()),
                        Kept::Restriction(_) => (None, Value::of("restriction").ok()),
                    };
                    add(PREMATURE, vec![service(), floor, blocker], at, false);
                }
                What::DeferralRefused => add(DEFERRED, vec![service(), kind()], at, false),
                What::Undefined { purpose } => {
                    let values = vec![service(), kind(), value(&key.category), value(purpose)];
                    add(UNDEFINED, values, at, true);
                }
                What::Overrun { binding } => {
                    let binding = binding.as_ref().and_then(name_of);
                    add(OVERRUN, vec![service(), kind(), binding], at, true);
                }
                What::ForeignFloor { floor } => add(LAWS, vec![value(floor), service()], at, true),
                What::OrderMeetsHold { authority } => {
                    add(ORDER, vec![service(), maybe(authority.as_ref())], at, true);
                }
                What::FloorPending { floor } => add(HOLD, vec![None, None, value(floor)], at, true),
                // Others tell what was missing, and when it could be seen.
                What::Plain(_) => {}
            }
        }
        if let Some(at) = self.uncleared(judged).filter(|at| *at <= keeping.now) {
            add(CANCELLED, vec![service()], at, true);
        }
    }

    /// When an account that was cancelled should have been cleared, for what was due by then and still is. What is
    /// kept longer by a duty is not late, and the day of the cancellation does not count.
    fn uncleared(&self, judged: &Judged) -> Option<Timestamp> {
        let due = judged.decision.due_at.filter(|_| judged.decision.state == State::Due)?;
        let tz = chrono_tz::Asia::Shanghai;
        let day = judged.cancelled_at?.local_date(tz);
        let end = LocalDate { date: self.finder.law.working_day_after(day, CLEARED_IN_DAYS), tz }.ends();
        (due <= end).then_some(end)
    }

    /// Where the log tells of what happened to data. Of several records of one instant the first.
    fn places(
        &self,
        keeping: &Keeping<'_>,
        of: &Of,
        wrongs: &Wrongs,
    ) -> Result<BTreeMap<(DatumKey, Timestamp), u64>, Error> {
        let sought: BTreeSet<(DatumKey, Timestamp)> = wrongs
            .0
            .values()
            .filter_map(|place| match place {
                Place::Of(key, instants) => Some(instants.iter().map(|at| (key.clone(), *at))),
                Place::At(_) => None,
            })
            .flatten()
            .collect();
        let mut places = BTreeMap::new();
        for (key, at, position) in keeping.judging.positions(&of.group, &sought)? {
            places.entry((key, at)).or_insert(position);
        }
        Ok(places)
    }
}

fn hit((code, values, at, _): Name, place: Place, places: &BTreeMap<(DatumKey, Timestamp), u64>) -> Hit {
    let position = match place {
        Place::At(position) => Some(position),
        Place::Of(key, instants) => {
            instants.into_iter().find_map(|at| places.get(&(key.clone(), at)).copied())
        }
    };
    Hit { code, values, tally: Tally { count: 1, first: at, last: at }, position, cured: None }
}

/// A binding reason as a value. An order may be one person's, and so may be a hold: neither is named.
fn name_of(reason: &Reason) -> Option<Value> {
    match reason {
        Reason::Order(_) => Value::of("order").ok(),
        Reason::Hold(_) => Value::of("hold").ok(),
        reason => Value::of(&reason.to_string()).ok(),
    }
}

/// Acts that are judged one by one.
fn is_told_of(event_type: EventType) -> bool {
    use EventType::*;
    matches!(event_type, ErasureExecuted | AnonymisationExecuted | LegalHoldPlaced | InstructionIssued)
}
