//! What is wrong with a privacy policy itself: what it leaves out, says differently in its languages, or says
//! against the law or against what the registers say is done.
//!
//! The text of a policy is not read here. Somebody describes it, clause by clause, in coded statements
//! (`Description`); what follows from them is decided by rules that are data (`policy_defect/rules.toml`, which
//! `policy_defect/RULES.md` shows as tables), and by the registers. This module promises that the same description and registers give the same defects, that no
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

/// `RULES.md`: the rules, and the terms by which a policy is described, as tables.
#[cfg(test)]
mod page {
    use std::fmt::Write as _;

    use super::*;

    /// What raises a rule, in words.
    fn raised(when: &When) -> String {
        let topic = |id: &str| topic_label(id, Locale::En).unwrap_or_default().to_owned();
        match when {
            When::Differs(id) => format!("one clause answers `{id}` ({}) otherwise in each language", topic(id)),
            When::DiffersElsewhere => {
                "one clause answers a topic otherwise in each language, and no other rule speaks of that topic".to_owned()
            }
            When::Says { topic: id, value } => {
                let label = value_label(id, value, Locale::En).unwrap_or_default();
                format!("a clause says `{value}` ({label}) to `{id}` ({})", topic(id))
            }
            When::Untold(id) => {
                format!("no clause tells `{id}`: {}", duty_label(id, Locale::En).unwrap_or_default())
            }
            When::Placeholder => "a clause has a placeholder of a template left in it".to_owned(),
            When::OneLanguage => "a clause is not there in every language".to_owned(),
            When::NoHeading => "a clause has no heading in some language".to_owned(),
            When::AskedFirstUntrue => {
                "an activity collects, on another basis than consent, what a clause promises to take only after asking"
                    .to_owned()
            }
            When::Registers(check) => looked_up(*check).to_owned(),
        }
    }

    fn looked_up(check: Check) -> &'static str {
        match check {
            Check::NoEuRepresentative => {
                "no clause tells `eu_representative`, and a controller sits outside the European Economic Area"
            }
            Check::NoCnAgent => {
                "no clause tells `cn_agent`, and a controller outside China owns a service that falls under its law"
            }
            Check::ChildrenUntold => "no clause tells `children`, and a service is directed at children",
            Check::ActivityUndeclared => {
                "an activity collects for a purpose what the policy does not declare for it"
            }
            Check::RecipientUnnamed => {
                "no clause names a registered controller or SDK, or a processor in another country than the service's"
            }
            Check::StoredAbroad => {
                "a clause says `domestic` to `storage`, and a service of China stores elsewhere"
            }
        }
    }

    fn page() -> String {
        let mut page = format!(
            "# What can be wrong with a policy's own text\n\n\
             Made from `rules.toml` and `terms.toml`, version {}. Do not edit: change these and run `CUSTODY_WRITE=1 cargo \
             test --lib the_page_shows_the_rules`.\n\n\
             The text of a policy is not read. Somebody describes it clause by clause (`[[clause]]` in the file of `custody \
             init`, such as `deploy/policy/kstar.toml`): what it says to a topic in each language, which duties to inform it \
             meets, which recipients it names. A rule that names a law counts only where that law applies.\n\n\
             ## Rules\n\n\
             | Code | Severity | Under | Raised when | What it says | Law |\n\
             |---|---|---|---|---|---|\n",
            version()
        );
        for rule in rules() {
            let (en, zh) = (&rule.en, &rule.zh);
            let said =
                format!("**{}.** {}<br>**{}。** {}", en.title, en.explanation, zh.title, zh.explanation);
            let under: Vec<String> = rule.regimes.iter().map(ToString::to_string).collect();
            let cells = [
                format!("`{}`", rule.code),
                rule.severity.to_string(),
                under.join(", "),
                raised(&rule.when),
                said,
                rule.legal.join("; "),
            ];
            writeln!(page, "| {} |", cells.join(" | ")).unwrap();
        }
        page.push_str("\n## Ways out\n\n| Code | What to do | 处理办法 |\n|---|---|---|\n");
        for rule in rules() {
            writeln!(page, "| `{}` | {} | {} |", rule.code, rule.en.way_out, rule.zh.way_out).unwrap();
        }
        page.push_str("\n## Topics\n\n| Topic | What a clause can be asked | Answers |\n|---|---|---|\n");
        for topic in &TERMS.topic {
            let answer = |(id, label): (&String, &Label)| format!("`{id}` {} / {}", label.en, label.zh);
            let answers: Vec<String> = topic.value.iter().map(answer).collect();
            writeln!(page, "| `{}` | {} / {} | {} |", topic.id, topic.en, topic.zh, answers.join("<br>"))
                .unwrap();
        }
        page.push_str("\n## Duties to inform\n\n| Duty | What people are told | 告知事项 |\n|---|---|---|\n");
        for duty in &TERMS.duty {
            writeln!(page, "| `{}` | {} | {} |", duty.id, duty.en, duty.zh).unwrap();
        }
        page
    }

    #[test]
    fn the_page_shows_the_rules() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/domain/policy_defect/RULES.md");
        if std::env::var_os("CUSTODY_WRITE").is_some() {
            std::fs::write(path, page()).unwrap();
        }
        let shown = std::fs::read_to_string(path).unwrap_or_default();
        assert!(shown == page(), "the page and the rules have drifted: run this test with CUSTODY_WRITE=1");
    }
}
