//! What is due is found, planned, and told to those who hold it (`domain.md` 4.4).
//!
//! A sweep goes by bounded steps, and whoever drives it may stop between any two: the index is brought up to date with
//! what was recorded before the sweep; of those who stand in it, instructions whose reason has gone are recalled, what is
//! planned and needs nobody's approval, or has it, is told, and what is in no plan is counted by what it has in common
//! and planned. It makes no choices: every datum is decided anew right before its instruction is recorded, and from that
//! decision until the record nobody records a hold or a restriction. A crash loses a count; plans and instructions are
//! events, and the next sweep goes on from them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::app::instructions::issue::{Telling, issued, recalled};
use crate::app::own::{About, event_id, staff};
use crate::app::{App, Caller, Error};
use crate::domain::datum::DatumKey;
use crate::domain::event::{Body, PlanCause, RecallReason, Tally};
use crate::domain::id::{Digest, Id, SubjectId};
use crate::domain::instruction::Instruction;
use crate::domain::plan::{Group, Item, PlanState, approvals};
use crate::domain::time::Timestamp;
use crate::views::ask::Ask;
use crate::views::due::Refreshed;
use crate::views::instructions::Open;
use crate::views::plans::{Plan, planned};
use crate::views::retention as views;
use crate::views::retention::due::{Deciding, Work, is_kept};

/// People decided at once, and how often in one step.
const STEP: usize = 500;
const AT_ONCE: usize = 4;
/// How long somebody who decides waits for the views.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);
/// Lines of a plan's counts; what has no line of its own is counted as `other`.
const LINES: usize = 60;

/// Which causes a sweep is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    All,
    /// What goes because its service has ended.
    ServiceEnds,
    /// Everything else.
    Others,
}

impl Which {
    fn has(self, cause: PlanCause) -> bool {
        match self {
            Which::All => true,
            Which::ServiceEnds => cause == PlanCause::ServiceEnd,
            Which::Others => cause != PlanCause::ServiceEnd,
        }
    }
}

/// What a sweep came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Swept {
    /// New plans.
    pub plans: Vec<Plan>,
    /// Data that are due and in nobody's hands.
    pub due: u64,
    /// Of these: in a plan that waits for its approval, or that was rejected.
    pub waiting: u64,
    /// Kept beyond their time by a hold, a restriction, or a deferral.
    pub kept: u64,
    pub instructed: u64,
    pub recalled: u64,
    /// Recipients told of data that are gone at their source.
    pub handed_on: u64,
    /// People decided to bring the index up to date.
    pub refreshed: u64,
}

/// A sweep under way.
pub struct Sweep<'a> {
    app: &'a App,
    which: Which,
    now: Timestamp,
    /// Whoever asked for it, if not the clock.
    planner: Option<&'a Caller>,
    stage: Stage,
    /// Log position as of which plans are made.
    computed_at: Option<u64>,
    plans: Arc<Plans>,
    groups: BTreeMap<Group, Collected>,
    pub swept: Swept,
    /// One sweep at a time, so that nothing is planned twice.
    alone: Option<tokio::sync::OwnedMutexGuard<()>>,
}

enum Stage {
    /// Until the index knows the records below a position.
    Refresh(Option<u64>),
    Look(BehindPerson),
    Plan,
    /// Once more, for what was planned just now and may go.
    LookAgain(BehindPerson),
    Done,
}

/// Where the next who stand in the index begin.
type BehindPerson = Option<(Timestamp, SubjectId)>;

/// Items with the same reasons that are in no plan yet.
#[derive(Default)]
struct Collected {
    rules: Vec<Id>,
    counts: BTreeMap<String, u64>,
    items: u64,
    digest: Sha256,
}

/// Every plan there is, by what its items have in common.
#[derive(Default)]
struct Plans(BTreeMap<Group, Vec<Plan>>);

/// Where an item that is due belongs.
enum Place {
    /// In a plan that may be carried out.
    Ready(Id),
    /// In one that waits, or was rejected; or behind one that waits.
    Waits,
    /// In none.
    New,
}

impl App {
    pub fn sweep<'a>(&'a self, which: Which, now: Timestamp, planner: Option<&'a Caller>) -> Sweep<'a> {
        Sweep {
            app: self,
            which,
            now,
            planner,
            stage: Stage::Refresh(None),
            computed_at: None,
            plans: Arc::default(),
            groups: BTreeMap::new(),
            swept: Swept::default(),
            alone: None,
        }
    }

