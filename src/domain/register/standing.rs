//! How an entry stands at an instant.

use crate::domain::event::catalogue::TransferMechanismRegistered;
use crate::domain::event::{Body, RegisterState};
use crate::domain::id::Id;
use crate::domain::register::book::Version;
use crate::domain::register::{Act, expires};
use crate::domain::time::Timestamp;
use crate::domain::transfer::mechanism::{self, Mechanism, Period};

/// An entry at an instant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing<'a> {
    pub state: RegisterState,
    /// The version that is in force, or was last; of an entry that is only announced the first.
    pub version: &'a Version,
    /// What stopped it, where something did.
    pub stopped_by: Option<&'a Version>,
}

/// How an entry stands by the versions that count, which are sorted by when they count from. `None` where none
/// of them registers it. That another rule takes over from a rule is told by `replaced`.
pub fn standing<'a>(versions: &[&'a Version], as_of: Timestamp) -> Option<Standing<'a>> {
    let first = versions.iter().find(|version| version.act() == Act::Registers)?;
    if let Body::TransferMechanismRegistered(body) = &first.body {
        return body.mechanism_id.as_ref().and_then(|id| of_mechanism(id, versions, as_of));
    }
    let begun = |version: &&&Version| version.from <= as_of;
    let current =
        versions.iter().rposition(|version| version.act() == Act::Registers && version.from <= as_of);
    let Some(current) = current else {
        let annulled = versions.iter().find(|version| version.act() == Act::Annuls);
        let state = if annulled.is_some() { RegisterState::Annulled } else { RegisterState::Announced };
        return Some(Standing { state, version: first, stopped_by: annulled.copied() });
    };
    let version = versions[current];
    // What was annulled counts as never in force, whenever that was said.
    if let Some(annulled) = versions.iter().find(|version| version.act() == Act::Annuls) {
        return Some(Standing { state: RegisterState::Annulled, version, stopped_by: Some(annulled) });
    }
    let stop = versions[current..].iter().filter(begun).rfind(|version| version.act().stops());
    let state = match stop.map(|stop| stop.act()) {
        Some(Act::Suspends) => RegisterState::Suspended,
        Some(_) => RegisterState::Ended,
        None if expires(&version.body).is_some_and(|end| end <= as_of) => RegisterState::Expired,
        None => RegisterState::InForce,
    };
    Some(Standing { state, version, stopped_by: stop.copied() })
}

/// By the same rules by which transfers are judged.
fn of_mechanism<'a>(id: &Id, versions: &[&'a Version], as_of: Timestamp) -> Option<Standing<'a>> {
    let registered: Vec<(&'a Version, &'a TransferMechanismRegistered)> = versions
        .iter()
        .filter_map(|version| match &version.body {
            Body::TransferMechanismRegistered(body) => Some((*version, &**body)),
            _ => None,
        })
        .collect();
    // Positions of those that are about to be recorded are all the same, so versions go by their place.
    let stated: Vec<mechanism::Version<'_>> = registered
        .iter()
        .enumerate()
        .map(|(n, (version, body))| mechanism::Version { at: version.at, position: n as u64, body })
        .collect();
    let stops: Vec<&Version> = versions.iter().copied().filter(|version| version.act().stops()).collect();
    let instants: Vec<Timestamp> = stops.iter().map(|stop| stop.at).collect();
    let whole = Mechanism::of(id, &stated, &instants)?;
    let of = |period: &Period| registered.get(period.position as usize).map(|(version, _)| *version);
    if let Some(version) = whole.at(as_of).and_then(of) {
        return Some(Standing { state: RegisterState::InForce, version, stopped_by: None });
    }
    let Some(period) = whole.before(as_of).last() else {
        // Of a version that was stopped before it began no period is left.
        let version = registered.first()?.0;
        let stop = stops.iter().rfind(|stop| stop.at <= as_of && stop.at >= version.at).copied();
        let state = stop.map_or(RegisterState::Announced, stopped);
        return Some(Standing { state, version, stopped_by: stop });
    };
    let version = of(period)?;
    // A later end counts more than the suspension before it.
    let stop = stops.iter().rfind(|stop| stop.at <= as_of && stop.at >= version.at).copied();
    let state = stop.map_or(RegisterState::Expired, stopped);
    Some(Standing { state, version, stopped_by: stop })
}

fn stopped(stop: &Version) -> RegisterState {
    if stop.act() == Act::Suspends { RegisterState::Suspended } else { RegisterState::Ended }
}

