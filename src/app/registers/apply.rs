//! Many changes of registers as one import.
//!
//! Promises: one import id is applied whole or not at all, also by a crash, because its events go into the log
//! as one batch; applied again it records nothing and is answered with its receipts; a check records nothing;
//! what says only what is registered already is not recorded. Not promised: that an import that is checked can
//! be applied later, because others may have changed the registers in between.

use sha2::{Digest as _, Sha256};

use crate::app::error::{Error, FieldViolation};
use crate::app::record::Receipt;
use crate::app::registers::gate::fresh;
use crate::app::{App, Caller, rules};
use crate::domain::event::{Event, RegisterKind};
use crate::domain::id::{EventId, Id};
use crate::domain::register::diff::{Change, changes};
use crate::domain::register::{Act, Book, Contradiction, Known, Version, named};
use crate::record::Header;

/// Changes that belong together.
pub struct Import {
    pub entries: Vec<Proposed>,
    /// `None` only for a check.
    pub id: Option<Id>,
    /// Whether the request states when it happened; else a repetition takes the time of the first.
    pub dated: bool,
    pub check_only: bool,
}

/// One change, or everything that is malformed in it.
pub type Proposed = std::result::Result<Event, Vec<FieldViolation>>;

/// What became of an import.
#[derive(Debug, Clone)]
pub struct Applied {
    pub outcomes: Vec<Outcome>,
    /// Whether it is recorded, now or before.
    pub applied: bool,
    pub computed_at: u64,
}

/// What became of one change.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub entry: Option<(RegisterKind, String)>,
    pub result: Result,
    pub changes: Vec<Change>,
    pub contradictions: Vec<Contradiction>,
    pub violations: Vec<FieldViolation>,
    pub receipt: Option<Receipt>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Result {
    Unchanged,
    New,
    Changed,
    Refused,
}

