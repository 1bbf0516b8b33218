//! `scaling fit downstream`.

use std::path::PathBuf;

use ::run::{Frame, Page};
use anyhow::ensure;
use serde::Serialize;
use serde_json::json;

use super::{Common, Done, Fitted, with_interval};
use crate::downstream::{Fit, Law, Point};
use crate::report;
use crate::table::Table;

/// Arguments of `scaling fit downstream`.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub(crate) struct DownstreamArgs {
    #[command(flatten)]
    #[serde(skip)]
    frame: Frame,
    /// The models: a table with one row each; compute and accuracy may be empty
    #[arg(long)]
    input: PathBuf,
    /// The column of training compute, in FLOP
    #[arg(long, default_value = "flops")]
    flops_column: String,
    /// The column of the right answers' negative log-likelihood, in nats per character
    #[arg(long, default_value = "nll")]
    nll_column: String,
    /// The column of accuracy, from 0 to 1
    #[arg(long, default_value = "accuracy")]
    accuracy_column: String,
    /// Accuracy of random guessing, such as 0.25 with four choices
    #[arg(long, default_value_t = 0.0)]
    chance: f64,
    #[command(flatten)]
    #[serde(flatten)]
    common: Common,
    /// Number of resamples for the intervals
    #[arg(long, default_value_t = 1000)]
    bootstrap: usize,
}

/// Runs `scaling fit downstream`.
pub(crate) fn run(args: &DownstreamArgs) -> anyhow::Result<()> {
    ensure!((0.0..1.0).contains(&args.chance), "--chance is {}; it must be from 0 to below 1", args.chance);
    let frame = ("scaling fit downstream", args, &args.frame, &args.common);
    super::fit(frame, &[("input", &args.input)], || {
        let points = points(args)?;
        let fit = Fit::new(&points, args.chance, args.bootstrap, args.common.seed).map_err(anyhow::Error::msg)?;
        let line = |name: &str, of: fn(&Law) -> f64| {
            format!("  {name:<12} {}\n", with_interval(of(&fit.law), fit.interval(of), 4))
        };
        let text = format!(
            "{}: {} models\n1. nll = intercept + slope x log10(FLOP), {} models with compute\n{}{}\
             2. accuracy = chance + (ceiling - chance) / (1 + exp(steepness x (nll - middle))), {} models with an accuracy\n\
             {}{}{}  root mean square error {:.4}",
            args.input.display(),
            points.len(),
            fit.first,
            line("intercept", |law| law.intercept),
            line("slope", |law| law.slope),
            fit.second,
            line("ceiling", |law| law.ceiling),
            line("middle", |law| law.middle),
            line("steepness", |law| law.steepness),
            fit.error
        );
        let mut page = Page::new("Scaling laws: downstream accuracy");
        page.pre(&text);
        let mut first: Vec<(f64, f64)> = points.iter().filter_map(|p| Some((p.flops?.log10(), p.nll))).collect();
        first.sort_by(|a, b| a.0.total_cmp(&b.0));
        let line = first.iter().map(|(x, _)| (*x, fit.law.nll(10_f64.powf(*x)))).collect();
        let curves = [("measured", report::colour(0), first), ("law", report::colour(1), line)];
        page.curves("Negative log-likelihood of the right answer", "log10 of FLOP", &curves);
        let mut second: Vec<(f64, f64)> = points.iter().filter_map(|p| Some((p.nll, p.accuracy?))).collect();
        second.sort_by(|a, b| a.0.total_cmp(&b.0));
        let line = second.iter().map(|(x, _)| (*x, fit.law.accuracy(*x))).collect();
        let curves = [("measured", report::colour(0), second), ("law", report::colour(1), line)];
        page.curves("Accuracy", "negative log-likelihood", &curves);
        let figures = json!({"law": fit.law, "error": fit.error});
        Ok(Done { fitted: Fitted::Downstream(fit), text, page, figures })
    })
}

fn points(args: &DownstreamArgs) -> anyhow::Result<Vec<Point>> {
    let table = Table::read(&args.input)?;
    let flops = table.optional(&args.flops_column)?;
    let nll = table.positive(&args.nll_column)?;
    let accuracy = table.optional(&args.accuracy_column)?;
    for (row, value) in accuracy.iter().enumerate() {
        if let Some(value) = value.filter(|value| !(0.0..=1.0).contains(value)) {
            anyhow::bail!(
                "{}: {} of model {} is {value}; it must be from 0 to 1",
                args.input.display(),
                args.accuracy_column,
                row + 1
            );
        }
    }
    for (row, value) in flops.iter().enumerate() {
        if let Some(value) = value.filter(|value| *value <= 0.0) {
            anyhow::bail!(
                "{}: {} of model {} is {value}; it must be above 0",
                args.input.display(),
                args.flops_column,
                row + 1
            );
        }
    }
    let point = |at: usize| Point { flops: flops[at], nll: nll[at], accuracy: accuracy[at] };
    Ok((0..table.len()).map(point).collect())
}
