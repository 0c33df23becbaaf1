//! Who has to approve what: a shorter retention period somebody else than its publisher, an annulment never its
//! publisher (`domain.md` 2.2).

use super::{Contradiction, Reason, Subject};
use crate::domain::event::{Body, Period, PeriodUnit, Person, RegisterKind, RetentionRule, Role};
use crate::domain::id::Id;
use crate::domain::register::Act;

pub(super) fn check(subject: &Subject<'_>, found: &mut Vec<Contradiction>) {
    let needed = match subject.new.body {
        Body::RetentionRuleAnnulled(_) => true,
        Body::RetentionRulePublished(body) => body.rule.as_ref().is_some_and(|rule| shortens(subject, rule)),
        _ => false,
    };
    if !needed {
        return;
    }
    let reason = match approvers(subject) {
        (0, _) => Reason::ApproverMissing,
        (_, 0) => Reason::ApproverIsPublisher,
        _ => return,
    };
    let mut refused = subject.own("", reason, None);
    refused.field = "people".to_owned();
    found.push(refused);
}

/// How many staff are named, and how many of them are not the publisher.
fn approvers(subject: &Subject<'_>) -> (usize, usize) {
    let new = subject.new;
    let actor = new.envelope.personal.actor_ref.as_ref().map(Id::as_str);
    let staff = || new.people.iter().filter(|person| person.role == Role::Staff);
    let is_publisher = |person: &Person| {
        person.identifiers.iter().any(|identifier| {
            let name = identifier.value.expose().as_str();
            name == new.publisher || Some(name) == actor
        })
    };
    (staff().count(), staff().filter(|person| !is_publisher(person)).count())
}

/// Whether a rule keeps data for less long than the version that it takes over from.
fn shortens(subject: &Subject<'_>, new: &RetentionRule) -> bool {
    let Some(replaced) = &new.replaces else { return false };
    let versions = subject.known.versions(RegisterKind::RetentionRule, replaced.as_str());
    let last = versions.iter().rfind(|version| version.act() == Act::Registers);
    match last.map(|version| &version.body) {
        Some(Body::RetentionRulePublished(body)) => {
            body.rule.as_ref().is_some_and(|old| days(new.period) < days(old.period))
        }
        _ => false,
    }
}

/// About how many days a period has: 400 years of the calendar have 146,097.
fn days(period: Period) -> u64 {
    let count = u64::from(period.count);
    match period.unit {
        PeriodUnit::Days => count,
        PeriodUnit::Months => count * 146_097 / 4_800,
        PeriodUnit::Years => count * 146_097 / 400,
    }
}
