//! The law as data with dates: what allows a transfer, which numbers ask for what, from which age on
//! somebody consents alone, which days are worked in China.
//!
//! A document is identified by the hash of its exact bytes, which an event adopts (`LawDataActivated`); what
//! was judged under one can be judged again under it. This module promises that every entry has its article
//! and that nothing overlaps; it does not promise that the law is what the document says: what was not looked
//! up is marked so in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use chrono::{Datelike, NaiveDate, Weekday};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::domain::event::{AssessmentKind, LegalBasis, TransferRegime};
use crate::domain::id::{Country, Digest, Id, Regime};
use crate::domain::time::Timestamp;

/// What the project comes with, by version.
const SHIPPED: &[&str] = &[include_str!("law/2026-11.toml")];

/// One document.
#[derive(Debug, Clone, PartialEq)]
pub struct Law {
    text: Document,
    /// Word for word.
    source: String,
    sha256: Digest,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    name: Id,
    version: Id,
    effective: NaiveDate,
    #[serde(default)]
    adequacy: Vec<Adequacy>,
    #[serde(default)]
    mechanism: Vec<Kind>,
    #[serde(default)]
    exemption: Vec<Exemption>,
    #[serde(default)]
    cn_tier: Vec<Tier>,
    #[serde(default)]
    unknown_basis: Vec<UnknownBasis>,
    consent_age: ConsentAge,
    calendar: Calendar,
}

const fn yes() -> bool {
    true
}

/// A decision that a country protects data well enough (GDPR 45), in force in `[from, to)`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adequacy {
    pub country: Country,
    pub from: NaiveDate,
    pub to: Option<NaiveDate>,
    /// Only for importers of this kind, each of which needs a registered certificate.
    pub scope: Option<Id>,
    pub act: String,
    #[serde(default = "yes")]
    pub verified: bool,
}

/// A kind of transfer mechanism.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kind {
    pub id: Id,
    pub regime: TransferRegime,
    pub article: String,
    /// Assessments that must be there.
    #[serde(default)]
    pub needs: Vec<AssessmentKind>,
    /// Of GDPR 49: for occasional flows only.
    #[serde(default)]
    pub derogation: bool,
    /// Has the modules 1 to 4 of the standard contractual clauses.
    #[serde(default)]
    pub modules: bool,
    /// Only for these countries; all if empty.
    #[serde(default)]
    pub countries: Vec<Country>,
    /// So many years at most.
    pub valid_years: Option<u32>,
    /// Days before its end at which it is time to act.
    #[serde(default = "warn_days")]
    pub warn_days: Vec<u32>,
    /// The same in Chinese working days, instead.
    pub warn_working_days: Option<u32>,
    /// To be filed within so many Chinese working days of its first day.
    pub filing_working_days: Option<u32>,
    #[serde(default = "yes")]
    pub verified: bool,
    pub en: String,
    pub zh: String,
}

fn warn_days() -> Vec<u32> {
    vec![90, 30, 7, 1]
}

/// A flow from China for which nothing is asked (2024 Provisions).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exemption {
    pub id: Id,
    pub from: NaiveDate,
    pub article: String,
    pub en: String,
    pub zh: String,
}

/// What is asked for from so many people on, whose data one exporter gave abroad in a year.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    pub id: Id,
    pub from: NaiveDate,
    pub general: u64,
    pub sensitive: u64,
    /// Mechanisms that satisfy it; none is asked for if empty.
    pub kinds: Vec<Id>,
    pub article: String,
    pub en: String,
    pub zh: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct UnknownBasis {
    regime: Regime,
    basis: LegalBasis,
    article: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConsentAge {
    default_eu: u32,
    countries: BTreeMap<Country, u32>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Calendar {
    verified: bool,
    until: NaiveDate,
    holidays: BTreeSet<NaiveDate>,
    workdays: BTreeSet<NaiveDate>,
}

static LAWS: LazyLock<Vec<Law>> = LazyLock::new(|| {
    // The documents are part of the program and a test reads every one of them.
    let documents = SHIPPED.iter().map(|text| text.to_string());
    // What comes next can only be tried with something that comes next.
    #[cfg(test)]
    let documents = documents.chain([tests::next()]);
    documents.map(|text| Law::read(&text).expect("an embedded law document is well formed")).collect()
});

/// All documents that the project comes with, the oldest first.
pub fn shipped() -> &'static [Law] {
    &LAWS
}

/// The first of them, by which is judged where none was adopted: a newer program alone changes no answer.
pub fn first() -> &'static Law {
    &LAWS[0]
}

pub fn newest() -> &'static Law {
    &LAWS[LAWS.len() - 1]
}

