//! Reads rows of files in all forms in which sets are published: CSV with a header, JSON lines, a JSON list, Parquet; compressed or not.
//! Errors name the file and the row; they never quote a value, which may be a harmful text.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::{Map, Value};

/// The fields of a row.
pub type Row = Map<String, Value>;

/// Reads the rows of a file.
///
/// # Errors
/// When the file cannot be read, or a row is not an object.
pub fn read(path: &Path) -> anyhow::Result<Vec<Row>> {
    let name = path.to_string_lossy();
    if name.trim_end_matches(".gz").ends_with(".csv") {
        return table(path);
    }
    let values: Vec<Value> = dataset::jsonl::read_all(path)?;
    let object = |(at, value): (usize, Value)| match value {
        Value::Object(row) => Ok(row),
        _ => bail!("{}, record {}: it is no object with fields", path.display(), at + 1),
    };
    values.into_iter().enumerate().map(object).collect()
}

fn table(path: &Path) -> anyhow::Result<Vec<Row>> {
    let file = BufReader::new(File::open(path).with_context(|| format!("cannot open {}", path.display()))?);
    let reader: Box<dyn Read> = match path.extension() {
        Some(ending) if ending == "gz" => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        _ => Box::new(file),
    };
    let mut reader = csv::Reader::from_reader(reader);
    let headers = reader.headers().with_context(|| format!("cannot read {}", path.display()))?.clone();
    let mut rows = Vec::new();
    for (at, record) in reader.into_records().enumerate() {
        let record = record.with_context(|| format!("{}, record {}", path.display(), at + 1))?;
        rows.push(headers.iter().zip(&record).map(|(name, value)| (name.to_owned(), value.into())).collect());
    }
    Ok(rows)
}

/// The first of the named fields that has a text; numbers become text.
pub fn text(row: &Row, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| match row.get(*name) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    })
}

/// Like [`text`], with an error that names the fields.
///
/// # Errors
/// When no field has a text.
pub fn needed(row: &Row, names: &[&str]) -> anyhow::Result<String> {
    text(row, names).with_context(|| format!("{} is missing", names.join(" or ")))
}

/// A boolean field: `true`, `1`, `yes`.
///
/// # Errors
/// When the field has another value.
pub fn flag(row: &Row, name: &str) -> anyhow::Result<Option<bool>> {
    Ok(match row.get(name) {
        None | Some(Value::Null) => None,
        Some(Value::Bool(value)) => Some(*value),
        Some(Value::Number(number)) if number.as_i64() == Some(0) => Some(false),
        Some(Value::Number(number)) if number.as_i64() == Some(1) => Some(true),
        Some(Value::String(word)) => match word.to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" => Some(true),
            "false" | "no" | "0" => Some(false),
            "" => None,
            _ => bail!("{name} is neither true nor false"),
        },
        Some(_) => bail!("{name} is neither true nor false"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_quote_no_text() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.jsonl");
        for bad in
            ["\"a secret\"\n", "[\"a secret\"]\n", "{\"prompt\": \"a secret\n", "{\"a\": \"secret\" \"secret\"}\n"]
        {
            std::fs::write(&path, bad).unwrap();
            let error = format!("{:#}", read(&path).unwrap_err());
            assert!(!error.contains("secret"), "{error}");
        }
        let csv = dir.path().join("rows.csv");
        std::fs::write(&csv, "prompt,label\n\"a\nsecret\",safe\na secret\n").unwrap();
        let error = format!("{:#}", read(&csv).unwrap_err());
        assert!(!error.contains("secret") && error.contains("record 2"), "{error}");
    }

    #[test]
    fn tables_and_lists_are_rows() {
        let dir = tempfile::tempdir().unwrap();
        let csv = dir.path().join("rows.csv");
        std::fs::write(&csv, "prompt,n\n\"two\nlines, and a comma\",7\n").unwrap();
        let rows = read(&csv).unwrap();
        assert_eq!(text(&rows[0], &["missing", "prompt"]).unwrap(), "two\nlines, and a comma");
        let list = dir.path().join("rows.json");
        std::fs::write(&list, "[{\"id\": 3, \"flagged\": \"yes\"},\n {\"id\": 4, \"flagged\": 2}]").unwrap();
        let rows = read(&list).unwrap();
        assert_eq!((text(&rows[0], &["id"]).unwrap().as_str(), flag(&rows[0], "flagged").unwrap()), ("3", Some(true)));
        assert!(flag(&rows[1], "flagged").is_err() && flag(&rows[1], "other").unwrap().is_none());
    }
}
