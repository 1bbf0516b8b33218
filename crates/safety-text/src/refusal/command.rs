//! `herd safety refusals`: trains, measures, calibrates and applies the refusal model.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::ensure;
use clap::Subcommand;
use dataset::Invalid;
use dataset::jsonl::{self, AtomicWriter, OnBadLine};
use serde_json::{Value, json};

use super::{Calibration, Labelled, Refusals, Scores, Verdict, calibrated_scores, fold_scores, written};

/// Arguments of `herd safety refusals`.
#[derive(clap::Args, Debug, Clone)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug, Clone)]
enum Command {
    /// Judge the answers of a file
    Judge(Judge),
    /// Fit the threshold to a family of answers, from about 40 labelled ones
    Calibrate(Calibrate),
    /// Measure agreement with labels: of the model, or of models trained on folds
    Check(Check),
    /// Train a model on labelled answers
    Train(Train),
}

/// The model, which every subcommand can select.
#[derive(clap::Args, Debug, Clone)]
struct Model {
    /// A model of `train` [default: the embedded one]
    #[arg(long, value_name = "FILE")]
    refusal_model: Option<PathBuf>,
}

impl Model {
    fn open(&self) -> anyhow::Result<Refusals> {
        Ok(match &self.refusal_model {
            Some(path) => Refusals::from_file(path)?,
            None => Refusals::embedded().clone(),
        })
    }
}

#[derive(clap::Args, Debug, Clone)]
struct Judge {
    #[command(flatten)]
    model: Model,
    /// Files of records, one record a line; several files form one set
    #[arg(long, num_args = 1.., required = true, value_name = "FILE")]
    input: Vec<PathBuf>,
    /// Output file for the records with `refusal`: verdict (refusal, answer, empty) and probability
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// The field with the answer: a text, or a list of messages, of which the assistant's last one is judged
    #[arg(long, default_value = "response")]
    field: String,
    /// A calibration written by `calibrate`
    #[arg(long, value_name = "FILE")]
    refusal_calibration: Option<PathBuf>,
}

#[derive(clap::Args, Debug, Clone)]
struct Calibrate {
    #[command(flatten)]
    model: Model,
    /// Labelled answers, one on each line: {"answer", "refusal": true|false}
    #[arg(long, num_args = 1.., required = true, value_name = "FILE")]
    labels: Vec<PathBuf>,
    /// Output file for the calibration
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

#[derive(clap::Args, Debug, Clone)]
struct Check {
    #[command(flatten)]
    model: Model,
    /// Labelled answers, one on each line: {"answer", "refusal": true|false, "group"?, "source"?}
    #[arg(long, num_args = 1.., required = true, value_name = "FILE")]
    labels: Vec<PathBuf>,
    /// A calibration written by `calibrate`
    #[arg(long, value_name = "FILE")]
    refusal_calibration: Option<PathBuf>,
    /// Cross-validation: train on all folds but one and judge that one; a group stays in one fold
    #[arg(long, conflicts_with_all = ["refusal_model", "refusal_calibration"])]
    folds: Option<usize>,
    /// Also calibrate on this many labels: the mean over 200 random draws, measured on the other labels
    #[arg(long, value_name = "LABELS", conflicts_with = "folds")]
    calibrate_on: Option<usize>,
    /// Seed of the folds and draws
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    training: Training,
}

#[derive(clap::Args, Debug, Clone)]
struct Train {
    /// Labelled answers, one on each line: {"answer", "refusal": true|false, "source"?}
    #[arg(long, num_args = 1.., required = true, value_name = "FILE")]
    labels: Vec<PathBuf>,
    /// Output file for the model
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    training: Training,
}

#[derive(clap::Args, Debug, Clone)]
struct Training {
    /// Inverse strength of the penalty on weights
    #[arg(long, default_value_t = super::C, help_heading = "Training")]
    c: f64,
    /// Number of answers from templates to add; half of them are refusals
    #[arg(long, default_value_t = super::WRITTEN, help_heading = "Training")]
    written: usize,
}

/// Number of timed passes over the answers; the fastest is reported.
const PASSES: usize = 5;
/// Number of random draws of labels for `--calibrate-on`.
const DRAWS: usize = 200;

/// Runs `herd safety refusals`. Answers are not printed.
///
/// # Errors
/// An error names `file:line` and the fault in a record, a model or a flag. Output files are either complete or absent.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Command::Judge(args) => judge(args),
        Command::Calibrate(args) => {
            let (model, rows) = (args.model.open()?, labels(&args.labels)?);
            let margins: Vec<(f64, bool)> = rows.iter().map(|row| (model.margin(&row.answer), row.refusal)).collect();
            let calibration = Calibration::fit(&margins)?;
            dataset::write_file(&args.output, &serde_json::to_vec(&calibration)?)?;
            println!("{}: a {:.4}, b {:.4}", args.output.display(), calibration.a, calibration.b);
            print("before", Scores::of(&margins, 0.0));
            print("after (the same answers)", Scores::of(&margins, -calibration.b / calibration.a));
            Ok(())
        }
        Command::Check(args) => check(args),
        Command::Train(args) => {
            let mut rows = labels(&args.labels)?;
            rows.extend(written(args.training.written, 0));
            let model = Refusals::train(&rows, args.training.c)?;
            let bytes = model.to_bytes();
            dataset::write_file(&args.output, &bytes)?;
            println!("{}: {} bytes", args.output.display(), bytes.len());
            for source in model.sources() {
                println!("  trained on {}: {} answers, {} refusals", source.name, source.answers, source.refusals);
            }
            Ok(())
        }
    }
}

