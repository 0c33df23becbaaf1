//! What an officer does, through the real binary against one service: sets up the registers of the first tenant,
//! looks at them, takes them out as spreadsheets and puts them in again, and asks what is wrong, what crossed
//! borders, what is processed, and whether something may be done.

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::path::PathBuf;

use custody::sheet::{self, Raw};
use serde_json::{Value, json};
use support::desk::Desk;

const TENANT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/policy/kstar.toml");

impl Desk {
    /// A table as a file in every format, read back: the same rows in each, as many as there should be.
    fn files(&self, arguments: &[&str], code: i32, rows: usize) -> Value {
        let (csv, xlsx, document) = (self.file("t.csv"), self.file("t.xlsx"), self.file("t.json"));
        let lines = self.file("t.jsonl");
        for (format, path, more) in [
            ("csv", &csv, &["--bom"][..]),
            ("xlsx", &xlsx, &[]),
            ("json", &document, &[]),
            ("jsonl", &lines, &[]),
        ] {
            let told = self.run(&[arguments, &["--format", format, "--out", path], more].concat()).ends(code);
            assert!(told.err.contains(&format!("{rows} rows in ")), "{arguments:?}: {}", told.err);
            assert_eq!(told.out, "", "{arguments:?}: the file has it all");
        }
        let written = fs::read(&csv).unwrap();
        assert_eq!(&written[..3], b"\xEF\xBB\xBF", "{arguments:?}: Excel is told that it is UTF-8");
        let document: Value = serde_json::from_slice(&fs::read(&document).unwrap()).unwrap();
        let columns = document["columns"].as_array().unwrap();
        for path in [&csv, &xlsx] {
            let cells = cells(path);
            assert_eq!(cells.len(), rows + 1, "{arguments:?}: headings and rows in {path}");
            for (column, heading) in columns.iter().zip(&cells[0]) {
                let both = format!("{} / {}", column["en"].as_str().unwrap(), column["zh"].as_str().unwrap());
                let same = column["en"] == column["zh"];
                assert!(*heading == both || same, "{arguments:?}: {heading} of {column}");
            }
        }
        let listed = fs::read_to_string(&lines).unwrap();
        let listed: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        // Asked one after the other, each as of its own now.
        let timeless = |rows: &[Value]| -> Vec<Value> {
            let mut rows = rows.to_vec();
            rows.iter_mut().for_each(|row| drop(row.as_object_mut().unwrap().remove("as_of")));
            rows
        };
        assert_eq!(timeless(document["rows"].as_array().unwrap()), timeless(&listed), "{arguments:?}");
        assert!(document["rows"].as_array().unwrap().iter().all(|row| row["computed_at"].is_u64()));
        document["rows"].clone()
    }

    /// What the app of a region tells.
    fn tell(&self, region: &str, who: &str, activity: &str, field: &str, body: Value) {
        let account = json!({ "kind": "IDENTIFIER_KIND_ACCOUNT", "realm": "solar", "value": who });
        let mut event = json!({ "people": [{ "role": "ROLE_DATA_SUBJECT", "identifiers": [account] }],
            "policy_version": "2025-03", "service": format!("solar-{region}") });
        event[field] = body;
        if !activity.is_empty() {
            event["activity"] = json!(format!("solar-{region}.{activity}"));
        }
        let (controller, emitter) = (format!("kstar-{region}"), format!("solar-app-{region}"));
        let command = ["record", "--derive-ids", "--now", "--controller", &controller, "--emitter", &emitter];
        let told = self.fed(&command, &format!("{event}\n")).ends(0);
        assert!(told.err.contains("1 recorded"), "{}", told.err);
    }
}

/// The cells of a file that custody wrote, as text, by the reader of spreadsheets.
fn cells(path: &str) -> Vec<Vec<String>> {
    let text = |raw: &Raw| match raw {
        Raw::Empty => String::new(),
        Raw::Text(text) => text.clone(),
        Raw::Number(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    let name = PathBuf::from(path).file_name().unwrap().to_string_lossy().into_owned();
    let sheets = sheet::read(&name, &fs::read(path).unwrap()).unwrap();
    let [sheet] = &sheets[..] else { panic!("{path} has {} sheets", sheets.len()) };
    sheet.rows.iter().map(|row| row.cells.iter().map(text).collect()).collect()
}

fn one<'a>(values: &'a [Value], field: &str, value: &str) -> &'a Value {
    let mut found = values.iter().filter(|one| one[field] == value);
    let first = found.next().unwrap_or_else(|| panic!("no {field} {value} in {values:?}"));
    assert!(found.next().is_none(), "two of {field} {value}");
    first
}

