//! Converts documents to token shards, in parallel, in order.
//!
//! One thread reads, a pool encodes, one thread writes. A shard ends after the document that fills it, so the bytes
//! do not depend on the number of threads or on interruptions: finished shards are kept, and their documents are
//! skipped in the input.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::{Context, ensure};
use token_shards::{Shard, ShardWriter, Tokenizer};

use crate::corpus::batches;
use crate::encode::{Encoder, Pool};

/// Options of the tokenisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// A shard ends after the document with which it reaches this many tokens.
    pub shard_tokens: u64,
    /// Threads that encode; 0 means one per core.
    pub threads: usize,
    /// The tokenizer, with the tokens before and after each document.
    pub tokenizer: Tokenizer,
    /// The source of the documents, for the headers.
    pub source: String,
}

/// The counts of a tokenisation.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Number of documents in shards.
    pub documents: u64,
    /// Number of documents without text, which are left out.
    pub empty: u64,
    /// Number of tokens, including begin and end tokens.
    pub tokens: u64,
    /// Size of the texts in bytes.
    pub text_bytes: u64,
    /// Number of shards.
    pub shards: u64,
    /// Number of shards that an earlier run had finished.
    pub kept: u64,
}

/// Texts are encoded in batches of about this many bytes; up to six batches are in memory.
const BATCH: usize = 4 << 20;

/// Writes the documents as shards `00000.ds`, `00001.ds`, ... into `folder`, which must exist. Shards that an earlier
/// call with the same documents and options finished are kept. `done` gets the number of documents after each batch.
///
/// # Errors
/// The first error of the documents, of the encoder or of writing; finished shards stay.
pub fn tokenise(
    documents: impl Iterator<Item = anyhow::Result<String>> + Send,
    encoder: &Encoder,
    folder: &Path,
    options: &Options,
    done: &(dyn Fn(u64) + Sync),
) -> anyhow::Result<Counts> {
    ensure!(options.shard_tokens > 0, "a shard of 0 tokens holds nothing; give --shard-tokens a larger number");
    ensure!(
        encoder.size() <= options.tokenizer.vocab_size,
        "the tokenizer has {} ids, and the shards are to have {}",
        encoder.size(),
        options.tokenizer.vocab_size
    );
    let kept = finished(folder, options)?;
    let mut counts = Counts { kept: kept.len() as u64, shards: kept.len() as u64, ..Counts::default() };
    for header in &kept {
        counts.documents += header.documents;
        counts.tokens += header.tokens;
        counts.text_bytes += header.text_bytes.unwrap_or_default();
    }
    let pool = Pool::new(options.threads)?;
    let mut empty = 0;
    let mut past = counts.documents;
    std::thread::scope(|scope| {
        let (to_encode, read) = sync_channel::<anyhow::Result<Vec<String>>>(2);
        let (to_write, encoded) = sync_channel::<anyhow::Result<Vec<Encoded>>>(2);
        let empty = &mut empty;
        let reader = scope.spawn(move || {
            let texts = documents.filter(|text| match text {
                Ok(text) if text.is_empty() => {
                    *empty += 1;
                    false
                }
                Ok(_) if past > 0 => {
                    past -= 1;
                    false
                }
                _ => true,
            });
            for batch in batches(texts, BATCH) {
                if to_encode.send(batch).is_err() {
                    return;
                }
            }
        });
        let counts = &mut counts;
        let writer = scope.spawn(move || write(&encoded, folder, options, counts, done));
        encode(&read, &to_write, encoder, &pool, &options.tokenizer);
        // Both ends of the pipe are dropped: a waiting reader ends, and the writer finishes.
        drop((read, to_write));
        reader.join().map_err(|_| anyhow::anyhow!("the thread that reads the documents panicked"))?;
        writer.join().map_err(|_| anyhow::anyhow!("the thread that writes the shards panicked"))?
    })?;
    counts.empty = empty;
    Ok(counts)
}

