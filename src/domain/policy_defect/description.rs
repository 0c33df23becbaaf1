//! What a policy says, as somebody who read it describes it: clause by clause, in coded statements. A term that
//! `terms.toml` does not know is refused, because a rule would silently not see it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer};

use crate::domain::id::{Id, Regime};
use crate::domain::policy_defect::{Company, duty, topic};
use crate::domain::vocabulary;

/// By language and topic: the answers that a clause gives.
pub type Said = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// A described policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    pub policy: Id,
    pub version: Id,
    /// Languages in which it is published.
    pub languages: BTreeSet<String>,
    /// Laws that it has to satisfy.
    pub regimes: Vec<Regime>,
    pub clauses: Vec<Clause>,
}

/// One clause.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clause {
    pub id: String,
    /// Languages in which it stands; all of the policy's if not stated.
    pub languages: Option<BTreeSet<String>>,
    /// Languages in which it has its heading; all if not stated.
    pub heading: Option<BTreeSet<String>>,
    /// Languages in which something of a template is left in it.
    #[serde(default)]
    pub placeholder: BTreeSet<String>,
    #[serde(default, deserialize_with = "says")]
    pub says: Said,
    /// Duties to inform that it meets.
    #[serde(default)]
    pub tells: BTreeSet<String>,
    /// Recipients of the registers that it names.
    #[serde(default)]
    pub names: BTreeSet<Id>,
    /// Categories that it promises to take only after asking.
    #[serde(default)]
    pub asks_first: BTreeSet<Id>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    policy: Id,
    version: Id,
    #[serde(default = "both")]
    languages: BTreeSet<String>,
    regimes: Vec<Regime>,
}

#[derive(Deserialize)]
struct Tables {
    description: Head,
    #[serde(default)]
    clause: Vec<Clause>,
}

fn both() -> BTreeSet<String> {
    ["zh", "en"].map(str::to_owned).into()
}

/// One answer, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answers {
    One(String),
    Many(BTreeSet<String>),
}

fn says<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Said, D::Error> {
    let said = BTreeMap::<String, BTreeMap<String, Answers>>::deserialize(deserializer)?;
    let plain = |answers| match answers {
        Answers::One(answer) => BTreeSet::from([answer]),
        Answers::Many(answers) => answers,
    };
    let of = |topics: BTreeMap<String, Answers>| topics.into_iter().map(|(t, a)| (t, plain(a))).collect();
    Ok(said.into_iter().map(|(language, topics)| (language, of(topics))).collect())
}

impl Description {
    /// Takes the description out of a file of registers; `None` if there is none. Every fault is named.
    pub fn take(file: &mut toml::Table) -> Result<Option<Description>, Vec<String>> {
        let (head, clauses) = (file.remove("description"), file.remove("clause"));
        let Some(head) = head else {
            let alone = || vec!["[[clause]] needs [description]: which policy is it?".to_owned()];
            return if clauses.is_some() { Err(alone()) } else { Ok(None) };
        };
        let mut tables = toml::Table::from_iter([("description".to_owned(), head)]);
        tables.extend(clauses.map(|clauses| ("clause".to_owned(), clauses)));
        let read: Result<Tables, toml::de::Error> = tables.try_into();
        let Tables { description: head, clause: clauses } =
            read.map_err(|error| vec![error.message().to_owned()])?;
        let Head { policy, version, languages, regimes } = head;
        let description = Description { policy, version, languages, regimes, clauses };
        let faults = description.faults();
        if faults.is_empty() { Ok(Some(description)) } else { Err(faults) }
    }

    /// Whether some clause meets a duty to inform.
    pub fn tells(&self, duty: &str) -> bool {
        self.clauses.iter().any(|clause| clause.tells.contains(duty))
    }

    /// Languages of the policy in which a clause does not stand.
    pub fn lacking<'a>(&'a self, languages: Option<&'a BTreeSet<String>>) -> Vec<&'a str> {
        let lacking = |language: &&String| languages.is_some_and(|there| !there.contains(*language));
        self.languages.iter().filter(lacking).map(String::as_str).collect()
    }

    /// What does not fit the registers that it is about.
    pub fn faults_with(&self, company: &Company) -> Vec<String> {
        let mut faults = Vec::new();
        if company.policy(self).is_none() {
            faults.push(format!(
                "there is no version {} of policy {} in the registers",
                self.version, self.policy
            ));
        }
        for clause in &self.clauses {
            for name in &clause.names {
                if company.recipient(name).is_none() {
                    faults
                        .push(format!("clause {}: there is no recipient {name} in the registers", clause.id));
                }
            }
        }
        faults
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut seen = BTreeSet::new();
        if self.languages.is_empty() || self.regimes.is_empty() || self.clauses.is_empty() {
            faults.push("a description has languages, regimes and clauses".to_owned());
        }
        for clause in &self.clauses {
            let mut wrong = |why: String| faults.push(format!("clause {}: {why}", clause.id));
            if clause.id.is_empty() || !seen.insert(&clause.id) {
                wrong("there are two of it, or it has no id".to_owned());
            }
            let named = clause.languages.iter().chain(&clause.heading).flatten().chain(&clause.placeholder);
            for language in named.filter(|language| !self.languages.contains(*language)) {
                wrong(format!("the policy is not published in {language}"));
            }
            for (language, topics) in &clause.says {
                if !clause.languages.as_ref().unwrap_or(&self.languages).contains(language) {
                    wrong(format!("it says something in {language}, in which it does not stand"));
                }
                for (id, answers) in topics {
                    let Some(topic) = topic(id) else {
                        wrong(format!("there is no topic {id}"));
                        continue;
                    };
                    for answer in answers.iter().filter(|answer| !topic.value.contains_key(*answer)) {
                        wrong(format!("{id} has no answer {answer}"));
                    }
                }
            }
            for id in clause.tells.iter().filter(|id| duty(id).is_none()) {
                wrong(format!("there is no duty {id}"));
            }
            let known = |cat: &&Id| vocabulary::known(vocabulary::Kind::Category, cat.as_str());
            for cat in clause.asks_first.iter().filter(|cat| !known(cat)) {
                wrong(format!("there is no category {cat}"));
            }
        }
        faults
    }
}
