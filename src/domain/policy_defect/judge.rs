//! Which rules a described policy raises: a pure function of the description and of the registers.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::event::catalogue::{
    ActivityRegistered, ControllerRegistered, PolicyPublished, RecipientRegistered, ServiceRegistered,
};
use crate::domain::event::{Body, LegalBasis, RecipientRole};
use crate::domain::id::{Country, Id};
use crate::domain::policy_defect::{Check, Clause, Description, Rule, When, rules};
use crate::domain::vocabulary;

/// What the registers hold that a policy is judged against: the newest entry of each thing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Company {
    pub controllers: BTreeMap<Id, ControllerRegistered>,
    pub services: BTreeMap<Id, ServiceRegistered>,
    pub activities: BTreeMap<Id, ActivityRegistered>,
    pub recipients: BTreeMap<Id, RecipientRegistered>,
    /// By id and version.
    pub policies: BTreeMap<(Id, Id), PolicyPublished>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defect {
    pub rule: &'static Rule,
    /// Where it shows.
    pub places: Vec<Place>,
}

/// A place where a defect shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// `None` for what no clause says.
    pub clause: Option<String>,
    /// Topic, language and answer.
    pub says: Vec<(String, String, String)>,
    /// A duty to inform that no clause meets.
    pub untold: Option<String>,
    /// Languages in which something is missing or left over.
    pub languages: Vec<String>,
    /// What the registers hold: an id and terms.
    pub registered: Vec<String>,
}

impl Company {
    /// Adds an entry of a register; one of the same thing takes its place. Others are passed over.
    pub fn add(&mut self, body: Body) {
        macro_rules! keep {
            ($map:ident, $body:ident, $key:ident) => {
                if let Some(key) = $body.$key.clone() {
                    self.$map.insert(key, *$body);
                }
            };
        }
        match body {
            Body::ControllerRegistered(body) => keep!(controllers, body, controller),
            Body::ServiceRegistered(body) => keep!(services, body, service),
            Body::ActivityRegistered(body) => keep!(activities, body, activity),
            Body::RecipientRegistered(body) => keep!(recipients, body, recipient_id),
            Body::PolicyPublished(body) => {
                if let Some(key) = body.policy_id.clone().zip(body.version.clone()) {
                    self.policies.insert(key, *body);
                }
            }
            _ => {}
        }
    }

    /// The version that a description is about.
    pub fn policy(&self, of: &Description) -> Option<&PolicyPublished> {
        self.policies.get(&(of.policy.clone(), of.version.clone()))
    }

    pub fn recipient(&self, id: &Id) -> Option<&RecipientRegistered> {
        self.recipients.get(id)
    }

    /// Services that a policy is for: its own, or all that have none of their own.
    fn covers(&self, policy: Option<&PolicyPublished>, service: &Id) -> bool {
        match policy.and_then(|policy| policy.service.as_ref()) {
            Some(own) => own == service,
            None => !self.policies.values().any(|other| other.service.as_ref() == Some(service)),
        }
    }

    /// The country of whoever answers for a service.
    fn home(&self, service: &Id) -> Option<Country> {
        let owner = self.services.get(service)?.owner.as_ref()?;
        self.controllers.get(owner)?.country
    }

    /// Activities that take data from somewhere, of services that a policy is for.
    fn collecting(&self, of: &Description) -> impl Iterator<Item = (&Id, &ActivityRegistered)> {
        let policy = self.policy(of);
        self.activities.iter().filter(move |(_, activity)| {
            let covered = activity.service.as_ref().is_some_and(|service| self.covers(policy, service));
            covered && activity.source.is_some()
        })
    }
}

/// Everything that is wrong, in the order of the rules.
pub fn judge(description: &Description, company: &Company) -> Vec<Defect> {
    let applies = |rule: &&Rule| {
        rule.regimes.is_empty() || rule.regimes.iter().any(|r| description.regimes.contains(r))
    };
    let found = rules().iter().filter(applies).map(|rule| {
        let places = match &rule.when {
            When::Registers(check) => checked(*check, description, company),
            When::AskedFirstUntrue => untrue(description, company),
            When::Untold(duty) if description.tells(duty) => Vec::new(),
            When::Untold(duty) => vec![Place { untold: Some(duty.clone()), ..Place::default() }],
            when => description.clauses.iter().filter_map(|clause| said(when, description, clause)).collect(),
        };
        Defect { rule, places }
    });
    found.filter(|defect| !defect.places.is_empty()).collect()
}

