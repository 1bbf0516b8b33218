//! Reads a shard, memory-mapped.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use dataset::digest;
use memmap2::Mmap;

use crate::error::{Result, bad, io};
use crate::header::{FileFacts, Header, index_path};

#[cfg(target_endian = "big")]
compile_error!("shards are mapped as little-endian numbers; a big-endian machine needs a reader that converts");

/// A shard, mapped into memory. Opening checks header, lengths and document ends; [`Shard::verify`] reads everything.
///
/// The files must not be truncated while they are mapped.
pub struct Shard {
    path: PathBuf,
    header: Header,
    tokens: Mmap,
    index: Mmap,
}

impl Shard {
    /// Opens the shard whose tokens are in `path` (`NAME.ds`).
    ///
    /// # Errors
    /// When a file is missing or its length differs from the header, or the document ends are not ascending numbers
    /// up to the number of tokens.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let header = Header::read(&path)?;
        let tokens = map(&path, &header.token_file, header.tokens, 4)?;
        let index = map(&index_path(&path), &header.index_file, header.documents, 8)?;
        let shard = Self { path, header, tokens, index };
        let (ends, tokens) = (shard.ends(), shard.header.tokens);
        let wrong = (0..ends.len()).find(|&i| i > 0 && ends[i] < ends[i - 1] || ends[i] > tokens);
        if wrong.is_some() || ends.last().copied().unwrap_or(0) != tokens {
            let at = wrong.map_or("the last document".into(), |i| format!("document {}", i + 1));
            let what = format!(
                "the end of {at} does not fit {tokens} tokens in ascending order; the file is damaged: write the shard again"
            );
            return Err(bad(&index_path(&shard.path), what));
        }
        Ok(shard)
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The file of tokens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All tokens, document after document.
    #[must_use]
    pub fn tokens(&self) -> &[u32] {
        bytemuck::cast_slice(&self.tokens)
    }

    /// The end of each document in [`Shard::tokens`]: document i has the tokens `ends[i - 1]..ends[i]`.
    #[must_use]
    pub fn ends(&self) -> &[u64] {
        bytemuck::cast_slice(&self.index)
    }

    /// The positions of document `number`, from 0.
    fn span(&self, number: usize) -> Range<usize> {
        let ends = self.ends();
        let start = if number == 0 { 0 } else { ends[number - 1] as usize };
        start..ends[number] as usize
    }

    /// The tokens of document `number`, from 0; `None` after the last.
    #[must_use]
    pub fn document(&self, number: usize) -> Option<&[u32]> {
        (number < self.ends().len()).then(|| &self.tokens()[self.span(number)])
    }

    /// The documents in order.
    pub fn documents(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        (0..self.ends().len()).map(|number| &self.tokens()[self.span(number)])
    }

    /// The pieces of documents in a window of tokens, in order, as positions in the shard; they are the boundaries
    /// for a mask between documents. Empty documents have no piece.
    pub fn pieces(&self, window: Range<usize>) -> impl Iterator<Item = Range<usize>> + '_ {
        let first = self.ends().partition_point(|end| *end <= window.start as u64);
        (first..self.ends().len())
            .map(|number| self.span(number))
            .take_while(move |span| span.start < window.end)
            .map(move |span| span.start.max(window.start)..span.end.min(window.end))
            .filter(|piece| !piece.is_empty())
    }

    /// Reads the whole shard, and checks the digests of both files and that every id is in the vocabulary.
    ///
    /// # Errors
    /// When a digest differs or an id is too large.
    pub fn verify(&self) -> Result<()> {
        let index = index_path(&self.path);
        for (path, map, facts) in
            [(&self.path, &self.tokens, &self.header.token_file), (&index, &self.index, &self.header.index_file)]
        {
            let is = digest::bytes(map);
            if is != facts.sha256 {
                let what =
                    format!("SHA-256 is {is}, and the header says {}: damaged; write the shard again", facts.sha256);
                return Err(bad(path, what));
            }
        }
        let size = self.header.tokenizer.vocab_size;
        match self.tokens().iter().position(|id| *id >= size) {
            None => Ok(()),
            Some(at) => {
                let what = format!("token {} at position {at} is not in the vocabulary of {size}", self.tokens()[at]);
                Err(bad(&self.path, what))
            }
        }
    }
}

/// Maps a file that must hold `count` numbers of `width` bytes.
fn map(path: &Path, facts: &FileFacts, count: u64, width: u64) -> Result<Mmap> {
    let map = map_file(path)?;
    let bytes = map.len() as u64;
    if count.checked_mul(width) != Some(facts.bytes) {
        let what =
            format!("the header counts {count} numbers of {width} bytes in {} bytes; it is damaged", facts.bytes);
        return Err(bad(path, what));
    }
    if bytes != facts.bytes {
        let how = if bytes < facts.bytes { "cut off" } else { "another shard's" };
        let what = format!(
            "the file has {bytes} bytes, and the header says {}; it is {how}: write the shard again",
            facts.bytes
        );
        return Err(bad(path, what));
    }
    Ok(map)
}

/// Maps a whole file for reading.
pub(crate) fn map_file(path: &Path) -> Result<Mmap> {
    let file = File::open(path).map_err(io(path, "cannot open"))?;
    // SAFETY: the mapping is read-only. If another program truncates the file meanwhile, a read faults; a program
    // that maps files cannot prevent this, and the documentation of `Shard` says so.
    unsafe { Mmap::map(&file) }.map_err(io(path, "cannot map into memory"))
}
