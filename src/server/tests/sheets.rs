//! Registers as spreadsheets: what is exported and imported again changes nothing, what an officer changes is
//! shown before it is applied, and what cannot be is told with its place.

use super::*;
use crate::cli::register::sheet::{Rows, all, read, send, table};
use crate::cli::sheets::registers::Register;
use crate::sheet::{self, Cell, Language, Sheet};
use pb::event::Body;

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// One entry of each register that a sheet can set up.
fn entries() -> Vec<Body> {
    let at = |text: &str| Some(crate::cli::record::timestamp(text.parse().unwrap()));
    let day = |date: &str| Some(pb::LocalDate { date: date.to_owned(), tz: "Asia/Shanghai".to_owned() });
    vec![
        Body::ControllerRegistered(Box::new(pb::ControllerRegistered {
            controller: "kstar".to_owned(),
            legal_name: "深圳科士达科技股份有限公司".to_owned(),
            country: "CN".to_owned(),
            establishments: texts(&["CN", "DE"]),
            ..Default::default()
        })),
        Body::ServiceRegistered(pb::ServiceRegistered {
            service: "solar".to_owned(),
            owner: "kstar".to_owned(),
            storage_country: "CN".to_owned(),
            tz: "Asia/Shanghai".to_owned(),
            directed_at_children: Some(false),
            ..Default::default()
        }),
        Body::RecipientRegistered(Box::new(pb::RecipientRegistered {
            recipient_id: "aws".to_owned(),
            legal_name: "=AWS; EMEA".to_owned(),
            role: pb::RecipientRole::Processor.into(),
            country: "DE".to_owned(),
            contract_kind: pb::ContractKind::Pipl21.into(),
            contract_from: day("2026-01-01"),
            contract_to: day("2027-12-31"),
            cats: texts(&["pd:EmailAddress", "pd:UID"]),
            sdk: Some(pb::SdkInfo {
                name: "aws-sdk".to_owned(),
                versions: texts(&["1.0", "2.0"]),
                ..Default::default()
            }),
            ..Default::default()
        })),
        Body::ActivityRegistered(Box::new(pb::ActivityRegistered {
            activity: "solar.pay".to_owned(),
            service: "solar".to_owned(),
            purposes: vec![pb::PurposeBasis {
                id: "payment".to_owned(),
                basis: pb::LegalBasis::Contract.into(),
            }],
            cats: texts(&["pd:EmailAddress"]),
            recipients: texts(&["aws"]),
            sensitive: Some(false),
            ..Default::default()
        })),
        Body::TransferMechanismRegistered(Box::new(pb::TransferMechanismRegistered {
            mechanism_id: "sc-1".to_owned(),
            regime: pb::TransferRegime::Cn.into(),
            kind: "cn_standard_contract".to_owned(),
            exporter: "kstar".to_owned(),
            importer: "aws".to_owned(),
            importer_country: "DE".to_owned(),
            signed_at: at("2026-01-01T08:00:00.007Z"),
            expires_at: day("2027-12-31"),
            annex_sha256: bytes::Bytes::from_static(&[7; 32]),
            filing: Some(pb::Filing { number: "GD-2026-7".to_owned(), ..Default::default() }),
            ..Default::default()
        })),
        Body::AssessmentRecorded(pb::AssessmentRecorded {
            kind: pb::AssessmentKind::Pipia.into(),
            subject_matter: "sc-1".to_owned(),
            result: pb::AssessmentResult::Ok.into(),
            ..Default::default()
        }),
        Body::MappingAdded(pb::MappingAdded {
            kind: pb::MappingKind::Purpose.into(),
            term: "stats".to_owned(),
            maps_to: "improvement".to_owned(),
            ..Default::default()
        }),
    ]
}

const REGISTERS: [Register; 7] = [
    Register::Controller,
    Register::Service,
    Register::Recipient,
    Register::Activity,
    Register::Mechanism,
    Register::Assessment,
    Register::Mapping,
];

fn request(import_id: &str) -> pb::ApplyRegisterEntriesRequest {
    pb::ApplyRegisterEntriesRequest {
        controller: "kstar".to_owned(),
        emitter: "desk".to_owned(),
        import_id: import_id.to_owned(),
        ..Default::default()
    }
}

/// A service with the entries, and a client of it.
async fn set_up(place: &Place) -> (Running, crate::cli::client::Client) {
    let running = place.start().await.unwrap();
    let client = client(&running).await;
    let entry = |body| pb::Event { body: Some(body), ..Default::default() };
    let entries = entries().into_iter().map(entry).collect();
    let set_up = pb::ApplyRegisterEntriesRequest { entries, ..request("set-up") };
    let answer = client.registers().apply_register_entries(set_up).await.unwrap().into_inner();
    assert!(answer.applied, "{answer:?}");
    (running, client)
}

