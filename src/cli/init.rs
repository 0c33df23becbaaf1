//! `custody init --from FILE`: sets up the registers of a company from one file, adopts the law data that this
//! program comes with, and reports what is wrong with the company's privacy policy itself.
//!
//! The file holds registers as `custody register apply` takes them, and may describe the policy: `[description]`
//! and a `[[clause]]` for each of its clauses (`domain/policy_defect`). Nothing is recorded of a file in which
//! something is wrong; with `applied_at` in it, a second run records nothing new.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Value, json};

use crate::api::convert::{self, Path, Violations};
use crate::cli::client::Remote;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::Output;
use crate::cli::register::{self, Entry, Envelope, How};
use crate::cli::report::Language;
use crate::clock::{Clock, SystemClock};
use crate::domain::law;
use crate::domain::policy_defect::{self, Company, Defect, Description, Place};
use crate::domain::time::Timestamp;
use crate::domain::vocabulary::Locale;

/// Set up the registers of a company, and say what is wrong with its privacy policy
#[derive(Debug, Args)]
#[command(after_help = "Ends with 0 when everything is registered, whatever is wrong with the policy; with \
                        --check, ends with 1 where something is wrong with it, and 0 where nothing is. 2: the file \
                        or the service refused something, and no entry of a refused file was recorded.")]
pub struct Init {
    /// TOML file of registers, and of what the policy says
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Only report the defects of the policy; asks no service and records nothing
    #[arg(long)]
    check: bool,
    #[arg(long, value_enum, default_value_t = Language::Both)]
    language: Language,
    #[command(flatten)]
    envelope: Envelope,
}

/// What a file holds, checked.
struct Tenant {
    entries: Vec<Entry>,
    applied_at: Option<Timestamp>,
    description: Option<Description>,
    defects: Vec<Defect>,
}

pub async fn run(init: Init, output: Output) -> Outcome {
    let Init { from, check, language, envelope } = init;
    let text = std::fs::read_to_string(&from)
        .map_err(|e| Failure::new(Exit::Configuration, format_args!("{}: {e}", from.display())))?;
    let tenant = read(&text, &envelope).map_err(|faults| refused(&from.display().to_string(), &faults))?;
    if !check {
        let how = How::of_file(&envelope, &text, tenant.applied_at);
        register::record(tenant.entries, how, output).await?;
    }
    match &tenant.description {
        Some(description) => print(description, &tenant.defects, language, output)?,
        None => output.note("the file describes no policy, so nothing is said of its defects"),
    }
    if check && !tenant.defects.is_empty() { Err(Failure::found()) } else { Ok(()) }
}

/// Sets up the registers of a text that the program comes with, and hands back what is wrong with its policy.
pub async fn apply(text: &str, remote: &Remote) -> Result<Vec<Defect>, Failure> {
    let envelope = Envelope::of(remote);
    let tenant = read(text, &envelope).map_err(|faults| refused("the file", &faults))?;
    let how = How::of_file(&envelope, text, tenant.applied_at);
    register::record_silently(tenant.entries, how).await?;
    Ok(tenant.defects)
}

fn refused(file: &str, faults: &[String]) -> Failure {
    Failure::new(Exit::Refused, format_args!("{file}:\n  - {}", faults.join("\n  - ")))
}

/// Reads a file whole; every fault is named.
fn read(text: &str, envelope: &Envelope) -> Result<Tenant, Vec<String>> {
    let mut file: toml::Table = text.parse().map_err(|e: toml::de::Error| vec![e.message().to_owned()])?;
    let description = Description::take(&mut file)?;
    let at = register::applied_at(&file).map_err(|why| vec![why])?;
    let controller = envelope.controller_of(&file);
    let mut entries = register::entries_of(file, envelope).map_err(|why| vec![why])?;
    let company = company(&entries)?;
    let faults = description.as_ref().map(|description| description.faults_with(&company));
    if let Some(faults) = faults.filter(|faults| !faults.is_empty()) {
        return Err(faults);
    }
    let controller = controller.or_else(|| Some(company.controllers.keys().next()?.to_string()));
    let controller = controller.ok_or_else(|| vec!["the file registers no controller".to_owned()])?;
    entries.insert(0, law_adopted(&controller, envelope, at).map_err(|why| vec![why])?);
    let defects = description.as_ref().map(|description| policy_defect::judge(description, &company));
    Ok(Tenant { entries, applied_at: at, description, defects: defects.unwrap_or_default() })
}

