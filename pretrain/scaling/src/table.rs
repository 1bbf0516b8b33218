//! Tables of measurements: CSV with a header, JSON lines, a JSON list of objects, or Parquet.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use dataset::jsonl::{self, OnBadLine};
use serde_json::{Map, Value};

/// A table; its cells are kept as text until a column is read.
#[derive(Debug, Clone)]
pub struct Table {
    path: PathBuf,
    columns: Vec<String>,
    /// The number of the line (CSV) or record, and its cells; `None` for an empty cell.
    rows: Vec<(u64, Vec<Option<String>>)>,
}

impl Table {
    /// Reads a table: CSV for the extensions `.csv` and `.tsv`, records for all others.
    ///
    /// # Errors
    /// When the file cannot be read, or when a line has another number of cells than the header.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let table = match ending {
            "csv" => Self::csv(path, b',')?,
            "tsv" => Self::csv(path, b'\t')?,
            _ => Self::records(path)?,
        };
        ensure!(!table.rows.is_empty(), "{} has no row", path.display());
        Ok(table)
    }

    fn csv(path: &Path, delimiter: u8) -> anyhow::Result<Self> {
        let at = || path.display().to_string();
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .trim(csv::Trim::All)
            .from_path(path)
            .with_context(|| format!("{}: cannot read the table", at()))?;
        let columns: Vec<String> = reader.headers().with_context(at)?.iter().map(str::to_owned).collect();
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.with_context(at)?;
            let line = record.position().map_or(0, csv::Position::line);
            let cells = record.iter().map(|cell| (!cell.is_empty()).then(|| cell.to_owned())).collect();
            rows.push((line, cells));
        }
        Ok(Self { path: path.to_owned(), columns, rows })
    }

    fn records(path: &Path) -> anyhow::Result<Self> {
        let mut columns: Vec<String> = Vec::new();
        let mut records: Vec<Map<String, Value>> = Vec::new();
        for record in jsonl::read::<Map<String, Value>>(path, OnBadLine::Error)? {
            let record = record?;
            for name in record.keys() {
                if !columns.contains(name) {
                    columns.push(name.clone());
                }
            }
            records.push(record);
        }
        let cell = |value: Option<&Value>| match value {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(other) => Some(other.to_string()),
        };
        let rows = (1..)
            .zip(&records)
            .map(|(number, record)| (number, columns.iter().map(|name| cell(record.get(name))).collect()))
            .collect();
        Ok(Self { path: path.to_owned(), columns, rows })
    }

    /// The names of the columns.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows; never true after [`Table::read`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether a column with this name exists.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|column| column == name)
    }

    /// A column as texts; an empty cell gives an empty text.
    ///
    /// # Errors
    /// When the column does not exist.
    pub fn texts(&self, name: &str) -> anyhow::Result<Vec<String>> {
        let at = self.place(name)?;
        Ok(self.rows.iter().map(|(_, cells)| cells[at].clone().unwrap_or_default()).collect())
    }

    /// A column as numbers; `None` for an empty cell.
    ///
    /// # Errors
    /// When the column does not exist, or when a cell is not a finite number.
    pub fn optional(&self, name: &str) -> anyhow::Result<Vec<Option<f64>>> {
        let at = self.place(name)?;
        let number = |(line, cells): &(u64, Vec<Option<String>>)| -> anyhow::Result<Option<f64>> {
            let Some(text) = &cells[at] else { return Ok(None) };
            match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Some(number)),
                _ => bail!("{}:{line}: {name} is {text:?}; it must be a finite number", self.path.display()),
            }
        };
        self.rows.iter().map(number).collect()
    }

    /// A column as numbers.
    ///
    /// # Errors
    /// The same as [`Table::optional`], and also when a cell is empty.
    pub fn numbers(&self, name: &str) -> anyhow::Result<Vec<f64>> {
        let missing =
            |line| format!("{}:{line}: {name} is empty; give a number, or leave the row out", self.path.display());
        let cells = self.optional(name)?.into_iter().zip(&self.rows);
        cells.map(|(cell, (line, _))| cell.with_context(|| missing(line))).collect()
    }

    /// A column as positive numbers.
    ///
    /// # Errors
    /// The same as [`Table::numbers`], and also when a number is 0 or less.
    pub fn positive(&self, name: &str) -> anyhow::Result<Vec<f64>> {
        let numbers = self.numbers(name)?;
        if let Some(at) = numbers.iter().position(|number| *number <= 0.0) {
            bail!("{}:{}: {name} is {}; it must be above 0", self.path.display(), self.rows[at].0, numbers[at]);
        }
        Ok(numbers)
    }

    fn place(&self, name: &str) -> anyhow::Result<usize> {
        self.columns.iter().position(|column| column == name).with_context(|| {
            format!("{} has no column {name:?}; it has {}", self.path.display(), self.columns.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, text: &str) -> anyhow::Result<Table> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        Table::read(&path)
    }

    #[test]
    fn csv_and_records_are_the_same() {
        let csv = table("a.csv", "loss, params\n2.5,1e6\n,3\n").unwrap();
        let lines = table("a.jsonl", "{\"loss\": 2.5, \"params\": 1e6}\n{\"loss\": null, \"params\": 3}\n").unwrap();
        let list = table("a.json", "[{\"loss\": 2.5, \"params\": 1e6}, {\"params\": 3}]").unwrap();
        for table in [csv, lines, list] {
            assert_eq!(table.columns(), ["loss", "params"]);
            assert_eq!(table.optional("loss").unwrap(), [Some(2.5), None]);
            assert_eq!(table.positive("params").unwrap(), [1e6, 3.0]);
        }
    }

    #[test]
    fn mistakes_are_sentences() {
        let table = table("a.csv", "loss,n\n2.5,1\nx,0\n,2\n").unwrap();
        let error = |result: anyhow::Result<Vec<f64>>| format!("{:#}", result.unwrap_err());
        assert!(error(table.numbers("loss")).ends_with("a.csv:3: loss is \"x\"; it must be a finite number"));
        assert!(error(table.positive("n")).ends_with("a.csv:3: n is 0; it must be above 0"));
        assert!(error(table.numbers("d")).ends_with("a.csv has no column \"d\"; it has loss, n"));
        let error = format!("{:#}", self::table("a.csv", "a,b\n1\n").unwrap_err());
        assert!(error.contains("a.csv") && error.contains("field"), "{error}");
        assert!(format!("{:#}", self::table("a.csv", "a,b\n").unwrap_err()).ends_with("has no row"));
    }
}