/// From when on another rule takes over from one: the first day of the earliest rule that names it and was not
/// annulled. `all` are the retention rules with the versions that count.
pub fn replaced<'a>(all: &[(&'a str, Vec<&'a Version>)], rule: &str) -> Option<Timestamp> {
    let rules =
        all.iter().filter(|(_, versions)| !versions.iter().any(|version| version.act() == Act::Annuls));
    let takes_over = |version: &&'a Version| match &version.body {
        Body::RetentionRulePublished(body) => {
            let replaces = body.rule.as_ref().and_then(|rule| rule.replaces.as_ref());
            replaces.is_some_and(|replaced| replaced.as_str() == rule)
        }
        _ => false,
    };
    rules
        .flat_map(|(_, versions)| versions.iter().copied())
        .filter(takes_over)
        .map(|version| version.from)
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::catalogue::*;
    use crate::domain::event::*;
    use crate::domain::id::EventId;
    use crate::domain::time::LocalDate;

    fn day(n: i64) -> Timestamp {
        "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap().plus_ms(n * 86_400_000)
    }

    fn said(position: u64, at: i64, body: Body) -> Version {
        let id = EventId(uuid::Uuid::from_u128(1));
        let envelope = Envelope::new(id, "kstar".parse().unwrap(), "desk".parse().unwrap(), day(at));
        Version::new(position, day(at), envelope, body)
    }

    /// The state and the position of the version at an instant.
    fn at(versions: &[Version], as_of: i64) -> Option<(RegisterState, u64)> {
        let mut sorted: Vec<&Version> = versions.iter().collect();
        sorted.sort_by_key(|version| (version.from, version.position));
        standing(&sorted, day(as_of)).map(|found| (found.state, found.version.position))
    }

    fn clauses(signed: i64, last: Option<&str>) -> Body {
        let last = last.map(|day| LocalDate { date: day.parse().unwrap(), tz: chrono_tz::UTC });
        Body::TransferMechanismRegistered(Box::new(TransferMechanismRegistered {
            mechanism_id: "scc-1".parse().ok(),
            regime: Some(TransferRegime::Eu),
            kind: "A46-2-c".parse().ok(),
            exporter: "kstar".parse().ok(),
            importer: "hq".parse().ok(),
            importer_country: "CN".parse().ok(),
            signed_at: Some(day(signed)),
            expires_at: last,
            ..Default::default()
        }))
    }

    #[test]
    fn a_mechanism_stands_as_transfers_are_judged() {
        let (id, reason) = ("scc-1".parse().ok(), "audit".parse().ok());
        let suspended = TransferMechanismSuspended { mechanism_id: id.clone(), reason };
        let ended = TransferMechanismEnded { mechanism_id: id, reason: None };
        let all = [
            said(0, 1, clauses(5, Some("2026-01-31"))),
            said(1, 10, Body::TransferMechanismSuspended(Box::new(suspended))),
            said(2, 15, clauses(15, Some("2026-01-31"))),
            said(3, 20, Body::TransferMechanismEnded(Box::new(ended))),
        ];
        let states = |known: usize| [3, 7, 12, 17, 22, 40].map(|as_of| at(&all[..known], as_of).unwrap());
        use RegisterState::{Announced, Ended, Expired, InForce, Suspended};
        let first = [(Announced, 0), (InForce, 0), (InForce, 0), (InForce, 0), (InForce, 0), (Expired, 0)];
        assert_eq!(states(1), first);
        let then = [(Announced, 0), (InForce, 0), (Suspended, 0), (InForce, 2), (Ended, 2), (Ended, 2)];
        assert_eq!(states(4), then);
        assert_eq!(at(&all[1..2], 12), None, "what is only suspended is not registered");
    }

    #[test]
    fn an_end_counts_from_its_instant_and_an_annulment_always() {
        let activity = |from: i64| {
            Body::ActivityRegistered(Box::new(ActivityRegistered {
                activity: "photo".parse().ok(),
                effective_at: Some(day(from)),
                ..Default::default()
            }))
        };
        let ended =
            ActivityEnded { activity: "photo".parse().ok(), effective_at: Some(day(20)), reason: None };
        let all = [
            said(0, 9, activity(5)),
            said(1, 10, Body::ActivityEnded(Box::new(ended))),
            said(2, 11, activity(30)),
        ];
        use RegisterState::{Announced, Annulled, Ended, InForce};
        let told = [4, 5, 19, 20, 29, 30].map(|as_of| at(&all, as_of).unwrap());
        assert_eq!(told, [(Announced, 0), (InForce, 0), (InForce, 0), (Ended, 0), (Ended, 0), (InForce, 2)]);
        let rule = |from: &str| {
            let json = format!(
                r#"{{"rule":{{"id":"r","kind":"cap","anchor":"collected","period":"P1Y","tz":"UTC","from":"{from}"}}}}"#
            );
            Body::from_json(EventType::RetentionRulePublished, &json).unwrap()
        };
        let annulled =
            RetentionRuleAnnulled { rule: "r".parse().ok(), version: None, reason: "slip".parse().ok() };
        let all =
            [said(0, 1, rule("2026-02-01")), said(1, 60, Body::RetentionRuleAnnulled(Box::new(annulled)))];
        assert_eq!((at(&all[..1], 10), at(&all[..1], 40)), (Some((Announced, 0)), Some((InForce, 0))));
        assert_eq!((at(&all, 10), at(&all, 40)), (Some((Annulled, 0)), Some((Annulled, 0))));
    }
}
