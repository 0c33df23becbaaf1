//! How an answer becomes a table on a terminal, or a file for a spreadsheet or a program: `--format`, `--out`,
//! `--lang`, `--bom`. Rows are made from what the service answered; the last column says at which position
//! of the log it was computed.

pub mod findings;
pub mod instructions;
pub mod registers;
pub mod ropa;
pub mod sdks;
pub mod transfers;
mod words;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::Output;
use crate::clock::{Clock, SystemClock};
use crate::domain::time::Timestamp;
use crate::pb;
use crate::sheet::{self, Cell, Column, Kind, Sheet};

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For a terminal: the most important columns
    #[default]
    Table,
    /// One JSON document with headings and all columns
    Json,
    /// One JSON object a row
    Jsonl,
    /// Comma-separated, UTF-8
    Csv,
    /// A workbook
    Xlsx,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Language {
    En,
    Zh,
    #[default]
    Both,
}

/// Where an answer goes and how it looks there.
#[derive(Debug, Clone, Default, Args)]
pub struct Files {
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// The file to write; standard output without it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Language of headings and labels
    #[arg(long = "lang", alias = "language", value_enum, default_value_t)]
    language: Language,
    /// Begin CSV with a byte order mark, without which Excel takes UTF-8 for something else
    #[arg(long)]
    bom: bool,
}

impl Files {
    pub fn language(&self) -> sheet::Language {
        match self.language {
            Language::En => sheet::Language::En,
            Language::Zh => sheet::Language::Zh,
            Language::Both => sheet::Language::Both,
        }
    }

    pub fn is_table(&self) -> bool {
        self.format == Format::Table
    }

    /// Prints or writes a table; on a terminal only the columns of `shown`, by their fields.
    pub fn give(&self, sheet: &Sheet, shown: &[&str], output: Output) -> Outcome {
        let language = self.language();
        let mut bytes = Vec::new();
        let made = match self.format {
            Format::Table => return self.table(sheet, shown, output),
            Format::Json => sheet::json::document(sheet, &mut bytes),
            Format::Jsonl => sheet::json::lines(sheet, &mut bytes),
            Format::Csv => sheet::csv::write(sheet, &mut bytes, language, self.bom),
            Format::Xlsx => sheet::xlsx::write(sheet, language, SystemClock.now()).map(|book| bytes = book),
        };
        made.map_err(|why| Failure::new(Exit::Refused, why))?;
        match &self.out {
            Some(path) => {
                let failed = |e| Failure::new(Exit::Configuration, format_args!("{}: {e}", path.display()));
                std::fs::write(path, &bytes).map_err(failed)?;
                output.note(&format!("{} rows in {}", sheet.rows.len(), path.display()));
            }
            None if self.format == Format::Xlsx && io::stdout().is_terminal() => {
                return Err(Failure::usage("a workbook is no text: name a file with --out"));
            }
            None => io::stdout().lock().write_all(&bytes)?,
        }
        Ok(())
    }

    fn table(&self, sheet: &Sheet, shown: &[&str], output: Output) -> Outcome {
        if self.out.is_some() {
            return Err(Failure::usage("--out needs --format json, jsonl, csv or xlsx"));
        }
        let language = self.language();
        let places: Vec<usize> = shown
            .iter()
            .filter_map(|field| sheet.columns.iter().position(|column| column.field == *field))
            .collect();
        let headings: Vec<String> = places.iter().map(|at| sheet.columns[*at].heading(language)).collect();
        let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
        let rows = sheet.rows.iter().map(|row| places.iter().map(|at| row[*at].shown(language)).collect());
        Ok(output.table(&headings, &rows.collect::<Vec<Vec<String>>>())?)
    }
}

/// The last column of every file.
pub const COMPUTED_AT: Column =
    Column::new("computed_at", "Computed at position", "计算所至日志位置", Kind::Integer);

pub const fn text(field: &'static str, en: &'static str, zh: &'static str) -> Column {
    Column::new(field, en, zh, Kind::Text)
}

pub const fn list(field: &'static str, en: &'static str, zh: &'static str) -> Column {
    Column::new(field, en, zh, Kind::List)
}

pub const fn integer(field: &'static str, en: &'static str, zh: &'static str) -> Column {
    Column::new(field, en, zh, Kind::Integer)
}

pub const fn flag(field: &'static str, en: &'static str, zh: &'static str) -> Column {
    Column::new(field, en, zh, Kind::Flag)
}

pub const fn instant(field: &'static str, en: &'static str, zh: &'static str) -> Column {
    Column::new(field, en, zh, Kind::Instant)
}

pub const fn date(field: &'static str, en: &'static str, zh: &'static str) -> Column {
    Column::new(field, en, zh, Kind::Date)
}

/// An instant as a cell.
pub fn at(time: Option<&prost_types::Timestamp>) -> Cell {
    let ms =
        time.and_then(|time| time.seconds.checked_mul(1_000)?.checked_add(i64::from(time.nanos / 1_000_000)));
    ms.and_then(Timestamp::from_ms).map_or(Cell::Empty, Cell::Instant)
}

/// A local day as a cell.
pub fn day(day: Option<&pb::LocalDate>) -> Cell {
    day.and_then(|day| day.date.parse().ok()).map_or(Cell::Empty, Cell::Date)
}

/// A term as people read it; one that nobody knows by its id.
pub fn label(term: &pb::Term, language: sheet::Language) -> String {
    if term.known { language.of(&term.label_en, &term.label_zh) } else { term.id.clone() }
}

pub fn labels(terms: &[pb::Term], language: sheet::Language) -> Cell {
    Cell::list(terms.iter().map(|term| label(term, language)))
}

pub fn term(term: Option<&pb::Term>, language: sheet::Language) -> Cell {
    term.map_or(Cell::Empty, |term| Cell::text(label(term, language)))
}

pub fn texts(texts: &[String]) -> Cell {
    Cell::list(texts.iter().cloned())
}
