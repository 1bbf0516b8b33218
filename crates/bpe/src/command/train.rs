//! `herd data tokenizer train`.

use std::path::PathBuf;

use anyhow::ensure;
use run::{Class, Facts, Frame, Session, from_flags, grouped};
use serde::Serialize;
use serde_json::{Value, json};

use super::{SpecialTokens, inputs};
use crate::corpus::{WordCounts, texts};
use crate::train::train;
use crate::vocabulary::{CONFIG, TOKENIZER};

/// Arguments of `herd data tokenizer train`.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    #[allow(missing_docs)]
    pub frame: Frame,
    /// Files of documents: records with `text`, or conversations (.jsonl, .gz, .zst, .parquet), or one text per file (.txt)
    #[arg(long, required = true, num_args = 1..)]
    pub input: Vec<PathBuf>,
    /// The folder for tokenizer.json, tokenizer_config.json and run.json
    #[arg(long)]
    pub output: PathBuf,
    /// Size of the vocabulary with the 256 bytes, without special tokens
    #[arg(long, default_value_t = 128_000)]
    pub vocab_size: usize,
    /// Minimum number of occurrences of a pair that becomes a token
    #[arg(long, default_value_t = 2)]
    pub min_frequency: u64,
    /// Special tokens after the others
    #[arg(long, value_enum, default_value_t = SpecialTokens::Llama3)]
    pub special_tokens: SpecialTokens,
}

fn class(key: &str) -> Class {
    // The input is compared by the digest of its content.
    if ["input", "output"].contains(&key) { Class::Free } else { Class::Course }
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(args.vocab_size >= 256, "--vocab-size {}: the 256 bytes are tokens already", args.vocab_size);
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    if args.frame.shows(&resolved)? {
        return Ok(());
    }
    let facts = Facts { inputs: inputs("input", &args.input)?, ..Facts::new("data tokenizer train", class) };
    let Some(mut session) = Session::open(&args.output, &resolved, facts)? else { return Ok(()) };
    let counts = WordCounts::of(texts(&args.input))?;
    ensure!(!counts.is_empty(), "the input has no text: nothing to train on");
    session.start(Value::Null)?;
    let mut vocabulary = train(&counts, args.vocab_size, args.min_frequency);
    let tokens = vocabulary.len();
    args.special_tokens.add(&mut vocabulary);
    vocabulary.write(&args.output)?;
    let mut summary = format!(
        "{}: {} tokens and {} special tokens, from {} texts of {} bytes ({} words, {} different)",
        args.output.join(TOKENIZER).display(),
        grouped(tokens as u64),
        vocabulary.added().len(),
        grouped(counts.texts),
        grouped(counts.bytes),
        grouped(counts.words),
        grouped(counts.len() as u64),
    );
    if tokens < args.vocab_size {
        let asked = grouped(args.vocab_size as u64);
        summary +=
            &format!("\nfewer than the {asked} asked for: no pair is left that occurs {} times", args.min_frequency);
    }
    let figures = json!({"tokens": tokens, "special_tokens": vocabulary.added().len(), "merges": vocabulary.merges().len(),
        "texts": counts.texts, "bytes": counts.bytes, "words": counts.words, "different_words": counts.len()});
    session.finish(&[TOKENIZER, CONFIG], &summary, figures)?;
    println!("{summary}");
    Ok(())
}
