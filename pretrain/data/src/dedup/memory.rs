//! The carrier in this process. Rows stay in memory as long as they fit into half of the budget. Otherwise they are
//! partitioned by their key into files of a temporary folder, each file is sorted in turn, and the results have the
//! same order. Data that must stay in memory as a whole (a number for each document, the result) is compared with the
//! budget first; the error says how much memory is needed.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use rayon::prelude::*;

use super::carrier::{Carrier, Dated, Keyed, Replaced, Rows};

/// A memory budget, and the place for rows that do not fit into it.
#[derive(Debug, Clone)]
pub struct Memory {
    /// The budget in bytes.
    pub budget: u64,
    /// A folder for temporary files.
    pub spill: PathBuf,
}

/// A row as bytes of fixed width; it sorts by its key first.
trait Row: Copy + Ord + Send {
    const BYTES: usize;
    fn key(self) -> u64;
    fn put(self, out: &mut Vec<u8>);
    fn get(bytes: &[u8]) -> Self;
}

fn number(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[8 * at..8 * at + 8]);
    u64::from_le_bytes(eight)
}

impl Row for u64 {
    const BYTES: usize = 8;
    fn key(self) -> u64 {
        self
    }
    fn put(self, out: &mut Vec<u8>) {
        out.extend(self.to_le_bytes());
    }
    fn get(bytes: &[u8]) -> Self {
        number(bytes, 0)
    }
}

impl Row for Keyed {
    const BYTES: usize = 16;
    fn key(self) -> u64 {
        self.key
    }
    fn put(self, out: &mut Vec<u8>) {
        self.key.put(out);
        self.document.put(out);
    }
    fn get(bytes: &[u8]) -> Self {
        Self { key: number(bytes, 0), document: number(bytes, 1) }
    }
}

impl Row for Dated {
    const BYTES: usize = 24;
    fn key(self) -> u64 {
        self.key
    }
    fn put(self, out: &mut Vec<u8>) {
        [self.key, self.age, self.document].into_iter().for_each(|part| part.put(out));
    }
    fn get(bytes: &[u8]) -> Self {
        Self { key: number(bytes, 0), age: number(bytes, 1), document: number(bytes, 2) }
    }
}

/// Number of files into which rows are partitioned by the high bits of their key. The partition is even, since keys
/// are hashes.
const PARTS: usize = 256;
/// The smallest accepted budget, in bytes.
const FLOOR: u64 = 8 << 20;

impl Memory {
    /// Creates a carrier with a budget.
    ///
    /// # Errors
    /// When it is below the floor.
    pub fn new(budget: u64, spill: PathBuf) -> anyhow::Result<Self> {
        ensure!(budget >= FLOOR, "--memory {budget}: give at least {FLOOR} bytes ({} MB)", FLOOR >> 20);
        Ok(Self { budget, spill })
    }

    /// Calls `each` with all rows of every key together, sorted.
    fn grouped<R: Row>(&self, rows: Rows<R>, each: &mut dyn FnMut(&[R]) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let most = (self.budget / 2) as usize / size_of::<R>();
        let mut held: Vec<R> = Vec::new();
        let mut parts: Option<Parts> = None;
        rows(&mut |row| {
            held.push(row);
            if held.len() >= most {
                let parts = match &mut parts {
                    Some(parts) => parts,
                    none => none.insert(Parts::new(&self.spill)),
                };
                held.drain(..).try_for_each(|row| parts.push(row))?;
            }
            Ok(())
        })?;
        let Some(mut parts) = parts else { return sorted(held, each) };
        held.drain(..).try_for_each(|row| parts.push(row))?;
        drop(held);
        for (at, count) in parts.finish()?.into_iter().enumerate() {
            ensure!(
                count * (size_of::<R>() as u64) <= self.budget,
                "{count} of the rows fall into one of {PARTS} parts, which needs {} MB and --memory gives {} MB: raise it, or take \
                 --engine datafusion",
                (count * size_of::<R>() as u64) >> 20,
                self.budget >> 20
            );
            sorted(parts.read(at, count)?, each)?;
        }
        Ok(())
    }

    /// Calls `each` with every row, in the order of the keys.
    ///
    /// # Errors
    /// When the memory budget is too small, or temporary files cannot be written.
    pub fn in_order(&self, rows: Rows<Keyed>, each: &mut dyn FnMut(Keyed)) -> anyhow::Result<()> {
        self.grouped(rows, &mut |group| {
            group.iter().for_each(|row| each(*row));
            Ok(())
        })
    }

