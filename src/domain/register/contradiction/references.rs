//! What a change names has to be registered, and may not have ended when the change begins to count.

use super::{Contradiction, Reason, Subject};
use crate::domain::event::{Body, RegisterKind};
use crate::domain::id::Id;
use crate::domain::law;
use crate::domain::register::{Act, Version};
use crate::domain::time::Timestamp;

pub(super) fn check(subject: &Subject<'_>, found: &mut Vec<Contradiction>) {
    use RegisterKind::{Controller, Policy, Recipient, RetentionRule, Service};
    match subject.new.body {
        Body::ServiceRegistered(body) => name(subject, "owner", &[Controller], body.owner.as_ref(), found),
        Body::ActivityRegistered(body) => {
            name(subject, "service", &[Service], body.service.as_ref(), found);
            for (n, recipient) in body.recipients.iter().enumerate() {
                name(subject, &format!("recipients[{n}]"), &[Recipient], Some(recipient), found);
            }
        }
        Body::PolicyPublished(body) => {
            name(subject, "service", &[Service], body.service.as_ref(), found);
            name(subject, "overrides", &[Policy], body.overrides.as_ref(), found);
        }
        Body::TransferMechanismRegistered(body) => {
            name(subject, "exporter", &[Controller], body.exporter.as_ref(), found);
            // Another company of the group imports as well as a stranger does (EDPB 05/2021).
            name(subject, "importer", &[Recipient, Controller], body.importer.as_ref(), found);
        }
        Body::RetentionRulePublished(body) => {
            let replaces = body.rule.as_ref().and_then(|rule| rule.replaces.as_ref());
            // Also one that was annulled can be taken over from (`domain.md` 4.2, step 1).
            let unknown =
                replaces.filter(|rule| standing(subject, RetentionRule, rule, subject.from).is_none());
            if let Some(rule) = unknown {
                let of = (RetentionRule, rule.as_str());
                found.push(subject.at("rule.replaces", Reason::Unknown, of, None));
            }
        }
        Body::LawDataActivated(body) => {
            let document = body.sha256.as_ref().and_then(law::by_hash).filter(|law| {
                body.name.as_ref() == Some(law.name()) && body.version.as_ref() == Some(law.version())
            });
            if document.is_none() {
                found.push(subject.own("sha256", Reason::UnknownLaw, None));
            }
        }
        Body::MappingAdded(body) if body.term == body.maps_to => {
            found.push(subject.own("maps_to", Reason::MapsToItself, None));
        }
        _ => {}
    }
}

/// Looks a name up in the registers in which it may stand.
fn name(
    subject: &Subject<'_>,
    field: &str,
    kinds: &[RegisterKind],
    id: Option<&Id>,
    found: &mut Vec<Contradiction>,
) {
    let (Some(id), Some(first)) = (id, kinds.first()) else { return };
    let known: Vec<_> =
        kinds.iter().filter_map(|kind| Some((*kind, standing(subject, *kind, id, subject.from)?))).collect();
    if known.iter().any(|(_, ended)| ended.is_none()) {
        return;
    }
    let (reason, kind, by) = match known.first() {
        Some((kind, ended)) => (Reason::Ended, *kind, *ended),
        None => (Reason::Unknown, *first, None),
    };
    found.push(subject.at(field, reason, (kind, id.as_str()), by));
}

/// Whether something is registered, and what had ended it by an instant.
fn standing<'a>(
    subject: &Subject<'a>,
    kind: RegisterKind,
    id: &Id,
    at: Timestamp,
) -> Option<Option<&'a Version>> {
    let versions = subject.known.versions(kind, id.as_str());
    versions.iter().find(|version| version.act() == Act::Registers)?;
    // What counts from the beginning of time is judged by how things stand in the end.
    let by = |version: &&&Version| at == Timestamp::FIRST || version.from <= at;
    let last = versions.iter().filter(by).rfind(|version| version.act() != Act::Adds);
    Some(last.copied().filter(|last| last.act() == Act::Ends))
}
