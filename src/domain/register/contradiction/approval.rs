//! Who has to approve what: a shorter retention period somebody else than its publisher, an annulment never its
//! publisher (`domain.md` 2.2).

use super::{Contradiction, Reason, Subject, shortening};
use crate::domain::event::{Body, Person, Role};
use crate::domain::id::Id;

pub(super) fn check(subject: &Subject<'_>, found: &mut Vec<Contradiction>) {
    let needed = match subject.new.body {
        Body::RetentionRuleAnnulled(_) => true,
        _ => shortening::of(subject).is_some(),
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