    /// Whether this number of bytes may stay in memory.
    fn fits(&self, bytes: u64, what: &str) -> anyhow::Result<()> {
        ensure!(
            bytes <= self.budget,
            "{what} needs {} MB and --memory gives {} MB: raise it, or deduplicate within parts of the corpus first",
            bytes.div_ceil(1 << 20),
            self.budget >> 20
        );
        Ok(())
    }
}

fn sorted<R: Row>(mut rows: Vec<R>, each: &mut dyn FnMut(&[R]) -> anyhow::Result<()>) -> anyhow::Result<()> {
    rows.par_sort_unstable();
    rows.chunk_by(|a, b| a.key() == b.key()).try_for_each(each)
}

/// Temporary files of rows, which are removed when this value is dropped.
struct Parts {
    folder: PathBuf,
    /// Each file is created with its first row.
    files: Vec<Option<BufWriter<File>>>,
    counts: Vec<u64>,
    bytes: Vec<u8>,
}

impl Parts {
    fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            files: (0..PARTS).map(|_| None).collect(),
            counts: vec![0; PARTS],
            bytes: Vec::new(),
        }
    }

    fn push<R: Row>(&mut self, row: R) -> anyhow::Result<()> {
        let part = (row.key() >> 56) as usize;
        let file = match &mut self.files[part] {
            Some(file) => file,
            none => {
                let file = tempfile::tempfile_in(&self.folder)
                    .with_context(|| format!("cannot write to {}", self.folder.display()))?;
                none.insert(BufWriter::with_capacity(8 << 10, file))
            }
        };
        self.bytes.clear();
        row.put(&mut self.bytes);
        self.counts[part] += 1;
        file.write_all(&self.bytes).context("cannot write rows to a temporary file; is the disk full?")
    }

    fn finish(&mut self) -> anyhow::Result<Vec<u64>> {
        for file in self.files.iter_mut().flatten() {
            file.flush().context("cannot write rows to a temporary file; is the disk full?")?;
        }
        Ok(self.counts.clone())
    }

    fn read<R: Row>(&mut self, part: usize, count: u64) -> anyhow::Result<Vec<R>> {
        let Some(file) = &mut self.files[part] else { return Ok(Vec::new()) };
        let file = file.get_mut();
        file.rewind()?;
        let mut reader = BufReader::with_capacity(1 << 20, file);
        let mut bytes = vec![0; R::BYTES];
        let mut rows = Vec::with_capacity(count as usize);
        for _ in 0..count {
            reader.read_exact(&mut bytes).context("a temporary file of rows changed while it was read")?;
            rows.push(R::get(&bytes));
        }
        Ok(rows)
    }
}

impl Carrier for Memory {
    fn older(&self, rows: Rows<Dated>) -> anyhow::Result<Vec<Replaced>> {
        let mut gone = Vec::new();
        self.grouped(rows, &mut |group| {
            let by = group[0].document;
            gone.extend(
                group[1..].iter().filter(|row| row.document != by).map(|row| Replaced { document: row.document, by }),
            );
            self.fits(gone.len() as u64 * 16, "the list of replaced documents")
        })?;
        gone.par_sort_unstable();
        gone.dedup_by_key(|replaced| replaced.document);
        Ok(gone)
    }

    fn repeated(&self, rows: Rows<Keyed>) -> anyhow::Result<Vec<Replaced>> {
        let mut gone = Vec::new();
        self.grouped(rows, &mut |group| {
            let by = group[0].document;
            gone.extend(
                group[1..].iter().filter(|row| row.document != by).map(|row| Replaced { document: row.document, by }),
            );
            self.fits(gone.len() as u64 * 16, "the list of repeated documents")
        })?;
        gone.par_sort_unstable();
        gone.dedup_by_key(|replaced| replaced.document);
        Ok(gone)
    }

    fn connected(&self, rows: Rows<Keyed>, documents: u64) -> anyhow::Result<Vec<Replaced>> {
        ensure!(
            documents < u64::from(u32::MAX),
            "{documents} documents are too many for one component step: split the corpus"
        );
        self.fits(documents * 4, "a number for each document")?;
        let mut parent: Vec<u32> = (0..documents as u32).collect();
        self.grouped(rows, &mut |group| {
            let first = group[0].document as u32;
            for row in &group[1..] {
                unite(&mut parent, first, row.document as u32);
            }
            Ok(())
        })?;
        let mut gone = Vec::new();
        for document in 0..documents as u32 {
            let root = find(&mut parent, document);
            if root != document {
                gone.push(Replaced { document: document.into(), by: root.into() });
            }
        }
        Ok(gone)
    }

