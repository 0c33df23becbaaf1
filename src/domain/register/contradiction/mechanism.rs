//! Mechanisms against the adopted law and against the registration of their importer (GDPR 44-49; SCC 2021/914;
//! PIPL 38).

use super::{Contradiction, Reason, Subject};
use crate::domain::event::catalogue::TransferMechanismRegistered;
use crate::domain::event::{Body, RegisterKind};
use crate::domain::id::Country;
use crate::domain::register::{Act, Version};

pub(super) fn check(subject: &Subject<'_>, found: &mut Vec<Contradiction>) {
    let Body::TransferMechanismRegistered(body) = subject.new.body else { return };
    law(subject, body, found);
    country(subject, body, found);
}

fn law(subject: &Subject<'_>, body: &TransferMechanismRegistered, found: &mut Vec<Contradiction>) {
    let Some(stated) = &body.kind else { return };
    let name = format!("{} {}", subject.law.name(), subject.law.version());
    let of = (RegisterKind::Law, name.as_str());
    let Some(kind) = subject.law.mechanism(stated.as_str()) else {
        found.push(subject.at("kind", Reason::UnknownMechanismKind, of, None));
        return;
    };
    if body.regime.is_some_and(|regime| regime != kind.regime) {
        found.push(subject.at("regime", Reason::OtherRegime, of, None));
    }
    match body.module {
        None if kind.modules => found.push(subject.at("module", Reason::ModuleMissing, of, None)),
        Some(_) if !kind.modules => found.push(subject.at("module", Reason::ModuleGiven, of, None)),
        _ => {}
    }
}

/// The importer sits where it is registered: as a recipient or as another company of the group.
fn country(subject: &Subject<'_>, body: &TransferMechanismRegistered, found: &mut Vec<Contradiction>) {
    let (Some(importer), Some(stated)) = (&body.importer, body.importer_country) else { return };
    let mut other = None;
    for kind in [RegisterKind::Recipient, RegisterKind::Controller] {
        let versions = subject.known.versions(kind, importer.as_str());
        match versions.into_iter().rfind(|version| version.act() == Act::Registers) {
            Some(version) if registered_in(version) == Some(stated) => return,
            Some(version) => other = other.or(Some((kind, version))),
            None => {}
        }
    }
    if let Some((kind, version)) = other {
        let of = (kind, importer.as_str());
        found.push(subject.at("importer_country", Reason::OtherCountry, of, Some(version)));
    }
}

fn registered_in(version: &Version) -> Option<Country> {
    match &version.body {
        Body::RecipientRegistered(body) => body.country,
        Body::ControllerRegistered(body) => body.country,
        _ => None,
    }
}