/// The registers of the tenant, and a day of its apps.
fn set_up() -> Desk {
    let desk = Desk::open();
    let told = desk.run(&["init", "--from", TENANT]).ends(0);
    assert!(told.out.contains("P-ANONYMISATION") && told.out.contains("匿名化"), "{}", told.out);
    for (region, who) in [("cn", "bo"), ("cn", "chen"), ("eu", "anna")] {
        let notice = json!({ "locale": "en", "channel": "NOTICE_CHANNEL_APP", "layer": "NOTICE_LAYER_FULL" });
        desk.tell(region, who, "", "notice_shown", notice);
        let account = json!({ "account_kind": "app", "age_band": "AGE_BAND_ADULT" });
        desk.tell(region, who, "", "account_registered", account);
        desk.tell(region, who, "register", "data_collected", json!({}));
    }
    let support = |cats: &[&str]| {
        json!({ "exporter": "kstar-eu", "recipient_id": "kstar-cn-support", "from_country": "DE",
            "to_country": "CN", "mode": "TRANSFER_MODE_REMOTE_ACCESS", "cats": cats, "purpose": "support" })
    };
    desk.tell("eu", "anna", "", "data_transferred", support(&["pd:Username"]));
    desk.tell("eu", "anna", "", "data_transferred", support(&["pd:Picture"]));
    for who in ["bo", "chen"] {
        let abroad = json!({ "exporter": "kstar-cn", "recipient_id": "cloud", "from_country": "CN",
            "to_country": "SG", "cats": ["pd:Username"], "sensitive": false, "purpose": "support" });
        desk.tell("cn", who, "", "data_transferred", abroad);
    }
    desk.tell("cn", "bo", "telemetry", "data_collected", json!({ "cats": ["x:roof_angle"] }));
    let seen = json!({ "sdk_name": "wechat-pay", "sdk_version": "8.0.33", "app_version": "5.2.0",
        "cats": ["x:imei", "x:oaid"], "before_consent": false });
    desk.tell("cn", "bo", "pay", "sdk_observed", seen);
    desk
}

#[test]
fn an_officer_works_through_the_real_binary() {
    let desk = set_up();
    set_up_again(&desk);
    registers(&desk);
    sheets(&desk);
    transfers(&desk);
    findings(&desk);
    processing(&desk);
    questions(&desk);
    laws(&desk);
    desk.served.stop();
}

fn set_up_again(desk: &Desk) {
    let told = desk.run(&["init", "--from", TENANT]).ends(0);
    assert!(told.out.contains("was there") && !told.out.contains("  new  "), "{}", told.out);
    let checked = desk.run(&["init", "--from", TENANT, "--check", "--json"]).ends(1).lines();
    let placeholder = one(&checked, "code", "P-PLACEHOLDER");
    assert_eq!(placeholder["places"][0]["clause"], "12.8");
    let wrong = desk.file("wrong.toml");
    fs::write(&wrong, fs::read_to_string(TENANT).unwrap().replace("role = \"sdk\"", "role = \"vendor\""))
        .unwrap();
    let refused = desk.run(&["init", "--from", &wrong]).ends(2);
    assert!(refused.err.contains("entry 1 of recipient: role is none of the words"), "{}", refused.err);
    desk.run(&["init", "--from", &desk.file("nowhere.toml")]).ends(78);
}