    /// All of it at once.
    pub async fn sweep_all(&self, which: Which, planner: Option<&Caller>) -> Result<Swept, Error> {
        let mut sweep = self.sweep(which, self.clock.now(), planner);
        while sweep.step().await? {
            if self.is_called_off() {
                return Err(Error::stopping());
            }
        }
        Ok(sweep.swept)
    }

    /// What a sweep at an instant would find due, without doing or recording anything: everybody is decided as of then.
    pub async fn sweep_dry(&self, which: Which, as_of: Timestamp) -> Result<Swept, Error> {
        self.settled().await?;
        self.ask(move |ask| {
            let mut swept = Swept::default();
            ask.sweep(&views::Sweep { as_of, known_at: None }, None, &mut |held| {
                let item = Item::of(held.key, &held.decision);
                swept.due += u64::from(item.is_some_and(|item| which.has(item.group.cause)));
                swept.kept += u64::from(is_kept(&held.decision));
                Ok(())
            })?;
            Ok(swept)
        })
        .await
    }

    /// One step towards an index of what is due that knows everything applied so far.
    pub(crate) async fn refresh_due(&self, now: Timestamp) -> Result<Refreshed, Error> {
        // Whoever is erased meanwhile could get a row again.
        let _nobody_is_erased = self.erasures.pause().await;
        let views = Arc::clone(&self.views);
        let refreshed = tokio::task::spawn_blocking(move || views.refresh_due(now)).await;
        Ok(refreshed.map_err(|died| Error::fault("refresh_died", died))??)
    }

    /// Everything recorded so far, below the position answered, is in what the views answer.
    pub(crate) async fn settled(&self) -> Result<u64, Error> {
        let head = self.log.head();
        self.views.wait_for(head, PATIENCE).await?;
        Ok(head)
    }
}

