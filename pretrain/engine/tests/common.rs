//! Rows, searches in memory, and calls of the binary.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::parquet::file::properties::WriterProperties;

/// Splitmix64.
pub struct Rows(pub u64);

impl Rows {
    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        hash(self.0).cast_unsigned() % limit
    }
}

/// A hash with both signs.
pub fn hash(n: u64) -> i64 {
    let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (n ^ n >> 31).cast_signed()
}

/// Replaced documents and what replaces them.
pub type Pairs = BTreeMap<i64, i64>;

/// All documents of a key but the one with the smallest (age, document).
pub fn newest(rows: &[[i64; 3]]) -> Pairs {
    let mut best: HashMap<i64, (i64, i64)> = HashMap::new();
    for [key, age, document] in rows {
        let found = best.entry(*key).or_insert((*age, *document));
        *found = (*found).min((*age, *document));
    }
    rows.iter()
        .filter(|[key, _, document]| best[key].1 != *document)
        .map(|[key, _, document]| (*document, best[key].1))
        .collect()
}

/// All documents of a key but the smallest.
pub fn smallest(rows: &[[i64; 2]]) -> Pairs {
    newest(&rows.iter().map(|[key, document]| [*key, 0, *document]).collect::<Vec<_>>())
}

/// All documents of a component but the smallest.
pub fn components(rows: &[[i64; 2]]) -> Pairs {
    let count = rows.iter().map(|row| row[1]).max().unwrap() as usize + 1;
    let mut parent: Vec<usize> = (0..count).collect();
    fn find(parent: &mut [usize], mut at: usize) -> usize {
        while parent[at] != at {
            parent[at] = parent[parent[at]];
            at = parent[at];
        }
        at
    }
    let mut first: HashMap<i64, usize> = HashMap::new();
    for [key, document] in rows {
        let other = *first.entry(*key).or_insert(*document as usize);
        let (a, b) = (find(&mut parent, other), find(&mut parent, *document as usize));
        parent[a.max(b)] = a.min(b);
    }
    let roots: Vec<usize> = (0..count).map(|at| find(&mut parent, at)).collect();
    roots.iter().enumerate().filter(|(at, root)| at != *root).map(|(at, root)| (at as i64, *root as i64)).collect()
}

/// Keys that occur more than `times` times, sorted.
pub fn frequent(rows: &[[i64; 1]], times: usize) -> Vec<i64> {
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    rows.iter().for_each(|[key]| *counts.entry(*key).or_default() += 1);
    counts.into_iter().filter(|(_, count)| *count > times).map(|(key, _)| key).collect()
}

/// A temporary folder with tables.
pub struct World(tempfile::TempDir);

impl World {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes rows as two files.
    pub fn write<const N: usize>(&self, table: &str, columns: &[&str], rows: &[[i64; N]]) {
        let fields: Vec<Field> = columns.iter().map(|name| Field::new(*name, DataType::Int64, false)).collect();
        let schema = Arc::new(Schema::new(fields));
        let folder = self.path(table);
        std::fs::create_dir_all(&folder).unwrap();
        for (at, rows) in rows.chunks(rows.len().div_ceil(2)).enumerate() {
            let properties = WriterProperties::builder().set_dictionary_enabled(false).build();
            let file = File::create(folder.join(format!("{at}.parquet"))).unwrap();
            let mut writer = ArrowWriter::try_new(file, schema.clone(), Some(properties)).unwrap();
            for rows in rows.chunks(1 << 17) {
                let column = |at: usize| Arc::new(rows.iter().map(|row| row[at]).collect::<Int64Array>()) as ArrayRef;
                writer.write(&RecordBatch::try_new(schema.clone(), (0..N).map(column).collect()).unwrap()).unwrap();
            }
            writer.close().unwrap();
        }
    }

    /// A call of the binary.
    pub fn command(&self, kind: &str, table: &str, memory: u64, threads: usize) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_herd-engine"));
        command.args(["step", kind, "--memory", &memory.to_string(), "--threads", &threads.to_string()]);
        command.arg("--rows").arg(self.path(table)).arg("--result").arg(self.path(&format!("{table}-result")));
        command.arg("--work").arg(self.path(&format!("{table}-work")));
        command
    }

    /// The rows of the result of a step.
    fn result(&self, mut command: Command, table: &str) -> Vec<Vec<i64>> {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        print!("{}", String::from_utf8_lossy(&output.stdout));
        self.rows(table)
    }

    fn rows(&self, table: &str) -> Vec<Vec<i64>> {
        let folder = self.path(&format!("{table}-result"));
        let mut rows = Vec::new();
        for entry in std::fs::read_dir(&folder).unwrap() {
            let file = File::open(entry.unwrap().path()).unwrap();
            for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
                let batch = batch.unwrap();
                let columns: Vec<_> = batch.columns().iter().map(|column| column.as_primitive::<Int64Type>()).collect();
                rows.extend((0..batch.num_rows()).map(|at| columns.iter().map(|column| column.value(at)).collect()));
            }
        }
        std::fs::remove_dir_all(&folder).unwrap();
        std::fs::remove_dir_all(self.path(&format!("{table}-work"))).unwrap();
        rows
    }

    pub fn pairs(&self, kind: &str, memory: u64, threads: usize) -> Pairs {
        self.pairs_of(kind, kind, memory, threads, &[])
    }

    pub fn pairs_of(&self, kind: &str, table: &str, memory: u64, threads: usize, more: &[&str]) -> Pairs {
        let mut command = self.command(kind, table, memory, threads);
        command.args(more);
        let rows = self.result(command, table);
        let pairs: Pairs = rows.iter().map(|row| (row[0], row[1])).collect();
        assert_eq!(pairs.len(), rows.len(), "a document is replaced twice");
        pairs
    }

    pub fn keys(&self, table: &str, memory: u64, more: &[&str]) -> Vec<i64> {
        let mut command = self.command("frequent", table, memory, 2);
        command.args(more);
        let mut keys: Vec<i64> = self.result(command, table).iter().map(|row| row[0]).collect();
        keys.sort_unstable();
        keys
    }
}

/// Processor time of the children that ended, in seconds.
pub fn children() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[13].parse::<f64>().unwrap() + fields[14].parse::<f64>().unwrap()) / 100.0
}