fn registers(desk: &Desk) {
    let recipients = desk.json(&["register", "list", "recipient"]);
    assert_eq!(recipients.len(), 2);
    let wechat = one(&recipients, "id", "tencent-wechat-pay");
    assert_eq!(wechat["version"]["event"]["recipient_registered"]["country"], "CN");
    let table = desk.run(&["register", "list", "service", "--state", "in_force"]).ends(0);
    assert!(
        table.out.contains("solar-cn") && table.err.contains("2 entries"),
        "{}\n{}",
        table.out,
        table.err
    );
    assert_eq!(desk.json(&["register", "list", "hold"]).len(), 0);
    let shown = desk.json(&["register", "show", "mechanism", "scc-support"]);
    assert_eq!(shown[0]["version"]["event"]["transfer_mechanism_registered"]["kind"], "A46-2-c");
    let shown = desk.run(&["register", "show", "policy", "kstar-privacy"]).ends(0);
    assert!(shown.out.contains("2025-03") && shown.out.contains("custody-cli"), "{}", shown.out);
    desk.run(&["register", "show", "mechanism", "scc-moon"]).ends(2);
    desk.run(&["register", "list", "moons"]).ends(64);
    let before = desk.json(&["register", "list", "recipient", "--as-of", "2025-01-01T00:00:00Z"]);
    assert!(before.iter().all(|entry| entry["state"] != "REGISTER_STATE_IN_FORCE"), "{before:?}");
}

fn sheets(desk: &Desk) {
    let rows = desk.files(&["register", "export", "recipient"], 0, 2);
    let wechat = one(rows.as_array().unwrap(), "recipient_id", "tencent-wechat-pay");
    assert_eq!((&wechat["role"], &wechat["sdk.name"]), (&json!("sdk"), &json!("wechat-pay")));
    let import = |file: &str, kind: &str, more: &[&str]| {
        desk.run(&[&["register", "import", file, "--kind", kind, "--for", "kstar-cn"], more].concat())
    };
    // What was exported changes nothing, as a workbook and as text.
    for file in ["t.xlsx", "t.csv"] {
        let told = import(&desk.file(file), "recipient", &["--check"]).ends(0);
        assert!(told.err.contains("2 rows, 2 of them unchanged"), "{file}: {}", told.err);
    }
    let exported = fs::read_to_string(desk.file("t.csv")).unwrap();
    let changed = desk.file("changed.csv");
    let link = || {
        let shown = desk.json(&["register", "show", "recipient", "tencent-wechat-pay"]);
        shown[0]["version"]["event"]["recipient_registered"]["privacy_url"].clone()
    };
    let elsewhere = "https://pay.weixin.qq.com/privacy";
    fs::write(&changed, exported.replace("https://open.weixin.qq.com/", elsewhere)).unwrap();
    let checked = import(&changed, "recipient", &["--check"]).ends(0);
    let told = format!("privacy_url: - https://open.weixin.qq.com/ + {elsewhere}");
    assert!(checked.out.contains("changed") && checked.out.contains(&told), "{}", checked.out);
    assert_eq!(link(), "https://open.weixin.qq.com/", "a check records nothing");
    import(&changed, "recipient", &["--reason", "moved"]).ends(0);
    assert_eq!(link(), elsewhere);
    let history = desk.json(&["register", "history", "recipient", "tencent-wechat-pay"]);
    assert_eq!((history.len(), &history[1]["reason"]), (2, &json!("moved")));
    // What cannot be is told by its place, before and after the service is asked.
    fs::write(&changed, exported.replace(",sdk,", ",vendor,")).unwrap();
    let refused = import(&changed, "recipient", &["--check"]).ends(2);
    assert!(
        refused.err.contains(", column C (role)") && refused.err.contains("nothing was sent"),
        "{}",
        refused.err
    );
    desk.files(&["register", "export", "mechanism"], 0, 1);
    let exported = fs::read_to_string(desk.file("t.csv")).unwrap();
    fs::write(&changed, exported.replace("kstar-cn-support", "stranger")).unwrap();
    let refused = import(&changed, "mechanism", &["--check"]).ends(1);
    assert!(refused.err.contains("row 2, column F (importer)"), "{}", refused.err);
    assert_eq!(desk.json(&["register", "history", "mechanism", "scc-support"]).len(), 1);
}

