//! Each rule with a fragment of a file that raises it and one that just does not.

use std::collections::BTreeSet;

use super::*;
use crate::domain::event::catalogue::*;
use crate::domain::event::{Body, DeclaredPurpose, LegalBasis, List, PurposeBasis, RecipientRole, Source};
use crate::domain::id::Id;

/// A description without a fault of its own but for what nobody is told.
const HEAD: &str = r#"
[description]
policy = "p"
version = "v1"
regimes = ["CN", "EU"]
[[clause]]
id = "told"
tells = ["eu_representative", "dpo", "cn_officer", "cn_agent", "retention_periods", "legal_bases", "withdrawal", "complaint_authority", "children"]
names = ["pay"]
"#;

fn id(text: &str) -> Id {
    text.parse().unwrap()
}

fn list<T, const N: usize>(items: impl IntoIterator<Item = T>) -> List<T, N> {
    List::new(items.into_iter().collect()).unwrap()
}

/// A Chinese company with a service, an activity that the policy declares, and a recipient that it names.
fn company() -> Company {
    let mut company = Company::default();
    let country = |text: &str| text.parse().ok();
    company.add(Body::ControllerRegistered(Box::new(ControllerRegistered {
        controller: Some(id("us")),
        country: country("CN"),
        ..Default::default()
    })));
    company.add(Body::ServiceRegistered(Box::new(ServiceRegistered {
        service: Some(id("app")),
        owner: Some(id("us")),
        storage_country: country("CN"),
        ..Default::default()
    })));
    company.add(Body::ActivityRegistered(Box::new(ActivityRegistered {
        activity: Some(id("locate")),
        service: Some(id("app")),
        purposes: list([PurposeBasis { id: id("location_service"), basis: LegalBasis::Consent }]),
        cats: list([id("pd:GPSCoordinate")]),
        regimes: list(["CN".parse().unwrap()]),
        source: Some(Source::Device),
        ..Default::default()
    })));
    company.add(Body::RecipientRegistered(Box::new(RecipientRegistered {
        recipient_id: Some(id("pay")),
        role: Some(RecipientRole::Sdk),
        country: country("CN"),
        ..Default::default()
    })));
    company.add(Body::PolicyPublished(Box::new(PolicyPublished {
        policy_id: Some(id("p")),
        version: Some(id("v1")),
        declared: list([DeclaredPurpose {
            purpose: id("location_service"),
            cats: list([id("pd:Location"), id("pd:GPSCoordinate")]),
        }]),
        effective_at: Some("2026-01-01T00:00:00Z".parse().unwrap()),
        ..Default::default()
    })));
    company
}

fn take(text: &str) -> Result<Description, Vec<String>> {
    Description::take(&mut text.parse().unwrap()).map(Option::unwrap)
}

fn codes(text: &str, company: &Company) -> Vec<&'static str> {
    let description = take(text).unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
    assert_eq!(description.faults_with(company), Vec::<String>::new());
    judge(&description, company).into_iter().map(|defect| defect.rule.code.as_str()).collect()
}

/// Codes that a fragment behind the head alone raises, and the near miss of each.
const SAID: &[(&str, &str, &str)] = &[
    (
        "P-ANONYMISATION",
        "says.zh = { de_identification = \"anonymise\" }\nsays.en = { de_identification = \"pseudonymise\" }",
        "says.zh = { de_identification = \"anonymise\" }\nsays.en = { de_identification = \"anonymise\" }",
    ),
    (
        "P-AUTOMATED-DECISIONS",
        "says.zh = { automated_decisions = \"accept\" }\nsays.en = { automated_decisions = \"object\" }",
        "says.en = { automated_decisions = \"object\" }",
    ),
    (
        "P-ACCOUNT-END",
        "says.zh = { account_end = \"cancel\" }\nsays.en = { account_end = [\"cancel\", \"log_out\"] }",
        "says.zh = { account_end = \"cancel\" }\nsays.en = { account_end = \"cancel\" }",
    ),
    (
        "P-LANGUAGES-DIFFER",
        "says.zh = { kept_for = \"periods\" }\nsays.en = { kept_for = \"shortest_time\" }",
        "says.zh = { kept_for = \"periods\" }\nsays.en = { kept_for = \"periods\", analytics = \"linked\" }",
    ),
    ("P-PLACEHOLDER", "placeholder = [\"zh\"]", "placeholder = []"),
    ("P-ONE-LANGUAGE", "languages = [\"en\"]", "languages = [\"en\", \"zh\"]"),
    ("P-HEADING", "heading = [\"zh\"]", "heading = [\"zh\", \"en\"]"),
    (
        "P-ACCEPTANCE",
        "says.en = { acceptance = \"all_purposes\" }",
        "says.en = { acceptance = [\"nothing\", \"each_purpose\"] }",
    ),
    (
        "P-CONTINUED-USE",
        "says.en = { changes_bind_by = \"continued_use\" }",
        "says.en = { changes_bind_by = \"consent\" }",
    ),
    (
        "P-TRANSFER-PERMISSION",
        "says.en = { transfer_rests_on = [\"standard_clauses\", \"permission\"] }",
        "says.en = { transfer_rests_on = [\"standard_clauses\", \"adequacy\"] }",
    ),
    (
        "P-NO-DEADLINE",
        "says.en = { answers_within = \"reasonable_time\" }",
        "says.en = { answers_within = \"period_of_law\" }",
    ),
    ("P-OPEN-CATEGORIES", "says.en = { categories = \"open\" }", "says.en = { categories = \"closed\" }"),
    ("P-OPEN-SDK", "says.en = { sdk_data = \"may_change\" }", "says.en = { sdk_data = \"listed\" }"),
];

