//! Workbooks (ISO/IEC 29500). One is written with one sheet: texts as texts, which no spreadsheet runs, numbers
//! and days as its own, instants as text with their zone, because a spreadsheet's times have none.
//!
//! One that is read may be hostile. It is unpacked once beforehand and counted, so that what the library
//! then unpacks is known to be bounded; what its parts announce is checked, because the library makes room
//! for it; and a panic of the library is an error like others.

use std::io::{Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use calamine::{DataRef, ExcelDateTime, Reader, SheetType, Xlsx};
use chrono::{Datelike, NaiveDate};
use rust_xlsxwriter::{DocProperties, Format, Workbook, Worksheet, XlsxError};

use crate::domain::time::Timestamp;
use crate::limits;
use crate::sheet::raw::Filling;
use crate::sheet::{Cell, Column, Error, Kind, Language, Raw, RawSheet, Sheet, letters};

/// Rows below the headings that a workbook can hold.
const ROWS: usize = 1_048_575;
/// A column is as wide as its longest text, within these.
const WIDTHS: std::ops::RangeInclusive<usize> = 10..=60;

/// Writes a table as a workbook. `made_at` stands among its properties; the same table made at the same time
/// is the same file.
pub fn write(sheet: &Sheet, language: Language, made_at: Timestamp) -> Result<Vec<u8>, Error> {
    if sheet.rows.len() > ROWS {
        return Err(Error::Write(format!("a workbook holds {ROWS} rows: write CSV")));
    }
    let failed = |why: XlsxError| Error::Write(why.to_string());
    let mut workbook = Workbook::new();
    let made_at =
        rust_xlsxwriter::ExcelDateTime::from_timestamp(made_at.ms().div_euclid(1_000)).map_err(failed)?;
    workbook.set_properties(&DocProperties::new().set_creation_datetime(&made_at));
    let name = if language == Language::Zh { sheet.title.1 } else { sheet.title.0 };
    let page = workbook.add_worksheet();
    page.set_name(name).map_err(failed)?;
    let formats = Formats::new();
    for (at, column) in sheet.columns.iter().enumerate() {
        head(page, sheet, (at, column), language, &formats).map_err(failed)?;
    }
    for (n, row) in sheet.rows.iter().enumerate() {
        for (at, cell) in row.iter().enumerate() {
            put(page, (n + 1, at), cell, language, &formats, name)?;
        }
    }
    page.set_freeze_panes(1, 0).map_err(failed)?;
    if let Some(last) = sheet.columns.len().checked_sub(1).filter(|_| !sheet.rows.is_empty()) {
        page.autofilter(0, 0, sheet.rows.len() as u32, last as u16).map_err(failed)?;
    }
    workbook.save_to_buffer().map_err(failed)
}

struct Formats {
    heading: Format,
    text: Format,
    date: Format,
}

impl Formats {
    fn new() -> Formats {
        Formats {
            heading: Format::new().set_bold().set_text_wrap(),
            // So that what somebody types into such a cell stays what was typed.
            text: Format::new().set_num_format("@"),
            date: Format::new().set_num_format("yyyy-mm-dd"),
        }
    }
}

fn head(
    page: &mut Worksheet,
    sheet: &Sheet,
    (at, column): (usize, &Column),
    language: Language,
    formats: &Formats,
) -> Result<(), XlsxError> {
    let heading = column.heading(language);
    let longest = sheet.rows.iter().map(|row| row[at].shown(language).chars().count()).max();
    let width =
        longest.unwrap_or_default().max(heading.chars().count()).clamp(*WIDTHS.start(), *WIDTHS.end());
    page.set_column_width(at as u16, width as f64)?;
    match column.kind {
        Kind::Text | Kind::List | Kind::Instant | Kind::Flag => {
            page.set_column_format(at as u16, &formats.text)?;
        }
        Kind::Date => {
            page.set_column_format(at as u16, &formats.date)?;
        }
        Kind::Integer => {}
    }
    page.write_string_with_format(0, at as u16, heading, &formats.heading)?;
    Ok(())
}

fn put(
    page: &mut Worksheet,
    (row, at): (usize, usize),
    cell: &Cell,
    language: Language,
    formats: &Formats,
    name: &str,
) -> Result<(), Error> {
    let (line, column) = (row as u32, at as u16);
    let written = match cell {
        Cell::Empty => return Ok(()),
        Cell::Integer(number) if *number <= limits::NUMBER => page.write_number(line, column, *number as f64),
        // A workbook's days begin in 1900, and its first weeks are counted wrongly.
        Cell::Date(date) if date.year() > 1900 => {
            let day = rust_xlsxwriter::ExcelDateTime::from_ymd(
                date.year() as u16,
                date.month() as u8,
                date.day() as u8,
            );
            day.and_then(|day| page.write_datetime_with_format(line, column, day, &formats.date))
        }
        other => {
            let text = other.shown(language);
            if text.chars().map(char::len_utf16).sum::<usize>() > limits::CELL_CHARS {
                return Err(Error::Cell { sheet: name.to_owned(), row: row + 1, column: letters(at) });
            }
            page.write_string_with_format(line, column, text, &formats.text)
        }
    };
    written.map(|_| ()).map_err(|why| Error::Write(why.to_string()))
}

/// Reads all sheets with values; charts and empty sheets are left out.
pub fn read(bytes: &[u8]) -> Result<Vec<RawSheet>, Error> {
    measured(bytes)?;
    // Nothing that was half made is kept.
    catch_unwind(AssertUnwindSafe(|| sheets(bytes))).unwrap_or(Err(Error::Malformed("its parts do not fit")))
}

/// Unpacks everything once, within the limits, and keeps nothing.
fn measured(bytes: &[u8]) -> Result<(), Error> {
    let broken = Error::Malformed("it is no archive");
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|_| broken.clone())?;
    if archive.len() > limits::SHEET_PARTS {
        return Err(Error::Malformed("it has too many parts"));
    }
    let mut left = limits::SHEET_UNPACKED_BYTES;
    for number in 0..archive.len() {
        let part = archive.by_index(number).map_err(|_| broken.clone())?;
        let name = part.name().map_err(|_| broken.clone())?.to_ascii_lowercase();
        let is_xml = name.ends_with(".xml") || name.ends_with(".rels");
        let mut unpacked = Vec::new();
        part.take(left as u64 + 1).read_to_end(&mut unpacked).map_err(|_| broken.clone())?;
        left = left.checked_sub(unpacked.len()).ok_or(Error::Unpacked)?;
        if is_xml {
            announced(&unpacked)?;
        }
    }
    Ok(())
}

