//! CSV as RFC 4180 has it: commas, quotes where they are needed, CRLF. Written in UTF-8, with a byte order mark
//! for those whose Excel needs one; read in UTF-8 with or without, in UTF-16 with one, or in GB18030, which
//! is what a Chinese Excel saves. Commas, semicolons and tabs are read, whichever the headings have most of.
//!
//! A spreadsheet runs a cell that begins with a sign of its own as a formula. Such a text gets an apostrophe
//! before it, which a spreadsheet hides or shows, and which is taken away again here.

use std::io::Write;

use encoding_rs::{Encoding, GB18030};

use crate::limits;
use crate::sheet::raw::{Filling, RawSheet};
use crate::sheet::{Error, Language, Raw, Sheet};

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// What begins a formula in one spreadsheet or another, and the apostrophe itself, so that one that was there
/// before is not taken away. The wide forms count in Chinese and Japanese ones.
const FORMULA: [char; 12] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠', '\''];

fn neutral(text: String) -> String {
    if text.starts_with(FORMULA) { format!("'{text}") } else { text }
}

fn as_it_was(text: &str) -> &str {
    text.strip_prefix('\'').filter(|rest| rest.starts_with(FORMULA)).unwrap_or(text)
}

/// Writes a table with one row of headings.
pub fn write(sheet: &Sheet, out: &mut dyn Write, language: Language, bom: bool) -> Result<(), Error> {
    let failed = |why: &dyn std::fmt::Display| Error::Write(why.to_string());
    if bom {
        out.write_all(BOM).map_err(|e| failed(&e))?;
    }
    let mut writer = ::csv::WriterBuilder::new().terminator(::csv::Terminator::CRLF).from_writer(out);
    let headings = sheet.columns.iter().map(|column| neutral(column.heading(language)));
    writer.write_record(headings).map_err(|e| failed(&e))?;
    for row in &sheet.rows {
        let cells = row.iter().map(|cell| neutral(cell.shown(language)));
        writer.write_record(cells).map_err(|e| failed(&e))?;
    }
    writer.flush().map_err(|e| failed(&e))
}

/// Reads a file's one sheet.
pub fn read(name: &str, bytes: &[u8]) -> Result<RawSheet, Error> {
    let text = decoded(bytes)?;
    let mut reader = ::csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter(&text))
        .from_reader(text.as_bytes());
    let mut left = limits::SHEET_UNPACKED_BYTES;
    let mut filling = Filling::new(name, &mut left);
    for (row, record) in reader.records().enumerate() {
        let record = record.map_err(|_| Error::Encoding)?;
        for (column, cell) in record.iter().enumerate() {
            filling.put(row, column, Raw::Text(as_it_was(cell).to_owned()))?;
        }
    }
    Ok(filling.finish())
}

fn decoded(bytes: &[u8]) -> Result<String, Error> {
    let (encoding, bytes) = match Encoding::for_bom(bytes) {
        Some((encoding, mark)) => (encoding, &bytes[mark..]),
        None if std::str::from_utf8(bytes).is_ok() => (encoding_rs::UTF_8, bytes),
        None => (GB18030, bytes),
    };
    let text = encoding.decode_without_bom_handling_and_without_replacement(bytes);
    let text = text.ok_or(Error::Encoding)?;
    // Text has no such character: these are the bytes of something else.
    if text.contains('\0') { Err(Error::Encoding) } else { Ok(text.into_owned()) }
}

/// What separates the headings.
fn delimiter(text: &str) -> u8 {
    let headings = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let (mut counts, mut quoted) = ([(b',', 0), (b';', 0), (b'\t', 0)], false);
    for byte in headings.bytes() {
        quoted ^= byte == b'"';
        counts.iter_mut().filter(|(mark, _)| *mark == byte && !quoted).for_each(|(_, count)| *count += 1);
    }
    // Of equals the comma.
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map_or(b',', |(mark, _)| mark)
}
