//! Terms with their labels, and times, as answers show them.

use std::collections::BTreeSet;

use crate::api::convert::Value;
use crate::domain::event::{Closed, Source};
use crate::domain::id::{Country, Id};
use crate::domain::time::Timestamp;
use crate::domain::vocabulary::{self, Kind};
use crate::pb;
use crate::views::person::Tally;
use crate::views::report::Origin;

/// A term with its labels in both languages; one that no vocabulary knows is its own label.
pub fn term(kind: Kind, id: &str) -> pb::Term {
    match vocabulary::term(kind, id) {
        Some(known) => pb::Term {
            id: id.to_string(),
            label_en: known.en.clone(),
            label_zh: known.zh.clone(),
            known: true,
        },
        None => {
            pb::Term { id: id.to_string(), label_en: id.to_string(), label_zh: id.to_string(), known: false }
        }
    }
}

pub fn terms<'a>(kind: Kind, ids: impl IntoIterator<Item = &'a Id>) -> Vec<pb::Term> {
    ids.into_iter().map(|id| term(kind, id.as_str())).collect()
}

pub fn maybe(id: &Option<Id>) -> String {
    id.as_ref().map(Id::to_string).unwrap_or_default()
}

pub fn country(country: &Option<Country>) -> String {
    country.map(|country| country.to_string()).unwrap_or_default()
}

pub fn countries(countries: &BTreeSet<Country>) -> Vec<String> {
    countries.iter().map(Country::to_string).collect()
}

pub fn time(at: Timestamp) -> Option<prost_types::Timestamp> {
    Some(Value::write(&at))
}

pub fn span(tally: &Tally) -> Option<pb::Span> {
    Some(pb::Span { first: time(tally.first), last: time(tally.last), count: tally.count })
}

pub fn number<T: Closed>(value: Option<T>) -> i32 {
    value.map_or(0, Closed::number)
}

pub fn sources(sources: &BTreeSet<Source>) -> Vec<i32> {
    sources.iter().map(|source| source.number()).collect()
}

pub fn origin(origin: &Origin) -> pb::Origin {
    match origin {
        Origin::Stated => pb::Origin { provenance: pb::Provenance::Stated.into(), ..Default::default() },
        Origin::Register { activity, revision } => pb::Origin {
            provenance: pb::Provenance::Register.into(),
            activity: activity.to_string(),
            revision: *revision,
        },
        Origin::Unmapped => pb::Origin::default(),
    }
}

/// Of several origins the one that needs most explaining: a register before a statement.
pub fn origins<'a>(several: impl IntoIterator<Item = &'a Origin>) -> Option<pb::Origin> {
    several.into_iter().max().map(origin)
}
