//! Clauses 0 to 3: what is collected and used, and what people say about it.

use custody::pb::PermissionState;
use serde_json::json;

use crate::house::{ANNA, BO, House, id};

const NOTHING: [&str; 0] = [];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_0_a_policy_is_there_in_both_languages() {
    let house = House::open().await;
    assert_eq!(house.found("F-BILINGUAL").await, NOTHING, "the tenant's own has both");
    let zh = json!({ "locale": "zh-CN", "sha256": "Yjnq4inPkjfZ0qC8Fxpr8rh3y9VquCi1N7AckA4kK4g=" });
    let published = json!({ "policy_id": "promotion", "version": "2026-11", "service": "solar-cn",
        "locales": [zh], "effective_at": "2026-11-01T00:00:00Z" });
    let position = house.desk("kstar-cn", "policy_published", published).await;
    let found = house.findings("F-BILINGUAL").await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].key, "F-BILINGUAL policy=promotion version=2026-11");
    assert_eq!(found[0].positions, [position]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_0_what_is_sensitive_is_assessed_before() {
    let house = House::with(&[BO]).await;
    let activity = |name: &str| {
        json!({ "activity": name, "service": "solar-cn", "sensitive": true, "regimes": ["CN"], "source": "device",
            "purposes": [{ "id": "location_service", "basis": "consent" }], "cats": ["pd:GPSCoordinate"] })
    };
    for name in ["solar-cn.track", "solar-cn.van"] {
        house.desk("kstar-cn", "activity_registered", activity(name)).await;
    }
    let assessed = json!({ "kind": "pipia", "subject_matter": "solar-cn.van", "result": "ok" });
    house.desk("kstar-cn", "assessment_recorded", assessed).await;
    house.tell(BO, "van", "data_collected", json!({})).await;
    assert_eq!(house.found("F-NO-ASSESSMENT").await, NOTHING);
    house.tell(BO, "track", "data_collected", json!({})).await;
    assert_eq!(house.found("F-NO-ASSESSMENT").await, ["activity=solar-cn.track recipient=- kind=pipia"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_0_who_was_shown_which_text_is_known() {
    let house = House::with(&[ANNA]).await;
    let report = house.report(ANNA).await;
    let shown: Vec<_> =
        report.notices.iter().map(|n| (n.policy_version.as_str(), n.locale.as_str())).collect();
    assert_eq!(shown, [("2025-03", "en")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_1_only_what_is_published_is_collected() {
    let house = House::with(&[BO]).await;
    let code = "F-CATEGORY-UNDECLARED";
    assert_eq!(house.found(code).await, NOTHING, "the registration data are published");
    house
        .tell(BO, "locate", "data_collected", json!({ "cats": ["pd:GPSCoordinate", "pd:OfficialID"] }))
        .await;
    assert_eq!(
        house.found(code).await,
        ["policy_version=2025-03 purpose=location_service category=pd:OfficialID"]
    );
    house.tell(BO, "locate", "data_collected", json!({ "cats": ["x:shoe_size"] })).await;
    assert_eq!(house.found("F-UNMAPPED").await, ["kind=category term=x:shoe_size"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_1_1_1_registration_data_are_encrypted() {
    let house = House::with(&[BO]).await;
    house.tell(BO, "register", "data_collected", json!({ "encrypted_at_rest": true })).await;
    assert_eq!(house.found("F-CLEARTEXT").await, NOTHING);
    let position = house.tell(BO, "register", "data_collected", json!({ "encrypted_at_rest": false })).await;
    let found = house.findings("F-CLEARTEXT").await;
    let keys: Vec<&str> = found.iter().map(|finding| finding.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "F-CLEARTEXT service=solar-cn category=pd:PhysicalAddress",
            "F-CLEARTEXT service=solar-cn category=pd:TelephoneNumber"
        ]
    );
    assert!(found.iter().all(|finding| finding.positions == [position] && finding.count == 1));
    let report = house.report(BO).await;
    let held: Vec<&str> = report.categories.iter().map(|held| id(&held.category)).collect();
    for category in ["pd:Username", "pd:TelephoneNumber", "pd:PhysicalAddress"] {
        assert!(held.contains(&category), "{held:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_1_2_1_a_position_has_its_permission_and_its_consent() {
    let house = House::with(&[ANNA]).await;
    let granted =
        json!({ "permission": "location_precise", "state": "granted", "purpose": "location_service" });
    house.tell(ANNA, "", "device_permission_changed", granted).await;
    let given = json!({ "purpose": "location_service", "kind": "explicit", "method": "dialog" });
    house.tell(ANNA, "", "consent_given", given).await;
    house.tell(ANNA, "locate", "data_collected", json!({})).await;
    let report = house.report(ANNA).await;
    assert_eq!(report.permissions[0].state(), PermissionState::Granted);
    assert_eq!(id(&report.consents[0].purpose), "location_service");
    assert_eq!(report.consents[0].history[0].policy_version, "2025-03");
    let held = report.categories.iter().find(|held| id(&held.category) == "pd:GPSCoordinate").unwrap();
    assert_eq!(held.slot, "2026-10-01", "a day's positions are one thing");
    let revoked =
        json!({ "permission": "location_precise", "state": "revoked", "purpose": "location_service" });
    house.tell(ANNA, "", "device_permission_changed", revoked).await;
    assert_eq!(house.report(ANNA).await.permissions[0].state(), PermissionState::Revoked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_1_2_2_camera_only_to_scan() {
    let house = House::with(&[BO]).await;
    let denied = json!({ "permission": "camera", "state": "denied", "purpose": "service_provision" });
    house.tell(BO, "", "device_permission_changed", denied).await;
    house.tell(BO, "add_device", "data_collected", json!({})).await;
    assert_eq!(house.found("F-CATEGORY-UNDECLARED").await, NOTHING, "the number was typed in");
    assert_eq!(house.report(BO).await.permissions[0].state(), PermissionState::Denied);
    let scanned = json!({ "cats": ["x:device_serial", "pd:Picture"] });
    house.tell(BO, "add_device", "data_collected", scanned).await;
    assert_eq!(
        house.found("F-CATEGORY-UNDECLARED").await,
        ["policy_version=2025-03 purpose=service_provision category=pd:Picture"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_1_2_3_storage_only_for_a_picture_of_the_station() {
    let house = House::with(&[BO]).await;
    house.tell(BO, "station_photo", "data_collected", json!({ "slot": "station-1" })).await;
    assert_eq!(house.found("F-CATEGORY-UNDECLARED").await, NOTHING);
    let report = house.report(BO).await;
    let held = report.categories.iter().find(|held| id(&held.category) == "pd:Picture").unwrap();
    assert_eq!((id(&held.record_kind), held.slot.as_str()), ("photo", "station-1"));
    // The place at which the picture was taken stands in its file, too.
    let photo = json!({ "slot": "station-1", "cats": ["pd:Picture", "pd:GPSCoordinate"] });
    house.tell(BO, "station_photo", "data_collected", photo).await;
    assert_eq!(
        house.found("F-CATEGORY-UNDECLARED").await,
        ["policy_version=2025-03 purpose=personalisation category=pd:GPSCoordinate"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_2_a_uses_are_told_by_purpose() {
    let house = House::with(&[BO]).await;
    for (purpose, operation) in
        [("service_provision", "x:display"), ("service_provision", "x:display"), ("security", "x:login")]
    {
        house.tell(BO, "use", "data_used", json!({ "purpose": purpose, "operation": operation })).await;
    }
    let report = house.report(BO).await;
    let used = |purpose: &str| {
        let of = report.purposes.iter().filter(|line| id(&line.purpose) == purpose);
        of.filter_map(|line| line.used.as_ref()).map(|span| span.count).sum::<u64>()
    };
    assert_eq!((used("service_provision"), used("security"), used("personalisation")), (2, 1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_2_b_profiling_leaves_a_choice() {
    let house = House::with(&[BO]).await;
    let decided = |opt_out: bool, effect: &str| json!({ "logic_ref": format!("tips-{opt_out}-{effect}"), "effect": effect, "opt_out_offered": opt_out });
    house.tell(BO, "use", "automated_decision_made", decided(true, "similar")).await;
    house.tell(BO, "use", "automated_decision_made", decided(false, "none")).await;
    assert_eq!(house.found("F-ADM").await, NOTHING);
    house.tell(BO, "use", "automated_decision_made", decided(false, "similar")).await;
    assert_eq!(house.found("F-ADM").await, ["logic_ref=tips-false-similar"]);
}

/// Legitimate interest is no basis under the law of China (PIPL 13), under whatever clause it is used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_2_d_security_rests_on_a_basis_that_the_law_knows() {
    let house = House::with(&[BO, ANNA]).await;
    house.tell(ANNA, "app_start", "data_collected", json!({})).await;
    house.tell(BO, "app_start", "data_collected", json!({})).await;
    assert_eq!(
        house.found("F-BASIS-REGIME").await,
        NOTHING,
        "in Europe it is one, in China it is the contract"
    );
    let interest = json!({ "purposes": [{ "id": "security", "basis": "legitimate_interest" }] });
    house.tell(BO, "app_start", "data_collected", interest).await;
    assert_eq!(
        house.found("F-BASIS-REGIME").await,
        ["activity=solar-cn.app_start service=- purpose=security"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_2_g_analyses_are_not_linked_to_who_somebody_is() {
    let house = House::with(&[ANNA]).await;
    let used =
        |pseudonymous: bool, purpose: &str| json!({ "purpose": purpose, "pseudonymous": pseudonymous });
    house.tell(ANNA, "analytics", "data_used", used(true, "analytics")).await;
    house.tell(ANNA, "use", "data_used", used(false, "security")).await;
    assert_eq!(house.found("F-ANALYTICS-LINKED").await, NOTHING);
    house.tell(ANNA, "analytics", "data_used", used(false, "analytics")).await;
    assert_eq!(house.found("F-ANALYTICS-LINKED").await, ["service=solar-eu"]);
}
