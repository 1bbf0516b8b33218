//! A sample of the documents of files, by a seed.

use std::collections::BinaryHeap;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::document::Document;
use crate::hash;
use crate::read::{self, Event};

/// The drawn documents, with counts of the files' contents.
#[derive(Debug, Default)]
pub struct Selected {
    /// The documents, in an order that depends on the seed and their ids.
    pub documents: Vec<Document>,
    /// Number of documents with text in the files.
    pub seen: u64,
    /// Number of documents without text, and of pages whose text was not extracted.
    pub empty: u64,
    /// Number of places that could not be read; each was reported.
    pub problems: u64,
}

/// A document with its key; the largest key is at the top of the heap.
struct Drawn(u64, Document);

impl PartialEq for Drawn {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Drawn {}
impl PartialOrd for Drawn {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Drawn {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, &self.1.id).cmp(&(other.0, &other.1.id))
    }
}

/// The key of a document in the order of a seed.
#[must_use]
pub fn key(seed: u64, id: &str) -> u64 {
    hash::combine(hash::seeded(seed), hash::bytes(id.as_bytes()))
}

/// Draws at most `most` documents of the files. The draw depends on the seed and the ids, not on the order of the files.
///
/// # Errors
/// When a file cannot be opened.
pub fn select(paths: &[PathBuf], most: usize, seed: u64) -> anyhow::Result<Selected> {
    let mut heap: BinaryHeap<Drawn> = BinaryHeap::new();
    let mut selected = Selected::default();
    let problems = each(paths, &mut |document| {
        if document.text.trim().is_empty() {
            selected.empty += 1;
            return Ok(());
        }
        selected.seen += 1;
        let key = key(seed, &document.id);
        if heap.len() < most || heap.peek().is_some_and(|top| key < top.0) {
            heap.push(Drawn(key, document));
            if heap.len() > most {
                heap.pop();
            }
        }
        Ok(())
    })?;
    selected.problems = problems;
    selected.documents = heap.into_sorted_vec().into_iter().map(|Drawn(_, document)| document).collect();
    Ok(selected)
}

/// Calls `take` for every document of the files, in order; returns the number of places that could not be read.
///
/// # Errors
/// When a file cannot be opened, and the errors of `take`.
pub fn each(paths: &[PathBuf], take: &mut dyn FnMut(Document) -> anyhow::Result<()>) -> anyhow::Result<u64> {
    let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
    let mut problems = 0;
    for path in paths {
        for event in read::open(path, &source(path), scratch.path().join("rejected"))? {
            match event {
                Event::Document(item) => take(item.document)?,
                Event::Problem(what) => {
                    eprintln!("warning: {what}");
                    problems += 1;
                }
            }
        }
    }
    Ok(problems)
}

/// The name of a file without its extensions.
fn source(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split('.').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_draw_does_not_depend_on_the_order_of_the_files() {
        let place = tempfile::tempdir().unwrap();
        let file = |name: &str, ids: std::ops::Range<u32>| {
            let path = place.path().join(name);
            let lines: String = ids.map(|id| format!("{{\"id\": \"{id}\", \"text\": \"text {id}\"}}\n")).collect();
            std::fs::write(&path, lines).unwrap();
            path
        };
        let (a, b) = (file("a.jsonl", 0..50), file("b.jsonl", 50..80));
        let ids = |paths: &[PathBuf], seed| {
            let selected = select(paths, 10, seed).unwrap();
            assert_eq!((selected.documents.len(), selected.seen), (10, 80));
            selected.documents.into_iter().map(|document| document.id).collect::<Vec<_>>()
        };
        let first = ids(&[a.clone(), b.clone()], 1);
        assert_eq!(first, ids(&[b.clone(), a.clone()], 1));
        assert_ne!(first, ids(&[a.clone(), b], 2));
        assert_eq!(select(&[a], 100, 1).unwrap().documents.len(), 50);
    }
}
