//! Instructions, as those who carry them out ask for them: handed out and kept from others for a while, asked for
//! once more right before acting, answered. What an officer tells those who hold a person's data goes out here, too.
//!
//! Promises: an instruction is told until it is answered or recalled; *go* is said only after the datum was decided anew,
//! while nobody records a hold; what was done is recorded with its execution, in one piece; the same answer twice is
//! recorded once. Not promised: that nobody is told twice. Who has what in hand is kept in memory: a crash loses it,
//! and what was not answered is handed out again.

mod acknowledge;
mod begin;
pub(crate) mod issue;
mod whole;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::app::own::EMITTER;
use crate::app::subjects::Name;
use crate::app::{App, Caller, Error, Role};
use crate::domain::event::RecallReason;
use crate::domain::id::{EventId, Id, SubjectId};
use crate::domain::identity::{Class, Identifier};
use crate::domain::instruction::Instruction;
use crate::domain::time::{MS_PER_DAY, Timestamp};
use crate::views::instructions::{Behind, Open};
use crate::views::retention::due::{Deciding, Work};

pub use acknowledge::{Acknowledged, Acknowledgement, Done};
pub use begin::Begun;
pub use issue::{Order, Telling};
pub use whole::{AcknowledgedSome, BegunSome, Kept, Whole};

/// After how long an addressee is reminded (`domain.md` 6.8).
pub const REMIND_MS: [i64; 3] = [7 * MS_PER_DAY, 14 * MS_PER_DAY, 21 * MS_PER_DAY];
/// What is in somebody's hands at most; what comes beyond is told all the same, and may be told twice.
const LEASES: usize = 1_000_000;
/// How long something that was answered is told to nobody, at least.
const ANSWERED_MS: i64 = 60_000;

/// Until when what is in somebody's hands.
#[derive(Debug, Default)]
pub struct Leases(Mutex<HashMap<Id, Timestamp>>);

impl Leases {
    fn lock(&self) -> MutexGuard<'_, HashMap<Id, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn until(&self, id: &Id, now: Timestamp) -> Option<Timestamp> {
        self.lock().get(id).copied().filter(|until| *until > now)
    }

    fn held(&self, now: Timestamp) -> HashSet<Id> {
        self.lock().iter().filter(|(_, until)| **until > now).map(|(id, _)| id.clone()).collect()
    }

    /// Puts into somebody's hands what is in nobody's; says which of them.
    fn claim(&self, open: Vec<Open>, until: Timestamp, now: Timestamp) -> Vec<Open> {
        let mut leases = self.lock();
        if leases.len() >= LEASES {
            leases.retain(|_, until| *until > now);
        }
        let mut claim = |open: &Open| {
            let id = &open.instruction.id;
            let is_free = leases.get(id).is_none_or(|until| *until <= now);
            if is_free && leases.len() < LEASES {
                leases.insert(id.clone(), until);
            }
            is_free
        };
        open.into_iter().filter(|open| claim(open)).collect()
    }

    /// Whoever has it goes on having it, for so long.
    fn keep(&self, id: &Id, ms: i64, now: Timestamp) {
        self.lock().insert(id.clone(), now.plus_ms(ms));
    }

    /// What was answered is kept from others until the views know that it was.
    fn answered(&self, id: &Id, now: Timestamp) {
        self.keep(id, ANSWERED_MS, now);
    }
}

/// An instruction as its addressee is told it.
#[derive(Debug, Clone)]
pub struct Told {
    pub subject: SubjectId,
    pub instruction: Instruction,
    /// By which the addressee knows the person; nothing where that is not to be told.
    pub identifiers: Vec<Identifier>,
    pub taken_until: Option<Timestamp>,
    pub reminders: u32,
}

/// Which open instructions.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// `None`: everybody's, for officers.
    pub addressee: Option<Id>,
    pub due_by: Option<Timestamp>,
    pub behind: Option<Behind>,
    pub limit: usize,
    pub at_least: Option<u64>,
}

