//! Writes records to a Parquet file, without Arrow. JSON values are split into columns as in the Dremel paper (Melnik
//! et al., 2010, section 4.2), each value with its definition and repetition level.
//!
//! The schema is known only after the last record, so records are first stored as JSON lines in a temporary file.

use std::io::{BufRead, BufReader, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, ConvertedType, LogicalType, Repetition, Type as Physical, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};
use serde_json::Value;

use crate::atomic::AtomicFile;
use crate::error::{Error, Invalid, Result, io};
use crate::shape::{Shape, text_part, widen_struct};

/// A row group holds records of about this many bytes of JSON.
const ROW_GROUP_BYTES: usize = 32 << 20;

/// Largest integer up to which every integer is exact as f64.
const EXACT: u64 = 1 << 53;

/// Collects records until [`ParquetFile::finish`] writes them.
pub(crate) struct ParquetFile {
    path: PathBuf,
    target: AtomicFile,
    spool: BufWriter<std::fs::File>,
    fields: Vec<(String, Shape)>,
}

impl ParquetFile {
    pub fn create(path: &Path, target: AtomicFile) -> Result<Self> {
        let spool = tempfile::tempfile().map_err(io(path, "cannot create a temporary file"))?;
        Ok(Self { path: path.to_path_buf(), target, spool: BufWriter::new(spool), fields: Vec::new() })
    }

    /// Adds one record, given as a line of JSON.
    pub fn push(&mut self, line: &[u8], record: u64) -> Result<()> {
        let bad = |e: Invalid| Error::File { path: self.path.clone(), what: format!("record {record}: {e}") };
        match serde_json::from_slice(line) {
            Ok(Value::Object(map)) => widen_struct(&mut self.fields, &map).map_err(bad)?,
            Ok(_) => return Err(bad(Invalid("a row of a Parquet file must be an object".into()))),
            Err(e) => return Err(bad(Invalid(e.to_string()))),
        }
        self.spool.write_all(line).map_err(io(&self.path, "cannot write a temporary file"))
    }

    pub fn finish(self) -> Result<()> {
        let Self { path, target, spool, fields } = self;
        let refused = |what| Error::File { path: path.clone(), what };
        if let Some(name) = fields.iter().find_map(|(name, shape)| shape.empty_struct(name)) {
            let what =
                format!("{name} is an empty object in every record, which Parquet cannot hold; write .jsonl instead");
            return Err(refused(what));
        }
        let cannot = io(&path, "cannot read a temporary file");
        let mut spool = spool.into_inner().map_err(|e| cannot(e.into_error()))?;
        spool.rewind().map_err(&cannot)?;
        let columns = fields.iter().map(|(name, shape)| column_type(name, shape)).collect::<Result<_, _>>();
        let schema = columns.and_then(|columns| Type::group_type_builder("schema").with_fields(columns).build());
        let schema = schema.map_err(|e| refused(e.to_string()))?;
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
        let mut writer = SerializedFileWriter::new(target, Arc::new(schema), Arc::new(properties))
            .map_err(|e| refused(e.to_string()))?;
        let mut lines = BufReader::new(spool);
        let mut line = Vec::new();
        loop {
            let mut leaves = Vec::new();
            fields.iter().for_each(|(_, shape)| add_leaves(shape, &mut leaves));
            let mut bytes = 0;
            while bytes < ROW_GROUP_BYTES {
                line.clear();
                let n = lines.read_until(b'\n', &mut line).map_err(&cannot)?;
                if n == 0 {
                    break;
                }
                bytes += n;
                let Ok(Value::Object(map)) = serde_json::from_slice(&line) else {
                    return Err(refused("a temporary file changed while it was read".into()));
                };
                let mut at = 0;
                for (name, shape) in &fields {
                    shred(map.get(name), shape, 0, 0, 0, &mut leaves, &mut at)
                        .map_err(|e| refused(e.inside(name).to_string()))?;
                }
            }
            if bytes == 0 {
                break;
            }
            let group = writer.next_row_group().and_then(|group| write_row_group(group, &leaves));
            group.map_err(|e| refused(e.to_string()))?;
        }
        writer.into_inner().map_err(|e| refused(e.to_string()))?.finish()
    }
}

