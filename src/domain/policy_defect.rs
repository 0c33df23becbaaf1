//! What is wrong with a privacy policy itself: what it leaves out, says differently in its languages, or says
//! against the law or against what the registers say is done.
//!
//! The text of a policy is not read here. Somebody describes it, clause by clause, in coded statements
//! (`Description`); what follows from them is decided by rules that are data (`policy_defect/rules.toml`), and by
//! the registers. This module promises that the same description and registers give the same defects, that no
//! rule knows a company, and that a description with an unknown term is refused whole; not that it describes
//! the text truly.

mod description;
mod judge;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::domain::finding::{Severity, Text};
use crate::domain::id::Regime;
use crate::domain::vocabulary::Locale;

pub use description::{Clause, Description};
pub use judge::{Company, Defect, Place, judge};

/// What is known of one code.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub code: String,
    pub severity: Severity,
    /// Laws of which one has to apply; any if empty.
    #[serde(default)]
    pub regimes: Vec<Regime>,
    when: When,
    /// Provisions, one each.
    pub legal: Vec<String>,
    pub en: Text,
    pub zh: Text,
}

impl Rule {
    pub fn text(&self, locale: Locale) -> &Text {
        match locale {
            Locale::En => &self.en,
            Locale::Zh => &self.zh,
        }
    }
}

/// What raises a rule.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum When {
    /// Languages answer a topic differently within one clause.
    Differs(String),
    /// The same, for topics of which no rule of its own speaks.
    DiffersElsewhere,
    /// A clause gives this answer in some language.
    Says {
        topic: String,
        value: String,
    },
    /// No clause meets a duty to inform.
    Untold(String),
    /// Something of a template was left in.
    Placeholder,
    /// A clause is not there in every language.
    OneLanguage,
    NoHeading,
    /// What a clause promises to take only after asking is taken without.
    AskedFirstUntrue,
    /// What the registers hold goes against what is said, or is not said.
    Registers(Check),
}

/// What is looked up in the registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Check {
    NoEuRepresentative,
    NoCnAgent,
    ChildrenUntold,
    ActivityUndeclared,
    RecipientUnnamed,
    StoredAbroad,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    version: String,
    rule: Vec<Rule>,
}

/// Something with a name in both languages.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Label {
    en: String,
    zh: String,
}

/// What a clause can be asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Topic {
    id: String,
    en: String,
    zh: String,
    /// The answers there are.
    value: BTreeMap<String, Label>,
}

/// Something that people have to be told.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Duty {
    id: String,
    en: String,
    zh: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TermFile {
    #[allow(dead_code, reason = "a test compares it with that of the rules")]
    version: String,
    topic: Vec<Topic>,
    duty: Vec<Duty>,
}

static RULES: LazyLock<RuleFile> = LazyLock::new(|| {
    // The file is part of the program and a test reads it.
    toml::from_str(include_str!("policy_defect/rules.toml")).expect("the embedded rules are well formed")
});

static TERMS: LazyLock<TermFile> = LazyLock::new(|| {
    // The file is part of the program and a test reads it.
    toml::from_str(include_str!("policy_defect/terms.toml")).expect("the embedded terms are well formed")
});

/// All rules, in the order in which they are shown.
pub fn rules() -> &'static [Rule] {
    &RULES.rule
}

/// The version of the rules.
pub fn version() -> &'static str {
    &RULES.version
}

/// What a topic is called.
pub fn topic_label(topic: &str, locale: Locale) -> Option<&'static str> {
    let topic = self::topic(topic)?;
    Some(if locale == Locale::Zh { &topic.zh } else { &topic.en })
}

/// What an answer to a topic is called.
pub fn value_label(topic: &str, value: &str, locale: Locale) -> Option<&'static str> {
    let label = self::topic(topic)?.value.get(value)?;
    Some(if locale == Locale::Zh { &label.zh } else { &label.en })
}

/// What a duty to inform is called.
pub fn duty_label(duty: &str, locale: Locale) -> Option<&'static str> {
    let duty = self::duty(duty)?;
    Some(if locale == Locale::Zh { &duty.zh } else { &duty.en })
}

fn topic(id: &str) -> Option<&'static Topic> {
    TERMS.topic.iter().find(|topic| topic.id == id)
}

fn duty(id: &str) -> Option<&'static Duty> {
    TERMS.duty.iter().find(|duty| duty.id == id)
}
