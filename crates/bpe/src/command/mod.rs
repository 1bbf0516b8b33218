//! `herd data tokenizer`, `herd data tokenise`, `herd data shards`.

mod extend;
mod report;
mod shards;
mod tokenise;
mod train;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::{Subcommand, ValueEnum};
use serde::Serialize;

use crate::vocabulary::{CONFIG, TOKENIZER, Vocabulary, llama3_special_tokens};

pub use shards::{ShardsArgs, run as shards};
pub use tokenise::{TokeniseArgs, run as tokenise};

/// Arguments of `herd data tokenizer`.
#[derive(clap::Args)]
pub struct TokenizerArgs {
    #[command(subcommand)]
    command: TokenizerCommand,
}

#[derive(Subcommand)]
enum TokenizerCommand {
    /// Train a byte-level BPE with Llama 3's split
    Train(train::Args),
    /// Extend a tokenizer by merges in other languages; English keeps its ids
    Extend(extend::Args),
    /// Measure compression by language and domain beside other tokenizers; find unused tokens
    Report(report::Args),
}

/// Runs `herd data tokenizer`.
///
/// # Errors
/// When an input cannot be read, the folder holds another run, or a file cannot be written.
pub fn tokenizer(args: &TokenizerArgs) -> anyhow::Result<()> {
    match &args.command {
        TokenizerCommand::Train(args) => train::run(args),
        TokenizerCommand::Extend(args) => extend::run(args),
        TokenizerCommand::Report(args) => report::run(args),
    }
}

/// The special tokens that are appended to a vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SpecialTokens {
    /// The 256 of Llama 3.1
    Llama3,
    /// None
    None,
}

impl SpecialTokens {
    fn add(self, vocabulary: &mut Vocabulary) {
        if self == Self::Llama3 {
            vocabulary.add_special(&llama3_special_tokens());
        }
    }
}

/// The `tokenizer.json` that a path names: the file, or the one in the folder.
fn tokenizer_file(path: &Path) -> anyhow::Result<PathBuf> {
    let file = if path.is_dir() { path.join(TOKENIZER) } else { path.to_owned() };
    ensure!(file.is_file(), "{}: there is no tokenizer.json", path.display());
    Ok(file)
}

/// The special token that `tokenizer_config.json` beside a tokenizer names under `key`.
fn configured(tokenizer: &Path, key: &str) -> anyhow::Result<Option<String>> {
    let path = tokenizer.with_file_name(CONFIG);
    if !path.is_file() {
        return Ok(None);
    }
    let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let json: serde_json::Value =
        serde_json::from_slice(&text).with_context(|| format!("{}: the file is not JSON", path.display()))?;
    // Older files write a token as an object.
    Ok(json[key].as_str().or_else(|| json[key]["content"].as_str()).map(Into::into))
}

/// The input files as digests for `run.json`.
fn inputs(key: &str, paths: &[PathBuf]) -> anyhow::Result<Vec<run::Input>> {
    if let Some(folder) = paths.iter().find(|path| path.is_dir()) {
        bail!("--{key} {}: a folder; name the files in it", folder.display());
    }
    paths.iter().map(|path| run::Input::file(key, path)).collect()
}
