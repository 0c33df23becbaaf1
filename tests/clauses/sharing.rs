//! Clauses 4, 9 and 10: to whom data are given, through which SDKs, and under whose policy.

use serde_json::{Value, json};

use crate::house::{ANNA, BO, House, id};

const NOTHING: [&str; 0] = [];
const WECHAT: [&str; 6] =
    ["x:imei", "x:android_id", "x:device_serial", "pd:MACAddress", "x:wlan_ap", "x:installed_apps"];

/// An installer with a contract of October 2026, in Shanghai's days.
async fn with_installer() -> House {
    let house = House::with(&[BO]).await;
    let installer = json!({ "recipient_id": "installer", "legal_name": "Installer (test)", "role": "processor",
        "country": "CN", "contract_kind": "pipl21", "contract_ref": "i-1", "cats": ["pd:Username", "pd:PhysicalAddress"],
        "contract_from": { "date": "2026-10-01", "tz": "Asia/Shanghai" },
        "contract_to": { "date": "2026-10-15", "tz": "Asia/Shanghai" },
        "purposes": ["service_provision", "disputes"] });
    house.desk("kstar-cn", "recipient_registered", installer).await;
    house
}

fn shared(purpose: &str, safeguards: &[&str]) -> Value {
    json!({ "recipient_id": "installer", "cats": ["pd:PhysicalAddress"], "purpose": purpose, "method": "file",
        "safeguards": safeguards })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_4_1_who_got_data_of_somebody_is_told_by_name() {
    let house = with_installer().await;
    house.tell(BO, "", "data_shared", shared("service_provision", &["encryption"])).await;
    let report = house.report(BO).await;
    let told: Vec<_> =
        report.recipients.iter().map(|to| (to.legal_name.as_str(), to.country.as_str())).collect();
    assert_eq!(told, [("Installer (test)", "CN")]);
    assert_eq!(id(&report.recipients[0].categories.first().cloned()), "pd:PhysicalAddress");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_4_2_a_contract_is_in_force_to_the_end_of_its_last_day() {
    let house = with_installer().await;
    // It is noon of the first; fourteen days and eleven hours later the last day has half an hour left.
    house.days(14);
    house.clock.advance_ms((11 * 60 + 20) * 60_000);
    house.tell(BO, "", "data_shared", shared("service_provision", &["encryption"])).await;
    let code = "F-RECIPIENT-NO-CONTRACT";
    assert_eq!(house.found(code).await, NOTHING);
    let position = house.tell(BO, "", "data_shared", shared("service_provision", &["encryption"])).await;
    let found = house.findings(code).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].key, "F-RECIPIENT-NO-CONTRACT recipient=installer contract=i-1");
    assert_eq!(found[0].positions, [position]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_4_2_1_to_provide_the_service_is_what_the_contract_is_for() {
    let house = with_installer().await;
    house.tell(BO, "", "data_shared", shared("service_provision", &["encryption"])).await;
    assert_eq!(house.found("F-PURPOSE-CREEP").await, NOTHING);
    house.tell(BO, "", "data_shared", shared("security", &["encryption"])).await;
    assert_eq!(house.found("F-PURPOSE-CREEP").await, ["service=solar-cn purpose=security"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_4_2_2_an_advertiser_gets_nothing_for_another_purpose() {
    let house = House::with(&[BO]).await;
    let advertiser = json!({ "recipient_id": "ads", "legal_name": "Advertiser (test)", "role": "controller",
        "country": "CN", "contract_kind": "pipl23", "contract_from": { "date": "2026-10-01", "tz": "Asia/Shanghai" },
        "purposes": ["direct_marketing"] });
    house.desk("kstar-cn", "recipient_registered", advertiser).await;
    let to = |purpose: &str| {
        json!({ "recipient_id": "ads", "cats": ["pd:TelephoneNumber"], "purpose": purpose,
            "safeguards": ["encryption"] })
    };
    house.tell(BO, "", "data_shared", to("direct_marketing")).await;
    assert_eq!(house.found("F-PURPOSE-CREEP").await, NOTHING);
    house.tell(BO, "", "data_shared", to("service_provision")).await;
    assert_eq!(house.found("F-PURPOSE-CREEP").await, ["service=solar-cn purpose=service_provision"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_4_2_3_duties_of_the_agreement_are_a_purpose_of_their_own() {
    let house = with_installer().await;
    house.tell(BO, "", "data_shared", shared("disputes", &["encryption"])).await;
    assert_eq!(house.found("F-PURPOSE-CREEP").await, NOTHING, "the contract names them");
    house.tell(BO, "", "data_shared", shared("warranty", &["encryption"])).await;
    assert_eq!(house.found("F-PURPOSE-CREEP").await, ["service=solar-cn purpose=warranty"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_4_2_4_what_is_shared_is_protected() {
    let house = with_installer().await;
    house.tell(BO, "", "data_shared", shared("service_provision", &["pseudonymisation"])).await;
    assert_eq!(house.found("F-SHARE-NO-SAFEGUARD").await, NOTHING);
    house.tell(BO, "", "data_shared", shared("service_provision", &[])).await;
    assert_eq!(house.found("F-SHARE-NO-SAFEGUARD").await, ["recipient=installer activity=-"]);
}

fn decided(country: &str, legal: Option<&str>, decision: &str, approval: Option<&str>) -> Value {
    let mut body = json!({ "authority": "authority-1", "country": country, "decision": decision,
        "scope": ["pd:Username"], "legal_ref": legal, "approval_ref": approval });
    body.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    body
}

const DECIDED: &str = "authority_disclosure_decided";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_4_3_1_a_law_is_named() {
    let house = House::with(&[BO]).await;
    house.tell_under("CN", BO, DECIDED, decided("CN", Some("CSL 28"), "complied", None)).await;
    house.tell_under("CN", BO, DECIDED, decided("CN", None, "refused", None)).await;
    assert_eq!(house.found("F-AUTHORITY-DISCLOSURE").await, NOTHING);
    house.tell_under("CN", BO, DECIDED, decided("CN", None, "partly", None)).await;
    assert_eq!(house.found("F-AUTHORITY-DISCLOSURE").await, ["authority=authority-1 legal_ref=-"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_4_3_2_a_judgment_is_named_too() {
    let house = House::with(&[ANNA]).await;
    house.tell_under("EU", ANNA, DECIDED, decided("DE", Some("ZPO 142"), "complied", None)).await;
    assert_eq!(house.found("F-AUTHORITY-DISCLOSURE").await, NOTHING);
    house.tell_under("EU", ANNA, DECIDED, decided("DE", None, "complied", None)).await;
    assert_eq!(house.found("F-AUTHORITY-DISCLOSURE").await, ["authority=authority-1 legal_ref=-"]);
    assert_eq!(house.found("F-FOREIGN-AUTHORITY").await, NOTHING, "no data of China");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_4_3_3_a_foreign_authority_needs_an_approval_at_home() {
    let house = House::with(&[BO]).await;
    house.tell_under("CN", BO, DECIDED, decided("US", Some("28 USC 1782"), "complied", Some("moj-7"))).await;
    house.tell_under("CN", BO, DECIDED, decided("US", Some("28 USC 1782"), "refused", None)).await;
    assert_eq!(house.found("F-FOREIGN-AUTHORITY").await, NOTHING);
    house.tell_under("CN", BO, DECIDED, decided("US", Some("28 USC 1782"), "complied", None)).await;
    assert_eq!(house.found("F-FOREIGN-AUTHORITY").await, ["authority=authority-1 legal_ref=28%20USC%201782"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_4_3_5_an_interest_is_balanced_before_data_are_given_for_it() {
    let house = House::with(&[ANNA]).await;
    let insurer = json!({ "recipient_id": "insurer", "legal_name": "Insurer (test)", "role": "controller",
        "country": "DE", "purposes": ["disputes"] });
    house.desk("kstar-eu", "recipient_registered", insurer).await;
    let given = |more: Value| {
        let mut body = json!({ "recipient_id": "insurer", "cats": ["pd:Username"], "purpose": "disputes",
            "safeguards": ["encryption"] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let on_interest = |of: &str| given(json!({ "basis": "legitimate_interest", "assessment_ref": of }));
    let assessed = async |kind: &str, of: &str, result: &str| {
        let body = json!({ "kind": kind, "subject_matter": of, "result": result });
        house.desk("kstar-eu", "assessment_recorded", body).await
    };
    let code = "F-NO-ASSESSMENT";
    assessed("lia", "lia-1", "ok_with_measures").await;
    house.tell(ANNA, "", "data_shared", on_interest("lia-1")).await;
    house.tell(ANNA, "", "data_shared", given(json!({ "basis": "contract" }))).await;
    assert_eq!(house.found(code).await, NOTHING);
    let unbalanced = house.tell(ANNA, "", "data_shared", on_interest("lia-2")).await;
    let of_insurer = "F-NO-ASSESSMENT activity=- recipient=insurer kind=lia";
    let told = async || {
        let found = house.findings(code).await;
        found.into_iter().map(|one| (one.key, one.count, one.positions)).collect::<Vec<_>>()
    };
    assert_eq!(told().await, [(of_insurer.to_owned(), 1, vec![unbalanced])]);
    // Neither an assessment of another kind, nor one that came out against it, nor one that comes afterwards.
    assessed("dpia", "lia-2", "ok").await;
    assessed("lia", "lia-2", "not_ok").await;
    let again = house.tell(ANNA, "", "data_shared", on_interest("lia-2")).await;
    assessed("lia", "lia-2", "ok").await;
    house.tell(ANNA, "", "data_shared", on_interest("lia-2")).await;
    assert_eq!(told().await, [(of_insurer.to_owned(), 2, vec![unbalanced, again])]);
    // What the event does not say its activity does.
    let activity = |document: &str| {
        json!({ "activity": "solar-eu.enforce", "service": "solar-eu", "assessment_ref": document,
            "purposes": [{ "id": "disputes", "basis": "legitimate_interest" }], "regimes": ["EU"] })
    };
    house.desk("kstar-eu", "activity_registered", activity("lia-3")).await;
    house.tell(ANNA, "enforce", "data_shared", given(json!({}))).await;
    house.desk("kstar-eu", "activity_registered", activity("lia-1")).await;
    house.tell(ANNA, "enforce", "data_shared", given(json!({}))).await;
    let told = told().await;
    assert_eq!(
        (told.len(), told[1].0.as_str(), told[1].1),
        (2, "F-NO-ASSESSMENT activity=solar-eu.enforce recipient=- kind=lia", 1)
    );
}

fn seen(sdk: &str, version: &str, more: &[&str], early: bool) -> Value {
    let cats: Vec<&str> = WECHAT.iter().chain(more).copied().collect();
    json!({ "sdk_name": sdk, "sdk_version": version, "app_version": "5.2.0", "cats": cats, "before_consent": early })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_9_an_sdk_is_registered_before_it_is_built_in() {
    let house = House::with(&[BO]).await;
    house.tell(BO, "pay", "sdk_observed", seen("wechat-pay", "8.0.33", &[], false)).await;
    assert_eq!(house.found("F-SDK-UNDECLARED").await, NOTHING);
    house.tell(BO, "app_start", "sdk_observed", seen("fast-push", "1.0", &[], false)).await;
    assert_eq!(house.found("F-SDK-UNDECLARED").await, ["sdk_name=fast-push"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_9_a_version_that_reads_more_is_seen() {
    let house = House::with(&[BO]).await;
    house.tell(BO, "pay", "sdk_observed", seen("wechat-pay", "8.0.33", &[], false)).await;
    house.tell(BO, "pay", "sdk_observed", seen("wechat-pay", "8.0.34", &[], false)).await;
    assert_eq!(house.found("F-SDK-CHANGED").await, NOTHING);
    house.tell(BO, "pay", "sdk_observed", seen("wechat-pay", "8.0.35", &["x:clipboard"], false)).await;
    assert_eq!(house.found("F-SDK-CHANGED").await, ["sdk=wechat-pay sdk_version=8.0.35"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_9_1_wechat_pay_takes_its_six_items_and_no_other() {
    let house = House::with(&[BO]).await;
    house.tell(BO, "order", "data_collected", json!({ "slot": "order-1" })).await;
    house.tell(BO, "pay", "sdk_observed", seen("wechat-pay", "8.0.33", &[], false)).await;
    let share = |cats: &[&str]| json!({ "recipient_id": "tencent-wechat-pay", "method": "sdk", "cats": cats, "slot": "order-1" });
    house.tell(BO, "pay", "data_shared", share(&WECHAT)).await;
    assert_eq!(house.found("F-SDK-SCOPE").await, NOTHING);
    // A sister of a listed term is another item: an OAID is no IMEI.
    house.tell(BO, "pay", "sdk_observed", seen("wechat-pay", "8.0.33", &["x:oaid"], false)).await;
    house.tell(BO, "pay", "data_shared", share(&["x:imei", "pd:GPSCoordinate"])).await;
    let of = "sdk=wechat-pay recipient=tencent-wechat-pay category=";
    assert_eq!(house.found("F-SDK-SCOPE").await, [format!("{of}pd:GPSCoordinate"), format!("{of}x:oaid")]);
    let report = house.report(BO).await;
    assert!(
        report.recipients[0].legal_name.contains("深圳市腾讯计算机系统有限公司"),
        "{:?}",
        report.recipients
    );
    assert_eq!(report.recipients[0].privacy_url, "https://open.weixin.qq.com/");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_9_1_nothing_is_read_before_consent() {
    let house = House::with(&[BO]).await;
    house.tell(BO, "pay", "sdk_observed", seen("wechat-pay", "8.0.33", &[], false)).await;
    assert_eq!(house.found("F-PRE-CONSENT-SDK").await, NOTHING);
    house.tell(BO, "pay", "sdk_observed", seen("wechat-pay", "8.0.33", &[], true)).await;
    assert_eq!(house.found("F-PRE-CONSENT-SDK").await, ["sdk=wechat-pay app_version=5.2.0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_10_the_policy_of_a_service_prevails() {
    let house = House::with(&[BO]).await;
    let collected =
        json!({ "cats": ["pd:Picture"], "purposes": [{ "id": "service_provision", "basis": "contract" }] });
    house.tell(BO, "add_device", "data_collected", collected.clone()).await;
    let code = "F-CATEGORY-UNDECLARED";
    let general = "policy_version=2025-03 purpose=service_provision category=pd:Picture";
    assert_eq!(house.found(code).await, [general]);
    let text =
        |locale: &str| json!({ "locale": locale, "sha256": "Yjnq4inPkjfZ0qC8Fxpr8rh3y9VquCi1N7AckA4kK4g=" });
    let own = json!({ "policy_id": "solar-cn-own", "version": "2026-10", "service": "solar-cn",
        "overrides": "kstar-privacy", "locales": [text("zh"), text("en")],
        "effective_at": custody::clock::Clock::now(&house.clock).to_string(),
        "declared": [{ "purpose": "service_provision", "cats": ["pd:Picture"] }] });
    house.desk("kstar-cn", "policy_published", own).await;
    house.tell(BO, "add_device", "data_collected", collected).await;
    assert_eq!(house.found(code).await, [general], "what came before stays, and nothing is added");
    assert_eq!(house.findings(code).await[0].count, 1);
    house.tell(BO, "locate", "data_collected", json!({})).await;
    let of_own = "policy_version=2026-10 purpose=location_service category=pd:GPSCoordinate";
    assert_eq!(house.found(code).await, [general, of_own]);
}
