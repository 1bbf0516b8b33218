//! Reads the tokens of spans, with the document boundaries, by position. Files are not mapped into memory, because all pages that a run
//! has touched would count as its memory.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, ensure};

use crate::corpus::{Source, Span, index};

/// Maximum number of shards whose files are kept open; each has two files.
const OPEN: usize = 128;

/// A span's tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tokens {
    /// The token ids.
    pub ids: Vec<u32>,
    /// The lengths of the documents' pieces, in order; their sum is the number of ids.
    pub documents: Vec<u64>,
    /// The token after the last id, if it belongs to the same document.
    pub next: Option<u32>,
}

/// The files of a shard.
struct Files {
    tokens: File,
    index: File,
}

/// Open files by source and shard, with the time of their last use.
#[derive(Default)]
struct Open {
    clock: u64,
    files: HashMap<(usize, usize), (u64, Arc<Files>)>,
}

/// Reads the spans of several sources.
pub struct Reader {
    sources: Vec<Source>,
    open: Mutex<Open>,
}

impl Reader {
    /// Makes a reader for these sources; files are opened when they are first needed.
    #[must_use]
    pub fn new(sources: Vec<Source>) -> Self {
        Self { sources, open: Mutex::default() }
    }

    /// The sources.
    #[must_use]
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The tokens of a span of a source.
    ///
    /// # Errors
    /// When a file cannot be read, or when its document ends are not ascending.
    pub fn read(&self, source: usize, span: Span) -> anyhow::Result<Tokens> {
        let shard = &self.sources[source].shards[span.shard];
        let files = self.files(source, span.shard, &shard.path)?;
        let end = span.start + span.tokens;
        let more = end < shard.header.tokens;
        let mut ids = vec![0_u32; span.tokens as usize + usize::from(more)];
        let mut bytes = vec![0_u8; ids.len() * 4];
        let at = || format!("{}: cannot read tokens from {} on", shard.path.display(), span.start);
        files.tokens.read_exact_at(&mut bytes, span.start * 4).with_context(at)?;
        for (id, bytes) in ids.iter_mut().zip(bytes.chunks_exact(4)) {
            *id = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        let mut next = if more { ids.pop() } else { None };
        // Finds the first document that ends after the start; the following ones are read in turn.
        let damaged =
            || format!("{}: its document ends do not ascend: write the shard again", index(&shard.path).display());
        let document_end = |number: u64| -> anyhow::Result<u64> {
            let mut bytes = [0; 8];
            files.index.read_exact_at(&mut bytes, number * 8).with_context(damaged)?;
            Ok(u64::from_le_bytes(bytes))
        };
        let (mut low, mut high) = (0, shard.header.documents);
        while low < high {
            let middle = low + (high - low) / 2;
            if document_end(middle)? > span.start { high = middle } else { low = middle + 1 }
        }
        let (mut documents, mut start, mut number) = (Vec::new(), span.start, low);
        while start < end {
            ensure!(number < shard.header.documents, damaged());
            let until = document_end(number)?;
            ensure!(until >= start, damaged());
            if until > start {
                documents.push(until.min(end) - start);
            }
            if until == end {
                next = None;
            }
            start = until.min(end);
            number += 1;
        }
        Ok(Tokens { ids, documents, next })
    }

    fn files(&self, source: usize, shard: usize, path: &Path) -> anyhow::Result<Arc<Files>> {
        let mut open = self.open.lock().map_err(|_| anyhow::anyhow!("another thread failed while it read shards"))?;
        open.clock += 1;
        let now = open.clock;
        if let Some((used, files)) = open.files.get_mut(&(source, shard)) {
            *used = now;
            return Ok(files.clone());
        }
        if open.files.len() >= OPEN {
            let oldest = open.files.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| *key);
            oldest.and_then(|key| open.files.remove(&key));
        }
        let file = |path: &Path| File::open(path).with_context(|| format!("cannot open {}", path.display()));
        let files = Arc::new(Files { tokens: file(path)?, index: file(&index(path))? });
        open.files.insert((source, shard), (now, files.clone()));
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use token_shards::{Shard, ShardWriter, Tokenizer};

    fn source(folder: &Path, lengths: &[usize]) -> Source {
        let path = folder.join("0.ds");
        let tokenizer = Tokenizer { vocab_size: 100_000, ..Tokenizer::default() };
        let mut writer = ShardWriter::create(&path, tokenizer, "test").unwrap();
        let mut next = 0..;
        for length in lengths {
            writer.push(&next.by_ref().take(*length).collect::<Vec<u32>>(), None).unwrap();
        }
        writer.finish().unwrap();
        Source::open(folder, 8).unwrap()
    }

    #[test]
    fn spans_agree_with_the_mapped_shard() {
        let dir = tempfile::tempdir().unwrap();
        let source = source(dir.path(), &[5, 0, 3, 20, 1, 1, 0, 11, 7]);
        let shard = Shard::open(dir.path().join("0.ds")).unwrap();
        let reader = Reader::new(vec![source]);
        for start in 0..48_u64 {
            for tokens in 1..=(48 - start) {
                let found = reader.read(0, Span { shard: 0, start, tokens }).unwrap();
                let (from, to) = (start as usize, (start + tokens) as usize);
                assert_eq!(found.ids, shard.tokens()[from..to]);
                let pieces: Vec<u64> = shard.pieces(from..to).map(|piece| piece.len() as u64).collect();
                assert_eq!(found.documents, pieces, "{start} {tokens}");
                let same = to < 48 && !shard.ends().contains(&(to as u64));
                assert_eq!(found.next, same.then(|| shard.tokens()[to]), "{start} {tokens}");
            }
        }
    }

    #[test]
    fn damaged_ends_are_a_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let source = source(dir.path(), &[20, 20]);
        let path = dir.path().join("0.ds.index");
        let ends: Vec<u8> = [20_u64, 3].iter().flat_map(|end| end.to_le_bytes()).collect();
        std::fs::write(&path, ends).unwrap();
        let reader = Reader::new(vec![source]);
        let error = reader.read(0, Span { shard: 0, start: 8, tokens: 24 }).unwrap_err();
        assert!(format!("{error:#}").contains("0.ds.index: its document ends do not ascend"), "{error:#}");
    }
}