/// Codes that a duty raises which no clause meets. The head meets all of them: the near miss.
const UNTOLD: &[(&str, &str)] = &[
    ("P-NO-EU-REPRESENTATIVE", "eu_representative"),
    ("P-NO-DPO", "dpo"),
    ("P-NO-CN-OFFICER", "cn_officer"),
    ("P-NO-RETENTION", "retention_periods"),
    ("P-NO-LEGAL-BASIS", "legal_bases"),
    ("P-NO-WITHDRAWAL", "withdrawal"),
    ("P-NO-AUTHORITY", "complaint_authority"),
];

#[test]
fn a_policy_that_says_everything_has_no_defect() {
    assert_eq!(codes(HEAD, &company()), Vec::<&str>::new());
}

#[test]
fn what_clauses_say_raises_its_rule_and_the_near_miss_does_not() {
    for (code, raises, misses) in SAID {
        assert_eq!(codes(&format!("{HEAD}[[clause]]\nid = \"7\"\n{raises}"), &company()), [*code]);
        assert_eq!(codes(&format!("{HEAD}[[clause]]\nid = \"7\"\n{misses}"), &company()), [""; 0], "{code}");
    }
}

#[test]
fn what_nobody_is_told_raises_its_rule_where_the_law_applies() {
    for (code, duty) in UNTOLD {
        let silent = HEAD.replace(&format!("\"{duty}\", "), "").replace(&format!(", \"{duty}\""), "");
        assert_eq!(codes(&silent, &company()), [*code]);
    }
    let silent = HEAD.replace("\"dpo\", \"cn_officer\", ", "");
    let only = |regime: &str| silent.replace("\"CN\", \"EU\"", &format!("\"{regime}\""));
    assert_eq!(codes(&only("EU"), &company()), ["P-NO-DPO"]);
    assert_eq!(codes(&only("CN"), &company()), ["P-NO-CN-OFFICER"]);
}

#[test]
fn a_company_in_the_union_needs_no_representative_there() {
    let silent = HEAD.replace("\"eu_representative\", ", "");
    let mut ours = company();
    ours.controllers.get_mut(&id("us")).unwrap().country = "DE".parse().ok();
    // It is abroad for the data of people in China instead.
    assert_eq!(codes(&silent, &ours), [""; 0]);
    assert_eq!(codes(&silent.replace("\"cn_agent\", ", ""), &ours), ["P-NO-CN-AGENT"]);
    assert_eq!(
        codes(&HEAD.replace("\"cn_agent\", ", ""), &company()),
        [""; 0],
        "a Chinese company needs none"
    );
}

#[test]
fn what_is_promised_before_asking_is_compared_with_the_activities() {
    let promise =
        format!("{HEAD}[[clause]]\nid = \"7\"\nasks_first = [\"pd:Location\", \"pd:GPSCoordinate\"]");
    let mut ours = company();
    assert_eq!(codes(&promise, &ours), [""; 0], "it asks");
    let activity = ours.activities.get_mut(&id("locate")).unwrap();
    activity.purposes = list([PurposeBasis { id: id("location_service"), basis: LegalBasis::Contract }]);
    let description = take(&promise).unwrap();
    let found = judge(&description, &ours);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].rule.code, "P-ASKED-FIRST");
    assert_eq!(found[0].places[0].clause.as_deref(), Some("7"));
    assert_eq!(found[0].places[0].registered, ["locate", "pd:GPSCoordinate", "location_service"]);
    ours.activities.get_mut(&id("locate")).unwrap().source = None;
    assert_eq!(codes(&promise, &ours), [""; 0], "what is used was collected elsewhere");
}

#[test]
fn what_is_collected_is_declared_by_the_policy_of_its_service() {
    let mut ours = company();
    let activity = ours.activities.get_mut(&id("locate")).unwrap();
    activity.cats = list([id("x:wlan_ap")]);
    assert_eq!(codes(HEAD, &ours), [""; 0], "a narrower term");
    ours.activities.get_mut(&id("locate")).unwrap().cats = list([id("pd:Picture")]);
    assert_eq!(codes(HEAD, &ours), ["P-CATEGORY-UNDECLARED"]);
    let own = PolicyPublished {
        policy_id: Some(id("own")),
        version: Some(id("v1")),
        service: Some(id("app")),
        ..Default::default()
    };
    ours.add(Body::PolicyPublished(Box::new(own)));
    assert_eq!(codes(HEAD, &ours), [""; 0], "another policy prevails");
}