/// A part that announces more texts than it can hold would make the library ask for all that room at once. Looked
/// for as text, so a part in an encoding that hides text from whoever looks is refused.
fn announced(part: &[u8]) -> Result<(), Error> {
    let text = std::str::from_utf8(part).map_err(|_| Error::Malformed("a part is not UTF-8"))?;
    if text.contains(['\0', '\x1B']) {
        return Err(Error::Malformed("a part is not UTF-8"));
    }
    for (at, word) in text.match_indices("uniqueCount") {
        let rest =
            text[at + word.len()..].trim_start_matches([' ', '\t', '\r', '\n', '=', '"', '\'', '+', '0']);
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: usize = if digits == 0 { 0 } else { rest[..digits].parse().unwrap_or(usize::MAX) };
        if number > part.len() {
            return Err(Error::Malformed("it announces more texts than it has"));
        }
    }
    Ok(())
}

fn sheets(bytes: &[u8]) -> Result<Vec<RawSheet>, Error> {
    let broken = |_| Error::Malformed("its parts do not fit");
    let mut workbook = Xlsx::new(Cursor::new(bytes)).map_err(broken)?;
    let sheets = workbook.sheets_metadata().iter().filter(|sheet| sheet.typ == SheetType::WorkSheet);
    let names: Vec<String> = sheets.map(|sheet| sheet.name.clone()).collect();
    if names.len() > limits::SHEETS {
        return Err(Error::Sheets);
    }
    let (mut read, mut left) = (Vec::new(), limits::SHEET_UNPACKED_BYTES);
    for name in names {
        let mut filling = Filling::new(&name, &mut left);
        let mut cells = workbook.worksheet_cells_reader(&name).map_err(broken)?;
        while let Some(cell) = cells.next_cell().map_err(broken)? {
            let (row, column) = cell.get_position();
            filling.put(row as usize, column as usize, raw(cell.get_value()))?;
        }
        let sheet = filling.finish();
        if !sheet.rows.is_empty() {
            read.push(sheet);
        }
    }
    Ok(read)
}

fn raw(value: &DataRef<'_>) -> Raw {
    match value {
        DataRef::Empty => Raw::Empty,
        DataRef::Int(number) => Raw::Number(*number as f64),
        DataRef::Float(number) => Raw::Number(*number),
        DataRef::String(text) => Raw::Text(text.clone()),
        DataRef::SharedString(text) => Raw::Text((*text).to_owned()),
        DataRef::Bool(flag) => Raw::Flag(*flag),
        DataRef::DateTime(at) => day(at),
        DataRef::DateTimeIso(text) => Raw::Text(text.clone()),
        _ => Raw::Error,
    }
}

fn day(at: &ExcelDateTime) -> Raw {
    let (year, month, day, hour, minute, second, ms) = at.to_ymd_hms_milli();
    match NaiveDate::from_ymd_opt(year.into(), month.into(), day.into()) {
        Some(date) if at.is_datetime() => {
            Raw::Date { date, with_time: (hour, minute, second, ms) != (0, 0, 0, 0) }
        }
        _ => Raw::Error,
    }
}