pub fn by_hash(sha256: &Digest) -> Option<&'static Law> {
    LAWS.iter().find(|law| law.sha256 == *sha256)
}

pub fn by_version(version: &str) -> Option<&'static Law> {
    LAWS.iter().find(|law| law.version().as_str() == version)
}

impl Law {
    /// Reads a document; every fault is named.
    pub fn read(text: &str) -> Result<Law, Vec<String>> {
        let document: Document = toml::from_str(text).map_err(|error| vec![error.to_string()])?;
        let faults = document.faults();
        let sha256 = Digest(Sha256::digest(text.as_bytes()).into());
        if faults.is_empty() {
            Ok(Law { text: document, source: text.to_owned(), sha256 })
        } else {
            Err(faults)
        }
    }

    pub fn name(&self) -> &Id {
        &self.text.name
    }

    pub fn version(&self) -> &Id {
        &self.text.version
    }

    pub fn effective(&self) -> NaiveDate {
        self.text.effective
    }

    /// The document, word for word.
    pub fn document(&self) -> &str {
        &self.source
    }

    pub fn sha256(&self) -> Digest {
        self.sha256
    }

    /// The decision for a country that is in force on a day; one without a scope before one with.
    pub fn adequacy(&self, country: Country, day: NaiveDate) -> Option<&Adequacy> {
        let mut found = self.adequacies(country).filter(|decision| decision.holds(day));
        found.clone().find(|decision| decision.scope.is_none()).or_else(|| found.next())
    }

    /// The last decision for a whole country that had ended by a day.
    pub fn lapsed_adequacy(&self, country: Country, day: NaiveDate) -> Option<&Adequacy> {
        let ended =
            self.adequacies(country).filter(|d| d.scope.is_none() && d.to.is_some_and(|to| to <= day));
        ended.max_by_key(|decision| decision.to)
    }

    pub fn adequacies(&self, country: Country) -> impl Iterator<Item = &Adequacy> + Clone {
        self.text.adequacy.iter().filter(move |decision| decision.country == country)
    }

    pub fn mechanism(&self, kind: &str) -> Option<&Kind> {
        self.text.mechanism.iter().find(|known| known.id.as_str() == kind)
    }

    pub fn mechanisms(&self) -> &[Kind] {
        &self.text.mechanism
    }

    pub fn exemption(&self, id: &str) -> Option<&Exemption> {
        self.text.exemption.iter().find(|known| known.id.as_str() == id)
    }

    /// The tiers of a day, the least strict first.
    pub fn cn_tiers(&self, day: NaiveDate) -> impl Iterator<Item = &Tier> {
        self.text.cn_tier.iter().filter(move |tier| tier.from <= day)
    }

    /// The tier that numbers reach; `None` before there were any.
    pub fn cn_tier(&self, day: NaiveDate, general: u64, sensitive: u64) -> Option<&Tier> {
        let reached = |tier: &&Tier| tier.is_reached(general, sensitive);
        self.cn_tiers(day).filter(reached).last()
    }

    /// Below which age somebody's guardian consents, where there is a rule.
    pub fn consent_age(&self, regime: Regime) -> Option<u32> {
        let text = regime.as_str();
        if text == "EU" {
            return Some(self.text.consent_age.default_eu);
        }
        self.text.consent_age.countries.get(&text.parse().ok()?).copied()
    }

    /// Whether a law knows a legal basis.
    pub fn knows(&self, regime: Regime, basis: LegalBasis) -> bool {
        !self.text.unknown_basis.iter().any(|unknown| unknown.regime == regime && unknown.basis == basis)
    }

    pub fn is_worked(&self, day: NaiveDate) -> bool {
        let weekend = matches!(day.weekday(), Weekday::Sat | Weekday::Sun);
        let Calendar { holidays, workdays, .. } = &self.text.calendar;
        workdays.contains(&day) || !weekend && !holidays.contains(&day)
    }

    /// The n-th Chinese working day after a day, which itself does not count.
    pub fn working_day_after(&self, day: NaiveDate, n: u32) -> NaiveDate {
        let later = day.iter_days().skip(1).filter(|day| self.is_worked(*day));
        later.take(n as usize).last().unwrap_or(day)
    }

    /// The day from which on n Chinese working days are left before a day.
    pub fn working_day_before(&self, day: NaiveDate, n: u32) -> NaiveDate {
        let mut at = day;
        for _ in 0..n {
            at = at.pred_opt().unwrap_or(at);
            while !self.is_worked(at) && at > NaiveDate::MIN {
                at = at.pred_opt().unwrap_or(at);
            }
        }
        at
    }