impl Sweep<'_> {
    /// One bounded step. Whether there is more to do.
    pub async fn step(&mut self) -> Result<bool, Error> {
        if self.alone.is_none() {
            self.alone = Some(Arc::clone(&self.app.sweeping).lock_owned().await);
        }
        let stage = std::mem::replace(&mut self.stage, Stage::Done);
        self.stage = match stage {
            Stage::Refresh(until) => self.refresh(until).await?,
            Stage::Look(behind) => self.look(behind).await?,
            Stage::Plan => self.plan().await?,
            Stage::LookAgain(behind) => self.look_again(behind).await?,
            Stage::Done => Stage::Done,
        };
        Ok(!matches!(self.stage, Stage::Done))
    }

    /// What is recorded meanwhile is the next sweep's: a service that records without end would be followed without end.
    async fn refresh(&mut self, until: Option<u64>) -> Result<Stage, Error> {
        let until = match until {
            Some(until) => until,
            None => self.app.settled().await?,
        };
        let refreshed = self.app.refresh_due(self.now).await?;
        self.swept.refreshed += refreshed.people;
        if refreshed.known < until {
            return Ok(Stage::Refresh(Some(until)));
        }
        self.load_plans().await?;
        Ok(Stage::Look(None))
    }

    /// Recalls what has lost its reason, tells what may go, counts what is in no plan yet.
    async fn look(&mut self, behind: BehindPerson) -> Result<Stage, Error> {
        let found = self.find(behind).await?;
        self.computed_at.get_or_insert(found.known_at);
        self.swept.due += found.due;
        self.swept.waiting += found.waiting;
        self.swept.kept += found.kept;
        for (subject, item) in found.new {
            self.groups.entry(item.group.clone()).or_default().add(subject, &item);
        }
        Ok(found.last.map_or(Stage::Plan, |last| Stage::Look(Some(last))))
    }

    async fn look_again(&mut self, behind: BehindPerson) -> Result<Stage, Error> {
        let found = self.find(behind).await?;
        let Some(last) = found.last else {
            // Whoever is told that it is done finds what was told.
            self.app.settled().await?;
            return Ok(Stage::Done);
        };
        Ok(Stage::LookAgain(Some(last)))
    }

    /// Looks at the next people, and records what there is to tell them: of some while the next are decided.
    async fn find(&mut self, behind: BehindPerson) -> Result<Found, Error> {
        let _nothing_is_held = self.app.decide().await?;
        let mut all = Found { last: behind, ..Found::default() };
        let mut events: Vec<About> = Vec::new();
        for _ in 0..AT_ONCE {
            let (plans, which, now, behind) = (Arc::clone(&self.plans), self.which, self.now, all.last);
            let decided = self.app.ask(move |ask| Found::behind(ask, behind, (which, now), &plans));
            let recorded = self.app.record_own_each(std::mem::take(&mut events));
            let (mut found, _) = tokio::try_join!(decided, recorded)?;
            events = self.told(&mut found)?;
            all.add(found);
            if all.last.is_none() {
                break;
            }
        }
        self.app.record_own_each(events).await?;
        Ok(all)
    }

    /// What is to be recorded of those who were looked at.
    fn told(&mut self, found: &mut Found) -> Result<Vec<About>, Error> {
        let (ready, void) = (std::mem::take(&mut found.ready), std::mem::take(&mut found.void));
        let untold = std::mem::take(&mut found.untold);
        self.swept.recalled += void.len() as u64;
        self.swept.instructed += ready.len() as u64;
        self.swept.handed_on += untold.len() as u64;
        let now = self.now;
        let told = |(subject, item, plan)| issued(Telling::of_item(item, plan, self.app, now), subject, now);
        let handed_on =
            |(subject, key, got)| issued(Telling::of_gone(&key, got, self.app, now), subject, now);
        let void = void.into_iter().map(|one| recalled(one, now));
        void.chain(ready.into_iter().map(told)).chain(untold.into_iter().map(handed_on)).collect()
    }

    async fn load_plans(&mut self) -> Result<(), Error> {
        self.app.settled().await?;
        self.plans = Arc::new(self.app.ask(|ask| Ok(Plans::load(ask))).await?);
        Ok(())
    }

    /// Records a plan for each group.
    async fn plan(&mut self) -> Result<Stage, Error> {
        let groups = std::mem::take(&mut self.groups);
        let may_any_go = |plans: &[Plan]| plans.iter().any(|plan| plan.state == PlanState::Approved);
        let computed_at = self.computed_at.unwrap_or_default();
        for (group, collected) in groups {
            let service = group.service.clone();
            let held = self.app.ask(move |ask| Ok(ask.held_by(&service)?)).await?;
            let needed =
                approvals(&group, &collected.rules, (collected.items, held), &self.app.thresholds, |rule| {
                    self.plans.has_run(rule)
                });
            let plan = Plan {
                id: plan_id(self.now)?,
                rules: collected.rules.clone(),
                counts: collected.tallies(),
                sha256: Digest(collected.digest.finalize().into()),
                as_of: self.now,
                computed_at,
                approvals_needed: needed.iter().filter_map(|why| why.parse().ok()).collect(),
                group,
                planner: None,
                position: 0,
                planned_at: self.now,
                state: if needed.is_empty() { PlanState::Approved } else { PlanState::Waiting },
                decided_at: None,
                reason: None,
            };
            let people = self.planner.map(staff).into_iter().collect();
            let body = Body::ErasurePlanned(Box::new(planned(&plan)));
            let position = self.app.record_own(body, people).await?.position;
            self.swept.plans.push(Plan { position, ..plan });
        }
        // What was told is found by the second look, and by whoever is told that it is done.
        self.load_plans().await?;
        Ok(if may_any_go(&self.swept.plans) { Stage::LookAgain(None) } else { Stage::Done })
    }
}

/// What some people have that is due.
#[derive(Default)]
struct Found {
    due: u64,
    waiting: u64,
    kept: u64,
    new: Vec<(SubjectId, Item)>,
    /// With the plan by which it goes.
    ready: Vec<(SubjectId, Item, Id)>,
    /// What is gone, and who got it and was not told.
    untold: Vec<(SubjectId, DatumKey, Id)>,
    /// What was told and has lost its reason, with why.
    void: Vec<(Open, RecallReason)>,
    /// The last who was looked at, if there may be more.
    last: Option<(Timestamp, SubjectId)>,
    /// Below which position what was decided was known.
    known_at: u64,
}

impl Found {
    /// What others have besides, who were looked at later.
    fn add(&mut self, more: Found) {
        let first = self.known_at == 0;
        self.due += more.due;
        self.waiting += more.waiting;
        self.kept += more.kept;
        self.new.extend(more.new);
        self.last = more.last;
        // What a plan says it knew, it knew of everybody in it.
        self.known_at = if first { more.known_at } else { self.known_at };
    }

