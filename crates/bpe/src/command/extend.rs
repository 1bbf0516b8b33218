//! `herd data tokenizer extend`.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use run::{Class, Facts, Frame, Session, from_flags, grouped};
use serde::Serialize;
use serde_json::{Value, json};

use super::{SpecialTokens, inputs, tokenizer_file};
use crate::corpus::{WordCounts, texts};
use crate::extend::extend;
use crate::report::shown;
use crate::vocabulary::{CONFIG, TOKENIZER, Vocabulary};

/// Arguments of `herd data tokenizer extend`.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    #[allow(missing_docs)]
    pub frame: Frame,
    /// The tokenizer to extend: its folder or tokenizer.json, a byte-level BPE with Llama 3's split
    #[arg(long)]
    pub base: PathBuf,
    /// Files of documents in the other languages: records with `text`, or one text per file (.txt)
    #[arg(long, required = true, num_args = 1..)]
    pub input: Vec<PathBuf>,
    /// Files of texts whose ids must not change, in addition to texts of only English characters
    #[arg(long, num_args = 1..)]
    pub keep: Vec<PathBuf>,
    /// The folder for tokenizer.json, tokenizer_config.json and run.json
    #[arg(long)]
    pub output: PathBuf,
    /// Size of the extended vocabulary, without special tokens
    #[arg(long, default_value_t = 128_000)]
    pub vocab_size: usize,
    /// Minimum number of occurrences of a pair that becomes a token
    #[arg(long, default_value_t = 2)]
    pub min_frequency: u64,
    /// Special tokens after the others; those of the base keep their ids
    #[arg(long, value_enum, default_value_t = SpecialTokens::Llama3)]
    pub special_tokens: SpecialTokens,
}

fn class(key: &str) -> Class {
    if ["base", "input", "keep", "output"].contains(&key) { Class::Free } else { Class::Course }
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    if args.frame.shows(&resolved)? {
        return Ok(());
    }
    let file = tokenizer_file(&args.base).context("--base")?;
    let base = Vocabulary::read(&file).context("--base")?;
    ensure!(
        args.vocab_size > base.len(),
        "--vocab-size {}: the base has {} tokens already",
        args.vocab_size,
        base.len()
    );
    let mut read = vec![run::Input::file("base", &file)?];
    read.extend(inputs("input", &args.input)?);
    read.extend(inputs("keep", &args.keep)?);
    let facts = Facts { inputs: read, ..Facts::new("data tokenizer extend", class) };
    let Some(mut session) = Session::open(&args.output, &resolved, facts)? else { return Ok(()) };
    let counts = WordCounts::of(texts(&args.input))?;
    ensure!(!counts.is_empty(), "the input has no text: nothing to learn from");
    let keep = WordCounts::of(texts(&args.keep))?;
    session.start(Value::Null)?;
    let mut made = extend(&base, &counts, &keep, args.vocab_size, args.min_frequency)?;
    args.special_tokens.add(&mut made.vocabulary);
    made.vocabulary.write(&args.output)?;
    let mut summary = format!(
        "{}: {} new tokens behind {}, from {} bytes; {} special tokens\nnot merged: {} pairs that English is written with, {} \
         pairs that stand in the texts to keep ({} bytes)",
        args.output.join(TOKENIZER).display(),
        grouped(made.new as u64),
        grouped(base.len() as u64),
        grouped(counts.bytes),
        made.vocabulary.added().len(),
        grouped(made.english),
        grouped(made.kept.len() as u64),
        grouped(keep.bytes),
    );
    let most: Vec<String> =
        made.kept.iter().take(10).map(|(bytes, count)| format!("{} ({})", shown(bytes), grouped(*count))).collect();
    if !most.is_empty() {
        summary += &format!("\nmost frequent of the latter: {}", most.join(", "));
    }
    if made.vocabulary.len() < args.vocab_size {
        summary += &format!(
            "\nfewer than the {} asked for: no pair is left that occurs {} times",
            grouped(args.vocab_size as u64),
            args.min_frequency
        );
    }
    let figures = json!({"tokens": made.vocabulary.len(), "new": made.new, "last_count": made.last_count,
        "refused_english": made.english, "refused_kept": made.kept.len(), "texts": counts.texts, "bytes": counts.bytes,
        "keep_bytes": keep.bytes});
    session.finish(&[TOKENIZER, CONFIG], &summary, figures)?;
    println!("{summary}");
    Ok(())
}