/// The registers as the service will read them; an entry that it would refuse is named with all that is wrong in it.
fn company(entries: &[Entry]) -> Result<Company, Vec<String>> {
    let (mut company, mut faults) = (Company::default(), Vec::new());
    for (i, entry) in entries.iter().enumerate() {
        let mut violations = Violations::new();
        match convert::event(entry.event.clone(), &Path::ROOT, &|_| None, &mut violations) {
            Some(event) => company.add(event.body),
            None => faults.extend(violations.into_vec().into_iter().map(|violation| {
                format!("entry {} ({}): {} {}", i + 1, entry.kind, violation.field, violation.description)
            })),
        }
    }
    if faults.is_empty() { Ok(company) } else { Err(faults) }
}

/// The company judges by this version of the law from the day of the file on.
fn law_adopted(controller: &str, envelope: &Envelope, at: Option<Timestamp>) -> Result<Entry, String> {
    let law = law::newest();
    let body = json!({
        "name": law.name().as_str(), "version": law.version().as_str(), "sha256": STANDARD.encode(law.sha256().0),
        "effective_at": at.unwrap_or_else(|| SystemClock.now()),
    });
    Entry::new("law", body, controller, envelope.recorded_by(), at)
}

fn print(of: &Description, defects: &[Defect], language: Language, output: Output) -> Outcome {
    if output.json {
        return defects.iter().try_for_each(|defect| Ok(output.line(&as_json(of, defect).to_string())?));
    }
    output.heading(&format!("Policy defects / 政策缺陷: {} {}", of.policy, of.version))?;
    let locales = language.locales();
    for defect in defects {
        let rule = defect.rule;
        output.line(&format!("\n{:8}  {}  ({})", rule.severity, rule.code, rule.legal.join("; ")))?;
        for locale in locales {
            output.line(&format!("  {}", rule.text(*locale).title))?;
        }
        for place in &defect.places {
            for locale in locales {
                output.line(&format!("    {}", said(place, *locale)))?;
            }
        }
        for locale in locales {
            output.line(&format!("  > {}", rule.text(*locale).way_out))?;
        }
    }
    output.note(&format!(
        "{} defects; rules {}; the stricter reading is enforced",
        defects.len(),
        policy_defect::version()
    ));
    Ok(())
}

/// One place in one line.
fn said(place: &Place, locale: Locale) -> String {
    let label = |topic: &str, value: &str| {
        policy_defect::value_label(topic, value, locale).unwrap_or(value).to_owned()
    };
    let mut parts = Vec::new();
    parts.extend(
        place.says.iter().map(|(topic, language, value)| format!("{language}: {}", label(topic, value))),
    );
    parts.extend(place.untold.iter().map(|duty| {
        let what = policy_defect::duty_label(duty, locale).unwrap_or(duty);
        if locale == Locale::Zh { format!("未告知：{what}") } else { format!("not told: {what}") }
    }));
    parts.extend(place.languages.iter().cloned());
    if !place.registered.is_empty() {
        parts.push(place.registered.join(" "));
    }
    match &place.clause {
        Some(clause) => format!("{clause:7} {}", parts.join(" · ")),
        None => parts.join(" · "),
    }
}