fn transfers(desk: &Desk) {
    let lines = desk.json(&["transfers", "list"]);
    assert_eq!(lines.len(), 3);
    let covered = one(&lines, "outcome", "TRANSFER_OUTCOME_MECHANISM");
    assert_eq!(
        (&covered["allowed_by"], &covered["importer"]),
        (&json!("scc-support"), &json!("kstar-cn-support"))
    );
    let rows = desk.files(&["transfers", "list"], 0, 3);
    let rows = rows.as_array().unwrap();
    let abroad = one(rows, "exporter", "kstar-cn");
    assert_eq!(
        (&abroad["year_general"], &abroad["count"], &abroad["people"]),
        (&json!(2), &json!(2), &json!(2))
    );
    assert_eq!(abroad["importer_contact"], "none / 未登记");
    assert!(abroad.get("separate_consent_rate").is_none(), "nothing rests on consent: {abroad}");
    let scope = one(rows, "outcome", "OUT OF SCOPE / 超出机制范围");
    assert_eq!(scope["findings"], json!(["F-TRANSFER-SCOPE"]));
    let uncovered = desk.run(&["transfers", "uncovered"]).ends(1);
    assert!(
        uncovered.out.contains("scc-support") && !uncovered.out.contains("kstar-cn "),
        "{}",
        uncovered.out
    );
    assert!(uncovered.err.contains("1 lines that nothing allowed"), "{}", uncovered.err);
    desk.run(&["transfers", "uncovered", "--importer", "cloud"]).ends(0);

    let counters = desk.json(&["transfers", "counters"]);
    assert_eq!((counters.len(), &counters[0]["general"]["count"]), (1, &json!(2)));
    let rows = desk.files(&["transfers", "counters"], 0, 1);
    assert_eq!((&rows[0]["exporter"], &rows[0]["general"]), (&json!("kstar-cn"), &json!(2)));
    assert_eq!((&rows[0]["next_tier"], &rows[0]["next_general"]), (&json!("contract"), &json!(99_998)));
    let table = desk.run(&["transfers", "counters", "--lang", "en"]).ends(0);
    assert!(table.out.contains("People, general") && table.out.contains("99998"), "{}", table.out);
}

fn findings(desk: &Desk) {
    let found = desk.json(&["findings", "list"]);
    let key = "F-UNMAPPED kind=category term=x:roof_angle";
    let unmapped = one(&found, "key", key);
    assert_eq!(
        (&unmapped["severity"], &unmapped["state"]),
        (&json!("SEVERITY_MEDIUM"), &json!("FINDING_STATE_OPEN"))
    );
    let only = desk.json(&["findings", "list", "--code", "F-TRANSFER-SCOPE"]);
    assert_eq!(only.len(), 1);
    let rows = desk.files(&["findings", "list"], 0, found.len());
    assert_eq!(rows.as_array().unwrap().len(), found.len());
    let shown = desk.run(&["findings", "show", key, "--language", "zh"]).ends(0);
    assert!(shown.out.contains("GDPR 30") && shown.out.contains("词"), "{}", shown.out);
    let acknowledged = desk.run(&["findings", "acknowledge", key, "--reason", "looked_at"]).ends(0);
    assert!(acknowledged.out.starts_with("recorded at position "), "{}", acknowledged.out);
    let shown = &desk.json(&["findings", "show", key])[0];
    assert_eq!(
        (&shown["state"], &shown["acts"][0]["reason"]),
        (&json!("FINDING_STATE_ACKNOWLEDGED"), &json!("looked_at"))
    );
    desk.run(&["findings", "close", key]).ends(2);
    desk.run(&["findings", "close", key, "--reason", "corrected"]).ends(0);
    assert!(desk.json(&["findings", "list"]).iter().all(|found| found["key"] != key), "it is closed");
    let all = desk.json(&["findings", "list", "--closed"]);
    assert_eq!(one(&all, "key", key)["state"], "FINDING_STATE_CLOSED");
    desk.run(&["findings", "show", "F-CN-FILING-LATE mechanism=x"]).ends(2);
    assert!(desk.json(&["findings", "rules"]).len() > 50);
}