    fn frequent(&self, keys: Rows<u64>, times: u64) -> anyhow::Result<Vec<u64>> {
        let mut frequent = Vec::new();
        self.grouped(keys, &mut |group| {
            if group.len() as u64 > times {
                frequent.push(group[0]);
            }
            Ok(())
        })?;
        frequent.sort_unstable();
        Ok(frequent)
    }
}

fn find(parent: &mut [u32], of: u32) -> u32 {
    let mut at = of;
    while parent[at as usize] != at {
        parent[at as usize] = parent[parent[at as usize] as usize];
        at = parent[at as usize];
    }
    at
}

/// Joins two components. The smaller root stays the root, so roots are minima.
fn unite(parent: &mut [u32], a: u32, b: u32) {
    let (a, b) = (find(parent, a), find(parent, b));
    parent[a.max(b) as usize] = a.min(b);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hash;

    fn carriers(dir: &std::path::Path) -> [Memory; 2] {
        // The second one must use files from 64 rows on.
        [Memory { budget: 1 << 30, spill: dir.into() }, Memory { budget: 2048, spill: dir.into() }]
    }

    #[test]
    fn newest_wins_and_then_the_smallest() {
        let dir = tempfile::tempdir().unwrap();
        let rows = [(1, 100, 5), (1, 200, 9), (1, 200, 7), (2, i64::MIN, 3), (2, -5, 8), (3, 0, 1)];
        for carrier in carriers(dir.path()) {
            let mut feed = |take: &mut dyn FnMut(Dated) -> anyhow::Result<()>| {
                rows.iter().try_for_each(|(key, seconds, document)| take(Dated::new(*key, *seconds, *document)))
            };
            let gone = carrier.older(&mut feed).unwrap();
            let gone: Vec<(u64, u64)> = gone.iter().map(|r| (r.document, r.by)).collect();
            assert_eq!(gone, [(3, 8), (5, 7), (9, 7)]);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// The survivors are the same in memory and with files, and equal those of a naive search.
        #[test]
        fn components_are_those_of_a_naive_search(edges in proptest::collection::vec((0_u64..60, 0_u64..60), 0..150)) {
            let dir = tempfile::tempdir().unwrap();
            let mut smallest: Vec<u64> = (0..60).collect();
            for _ in 0..60 {
                for (a, b) in &edges {
                    let least = smallest[*a as usize].min(smallest[*b as usize]);
                    smallest[*a as usize] = least;
                    smallest[*b as usize] = least;
                }
            }
            for carrier in carriers(dir.path()) {
                let mut feed = |take: &mut dyn FnMut(Keyed) -> anyhow::Result<()>| {
                    edges.iter().enumerate().try_for_each(|(at, (a, b))| {
                        let key = hash::bytes(&(at as u64).to_le_bytes());
                        take(Keyed { key, document: *a })?;
                        take(Keyed { key, document: *b })
                    })
                };
                let gone = carrier.connected(&mut feed, 60).unwrap();
                let expected: Vec<Replaced> = (0..60)
                    .filter(|n| smallest[*n as usize] != *n)
                    .map(|n| Replaced { document: n, by: smallest[n as usize] })
                    .collect();
                prop_assert_eq!(gone, expected);
            }
        }

        #[test]
        fn frequent_keys_are_counted(keys in proptest::collection::vec(0_u64..20, 0..400)) {
            let dir = tempfile::tempdir().unwrap();
            let keys: Vec<u64> = keys.iter().map(|key| hash::bytes(&key.to_le_bytes())).collect();
            let mut expected: Vec<u64> = keys.iter().filter(|key| keys.iter().filter(|k| k == key).count() > 6).copied().collect();
            expected.sort_unstable();
            expected.dedup();
            for carrier in carriers(dir.path()) {
                let mut feed = |take: &mut dyn FnMut(u64) -> anyhow::Result<()>| keys.iter().try_for_each(|key| take(*key));
                prop_assert_eq!(carrier.frequent(&mut feed, 6).unwrap(), expected.clone());
            }
        }
    }

    #[test]
    fn a_budget_that_cannot_hold_the_documents_is_a_sentence() {
        let carrier = Memory { budget: 4096, spill: std::env::temp_dir() };
        let error = carrier.connected(&mut |_| Ok(()), 1_000_000).unwrap_err().to_string();
        assert!(error.contains("a number for each document needs 4 MB and --memory gives 0 MB"), "{error}");
        assert!(Memory::new(1, PathBuf::new()).unwrap_err().to_string().contains("at least"));
    }
}
