//! Numbers of documents: the n-th document in the order of (source priority, id, place) has number n. Among
//! duplicates, the smaller number survives.
//!
//! Keys are sorted in memory in runs of half of the budget. If there is more than one run, sorted runs are written to
//! temporary files and merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;

use anyhow::{Context, ensure};
use rayon::prelude::*;

/// Collects documents.
pub(super) struct Sorter<'a> {
    budget: usize,
    spill: &'a Path,
    ids: Vec<u8>,
    /// Priority, start and length of the id, place.
    keys: Vec<(u64, usize, usize, u64)>,
    runs: Vec<BufReader<File>>,
}

impl<'a> Sorter<'a> {
    pub fn new(budget: u64, spill: &'a Path) -> Self {
        Self { budget: budget as usize / 2, spill, ids: Vec::new(), keys: Vec::new(), runs: Vec::new() }
    }

    pub fn push(&mut self, priority: u64, id: &str, place: u64) -> anyhow::Result<()> {
        self.keys.push((priority, self.ids.len(), id.len(), place));
        self.ids.extend_from_slice(id.as_bytes());
        if self.ids.len() + self.keys.len() * size_of::<(u64, usize, usize, u64)>() > self.budget {
            self.flush()?;
        }
        Ok(())
    }

    fn sort(&mut self) {
        let ids = &self.ids;
        self.keys.par_sort_unstable_by_key(|(priority, at, length, place)| (*priority, &ids[*at..at + length], *place));
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.sort();
        ensure!(self.runs.len() < 512, "--memory is too small to sort the documents' ids: raise it");
        let file =
            tempfile::tempfile_in(self.spill).with_context(|| format!("cannot write to {}", self.spill.display()))?;
        let mut out = BufWriter::with_capacity(1 << 16, file);
        for (priority, at, length, place) in self.keys.drain(..) {
            out.write_all(&priority.to_le_bytes())?;
            out.write_all(&(length as u64).to_le_bytes())?;
            out.write_all(&self.ids[at..at + length])?;
            out.write_all(&place.to_le_bytes())?;
        }
        let mut file = out.into_inner().map_err(|error| error.into_error()).context("cannot write a temporary file")?;
        file.rewind()?;
        self.runs.push(BufReader::with_capacity(1 << 16, file));
        self.ids.clear();
        Ok(())
    }

    /// Calls `each` with every place, in the order of its number.
    pub fn finish(mut self, each: &mut dyn FnMut(u64) -> anyhow::Result<()>) -> anyhow::Result<()> {
        if self.runs.is_empty() {
            self.sort();
            return self.keys.iter().try_for_each(|key| each(key.3));
        }
        self.flush()?;
        let mut heap = BinaryHeap::new();
        for (at, run) in self.runs.iter_mut().enumerate() {
            heap.extend(next(run)?.map(|row| Reverse((row, at))));
        }
        while let Some(Reverse((row, at))) = heap.pop() {
            each(row.2)?;
            heap.extend(next(&mut self.runs[at])?.map(|row| Reverse((row, at))));
        }
        Ok(())
    }
}

fn next(run: &mut BufReader<File>) -> anyhow::Result<Option<(u64, Vec<u8>, u64)>> {
    let mut eight = [0; 8];
    let mut number = |run: &mut BufReader<File>| run.read_exact(&mut eight).map(|()| u64::from_le_bytes(eight));
    let priority = match number(run) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    };
    let length = number(run)?;
    let mut id = vec![0; length as usize];
    run.read_exact(&mut id)?;
    let mut eight = [0; 8];
    run.read_exact(&mut eight)?;
    Ok(Some((priority, id, u64::from_le_bytes(eight))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_order_in_memory_and_in_runs() {
        let dir = tempfile::tempdir().unwrap();
        let rows: Vec<(u64, String, u64)> =
            (0..5000_u64).map(|n| (n % 3, format!("id-{}", crate::hash::seeded(n % 4000) % 100_000), n)).collect();
        let mut expected = rows.clone();
        expected.sort();
        let expected: Vec<u64> = expected.into_iter().map(|row| row.2).collect();
        for budget in [1 << 30, 20_000] {
            let mut sorter = Sorter::new(budget, dir.path());
            rows.iter().try_for_each(|(priority, id, place)| sorter.push(*priority, id, *place)).unwrap();
            assert_eq!(sorter.runs.is_empty(), budget > 20_000);
            let mut found = Vec::new();
            sorter
                .finish(&mut |place| {
                    found.push(place);
                    Ok(())
                })
                .unwrap();
            assert_eq!(found, expected);
        }
    }
}