async fn exported(client: &crate::cli::client::Client, running: &Running, register: Register) -> Sheet {
    let kind = REGISTERS.iter().position(|known| *known == register).unwrap();
    use pb::RegisterKind as Kind;
    let kinds = [
        Kind::Controller,
        Kind::Service,
        Kind::Recipient,
        Kind::Activity,
        Kind::Mechanism,
        Kind::Assessment,
        Kind::Mapping,
    ];
    let at_least = Some(running.app().log.head() - 1);
    let request = pb::ListRegisterEntriesRequest {
        kind: kinds[kind].into(),
        at_least,
        page_size: 1,
        ..Default::default()
    };
    let (entries, from) = all(client, request).await.unwrap();
    table(register, &entries, &from).unwrap_or_else(|failure| panic!("{}", failure.message))
}

fn reread(place: &Place, sheet: &Sheet, register: Register, workbook: bool) -> Result<Rows, String> {
    let path = place.root.path().join(if workbook { "r.xlsx" } else { "r.csv" });
    let mut bytes = Vec::new();
    if workbook {
        bytes = sheet::xlsx::write(sheet, Language::Zh, place.clock.now()).unwrap();
    } else {
        sheet::csv::write(sheet, &mut bytes, Language::Both, true).unwrap();
    }
    std::fs::write(&path, bytes).unwrap();
    read(&path, register, None).map_err(|failure| failure.message)
}

async fn checked(client: &crate::cli::client::Client, rows: &Rows) -> Vec<pb::RegisterOutcome> {
    let check = pb::ApplyRegisterEntriesRequest { check_only: true, ..request("") };
    send(client, rows, check).await.unwrap_or_else(|failure| panic!("{}", failure.message))
}

fn set(sheet: &mut Sheet, row: usize, field: &str, cell: Cell) {
    let place = sheet.columns.iter().position(|column| column.field == field).unwrap();
    sheet.rows[row][place] = cell;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_exported_and_imported_again_changes_nothing() {
    let place = Place::new();
    let (running, client) = set_up(&place).await;
    for register in REGISTERS {
        let sheet = exported(&client, &running, register).await;
        assert_eq!(sheet.rows.len(), 1, "{register:?}");
        for workbook in [true, false] {
            let rows = reread(&place, &sheet, register, workbook).unwrap();
            let outcomes = checked(&client, &rows).await;
            let results: Vec<_> = outcomes.iter().map(|one| one.result()).collect();
            assert_eq!(results, [pb::RegisterResult::Unchanged], "{register:?} {workbook}: {outcomes:?}");
        }
    }
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_officer_changes_is_shown_then_applied_and_what_cannot_be_is_told_by_its_place() {
    let place = Place::new();
    let (running, client) = set_up(&place).await;
    let mut sheet = exported(&client, &running, Register::Recipient).await;
    set(&mut sheet, 0, "cats", Cell::list(texts(&["pd:EmailAddress", "x:imei"])));
    let mut new = sheet.rows[0].clone();
    new[0] = Cell::text("maps");
    sheet.rows.push(new);
    let rows = reread(&place, &sheet, Register::Recipient, true).unwrap();
    let outcomes = checked(&client, &rows).await;
    let results: Vec<_> = outcomes.iter().map(|one| (one.id.as_str(), one.result())).collect();
    assert_eq!(results, [("aws", pb::RegisterResult::Changed), ("maps", pb::RegisterResult::New)]);
    assert_eq!(
        (&outcomes[0].changes[0].before, &outcomes[0].changes[0].after),
        (&texts(&["pd:UID"]), &texts(&["x:imei"]))
    );
    assert!(outcomes.iter().all(|one| one.receipt.is_none()), "a check records nothing");
    let mut positions = Vec::new();
    for _ in 0..2 {
        let applied = send(&client, &rows, request("sheet-1")).await;
        let applied = applied.unwrap_or_else(|failure| panic!("{}", failure.message));
        let told = applied.iter().map(|one| one.receipt.as_ref().map(|receipt| receipt.position));
        positions.push(told.collect::<Option<Vec<u64>>>().unwrap());
    }
    assert_eq!(positions[0], positions[1], "one import is applied once");

    let mut sheet = exported(&client, &running, Register::Mechanism).await;
    set(&mut sheet, 0, "importer", Cell::text("nobody"));
    set(&mut sheet, 0, "expires_at.tz", Cell::text("Moon/Sea"));
    let rows = reread(&place, &sheet, Register::Mechanism, true).unwrap();
    let outcomes = checked(&client, &rows).await;
    let told: Vec<String> = rows.faults(2, &outcomes[0]).iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|fault| fault.contains("row 2, column P (expires_at.tz)")), "{told:?}");
    set(&mut sheet, 0, "expires_at.tz", Cell::text("Asia/Shanghai"));
    let rows = reread(&place, &sheet, Register::Mechanism, true).unwrap();
    let outcomes = checked(&client, &rows).await;
    let told: Vec<String> = rows.faults(2, &outcomes[0]).iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|fault| fault.contains("row 2, column F (importer)")), "{told:?}");

    set(&mut sheet, 0, "regime", Cell::text("XX"));
    set(&mut sheet, 0, "module", Cell::text("two"));
    let refused = reread(&place, &sheet, Register::Mechanism, false).map(|_| ()).unwrap_err();
    assert!(refused.contains("sheet r.csv, row 2, column D (module)"), "{refused}");
    set(&mut sheet, 0, "module", Cell::Empty);
    let refused = reread(&place, &sheet, Register::Mechanism, false).map(|_| ()).unwrap_err();
    assert!(refused.contains("sheet r.csv, row 2, column B (regime)"), "{refused}");
    running.stop().await.unwrap();
}

