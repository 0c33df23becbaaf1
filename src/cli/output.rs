//! What a command prints: data on standard output, as tables for people or as JSON for programs;
//! everything else (progress, questions, warnings) on standard error.

use std::io::{self, IsTerminal, Write};

/// How to print, decided once per command.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// One JSON value a line instead of tables.
    pub json: bool,
    /// Headings may be bold.
    color: bool,
    /// Progress is shown only where somebody watches.
    watched: bool,
}

impl Output {
    pub fn new(json: bool) -> Self {
        let color = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Output { json, color, watched: io::stderr().is_terminal() }
    }

    /// One line of data.
    pub fn line(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")
    }

    /// A heading above a table.
    pub fn heading(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.color { writeln!(out, "\n\x1b[1m{text}\x1b[0m") } else { writeln!(out, "\n{text}") }
    }

    /// Columns as wide as their widest cell; the last one is not padded. Nothing if there are no rows.
    pub fn table(&self, headings: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let widths: Vec<usize> = (0..headings.len())
            .map(|column| {
                let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell));
                cells.chain([width(headings[column])]).max().unwrap_or_default()
            })
            .collect();
        let mut out = io::BufWriter::new(io::stdout().lock());
        let head = padded(headings.iter().copied(), &widths);
        if self.color {
            writeln!(out, "\x1b[1m{head}\x1b[0m")?
        } else {
            writeln!(out, "{head}")?
        }
        for row in rows {
            writeln!(out, "{}", padded(row.iter().map(String::as_str), &widths))?;
        }
        out.flush()
    }

    /// Name and value, one pair a line. Pairs without a value are left out.
    pub fn facts(&self, facts: &[(&str, String)]) -> io::Result<()> {
        let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        let mut out = io::stdout().lock();
        for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
            writeln!(out, "{name:width$}  {value}")?;
        }
        Ok(())
    }

    /// A word to whoever watches; nothing when nobody does.
    pub fn progress(&self, text: &str) {
        if self.watched {
            // A terminal that went away is no reason to stop the work.
            let _shown = write!(io::stderr(), "\r\x1b[K{text}");
        }
    }

    /// Ends a line of progress.
    pub fn progress_done(&self) {
        if self.watched {
            let _shown = writeln!(io::stderr());
        }
    }

    /// A remark that is not data.
    pub fn note(&self, text: &str) {
        let _shown = writeln!(io::stderr(), "{text}");
    }
}

fn padded<'a>(cells: impl Iterator<Item = &'a str>, widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, column) in cells.zip(widths) {
        line.push_str(cell);
        line.extend(std::iter::repeat_n(' ', column - width(cell) + 2));
    }
    line.truncate(line.trim_end().len());
    line
}

/// Columns that a text takes on a terminal: Chinese, Japanese and Korean characters take two.
fn width(text: &str) -> usize {
    let wide = |c: char| matches!(c as u32, 0x1100..=0x115F | 0x2E80..=0xA4CF | 0xAC00..=0xD7A3 | 0xF900..=0xFAFF | 0xFE30..=0xFE6F | 0xFF00..=0xFF60 | 0xFFE0..=0xFFE6 | 0x20000..=0x3FFFD);
    text.chars().map(|c| if wide(c) { 2 } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_in_both_scripts() {
        let widths = [4, 2];
        assert_eq!(padded(["手机", "b"].into_iter(), &widths), "手机  b");
        assert_eq!(padded(["abcd", "b"].into_iter(), &widths), "abcd  b");
    }
}
