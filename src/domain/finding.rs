//! What the detectors can find: for each code how grave it is, when it is judged, which law it rests on,
//! and what an officer reads, in both languages.
//!
//! Dated data in `finding/rules.toml`, read once; `finding/RULES.md` shows it as tables. This module promises
//! that a code has one rule and a finding one name (`Key`); whether anything was found is decided elsewhere.

mod key;

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::domain::vocabulary::Locale;
use crate::domain::words::words;

pub use key::{Key, Value};

words!(
    /// How grave a finding is; the gravest is the greatest.
    Severity, "is not a severity: medium, high or critical",
    { Medium = "medium", High = "high", Critical = "critical" }
);
words!(
    /// With which part of the service a code is first judged.
    Capability, "is not a capability: record, retention, requests or security",
    {
        /// Recording and the registers.
        Record = "record",
        Retention = "retention",
        /// Requests of the people concerned.
        Requests = "requests",
        Security = "security",
    }
);

/// What is known of one code.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub code: String,
    pub severity: Severity,
    /// The severity in the last seven days before the date that the finding is about.
    pub rises_to: Option<Severity>,
    pub capability: Capability,
    /// Rests on something that is not there, and is cured where that arrives later.
    #[serde(default)]
    pub absence: bool,
    /// How long after the later of event and recording it is judged, so that what is on its way may arrive.
    #[serde(default)]
    pub wait_minutes: u32,
    /// What is missing and comes within this time of the event counts as having been there.
    #[serde(default)]
    pub settle_minutes: u32,
    /// Fields that tell one finding of this code from another, in order. Things of the organisation only.
    pub key: Vec<String>,
    /// Provisions of law or policy, one each.
    pub legal: Vec<String>,
    /// Clauses of the privacy policy whose violation this code reports.
    pub clauses: Vec<String>,
    pub en: Text,
    pub zh: Text,
}

/// What an officer reads.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    pub title: String,
    /// What was seen, and which rule it breaks.
    pub explanation: String,
    /// What to do now.
    pub way_out: String,
}

impl Rule {
    pub fn text(&self, locale: Locale) -> &Text {
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
    rule: Vec<Rule>,
}

struct Rules {
    file: File,
    places: HashMap<String, usize>,
}

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    // The file is part of the program and a test reads it.
    let file: File =
        toml::from_str(include_str!("finding/rules.toml")).expect("the embedded rules are well formed");
    let places = file.rule.iter().enumerate().map(|(place, rule)| (rule.code.clone(), place)).collect();
    Rules { file, places }
});

/// All rules, in the order in which they are shown.
pub fn rules() -> &'static [Rule] {
    &RULES.file.rule
}

/// `None` for a code that this version does not know.
pub fn rule(code: &str) -> Option<&'static Rule> {
    RULES.places.get(code).map(|place| &RULES.file.rule[*place])
}