impl Caller {
    /// Whether it may carry out and answer what an addressee was told: its own service or name, or an officer at the
    /// desk, for those who never call.
    pub fn may_answer_for(&self, addressee: &Id) -> Result<(), Error> {
        let own = self.services.contains(addressee) || self.name == *addressee;
        let of_any_service = self.services.is_empty() && self.has(Role::Emitter);
        if own || of_any_service || self.has(Role::Officer) {
            return Ok(());
        }
        let why = format!("{} may not answer for {addressee}", self.name);
        Err(Error::PermissionDenied { reason: "not_your_service", why })
    }
}

impl App {
    /// A page of open instructions, the oldest of an addressee first, and where the next page begins.
    pub async fn open_instructions(&self, wanted: Wanted) -> Result<(Vec<Told>, Option<Behind>), Error> {
        let (open, next) = self.page(wanted).await?;
        Ok((self.told(open).await?, next))
    }

    /// Of a page of open instructions, how often each should have been reminded of by an instant, and whether it is
    /// overdue; and where the next page begins.
    pub async fn open_instructions_at(
        &self,
        wanted: Wanted,
        now: Timestamp,
    ) -> Result<(Vec<(u32, bool)>, Option<Behind>), Error> {
        let (open, next) = self.page(wanted).await?;
        let chased = |open: &Open| {
            let one = &open.instruction;
            (one.reminders(&REMIND_MS, now), one.due.is_some_and(|due| due < now))
        };
        Ok((open.iter().map(chased).collect(), next))
    }

    async fn page(&self, wanted: Wanted) -> Result<(Vec<Open>, Option<Behind>), Error> {
        self.at_least(wanted.at_least).await?;
        self.ask(move |ask| {
            let Wanted { addressee, behind, limit, due_by, .. } = wanted;
            let mut open = ask.open_instructions(addressee.as_ref(), behind.as_ref(), limit, |_| true)?;
            let next = open.last().filter(|_| open.len() == limit).map(place);
            open.retain(|open| due_by.is_none_or(|by| open.instruction.due.is_some_and(|due| due <= by)));
            Ok((open, next))
        })
        .await
    }

    /// Every instruction about a person, the oldest first.
    pub async fn instructions_about(&self, name: &Name, at_least: Option<u64>) -> Result<Vec<Told>, Error> {
        self.at_least(at_least).await?;
        let subject = self.who(name, None).await?;
        let all =
            self.ask(move |ask| Ok(ask.instructions_of(subject)?)).await?.ok_or(Error::SubjectNotFound)?;
        self.told(all.into_iter().map(|instruction| Open { subject, instruction }).collect()).await
    }

    /// Hands out what is open, in nobody's hands, and not put off, and keeps it from others until then.
    pub async fn take_instructions(
        &self,
        addressee: &Id,
        limit: usize,
        lease_ms: i64,
    ) -> Result<Vec<Told>, Error> {
        let now = self.clock.now();
        let (held, addressee) = (self.leases.held(now), addressee.clone());
        let open = self
            .ask(move |ask| {
                let mut taken: Vec<Open> = Vec::new();
                let mut behind: Option<Behind> = None;
                while taken.len() < limit {
                    let free = |id: &Id| !held.contains(id);
                    let page = ask.open_instructions(Some(&addressee), behind.as_ref(), limit, free)?;
                    behind = page.last().map(place);
                    let more = page.len() == limit;
                    taken.extend(page.into_iter().filter(|open| !open.instruction.is_put_off(now)));
                    if !more {
                        break;
                    }
                }
                taken.truncate(limit);
                Ok(taken)
            })
            .await?;
        // Somebody else may have asked meanwhile.
        self.told(self.leases.claim(open, now.plus_ms(lease_ms), now)).await
    }

    /// Returns when something was recorded, or a while has passed.
    pub async fn news(&self, within: std::time::Duration) {
        // That nothing came is no error.
        let _ = self.views.wait_for(self.views.applied() + 1, within).await;
    }

