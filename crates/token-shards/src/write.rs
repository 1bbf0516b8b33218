//! Writes a shard.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use dataset::{AtomicFile, digest, write_file};
use sha2::{Digest, Sha256};

use crate::error::{Result, bad, io};
use crate::header::{FORMAT, FileFacts, Header, Tokenizer, VERSION, header_path, index_path};

/// A shard that is being written. Its files get their names when [`ShardWriter::finish`] is called, the header last.
/// If it is dropped before that, no files are left, and an older shard of the same name stays.
pub struct ShardWriter {
    path: PathBuf,
    tokens: Hashed,
    ends: Vec<u64>,
    written: u64,
    text_bytes: Option<u64>,
    tokenizer: Tokenizer,
    source: String,
}

impl ShardWriter {
    /// Starts the shard `path` (`NAME.ds`).
    ///
    /// # Errors
    /// When the folder is missing or cannot be written to.
    pub fn create(path: impl AsRef<Path>, tokenizer: Tokenizer, source: impl Into<String>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let tokens = Hashed::create(&path)?;
        Ok(Self { path, tokens, ends: Vec::new(), written: 0, text_bytes: Some(0), tokenizer, source: source.into() })
    }

    /// Adds a document: its tokens, and the size of its text in bytes (`None` makes the shard's sum unknown).
    ///
    /// # Errors
    /// When an id is not below the vocabulary size, or a file cannot be written.
    pub fn push(&mut self, tokens: &[u32], text_bytes: Option<u64>) -> Result<()> {
        if let Some(largest) = tokens.iter().max().filter(|id| **id >= self.tokenizer.vocab_size) {
            let (document, size) = (self.ends.len() + 1, self.tokenizer.vocab_size);
            let what = format!("document {document}: token {largest} is not in the vocabulary of {size} tokens");
            return Err(bad(&self.path, what));
        }
        self.tokens.write_all(little_endian(tokens).as_ref()).map_err(io(&self.path, "cannot write"))?;
        self.written += tokens.len() as u64;
        self.ends.push(self.written);
        self.text_bytes = self.text_bytes.zip(text_bytes).map(|(sum, more)| sum + more);
        Ok(())
    }

    /// Number of tokens so far.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.written
    }

    /// Number of documents so far.
    #[must_use]
    pub fn documents(&self) -> u64 {
        self.ends.len() as u64
    }

    /// Syncs the files to disk and gives them their names.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn finish(self) -> Result<Header> {
        let header = header_path(&self.path);
        let mut index = Hashed::create(&index_path(&self.path))?;
        for chunk in self.ends.chunks(1 << 13) {
            let bytes: Vec<u8> = chunk.iter().flat_map(|end| end.to_le_bytes()).collect();
            index.write_all(&bytes).map_err(io(&self.path, "cannot write"))?;
        }
        // While tokens and ends are replaced, there is no header that marks them as complete.
        match fs::remove_file(&header) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(io(&header, "cannot remove the old header")(e));
            }
            _ => {}
        }
        let made = Header {
            format: FORMAT.into(),
            version: VERSION,
            documents: self.ends.len() as u64,
            tokens: self.written,
            text_bytes: self.text_bytes,
            tokenizer: self.tokenizer,
            source: self.source,
            token_file: self.tokens.finish()?,
            index_file: index.finish()?,
        };
        write_file(&header, made.text().as_bytes())?;
        Ok(made)
    }
}

/// Tokens as the bytes of the file.
#[cfg(target_endian = "little")]
fn little_endian(tokens: &[u32]) -> &[u8] {
    bytemuck::cast_slice(tokens)
}

#[cfg(target_endian = "big")]
fn little_endian(tokens: &[u32]) -> Vec<u8> {
    tokens.iter().flat_map(|token| token.to_le_bytes()).collect()
}

/// An atomic file that computes its length and digest.
pub(crate) struct Hashed {
    file: AtomicFile,
    hasher: Sha256,
    bytes: u64,
}

impl Hashed {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        Ok(Self { file: AtomicFile::create(path)?, hasher: Sha256::new(), bytes: 0 })
    }

    pub(crate) fn finish(self) -> Result<FileFacts> {
        self.file.finish()?;
        Ok(FileFacts { bytes: self.bytes, sha256: digest::hex(&self.hasher.finalize()) })
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
