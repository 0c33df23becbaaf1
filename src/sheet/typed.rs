//! From the cells of a file to rows of typed columns: which heading means which column, and every cell that
//! does not fit, with its place.

use std::fmt;

use crate::limits;
use crate::sheet::{Cell, Column, RawRow, RawSheet, letters};

/// A row of a file: one cell for each column that was asked for, empty where the file has no such column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// As the spreadsheet shows it, from 1 on.
    pub number: usize,
    pub cells: Vec<Cell>,
}

/// What is wrong, and where. It never repeats what stood there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub sheet: String,
    pub row: usize,
    /// The column's letters, and its field if it has one.
    pub column: Option<(String, Option<&'static str>)>,
    pub why: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sheet {}, row {}", self.sheet, self.row)?;
        match &self.column {
            Some((letters, Some(field))) => write!(f, ", column {letters} ({field})")?,
            Some((letters, None)) => write!(f, ", column {letters}")?,
            None => {}
        }
        write!(f, ": {}", self.why)
    }
}

/// Which columns of a file are which.
#[derive(Debug)]
pub struct Table {
    pub rows: Vec<Row>,
    /// Where each column that was asked for stands in the file.
    pub places: Vec<Option<usize>>,
}

impl Table {
    /// A fault in one cell of a row, by the column's field.
    pub fn fault(&self, sheet: &str, row: usize, columns: &[Column], field: &str, why: String) -> Fault {
        let column = columns.iter().position(|column| column.field == field);
        let place = column.and_then(|column| Some((self.places[column]?, columns[column].field)));
        let column = place.map(|(place, field)| (letters(place), Some(field)));
        Fault { sheet: sheet.to_owned(), row, column, why }
    }
}

/// Reads a sheet whose first row has headings. Columns of `ignored` may be there and are not read; others that
/// nobody knows are faults. At most `limits::SHEET_FAULTS` faults are told.
pub fn typed(sheet: &RawSheet, columns: &[Column], ignored: &[Column]) -> Result<Table, Vec<Fault>> {
    let mut faults = Faults { sheet, list: Vec::new() };
    let Some((headings, rows)) = sheet.rows.split_first() else {
        faults.add(1, None, "has no headings: the sheet is empty".to_owned());
        return Err(faults.list);
    };
    let places = places(headings, columns, ignored, &mut faults);
    let mut table = Table { rows: Vec::with_capacity(rows.len()), places };
    for row in rows {
        let mut cells = Vec::with_capacity(columns.len());
        for (column, place) in columns.iter().zip(&table.places) {
            let raw = place.and_then(|place| row.cells.get(place));
            match raw.map_or(Ok(Cell::Empty), |raw| Cell::read(column.kind, raw)) {
                Ok(cell) => cells.push(cell),
                Err(why) => {
                    faults.add(row.number, place.map(|place| (place, Some(column.field))), why.to_owned())
                }
            }
        }
        let past = row.cells.iter().enumerate().skip(headings.cells.len());
        for (place, _) in past.filter(|(_, cell)| !matches!(cell, crate::sheet::Raw::Empty)) {
            faults.add(row.number, Some((place, None)), "stands under no heading".to_owned());
        }
        if cells.iter().any(|cell| *cell != Cell::Empty) {
            table.rows.push(Row { number: row.number, cells });
        }
    }
    if faults.list.is_empty() { Ok(table) } else { Err(faults.list) }
}

/// Where each column stands.
fn places(
    headings: &RawRow,
    columns: &[Column],
    ignored: &[Column],
    faults: &mut Faults<'_>,
) -> Vec<Option<usize>> {
    let mut places = vec![None; columns.len()];
    for (place, heading) in headings.cells.iter().enumerate() {
        let text = match Cell::read(crate::sheet::Kind::Text, heading) {
            Ok(Cell::Text(text)) => text,
            Ok(_) => continue,
            Err(why) => {
                faults.add(headings.number, Some((place, None)), format!("as a heading {why}"));
                continue;
            }
        };
        if let Some(column) = columns.iter().position(|column| column.is_meant_by(&text)) {
            if places[column].replace(place).is_some() {
                let why = "is a heading that stands twice".to_owned();
                faults.add(headings.number, Some((place, Some(columns[column].field))), why);
            }
        } else if !ignored.iter().any(|column| column.is_meant_by(&text)) {
            let known: Vec<&str> = columns.iter().map(|column| column.field).collect();
            let why = format!("is a heading that nobody knows; there are {}", known.join(", "));
            faults.add(headings.number, Some((place, None)), why);
        }
    }
    if places.iter().all(Option::is_none) && faults.list.is_empty() {
        let known: Vec<&str> = columns.iter().map(|column| column.field).collect();
        faults.add(
            headings.number,
            None,
            format!("has no heading that is known; there are {}", known.join(", ")),
        );
    }
    places
}

struct Faults<'a> {
    sheet: &'a RawSheet,
    list: Vec<Fault>,
}

impl Faults<'_> {
    fn add(&mut self, row: usize, column: Option<(usize, Option<&'static str>)>, why: String) {
        if self.list.len() < limits::SHEET_FAULTS {
            let column = column.map(|(place, field)| (letters(place), field));
            self.list.push(Fault { sheet: self.sheet.name.clone(), row, column, why });
        }
    }
}
