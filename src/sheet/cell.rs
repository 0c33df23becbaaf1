//! One cell: what kinds there are, how each is written as text, and how it is read from what somebody typed.

use chrono::{Datelike, NaiveDate};

use crate::domain::time::Timestamp;
use crate::limits;
use crate::sheet::{Language, Raw};

/// What the cells of a column hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// Below 2^53, so that every spreadsheet keeps it exact.
    Integer,
    Flag,
    /// A day, wherever it is.
    Date,
    Instant,
    /// Texts without separators.
    List,
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    Empty,
    Text(String),
    Integer(u64),
    Flag(bool),
    Date(NaiveDate),
    Instant(Timestamp),
    List(Vec<String>),
}

/// What separates the values of a list that somebody typed. The first is written.
const SEPARATORS: [char; 3] = [';', '；', '、'];

impl Cell {
    /// Text, or an empty cell where there is none.
    pub fn text(text: impl Into<String>) -> Cell {
        let text = text.into();
        if text.is_empty() { Cell::Empty } else { Cell::Text(text) }
    }

    pub fn list(values: impl IntoIterator<Item = String>) -> Cell {
        let values: Vec<String> = values.into_iter().filter(|value| !value.is_empty()).collect();
        if values.is_empty() { Cell::Empty } else { Cell::List(values) }
    }

    /// As it stands in a cell of text.
    pub fn shown(&self, language: Language) -> String {
        match self {
            Cell::Empty => String::new(),
            Cell::Text(text) => text.clone(),
            Cell::Integer(number) => number.to_string(),
            Cell::Flag(true) => language.of("yes", "是"),
            Cell::Flag(false) => language.of("no", "否"),
            Cell::Date(date) => date.to_string(),
            Cell::Instant(at) => at.to_string(),
            Cell::List(values) => values.join("; "),
        }
    }

    /// What a cell of a file means in a column of a kind. An error says what is wrong, and never what stood there.
    pub fn read(kind: Kind, raw: &Raw) -> Result<Cell, &'static str> {
        if matches!(raw, Raw::Error) {
            return Err("holds an error of the spreadsheet's");
        }
        if matches!(raw, Raw::Empty) || matches!(raw, Raw::Text(text) if text.trim().is_empty()) {
            return Ok(Cell::Empty);
        }
        match kind {
            Kind::Text => Ok(Cell::Text(plain(raw)?)),
            Kind::List => {
                let text = plain(raw)?;
                let values = text.split(SEPARATORS).map(|value| value.trim().to_owned());
                Ok(Cell::list(values))
            }
            Kind::Integer => integer(raw),
            Kind::Flag => flag(raw),
            Kind::Date => date(raw),
            Kind::Instant => instant(raw),
        }
    }
}

/// The text of a cell; numbers as far as no digit can have been lost.
fn plain(raw: &Raw) -> Result<String, &'static str> {
    match raw {
        Raw::Text(text) => Ok(text.clone()),
        Raw::Number(number) if whole(*number).is_some() => Ok(format!("{number}")),
        Raw::Number(_) => {
            Err("is a number of which digits may be lost: format the cell as text and type it again")
        }
        Raw::Date { date, with_time: false } => Ok(date.to_string()),
        Raw::Flag(true) => Ok("true".to_owned()),
        Raw::Flag(false) => Ok("false".to_owned()),
        _ => Err("is no text"),
    }
}

/// A number without a fraction that a spreadsheet keeps exact: it shows fifteen digits.
fn whole(number: f64) -> Option<u64> {
    let fits = (0.0..1e15).contains(&number) && number.fract() == 0.0;
    fits.then_some(number as u64)
}

fn integer(raw: &Raw) -> Result<Cell, &'static str> {
    let number = match raw {
        // As written by ourselves, so beyond fifteen digits too.
        Raw::Number(number)
            if *number >= 0.0 && number.fract() == 0.0 && *number <= limits::NUMBER as f64 =>
        {
            Some(*number as u64)
        }
        Raw::Text(text) => text.trim().parse().ok().filter(|number| *number <= limits::NUMBER),
        _ => None,
    };
    number.map(Cell::Integer).ok_or("is no number such as 12, without a sign, a point or blanks, below 2^53")
}

fn flag(raw: &Raw) -> Result<Cell, &'static str> {
    let wrong = "is neither yes nor no (是, 否, true, false, 1, 0)";
    match raw {
        Raw::Flag(flag) => Ok(Cell::Flag(*flag)),
        Raw::Number(number) if *number == 1.0 => Ok(Cell::Flag(true)),
        Raw::Number(number) if *number == 0.0 => Ok(Cell::Flag(false)),
        Raw::Text(text) => match text.trim().to_lowercase().as_str() {
            "yes" | "y" | "true" | "1" | "是" | "yes / 是" => Ok(Cell::Flag(true)),
            "no" | "n" | "false" | "0" | "否" | "no / 否" => Ok(Cell::Flag(false)),
            _ => Err(wrong),
        },
        _ => Err(wrong),
    }
}

fn date(raw: &Raw) -> Result<Cell, &'static str> {
    let wrong = "is no day such as 2026-03-01";
    match raw {
        Raw::Date { date, with_time: false } => Ok(Cell::Date(*date)),
        Raw::Date { .. } => Err("is an instant, and a day such as 2026-03-01 is asked for"),
        Raw::Text(text) => {
            // Spreadsheets in China show 2026/3/1.
            let text = text.trim().replace('/', "-");
            let mut parts =
                text.splitn(3, '-').map(|part| part.parse::<u32>().ok().filter(|_| part.len() <= 4));
            let mut next = || parts.next().flatten();
            let day = next().zip(next()).zip(next());
            let day = day.and_then(|((y, m), d)| NaiveDate::from_ymd_opt(i32::try_from(y).ok()?, m, d));
            // A year of two digits could be meant for any century, and the day may come first.
            day.filter(|day| (1000..=9999).contains(&day.year())).map(Cell::Date).ok_or(wrong)
        }
        _ => Err(wrong),
    }
}

fn instant(raw: &Raw) -> Result<Cell, &'static str> {
    match raw {
        Raw::Text(text) => text.trim().parse().map(Cell::Instant).ok(),
        // A spreadsheet's own time has no zone, and would mean another instant in another office.
        _ => None,
    }
    .ok_or("is no instant with a zone, such as 2026-03-01T08:00:00Z, written as text")
}
