//! Narrow tables as Parquet files: columns of 64-bit numbers, and at most one of texts. Hashes are unsigned numbers,
//! stored with the same bits in a signed column, which other engines can read.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use parquet::basic::{Compression, ConvertedType, LogicalType, Repetition, Type as Physical, ZstdLevel};
use parquet::column::reader::ColumnReader;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
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
        let compression = Compression::ZSTD(ZstdLevel::try_new(1)?);
        let mut writer = writer(path, &self.names, self.text.as_ref().map(|(name, _)| *name), compression)?;
        self.write_group(&mut writer)?;
        writer.close()?;
        Ok(())
    }

    fn write_group(&self, writer: &mut SerializedFileWriter<File>) -> anyhow::Result<()> {
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
        Ok(())
    }
}

fn writer(
    path: &Path,
    names: &[&str],
    text: Option<&str>,
    compression: Compression,
) -> anyhow::Result<SerializedFileWriter<File>> {
    let mut columns: Vec<TypePtr> = Vec::new();
    for name in names {
        columns.push(Arc::new(leaf(name, Physical::INT64).build()?));
    }
    if let Some(name) = text {
        let text = leaf(name, Physical::BYTE_ARRAY).with_logical_type(Some(LogicalType::String));
        columns.push(Arc::new(text.with_converted_type(ConvertedType::UTF8).build()?));
    }
    let schema = Type::group_type_builder("schema").with_fields(columns).build()?;
    let properties = WriterProperties::builder().set_compression(compression).set_dictionary_enabled(false).build();
    Ok(SerializedFileWriter::new(File::create(path)?, Arc::new(schema), Arc::new(properties))?)
}

/// Number of rows that [`Writer`] holds in memory.
const GROUP: usize = 1 << 17;

/// Writes a table of number columns row by row. Hashes do not get smaller by compression, so there is none.
pub struct Writer {
    path: PathBuf,
    writer: SerializedFileWriter<File>,
    table: Table,
    rows: u64,
}

impl Writer {
    /// Begins a file. It is not written atomically.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(path: &Path, names: &[&'static str]) -> anyhow::Result<Self> {
        let writer = writer(path, names, None, Compression::UNCOMPRESSED)
            .with_context(|| format!("{}: cannot write", path.display()))?;
        Ok(Self { path: path.to_owned(), writer, table: Table::new(names), rows: 0 })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn push(&mut self, row: &[u64]) -> anyhow::Result<()> {
        self.table.push(row);
        self.rows += 1;
        if self.table.len() == GROUP { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        let written = self.table.write_group(&mut self.writer);
        self.table.numbers.iter_mut().for_each(Vec::clear);
        written.with_context(|| format!("{}: cannot write; is the disk full?", self.path.display()))
    }

    /// Ends the file, and returns the number of rows.
    ///
    /// # Errors
    /// See [`Writer::push`].
    pub fn finish(mut self) -> anyhow::Result<u64> {
        if !self.table.is_empty() {
            self.flush()?;
        }
        self.writer.close().with_context(|| format!("{}: cannot write; is the disk full?", self.path.display()))?;
        Ok(self.rows)
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
    let reader = open(path, numbers, text)?;
    let (mut out, mut texts) = (vec![Vec::new(); numbers], Vec::new());
    for at in 0..reader.num_row_groups() {
        let group = reader.get_row_group(at)?;
        let rows = usize::try_from(group.metadata().num_rows())?;
        for (column, out) in out.iter_mut().enumerate() {
            out.extend(read_numbers(&*group, column, rows)?.into_iter().map(i64::cast_unsigned));
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

fn open(path: &Path, numbers: usize, text: bool) -> anyhow::Result<SerializedFileReader<File>> {
    let reader = SerializedFileReader::new(File::open(path)?)?;
    let columns = reader.metadata().file_metadata().schema_descr().num_columns();
    ensure!(columns == numbers + usize::from(text), "the table has {columns} columns");
    Ok(reader)
}

fn read_numbers(group: &dyn RowGroupReader, column: usize, rows: usize) -> anyhow::Result<Vec<i64>> {
    let levels = group.metadata().column(column).column_descr().max_def_level();
    let ColumnReader::Int64ColumnReader(mut reader) = group.get_column_reader(column)? else {
        anyhow::bail!("column {column} holds no 64-bit numbers");
    };
    let (mut values, mut defined) = (Vec::with_capacity(rows), Vec::new());
    reader.read_records(rows, (levels > 0).then_some(&mut defined), None, &mut values)?;
    ensure!(values.len() == rows, "column {column} has {} of {rows} values", values.len());
    Ok(values)
}

/// Calls `take` with every row of a table of number columns, which may be declared as nullable. One row group is in
/// memory at a time.
///
/// # Errors
/// When the file cannot be read, is not this kind of table or has a null.
pub fn each(path: &Path, numbers: usize, take: &mut dyn FnMut(&[u64]) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let says = || format!("{}: cannot read rows", path.display());
    let reader = open(path, numbers, false).with_context(says)?;
    let mut row = vec![0; numbers];
    for at in 0..reader.num_row_groups() {
        let group = reader.get_row_group(at).with_context(says)?;
        let rows = usize::try_from(group.metadata().num_rows())?;
        let columns = (0..numbers).map(|column| read_numbers(&*group, column, rows));
        let columns = columns.collect::<anyhow::Result<Vec<_>>>().with_context(says)?;
        for at in 0..rows {
            row.iter_mut().zip(&columns).for_each(|(cell, column)| *cell = column[at].cast_unsigned());
            take(&row)?;
        }
    }
    Ok(())
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

    #[test]
    fn rows_are_written_and_read_one_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.parquet");
        let mut writer = Writer::create(&path, &["key", "document"]).unwrap();
        let count = GROUP as u64 + 3;
        (0..count).try_for_each(|n| writer.push(&[!n, n])).unwrap();
        assert_eq!(writer.finish().unwrap(), count);
        let mut next = 0;
        each(&path, 2, &mut |row| {
            assert_eq!(row, [!next, next]);
            next += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(next, count);
    }
}
