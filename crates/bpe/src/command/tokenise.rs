//! `herd data tokenise`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use run::{Class, Facts, Frame, Progress, Session, from_flags, grouped};
use serde::Serialize;
use serde_json::{Value, json};
use token_shards::Tokenizer;

use super::{configured, inputs, tokenizer_file};
use crate::corpus::texts;
use crate::encode::Encoder;
use crate::tokenise::{Counts, Options, shard_path, tokenise};

/// Arguments of `herd data tokenise`.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct TokeniseArgs {
    #[command(flatten)]
    #[serde(skip)]
    #[allow(missing_docs)]
    pub frame: Frame,
    /// Files of documents, in order: records with `text`, or conversations (.jsonl, .gz, .zst, .parquet), or one text per file (.txt)
    #[arg(long, required = true, num_args = 1..)]
    pub input: Vec<PathBuf>,
    /// The tokenizer: its folder or tokenizer.json
    #[arg(long)]
    pub tokenizer: PathBuf,
    /// The folder for the shards and run.json
    #[arg(long)]
    pub output: PathBuf,
    /// A shard ends after the document with which it reaches this many tokens
    #[arg(long, default_value_t = 100_000_000)]
    pub shard_tokens: u64,
    /// The token before each document; `none` for none [default: bos_token of tokenizer_config.json]
    #[arg(long)]
    pub begin_token: Option<String>,
    /// The token after each document; `none` for none [default: eos_token of tokenizer_config.json]
    #[arg(long)]
    pub end_token: Option<String>,
    /// Threads that encode; 0 means one per core. Their number does not change the shards
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
}

fn class(key: &str) -> Class {
    if ["input", "tokenizer", "output", "threads"].contains(&key) { Class::Free } else { Class::Course }
}

/// Runs `herd data tokenise`.
///
/// # Errors
/// When an input cannot be read, the folder holds another run, or a shard cannot be written. Finished shards stay,
/// and the same command continues after them.
pub fn run(args: &TokeniseArgs) -> anyhow::Result<()> {
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    if args.frame.shows(&resolved)? {
        return Ok(());
    }
    let file = tokenizer_file(&args.tokenizer).context("--tokenizer")?;
    let encoder = Encoder::open(&file)?;
    let options = Options {
        shard_tokens: args.shard_tokens,
        threads: args.threads,
        tokenizer: described(&encoder, &file, args)?,
        source: names(&args.input),
    };
    let mut read = vec![run::Input::file("tokenizer", &file)?];
    read.extend(inputs("input", &args.input)?);
    let facts = Facts { inputs: read, ..Facts::new("data tokenise", class) };
    let Some(mut session) = Session::open(&args.output, &resolved, facts)? else { return Ok(()) };
    session.start(Value::Null)?;
    if !encoder.is_own() {
        eprintln!(
            "{}: not a byte-level BPE with Llama 3's split; Hugging Face's library encodes, more slowly",
            file.display()
        );
    }
    let progress = Progress::new("documents", None, 0);
    let last = std::sync::atomic::AtomicU64::new(0);
    let done = |documents: u64| {
        let before = last.swap(documents, std::sync::atomic::Ordering::Relaxed);
        progress.add(usize::try_from(documents.saturating_sub(before)).unwrap_or_default());
    };
    let counts = tokenise(texts(&args.input), &encoder, &args.output, &options, &done)?;
    let made: Vec<String> = (0..counts.shards)
        .flat_map(|number| {
            let tokens = shard_path(Path::new(""), number).display().to_string();
            ["", ".index", ".json"].map(|ending| format!("{tokens}{ending}"))
        })
        .collect();
    let summary = summary(&counts, &args.output);
    session.finish(&made.iter().map(String::as_str).collect::<Vec<_>>(), &summary, json!(counts))?;
    println!("{summary}");
    Ok(())
}

/// The description of the tokenizer for the headers of the shards.
fn described(encoder: &Encoder, file: &Path, args: &TokeniseArgs) -> anyhow::Result<Tokenizer> {
    let special = |flag: &str, given: &Option<String>, key: &str| -> anyhow::Result<Option<u32>> {
        let content = match given.as_deref() {
            Some("none") => return Ok(None),
            Some(content) => content.to_owned(),
            None => match configured(file, key)? {
                Some(content) => content,
                None => return Ok(None),
            },
        };
        match encoder.special(&content) {
            Some(id) => Ok(Some(id)),
            None => bail!("--{flag}: {content:?} is not a special token of {}; name one, or none", file.display()),
        }
    };
    let size = encoder.size();
    ensure!(size > 0, "{}: the tokenizer has no tokens", file.display());
    Ok(Tokenizer {
        sha256: dataset::digest::file(file)?,
        vocab_size: size,
        begin_token: special("begin-token", &args.begin_token, "bos_token")?,
        end_token: special("end-token", &args.end_token, "eos_token")?,
    })
}

fn names(paths: &[PathBuf]) -> String {
    let name = |path: &PathBuf| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    paths.iter().map(name).collect::<Vec<_>>().join(", ")
}

fn summary(counts: &Counts, folder: &Path) -> String {
    let mut text = format!(
        "{}: {} documents of {} bytes in {} tokens and {} shards ({:.2} bytes a token)",
        folder.display(),
        grouped(counts.documents),
        grouped(counts.text_bytes),
        grouped(counts.tokens),
        counts.shards,
        counts.text_bytes as f64 / counts.tokens.max(1) as f64,
    );
    if counts.empty > 0 {
        text += &format!("\nleft out: {} documents without text", grouped(counts.empty));
    }
    if counts.kept > 0 {
        text += &format!("\nkept from an earlier session: {} shards", counts.kept);
    }
    text
}
