//! The demo as a new user runs it: it ends well, its month holds breaches of the policy, each is shown in both
//! languages with events as evidence, and the same seed tells the same story into the same directory.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use custody::views::findings::JUDGED;
use serde_json::Value;

/// Codes that the month raises, with the clause of the policy that the scene breaks.
const BREACHES: &[(&str, &str)] = &[
    ("F-BILINGUAL", "0"),
    ("F-NO-ASSESSMENT", "0"),
    ("F-UNMAPPED", "1"),
    ("F-CLEARTEXT", "1.1.1"),
    ("F-NO-CONSENT", "1.2.1"),
    ("F-CATEGORY-UNDECLARED", "1.2.2"),
    ("F-FORCED-PERMISSION", "1.2.2"),
    ("F-BASIS-REGIME", "2.d"),
    ("F-RETENTION-OVERRUN", "2.d"),
    ("F-ANALYTICS-LINKED", "2.g"),
    ("F-NO-SEPARATE-CONSENT", "4.1"),
    ("F-RECIPIENT-NO-CONTRACT", "4.2"),
    ("F-PURPOSE-CREEP", "4.2.2"),
    ("F-SHARE-NO-SAFEGUARD", "4.2.4"),
    ("F-AUTHORITY-DISCLOSURE", "4.3.1"),
    ("F-FOREIGN-AUTHORITY", "4.3.3"),
    ("F-MARKETING-OPTOUT", "5.1"),
    ("F-LOCALISATION", "6.1"),
    // Both companies in one directory, so that the demo needs one service.
    ("F-REGION", "6.1"),
    ("F-RETENTION-UNDEFINED", "6.2"),
    ("F-EMITTER-GAP", "7.3"),
    ("F-SDK-UNDECLARED", "9"),
    ("F-SDK-CHANGED", "9"),
    ("F-SDK-SCOPE", "9.1"),
    ("F-PRE-CONSENT-SDK", "9.1"),
    ("F-NOTICE-MISSING", "10"),
    ("F-TRANSFER-NO-MECHANISM", "11"),
    ("F-TRANSFER-EXPIRED", "11"),
    ("F-TRANSFER-SCOPE", "11"),
    ("F-TRANSFER-NO-ASSESSMENT", "11"),
    ("F-TRANSFER-EXPIRING", "11"),
    ("F-CN-FILING-LATE", "11"),
    ("F-REMOTE-ACCESS", "11"),
    ("F-USE-AFTER-END", "12.4"),
    ("F-ADM", "12.7"),
    ("F-BUNDLED-CONSENT", "13"),
    ("F-CHILD", "13"),
];

/// Found by the clock or among numbers, where no event is to be shown.
const WITHOUT_EVENT: &[&str] = &["F-EMITTER-GAP"];

fn played(data: &Path, json: bool) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_custody"));
    command.args(["demo", "--people", "9", "--data-dir"]).arg(data);
    if json {
        command.arg("--json");
    }
    let run = command.output().unwrap();
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success(), "the demo ended with {}:\n{said}", run.status);
    String::from_utf8(run.stdout).unwrap()
}

/// Key and finding of every line that is one.
fn findings(told: &str) -> BTreeMap<String, Value> {
    let lines = told.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let found = lines.filter(|line| line.get("rule").is_some());
    found.map(|line| (line["key"].as_str().unwrap().to_owned(), line)).collect()
}

#[test]
fn the_month_holds_breaches_and_each_is_shown_with_evidence() {
    let place = support::events::workplace();
    let data = place.path().join("demo");
    let found = findings(&played(&data, true));
    let judged = BREACHES.iter().filter(|(code, _)| JUDGED.contains(code));
    assert!(judged.clone().count() >= 12);
    for (code, clause) in judged {
        let mut of = found.values().filter(|finding| finding["code"] == *code).peekable();
        assert!(of.peek().is_some(), "clause {clause}: no {code} among {:?}", found.keys());
        for finding in of {
            let evidence = finding["positions"].as_array().is_some_and(|positions| !positions.is_empty());
            assert!(evidence || WITHOUT_EVENT.contains(code), "{finding}");
        }
    }
    // Twenty-nine days of readings of an account without a breach of its own raise nothing about flows.
    for code in ["F-TRANSFER-EXPIRED", "F-TRANSFER-SCOPE", "F-TRANSFER-NO-MECHANISM"] {
        let of: Vec<&Value> = found.values().filter(|finding| finding["code"] == code).collect();
        assert_eq!((of.len(), of[0]["count"].as_u64()), (1, Some(1)), "{code}");
    }

    let again = played(&data, false);
    let known: Vec<&str> = again.lines().filter_map(|line| line.trim().strip_prefix("finding ")).collect();
    let known: Vec<&str> = known.into_iter().map(str::trim).collect();
    assert_eq!(known.len(), found.len(), "the same story is the same findings");
    assert!(known.iter().all(|key| found.contains_key(*key)), "{known:?}");
    for said in ["机制", "What is wrong with the policy / 隐私政策本身的缺陷", "evidence"] {
        assert!(again.contains(said), "{said}");
    }
}
