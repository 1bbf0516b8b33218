//! `scaling`: fits laws to measured runs, and predicts with them.

mod downstream;
mod isoflop;
mod ladder;
mod mix;
mod parametric;
mod predict;

use std::path::{Path, PathBuf};

use ::run::{Class, Facts, Frame, Input, Page, Resolved, Session, from_flags};
use anyhow::Context;
use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::bootstrap::Interval;
use crate::isoflop::Run;
use crate::table::Table;

/// The file of a fit in its folder.
pub const FIT: &str = "fit.json";

/// Arguments of `scaling`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train a ladder of small models at several compute budgets, and tabulate their losses
    Run(Box<ladder::LadderArgs>),
    /// Fit a law to measured runs
    Fit(FitArgs),
    /// Predict with a fitted law: sizes, tokens, losses, accuracies
    Predict(predict::PredictArgs),
}

/// Arguments of `scaling fit`.
#[derive(clap::Args)]
struct FitArgs {
    #[command(subcommand)]
    law: LawCommand,
}

#[derive(Subcommand)]
enum LawCommand {
    /// Fit a parabola for each compute budget, and power laws through their minima
    Isoflop(isoflop::IsoflopArgs),
    /// Fit the loss to size and tokens: E + A / N^alpha + B / D^beta
    Parametric(parametric::ParametricArgs),
    /// Fit benchmark accuracy to compute, by way of the log-likelihood of the right answers
    Downstream(downstream::DownstreamArgs),
    /// Fit the loss to the shares of data sources, and find the best mix
    Mix(mix::MixArgs),
}

/// A function that runs a pipeline file in a folder; `herd` provides it.
pub type Pipeline<'a> = &'a dyn Fn(&Path, &Path) -> anyhow::Result<()>;

/// Runs `scaling`.
///
/// # Errors
/// When the table, the fit or the folder is invalid; the error says which.
pub fn run(args: &Args, pipeline: Option<Pipeline>) -> anyhow::Result<()> {
    match &args.command {
        Command::Run(args) => ladder::run(args, pipeline),
        Command::Fit(FitArgs { law: LawCommand::Isoflop(args) }) => isoflop::run(args),
        Command::Fit(FitArgs { law: LawCommand::Parametric(args) }) => parametric::run(args),
        Command::Fit(FitArgs { law: LawCommand::Downstream(args) }) => downstream::run(args),
        Command::Fit(FitArgs { law: LawCommand::Mix(args) }) => mix::run(args),
        Command::Predict(args) => predict::run(args),
    }
}

/// Flags that all fits share.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub(crate) struct Common {
    /// The folder for fit.json, report.html and run.json
    #[arg(long)]
    output: PathBuf,
    /// Seed of the resampling
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// The columns of a table of runs.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub(crate) struct Columns {
    /// The runs: a table (.csv, .tsv, .jsonl, .json, .parquet) with one row each
    #[arg(long)]
    input: PathBuf,
    /// The column of training compute, in FLOP; without it, compute is 6 x parameters x tokens
    #[arg(long, default_value = "flops")]
    flops_column: String,
    /// The column of parameters
    #[arg(long, default_value = "params")]
    params_column: String,
    /// The column of training tokens; without it, tokens are compute / (6 x parameters)
    #[arg(long, default_value = "tokens")]
    tokens_column: String,
    /// The column of held-out loss, in nats per token
    #[arg(long, default_value = "loss")]
    loss_column: String,
    /// Use only the rows in which a column has this text, for example setting=base
    #[arg(long, value_name = "COLUMN=TEXT")]
    only: Option<String>,
}