fn as_json(of: &Description, defect: &Defect) -> Value {
    let rule = defect.rule;
    let text = |locale| {
        let text = rule.text(locale);
        json!({ "title": text.title, "explanation": text.explanation, "way_out": text.way_out })
    };
    let places = defect.places.iter().map(|place| {
        let says = place
            .says
            .iter()
            .map(|(topic, language, value)| json!({ "topic": topic, "language": language, "says": value }));
        json!({
            "clause": place.clause, "says": says.collect::<Vec<_>>(), "untold": place.untold,
            "languages": place.languages, "registered": place.registered,
        })
    });
    json!({
        "code": rule.code, "severity": rule.severity.as_str(), "policy": of.policy.as_str(),
        "version": of.version.as_str(), "legal": rule.legal, "places": places.collect::<Vec<_>>(),
        "en": text(Locale::En), "zh": text(Locale::Zh),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = include_str!("../../deploy/policy/kstar.toml");

    fn envelope() -> Envelope {
        Envelope::of(&Remote::local(String::new()))
    }

    fn faults(text: &str) -> String {
        read(text, &envelope()).map(|_| ()).unwrap_err().join("\n")
    }

    /// What the policy leaves out or contradicts, each with its clauses.
    #[test]
    fn the_first_tenant_has_the_defects_of_its_policy() {
        let tenant = read(FILE, &envelope()).map_err(|faults| faults.join("\n")).unwrap();
        let places = |code: &str| {
            let found = tenant.defects.iter().find(|defect| defect.rule.code == code);
            let found = found.unwrap_or_else(|| panic!("no {code}"));
            let place = |place: &Place| place.clause.clone().unwrap_or_else(|| place.registered.join(" "));
            found.places.iter().map(place).collect::<Vec<_>>().join(", ")
        };
        for (code, at) in [
            ("P-ANONYMISATION", "4.2.4, 6.3"),
            ("P-AUTOMATED-DECISIONS", "12.7"),
            ("P-ACCOUNT-END", "8"),
            ("P-PLACEHOLDER", "12.8"),
            ("P-HEADING", "14"),
            ("P-ASKED-FIRST", "1.2.1, 1.2.1"),
            ("P-ACCEPTANCE", "13"),
            ("P-CONTINUED-USE", "16"),
            ("P-TRANSFER-PERMISSION", "11"),
            ("P-NO-EU-REPRESENTATIVE", "kstar-cn"),
            ("P-NO-DPO", ""),
            ("P-NO-CN-OFFICER", ""),
            ("P-NO-RETENTION", ""),
            ("P-NO-LEGAL-BASIS", ""),
            ("P-NO-WITHDRAWAL", ""),
            ("P-NO-AUTHORITY", ""),
            ("P-NO-DEADLINE", "3.4"),
            ("P-OPEN-CATEGORIES", "1.1.1"),
            ("P-OPEN-SDK", "9"),
            ("P-RECIPIENT-UNNAMED", "kstar-cn-support"),
            (
                "P-CATEGORY-UNDECLARED",
                "solar-cn.order payment pd:Transaction, \
                 solar-cn.telemetry service_provision pd:ServiceConsumptionBehaviour, \
                 solar-eu.telemetry service_provision pd:ServiceConsumptionBehaviour",
            ),
        ] {
            assert_eq!(places(code), at, "{code}");
        }
        assert!(places("P-ONE-LANGUAGE").starts_with("1, 2, 2.a"));
        for code in ["P-NO-CN-AGENT", "P-NO-CHILDREN", "P-STORAGE", "P-LANGUAGES-DIFFER"] {
            assert!(
                tenant.defects.iter().all(|defect| defect.rule.code != code),
                "{code} is another company's"
            );
        }
        let kinds: Vec<&str> = tenant.entries.iter().map(|entry| entry.kind).collect();
        assert_eq!((kinds[0], kinds[1]), ("law", "controller"));
    }

    /// Policy 9.1, word for word: six items and no other.
    #[test]
    fn wechat_pay_takes_what_the_policy_lists() {
        let tenant = read(FILE, &envelope()).map_err(|faults| faults.join("\n")).unwrap();
        let company = company(&tenant.entries).unwrap();
        let tencent = company.recipient(&"tencent-wechat-pay".parse().unwrap()).unwrap();
        let cats: Vec<&str> = tencent.cats.iter().map(|cat| cat.as_str()).collect();
        assert_eq!(
            cats,
            ["x:imei", "x:android_id", "x:device_serial", "pd:MACAddress", "x:wlan_ap", "x:installed_apps"]
        );
        assert!(tencent.legal_name.as_ref().unwrap().as_str().contains("深圳市腾讯计算机系统有限公司"));
    }

    #[test]
    fn a_file_with_faults_is_refused_with_all_of_them() {
        let wrong = FILE
            .replace("account_end = \"cancel\"", "account_end = \"vanish\"")
            .replace("tells = [\"contact\"]", "tells = [\"contacts\"]");
        let told = faults(&wrong);
        assert!(told.contains("clause 8: account_end has no answer vanish"), "{told}");
        assert!(told.contains("clause 15: there is no duty contacts"), "{told}");
        let told = faults(&FILE.replace("names = [\"tencent-wechat-pay\"]", "names = [\"tencent\"]"));
        assert!(told.contains("clause 9.1: there is no recipient tencent"), "{told}");
        let told = faults(&FILE.replace("storage_country = \"CN\"", "storage_country = \"China\""));
        assert!(told.contains("(service)") && told.contains("storage_country"), "{told}");
        assert!(faults("[[clause]]\nid = \"1\"").contains("[description]"));
    }

    #[test]
    fn a_dated_file_is_the_same_events_again() {
        let ids = || -> Vec<String> {
            let tenant = read(FILE, &envelope()).map_err(|faults| faults.join("\n")).unwrap();
            tenant.entries.into_iter().map(|entry| entry.event.event_id).collect()
        };
        assert_eq!(ids(), ids());
    }

    #[test]
    fn another_company_has_other_defects() {
        let children = FILE
            .replace("tells = [\"sensitive_data\"]", "tells = [\"sensitive_data\", \"retention_periods\"]")
            .replace("emitters = [\"solar-app-eu\"]", "directed_at_children = true");
        let tenant = read(&children, &envelope()).map_err(|faults| faults.join("\n")).unwrap();
        let codes: Vec<&str> = tenant.defects.iter().map(|defect| defect.rule.code.as_str()).collect();
        assert!(codes.contains(&"P-NO-CHILDREN") && !codes.contains(&"P-NO-RETENTION"), "{codes:?}");
    }
}
