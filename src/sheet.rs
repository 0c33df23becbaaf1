//! Tables for people with spreadsheets: typed cells under headings in both languages, written as JSON, JSON
//! Lines, CSV and XLSX, and read from CSV and XLSX.
//!
//! Promises: what is written and read again is the same table, whichever format and language; no cell that is
//! written can run as a formula; a file takes bounded time and memory, whoever made it, and what is wrong
//! with it is told by sheet, row and column, all faults at once. Not promised: formulas and formats of a
//! workbook that is read; only values are. Pure: bytes in, bytes out, so a crash loses nothing.

pub mod cell;
pub mod csv;
pub mod json;
pub mod raw;
#[cfg(test)]
mod tests;
pub mod typed;
pub mod xlsx;

pub use cell::{Cell, Kind};
pub use raw::{Raw, RawRow, RawSheet};
pub use typed::{Fault, Row, typed};

use crate::limits;

/// In which language headings and words of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    En,
    Zh,
    #[default]
    Both,
}

impl Language {
    /// One word of the two, or both.
    pub fn of(self, en: &str, zh: &str) -> String {
        match self {
            Language::En => en.to_owned(),
            Language::Zh => zh.to_owned(),
            Language::Both if en == zh => en.to_owned(),
            Language::Both => format!("{en} / {zh}"),
        }
    }
}

/// One column: the name that programs use, and what people read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    pub field: &'static str,
    pub en: &'static str,
    pub zh: &'static str,
    pub kind: Kind,
}

impl Column {
    pub const fn new(field: &'static str, en: &'static str, zh: &'static str, kind: Kind) -> Column {
        Column { field, en, zh, kind }
    }

    pub fn heading(&self, language: Language) -> String {
        language.of(self.en, self.zh)
    }

    /// Whether a heading that somebody wrote means this column: the field, or a label in one language or both.
    pub fn is_meant_by(&self, heading: &str) -> bool {
        let plain = |text: &str| {
            let text = text.replace('／', "/").to_lowercase();
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let wanted = plain(heading);
        [self.field, self.en, self.zh].into_iter().any(|name| plain(name) == wanted)
            || plain(&self.heading(Language::Both)) == wanted
    }
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sheet {
    /// English and Chinese.
    pub title: (&'static str, &'static str),
    pub columns: Vec<Column>,
    /// Each as long as the columns.
    pub rows: Vec<Vec<Cell>>,
}

impl Sheet {
    pub fn new(title: (&'static str, &'static str), columns: &[Column]) -> Sheet {
        Sheet { title, columns: columns.to_vec(), rows: Vec::new() }
    }
}

/// A sheet's letters for a column, from 0 on: A, B, ... Z, AA.
pub fn letters(column: usize) -> String {
    let (mut rest, mut text) = (column + 1, String::new());
    while rest > 0 {
        text.insert(0, char::from(b'A' + ((rest - 1) % 26) as u8));
        rest = (rest - 1) / 26;
    }
    text
}

/// Why a file cannot be read or written at all. What is wrong in single cells is a `Fault`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("has more than {limit} bytes: split it", limit = limits::SHEET_BYTES)]
    TooLarge,
    #[error("unpacks to more than {limit} bytes: split it", limit = limits::SHEET_UNPACKED_BYTES)]
    Unpacked,
    #[error("has cells of more than {limit} bytes: split it", limit = limits::SHEET_UNPACKED_BYTES)]
    Cells,
    #[error("has more than {limit} sheets", limit = limits::SHEETS)]
    Sheets,
    #[error("sheet {sheet}: has more than {limit} rows: split it", limit = limits::SHEET_ROWS)]
    Rows { sheet: String },
    #[error("sheet {sheet}, row {row}: has more than {limit} columns", limit = limits::SHEET_COLUMNS)]
    Columns { sheet: String, row: usize },
    #[error(
        "sheet {sheet}, row {row}, column {column}: has more than {limit} characters",
        limit = limits::CELL_CHARS
    )]
    Cell { sheet: String, row: usize, column: String },
    #[error("is an old workbook, or one with a password: save it as XLSX without one, or as CSV")]
    Closed,
    #[error("is no workbook that can be read ({0}): save it again as XLSX, or as CSV")]
    Malformed(&'static str),
    #[error("is neither UTF-8 nor GB18030: save it as CSV UTF-8, or as XLSX")]
    Encoding,
    #[error("cannot be written: {0}")]
    Write(String),
}

/// Reads all sheets of a workbook, or the one of a CSV file, which has its file's name.
pub fn read(name: &str, bytes: &[u8]) -> Result<Vec<RawSheet>, Error> {
    if bytes.len() > limits::SHEET_BYTES {
        return Err(Error::TooLarge);
    }
    if bytes.starts_with(b"\xD0\xCF\x11\xE0") {
        return Err(Error::Closed);
    }
    if bytes.starts_with(b"PK") { xlsx::read(bytes) } else { Ok(vec![csv::read(name, bytes)?]) }
}
