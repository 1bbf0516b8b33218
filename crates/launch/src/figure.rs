//! Figures that a plan is based on, each with its origin.

use run::Origin as From;
use serde::Serialize;

/// The origin of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Measured with this program.
    Measured,
    /// In the Llama 3 paper (arXiv 2407.21783).
    Paper,
    /// In the maker's data sheet.
    DataSheet,
    /// A reasoned guess without a measurement.
    Assumed,
    /// Given by a flag or a file.
    Given,
    /// A setting of this program, used by the simulation as it is.
    Setting,
    /// Calculated from other figures.
    Derived,
}

impl Origin {
    /// The name for tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Paper => "paper",
            Self::DataSheet => "data sheet",
            Self::Assumed => "assumed",
            Self::Given => "given",
            Self::Setting => "setting",
            Self::Derived => "derived",
        }
    }

    /// Returns [`Origin::Given`] if a flag or a file changed the default, otherwise `self`.
    #[must_use]
    pub fn unless_given(self, from: Option<&From>) -> Self {
        match from {
            Some(From::Flag | From::File) => Self::Given,
            _ => self,
        }
    }
}

/// A figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// The name of the figure.
    pub name: String,
    /// The value with its unit.
    pub value: String,
    /// The origin.
    pub origin: Origin,
    /// The reason for this value.
    pub note: String,
}

impl Figure {
    /// Makes a figure.
    #[must_use]
    pub fn new(name: impl Into<String>, value: impl Into<String>, origin: Origin, note: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into(), origin, note: note.into() }
    }
}

/// Formats rows as columns. The first column and the columns in `left` are left-aligned.
#[must_use]
pub fn columns(rows: &[Vec<String>], left: &[usize]) -> String {
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..rows.iter().map(Vec::len).max().unwrap_or(0)).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::from(" ");
        for (at, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[at] - cell.chars().count());
            let (before, after) = if at == 0 || left.contains(&at) { ("", &*pad) } else { (&*pad, "") };
            line += &format!(" {before}{cell}{after} ");
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// Figures as a table: name, value, origin, note.
#[must_use]
pub fn table(figures: &[Figure]) -> String {
    let row = |figure: &Figure| {
        vec![figure.name.clone(), figure.value.clone(), figure.origin.as_str().to_owned(), figure.note.clone()]
    };
    columns(&figures.iter().map(row).collect::<Vec<_>>(), &[1, 2, 3])
}

/// Formats seconds for people: `45 s`, `3.5 min`, `3.09 h`, `12.3 days`.
#[must_use]
pub fn time(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.2} s"),
        s if s < 300.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.1} min", s / 60.0),
        s if s < 3.0 * 86400.0 => format!("{:.2} h", s / 3600.0),
        s => format!("{:.1} days", s / 86400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_and_times_read() {
        let rows = [vec!["a".to_owned(), "1".into(), "x".into()], vec!["long".into(), "100".into(), "y".into()]];
        assert_eq!(columns(&rows, &[2]), "  a       1  x\n  long  100  y\n");
        let times = [5.9, 60.0, 300.0, 11_130.0, 5e6].map(time);
        assert_eq!(times, ["5.90 s", "60 s", "5.0 min", "3.09 h", "57.9 days"]);
    }
}
