//! What is written is read again, in every format and language; nothing runs; nothing hostile gets far.

use std::io::{Cursor, Write};

use proptest::prelude::*;

use super::*;
use crate::domain::time::Timestamp;

const COLUMNS: [Column; 6] = [
    Column::new("recipient_id", "Recipient", "接收方", Kind::Text),
    Column::new("subjects", "People", "人数", Kind::Integer),
    Column::new("sensitive", "Sensitive", "是否敏感", Kind::Flag),
    Column::new("contract_to", "Last day", "到期日", Kind::Date),
    Column::new("signed_at", "Signed", "签署时间", Kind::Instant),
    Column::new("cats", "Categories", "个人信息种类", Kind::List),
];

fn table(rows: Vec<Vec<Cell>>) -> Sheet {
    Sheet { title: ("Recipients", "接收方"), columns: COLUMNS.to_vec(), rows }
}

fn made_at() -> Timestamp {
    "2026-03-01T08:00:00Z".parse().unwrap()
}

fn csv_of(sheet: &Sheet, language: Language, bom: bool) -> Vec<u8> {
    let mut out = Vec::new();
    csv::write(sheet, &mut out, language, bom).unwrap();
    out
}

fn rows_of(bytes: &[u8]) -> Vec<Vec<Cell>> {
    let sheets = read("file.csv", bytes).unwrap();
    assert_eq!(sheets.len(), 1);
    typed(&sheets[0], &COLUMNS, &[]).unwrap().rows.into_iter().map(|row| row.cells).collect()
}

fn faults_of(bytes: &[u8]) -> Vec<String> {
    let sheets = read("file.csv", bytes).unwrap();
    typed(&sheets[0], &COLUMNS, &[]).unwrap_err().iter().map(Fault::to_string).collect()
}

fn cell(kind: Kind) -> BoxedStrategy<Cell> {
    let some = match kind {
        // With what spreadsheets run, what CSV and XML quote, and what XLSX writes for other characters.
        Kind::Text => "[=+@'\t-]?([a-z0-9 ,;\"'<>&_=+@\r\n\t、个人信息-]|_x000D_|＝){0,12}[a-z]"
            .prop_map(Cell::Text)
            .boxed(),
        Kind::Integer => (0..=limits::NUMBER).prop_map(Cell::Integer).boxed(),
        Kind::Flag => any::<bool>().prop_map(Cell::Flag).boxed(),
        Kind::Date => (700_000i32..3_000_000)
            .prop_map(|day| Cell::Date(chrono::NaiveDate::from_num_days_from_ce_opt(day).unwrap()))
            .boxed(),
        Kind::Instant => {
            (0i64..253_402_300_799_999).prop_map(|ms| Cell::Instant(Timestamp::from_ms(ms).unwrap())).boxed()
        }
        Kind::List => proptest::collection::vec("[=+@]?[a-z:个]([a-z 个]{0,4}[a-z个])?", 1..4)
            .prop_map(Cell::List)
            .boxed(),
    };
    prop_oneof![4 => some, 1 => Just(Cell::Empty)].boxed()
}