/// A document's tokens and the bytes of its text.
type Encoded = (Vec<u32>, u64);

fn encode(
    read: &Receiver<anyhow::Result<Vec<String>>>,
    write: &SyncSender<anyhow::Result<Vec<Encoded>>>,
    encoder: &Encoder,
    pool: &Pool,
    tokenizer: &Tokenizer,
) {
    for batch in read {
        let encoded = batch.and_then(|batch| {
            let one = |text: &String, scratch: &mut _| {
                let mut ids = Vec::with_capacity(text.len() / 3 + 2);
                ids.extend(tokenizer.begin_token);
                encoder.encode(text, scratch, &mut ids)?;
                ids.extend(tokenizer.end_token);
                Ok((ids, text.len() as u64))
            };
            pool.map(&batch, one).into_iter().collect()
        });
        let failed = encoded.is_err();
        if write.send(encoded).is_err() || failed {
            return;
        }
    }
}

fn write(
    encoded: &Receiver<anyhow::Result<Vec<Encoded>>>,
    folder: &Path,
    options: &Options,
    counts: &mut Counts,
    done: &(dyn Fn(u64) + Sync),
) -> anyhow::Result<()> {
    let mut shard = None;
    for batch in encoded {
        for (ids, bytes) in batch? {
            let writer = match &mut shard {
                Some(writer) => writer,
                none => none.insert(create(folder, counts.shards, options)?),
            };
            writer.push(&ids, Some(bytes))?;
            counts.documents += 1;
            counts.tokens += ids.len() as u64;
            counts.text_bytes += bytes;
            if writer.tokens() >= options.shard_tokens
                && let Some(full) = shard.take()
            {
                full.finish()?;
                counts.shards += 1;
            }
        }
        done(counts.documents);
    }
    // An input without documents is valid: it gives one empty shard.
    if counts.shards == 0 && shard.is_none() {
        shard = Some(create(folder, 0, options)?);
    }
    if let Some(last) = shard {
        last.finish()?;
        counts.shards += 1;
    }
    Ok(())
}

/// The file of shard `number`, from 0.
#[must_use]
pub fn shard_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:05}.ds"))
}

fn create(folder: &Path, number: u64, options: &Options) -> anyhow::Result<ShardWriter> {
    Ok(ShardWriter::create(shard_path(folder, number), options.tokenizer.clone(), options.source.clone())?)
}

/// The headers of the full shards at the start of the folder. Everything after them is removed: a last shard that
/// further documents may fill, and the rest of an interrupted run.
fn finished(folder: &Path, options: &Options) -> anyhow::Result<Vec<token_shards::Header>> {
    let mut kept = Vec::new();
    while let Ok(shard) = Shard::open(shard_path(folder, kept.len() as u64)) {
        let header = shard.header();
        let same = header.tokenizer == options.tokenizer && header.source == options.source;
        ensure!(
            same,
            "{} was made from another source or by another tokenizer; choose another folder",
            shard.path().display()
        );
        if header.tokens < options.shard_tokens {
            break;
        }
        kept.push(header.clone());
    }
    for number in kept.len() as u64.. {
        let path = shard_path(folder, number);
        let mut there = false;
        // The header is removed first, since it marks the other files as complete.
        for ending in [".json", ".index", ""] {
            let mut name = path.clone().into_os_string();
            name.push(ending);
            match fs::remove_file(&name) {
                Ok(()) => there = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot remove {}", Path::new(&name).display()));
                }
            }
        }
        if !there {
            break;
        }
    }
    remove_unfinished(folder)?;
    Ok(kept)
}

/// Removes the files that a killed run left under temporary names: `.NAME.ds*.tmp`.
fn remove_unfinished(folder: &Path) -> anyhow::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", folder.display())),
    };
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') && name.contains(".ds") && name.ends_with(".tmp") {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}
