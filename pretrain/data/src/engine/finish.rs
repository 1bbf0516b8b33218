//! The result: documents of the last phase, in an order that depends on the seed, in files of a given size.
//!
//! Every document has a position in the order (a hash of seed and id). The range of positions is divided into one
//! interval for each file. A first pass appends each document to a temporary file of its interval; a second pass
//! sorts one interval after the other in memory.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use dataset::digest;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::map::order;
use super::part::{Part, names};
use crate::document::Document;
use crate::recipe::Recipe;

/// A file of the result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shard {
    /// The name of the file.
    pub file: String,
    /// Number of documents.
    pub documents: u64,
    /// Size of the texts in bytes.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: String,
}

/// Writes the result into the folder `data`.
pub(super) fn run(
    recipe: &Recipe,
    parts: &[(PathBuf, Part)],
    budget: u64,
    data: &Path,
    spill: &Path,
) -> anyhow::Result<Vec<Shard>> {
    parts.par_iter().try_for_each(|(folder, part)| part.verify(folder))?;
    let bytes: u64 = parts.iter().map(|(_, part)| part.bytes).sum();
    ensure!(
        recipe.shard_bytes.saturating_mul(2) <= budget || bytes.saturating_mul(2) <= budget,
        "shard_bytes is {} MB and --memory gives {} MB: a file of the result is sorted in memory; lower shard_bytes to half of the \
         memory",
        recipe.shard_bytes >> 20,
        budget >> 20
    );
    let files = bytes.div_ceil(recipe.shard_bytes).max(1) as usize;
    let mut bins: Vec<zstd::Encoder<'static, File>> = Vec::new();
    for _ in 0..files {
        let file = tempfile::tempfile_in(spill).with_context(|| format!("cannot write to {}", spill.display()))?;
        bins.push(zstd::Encoder::new(file, 1)?);
    }
    for (folder, _) in parts {
        let path = folder.join(names::DOCUMENTS);
        let mut lines = BufReader::with_capacity(1 << 16, zstd::Decoder::new(File::open(&path)?)?);
        let mut line = Vec::new();
        loop {
            line.clear();
            if lines.read_until(b'\n', &mut line).with_context(|| format!("cannot read {}", path.display()))? == 0 {
                break;
            }
            let key = key(recipe.seed, &line).with_context(|| format!("{} is damaged", path.display()))?;
            let bin = ((u128::from(key) * files as u128) >> 64) as usize;
            bins[bin].write_all(&line).context("cannot write a temporary file; is the disk full?")?;
        }
    }
    let mut shards = Vec::new();
    ::run::replace_folder(data, |data| {
        for (at, bin) in bins.into_iter().enumerate() {
            let mut file = bin.finish().context("cannot write a temporary file; is the disk full?")?;
            file.rewind()?;
            shards.push(shard(recipe.seed, file, data, at)?);
        }
        Ok(())
    })?;
    Ok(shards)
}

/// The fields that determine the position of a line.
#[derive(Deserialize)]
struct Head {
    id: String,
    #[serde(default)]
    meta: Option<Copy>,
}

#[derive(Deserialize)]
struct Copy {
    #[serde(default)]
    copy: u64,
}

fn key(seed: u64, line: &[u8]) -> anyhow::Result<u64> {
    let head: Head = serde_json::from_slice(line)?;
    Ok(order(seed, &head.id, head.meta.map_or(0, |meta| meta.copy)))
}

fn shard(seed: u64, bin: File, data: &Path, at: usize) -> anyhow::Result<Shard> {
    let mut lines: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut reader = BufReader::with_capacity(1 << 16, zstd::Decoder::new(bin)?);
    loop {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        lines.push((key(seed, &line)?, line));
    }
    lines.par_sort_unstable();
    let name = format!("shard-{at:05}.jsonl.zst");
    let path = data.join(&name);
    let mut out = zstd::Encoder::new(File::create(&path)?, 3)?;
    out.include_checksum(true)?;
    let mut bytes = 0;
    for (_, line) in &lines {
        out.write_all(line).with_context(|| format!("cannot write {}", path.display()))?;
        bytes += serde_json::from_slice::<Document>(line)?.text.len() as u64;
    }
    out.finish().with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Shard { sha256: digest::file(&path)?, file: name, documents: lines.len() as u64, bytes })
}