    /// Every instant at which what it says about a destination changes.
    pub fn bounds(&self, to: Country) -> impl Iterator<Item = Timestamp> {
        let decisions = self.adequacies(to).flat_map(|decision| [Some(decision.from), decision.to]);
        let tiers = self.text.cn_tier.iter().map(|tier| Some(tier.from));
        let exemptions = self.text.exemption.iter().map(|exemption| Some(exemption.from));
        let days = decisions.chain(tiers).chain(exemptions).flatten();
        days.map(|day| crate::domain::time::midnight(day, chrono_tz::UTC))
    }

    /// What another document says otherwise, entry by entry.
    pub fn differences(&self, other: &Law) -> Vec<String> {
        let (mine, theirs) = (self.text.entries(), other.text.entries());
        let mut found = Vec::new();
        for (name, entry) in &mine {
            match theirs.get(name) {
                None => found.push(format!("{name} is not in it any more")),
                Some(theirs) if theirs != entry => {
                    found.push(format!("{name} is changed: {entry} -> {theirs}"))
                }
                Some(_) => {}
            }
        }
        found.extend(
            theirs
                .iter()
                .filter(|(name, _)| !mine.contains_key(*name))
                .map(|(name, entry)| format!("{name} is new: {entry}")),
        );
        found
    }
}

impl Adequacy {
    pub fn holds(&self, day: NaiveDate) -> bool {
        self.from <= day && self.to.is_none_or(|to| day < to)
    }
}

impl Tier {
    /// The first tier asks for nothing and is reached by nobody's data already.
    pub fn is_reached(&self, general: u64, sensitive: u64) -> bool {
        self.kinds.is_empty() || general >= self.general || sensitive >= self.sensitive
    }
}

