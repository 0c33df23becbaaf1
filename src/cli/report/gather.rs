//! A report's lines gathered for reading. The report itself tells apart whatever is decided about
//! separately: each day of telemetry, each revision of an activity. A person who reads wants one line for
//! what is one thing to them; `--json` prints the lines as they are.

use std::collections::BTreeMap;

use prost_types::Timestamp;

use crate::pb;

/// One category of one kind of record of one service, over all its slots.
#[derive(Debug, Default)]
pub struct Held {
    pub category: Option<pb::Term>,
    pub record_kind: Option<pb::Term>,
    pub service: String,
    pub slots: Vec<String>,
    pub stored_in: Vec<String>,
    pub regimes: Vec<String>,
    pub safeguards: Vec<pb::Safeguard>,
    pub purposes: Vec<pb::Term>,
    pub collected: pb::Span,
}

/// One purpose on one basis, over all activities that serve it.
#[derive(Debug, Default)]
pub struct Served {
    pub purpose: Option<pb::Term>,
    pub basis: Option<pb::Term>,
    pub services: Vec<String>,
    pub collected: pb::Span,
    pub used: pb::Span,
    /// `stated`, or the activities of the register.
    pub because: Vec<String>,
}

pub fn held(lines: &[pb::HeldCategory]) -> Vec<Held> {
    let mut all: BTreeMap<[String; 3], Held> = BTreeMap::new();
    for line in lines {
        let key = [line.service.clone(), id(&line.record_kind), id(&line.category)];
        let held = all.entry(key).or_insert_with(|| Held {
            category: line.category.clone(),
            record_kind: line.record_kind.clone(),
            service: line.service.clone(),
            ..Held::default()
        });
        unite(&mut held.slots, (!line.slot.is_empty()).then_some(&line.slot));
        unite(&mut held.stored_in, &line.storage_countries);
        unite(&mut held.regimes, &line.regimes);
        unite(&mut held.safeguards, &line.safeguards().collect::<Vec<_>>());
        unite(&mut held.purposes, &line.purposes);
        add(&mut held.collected, line.collected.as_ref());
    }
    all.into_values().collect()
}

pub fn served(lines: &[pb::PurposeUse]) -> Vec<Served> {
    let mut all: BTreeMap<[String; 2], Served> = BTreeMap::new();
    for line in lines {
        let key = [id(&line.purpose), id(&line.basis_term)];
        let served = all.entry(key).or_insert_with(|| Served {
            purpose: line.purpose.clone(),
            basis: line.basis_term.clone(),
            ..Served::default()
        });
        unite(&mut served.services, &line.services);
        add(&mut served.collected, line.collected.as_ref());
        add(&mut served.used, line.used.as_ref());
        let origin = line.origin.clone().unwrap_or_default();
        let because = match origin.provenance() {
            pb::Provenance::Stated => "stated".to_owned(),
            pb::Provenance::Register => origin.activity,
            pb::Provenance::Unspecified => String::new(),
        };
        unite(&mut served.because, (!because.is_empty()).then_some(&because));
    }
    all.into_values().collect()
}

/// Identifiers, each once: of a merged person and its sides the longest time counts.
pub fn identifiers(lines: &[pb::ReportedIdentifier]) -> Vec<pb::ReportedIdentifier> {
    let mut all: Vec<pb::ReportedIdentifier> = Vec::new();
    for line in lines {
        let same = |known: &&mut pb::ReportedIdentifier| {
            (known.kind, &known.realm, &known.value) == (line.kind, &line.realm, &line.value)
        };
        match all.iter_mut().find(same) {
            None => all.push(line.clone()),
            Some(known) => {
                if order(&line.from) < order(&known.from) {
                    known.from = line.from;
                }
                let still = known.to.is_none() || line.to.is_none();
                let last = if order(&line.to) > order(&known.to) { line.to } else { known.to };
                known.to = if still { None } else { last };
            }
        }
    }
    all.sort_by_key(|line| (line.kind, order(&line.from)));
    all
}

/// `26 days` where the slots are days, else what they are, else how many.
pub fn slots(slots: &[String]) -> String {
    let is_day = |slot: &String| {
        slot.len() == 10 && slot.bytes().enumerate().all(|(i, b)| matches!(i, 4 | 7) == (b == b'-'))
    };
    match slots {
        [] => String::new(),
        [one] => one.clone(),
        days if days.iter().all(is_day) => format!("{} days", days.len()),
        several => format!("{} of them", several.len()),
    }
}

