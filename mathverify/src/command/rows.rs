//! The common part of `check` and `steps`: reads records, judges them in parallel, and writes verdicts in the order of
//! the input.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use dataset::digest::Fingerprint;
use dataset::jsonl::{OnBadLine, read};
use dataset::resume::OrderedOutput;
use rayon::prelude::*;
use run::counted;
use run::progress::Progress;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::options::Options;

/// Number of records that are read and judged in parallel before their verdicts are written.
const BATCH: usize = 4_096;

/// The input and output files.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Files {
    /// File of records: JSONL (also .gz, .zst) or Parquet
    #[arg(long)]
    input: PathBuf,
    /// File for the verdicts, one line each in the order of the input [default: standard output]. An interrupted run
    /// continues where it stopped
    #[arg(long)]
    output: Option<PathBuf>,
    /// Write invalid lines to this file and continue, instead of stopping at the first
    #[arg(long)]
    rejected: Option<PathBuf>,
    /// Number of threads; 0 means one for each CPU
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

/// Where the verdicts go.
enum Sink {
    Standard(std::io::BufWriter<std::io::Stdout>),
    File(OrderedOutput),
}

/// Judges every record with `judge` and calls `count` with each verdict. Returns the number of records and a message
/// about rejected lines (empty if there are none). `command` and `options` are part of the fingerprint of the output
/// file: a run continues a file only if they are the same.
pub(super) fn each<T: DeserializeOwned + Send + Sync>(
    files: &Files,
    command: &str,
    options: &Options,
    judge: impl Fn(&T) -> Value + Sync,
    mut count: impl FnMut(&Value),
) -> Result<(usize, String)> {
    let settings = json!([command, options]).to_string();
    let on_bad = files.rejected.clone().map_or(OnBadLine::Error, OnBadLine::SetAside);
    let mut reader = read::<T>(&files.input, on_bad)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(files.threads).build().context("cannot start threads")?;
    let mut sink = match &files.output {
        None => Sink::Standard(std::io::BufWriter::new(std::io::stdout())),
        Some(path) => Sink::File(OrderedOutput::open(path, &fingerprint(&files.input, &settings)?)?),
    };
    let done = if let Sink::File(out) = &sink { out.done() } else { 0 };
    let mut index = 0;
    // If the verdicts go to standard output, they already show the progress.
    let progress = if files.output.is_some() { Progress::new("records", None, 0) } else { Progress::hidden() };
    loop {
        let batch: Vec<T> = reader.by_ref().take(BATCH).collect::<Result<_, _>>()?;
        if batch.is_empty() {
            break;
        }
        let verdicts: Vec<Value> = pool.install(|| batch.par_iter().map(&judge).collect());
        for verdict in &verdicts {
            count(verdict);
            match &mut sink {
                Sink::Standard(out) => writeln!(out, "{verdict}").context("cannot write to standard output")?,
                Sink::File(out) if index >= done => out.push(index, verdict)?,
                Sink::File(_) => {}
            }
            index += 1;
        }
        progress.add(verdicts.len());
    }
    match sink {
        Sink::Standard(mut out) => out.flush().context("cannot write to standard output")?,
        Sink::File(out) => out.finish(index)?,
    }
    let aside = match &files.rejected {
        Some(path) if reader.bad() > 0 => {
            let reasons = reader.reasons().to_string().replace('\n', "\n  ");
            format!("; {} set aside in {}:\n  {reasons}", counted(reader.bad(), "line"), path.display())
        }
        _ => String::new(),
    };
    Ok((index, aside))
}

/// The verdict as JSON, with the id of the record, if it has one, as the first field.
pub(super) fn with_id(id: Option<&Value>, verdict: &impl Serialize) -> Value {
    let mut out = json!(verdict);
    if let (Some(id), Value::Object(map)) = (id, &mut out) {
        map.shift_insert(0, "id".to_owned(), id.clone());
    }
    out
}

/// Identifies everything that the verdicts depend on: the version, the input file and the settings.
fn fingerprint(input: &Path, settings: &str) -> Result<String> {
    Ok(Fingerprint::new()
        .text("version", env!("CARGO_PKG_VERSION"))
        .file("input", input)?
        .text("settings", settings)
        .finish())
}

/// A text, or a number written without quotes.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(untagged)]
pub(super) enum Answer {
    Text(String),
    Number(serde_json::Number),
}

impl Answer {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
        }
    }
}