/// The column, or group of columns, of a field; every field is optional.
fn column_type(name: &str, shape: &Shape) -> Result<TypePtr, ParquetError> {
    let leaf = |physical| Type::primitive_type_builder(name, physical).with_repetition(Repetition::OPTIONAL);
    let built = match shape {
        Shape::Bool => leaf(Physical::BOOLEAN).build(),
        Shape::Int => leaf(Physical::INT64).build(),
        Shape::UInt => {
            let unsigned = LogicalType::integer(64, false);
            leaf(Physical::INT64).with_logical_type(Some(unsigned)).build()
        }
        Shape::Float => leaf(Physical::DOUBLE).build(),
        Shape::Text | Shape::Unknown => leaf(Physical::BYTE_ARRAY)
            .with_logical_type(Some(LogicalType::String))
            .with_converted_type(ConvertedType::UTF8)
            .build(),
        Shape::Bytes => leaf(Physical::BYTE_ARRAY).build(),
        Shape::List(item) => {
            let repeated = Type::group_type_builder("list")
                .with_repetition(Repetition::REPEATED)
                .with_fields(vec![column_type("element", item)?])
                .build()?;
            Type::group_type_builder(name)
                .with_repetition(Repetition::OPTIONAL)
                .with_logical_type(Some(LogicalType::List))
                .with_converted_type(ConvertedType::LIST)
                .with_fields(vec![Arc::new(repeated)])
                .build()
        }
        Shape::Struct(fields) => {
            let fields = fields.iter().map(|(name, shape)| column_type(name, shape)).collect::<Result<_, _>>()?;
            Type::group_type_builder(name).with_repetition(Repetition::OPTIONAL).with_fields(fields).build()
        }
    };
    built.map(Arc::new)
}

/// The values of one column of a row group, with a definition and a repetition level each.
struct Leaf {
    values: Values,
    definition: Vec<i16>,
    repetition: Vec<i16>,
}

enum Values {
    Bool(Vec<bool>),
    Int(Vec<i64>),
    Float(Vec<f64>),
    Text(Vec<ByteArray>),
}

fn add_leaves(shape: &Shape, leaves: &mut Vec<Leaf>) {
    let values = match shape {
        Shape::List(item) => return add_leaves(item, leaves),
        Shape::Struct(fields) => return fields.iter().for_each(|(_, shape)| add_leaves(shape, leaves)),
        Shape::Bool => Values::Bool(Vec::new()),
        Shape::Int | Shape::UInt => Values::Int(Vec::new()),
        Shape::Float => Values::Float(Vec::new()),
        Shape::Text | Shape::Bytes | Shape::Unknown => Values::Text(Vec::new()),
    };
    leaves.push(Leaf { values, definition: Vec::new(), repetition: Vec::new() });
}

/// Adds one value to its leaves, starting at `leaves[*at]`, and moves `at` past them.
///
/// `definition`: number of optional and repeated fields above that are present. `repetition`: the level at which this
/// value repeats. `depth`: number of lists above.
fn shred(
    value: Option<&Value>,
    shape: &Shape,
    definition: i16,
    repetition: i16,
    depth: i16,
    leaves: &mut [Leaf],
    at: &mut usize,
) -> Result<(), Invalid> {
    let value = value.filter(|v| !v.is_null());
    match (shape, value) {
        (Shape::Struct(fields), value) => {
            let map = value.and_then(Value::as_object);
            let definition = definition + i16::from(map.is_some());
            for (name, shape) in fields {
                let value = map.and_then(|m| m.get(name));
                shred(value, shape, definition, repetition, depth, leaves, at).map_err(|e| e.inside(name))?;
            }
        }
        (Shape::List(item), Some(Value::Array(items))) if !items.is_empty() => {
            let first = *at;
            for (i, value) in items.iter().enumerate() {
                *at = first;
                let repetition = if i == 0 { repetition } else { depth + 1 };
                shred(Some(value), item, definition + 2, repetition, depth + 1, leaves, at)
                    .map_err(|e| e.inside(&format!("[{i}]")))?;
            }
        }
        (Shape::List(_), Some(Value::String(text))) => {
            shred(Some(&text_part(text)), shape, definition, repetition, depth, leaves, at)?;
        }
        (Shape::List(item), value) => absent(item, definition + i16::from(value.is_some()), repetition, leaves, at),
        (_, value) => {
            let leaf = &mut leaves[*at];
            *at += 1;
            leaf.repetition.push(repetition);
            leaf.definition.push(definition + i16::from(value.is_some()));
            if let Some(value) = value {
                leaf.values.push(value)?;
            }
        }
    }
    Ok(())
}

