//! `scaling fit parametric`.

use ::run::{Frame, Page};
use serde::Serialize;
use serde_json::json;

use super::{Columns, Common, Done, Fitted, with_interval};
use crate::parametric::{Fit, Law, without_highest};
use crate::report;

/// Arguments of `scaling fit parametric`.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub(crate) struct ParametricArgs {
    #[command(flatten)]
    #[serde(skip)]
    frame: Frame,
    #[command(flatten)]
    #[serde(flatten)]
    columns: Columns,
    #[command(flatten)]
    #[serde(flatten)]
    common: Common,
    /// Number of runs with the highest losses to leave out; the fit to all runs is also printed
    #[arg(long, default_value_t = 0)]
    drop_highest: usize,
    /// Number of resamples for the intervals
    #[arg(long, default_value_t = 1000)]
    bootstrap: usize,
}

/// Runs `scaling fit parametric`.
pub(crate) fn run(args: &ParametricArgs) -> anyhow::Result<()> {
    let frame = ("scaling fit parametric", args, &args.frame, &args.common);
    super::fit(frame, &[("input", &args.columns.input)], || {
        let (all, notes) = args.columns.runs()?;
        let kept = without_highest(&all, args.drop_highest);
        let fit = |runs| Fit::new(runs, args.bootstrap, args.common.seed).map_err(anyhow::Error::msg);
        let fitted = fit(&kept)?;
        let mut text = notes.join("\n") + "\n\n";
        if args.drop_highest > 0 {
            text += &format!("{} runs, without the {} of highest loss\n", kept.len(), all.len() - kept.len());
        }
        text += &lines(&fitted);
        if args.drop_highest > 0 {
            text += &format!("\nall {} runs\n{}", all.len(), lines(&fit(&all)?));
        }
        let mut page = Page::new("Scaling laws: parametric fit");
        page.pre(&text);
        let mut points: Vec<(f64, f64)> =
            kept.iter().map(|run| (run.flops.log10(), run.loss - fitted.law.loss(run.params, run.tokens))).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        page.curves("Measured loss minus the law's", "log10 of FLOP", &[("difference", report::colour(0), points)]);
        let figures = json!({"law": fitted.law, "objective": fitted.objective, "runs": fitted.runs});
        Ok(Done { fitted: Fitted::Parametric(fitted), text: text.trim_end().to_owned(), page, figures })
    })
}

fn lines(fit: &Fit) -> String {
    type Number = (&'static str, fn(&Law) -> f64);
    let numbers: [Number; 6] = [
        ("E", |law| law.e),
        ("A", |law| law.a),
        ("B", |law| law.b),
        ("alpha", |law| law.alpha),
        ("beta", |law| law.beta),
        ("a = beta / (alpha + beta)", |law| law.beta / (law.alpha + law.beta)),
    ];
    let mut text = String::new();
    for (name, of) in numbers {
        let interval = fit.interval(of);
        // A few resampled laws without bounds make a standard error of any size; the interval holds.
        let error = interval.map_or(String::new(), |interval| match interval.standard_error {
            error if error <= interval.high - interval.low => format!(", standard error {error:.4}"),
            _ => ", no standard error: some resampled laws have no bound".to_owned(),
        });
        text += &format!("  {name:<26} {}{error}\n", with_interval(of(&fit.law), interval, 4));
    }
    text + &format!(
        "  sum of Huber's function {:.4e}; {} of {} starts ended there\n",
        fit.objective, fit.agreeing, fit.starts
    )
}
