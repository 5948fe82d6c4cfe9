//! Aligned tables for people, JSON for programs.

use super::error::CtlError;
use serde::Serialize;
use std::io::{self, Write};

/// Where results go, and in which form.
pub(super) struct Output<'o> {
    to: &'o mut dyn Write,
    json: bool,
}

impl<'o> Output<'o> {
    /// Text, or JSON.
    pub(super) fn new(to: &'o mut dyn Write, json: bool) -> Self {
        Output { to, json }
    }

    /// Whether programs read it.
    pub(super) fn json(&self) -> bool {
        self.json
    }

    /// Writes a line.
    pub(super) fn line(&mut self, line: &str) -> Result<(), CtlError> {
        Ok(writeln!(self.to, "{}", line.trim_end())?)
    }

    /// Writes text as it is.
    pub(super) fn raw(&mut self, text: &str) -> Result<(), CtlError> {
        Ok(self.to.write_all(text.as_bytes())?)
    }

    /// Writes a value over several lines.
    pub(super) fn value<T: Serialize>(&mut self, value: &T) -> Result<(), CtlError> {
        serde_json::to_writer_pretty(&mut *self.to, value).map_err(io::Error::from)?;
        self.line("")
    }

    /// Writes a value on one line.
    pub(super) fn compact<T: Serialize>(&mut self, value: &T) -> Result<(), CtlError> {
        serde_json::to_writer(&mut *self.to, value).map_err(io::Error::from)?;
        Ok(())
    }

    /// Hands over what was written.
    pub(super) fn flush(&mut self) -> Result<(), CtlError> {
        Ok(self.to.flush()?)
    }
}

/// Where a column's text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// Rows of one width per column. Columns only grow, so that a list can be written page by page.
pub(super) struct Table {
    names: Vec<&'static str>,
    sides: Vec<Side>,
    widths: Vec<usize>,
    rows: Vec<Vec<String>>,
    headed: bool,
}

impl Table {
    /// A table with these columns; a name that starts with `>` is of a column of numbers.
    pub(super) fn new(columns: &[&'static str]) -> Self {
        let sides = columns.iter().map(|name| if name.starts_with('>') { Side::Right } else { Side::Left });
        let names: Vec<&str> = columns.iter().map(|name| name.trim_start_matches('>')).collect();
        let widths = names.iter().map(|name| name.chars().count()).collect();
        Table { sides: sides.collect(), names, widths, rows: Vec::new(), headed: false }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        for (width, cell) in self.widths.iter_mut().zip(&cells) {
            *width = (*width).max(cell.chars().count());
        }
        self.rows.push(cells);
    }

    /// Writes the rows since the last time, the first time below the names.
    pub(super) fn write(&mut self, out: &mut Output<'_>) -> Result<(), CtlError> {
        if !self.headed {
            self.headed = true;
            out.line(&self.aligned(self.names.iter().copied()))?;
        }
        for row in std::mem::take(&mut self.rows) {
            out.line(&self.aligned(row.iter().map(String::as_str)))?;
        }
        Ok(())
    }

    fn aligned<'c>(&self, cells: impl Iterator<Item = &'c str>) -> String {
        let mut line = String::new();
        for ((cell, &width), side) in cells.zip(&self.widths).zip(&self.sides) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            line.push_str(&match side {
                Side::Left => format!("{cell:<width$}"),
                Side::Right => format!("{cell:>width$}"),
            });
        }
        line
    }
}

/// A list that comes page by page: rows of a table, or one JSON array.
pub(super) struct List {
    table: Table,
    separator: &'static str,
}

impl List {
    /// A list with these columns.
    pub(super) fn new(columns: &[&'static str]) -> Self {
        List { table: Table::new(columns), separator: "[\n" }
    }

    /// Writes a page.
    pub(super) fn page<T: Serialize>(
        &mut self,
        out: &mut Output<'_>,
        views: impl IntoIterator<Item = Result<T, CtlError>>,
        row: impl Fn(T) -> Vec<String>,
    ) -> Result<(), CtlError> {
        for view in views {
            let view = view?;
            if out.json() {
                out.raw(self.separator)?;
                out.compact(&view)?;
                self.separator = ",\n";
            } else {
                self.table.row(row(view));
            }
        }
        if out.json() { Ok(()) } else { self.table.write(out) }
    }

    /// Ends it.
    pub(super) fn end(mut self, out: &mut Output<'_>) -> Result<(), CtlError> {
        match (out.json(), self.separator) {
            (false, _) => self.table.write(out),
            (true, "[\n") => out.raw("[]\n"),
            (true, _) => out.raw("\n]\n"),
        }
    }
}

/// A text that may be missing.
pub(super) fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

/// A number with a prefix of the SI: `14.9M`.
pub(super) fn si(value: f64) -> String {
    let mut value = value;
    for unit in ["", "k", "M", "G", "T"] {
        if value < 999.95 {
            return if unit.is_empty() && value.fract() == 0.0 {
                format!("{value:.0}")
            } else {
                format!("{value:.1}{unit}")
            };
        }
        value /= 1000.0;
    }
    format!("{value:.1}P")
}

/// A number of bytes: `24.0 MiB`.
pub(super) fn bytes(value: u64) -> String {
    let mut size = value as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < 1024.0 {
            return if unit == "B" { format!("{value} B") } else { format!("{size:.1} {unit}") };
        }
        size /= 1024.0;
    }
    format!("{size:.1} TiB")
}

/// A duration: `3d 4h 5m 6s`, without the leading zeros.
pub(super) fn duration(seconds: u64) -> String {
    let parts =
        [(seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let first = parts.iter().position(|(value, _)| *value > 0).unwrap_or(parts.len() - 1);
    parts.iter().skip(first).map(|(value, unit)| format!("{value}{unit}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_tail() {
        let mut text = Vec::new();
        let mut table = Table::new(&["NAME", ">COUNT", "STATE"]);
        table.row(vec!["a".into(), "5".into(), "up".into()]);
        let mut out = Output::new(&mut text, false);
        table.write(&mut out).unwrap();
        table.row(vec!["longer".into(), "1234567".into(), String::new()]);
        table.write(&mut out).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text, "NAME  COUNT  STATE\na         5  up\nlonger  1234567\n");
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!([si(0.0), si(7.0), si(999.0), si(14_900_000.0)], ["0", "7", "999", "14.9M"]);
        assert_eq!([si(0.25), si(999.99), si(2e18)], ["0.2", "1.0k", "2000.0P"]);
        assert_eq!([bytes(0), bytes(1536), bytes(25_165_824)], ["0 B", "1.5 KiB", "24.0 MiB"]);
        assert_eq!([duration(0), duration(61), duration(90_000)], ["0s", "1m 1s", "1d 1h 0m 0s"]);
    }
}
