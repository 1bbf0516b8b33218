//! Rows of a Parquet file as JSON values, through the `parquet` crate's record interface (no Arrow).

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parquet::file::reader::SerializedFileReader;
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use serde_json::{Map, Number, Value};

use crate::error::{Error, Invalid, Result, io};

/// Reads rows one at a time; only the pages of one row group are in memory, not the file.
pub(crate) struct Rows {
    path: PathBuf,
    rows: RowIter<'static>,
    /// The number of the last row, from 1.
    pub number: u64,
}

impl Rows {
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(io(path, "cannot open"))?;
        let reader = SerializedFileReader::new(file).map_err(|e| damaged(path, &e.to_string()))?;
        let rows = RowIter::from_file_into(Box::new(reader));
        Ok(Self { path: path.to_path_buf(), rows, number: 0 })
    }

    /// The next row; `Ok(None)` at the end. The inner error concerns a single value.
    pub fn next(&mut self) -> Result<Option<Result<Value, Invalid>>> {
        // The record interface panics on unknown column types and on some damaged pages.
        let row = match catch_unwind(AssertUnwindSafe(|| self.rows.next())) {
            Ok(None) => return Ok(None),
            Ok(Some(Ok(row))) => row,
            Ok(Some(Err(e))) => return Err(self.stopped(&e.to_string())),
            Err(_) => return Err(self.stopped("a column's type is not supported, or a page is damaged")),
        };
        self.number += 1;
        Ok(Some(object(&row)))
    }

    fn stopped(&self, what: &str) -> Error {
        damaged(&self.path, &format!("cannot be read after row {}: {what}", self.number))
    }
}

fn damaged(path: &Path, what: &str) -> Error {
    Error::File { path: path.to_path_buf(), what: what.to_owned() }
}

/// Parquet cannot distinguish a missing field from a null one: both are left out.
fn object(row: &Row) -> Result<Value, Invalid> {
    let mut map = Map::new();
    for (name, field) in row.get_column_iter() {
        match value(field).map_err(|e| e.inside(name))? {
            Value::Null => {}
            value => _ = map.insert(name.clone(), value),
        }
    }
    Ok(Value::Object(map))
}

fn value(field: &Field) -> Result<Value, Invalid> {
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(b) => (*b).into(),
        Field::Byte(n) => (*n).into(),
        Field::Short(n) => (*n).into(),
        Field::Int(n) => (*n).into(),
        Field::Long(n) => (*n).into(),
        Field::UByte(n) => (*n).into(),
        Field::UShort(n) => (*n).into(),
        Field::UInt(n) => (*n).into(),
        Field::ULong(n) => (*n).into(),
        Field::Float16(x) => float(x.to_f64()),
        Field::Float(x) => float(f64::from(*x)),
        Field::Double(x) => float(*x),
        Field::Str(text) => text.as_str().into(),
        // Binary data such as an image is kept as hexadecimal digits, in an object that is not a text.
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => text.into(),
            Err(_) => crate::images::binary_value(bytes.data()),
        },
        Field::Group(row) => object(row)?,
        Field::ListInternal(list) => {
            let items = list.elements().iter().enumerate();
            items.map(|(i, item)| value(item).map_err(|e| e.inside(&format!("[{i}]")))).collect::<Result<_, _>>()?
        }
        Field::MapInternal(entries) => {
            let mut map = Map::new();
            for (key, item) in entries.entries() {
                let key = match key {
                    Field::Str(text) => text.clone(),
                    other => other.to_string(),
                };
                map.insert(key, value(item)?);
            }
            Value::Object(map)
        }
        // Exact decimals, dates and times as text.
        other => Value::String(other.to_string()),
    })
}

/// JSON has no NaN and no infinities: they become texts. So a row is read whatever value an unused column has, and a
/// field that must be a number reports the value that it found.
fn float(x: f64) -> Value {
    Number::from_f64(x)
        .map_or_else(|| Value::String(if x.is_nan() { "NaN".into() } else { format!("{x}") }), Value::Number)
}