/// The version of the rules.
pub fn version() -> &'static str {
    &RULES.file.version
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::fmt::Write;

    use super::*;

    const FOUR_TWO: &[&str] = &["F-RECIPIENT-NO-CONTRACT", "F-PURPOSE-CREEP"];
    const AUTHORITIES: &[&str] = &["F-AUTHORITY-DISCLOSURE", "F-FOREIGN-AUTHORITY"];
    const HOLDS: &[&str] = &["F-HOLD-STALE", "F-PREMATURE-ERASURE"];
    const TRANSFERS: &[&str] = &[
        "F-TRANSFER-NO-MECHANISM",
        "F-TRANSFER-EXPIRED",
        "F-TRANSFER-EXPIRING",
        "F-TRANSFER-SCOPE",
        "F-TRANSFER-NO-ASSESSMENT",
    ];

    /// The privacy policy, clause by clause: what a violation of each has to raise.
    const POLICY: &[(&str, &[&str])] = &[
        ("0", &["F-BILINGUAL", "F-NO-ASSESSMENT"]),
        ("1", &["F-CATEGORY-UNDECLARED"]),
        ("1.1.1", &["F-CLEARTEXT"]),
        ("1.2.1", &["F-NO-CONSENT", "F-NO-SEPARATE-CONSENT"]),
        ("1.2.2", &["F-CATEGORY-UNDECLARED", "F-FORCED-PERMISSION"]),
        ("1.2.3", &["F-CATEGORY-UNDECLARED", "F-FORCED-PERMISSION"]),
        ("2.a", &["F-PURPOSE-CREEP"]),
        ("2.b", &["F-ADM"]),
        ("2.c", &["F-USE-AFTER-END"]),
        ("2.d", &["F-RETENTION-OVERRUN"]),
        ("2.e", &["F-PURPOSE-CREEP"]),
        ("2.f", &["F-PURPOSE-CREEP"]),
        ("2.g", &["F-ANALYTICS-LINKED"]),
        ("3.1", &["F-NO-CONSENT"]),
        ("3.2", &["F-RETENTION-OVERRUN"]),
        ("3.3", &["F-DSR-UNVERIFIED"]),
        ("3.4", &["F-DSR-LATE", "F-DSR-NO-REASON"]),
        ("4.1", &["F-NO-SEPARATE-CONSENT"]),
        ("4.2", FOUR_TWO),
        ("4.2.1", FOUR_TWO),
        ("4.2.2", FOUR_TWO),
        ("4.2.3", FOUR_TWO),
        ("4.2.4", &["F-SHARE-NO-SAFEGUARD"]),
        ("4.3", AUTHORITIES),
        ("4.3.1", AUTHORITIES),
        ("4.3.2", AUTHORITIES),
        ("4.3.3", AUTHORITIES),
        ("4.3.4", AUTHORITIES),
        ("4.3.5", &["F-NO-ASSESSMENT"]),
        ("5.1", &["F-MARKETING-OPTOUT"]),
        ("5.2", &["F-MARKETING-OPTOUT"]),
        ("6.1", &["F-LOCALISATION"]),
        ("6.2", &["F-RETENTION-UNDEFINED"]),
        ("6.2.1", HOLDS),
        ("6.2.2", HOLDS),
        ("6.2.3", HOLDS),
        ("6.2.4", HOLDS),
        ("6.2.5", &["F-NO-ASSESSMENT"]),
        ("6.3", &["F-TERMINATION-NOTICE", "F-FALSE-ANONYMISATION"]),
        ("7.1", &["F-STAFF-ACCESS"]),
        ("7.2", &["F-STAFF-ACCESS"]),
        ("7.3", &["F-STAFF-ACCESS"]),
        ("7.4", &["F-BREACH-LATE"]),
        ("8", &["F-CANCEL-LATE", "F-USE-AFTER-END"]),
        ("9", &["F-SDK-UNDECLARED", "F-SDK-CHANGED"]),
        ("9.1", &["F-SDK-SCOPE", "F-PRE-CONSENT-SDK"]),
        ("10", &["F-NOTICE-MISSING"]),
        ("11", TRANSFERS),
        ("12.1", &["F-DSR-LATE"]),
        ("12.2", &["F-PROPAGATION"]),
        ("12.3", &["F-RETENTION-OVERRUN", "F-DSR-NO-REASON"]),
        ("12.4", &["F-USE-AFTER-END"]),
        ("12.5", &["F-DSR-LATE"]),
        ("12.6", &["F-MARKETING-OPTOUT"]),
        ("12.7", &["F-ADM"]),
        ("12.8", &["F-DSR-NO-REASON"]),
        ("12.9", &["F-PROPAGATION"]),
        ("13", &["F-BUNDLED-CONSENT", "F-NO-SEPARATE-CONSENT"]),
        ("14", &["F-DSR-LATE"]),
        ("15", &["F-DSR-LATE"]),
        ("16", &["F-NOTICE-STALE"]),
    ];

    #[test]
    fn every_clause_of_the_policy_is_watched_and_every_rule_says_by_which() {
        let mut wanted: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (clause, codes) in POLICY {
            for code in *codes {
                assert!(rule(code).is_some(), "{code} of clause {clause}");
                assert!(wanted.entry(code).or_default().insert(clause), "{code} twice in clause {clause}");
            }
        }
        for rule in rules() {
            let named: BTreeSet<&str> = rule.clauses.iter().map(String::as_str).collect();
            assert_eq!(named, wanted.remove(rule.code.as_str()).unwrap_or_default(), "{}", rule.code);
            assert_eq!(named.len(), rule.clauses.len(), "{} names a clause twice", rule.code);
        }
    }

    #[test]
    fn every_rule_is_whole() {
        let text = include_str!("finding/rules.toml");
        assert!(text.contains("# Source: ") && text.contains(&format!("version = \"{}\"", version())));
        assert_eq!((rules().len(), RULES.places.len()), (59, 59), "a code is named twice, or one is missing");
        let laws = ["GDPR ", "PIPL ", "policy ", "ePrivacy ", "SCC ", "2024 Provisions "];
        let measures = ["App rules 2019", "Standard Contract Measures "];
        for rule in rules() {
            let code = &rule.code;
            assert!(
                code.starts_with("F-") && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'-'),
                "{code}"
            );
            assert_eq!(rule.absence, rule.wait_minutes >= 10, "{code}: absence is judged after a wait");
            assert_eq!(rule.wait_minutes == 60, code == "F-REMOTE-ACCESS", "{code}");
            assert!(rule.absence || rule.wait_minutes == 0, "{code}");
            assert!([0, 5].contains(&rule.settle_minutes), "{code}");
            assert!(rule.rises_to.is_none_or(|later| later > rule.severity), "{code}");
            assert!(!rule.key.is_empty() && rule.key.iter().collect::<BTreeSet<_>>().len() == rule.key.len());
            assert!(rule.key.iter().all(|field| field.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
            assert!(!rule.legal.is_empty(), "{code} rests on something");
            for provision in &rule.legal {
                let known = laws.iter().chain(&measures).any(|law| provision.starts_with(law));
                assert!(known && !provision.contains([';', ',']), "{code}: {provision}");
            }
        }
        let absences = rules().iter().filter(|rule| rule.absence).count();
        let unsettled = rules().iter().filter(|rule| rule.settle_minutes > 0).count();
        assert_eq!((absences, unsettled), (15, 4));
    }

    #[test]
    fn every_rule_says_itself_in_both_languages_with_the_exact_terms() {
        let never =
            ["数据控制者", "控制者", "擦除", "假名化", "影响评价", "单独的同意", "跨境传输", "限制使用"];
        for rule in rules() {
            for locale in [Locale::En, Locale::Zh] {
                let text = rule.text(locale);
                assert!(
                    text.title.chars().count() <= 60 && !text.title.ends_with(['.', '。']),
                    "{}",
                    rule.code
                );
                let (end, what) = if locale == Locale::En { ('.', &rule.en) } else { ('。', &rule.zh) };
                for said in [&what.title, &what.explanation, &what.way_out] {
                    assert_eq!(said.is_ascii(), locale == Locale::En, "{}: {said}", rule.code);
                    assert!(!said.contains(['|', '\n', '<']), "{}: a table holds it", rule.code);
                    assert!(never.iter().all(|word| !said.contains(word)), "{}: {said}", rule.code);
                }
                assert!(text.explanation.ends_with(end) && text.way_out.ends_with(end), "{}", rule.code);
            }
        }
        let says = |code, term| rule(code).unwrap().zh.explanation.contains(term);
        assert!(says("F-NO-SEPARATE-CONSENT", "单独同意") && says("F-NO-ASSESSMENT", "个人信息保护影响评估"));
        assert!(says("F-USE-AFTER-END", "限制处理") && says("F-REMOTE-ACCESS", "向境外提供"));
    }

    #[test]
    fn words_read_back_and_the_gravest_is_the_greatest() {
        for word in Severity::ALL {
            assert_eq!(word.as_str().parse(), Ok(*word));
        }
        for word in Capability::ALL {
            assert_eq!(word.as_str().parse(), Ok(*word));
            assert!(rules().iter().any(|rule| rule.capability == *word));
        }
        assert!(Severity::Critical > Severity::High && Severity::High > Severity::Medium);
        assert!("Critical".parse::<Severity>().is_err());
        assert_eq!(rule("F-LEDGER").map(|rule| rule.severity), Some(Severity::Critical));
        assert!(rule("F-STARGAZING").is_none());
    }

    /// `RULES.md`, as the rules make it.
    fn page() -> String {
        let mut page = format!(
            "# What can be found\n\n\
             Made from `rules.toml`, version {}. Do not edit: change the rules and run `CUSTODY_WRITE=1 cargo test \
             --lib the_page_shows_the_rules`.\n\n\
             A code with *absence* rests on something that is not there. It is judged the named minutes after the \
             event and its recording, whichever is later, and is shown as cured where what was missing arrives \
             after all. Within the minutes *to settle* what is missing counts as having been there. A finding is \
             named by its code and the fields of its key. Clauses are those of the privacy policy.\n\n\
             ## Findings\n\n\
             | Code | Severity | Comes with | Judged | What it says | Key | Law | Clauses |\n\
             |---|---|---|---|---|---|---|---|\n",
            version()
        );
        for rule in rules() {
            let rises = rule.rises_to.map(|to| format!(", {to} in the last 7 days")).unwrap_or_default();
            let mut judged = Vec::new();
            if rule.absence {
                judged.push(format!("absence, {} min", rule.wait_minutes));
            }
            if rule.settle_minutes > 0 {
                judged.push(format!("{} min to settle", rule.settle_minutes));
            }
            let (en, zh) = (&rule.en, &rule.zh);
            let said =
                format!("**{}.** {}<br>**{}。** {}", en.title, en.explanation, zh.title, zh.explanation);
            let cells = [
                format!("`{}`", rule.code),
                format!("{}{rises}", rule.severity),
                rule.capability.to_string(),
                judged.join("; "),
                said,
                rule.key.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", "),
                rule.legal.join("; "),
                rule.clauses.join(", "),
            ];
            writeln!(page, "| {} |", cells.join(" | ")).unwrap();
        }
        page.push_str("\n## Ways out\n\n| Code | What to do | 处理办法 |\n|---|---|---|\n");
        for rule in rules() {
            writeln!(page, "| `{}` | {} | {} |", rule.code, rule.en.way_out, rule.zh.way_out).unwrap();
        }
        page
    }

    #[test]
    fn the_page_shows_the_rules() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/domain/finding/RULES.md");
        if std::env::var_os("CUSTODY_WRITE").is_some() {
            std::fs::write(path, page()).unwrap();
        }
        let shown = std::fs::read_to_string(path).unwrap_or_default();
        assert!(shown == page(), "the page and the rules have drifted: run this test with CUSTODY_WRITE=1");
    }
}