/// Versions of a retention rule as an officer types them.
fn rules(rows: &[(&str, &str, &str, &[&str])]) -> Sheet {
    let columns = Register::RetentionRule.columns();
    let mut sheet = Sheet::new(Register::RetentionRule.title(), &columns);
    for (id, period, replaces, approved_by) in rows {
        let from = if replaces.is_empty() { "2026-01-01" } else { "2026-04-01" };
        let cell = |column: &sheet::Column| match column.field {
            "rule.id" => Cell::text(*id),
            "rule.kind" => Cell::text("cap"),
            "rule.anchor" => Cell::text("collected"),
            "rule.period" => Cell::text(*period),
            "rule.tz" => Cell::text("Asia/Shanghai"),
            "rule.from" => Cell::Date(from.parse().unwrap()),
            "rule.replaces" => Cell::text(*replaces),
            "approved_by" => Cell::list(texts(approved_by)),
            _ => Cell::Empty,
        };
        sheet.rows.push(columns.iter().map(cell).collect());
    }
    sheet
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_names_who_approved_a_shorter_period_and_nobody_reads_it_again() {
    let place = Place::new();
    let (running, client) = set_up(&place).await;
    let register = Register::RetentionRule;
    let told = async |sheet: &Sheet, row: usize| {
        let rows = reread(&place, sheet, register, true).unwrap();
        let outcomes = checked(&client, &rows).await;
        let faults = rows.faults(row, &outcomes[row - 2]);
        (outcomes[row - 2].result(), faults.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let first = ("keep-1", "P2Y", "", &[][..]);
    let shorter = |approved_by| rules(&[first, ("keep-2", "P1Y", "keep-1", approved_by)]);
    for (approved_by, why) in [(&[][..], "approver_missing"), (&["local"][..], "approver_is_publisher")] {
        let (result, faults) = told(&shorter(approved_by), 3).await;
        assert_eq!(result, pb::RegisterResult::Refused, "{approved_by:?}");
        let [fault] = &faults[..] else { panic!("{faults:?}") };
        assert!(fault.contains("row 3, column R (approved_by)") && fault.contains(why), "{fault}");
    }
    let approved = shorter(&["local", "wang-li-of-privacy"]);
    assert_eq!(told(&approved, 3).await, (pb::RegisterResult::New, Vec::new()));
    let rows = reread(&place, &approved, register, false).unwrap();
    let applied = send(&client, &rows, request("rules-1")).await;
    let applied = applied.unwrap_or_else(|failure| panic!("{}", failure.message));
    assert!(applied.iter().all(|one| one.receipt.is_some()), "{applied:?}");
    // The approver is a person, so the register shows no name, and what is exported changes nothing.
    let at_least = applied[1].receipt.as_ref().map(|receipt| receipt.position);
    let kind = pb::RegisterKind::RetentionRule.into();
    let (entries, from) =
        all(&client, pb::ListRegisterEntriesRequest { kind, at_least, page_size: 9, ..Default::default() })
            .await
            .unwrap();
    let exported = table(register, &entries, &from).unwrap_or_else(|failure| panic!("{}", failure.message));
    let place_of = exported.columns.iter().position(|column| column.field == "approved_by").unwrap();
    assert!(exported.rows.len() == 2 && exported.rows.iter().all(|row| row[place_of] == Cell::Empty));
    assert_eq!(told(&exported, 3).await, (pb::RegisterResult::Unchanged, Vec::new()));
    let files = super::erasure::holding(&place.root.path().join("data"), &[b"wang-li-of-privacy".to_vec()]);
    assert_eq!(files, Vec::<String>::new(), "the name is sealed");
    running.stop().await.unwrap();
}
