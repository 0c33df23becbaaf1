//! Versions of one entry against each other: a version said twice and differently, two in force at once, an
//! entry of another controller, the end of what is not there.

use super::{Contradiction, Reason, Subject};
use crate::domain::event::{Body, RegisterKind, RetentionRule};
use crate::domain::id::Id;
use crate::domain::register::diff::changes;
use crate::domain::register::{Act, Version};
use crate::domain::time::{Timestamp, midnight};

pub(super) fn check(subject: &Subject<'_>, found: &mut Vec<Contradiction>) {
    other_controller(subject, found);
    if subject.act == Act::Registers {
        match subject.new.body {
            Body::PolicyPublished(body) => policy(subject, body.version.as_ref(), found),
            Body::RetentionRulePublished(body) => {
                if let Some(new) = &body.rule {
                    rule(subject, new, found);
                }
            }
            _ => {}
        }
    } else {
        end(subject, found);
    }
}

/// One id names one thing of one controller. Laws, mappings and assessments are of the whole house.
fn other_controller(subject: &Subject<'_>, found: &mut Vec<Contradiction>) {
    let of_the_house = [RegisterKind::Law, RegisterKind::Mapping, RegisterKind::Assessment];
    let controller = &subject.new.envelope.controller;
    let other = subject.versions.iter().find(|version| version.envelope.controller != *controller);
    if let Some(other) = other.filter(|_| !of_the_house.contains(&subject.kind)) {
        found.push(subject.own(subject.name_field(), Reason::OtherController, Some(other)));
    }
}

/// Each version of a policy has one text and begins at an instant of its own.
fn policy(subject: &Subject<'_>, version: Option<&Id>, found: &mut Vec<Contradiction>) {
    for known in subject.registered() {
        let Body::PolicyPublished(body) = &known.body else { continue };
        if body.version.as_ref() == version {
            if !says_the_same(subject, known) {
                found.push(subject.own("version", Reason::VersionRepeated, Some(known)));
            }
        } else if known.from == subject.from {
            found.push(subject.own("effective_at", Reason::VersionsOverlap, Some(known)));
        }
    }
}

/// The id of a rule is that of one version, which says one thing. It begins after the version that it takes over
/// from, and no other takes over from that one at the same time.
fn rule(subject: &Subject<'_>, new: &RetentionRule, found: &mut Vec<Contradiction>) {
    if let Some(known) = subject.registered().find(|known| !says_the_same(subject, known)) {
        found.push(subject.own("rule.id", Reason::VersionRepeated, Some(known)));
    }
    let Some(replaced) = &new.replaces else { return };
    let overlaps = |other: &Version| {
        let Body::RetentionRulePublished(body) = &other.body else { return false };
        let Some(rule) = &body.rule else { return false };
        let begins_too_early = rule.id == *replaced && subject.from <= other.from;
        let both = rule.id != new.id && rule.replaces.as_ref() == Some(replaced);
        begins_too_early || both && meet((subject.from, until(new)), (other.from, until(rule)))
    };
    for (id, versions) in subject.known.of(RegisterKind::RetentionRule) {
        let annulled = versions.iter().any(|version| version.act() == Act::Annuls);
        let other = versions.iter().copied().find(|version| overlaps(version));
        if let Some(other) = other.filter(|_| !annulled) {
            let of = (RegisterKind::RetentionRule, id);
            found.push(subject.at("rule.from", Reason::VersionsOverlap, of, Some(other)));
        }
    }
}

fn until(rule: &RetentionRule) -> Timestamp {
    rule.to.map_or(Timestamp::LAST, |day| midnight(day, chrono_tz::UTC))
}

/// Whether two spans have an instant in common.
fn meet(a: (Timestamp, Timestamp), b: (Timestamp, Timestamp)) -> bool {
    a.0 < b.1 && b.0 < a.1
}

fn says_the_same(subject: &Subject<'_>, known: &Version) -> bool {
    let mut again = known.clone();
    again.body = subject.new.body.clone();
    changes(&again, &[known]).is_empty()
}

/// What is changed or ended is there, and has not ended before.
fn end(subject: &Subject<'_>, found: &mut Vec<Contradiction>) {
    let field = subject.name_field();
    if subject.registered().next().is_none() {
        found.push(subject.own(field, Reason::NotRegistered, None));
        return;
    }
    // Whatever was said last counts; a registration after an end begins anew.
    let mut in_order = subject.versions.clone();
    in_order.sort_by_key(|version| version.position);
    let last = in_order.into_iter().rfind(|version| version.act() != Act::Adds);
    // What is suspended can be suspended again, and ended.
    let over = last.filter(|last| matches!(last.act(), Act::Ends | Act::Annuls) && subject.act != Act::Adds);
    if let Some(over) = over {
        found.push(subject.own(field, Reason::AlreadyEnded, Some(over)));
    }
}