fn rows() -> impl Strategy<Value = Vec<Vec<Cell>>> {
    let row = COLUMNS.map(|column| cell(column.kind)).to_vec();
    let row = row
        .prop_filter("rows without anything are left out", |row| row.iter().any(|cell| *cell != Cell::Empty));
    proptest::collection::vec(row, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_written_is_read_again(rows in rows(), language in 0usize..3, bom: bool) {
        let language = [Language::En, Language::Zh, Language::Both][language];
        let sheet = table(rows.clone());
        prop_assert_eq!(&rows_of(&csv_of(&sheet, language, bom)), &rows);
        let book = xlsx::write(&sheet, language, made_at()).unwrap();
        prop_assert_eq!(&rows_of(&book), &rows);
        prop_assert_eq!(xlsx::write(&sheet, language, made_at()).unwrap(), book, "the same bytes again");
    }

    /// No cell that a spreadsheet opens from CSV begins with what it would run.
    #[test]
    fn nothing_in_a_csv_file_runs(rows in rows()) {
        let bytes = csv_of(&table(rows), Language::Both, false);
        let mut reader = ::csv::ReaderBuilder::new().has_headers(false).from_reader(&bytes[..]);
        for record in reader.records() {
            for cell in record.unwrap().iter() {
                prop_assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝']), "{cell:?}");
            }
        }
    }

    /// Whatever is done to a workbook, it is read, or an error: no panic, no abort.
    #[test]
    fn a_harmed_workbook_is_an_error_or_a_table(at in 0usize..4_000, byte: u8, cut in 0usize..4_000) {
        let row = vec![
            Cell::text("wechat"), Cell::Integer(7), Cell::Flag(true), Cell::Empty, Cell::Instant(made_at()),
            Cell::list(["a".to_owned(), "b".to_owned()]),
        ];
        let mut book = xlsx::write(&table(vec![row]), Language::Both, made_at()).unwrap();
        let end = book.len();
        book[at % end] ^= byte;
        let _read = read("b.xlsx", &book);
        book.truncate(cut % end);
        let _read = read("b.xlsx", &book);
    }
}

#[test]
fn a_heading_is_known_by_its_field_or_by_either_label() {
    for headings in [
        "recipient_id,cats",
        "Recipient,Categories",
        "接收方,个人信息种类",
        "Recipient / 接收方,Categories / 个人信息种类",
        " RECIPIENT ／ 接收方 ,categories",
        "recipient_id;cats",
        "recipient_id\tcats",
    ] {
        let mark = if headings.contains(';') {
            ';'
        } else if headings.contains('\t') {
            '\t'
        } else {
            ','
        };
        let text = format!("{headings}\r\nwechat{mark}\"pd:UID、x:imei； x:oaid\"\r\n");
        let cats = Cell::List(vec!["pd:UID".to_owned(), "x:imei".to_owned(), "x:oaid".to_owned()]);
        assert_eq!(rows_of(text.as_bytes())[0][5], cats, "{headings}");
    }
}

#[test]
fn chinese_is_read_in_every_encoding_that_an_excel_saves() {
    let text = "接收方,到期日,是否敏感\r\n腾讯,2026/3/1,是\r\n";
    let (gb18030, ..) = encoding_rs::GB18030.encode(text);
    let utf16: Vec<u8> =
        [0xFEFFu16].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    for bytes in
        [text.as_bytes().to_vec(), [b"\xEF\xBB\xBF", text.as_bytes()].concat(), gb18030.into_owned(), utf16]
    {
        let rows = rows_of(&bytes);
        assert_eq!(rows[0][0], Cell::Text("腾讯".to_owned()));
        assert_eq!(rows[0][2..4], [Cell::Flag(true), Cell::Date("2026-03-01".parse().unwrap())]);
    }
    assert_eq!(read("f.csv", b"recipient_id\n\xFF\xFF\n"), Err(Error::Encoding));
}

#[test]
fn every_bad_cell_is_named_with_its_place() {
    let text = "recipient_id,subjects,sensitive,contract_to,signed_at,colour\n\
        wechat,many,perhaps,01.03.2026,2026-03-01 08:00,red,,blue\n\
        \n\
        maps,12,no,2026-02-30,2026-03-01T08:00:00+08:00\n";
    let expected = [
        "sheet file.csv, row 1, column F: is a heading that nobody knows; there are recipient_id, subjects, \
         sensitive, contract_to, signed_at, cats",
        "sheet file.csv, row 2, column B (subjects): is no number such as 12, without a sign, a point or blanks, below 2^53",
        "sheet file.csv, row 2, column C (sensitive): is neither yes nor no (是, 否, true, false, 1, 0)",
        "sheet file.csv, row 2, column D (contract_to): is no day such as 2026-03-01",
        "sheet file.csv, row 2, column E (signed_at): is no instant with a zone, such as 2026-03-01T08:00:00Z, \
         written as text",
        "sheet file.csv, row 2, column H: stands under no heading",
        "sheet file.csv, row 3, column D (contract_to): is no day such as 2026-03-01",
    ];
    assert_eq!(faults_of(text.as_bytes()), expected);
    assert_eq!(faults_of(b"recipient_id,Recipient\na,b\n").len(), 1, "a heading that stands twice");
    assert_eq!(faults_of(b"").len(), 1);
}

/// What officers' own spreadsheets do to what they type.
#[test]
fn what_a_spreadsheet_makes_of_numbers_and_days_is_understood_or_refused() {
    let mut book = rust_xlsxwriter::Workbook::new();
    let page = book.add_worksheet();
    for (at, heading) in
        ["recipient_id", "subjects", "sensitive", "contract_to", "signed_at", "cats"].iter().enumerate()
    {
        page.write_string(0, at as u16, *heading).unwrap();
    }
    let day = rust_xlsxwriter::ExcelDateTime::parse_from_str("2026-03-01").unwrap();
    let at = rust_xlsxwriter::ExcelDateTime::parse_from_str("2026-03-01T08:00:00").unwrap();
    let date = rust_xlsxwriter::Format::new().set_num_format("yyyy/m/d h:mm");
    page.write_number(1, 0, 42).unwrap();
    page.write_number(1, 1, 1_000_000).unwrap();
    page.write_boolean(1, 2, true).unwrap();
    page.write_datetime_with_format(1, 3, &day, &date).unwrap();
    page.write_number(2, 0, 914_403_007_954_257_495_f64).unwrap();
    page.write_number(2, 1, 1.5).unwrap();
    page.write_datetime_with_format(2, 4, &at, &date).unwrap();
    page.write_formula(3, 0, rust_xlsxwriter::Formula::new("=1/0").set_result("#DIV/0!")).unwrap();
    page.write_formula(4, 0, rust_xlsxwriter::Formula::new("=A2").set_result("maps")).unwrap();
    let sheets = read("b.xlsx", &book.save_to_buffer().unwrap()).unwrap();
    let faults = typed(&sheets[0], &COLUMNS, &[]).unwrap_err();
    let places: Vec<_> =
        faults.iter().map(|fault| (fault.row, fault.column.as_ref().unwrap().1.unwrap())).collect();
    assert_eq!(
        places,
        [(3, "recipient_id"), (3, "subjects"), (3, "signed_at"), (4, "recipient_id")],
        "{faults:?}"
    );
    let good = RawSheet { rows: [&sheets[0].rows[..2], &sheets[0].rows[4..]].concat(), ..sheets[0].clone() };
    let rows = typed(&good, &COLUMNS, &[]).unwrap().rows;
    let day = Cell::Date("2026-03-01".parse().unwrap());
    let first = [Cell::text("42"), Cell::Integer(1_000_000), Cell::Flag(true), day];
    assert_eq!(rows[0].cells[..4], first);
    assert_eq!((rows[1].number, &rows[1].cells[0]), (5, &Cell::text("maps")), "the value of a formula");
}

/// A workbook whose parts are these.
fn workbook(parts: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in parts {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// One with other shared texts and another sheet than was written.
fn with(strings: &str, cells: &str) -> Vec<u8> {
    let book = xlsx::write(&table(Vec::new()), Language::En, made_at()).unwrap();
    let mut archive = zip::ZipArchive::new(Cursor::new(book)).unwrap();
    let mut parts = Vec::new();
    for n in 0..archive.len() {
        let mut part = archive.by_index(n).unwrap();
        let (name, mut bytes) = (part.name().unwrap().into_owned(), Vec::new());
        std::io::Read::read_to_end(&mut part, &mut bytes).unwrap();
        match name.as_str() {
            "xl/sharedStrings.xml" => bytes = strings.as_bytes().to_vec(),
            "xl/worksheets/sheet1.xml" => {
                bytes = format!("<worksheet><sheetData>{cells}</sheetData></worksheet>").into_bytes();
            }
            _ => {}
        }
        parts.push((name, bytes));
    }
    let parts: Vec<(&str, Vec<u8>)> =
        parts.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    workbook(&parts)
}

#[test]
fn hostile_workbooks_end_early_with_what_is_wrong() {
    let bomb = workbook(&[("xl/worksheets/sheet1.xml", vec![b' '; limits::SHEET_UNPACKED_BYTES + 1])]);
    assert!(bomb.len() < 1 << 20);
    assert_eq!(read("b.xlsx", &bomb), Err(Error::Unpacked));
    let many: Vec<(String, Vec<u8>)> =
        (0..=limits::SHEET_PARTS).map(|n| (n.to_string(), Vec::new())).collect();
    let many: Vec<(&str, Vec<u8>)> =
        many.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    assert!(matches!(read("b.xlsx", &workbook(&many)), Err(Error::Malformed(_))));
    assert_eq!(read("b.xlsx", &vec![b'P'; limits::SHEET_BYTES + 1]), Err(Error::TooLarge));
    assert_eq!(read("b.xls", b"\xD0\xCF\x11\xE0 and so on"), Err(Error::Closed));

    let text = "x".repeat(limits::CELL_CHARS);
    let one = format!("<sst><si><t>{text}</t></si></sst>");
    let cell = |name: &str| format!("<row><c r=\"{name}\" t=\"s\"><v>0</v></c></row>");
    assert_eq!(read("b.xlsx", &with(&one, &cell("A1"))).unwrap()[0].rows.len(), 1);
    // Small cells that all name one long text.
    let cells: String = (1..4_000).map(|row| cell(&format!("A{row}"))).collect();
    assert_eq!(read("b.xlsx", &with(&one, &cells)), Err(Error::Cells));
    let far = read("b.xlsx", &with(&one, &cell("XFD1")));
    assert!(matches!(far, Err(Error::Columns { row: 1, .. })), "{far:?}");
    let deep = read("b.xlsx", &with(&one, &cell("A1048576")));
    assert!(matches!(deep, Err(Error::Rows { .. })), "{deep:?}");
    let long = read("b.xlsx", &with(&format!("<sst><si><t>{text}y</t></si></sst>"), &cell("C7")));
    assert!(matches!(&long, Err(Error::Cell { row: 7, column, .. }) if column == "C"), "{long:?}");
    for announced in ["999999999999", "18446744073709551615", "99999999999999999999999"] {
        let sst = format!("<sst uniqueCount = '{announced}'><si><t>a</t></si></sst>");
        assert!(matches!(read("b.xlsx", &with(&sst, &cell("A1"))), Err(Error::Malformed(_))), "{announced}");
    }
    // Entities of entities, and a text of another that is not there.
    let entities =
        "<!DOCTYPE sst [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;\">]><sst><si><t>&b;</t></si></sst>";
    assert!(matches!(read("b.xlsx", &with(entities, &cell("A1"))), Err(Error::Malformed(_))));
    assert!(read("b.xlsx", &with("<sst></sst>", &cell("A1"))).is_err());
}

#[test]
fn a_file_for_programs_names_fields_and_leaves_out_what_is_empty() {
    let row = vec![
        Cell::text("=wechat"),
        Cell::Integer(7),
        Cell::Flag(false),
        Cell::Date("2026-03-01".parse().unwrap()),
        Cell::Empty,
        Cell::list(["pd:UID".to_owned()]),
    ];
    let sheet = table(vec![row]);
    let mut out = Vec::new();
    json::lines(&sheet, &mut out).unwrap();
    let line = r#"{"recipient_id":"=wechat","subjects":7,"sensitive":false,"contract_to":"2026-03-01","cats":["pd:UID"]}"#;
    let (told, line): (serde_json::Value, serde_json::Value) =
        (serde_json::from_slice(&out).unwrap(), serde_json::from_str(line).unwrap());
    assert_eq!(told, line);
    let mut out = Vec::new();
    json::document(&sheet, &mut out).unwrap();
    let document: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(
        document["columns"][0],
        serde_json::json!({"field": "recipient_id", "en": "Recipient", "zh": "接收方"})
    );
    assert_eq!(document["rows"][0], line);
}

#[test]
fn what_no_workbook_holds_is_refused_by_its_place() {
    let row = vec![Cell::text("x".repeat(limits::CELL_CHARS + 1))];
    let sheet = Sheet { columns: COLUMNS[..1].to_vec(), ..table(vec![row]) };
    let refused = xlsx::write(&sheet, Language::En, made_at()).unwrap_err();
    assert_eq!(refused.to_string(), "sheet Recipients, row 2, column A: has more than 32767 characters");
    assert_eq!(
        (letters(0), letters(25), letters(26), letters(702)),
        ("A".into(), "Z".into(), "AA".into(), "AAA".into())
    );
}