fn id(term: &Option<pb::Term>) -> String {
    term.as_ref().map(|term| term.id.clone()).unwrap_or_default()
}

fn unite<'a, T: PartialEq + Clone + 'a>(all: &mut Vec<T>, more: impl IntoIterator<Item = &'a T>) {
    for one in more {
        if !all.contains(one) {
            all.push(one.clone());
        }
    }
}

fn add(all: &mut pb::Span, more: Option<&pb::Span>) {
    let Some(more) = more else { return };
    if all.count == 0 || order(&more.first) < order(&all.first) {
        all.first = more.first;
    }
    if order(&more.last) > order(&all.last) {
        all.last = more.last;
    }
    all.count += more.count;
}

fn order(at: &Option<Timestamp>) -> Option<(i64, i32)> {
    at.as_ref().map(|at| (at.seconds, at.nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(id: &str) -> Option<pb::Term> {
        Some(pb::Term { id: id.to_owned(), ..Default::default() })
    }

    fn span(first: i64, last: i64, count: u64) -> Option<pb::Span> {
        let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
        Some(pb::Span { first: at(first), last: at(last), count })
    }

    #[test]
    fn days_of_telemetry_become_one_line() {
        let day = |n: i64| pb::HeldCategory {
            service: "solar".to_owned(),
            category: term("pd:Telemetry"),
            record_kind: term("device_telemetry"),
            slot: format!("2026-10-{n:02}"),
            collected: span(n * 100, n * 100 + 9, 288),
            regimes: vec!["CN".to_owned()],
            purposes: term("service").into_iter().collect(),
            ..Default::default()
        };
        let other = pb::HeldCategory { category: term("pd:Email"), ..day(9) };
        let all = held(&[day(5), day(6), other, day(4)]);
        assert_eq!(all.len(), 2);
        let telemetry = &all[1];
        assert_eq!(
            (slots(&telemetry.slots), telemetry.collected),
            ("3 days".to_owned(), span(400, 609, 864).unwrap())
        );
        assert_eq!((telemetry.regimes.len(), telemetry.purposes.len()), (1, 1));
        assert_eq!(slots(&all[0].slots), "2026-10-09");
        assert_eq!(slots(&["a".to_owned(), "b".to_owned()]), "2 of them");
    }

    #[test]
    fn a_purpose_is_one_line_per_basis_and_says_what_it_follows_from() {
        let from = |activity: &str| {
            Some(pb::Origin {
                provenance: pb::Provenance::Register.into(),
                activity: activity.to_owned(),
                revision: 1,
            })
        };
        let line = |basis: &str, origin, used| pb::PurposeUse {
            purpose: term("security"),
            basis_term: term(basis),
            services: vec!["solar".to_owned()],
            used,
            origin,
            ..Default::default()
        };
        let stated = Some(pb::Origin { provenance: pb::Provenance::Stated.into(), ..Default::default() });
        let all = served(&[
            line("contract", from("run"), None),
            line("contract", stated, span(1, 5, 4)),
            line("consent", from("run"), None),
            line("contract", from("run"), span(0, 3, 1)),
        ]);
        assert_eq!(all.len(), 2);
        let contract = all.iter().find(|line| line.basis == term("contract")).unwrap();
        assert_eq!(
            (contract.because.join(" "), contract.used),
            ("run stated".to_owned(), span(0, 5, 5).unwrap())
        );
        assert_eq!(contract.services, ["solar"]);
    }

    #[test]
    fn an_identifier_of_both_sides_of_a_merge_is_one() {
        let at = |seconds: i64| Some(Timestamp { seconds, nanos: 0 });
        let line = |value: &str, from, to| pb::ReportedIdentifier {
            value: value.to_owned(),
            from: at(from),
            to,
            ..Default::default()
        };
        let all =
            identifiers(&[line("a", 5, at(9)), line("b", 1, None), line("a", 3, at(7)), line("b", 2, at(4))]);
        let found: Vec<_> = all.iter().map(|line| (line.value.as_str(), line.from, line.to)).collect();
        assert_eq!(found, [("b", at(1), None), ("a", at(3), at(9))]);
    }
}