    fn behind(
        ask: &Ask,
        behind: Option<(Timestamp, SubjectId)>,
        (which, now): (Which, Timestamp),
        plans: &Plans,
    ) -> Result<Found, Error> {
        let people = ask.due_people(now, behind, STEP)?;
        let last = people.last().copied().filter(|_| people.len() == STEP);
        let mut found = Found { last, known_at: ask.applied, ..Found::default() };
        if people.is_empty() {
            return Ok(found);
        }
        let (mut deciding, mut void) = (Deciding::new(ask, now)?, Vec::new());
        for (_, subject) in people {
            let Some(work) = deciding.work(ask, subject)? else { continue };
            let decided = work.decided(now);
            // This is found right before, by the sweep of everything else.
            if which != Which::ServiceEnds {
                void.extend(work.void(&decided, now).into_iter().map(|(told, why)| (told.clone(), why)));
                let untold = work.untold(&decided, now).into_iter();
                found.untold.extend(untold.map(|(key, got)| (subject, key.clone(), got.clone())));
            }
            found.kept += decided.iter().filter(|(_, decision)| is_kept(decision)).count() as u64;
            for item in work.items(&decided).into_iter().filter(|item| which.has(item.group.cause)) {
                found.due += 1;
                match plans.place(ask, &mut deciding, &work, &item)? {
                    Place::Ready(plan) => found.ready.push((subject, item, plan)),
                    Place::Waits => found.waiting += 1,
                    Place::New => found.new.push((subject, item)),
                }
            }
        }
        found.void = about(ask, void)?;
        Ok(found)
    }
}

impl Plans {
    fn load(ask: &Ask) -> Plans {
        let mut by_group: BTreeMap<Group, Vec<Plan>> = BTreeMap::new();
        for plan in ask.plans().into_values() {
            by_group.entry(plan.group.clone()).or_default().push(plan);
        }
        Plans(by_group)
    }

    fn has_run(&self, rule: &Id) -> bool {
        let mut all = self.0.values().flatten();
        all.any(|plan| plan.state == PlanState::Approved && plan.rules.contains(rule))
    }

    /// Of the plans that have an item one that may be carried out counts first. While one of its group waits no other
    /// is made, so that an officer has one to look at.
    fn place(&self, ask: &Ask, deciding: &mut Deciding, work: &Work, item: &Item) -> Result<Place, Error> {
        let of_group = self.0.get(&item.group).map_or(&[][..], Vec::as_slice);
        let mut waits = false;
        for plan in of_group.iter().rev() {
            waits |= plan.state == PlanState::Waiting;
            if plan.reaches(item) && deciding.was_planned(ask, plan, work, item)? {
                match plan.state {
                    PlanState::Approved => return Ok(Place::Ready(plan.id.clone())),
                    PlanState::Waiting | PlanState::Rejected => waits = true,
                }
            }
        }
        Ok(if waits { Place::Waits } else { Place::New })
    }
}

impl Collected {
    fn add(&mut self, subject: SubjectId, item: &Item) {
        for rule in item.rules.iter().filter(|rule| !self.rules.contains(rule)).collect::<Vec<_>>() {
            self.rules.push(rule.clone());
        }
        let kind = item.key.record_kind.as_ref().map_or("none", Id::as_str);
        let line = format!("{kind}/{}", item.key.category);
        let full = self.counts.len() >= LINES && !self.counts.contains_key(&line);
        *self.counts.entry(if full { "other".to_owned() } else { line }).or_default() += 1;
        self.items += 1;
        item.digest(subject, &mut self.digest);
    }

    fn tallies(&self) -> Vec<Tally> {
        let tally = |(line, count): (&String, &u64)| {
            // Two terms together may be longer than an id.
            let short: String = line.chars().take(crate::limits::ID_BYTES).collect();
            Some(Tally { name: short.parse().ok()?, count: *count })
        };
        self.counts.iter().filter_map(tally).collect()
    }
}

/// Whom these were told about: a person may have come to count as another since.
fn about(ask: &Ask, void: Vec<(Instruction, RecallReason)>) -> Result<Vec<(Open, RecallReason)>, Error> {
    let mut positions: Vec<u64> = void.iter().map(|(told, _)| told.position).collect();
    positions.sort_unstable();
    let subjects = ask.subjects_of(&positions)?;
    let open = |(instruction, why): (Instruction, RecallReason)| {
        let subject = *subjects.get(&instruction.position)?;
        Some((Open { subject, instruction }, why))
    };
    Ok(void.into_iter().filter_map(open).collect())
}

fn plan_id(now: Timestamp) -> Result<Id, Error> {
    let id = format!("plan-{}", event_id(now)?);
    id.parse().map_err(|_| Error::internal("plan_id"))
}