/// What a clause says by itself.
fn said(when: &When, description: &Description, clause: &Clause) -> Option<Place> {
    let place = Place { clause: Some(clause.id.clone()), ..Place::default() };
    let languages = |lacking: Vec<&str>| lacking.into_iter().map(str::to_owned).collect::<Vec<_>>();
    match when {
        When::Differs(topic) => differing(clause, |id| id == topic).map(|says| Place { says, ..place }),
        When::DiffersElsewhere => {
            let own = |id: &str| rules().iter().any(|rule| rule.when == When::Differs(id.to_owned()));
            differing(clause, |id| !own(id)).map(|says| Place { says, ..place })
        }
        When::Says { topic, value } => {
            let mut says = answers(clause, |id| id == topic);
            says.retain(|(_, _, answer)| answer == value);
            (!says.is_empty()).then_some(Place { says, ..place })
        }
        When::Placeholder => {
            let languages = clause.placeholder.iter().cloned().collect();
            (!clause.placeholder.is_empty()).then_some(Place { languages, ..place })
        }
        When::OneLanguage => {
            let languages = languages(description.lacking(clause.languages.as_ref()));
            (!languages.is_empty()).then_some(Place { languages, ..place })
        }
        When::NoHeading => {
            let languages = languages(description.lacking(clause.heading.as_ref()));
            (!languages.is_empty()).then_some(Place { languages, ..place })
        }
        When::Untold(_) | When::AskedFirstUntrue | When::Registers(_) => None,
    }
}

fn answers(clause: &Clause, topic: impl Fn(&str) -> bool) -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    for (language, topics) in &clause.says {
        for (id, answers) in topics.iter().filter(|(id, _)| topic(id)) {
            all.extend(answers.iter().map(|answer| (id.clone(), language.clone(), answer.clone())));
        }
    }
    all
}

/// What languages answer to topics that they do not all answer alike. A language that is silent contradicts nobody.
fn differing(clause: &Clause, topic: impl Fn(&str) -> bool) -> Option<Vec<(String, String, String)>> {
    let mut by_topic: BTreeMap<&String, Vec<&BTreeSet<String>>> = BTreeMap::new();
    for (id, answers) in clause.says.values().flatten().filter(|(id, _)| topic(id)) {
        by_topic.entry(id).or_default().push(answers);
    }
    by_topic.retain(|_, answers| answers.iter().any(|one| *one != answers[0]));
    (!by_topic.is_empty()).then(|| answers(clause, |id| by_topic.keys().any(|topic| *topic == id)))
}

/// Categories that are said to be taken only after asking, and are taken on another basis.
fn untrue(description: &Description, company: &Company) -> Vec<Place> {
    let mut places = Vec::new();
    for clause in &description.clauses {
        for (id, activity) in company.collecting(description) {
            let unasked = activity.purposes.iter().filter(|purpose| purpose.basis != LegalBasis::Consent);
            let unasked: Vec<String> = unasked.map(|purpose| purpose.id.to_string()).collect();
            let promised = |cat: &&Id| {
                clause.asks_first.iter().any(|asked| vocabulary::satisfies(cat.as_str(), asked.as_str()))
            };
            for cat in activity.cats.iter().filter(promised).filter(|_| !unasked.is_empty()) {
                let mut registered = vec![id.to_string(), cat.to_string()];
                registered.extend(unasked.iter().cloned());
                places.push(Place { clause: Some(clause.id.clone()), registered, ..Place::default() });
            }
        }
    }
    places
}

