//! Cells as a file holds them, before anybody knows which columns there are.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use crate::limits;
use crate::sheet::{Error, letters};

/// One cell of a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw {
    Empty,
    Text(String),
    Number(f64),
    Flag(bool),
    /// A spreadsheet's own date, perhaps with a time of day.
    Date {
        date: NaiveDate,
        with_time: bool,
    },
    /// `#N/A` and its like, and times without a day.
    Error,
}

/// One row with its number as the spreadsheet shows it, from 1 on.
#[derive(Debug, Clone, PartialEq)]
pub struct RawRow {
    pub number: usize,
    pub cells: Vec<Raw>,
}

/// One sheet; rows without anything are left out.
#[derive(Debug, Clone, PartialEq)]
pub struct RawSheet {
    pub name: String,
    pub rows: Vec<RawRow>,
}

/// Puts cells into their places, within the limits. Many cells may name one long text, so what counts is what
/// they come to, not what the file holds.
pub struct Filling<'a> {
    name: &'a str,
    rows: BTreeMap<usize, Vec<Raw>>,
    /// Bytes that all sheets of the file may still come to.
    left: &'a mut usize,
}

impl<'a> Filling<'a> {
    pub fn new(name: &'a str, left: &'a mut usize) -> Filling<'a> {
        Filling { name, rows: BTreeMap::new(), left }
    }

    /// A cell at a row and a column, both from 0 on.
    pub fn put(&mut self, row: usize, column: usize, cell: Raw) -> Result<(), Error> {
        if matches!(cell, Raw::Empty) || matches!(&cell, Raw::Text(text) if text.is_empty()) {
            return Ok(());
        }
        let sheet = || self.name.to_owned();
        if row >= limits::SHEET_ROWS {
            return Err(Error::Rows { sheet: sheet() });
        }
        if column >= limits::SHEET_COLUMNS {
            return Err(Error::Columns { sheet: sheet(), row: row + 1 });
        }
        let mut cost = 0;
        if let Raw::Text(text) = &cell {
            if text.chars().nth(limits::CELL_CHARS).is_some() {
                return Err(Error::Cell { sheet: sheet(), row: row + 1, column: letters(column) });
            }
            cost = text.len();
        }
        let cells = self.rows.entry(row).or_default();
        cost += (column + 1).saturating_sub(cells.len()) * size_of::<Raw>();
        *self.left = self.left.checked_sub(cost).ok_or(Error::Cells)?;
        if cells.len() <= column {
            cells.resize(column + 1, Raw::Empty);
        }
        cells[column] = cell;
        Ok(())
    }

    pub fn finish(self) -> RawSheet {
        let rows = self.rows.into_iter().map(|(row, cells)| RawRow { number: row + 1, cells });
        RawSheet { name: self.name.to_owned(), rows: rows.collect() }
    }
}
