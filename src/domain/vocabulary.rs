//! Terms with their meaning: what the open vocabularies know, and labels in both languages.
//!
//! Dated data in `vocabulary/*.toml`, read once. A term that is not here is not wrong: it is kept
//! and waits to be mapped. Look-ups never fail and never allocate.

pub mod near;

use std::collections::HashMap;
use std::sync::LazyLock;

use chrono::NaiveDate;
use serde::Deserialize;

use crate::domain::id::{Country, Regime};

/// Which list a term belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Category,
    Purpose,
    Basis,
    RecordKind,
    /// Of a recipient.
    Role,
    Country,
}

impl Kind {
    pub const ALL: [Kind; 6] =
        [Kind::Category, Kind::Purpose, Kind::Basis, Kind::RecordKind, Kind::Role, Kind::Country];
}

/// A language of labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Locale {
    En,
    Zh,
}

impl Locale {
    /// By a BCP 47 tag; English where it is not Chinese.
    pub fn of(tag: &str) -> Locale {
        let language = tag.split(['-', '_']).next().unwrap_or_default();
        if language.eq_ignore_ascii_case("zh") { Locale::Zh } else { Locale::En }
    }
}

/// How a category counts by default under the law of China (PIPL 28; GB/T 45574-2025).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    General,
    Sensitive,
}

/// A span of days: the first one, and the one from which it holds no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Days {
    pub from: Option<NaiveDate>,
    pub to: Option<NaiveDate>,
}

impl Days {
    pub fn contain(&self, day: NaiveDate) -> bool {
        self.from.is_none_or(|from| from <= day) && self.to.is_none_or(|to| day < to)
    }
}

/// One term of one list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Term {
    pub id: String,
    /// The broader term, whose declaration this one satisfies.
    pub parent: Option<String>,
    /// Terms of the Data Privacy Vocabulary 2.3; a category's own id is one.
    #[serde(default)]
    pub dpv: Vec<String>,
    /// Keys of fideslang 3.1.
    #[serde(default)]
    pub fideslang: Vec<String>,
    /// Of categories.
    pub level: Option<Level>,
    /// Article of the GDPR.
    pub gdpr: Option<String>,
    /// Article of the PIPL.
    pub pipl: Option<String>,
    /// Membership of the European Economic Area, of countries.
    pub eea: Option<Days>,
    /// First day on which the term means something.
    pub from: Option<NaiveDate>,
    /// Day from which it does not any more.
    pub to: Option<NaiveDate>,
    pub note: Option<String>,
    pub en: String,
    pub zh: String,
}

impl Term {
    pub fn label(&self, locale: Locale) -> &str {
        match locale {
            Locale::En => &self.en,
            Locale::Zh => &self.zh,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: String,
    term: Vec<Term>,
}

/// One list, by term.
struct List {
    version: String,
    terms: HashMap<String, Term>,
}

static LISTS: LazyLock<[List; 6]> = LazyLock::new(|| Kind::ALL.map(|kind| List::read(source(kind))));

fn source(kind: Kind) -> &'static str {
    match kind {
        Kind::Category => include_str!("vocabulary/categories.toml"),
        Kind::Purpose => include_str!("vocabulary/purposes.toml"),
        Kind::Basis => include_str!("vocabulary/bases.toml"),
        Kind::RecordKind => include_str!("vocabulary/record_kinds.toml"),
        Kind::Role => include_str!("vocabulary/roles.toml"),
        Kind::Country => include_str!("vocabulary/countries.toml"),
    }
}

impl List {
    fn read(text: &str) -> List {
        // The file is part of the program and a test reads every one of them.
        let file: File = toml::from_str(text).expect("an embedded vocabulary is well formed");
        let terms = file.term.into_iter().map(|term| (term.id.clone(), term)).collect();
        List { version: file.version, terms }
    }
}

fn list(kind: Kind) -> &'static List {
    &LISTS[kind as usize]
}

/// The version of a list.
pub fn version(kind: Kind) -> &'static str {
    &list(kind).version
}

/// What is known of a term.
pub fn term(kind: Kind, id: &str) -> Option<&'static Term> {
    list(kind).terms.get(id)
}

pub fn known(kind: Kind, id: &str) -> bool {
    term(kind, id).is_some()
}

/// All terms of a list, in order of their ids.
pub fn terms(kind: Kind) -> Vec<&'static Term> {
    let mut terms: Vec<_> = list(kind).terms.values().collect();
    terms.sort_by(|a, b| a.id.cmp(&b.id));
    terms
}

