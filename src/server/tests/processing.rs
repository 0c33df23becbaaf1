//! Records of processing, SDKs and the lists of an app through the API, and as the files an officer gets.

use super::*;
use crate::cli::sheets::{ropa, sdks, transfers};
use crate::sheet::{self, Column, Kind, Language};

async fn say(running: &Running, place: &Place, n: u8, body: pb::event::Body) -> u64 {
    let mut event = pb::Event { body: Some(body), service: "solar".to_owned(), ..place.event(n) };
    event.people.clear();
    record(running, event).await
}

async fn record(running: &Running, event: pb::Event) -> u64 {
    let request = pb::RecordEventRequest { event: Some(event) };
    client(running).await.ingest().record_event(request).await.unwrap().into_inner().receipt.unwrap().position
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// The WeChat Pay SDK as clause 9.1 of the policy declares it.
fn wechat() -> pb::event::Body {
    pb::event::Body::RecipientRegistered(Box::new(pb::RecipientRegistered {
        recipient_id: "wechat-pay".to_owned(),
        legal_name: "深圳市腾讯计算机系统有限公司".to_owned(),
        role: pb::RecipientRole::Sdk.into(),
        country: "CN".to_owned(),
        cats: texts(&[
            "x:imei",
            "x:android_id",
            "x:device_serial",
            "pd:MACAddress",
            "x:wlan_ap",
            "x:installed_apps",
        ]),
        purposes: texts(&["payment"]),
        sdk: Some(pb::SdkInfo {
            name: "WeChat-Pay".to_owned(),
            versions: texts(&["6.8.0"]),
            package: "com.tencent.mm.opensdk".to_owned(),
        }),
        privacy_url: "https://open.weixin.qq.com".to_owned(),
        ..Default::default()
    }))
}

fn seen(version: &str, cats: &[&str]) -> pb::event::Body {
    pb::event::Body::SdkObserved(pb::SdkObserved {
        sdk_name: "WeChat-Pay".to_owned(),
        sdk_version: version.to_owned(),
        app_version: "3.1".to_owned(),
        cats: texts(cats),
        before_consent: Some(false),
        ..Default::default()
    })
}

fn controller() -> pb::event::Body {
    pb::event::Body::ControllerRegistered(Box::new(pb::ControllerRegistered {
        controller: "kstar".to_owned(),
        legal_name: "深圳科士达科技股份有限公司".to_owned(),
        country: "CN".to_owned(),
        credit_code: "914403007954257495".to_owned(),
        ..Default::default()
    }))
}

fn importer() -> pb::event::Body {
    pb::event::Body::RecipientRegistered(Box::new(pb::RecipientRegistered {
        recipient_id: "aws".to_owned(),
        legal_name: "AWS EMEA SARL".to_owned(),
        role: pb::RecipientRole::Processor.into(),
        country: "DE".to_owned(),
        ..Default::default()
    }))
}

fn service() -> pb::event::Body {
    pb::event::Body::ServiceRegistered(pb::ServiceRegistered {
        service: "solar".to_owned(),
        owner: "kstar".to_owned(),
        storage_country: "CN".to_owned(),
        ..Default::default()
    })
}

fn activity() -> pb::event::Body {
    let purpose = pb::PurposeBasis { id: "payment".to_owned(), basis: pb::LegalBasis::Contract.into() };
    pb::event::Body::ActivityRegistered(Box::new(pb::ActivityRegistered {
        activity: "solar.pay".to_owned(),
        service: "solar".to_owned(),
        purposes: vec![purpose],
        cats: texts(&["pd:BankAccount"]),
        recipients: texts(&["wechat-pay"]),
        ..Default::default()
    }))
}

/// Controller, service, SDK, activity, and what was observed; the last position.
async fn registered(running: &Running, place: &Place) -> u64 {
    let bodies = [controller(), service(), wechat(), activity(), seen("6.8.0", &["x:imei", "x:oaid"])];
    let mut last = 0;
    for (n, body) in bodies.into_iter().enumerate() {
        last = say(running, place, n as u8 + 1, body).await;
    }
    last
}

fn moment(at_least: u64) -> pb::ProcessingMoment {
    pb::ProcessingMoment { at_least: Some(at_least), ..Default::default() }
}

/// A table as an officer's spreadsheet shows it: read by a library that did not write it.
fn opened(sheet: &sheet::Sheet, language: Language) -> Vec<Vec<String>> {
    let made_at = "2026-03-01T08:00:00Z".parse().unwrap();
    let book = sheet::xlsx::write(sheet, language, made_at).unwrap();
    let read = sheet::read("book.xlsx", &book).unwrap();
    // What a list's values hold is not to be taken apart.
    let as_text = |column: &Column| match column.kind {
        Kind::List => Column { kind: Kind::Text, ..*column },
        _ => *column,
    };
    let columns: Vec<Column> = sheet.columns.iter().map(as_text).collect();
    let rows = sheet::typed(&read[0], &columns, &[]).unwrap().rows;
    rows.into_iter().map(|row| row.cells.iter().map(|cell| cell.shown(language)).collect()).collect()
}

fn shown(sheet: &sheet::Sheet, language: Language) -> Vec<Vec<String>> {
    sheet.rows.iter().map(|row| row.iter().map(|cell| cell.shown(language)).collect()).collect()
}

fn cell<'a>(sheet: &sheet::Sheet, row: &'a [String], field: &str) -> &'a str {
    &row[sheet.columns.iter().position(|column| column.field == field).unwrap()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_9_1_the_sdk_register_holds_what_was_read_against_what_was_declared() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    registered(&running, &place).await;
    place.clock.advance_ms(60_000);
    let last = say(&running, &place, 20, seen("6.9.0", &["x:imei", "pd:Contact"])).await;
    let client = client(&running).await;
    let (found, from) = crate::cli::sdks::all(&client, moment(last)).await.unwrap();
    assert_eq!((found.len(), from.computed_at), (1, last + 1));
    let ids = |terms: &[pb::Term]| terms.iter().map(|term| term.id.clone()).collect::<Vec<_>>();
    let sdk = &found[0];
    assert_eq!(sdk.recipient, "wechat-pay");
    assert_eq!(ids(&sdk.uses[0].undeclared), ["x:oaid"], "used but undeclared");
    assert!(ids(&sdk.unused).contains(&"x:installed_apps".to_owned()), "declared but unused");
    assert_eq!(ids(&sdk.uses[1].added), ["pd:Contact"], "changed since the last version");
    assert_eq!(sdk.uses[1].version_declared, Some(false));

    let sheet = sdks::sdks(&found, &from, Language::Both);
    let rows = opened(&sheet, Language::Both);
    assert_eq!(rows, shown(&sheet, Language::Both), "a workbook says the same");
    assert_eq!(cell(&sheet, &rows[0], "company"), "深圳市腾讯计算机系统有限公司");
    assert_eq!(cell(&sheet, &rows[0], "computed_at"), (last + 1).to_string());
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn article_30_the_record_of_processing_is_a_function_of_the_moment() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    let last = registered(&running, &place).await;
    for n in [21, 22, 22] {
        let mut event = place.event(n);
        event.activity = "solar.pay".to_owned();
        event.service = "solar".to_owned();
        record(&running, event).await;
    }
    let client = client(&running).await;
    let head = running.app().log.head() - 1;
    let (records, from) = crate::cli::ropa::records(&client, moment(head), true).await.unwrap();
    let [one] = &records[..] else { panic!("{records:?}") };
    assert_eq!((one.people, one.revision, from.computed_at), (Some(2), 1, head + 1));
    assert_eq!(one.unlimited[0].id, "payment", "no rule yet");
    let controller = one.controller.as_ref().unwrap();
    assert!(!controller.has_contact, "no data protection officer is named");
    assert_eq!(controller.registered.as_ref().unwrap().credit_code, "914403007954257495");

    for (sheet, field) in [
        (ropa::records(&records, &from, Language::Both), "credit_code"),
        (ropa::rows(&records, &from, Language::Both), "ways"),
    ] {
        let rows = opened(&sheet, Language::Both);
        assert_eq!(rows, shown(&sheet, Language::Both), "a workbook says the same");
        assert_ne!(cell(&sheet, &rows[0], field), "");
    }
    let sheet = ropa::records(&records, &from, Language::Zh);
    let rows = opened(&sheet, Language::Zh);
    let told = |field: &str| cell(&sheet, &rows[0], field);
    assert_eq!(told("recipients"), "深圳市腾讯计算机系统有限公司 (第三方软件开发工具包（SDK）, CN)");
    assert_eq!((told("purposes"), told("sensitive")), ("支付", "是"));

    let before = pb::ProcessingMoment { known_at: Some(2), ..Default::default() };
    let (records, _) = crate::cli::ropa::records(&client, before, false).await.unwrap();
    assert_eq!(records, [], "as known before it was registered");
    let earlier = pb::ProcessingMoment {
        as_of: Some(crate::cli::record::timestamp("2026-02-01T00:00:00Z".parse().unwrap())),
        at_least: Some(last),
        ..Default::default()
    };
    let (records, _) = crate::cli::ropa::records(&client, earlier, false).await.unwrap();
    assert_eq!(records, [], "as of before it was registered");
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lists_of_an_app_name_the_sdk_and_where_its_policy_is() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    let last = registered(&running, &place).await;
    let request = pb::GetAppListsRequest { service: "solar".to_owned(), moment: Some(moment(last)) };
    let mut processing = client(&running).await.processing();
    let lists = processing.get_app_lists(request).await.unwrap().into_inner();
    let from = lists.computed_from.clone().unwrap();
    let sheet = sdks::shared(&lists.shared, &from, Language::Both);
    let rows = opened(&sheet, Language::Both);
    assert_eq!(rows.len(), 1);
    assert_eq!(cell(&sheet, &rows[0], "privacy_url"), "https://open.weixin.qq.com");
    let sheet = sdks::collected(&lists.collected, &from, Language::Both);
    let rows = opened(&sheet, Language::Both);
    let by_sdk = rows.iter().filter(|row| cell(&sheet, row, "sdk_name") == "WeChat-Pay");
    assert_eq!(by_sdk.count(), 2, "what an SDK collects inside the app counts in both");
    let refused = processing
        .get_app_lists(pb::GetAppListsRequest { service: "so lar".to_owned(), moment: None })
        .await
        .unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clause_11_the_register_of_transfers_has_what_a_chinese_officer_keeps() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    // Somebody who is known from then on.
    record(&running, pb::Event { event_id: place.event(104).event_id, ..place.event(4) }).await;
    say(&running, &place, 10, controller()).await;
    let contact = pb::Identifier {
        kind: pb::IdentifierKind::Email.into(),
        value: "li.wei@importer.example".to_owned(),
        ..Default::default()
    };
    let people = vec![pb::Person { role: pb::Role::Contact.into(), identifiers: vec![contact.clone()] }];
    record(&running, pb::Event { people, body: Some(importer()), ..place.event(11) }).await;
    let clauses = pb::event::Body::TransferMechanismRegistered(Box::new(pb::TransferMechanismRegistered {
        mechanism_id: "sc-1".to_owned(),
        regime: pb::TransferRegime::Cn.into(),
        kind: "cn_standard_contract".to_owned(),
        exporter: "kstar".to_owned(),
        importer: "aws".to_owned(),
        importer_country: "DE".to_owned(),
        frequency: pb::Frequency::Continuous.into(),
        signed_at: Some(crate::cli::record::timestamp(place.clock.now())),
        expires_at: Some(pb::LocalDate { date: "2026-12-31".to_owned(), tz: "Asia/Shanghai".to_owned() }),
        filing: Some(pb::Filing { number: "GD-2026-7".to_owned(), ..Default::default() }),
        ..Default::default()
    }));
    say(&running, &place, 2, clauses).await;
    let assessed = pb::event::Body::AssessmentRecorded(pb::AssessmentRecorded {
        kind: pb::AssessmentKind::Pipia.into(),
        subject_matter: "sc-1".to_owned(),
        result: pb::AssessmentResult::OkWithMeasures.into(),
        ..Default::default()
    });
    say(&running, &place, 3, assessed).await;
    let abroad = pb::event::Body::DataTransferred(pb::DataTransferred {
        recipient_id: "aws".to_owned(),
        from_country: "CN".to_owned(),
        to_country: "DE".to_owned(),
        cats: texts(&["pd:EmailAddress"]),
        sensitive: Some(true),
        ..Default::default()
    });
    let last = record(&running, pb::Event { body: Some(abroad), ..place.event(4) }).await;
    let client = client(&running).await;
    let request = pb::ListTransfersRequest { at_least: Some(last), ..Default::default() };
    let (lines, from) = crate::cli::transfers::all(&client, request).await.unwrap();
    let request = pb::ListExportCountersRequest { at_least: None };
    let counters = client.transfers().list_export_counters(request).await.unwrap().into_inner().counters;
    let beside = transfers::Beside { from, counters, findings: Vec::new() };
    let sheet = transfers::transfers(&lines, &beside, Language::Zh);
    let rows = opened(&sheet, Language::Zh);
    let [row] = &rows[..] else { panic!("{lines:?}") };
    for (field, expected) in [
        ("mechanism", "sc-1"),
        ("outcome", "有合法机制"),
        ("year_sensitive", "1"),
        ("frequency", "持续"),
        ("expires_at", "2026-12-31"),
        ("filing_number", "GD-2026-7"),
        ("pipia_result", "采取措施后通过"),
        ("importer_contact", "已登记"),
        ("separate_consent_rate", ""),
    ] {
        assert_eq!(cell(&sheet, row, field), expected, "{field}");
    }
    assert!(!format!("{lines:?} {rows:?}").contains("li.wei"), "who it is stays closed");
    let request = pb::FindSubjectRequest { identifier: Some(contact) };
    let found = client.subjects().find_subject(request).await.unwrap().into_inner();
    let contact = crate::app::subjects::Name::Subject(found.candidates[0].subject.parse().unwrap());
    let caller = crate::app::Caller::local();
    running.app().erase(&caller, &[contact], super::erasure::REASON).await.unwrap();
    let at_least = Some(running.app().log.head() - 1);
    let request = pb::ListTransfersRequest { at_least, ..Default::default() };
    let (lines, _) = crate::cli::transfers::all(&client, request).await.unwrap();
    assert!(!lines[0].importer_has_contact && lines[0].importer_name == "AWS EMEA SARL");
    running.stop().await.unwrap();
}