fn checked(check: Check, description: &Description, company: &Company) -> Vec<Place> {
    let register = |registered: Vec<String>| Place { registered, ..Place::default() };
    let one = |id: &Id| register(vec![id.to_string()]);
    let silent = |duty: &str| (!description.tells(duty)).then(|| Some(duty.to_owned()));
    match check {
        Check::NoEuRepresentative => {
            let Some(untold) = silent("eu_representative") else { return Vec::new() };
            let outside =
                company.controllers.iter().filter(|(_, body)| !is_in_eea(company, description, body));
            outside.map(|(id, _)| Place { untold: untold.clone(), ..one(id) }).collect()
        }
        Check::NoCnAgent => {
            let Some(untold) = silent("cn_agent") else { return Vec::new() };
            let foreign = company.controllers.iter().filter(|(id, body)| {
                let owns = |service: &Id| {
                    company.services.get(service).is_some_and(|s| s.owner.as_ref() == Some(id))
                };
                let chinese = |activity: &ActivityRegistered| {
                    activity.regimes.iter().any(|regime| regime.as_str() == "CN")
                        && activity.service.as_ref().is_some_and(owns)
                };
                body.country.is_some_and(|country| country.as_str() != "CN")
                    && company.activities.values().any(chinese)
            });
            foreign.map(|(id, _)| Place { untold: untold.clone(), ..one(id) }).collect()
        }
        Check::ChildrenUntold => {
            let Some(untold) = silent("children") else { return Vec::new() };
            let directed =
                company.services.iter().filter(|(_, service)| service.directed_at_children == Some(true));
            directed.map(|(id, _)| Place { untold: untold.clone(), ..one(id) }).collect()
        }
        Check::ActivityUndeclared => undeclared(description, company).into_iter().map(register).collect(),
        Check::RecipientUnnamed => {
            let named = |id: &Id| description.clauses.iter().any(|clause| clause.names.contains(id));
            let owed =
                company.recipients.iter().filter(|(id, body)| !named(id) && owes_a_name(company, id, body));
            owed.map(|(id, _)| one(id)).collect()
        }
        Check::StoredAbroad => {
            let Some(clause) = description.clauses.iter().find(|clause| {
                answers(clause, |topic| topic == "storage").iter().any(|(_, _, answer)| answer == "domestic")
            }) else {
                return Vec::new();
            };
            let abroad = company.services.iter().filter(|(id, service)| {
                let stored = service.storage_country.is_some_and(|country| country.as_str() != "CN");
                stored && company.home(id).is_some_and(|home| home.as_str() == "CN")
            });
            abroad.map(|(id, _)| Place { clause: Some(clause.id.clone()), ..one(id) }).collect()
        }
    }
}

/// By where a controller sits, on the day from which the policy applies.
fn is_in_eea(company: &Company, description: &Description, body: &ControllerRegistered) -> bool {
    let from = company.policy(description).and_then(|policy| policy.effective_at);
    let day = from.map(|from| from.local_date(chrono_tz::UTC));
    body.country.zip(day).is_some_and(|(country, day)| vocabulary::in_eea(country, day))
}

/// Activity, purpose and category of what is collected without being declared.
fn undeclared(description: &Description, company: &Company) -> Vec<Vec<String>> {
    let Some(policy) = company.policy(description) else { return Vec::new() };
    let declared = |purpose: &Id, cat: &Id| {
        let of = policy.declared.iter().filter(|declared| declared.purpose == *purpose);
        of.flat_map(|declared| declared.cats.iter())
            .any(|declared| vocabulary::satisfies(cat.as_str(), declared.as_str()))
    };
    let mut all = Vec::new();
    for (id, activity) in company.collecting(description) {
        for purpose in &activity.purposes {
            for cat in activity.cats.iter().filter(|cat| !declared(&purpose.id, cat)) {
                all.push(vec![id.to_string(), purpose.id.to_string(), cat.to_string()]);
            }
        }
    }
    all
}

/// Other controllers and SDKs are named (PIPL 23; GDPR 13(1)(e)), and whoever gets data abroad (PIPL 39; GDPR
/// 13(1)(f)); processors at home need only their kind.
fn owes_a_name(company: &Company, id: &Id, body: &RecipientRegistered) -> bool {
    match body.role {
        Some(RecipientRole::Controller | RecipientRole::JointController | RecipientRole::Sdk) => true,
        Some(RecipientRole::Processor) => company.activities.values().any(|activity| {
            let home = activity.service.as_ref().and_then(|service| company.home(service));
            activity.recipients.contains(id) && home.is_some() && home != body.country
        }),
        Some(RecipientRole::Authority) | None => false,
    }
}