#[test]
fn recipients_are_named_where_the_law_asks_for_names() {
    let recipient = |role, country: &str| {
        let mut ours = company();
        ours.add(Body::RecipientRegistered(Box::new(RecipientRegistered {
            recipient_id: Some(id("desk")),
            role: Some(role),
            country: country.parse().ok(),
            ..Default::default()
        })));
        ours.activities.get_mut(&id("locate")).unwrap().recipients = list([id("desk")]);
        codes(HEAD, &ours)
    };
    let unnamed = ["P-RECIPIENT-UNNAMED"];
    assert_eq!(recipient(RecipientRole::Controller, "CN"), unnamed);
    assert_eq!(recipient(RecipientRole::Processor, "VN"), unnamed);
    assert_eq!(recipient(RecipientRole::Processor, "CN"), [""; 0]);
    assert_eq!(recipient(RecipientRole::Authority, "VN"), [""; 0]);
}

#[test]
fn a_promise_of_storage_is_compared_with_the_services() {
    let promise = format!("{HEAD}[[clause]]\nid = \"7\"\nsays.zh = {{ storage = \"domestic\" }}");
    let mut ours = company();
    assert_eq!(codes(&promise, &ours), [""; 0]);
    ours.services.get_mut(&id("app")).unwrap().storage_country = "SG".parse().ok();
    assert_eq!(codes(&promise, &ours), ["P-STORAGE"]);
    assert_eq!(codes(HEAD, &ours), [""; 0], "nothing was promised");
}

#[test]
fn a_service_for_children_has_rules_for_them() {
    let silent = HEAD.replace(", \"children\"", "");
    let mut ours = company();
    assert_eq!(codes(&silent, &ours), [""; 0], "it is for everybody");
    ours.services.get_mut(&id("app")).unwrap().directed_at_children = Some(true);
    assert_eq!(codes(&silent, &ours), ["P-NO-CHILDREN"]);
    assert_eq!(codes(HEAD, &ours), [""; 0]);
}

#[test]
fn a_description_says_only_what_there_are_words_for() {
    let clause = |text: &str| take(&format!("{HEAD}[[clause]]\nid = \"7\"\n{text}")).unwrap_err().join("\n");
    assert!(clause("says.en = { weather = \"fine\" }").contains("no topic weather"));
    assert!(clause("says.en = { storage = \"moon\" }").contains("storage has no answer moon"));
    assert!(clause("languages = [\"en\"]\nsays.zh = { storage = \"abroad\" }").contains("does not stand"));
    assert!(clause("heading = [\"de\"]").contains("not published in de"));
    assert!(clause("tells = [\"fortunes\"]").contains("no duty fortunes"));
    assert!(clause("asks_first = [\"pd:Soul\"]").contains("no category pd:Soul"));
    assert!(clause("spells = 1").contains("spells"));
    assert!(take(&format!("{HEAD}[[clause]]\nid = \"told\"")).unwrap_err()[0].contains("two of it"));
    assert_eq!(Description::take(&mut toml::Table::new()), Ok(None));
    let other = take(&HEAD.replace("\"v1\"", "\"v2\"").replace("\"pay\"", "\"other\"")).unwrap();
    assert_eq!(other.faults_with(&company()).len(), 2);
}

#[test]
fn every_rule_is_whole_and_has_its_case_here() {
    assert_eq!(TERMS.version, version());
    let text = include_str!("tests.rs");
    let codes: BTreeSet<&str> = rules().iter().map(|rule| rule.code.as_str()).collect();
    assert_eq!((rules().len(), codes.len()), (26, 26));
    for rule in rules() {
        let code = &rule.code;
        assert!(text.contains(&format!("\"{code}\"")), "{code} has no case");
        assert!(code.starts_with("P-") && !rule.legal.is_empty(), "{code}");
        match &rule.when {
            When::Differs(id) => assert!(topic(id).is_some(), "{code}"),
            When::Says { topic: id, value } => {
                assert!(topic(id).is_some_and(|topic| topic.value.contains_key(value)), "{code}");
            }
            When::Untold(id) => assert!(duty(id).is_some(), "{code}"),
            _ => {}
        }
        for (locale, end) in [(Locale::En, '.'), (Locale::Zh, '。')] {
            let said = rule.text(locale);
            for text in [&said.title, &said.explanation, &said.way_out] {
                assert_eq!(text.is_ascii(), locale == Locale::En, "{code}: {text}");
                assert!(
                    ["数据控制者", "擦除", "假名化", "影响评价"].iter().all(|word| !text.contains(word)),
                    "{code}"
                );
            }
            assert!(said.explanation.ends_with(end) && said.way_out.ends_with(end), "{code}");
        }
    }
}
