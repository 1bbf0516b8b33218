//! `herd data shards`: checks token shards, and converts to and from Megatron's format.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::{Subcommand, ValueEnum};
use run::grouped;
use token_shards::megatron::{self, TokenType};
use token_shards::{Shard, Tokenizer};

use super::tokenizer_file;
use crate::encode::Encoder;

/// Arguments of `herd data shards`.
#[derive(clap::Args)]
pub struct ShardsArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check shards against their digests and print their contents
    Check {
        /// Files of tokens (.ds)
        #[arg(required = true)]
        shards: Vec<PathBuf>,
    },
    /// Write shards as a dataset of Megatron: PREFIX.bin and PREFIX.idx
    Export {
        /// Files of tokens (.ds), in order
        #[arg(required = true)]
        shards: Vec<PathBuf>,
        /// The dataset's path without .bin and .idx
        #[arg(long)]
        output: PathBuf,
        /// The tokens' type [default: as Megatron chooses, uint16 below 65,500 tokens]
        #[arg(long, value_enum)]
        token_dtype: Option<Dtype>,
    },
    /// Read a dataset of Megatron (int32 or uint16) into a shard
    Import {
        /// The dataset's path without .bin and .idx
        prefix: PathBuf,
        /// The tokenizer that made it: its folder or tokenizer.json
        #[arg(long)]
        tokenizer: PathBuf,
        /// The shard's file of tokens (.ds)
        #[arg(long)]
        output: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Dtype {
    Int32,
    Uint16,
}

/// Runs `herd data shards`.
///
/// # Errors
/// When a file is damaged, missing or cannot be written.
pub fn run(args: &ShardsArgs) -> anyhow::Result<()> {
    match &args.command {
        Command::Check { shards } => {
            for path in shards {
                let shard = Shard::open(path)?;
                shard.verify()?;
                let header = shard.header();
                println!(
                    "{}: {} documents, {} tokens{}; tokenizer {} of {} ids; {}",
                    path.display(),
                    grouped(header.documents),
                    grouped(header.tokens),
                    header.text_bytes.map(|bytes| format!(" of {} bytes of text", grouped(bytes))).unwrap_or_default(),
                    header.tokenizer.sha256.get(..12).unwrap_or("unknown"),
                    grouped(u64::from(header.tokenizer.vocab_size)),
                    header.source
                );
            }
            Ok(())
        }
        Command::Export { shards, output, token_dtype } => {
            let shards: Vec<Shard> = shards.iter().map(Shard::open).collect::<Result<_, _>>()?;
            let first = shards[0].header();
            for shard in &shards[1..] {
                let same = shard.header().tokenizer == first.tokenizer;
                ensure!(same, "{} has another tokenizer than {}", shard.path().display(), shards[0].path().display());
            }
            let kind = match token_dtype {
                Some(Dtype::Int32) => TokenType::Int32,
                Some(Dtype::Uint16) => TokenType::Uint16,
                None => TokenType::for_vocabulary(first.tokenizer.vocab_size),
            };
            let (documents, tokens) = megatron::export(&shards, output, kind)?;
            println!(
                "{}.bin and .idx: {} documents, {} tokens, {kind:?}",
                output.display(),
                grouped(documents),
                grouped(tokens)
            );
            Ok(())
        }
        Command::Import { prefix, tokenizer, output } => {
            let file = tokenizer_file(tokenizer).context("--tokenizer")?;
            let tokenizer = Tokenizer {
                sha256: dataset::digest::file(&file)?,
                vocab_size: Encoder::open(&file)?.size(),
                begin_token: None,
                end_token: None,
            };
            let header = megatron::import(prefix, output, tokenizer)?;
            println!(
                "{}: {} documents, {} tokens",
                output.display(),
                grouped(header.documents),
                grouped(header.tokens)
            );
            Ok(())
        }
    }
}
