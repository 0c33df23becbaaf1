//! Values made of several. Optional fields that are not stated are not stored.

use std::fmt;
use std::str::FromStr;

use chrono::NaiveDate;
use chrono_tz::Tz;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::event::enums::{Anchor, Expiry, LegalBasis, RuleKind, SoftEnd};
use crate::domain::event::value::{List, Title, Unset};
use crate::domain::id::{Digest, Id, Malformed, Regime};
use crate::domain::time::Timestamp;
use crate::limits;

/// A purpose with the legal basis it rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PurposeBasis {
    pub id: Id,
    pub basis: LegalBasis,
}

/// `[from, to]` of a batched or collective event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    pub from: Timestamp,
    pub to: Timestamp,
}

/// A text in one language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocaleText {
    /// BCP 47 tag.
    pub locale: Id,
    pub sha256: Digest,
}

/// What a policy declares for one purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredPurpose {
    pub purpose: Id,
    #[serde(default, skip_serializing_if = "Unset::is_unset")]
    pub cats: List<Id, { limits::CATEGORIES }>,
}

/// An SDK as its vendor publishes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SdkInfo {
    pub name: Id,
    #[serde(default, skip_serializing_if = "Unset::is_unset")]
    pub versions: List<Id, { limits::LIST }>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<Id>,
}

/// A filing with an authority (PIPL 38; standard contract measures).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filing {
    pub number: Id,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filed_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_at: Option<Timestamp>,
}

/// How many of something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    pub name: Id,
    pub count: u64,
}

/// An erased person who counted in a transfer line of a year (PIPL 38; 2024 Provisions).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferTally {
    /// Transfer line, or `all`.
    pub line: Id,
    pub year: u64,
    pub sensitive: bool,
}

/// Findings about an erased person, as a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FindingTally {
    pub code: Id,
    /// The finding's key without the person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Id>,
    pub count: u64,
}

/// One version of the law data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LawData {
    pub name: Id,
    pub version: Id,
    pub sha256: Digest,
}

/// Which data a retention rule is about: every list that is stated must have a term in common with
/// the datum.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuleMatch {
    #[serde(skip_serializing_if = "Unset::is_unset")]
    pub purposes: List<Id, { limits::LIST }>,
    #[serde(skip_serializing_if = "Unset::is_unset")]
    pub categories: List<Id, { limits::LIST }>,
    #[serde(skip_serializing_if = "Unset::is_unset")]
    pub record_kinds: List<Id, { limits::LIST }>,
    #[serde(skip_serializing_if = "Unset::is_unset")]
    pub regimes: List<Regime, { limits::REGIMES }>,
}

/// One version of a retention rule (`domain.md` 4.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionRule {
    /// Of this version.
    pub id: Id,
    pub kind: RuleKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matches: Option<RuleMatch>,
    pub anchor: Anchor,
    /// Limits a `purpose_ended` rule to these ends.
    #[serde(default, skip_serializing_if = "Unset::is_unset")]
    pub causes: List<SoftEnd, { limits::LIST }>,
    pub period: Period,
    /// Whether the period runs from 31 December of the anchor's year.
    #[serde(default, skip_serializing_if = "Unset::is_unset")]
    pub year_end: bool,
    pub tz: Tz,
    /// `erase` if not stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_expiry: Option<Expiry>,
    /// Whose law a floor is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub law_of: Option<Regime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legal: Option<Title>,
    /// In force from midnight UTC of this day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<NaiveDate>,
    /// In force until midnight UTC of this day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<NaiveDate>,
    /// The version it takes over from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Id>,
}

/// The unit of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeriodUnit {
    Days,
    Months,
    Years,
}

/// `PnD`, `PnM` or `PnY`; n at most 9999, without leading zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Period {
    pub count: u32,
    pub unit: PeriodUnit,
}

impl FromStr for Period {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let wrong = Malformed("is not a period such as P30D, P6M or P3Y, of at most 9999 units");
        let inner = text.strip_prefix('P').ok_or_else(|| wrong.clone())?;
        let (digits, unit) = match inner.as_bytes() {
            [digits @ .., b'D'] => (digits, PeriodUnit::Days),
            [digits @ .., b'M'] => (digits, PeriodUnit::Months),
            [digits @ .., b'Y'] => (digits, PeriodUnit::Years),
            _ => return Err(wrong),
        };
        let canonical = matches!(digits, [b'0'] | [b'1'..=b'9', ..]);
        if !canonical || digits.len() > 4 || !digits.iter().all(u8::is_ascii_digit) {
            return Err(wrong);
        }
        let count = digits.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
        Ok(Period { count, unit })
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            PeriodUnit::Days => 'D',
            PeriodUnit::Months => 'M',
            PeriodUnit::Years => 'Y',
        };
        write!(f, "P{}{unit}", self.count)
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_has_one_spelling() {
        for text in ["P0D", "P30D", "P6M", "P9999Y"] {
            assert_eq!(text.parse::<Period>().unwrap().to_string(), text);
        }
        for wrong in ["", "P", "PD", "30D", "P03M", "P1W", "P10000D", "P-1D", "P1.5Y", "p1D"] {
            assert!(wrong.parse::<Period>().is_err(), "{wrong}");
        }
    }
}