/// The name of an import's event, so that a repetition is the same event.
pub fn event_id(import: &Id, emitter: &Id, number: usize) -> EventId {
    let digest = Sha256::digest(format!("register import\n{emitter}\n{import}\n{number}"));
    let mut bytes = [0u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    EventId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

impl App {
    pub async fn apply_registers(
        &self,
        caller: &Caller,
        import: Import,
    ) -> std::result::Result<Applied, Error> {
        for event in import.entries.iter().flatten() {
            caller.may_emit(event)?;
        }
        let _registering = self.settle_registers().await?;
        let positions = self.imported(&import).await?;
        if let Some(first) = positions.iter().flatten().min() {
            return self.apply_again(caller, import, &positions, *first).await;
        }
        let mut outcomes = self.compare(caller, &import, u64::MAX);
        let refused = outcomes.iter().any(|outcome| outcome.result == Result::Refused);
        let applied = !refused && !import.check_only;
        if applied {
            let (places, events): (Vec<usize>, Vec<Event>) = import
                .entries
                .into_iter()
                .enumerate()
                .filter(|(n, _)| outcomes[*n].result != Result::Unchanged)
                .filter_map(|(n, event)| Some((n, event.ok()?)))
                .unzip();
            let receipts = self.record_whole(caller, events).await?;
            self.seen(receipts.iter().map(|receipt| receipt.position).max()).await;
            for (n, receipt) in places.into_iter().zip(receipts) {
                outcomes[n].receipt = Some(receipt);
            }
        }
        Ok(Applied { outcomes, applied, computed_at: self.log.head() })
    }

    /// Whoever asks next sees what was registered. Should the views be slow, it is recorded all the same.
    pub(crate) async fn seen(&self, position: Option<u64>) {
        if let Err(error) = self.at_least(position).await {
            tracing::debug!(reason = error.reason(), "registered, and not in the views yet");
        }
    }

    /// Where the events of an import stand, if it was applied before.
    async fn imported(&self, import: &Import) -> std::result::Result<Vec<Option<u64>>, Error> {
        if import.check_only || import.id.is_none() {
            return Ok(Vec::new());
        }
        let name = |event: &Proposed| {
            event.as_ref().ok().map(|event| (event.envelope.emitter.clone(), event.envelope.event_id))
        };
        let names: Vec<_> = import.entries.iter().map(name).collect();
        let stated: Vec<_> = names.iter().flatten().cloned().collect();
        let mut found = self.log.find(&stated).await?.into_iter();
        Ok(names.iter().map(|name| name.as_ref().and_then(|_| found.next().flatten())).collect())
    }

    /// The same import again: the same receipts, and nothing else. `first` is the position of its first event.
    async fn apply_again(
        &self,
        caller: &Caller,
        mut import: Import,
        positions: &[Option<u64>],
        first: u64,
    ) -> std::result::Result<Applied, Error> {
        // As things stood then, so that what was unchanged then still is.
        let mut outcomes = self.compare(caller, &import, first);
        let other =
            (0..positions.len()).any(|n| positions[n].is_none() != (outcomes[n].result == Result::Unchanged));
        if other {
            return Err(Error::invalid("import_id", "was applied before, with other entries"));
        }
        for (n, position) in positions.iter().enumerate() {
            let (Some(position), Ok(event)) = (position, &mut import.entries[n]) else { continue };
            if !import.dated {
                event.envelope.occurred_at = self.occurred_at(*position).await?;
            }
            let answer = self.record_known(caller, event.clone()).await?;
            outcomes[n].receipt = Some(answer);
        }
        Ok(Applied { outcomes, applied: true, computed_at: self.log.head() })
    }

    async fn occurred_at(&self, position: u64) -> std::result::Result<crate::domain::time::Timestamp, Error> {
        let stored = self.log.get(&[position]).await?.pop();
        let stored = stored.ok_or_else(|| Error::internal("position_without_record"))?;
        Ok(Header::parse(&stored.header)?.envelope.occurred_at)
    }

    /// What each entry would change, and what stands against it. An entry is seen by those after it even if it
    /// is refused, so that one mistake is told once.
    fn compare(&self, caller: &Caller, import: &Import, known_at: u64) -> Vec<Outcome> {
        let now = self.clock.now();
        let mut before = Book::default();
        let mut outcomes = Vec::with_capacity(import.entries.len());
        for proposed in &import.entries {
            let event = match proposed {
                Ok(event) => event,
                Err(violations) => {
                    outcomes.push(Outcome::refused(None, violations.clone()));
                    continue;
                }
            };
            let Some(entry) = named(&event.body) else {
                let field = event.body.event_type().field();
                let what = FieldViolation::new(field, "is no entry of a register");
                outcomes.push(Outcome::refused(None, vec![what]));
                continue;
            };
            let mut outcome = self.change(event, entry, &before, known_at);
            if outcome.result != Result::Unchanged && known_at == u64::MAX {
                outcome.contradictions = self.contradicted(caller, event, &before, now);
                if let Err(Error::Invalid(violations)) = self.checked(event, now) {
                    outcome.violations = violations;
                }
                if !(outcome.contradictions.is_empty() && outcome.violations.is_empty()) {
                    outcome.result = Result::Refused;
                }
            }
            before.add(fresh(event, now));
            outcomes.push(outcome);
        }
        outcomes
    }

    fn checked(&self, event: &Event, now: crate::domain::time::Timestamp) -> std::result::Result<(), Error> {
        rules::complete(&mut event.clone(), now, &crate::app::record::ViewedRegisters(&self.views)).map_err(
            |error| match error {
                Error::Invalid(violations) => {
                    Error::Invalid(violations.into_iter().map(below_event).collect())
                }
                other => other,
            },
        )
    }

    fn change(&self, event: &Event, entry: (RegisterKind, String), before: &Book, known_at: u64) -> Outcome {
        let version = fresh(event, self.clock.now());
        let (result, changes) = self.views.book(|book| {
            let known = Known { book, fresh: before, known_at };
            let versions = known.versions(entry.0, &entry.1);
            compared(&version, &versions)
        });
        Outcome { changes, ..Outcome::of(Some(entry), result) }
    }
}

/// What a version is against those of its entry that count.
fn compared(version: &Version, versions: &[&Version]) -> (Result, Vec<Change>) {
    let act = version.act();
    let earlier: Vec<&Version> =
        versions.iter().copied().filter(|known| known.from <= version.from).collect();
    let said = changes(version, &earlier);
    // Every version of a policy is kept, so an older one that is said again says nothing new.
    let repeats = |known: &&&Version| known.act() == act && changes(version, &[known]).is_empty();
    let is_policy = matches!(version.body, crate::domain::event::Body::PolicyPublished(_));
    let last = earlier.iter().rev().find(|known| known.act() == act);
    if said.is_empty() && last.is_some() || is_policy && versions.iter().any(|known| repeats(&known)) {
        return (Result::Unchanged, Vec::new());
    }
    let registered = versions.iter().any(|known| known.act() == Act::Registers);
    (if registered { Result::Changed } else { Result::New }, said)
}

/// Paths of an import's violations begin at the entry.
fn below_event(violation: FieldViolation) -> FieldViolation {
    let field = violation.field.strip_prefix("event.").unwrap_or(&violation.field).to_owned();
    FieldViolation { field, ..violation }
}

impl Outcome {
    fn of(entry: Option<(RegisterKind, String)>, result: Result) -> Outcome {
        Outcome {
            entry,
            result,
            changes: Vec::new(),
            contradictions: Vec::new(),
            violations: Vec::new(),
            receipt: None,
        }
    }

    fn refused(entry: Option<(RegisterKind, String)>, violations: Vec<FieldViolation>) -> Outcome {
        Outcome { violations, ..Outcome::of(entry, Result::Refused) }
    }
}
