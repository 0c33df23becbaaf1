//! Rules between the fields of one event. Pure: what needs the clock, a register or another event
//! is checked elsewhere, and what is merely forbidden is recorded and becomes a finding.

use crate::domain::event::catalogue::*;
use crate::domain::event::{
    About, Anchor, Body, Envelope, Event, EventType, List, Person, RetentionRule, Role, RuleKind, Window,
};
use crate::domain::id::{EventId, Id};
use crate::domain::time::LocalDate;
use crate::limits;

/// Takes the path of a field and what is wrong with it.
pub type Report<'a> = &'a mut dyn FnMut(&str, &'static str);

/// Kinds of record whose slot is the local day, set by the server (`domain.md` 2.2).
pub const DAY_SLOTTED: [&str; 4] = ["location", "device_telemetry", "network_log", "message_log"];

/// Ids of events in one retraction, retracted ones and replacements together: as many as an index
/// block can hold.
const RETRACTION_IDS: usize = 1_500;

impl Event {
    /// Reports every violation, with paths as the API names them.
    pub fn check(&self, report: Report<'_>) {
        check(Some(&self.envelope), &self.people, &self.body, report);
    }
}

/// The same for an event whose envelope may be malformed: then only the rest is checked.
pub fn check(envelope: Option<&Envelope>, people: &[Person], body: &Body, report: Report<'_>) {
    let event_type = body.event_type();
    if let Some(envelope) = envelope {
        check_times(envelope, report);
    }
    check_people(event_type, people, report);
    let mut below = |field: &str, why| report(&format!("{}.{field}", event_type.field()), why);
    check_names(body, count(people, Role::DataSubject) > 0, &mut below);
    match body {
        Body::IdentifierLinked(body) => body.check(&mut below),
        Body::IdentifierUnlinked(body) => body.check(&mut below),
        Body::DataCollected(body) => body.check(envelope.and_then(|envelope| envelope.window), &mut below),
        Body::RecipientRegistered(body) => body.check(&mut below),
        Body::TransferMechanismRegistered(body) => body.check(&mut below),
        Body::PolicyPublished(body) => body.check(&mut below),
        Body::RetentionRulePublished(body) => body.check(&mut below),
        Body::IdentityErased(body) => body.check(&mut below),
        Body::LogContinued(body) => body.check(&mut below),
        Body::JobRan(body) => body.check(&mut below),
        Body::ExportProduced(body) => body.check(&mut below),
        Body::EventsRetracted(body) => body.check(&mut below),
        _ => {}
    }
}

fn check_times(envelope: &Envelope, report: Report<'_>) {
    if let Some(window) = envelope.window {
        if window.from > window.to {
            report("window.from", "is after `to`");
        }
        if window.to != envelope.occurred_at {
            report("occurred_at", "is not the end of the window");
        }
    }
    if envelope.count == Some(0) {
        report("count", "is zero");
    }
}

fn check_people(event_type: EventType, people: &[Person], report: Report<'_>) {
    let subjects = count(people, Role::DataSubject);
    match event_type.about() {
        About::Person if subjects == 0 => {
            report("people", "names no data subject, and this event is about one")
        }
        About::Nobody if subjects > 0 => {
            report("people", "names a data subject, and this event is about none")
        }
        _ => {}
    }
    if is_about_two(event_type) && subjects != 2 && subjects != 0 {
        report("people", "does not name two data subjects, one for each side");
    }
    if needs_staff(event_type) && count(people, Role::Staff) == 0 {
        report("people", "names no staff: somebody has to answer for this");
    }
}

fn count(people: &[Person], role: Role) -> usize {
    people.iter().filter(|person| person.role == role).count()
}

/// A thing made for one person is named in the index block, one made for many or for nobody in the
/// header (`domain.md` 2.1).
fn check_names(body: &Body, personal: bool, report: Report<'_>) {
    let Some([many, one]) = names(body) else { return };
    let (right, wrong) = if personal { (one, many) } else { (many, one) };
    if !right.1 {
        report(right.0, "is required");
    }
    if wrong.1 {
        report(
            wrong.0,
            "may not be stated: the name in the index block goes with a data subject, that in the header without",
        );
    }
}

/// The header's and the index block's name of what an event is about, and whether each is set.
fn names(body: &Body) -> Option<[(&'static str, bool); 2]> {
    macro_rules! both {
        ($body:ident, $many:ident, $one:ident) => {
            Some([(stringify!($many), $body.$many.is_some()), (stringify!($one), $body.$one.is_some())])
        };
    }
    match body {
        Body::LegalHoldPlaced(body) => both!(body, hold_id, hold_ref),
        Body::LegalHoldReleased(body) => both!(body, hold_id, hold_ref),
        Body::AuthorityDeletionOrdered(body) => both!(body, order_id, order_ref),
        Body::ErasurePlanned(body) => both!(body, plan_id, plan_ref),
        Body::PlanApproved(body) => both!(body, plan_id, plan_ref),
        Body::PlanRejected(body) => both!(body, plan_id, plan_ref),
        Body::FindingAcknowledged(body) => both!(body, key, finding_key),
        Body::FindingClosed(body) => both!(body, key, finding_key),
        Body::FindingReopened(body) => both!(body, key, finding_key),
        Body::ExportProduced(body) => both!(body, export_id, export_ref),
        Body::ContentDisclosed(body) => both!(body, export_id, export_ref),
        _ => None,
    }
}

impl DataCollected {
    pub fn check(&self, window: Option<Window>, report: Report<'_>) {
        let daily = self.record_kind.as_ref().is_some_and(|kind| DAY_SLOTTED.contains(&kind.as_str()));
        if daily && self.slot.is_some() {
            report("slot", "may not be stated: for this kind of record it is the local day");
        }
        let long = window.is_some_and(|window| window.to.since(window.from) > limits::DAY_WINDOW_MS);
        if daily && long {
            report("record_kind", "has a slot per day, and the event's window is longer than 24 hours");
        }
    }
}

fn is_about_two(event_type: EventType) -> bool {
    matches!(
        event_type,
        EventType::IdentifierLinked
            | EventType::IdentifierUnlinked
            | EventType::SubjectsMerged
            | EventType::SubjectsSplit
    )
}

fn needs_staff(event_type: EventType) -> bool {
    matches!(
        event_type,
        EventType::SubjectsMerged
            | EventType::SubjectsSplit
            | EventType::StaffAccessed
            | EventType::RetentionRuleAnnulled
            | EventType::PlanApproved
            | EventType::PlanRejected
    )
}

/// Reports `field` where both ends are stated and the first is after the last.
fn ordered<T: PartialOrd>(first: &Option<T>, last: &Option<T>, field: &str, report: Report<'_>) {
    if let (Some(first), Some(last)) = (first, last)
        && first > last
    {
        report(field, "is before the beginning");
    }
}

impl IdentifierLinked {
    pub fn check(&self, report: Report<'_>) {
        ordered(&self.from, &self.to, "to", report);
    }
}

impl IdentifierUnlinked {
    pub fn check(&self, report: Report<'_>) {
        ordered(&self.from, &self.to, "to", report);
    }
}

impl RecipientRegistered {
    pub fn check(&self, report: Report<'_>) {
        let day = |date: &Option<LocalDate>| date.as_ref().map(|date| date.date);
        ordered(&day(&self.contract_from), &day(&self.contract_to), "contract_to", report);
    }
}

impl TransferMechanismRegistered {
    pub fn check(&self, report: Report<'_>) {
        if self.module.is_some_and(|module| !(1..=4).contains(&module)) {
            report("module", "is not 1 to 4");
        }
        let day = |date: &Option<LocalDate>| date.as_ref().map(|date| date.date);
        ordered(&day(&self.effective_at), &day(&self.expires_at), "expires_at", report);
        if let Some(filing) = &self.filing {
            ordered(&filing.filed_at, &filing.accepted_at, "filing.accepted_at", report);
        }
    }
}

impl PolicyPublished {
    pub fn check(&self, report: Report<'_>) {
        if repeats(self.locales.iter().map(|text| &text.locale)) {
            report("locales", "names a locale twice");
        }
        if repeats(self.declared.iter().map(|declared| &declared.purpose)) {
            report("declared", "names a purpose twice");
        }
    }
}

fn repeats<'a>(ids: impl Iterator<Item = &'a Id>) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    !ids.into_iter().all(|id| seen.insert(id))
}

