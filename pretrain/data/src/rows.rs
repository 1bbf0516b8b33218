//! Narrow tables as Parquet files: columns of 64-bit numbers, and at most one of texts. Hashes are unsigned numbers,
//! stored with the same bits in a signed column, which other engines can read.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use parquet::basic::{Compression, ConvertedType, LogicalType, Repetition, Type as Physical, ZstdLevel};
use parquet::column::reader::ColumnReader;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{PrimitiveTypeBuilder, Type, TypePtr};

/// A table under construction.
#[derive(Debug, Clone)]
pub struct Table {
    names: Vec<&'static str>,
    numbers: Vec<Vec<i64>>,
    text: Option<(&'static str, Vec<ByteArray>)>,
}

impl Table {
    /// A table of number columns.
    #[must_use]
    pub fn new(names: &[&'static str]) -> Self {
        Self { names: names.to_vec(), numbers: vec![Vec::new(); names.len()], text: None }
    }

    /// Adds a column of texts, as the last one.
    #[must_use]
    pub fn with_text(mut self, name: &'static str) -> Self {
        self.text = Some((name, Vec::new()));
        self
    }

    /// Adds a row.
    pub fn push(&mut self, row: &[u64]) {
        for (column, value) in self.numbers.iter_mut().zip(row) {
            column.push(value.cast_signed());
        }
    }

    /// Adds a row with a text.
    pub fn push_text(&mut self, row: &[u64], text: &str) {
        self.push(row);
        if let Some((_, column)) = &mut self.text {
            column.push(text.into());
        }
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.numbers.first().map_or(0, Vec::len)
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the table. The file is not written atomically; its folder is.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        self.try_write(path).with_context(|| format!("{}: cannot write", path.display()))
    }

    fn try_write(&self, path: &Path) -> anyhow::Result<()> {
        let mut columns: Vec<TypePtr> = Vec::new();
        for name in &self.names {
            columns.push(Arc::new(leaf(name, Physical::INT64).build()?));
        }
        if let Some((name, _)) = &self.text {
            let text = leaf(name, Physical::BYTE_ARRAY).with_logical_type(Some(LogicalType::String));
            columns.push(Arc::new(text.with_converted_type(ConvertedType::UTF8).build()?));
        }
        let schema = Type::group_type_builder("schema").with_fields(columns).build()?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
            .set_dictionary_enabled(false)
            .build();
        let mut writer = SerializedFileWriter::new(File::create(path)?, Arc::new(schema), Arc::new(properties))?;
        let mut group = writer.next_row_group()?;
        for values in &self.numbers {
            let mut column = group.next_column()?.context("a column is missing")?;
            column.typed::<Int64Type>().write_batch(values, None, None)?;
            column.close()?;
        }
        if let Some((_, values)) = &self.text {
            let mut column = group.next_column()?.context("a column is missing")?;
            column.typed::<ByteArrayType>().write_batch(values, None, None)?;
            column.close()?;
        }
        group.close()?;
        writer.close()?;
        Ok(())
    }
}

/// A required column.
fn leaf(name: &str, physical: Physical) -> PrimitiveTypeBuilder<'_> {
    Type::primitive_type_builder(name, physical).with_repetition(Repetition::REQUIRED)
}

/// The result of [`read`]: number columns in order, and the texts.
pub type Columns = (Vec<Vec<u64>>, Vec<String>);

/// Reads a table of `numbers` number columns and, with `text`, one of texts.
///
/// # Errors
/// When the file cannot be read or is not this kind of table.
pub fn read(path: &Path, numbers: usize, text: bool) -> anyhow::Result<Columns> {
    try_read(path, numbers, text).with_context(|| format!("{}: cannot read rows", path.display()))
}

fn try_read(path: &Path, numbers: usize, text: bool) -> anyhow::Result<Columns> {
    let reader = SerializedFileReader::new(File::open(path)?)?;
    let columns = reader.metadata().file_metadata().schema_descr().num_columns();
    ensure!(columns == numbers + usize::from(text), "the table has {columns} columns");
    let (mut out, mut texts) = (vec![Vec::new(); numbers], Vec::new());
    for at in 0..reader.num_row_groups() {
        let group = reader.get_row_group(at)?;
        let rows = usize::try_from(group.metadata().num_rows())?;
        for (column, out) in out.iter_mut().enumerate() {
            let ColumnReader::Int64ColumnReader(mut column) = group.get_column_reader(column)? else {
                anyhow::bail!("column {column} holds no 64-bit numbers");
            };
            let mut values = Vec::with_capacity(rows);
            column.read_records(rows, None, None, &mut values)?;
            ensure!(values.len() == rows, "the table is cut off");
            out.extend(values.iter().map(|value| value.cast_unsigned()));
        }
        if text {
            let ColumnReader::ByteArrayColumnReader(mut column) = group.get_column_reader(numbers)? else {
                anyhow::bail!("column {numbers} holds no texts");
            };
            let mut values = Vec::with_capacity(rows);
            column.read_records(rows, None, None, &mut values)?;
            for value in &values {
                texts.push(value.as_utf8()?.to_owned());
            }
        }
    }
    Ok((out, texts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.parquet");
        let mut table = Table::new(&["key", "place"]).with_text("id");
        table.push_text(&[u64::MAX, 3], "a");
        table.push_text(&[5, 1 << 63], "ü");
        table.write(&path).unwrap();
        let (numbers, texts) = read(&path, 2, true).unwrap();
        assert_eq!((numbers, texts), (vec![vec![u64::MAX, 5], vec![3, 1 << 63]], vec!["a".into(), "ü".into()]));
        Table::new(&["key"]).write(&path).unwrap();
        assert_eq!(read(&path, 1, false).unwrap().0, [Vec::<u64>::new()]);
        let error = format!("{:#}", read(&path, 2, false).unwrap_err());
        assert!(error.contains("t.parquet: cannot read rows: the table has 1 columns"), "{error}");
    }
}