/// Marks in all leaves under `shape` that the value ends at `definition`.
fn absent(shape: &Shape, definition: i16, repetition: i16, leaves: &mut [Leaf], at: &mut usize) {
    match shape {
        Shape::List(item) => absent(item, definition, repetition, leaves, at),
        Shape::Struct(fields) => {
            fields.iter().for_each(|(_, shape)| absent(shape, definition, repetition, leaves, at));
        }
        _ => {
            leaves[*at].definition.push(definition);
            leaves[*at].repetition.push(repetition);
            *at += 1;
        }
    }
}

impl Values {
    fn push(&mut self, value: &Value) -> Result<(), Invalid> {
        match (self, value) {
            (Self::Bool(values), Value::Bool(b)) => values.push(*b),
            (Self::Text(values), Value::String(text)) => values.push(text.as_str().into()),
            (Self::Text(values), Value::Object(_)) => match crate::images::binary(value) {
                Some(bytes) => values.push(bytes.into()),
                None => return Err(Invalid(": an object came in a column of another type".into())),
            },
            (Self::Int(values), Value::Number(n)) => match (n.as_i64(), n.as_u64()) {
                (Some(n), _) => values.push(n),
                // Parquet stores an unsigned number as the signed number with the same bits.
                (None, Some(n)) => values.push(n.cast_signed()),
                (None, None) => return Err(Invalid(format!(": {n} is not a whole number"))),
            },
            (Self::Float(values), Value::Number(n)) => {
                let whole = n.as_i64().map(i64::unsigned_abs).or(n.as_u64());
                match n.as_f64().filter(|_| whole.is_none_or(|n| n <= EXACT)) {
                    Some(x) => values.push(x),
                    None => {
                        let why = "is too large to be exact in a column that also has fractions; write .jsonl instead";
                        return Err(Invalid(format!(": {n} {why}")));
                    }
                }
            }
            (_, other) => {
                return Err(Invalid(format!(": {} came in a column of another type", crate::fields::kind(other))));
            }
        }
        Ok(())
    }
}

fn write_row_group(mut group: SerializedRowGroupWriter<'_, AtomicFile>, leaves: &[Leaf]) -> Result<(), ParquetError> {
    for leaf in leaves {
        let Some(mut column) = group.next_column()? else {
            return Err(ParquetError::General("the schema has fewer columns than the records".into()));
        };
        match &leaf.values {
            Values::Bool(values) => write_column::<BoolType>(&mut column, values, leaf)?,
            Values::Int(values) => write_column::<Int64Type>(&mut column, values, leaf)?,
            Values::Float(values) => write_column::<DoubleType>(&mut column, values, leaf)?,
            Values::Text(values) => write_column::<ByteArrayType>(&mut column, values, leaf)?,
        }
        column.close()?;
    }
    group.close().map(|_| ())
}

fn write_column<T: DataType>(
    column: &mut SerializedColumnWriter<'_>,
    values: &[T::T],
    leaf: &Leaf,
) -> Result<(), ParquetError> {
    column.typed::<T>().write_batch(values, Some(&leaf.definition), Some(&leaf.repetition)).map(|_| ())
}