    /// With what the addressee needs to know of whom it is about.
    async fn told(&self, open: Vec<Open>) -> Result<Vec<Told>, Error> {
        let now = self.clock.now();
        let mut told = Vec::with_capacity(open.len());
        let mut of: Option<(SubjectId, Vec<Identifier>)> = None;
        for Open { subject, instruction } in open {
            if of.as_ref().is_none_or(|(known, _)| *known != subject) {
                of = Some((subject, self.names_of(subject).await?));
            }
            told.push(Told {
                subject,
                identifiers: of.as_ref().map(|(_, names)| names.clone()).unwrap_or_default(),
                taken_until: self.leases.until(&instruction.id, now),
                reminders: instruction.reminders(&REMIND_MS, now),
                instruction,
            });
        }
        Ok(told)
    }

    /// The identifiers by which a person is known without doubt; where there is none, all of them.
    async fn names_of(&self, subject: SubjectId) -> Result<Vec<Identifier>, Error> {
        let all = match self.vault.identifiers(subject).await {
            Err(crate::vault::Error::NotFound) => Vec::new(),
            all => all?,
        };
        let now = self.clock.now();
        let bound = all.into_iter().filter(|(_, bound)| bound.to.is_none_or(|to| to > now));
        let all: Vec<Identifier> = bound.map(|(identifier, _)| identifier).collect();
        let strong: Vec<Identifier> =
            all.iter().filter(|one| one.kind.class() == Class::Strong).cloned().collect();
        Ok(if strong.is_empty() { all } else { strong })
    }

    /// Instructions by their ids, open or not, in the order of the ids, each with what follows from how things stand; an
    /// error for each that this addressee was not given.
    async fn given(&self, addressee: &Id, ids: Vec<Id>) -> Result<Vec<Result<Known, Error>>, Error> {
        let emitter: Id = EMITTER.parse().map_err(|_| Error::internal("own_emitter"))?;
        // An instruction's id is that of the event that issued it; what is no such id was given to nobody.
        let events: Vec<Option<EventId>> = ids.iter().map(|id| id.as_str().parse().ok()).collect();
        let wanted: Vec<_> = events.iter().flatten().map(|event| (emitter.clone(), *event)).collect();
        let mut found = self.log.find(&wanted).await?.into_iter();
        let places: Vec<Option<u64>> =
            events.iter().map(|event| event.and_then(|_| found.next().flatten())).collect();
        let (addressee, now) = (addressee.clone(), self.clock.now());
        self.ask(move |ask| {
            let subjects = ask.subjects_of(&places.iter().flatten().copied().collect::<Vec<_>>())?;
            let deciding = Deciding::new(ask, now)?;
            let mut works: BTreeMap<SubjectId, Option<Work>> = BTreeMap::new();
            let mut known = Vec::with_capacity(ids.len());
            for (id, place) in ids.iter().zip(&places) {
                let Some(subject) = place.and_then(|place| subjects.get(&place).copied()) else {
                    known.push(Err(Error::InstructionNotFound));
                    continue;
                };
                let work = match works.entry(subject) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => new.insert(deciding.work(ask, ask.canonical(subject)?)?),
                };
                let one = work.as_ref().and_then(|work| Known::among(work, subject, (&addressee, id), now));
                known.push(one.ok_or(Error::InstructionNotFound));
            }
            Ok(known)
        })
        .await
    }
}

/// An instruction, and what follows from how things stand.
struct Known {
    open: Open,
    /// Why it is void by now, if it is.
    void: Option<RecallReason>,
    /// Who got what it is about from there.
    recipients: Vec<Id>,
}

impl Known {
    fn among(work: &Work, subject: SubjectId, (addressee, id): (&Id, &Id), now: Timestamp) -> Option<Known> {
        let told = work.instructions.iter().find(|one| one.id == *id && one.addressee == *addressee)?;
        let got = told.of.datum();
        Some(Known {
            void: work.voided(told, now),
            recipients: got.iter().flat_map(|key| work.person.recipients(key)).cloned().collect(),
            open: Open { subject, instruction: told.clone() },
        })
    }
}

/// Where a list goes on behind an instruction.
fn place(open: &Open) -> Behind {
    (open.instruction.addressee.clone(), open.instruction.id.clone())
}

/// An instruction that can take no such turn any more.
fn ended(instruction: &Instruction) -> Error {
    let why = format!("the instruction is {} since {}", instruction.state, instruction.since);
    Error::Precondition { reason: "instruction_ended", why }
}
