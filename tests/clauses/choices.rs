//! Clauses 1.2, 2, 3.1, 4.1, 5, 10, 12.6, 13 and 16: what people were told, what they agreed to, and whether that
//! is kept.

use serde_json::{Value, json};

use crate::house::{ANNA, BO, CHEN, House, Who};

const NOTHING: [&str; 0] = [];

async fn agrees(house: &House, who: Who, purpose: &str, kind: &str) {
    let given = json!({ "purpose": purpose, "kind": kind, "method": "dialog" });
    house.tell(who, "", "consent_given", given).await;
}

async fn withdraws(house: &House, who: Who, purpose: &str) {
    house.tell(who, "", "consent_withdrawn", json!({ "purpose": purpose, "method": "dialog" })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_1_2_1_a_position_is_taken_only_after_asking() {
    let house = House::with(&[ANNA]).await;
    agrees(&house, ANNA, "location_service", "explicit").await;
    house.tell(ANNA, "locate", "data_collected", json!({})).await;
    assert_eq!(house.found("F-NO-CONSENT").await, NOTHING);
    // What is asked for within five minutes counts as having been there; after six it does not.
    house.tell(BO, "locate", "data_collected", json!({})).await;
    house.clock.advance_ms(5 * 60_000);
    agrees(&house, BO, "location_service", "explicit").await;
    assert_eq!(house.found("F-NO-CONSENT").await, ["service=solar-cn purpose=location_service"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_1_2_1_a_track_in_china_has_a_consent_of_its_own() {
    let house = House::with(&[BO, CHEN]).await;
    let track = json!({ "activity": "solar-cn.track", "service": "solar-cn", "sensitive": true, "regimes": ["CN"],
        "purposes": [{ "id": "location_service", "basis": "consent" }], "cats": ["pd:GPSCoordinate"],
        "record_kind": "location", "source": "device" });
    house.desk("kstar-cn", "activity_registered", track).await;
    agrees(&house, BO, "location_service", "separate").await;
    house.tell(BO, "track", "data_collected", json!({})).await;
    assert_eq!(house.found("F-NO-SEPARATE-CONSENT").await, NOTHING);
    agrees(&house, CHEN, "location_service", "explicit").await;
    house.tell(CHEN, "track", "data_collected", json!({})).await;
    assert_eq!(
        house.found("F-NO-SEPARATE-CONSENT").await,
        ["service=solar-cn purpose=location_service recipient=-"]
    );
}

/// Who denies a permission types the number, or has the default picture.
async fn denied_then_refused(permission: &str, feature: &str, within_a_day: bool) -> Vec<String> {
    let house = House::with(&[BO]).await;
    let denied = json!({ "permission": permission, "state": "denied", "purpose": "service_provision" });
    house.tell(BO, "", "device_permission_changed", denied).await;
    if !within_a_day {
        house.days(1);
    }
    let refused = json!({ "feature": feature, "cause": permission });
    house.tell(BO, "", "service_refused", refused).await;
    house.found("F-FORCED-PERMISSION").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_1_2_2_without_the_camera_devices_are_added_all_the_same() {
    assert_eq!(
        denied_then_refused("camera", "add_device", true).await,
        ["service=solar-cn feature=add_device cause=camera"]
    );
    assert_eq!(denied_then_refused("camera", "add_device", false).await, NOTHING, "for another reason");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_1_2_3_without_the_storage_stations_are_added_all_the_same() {
    assert_eq!(
        denied_then_refused("storage", "add_station", true).await,
        ["service=solar-cn feature=add_station cause=storage"]
    );
    assert_eq!(denied_then_refused("storage", "add_station", false).await, NOTHING);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_2_a_nothing_is_used_for_what_it_was_not_collected_for() {
    let house = House::with(&[BO]).await;
    house.tell(BO, "use", "data_used", json!({ "purpose": "service_provision" })).await;
    assert_eq!(house.found("F-PURPOSE-CREEP").await, NOTHING);
    house.tell(BO, "use", "data_used", json!({ "purpose": "product_research" })).await;
    assert_eq!(house.found("F-PURPOSE-CREEP").await, ["service=solar-cn purpose=product_research"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_2_e_managing_software_is_one_purpose_and_no_other() {
    let house = House::with(&[ANNA]).await;
    house.tell(ANNA, "use", "data_used", json!({ "purpose": "software_management" })).await;
    assert_eq!(house.found("F-PURPOSE-CREEP").await, NOTHING);
    house.tell(ANNA, "use", "data_used", json!({ "purpose": "fraud_prevention" })).await;
    assert_eq!(house.found("F-PURPOSE-CREEP").await, ["service=solar-eu purpose=fraud_prevention"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_2_f_another_service_of_the_company_asks_first() {
    let house = House::with(&[BO, CHEN]).await;
    let added = |compatibility: &str| json!({ "purpose": { "id": "cross_service", "basis": "consent" }, "compatibility": compatibility });
    agrees(&house, BO, "cross_service", "explicit").await;
    house.tell(BO, "", "purpose_added", added("new_consent")).await;
    assert_eq!(house.found("F-PURPOSE-CREEP").await, NOTHING);
    house.tell(CHEN, "", "purpose_added", added("new_consent")).await;
    assert_eq!(house.found("F-PURPOSE-CREEP").await, ["service=solar-cn purpose=cross_service"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_3_1_who_switches_it_off_is_not_located_any_more() {
    let house = House::with(&[ANNA]).await;
    agrees(&house, ANNA, "location_service", "explicit").await;
    house.tell(ANNA, "locate", "data_collected", json!({})).await;
    withdraws(&house, ANNA, "location_service").await;
    assert_eq!(house.found("F-NO-CONSENT").await, NOTHING, "what was taken before was allowed");
    let position = house.tell(ANNA, "locate", "data_collected", json!({})).await;
    let found = house.findings("F-NO-CONSENT").await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].positions, [position]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_4_1_third_parties_get_data_with_a_permission_of_their_own() {
    let house = House::with(&[BO, CHEN]).await;
    let paid = json!({ "recipient_id": "tencent-wechat-pay", "method": "sdk", "cats": ["x:imei"] });
    let asked = json!({ "purpose": "payment", "recipient": "tencent-wechat-pay", "kind": "separate",
        "method": "dialog" });
    house.tell(BO, "", "consent_given", asked).await;
    house.tell(BO, "pay", "data_shared", paid.clone()).await;
    assert_eq!(house.found("F-NO-SEPARATE-CONSENT").await, NOTHING);
    agrees(&house, CHEN, "payment", "explicit").await;
    house.tell(CHEN, "pay", "data_shared", paid).await;
    assert_eq!(
        house.found("F-NO-SEPARATE-CONSENT").await,
        ["service=solar-cn purpose=payment recipient=tencent-wechat-pay"]
    );
}

fn promoted(nature: &str, template: &str) -> Value {
    json!({ "channel": "email", "nature": nature, "template": template })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_5_1_advertisements_end_with_the_consent() {
    let house = House::with(&[ANNA]).await;
    agrees(&house, ANNA, "direct_marketing", "explicit").await;
    house.tell(ANNA, "marketing", "message_sent", promoted("marketing", "autumn")).await;
    withdraws(&house, ANNA, "direct_marketing").await;
    assert_eq!(house.found("F-MARKETING-OPTOUT").await, NOTHING);
    house.tell(ANNA, "marketing", "message_sent", promoted("marketing", "autumn")).await;
    assert_eq!(house.found("F-MARKETING-OPTOUT").await, ["service=solar-eu template=autumn channel=email"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_5_2_an_announcement_is_no_advertisement() {
    let house = House::with(&[BO]).await;
    house.tell(BO, "message", "message_sent", promoted("service", "maintenance")).await;
    assert_eq!(house.found("F-MARKETING-OPTOUT").await, NOTHING);
    house.tell(BO, "message", "message_sent", promoted("service", "marketing-autumn")).await;
    assert_eq!(
        house.found("F-MARKETING-OPTOUT").await,
        ["service=solar-cn template=marketing-autumn channel=email"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_10_whoever_uses_a_service_was_shown_its_policy() {
    let house = House::with(&[BO]).await;
    assert_eq!(house.found("F-NOTICE-MISSING").await, NOTHING);
    house.tell(ANNA, "", "account_registered", json!({ "account_kind": "app" })).await;
    house.tell(ANNA, "register", "data_collected", json!({})).await;
    assert_eq!(house.found("F-NOTICE-MISSING").await, ["service=solar-eu"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_12_6_who_objects_gets_no_advertisements() {
    let house = House::with(&[ANNA, BO]).await;
    for who in [ANNA, BO] {
        agrees(&house, who, "direct_marketing", "explicit").await;
    }
    let upheld = json!({ "purpose": "direct_marketing", "case_id": "C-1" });
    house.tell(ANNA, "", "objection_upheld", upheld).await;
    house.tell(BO, "marketing", "message_sent", promoted("marketing", "autumn")).await;
    assert_eq!(house.found("F-MARKETING-OPTOUT").await, NOTHING, "somebody else objected");
    house.tell(ANNA, "marketing", "message_sent", promoted("marketing", "autumn")).await;
    assert_eq!(house.found("F-MARKETING-OPTOUT").await, ["service=solar-eu template=autumn channel=email"]);
}

const SCREEN: &str = "Yjnq4inPkjfZ0qC8Fxpr8rh3y9VquCi1N7AckA4kK4g=";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_13_one_acceptance_is_no_consent_to_everything() {
    let house = House::with(&[ANNA]).await;
    let on_one_screen = |purpose: &str| json!({ "purpose": purpose, "kind": "explicit", "method": "tick", "evidence_sha256": SCREEN });
    for purpose in ["improvement", "analytics"] {
        house.tell(ANNA, "", "consent_given", on_one_screen(purpose)).await;
    }
    agrees(&house, ANNA, "direct_marketing", "explicit").await;
    assert_eq!(house.found("F-BUNDLED-CONSENT").await, NOTHING, "advertisements have a screen of their own");
    house.tell(ANNA, "", "consent_given", on_one_screen("direct_marketing")).await;
    let found = house.found("F-BUNDLED-CONSENT").await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("service=solar-eu policy_version=2025-03 purposes="), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_13_for_a_child_a_guardian_consents() {
    let house = House::with(&[]).await;
    let given = |guardian: bool| {
        json!({ "purpose": "improvement", "kind": "explicit", "method": "tick", "age_band": "lt13",
            "guardian_consent": guardian })
    };
    let child = json!({ "account_kind": "app", "age_band": "lt13" });
    for (who, guardian) in [(BO, true), (CHEN, false)] {
        assert_eq!(house.found("F-CHILD").await, NOTHING, "{who:?}");
        house.tell(who, "", "account_registered", child.clone()).await;
        let mut event = house.event(who, "", "consent_given", given(guardian));
        event.regimes = vec!["CN".to_owned()];
        house.record(event).await;
    }
    assert_eq!(house.found("F-CHILD").await, ["service=solar-cn country=CN"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_16_going_on_is_no_consent_to_a_change() {
    let house = House::with(&[ANNA, BO]).await;
    let used = json!({ "purpose": "improvement", "operation": "x:fault_analysis" });
    for who in [ANNA, BO] {
        agrees(&house, who, "improvement", "explicit").await;
        house.tell(who, "telemetry", "data_collected", json!({})).await;
        house.tell(who, "use", "data_used", used.clone()).await;
    }
    let text = |locale: &str| json!({ "locale": locale, "sha256": SCREEN });
    let next = json!({ "policy_id": "kstar-privacy", "version": "2026-10", "locales": [text("zh"), text("en")],
        "effective_at": "2026-10-02T00:00:00Z", "change_kind": "material" });
    house.desk("kstar-cn", "policy_published", next).await;
    house.days(2);
    let notice = json!({ "locale": "en", "channel": "app", "layer": "full" });
    let mut shown = house.event(ANNA, "", "notice_shown", notice);
    shown.policy_version = "2026-10".to_owned();
    house.record(shown).await;
    agrees(&house, ANNA, "improvement", "explicit").await;
    house.tell(ANNA, "use", "data_used", used.clone()).await;
    assert_eq!(house.found("F-NOTICE-STALE").await, NOTHING, "she was told, and asked again");
    house.tell(BO, "use", "data_used", used).await;
    assert_eq!(house.found("F-NOTICE-STALE").await, ["service=solar-cn policy_version=2026-10"]);
}