fn check(args: &Check) -> anyhow::Result<()> {
    let rows = labels(&args.labels)?;
    if let Some(folds) = args.folds {
        ensure!(folds > 1, "--folds is {folds}; at least 2 are needed");
        let more = written(args.training.written, 0);
        for (source, scores) in fold_scores(&rows, &more, folds, args.training.c, args.seed)? {
            print(&format!("{source}, {folds} folds"), scores);
        }
        return Ok(());
    }
    let mut model = args.model.open()?;
    if let Some(path) = &args.refusal_calibration {
        model = model.calibrated(Calibration::from_file(path)?);
    }
    let (mut scored, mut seconds) = (Vec::new(), f64::INFINITY);
    for _ in 0..PASSES {
        let start = Instant::now();
        scored = rows.iter().map(|row| (model.probability(&row.answer), row.refusal)).collect();
        seconds = seconds.min(start.elapsed().as_secs_f64());
    }
    let source = |at: usize| rows[at].source.clone().unwrap_or_else(|| "unnamed".into());
    let sources: std::collections::BTreeSet<String> = (0..rows.len()).map(source).collect();
    for name in sources {
        let of: Vec<usize> = (0..rows.len()).filter(|&at| source(at) == name).collect();
        let scores: Vec<(f64, bool)> = of.iter().map(|&at| scored[at]).collect();
        print(&name, Scores::of(&scores, 0.5));
        if let Some(count) = args.calibrate_on {
            let rows: Vec<Labelled> = of.iter().map(|&at| rows[at].clone()).collect();
            let scores = calibrated_scores(&model, &rows, count, DRAWS, args.seed)?;
            print(&format!("{name}, calibrated on {count}, mean of {DRAWS} draws"), scores);
        }
    }
    println!("{:.1} microseconds an answer", seconds * 1e6 / rows.len().max(1) as f64);
    Ok(())
}

fn print(name: &str, scores: Scores) {
    println!(
        "{name}: {} answers, {} refusals: agreement {:.4}, precision {:.4}, recall {:.4}, F1 {:.4}, AUPRC {:.4}",
        scores.answers, scores.refusals, scores.agreement, scores.precision, scores.recall, scores.f1, scores.auprc
    );
}

fn labels(paths: &[PathBuf]) -> anyhow::Result<Vec<Labelled>> {
    let mut rows: Vec<Labelled> = Vec::new();
    for path in paths {
        rows.extend(jsonl::read_all::<Labelled>(path)?);
    }
    ensure!(!rows.is_empty(), "the files of --labels are empty");
    Ok(rows)
}

fn judge(args: &Judge) -> anyhow::Result<()> {
    for input in &args.input {
        let same = std::fs::canonicalize(&args.output).ok().zip(std::fs::canonicalize(input).ok());
        ensure!(same.is_none_or(|(one, other)| one != other), "{}: the output must be another file", input.display());
    }
    let mut model = args.model.open()?;
    if let Some(path) = &args.refusal_calibration {
        model = model.calibrated(Calibration::from_file(path)?);
    }
    let mut out = AtomicWriter::create(&args.output)?;
    let mut counts = [0u64; 3];
    for path in &args.input {
        let mut reader = jsonl::read::<Value>(path, OnBadLine::Error)?;
        while let Some(record) = reader.next() {
            let mut record = record?;
            let answer = match answer(&record, &args.field) {
                Ok(answer) => answer.to_owned(),
                Err(what) => {
                    reader.reject(Invalid(what), &record)?;
                    continue;
                }
            };
            let verdict = model.judge(&answer);
            counts[verdict as usize] += 1;
            let probability = (verdict != Verdict::Empty).then(|| (model.probability(&answer) * 1e4).round() / 1e4);
            record["refusal"] = json!({"verdict": verdict, "probability": probability});
            out.write(&record)?;
        }
    }
    out.finish()?;
    let [refusals, answers, empty] = counts;
    println!(
        "{} records: {refusals} refusals, {answers} answers, {empty} without text: {}",
        refusals + answers + empty,
        args.output.display()
    );
    Ok(())
}

/// The answer of a record: a text, or the last message of the assistant.
fn answer<'a>(record: &'a Value, field: &str) -> Result<&'a str, String> {
    match record.get(field) {
        Some(Value::String(text)) => Ok(text),
        Some(Value::Array(messages)) => {
            let last = messages.iter().rev().find(|message| message["role"] == "assistant");
            let last = last.ok_or_else(|| format!("{field} has no message of the assistant"))?;
            match &last["content"] {
                Value::String(text) => Ok(text),
                Value::Null => Ok(""),
                _ => Err(format!("the last message of the assistant in {field} is not a text")),
            }
        }
        Some(_) => Err(format!("{field} is neither a text nor a list of messages")),
        None => Err(format!("the record has no {field}; --field names the field with the answer")),
    }
}