impl Columns {
    /// The runs of the table, and notes on filtered and derived values.
    fn runs(&self) -> anyhow::Result<(Vec<Run>, Vec<String>)> {
        let table = Table::read(&self.input)?;
        let mut notes = vec![format!("{}: {} rows", self.input.display(), table.len())];
        let params = table.positive(&self.params_column)?;
        let loss = table.positive(&self.loss_column)?;
        let (flops, tokens) = match (table.has(&self.flops_column), table.has(&self.tokens_column)) {
            (true, true) => (table.positive(&self.flops_column)?, table.positive(&self.tokens_column)?),
            (true, false) => {
                let flops = table.positive(&self.flops_column)?;
                notes.push(format!("no column {:?}: tokens are compute / (6 x parameters)", self.tokens_column));
                let tokens = flops.iter().zip(&params).map(|(flops, params)| flops / (6.0 * params)).collect();
                (flops, tokens)
            }
            _ => {
                let tokens = table.positive(&self.tokens_column)?;
                notes.push(format!("no column {:?}: compute is 6 x parameters x tokens", self.flops_column));
                let flops = tokens.iter().zip(&params).map(|(tokens, params)| 6.0 * params * tokens).collect();
                (flops, tokens)
            }
        };
        let kept = match &self.only {
            None => vec![true; table.len()],
            Some(only) => {
                let (column, text) = only.split_once('=').context("--only: write COLUMN=TEXT, as setting=base")?;
                let kept: Vec<bool> = table.texts(column)?.iter().map(|cell| cell == text).collect();
                let count = kept.iter().filter(|kept| **kept).count();
                anyhow::ensure!(count > 0, "--only {only}: no row of {} has it", self.input.display());
                notes.push(format!("{count} rows have {only}; {} are left out", table.len() - count));
                kept
            }
        };
        let run = |at: usize| Run { flops: flops[at], params: params[at], tokens: tokens[at], loss: loss[at] };
        Ok(((0..table.len()).filter(|at| kept[*at]).map(run).collect(), notes))
    }
}

/// A law in the format of `fit.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Fitted {
    Isoflop(crate::isoflop::Fit),
    Parametric(crate::parametric::Fit),
    Downstream(crate::downstream::Fit),
    Mix(mix::Fit),
}

/// The result of a fit.
pub(crate) struct Done {
    fitted: Fitted,
    /// The text for the terminal, the record and the report.
    text: String,
    page: Page,
    figures: Value,
}

/// The frame of all fits: configuration, run folder, files.
fn fit<A: clap::Args + Serialize + Clone>(
    (stage, args, frame, common): (&str, &A, &Frame, &Common),
    inputs: &[(&str, &Path)],
    work: impl FnOnce() -> anyhow::Result<Done>,
) -> anyhow::Result<()> {
    let resolved: Resolved<A> = from_flags(args, frame.config.as_deref())?;
    if frame.shows(&resolved)? {
        return Ok(());
    }
    let inputs = inputs.iter().map(|(key, path)| Input::file(key, path)).collect::<anyhow::Result<_>>()?;
    let facts = Facts { seed: Some(common.seed), inputs, ..Facts::new(stage, class) };
    let Some(mut session) = Session::open(&common.output, &resolved, facts)? else { return Ok(()) };
    session.start(Value::Null)?;
    let done = work()?;
    let folder = session.folder();
    let mut text = serde_json::to_vec_pretty(&done.fitted)?;
    text.push(b'\n');
    dataset::write_file(folder.join(FIT), &text)?;
    let page = folder.join("report.html");
    done.page.write(&page)?;
    session.finish(&[FIT], &done.text, json!({"fit": done.figures}))?;
    println!("{}\nwritten: {}; plots: {}", done.text, common.output.join(FIT).display(), page.display());
    Ok(())
}

/// Inputs are compared by content.
fn class(key: &str) -> Class {
    match key {
        "output" | "input" | "mixtures" | "losses" | "test_mixtures" | "test_losses" => Class::Free,
        _ => Class::Course,
    }
}

/// Formats a value with its interval: `0.4931 [0.4802, 0.5077]`; only the value if there is no interval.
fn with_interval(value: f64, interval: Option<Interval>, digits: usize) -> String {
    let text = |value: f64| {
        let plain = value == 0.0 || (1e-3..1e5).contains(&value.abs());
        if plain { format!("{value:.digits$}") } else { format!("{value:.digits$e}") }
    };
    match interval {
        Some(Interval { low, high, .. }) => format!("{} [{}, {}]", text(value), text(low), text(high)),
        None => text(value),
    }
}