impl RetentionRulePublished {
    pub fn check(&self, report: Report<'_>) {
        if let Some(rule) = &self.rule {
            rule.check(&mut |field, why| report(&format!("rule.{field}"), why));
        }
    }
}

impl RetentionRule {
    /// The shape of a rule (`domain.md` 4.1).
    pub fn check(&self, report: Report<'_>) {
        let purposes = self.matches.as_ref().is_some_and(|matches| !matches.purposes.is_empty());
        if self.kind == RuleKind::Keep && !purposes {
            report("matches.purposes", "is required: a keep rule says for which purposes");
        }
        if self.anchor != Anchor::PurposeEnded && !self.causes.is_empty() {
            report("causes", "may only be stated where the period runs from the purpose's end");
        }
        if self.kind != RuleKind::Keep && self.anchor == Anchor::PurposeEnded {
            report("anchor", "is the end of a purpose, from which only keep rules run");
        }
        if self.kind != RuleKind::Floor && self.law_of.is_some() {
            report("law_of", "may only be stated of a floor");
        }
        if self.from.zip(self.to).is_some_and(|(from, to)| from >= to) {
            report("to", "is not after `from`");
        }
        if self.replaces.as_ref() == Some(&self.id) {
            report("replaces", "is the rule itself");
        }
    }
}

impl IdentityErased {
    pub fn check(&self, report: Report<'_>) {
        if self.transfer_tallies.len() + self.finding_tallies.len() > limits::LIST {
            report("finding_tallies", "has more than 64 values together with `transfer_tallies`");
        }
    }
}

impl LogContinued {
    pub fn check(&self, report: Report<'_>) {
        ordered(&self.missing_from, &self.missing_to, "missing_to", report);
    }
}

impl JobRan {
    pub fn check(&self, report: Report<'_>) {
        ordered(&self.started_at, &self.ended_at, "ended_at", report);
    }
}

impl ExportProduced {
    pub fn check(&self, report: Report<'_>) {
        ordered(&self.from_position, &self.to_position, "to_position", report);
    }
}

impl EventsRetracted {
    pub fn check(&self, report: Report<'_>) {
        if self.event_ids.is_empty() && self.recorded_window.is_none() {
            report("event_ids", "is required, or else `recorded_window`");
        }
        if let Some(window) = self.recorded_window
            && window.from > window.to
        {
            report("recorded_window.from", "is after `to`");
        }
        let count = |ids: &List<EventId, { limits::RETRACTED }>| ids.len();
        if count(&self.event_ids) + count(&self.replacement_ids) > RETRACTION_IDS {
            report("replacement_ids", "has more than 1500 values together with `event_ids`");
        }
    }
}
