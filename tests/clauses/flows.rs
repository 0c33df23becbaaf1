//! Clauses 6.1 and 11: where data lie, and what crosses a border.

use custody::pb;
use serde_json::{Value, json};

use crate::house::{ANNA, BO, House};
use crate::support::events::account;

const NOTHING: [&str; 0] = [];

/// What the support in China sees of European customers, as the tenant's clauses cover it.
fn support(to: &str, cats: &[&str], purpose: &str) -> Value {
    json!({ "exporter": "kstar-eu", "recipient_id": "kstar-cn-support", "from_country": "DE", "to_country": to,
        "mode": "remote_access", "cats": cats, "purpose": purpose })
}

const SEEN: [&str; 2] = ["pd:Username", "pd:EmailAddress"];

async fn importer(house: &House, id: &str, country: &str) {
    let body = json!({ "recipient_id": id, "legal_name": "Importer (test)", "role": "processor",
        "country": country });
    house.desk("kstar-eu", "recipient_registered", body).await;
}

async fn assessed(house: &House, of: &str) {
    let body = json!({ "kind": "tia", "subject_matter": of, "result": "ok_with_measures" });
    house.desk("kstar-eu", "transfer_assessed", body).await;
}

async fn transferred(house: &House) -> Vec<String> {
    let mut all = Vec::new();
    for code in
        ["F-TRANSFER-NO-MECHANISM", "F-TRANSFER-EXPIRED", "F-TRANSFER-SCOPE", "F-TRANSFER-NO-ASSESSMENT"]
    {
        all.extend(house.findings(code).await.into_iter().map(|finding| finding.key));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_6_1_where_data_of_somebody_lie_is_known() {
    let house = House::with(&[BO, ANNA]).await;
    for (who, country) in [(BO, "CN"), (ANNA, "DE")] {
        let report = house.report(who).await;
        assert!(!report.categories.is_empty());
        assert!(report.categories.iter().all(|held| held.storage_countries == [country]), "{report:?}");
    }
    let abroad = json!({ "collection_country": "CN", "storage_country": "SG" });
    house.tell(BO, "telemetry", "data_collected", abroad).await;
    let report = house.report(BO).await;
    assert!(report.categories.iter().any(|held| held.storage_countries == ["SG"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_11_contract_clauses_cover_what_they_name() {
    let house = House::with(&[ANNA]).await;
    assessed(&house, "scc-support").await;
    house.tell(ANNA, "", "data_transferred", support("CN", &SEEN, "support")).await;
    assert_eq!(transferred(&house).await, NOTHING);
    let lines = house.client.transfers().list_transfers(pb::ListTransfersRequest::default()).await.unwrap();
    let lines = lines.into_inner().lines;
    assert_eq!((lines.len(), lines[0].allowed_by.as_str(), lines[0].people), (1, "scc-support", 1));
    house.tell(ANNA, "", "data_transferred", support("VN", &SEEN, "support")).await;
    house.tell(ANNA, "", "data_transferred", support("CN", &["pd:Picture"], "support")).await;
    house.tell(ANNA, "", "data_transferred", support("CN", &SEEN, "analytics")).await;
    let short = |country: &str, purpose: &str| {
        format!(
            "F-TRANSFER-SCOPE mechanism=scc-support exporter=kstar-eu importer=kstar-cn-support country={country} \
             purpose={purpose}"
        )
    };
    assert_eq!(
        transferred(&house).await,
        [short("CN", "analytics"), short("CN", "support"), short("VN", "support")]
    );
    let uncovered = pb::ListUncoveredTransfersRequest::default();
    let uncovered = house.client.transfers().list_uncovered_transfers(uncovered).await.unwrap().into_inner();
    assert_eq!(uncovered.lines.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_11_clauses_that_ended_cover_nothing_more() {
    let house = House::with(&[ANNA]).await;
    assessed(&house, "scc-support").await;
    house.tell(ANNA, "", "data_transferred", support("CN", &SEEN, "support")).await;
    let ended = json!({ "mechanism_id": "scc-support", "reason": "notice_given" });
    house.desk("kstar-cn", "transfer_mechanism_ended", ended).await;
    assert_eq!(transferred(&house).await, NOTHING, "what happened before stays covered");
    house.tell(ANNA, "", "data_transferred", support("CN", &SEEN, "support")).await;
    assert_eq!(
        transferred(&house).await,
        ["F-TRANSFER-EXPIRED mechanism=scc-support exporter=kstar-eu importer=kstar-cn-support country=CN \
             purpose=support"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_11_a_country_without_decision_needs_a_mechanism() {
    let house = House::with(&[ANNA]).await;
    let to = |country: &str| {
        json!({ "exporter": "kstar-eu", "recipient_id": "mailer", "from_country": "DE", "to_country": country,
            "cats": ["pd:EmailAddress"], "purpose": "direct_marketing" })
    };
    // Of Brazil there is a decision of the Commission; Norway is in the area.
    for country in ["BR", "NO"] {
        house.tell(ANNA, "", "data_transferred", to(country)).await;
    }
    assert_eq!(transferred(&house).await, NOTHING);
    house.tell(ANNA, "", "data_transferred", to("US")).await;
    assert_eq!(
        transferred(&house).await,
        ["F-TRANSFER-NO-MECHANISM mechanism=- exporter=kstar-eu importer=mailer country=US \
             purpose=direct_marketing"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_11_the_law_of_the_other_country_is_assessed() {
    let house = House::with(&[ANNA]).await;
    house.tell(ANNA, "", "data_transferred", support("CN", &SEEN, "support")).await;
    assert_eq!(transferred(&house).await, ["F-TRANSFER-NO-ASSESSMENT mechanism=scc-support"]);
    assessed(&house, "scc-support").await;
    house.tell(ANNA, "", "data_transferred", support("CN", &SEEN, "support")).await;
    let found = house.findings("F-TRANSFER-NO-ASSESSMENT").await;
    assert_eq!((found.len(), found[0].count), (1, 1), "from then on it is");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_11_the_end_of_clauses_in_use_is_told_before() {
    let house = House::with(&[ANNA]).await;
    let next = |id: &str, last: &str| {
        json!({ "mechanism_id": id, "regime": "eu", "kind": "A46-2-c", "module": 2, "exporter": "kstar-eu",
            "importer": "lab", "importer_country": "VN", "signed_at": "2026-01-01T00:00:00Z",
            "expires_at": { "date": last, "tz": "Europe/Berlin" } })
    };
    importer(&house, "lab", "VN").await;
    house.desk("kstar-eu", "transfer_mechanism_registered", next("scc-lab", "2026-12-31")).await;
    let flow = json!({ "exporter": "kstar-eu", "recipient_id": "lab", "from_country": "DE", "to_country": "VN",
        "cats": ["pd:ServiceConsumptionBehaviour"], "purpose": "improvement" });
    house.tell(ANNA, "", "data_transferred", flow).await;
    // Ninety-one days before the end.
    assert_eq!(house.found("F-TRANSFER-EXPIRING").await, NOTHING);
    house.days(2);
    assert_eq!(house.found("F-TRANSFER-EXPIRING").await, ["mechanism=scc-lab"]);
    house.desk("kstar-eu", "transfer_mechanism_registered", next("scc-lab-2", "2027-12-31")).await;
    assert_eq!(house.found("F-TRANSFER-EXPIRING").await, NOTHING, "another takes its place");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_11_what_leaves_china_is_counted_and_its_contract_is_filed() {
    let house = House::with(&[BO]).await;
    let abroad = json!({ "exporter": "kstar-cn", "recipient_id": "cloud", "from_country": "CN", "to_country": "SG",
        "cats": ["pd:Username"], "sensitive": false, "purpose": "service_provision" });
    house.tell(BO, "", "data_transferred", abroad).await;
    assert_eq!(transferred(&house).await, NOTHING, "so few that nothing is asked for");
    let request = pb::ListExportCountersRequest::default();
    let counters =
        house.client.transfers().list_export_counters(request).await.unwrap().into_inner().counters;
    assert_eq!((counters[0].exporter.as_str(), counters[0].tier.as_str()), ("kstar-cn", "exempt"));
    assert_eq!((counters[0].next_tier.as_str(), counters[0].next_general), ("contract", 99_999));
    let contract = json!({ "mechanism_id": "cn-1", "regime": "cn", "kind": "cn_standard_contract", "exporter": "kstar-cn",
            "importer": "cloud", "importer_country": "SG", "signed_at": "2026-10-08T01:00:00Z",
            "effective_at": { "date": "2026-10-09", "tz": "Asia/Shanghai" } });
    house.days(8);
    importer(&house, "cloud", "SG").await;
    house.desk("kstar-cn", "transfer_mechanism_registered", contract).await;
    assert_eq!(house.found("F-CN-FILING-LATE").await, NOTHING, "there are ten working days");
    house.days(20);
    assert_eq!(house.found("F-CN-FILING-LATE").await, ["mechanism=cn-1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_6_1_what_is_collected_in_china_stays_there_or_is_told() {
    let house = House::with(&[BO]).await;
    let stored = |country: &str| json!({ "collection_country": "CN", "storage_country": country });
    house.tell(BO, "telemetry", "data_collected", stored("CN")).await;
    assert_eq!(house.found("F-LOCALISATION").await, NOTHING);
    house.tell(BO, "telemetry", "data_collected", stored("SG")).await;
    assert_eq!(
        house.found("F-LOCALISATION").await,
        ["service=solar-cn category=pd:ServiceConsumptionBehaviour country=SG"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_11_a_look_from_china_is_a_transfer() {
    let house = House::with(&[ANNA]).await;
    assessed(&house, "scc-support").await;
    let looked = || {
        let body =
            json!({ "role": "support", "reason": "fault_report", "from_country": "CN", "ticket": "T-1" });
        let mut event = house.event(ANNA, "support", "staff_accessed", body);
        event.controller = "kstar-cn".to_owned();
        let identifiers = vec![account("w.li")];
        event.people.push(pb::Person { role: pb::Role::Staff.into(), identifiers });
        event
    };
    house.record(looked()).await;
    house.tell(ANNA, "", "data_transferred", support("CN", &SEEN, "support")).await;
    assert_eq!(house.found("F-REMOTE-ACCESS").await, NOTHING);
    house.days(1);
    house.record(looked()).await;
    assert_eq!(house.found("F-REMOTE-ACCESS").await, ["service=solar-eu from_country=CN"]);
}