/// `None` for an unknown term, which is shown as it is.
pub fn label(kind: Kind, id: &str, locale: Locale) -> Option<&'static str> {
    term(kind, id).map(|term| term.label(locale))
}

/// The broader category.
pub fn parent(category: &str) -> Option<&'static str> {
    term(Kind::Category, category)?.parent.as_deref()
}

/// Whether a declaration of one category covers another: the same, or one that is narrower.
pub fn satisfies(category: &str, declared: &str) -> bool {
    // Known lists have no circles, which a test holds.
    category == declared || parent(category).is_some_and(|parent| satisfies(parent, declared))
}

/// The default level of a category; of an unknown one nothing is known.
pub fn level(category: &str) -> Option<Level> {
    term(Kind::Category, category)?.level
}

/// Whether a country belonged to the European Economic Area on a day.
pub fn in_eea(country: Country, day: NaiveDate) -> bool {
    term(Kind::Country, country.as_str()).and_then(|term| term.eea).is_some_and(|eea| eea.contain(day))
}

/// Whether a law is that of the EU, or of a country that belonged to the European Economic Area on a day.
pub fn is_european(regime: Regime, day: NaiveDate) -> bool {
    let country = || regime.as_str().parse::<Country>().ok();
    regime == Regime::EU || country().is_some_and(|country| in_eea(country, day))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{LegalBasis, RecipientRole};
    use crate::domain::id::Id;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn every_list_is_consistent() {
        for kind in Kind::ALL {
            let file: File = toml::from_str(source(kind)).unwrap();
            assert_eq!(file.term.len(), list(kind).terms.len(), "{kind:?} names a term twice");
            assert_eq!(file.version, version(kind));
            assert!(source(kind).contains("# Source: "), "{kind:?} says where it comes from");
            for term in &file.term {
                assert!(term.id.parse::<Id>().is_ok(), "{}", term.id);
                assert!(!term.en.is_empty() && term.en.is_ascii() || kind == Kind::Country, "{}", term.id);
                assert!(!term.zh.is_ascii(), "{} has a Chinese label", term.id);
                assert!(term.from.zip(term.to).is_none_or(|(from, to)| from < to), "{}", term.id);
                if let Some(parent) = &term.parent {
                    assert!(known(kind, parent), "{parent} of {}", term.id);
                }
            }
        }
    }

    #[test]
    fn no_category_is_its_own_ancestor() {
        for term in terms(Kind::Category) {
            let mut steps = 0;
            let mut at = term.id.as_str();
            while let Some(up) = parent(at) {
                (at, steps) = (up, steps + 1);
                assert!(steps < 10, "{}", term.id);
            }
            assert!(term.level.is_some() && !term.fideslang.is_empty(), "{}", term.id);
        }
    }

    #[test]
    fn a_child_satisfies_its_parent_and_not_the_other_way_round() {
        assert!(satisfies("x:imei", "pd:UID") && satisfies("x:imei", "pd:DeviceBased"));
        assert!(satisfies("x:own_term", "x:own_term"));
        assert!(!satisfies("pd:UID", "x:imei") && !satisfies("x:imei", "pd:Location"));
    }

    #[test]
    fn closed_terms_have_labels_and_bases_have_articles() {
        for basis in LegalBasis::ALL {
            let term = term(Kind::Basis, basis.as_str()).unwrap();
            assert!(term.gdpr.is_some() || term.pipl.is_some(), "{basis}");
            assert_eq!(term.gdpr.is_some(), !term.dpv.is_empty(), "{basis}");
        }
        assert_eq!(terms(Kind::Basis).len(), LegalBasis::ALL.len());
        for role in RecipientRole::ALL {
            assert!(known(Kind::Role, role.as_str()), "{role}");
        }
        assert_eq!(label(Kind::Purpose, "payment", Locale::of("zh-CN")), Some("支付"));
        assert_eq!(label(Kind::Purpose, "payment", Locale::of("en")), Some("Payment"));
        assert_eq!(label(Kind::Purpose, "stargazing", Locale::En), None);
    }

    #[test]
    fn countries_are_those_of_the_id_check_and_eea_membership_has_dates() {
        let terms = terms(Kind::Country);
        assert_eq!(terms.len(), 249);
        assert!(terms.iter().all(|term| term.id.parse::<Country>().is_ok()));
        let on = |day: NaiveDate| terms.iter().filter(|term| in_eea(term.id.parse().unwrap(), day)).count();
        assert_eq!((on(day("2020-12-31")), on(day("2021-01-01")), on(day("2013-06-30"))), (31, 30, 30));
        assert!(!in_eea("CN".parse().unwrap(), day("2026-01-01")));
    }
}