impl Document {
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut seen = BTreeSet::new();
        let kinds = self.mechanism.iter().map(|kind| ("mechanism", &kind.id));
        let exemptions = self.exemption.iter().map(|exemption| ("exemption", &exemption.id));
        let tiers = self.cn_tier.iter().map(|tier| ("cn_tier", &tier.id));
        for named in kinds.chain(exemptions).chain(tiers) {
            if !seen.insert(named) {
                faults.push(format!("{} {} stands there twice", named.0, named.1));
            }
        }
        for (n, one) in self.adequacy.iter().enumerate() {
            if one.to.is_some_and(|to| to <= one.from) {
                faults.push(format!("adequacy of {} ends before it begins", one.country));
            }
            let overlaps = |other: &Adequacy| {
                other.country == one.country
                    && other.scope == one.scope
                    && other.to.is_none_or(|to| one.from < to)
                    && one.to.is_none_or(|to| other.from < to)
            };
            if self.adequacy[..n].iter().any(overlaps) {
                faults.push(format!("two decisions on adequacy of {} overlap", one.country));
            }
        }
        for pair in self.cn_tier.windows(2) {
            if pair[1].general <= pair[0].general || pair[1].sensitive <= pair[0].sensitive {
                faults.push(format!("cn_tier {} is not above the one before it", pair[1].id));
            }
        }
        for tier in &self.cn_tier {
            let unknown =
                tier.kinds.iter().filter(|kind| !self.mechanism.iter().any(|known| known.id == **kind));
            faults.extend(unknown.map(|kind| format!("cn_tier {} names no mechanism: {kind}", tier.id)));
        }
        faults
    }

    /// Every entry by its name, as one line.
    fn entries(&self) -> BTreeMap<String, String> {
        let adequacy = self.adequacy.iter().map(|one| {
            let scope = one.scope.as_ref().map_or("", Id::as_str);
            (
                format!("adequacy {} {scope} {}", one.country, one.from),
                format!("to {:?}, {}", one.to, one.act),
            )
        });
        let kinds = self.mechanism.iter().map(|one| (format!("mechanism {}", one.id), format!("{one:?}")));
        let exemptions =
            self.exemption.iter().map(|one| (format!("exemption {}", one.id), format!("{one:?}")));
        let tiers = self.cn_tier.iter().map(|one| (format!("cn_tier {}", one.id), format!("{one:?}")));
        let bases = self
            .unknown_basis
            .iter()
            .map(|one| (format!("unknown_basis {} {}", one.regime, one.basis), String::new()));
        let ages = self.consent_age.countries.iter();
        let ages = ages.map(|(country, age)| (format!("consent_age {country}"), age.to_string()));
        let days = self.calendar.holidays.iter().map(|day| (format!("holiday {day}"), String::new()));
        let worked = self.calendar.workdays.iter().map(|day| (format!("workday {day}"), String::new()));
        adequacy
            .chain(kinds)
            .chain(exemptions)
            .chain(tiers)
            .chain(bases)
            .chain(ages)
            .chain(days)
            .chain(worked)
            .collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A later document: a decision on adequacy has ended, and a tier begins sooner.
    pub fn next() -> String {
        SHIPPED[0]
            .replace("version = \"2026-11\"", "version = \"2027-01\"")
            .replace(
                "country = \"JP\"\nfrom = \"2019-01-23\"",
                "country = \"JP\"\nfrom = \"2019-01-23\"\nto = \"2026-02-01\"",
            )
            .replace("general = 100000\n", "general = 2\n")
    }

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn country(text: &str) -> Country {
        text.parse().unwrap()
    }

    #[test]
    fn every_document_reads_and_names_its_sources() {
        for text in SHIPPED {
            let law = Law::read(text).unwrap();
            assert_eq!(by_hash(&law.sha256()), Some(&law));
            for table in
                ["adequacy", "mechanism", "exemption", "cn_tier", "unknown_basis", "consent_age", "calendar"]
            {
                let at = text.find(&format!("[{table}")).unwrap();
                assert!(text[..at].contains("# Source: "), "{table}");
            }
            for kind in law.mechanisms() {
                assert!(!kind.article.is_empty() && !kind.zh.is_ascii() && kind.en.is_ascii(), "{}", kind.id);
            }
        }
    }

    #[test]
    fn a_number_that_is_reached_counts() {
        let law = first();
        let tier =
            |general, sensitive| law.cn_tier(day("2026-01-01"), general, sensitive).unwrap().id.to_string();
        assert_eq!(
            (tier(99_999, 0), tier(100_000, 0), tier(0, 1)),
            ("exempt".into(), "contract".into(), "contract".into())
        );
        assert_eq!((tier(999_999, 9_999), tier(1_000_000, 0)), ("contract".into(), "assessment".into()));
        assert_eq!(tier(0, 10_000), "assessment");
        assert!(law.cn_tier(day("2024-03-21"), 5_000_000, 0).is_none());
    }

    #[test]
    fn decisions_on_adequacy_have_a_last_day() {
        let law = first();
        assert!(law.adequacy(country("GB"), day("2031-12-27")).is_some());
        assert!(law.adequacy(country("GB"), day("2031-12-28")).is_none());
        assert_eq!(
            law.lapsed_adequacy(country("GB"), day("2031-12-28")).unwrap().to,
            Some(day("2031-12-28"))
        );
        assert!(law.lapsed_adequacy(country("GB"), day("2031-12-27")).is_none());
        assert!(law.adequacy(country("CN"), day("2026-01-01")).is_none());
        assert_eq!(
            law.adequacy(country("US"), day("2026-01-01")).unwrap().scope.as_ref().unwrap().as_str(),
            "dpf"
        );
    }

    #[test]
    fn working_days_know_holidays_and_worked_weekends() {
        let law = first();
        assert!(law.is_worked(day("2026-02-14")) && !law.is_worked(day("2026-02-15")));
        // From Friday before the Spring Festival: worked Saturday, then a week and two days off.
        assert_eq!(law.working_day_after(day("2026-02-13"), 2), day("2026-02-24"));
        assert_eq!(law.working_day_after(day("2026-12-31"), 1), day("2027-01-01"));
        assert_eq!(law.working_day_before(day("2026-02-24"), 2), day("2026-02-13"));
    }

    #[test]
    fn each_fault_is_named() {
        let text = SHIPPED[0].to_owned()
            + "\n[[adequacy]]\ncountry = \"JP\"\nfrom = \"2025-01-01\"\nto = \"2024-01-01\"\nact = \"x\"\n"
            + "[[cn_tier]]\nid = \"contract\"\nfrom = \"2024-03-22\"\ngeneral = 5\nsensitive = 5\nkinds = [\"magic\"]\narticle = \"\"\nen = \"\"\nzh = \"\"\n";
        let faults = Law::read(&text).unwrap_err().join("; ");
        for said in [
            "contract stands there twice",
            "JP ends before",
            "JP overlap",
            "not above",
            "no mechanism: magic",
        ] {
            assert!(faults.contains(said), "{said} in {faults}");
        }
        assert!(Law::read("name = 5").is_err());
    }

    #[test]
    fn a_new_version_shows_what_it_changes() {
        let next = SHIPPED[0]
            .replace("to = \"2031-12-28\"", "to = \"2035-12-28\"")
            .replace("general = 100000\n", "general = 200000\n");
        let told = first().differences(&Law::read(&next).unwrap());
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("adequacy GB") && told[1].contains("cn_tier contract"), "{told:?}");
        assert!(first().differences(first()).is_empty());
    }
}
