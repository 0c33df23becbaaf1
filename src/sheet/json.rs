//! Tables for programs: one JSON object a row, by the names of fields; empty cells are left out.

use std::io::Write;

use serde_json::{Map, Value, json};

use crate::sheet::{Cell, Error, Sheet};

/// One row a line.
pub fn lines(sheet: &Sheet, out: &mut dyn Write) -> Result<(), Error> {
    rows(sheet).try_for_each(|row| writeln!(out, "{row}")).map_err(|e| Error::Write(e.to_string()))
}

/// One document: the columns with their headings, and the rows.
pub fn document(sheet: &Sheet, out: &mut dyn Write) -> Result<(), Error> {
    let column =
        |column: &crate::sheet::Column| json!({ "field": column.field, "en": column.en, "zh": column.zh });
    let columns: Vec<Value> = sheet.columns.iter().map(column).collect();
    let rows: Vec<Value> = rows(sheet).collect();
    let title = json!({ "en": sheet.title.0, "zh": sheet.title.1 });
    let document = json!({ "title": title, "columns": columns, "rows": rows });
    writeln!(out, "{document:#}").map_err(|e| Error::Write(e.to_string()))
}

fn rows(sheet: &Sheet) -> impl Iterator<Item = Value> {
    sheet.rows.iter().map(|row| {
        let cells = sheet.columns.iter().zip(row);
        let cells = cells.filter_map(|(column, cell)| Some((column.field.to_owned(), value(cell)?)));
        Value::Object(cells.collect::<Map<_, _>>())
    })
}

fn value(cell: &Cell) -> Option<Value> {
    Some(match cell {
        Cell::Empty => return None,
        Cell::Text(text) => json!(text),
        Cell::Integer(number) => json!(number),
        Cell::Flag(flag) => json!(flag),
        Cell::Date(date) => json!(date.to_string()),
        Cell::Instant(at) => json!(at.to_string()),
        Cell::List(values) => json!(values),
    })
}
