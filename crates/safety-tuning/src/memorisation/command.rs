//! `herd safety memorisation index`.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use chat::{Tokenizer, locate_tokenizer};
use dataset::digest;
use run::progress::Progress;
use run::{Class, Facts, Frame, Input, Session, from_flags};
use serde::Serialize;
use serde_json::{Value, json};

use super::Builder;
use crate::rows;

/// Arguments of `index`.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    #[allow(missing_docs)]
    pub frame: Frame,
    /// The corpus: texts (.txt, one document each), or records with a text (JSON lines, .gz, .zst, Parquet, CSV)
    #[arg(long, num_args = 1.., required = true, value_name = "FILE")]
    input: Vec<PathBuf>,
    /// The field of a record that holds its text
    #[arg(long, default_value = "text")]
    field: String,
    /// The model's folder, or its name in the cache; its tokenizer is used
    #[arg(long, required = true, value_name = "MODEL")]
    tokenizer: Option<String>,
    /// Number of tokens of an n-gram
    #[arg(long, default_value_t = 50)]
    ngram: usize,
    /// The folder for the index and run.json
    #[arg(long, required = true)]
    output: Option<PathBuf>,
}

fn class(key: &str) -> Class {
    match key {
        "output" | "input" | "tokenizer" => Class::Free,
        _ => Class::Course,
    }
}

/// Runs `herd safety memorisation index`.
///
/// # Errors
/// When a file or the tokenizer cannot be read, a record has no text, or no document has an n-gram.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let output = args.output.as_deref().context("--output is missing")?;
    let name = args.tokenizer.as_deref().context("--tokenizer is missing")?;
    ensure!(args.ngram > 0, "--ngram must be at least 1");
    let folder = locate_tokenizer(name)?;
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    if args.frame.shows(&resolved)? {
        return Ok(());
    }
    let mut inputs = vec![Input::file("tokenizer", &folder.join("tokenizer.json"))?];
    for path in &args.input {
        inputs.push(Input::file("input", path)?);
    }
    let Some(mut session) =
        Session::open(output, &resolved, Facts { inputs, ..Facts::new("safety memorisation index", class) })?
    else {
        return Ok(());
    };
    session.start(Value::Null)?;
    let tokenizer = Tokenizer::from_dir(&folder)?;
    let mut builder = Builder::new(args.ngram)?;
    let progress = Progress::new("documents", None, 0);
    for path in &args.input {
        for document in documents(path, &args.field)? {
            builder.document(&tokenizer.encode_plain(&document)?);
            progress.add(1);
        }
    }
    let head = builder.write(output, tokenizer_digest(&folder)?)?;
    let summary = format!(
        "{}: {} documents of {} tokens, {} distinct runs of {} tokens; {} documents are shorter",
        output.display(),
        head.documents,
        head.tokens,
        head.grams,
        head.n,
        head.short
    );
    session.finish(&["tokens.bin", "ends.bin", "grams.bin", "index.json"], &summary, json!(head))?;
    println!("{summary}");
    Ok(())
}

/// The digest of a model's tokenizer, which an index and a model must share.
///
/// # Errors
/// When it cannot be read.
pub fn tokenizer_digest(folder: &Path) -> anyhow::Result<String> {
    Ok(digest::file(folder.join("tokenizer.json"))?)
}

fn documents(path: &Path, field: &str) -> anyhow::Result<Vec<String>> {
    if path.extension().is_some_and(|ending| ending == "txt") {
        return Ok(vec![std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?]);
    }
    let document = |(at, row): (usize, rows::Row)| match row.get(field) {
        Some(Value::String(text)) => Ok(text.clone()),
        _ => anyhow::bail!("{}, record {}: it has no text in {field}; --field names the field", path.display(), at + 1),
    };
    rows::read(path)?.into_iter().enumerate().map(document).collect()
}
