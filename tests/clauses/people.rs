//! Clauses 5, 7, 12, 13 and 16: what is sent to people, who looks at their data, what is decided about them, and
//! what they agreed to.

use custody::pb;
use serde_json::json;

use crate::house::{ANNA, BO, House, id};
use crate::support::events::account;

const NOTHING: [&str; 0] = [];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_5_1_what_was_sent_to_somebody_is_known() {
    let house = House::with(&[BO]).await;
    let sent = json!({ "channel": "push", "nature": "service", "template": "monthly-yield" });
    house.tell(BO, "message", "message_sent", sent).await;
    let report = house.report(BO).await;
    let message = &report.messages[0];
    assert_eq!((message.template.as_str(), message.channel()), ("monthly-yield", pb::MessageChannel::Push));
    assert_eq!(message.nature(), pb::MessageNature::Service);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_7_3_who_of_the_staff_looked_is_known() {
    let house = House::with(&[ANNA]).await;
    let looked =
        json!({ "role": "support", "reason": "fault_report", "from_country": "DE", "ticket": "T-1" });
    let mut event = house.event(ANNA, "support", "staff_accessed", looked);
    event.people.push(pb::Person { role: pb::Role::Staff.into(), identifiers: vec![account("w.li")] });
    house.record(event).await;
    let report = house.report(ANNA).await;
    let access = &report.accesses[0];
    assert_eq!((access.role.as_str(), access.reason.as_str()), ("support", "fault_report"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_7_3_messages_that_never_came_are_missed() {
    let house = House::open().await;
    let park = |number: u64| pb::Event {
        controller: "kstar-cn".to_owned(),
        emitter: "park-gateway".to_owned(),
        service: "solar-cn".to_owned(),
        activity: "solar-cn.park".to_owned(),
        emitter_seq: Some(number),
        body: Some(pb::event::Body::DataCollected(pb::DataCollected::default())),
        ..Default::default()
    };
    house.record(park(1)).await;
    house.record(park(2)).await;
    assert_eq!(house.found("F-EMITTER-GAP").await, NOTHING);
    house.record(park(5)).await;
    assert_eq!(house.found("F-EMITTER-GAP").await, ["emitter=park-gateway"]);
    house.record(park(3)).await;
    house.record(park(4)).await;
    assert_eq!(house.found("F-EMITTER-GAP").await, NOTHING, "they came after all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_12_7_a_human_looks_at_what_a_machine_decided() {
    let house = House::with(&[ANNA]).await;
    let decided = |review: bool, effect: &str| json!({ "logic_ref": "guarantee-score", "effect": effect, "human_review": review, "outcome": "refused" });
    house.tell(ANNA, "use", "automated_decision_made", decided(true, "legal")).await;
    assert_eq!(house.found("F-ADM").await, NOTHING);
    house.tell(ANNA, "use", "automated_decision_made", decided(false, "legal")).await;
    assert_eq!(house.found("F-ADM").await, ["logic_ref=guarantee-score"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_13_what_somebody_agreed_to_is_known_by_purpose_and_version() {
    let house = House::with(&[ANNA]).await;
    let asked = |purpose: &str| json!({ "purpose": purpose, "kind": "explicit", "method": "dialog" });
    house.tell(ANNA, "", "consent_given", asked("analytics")).await;
    house.tell(ANNA, "", "consent_refused", asked("direct_marketing")).await;
    let report = house.report(ANNA).await;
    let of = |purpose: &str| {
        let consent = report.consents.iter().find(|consent| id(&consent.purpose) == purpose).unwrap();
        (consent.state(), consent.history[0].policy_version.as_str())
    };
    assert_eq!(of("analytics"), (pb::ConsentState::Given, "2025-03"));
    assert_eq!(of("direct_marketing"), (pb::ConsentState::Refused, "2025-03"));
    let withdrawn = json!({ "purpose": "analytics", "kind": "explicit", "method": "dialog" });
    house.tell(ANNA, "", "consent_withdrawn", withdrawn).await;
    let report = house.report(ANNA).await;
    assert!(report.consents.iter().any(|consent| consent.state() == pb::ConsentState::Withdrawn));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_16_who_has_seen_which_version_is_known() {
    let house = House::with(&[ANNA, BO]).await;
    let text =
        |locale: &str| json!({ "locale": locale, "sha256": "Yjnq4inPkjfZ0qC8Fxpr8rh3y9VquCi1N7AckA4kK4g=" });
    let next = json!({ "policy_id": "kstar-privacy", "version": "2026-10", "locales": [text("zh"), text("en")],
        "effective_at": "2026-10-20T00:00:00Z", "change_kind": "material" });
    house.desk("kstar-cn", "policy_published", next).await;
    let shown = pb::Event {
        policy_version: "2026-10".to_owned(),
        ..house.event(ANNA, "", "notice_shown", json!({ "locale": "en", "channel": "app", "layer": "full" }))
    };
    house.record(shown).await;
    let seen = |report: &pb::SubjectReport| {
        let mut versions: Vec<String> = report.notices.iter().map(|n| n.policy_version.clone()).collect();
        versions.sort();
        versions
    };
    assert_eq!(seen(&house.report(ANNA).await), ["2025-03", "2026-10"]);
    assert_eq!(seen(&house.report(BO).await), ["2025-03"]);
}