fn processing(desk: &Desk) {
    let activities = desk.json(&["ropa"]);
    let pay = one(&activities, "activity", "solar-cn.pay");
    assert_eq!(pay["recipients"][0]["recipient"], "tencent-wechat-pay");
    let rows = desk.files(&["ropa"], 0, activities.len());
    assert_eq!(one(rows.as_array().unwrap(), "activity", "solar-eu.support")["service"], "solar-eu");
    desk.files(&["ropa", "--cn"], 0, activities.len());
    let processors = desk.json(&["ropa", "--processor"]);
    desk.files(&["ropa", "--processor"], 0, processors.len());
    desk.run(&["ropa", "--cn", "--processor"]).ends(64);
    desk.run(&["ropa", "--count-people", "--known-at", "3"]).ends(64);

    let sdks = desk.json(&["sdks"]);
    let wechat = one(&sdks, "recipient", "tencent-wechat-pay");
    assert_eq!(wechat["uses"][0]["undeclared"][0]["id"], "x:oaid");
    let rows = desk.files(&["sdks"], 0, 1);
    assert_eq!(rows[0]["sdk_name"], "wechat-pay");
}

fn questions(desk: &Desk) {
    let check = |activity: &str, more: &[&str]| {
        desk.fed(&[&["check", "--activity", activity], more].concat(), "account@solar:bo\n")
    };
    let refused = check("solar-cn.locate", &["--json"]).ends(1).lines();
    assert_eq!(refused[0]["reasons"][0]["code"], "consent_missing");
    let told = check("solar-cn.locate", &[]).ends(1);
    assert!(told.out.contains("NOT ALLOWED") && told.out.contains("PIPL 13"), "{}", told.out);
    let consent = json!({ "purpose": "location_service", "kind": "CONSENT_KIND_SEPARATE" });
    desk.tell("cn", "bo", "", "consent_given", consent);
    let allowed = check("solar-cn.locate", &[]).ends(0);
    assert!(allowed.out.starts_with("allowed"), "{}", allowed.out);
    check("solar-cn.nothing", &[]).ends(1);

    let count = desk.json(&["population", "count", "--recipient", "cloud"]);
    assert_eq!(count[0]["people"], 2);
    let scope = "F-TRANSFER-SCOPE mechanism=scc-support exporter=kstar-eu importer=kstar-cn-support country=CN \
                 purpose=support";
    let affected =
        desk.json(&["population", "list", "--finding", scope, "--reason", "review", "--ticket", "t-1"]);
    assert_eq!(affected.len(), 1);
    let named =
        desk.run(&["population", "list", "--recipient", "cloud", "--reason", "review", "--identifiers"]);
    let named = named.ends(0);
    assert!(["bo", "chen"].iter().all(|who| named.out.contains(who)), "{}", named.out);
    desk.run(&["population", "count"]).ends(2);

    let terms = desk.json(&["terms", "list"]);
    assert_eq!(one(&terms, "term", "x:roof_angle")["count"], 1);
    let map =
        ["terms", "map", "category", "x:roof_angle", "pd:ServiceConsumptionBehaviour", "--reason", "same"];
    let tried = desk.run(&[&map[..], &["--check"]].concat()).ends(0);
    assert!(tried.out.contains("F-UNMAPPED kind=category term=x:roof_angle"), "{}", tried.out);
    assert!(tried.err.contains("nothing was recorded"), "{}", tried.err);
    desk.run(&map).ends(0);
    assert!(desk.json(&["terms", "list"]).iter().all(|term| term["term"] != "x:roof_angle"));
}

fn laws(desk: &Desk) {
    let laws = desk.json(&["law", "list"]);
    let in_force = laws.iter().find(|law| law["in_force"] == true).unwrap();
    let adopted = &in_force["adoptions"][0]["position"];
    assert_eq!(in_force["adoptions"].as_array().unwrap().len(), 1, "by the tenant's file");
    let version = in_force["version"].as_str().unwrap();
    let again = desk.json(&["law", "adopt", version, "--reason", "review"]);
    assert_eq!((&again[0]["position"], &again[0]["already_adopted"]), (adopted, &json!(true)));
    let said = desk.run(&["law", "adopt", version]).ends(0);
    assert!(said.out.contains(&format!("at position {adopted}; nothing was recorded")), "{}", said.out);
    assert_eq!(desk.json(&["law", "list"]), laws);
    let table = desk.run(&["law", "list"]).ends(0);
    assert!(table.out.contains("custody-law") && table.out.contains("yes"), "{}", table.out);
    let document = desk.run(&["law", "show", version]).ends(0);
    assert!(document.out.contains("[[") && document.out.contains("PIPL"), "{}", document.out);
    desk.run(&["law", "show", "1999"]).ends(2);
}
